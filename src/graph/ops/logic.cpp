// Comparisons, boolean algebra, bits and selection.

#include "graph/ops/op_support.h"

namespace pellucid {
namespace {

using Binary = Tensor (*)(const Tensor&, const Tensor&);

template <Binary function>
TensorList binary(OpCall& call) {
  const auto [a, b] = on_one_device(call.at(0), call.at(1));
  broadcast_shape(call.node, a.sizes(), b.sizes());
  return {function(a, b)};
}

TensorList logical_not(OpCall& call) { return {at::logical_not(call.at(0))}; }

TensorList is_nan(OpCall& call) { return {at::isnan(call.at(0))}; }

TensorList is_inf(OpCall& call) {
  const Tensor& x = call.at(0);
  const bool negative = call.node.integer("detect_negative", 1) != 0;
  const bool positive = call.node.integer("detect_positive", 1) != 0;
  if (negative && positive) return {at::isinf(x)};
  if (negative) return {at::isneginf(x)};
  if (positive) return {at::isposinf(x)};
  return {at::zeros_like(x, at::kBool)};
}

void check_integers(const Node& node, const Tensor& tensor) {
  if (!at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) {
    op_error(node, "input is " + tensor_text(tensor) + "; it must hold integers");
  }
}

TensorList bit_shift(OpCall& call) {
  const auto [x, shift] = on_one_device(call.at(0), call.at(1));
  check_integers(call.node, x);
  check_integers(call.node, shift);
  broadcast_shape(call.node, x.sizes(), shift.sizes());
  const std::string direction = call.node.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    op_error(call.node, "direction is '" + direction + "'; it must be LEFT or RIGHT");
  }
  // Shifting by the width of the type or more is not defined in C++; ONNX means zero.
  const int64_t width = static_cast<int64_t>(x.element_size()) * 8;
  const Tensor fits = at::logical_and(at::ge(shift, 0), at::lt(shift, width));
  const Tensor amount = at::where(fits, shift, at::zeros_like(shift));
  const Tensor moved = direction == "LEFT" ? at::bitwise_left_shift(x, amount) : at::bitwise_right_shift(x, amount);
  return {at::where(fits, moved, at::zeros_like(moved))};
}

template <Binary function>
TensorList bitwise(OpCall& call) {
  check_integers(call.node, call.at(0));
  check_integers(call.node, call.at(1));
  return binary<function>(call);
}

TensorList bitwise_not(OpCall& call) {
  check_integers(call.node, call.at(0));
  return {at::bitwise_not(call.at(0))};
}

TensorList where(OpCall& call) {
  auto [a, b] = on_one_device(call.at(1), call.at(2));
  if (call.at(0).scalar_type() != at::kBool) {
    op_error(call.node, "condition is " + tensor_text(call.at(0)) + "; it must be bool");
  }
  if (!call.in[0].is_cpu() && a.is_cpu()) {
    a = a.to(call.in[0].device());
    b = b.to(call.in[0].device());
  }
  const Tensor condition = call.in[0].to(a.device());
  const Shape values = broadcast_shape(call.node, a.sizes(), b.sizes());
  broadcast_shape(call.node, condition.sizes(), values);
  return {at::where(condition, a, b)};
}

TensorList where_vjp(const VjpCall& call) {
  TensorList result(3);
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  const Tensor condition = call.in[0].to(grad.device());
  if (call.needed[1]) result[1] = unbroadcast(grad.masked_fill(condition.logical_not(), 0), call.in_shapes[1]);
  if (call.needed[2]) result[2] = unbroadcast(grad.masked_fill(condition, 0), call.in_shapes[2]);
  return result;
}

}  // namespace

void add_logic_ops(std::vector<Op>& ops) {
  const OpRole other = OpRole::kOther;
  ops.push_back(onnx_op("And", binary<at::logical_and>));
  ops.push_back(onnx_op("BitShift", bit_shift, nullptr, other, 11));
  ops.push_back(onnx_op("BitwiseAnd", bitwise<at::bitwise_and>, nullptr, other, 18));
  ops.push_back(onnx_op("BitwiseNot", bitwise_not, nullptr, other, 18));
  ops.push_back(onnx_op("BitwiseOr", bitwise<at::bitwise_or>, nullptr, other, 18));
  ops.push_back(onnx_op("BitwiseXor", bitwise<at::bitwise_xor>, nullptr, other, 18));
  ops.push_back(onnx_op("Equal", binary<at::eq>));
  ops.push_back(onnx_op("Greater", binary<at::gt>));
  ops.push_back(onnx_op("GreaterOrEqual", binary<at::ge>, nullptr, other, 12));
  ops.push_back(onnx_op("IsInf", is_inf, nullptr, other, 10));
  ops.push_back(onnx_op("IsNaN", is_nan, nullptr, other, 9));
  ops.push_back(onnx_op("Less", binary<at::lt>));
  ops.push_back(onnx_op("LessOrEqual", binary<at::le>, nullptr, other, 12));
  ops.push_back(onnx_op("Not", logical_not));
  ops.push_back(onnx_op("Or", binary<at::logical_or>));
  ops.push_back(onnx_op("Where", where, where_vjp, VjpReads::kInputs, other, 9));
  ops.push_back(onnx_op("Xor", binary<at::logical_xor>));
}

}  // namespace pellucid
