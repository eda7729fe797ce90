// Gemm and MatMul.

#include "graph/op.h"

namespace pellucid {

namespace {

TensorList gemm(OpCall& call) {
  const Node& node = call.node;
  Tensor a = call.at(0);
  Tensor b = call.at(1);
  op_check(a.dim() == 2 && b.dim() == 2, node,
           "inputs " + shape_text(a.sizes()) + " and " + shape_text(b.sizes()) + " must both be matrices");
  const double alpha = node.real("alpha", 1.0);
  const double beta = node.real("beta", 1.0);
  if (node.integer("transA", 0)) a = a.t();
  if (node.integer("transB", 0)) b = b.t();
  op_check(a.size(1) == b.size(0), node,
           "inputs " + shape_text(a.sizes()) + " and " + shape_text(b.sizes()) +
               " (after transposing) cannot be multiplied");
  if (!call.has(2) || beta == 0) {
    const Tensor product = at::mm(a, b);
    return {alpha == 1 ? product : product * alpha};
  }
  const Tensor& c = call.in[2];
  const bool fits = c.dim() <= 2 && (c.dim() < 1 || c.size(-1) == 1 || c.size(-1) == b.size(1)) &&
                    (c.dim() < 2 || c.size(0) == 1 || c.size(0) == a.size(0));
  op_check(fits, node,
           "bias " + shape_text(c.sizes()) + " does not broadcast to " + shape_text({a.size(0), b.size(1)}));
  if (alpha == 1 && beta == 1) return {at::addmm(c, a, b)};
  return {at::addmm(c, a, b, beta, alpha)};
}

TensorList gemm_vjp(const VjpCall& call) {
  TensorList result(call.in.size());
  const Tensor& grad = call.grad[0];
  const double alpha = call.node.real("alpha", 1.0);
  const bool trans_a = call.node.integer("transA", 0) != 0;
  const bool trans_b = call.node.integer("transB", 0) != 0;
  const auto scaled = [&](const Tensor& t) { return alpha == 1 ? t : t * alpha; };
  if (call.needed[0]) {
    const Tensor b = trans_b ? call.in[1] : call.in[1].t();
    const Tensor g = scaled(at::mm(grad, b));
    result[0] = trans_a ? g.t() : g;
  }
  if (call.needed[1]) {
    const Tensor a = trans_a ? call.in[0] : call.in[0].t();
    const Tensor g = scaled(at::mm(a, grad));
    result[1] = trans_b ? g.t() : g;
  }
  if (call.needed.size() > 2 && call.needed[2]) {
    result[2] = at::sum_to(grad * call.node.real("beta", 1.0), call.in_shapes[2]);
  }
  return result;
}

TensorList matmul(OpCall& call) {
  const Tensor& a = call.at(0);
  const Tensor& b = call.at(1);
  op_check(a.dim() >= 1 && b.dim() >= 1 && a.size(-1) == b.size(b.dim() == 1 ? 0 : -2), call.node,
           "inputs " + shape_text(a.sizes()) + " and " + shape_text(b.sizes()) + " cannot be multiplied");
  return {at::matmul(a, b)};
}

}  // namespace

void add_linear_ops(std::vector<Op>& ops) {
  ops.push_back({"Gemm", "", 7, 22, gemm, gemm_vjp, OpRole::kLinear, VjpReads::kInputs});
  ops.push_back({"MatMul", "", 1, 22, matmul, nullptr, OpRole::kLinear});
}

}  // namespace pellucid
