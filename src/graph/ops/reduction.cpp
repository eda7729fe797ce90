// The Reduce* family.

#include <algorithm>
#include <limits>
#include <numeric>

#include "graph/ops/op_support.h"

namespace pellucid {
namespace {

/// What a reduction works on: axes counted from the front, never empty.
struct Reduction {
  Tensor x;
  std::vector<int64_t> axes;
  bool keep = true;
};

using Reduce = Tensor (*)(const Node&, const Reduction&);

template <Reduce reduce>
TensorList reduced(OpCall& call) {
  Reduction r{call.at(0), call.integers_from("axes", 1), call.node.integer("keepdims", 1) != 0};
  if (r.axes.empty()) {
    if (call.node.integer("noop_with_empty_axes", 0) != 0) return {r.x};
    r.axes.resize(static_cast<size_t>(r.x.dim()));
    std::iota(r.axes.begin(), r.axes.end(), 0);
  }
  r.axes = normal_axes(call.node, r.axes, r.x.dim());
  if (r.x.dim() == 0) {
    r.x = r.x.unsqueeze(0);
    r.axes = {0};
    r.keep = false;
  }
  return {reduce(call.node, r)};
}

/// Integers have no logarithms or means of their own: computed in double, cut back to the type.
Reduction as_real(const Reduction& r) { return {r.x.is_floating_point() ? r.x : r.x.to(at::kDouble), r.axes, r.keep}; }

Tensor total(const Reduction& r) { return at::sum(r.x, at::IntArrayRef(r.axes), r.keep, r.x.scalar_type()); }

Tensor sum(const Node&, const Reduction& r) { return total(r); }

Tensor mean(const Node&, const Reduction& r) {
  return at::mean(as_real(r).x, at::IntArrayRef(r.axes), r.keep).to(r.x.scalar_type());
}

Tensor extreme(const Node& node, const Reduction& r, bool largest) {
  bool nothing = false;
  for (const int64_t axis : r.axes) nothing = nothing || r.x.size(axis) == 0;
  if (!nothing) {
    return largest ? at::amax(r.x, r.axes, r.keep) : at::amin(r.x, r.axes, r.keep);
  }
  if (!r.x.is_floating_point()) op_error(node, "nothing to reduce in an input of shape " + shape_text(r.x.sizes()));
  const double infinity = std::numeric_limits<double>::infinity();
  return total(r).fill_(largest ? -infinity : infinity);
}

Tensor max(const Node& node, const Reduction& r) { return extreme(node, r, true); }
Tensor min(const Node& node, const Reduction& r) { return extreme(node, r, false); }

Tensor prod(const Node&, const Reduction& r) {
  std::vector<int64_t> axes = r.axes;
  std::sort(axes.rbegin(), axes.rend());
  Tensor result = r.x;
  for (const int64_t axis : axes) result = at::prod(result, axis, r.keep, r.x.scalar_type());
  return result;
}

Tensor l1(const Node&, const Reduction& r) { return total({at::abs(r.x), r.axes, r.keep}); }

// LibTorch's norm, unlike the root of a sum, has a gradient at zero.
Tensor l2(const Node&, const Reduction& r) {
  return at::linalg_vector_norm(as_real(r).x, 2, at::IntArrayRef(r.axes), r.keep).to(r.x.scalar_type());
}

Tensor sum_square(const Node&, const Reduction& r) { return total({r.x * r.x, r.axes, r.keep}); }

Tensor log_sum(const Node&, const Reduction& r) { return at::log(total(as_real(r))).to(r.x.scalar_type()); }

Tensor log_sum_exp(const Node&, const Reduction& r) {
  return at::logsumexp(as_real(r).x, r.axes, r.keep).to(r.x.scalar_type());
}

}  // namespace

void add_reduction_ops(std::vector<Op>& ops) {
  ops.push_back(onnx_op("ReduceL1", reduced<l1>));
  ops.push_back(onnx_op("ReduceL2", reduced<l2>));
  ops.push_back(onnx_op("ReduceLogSum", reduced<log_sum>));
  ops.push_back(onnx_op("ReduceLogSumExp", reduced<log_sum_exp>));
  ops.push_back(onnx_op("ReduceMax", reduced<max>));
  ops.push_back(onnx_op("ReduceMean", reduced<mean>));
  ops.push_back(onnx_op("ReduceMin", reduced<min>));
  ops.push_back(onnx_op("ReduceProd", reduced<prod>));
  ops.push_back(onnx_op("ReduceSum", reduced<sum>));
  ops.push_back(onnx_op("ReduceSumSquare", reduced<sum_square>));
}

}  // namespace pellucid
