#pragma once

#include "pellucid/tensor.h"

namespace pellucid {

/// Moments of a weighted regression y = w.z + b, gathered a block of rows at a time so that memory does not grow with
/// their number. Everything float64 on the CPU.
class RegressionMoments {
 public:
  explicit RegressionMoments(int64_t columns);
  /// rows [n,M], targets [n], weights [n] >= 0.
  void add(const Tensor& rows, const Tensor& targets, const Tensor& weights);

  double total_weight() const { return weight_; }
  Tensor row_mean() const;                          ///< [M]
  double target_mean() const;                       ///< Weighted.
  Tensor gram() const { return gram_; }             ///< sum of weight z z^T, [M,M]
  Tensor correlation() const { return products_; }  ///< sum of weight y z, [M]
  Tensor centered_gram() const;                     ///< The same about the weighted means.
  Tensor centered_correlation() const;
  double centered_square() const;  ///< sum of weight (y - mean)^2

 private:
  Tensor gram_, products_, rows_;
  double weight_ = 0, targets_ = 0, squares_ = 0;
};

/// The w of least norm that minimizes w^T gram w - 2 rhs.w, for a symmetric positive semidefinite gram [M,M]: by
/// Cholesky, or by the eigenvalues above 1e-10 of the largest when it is (nearly) singular, which `singular` then says.
Tensor solve_normal_equations(const Tensor& gram, const Tensor& rhs, bool* singular = nullptr);

/// The minimizer of (w^T gram w - 2 rhs.w) / 2 + penalty * sum |w|, by cyclic coordinate descent to a largest change of
/// 1e-12 of the largest coefficient.
/// Friedman, Hastie, Tibshirani. "Regularization Paths for Generalized Linear Models via Coordinate Descent". Journal
/// of Statistical Software 2010.
Tensor solve_lasso(const Tensor& gram, const Tensor& rhs, double penalty);

}  // namespace pellucid
