// Adversarial examples: the bounded change that is optimized, and the optimizer that looks for the nearest boundary.

#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numeric>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct DeltaParams {
  std::string norm = "linf";
  double size = 4;
  std::string start = "zero";
  bool range = true;
};
template <class V>
void describe(V& visit, DeltaParams& p) {
  visit("norm", p.norm, one_of({"linf", "l2", "l0"}), "Which norm of the change is bounded; l0 counts pixels.");
  visit("size", p.size, between(0, 1e9),
        "Its largest value, in 255ths of the display range (per value, or the L2 norm); pixels for l0.");
  visit("start", p.start, one_of({"zero", "random"}), "Where the change begins: at nothing, or at random in its ball.");
  visit("range", p.range, Flag{}, "Keep the picture in display range.");
}

Tensor normal(at::IntArrayRef shape, const at::Generator& generator, const at::TensorOptions& options) {
  return at::randn(shape, generator, at::TensorOptions(at::kDouble)).to(options);
}

/// The picture "start" plus a change of bounded norm; the sum stays in display range.
class Delta final : public Parameterization {
 public:
  Delta(const PartScope& scope, const DeltaParams& p)
      : p_(p), base_(scope.picture("delta", "start").expand({scope.batch, 3, scope.height, scope.width})) {
    if (p.norm == "l0" && p.start == "random") throw_usage("delta: norm=l0 begins at zero");
  }
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    Tensor delta = at::zeros_like(base_);
    if (p_.start == "random") {
      delta = p_.norm == "linf"
                  ? (2 * at::rand(base_.sizes(), generator, at::TensorOptions(at::kDouble)) - 1).to(base_.options()) *
                        bound()
                  : normal(base_.sizes(), generator, base_.options());
    }
    TensorList variables{delta};
    project(scope, variables);
    return variables;
  }
  TensorList encode(const PartScope& scope, const Tensor& image) const override {
    TensorList variables{image - base_};
    project(scope, variables);
    return variables;
  }
  Tensor decode(const PartScope&, const TensorList& variables) const override { return base_ + variables.front(); }
  bool starts_with_picture() const override { return false; }
  /// First the ball, then the range, which only makes the change smaller.
  void project(const PartScope&, TensorList& variables) const override {
    Tensor& delta = variables.front();
    if (p_.norm == "linf") {
      delta.clamp_(-bound(), bound());
    } else if (p_.norm == "l2") {
      const Tensor norm = delta.flatten(1).norm(2, 1).view({-1, 1, 1, 1});
      delta.mul_(at::clamp_max(bound() / norm.clamp_min(1e-12), 1));
    } else {
      keep_in_range(delta);  // what is cut off is no reason to keep a pixel
      keep_largest(delta);
    }
    keep_in_range(delta);
  }

 private:
  double bound() const { return p_.size / 255; }

  void keep_in_range(Tensor& delta) const {
    if (p_.range) delta.copy_((base_ + delta).clamp(0, 1) - base_);
  }

  void keep_largest(Tensor& delta) const {
    const int64_t pixels = delta.size(2) * delta.size(3);
    const auto most = static_cast<int64_t>(p_.size);
    if (most >= pixels) return;
    const Tensor size = delta.square().sum(1).flatten(1);  // [B,HW]
    const Tensor order = std::get<1>(size.topk(most, 1));
    const Tensor kept = at::zeros_like(size).scatter_(1, order, 1.0);
    delta.mul_(kept.view({delta.size(0), 1, delta.size(2), delta.size(3)}));
  }

  DeltaParams p_;
  Tensor base_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct DeepFoolParams {
  std::string norm = "l2";
  int64_t classes = 10;
  double overshoot = 0.02;
};
template <class V>
void describe(V& visit, DeepFoolParams& p) {
  visit("norm", p.norm, one_of({"l2", "linf"}), "In which norm the nearest boundary is looked for.");
  visit("classes", p.classes, integer_between(2, 100000),
        "So many classes are considered, those with the best scores.");
  visit("overshoot", p.overshoot, between(0, 10), "The change is made longer by this share.");
}

/// At each step all scores are replaced by their linearizations, and the change grows by the shortest way to where the
/// class of the start would lose to another one. It needs the gradient of every score, not that of the objective, so it
/// takes its own from the network. Once the class has changed, the change grows by its overshoot.
class DeepFool final : public Optimizer {
 public:
  DeepFool(const PartScope& scope, const DeepFoolParams& p)
      : scope_(scope), p_(p), logits_(scope.layers.logits()), start_(scope.picture("deepfool", "start")) {
    if (scope.batch != 1) throw_usage("deepfool: attacks one picture at a time; batch must be 1");
    fixed_size_ = has_fixed_size(scope.context, {logits_}, scope.height, scope.width);
    const Values values = scope.activations(start_, {logits_});
    const Tensor scores = values.at(logits_);
    if (scores.dim() != 2 || scores.size(1) < 2) {
      throw_usage("deepfool: the model's output is " + shape_text(scores.sizes()) + ", not two or more scores");
    }
    const Tensor best = std::get<1>(scores[0].topk(std::min(p.classes, scores.size(1)))).to(at::kCPU);
    classes_.assign(best.data_ptr<int64_t>(), best.data_ptr<int64_t>() + best.numel());
  }

  void step(TensorList& variables, const LossAndGradients&, const StepInfo&, const LossClosure&) override {
    Tensor& delta = variables.front();
    if (delta.sizes() != start_.sizes()) throw_usage("deepfool: moves a change of pixels (parameterization delta)");
    const Tensor way = shortest_way(start_ + delta);
    if (way.defined()) {
      delta.add_((1 + p_.overshoot) * way);
    } else {
      constexpr double kFurther = 1.05;  // until the picture fools in 8 bits as well
      delta.mul_(kFurther);
    }
  }

 private:
  /// Undefined where the class is another one already.
  Tensor shortest_way(const Tensor& image) const {
    const Tensor leaf = image.detach().requires_grad_(true);
    Tensor input;
    {
      const at::AutoGradMode record(true);
      input = network_input(scope_.context, leaf, fixed_size_);
    }
    const Network& network = scope_.context.network;
    const ValueId in = network.graph().inputs().front().value;
    Network::RecordRequest what;
    what.until = {logits_};
    what.wrt = {in};
    const Tape tape = network.record({input.detach()}, what, scope_.context.progress);
    const Tensor scores = tape.value(logits_);
    if (scores[0].argmax().item<int64_t>() != classes_.front()) return {};
    const auto gradient = [&](int64_t k) {
      Tensor seed = at::zeros_like(scores);
      seed[0][k] = 1;
      const Tensor at_input = tape.backward({{logits_, seed}}, {in}).values.at(in);
      return torch::autograd::grad({input}, {leaf}, {at_input}, /*retain_graph=*/true)[0];
    };
    const Tensor own = gradient(classes_.front());
    double nearest = INFINITY;
    Tensor way;
    for (size_t i = 1; i < classes_.size(); ++i) {
      const Tensor w = gradient(classes_[i]) - own;
      const double gap = std::abs((scores[0][classes_[i]] - scores[0][classes_.front()]).item<double>());
      const double size = (p_.norm == "l2" ? w.norm() : w.abs().sum()).item<double>();
      if (!(size > 0) || gap / size >= nearest) continue;
      nearest = gap / size;
      constexpr double kBeyond = 1e-4;  // of the original code: onto the other side
      way = p_.norm == "l2" ? w * ((nearest + kBeyond) / size) : w.sign() * (nearest + kBeyond);
    }
    return way.defined() ? way.detach() : at::zeros_like(image);
  }

  const PartScope& scope_;
  DeepFoolParams p_;
  ValueId logits_;
  Tensor start_;
  bool fixed_size_ = false;
  std::vector<int64_t> classes_;  ///< The best of the start, its own first.
};

}  // namespace

std::vector<PartEntry<Parameterization>> delta_parameterizations() {
  return {
      part_entry<Parameterization, Delta, DeltaParams>("delta", "The picture 'start' plus a change of bounded norm.")};
}

std::vector<PartEntry<Optimizer>> boundary_optimizers() {
  return {part_entry<Optimizer, DeepFool, DeepFoolParams>(
      "deepfool", "The shortest way to another class, by linearized scores.", kMoosavi2016)};
}

}  // namespace pellucid
