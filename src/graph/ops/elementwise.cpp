// Arithmetic and elementary functions, element by element with numpy broadcasting.

#include "graph/ops/op_support.h"

namespace pellucid {
namespace {

using Unary = Tensor (*)(const Tensor&);
using UnaryInPlace = Tensor& (*)(Tensor&);

template <Unary function, UnaryInPlace in_place>
TensorList unary(OpCall& call) {
  const Tensor& x = call.at(0);
  if (x.is_floating_point() && call.reusable(0)) return {in_place(call.in[0])};
  return {function(x)};
}

TensorList sign(OpCall& call) { return {at::sign(call.at(0))}; }

/// Whether in[i] may hold the result of an operation between in[0] and in[1].
bool holds_result(const OpCall& call, size_t i, const Shape& shape) {
  return call.reusable(i) && call.in[i].sizes() == at::IntArrayRef(shape) &&
         call.in[0].scalar_type() == call.in[1].scalar_type() && !call.in[1 - i].requires_grad();
}

struct Operands {
  Tensor a;
  Tensor b;
  Shape shape;
};

Operands operands(const OpCall& call) {
  auto [a, b] = on_one_device(call.at(0), call.at(1));
  Shape shape = broadcast_shape(call.node, a.sizes(), b.sizes());
  return {std::move(a), std::move(b), std::move(shape)};
}

TensorList add(OpCall& call) {
  const Shape shape = broadcast_shape(call.node, call.at(0).sizes(), call.at(1).sizes());
  if (call.in[0].device() == call.in[1].device()) {
    if (holds_result(call, 0, shape)) return {call.in[0].add_(call.in[1])};
    if (holds_result(call, 1, shape)) return {call.in[1].add_(call.in[0])};
  }
  const auto [a, b] = on_one_device(call.in[0], call.in[1]);
  return {at::add(a, b)};
}

TensorList add_vjp(const VjpCall& call) {
  TensorList result(2);
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  for (size_t i = 0; i < 2; ++i) {
    if (call.needed[i]) result[i] = unbroadcast(grad, call.in_shapes[i]);
  }
  return result;
}

TensorList sub(OpCall& call) {
  const Shape shape = broadcast_shape(call.node, call.at(0).sizes(), call.at(1).sizes());
  if (call.in[0].device() == call.in[1].device() && holds_result(call, 0, shape)) {
    return {call.in[0].sub_(call.in[1])};
  }
  const auto [a, b] = on_one_device(call.in[0], call.in[1]);
  return {at::sub(a, b)};
}

TensorList sub_vjp(const VjpCall& call) {
  TensorList result(2);
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  if (call.needed[0]) result[0] = unbroadcast(grad, call.in_shapes[0]);
  if (call.needed[1]) result[1] = unbroadcast(grad, call.in_shapes[1]).neg();
  return result;
}

TensorList mul(OpCall& call) {
  const Shape shape = broadcast_shape(call.node, call.at(0).sizes(), call.at(1).sizes());
  if (call.in[0].device() == call.in[1].device()) {
    if (holds_result(call, 0, shape)) return {call.in[0].mul_(call.in[1])};
    if (holds_result(call, 1, shape)) return {call.in[1].mul_(call.in[0])};
  }
  const auto [a, b] = on_one_device(call.in[0], call.in[1]);
  return {at::mul(a, b)};
}

TensorList mul_vjp(const VjpCall& call) {
  TensorList result(2);
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  if (call.needed[0]) result[0] = unbroadcast(grad * call.in[1], call.in_shapes[0]);
  if (call.needed[1]) result[1] = unbroadcast(grad * call.in[0], call.in_shapes[1]);
  return result;
}

/// An integer divisor without zeros, which trap, and without -1, by which the least integer cannot be divided.
Tensor safe_divisor(const Node& node, const Tensor& divisor) {
  if (at::eq(divisor, 0).any().item<bool>()) op_error(node, "integer division by zero");
  if (divisor.scalar_type() == at::kByte) return divisor;
  return at::where(at::eq(divisor, -1), at::ones_like(divisor), divisor);
}

TensorList div(OpCall& call) {
  const auto [a, b, shape] = operands(call);
  if (a.is_floating_point() || b.is_floating_point()) {
    return {at::div(a, b)};
  }
  const Tensor quotient = at::div(a, safe_divisor(call.node, b), "trunc");
  if (b.scalar_type() == at::kByte) return {quotient};
  return {at::where(at::eq(b, -1), quotient.neg(), quotient)};
}

TensorList div_vjp(const VjpCall& call) {
  TensorList result(2);
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  const Tensor grad_a = grad / call.in[1];
  if (call.needed[0]) result[0] = unbroadcast(grad_a, call.in_shapes[0]);
  if (call.needed[1]) result[1] = unbroadcast(grad_a * call.in[0] / call.in[1], call.in_shapes[1]).neg();
  return result;
}

TensorList neg_vjp(const VjpCall& call) {
  if (!call.grad[0].defined() || !call.needed[0]) return TensorList(1);
  return {call.grad[0].neg()};
}

TensorList pow(OpCall& call) {
  auto [base, exponent, shape] = operands(call);
  const at::ScalarType type = base.scalar_type();
  if (base.is_floating_point()) {
    // A single exponent as a number lets LibTorch square instead of calling pow for each element.
    const bool is_number = exponent.is_cpu() && exponent.numel() == 1 && exponent.dim() <= base.dim();
    if (is_number && !exponent.requires_grad()) {
      const double power = exponent.item<double>();
      return {at::pow(base, power)};
    }
    return {at::pow(base, exponent.to(type))};
  }
  // Integers are exact among themselves; a real exponent is applied in double and the result cut to the base's type.
  if (!exponent.is_floating_point()) return {at::pow(base, exponent).to(type)};
  return {at::pow(base.to(at::kDouble), exponent.to(at::kDouble)).to(type)};
}

TensorList mod(OpCall& call) {
  auto [a, b, shape] = operands(call);
  const bool is_integer = !a.is_floating_point();
  if (is_integer) b = safe_divisor(call.node, b);
  const at::ScalarType type = a.scalar_type();
  if (type == at::kHalf) {
    a = a.to(at::kFloat);
    b = b.to(at::kFloat);
  }
  const Tensor rest = call.node.integer("fmod", 0) != 0 ? at::fmod(a, b) : at::remainder(a, b);
  return {rest.to(type)};
}

using Binary = Tensor (*)(const Tensor&, const Tensor&);

Tensor add_pair(const Tensor& a, const Tensor& b) { return at::add(a, b); }

template <Binary combine>
TensorList fold(OpCall& call) {
  Tensor result = call.at(0);
  for (size_t i = 1; i < call.in.size(); ++i) {
    broadcast_shape(call.node, result.sizes(), call.at(i).sizes());
    const auto [a, b] = on_one_device(result, call.in[i]);
    result = combine(a, b);
  }
  return {result};
}

TensorList sum_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  for (size_t i = 0; i < call.in_shapes.size(); ++i) {
    if (call.needed[i]) result[i] = unbroadcast(grad, call.in_shapes[i]);
  }
  return result;
}

TensorList mean(OpCall& call) {
  const Tensor sum = fold<add_pair>(call)[0];
  return {sum / static_cast<double>(call.in.size())};
}

}  // namespace

void add_elementwise_ops(std::vector<Op>& ops) {
  const OpRole curve = OpRole::kActivation;
  ops.push_back(onnx_op("Abs", unary<at::abs, at::abs_>, nullptr, curve));
  ops.push_back(onnx_op("Acos", unary<at::acos, at::acos_>, nullptr, curve));
  ops.push_back(onnx_op("Acosh", unary<at::acosh, at::acosh_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Add", add, add_vjp, VjpReads::kNothing, OpRole::kSum));
  ops.push_back(onnx_op("Asin", unary<at::asin, at::asin_>, nullptr, curve));
  ops.push_back(onnx_op("Asinh", unary<at::asinh, at::asinh_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Atan", unary<at::atan, at::atan_>, nullptr, curve));
  ops.push_back(onnx_op("Atanh", unary<at::atanh, at::atanh_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Ceil", unary<at::ceil, at::ceil_>, nullptr, curve));
  ops.push_back(onnx_op("Cos", unary<at::cos, at::cos_>, nullptr, curve));
  ops.push_back(onnx_op("Cosh", unary<at::cosh, at::cosh_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Div", div, div_vjp, VjpReads::kInputs, OpRole::kOther));
  ops.push_back(onnx_op("Erf", unary<at::erf, at::erf_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Exp", unary<at::exp, at::exp_>, nullptr, curve));
  ops.push_back(onnx_op("Floor", unary<at::floor, at::floor_>, nullptr, curve));
  ops.push_back(onnx_op("Log", unary<at::log, at::log_>, nullptr, curve));
  ops.push_back(onnx_op("Max", fold<at::maximum>));
  ops.push_back(onnx_op("Mean", mean));
  ops.push_back(onnx_op("Min", fold<at::minimum>));
  ops.push_back(onnx_op("Mod", mod, nullptr, OpRole::kOther, 10));
  ops.push_back(onnx_op("Mul", mul, mul_vjp, VjpReads::kInputs, OpRole::kProduct));
  ops.push_back(onnx_op("Neg", unary<at::neg, at::neg_>, neg_vjp, VjpReads::kNothing, OpRole::kOther));
  ops.push_back(onnx_op("Pow", pow));
  ops.push_back(onnx_op("Reciprocal", unary<at::reciprocal, at::reciprocal_>, nullptr, curve));
  ops.push_back(onnx_op("Round", unary<at::round, at::round_>, nullptr, curve, 11));
  ops.push_back(onnx_op("Sign", sign, nullptr, curve, 9));
  ops.push_back(onnx_op("Sin", unary<at::sin, at::sin_>, nullptr, curve));
  ops.push_back(onnx_op("Sinh", unary<at::sinh, at::sinh_>, nullptr, curve, 9));
  ops.push_back(onnx_op("Sqrt", unary<at::sqrt, at::sqrt_>, nullptr, curve));
  ops.push_back(onnx_op("Sub", sub, sub_vjp, VjpReads::kNothing, OpRole::kOther));
  ops.push_back(onnx_op("Sum", fold<add_pair>, sum_vjp, VjpReads::kNothing, OpRole::kSum));
  ops.push_back(onnx_op("Tan", unary<at::tan, at::tan_>, nullptr, curve));
}

}  // namespace pellucid
