#include "pellucid/similarity.h"

#include <algorithm>
#include <cmath>

namespace pellucid {

namespace {

Tensor plain(const Tensor& t) { return t.to(at::kCPU, at::kDouble).contiguous(); }

/// From minimum and maximum to 0..1; undefined for a map that is constant but for rounding.
Tensor scaled(const Tensor& t) {
  const Tensor map = plain(t);
  const double low = map.min().item<double>(), high = map.max().item<double>();
  if (high - low <= 1e-12 * std::max(std::abs(low), std::abs(high))) return {};
  return (map - low) / (high - low);
}

}  // namespace

std::optional<double> pearson_correlation(const Tensor& a, const Tensor& b) {
  const Tensor x = plain(a).flatten(), y = plain(b).flatten();
  const Tensor dx = x - x.mean(), dy = y - y.mean();
  const double nx = dx.norm().item<double>(), ny = dy.norm().item<double>();
  // A constant leaves nothing but the rounding of its mean.
  if (!(nx > 1e-14 * x.norm().item<double>()) || !(ny > 1e-14 * y.norm().item<double>())) return std::nullopt;
  return std::clamp(((dx / nx) * (dy / ny)).sum().item<double>(), -1.0, 1.0);
}

Tensor average_ranks(const Tensor& t) {
  const auto [sorted, order] = plain(t).flatten().sort();
  const auto [distinct, group, counts] =
      at::unique_consecutive(sorted, /*return_inverse=*/true, /*return_counts=*/true);
  const Tensor last = counts.cumsum(0).to(at::kDouble);
  const Tensor average = last - (counts.to(at::kDouble) - 1) / 2;
  Tensor ranks = at::empty({order.numel()}, at::kDouble);
  ranks.index_copy_(0, order, average.index_select(0, group));
  return ranks.view(t.sizes());
}

std::optional<double> spearman_correlation(const Tensor& a, const Tensor& b) {
  return pearson_correlation(average_ranks(a), average_ranks(b));
}

std::optional<double> kendall_correlation(const Tensor& a, const Tensor& b) {
  const auto orders = [](const Tensor& t) {
    const Tensor x = plain(t).flatten();
    return (x.unsqueeze(0) > x.unsqueeze(1)).to(at::kChar) - (x.unsqueeze(0) < x.unsqueeze(1)).to(at::kChar);
  };
  const Tensor x = orders(a), y = orders(b);
  const auto total = [](const Tensor& t) { return t.sum(at::kLong).item<double>(); };
  const double differ_in_a = total(x.abs()), differ_in_b = total(y.abs());
  if (differ_in_a == 0 || differ_in_b == 0) return std::nullopt;
  return total(x * y) / std::sqrt(differ_in_a * differ_in_b);
}

std::optional<double> structural_similarity(const Tensor& a, const Tensor& b) {
  const Tensor x = scaled(a), y = scaled(b);
  if (!x.defined() || !y.defined()) return std::nullopt;
  const int64_t shorter = std::min(x.size(0), x.size(1));
  const int64_t size = std::min<int64_t>(11, shorter - (shorter + 1) % 2);
  const Tensor t = at::arange(size, at::kDouble) - static_cast<double>(size / 2);
  Tensor row = at::exp(-t.square() / (2 * 1.5 * 1.5));
  row = row / row.sum();
  const auto local_mean = [&](const Tensor& m) {
    const Tensor rows = at::conv2d(m.unsqueeze(0).unsqueeze(0), row.view({1, 1, -1, 1}));
    return at::conv2d(rows, row.view({1, 1, 1, -1}));
  };
  const Tensor mx = local_mean(x), my = local_mean(y);
  const Tensor vx = local_mean(x * x) - mx * mx, vy = local_mean(y * y) - my * my, both = local_mean(x * y) - mx * my;
  const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const Tensor ssim = (2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
  return ssim.mean().item<double>();
}

Tensor oriented_gradients(const Tensor& t) {
  Tensor map = scaled(t);
  if (!map.defined()) map = at::zeros(t.sizes(), at::kDouble);
  const int64_t height = map.size(0), width = map.size(1);
  Tensor gy = at::zeros_like(map), gx = at::zeros_like(map);
  if (height > 2) gy.slice(0, 1, height - 1).copy_(map.slice(0, 2) - map.slice(0, 0, height - 2));
  if (width > 2) gx.slice(1, 1, width - 1).copy_(map.slice(1, 2) - map.slice(1, 0, width - 2));
  const Tensor magnitude = at::hypot(gx, gy);
  constexpr int64_t kOrientations = 9;
  const Tensor degrees = at::rad2deg(at::atan2(gy, gx)).remainder(180.0);
  const Tensor bin = (degrees / (180.0 / kOrientations)).floor().clamp(0, kOrientations - 1).to(at::kLong);
  const Tensor votes =
      at::zeros({kOrientations, height, width}, at::kDouble).scatter(0, bin.unsqueeze(0), magnitude.unsqueeze(0));
  const int64_t cell = std::max<int64_t>(1, std::min<int64_t>(16, std::min(height, width) / 4));
  const Tensor cells = at::avg_pool2d(votes.unsqueeze(0), {cell, cell}).squeeze(0);  // [9,rows,columns]
  const int64_t block = std::min<int64_t>(3, std::min(cells.size(1), cells.size(2)));
  // [9,rows,columns,block,block] -> one row per block
  Tensor blocks = cells.unfold(1, block, 1).unfold(2, block, 1).permute({1, 2, 3, 4, 0}).flatten(2).flatten(0, 1);
  const auto normalize = [](const Tensor& b) { return b / at::sqrt(b.square().sum(1, true) + 1e-10); };
  return normalize(normalize(blocks).clamp_max(0.2)).flatten();
}

std::optional<double> hog_similarity(const Tensor& a, const Tensor& b) {
  return spearman_correlation(oriented_gradients(a), oriented_gradients(b));
}

MapSimilarity map_similarity(const Tensor& a, const Tensor& b) {
  return {spearman_correlation(a, b), spearman_correlation(a.abs(), b.abs()), structural_similarity(a, b),
          hog_similarity(a, b)};
}

}  // namespace pellucid
