#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-12, 1e-12};

Explainer small_network(const Tensor& x, const ModelCard& card = {}) {
  return Explainer(random_network(Family::kPlain, 1), x, in_float64(), card);
}

// 1024 uniform numbers: the mean has a standard error of 0.009, the mean square (1/3) one of 0.0093; four of each.
TEST(RandomMap, IsUniformAndFollowsTheSeed) {
  const Explainer n = small_network(Random(1).normal({2, 3, 32, 32}));
  Context context = n.context("1");
  const Tensor map = attribute(MethodCall::parse("random"), context).map;
  EXPECT_GE(map.min().item<double>(), 0);
  EXPECT_LE(map.max().item<double>(), 1);
  EXPECT_NEAR(map[0].mean().item<double>(), 0.5, 0.036);
  EXPECT_NEAR(map[0].square().mean().item<double>(), 1.0 / 3, 0.037);
  EXPECT_TRUE(map[0].equal(map[1]));
}

// A step of height 1 (in display range) between columns 2 and 3 in one channel: both columns beside it have slope 1/2;
// the border is no edge. A card that scales the model's range does not change it.
TEST(Edges, FindAStep) {
  Tensor display = at::zeros({1, 3, 6, 7}, at::TensorOptions(at::kDouble));
  display.select(1, 1).slice(2, 3).fill_(1);
  Tensor expected = at::zeros({1, 6, 7}, at::TensorOptions(at::kDouble));
  expected.slice(2, 2, 4).fill_(0.5);
  for (const char* preset : {"none", "imagenet"}) {
    const ModelCard card = card_from_preset(preset);
    const Explainer n = small_network(card.model_from_display(display), card);
    EXPECT_TRUE(within(n.explain("edges").map, expected, {1e-6, 1e-6})) << preset;
  }
}

// A ramp of 0.1 per row and 0.2 per column: magnitude sqrt(0.1^2 + 0.2^2) in each of three channels, inside.
TEST(Edges, MeasureARamp) {
  const Tensor ramp = at::arange(8, at::kDouble).view({8, 1}) * 0.1 + at::arange(9, at::kDouble) * 0.2;
  ModelCard card;
  const Explainer n = small_network(card.model_from_display(ramp.expand({1, 3, 8, 9}).contiguous()), card);
  const Tensor inside = n.explain("edges").map.slice(1, 1, 7).slice(2, 1, 8);
  EXPECT_TRUE(within(inside, at::full_like(inside, 3 * std::sqrt(0.05)), kExact));
}

// exp(-d^2 / (2 sigma^2)) with distances as shares of the sides, pixel centres at half.
TEST(Center, IsAGaussian) {
  const Explainer n = small_network(Random(1).normal({2, 3, 5, 8}));
  const Tensor map = n.explain("center:sigma=0.3").map;
  EXPECT_NEAR(map[1][2][3].item<double>(), std::exp(-(0.0625 * 0.0625) / 0.18), 1e-12);
  EXPECT_NEAR(map[1][0][7].item<double>(), std::exp(-(0.4 * 0.4 + 0.4375 * 0.4375) / 0.18), 1e-12);
}

TEST(ActivationMean, IsTheMeanOverTheChannels) {
  const Tensor x = Random(1).normal({2, 3, 12, 10});
  const Explainer n = small_network(x);
  const Tensor r1 = n.value("r1").mean(1), map = n.value("map").mean(1);
  const Attribution one = n.explain("activation-mean", "1", {"map"});
  EXPECT_TRUE(within(one.values, map, kExact));
  EXPECT_TRUE(within(one.map, upsample_map(map, 12, 10), kExact));
  const Attribution both = n.explain("activation-mean", "1", {"r1", "map"});
  EXPECT_TRUE(within(both.map, (upsample_map(map, 12, 10) + r1) / 2, kExact));
  EXPECT_EQ(both.layer_values.size(), 2u);
}

}  // namespace
}  // namespace pellucid::test
