// Operators that move values without changing them.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "graph/ops/op_support.h"

namespace pellucid {
namespace {

// ---- Reshape, Flatten, Squeeze, Unsqueeze, Transpose

/// The gradient of every operator that only renames positions.
TensorList reshape_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (call.grad[0].defined() && call.needed[0]) result[0] = call.grad[0].reshape(call.in_shapes[0]);
  return result;
}

TensorList reshape(OpCall& call) {
  const Tensor& x = call.at(0);
  const std::vector<int64_t> wanted = call.integers(1);
  const bool zero_is_zero = call.node.integer("allowzero", 0) != 0;
  const auto fail = [&](const std::string& reason) {
    op_error(call.node,
             "input of shape " + shape_text(x.sizes()) + " cannot take shape " + list_text(wanted) + ": " + reason);
  };
  Shape shape = wanted;
  int64_t unknown = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !zero_is_zero) {
      if (static_cast<int64_t>(i) >= x.dim()) fail("no dimension to copy");
      shape[i] = x.size(static_cast<int64_t>(i));
    } else if (shape[i] == -1) {
      if (unknown >= 0) fail("only one dimension may be -1");
      unknown = static_cast<int64_t>(i);
    } else if (shape[i] < -1) {
      fail("a dimension is negative");
    }
  }
  if (unknown >= 0) {
    const size_t at_unknown = static_cast<size_t>(unknown);
    shape[at_unknown] = 1;
    const int64_t known = checked_numel(call.node, shape);
    if (known == 0 || x.numel() % known != 0) fail("the -1 has no whole value");
    shape[at_unknown] = x.numel() / known;
  }
  if (checked_numel(call.node, shape) != x.numel()) {
    fail("it has " + std::to_string(x.numel()) + " elements");
  }
  return {x.reshape(shape)};
}

TensorList flatten(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t axis = call.node.integer("axis", 1);
  const int64_t rank = x.dim();
  if (axis < -rank || axis > rank) {
    op_error(call.node, "axis " + std::to_string(axis) + " does not fit input " + shape_text(x.sizes()));
  }
  const int64_t split = axis < 0 ? axis + rank : axis;
  int64_t rows = 1;
  int64_t columns = 1;
  for (int64_t i = 0; i < rank; ++i) (i < split ? rows : columns) *= x.size(i);
  return {x.reshape({rows, columns})};
}

TensorList squeeze(OpCall& call) {
  const Tensor& x = call.at(0);
  const bool all = !call.node.has("axes") && !call.has(1);
  const std::vector<int64_t> axes = normal_axes(call.node, call.integers_from("axes", 1), x.dim());
  std::vector<bool> drop(static_cast<size_t>(x.dim()), false);
  for (const int64_t axis : axes) {
    if (x.size(axis) != 1) {
      op_error(call.node, "axis " + std::to_string(axis) + " of input " + shape_text(x.sizes()) + " is not of size 1");
    }
    drop[static_cast<size_t>(axis)] = true;
  }
  Shape shape;
  for (int64_t i = 0; i < x.dim(); ++i) {
    if (all ? x.size(i) != 1 : !drop[static_cast<size_t>(i)]) shape.push_back(x.size(i));
  }
  return {x.reshape(shape)};
}

TensorList unsqueeze(OpCall& call) {
  const Tensor& x = call.at(0);
  const std::vector<int64_t> given = call.integers_from("axes", 1);
  const int64_t rank = x.dim() + static_cast<int64_t>(given.size());
  std::vector<bool> added(static_cast<size_t>(rank), false);
  for (const int64_t axis : normal_axes(call.node, given, rank)) added[static_cast<size_t>(axis)] = true;
  Shape shape;
  int64_t next = 0;
  for (const bool is_new : added) shape.push_back(is_new ? 1 : x.size(next++));
  return {x.reshape(shape)};
}

std::vector<int64_t> permutation(const Node& node, int64_t rank) {
  std::vector<int64_t> perm = node.integers("perm");
  if (!node.has("perm")) {
    for (int64_t i = rank - 1; i >= 0; --i) perm.push_back(i);
  }
  if (static_cast<int64_t>(perm.size()) != rank) {
    op_error(node, "perm " + list_text(perm) + " does not fit an input of " + std::to_string(rank) + " dimensions");
  }
  return normal_axes(node, perm, rank);
}

TensorList transpose(OpCall& call) { return {call.at(0).permute(permutation(call.node, call.at(0).dim()))}; }

TensorList transpose_vjp(const VjpCall& call) {
  if (!call.grad[0].defined() || !call.needed[0]) return TensorList(1);
  const std::vector<int64_t> perm = permutation(call.node, call.grad[0].dim());
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return {call.grad[0].permute(inverse)};
}

// ---- Concat, Split

TensorList concat(OpCall& call) {
  const Tensor& first = call.at(0);
  if (!call.node.has("axis")) op_error(call.node, "attribute axis is missing");
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), first.dim());
  TensorList parts;
  Shape shape = first.sizes().vec();
  shape[static_cast<size_t>(axis)] = 0;
  for (size_t i = 0; i < call.in.size(); ++i) {
    const Tensor& part = call.at(i);
    bool fits = part.dim() == first.dim();
    for (int64_t d = 0; fits && d < part.dim(); ++d) fits = d == axis || part.size(d) == first.size(d);
    if (!fits) {
      op_error(call.node, "inputs " + shape_text(first.sizes()) + " and " + shape_text(part.sizes()) + "; only axis " +
                              std::to_string(axis) + " may differ");
    }
    shape[static_cast<size_t>(axis)] += part.size(axis);
    parts.push_back(on_one_device(part, first).first);
  }
  for (Tensor& part : parts) part = on_one_device(part, parts.back()).first;
  checked_numel(call.node, shape);
  return {at::cat(parts, axis)};
}

TensorList concat_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  const Tensor& grad = call.grad[0];
  if (!grad.defined()) return result;
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), grad.dim());
  int64_t start = 0;
  for (size_t i = 0; i < call.in_shapes.size(); ++i) {
    const int64_t length = call.in_shapes[i][static_cast<size_t>(axis)];
    if (call.needed[i]) result[i] = grad.narrow(axis, start, length);
    start += length;
  }
  return result;
}

std::vector<int64_t> split_sizes(const OpCall& call, int64_t length) {
  const int64_t outputs = static_cast<int64_t>(call.node.outputs.size());
  if (call.node.has("split") || call.has(1)) {
    const std::vector<int64_t> sizes = call.integers_from("split", 1);
    int64_t sum = 0;
    for (const int64_t size : sizes) {
      if (size < 0 || size > length) {
        op_error(call.node, "split " + list_text(sizes) + " does not fit an axis of " + std::to_string(length));
      }
      sum += size;
    }
    if (sum != length) {
      op_error(call.node, "split " + list_text(sizes) + " sums to " + std::to_string(sum) + ", but the axis has " +
                              std::to_string(length));
    }
    if (static_cast<int64_t>(sizes.size()) != outputs) {
      op_error(call.node, "split " + list_text(sizes) + " does not fit " + std::to_string(outputs) + " outputs");
    }
    return sizes;
  }
  const int64_t parts = call.node.integer("num_outputs", outputs);
  if (parts != outputs || parts < 1) {
    op_error(call.node, "num_outputs is " + std::to_string(parts) + ", but there are " + std::to_string(outputs));
  }
  if (length % parts != 0 && call.node.opset < 18) {
    op_error(call.node,
             "an axis of " + std::to_string(length) + " does not split into " + std::to_string(parts) + " equal parts");
  }
  // Since opset 18 the last part takes what is left, which may be less than a part, but not less than nothing.
  const int64_t part = length / parts + (length % parts != 0 ? 1 : 0);
  std::vector<int64_t> sizes;
  for (int64_t i = 0, left = length; i < parts; ++i) {
    sizes.push_back(std::min(part, left));
    left -= sizes.back();
  }
  return sizes;
}

TensorList split(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), x.dim());
  TensorList parts;
  const std::vector<int64_t> sizes = split_sizes(call, x.size(axis));
  save_numbers(call, sizes);
  int64_t start = 0;
  for (const int64_t size : sizes) {
    parts.push_back(x.narrow(axis, start, size));
    start += size;
  }
  return parts;
}

TensorList split_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (!call.needed[0]) return result;
  const Tensor* some = nullptr;
  for (const Tensor& grad : call.grad) some = grad.defined() ? &grad : some;
  if (some == nullptr) return result;
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), some->dim());
  const std::vector<int64_t> sizes = saved_numbers(call);
  TensorList parts;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Shape shape = call.in_shapes[0];
    shape[static_cast<size_t>(axis)] = sizes[i];
    parts.push_back(call.grad[i].defined() ? call.grad[i] : at::zeros(shape, some->options()));
  }
  result[0] = at::cat(parts, axis);
  return result;
}

// ---- Slice

struct AxisSlice {
  int64_t axis;
  int64_t start;  ///< First element in memory order.
  int64_t count;
  int64_t stride;  ///< Always positive.
  bool reversed;
};

std::vector<AxisSlice> slices(const OpCall& call) {
  const Node& node = call.node;
  const Tensor& x = call.at(0);
  const std::vector<int64_t> starts = call.integers_from("starts", 1);
  const std::vector<int64_t> ends = call.integers_from("ends", 2);
  std::vector<int64_t> axes = call.integers_from("axes", 3);
  std::vector<int64_t> steps = call.has(4) ? call.integers(4) : std::vector<int64_t>(starts.size(), 1);
  if (!node.has("axes") && !call.has(3)) {
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    op_error(node, "starts " + list_text(starts) + ", ends " + list_text(ends) + ", axes " + list_text(axes) +
                       " and steps " + list_text(steps) + " differ in length");
  }
  axes = normal_axes(node, axes, x.dim());
  std::vector<AxisSlice> result;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t length = x.size(axes[i]);
    if (steps[i] == 0) op_error(node, "steps " + list_text(steps) + " contain 0");
    // No axis is longer than a step of that size; it keeps the arithmetic below from overflowing.
    const int64_t longest = std::numeric_limits<int64_t>::max() / 4;
    const int64_t step = std::clamp(steps[i], -longest, longest);
    const int64_t start = starts[i] < 0 ? starts[i] + length : starts[i];
    const int64_t end = ends[i] < 0 ? ends[i] + length : ends[i];
    AxisSlice slice{axes[i], 0, 0, std::abs(step), step < 0};
    if (step > 0) {
      slice.start = std::clamp<int64_t>(start, 0, length);
      const int64_t stop = std::clamp<int64_t>(end, 0, length);
      if (stop > slice.start) slice.count = (stop - slice.start - 1) / step + 1;
    } else if (length > 0) {
      const int64_t from = std::clamp<int64_t>(start, 0, length - 1);
      const int64_t stop = std::clamp<int64_t>(end, -1, length - 1);
      if (from > stop) slice.count = (from - stop - 1) / slice.stride + 1;
      slice.start = slice.count > 0 ? from - (slice.count - 1) * slice.stride : 0;
    }
    result.push_back(slice);
  }
  return result;
}

/// The part of `x` in memory order: a view, not yet reversed.
Tensor strided_part(Tensor x, const std::vector<AxisSlice>& parts) {
  for (const AxisSlice& part : parts) {
    if (part.stride == 1 || part.count <= 1) {
      x = x.narrow(part.axis, part.start, part.count);
    } else {
      x = at::slice(x, part.axis, part.start, part.start + (part.count - 1) * part.stride + 1, part.stride);
    }
  }
  return x;
}

std::vector<int64_t> reversed_axes(const std::vector<AxisSlice>& parts) {
  std::vector<int64_t> axes;
  for (const AxisSlice& part : parts) {
    if (part.reversed) axes.push_back(part.axis);
  }
  return axes;
}

TensorList slice(OpCall& call) {
  const std::vector<AxisSlice> parts = slices(call);
  std::vector<int64_t> numbers;
  for (const AxisSlice& p : parts) numbers.insert(numbers.end(), {p.axis, p.start, p.count, p.stride, p.reversed});
  save_numbers(call, numbers);
  const Tensor part = strided_part(call.at(0), parts);
  const std::vector<int64_t> reversed = reversed_axes(parts);
  return {reversed.empty() ? part : part.flip(reversed)};
}

TensorList slice_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (!call.grad[0].defined() || !call.needed[0]) return result;
  const std::vector<int64_t> numbers = saved_numbers(call);
  std::vector<AxisSlice> parts;
  for (size_t i = 0; i + 5 <= numbers.size(); i += 5) {
    parts.push_back({numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4] != 0});
  }
  const std::vector<int64_t> reversed = reversed_axes(parts);
  const Tensor& grad = call.grad[0];
  result[0] = at::zeros(call.in_shapes[0], grad.options());
  strided_part(result[0], parts).copy_(reversed.empty() ? grad : grad.flip(reversed));
  return result;
}

// ---- Expand, Tile

TensorList expand(OpCall& call) {
  const Tensor& x = call.at(0);
  const std::vector<int64_t> wanted = call.integers(1);
  for (const int64_t size : wanted) {
    if (size < 0) op_error(call.node, "shape " + list_text(wanted) + " has a negative dimension");
  }
  return {x.expand(broadcast_shape(call.node, x.sizes(), wanted))};
}

TensorList expand_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (call.grad[0].defined() && call.needed[0]) result[0] = unbroadcast(call.grad[0], call.in_shapes[0]);
  return result;
}

TensorList tile(OpCall& call) {
  const Tensor& x = call.at(0);
  const std::vector<int64_t> repeats = call.integers(1);
  if (static_cast<int64_t>(repeats.size()) != x.dim()) {
    op_error(call.node, "repeats " + list_text(repeats) + " do not fit input " + shape_text(x.sizes()));
  }
  checked_numel(call.node, repeats);
  Shape shape = x.sizes().vec();
  for (size_t i = 0; i < shape.size(); ++i) {
    // Both factors were bounded by 2^40 each; their product may still overflow, so it is asked in two steps.
    checked_numel(call.node, {shape[i], repeats[i]});
    shape[i] *= repeats[i];
  }
  checked_numel(call.node, shape);
  return {x.repeat(repeats)};
}

// ---- Pad

struct Padding {
  std::vector<int64_t> before;  ///< One per axis of the input; negative crops.
  std::vector<int64_t> after;
  std::string mode;

  /// In LibTorch's order: last axis first, before and after together. `sign` -1 undoes.
  std::vector<int64_t> torch_order(int64_t sign = 1) const {
    std::vector<int64_t> order;
    for (size_t i = before.size(); i-- > 0;) {
      order.push_back(sign * before[i]);
      order.push_back(sign * after[i]);
    }
    return order;
  }
};

Padding padding(const OpCall& call) {
  const Node& node = call.node;
  const Tensor& x = call.at(0);
  const std::vector<int64_t> pads = call.integers_from("pads", 1);
  const size_t rank = static_cast<size_t>(x.dim());
  std::vector<int64_t> axes;
  if (call.has(3)) {
    axes = normal_axes(node, call.integers(3), x.dim());
  } else {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (pads.size() != 2 * axes.size()) {
    op_error(node, "pads " + list_text(pads) + " do not fit " + std::to_string(axes.size()) + " axes of input " +
                       shape_text(x.sizes()));
  }
  Padding result{std::vector<int64_t>(rank), std::vector<int64_t>(rank), node.text("mode", "constant")};
  Shape shape = x.sizes().vec();
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = static_cast<size_t>(axes[i]);
    const int64_t before = pads[i];
    const int64_t after = pads[i + axes.size()];
    checked_numel(node, {std::max<int64_t>(before, 0)});
    checked_numel(node, {std::max<int64_t>(after, 0)});
    const int64_t length = shape[axis];
    // Compared in this order nothing overflows: the sizes are bounded and the pads are at least -2^63.
    if (before < -length || after < -length || length + before + after < 0) {
      op_error(node, "pads " + list_text(pads) + " take away more than input " + shape_text(x.sizes()) + " has");
    }
    result.before[axis] = before;
    result.after[axis] = after;
    shape[axis] = length + before + after;
  }
  checked_numel(node, shape);
  const std::string& mode = result.mode;
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    op_error(node, "mode is '" + mode + "'; it must be constant, reflect, edge or wrap");
  }
  for (size_t i = 0; i < rank && mode != "constant"; ++i) {
    if (x.size(static_cast<int64_t>(i)) == 0 && shape[i] > 0) {
      op_error(node, "mode " + mode + " has nothing to repeat in input " + shape_text(x.sizes()));
    }
  }
  return result;
}

/// Where each element along one padded axis comes from.
Tensor source_positions(const Padding& padding, size_t axis, int64_t length, at::Device device) {
  const int64_t size = length + padding.before[axis] + padding.after[axis];
  const Tensor position = at::arange(size, at::TensorOptions(at::kLong)) - padding.before[axis];
  Tensor source;
  if (padding.mode == "edge") {
    source = position.clamp(0, length - 1);
  } else if (padding.mode == "wrap") {
    source = at::remainder(position, length);
  } else if (length == 1) {
    source = at::zeros_like(position);
  } else {
    // A reflection repeats with period 2(n - 1): up to the last element and back without repeating the ends.
    const Tensor phase = at::remainder(position, 2 * (length - 1));
    source = at::minimum(phase, 2 * (length - 1) - phase);
  }
  return source.to(device);
}

bool changes(const Padding& padding, size_t axis) { return padding.before[axis] != 0 || padding.after[axis] != 0; }

/// LibTorch has kernels of its own for picture borders: a rank-4 input padded on its last two axes.
bool has_border_kernel(const Padding& padding, const Tensor& x) {
  if (x.dim() != 4 || !x.is_floating_point() || x.numel() == 0 || padding.mode == "wrap") return false;
  if (changes(padding, 0) || changes(padding, 1)) return false;
  for (size_t axis = 2; axis < 4; ++axis) {
    const int64_t least = std::min(padding.before[axis], padding.after[axis]);
    const int64_t most = std::max(padding.before[axis], padding.after[axis]);
    if (least < 0 || (padding.mode == "reflect" && most >= x.size(static_cast<int64_t>(axis)))) return false;
  }
  return true;
}

TensorList pad(OpCall& call) {
  Tensor x = call.at(0);
  const Padding pads = padding(call);
  std::vector<int64_t> numbers = pads.before;
  numbers.insert(numbers.end(), pads.after.begin(), pads.after.end());
  save_numbers(call, numbers);
  if (pads.mode == "constant") {
    at::Scalar value = call.node.real("value", 0);
    if (call.has(2)) {
      if (call.in[2].numel() != 1) {
        op_error(call.node, "constant_value is " + tensor_text(call.in[2]) + "; it must be one number");
      }
      value = call.in[2].item();
    }
    return {at::constant_pad_nd(x, pads.torch_order(), value)};
  }
  if (has_border_kernel(pads, x)) {
    const std::vector<int64_t> border{pads.before[3], pads.after[3], pads.before[2], pads.after[2]};
    return {pads.mode == "edge" ? at::replication_pad2d(x, border) : at::reflection_pad2d(x, border)};
  }
  for (size_t i = 0; i < pads.before.size(); ++i) {
    const int64_t axis = static_cast<int64_t>(i);
    if (changes(pads, i)) x = x.index_select(axis, source_positions(pads, i, x.size(axis), x.device()));
  }
  return {x};
}

TensorList pad_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (!call.grad[0].defined() || !call.needed[0]) return result;
  const std::vector<int64_t> numbers = saved_numbers(call);
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  const Padding pads{{numbers.begin(), middle}, {middle, numbers.end()}, call.node.text("mode", "constant")};
  Tensor grad = call.grad[0];
  if (pads.mode == "constant") {
    result[0] = at::constant_pad_nd(grad, pads.torch_order(-1));
    return result;
  }
  for (size_t i = pads.before.size(); i-- > 0;) {
    if (!changes(pads, i)) continue;
    const int64_t axis = static_cast<int64_t>(i);
    Shape shape = grad.sizes().vec();
    shape[i] = call.in_shapes[0][i];
    const Tensor source = source_positions(pads, i, shape[i], grad.device());
    grad = at::zeros(shape, grad.options()).index_add_(axis, source, grad);
  }
  result[0] = grad;
  return result;
}

}  // namespace

void add_shape_ops(std::vector<Op>& ops) {
  const OpRole shape = OpRole::kShape;
  ops.push_back(onnx_op("Concat", concat, concat_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Expand", expand, expand_vjp, VjpReads::kNothing, shape, 8));
  ops.push_back(onnx_op("Flatten", flatten, reshape_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Pad", pad, pad_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Reshape", reshape, reshape_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Slice", slice, slice_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Split", split, split_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Squeeze", squeeze, reshape_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Tile", tile, nullptr, shape));
  ops.push_back(onnx_op("Transpose", transpose, transpose_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Unsqueeze", unsqueeze, reshape_vjp, VjpReads::kNothing, shape));
}

}  // namespace pellucid
