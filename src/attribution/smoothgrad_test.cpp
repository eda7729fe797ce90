#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

Attribution with_noise(const Explainer& n, const std::string& method, const Tensor& noise) {
  Context context = n.context("1");
  context.injected_noise = noise;
  return attribute(MethodCall::parse(method), context);
}

/// One logit, S_1 = sum x^2 / 2, whose gradient is x.
Explainer quadratic(const Tensor& x) {
  LayerBuilder b(1, {-1, 3, -1, -1}, 11);  // the last opset in which the axes of ReduceSum are an attribute
  b.node("Mul", "square", {"x", "x"});
  b.graph.constant("half", at::full({}, 0.5, at::TensorOptions(at::kDouble)));
  b.graph.node("Mul", {"square", "half"}, {"scaled"});
  b.graph.node("ReduceSum", {"scaled"}, {"total"}, {{"axes", std::vector<int64_t>{1, 2, 3}}});
  b.graph.node("Flatten", {"total"}, {"score"});
  return Explainer(b.finish("score"), x);
}

// The gradient of a linear network does not see the noise: the mean is the gradient, the variance zero.
TEST(SmoothGrad, LinearNetworkGivesItsGradient) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  const Explainer n(b.head("c1", 3), Random(1).normal({2, 3, 6, 6}));
  const Tensor g = n.explain("gradient", "1").values;
  EXPECT_TRUE(within(n.explain("smoothgrad:noise=0.5,samples=7", "1").values, g, kExact));
  EXPECT_TRUE(within(n.explain("smoothgrad-squared:noise=0.5,samples=7", "1").values, g.square(), kExact));
  EXPECT_LE(n.explain("vargrad:noise=0.5,samples=7", "1").values.abs().max().item<double>(),
            1e-20);  // squares of rounding, 1e-16 of the gradient
}

// Gradient x + e for noise e: the mean is x + mean(e), the population variance that of e. The deviation is 0.15 of each
// picture's own range.
TEST(SmoothGrad, QuadraticScoreGivesTheMomentsOfTheNoise) {
  const Tensor x = Random(2).normal({2, 3, 5, 6});
  const Explainer n = quadratic(x);
  const Tensor noise = Random(3).normal({9, 3, 5, 6});
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor e = noise * ((x[i].max() - x[i].min()) * 0.15);
    const Tensor mean = x[i] + e.mean(0);
    const Tensor variance = e.var({0}, /*unbiased=*/false, false);
    EXPECT_TRUE(within(with_noise(n, "smoothgrad:samples=9", noise).values[i], mean, kExact));
    EXPECT_TRUE(within(with_noise(n, "vargrad:samples=9", noise).values[i], variance, kExact));
    EXPECT_TRUE(
        within(with_noise(n, "smoothgrad-squared:samples=9", noise).values[i], mean.square() + variance, kExact));
  }
}

// E[g^2] = E[g]^2 + Var[g].
TEST(SmoothGrad, SquareIsMeanSquaredPlusVariance) {
  for (const Family family : kFamilies) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const Explainer n(random_network(family, seed), Random(seed + 9).normal({2, 3, 8, 8}));
      const Tensor mean = n.explain("smoothgrad:samples=12", "1").values;
      const Tensor variance = n.explain("vargrad:samples=12", "1").values;
      const Tensor square = n.explain("smoothgrad-squared:samples=12", "1").values;
      EXPECT_TRUE(within(square, mean.square() + variance, {1e-12, 1e-12})) << family_name(family) << ", seed " << seed;
      EXPECT_GE(variance.min().item<double>(), 0);
      EXPECT_GE(square.min().item<double>(), 0);
    }
  }
}

// Signed gradients are averaged, and only then reduced.
TEST(SmoothGrad, MapIsTheMagnitudeOfTheMean) {
  const Explainer n(random_network(Family::kPlain, 1), Random(2).normal({1, 3, 10, 10}));
  const Attribution a = n.explain("smoothgrad:samples=6", "1");
  EXPECT_TRUE(within(a.map, a.values.abs().amax(1), kExact));
  EXPECT_LT(a.values.min().item<double>(), 0);
}

TEST(SmoothGrad, OneCopyWithoutNoiseIsTheGradient) {
  for (const Family family : kFamilies) {
    const Explainer n(random_network(family, 1), Random(2).normal({2, 3, 10, 10}));
    const Tensor g = n.explain("gradient", "2").values;
    EXPECT_TRUE(within(n.explain("smoothgrad:samples=1,noise=0", "2").values, g, kExact)) << family_name(family);
    EXPECT_EQ(n.explain("vargrad:samples=1", "2").values.abs().max().item<double>(), 0) << family_name(family);
  }
}

// A picture of one color has no range, so the copies have no noise.
TEST(SmoothGrad, ConstantPictureGivesTheGradient) {
  const Explainer n(random_network(Family::kPlain, 1), at::full({1, 3, 10, 10}, 0.3, at::TensorOptions(at::kDouble)));
  EXPECT_TRUE(within(n.explain("smoothgrad:samples=5", "2").values, n.explain("gradient", "2").values, kExact));
  EXPECT_EQ(n.explain("vargrad:samples=5", "2").values.abs().max().item<double>(), 0);
}

// The standard deviation of the estimate of a mean falls as one over the root of the number of copies. On the quadratic
// score the error is mean(e), a normal variable of deviation sigma / sqrt(n) at each of 3 * 16 * 16 = 768 values: their
// root mean square is within 4 / sqrt(2 * 768) = 10 % of it, four standard errors.
TEST(SmoothGrad, ErrorFallsWithTheRootOfTheCopies) {
  const Tensor x = Random(2).normal({1, 3, 16, 16});
  const Explainer n = quadratic(x);
  const double sigma = (x.max() - x.min()).item<double>() * 0.15;
  for (const int64_t copies : {4, 16, 64}) {
    const Tensor error = n.explain("smoothgrad:samples=" + std::to_string(copies), "1").values - x;
    const double rms = error.square().mean().sqrt().item<double>();
    EXPECT_NEAR(rms * std::sqrt(static_cast<double>(copies)) / sigma, 1, 0.11) << copies;
  }
}

}  // namespace
}  // namespace pellucid::test
