#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/explainer.h"
#include "support/layer_builder.h"
#include "synthesis/part.h"

namespace pellucid::test {

/// A card under which the network sees pictures as they are, in display range.
inline ModelCard plain_card(int64_t side = 0) {
  ModelCard card;
  card.scale = 1.0 / 255;
  card.width = card.height = side;
  return card;
}

/// A network in float64 with all that parts of a recipe are made from.
///
///   const Studio studio(identity_graph(), 8);
///   const auto tv = studio.regularizer("tv:beta=2");
struct Studio {
  explicit Studio(Graph graph, int64_t side, ModelCard model_card = plain_card(), PixelUnit unit = PixelUnit::kDisplay,
                  int64_t batch = 1, NetworkOptions options = in_float64())
      : network(std::move(graph), std::move(options)),
        card(std::move(model_card)),
        context{network, card},
        layers(network, {Shape{batch, 3, side, side}}),
        scope{context, layers, unit, batch, side, side} {}
  Studio(const Studio&) = delete;

  std::unique_ptr<Objective> objective(const std::string& text) const {
    return make_part(objective_table(), PartKind::kObjective, text, scope);
  }
  std::unique_ptr<Parameterization> parameterization(const std::string& text) const {
    return make_part(parameterization_table(), PartKind::kParameterization, text, scope);
  }
  std::unique_ptr<Transformation> transformation(const std::string& text) const {
    return make_part(transformation_table(), PartKind::kTransformation, text, scope);
  }
  std::unique_ptr<Regularizer> regularizer(const std::string& text) const {
    return make_part(regularizer_table(), PartKind::kRegularizer, text, scope);
  }
  std::unique_ptr<GradientStep> gradient(const std::string& text) const {
    return make_part(gradient_table(), PartKind::kGradient, text, scope);
  }
  std::unique_ptr<Optimizer> optimizer(const std::string& text) const {
    return make_part(optimizer_table(), PartKind::kOptimizer, text, scope);
  }
  std::unique_ptr<AfterStep> after_step(const std::string& text) const {
    return make_part(after_step_table(), PartKind::kAfterStep, text, scope);
  }

  Network network;
  ModelCard card;
  SynthesisContext context;
  LayerTable layers;
  PartScope scope;
};

/// One layer "c" that holds the picture.
inline Graph identity_graph() {
  LayerBuilder b(1);
  b.conv_with("c", "x", at::eye(3, at::kDouble).view({3, 3, 1, 1}));
  return b.finish("c");
}

/// "logits" = weight [K, 3 side side] times the picture.
inline Graph linear_graph(const Tensor& weight, int64_t side) {
  LayerBuilder b(1, {-1, 3, side, side});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", weight);
  return b.finish("logits");
}

/// The largest difference between the gradient of `function` at `x` and central differences, relative to the largest
/// gradient.
inline double gradient_error(const std::function<Tensor(const Tensor&)>& function, const Tensor& x,
                             double step = 1e-5) {
  const Tensor leaf = x.detach().clone().requires_grad_(true);
  Tensor analytic;
  {
    const at::AutoGradMode record(true);
    function(leaf).sum().backward();
    analytic = leaf.grad().clone();
  }
  Tensor numeric = at::zeros_like(x);
  const at::NoGradGuard no_grad;
  Tensor moved = x.detach().clone();
  double* value = moved.data_ptr<double>();
  for (int64_t i = 0; i < moved.numel(); ++i) {
    const double old = value[i];
    value[i] = old + step;
    const double above = function(moved).sum().item<double>();
    value[i] = old - step;
    const double below = function(moved).sum().item<double>();
    value[i] = old;
    numeric.view(-1)[i] = (above - below) / (2 * step);
  }
  return (analytic - numeric).abs().max().item<double>() / std::max(1e-300, numeric.abs().max().item<double>());
}

}  // namespace pellucid::test
