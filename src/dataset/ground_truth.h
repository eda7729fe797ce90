#pragma once

#include "dataset/render_picture.h"
#include "pellucid/ground_truth.h"

namespace pellucid {

// The sets, one file each.
GroundTruthSet flower_set(const std::string& variant);
GroundTruthSet bird_set();
GroundTruthSet scene_set();
GroundTruthSet shortcut_set();
GroundTruthSet texture_set();

/// Fills picture, part map, parts and mask of a sample from what was drawn; part 0 of `drawn` is the background and
/// part i + 1 has names[i].
GroundTruthSample sample_from(render::Rendered drawn, int label, const std::vector<std::string>& names,
                              const std::function<bool(const std::string&)>& discriminative);

/// 255 where the summed coverages are at least half of a pixel.
Image mask_of(const std::vector<const Image*>& coverages);

}  // namespace pellucid
