// Likeness of statistics over positions: texture and style. Losses, so negative.

#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/colors.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"
#include "synthesis/texture_statistics.h"

namespace pellucid {

namespace {

struct StyleParams {
  std::string layer;
  std::string picture = "style";
  double scale = 1;
  std::string mask;
  std::string style_mask;
  std::string rescale = "none";
};
template <class V>
void describe(V& visit, StyleParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose style it is.");
  visit("scale", p.scale, between(0.01, 100),
        "Longer side of that picture relative to the result's; it keeps its own proportions.");
  visit("mask", p.mask, TextLike{"the name of a tensor [H,W], or nothing"}, "Where in the result the style goes.");
  visit("style_mask", p.style_mask, TextLike{"the name of a tensor [H,W], or nothing"}, "Where it is taken from.");
  visit("rescale", p.rescale, one_of({"none", "layer", "channel"}),
        "Divide activations by the style's mean, of the whole layer or channel by channel.");
}

/// The base of both: activations of the style and of the result, rescaled alike.
class StyleObjective : public LayerObjective {
 public:
  StyleObjective(const PartScope& scope, const char* owner, const StyleParams& p)
      : LayerObjective(scope, owner, p.layer),
        mask_(fitted_mask(scope, owner_, p.mask)),
        style_mask_(fitted_mask(scope, owner_, p.style_mask)) {
    const Tensor picture = scope.scaled_picture(owner_, p.picture, p.scale);
    style_ = as_map(scope.activations(picture, {layer_}).at(layer_), owner_).detach();
    if (p.rescale == "none") return;
    const Tensor mean = style_.abs().mean({0, 2, 3}, true);
    const Tensor whole = mean.mean();
    if (!(whole.item<double>() > 0))
      throw_usage(owner_ + ": the layer is zero for the style; there is nothing to match");
    // A channel that the style hardly uses is not blown up.
    unit_ = p.rescale == "layer" ? whole : at::maximum(mean, whole * kLeastMean);
    style_ = style_ / unit_;
  }

 protected:
  static constexpr double kLeastMean = 0.05;

  Tensor scaled_map(const ObjectiveInput& input) const {
    const Tensor a = map_of(input);
    return unit_.defined() ? a / unit_.to(a.options()) : a;
  }
  /// Gone once the goal is known.
  Tensor take_style() { return std::move(style_); }

  Tensor mask_, style_mask_;

 private:
  Tensor style_, unit_;
};

/// -(1 / 4 C^2) |G - G0|^2, Gatys' layer loss with Gram matrices per position, so that pictures of different sizes
/// compare.
class Gram final : public StyleObjective {
 public:
  Gram(const PartScope& scope, const StyleParams& p)
      : StyleObjective(scope, "gram", p), goal_(gram_matrix(take_style(), style_mask_)) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor g = gram_matrix(scaled_map(input), mask_);
    const auto channels = static_cast<double>(g.size(1));
    return -(g - goal_.to(g.options())).square().flatten(1).sum(1) / (4 * channels * channels);
  }

 private:
  Tensor goal_;
};

/// -(|mean - mean0|^2 + |sd - sd0|^2), the style loss of adaptive instance normalization.
class Statistics final : public StyleObjective {
 public:
  Statistics(const PartScope& scope, const StyleParams& p) : StyleObjective(scope, "statistics", p) {
    const auto [mean, sd] = channel_moments(take_style(), style_mask_);
    mean_ = mean;
    sd_ = sd;
  }
  Tensor score(const ObjectiveInput& input) const override {
    const auto [mean, sd] = channel_moments(scaled_map(input), mask_);
    return -((mean - mean_.to(mean.options())).square().sum(1) + (sd - sd_.to(sd.options())).square().sum(1));
  }

 private:
  Tensor mean_, sd_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct WaveletParams {
  std::string picture = "style";
  double scale = 1;
  int64_t scales = 4;
  int64_t orientations = 4;
  int64_t neighborhood = 7;
};
template <class V>
void describe(V& visit, WaveletParams& p) {
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose texture it is.");
  visit("scale", p.scale, between(0.01, 100),
        "Longer side of that picture relative to the result's; it keeps its own proportions.");
  visit("scales", p.scales, integer_between(1, 8), "Octaves of the steerable pyramid, as far as the picture has them.");
  visit("orientations", p.orientations, integer_between(1, 16), "Orientations of its bands.");
  visit("neighborhood", p.neighborhood, integer_between(1, 63), "Side of the autocorrelations, odd.");
}

/// Minus the mean over the groups of statistics of their squared relative errors. Needs no network. The publication
/// projects onto one group after the other instead; with gradients all of them are approached together, by the
/// optimizer that every other objective has.
class Wavelets final : public Objective {
 public:
  Wavelets(const PartScope& scope, const WaveletParams& p) {
    if (p.neighborhood % 2 == 0) throw_usage("portilla-simoncelli: neighborhood must be odd");
    const Tensor source = scope.scaled_picture("portilla-simoncelli", p.picture, p.scale)[0];
    model_ = fitting_model({p.scales, p.orientations, p.neighborhood}, std::min(scope.height, source.size(1)),
                           std::min(scope.width, source.size(2)));
    const int64_t unit = int64_t{1} << model_.scales;
    if (scope.height % unit != 0 || scope.width % unit != 0) {
      throw_usage("portilla-simoncelli: the result's sides must be multiples of " + std::to_string(unit) + ", not " +
                  std::to_string(scope.width) + "x" + std::to_string(scope.height));
    }
    axes_ = std::make_unique<ColorAxes>(source);
    goal_ = texture_statistics(axes_->planes(centered_multiple(source, unit)), model_);
  }
  std::vector<ValueId> layers() const override { return {}; }
  Tensor score(const ObjectiveInput& input) const override {
    TensorList scores;
    for (int64_t b = 0; b < input.image.size(0); ++b) {
      const auto found = texture_statistics(axes_->planes(input.image[b]), model_);
      Tensor sum = -relative_square_error(found[0], goal_[0]);
      for (size_t g = 1; g < found.size(); ++g) sum = sum - relative_square_error(found[g], goal_[g]);
      scores.push_back(sum / static_cast<double>(found.size()));
    }
    return at::stack(scores);
  }

 private:
  TextureModel model_;
  std::unique_ptr<ColorAxes> axes_;
  std::vector<StatisticsGroup> goal_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct HistogramParams {
  std::string picture = "style";
  double scale = 1;
};
template <class V>
void describe(V& visit, HistogramParams& p) {
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose colors they are.");
  visit("scale", p.scale, between(0.01, 100),
        "Longer side of that picture relative to the result's; it keeps its own proportions.");
}

/// Minus the squared distance of each channel's values to the reference's in the same order (the squared Wasserstein
/// distance of the two histograms), mean over pixels and channels, relative to the variance of all of the reference's.
class HistogramLoss final : public Objective {
 public:
  HistogramLoss(const PartScope& scope, const HistogramParams& p)
      : goal_(scope.scaled_picture("histogram", p.picture, p.scale)[0]),
        variance_(std::max(1e-6, goal_.flatten(1).var(1, false).mean().item<double>())) {}
  std::vector<ValueId> layers() const override { return {}; }
  Tensor score(const ObjectiveInput& input) const override {
    // Where the order of values does not change, neither do their goals.
    const Tensor goal = with_histogram_of(input.image.detach(), goal_.to(input.image.options()));
    return -(input.image - goal).square().flatten(1).mean(1) / variance_;
  }

 private:
  Tensor goal_;
  double variance_;
};

}  // namespace

std::vector<PartEntry<Objective>> texture_objectives() {
  return {
      loss_entry<Gram, StyleParams>("gram", "Likeness of Gram matrices: texture and style.", kGatys2015),
      loss_entry<Statistics, StyleParams>("statistics", "Likeness of channels' means and deviations: style.",
                                          kHuang2017),
      loss_entry<HistogramLoss, HistogramParams>("histogram", "Likeness of color histograms: texture.", kRisser2017),
      loss_entry<Wavelets, WaveletParams>("portilla-simoncelli",
                                          "Likeness of wavelet statistics: texture without a network.", kPortilla2000)};
}

}  // namespace pellucid
