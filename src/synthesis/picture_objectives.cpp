// Likeness to the activations of a picture. Each gives one number per picture; losses are negative.

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"

namespace pellucid {

namespace {

struct PictureParams {
  std::string layer;
  std::string picture = "content";
  double power = 1;
};
template <class V>
void describe(V& visit, PictureParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("picture", p.picture, TextLike{"the name of a picture"}, "Whose activations are compared with.");
  visit("power", p.power, between(0, 16), "For caricature: of the cosine that the dot product is multiplied by.");
}
/// -|a - a0|^2 / |a0|^2.
class Match final : public LayerObjective {
 public:
  Match(const PartScope& scope, const PictureParams& p) : LayerObjective(scope, "match", p.layer) {
    goal_ = scope.context.tensors.count(p.picture) ? as_map(scope.tensor("match", p.picture), owner_)
                                                   : map_of_picture(scope, p.picture);
    size_ = goal_.flatten(1).square().sum(1);
    if (!(size_.min().item<double>() > 0))
      throw_usage("match: the layer is zero for the picture; there is nothing to match");
  }
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input);
    if (a.sizes().slice(1) != goal_.sizes().slice(1)) {
      throw_usage("match: the layer holds " + shape_text(a.sizes()) + " but " + shape_text(goal_.sizes()) +
                  " is to be matched; transformations that change the size do not go with it");
    }
    return -(a - goal_.to(a.options())).square().flatten(1).sum(1) / size_.to(a.options());
  }

 private:
  Tensor goal_, size_;
};

/// Mean squared difference, negative: the content loss of style transfer.
class Content final : public LayerObjective {
 public:
  Content(const PartScope& scope, const PictureParams& p)
      : LayerObjective(scope, "content", p.layer), goal_(map_of_picture(scope, p.picture)) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input);
    return -(a - goal_.to(a.options())).square().flatten(1).mean(1);
  }

 private:
  Tensor goal_;
};

/// Dot product with the picture's own activations, per position, sharpened by the cosine.
class Caricature final : public LayerObjective {
 public:
  Caricature(const PartScope& scope, const PictureParams& p)
      : LayerObjective(scope, "caricature", p.layer), power_(p.power), goal_(map_of_picture(scope, p.picture)) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input);
    const Tensor goal = at::upsample_bilinear2d(goal_.to(a.options()), {a.size(2), a.size(3)}, false);
    const Tensor dot = (a * goal).sum(1);
    const Tensor cosine = dot / ((a.square().sum(1) + 1e-12).sqrt() * goal.norm(2, 1) + 1e-8);
    return (dot * cosine.clamp_min(0.1).pow(power_)).flatten(1).mean(1);
  }

 private:
  double power_;
  Tensor goal_;
};

/// At every position the dot product with the position of the guide that fits it best, held constant.
class Guide final : public LayerObjective {
 public:
  Guide(const PartScope& scope, const PictureParams& p)
      : LayerObjective(scope, "guide", p.layer), goal_(map_of_guide(scope, p.picture).flatten(2)[0]) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input).flatten(2);  // [B,C,P]
    const Tensor goal = goal_.to(a.options());
    Tensor best;
    {
      const at::NoGradGuard no_grad;
      TensorList found;
      for (const Tensor& some : a.split(kPositionsAtOnce, 2)) {
        found.push_back(at::matmul(some.transpose(1, 2), goal).argmax(2));
      }
      best = at::cat(found, 1);  // [B,P]
    }
    const Tensor chosen = goal.index_select(1, best.flatten()).view({goal.size(0), a.size(0), -1}).transpose(0, 1);
    return (a * chosen).sum({1, 2}) / static_cast<double>(a.size(2));
  }

 private:
  static constexpr int64_t kPositionsAtOnce = 4096, kLargestGuide = 256;

  /// In its own proportions, and no larger than its features are needed.
  Tensor map_of_guide(const PartScope& scope, const std::string& name) const {
    const auto found = scope.context.pictures.find(name);
    if (found == scope.context.pictures.end()) return map_of_picture(scope, name);  // says that there is none
    Tensor guide = found->second.narrow(0, 0, 1);
    const double factor =
        static_cast<double>(kLargestGuide) / static_cast<double>(std::max(guide.size(2), guide.size(3)));
    const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::llround(static_cast<double>(n) * factor)); };
    if (factor < 1) guide = resize_display(guide, side(guide.size(2)), side(guide.size(3)));
    guide = guide.to(scope.options());
    return as_map(scope.activations(guide, {layer_}).at(layer_), owner_).detach();
  }

  Tensor goal_;
};

}  // namespace

std::vector<PartEntry<Objective>> picture_objectives() {
  return {
      loss_entry<Match, PictureParams>("match", "Likeness to a picture's activations: inversion.", kMahendran2015),
      part_entry<Objective, Caricature, PictureParams>("caricature", "A picture's activations, exaggerated.",
                                                       kOlah2017),
      part_entry<Objective, Guide, PictureParams>("guide", "What a second picture has that fits best.",
                                                  kMordvintsev2015),
      loss_entry<Content, PictureParams>("content", "Mean squared likeness to a picture's activations.", kGatys2016)};
}

}  // namespace pellucid
