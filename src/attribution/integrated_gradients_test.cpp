#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

Tensor one_channel_of_two(int64_t channel) {
  return channel == 0 ? doubles({1, 0}, {1, 2, 1, 1}) : doubles({0, 1}, {1, 2, 1, 1});
}

/// f = x1^2 x2 at (2,3).
Explainer cubic() {
  LayerBuilder b(1, {-1, 2, 1, 1});
  b.conv_with("a", "x", one_channel_of_two(0));
  b.conv_with("b", "x", one_channel_of_two(1));
  b.node("Mul", "a2", {"a", "a"});
  b.node("Mul", "f", {"a2", "b"});
  b.node("Flatten", "score", {"f"});
  return Explainer(b.finish("score"), doubles({2, 3}, {1, 2, 1, 1}));
}

// On the path (2s, 3s) the gradient is (12 s^2, 4 s^2), so IG = (2 * 12, 3 * 4) * integral of s^2 = (24, 12) q with
// q = 1/3 exactly. The rules' own q: midpoint n=4: (1 + 9 + 25 + 49) / 64 / 4 = 21/64; left: (0 + 1 + 4 + 9) / 16 / 4 =
// 7/32; right: (1 + 4 + 9 + 16) / 64 = 15/32; trapezoid with points 0, 1/3, 2/3, 1: (0/2 + 1/9 + 4/9 + 1/2) / 3 =
// 19/54.
TEST(IntegratedGradients, QuadraturesOfACubic) {
  const Explainer n = cubic();
  const auto check = [&](const std::string& rule, double q) {
    const Tensor expected = doubles({24 * q, 12 * q}, {1, 2, 1, 1});
    EXPECT_TRUE(within(n.explain("integrated-gradients:" + rule, "1").values, expected, kExact)) << rule;
  };
  check("rule=gauss-legendre,steps=2", 1.0 / 3);
  check("rule=midpoint,steps=4", 21.0 / 64);
  check("rule=left,steps=4", 7.0 / 32);
  check("rule=right,steps=4", 15.0 / 32);
  check("rule=trapezoid,steps=4", 19.0 / 54);
  check("rule=gauss-legendre,steps=1", 1.0 / 4);  // the midpoint
  check("rule=trapezoid,steps=1", 1.0 / 4);
}

// f = x^(2n): the integrand x'^(2n-1) is the highest degree that n Gauss-Legendre nodes integrate exactly; one degree
// more is not. f(1) = 1 and IG = f.
TEST(IntegratedGradients, GaussLegendreIsExactToDegree2nMinus1) {
  for (const int64_t steps : {1, 2, 3, 5, 10, 50}) {
    for (const int64_t extra : {0, 1}) {
      const double power = static_cast<double>(2 * steps + extra);
      LayerBuilder b(1, {-1, 1, 1, 1});
      b.graph.constant("power", at::full({}, power, at::TensorOptions(at::kDouble)));
      b.graph.node("Pow", {"x", "power"}, {"f"});
      b.graph.node("Flatten", {"f"}, {"score"});
      const Explainer n(b.finish("score"), doubles({1}, {1, 1, 1, 1}));
      const Attribution a = n.explain("integrated-gradients:steps=" + std::to_string(steps), "1");
      const double error = std::abs(a.values.item<double>() - 1);
      if (extra == 0) {
        EXPECT_LE(error, 1e-10) << steps;
      } else if (steps <= 5) {  // with more nodes the error of the next degree is below rounding
        EXPECT_GE(error, 1e-8) << steps;
      }
    }
  }
}

TEST(IntegratedGradients, ProductIsSharedEqually) {
  LayerBuilder b(1, {-1, 2, 1, 1});
  b.conv_with("a", "x", one_channel_of_two(0));
  b.conv_with("b", "x", one_channel_of_two(1));
  b.node("Mul", "f", {"a", "b"});
  b.node("Flatten", "score", {"f"});
  const Explainer n(b.finish("score"), doubles({2, 3}, {1, 2, 1, 1}));
  EXPECT_TRUE(within(n.explain("integrated-gradients", "1").values, doubles({3, 3}, {1, 2, 1, 1}), kExact));
}

// 1 - relu(1 - x) from 0 to 2: the slope is 1 on the first half of the path and 0 on the second, so IG = 2 * 1/2
// although the gradient at 2 is zero. Nodes are symmetric about 1/2, so half the weight lies in each half, exactly.
TEST(IntegratedGradients, SeesThroughSaturation) {
  LayerBuilder b(1, {-1, 1, 1, 1});
  b.conv_with("c", "x", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Relu", "r", {"c"});
  b.conv_with("d", "r", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Flatten", "score", {"d"});
  const Explainer n(b.finish("score"), doubles({2}, {1, 1, 1, 1}));
  EXPECT_TRUE(within(n.explain("integrated-gradients", "1").values, doubles({1}, {1, 1, 1, 1}), kExact));
}

// relu(relu(x1) - 1 - relu(x2)) and relu(relu(x1 - 1) - relu(x2)) are one function. On the path (3s, s) both are on for
// s > 1/2, with gradient (1,-1): IG = (3,-1) / 2.
TEST(IntegratedGradients, DependsOnTheFunctionOnly) {
  const Tensor x = doubles({3, 1}, {1, 2, 1, 1});
  const Tensor difference = doubles({1, -1}, {1, 2, 1, 1});
  const Tensor expected = doubles({1.5, -0.5}, {1, 2, 1, 1});
  LayerBuilder f(1, {-1, 2, 1, 1});
  f.node("Relu", "r", {"x"});
  f.conv_with("c", "r", difference, doubles({-1}, {1}));
  f.node("Relu", "out", {"c"});
  f.node("Flatten", "score", {"out"});
  EXPECT_TRUE(within(Explainer(f.finish("score"), x).explain("integrated-gradients", "1").values, expected, kExact));
  LayerBuilder g(1, {-1, 2, 1, 1});
  g.conv_with("shift", "x", at::eye(2, at::TensorOptions(at::kDouble)).view({2, 2, 1, 1}), doubles({-1, 0}, {2}));
  g.node("Relu", "r", {"shift"});
  g.conv_with("c", "r", difference);
  g.node("Relu", "out", {"c"});
  g.node("Flatten", "score", {"out"});
  EXPECT_TRUE(within(Explainer(g.finish("score"), x).explain("integrated-gradients", "1").values, expected, kExact));
}

// w . x: w * (x - b), with one step, whatever the baseline.
TEST(IntegratedGradients, LinearNetworkGivesWeightTimesDifference) {
  LayerBuilder b(1, {-1, 3, 4, 5});
  const Tensor w = b.random.normal({2, 3, 4, 5});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", w.flatten(1));
  const Explainer n(b.finish("logits"), Random(2).normal({2, 3, 4, 5}));
  EXPECT_TRUE(within(n.explain("integrated-gradients:steps=1,baseline=zero", "1").values, w[1] * n.input, kExact));
  EXPECT_TRUE(within(n.explain("integrated-gradients:steps=1,baseline=mean", "1").values,
                     w[1] * (n.input - n.input.mean({2, 3}, true)), kExact));
  // White is 1 in display range, 255 in the model's range of a card without scaling.
  EXPECT_TRUE(
      within(n.explain("integrated-gradients:steps=1,baseline=white", "1").values, w[1] * (n.input - 255), kExact));
  // Several baselines are averaged.
  EXPECT_TRUE(within(n.explain("integrated-gradients:steps=1,baseline=black+white", "1").values,
                     w[1] * (n.input - 127.5), kExact));
}

// A bias-free rectifier network is homogeneous: its gradient is constant along the ray from zero, so any rule that
// leaves out the origin gives gradient x input.
TEST(IntegratedGradients, IsGradientTimesInputWithoutBiases) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Explainer n(random_network(Family::kNoBias, seed), Random(seed).normal({2, 3, 9, 9}));
    const Tensor expected = n.explain("gradient-x-input", "1").values;
    for (const char* rule : {"gauss-legendre", "midpoint", "right"}) {
      const std::string method = std::string("integrated-gradients:steps=5,baseline=zero,rule=") + rule;
      EXPECT_TRUE(within(n.explain(method, "1").values, expected, {1e-9, 1e-9})) << rule << ", seed " << seed;
    }
  }
}

// The sum is the difference of scores up to the reported gap, and the adaptive rule brings the gap below its bound.
TEST(IntegratedGradients, IsCompleteUpToTheReportedGap) {
  for (const Family family : kFamilies) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const Explainer n(random_network(family, seed), Random(seed + 30).normal({2, 3, 8, 8}));
      const Attribution a = n.explain("integrated-gradients:adaptive=true,steps=32", "1");
      const Tensor difference = (n.logits(n.input) - n.logits(at::zeros_like(n.input))).select(1, 1);
      for (int64_t i = 0; i < 2; ++i) {
        const auto& d = a.diagnostics[static_cast<size_t>(i)];
        const double change = difference[i].item<double>();
        EXPECT_NEAR(d.at("score_difference"), change, 1e-10);
        EXPECT_NEAR(a.values[i].sum().item<double>() - change, d.at("convergence_delta"), 1e-10);
        EXPECT_NEAR(a.map[i].sum().item<double>(), a.values[i].sum().item<double>(), 1e-10);
        // 1024 steps may leave more where many kinks lie on the path; ten times the bound is a failure.
        EXPECT_LE(std::abs(d.at("convergence_delta")), std::max(0.01 * std::abs(change), 1e-3))
            << family_name(family) << ", seed " << seed;
      }
    }
  }
}

// IG(S_0 - S_1) = IG(S_0) - IG(S_1).
TEST(IntegratedGradients, IsLinearInTheScore) {
  for (const Family family : kFamilies) {
    const Explainer n(random_network(family, 3), Random(4).normal({2, 3, 8, 8}));
    const Tensor a = n.explain("integrated-gradients:steps=20", "0").values;
    const Tensor b = n.explain("integrated-gradients:steps=20", "1").values;
    EXPECT_TRUE(within(n.explain("integrated-gradients:steps=20", "0 vs 1").values, a - b, kExact))
        << family_name(family);
  }
}

TEST(IntegratedGradients, PictureEqualToTheBaselineIsBlank) {
  const Explainer n(random_network(Family::kPlain, 1), at::zeros({1, 3, 8, 8}, at::TensorOptions(at::kDouble)));
  const Attribution a = n.explain("integrated-gradients:steps=4,baseline=zero", "1");
  EXPECT_EQ(a.values.abs().max().item<double>(), 0);
  EXPECT_EQ(a.diagnostics[0].at("convergence_delta"), 0);
  EXPECT_EQ(a.notes[0].size(), 1u);
}

}  // namespace
}  // namespace pellucid::test
