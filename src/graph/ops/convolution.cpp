// Conv and ConvTranspose in one, two and three dimensions.

#include "graph/op.h"
#include "graph/ops/window.h"
#include "graph/packed_convolution.h"

namespace pellucid {

namespace {

struct ConvGeometry {
  WindowGeometry window;
  int64_t groups;
};

ConvGeometry conv_geometry(const Node& node, at::IntArrayRef input, at::IntArrayRef weight) {
  op_check(input.size() >= 3 && input.size() <= 5, node,
           "its input has shape " + shape_text(input) + "; [N,C,length], [N,C,H,W] or [N,C,D,H,W] was expected");
  op_check(weight.size() == input.size(), node,
           "input " + shape_text(input) + " and weight " + shape_text(weight) + " have different ranks");
  const int64_t groups = node.integer("group", 1);
  op_check(groups >= 1, node, "group is " + std::to_string(groups) + "; it must be >= 1");
  const std::vector<int64_t> kernel(weight.begin() + 2, weight.end());
  const std::vector<int64_t> declared = node.integers("kernel_shape", kernel);
  op_check(declared == kernel, node,
           "kernel_shape " + shape_text(declared) + " does not fit weight " + shape_text(weight));
  return {window_geometry(node, input.slice(2), kernel), groups};
}

void check_conv(const Node& node, at::IntArrayRef x, at::IntArrayRef w, const Tensor& bias, const ConvGeometry& g) {
  op_check(x[1] == w[1] * g.groups && w[0] % g.groups == 0 && w[0] > 0, node,
           "input " + shape_text(x) + ", weight " + shape_text(w) + " and group " + std::to_string(g.groups) +
               " do not fit: channels must be weight[1] * group and weight[0] a multiple of group");
  if (bias.defined()) {
    op_check(bias.dim() == 1 && bias.size(0) == w[0], node,
             "bias " + shape_text(bias.sizes()) + " does not fit weight " + shape_text(w));
  }
  std::vector<int64_t> out{x[0], w[0]};
  for (size_t i = 0; i < g.window.kernel.size(); ++i) {
    const int64_t extent = (g.window.kernel[i] - 1) * g.window.dilations[i] + 1;
    const int64_t padded = x[i + 2] + g.window.begin[i] + g.window.end[i];
    op_check(padded >= extent, node,
             "the kernel reaches over " + std::to_string(extent) + " positions but the padded input " + shape_text(x) +
                 " has " + std::to_string(padded));
    out.push_back((padded - extent) / g.window.strides[i] + 1);
  }
  checked_numel(node, out);
}

TensorList conv(OpCall& call) {
  const Tensor& x = call.at(0);
  const Tensor& w = call.at(1);
  const Tensor bias = call.optional(2);
  const ConvGeometry g = conv_geometry(call.node, x.sizes(), w.sizes());
  check_conv(call.node, x.sizes(), w.sizes(), bias, g);
  const std::vector<int64_t> none(g.window.kernel.size(), 0);
  const Tensor input = g.window.symmetric() ? x : at::constant_pad_nd(x, g.window.torch_pads());
  const std::vector<int64_t>& padding = g.window.symmetric() ? g.window.begin : none;
  if (call.packed) {
    Tensor y = call.packed->run(input, w, bias, g.window.strides, padding, g.window.dilations, g.groups);
    if (y.defined()) return {y};
  }
  return {at::convolution(input, w, bias, g.window.strides, padding, g.window.dilations, false, none, g.groups)};
}

TensorList conv_vjp(const VjpCall& call) {
  TensorList result(call.in.size());
  const Tensor& x = call.in[0];
  const Tensor& w = call.in[1];
  const ConvGeometry g = conv_geometry(call.node, x.sizes(), w.sizes());
  const std::vector<int64_t> none(g.window.kernel.size(), 0);
  const auto input_gradient = [&](const Tensor& input, at::IntArrayRef padding) {
    return std::get<0>(at::convolution_backward(call.grad[0], input, w, c10::nullopt, g.window.strides, padding,
                                                g.window.dilations, false, none, g.groups, {true, false, false}));
  };
  if (g.window.symmetric()) {
    result[0] = input_gradient(x, g.window.begin);
  } else {
    // Only the shape of the input matters to its gradient.
    std::vector<int64_t> shape = x.sizes().vec();
    for (size_t i = 0; i < g.window.kernel.size(); ++i) shape[i + 2] += g.window.begin[i] + g.window.end[i];
    const Tensor padded = at::empty(shape, x.options(), x.suggest_memory_format());
    result[0] = g.window.crop(input_gradient(padded, none), x.sizes());
  }
  return result;
}

TensorList conv_transpose(OpCall& call) {
  const Tensor& x = call.at(0);
  const Tensor& w = call.at(1);
  const Tensor bias = call.optional(2);
  const Node& node = call.node;
  op_check(x.dim() >= 3 && x.dim() <= 5 && w.dim() == x.dim(), node,
           "input " + shape_text(x.sizes()) + " and weight " + shape_text(w.sizes()) + " do not fit");
  const size_t rank = static_cast<size_t>(x.dim()) - 2;
  const int64_t groups = node.integer("group", 1);
  op_check(groups >= 1 && x.size(1) == w.size(0) && w.size(0) % groups == 0, node,
           "input " + shape_text(x.sizes()) + ", weight " + shape_text(w.sizes()) + " and group " +
               std::to_string(groups) + " do not fit");
  const std::vector<int64_t> ones(rank, 1);
  const std::vector<int64_t> strides = node.integers("strides", ones);
  const std::vector<int64_t> dilations = node.integers("dilations", ones);
  const std::vector<int64_t> output_padding = node.integers("output_padding", std::vector<int64_t>(rank, 0));
  op_check(strides.size() == rank && dilations.size() == rank && output_padding.size() == rank, node,
           "strides, dilations and output_padding must have " + std::to_string(rank) + " entries");
  std::vector<int64_t> begin(rank, 0), end(rank, 0), full(rank), wanted(rank);
  const std::vector<int64_t> output_shape = node.integers("output_shape");
  const std::string auto_pad = node.text("auto_pad", "NOTSET");
  const std::vector<int64_t> pads = node.integers("pads", std::vector<int64_t>(2 * rank, 0));
  op_check(pads.size() == 2 * rank, node, "pads must have " + std::to_string(2 * rank) + " entries");
  for (size_t i = 0; i < rank; ++i) {
    op_check(strides[i] >= 1 && dilations[i] >= 1 && output_padding[i] >= 0, node,
             "strides and dilations must be >= 1 and output_padding >= 0");
    const int64_t kernel = w.size(static_cast<int64_t>(i) + 2);
    full[i] =
        strides[i] * (x.size(static_cast<int64_t>(i) + 2) - 1) + (kernel - 1) * dilations[i] + 1 + output_padding[i];
    const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
    if (!output_shape.empty() || same) {
      if (!output_shape.empty()) {
        op_check(output_shape.size() == rank || output_shape.size() == rank + 2, node,
                 "output_shape has a wrong length");
        wanted[i] = output_shape[output_shape.size() - rank + i];
      } else {
        wanted[i] = x.size(static_cast<int64_t>(i) + 2) * strides[i];
      }
      const int64_t total = full[i] - wanted[i];
      const int64_t small = (total - (total < 0 && total % 2 != 0 ? 1 : 0)) / 2;  // rounded down, also when negative
      begin[i] = auto_pad == "SAME_UPPER" ? small : total - small;
      end[i] = total - begin[i];
    } else {
      begin[i] = auto_pad == "VALID" ? 0 : pads[i];
      end[i] = auto_pad == "VALID" ? 0 : pads[rank + i];
      wanted[i] = full[i] - begin[i] - end[i];
    }
    op_check(wanted[i] >= 1, node, "its output would have " + std::to_string(wanted[i]) + " positions");
  }
  std::vector<int64_t> out_shape{x.size(0), w.size(1) * groups};
  out_shape.insert(out_shape.end(), wanted.begin(), wanted.end());
  checked_numel(node, out_shape);
  // The whole result without padding, then a window of it: one-sided and negative pads need no case of their own.
  const std::vector<int64_t> none(rank, 0);
  bool plain = true;
  for (size_t i = 0; i < rank; ++i) {
    plain = plain && begin[i] >= 0 && begin[i] == end[i] && output_padding[i] < std::max(strides[i], dilations[i]);
  }
  if (plain) return {at::convolution(x, w, bias, strides, begin, dilations, true, output_padding, groups)};
  Tensor y = at::convolution(x, w, bias, strides, none, dilations, true, none, groups);
  // Everything beyond the plain result (output padding, negative pads) holds the bias alone.
  std::vector<int64_t> pad;
  for (size_t i = rank; i-- > 0;) {
    pad.push_back(-begin[i]);
    pad.push_back(wanted[i] + begin[i] - y.size(static_cast<int64_t>(i) + 2));
  }
  if (!bias.defined()) return {at::constant_pad_nd(y, pad)};
  std::vector<int64_t> bias_shape(static_cast<size_t>(x.dim()), 1);
  bias_shape[1] = -1;
  const Tensor b = bias.view(bias_shape);
  return {at::constant_pad_nd(y - b, pad) + b};
}

}  // namespace

void add_convolution_ops(std::vector<Op>& ops) {
  ops.push_back({"Conv", "", 1, 22, conv, conv_vjp, OpRole::kLinear, VjpReads::kInputs});
  ops.push_back({"ConvTranspose", "", 1, 22, conv_transpose, nullptr, OpRole::kLinear});
}

}  // namespace pellucid
