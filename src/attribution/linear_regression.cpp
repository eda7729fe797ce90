#include "attribution/linear_regression.h"

#include <algorithm>
#include <cmath>

namespace pellucid {

RegressionMoments::RegressionMoments(int64_t columns)
    : gram_(at::zeros({columns, columns}, at::kDouble)),
      products_(at::zeros({columns}, at::kDouble)),
      rows_(at::zeros({columns}, at::kDouble)) {}

void RegressionMoments::add(const Tensor& rows, const Tensor& targets, const Tensor& weights) {
  const Tensor weighted = rows * weights.unsqueeze(1);
  gram_ = gram_ + at::matmul(weighted.t(), rows);
  products_ = products_ + at::mv(weighted.t(), targets);
  rows_ = rows_ + weighted.sum(0);
  weight_ += weights.sum().item<double>();
  targets_ += (weights * targets).sum().item<double>();
  squares_ += (weights * targets.square()).sum().item<double>();
}

Tensor RegressionMoments::row_mean() const { return rows_ / weight_; }
double RegressionMoments::target_mean() const { return targets_ / weight_; }
Tensor RegressionMoments::centered_gram() const { return gram_ - at::outer(rows_, rows_) / weight_; }
Tensor RegressionMoments::centered_correlation() const { return products_ - rows_ * target_mean(); }
double RegressionMoments::centered_square() const { return squares_ - targets_ * target_mean(); }

Tensor solve_normal_equations(const Tensor& gram, const Tensor& rhs, bool* singular) {
  constexpr double kRelativeRank = 1e-10;
  const auto [factor, info] = at::linalg_cholesky_ex(gram);
  bool regular = info.item<int>() == 0;
  if (regular && gram.size(0) > 0) {
    const Tensor pivots = factor.diagonal().square();
    regular = pivots.min().item<double>() > kRelativeRank * pivots.max().item<double>();
  }
  if (singular) *singular = !regular;
  if (regular) return at::cholesky_solve(rhs.unsqueeze(1), factor).squeeze(1);
  return at::mv(at::linalg_pinv(gram, kRelativeRank, /*hermitian=*/true), rhs);
}

Tensor solve_lasso(const Tensor& gram, const Tensor& rhs, double penalty) {
  constexpr int kMaxSweeps = 10000;
  const Tensor g = gram.contiguous(), r = rhs.contiguous();
  const int64_t m = g.size(0);
  const auto* const gp = g.data_ptr<double>();
  const auto* const rp = r.data_ptr<double>();
  Tensor result = at::zeros({m}, at::kDouble);
  auto* const w = result.data_ptr<double>();
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double change = 0, largest = 0;
    for (int64_t j = 0; j < m; ++j) {
      const double* row = gp + j * m;
      if (row[j] <= 0) continue;
      double c = rp[j] + row[j] * w[j];
      for (int64_t k = 0; k < m; ++k) c -= row[k] * w[k];
      // Written so that NaN passes through.
      const double next = std::abs(c) <= penalty ? 0 : (c > 0 ? c - penalty : c + penalty) / row[j];
      change = std::max(change, std::abs(next - w[j]));
      w[j] = next;
      largest = std::max(largest, std::abs(next));
    }
    if (!(change > 1e-12 * largest)) break;
  }
  return result;
}

}  // namespace pellucid
