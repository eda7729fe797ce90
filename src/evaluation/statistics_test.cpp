#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/metrics.h"
#include "support/expect_error.h"

namespace pellucid {
namespace {

TEST(Summary, MeanErrorAndInterval) {
  const Summary s = summarize({1, 2, 3, 4, 5});
  EXPECT_EQ(s.count, 5);
  EXPECT_DOUBLE_EQ(s.mean, 3);
  EXPECT_DOUBLE_EQ(s.standard_error, std::sqrt(2.5 / 5));
  // The bootstrap's deviation is that of the population over root n: sqrt(2 / 5).
  EXPECT_NEAR(s.high - s.low, 2 * 1.96 * std::sqrt(2.0 / 5), 0.25);
  EXPECT_LT(s.low, 3);
  EXPECT_GT(s.high, 3);
  const Summary again = summarize({1, 2, 3, 4, 5});
  EXPECT_EQ(again.low, s.low);
}

TEST(Summary, OneValueHasNoSpread) {
  const Summary s = summarize({0.5});
  EXPECT_EQ(s.low, 0.5);
  EXPECT_EQ(s.high, 0.5);
  EXPECT_EQ(s.standard_error, 0);
  test::expect_error(ErrorKind::kUsage, "summarize: there are no values", [] { summarize({}); });
}

// Five differences of one sign, all different: of 32 equally likely sign patterns one is as extreme on each side.
TEST(PairedComparison, ExactSmallSample) {
  EXPECT_DOUBLE_EQ(compare_paired({2, 4, 6, 8, 10}, {1, 2, 3, 4, 5}).p_value, 2.0 / 32);
  // One negative of rank 1: sums 0 and 1 on each side, two patterns each.
  EXPECT_DOUBLE_EQ(compare_paired({0, 4, 6, 8, 10}, {1, 2, 3, 4, 5}).p_value, 4.0 / 32);
  EXPECT_DOUBLE_EQ(compare_paired({2, 4, 6, 8, 10}, {1, 2, 3, 4, 5}).difference.mean, 3);
}

TEST(PairedComparison, EqualMethodsDoNotDiffer) {
  EXPECT_EQ(compare_paired({1, 2, 3}, {1, 2, 3}).p_value, 1);
  EXPECT_DOUBLE_EQ(compare_paired({1, 2}, {2, 1}).p_value, 1);
}

// Ten ties of one sign: W = 0, mean 27.5, variance 10*11*21/24 - (1000 - 10)/48 = 75.625.
TEST(PairedComparison, TiesUseTheNormalApproximation) {
  const std::vector<double> a(10, 1.0), b(10, 0.0);
  EXPECT_NEAR(compare_paired(a, b).p_value, std::erfc(27.5 / std::sqrt(2 * 75.625)), 1e-12);
}

}  // namespace
}  // namespace pellucid
