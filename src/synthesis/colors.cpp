#include "synthesis/colors.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace pellucid {

namespace {

/// [3, pixels] of one picture.
Tensor as_rows(const Tensor& picture) { return (picture.dim() == 4 ? picture[0] : picture).flatten(1); }

/// Symmetric roots of covariances, and their inverses.
Tensor power_of(const Tensor& covariance, double exponent) {
  const auto [values, vectors] = at::linalg_eigh(covariance, "L");
  const double least = std::max(1e-12, 1e-9 * values[values.size(0) - 1].item<double>());
  return at::matmul(vectors * values.clamp_min(least).pow(exponent), vectors.t());
}

}  // namespace

Tensor with_histogram_of(const Tensor& picture, const Tensor& reference) {
  if (picture.dim() == 4) {
    TensorList all;
    for (int64_t b = 0; b < picture.size(0); ++b) {
      all.push_back(with_histogram_of(picture[b], reference.dim() == 4 ? reference[b % reference.size(0)] : reference));
    }
    return at::stack(all);
  }
  const Tensor rows = picture.flatten(1), wanted = std::get<0>(as_rows(reference).to(rows.options()).sort(1));
  const int64_t count = rows.size(1), goals = wanted.size(1);
  Tensor values = wanted;
  if (count != goals) {
    const Tensor at_ = (at::arange(count, rows.options().dtype(at::kDouble)) + 0.5) *
                           (static_cast<double>(goals) / static_cast<double>(count)) -
                       0.5;
    const Tensor below = at_.floor().clamp(0, static_cast<double>(goals) - 1).to(at::kLong);
    const Tensor above = (below + 1).clamp_max(goals - 1);
    const Tensor share = (at_ - below.to(at::kDouble)).clamp(0, 1).to(rows.scalar_type());
    values = wanted.index_select(1, below) * (1 - share) + wanted.index_select(1, above) * share;
  }
  const Tensor order = std::get<1>(rows.sort(/*stable=*/true, 1, /*descending=*/false));
  return at::empty_like(rows).scatter_(1, order, values).view(picture.sizes());
}

Tensor with_color_moments_of(const Tensor& picture, const Tensor& reference) {
  const Tensor x = as_rows(picture).to(at::kDouble), y = as_rows(reference).to(x.options());
  const auto covariance = [](const Tensor& rows) {
    const Tensor d = rows - rows.mean(1, true);
    return at::matmul(d, d.t()) / static_cast<double>(d.size(1));
  };
  const Tensor map = at::matmul(power_of(covariance(y), 0.5), power_of(covariance(x), -0.5));
  return (at::matmul(map, x - x.mean(1, true)) + y.mean(1, true)).to(picture.scalar_type()).view(picture.sizes());
}

Tensor with_color_of(const Tensor& picture, const Tensor& reference) {
  const Tensor weights = at::tensor({0.299, 0.587, 0.114}, picture.options()).view({3, 1, 1});
  // In YUV a change of Y alone is the same change of R, G and B.
  const Tensor change = ((picture - reference) * weights).sum(-3, true);
  return reference + change;
}

}  // namespace pellucid
