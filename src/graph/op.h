#pragma once

#include <string>
#include <vector>

#include "pellucid/graph.h"

namespace pellucid {

class PackedConvolutions;

/// What an operator's forward function works with.
struct OpCall {
  const Node& node;
  /// One per node input; undefined for an optional input left out. The executor gives up its own handle when a value is
  /// used for the last time, so an operator may reuse memory that `reusable` allows.
  TensorList& in;
  /// What the operator's own VJP needs beyond inputs and outputs (pooling switches). Null when nothing is recorded.
  TensorList* saved = nullptr;
  bool training = false;
  /// Element type that Cast and constant-making nodes give to floating-point results; Undefined keeps the node's own.
  at::ScalarType promote = at::ScalarType::Undefined;
  /// Where constant-making nodes put floating-point results.
  at::Device device = at::kCPU;
  /// Set when the weights of this node never change, so that they may be kept in another layout.
  const PackedConvolutions* packed = nullptr;

  bool has(size_t i) const { return i < in.size() && in[i].defined(); }
  /// The tensor, or an error naming the node when the file leaves it out.
  const Tensor& at(size_t i) const;
  Tensor optional(size_t i) const { return has(i) ? in[i] : Tensor(); }
  /// A small integer tensor (shape, axes, repeats) as numbers.
  std::vector<int64_t> integers(size_t i) const;
  /// The attribute (older opsets) or the input (newer ones), whichever the node has.
  std::vector<int64_t> integers_from(const char* attribute, size_t input) const;
  /// True when nobody else can see the memory of in[i], so that it may be overwritten.
  bool reusable(size_t i) const;
};

struct VjpCall {
  const Node& node;
  const TensorList& in;
  const TensorList& out;
  const TensorList& saved;
  const TensorList& grad;               ///< One per output; undefined where nothing arrived.
  const std::vector<bool>& needed;      ///< One per input.
  const std::vector<Shape>& in_shapes;  ///< Always there, also when `in` was not kept.
};

/// What a node does to the values that pass, as backward rules and explanations need to know it.
enum class OpRole {
  kOther,
  kLinear,      ///< Conv, ConvTranspose, Gemm, MatMul
  kRectifier,   ///< zero below a threshold, identity above: Relu, Clip(0,..)
  kActivation,  ///< any other element-wise non-linearity
  kNormalization,
  kPool,
  kSum,
  kProduct,
  kShape  ///< moves values without changing them
};

enum class VjpReads { kNothing, kInputs, kOutputs, kBoth };

using Forward = TensorList (*)(OpCall&);
/// One tensor per input, undefined where not needed or not differentiable.
using Vjp = TensorList (*)(const VjpCall&);

/// One operator. Without a `vjp` the tape records the forward pass as a small autograd graph of its own.
struct Op {
  std::string type;
  std::string domain;
  int64_t since;  ///< First and last opset the implementation was checked against.
  int64_t until;
  Forward forward;
  Vjp vjp = nullptr;
  OpRole role = OpRole::kOther;
  /// What `vjp` reads besides shapes and gradients; the rest is not kept, so that it can be overwritten in place.
  VjpReads reads = VjpReads::kBoth;
};

/// The operator for (domain, type, opset), or null.
const Op* find_op(const std::string& domain, const std::string& type, int64_t opset);

/// Every operator, sorted by type, for `pellucid info --ops` and the docs.
const std::vector<Op>& all_ops();

/// The role of a node: that of its operator, but Clip is a rectifier only when its lower bound is 0.
OpRole role_of(const Node& node);

/// Throws Error(kInvalidInput) that begins with the node's name and operator.
[[noreturn]] void op_error(const Node& node, const std::string& problem);
inline void op_check(bool condition, const Node& node, const std::string& problem) {
  if (!condition) op_error(node, problem);
}

/// `axis` counted from the front; an error when it is not in [-rank, rank).
int64_t normal_axis(const Node& node, int64_t axis, int64_t rank);

/// The product of `shape` when it stays within what a tensor may hold; otherwise an error naming the node. To be asked
/// before allocating a result whose size comes from data.
int64_t checked_numel(const Node& node, const std::vector<int64_t>& shape);

/// Domain of the operators that only the planner makes: Rectify(min, max), Silu, HardSwish, Gelu. Files cannot name it.
constexpr const char* kCanonicalDomain = "pellucid.canonical";

// One function per file in graph/ops/; the registry in ops.cpp lists them.
void add_activation_ops(std::vector<Op>& ops);
void add_canonical_ops(std::vector<Op>& ops);  // what the planner makes of patterns; never found in a file
void add_convolution_ops(std::vector<Op>& ops);
void add_elementwise_ops(std::vector<Op>& ops);
void add_linear_ops(std::vector<Op>& ops);
void add_logic_ops(std::vector<Op>& ops);
void add_normalization_ops(std::vector<Op>& ops);
void add_pooling_ops(std::vector<Op>& ops);
void add_quantization_ops(std::vector<Op>& ops);
void add_random_ops(std::vector<Op>& ops);
void add_reduction_ops(std::vector<Op>& ops);
void add_resize_ops(std::vector<Op>& ops);
void add_shape_ops(std::vector<Op>& ops);
void add_tensor_ops(std::vector<Op>& ops);

}  // namespace pellucid
