#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/metrics.h"
#include "support/expect_error.h"

namespace pellucid {
namespace {

Tensor grid(std::vector<double> numbers, int64_t rows) {
  return at::tensor(numbers, at::kDouble).view({rows, static_cast<int64_t>(numbers.size()) / rows});
}

// Mask {a,b}; map a=4, b=1, c=2, d=1. Thresholds up to 0.25: all four, IoU 2/4. Up to 0.5: {a,c}, IoU 1/3. Above: {a},
// IoU 1/2, which does not beat the 1/2 that came first. Mass 5/8. The two highest are a and c: rank 1/2.
TEST(Localization, MixedMapGivesTheNumbersWorkedOutByHand) {
  const Localization l = localization(grid({4, 1, 2, 1}, 2), grid({1, 1, 0, 0}, 2).to(at::kBool));
  EXPECT_DOUBLE_EQ(l.iou_half, 1.0 / 3);
  EXPECT_DOUBLE_EQ(l.iou_best, 0.5);
  EXPECT_DOUBLE_EQ(l.best_threshold, 0.0);
  EXPECT_DOUBLE_EQ(l.mass, 5.0 / 8);
  EXPECT_DOUBLE_EQ(l.rank, 0.5);
  EXPECT_TRUE(l.hit);
}

TEST(Localization, MapEqualToTheMaskScoresOneEverywhere) {
  const Tensor mask = grid({0, 1, 1, 0, 1, 0}, 2);
  const Localization l = localization(mask * 7, mask.to(at::kBool));
  EXPECT_EQ(l.iou_half, 1);
  EXPECT_EQ(l.iou_best, 1);
  EXPECT_EQ(l.mass, 1);
  EXPECT_EQ(l.rank, 1);
  EXPECT_TRUE(l.hit);
}

TEST(Localization, MapOutsideTheMaskScoresZero) {
  const Localization l = localization(grid({0, 0, 3, 5}, 2), grid({1, 0, 0, 0}, 2).to(at::kBool));
  EXPECT_EQ(l.iou_half, 0);
  EXPECT_EQ(l.iou_best, 0);
  EXPECT_EQ(l.mass, 0);
  EXPECT_EQ(l.rank, 0);
  EXPECT_FALSE(l.hit);
}

// Negative evidence is no evidence: -9 neither wins the pointing game nor counts in the sum.
TEST(Localization, NegativeValuesCountAsZero) {
  const Localization l = localization(grid({-9, 1, 1, -9}, 2), grid({0, 1, 0, 0}, 2).to(at::kBool));
  EXPECT_DOUBLE_EQ(l.mass, 0.5);
  EXPECT_DOUBLE_EQ(l.iou_half, 0.5);
  EXPECT_TRUE(l.hit);
}

// {>= 0.62 max} is {a} alone; every lower threshold adds the wrong b or more: the best one is the first above 0.6.
TEST(Localization, BestThresholdIsTheFirstThatGivesTheBestOverlap) {
  const Localization l = localization(grid({10, 6, 3, 1}, 1), grid({1, 0, 0, 0}, 1).to(at::kBool));
  EXPECT_DOUBLE_EQ(l.iou_best, 1);
  EXPECT_DOUBLE_EQ(l.best_threshold, 0.62);
  EXPECT_DOUBLE_EQ(l.iou_half, 0.5);
}

TEST(Localization, ScaleOfTheMapDoesNotMatter) {
  const Tensor map = grid({0.3, 1.25, 0.5, 0.125, 2, 0.75}, 2);
  const Tensor mask = grid({0, 1, 0, 0, 1, 1}, 2).to(at::kBool);
  const Localization a = localization(map, mask), b = localization(map * 1024, mask);
  EXPECT_EQ(a.iou_best, b.iou_best);
  EXPECT_EQ(a.mass, b.mass);
  EXPECT_EQ(a.rank, b.rank);
}

TEST(Localization, MapWithoutPositiveValuesScoresZero) {
  for (const double value : {0.0, -1.0}) {
    const Localization l = localization(grid({value, value}, 1), grid({1, 0}, 1).to(at::kBool));
    EXPECT_EQ(l.iou_best, 0);
    EXPECT_EQ(l.mass, 0);
    EXPECT_EQ(l.rank, 0);
    EXPECT_FALSE(l.hit);
  }
}

TEST(Localization, RefusesAnEmptyMaskAndOtherSizes) {
  test::expect_error(ErrorKind::kUsage, "localization: the mask is empty", [] {
    localization(grid({1, 2}, 1), grid({0, 0}, 1).to(at::kBool));
  });
  test::expect_error(ErrorKind::kUsage, "localization: map [1,2] and mask [2,1] must have one size", [] {
    localization(grid({1, 2}, 1), grid({1, 0}, 2).to(at::kBool));
  });
}

}  // namespace
}  // namespace pellucid
