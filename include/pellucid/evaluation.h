#pragma once

#include "pellucid/image.h"
#include "pellucid/tensor.h"

namespace pellucid {

/// How well a map finds a region that is known to matter. `map` [H,W], `mask` [H,W] bool of the same size. Negative
/// values count as zero. A map without positive values scores 0 everywhere; an empty mask throws Error(kUsage).
struct Localization {
  double iou_half = 0;  ///< IoU of {map >= 0.5 max} with the mask. Higher is better.
  double iou_best = 0;  ///< Best IoU over thresholds 0, 0.02, ..., 1 of the maximum. Higher is better.
  double best_threshold = 0;
  double mass = 0;   ///< Share of the map's sum inside the mask (relevance mass; Arras, Osman, Samek, Information
                     ///< Fusion 2022). Higher is better.
  double rank = 0;   ///< Share of the |mask| highest pixels inside the mask (relevance rank; same paper).
  bool hit = false;  ///< The maximum lies inside (pointing game; Zhang et al., ECCV 2016).
};
Localization localization(const Tensor& map, const Tensor& mask);

}  // namespace pellucid
