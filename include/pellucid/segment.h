#pragma once

#include <string>
#include <vector>

#include "pellucid/image.h"

namespace pellucid {

/// A region of a picture found from a map of what matters in it.
struct Segment {
  Image mask;  ///< One channel of the picture's size, 255 inside; all 0 when there is no segment.
  Rect box;    ///< Tight around the mask; width 0 when there is no segment.
  int64_t num_pixels = 0;
  std::string note;  ///< Why there is none, or what was done otherwise than asked; empty when nothing is to be said.
};

/// How a map seeds GrabCut. Most callers leave all of it alone.
struct GrabCutOptions {
  double foreground_quantile = 0.95;  ///< Pixels above it teach the object's colors. Must exceed the other.
  double background_quantile = 0.30;  ///< Pixels at or below it teach the background's.
  int64_t max_pixels = 1'000'000;     ///< Larger pictures are cut at this size and the mask enlarged; noted.
};

/// The object a map points at, by graph cut: the largest 8-connected component of the foreground.
/// Simonyan, Vedaldi, Zisserman. "Deep Inside Convolutional Networks". ICLR Workshop 2014, section 3.2; Rother,
/// Kolmogorov, Blake. "GrabCut". SIGGRAPH 2004 (5 Gaussians a side).
/// The quantile pixels train the two color models and nothing else: no pixel's label is fixed, since a map marks the
/// parts that decide, not the outline. `photo` has 1, 3 or 4 channels; `map` [height,width] is of its size, negative
/// values count as 0. Deterministic. A map without contrast, too few seeds or equal colors give an empty segment with a
/// note. Throws Error(kUsage) for wrong sizes or quantiles and Error(kFailed) for values that are not finite.
Segment segment_grabcut(const Image& photo, const std::vector<float>& map, const GrabCutOptions& options = {});

/// The largest 8-connected component of {map >= threshold * max}: its box is the localization of the CAM papers (Zhou
/// et al., CVPR 2016, at 0.2; Selvaraju et al., ICCV 2017, at 0.15). `map` [height,width]; `threshold` in (0, 1]. A map
/// without positive values or without contrast gives an empty segment with a note. Of equal components the first wins.
Segment segment_box(const std::vector<float>& map, int width, int height, double threshold);

/// The photo as RGBA, transparent outside `mask` (1 channel, same size, inside above 127).
Image cut_out(const Image& photo, const Image& mask);

/// The box around what is above 127; width 0 when nothing is.
Rect bounding_box(const Image& mask);
/// Intersection over union; 0 when both are empty. Masks must have the same size.
double box_iou(const Rect& a, const Rect& b);
double mask_iou(const Image& a, const Image& b);

}  // namespace pellucid
