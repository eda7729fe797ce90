// MaxPool, AveragePool, LpPool and their global forms.

#include <cmath>
#include <limits>

#include "graph/op.h"
#include "graph/ops/window.h"
#include "pellucid/text.h"

namespace pellucid {

std::vector<int64_t> WindowGeometry::torch_pads() const {
  std::vector<int64_t> pads;
  for (size_t i = begin.size(); i-- > 0;) {
    pads.push_back(begin[i]);
    pads.push_back(end[i]);
  }
  return pads;
}

Tensor WindowGeometry::crop(const Tensor& padded, at::IntArrayRef shape) const {
  Tensor t = padded;
  for (size_t i = 0; i < begin.size(); ++i) {
    const auto axis = static_cast<int64_t>(i) + 2;
    t = t.narrow(axis, begin[i], shape[i + 2]);
  }
  return t;
}

WindowGeometry window_geometry(const Node& node, at::IntArrayRef spatial, const std::vector<int64_t>& kernel) {
  const size_t rank = spatial.size();
  const std::vector<int64_t> ones(rank, 1);
  WindowGeometry g{kernel, node.integers("strides", ones), node.integers("dilations", ones),
                   std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, 0)};
  op_check(kernel.size() == rank, node,
           "kernel_shape " + shape_text(kernel) + " must have " + std::to_string(rank) + " entries");
  op_check(g.strides.size() == rank, node,
           "strides " + shape_text(g.strides) + " must have " + std::to_string(rank) + " entries");
  op_check(g.dilations.size() == rank, node,
           "dilations " + shape_text(g.dilations) + " must have " + std::to_string(rank) + " entries");
  constexpr int64_t kMost = int64_t{1} << 31;
  for (size_t i = 0; i < rank; ++i) {
    op_check(kernel[i] >= 1 && kernel[i] < kMost, node, "kernel_shape " + shape_text(kernel) + " must be >= 1");
    op_check(g.strides[i] >= 1 && g.strides[i] < kMost, node, "strides " + shape_text(g.strides) + " must be >= 1");
    op_check(g.dilations[i] >= 1 && g.dilations[i] < kMost, node,
             "dilations " + shape_text(g.dilations) + " must be >= 1");
  }
  const std::string auto_pad = node.text("auto_pad", "NOTSET");
  if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
    for (size_t i = 0; i < rank; ++i) {
      const int64_t out = (spatial[i] + g.strides[i] - 1) / g.strides[i];
      const int64_t total =
          std::max<int64_t>(0, (out - 1) * g.strides[i] + (kernel[i] - 1) * g.dilations[i] + 1 - spatial[i]);
      g.begin[i] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
      g.end[i] = total - g.begin[i];
    }
  } else if (auto_pad == "NOTSET" || auto_pad.empty()) {
    const std::vector<int64_t> pads = node.integers("pads", std::vector<int64_t>(2 * rank, 0));
    op_check(pads.size() == 2 * rank, node,
             "pads " + shape_text(pads) + " must have " + std::to_string(2 * rank) + " entries");
    for (size_t i = 0; i < 2 * rank; ++i) {
      op_check(pads[i] >= 0 && pads[i] < kMost, node, "pads " + shape_text(pads) + " must be >= 0");
      (i < rank ? g.begin[i] : g.end[i - rank]) = pads[i];
    }
  } else {
    op_check(auto_pad == "VALID", node,
             "auto_pad is '" + printable(auto_pad, 40) + "'; NOTSET, VALID, SAME_UPPER and SAME_LOWER are accepted");
  }
  return g;
}

namespace {

/// A pooling call with everything LibTorch cannot express (one-sided or wide padding, ONNX's own rounding up) turned
/// into explicit padding.
struct Pooling {
  WindowGeometry window;
  bool ceil = false;
  std::vector<int64_t> out;   ///< Output positions per axis.
  bool explicit_pad = false;  ///< Pad by hand with `window`, then pool without padding.
};

/// With rounding up the last window may hang over the padding; the overhang never counts.
Pooling with_explicit_end(Pooling p, const Tensor& x) {
  for (size_t i = 0; i < p.out.size(); ++i) {
    const int64_t extent = (p.window.kernel[i] - 1) * p.window.dilations[i] + 1;
    const int64_t need = (p.out[i] - 1) * p.window.strides[i] + extent;
    const int64_t have = x.size(static_cast<int64_t>(i) + 2) + p.window.begin[i] + p.window.end[i];
    p.window.end[i] += std::max<int64_t>(0, need - have);
  }
  p.ceil = false;
  return p;
}

Pooling pooling(OpCall& call, const Tensor& x) {
  const Node& node = call.node;
  op_check(x.dim() >= 3 && x.dim() <= 5, node,
           "its input has shape " + shape_text(x.sizes()) + "; [N,C,length], [N,C,H,W] or [N,C,D,H,W] was expected");
  op_check(node.has("kernel_shape"), node, "the attribute kernel_shape is missing");
  Pooling p;
  p.window = window_geometry(node, x.sizes().slice(2), node.integers("kernel_shape"));
  p.ceil = node.integer("ceil_mode", 0) != 0;
  std::vector<int64_t> shape{x.size(0), x.size(1)};
  for (size_t i = 0; i < p.window.kernel.size(); ++i) {
    const int64_t extent = (p.window.kernel[i] - 1) * p.window.dilations[i] + 1;
    const int64_t size = x.size(static_cast<int64_t>(i) + 2);
    const int64_t span = size + p.window.begin[i] + p.window.end[i] - extent;
    op_check(span >= 0, node,
             "the window reaches over " + std::to_string(extent) + " positions but the padded input " +
                 shape_text(x.sizes()) + " has " + std::to_string(span + extent));
    int64_t out = span / p.window.strides[i] + 1;
    if (p.ceil) {
      out = (span + p.window.strides[i] - 1) / p.window.strides[i] + 1;
      // A window must begin inside the input or its leading padding.
      if ((out - 1) * p.window.strides[i] >= size + p.window.begin[i]) --out;
    }
    p.out.push_back(out);
    shape.push_back(out);
    if (p.window.begin[i] != p.window.end[i] || 2 * p.window.begin[i] > p.window.kernel[i]) p.explicit_pad = true;
  }
  checked_numel(node, shape);
  if (p.explicit_pad && p.ceil) return with_explicit_end(p, x);
  return p;
}

std::tuple<Tensor, Tensor> max_pool(const Tensor& x, const Pooling& p, const std::vector<int64_t>& padding) {
  const auto& w = p.window;
  switch (x.dim()) {
    case 3: {
      // LibTorch has no backward for 1-d pooling with indices; a height of one makes it 2-d.
      auto [y, i] = at::max_pool2d_with_indices(x.unsqueeze(2), {1, w.kernel[0]}, {1, w.strides[0]}, {0, padding[0]},
                                                {1, w.dilations[0]}, p.ceil);
      return {y.squeeze(2), i.squeeze(2)};
    }
    case 4:
      return at::max_pool2d_with_indices(x, w.kernel, w.strides, padding, w.dilations, p.ceil);
    default:
      return at::max_pool3d_with_indices(x, w.kernel, w.strides, padding, w.dilations, p.ceil);
  }
}

/// Positions inside a padded plane as positions inside the input's plane.
Tensor unpad_indices(const Tensor& indices, const Tensor& x, const Pooling& p) {
  Tensor rest = indices;
  Tensor result = at::zeros_like(indices);
  int64_t stride = 1;
  for (size_t i = p.window.kernel.size(); i-- > 0;) {
    const int64_t size = x.size(static_cast<int64_t>(i) + 2);
    const int64_t padded = size + p.window.begin[i] + p.window.end[i];
    result = result + (rest.remainder(padded) - p.window.begin[i]) * stride;
    rest = rest.div(padded, "floor");
    stride *= size;
  }
  return result;
}

TensorList max_pool_op(OpCall& call) {
  const Tensor& given = call.at(0);
  const Tensor x = given.is_floating_point() ? given : given.to(at::kFloat);
  const Pooling p = pooling(call, x);
  const std::vector<int64_t> none(p.window.kernel.size(), 0);
  Tensor y, indices;
  if (p.explicit_pad) {
    const Tensor padded = at::constant_pad_nd(x, p.window.torch_pads(), -std::numeric_limits<double>::infinity());
    std::tie(y, indices) = max_pool(padded, p, none);
    indices = unpad_indices(indices, x, p);
  } else {
    std::tie(y, indices) = max_pool(x, p, p.window.begin);
  }
  TensorList result{y.to(given.scalar_type())};
  if (call.saved) call.saved->push_back(indices);
  if (call.node.outputs.size() > 1 && call.node.outputs[1] != kNoValue) {
    // ONNX counts over the whole tensor; storage_order 1 counts each plane column by column.
    Tensor local = indices;
    int64_t plane = 1;
    for (int64_t d = 2; d < x.dim(); ++d) plane *= x.size(d);
    if (call.node.integer("storage_order", 0) == 1 && x.dim() == 4) {
      local = local.remainder(x.size(3)) * x.size(2) + local.div(x.size(3), "floor");
    }
    std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
    shape[0] = x.size(0);
    shape[1] = x.size(1);
    result.push_back(local + at::arange(x.size(0) * x.size(1), local.options()).view(shape) * plane);
  }
  return result;
}

/// Every window passes its gradient to its largest element; overlapping windows accumulate.
TensorList max_pool_vjp(const VjpCall& call) {
  const Shape& shape = call.in_shapes[0];
  if (shape.size() == 4) {
    const WindowGeometry w =
        window_geometry(call.node, at::IntArrayRef(shape).slice(2), call.node.integers("kernel_shape"));
    // LibTorch's kernel, which looks at the input's shape only, for what was not padded by hand.
    if (w.symmetric() && 2 * w.begin[0] <= w.kernel[0] && 2 * w.begin[1] <= w.kernel[1]) {
      const Tensor like = at::empty(shape, call.grad[0].options(), call.grad[0].suggest_memory_format());
      return {at::max_pool2d_with_indices_backward(call.grad[0], like, w.kernel, w.strides, w.begin, w.dilations,
                                                   call.node.integer("ceil_mode", 0) != 0, call.saved[0])};
    }
  }
  const Tensor grad = call.grad[0].flatten(2);
  Tensor result =
      at::zeros({shape[0], shape[1], c10::multiply_integers(shape.begin() + 2, shape.end())}, grad.options());
  result.scatter_add_(2, call.saved[0].flatten(2), grad);
  return {result.view(shape)};
}

Tensor average(const Tensor& x, const Pooling& p, const std::vector<int64_t>& padding, bool include_pad) {
  const auto& w = p.window;
  switch (x.dim()) {
    case 3:
      return at::avg_pool1d(x, w.kernel, w.strides, padding, p.ceil, include_pad);
    case 4:
      return at::avg_pool2d(x, w.kernel, w.strides, padding, p.ceil, include_pad);
    default:
      return at::avg_pool3d(x, w.kernel, w.strides, padding, p.ceil, include_pad);
  }
}

bool dilated(const Pooling& p) {
  return std::any_of(p.window.dilations.begin(), p.window.dilations.end(), [](int64_t d) { return d != 1; });
}

/// Sum over each window of the padded input, as a depthwise convolution with ones where LibTorch has no pooling for it.
Tensor window_sum(const Tensor& x, const Pooling& p) {
  const Tensor padded = at::constant_pad_nd(x, p.window.torch_pads());
  const std::vector<int64_t> none(p.window.kernel.size(), 0);
  if (!dilated(p)) {
    Pooling plain = p;
    const double area = static_cast<double>(c10::multiply_integers(p.window.kernel));
    return average(padded, plain, none, true) * area;
  }
  std::vector<int64_t> shape{x.size(1), 1};
  shape.insert(shape.end(), p.window.kernel.begin(), p.window.kernel.end());
  return at::convolution(padded, at::ones(shape, x.options()), {}, p.window.strides, none, p.window.dilations, false,
                         none, x.size(1));
}

TensorList average_pool_op(OpCall& call) {
  const Tensor& x = call.at(0);
  const Pooling p = pooling(call, x);
  const bool include_pad = call.node.integer("count_include_pad", 0) != 0;
  if (!p.explicit_pad && !dilated(p)) return {average(x, p, p.window.begin, include_pad)};
  const Pooling wide = with_explicit_end(p, x);
  Tensor counted = at::ones_like(x);
  if (include_pad) {
    // The declared padding counts, the overhang of rounding up does not.
    const WindowGeometry declared = window_geometry(call.node, x.sizes().slice(2), p.window.kernel);
    counted = at::constant_pad_nd(counted, declared.torch_pads(), 1.0);
    Pooling rest = wide;
    for (size_t i = 0; i < rest.window.begin.size(); ++i) {
      rest.window.begin[i] -= declared.begin[i];
      rest.window.end[i] -= declared.end[i];
    }
    return {window_sum(x, wide) / window_sum(counted, rest)};
  }
  return {window_sum(x, wide) / window_sum(counted, wide)};
}

TensorList lp_pool_op(OpCall& call) {
  const Tensor& x = call.at(0);
  const Pooling p = with_explicit_end(pooling(call, x), x);
  const double power = static_cast<double>(call.node.integer("p", 2));
  return {window_sum(x.abs().pow(power), p).pow(1.0 / power)};
}

std::vector<int64_t> spatial_axes(OpCall& call) {
  op_check(call.at(0).dim() >= 3, call.node,
           "its input has shape " + shape_text(call.at(0).sizes()) + "; [N,C,H,W] was expected");
  std::vector<int64_t> axes;
  for (int64_t d = 2; d < call.at(0).dim(); ++d) axes.push_back(d);
  return axes;
}

TensorList global_average_pool(OpCall& call) { return {call.at(0).mean(spatial_axes(call), /*keepdim=*/true)}; }

TensorList global_average_pool_vjp(const VjpCall& call) {
  const Shape& shape = call.in_shapes[0];
  const auto area = static_cast<double>(c10::multiply_integers(shape.begin() + 2, shape.end()));
  return {(call.grad[0] / area).expand(shape)};
}

TensorList global_max_pool(OpCall& call) {
  const std::vector<int64_t> axes = spatial_axes(call);
  const Tensor& x = call.at(0);
  std::vector<int64_t> shape = x.sizes().vec();
  std::fill(shape.begin() + 2, shape.end(), 1);
  // max() over one axis sends the gradient to the first largest element only.
  return {std::get<0>(x.flatten(2).max(2)).view(shape)};
}

TensorList global_lp_pool(OpCall& call) {
  const double power = static_cast<double>(call.node.integer("p", 2));
  return {call.at(0).abs().pow(power).sum(spatial_axes(call), true).pow(1.0 / power)};
}

}  // namespace

void add_pooling_ops(std::vector<Op>& ops) {
  ops.push_back({"MaxPool", "", 1, 22, max_pool_op, max_pool_vjp, OpRole::kPool, VjpReads::kNothing});
  ops.push_back({"AveragePool", "", 7, 22, average_pool_op, nullptr, OpRole::kPool});
  ops.push_back({"LpPool", "", 2, 22, lp_pool_op, nullptr, OpRole::kPool});
  ops.push_back({"GlobalAveragePool", "", 1, 22, global_average_pool, global_average_pool_vjp, OpRole::kPool,
                 VjpReads::kNothing});
  ops.push_back({"GlobalMaxPool", "", 1, 22, global_max_pool, nullptr, OpRole::kPool});
  ops.push_back({"GlobalLpPool", "", 2, 22, global_lp_pool, nullptr, OpRole::kPool});
}

}  // namespace pellucid
