// Making, converting, indexing, ordering and rearranging tensors.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "graph/ops/op_support.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

Tensor integer_tensor(const std::vector<int64_t>& values) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::TensorOptions(at::kLong));
}

/// The one number of a tensor that must hold just one.
at::Scalar number(const OpCall& call, size_t i) {
  const Tensor& tensor = call.at(i);
  if (tensor.numel() != 1) {
    op_error(call.node, "input " + std::to_string(i) + " is " + tensor_text(tensor) + "; it must be one number");
  }
  return tensor.item();
}

int64_t whole_number(const OpCall& call, size_t i) {
  const std::vector<int64_t> values = call.integers(i);
  if (values.size() != 1) {
    op_error(call.node, "input " + std::to_string(i) + " is " + list_text(values) + "; it must be one integer");
  }
  return values[0];
}

// ---- Values that come from nowhere

TensorList constant(OpCall& call) {
  const Node& node = call.node;
  if (node.has("value")) {
    const Tensor value = node.tensor("value");
    return {made(call, value, value.scalar_type())};
  }
  if (node.has("value_int")) return {at::scalar_tensor(node.integer("value_int", 0), at::TensorOptions(at::kLong))};
  if (node.has("value_ints")) return {integer_tensor(node.integers("value_ints"))};
  if (node.has("value_float")) {
    return {made(call, at::scalar_tensor(node.real("value_float", 0), at::TensorOptions(at::kDouble)), at::kFloat)};
  }
  if (node.has("value_floats")) {
    const std::vector<double> values = node.reals("value_floats");
    return {made(call, at::tensor(at::ArrayRef<double>(values), at::TensorOptions(at::kDouble)), at::kFloat)};
  }
  throw_unsupported("node '" + node.name + "' (Constant): sparse and text constants are not supported; tensors and " +
                    "lists of numbers are");
}

TensorList constant_of_shape(OpCall& call) {
  const Shape shape = call.integers(0);
  checked_numel(call.node, shape);
  const Tensor value = call.node.tensor("value");
  if (!value.defined()) {
    return {at::zeros(shape, at::TensorOptions(made_type(call, at::kFloat)).device(call.device))};
  }
  if (value.numel() != 1) op_error(call.node, "value is " + tensor_text(value) + "; it must be one number");
  const at::ScalarType type = made_type(call, value.scalar_type());
  const at::Device device = at::isFloatingType(type) ? call.device : at::Device(at::kCPU);
  return {at::full(shape, value.item(), at::TensorOptions(type).device(device))};
}

TensorList range(OpCall& call) {
  const at::ScalarType type = call.at(0).scalar_type();
  const at::Scalar first = number(call, 0);
  const at::Scalar limit = number(call, 1);
  const at::Scalar delta = number(call, 2);
  const double start = first.to<double>();
  const double step = delta.to<double>();
  const double count = std::ceil((limit.to<double>() - start) / step);
  if (step == 0 || !std::isfinite(count)) {
    op_error(call.node, "range from " + number_text(start) + " to " + number_text(limit.to<double>()) +
                            " in steps of " + number_text(step) + " does not end");
  }
  if (count > 1e15) op_error(call.node, "range has " + number_text(count) + " elements");
  const int64_t size = count > 0 ? static_cast<int64_t>(count) : 0;
  checked_numel(call.node, {size});
  const Tensor index = at::arange(size, at::TensorOptions(at::kLong));
  if (at::isFloatingType(type)) return {made(call, index.to(at::kDouble) * step + start, type)};
  return {(index * delta.to<int64_t>() + first.to<int64_t>()).to(type)};
}

TensorList eye_like(OpCall& call) {
  const Tensor& like = call.at(0);
  if (like.dim() != 2) op_error(call.node, "input " + shape_text(like.sizes()) + " is not a matrix");
  const at::ScalarType type =
      call.node.has("dtype") ? element_type(call.node, call.node.integer("dtype", 1)) : like.scalar_type();
  const at::TensorOptions indices(at::kLong);
  const Tensor offset = at::arange(like.size(1), indices) - at::arange(like.size(0), indices).unsqueeze(1);
  return {made(call, at::eq(offset, call.node.integer("k", 0)), type)};
}

TensorList one_hot(OpCall& call) {
  const int64_t depth = number(call, 1).to<int64_t>();
  if (depth < 1) op_error(call.node, "depth is " + std::to_string(depth) + "; it must be at least 1");
  const Tensor values = call.at(2);
  if (values.numel() != 2) op_error(call.node, "values are " + tensor_text(values) + "; they must be [off, on]");
  Tensor index = call.at(0).to(values.device(), at::kLong);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", -1), index.dim() + 1);
  Shape shape = index.sizes().vec();
  shape.insert(shape.begin() + axis, depth);
  checked_numel(call.node, shape);
  index = at::where(at::lt(index, 0), index + depth, index).unsqueeze(axis);
  Shape along(shape.size(), 1);
  along[static_cast<size_t>(axis)] = depth;
  const Tensor classes = at::arange(depth, index.options()).view(along);
  const Tensor pair = values.reshape({2});
  return {at::where(at::eq(index, classes), pair.select(0, 1), pair.select(0, 0))};
}

// ---- Asking about a tensor

TensorList shape_of(OpCall& call) {
  const Shape sizes = call.at(0).sizes().vec();
  const int64_t rank = static_cast<int64_t>(sizes.size());
  const auto bound = [&](int64_t value) { return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank); };
  const int64_t start = bound(call.node.integer("start", 0));
  const int64_t end = bound(call.node.integer("end", rank));
  if (end <= start) return {integer_tensor({})};
  return {integer_tensor(Shape(sizes.begin() + start, sizes.begin() + end))};
}

TensorList size_of(OpCall& call) { return {at::scalar_tensor(call.at(0).numel(), at::TensorOptions(at::kLong))}; }

TensorList non_zero(OpCall& call) { return {at::nonzero(call.at(0)).t().contiguous()}; }

// ---- The same values in another type, or none

TensorList cast(OpCall& call) {
  if (!call.node.has("to")) op_error(call.node, "attribute to is missing");
  const Tensor& x = call.at(0);
  const at::ScalarType type = made_type(call, element_type(call.node, call.node.integer("to", 1)));
  if (at::isFloatingType(type) && !x.is_floating_point()) return {x.to(call.device, type)};
  return {x.to(type)};
}

TensorList cast_like(OpCall& call) {
  const Tensor& x = call.at(0);
  const at::ScalarType type = made_type(call, call.at(1).scalar_type());
  if (at::isFloatingType(type) && !x.is_floating_point()) return {x.to(call.device, type)};
  return {x.to(type)};
}

TensorList identity(OpCall& call) { return {call.at(0)}; }

TensorList identity_vjp(const VjpCall& call) {
  if (!call.needed[0]) return TensorList(1);
  return {call.grad[0]};
}

double dropout_ratio(const OpCall& call) {
  const double ratio = call.has(1) ? number(call, 1).to<double>() : call.node.real("ratio", 0.5);
  if (!(ratio >= 0 && ratio < 1)) {
    op_error(call.node, "ratio is " + number_text(ratio) + "; it must be in [0, 1)");
  }
  return ratio;
}

// A network is explained as it predicts: nothing is dropped unless the caller trains, whatever training_mode the file
// was exported with.
TensorList dropout(OpCall& call) {
  const Tensor& x = call.at(0);
  const bool wants_mask = call.node.outputs.size() > 1 && call.node.outputs[1] != kNoValue;
  const double ratio = call.training ? dropout_ratio(call) : 0;
  const at::ScalarType mask_type = call.node.opset < 10 ? x.scalar_type() : at::kBool;
  if (ratio == 0) {
    TensorList result{x};
    if (wants_mask) result.push_back(at::ones_like(x, mask_type));
    return result;
  }
  const Tensor kept = at::rand(x.sizes(), x.options().dtype(at::kFloat)).ge(ratio);
  TensorList result{x * kept / (1 - ratio)};
  if (wants_mask) result.push_back(kept.to(mask_type));
  if (call.saved != nullptr) call.saved->push_back(kept / (1 - ratio));
  return result;
}

TensorList dropout_vjp(const VjpCall& call) {
  TensorList result(call.in_shapes.size());
  if (!call.needed[0] || !call.grad[0].defined()) return result;
  result[0] = call.saved.empty() ? call.grad[0] : call.grad[0] * call.saved[0];
  return result;
}

// ---- Indexing

/// Indices counted from the front, on the data's device; an error when one is not in [-size, size).
Tensor normal_indices(const Node& node, const Tensor& index, int64_t size, at::Device device) {
  if (!at::isIntegralType(index.scalar_type(), /*includeBool=*/false)) {
    op_error(node, "indices are " + tensor_text(index) + "; they must be integers");
  }
  const Tensor whole = index.to(at::kLong);
  if (whole.numel() == 0) return whole.to(device);
  const int64_t least = whole.min().item<int64_t>();
  const int64_t most = whole.max().item<int64_t>();
  if (least < -size || most >= size) {
    op_error(node, "index " + std::to_string(least < -size ? least : most) + " is outside an axis of " +
                       std::to_string(size));
  }
  return (least < 0 ? at::where(at::lt(whole, 0), whole + size, whole) : whole).to(device);
}

TensorList gather(OpCall& call) {
  const Tensor& data = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), data.dim());
  const Tensor index = normal_indices(call.node, call.at(1), data.size(axis), data.device());
  if (index.dim() == 0 && index.is_cpu()) return {data.select(axis, index.item<int64_t>())};
  Shape shape = data.sizes().vec();
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, index.sizes().begin(), index.sizes().end());
  checked_numel(call.node, shape);
  return {data.index_select(axis, index.reshape({-1})).reshape(shape)};
}

/// Checks an index tensor that runs along `axis` and stays inside `data` on the others.
Tensor elements_index(const OpCall& call, const Tensor& data, int64_t axis) {
  const Tensor& index = call.at(1);
  bool fits = index.dim() == data.dim();
  for (int64_t d = 0; fits && d < data.dim(); ++d) fits = d == axis || index.size(d) <= data.size(d);
  if (!fits) {
    op_error(call.node, "indices " + shape_text(index.sizes()) + " do not fit data " + shape_text(data.sizes()) +
                            " along axis " + std::to_string(axis));
  }
  return normal_indices(call.node, index, data.size(axis), data.device());
}

TensorList gather_elements(OpCall& call) {
  const Tensor& data = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), data.dim());
  return {at::gather(data, axis, elements_index(call, data, axis))};
}

/// Index tuples as rows of `data` seen as a matrix whose rows are what one tuple addresses.
struct TupleIndex {
  Tensor rows;       ///< [number of tuples]
  int64_t num_rows;  ///< Of the matrix.
  int64_t row_size;
  Shape result;  ///< Shape of one row per tuple.
};

TupleIndex tuple_index(const OpCall& call, const Tensor& data, const Tensor& tuples, int64_t batch_dims) {
  const int64_t depth = tuples.dim() > 0 ? tuples.size(-1) : -1;
  bool fits = batch_dims >= 0 && batch_dims < tuples.dim() && depth >= 1 && batch_dims + depth <= data.dim();
  for (int64_t d = 0; fits && d < batch_dims; ++d) fits = data.size(d) == tuples.size(d);
  if (!fits) {
    op_error(call.node, "index tuples " + shape_text(tuples.sizes()) + " do not fit data " + shape_text(data.sizes()) +
                            (batch_dims != 0 ? " with batch_dims " + std::to_string(batch_dims) : ""));
  }
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(data.device());
  Shape lead(tuples.sizes().begin(), tuples.sizes().end() - 1);
  Tensor rows = at::zeros(lead, options);
  TupleIndex result{rows, 1, 1, lead};
  for (int64_t d = 0; d < batch_dims + depth; ++d) {
    Tensor position;
    if (d < batch_dims) {
      Shape along(lead.size(), 1);
      along[static_cast<size_t>(d)] = data.size(d);
      position = at::arange(data.size(d), options).view(along);
    } else {
      position = normal_indices(call.node, tuples.select(-1, d - batch_dims), data.size(d), data.device());
    }
    rows = rows * data.size(d) + position;
    result.num_rows *= data.size(d);
  }
  for (int64_t d = batch_dims + depth; d < data.dim(); ++d) {
    result.result.push_back(data.size(d));
    result.row_size *= data.size(d);
  }
  checked_numel(call.node, result.result);
  result.rows = rows.reshape({-1});
  return result;
}

TensorList gather_nd(OpCall& call) {
  const Tensor& data = call.at(0);
  const TupleIndex index = tuple_index(call, data, call.at(1), call.node.integer("batch_dims", 0));
  return {data.reshape({index.num_rows, index.row_size}).index_select(0, index.rows).reshape(index.result)};
}

Tensor times(const Tensor& a, const Tensor& b) { return at::mul(a, b); }

/// Combines slice after slice: within one no position occurs twice. LibTorch's scatter_reduce prints a warning.
template <Tensor (*combine)(const Tensor&, const Tensor&)>
Tensor combined(const Tensor& data, int64_t axis, const Tensor& index, const Tensor& updates) {
  Tensor result = data.clone();
  for (int64_t k = 0; k < index.size(axis); ++k) {
    const Tensor where = index.narrow(axis, k, 1);
    result.scatter_(axis, where, combine(at::gather(result, axis, where), updates.narrow(axis, k, 1)));
  }
  return result;
}

/// `data` with `updates` written or combined at `index` along `axis`.
Tensor scattered(const Node& node, const Tensor& data, int64_t axis, const Tensor& index, const Tensor& updates) {
  const std::string reduction = node.text("reduction", "none");
  if (reduction == "none") return at::scatter(data, axis, index, updates);
  if (reduction == "add") return at::scatter_add(data, axis, index, updates);
  if (reduction == "mul") return combined<times>(data, axis, index, updates);
  if (reduction == "max") return combined<at::maximum>(data, axis, index, updates);
  if (reduction == "min") return combined<at::minimum>(data, axis, index, updates);
  op_error(node, "reduction is '" + reduction + "'; it must be none, add, mul, max or min");
}

TensorList scatter_elements(OpCall& call) {
  const auto [data, updates] = on_one_device(call.at(0), call.at(2));
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), data.dim());
  const Tensor index = elements_index(call, data, axis);
  if (updates.sizes() != index.sizes()) {
    op_error(call.node, "updates " + shape_text(updates.sizes()) + " and indices " + shape_text(index.sizes()) +
                            " differ in shape");
  }
  return {scattered(call.node, data, axis, index, updates)};
}

TensorList scatter_nd(OpCall& call) {
  const auto [data, updates] = on_one_device(call.at(0), call.at(2));
  const TupleIndex index = tuple_index(call, data, call.at(1), 0);
  if (updates.sizes() != at::IntArrayRef(index.result)) {
    op_error(call.node, "updates are " + shape_text(updates.sizes()) + "; they must be " + shape_text(index.result));
  }
  const Tensor rows = updates.reshape({index.rows.numel(), index.row_size});
  const Tensor where = index.rows.unsqueeze(1).expand(rows.sizes());
  return {scattered(call.node, data.reshape({index.num_rows, index.row_size}), 0, where, rows).reshape(data.sizes())};
}

TensorList compress(OpCall& call) {
  const bool flat = !call.node.has("axis");
  const Tensor data = flat ? call.at(0).reshape({-1}) : call.at(0);
  const int64_t axis = flat ? 0 : normal_axis(call.node, call.node.integer("axis", 0), data.dim());
  const Tensor& condition = call.at(1);
  if (condition.dim() != 1) op_error(call.node, "condition " + shape_text(condition.sizes()) + " is not a list");
  const Tensor kept = at::nonzero(condition).reshape({-1});
  return {data.index_select(axis, normal_indices(call.node, kept, data.size(axis), data.device()))};
}

// ---- Ordering and accumulating

// The order of equal values is part of the standard: the lower index first. LibTorch's topk does not promise that.
TensorList top_k(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", -1), x.dim());
  const int64_t k = call.node.has("k") ? call.node.integer("k", 1) : whole_number(call, 1);
  if (k < 0 || k > x.size(axis)) {
    op_error(call.node, "k is " + std::to_string(k) + ", but the axis has " + std::to_string(x.size(axis)));
  }
  const bool largest = call.node.integer("largest", 1) != 0;
  const auto [values, indices] = at::sort(x, /*stable=*/true, axis, /*descending=*/largest);
  return {values.narrow(axis, 0, k), indices.narrow(axis, 0, k)};
}

template <bool largest>
TensorList arg_extreme(OpCall& call) {
  Tensor x = call.at(0);
  if (x.dim() == 0) x = x.unsqueeze(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", 0), x.dim());
  if (x.size(axis) == 0) op_error(call.node, "input " + shape_text(x.sizes()) + " has nothing to choose from");
  const bool keep = call.node.integer("keepdims", 1) != 0 && call.in[0].dim() > 0;
  const bool last = call.node.integer("select_last_index", 0) != 0;
  const Tensor ordered = last ? x.flip({axis}) : x;
  const Tensor index = largest ? at::argmax(ordered, axis, keep) : at::argmin(ordered, axis, keep);
  return {last ? x.size(axis) - 1 - index : index};
}

TensorList cum_sum(OpCall& call) {
  Tensor x = call.at(0);
  const int64_t axis = normal_axis(call.node, whole_number(call, 1), x.dim());
  const bool reverse = call.node.integer("reverse", 0) != 0;
  if (reverse) x = x.flip({axis});
  if (call.node.integer("exclusive", 0) != 0 && x.size(axis) > 0) {
    const Tensor first = at::zeros_like(x.narrow(axis, 0, 1));
    x = at::cat({first, x.narrow(axis, 0, x.size(axis) - 1)}, axis);
  }
  const Tensor sum = at::cumsum(x, axis, x.scalar_type());
  return {reverse ? sum.flip({axis}) : sum};
}

TensorList trilu(OpCall& call) {
  const Tensor& x = call.at(0);
  if (x.dim() < 2) op_error(call.node, "input " + shape_text(x.sizes()) + " is not a matrix");
  // Beyond the corners the diagonal makes no difference, and LibTorch's arithmetic must not overflow.
  const int64_t k = call.has(1) ? std::clamp(whole_number(call, 1), -x.size(-2) - 1, x.size(-1) + 1) : 0;
  return {call.node.integer("upper", 1) != 0 ? at::triu(x, k) : at::tril(x, k)};
}

TensorList unique(OpCall& call) {
  const bool flat = !call.node.has("axis");
  const Tensor x = flat ? call.at(0).reshape({-1}) : call.at(0);
  const int64_t axis = flat ? 0 : normal_axis(call.node, call.node.integer("axis", 0), x.dim());
  auto [values, inverse, counts] = at::unique_dim(x, axis, /*sorted=*/true, /*return_inverse=*/true,
                                                  /*return_counts=*/true);
  // A stable order of the group numbers lists each group's members from the first on.
  const Tensor members = std::get<1>(at::sort(inverse, /*stable=*/true, 0, /*descending=*/false));
  Tensor first = members.index_select(0, at::cumsum(counts, 0) - counts);
  if (call.node.integer("sorted", 1) == 0) {
    const Tensor order = at::argsort(first);
    values = values.index_select(axis, order);
    first = first.index_select(0, order);
    counts = counts.index_select(0, order);
    inverse = at::argsort(order).index_select(0, inverse);
  }
  TensorList result{values, first, inverse, counts};
  result.resize(std::min(result.size(), call.node.outputs.size()));
  return result;
}

// ---- Rearranging

TensorList einsum(OpCall& call) {
  const std::string equation = call.node.text("equation", "");
  TensorList operands;
  for (size_t i = 0; i < call.in.size(); ++i) operands.push_back(on_one_device(call.at(i), call.at(0)).first);
  try {
    return {at::einsum(equation, operands)};
  } catch (const c10::Error&) {
    std::string shapes;
    for (const Tensor& operand : operands) shapes += " " + shape_text(operand.sizes());
    op_error(call.node, "equation '" + equation + "' does not fit inputs" + shapes);
  }
}

int64_t block_size(const OpCall& call, const Tensor& x) {
  const int64_t block = call.node.integer("blocksize", 0);
  if (x.dim() != 4) op_error(call.node, "input " + shape_text(x.sizes()) + " is not [N,C,H,W]");
  if (block < 1 || block > (1 << 16)) op_error(call.node, "blocksize is " + std::to_string(block));
  return block;
}

TensorList depth_to_space(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t b = block_size(call, x);
  if (x.size(1) % (b * b) != 0) {
    op_error(call.node, std::to_string(x.size(1)) + " channels do not divide by blocksize^2, " + std::to_string(b * b));
  }
  const int64_t channels = x.size(1) / (b * b);
  const Shape shape{x.size(0), channels, x.size(2) * b, x.size(3) * b};
  const std::string mode = call.node.text("mode", "DCR");
  if (mode == "CRD") {
    return {x.reshape({x.size(0), channels, b, b, x.size(2), x.size(3)}).permute({0, 1, 4, 2, 5, 3}).reshape(shape)};
  }
  if (mode != "DCR") op_error(call.node, "mode is '" + mode + "'; it must be DCR or CRD");
  return {x.reshape({x.size(0), b, b, channels, x.size(2), x.size(3)}).permute({0, 3, 4, 1, 5, 2}).reshape(shape)};
}

TensorList space_to_depth(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t b = block_size(call, x);
  if (x.size(2) % b != 0 || x.size(3) % b != 0) {
    op_error(call.node, "input " + shape_text(x.sizes()) + " does not divide by blocksize " + std::to_string(b));
  }
  const int64_t rows = x.size(2) / b;
  const int64_t columns = x.size(3) / b;
  return {x.reshape({x.size(0), x.size(1), rows, b, columns, b})
              .permute({0, 3, 5, 1, 2, 4})
              .reshape({x.size(0), x.size(1) * b * b, rows, columns})};
}

}  // namespace

void add_tensor_ops(std::vector<Op>& ops) {
  const OpRole shape = OpRole::kShape;
  const OpRole other = OpRole::kOther;
  ops.push_back(onnx_op("ArgMax", arg_extreme<true>));
  ops.push_back(onnx_op("ArgMin", arg_extreme<false>));
  ops.push_back(onnx_op("Cast", cast, nullptr, shape));
  ops.push_back(onnx_op("CastLike", cast_like, nullptr, shape, 15));
  ops.push_back(onnx_op("Compress", compress, nullptr, shape, 9));
  ops.push_back(onnx_op("Constant", constant));
  ops.push_back(onnx_op("ConstantOfShape", constant_of_shape, nullptr, other, 9));
  ops.push_back(onnx_op("CumSum", cum_sum, nullptr, other, 11));
  ops.push_back(onnx_op("DepthToSpace", depth_to_space, nullptr, shape));
  ops.push_back(onnx_op("Dropout", dropout, dropout_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("Einsum", einsum, nullptr, other, 12));
  ops.push_back(onnx_op("EyeLike", eye_like, nullptr, other, 9));
  ops.push_back(onnx_op("Gather", gather, nullptr, shape));
  ops.push_back(onnx_op("GatherElements", gather_elements, nullptr, shape, 11));
  ops.push_back(onnx_op("GatherND", gather_nd, nullptr, shape, 11));
  ops.push_back(onnx_op("Identity", identity, identity_vjp, VjpReads::kNothing, shape));
  ops.push_back(onnx_op("NonZero", non_zero, nullptr, other, 9));
  ops.push_back(onnx_op("OneHot", one_hot, nullptr, other, 9));
  ops.push_back(onnx_op("Range", range, nullptr, other, 11));
  ops.push_back(onnx_op("Scatter", scatter_elements, nullptr, other, 9, 10));
  ops.push_back(onnx_op("ScatterElements", scatter_elements, nullptr, other, 11));
  ops.push_back(onnx_op("ScatterND", scatter_nd, nullptr, other, 11));
  ops.push_back(onnx_op("Shape", shape_of));
  ops.push_back(onnx_op("Size", size_of));
  ops.push_back(onnx_op("SpaceToDepth", space_to_depth, nullptr, shape));
  ops.push_back(onnx_op("TopK", top_k));
  ops.push_back(onnx_op("Trilu", trilu, nullptr, other, 14));
  ops.push_back(onnx_op("Unique", unique, nullptr, other, 11));
}

}  // namespace pellucid
