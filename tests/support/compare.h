#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "pellucid/tensor.h"

namespace pellucid::test {

/// How far `actual` is from `expected`, both read as float64. Not finite when either holds a NaN or an infinity.
struct Difference {
  double rel_l2 = 0;   ///< |a - b|_2 / |b|_2
  double rel_max = 0;  ///< max|a - b| / max|b|
  Shape index;         ///< Where |a - b| is largest, or the first place that is not finite.
  double actual = 0;   ///< The two values there.
  double expected = 0;
};

inline double ratio(double error, double size) {
  if (error == 0) return 0;
  return size > 0 ? error / size : std::numeric_limits<double>::infinity();
}

/// Both tensors must have the same shape and at least one element.
inline Difference difference(const Tensor& actual, const Tensor& expected) {
  const Tensor a = actual.detach().to(at::kCPU, at::kDouble).contiguous();
  const Tensor b = expected.detach().to(at::kCPU, at::kDouble).contiguous();
  const Tensor error = (a - b).abs();
  const Tensor finite = error.isfinite();
  // The first element that is not finite, if any, counts as the worst.
  int64_t at_worst = error.argmax().item<int64_t>();
  if (!finite.all().item<bool>()) at_worst = finite.to(at::kByte).flatten().argmin().item<int64_t>();
  Difference result;
  result.rel_l2 = ratio(error.norm().item<double>(), b.norm().item<double>());
  result.rel_max = ratio(error.max().item<double>(), b.abs().max().item<double>());
  result.actual = a.flatten()[at_worst].item<double>();
  result.expected = b.flatten()[at_worst].item<double>();
  result.index.resize(static_cast<size_t>(b.dim()));
  for (int64_t axis = b.dim() - 1; axis >= 0; --axis) {
    result.index[static_cast<size_t>(axis)] = at_worst % b.size(axis);
    at_worst /= b.size(axis);
  }
  return result;
}

/// Largest accepted Difference; a negative bound is not asked.
struct Tolerance {
  double rel_l2 = -1;
  double rel_max = -1;
};

/// EXPECT_TRUE(within(actual, expected, {1e-6, 1e-6})) reports the largest error with its index and both values.
inline ::testing::AssertionResult within(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance) {
  if (!actual.defined()) return ::testing::AssertionFailure() << "there is no tensor to compare";
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure() << "shape " << shape_text(actual.sizes()) << ", expected "
                                         << shape_text(expected.sizes());
  }
  if (expected.numel() == 0) return ::testing::AssertionSuccess();
  const Difference d = difference(actual, expected);
  // Written so that a NaN fails.
  const bool l2_ok = tolerance.rel_l2 < 0 || d.rel_l2 <= tolerance.rel_l2;
  const bool max_ok = tolerance.rel_max < 0 || d.rel_max <= tolerance.rel_max;
  const bool ok = l2_ok && max_ok;
  std::ostringstream text;
  text.precision(3);
  text << "relative L2 error " << d.rel_l2;
  if (tolerance.rel_l2 >= 0) text << " (at most " << tolerance.rel_l2 << ")";
  text << ", relative maximum error " << d.rel_max;
  if (tolerance.rel_max >= 0) text << " (at most " << tolerance.rel_max << ")";
  text.precision(9);
  text << "; worst at " << shape_text(d.index) << ": " << d.actual << ", expected " << d.expected;
  return (ok ? ::testing::AssertionSuccess() : ::testing::AssertionFailure()) << text.str();
}

/// As `within`, for arrays whose sign is a matter of convention: `actual` or its negative must be close.
inline ::testing::AssertionResult within_up_to_sign(const Tensor& actual, const Tensor& expected,
                                                    const Tolerance& tolerance) {
  const auto as_it_is = within(actual, expected, tolerance);
  if (as_it_is || !actual.defined()) return as_it_is;
  const auto negated = within(actual.to(at::kDouble).neg(), expected, tolerance);
  if (negated) return negated;
  return ::testing::AssertionFailure() << as_it_is.message() << "; with the sign changed: " << negated.message();
}

}  // namespace pellucid::test
