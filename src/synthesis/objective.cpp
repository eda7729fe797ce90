// What is made large. Each gives one number per picture; losses are negative.

#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

constexpr Paper kSimonyan2014{"simonyan2014", "Simonyan, Vedaldi, Zisserman",
                              "Deep Inside Convolutional Networks: Visualising Image Classification Models and "
                              "Saliency Maps",
                              "ICLR Workshop", 2014};
constexpr Paper kErhan2009{"erhan2009", "Erhan, Bengio, Courville, Vincent",
                           "Visualizing Higher-Layer Features of a Deep Network", "TR 1341, Universite de Montreal",
                           2009};
constexpr Paper kOlah2017{"olah2017", "Olah, Mordvintsev, Schubert", "Feature Visualization", "Distill", 2017};
constexpr Paper kMordvintsev2015{"mordvintsev2015", "Mordvintsev, Olah, Tyka",
                                 "Inceptionism: Going Deeper into Neural Networks", "Google Research Blog", 2015};
constexpr Paper kMahendran2015{"mahendran2015", "Mahendran, Vedaldi",
                               "Understanding Deep Image Representations by Inverting Them", "CVPR", 2015};
constexpr Paper kGatys2015{"gatys2015", "Gatys, Ecker, Bethge", "Texture Synthesis Using Convolutional Neural Networks",
                           "NeurIPS", 2015};
constexpr Paper kGatys2016{"gatys2016", "Gatys, Ecker, Bethge",
                           "Image Style Transfer Using Convolutional Neural Networks", "CVPR", 2016};
constexpr Paper kGoodfellow2015{"goodfellow2015", "Goodfellow, Shlens, Szegedy",
                                "Explaining and Harnessing Adversarial Examples", "ICLR", 2015};
constexpr Paper kHuang2017{"huang2017", "Huang, Belongie",
                           "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", "ICCV", 2017};
constexpr Paper kCarter2019{"carter2019", "Carter, Armstrong, Schubert, Johnson, Olah", "Activation Atlas", "Distill",
                            2019};

/// Activations as [B,C,h,w]; dense ones have one position.
Tensor as_map(const Tensor& value, const std::string& owner) {
  if (value.dim() == 4) return value;
  if (value.dim() == 2) return value.unsqueeze(2).unsqueeze(3);
  throw_usage(owner + ": the layer holds " + shape_text(value.sizes()) + "; [N,C,h,w] or [N,C] was expected");
}

/// The base of objectives that look at one layer.
class LayerObjective : public Objective {
 public:
  LayerObjective(const PartScope& scope, std::string owner, const std::string& layer)
      : owner_(std::move(owner)), layer_(layer.empty() ? missing() : scope.layers.find(layer)) {}
  std::vector<ValueId> layers() const override { return {layer_}; }

 protected:
  Tensor map_of(const ObjectiveInput& input) const { return as_map(input.values.at(layer_), owner_); }
  Tensor map_of_picture(const PartScope& scope, const std::string& name) const {
    return as_map(scope.activations(scope.picture(owner_, name), {layer_}).at(layer_), owner_).detach();
  }
  Tensor channel_of(const Tensor& map, int64_t channel) const {
    if (channel >= map.size(1)) {
      throw_usage(owner_ + ": channel " + std::to_string(channel) + " does not exist; the layer has " +
                  std::to_string(map.size(1)));
    }
    return map.select(1, channel);
  }

  std::string owner_;
  ValueId layer_;

 private:
  [[noreturn]] ValueId missing() const { throw_usage(owner_ + ": layer is missing (layer=NAME)"); }
};

// ---------------------------------------------------------------------------------------------------------------------

struct TargetParams {
  std::string target = "top1";
};
template <class V>
void describe(V& visit, TargetParams& p) {
  visit("target", p.target, TextLike{"what --target takes: a class index or label, 'A vs B', probability:CLASS, ..."},
        "What is made large; ranks are those of the picture 'start'.");
}
/// The logit of a class, or any other target of an explanation.
class TargetObjective : public Objective {
 public:
  TargetObjective(const PartScope& scope, const TargetParams& p) {
    const Target target = Target::parse(p.target);
    const bool started = scope.context.pictures.count("start") != 0;
    if (target.kind == Target::Kind::kRank && !started) {
      throw_usage("class: target '" + printable(p.target) + "' needs a picture that ranks the classes");
    }
    const ValueId id = target_value(target, scope.layers, scope.context.network.graph());
    const Tensor picture = started ? scope.picture("class", "start") : scope.gray();
    const Tensor value = scope.activations(picture.expand({scope.batch, -1, -1, -1}), {id}).at(id);
    bound_ = std::make_unique<BoundTarget>(target, scope.layers, scope.context.card, id, value);
  }
  std::vector<ValueId> layers() const override { return {bound_->value()}; }
  Tensor score(const ObjectiveInput& input) const override { return bound_->score(input.values.at(bound_->value())); }

 protected:
  std::unique_ptr<BoundTarget> bound_;
};

/// The logarithm of a class's probability: minus the cross-entropy.
class LogProbability final : public TargetObjective {
 public:
  LogProbability(const PartScope& scope, const TargetParams& p) : TargetObjective(scope, p) {
    if (bound_->class_index(0) < 0) throw_usage("log-probability: target '" + printable(p.target) + "' is no class");
  }
  Tensor score(const ObjectiveInput& input) const override {
    return bound_->log_probability(input.values.at(bound_->value()));
  }
};

struct ChannelParams {
  std::string layer;
  int64_t channel = 0;
};
template <class V>
void describe(V& visit, ChannelParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("channel", p.channel, at_least(0), "Which.");
}
class Channel final : public LayerObjective {
 public:
  Channel(const PartScope& scope, const ChannelParams& p) : LayerObjective(scope, "channel", p.layer), p_(p) {}
  Tensor score(const ObjectiveInput& input) const override {
    return channel_of(map_of(input), p_.channel).flatten(1).mean(1);
  }

 private:
  ChannelParams p_;
};

struct NeuronParams {
  std::string layer;
  int64_t channel = 0, y = -1, x = -1;
};
template <class V>
void describe(V& visit, NeuronParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("channel", p.channel, at_least(0), "Which.");
  visit("y", p.y, at_least(-1), "Row; -1 is the middle.");
  visit("x", p.x, at_least(-1), "Column; -1 is the middle.");
}
class Neuron final : public LayerObjective {
 public:
  Neuron(const PartScope& scope, const NeuronParams& p) : LayerObjective(scope, "neuron", p.layer), p_(p) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor map = channel_of(map_of(input), p_.channel);
    const int64_t y = p_.y < 0 ? map.size(1) / 2 : p_.y, x = p_.x < 0 ? map.size(2) / 2 : p_.x;
    if (y >= map.size(1) || x >= map.size(2)) {
      throw_usage("neuron: position " + std::to_string(y) + "," + std::to_string(x) + " lies outside of " +
                  std::to_string(map.size(1)) + "x" + std::to_string(map.size(2)));
    }
    return map.select(1, y).select(1, x);
  }

 private:
  NeuronParams p_;
};

struct LayerParams {
  std::string layer;
};
template <class V>
void describe(V& visit, LayerParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
}
class Energy final : public LayerObjective {
 public:
  Energy(const PartScope& scope, const LayerParams& p) : LayerObjective(scope, "energy", p.layer) {}
  Tensor score(const ObjectiveInput& input) const override { return map_of(input).square().flatten(1).mean(1); }
};

struct DirectionParams {
  std::string layer;
  std::string direction = "direction";
  double power = 0;
  std::string at = "all";
};
template <class V>
void describe(V& visit, DirectionParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("direction", p.direction, TextLike{"the name of a tensor [C] or [B,C]"}, "Which.");
  visit("power", p.power, between(-1, 16),
        "Of the cosine that the dot product is multiplied by; -1: the cosine alone.");
  visit("at", p.at, one_of({"all", "middle"}), "Mean over all positions, or the middle one.");
}
class Direction final : public LayerObjective {
 public:
  Direction(const PartScope& scope, const DirectionParams& p)
      : LayerObjective(scope, "direction", p.layer), p_(p), v_(scope.tensor("direction", p.direction)) {
    if (v_.dim() == 1) v_ = v_.unsqueeze(0);
    v_ = v_.unsqueeze(2).unsqueeze(3);
  }
  Tensor score(const ObjectiveInput& input) const override {
    Tensor a = map_of(input);
    if (v_.size(1) != a.size(1)) {
      throw_usage("direction: has " + std::to_string(v_.size(1)) + " numbers; the layer has " +
                  std::to_string(a.size(1)) + " channels");
    }
    if (p_.at == "middle") a = a.narrow(2, a.size(2) / 2, 1).narrow(3, a.size(3) / 2, 1);
    const Tensor v = v_.to(a.options());
    const Tensor dot = (a * v).sum(1);
    const Tensor length = (a.square().sum(1) + 1e-12).sqrt();
    const Tensor cosine = dot / (length * v.norm(2, 1) + 1e-8);
    if (p_.power < 0) {
      // A position without activation points nowhere.
      const Tensor there = a.detach().abs().sum(1).gt(0).to(a.scalar_type());
      return (cosine * there).flatten(1).sum(1) / there.flatten(1).sum(1).clamp_min(1);
    }
    return (p_.power == 0 ? dot : dot * cosine.clamp_min(0.1).pow(p_.power)).flatten(1).mean(1);
  }

 private:
  DirectionParams p_;
  Tensor v_;
};

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
      : LayerObjective(scope, "guide", p.layer),
        goal_(map_of_picture(scope, p.picture).narrow(0, 0, 1).flatten(2)[0]) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input).flatten(2);  // [B,C,P]
    const Tensor goal = goal_.to(a.options());
    Tensor best;
    {
      const at::NoGradGuard no_grad;
      best = at::matmul(a.transpose(1, 2), goal).argmax(2);  // [B,P]
    }
    const Tensor chosen = goal.index_select(1, best.flatten()).view({goal.size(0), a.size(0), -1}).transpose(0, 1);
    return (a * chosen).sum({1, 2}) / static_cast<double>(a.size(2));
  }

 private:
  Tensor goal_;
};

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

Tensor fitted_mask(const PartScope& scope, const std::string& owner, const std::string& name) {
  return name.empty() ? Tensor() : scope.tensor(owner, name).unsqueeze(0).unsqueeze(0);
}
Tensor mask_at(const Tensor& mask, const Tensor& a) {
  return at::adaptive_avg_pool2d(mask.to(a.options()), {a.size(2), a.size(3)});
}

/// [B,C,C]: sum over positions of a a^T, divided by their number.
Tensor gram(const Tensor& a, const Tensor& mask = {}) {
  const Tensor f = a.flatten(2);
  if (!mask.defined()) return at::matmul(f, f.transpose(1, 2)) / static_cast<double>(f.size(2));
  const Tensor m = mask_at(mask, a).flatten(2);
  return at::matmul(f * m, f.transpose(1, 2)) / m.sum().clamp_min(1e-6);
}

/// -(1 / 4 C^2) |G - G0|^2, Gatys' layer loss with Gram matrices per position, so that pictures of different sizes
/// compare.
class Gram final : public LayerObjective {
 public:
  Gram(const PartScope& scope, const StyleParams& p)
      : LayerObjective(scope, "gram", p.layer),
        goal_(gram(map_of_picture(scope, p.picture))),
        mask_(fitted_mask(scope, owner_, p.mask)) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor g = gram(map_of(input), mask_);
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

/// -(1/B) sum over ordered pairs of the cosine of their Gram matrices: pictures of the batch unlike one another.
class Diversity final : public LayerObjective {
 public:
  Diversity(const PartScope& scope, const LayerParams& p) : LayerObjective(scope, "diversity", p.layer) {}
  Tensor score(const ObjectiveInput& input) const override {
    Tensor g = gram(map_of(input)).flatten(1);
    g = g / (g.norm(2, 1, true) + 1e-10);
    const Tensor cosines = at::matmul(g, g.t());
    // Each picture carries its own share; the sum over the batch is minus the sum over pairs over B.
    return -(cosines.sum(1) - cosines.diagonal()) / static_cast<double>(g.size(0));
  }
};

}  // namespace

const std::vector<PartEntry<Objective>>& objective_table() {
  static const std::vector<PartEntry<Objective>> table{
      part_entry<Objective, TargetObjective, TargetParams>("class", "The logit of a class, or another target.",
                                                           kSimonyan2014),
      part_entry<Objective, LogProbability, TargetParams>("log-probability", "The log-probability of a class: attacks.",
                                                          kGoodfellow2015),
      part_entry<Objective, Channel, ChannelParams>("channel", "Mean activation of a channel.", kOlah2017),
      part_entry<Objective, Neuron, NeuronParams>("neuron", "Activation of one unit.", kErhan2009),
      part_entry<Objective, Energy, LayerParams>("energy", "Mean squared activation of a layer: DeepDream.",
                                                 kMordvintsev2015),
      part_entry<Objective, Direction, DirectionParams>("direction", "Dot product or cosine with a direction.",
                                                        kCarter2019),
      part_entry<Objective, Match, PictureParams>("match", "Likeness to a picture's activations: inversion.",
                                                  kMahendran2015),
      part_entry<Objective, Caricature, PictureParams>("caricature", "A picture's activations, exaggerated.",
                                                       kOlah2017),
      part_entry<Objective, Guide, PictureParams>("guide", "What a second picture has that fits best.",
                                                  kMordvintsev2015),
      part_entry<Objective, Content, PictureParams>("content", "Mean squared likeness to a picture's activations.",
                                                    kGatys2016),
      part_entry<Objective, Gram, StyleParams>("gram", "Likeness of Gram matrices: texture and style.", kGatys2015),
      part_entry<Objective, Statistics, StyleParams>("statistics", "Likeness of channels' means and deviations: style.",
                                                     kHuang2017),
      part_entry<Objective, Diversity, LayerParams>("diversity", "Pictures of a batch unlike one another.", kOlah2017)};
  return table;
}

}  // namespace pellucid
