// Classes, channels, neurons, layers and directions. Each gives one number per picture.

#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"

namespace pellucid {

namespace {

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

}  // namespace

std::vector<PartEntry<Objective>> unit_objectives() {
  return {part_entry<Objective, TargetObjective, TargetParams>("class", "The logit of a class, or another target.",
                                                               kSimonyan2014),
          part_entry<Objective, LogProbability, TargetParams>(
              "log-probability", "The log-probability of a class: attacks.", kGoodfellow2015),
          part_entry<Objective, Channel, ChannelParams>("channel", "Mean activation of a channel.", kOlah2017),
          part_entry<Objective, Neuron, NeuronParams>("neuron", "Activation of one unit.", kErhan2009),
          part_entry<Objective, Energy, LayerParams>("energy", "Mean squared activation of a layer: DeepDream.",
                                                     kMordvintsev2015),
          part_entry<Objective, Direction, DirectionParams>("direction", "Dot product or cosine with a direction.",
                                                            kCarter2019)};
}

}  // namespace pellucid
