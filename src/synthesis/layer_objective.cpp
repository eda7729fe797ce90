#include "synthesis/layer_objective.h"

namespace pellucid {

Tensor as_map(const Tensor& value, const std::string& owner) {
  if (value.dim() == 4) return value;
  if (value.dim() == 2) return value.unsqueeze(2).unsqueeze(3);
  throw_usage(owner + ": the layer holds " + shape_text(value.sizes()) + "; [N,C,h,w] or [N,C] was expected");
}

Tensor fitted_mask(const PartScope& scope, const std::string& owner, const std::string& name) {
  return name.empty() ? Tensor() : scope.tensor(owner, name).unsqueeze(0).unsqueeze(0);
}
Tensor mask_at(const Tensor& mask, const Tensor& a) {
  return at::adaptive_avg_pool2d(mask.to(a.options()), {a.size(2), a.size(3)});
}

Tensor gram_matrix(const Tensor& a, const Tensor& mask) {
  const Tensor f = a.flatten(2);
  if (!mask.defined()) return at::matmul(f, f.transpose(1, 2)) / static_cast<double>(f.size(2));
  const Tensor m = mask_at(mask, a).flatten(2);
  const Tensor guided = f * m;
  return at::matmul(guided, guided.transpose(1, 2)) / m.square().sum().clamp_min(1e-6);
}

std::pair<Tensor, Tensor> channel_moments(const Tensor& a, const Tensor& mask) {
  const Tensor f = a.flatten(2);
  const Tensor m = mask.defined() ? mask_at(mask, a).flatten(2) : at::ones({1, 1, f.size(2)}, f.options());
  const Tensor share = m / m.sum().clamp_min(1e-6);
  const Tensor mean = (f * share).sum(2);
  return {mean, (((f - mean.unsqueeze(2)).square() * share).sum(2) + 1e-10).sqrt()};
}

}  // namespace pellucid
