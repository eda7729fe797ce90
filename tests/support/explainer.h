#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid::test {

inline NetworkOptions in_float64(bool optimize = true) {
  NetworkOptions options;
  options.precision = Precision::kFloat64;
  options.optimize = optimize;
  return options;
}

/// A network and a batch of inputs, with all that a Context borrows. Float64 unless told otherwise.
///
///   const Explainer net(graph, x);
///   EXPECT_TRUE(within(net.explain("grad-cam", "0", {"map"}).values, expected, {1e-10, 1e-10}));
class Explainer {
 public:
  Explainer(Graph graph, Tensor pictures, const NetworkOptions& options = in_float64(), ModelCard model_card = {})
      : network(std::move(graph), options),
        input(pictures.to(network.dtype())),
        card(std::move(model_card)),
        layers(network, {one_image(input)}) {}

  /// Without names, methods that need a layer get the default one, if there is any.
  Context context(const Target& target, const std::vector<std::string>& layer_names = {}) const {
    const ValueId id = target_value(target, layers, network.graph());
    std::vector<ValueId> cam_layers;
    for (const std::string& name : layer_names) cam_layers.push_back(layers.find(name));
    return {network,    layers, card, input,   BoundTarget(target, layers, card, id, value(id)),
            cam_layers, 0,      16,   nullptr, {}};
  }
  Context context(const std::string& target = "top1", const std::vector<std::string>& layer_names = {}) const {
    return context(Target::parse(target), layer_names);
  }

  Attribution explain(const std::string& method, const std::string& target = "top1",
                      const std::vector<std::string>& layer_names = {}) const {
    const MethodCall call = MethodCall::parse(method);
    const bool chooses = layer_names.empty() && (call.method->needs & kNeedsLayer);
    return attribute(call, context(target, chooses ? std::vector<std::string>{"auto"} : layer_names));
  }

  /// Every value by name, for the inputs of this object or others.
  Tensor value(const std::string& name) const { return value(layers.find(name)); }
  Tensor value(ValueId id) const { return value(id, input); }
  Tensor value(ValueId id, const Tensor& at_input) const {
    Request request;
    request.capture = {id};
    return network.run({at_input}, request).at(id);
  }
  Tensor logits(const Tensor& at_input) const { return value(layers.logits(), at_input); }

  Network network;
  Tensor input;
  ModelCard card;
  LayerTable layers;

 private:
  static Shape one_image(const Tensor& batch) {
    Shape shape = batch.sizes().vec();
    shape[0] = 1;
    return shape;
  }
};

/// Correlation of two maps; 0 when one of them is constant.
inline double pearson(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(at::kDouble).flatten() - a.to(at::kDouble).mean();
  const Tensor y = b.to(at::kDouble).flatten() - b.to(at::kDouble).mean();
  const double norm = x.norm().item<double>() * y.norm().item<double>();
  return norm > 0 ? (x * y).sum().item<double>() / norm : 0.0;
}

/// Correlation of the ranks.
inline double spearman(const Tensor& a, const Tensor& b) {
  const auto ranks = [](const Tensor& t) { return t.to(at::kDouble).flatten().argsort().argsort().to(at::kDouble); };
  return pearson(ranks(a), ranks(b));
}

}  // namespace pellucid::test
