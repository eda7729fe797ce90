// Quantized arithmetic. Gradients pass straight through the rounding, as in quantization-aware training, so that a
// quantized network can be explained: the derivative of rounding itself is zero almost everywhere.

#include "graph/ops/op_support.h"

namespace pellucid {
namespace {

std::pair<int64_t, int64_t> range_of(const Node& node, at::ScalarType type) {
  switch (type) {
    case at::kByte:
      return {0, 255};
    case at::kChar:
      return {-128, 127};
    case at::kShort:
      return {-32768, 32767};
    case at::kInt:
      return {-2147483648LL, 2147483647LL};
    default:
      break;
  }
  op_error(node,
           std::string("quantized values are ") + at::toString(type) + "; they must be int8, uint8, int16 or int32");
}

/// A scale or zero point shaped to broadcast against `x`: one number, one per slice of `axis`, or (opset 21) one per
/// block.
Tensor spread(const Node& node, const Tensor& parameter, const Tensor& x) {
  const Tensor value = parameter.to(x.device());
  if (value.numel() == 1) return value.reshape({});
  const int64_t axis = normal_axis(node, node.integer("axis", 1), x.dim());
  const int64_t block = node.integer("block_size", 0);
  if (block == 0) {
    if (value.dim() != 1 || value.numel() != x.size(axis)) {
      op_error(node, "scale or zero point " + shape_text(value.sizes()) + " does not fit axis " + std::to_string(axis) +
                         " of input " + shape_text(x.sizes()));
    }
    Shape shape(static_cast<size_t>(x.dim()), 1);
    shape[static_cast<size_t>(axis)] = value.numel();
    return value.reshape(shape);
  }
  bool fits = block > 0 && value.dim() == x.dim();
  for (int64_t d = 0; fits && d < x.dim(); ++d) {
    const int64_t blocks = d == axis ? (x.size(d) - 1) / block + 1 : x.size(d);
    fits = value.size(d) == blocks;
  }
  if (!fits) {
    op_error(node, "blocks of " + std::to_string(block) + " along axis " + std::to_string(axis) + " of input " +
                       shape_text(x.sizes()) + " do not fit scale " + shape_text(value.sizes()));
  }
  const Tensor index = at::arange(x.size(axis), at::TensorOptions(at::kLong).device(x.device()));
  return value.index_select(axis, at::div(index, block, "floor"));
}

/// round(x / scale) + zero point, before it is cut to the type.
Tensor scaled(const Node& node, const Tensor& x, const Tensor& scale, const Tensor& zero) {
  const Tensor level = at::round(x / spread(node, scale, x).to(x.scalar_type()));
  return zero.defined() ? level + spread(node, zero, x).to(x.scalar_type()) : level;
}

Tensor cut(const Node& node, const Tensor& level, at::ScalarType type) {
  const auto [least, most] = range_of(node, type);
  return level.clamp(least, most).to(type);
}

Tensor as_float(const Tensor& x) {
  return x.scalar_type() == at::kDouble || x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
}

at::ScalarType quantized_type(const Node& node, const Tensor& zero) {
  if (zero.defined()) return zero.scalar_type();
  const int64_t wanted = node.integer("output_dtype", 0);
  return wanted != 0 ? element_type(node, wanted) : at::kByte;
}

TensorList quantize_linear(OpCall& call) {
  const Tensor x = as_float(call.at(0));
  const Tensor zero = call.optional(2);
  return {cut(call.node, scaled(call.node, x, call.at(1), zero), quantized_type(call.node, zero))};
}

TensorList quantize_linear_vjp(const VjpCall& call) {
  TensorList result(call.in.size());
  if (!call.needed[0] || !call.grad[0].defined()) return result;
  const Tensor x = as_float(call.in[0]);
  const Tensor zero = call.in.size() > 2 ? call.in[2] : Tensor();
  const Tensor level = scaled(call.node, x, call.in[1], zero);
  const auto [least, most] = range_of(call.node, quantized_type(call.node, zero));
  const Tensor within = at::logical_and(at::ge(level, least), at::le(level, most));
  result[0] = call.grad[0] * within / spread(call.node, call.in[1], x);
  return result;
}

Tensor dequantized(const Node& node, const Tensor& x, const Tensor& scale, const Tensor& zero) {
  const Tensor spread_scale = spread(node, scale, x);
  Tensor level = x.to(spread_scale.scalar_type());
  if (zero.defined()) level = level - spread(node, zero, x).to(level.scalar_type());
  return level * spread_scale;
}

TensorList dequantize_linear(OpCall& call) {
  return {dequantized(call.node, call.at(0), call.at(1), call.optional(2))};
}

TensorList dequantize_linear_vjp(const VjpCall& call) {
  TensorList result(call.in.size());
  if (!call.needed[0] || !call.grad[0].defined()) return result;
  result[0] = call.grad[0] * spread(call.node, call.in[1], call.in[0]);
  return result;
}

TensorList dynamic_quantize_linear(OpCall& call) {
  const Tensor& x = call.at(0);
  if (x.numel() == 0) op_error(call.node, "input " + shape_text(x.sizes()) + " is empty");
  const Tensor least = x.min().clamp_max(0);
  const Tensor most = x.max().clamp_min(0);
  const Tensor scale = (most - least) / 255;
  // All zeros have no scale; any other than zero gives the right levels.
  const Tensor divisor = at::where(at::eq(scale, 0), at::ones_like(scale), scale);
  const Tensor zero = cut(call.node, at::round(-least / divisor), at::kByte);
  return {cut(call.node, at::round(x / divisor) + zero, at::kByte), scale, zero};
}

/// Levels less their zero point, in double: products of 8-bit integers add up exactly there.
Tensor centered(const OpCall& call, size_t values, size_t zero, int64_t zero_axis) {
  const Tensor& x = call.at(values);
  Tensor level = x.to(at::kDouble);
  if (!call.has(zero)) return level;
  Tensor offset = call.in[zero].to(x.device(), at::kDouble);
  if (offset.numel() == 1) return level - offset.reshape({});
  const int64_t axis = normal_axis(call.node, zero_axis, x.dim());
  if (offset.dim() > 1) {
    broadcast_shape(call.node, level.sizes(), offset.sizes());
    return level - offset;
  }
  if (offset.numel() != x.size(axis)) {
    op_error(call.node, "zero point " + shape_text(offset.sizes()) + " does not fit input " + shape_text(x.sizes()));
  }
  Shape shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(axis)] = offset.numel();
  return level - offset.reshape(shape);
}

void check_matrices(const Node& node, const Tensor& a, const Tensor& b) {
  const bool fits = a.dim() > 0 && b.dim() > 0 && a.size(-1) == b.size(b.dim() > 1 ? -2 : 0);
  if (!fits) op_error(node, "inputs " + shape_text(a.sizes()) + " and " + shape_text(b.sizes()) + " do not multiply");
}

TensorList mat_mul_integer(OpCall& call) {
  const Tensor a = centered(call, 0, 2, call.at(0).dim() > 1 ? -2 : 0);
  const Tensor b = centered(call, 1, 3, -1);
  check_matrices(call.node, a, b);
  return {at::matmul(a, b).to(at::kInt)};
}

/// A scale that applies to rows (axis -2) or columns (axis -1) of a product.
Tensor scale_along(const Node& node, const Tensor& scale, const Tensor& product, int64_t axis) {
  const Tensor value = scale.to(product.device(), at::kDouble);
  if (value.numel() == 1) return value.reshape({});
  if (value.dim() > 1) return value;
  const int64_t place = normal_axis(node, axis, product.dim());
  if (value.numel() != product.size(place)) {
    op_error(node, "scale " + shape_text(scale.sizes()) + " does not fit result " + shape_text(product.sizes()));
  }
  Shape shape(static_cast<size_t>(product.dim()), 1);
  shape[static_cast<size_t>(place)] = value.numel();
  return value.reshape(shape);
}

TensorList q_linear_mat_mul(OpCall& call) {
  const Tensor a = centered(call, 0, 2, call.at(0).dim() > 1 ? -2 : 0);
  const Tensor b = centered(call, 3, 5, -1);
  check_matrices(call.node, a, b);
  const Tensor product = at::matmul(a, b);
  const Tensor scale = scale_along(call.node, call.at(1), product, -2) *
                       scale_along(call.node, call.at(4), product, -1) /
                       scale_along(call.node, call.at(6), product, -2);
  const Tensor zero = call.at(7).to(product.device());
  const Tensor level = at::round(product * scale) + scale_along(call.node, zero, product, -2);
  return {cut(call.node, level, zero.scalar_type())};
}

/// Convolution of centered levels. Padding is zero there, which is what the zero point means.
Tensor convolved(const Node& node, const Tensor& x, const Tensor& w, const Tensor& bias) {
  const int64_t dims = x.dim() - 2;
  if (dims < 1 || dims > 3 || w.dim() != x.dim()) {
    op_error(node, "inputs " + shape_text(x.sizes()) + " and " + shape_text(w.sizes()) + " do not convolve");
  }
  const size_t n = static_cast<size_t>(dims);
  const std::vector<int64_t> ones(n, 1);
  const std::vector<int64_t> strides = node.integers("strides", ones);
  const std::vector<int64_t> dilations = node.integers("dilations", ones);
  std::vector<int64_t> pads = node.integers("pads", std::vector<int64_t>(2 * n, 0));
  const int64_t group = node.integer("group", 1);
  const std::string auto_pad = node.text("auto_pad", "NOTSET");
  bool fits = strides.size() == n && dilations.size() == n && pads.size() == 2 * n && group >= 1 && w.numel() > 0;
  fits = fits && w.size(0) % group == 0 && x.size(1) == w.size(1) * group;
  for (size_t i = 0; fits && i < n; ++i) {
    fits = strides[i] >= 1 && dilations[i] >= 1 && strides[i] < (1 << 30) && dilations[i] < (1 << 30);
    fits = fits && pads[i] >= 0 && pads[i + n] >= 0 && pads[i] < (1 << 30) && pads[i + n] < (1 << 30);
  }
  if (!fits) {
    op_error(node, "strides " + list_text(strides) + ", dilations " + list_text(dilations) + ", pads " +
                       list_text(pads) + " and group " + std::to_string(group) + " do not fit inputs " +
                       shape_text(x.sizes()) + " and " + shape_text(w.sizes()));
  }
  Shape padded = x.sizes().vec();
  std::vector<int64_t> borders;
  for (size_t i = n; i-- > 0;) {
    const int64_t size = padded[i + 2];
    const int64_t window = (w.size(static_cast<int64_t>(i) + 2) - 1) * dilations[i] + 1;
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      const int64_t steps = (size + strides[i] - 1) / strides[i];
      const int64_t all = std::max<int64_t>((steps - 1) * strides[i] + window - size, 0);
      const int64_t smaller = all / 2;
      pads[i] = auto_pad == "SAME_UPPER" ? smaller : all - smaller;
      pads[i + n] = all - pads[i];
    }
    padded[i + 2] = size + pads[i] + pads[i + n];
    if (padded[i + 2] < window) {
      op_error(node, "window of " + std::to_string(window) + " does not fit input " + shape_text(x.sizes()));
    }
    borders.push_back(pads[i]);
    borders.push_back(pads[i + n]);
  }
  checked_numel(node, padded);
  const std::vector<int64_t> zeros(n, 0);
  return at::convolution(at::constant_pad_nd(x, borders), w, bias, strides, zeros, dilations, false, zeros, group);
}

TensorList conv_integer(OpCall& call) {
  const Tensor x = centered(call, 0, 2, 1);
  const Tensor w = centered(call, 1, 3, 0);
  return {convolved(call.node, x, w, {}).to(at::kInt)};
}

TensorList q_linear_conv(OpCall& call) {
  const Tensor x = centered(call, 0, 2, 1);
  const Tensor w = centered(call, 3, 5, 0);
  Tensor bias;
  if (call.has(8)) {
    bias = call.in[8].to(x.device(), at::kDouble);
    if (bias.dim() != 1 || bias.numel() != w.size(0)) {
      op_error(call.node, "bias " + shape_text(bias.sizes()) + " does not fit weights " + shape_text(w.sizes()));
    }
  }
  const Tensor sum = convolved(call.node, x, w, bias);
  const Tensor scale = scale_along(call.node, call.at(1), sum, 1) * scale_along(call.node, call.at(4), sum, 1) /
                       scale_along(call.node, call.at(6), sum, 1);
  const Tensor zero = call.at(7).to(sum.device());
  return {cut(call.node, at::round(sum * scale) + scale_along(call.node, zero, sum, 1), zero.scalar_type())};
}

}  // namespace

void add_quantization_ops(std::vector<Op>& ops) {
  const OpRole other = OpRole::kOther;
  ops.push_back(onnx_op("ConvInteger", conv_integer, nullptr, other, 10));
  ops.push_back(onnx_op("DequantizeLinear", dequantize_linear, dequantize_linear_vjp, VjpReads::kInputs, other, 10));
  ops.push_back(onnx_op("DynamicQuantizeLinear", dynamic_quantize_linear, nullptr, other, 11));
  ops.push_back(onnx_op("MatMulInteger", mat_mul_integer, nullptr, other, 10));
  ops.push_back(onnx_op("QLinearConv", q_linear_conv, nullptr, other, 10));
  ops.push_back(onnx_op("QLinearMatMul", q_linear_mat_mul, nullptr, other, 10));
  ops.push_back(onnx_op("QuantizeLinear", quantize_linear, quantize_linear_vjp, VjpReads::kInputs, other, 10));
}

}  // namespace pellucid
