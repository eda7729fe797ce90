// Likeness of statistics over positions: texture and style. Losses, so negative.

#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"

namespace pellucid {

namespace {

// ---------------------------------------------------------------------------------------------------------------------

struct StyleParams {
  std::string layer;
  std::string picture = "style";
  std::string mask;
};
template <class V>
void describe(V& visit, StyleParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose style it is.");
  visit("mask", p.mask, TextLike{"the name of a tensor [H,W], or nothing"}, "Where in the result the style goes.");
}

/// -(1 / 4 C^2) |G - G0|^2, Gatys' layer loss with Gram matrices per position, so that pictures of different sizes
/// compare.
class Gram final : public LayerObjective {
 public:
  Gram(const PartScope& scope, const StyleParams& p)
      : LayerObjective(scope, "gram", p.layer),
        goal_(gram_matrix(map_of_picture(scope, p.picture))),
        mask_(fitted_mask(scope, owner_, p.mask)) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor g = gram_matrix(map_of(input), mask_);
    const auto channels = static_cast<double>(g.size(1));
    return -(g - goal_.to(g.options())).square().flatten(1).sum(1) / (4 * channels * channels);
  }

 private:
  Tensor goal_, mask_;
};

/// -(|mean - mean0|^2 + |sd - sd0|^2), the style loss of adaptive instance normalization.
class Statistics final : public LayerObjective {
 public:
  Statistics(const PartScope& scope, const StyleParams& p) : LayerObjective(scope, "statistics", p.layer) {
    if (!p.mask.empty()) throw_usage("statistics: mask is not supported; gram takes one");
    const auto [mean, sd] = moments(map_of_picture(scope, p.picture));
    mean_ = mean;
    sd_ = sd;
  }
  Tensor score(const ObjectiveInput& input) const override {
    const auto [mean, sd] = moments(map_of(input));
    return -((mean - mean_.to(mean.options())).square().sum(1) + (sd - sd_.to(sd.options())).square().sum(1));
  }

 private:
  static std::pair<Tensor, Tensor> moments(const Tensor& a) {
    const Tensor f = a.flatten(2);
    const Tensor mean = f.mean(2);
    return {mean, ((f - mean.unsqueeze(2)).square().mean(2) + 1e-10).sqrt()};
  }
  Tensor mean_, sd_;
};

}  // namespace

std::vector<PartEntry<Objective>> texture_objectives() {
  return {part_entry<Objective, Gram, StyleParams>("gram", "Likeness of Gram matrices: texture and style.", kGatys2015),
          part_entry<Objective, Statistics, StyleParams>(
              "statistics", "Likeness of channels' means and deviations: style.", kHuang2017)};
}

}  // namespace pellucid
