#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graph/op.h"
#include "pellucid/error.h"

namespace pellucid {

// The opsets Pellucid reads. An operator that changed in between looks at node.opset.
constexpr int64_t kFirstOpset = 7;
constexpr int64_t kLastOpset = 22;

/// An operator of ONNX's own domain.
inline Op onnx_op(const char* type, Forward forward, Vjp vjp = nullptr, OpRole role = OpRole::kOther,
                  int64_t since = kFirstOpset, int64_t until = kLastOpset) {
  return Op{type, std::string(), since, until, forward, vjp, role, VjpReads::kBoth};
}

inline std::string list_text(const std::vector<int64_t>& list) { return shape_text(list); }

/// The same with a VJP that needs less than all inputs and outputs.
inline Op onnx_op(const char* type, Forward forward, Vjp vjp, VjpReads reads, OpRole role, int64_t since = kFirstOpset,
                  int64_t until = kLastOpset) {
  return Op{type, std::string(), since, until, forward, vjp, role, reads};
}

/// Keeps small numbers a VJP needs, so that it need not keep the tensors they came from.
inline void save_numbers(const OpCall& call, const std::vector<int64_t>& numbers) {
  if (call.saved == nullptr) return;
  call.saved->push_back(at::tensor(at::ArrayRef<int64_t>(numbers), at::TensorOptions(at::kLong)));
}

inline std::vector<int64_t> saved_numbers(const VjpCall& call) {
  const Tensor& numbers = call.saved.at(0);
  return std::vector<int64_t>(numbers.data_ptr<int64_t>(), numbers.data_ptr<int64_t>() + numbers.numel());
}

/// The shape two operands broadcast to (numpy rules), or an error that shows both.
inline Shape broadcast_shape(const Node& node, at::IntArrayRef a, at::IntArrayRef b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape shape(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t size_a = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const int64_t size_b = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (size_a != size_b && size_a != 1 && size_b != 1) {
      op_error(node, "inputs " + shape_text(a) + " and " + shape_text(b) + " do not broadcast");
    }
    shape[i] = size_a == 1 ? size_b : size_a;
  }
  checked_numel(node, shape);
  return shape;
}

/// Small integer tensors live on the CPU while activations may not; brings a pair together, never to the CPU.
inline std::pair<Tensor, Tensor> on_one_device(const Tensor& a, const Tensor& b) {
  if (a.device() == b.device()) return {a, b};
  return a.is_cpu() ? std::make_pair(a.to(b.device()), b) : std::make_pair(a, b.to(a.device()));
}

/// The gradient of an operand that was broadcast: summed over the dimensions that were stretched.
inline Tensor unbroadcast(const Tensor& grad, const Shape& operand) {
  return grad.sizes() == at::IntArrayRef(operand) ? grad : grad.sum_to_size(operand);
}

/// LibTorch's name for an element type of the ONNX format (TensorProto.DataType).
inline at::ScalarType element_type(const Node& node, int64_t onnx_type) {
  switch (onnx_type) {
    case 1:
      return at::kFloat;
    case 2:
      return at::kByte;
    case 3:
      return at::kChar;
    case 5:
      return at::kShort;
    case 6:
      return at::kInt;
    case 7:
      return at::kLong;
    case 9:
      return at::kBool;
    case 10:
      return at::kHalf;
    case 11:
      return at::kDouble;
    case 16:
      return at::kBFloat16;
    default:
      break;
  }
  throw_unsupported("node '" + node.name + "' (" + node.op + "): element type " + std::to_string(onnx_type) +
                    " is not supported; float, double, float16, bfloat16, bool, uint8 and int8 to int64 are");
}

/// The type a node that makes values gives them: floating-point results follow the network's precision.
inline at::ScalarType made_type(const OpCall& call, at::ScalarType type) {
  return at::isFloatingType(type) && call.promote != at::ScalarType::Undefined ? call.promote : type;
}

/// `tensor` with that type; floating-point results go to the network's device, integers stay where they are.
inline Tensor made(const OpCall& call, const Tensor& tensor, at::ScalarType type) {
  const at::ScalarType result = made_type(call, type);
  return at::isFloatingType(result) ? tensor.to(call.device, result) : tensor.to(result);
}

/// Axes counted from the front, in the given order; an error when one is out of range or repeated.
inline std::vector<int64_t> normal_axes(const Node& node, std::vector<int64_t> axes, int64_t rank) {
  std::vector<bool> seen(static_cast<size_t>(rank));
  for (int64_t& axis : axes) {
    axis = normal_axis(node, axis, rank);
    if (seen[static_cast<size_t>(axis)]) op_error(node, "axis " + std::to_string(axis) + " is given twice");
    seen[static_cast<size_t>(axis)] = true;
  }
  return axes;
}

}  // namespace pellucid
