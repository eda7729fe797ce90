// Element-wise non-linearities and Softmax.

#include "graph/op.h"

namespace pellucid {

namespace {

/// Applies `fn` in floating point; integer tensors (allowed by a few of these operators) go there and back.
template <class F>
TensorList unary(OpCall& call, F fn) {
  return {fn(call.at(0))};
}

TensorList relu(OpCall& call) {
  if (call.reusable(0)) return {call.in[0].relu_()};
  return {at::relu(call.at(0))};
}

TensorList relu_vjp(const VjpCall& call) { return {at::threshold_backward(call.grad[0], call.out[0], 0)}; }

TensorList leaky_relu(OpCall& call) {
  return unary(call, [&](const Tensor& x) { return at::leaky_relu(x, call.node.real("alpha", 0.01)); });
}

TensorList prelu(OpCall& call) {
  const Tensor& x = call.at(0);
  const Tensor& slope = call.at(1);
  return {at::where(x < 0, x * slope, x)};
}

TensorList elu(OpCall& call) {
  return unary(call, [&](const Tensor& x) { return at::elu(x, call.node.real("alpha", 1.0)); });
}

TensorList selu(OpCall& call) {
  const double alpha = call.node.real("alpha", 1.67326319217681884765625);
  const double gamma = call.node.real("gamma", 1.05070102214813232421875);
  return unary(call, [&](const Tensor& x) { return at::elu(x, alpha, gamma); });
}

TensorList celu(OpCall& call) {
  return unary(call, [&](const Tensor& x) { return at::celu(x, call.node.real("alpha", 1.0)); });
}

TensorList thresholded_relu(OpCall& call) {
  const double alpha = call.node.real("alpha", 1.0);
  return unary(call, [&](const Tensor& x) { return at::threshold(x, alpha, 0); });
}

TensorList hard_sigmoid(OpCall& call) {
  const double alpha = call.node.real("alpha", 0.2);
  const double beta = call.node.real("beta", 0.5);
  return unary(call, [&](const Tensor& x) { return at::hardtanh(x * alpha + beta, 0, 1); });
}

TensorList hard_swish(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::hardswish(x); });
}

TensorList mish(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::mish(x); });
}

TensorList gelu(OpCall& call) {
  return unary(call, [&](const Tensor& x) { return at::gelu(x, call.node.text("approximate", "none")); });
}

TensorList silu(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::silu(x); });
}

TensorList sigmoid(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::sigmoid(x); });
}

TensorList tanh(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::tanh(x); });
}

TensorList softplus(OpCall& call) {
  return unary(call, [](const Tensor& x) { return at::softplus(x, 1, 30); });
}

TensorList softsign(OpCall& call) {
  return unary(call, [](const Tensor& x) { return x / (1 + x.abs()); });
}

TensorList shrink(OpCall& call) {
  const double bias = call.node.real("bias", 0.0);
  const double lambd = call.node.real("lambd", 0.5);
  return unary(call, [&](const Tensor& x) {
    return at::where(x < -lambd, x + bias, at::where(x > lambd, x - bias, at::zeros_like(x)));
  });
}

/// The bounds of Clip: attributes up to opset 10, inputs after. `has` flags tell which are there.
struct ClipBounds {
  c10::optional<at::Scalar> low, high;
};

ClipBounds clip_bounds(OpCall& call) {
  ClipBounds bounds;
  for (const char* name : {"min", "max"}) {
    auto& bound = name[1] == 'i' ? bounds.low : bounds.high;
    const size_t input = name[1] == 'i' ? 1 : 2;
    if (call.node.has(name)) {
      bound = call.node.real(name, 0);
    } else if (call.has(input)) {
      op_check(call.in[input].numel() == 1, call.node, std::string(name) + " must be one number");
      bound = call.in[input].item();
    }
  }
  return bounds;
}

TensorList clip(OpCall& call) {
  const ClipBounds bounds = clip_bounds(call);
  const Tensor& x = call.at(0);
  if (!bounds.low && !bounds.high) return {x};
  // The generic clamp is several times slower backwards than hardtanh, and hardtanh's derivative is 0 at both ends, as
  // ReLU6's is.
  if (x.is_floating_point() && bounds.low && bounds.high && bounds.low->toDouble() <= bounds.high->toDouble()) {
    if (call.reusable(0)) return {at::hardtanh_(call.in[0], *bounds.low, *bounds.high)};
    return {at::hardtanh(x, *bounds.low, *bounds.high)};
  }
  return {at::clamp(x, bounds.low, bounds.high)};
}

int64_t softmax_axis(OpCall& call) {
  return normal_axis(call.node, call.node.integer("axis", call.node.opset >= 13 ? -1 : 1),
                     std::max<int64_t>(1, call.at(0).dim()));
}

/// Before opset 13 the tensor is flattened to two dimensions at `axis`.
template <class F>
TensorList softmax_like(OpCall& call, F fn) {
  const Tensor& x = call.at(0);
  const int64_t axis = softmax_axis(call);
  if (call.node.opset >= 13 || axis == x.dim() - 1) return {fn(x, axis)};
  const Tensor flat = x.flatten(axis, -1);
  return {fn(flat, axis).view(x.sizes())};
}

TensorList softmax(OpCall& call) {
  return softmax_like(call, [](const Tensor& x, int64_t axis) { return at::softmax(x, axis); });
}

TensorList log_softmax(OpCall& call) {
  return softmax_like(call, [](const Tensor& x, int64_t axis) { return at::log_softmax(x, axis); });
}

TensorList hardmax(OpCall& call) {
  return softmax_like(call, [](const Tensor& x, int64_t axis) {
    return at::zeros_like(x).scatter_(axis, x.argmax(axis, /*keepdim=*/true), 1);
  });
}

}  // namespace

void add_activation_ops(std::vector<Op>& ops) {
  const auto act = [&](const char* type, int64_t since, Forward forward) {
    ops.push_back({type, "", since, 22, forward, nullptr, OpRole::kActivation});
  };
  ops.push_back({"Relu", "", 6, 22, relu, relu_vjp, OpRole::kRectifier, VjpReads::kOutputs});
  ops.push_back({"Clip", "", 6, 22, clip, nullptr, OpRole::kActivation});
  ops.push_back({"ThresholdedRelu", "", 7, 22, thresholded_relu, nullptr, OpRole::kRectifier});
  act("LeakyRelu", 6, leaky_relu);
  act("PRelu", 7, prelu);
  act("Elu", 6, elu);
  act("Selu", 6, selu);
  act("Celu", 12, celu);
  act("HardSigmoid", 6, hard_sigmoid);
  act("HardSwish", 14, hard_swish);
  act("Mish", 18, mish);
  act("Gelu", 20, gelu);
  act("Sigmoid", 6, sigmoid);
  act("Tanh", 6, tanh);
  act("Softplus", 1, softplus);
  act("Softsign", 1, softsign);
  act("Shrink", 9, shrink);
  ops.push_back({"Softmax", "", 1, 22, softmax});
  ops.push_back({"LogSoftmax", "", 1, 22, log_softmax});
  ops.push_back({"Hardmax", "", 1, 22, hardmax});
}

namespace {

TensorList rectify(OpCall& call) {
  const double low = call.node.real("min", 0);
  if (!call.node.has("max")) return relu(call);
  const double high = call.node.real("max", 0);
  if (call.reusable(0)) return {at::hardtanh_(call.in[0], low, high)};
  return {at::hardtanh(call.at(0), low, high)};
}

// The derivative is 0 at both ends, so the output tells as much as the input.
TensorList rectify_vjp(const VjpCall& call) {
  if (!call.node.has("max")) return relu_vjp(call);
  return {at::hardtanh_backward(call.grad[0], call.out[0], call.node.real("min", 0), call.node.real("max", 0))};
}

}  // namespace

void add_canonical_ops(std::vector<Op>& ops) {
  ops.push_back({"Rectify", kCanonicalDomain, 1, 1, rectify, rectify_vjp, OpRole::kRectifier, VjpReads::kOutputs});
  ops.push_back({"Silu", kCanonicalDomain, 1, 1, silu, nullptr, OpRole::kActivation});
  ops.push_back({"HardSwish", kCanonicalDomain, 1, 1, hard_swish, nullptr, OpRole::kActivation});
  ops.push_back({"Gelu", kCanonicalDomain, 1, 1, gelu, nullptr, OpRole::kActivation});
}

}  // namespace pellucid
