#include "pellucid/similarity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/compare.h"
#include "support/layer_builder.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Random;
using test::within;

TEST(Similarity, RanksOfEqualValuesAreShared) {
  // 1 | 3 3 3 share (2+3+4)/3 | 7 8
  EXPECT_TRUE(average_ranks(doubles({3, 1, 3, 8, 3, 7}, {2, 3})).equal(doubles({3, 1, 3, 6, 3, 5}, {2, 3})));
}

TEST(Similarity, SpearmanIsPearsonOfTheRanks) {
  const Tensor a = doubles({1, 2, 3, 4, 5}, {5}), b = doubles({5, 6, 7, 8, 7}, {5});
  // Ranks of b: 1 2 3.5 5 3.5; sum of products of deviations 8, squares 10 and 9.5.
  EXPECT_NEAR(*spearman_correlation(a, b), 8 / std::sqrt(95.0), 1e-14);
  EXPECT_NEAR(*spearman_correlation(a, at::exp(a)), 1, 1e-14);
  EXPECT_NEAR(*spearman_correlation(a, -a.pow(3)), -1, 1e-14);
}

TEST(Similarity, ConstantMapsAreUndefined) {
  const Tensor a = Random(1).normal({12, 12}), constant = at::full({12, 12}, 0.3, at::kDouble);
  EXPECT_FALSE(pearson_correlation(a, constant));
  EXPECT_FALSE(spearman_correlation(constant, a));
  EXPECT_FALSE(structural_similarity(a, constant));
  EXPECT_FALSE(hog_similarity(a, constant));
}

/// SSIM window by window, as the definition has it.
double slow_ssim(const Tensor& a, const Tensor& b) {
  const auto scaled = [](const Tensor& t) { return ((t - t.min()) / (t.max() - t.min())).contiguous(); };
  const Tensor x = scaled(a), y = scaled(b);
  double weight[11][11], total = 0;
  for (int i = 0; i < 11; ++i) {
    for (int j = 0; j < 11; ++j) {
      weight[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
      total += weight[i][j];
    }
  }
  const auto px = x.accessor<double, 2>(), py = y.accessor<double, 2>();
  double sum = 0;
  int windows = 0;
  for (int64_t top = 0; top + 11 <= x.size(0); ++top) {
    for (int64_t left = 0; left + 11 <= x.size(1); ++left) {
      double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
      for (int i = 0; i < 11; ++i) {
        for (int j = 0; j < 11; ++j) {
          const double w = weight[i][j] / total, u = px[top + i][left + j], v = py[top + i][left + j];
          mx += w * u;
          my += w * v;
          xx += w * u * u;
          yy += w * v * v;
          xy += w * u * v;
        }
      }
      sum += (2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4) /
             ((mx * mx + my * my + 1e-4) * (xx - mx * mx + yy - my * my + 9e-4));
      ++windows;
    }
  }
  return sum / windows;
}

TEST(Similarity, SsimEqualsItsDefinition) {
  Random random(5);
  const Tensor a = random.normal({17, 23}), b = a + 0.7 * random.normal({17, 23});
  EXPECT_NEAR(*structural_similarity(a, b), slow_ssim(a, b), 1e-12);
  EXPECT_NEAR(*structural_similarity(a, a * 3 + 8), 1, 1e-12);
  EXPECT_TRUE(structural_similarity(a.slice(0, 0, 4).slice(1, 0, 4), b.slice(0, 0, 4).slice(1, 0, 4)));
}

// A ramp to the right has one gradient: orientation 0 in every cell that does not touch the border.
TEST(Similarity, HistogramOfARampHasOneOrientation) {
  const Tensor ramp = at::arange(80, at::kDouble).expand({80, 80});
  const Tensor h = oriented_gradients(ramp).view({3, 3, 9, 9});  // block rows, columns, cells, orientations
  EXPECT_GT(h.select(3, 0).min().item<double>(), 0.19);
  EXPECT_EQ(h.slice(3, 1).abs().max().item<double>(), 0);
  // Turned by ninety degrees: the fifth of nine bins, 80 to 100 degrees.
  const Tensor turned = oriented_gradients(ramp.t()).view({3, 3, 9, 9});
  EXPECT_GT(turned.select(3, 4).min().item<double>(), 0.19);
  EXPECT_EQ(turned.slice(3, 5).abs().max().item<double>(), 0);
  EXPECT_EQ(turned.slice(3, 0, 4).abs().max().item<double>(), 0);
}

TEST(Similarity, HogDoesNotSeeScaleAndTellsOrientationsApart) {
  Random random(2);
  const Tensor a = random.normal({64, 64}), b = random.normal({64, 64});
  EXPECT_NEAR(*hog_similarity(a, a * 5 - 2), 1, 1e-9);
  EXPECT_LT(*hog_similarity(a, b), 0.5);
}

// Six pairs, one of them in opposite order: (5 - 1) / 6. With a tie in one: two in the same order of the two that
// differ there and the three that differ in the other.
TEST(KendallCorrelation, CountsPairs) {
  const auto tau = [](const std::vector<double>& a, const std::vector<double>& b) {
    const auto n = static_cast<int64_t>(a.size());
    return kendall_correlation(test::doubles(a, {n}), test::doubles(b, {n}));
  };
  EXPECT_NEAR(*tau({1, 2, 3, 4}, {1, 3, 2, 4}), 4.0 / 6, 1e-15);
  EXPECT_NEAR(*tau({1, 2, 3, 4}, {-1, -2, -3, -4}), -1, 1e-15);
  EXPECT_NEAR(*tau({1, 1, 2}, {1, 2, 3}), 2 / std::sqrt(2.0 * 3.0), 1e-15);
  EXPECT_FALSE(tau({1, 1, 1}, {1, 2, 3}));
}

}  // namespace
}  // namespace pellucid
