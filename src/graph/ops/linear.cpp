// Gemm and MatMul.

#include <ATen/Parallel.h>

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

/// grad [1,C] times weight [C,K], reading only the rows of `weight` whose gradient is not zero. The gradient of a logit
/// is one-hot and that of a rectified dense layer mostly zero, while the weights of dense layers are the largest
/// tensors of many networks: the product costs what reading them costs.
template <class T>
Tensor product_of_live_rows(const Tensor& grad, const Tensor& weight, const std::vector<int64_t>& live) {
  const int64_t columns = weight.size(1);
  Tensor result = at::zeros({1, columns}, grad.options());
  const T* const g = grad.data_ptr<T>();
  const T* const w = weight.data_ptr<T>();
  T* const out = result.data_ptr<T>();
  // Long pieces of each row, so that reading is a stream; the piece of the result stays in the second-level cache.
  const int64_t piece = std::clamp<int64_t>((columns + at::get_num_threads() - 1) / at::get_num_threads(), 1024, 16384);
  at::parallel_for(0, (columns + piece - 1) / piece, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const int64_t begin = p * piece, end = std::min(columns, begin + piece);
      size_t i = 0;
      for (; i + 4 <= live.size(); i += 4) {
        const T f0 = g[live[i]], f1 = g[live[i + 1]], f2 = g[live[i + 2]], f3 = g[live[i + 3]];
        const T* const w0 = w + live[i] * columns;
        const T* const w1 = w + live[i + 1] * columns;
        const T* const w2 = w + live[i + 2] * columns;
        const T* const w3 = w + live[i + 3] * columns;
        for (int64_t c = begin; c < end; ++c) out[c] += (f0 * w0[c] + f1 * w1[c]) + (f2 * w2[c] + f3 * w3[c]);
      }
      for (; i < live.size(); ++i) {
        const T f = g[live[i]];
        const T* const row = w + live[i] * columns;
        for (int64_t c = begin; c < end; ++c) out[c] += f * row[c];
      }
    }
  });
  return result;
}

template <class T>
std::vector<int64_t> nonzero_entries(const Tensor& grad) {
  std::vector<int64_t> live;
  const T* const g = grad.data_ptr<T>();
  for (int64_t i = 0; i < grad.numel(); ++i) {
    if (g[i] != 0) live.push_back(i);
  }
  return live;
}

/// grad times weight by live rows when that reads clearly less than all of them; otherwise undefined.
Tensor sparse_product(const Tensor& given, const Tensor& weight) {
  const at::ScalarType type = given.scalar_type();
  if (given.size(0) != 1 || !given.device().is_cpu() || !weight.is_contiguous() || weight.numel() < (1 << 16) ||
      (type != at::kFloat && type != at::kDouble) || weight.scalar_type() != type) {
    return {};
  }
  const Tensor grad = given.contiguous();
  const std::vector<int64_t> live = type == at::kFloat ? nonzero_entries<float>(grad) : nonzero_entries<double>(grad);
  if (static_cast<int64_t>(live.size()) > weight.size(0) * 3 / 4) return {};
  return type == at::kFloat ? product_of_live_rows<float>(grad, weight, live)
                            : product_of_live_rows<double>(grad, weight, live);
}

TensorList gemm_vjp(const VjpCall& call) {
  TensorList result(call.in.size());
  const Tensor& grad = call.grad[0];
  const double alpha = call.node.real("alpha", 1.0);
  const bool trans_a = call.node.integer("transA", 0) != 0;
  const bool trans_b = call.node.integer("transB", 0) != 0;
  const auto scaled = [&](const Tensor& t) { return alpha == 1 ? t : t * alpha; };
  if (call.needed[0]) {
    Tensor product = trans_b ? sparse_product(grad, call.in[1]) : Tensor();
    if (!product.defined()) product = at::mm(grad, trans_b ? call.in[1] : call.in[1].t());
    const Tensor g = scaled(product);
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
