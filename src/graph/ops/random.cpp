// Noise that is the same in every run: seeded by the file's `seed` or, where it has none, by the node's name.

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstring>

#include "graph/ops/op_support.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

/// FNV-1a (Fowler, Noll, Vo), as recommended for 64 bits: the same number on every platform.
uint64_t hash_of(const char* bytes, size_t count) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < count; ++i) hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 1099511628211u;
  return hash;
}

at::Generator generator_for(const Node& node) {
  if (!node.has("seed")) return at::detail::createCPUGenerator(hash_of(node.name.data(), node.name.size()));
  const double seed = node.real("seed", 0);
  char bytes[sizeof seed];
  std::memcpy(bytes, &seed, sizeof seed);
  return at::detail::createCPUGenerator(hash_of(bytes, sizeof bytes));
}

/// Drawn on the CPU in float32 whatever the device, so that all devices see the same noise.
Tensor blank(const Node& node, at::IntArrayRef shape) {
  checked_numel(node, shape.vec());
  return at::empty(shape, at::TensorOptions(at::kFloat));
}

Tensor normal(const Node& node, at::IntArrayRef shape) {
  const double scale = node.real("scale", 1);
  if (!(scale >= 0)) op_error(node, "scale is " + number_text(scale) + "; it must not be negative");
  return blank(node, shape).normal_(node.real("mean", 0), scale, generator_for(node));
}

Tensor uniform(const Node& node, at::IntArrayRef shape) {
  const double low = node.real("low", 0);
  const double high = node.real("high", 1);
  if (!(low <= high) || !std::isfinite(high - low)) {
    op_error(node,
             "low is " + number_text(low) + " and high " + number_text(high) + "; they must be finite and in order");
  }
  return blank(node, shape).uniform_(0, 1, generator_for(node)).mul_(high - low).add_(low);
}

using Draw = Tensor (*)(const Node&, at::IntArrayRef);

template <Draw draw>
TensorList random(OpCall& call) {
  if (!call.node.has("shape")) op_error(call.node, "attribute shape is missing");
  const at::ScalarType type = element_type(call.node, call.node.integer("dtype", 1));
  return {made(call, draw(call.node, call.node.integers("shape")), type)};
}

at::ScalarType type_like(const OpCall& call) {
  return call.node.has("dtype") ? element_type(call.node, call.node.integer("dtype", 1)) : call.at(0).scalar_type();
}

template <Draw draw>
TensorList random_like(OpCall& call) {
  return {made(call, draw(call.node, call.at(0).sizes()), type_like(call))};
}

TensorList bernoulli(OpCall& call) {
  const Tensor& probability = call.at(0);
  const Tensor drawn = blank(call.node, probability.sizes()).uniform_(0, 1, generator_for(call.node));
  return {made(call, at::lt(drawn.to(probability.device()), probability), type_like(call))};
}

}  // namespace

void add_random_ops(std::vector<Op>& ops) {
  ops.push_back(onnx_op("Bernoulli", bernoulli, nullptr, OpRole::kOther, 15));
  ops.push_back(onnx_op("RandomNormal", random<normal>));
  ops.push_back(onnx_op("RandomNormalLike", random_like<normal>));
  ops.push_back(onnx_op("RandomUniform", random<uniform>));
  ops.push_back(onnx_op("RandomUniformLike", random_like<uniform>));
}

}  // namespace pellucid
