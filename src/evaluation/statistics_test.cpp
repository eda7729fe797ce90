#include "pellucid/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pellucid {
namespace {

TEST(Summary, OfOneToFive) {
  const Summary s = summarize({5, 1, 4, 2, 3, std::numeric_limits<double>::quiet_NaN()});
  EXPECT_EQ(s.n, 5);
  EXPECT_EQ(s.undefined, 1);
  EXPECT_DOUBLE_EQ(s.mean, 3);
  EXPECT_DOUBLE_EQ(s.median, 3);
  EXPECT_DOUBLE_EQ(s.sd, std::sqrt(2.5));
  EXPECT_DOUBLE_EQ(s.standard_error, std::sqrt(0.5));
  // The bootstrap of the mean of 5 values has sd sqrt(2/5) (population variance 2); its interval is near +-1.96 of it.
  EXPECT_NEAR(s.low95, 3 - 1.96 * std::sqrt(0.4), 0.15);
  EXPECT_NEAR(s.high95, 3 + 1.96 * std::sqrt(0.4), 0.15);
}

TEST(Summary, OfNothingAndOfOneValue) {
  EXPECT_EQ(summarize({}).n, 0);
  const Summary one = summarize({7});
  EXPECT_EQ(one.sd, 0);
  EXPECT_EQ(one.low95, 7);
  EXPECT_EQ(one.high95, 7);
}

// Five positive differences: only the extreme arrangement is as extreme, on either side: 2/32.
TEST(PairedComparison, ExactSignedRank) {
  EXPECT_DOUBLE_EQ(compare_paired({1, 2, 3, 4, 5}, {0, 0, 0, 0, 0}).p_value, 2.0 / 32);
  // W- = 5; of the 32 subsets of {1..5}, ten have a sum of at most 5.
  EXPECT_DOUBLE_EQ(compare_paired({1, 2, 3, 4, -5}, {0, 0, 0, 0, 0}).p_value, 20.0 / 32);
  EXPECT_DOUBLE_EQ(compare_paired({1, 2, 3}, {1, 2, 3}).p_value, 1.0);
}

// n = 4 with all differences equal: ranks 2.5 each, W = 0, mean 5, variance 7.5 - 60/48; z = (0 - 5 + 0.5)/2.5.
TEST(PairedComparison, TiesUseTheCorrectedNormalApproximation) {
  EXPECT_NEAR(compare_paired({1, 1, 1, 1}, {0, 0, 0, 0}).p_value, std::erfc(1.8 / std::sqrt(2.0)), 1e-12);
}

TEST(PairedComparison, DifferenceAndItsIntervalLeaveUndefinedPairsOut) {
  const PairedComparison c = compare_paired({2, 4, std::nan("")}, {1, 2, 0});
  EXPECT_EQ(c.n, 2);
  EXPECT_DOUBLE_EQ(c.mean_difference, 1.5);
  EXPECT_DOUBLE_EQ(c.low95, 1);
  EXPECT_DOUBLE_EQ(c.high95, 2);
}

}  // namespace
}  // namespace pellucid
