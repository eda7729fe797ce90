// Batch, instance, layer, group and local response normalization.

#include "graph/op.h"

namespace pellucid {

namespace {

std::vector<int64_t> channel_shape(const Tensor& x) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[1] = -1;
  return shape;
}

/// Inference uses the stored statistics whatever the node says about training. In training the second and third results
/// are the new running mean and variance.
TensorList batch_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  op_check(x.dim() >= 2, call.node, "its input has shape " + shape_text(x.sizes()) + "; [N,C,...] was expected");
  const int64_t channels = x.size(1);
  for (size_t i = 1; i < 5; ++i) {
    op_check(call.at(i).numel() == channels, call.node,
             "parameter " + std::to_string(i) + " has shape " + shape_text(call.at(i).sizes()) + " but the input has " +
                 std::to_string(channels) + " channels");
  }
  const double epsilon = call.node.real("epsilon", 1e-5);
  if (!call.training)
    return {at::batch_norm(x, call.in[1], call.in[2], call.in[3], call.in[4], false, 0, epsilon, false)};
  Tensor mean = call.in[3].clone();
  Tensor var = call.in[4].clone();
  const double keep = call.node.real("momentum", 0.9);
  Tensor y = at::batch_norm(x, call.in[1], call.in[2], mean, var, true, 1 - keep, epsilon, false);
  return {y, mean, var};
}

TensorList batch_normalization_vjp(const VjpCall& call) {
  const Tensor factor = call.in[1] / at::sqrt(call.in[4] + call.node.real("epsilon", 1e-5));
  TensorList result(call.in.size());
  std::vector<int64_t> shape(call.in_shapes[0].size(), 1);
  shape[1] = -1;
  result[0] = call.grad[0] * factor.view(shape);
  return result;
}

TensorList instance_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  op_check(x.dim() >= 3, call.node, "its input has shape " + shape_text(x.sizes()) + "; [N,C,H,W] was expected");
  op_check(call.at(1).numel() == x.size(1) && call.at(2).numel() == x.size(1), call.node,
           "scale " + shape_text(call.at(1).sizes()) + " and bias " + shape_text(call.at(2).sizes()) +
               " do not fit input " + shape_text(x.sizes()));
  std::vector<int64_t> axes;
  for (int64_t d = 2; d < x.dim(); ++d) axes.push_back(d);
  // Written out because LibTorch's own falls back to a slow path in channels-last memory.
  const auto [var, mean] = at::var_mean(x, axes, /*unbiased=*/false, /*keepdim=*/true);
  const Tensor factor = at::rsqrt(var + call.node.real("epsilon", 1e-5)) * call.in[1].view(channel_shape(x));
  return {at::addcmul(call.in[2].view(channel_shape(x)) - mean * factor, x, factor)};
}

TensorList layer_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", -1), x.dim());
  std::vector<int64_t> axes;
  for (int64_t d = axis; d < x.dim(); ++d) axes.push_back(d);
  const auto [var, mean] = at::var_mean(x, axes, false, true);
  const Tensor inverse = at::rsqrt(var + call.node.real("epsilon", 1e-5));
  Tensor y = (x - mean) * inverse * call.at(1);
  if (call.has(2)) y = y + call.in[2];
  return {y, mean, inverse};
}

TensorList group_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t groups = call.node.integer("num_groups", 0);
  op_check(x.dim() >= 2 && groups >= 1 && x.size(1) % groups == 0, call.node,
           "num_groups is " + std::to_string(groups) + "; it must divide the channels of " + shape_text(x.sizes()));
  const Tensor normalized = at::group_norm(x, groups, {}, {}, call.node.real("epsilon", 1e-5), false);
  Tensor scale = call.at(1);
  Tensor bias = call.at(2);
  if (scale.numel() == groups && groups != x.size(1)) {  // opset 18: one number per group
    scale = scale.repeat_interleave(x.size(1) / groups);
    bias = bias.repeat_interleave(x.size(1) / groups);
  }
  op_check(scale.numel() == x.size(1) && bias.numel() == x.size(1), call.node,
           "scale and bias must have one number per channel of " + shape_text(x.sizes()));
  return {normalized * scale.view(channel_shape(x)) + bias.view(channel_shape(x))};
}

TensorList local_response_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t size = call.node.integer("size", 1);
  op_check(size >= 1 && x.dim() >= 3, call.node, "size is " + std::to_string(size) + "; it must be >= 1");
  const Tensor squares = x.square().flatten(2).unsqueeze(1);  // [N,1,C,positions]
  const int64_t before = (size - 1) / 2;
  const Tensor padded = at::constant_pad_nd(squares, {0, 0, before, size - 1 - before});
  const Tensor mean = at::avg_pool2d(padded, {size, 1}, {1, 1}).squeeze(1).view(x.sizes());
  const Tensor base = mean * call.node.real("alpha", 1e-4) + call.node.real("bias", 1.0);
  return {x / base.pow(call.node.real("beta", 0.75))};
}

TensorList mean_variance_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  const std::vector<int64_t> axes = call.node.integers("axes", {0, 2, 3});
  for (const int64_t axis : axes) normal_axis(call.node, axis, x.dim());
  const auto [var, mean] = at::var_mean(x, axes, false, true);
  return {(x - mean) / (at::sqrt(var) + 1e-9)};
}

TensorList lp_normalization(OpCall& call) {
  const Tensor& x = call.at(0);
  const int64_t axis = normal_axis(call.node, call.node.integer("axis", -1), x.dim());
  return {x / x.norm(static_cast<double>(call.node.integer("p", 2)), {axis}, true)};
}

}  // namespace

void add_normalization_ops(std::vector<Op>& ops) {
  const auto norm = [&](const char* type, int64_t since, Forward forward, Vjp vjp = nullptr,
                        VjpReads reads = VjpReads::kBoth) {
    ops.push_back({type, "", since, 22, forward, vjp, OpRole::kNormalization, reads});
  };
  norm("BatchNormalization", 7, batch_normalization, batch_normalization_vjp, VjpReads::kInputs);
  norm("InstanceNormalization", 6, instance_normalization);
  norm("LayerNormalization", 17, layer_normalization);
  norm("GroupNormalization", 18, group_normalization);
  norm("LRN", 1, local_response_normalization);
  norm("MeanVarianceNormalization", 9, mean_variance_normalization);
  norm("LpNormalization", 1, lp_normalization);
}

}  // namespace pellucid
