#include "attribution/imputation.h"

namespace pellucid {

Tensor linear_imputation(const Tensor& image, const Tensor& missing) {
  const auto options = image.options().dtype(at::kDouble);
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const Tensor hole = missing.unsqueeze(1).to(options);  // [B,1,H,W]
  const Tensor known = image.to(options).unsqueeze(0);
  const Tensor mean = known.mean({2, 3}, true);
  const double edge = 1.0 / 6, corner = 1.0 / 12;
  const Tensor stencil = at::tensor({corner, edge, corner, edge, 0.0, edge, corner, edge, corner}, at::kDouble)
                             .view({1, 1, 3, 3})
                             .to(options);
  const auto neighbours = [&](const Tensor& planes) {
    return at::conv2d(planes.reshape({-1, 1, height, width}), stencil, {}, 1, 1).view(planes.sizes());
  };
  // For a missing pixel i: (sum of w) x_i - sum over missing j of w_ij x_j = sum over known j of w_ij x_j. Symmetric
  // and, as long as some pixel is known, positive definite.
  const Tensor degree = neighbours(at::ones({1, 1, height, width}, options));
  const auto apply = [&](const Tensor& x) { return hole * (degree * x - neighbours(x)); };
  const auto dot = [](const Tensor& a, const Tensor& b) { return (a * b).sum({2, 3}, true); };

  Tensor x = (hole * mean).expand({hole.size(0), channels, height, width}).contiguous();
  const Tensor right = hole * neighbours(known * (1 - hole));
  Tensor residual = right - apply(x);
  Tensor direction = residual.clone();
  Tensor energy = dot(residual, residual);
  const Tensor goal = 1e-12 * dot(right, right) + 1e-300;
  for (int64_t iteration = 0; iteration < height * width; ++iteration) {
    const Tensor open = energy > goal;
    if (!open.any().item<bool>()) break;
    const Tensor image_of = apply(direction);
    const Tensor curvature = dot(direction, image_of);
    const Tensor step = at::where(open & (curvature > 0), energy / curvature, at::zeros_like(energy));
    if (!(step > 0).any().item<bool>()) break;
    x = x + step * direction;
    residual = residual - step * image_of;
    const Tensor next = dot(residual, residual);
    direction = residual + at::where(energy > 0, next / energy, at::zeros_like(next)) * direction;
    energy = next;
  }
  const Tensor everything = hole.sum({2, 3}, true) == static_cast<double>(height * width);
  x = at::where(everything, mean.expand_as(x), x);
  return at::where(hole > 0, x, known).to(image.scalar_type());
}

}  // namespace pellucid
