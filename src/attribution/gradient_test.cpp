#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

// S_t = w_t . x, so the gradient is w_t at every picture, and saliency its largest magnitude over the channels.
TEST(Gradient, LinearNetworkGivesItsWeights) {
  LayerBuilder b(1, {-1, 3, 4, 5});
  const Tensor w = b.random.normal({2, 3, 4, 5});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", w.flatten(1));
  const Explainer n(b.finish("logits"), Random(2).normal({2, 3, 4, 5}));
  const Attribution gradient = n.explain("gradient", "1");
  EXPECT_TRUE(within(gradient.values, w[1].expand({2, 3, 4, 5}), kExact));
  EXPECT_TRUE(within(gradient.map[0], w[1].sum(0), kExact));
  EXPECT_EQ(gradient.reduction, "sum");
  EXPECT_TRUE(gradient.is_signed);
  const Attribution saliency = n.explain("saliency", "1");
  EXPECT_TRUE(within(saliency.values, w[1].expand({2, 3, 4, 5}), kExact));
  EXPECT_TRUE(within(saliency.map[1], w[1].abs().amax(0), kExact));
  EXPECT_EQ(saliency.reduction, "max-abs");
  const Attribution product = n.explain("gradient-x-input", "1");
  EXPECT_TRUE(within(product.values, w[1] * n.input, kExact));
  EXPECT_TRUE(within(product.map, (w[1] * n.input).sum(1), kExact));
}

// By the chain rule: a color p in 0..1 enters as (255 scale p - mean) / std.
TEST(Gradient, OfThePicturesOwnColors) {
  LayerBuilder b(1, {-1, 3, 4, 5});
  const Tensor w = b.random.normal({2, 3, 4, 5});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", w.flatten(1));
  Explainer n(b.finish("logits"), Random(2).normal({1, 3, 4, 5}));
  n.card.scale = 1.0 / 51;
  n.card.mean = {1, 2, 3};
  n.card.std = {0.5, 2, 4};
  const Tensor expected = w[1] * doubles({10, 2.5, 1.25}, {3, 1, 1});
  const Attribution gradient = n.explain("gradient:gradient_domain=display", "1");
  EXPECT_TRUE(within(gradient.values[0], expected, kExact));
  EXPECT_TRUE(within(n.explain("saliency:gradient_domain=display", "1").map[0], expected.abs().amax(0), kExact));
  EXPECT_TRUE(within(n.explain("gradient", "1").values[0], w[1], kExact));
}

// Two graphs of one function: relu(relu(x1) - 1 - relu(x2)) and relu(relu(x1 - 1) - relu(x2)). At (3,1) both have the
// gradient (1,-1), so gradient x input is (3,-1) for both.
TEST(GradientTimesInput, DependsOnTheFunctionOnly) {
  const Tensor x = doubles({3, 1}, {1, 2, 1, 1});
  const Tensor difference = doubles({1, -1}, {1, 2, 1, 1});
  LayerBuilder f(1, {-1, 2, 1, 1});
  f.node("Relu", "r", {"x"});
  f.conv_with("c", "r", difference, doubles({-1}, {1}));
  f.node("Relu", "out", {"c"});
  f.node("Flatten", "score", {"out"});
  LayerBuilder g(1, {-1, 2, 1, 1});
  g.conv_with("shift", "x", at::eye(2, at::TensorOptions(at::kDouble)).view({2, 2, 1, 1}), doubles({-1, 0}, {2}));
  g.node("Relu", "r", {"shift"});
  g.conv_with("c", "r", difference);
  g.node("Relu", "out", {"c"});
  g.node("Flatten", "score", {"out"});
  const Tensor expected = doubles({3, -1}, {1, 2, 1, 1});
  EXPECT_TRUE(within(Explainer(f.finish("score"), x).explain("gradient-x-input", "1").values, expected, kExact));
  EXPECT_TRUE(within(Explainer(g.finish("score"), x).explain("gradient-x-input", "1").values, expected, kExact));
}

// 1 - relu(1 - x) at 2: saturated, so the gradient is zero, and the result says why nothing is seen.
TEST(Gradient, SaturationIsBlankWithAReason) {
  LayerBuilder b(1, {-1, 1, 1, 1});
  b.conv_with("c", "x", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Relu", "r", {"c"});
  b.conv_with("d", "r", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Flatten", "score", {"d"});
  const Explainer n(b.finish("score"), doubles({2}, {1, 1, 1, 1}));
  const Attribution a = n.explain("gradient", "1");
  EXPECT_EQ(a.values.item<double>(), 0);
  ASSERT_EQ(a.notes[0].size(), 1u);
  EXPECT_EQ(a.notes[0][0],
            "blank: every gradient is zero (saturated or dead units, or a score that ignores the picture)");
}

// Windows of 3 with stride 2 on 5x5 share the centre: all four outputs take their maximum there, so its gradient is 4.
// An unpooling that overwrites instead of adding gives 1.
TEST(Gradient, OverlappingPoolsAccumulate) {
  LayerBuilder b(1, {-1, 1, 5, 5});
  b.pool("MaxPool", "p", "x", 3, 2);
  Tensor x = at::zeros({1, 1, 5, 5}, at::TensorOptions(at::kDouble));
  x[0][0][2][2] = 1;
  const Explainer n(b.finish("p"), x);
  Tensor expected = at::zeros_like(x);
  expected[0][0][2][2] = 4;
  for (const char* method : {"gradient", "deconvnet", "guided-backprop"}) {
    EXPECT_TRUE(within(n.explain(method, "channel:p:0").values, expected, {0, 0})) << method;
  }
}

// A network of convolutions, rectifiers and pools without biases is positively homogeneous of degree one, so by Euler's
// theorem x . dS/dx = S.
TEST(GradientTimesInput, IsCompleteWithoutBiases) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Explainer n(random_network(Family::kNoBias, seed), Random(seed + 50).normal({2, 3, 12, 14}));
    const Tensor sums = n.explain("gradient-x-input", "1").values.sum({1, 2, 3});
    EXPECT_TRUE(within(sums, n.logits(n.input).select(1, 1), kExact)) << seed;
  }
}

class GradientOfFamily : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(Families, GradientOfFamily, ::testing::ValuesIn(kFamilies));

// Central differences of the class logit by every input value, for whole networks. The step's own error is h^2 times a
// third derivative and 1e-16 / h of rounding, both below 1e-8. Where a kink lies within the step, the two one-sided
// quotients differ by a jump in slope; those few inputs are not points to compare at.
TEST_P(GradientOfFamily, AgreesWithCentralDifferences) {
  constexpr double h = 1e-6;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Explainer n(random_network(GetParam(), seed), Random(seed + 20).normal({1, 3, 8, 9}));
    const Tensor gradient = n.explain("gradient", "2").values.flatten();
    const int64_t count = gradient.numel();
    const Tensor steps = at::eye(count, at::TensorOptions(at::kDouble)).view({count, 3, 8, 9}) * h;
    const Tensor here = n.logits(n.input).select(1, 2);
    const Tensor ahead = (n.logits(n.input + steps).select(1, 2) - here) / h;
    const Tensor behind = (here - n.logits(n.input - steps).select(1, 2)) / h;
    const double size = gradient.abs().max().item<double>();
    // The second derivative of smooth networks makes one-sided quotients differ by h f'', near 1e-6 of the slope.
    const Tensor smooth = (ahead - behind).abs().lt(1e-4 * size);
    EXPECT_GE(smooth.sum().item<int64_t>(), count * 98 / 100) << "seed " << seed;
    const Tensor central = ((ahead + behind) / 2).masked_select(smooth);
    EXPECT_TRUE(within(gradient.masked_select(smooth), central, {1e-6, 1e-6})) << "seed " << seed;
  }
}

TEST_P(GradientOfFamily, OfADifferenceIsTheDifference) {
  const Explainer n(random_network(GetParam(), 2), Random(3).normal({2, 3, 9, 9}));
  const Tensor a = n.explain("gradient", "0").values;
  const Tensor b = n.explain("gradient", "3").values;
  EXPECT_TRUE(within(n.explain("gradient", "0 vs 3").values, a - b, kExact));
}

// dp_t = p_t (dS_t - sum_j p_j dS_j).
TEST_P(GradientOfFamily, OfAProbabilityIsAContrast) {
  const Explainer n(random_network(GetParam(), 2), Random(3).normal({2, 3, 9, 9}));
  const Tensor p = at::softmax(n.logits(n.input), 1);
  const auto of = [&](int64_t j) { return p.select(1, j).view({-1, 1, 1, 1}); };
  Tensor mean = at::zeros_like(n.input);
  for (int64_t j = 0; j < 4; ++j) mean += of(j) * n.explain("gradient", std::to_string(j)).values;
  const Tensor expected = of(1) * (n.explain("gradient", "1").values - mean);
  EXPECT_TRUE(within(n.explain("gradient", "probability:1").values, expected, kExact));
}

}  // namespace
}  // namespace pellucid::test
