#include "attribution/linear_node.h"

#include <torch/csrc/autograd/autograd.h>

namespace pellucid {

namespace {

Tensor plain(const Tensor& t) { return t.defined() ? t.detach() : t; }

}  // namespace

LinearNode::LinearNode(const NodeBackward& backward, const NodeCaches& caches)
    : backward_(backward),
      caches_(caches),
      node_(backward.node),
      op_(find_op(backward.node.domain, backward.node.op, backward.node.opset)) {
  const auto& needed = backward.needed;
  if (needed.size() < 2 || backward.inputs.size() < 2) return;
  by_constant_ = needed[0] != needed[1] && (needed.size() < 3 || !needed[2]);
  data_ = needed[0] ? 0 : 1;
  weights_ = 1 - data_;
  // Only a product of matrices may have its weights on the left.
  if (data_ == 1 && node_.op != "MatMul" && node_.op != "Gemm") by_constant_ = false;
  input_ = plain(backward.inputs[data_]);
  weight_ = plain(backward.inputs[weights_]);
  if (backward.inputs.size() > 2) bias_ = plain(backward.inputs[2]);
  output_ = plain(backward.outputs[0]);
  if (node_.op == "Gemm") {
    const double alpha = node_.real("alpha", 1.0), beta = node_.real("beta", 1.0);
    scaled_ = alpha != 1 || beta != 1;
    if (alpha != 1) weight_ = weight_ * alpha;
    if (beta == 0) bias_ = Tensor();
    if (beta != 1 && bias_.defined()) bias_ = bias_ * beta;
    node_.attributes.erase("alpha");
    node_.attributes.erase("beta");
  }
}

Tensor LinearNode::kept(const Tensor& t, const std::string& name, const Make& make) const {
  if (!t.defined()) return t;
  return scaled_ ? make(t) : caches_.weights.get(t, name, make);
}

Tensor LinearNode::run(const TensorList& inputs, bool packs) const {
  TensorList in = inputs;
  OpCall call{node_, in};
  if (packs) call.packed = &caches_.packed;
  return op_->forward(call).front();
}

Tensor LinearNode::forward(const Tensor& input, const Tensor& weight, const Tensor& bias) const {
  TensorList in(backward_.inputs.size());
  in[data_] = input;
  in[weights_] = weight;
  if (bias.defined()) in[2] = bias;
  return run(in, node_.op == "Conv");
}

Tensor LinearNode::transposed(const Tensor& weight, const Tensor& r, const Tensor& like) const {
  const Tensor& input = like.defined() ? like : input_;
  TensorList in(backward_.inputs.size());
  in[data_] = input;
  in[weights_] = weight;
  if (op_->vjp) {
    std::vector<Shape> shapes;
    for (const Tensor& t : in) shapes.push_back(t.defined() ? t.sizes().vec() : Shape());
    std::vector<bool> needed(in.size(), false);
    needed[data_] = true;
    const TensorList grads{r}, none;
    return op_->vjp({node_, in, backward_.outputs, none, grads, needed, shapes})[data_];
  }
  const at::AutoGradMode with_gradients(true);
  in[data_] = input.detach().requires_grad_(true);
  return torch::autograd::grad({run(in, false)}, {in[data_]}, {r}).front();
}

Tensor LinearNode::single_channel_ones() const {
  if (node_.integer("group", 1) != 1) return {};
  std::vector<int64_t> shape = weight_.sizes().vec();
  if (node_.op == "Conv") {
    shape[0] = 1;
  } else if (node_.op == "ConvTranspose") {
    shape[1] = 1;
  } else {
    return {};
  }
  return of_weight("ones for one channel", [&](const Tensor& w) { return at::ones(shape, w.options()); });
}

TensorList LinearNode::result(Tensor relevance) const {
  TensorList list(backward_.needed.size());
  list[data_] = std::move(relevance);
  return list;
}

}  // namespace pellucid
