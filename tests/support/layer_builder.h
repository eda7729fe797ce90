#pragma once

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "pellucid/graph.h"

namespace pellucid::test {

/// Float64 tensors with a generator of their own.
class Random {
 public:
  explicit Random(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}
  Tensor normal(const Shape& shape) { return at::randn(shape, generator_, at::TensorOptions(at::kDouble)); }
  Tensor uniform(const Shape& shape) { return at::rand(shape, generator_, at::TensorOptions(at::kDouble)); }

 private:
  at::Generator generator_;
};

inline Tensor doubles(const std::vector<double>& numbers, const Shape& shape) {
  return at::tensor(numbers, at::TensorOptions(at::kDouble)).view(shape);
}

struct ConvShape {
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t group = 1;
  bool bias = true;
};

/// Networks of common layers with random or given weights. Values are named by the caller; weights are NAME.w, NAME.b.
///
///   LayerBuilder b(seed);
///   b.conv("c1", "x", 8);
///   b.node("Relu", "r1", {"c1"});
///   Graph graph = b.head("r1", 4);
class LayerBuilder {
 public:
  explicit LayerBuilder(uint64_t seed, const Shape& input = {-1, 3, -1, -1}, int64_t opset = 13)
      : graph(opset), random(seed) {
    graph.set_name("net");
    graph.input("x", input);
    channels_["x"] = input[1];
  }

  std::string conv(const std::string& name, const std::string& from, int64_t out, const ConvShape& shape = {}) {
    const int64_t in = channels_.at(from) / shape.group;
    const double scale = std::sqrt(2.0 / static_cast<double>(in * shape.kernel * shape.kernel));
    const Tensor bias = shape.bias ? random.normal({out}) * 0.1 : Tensor();
    return conv_with(name, from, random.normal({out, in, shape.kernel, shape.kernel}) * scale, bias, shape);
  }

  /// A convolution with padding that keeps the size at stride 1.
  std::string conv_with(const std::string& name, const std::string& from, const Tensor& weight, const Tensor& bias = {},
                        const ConvShape& shape = {}) {
    graph.constant(name + ".w", weight);
    std::vector<std::string> inputs{from, name + ".w"};
    if (bias.defined()) {
      graph.constant(name + ".b", bias);
      inputs.push_back(name + ".b");
    }
    const int64_t pad = weight.size(2) / 2;
    channels_[name] = weight.size(0);
    return graph.node("Conv", inputs, {name},
                      {{"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                       {"strides", std::vector<int64_t>{shape.stride, shape.stride}},
                       {"group", shape.group}},
                      name + "_node");
  }

  std::string norm(const std::string& name, const std::string& from) {
    const int64_t k = channels_.at(from);
    graph.constant(name + ".scale", random.uniform({k}) + 0.5);
    graph.constant(name + ".shift", random.normal({k}) * 0.1);
    graph.constant(name + ".mean", random.normal({k}) * 0.1);
    graph.constant(name + ".var", random.uniform({k}) + 0.5);
    channels_[name] = k;
    return graph.node("BatchNormalization", {from, name + ".scale", name + ".shift", name + ".mean", name + ".var"},
                      {name}, {{"epsilon", 1e-5}}, name + "_node");
  }

  /// A node without weights; the result has the channels of the first input, or of all for Concat.
  std::string node(const std::string& op, const std::string& name, const std::vector<std::string>& from,
                   std::map<std::string, Attribute> attributes = {}) {
    channels_[name] = channels_.at(from.front());
    if (op == "Concat") {
      channels_[name] = 0;
      for (const std::string& f : from) channels_[name] += channels_.at(f);
      attributes["axis"] = int64_t{1};
    }
    return graph.node(op, from, {name}, std::move(attributes), name + "_node");
  }

  std::string pool(const std::string& op, const std::string& name, const std::string& from, int64_t kernel,
                   int64_t stride) {
    return node(
        op, name, {from},
        {{"kernel_shape", std::vector<int64_t>{kernel, kernel}}, {"strides", std::vector<int64_t>{stride, stride}}});
  }

  std::string clip(const std::string& name, const std::string& from, double low, double high) {
    graph.constant(name + ".low", at::full({}, low, at::TensorOptions(at::kDouble)));
    graph.constant(name + ".high", at::full({}, high, at::TensorOptions(at::kDouble)));
    channels_[name] = channels_.at(from);
    return graph.node("Clip", {from, name + ".low", name + ".high"}, {name}, {}, name + "_node");
  }

  /// x * sigmoid(x), as PyTorch exports it.
  std::string silu(const std::string& name, const std::string& from) {
    node("Sigmoid", name + ".gate", {from});
    return node("Mul", name, {from, name + ".gate"});
  }

  std::string gemm_with(const std::string& name, const std::string& from, const Tensor& weight,
                        const Tensor& bias = {}) {
    graph.constant(name + ".w", weight);
    std::vector<std::string> inputs{from, name + ".w"};
    if (bias.defined()) {
      graph.constant(name + ".b", bias);
      inputs.push_back(name + ".b");
    }
    return graph.node("Gemm", inputs, {name}, {{"transB", int64_t{1}}}, name + "_node");
  }

  /// Global average pooling ("pool"), Flatten ("flat") and one linear layer ("logits"), which becomes the output.
  Graph head(const std::string& from, int64_t num_classes, bool bias = true) {
    const int64_t k = channels_.at(from);
    return head_with(from, random.normal({num_classes, k}), bias ? random.normal({num_classes}) * 0.1 : Tensor());
  }
  Graph head_with(const std::string& from, const Tensor& weight, const Tensor& bias = {}) {
    node("GlobalAveragePool", "pool", {from});
    node("Flatten", "flat", {"pool"});
    gemm_with("logits", "flat", weight, bias);
    return finish("logits");
  }

  Graph finish(const std::string& output) {
    graph.output(output);
    return graph.finish();
  }

  GraphBuilder graph;
  Random random;

 private:
  std::map<std::string, int64_t> channels_;
};

/// Families of small random networks on [N,3,H,W] with four classes, one kind of layer in the foreground each.
enum class Family { kPlain, kNoBias, kResidual, kDepthwise, kSilu, kClip, kConcat };
constexpr Family kFamilies[] = {Family::kPlain, Family::kNoBias, Family::kResidual, Family::kDepthwise,
                                Family::kSilu,  Family::kClip,   Family::kConcat};

inline const char* family_name(Family family) {
  switch (family) {
    case Family::kPlain:
      return "plain";
    case Family::kNoBias:
      return "without biases";
    case Family::kResidual:
      return "residual";
    case Family::kDepthwise:
      return "depthwise";
    case Family::kSilu:
      return "silu";
    case Family::kClip:
      return "clip";
    case Family::kConcat:
      return "concat";
  }
  return "";
}

/// The map before the pooling is named "map".
inline Graph random_network(Family family, uint64_t seed) {
  LayerBuilder b(seed);
  const bool bias = family != Family::kNoBias;
  b.conv("c1", "x", 6, {3, 1, 1, bias});
  const bool smooth = family == Family::kSilu;
  const auto activate = [&](const std::string& name, const std::string& from) {
    if (smooth) return b.silu(name, from);
    // Pre-activations have deviation near one, so that a bound of 1.5 is often met.
    if (family == Family::kClip) return b.clip(name, from, 0, 1.5);
    return b.node("Relu", name, {from});
  };
  switch (family) {
    case Family::kPlain:
    case Family::kNoBias:
      activate("r1", "c1");
      b.pool("MaxPool", "p1", "r1", 3, 2);
      b.conv("c2", "p1", 8, {3, 1, 1, bias});
      activate("r2", "c2");
      b.pool("AveragePool", "p2", "r2", 2, 1);
      b.conv("c3", "p2", 8, {3, 1, 1, bias});
      activate("map", "c3");
      break;
    case Family::kResidual:
      b.norm("n1", "c1");
      activate("r1", "n1");
      b.conv("c2", "r1", 6, {3, 1, 1, false});
      b.norm("n2", "c2");
      b.node("Add", "a2", {"n2", "r1"});
      activate("r2", "a2");
      b.conv("c3", "r2", 8, {3, 2, 1, false});
      b.norm("n3", "c3");
      b.conv("s3", "r2", 8, {1, 2, 1, false});
      b.node("Add", "a3", {"n3", "s3"});
      activate("map", "a3");
      break;
    case Family::kDepthwise:
    case Family::kSilu:
    case Family::kClip:
      b.norm("n1", "c1");
      activate("r1", "n1");
      b.conv("d2", "r1", 6, {3, 2, 6, false});
      b.norm("n2", "d2");
      activate("r2", "n2");
      b.conv("c3", "r2", 8, {1, 1, 1, true});
      activate("map", "c3");
      break;
    case Family::kConcat:
      activate("r1", "c1");
      b.conv("c2", "r1", 4, {1, 1, 1, true});
      b.pool("MaxPool", "p2", "r1", 1, 1);
      b.conv("c3", "r1", 4, {5, 1, 1, true});
      b.node("Concat", "k", {"c2", "p2", "c3"});
      activate("r3", "k");
      b.conv("c4", "r3", 8, {3, 2, 1, true});
      activate("map", "c4");
      break;
  }
  return b.head("map", 4, bias);
}

}  // namespace pellucid::test
