#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <tuple>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/two_maps.h"
#include "support/vision_transformer.h"

namespace pellucid::test {
namespace {

// Float64 against numbers worked out by hand.
constexpr Tolerance kExact{1e-10, 1e-10};

TEST(TwoMaps, LogitsAreAsDerived) {
  const Explainer net = two_maps();
  EXPECT_TRUE(within(net.logits(net.input), doubles({1.5, 1.75}, {1, 2}), kExact));
}

TEST(Cam, WeighsMapsByTheLinearLayer) {
  EXPECT_TRUE(within(two_maps().explain("cam", "0").values, map2x2(2, -3, 3, 2), kExact));
  EXPECT_TRUE(within(two_maps().explain("cam", "1").values, map2x2(1, 3, 3, 1), kExact));
  // The map has the ReLU; the values keep the sign.
  EXPECT_TRUE(within(two_maps().explain("cam", "0").map, map2x2(2, 0, 3, 2), kExact));
}

// Any target made of classes: the weights are the gradient of the target by the logits times those of the linear layer,
// so CAM stays Z = 4 times the raw Grad-CAM. Class 0 less class 1: w = (2, -1) - (1, 1) = (1, -2).
TEST(Cam, FollowsTargetsOfSeveralClasses) {
  EXPECT_TRUE(within(two_maps().explain("cam", "0 vs 1").values, map2x2(1, -6, 0, 1), kExact));
  for (const char* target : {"0 vs 1", "mean:0", "probability:0", "1"}) {
    EXPECT_TRUE(within(two_maps().explain("cam", target).values,
                       two_maps().explain("grad-cam", target, {"A"}).values * 4, kExact))
        << target;
  }
}

TEST(TwoMaps, ConstantGradientsMakeThreeMethodsAgree) {
  // Gradients (0.5, -0.25): CAM / 4.
  for (const char* method : {"grad-cam", "hires-cam", "xgrad-cam"}) {
    const Attribution a = two_maps().explain(method, "0", {"A"});
    EXPECT_TRUE(within(a.values, map2x2(0.5, -0.75, 0.75, 0.5), kExact)) << method;
    EXPECT_TRUE(within(a.map, map2x2(0.5, 0, 0.75, 0.5), kExact)) << method;
    EXPECT_FALSE(a.is_signed) << method;
  }
}

TEST(CounterfactualGradCam, NegatesBeforeTheRelu) {
  const Attribution a = two_maps().explain("counterfactual-grad-cam", "0", {"A"});
  EXPECT_TRUE(within(a.values, map2x2(-0.5, 0.75, -0.75, -0.5), kExact));
  EXPECT_TRUE(within(a.map, map2x2(0, 0.75, 0, 0), kExact));
}

// w_k = sum relu(G) / (2 + G sum(A)) = 4 * 0.5 / (2 + 0.5 * 4) = 0.5 for k = 1, and 0 for k = 2.
TEST(GradCamPlusPlus, ClassZeroHasOneWeight) {
  EXPECT_TRUE(within(two_maps().explain("grad-cam++", "0", {"A"}).values, map2x2(0.5, 0, 1, 0.5), kExact));
}

// Class 1: G = 0.25 everywhere, sums are 4: w = 4 * 0.25 / (2 + 1) = 1/3 for both. (A sum of cubed gradients, which a
// popular implementation computes, agrees for class 0 only.)
TEST(GradCamPlusPlus, ClassOneHasThirds) {
  EXPECT_TRUE(within(two_maps().explain("grad-cam++", "1", {"A"}).values, map2x2(1.0 / 3, 1, 1, 1.0 / 3), kExact));
}

// Channel 1 negated: sum(A_1) = -4 and, for class 0, G_1 = 0.5, so 2 + G sum(A) = 0 there and the weight is undefined
// at each of its four positions, half of all; it counts as zero. Channel 2 has a negative gradient. The map is blank.
TEST(GradCamPlusPlus, UndefinedWeightsAreZeroAndCounted) {
  LayerBuilder b(1, {-1, 2, 2, 2});
  b.conv_with("A", "x", at::eye(2, at::TensorOptions(at::kDouble)).view({2, 2, 1, 1}));
  Graph graph = b.head_with("A", doubles({2, -1, 1, 1}, {2, 2}), doubles({0.5, -0.25}, {2}));
  const Explainer net(std::move(graph), doubles({-1, 0, -2, -1, 0, 3, 1, 0}, {1, 2, 2, 2}));
  const Attribution a = net.explain("grad-cam++", "0", {"A"});
  EXPECT_TRUE(within(a.values, map2x2(0, 0, 0, 0), kExact));
  EXPECT_DOUBLE_EQ(a.diagnostics.at(0).at("unstable_weights"), 0.5);
  ASSERT_FALSE(a.notes.at(0).empty());
  EXPECT_EQ(a.notes[0][0],
            "grad-cam++: at 50 % of the positions the weights are undefined, because the layer has negative "
            "activations; choose a "
            "rectified layer");
}

// With an epsilon: alpha = G^2 / (2 G^2 + sum(A) G^3 + e) = 0.0625 / (0.125 + 0.0625 + 0.0625) = 0.25 for class 1, e =
// 1/16.
TEST(GradCamPlusPlus, EpsilonEntersTheDenominator) {
  const Tensor expected = map2x2(0.25, 0.75, 0.75, 0.25);  // weights 4 * 0.25 * 0.25
  EXPECT_TRUE(within(two_maps().explain("grad-cam++:epsilon=0.0625", "1", {"A"}).values, expected, kExact));
}

TEST(TwoMaps, PositivePartsOnly) {
  for (const char* method : {"layer-cam", "grad-cam-elementwise"}) {
    EXPECT_TRUE(within(two_maps().explain(method, "0", {"A"}).values, map2x2(0.5, 0, 1, 0.5), kExact)) << method;
  }
}

// Rows (positions) of M are (1,0), (0,3), (2,1), (1,0). M^T M = [[6,2],[2,10]] has eigenvalues 8 +- sqrt 8; the larger
// one's vector makes tan = (2 + sqrt 8) / 2 = 1 + sqrt 2, the angle 3 pi / 8.
TEST(EigenCam, ProjectsOnTheFirstSingularVector) {
  const double c = std::cos(3 * M_PI / 8), s = std::sin(3 * M_PI / 8);
  EXPECT_TRUE(within(two_maps().explain("eigen-cam", "0", {"A"}).values, map2x2(c, 3 * s, 2 * c + s, c), kExact));
}

// Means are 1 and 1; the Gram matrix becomes [[2,-2],[-2,6]] and the vector (c, -s).
TEST(EigenCam, CenteredSubtractsChannelMeans) {
  const double c = std::cos(3 * M_PI / 8), s = std::sin(3 * M_PI / 8);
  const Tensor expected = map2x2(s, -c - 2 * s, c, s);
  EXPECT_TRUE(within_up_to_sign(two_maps().explain("eigen-cam:centered=true", "0", {"A"}).values, expected, kExact));
}

// G * A has rows (0.5,0), (0,-0.75), (1,-0.25), (0.5,0): Gram [[1.5,-0.25],[-0.25,0.625]]. The sum of G * A is 1, so
// the sign is the one with a positive sum.
TEST(EigenGradCam, ProjectsGradientTimesActivation) {
  const double half = (1.5 - 0.625) / 2;
  const double lambda = (1.5 + 0.625) / 2 + std::sqrt(half * half + 0.0625);
  const double norm = std::hypot(0.25, 1.5 - lambda);
  // (Gram - lambda) v = 0 gives v = (0.25, 1.5 - lambda), here with a positive first entry.
  const double v1 = 0.25 / norm, v2 = (1.5 - lambda) / norm;
  ASSERT_NEAR(std::sqrt(lambda), 1.25156, 1e-5);
  Tensor expected = map2x2(0.5 * v1, -0.75 * v2, v1 - 0.25 * v2, 0.5 * v1);
  expected = expected * expected.sum().sign();
  EXPECT_TRUE(within(two_maps().explain("eigen-grad-cam", "0", {"A"}).values, expected, kExact));
}

// Other targets are other gradients. p_0 = 1 / (1 + e^0.25), dp_0 = p_0 p_1 (dS_0 - dS_1) = p_0 p_1 (0.25, -0.5).
TEST(GradCam, FollowsTheTarget) {
  const Explainer net = two_maps();
  const double p = 1 / (1 + std::exp(0.25));
  const Tensor difference_map = map2x2(0.25, -1.5, 0, 0.25);
  EXPECT_TRUE(within(net.explain("grad-cam", "0 vs 1", {"A"}).values, difference_map, kExact));
  EXPECT_TRUE(within(net.explain("grad-cam", "probability:0", {"A"}).values, difference_map * (p * (1 - p)), kExact));
  // Half the difference of the two: (0.125, -0.25).
  EXPECT_TRUE(within(net.explain("grad-cam", "mean:0", {"A"}).values, difference_map / 2, kExact));
}

class EveryFamily : public ::testing::TestWithParam<Family> {
 protected:
  Explainer net(uint64_t seed) const {
    return Explainer(random_network(GetParam(), seed), Random(seed + 100).normal({2, 3, 11, 13}));
  }
};
INSTANTIATE_TEST_SUITE_P(Families, EveryFamily, ::testing::ValuesIn(kFamilies));

// With global average pooling dS/dA_k = w_k / Z everywhere, so CAM = Z * Grad-CAM, and the position by position
// variants agree with it.
TEST_P(EveryFamily, CamIsGradCamTimesPositions) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Explainer n = net(seed);
    const Tensor cam = n.explain("cam", "2").values;
    const double positions = static_cast<double>(cam.size(1) * cam.size(2));
    for (const char* method : {"grad-cam", "hires-cam"}) {
      EXPECT_TRUE(within(n.explain(method, "2", {"map"}).values * positions, cam, kExact))
          << method << ", seed " << seed;
    }
  }
}

// Sum of HiResCAM = S - b for one linear layer on the pooled map; the mean of CAM + b is S.
TEST_P(EveryFamily, HiResCamIsCompleteBelowALinearHead) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Explainer n = net(seed);
    const ValueId bias = n.network.graph().find("logits.b");
    Tensor expected = n.logits(n.input).select(1, 1);
    if (bias != kNoValue) expected = expected - n.network.graph().value(bias).constant[1];
    EXPECT_TRUE(within(n.explain("hires-cam", "1", {"map"}).values.sum({1, 2}), expected, kExact)) << seed;
    EXPECT_TRUE(within(n.explain("cam", "1").values.mean({1, 2}), expected, kExact)) << seed;
  }
}

// Each channel keeps its sum of G * A, so the maps have the same total, at any layer.
TEST_P(EveryFamily, XGradCamConservesGradientTimesActivation) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Explainer n = net(seed);
    const std::string chosen = GetParam() == Family::kConcat ? "r3" : "r2";
    const Tensor x = n.explain("xgrad-cam", "0", {chosen}).values.sum({1, 2});
    const Tensor h = n.explain("hires-cam", "0", {chosen}).values.sum({1, 2});
    // The totals are differences of larger sums; 1e-9 of the largest entry is rounding.
    EXPECT_TRUE(at::allclose(x, h, 1e-9, 1e-9)) << chosen << ", seed " << seed << ": " << x << " and " << h;
  }
}

// relu(m) - relu(-m) = m.
TEST_P(EveryFamily, GradCamLessCounterfactualIsTheRawMap) {
  const Explainer n = net(3);
  const Tensor raw = n.explain("grad-cam", "1", {"map"}).values;
  const Tensor counterfactual = n.explain("counterfactual-grad-cam", "1", {"map"}).values;
  EXPECT_TRUE(within(at::relu(raw) - at::relu(counterfactual), raw, {0, 0}));
}

// For A >= 0, relu(G A) = relu(G) A; and the sum of positive parts is at least the positive part of the sum.
TEST_P(EveryFamily, ElementwiseIsLayerCamForNonNegativeActivations) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Explainer n = net(seed);
    const Tensor elementwise = n.explain("grad-cam-elementwise", "3", {"map"}).values;
    if (GetParam() != Family::kSilu) {
      EXPECT_TRUE(within(n.explain("layer-cam", "3", {"map"}).values, elementwise, kExact)) << seed;
    }
    const Tensor hires = at::relu(n.explain("hires-cam", "3", {"map"}).values);
    EXPECT_GE((elementwise - hires).min().item<double>(), -1e-12) << seed;
  }
}

// The weight of a channel is the mean gradient: the derivative of the score by a shift s added to the whole channel,
// over Z. Central differences of the rest of the network, started from the shifted activations.
TEST_P(EveryFamily, GradCamWeightsAreTheSlopeOfAChannelShift) {
  const Explainer n = net(7);
  const std::string layer = GetParam() == Family::kConcat                                   ? "r3"
                            : GetParam() == Family::kPlain || GetParam() == Family::kNoBias ? "c2"
                                                                                            : "c3";
  const ValueId id = n.layers.find(layer);
  const Tensor a = n.value(id);
  constexpr double h = 1e-6;
  Tensor raw = at::zeros({a.size(0), a.size(2), a.size(3)}, at::TensorOptions(at::kDouble));
  for (int64_t k = 0; k < a.size(1); ++k) {
    const auto score_at = [&](double shift) {
      Tensor moved = a.clone();
      moved.select(1, k).add_(shift);
      Request request;
      request.capture = {n.layers.logits()};
      request.from[id] = moved;
      return n.network.run({n.input}, request).at(n.layers.logits()).select(1, 2);
    };
    const Tensor slope = (score_at(h) - score_at(-h)) / (2 * h * static_cast<double>(a.size(2) * a.size(3)));
    raw += slope.view({-1, 1, 1}) * a.select(1, k);
  }
  // Rounding leaves 1e-16 / h = 1e-10 of the score. A rectifier that switches within h of its kink moves one position
  // of a channel by at most h and the quotient by a fraction of its own gradient; none does for this seed.
  EXPECT_TRUE(within(n.explain("grad-cam", "2", {layer}).values, raw, {1e-6, 1e-6})) << layer;
}

TEST_P(EveryFamily, SmoothGradCamPlusPlusWithoutNoiseIsGradCamPlusPlus) {
  const Explainer n = net(5);
  const Tensor smooth = n.explain("smooth-grad-cam++:noise=0,samples=3", "1", {"map"}).values;
  // Means of three equal powers instead of the closed form relu(G) / (2 + G sum(A)).
  EXPECT_TRUE(within(smooth, n.explain("grad-cam++", "1", {"map"}).values, kExact));
}

// D1, D2, D3 are mean powers over the noisy copies, A is of the clean picture; computed here from one gradient per
// copy.
TEST_P(EveryFamily, SmoothGradCamPlusPlusAveragesPowers) {
  const Explainer n = net(6);
  Context context = n.context("1", {"map"});
  context.injected_noise = Random(9).normal({5, 3, 11, 13});
  const Tensor actual = attribute(MethodCall::parse("smooth-grad-cam++:noise=0.2,samples=5"), context).values;
  const ValueId map = n.layers.find("map");
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor x = n.input[i];
    const Tensor noisy = x + context.injected_noise * ((x.max() - x.min()) * 0.2);
    const Tape tape = n.network.record({noisy}, {{n.layers.logits()}, {map}, {}, false});
    Tensor seed = at::zeros_like(tape.value(n.layers.logits()));
    seed.select(1, 1).fill_(1);
    const Tensor g = tape.backward({{n.layers.logits(), seed}}, {map}).values.at(map);
    const Tensor a = n.value(map)[i];
    const Tensor d2 = g.square().mean(0);
    const Tensor denominator = 2 * d2 + a.sum({1, 2}, true) * g.pow(3).mean(0);
    const Tensor weights = (d2 / denominator * at::relu(g.mean(0))).sum({1, 2});
    EXPECT_TRUE(within(actual[i], (weights.view({-1, 1, 1}) * a).sum(0), kExact)) << i;
  }
}

// The guided variants are the product of the two, the map resampled and rectified.
TEST_P(EveryFamily, GuidedCamsAreProducts) {
  const Explainer n = net(8);
  const Tensor guided = n.explain("guided-backprop", "1").values;
  for (const auto& [combined, alone] :
       {std::pair{"guided-grad-cam", "grad-cam"}, std::pair{"guided-grad-cam++", "grad-cam++"}}) {
    const Attribution cam = n.explain(alone, "1", {"map"});
    EXPECT_TRUE(within(n.explain(combined, "1", {"map"}).values, guided * cam.map.unsqueeze(1), kExact)) << combined;
    const Tensor nearest = at::upsample_nearest2d(at::relu(cam.values).unsqueeze(1), {11, 13});
    EXPECT_TRUE(
        within(n.explain(std::string(combined) + ":upsampling=nearest", "1", {"map"}).values, guided * nearest, kExact))
        << combined;
  }
}

// A layer named twice is one layer.
TEST_P(EveryFamily, FusionOfALayerWithItselfIsThatLayer) {
  const Explainer n = net(4);
  for (const char* method : {"grad-cam", "layer-cam", "eigen-cam", "smooth-grad-cam++", "guided-grad-cam"}) {
    const Attribution once = n.explain(method, "1", {"map"});
    const Attribution twice = n.explain(method, "1", {"map", "map"});
    EXPECT_TRUE(within(twice.map, once.map, {0, 0})) << method;
    EXPECT_TRUE(within(twice.values, once.values, {0, 0})) << method;
  }
}

// Two layers of equal content are each divided by their maximum and averaged: the map over its maximum; LayerCAM takes
// the larger of tanh(2 m), which both have.
TEST(Fusion, OfACopyIsTheScaledMap) {
  LayerBuilder b(3);
  b.conv("c1", "x", 4);
  b.node("Relu", "r1", {"c1"});
  b.node("Identity", "copy", {"r1"});
  const Explainer n(b.head("copy", 3), Random(4).normal({2, 3, 8, 8}));
  for (const char* method : {"grad-cam", "layer-cam"}) {
    const Tensor raw = at::relu(n.explain(method, "0", {"r1"}).values);
    Tensor expected = raw / raw.flatten(1).amax(1).view({-1, 1, 1});
    if (std::string(method) == "layer-cam") expected = at::tanh(expected * 2);
    const Attribution fused = n.explain(method, "0", {"r1", "copy"});
    EXPECT_TRUE(within(fused.map, expected, kExact)) << method;
    EXPECT_EQ(fused.layer_values.size(), 2u);
    EXPECT_TRUE(within(fused.layer_values.at(n.layers.find("r1")), n.explain(method, "0", {"r1"}).values, kExact));
  }
}

// M = a v^T has one component: the map is a |v|, positive.
TEST(EigenCam, RankOneIsThatMap) {
  const Tensor a = Random(2).uniform({1, 1, 6, 5});
  const Tensor v = doubles({0.5, -2, 1}, {1, 3, 1, 1});
  LayerBuilder b(1, {-1, 3, 6, 5});
  b.conv_with("A", "x", at::eye(3, at::TensorOptions(at::kDouble)).view({3, 3, 1, 1}));
  const Explainer n(b.head("A", 2), a * v);
  // The sign follows the mean activation, here negative: -0.5 / 3 of a.
  EXPECT_TRUE(within(n.explain("eigen-cam", "0", {"A"}).values, -a[0] * v.norm(), kExact));
}

TEST(EigenCam, OrderOfChannelsDoesNotMatter) {
  const Tensor x = Random(5).normal({1, 3, 6, 5});
  LayerBuilder b(1, {-1, 3, 6, 5});
  b.conv_with("A", "x", at::eye(3, at::TensorOptions(at::kDouble)).view({3, 3, 1, 1}));
  const Graph graph = b.head("A", 2);
  const Tensor permuted = x.index_select(1, at::tensor({2, 0, 1}, at::TensorOptions(at::kLong)));
  EXPECT_TRUE(within(Explainer(graph, permuted).explain("eigen-cam", "0", {"A"}).values,
                     Explainer(graph, x).explain("eigen-cam", "0", {"A"}).values, kExact));
}

const char* const kLayerMethods[] = {
    "grad-cam",  "counterfactual-grad-cam", "grad-cam++", "smooth-grad-cam++", "xgrad-cam", "hires-cam",
    "layer-cam", "grad-cam-elementwise",    "eigen-cam",  "eigen-grad-cam"};

// All rectifiers off: no evidence, no noise blown up, and a reason.
TEST(Degenerate, DeadActivationsGiveZeroMaps) {
  LayerBuilder b(1);
  b.conv_with("c1", "x", b.random.normal({4, 3, 3, 3}), at::full({4}, -1000.0, at::TensorOptions(at::kDouble)));
  b.node("Relu", "r1", {"c1"});
  const Explainer n(b.head("r1", 3), Random(1).normal({1, 3, 8, 8}));
  for (const char* method : kLayerMethods) {
    const Attribution a = n.explain(method, "0", {"r1"});
    EXPECT_EQ(a.map.abs().max().item<double>(), 0) << method;
    ASSERT_EQ(a.notes[0].size(), 1u) << method;
    EXPECT_EQ(a.notes[0][0].substr(0, 7), "blank: ") << method;
  }
}

TEST(Degenerate, NegativeMapSaysSo) {
  LayerBuilder b(1, {-1, 1, 4, 4});
  b.conv_with("A", "x", at::ones({1, 1, 1, 1}, at::TensorOptions(at::kDouble)));  // a single channel, K = 1
  const Explainer n(b.head_with("A", doubles({-1, -2}, {2, 1})), Random(1).uniform({1, 1, 4, 4}) + 0.1);
  const Attribution a = n.explain("grad-cam", "0", {"A"});
  EXPECT_LT(a.values.max().item<double>(), 0);
  EXPECT_EQ(a.map.abs().max().item<double>(), 0);
  ASSERT_EQ(a.notes[0].size(), 1u);
  EXPECT_EQ(a.notes[0][0],
            "blank: the map is nowhere positive before its ReLU; the counterfactual map shows what speaks against the "
            "target");
  EXPECT_TRUE(within(n.explain("counterfactual-grad-cam", "0", {"A"}).map, n.input[0] / 16, kExact));
}

// The map of a class whose evidence is all in favour: the counterfactual one is nowhere positive.
TEST(Degenerate, BlankCounterfactualSaysThatNothingSpeaksAgainst) {
  LayerBuilder b(1, {-1, 1, 4, 4});
  b.conv_with("A", "x", at::ones({1, 1, 1, 1}, at::TensorOptions(at::kDouble)));
  const Explainer n(b.head_with("A", doubles({1, -2}, {2, 1})), Random(1).uniform({1, 1, 4, 4}) + 0.1);
  const Attribution a = n.explain("counterfactual-grad-cam", "0", {"A"});
  EXPECT_EQ(a.map.abs().max().item<double>(), 0);
  EXPECT_EQ(a.notes[0], std::vector<std::string>{"blank: nothing in the layer speaks against the target"});
}

TEST(Degenerate, OneMemberLeavesTheBatchAlone) {
  for (const Family family : kFamilies) {
    const Graph graph = random_network(family, 11);
    Tensor x = Random(12).normal({3, 3, 12, 12});
    x[1].zero_();
    const Explainer all(graph, x);
    for (const char* method : kLayerMethods) {
      const Attribution batch = all.explain(method, "1", {"map"});
      for (const int64_t i : {0, 2}) {
        const Explainer alone(graph, x.narrow(0, i, 1));
        EXPECT_TRUE(within(batch.map[i], alone.explain(method, "1", {"map"}).map[0], {1e-9, 1e-9}))
            << method << ", " << family_name(family) << ", picture " << i;
      }
    }
  }
}

// Tokens: logits are linear in their mean over the patches, so that the gradient at each is W / 15 and the map is the
// layer's product with it, row by row of 3 x 5 patches; the class token is left out.
TEST(CamFamily, TakesTokensOfAnOblongPicture) {
  const Explainer n(vision_transformer(4, 12, 20, /*mean_head=*/true), Random(5).normal({2, 3, 12, 20}));
  const Tensor weights = n.network.graph().value(n.network.graph().find("logits.w")).constant.to(at::kDouble)[2];
  const Tensor tokens = n.value("block1/out").narrow(1, 1, 15);
  const Tensor expected = (tokens * weights).sum(2).view({2, 3, 5}) / 15;
  const Attribution cam = n.explain("grad-cam", "2", {"block1/out"});
  EXPECT_TRUE(within(cam.values, expected, kExact));
  EXPECT_EQ(cam.map.sizes(), (std::vector<int64_t>{2, 12, 20}));
  EXPECT_TRUE(within(n.explain("hires-cam", "2", {"block1/out"}).values, expected, kExact));
  // Alone, a patch gives the logit of its fifteenth and of nothing else.
  const Tensor alone = n.explain("recipro-cam:window=point,score=logit", "2", {"block1/out"}).values;
  EXPECT_TRUE(within(alone, expected - expected.flatten(1).amin(1).view({2, 1, 1}), kExact));
}

// Every member runs on the layer that is chosen for a transformer.
TEST(CamFamily, RunsOnATransformer) {
  const Explainer n(vision_transformer(4, 12, 20), Random(5).normal({1, 3, 12, 20}));
  for (const Method& method : methods()) {
    if (method.family != std::string("cam") || method.id == "cam") continue;
    const Attribution a = n.explain(method.id, "1");
    EXPECT_TRUE(at::isfinite(a.map).all().item<bool>()) << method.id;
    EXPECT_EQ(a.map.sizes(), (std::vector<int64_t>{1, 12, 20})) << method.id;
    EXPECT_GT(a.map.abs().max().item<double>(), 0) << method.id;
  }
}

TEST(CamFamily, RefusesALayerOfOnePosition) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 12, 12}));
  expect_error(ErrorKind::kUsage,
               "layer 'pool' holds one position ([1,8,1,1]); class activation maps need a layer before the pooling",
               [&] { n.explain("grad-cam", "0", {"pool"}); });
}

TEST(CamFamily, RefusesALayerThatIsNoMap) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 12, 12}));
  expect_error(ErrorKind::kUsage,
               "layer 'flat' has shape [1,8]; a map needs [N,K,h,w] or tokens [N,T,D] that form a grid",
               [&] { n.explain("eigen-cam", "0", {"flat"}); });
}

TEST(CamFamily, RefusesALayerWithoutInfluence) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 12, 12}));
  expect_error(ErrorKind::kUsage, "layer 'map' does not influence the target",
               [&] { n.explain("grad-cam", "channel:r1:0", {"map"}); });
}

TEST(Cam, RefusesANetworkWithTwoLinearLayers) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  b.node("GlobalAveragePool", "pool", {"c1"});
  b.node("Flatten", "flat", {"pool"});
  b.gemm_with("g1", "flat", b.random.normal({5, 4}));
  b.gemm_with("g2", "g1", b.random.normal({3, 5}));
  const Explainer n(b.finish("g2"), Random(1).normal({1, 3, 8, 8}));
  expect_error(
      ErrorKind::kUsage,
      "cam: the model does not end in global average pooling and one linear layer (there are two linear layers, "
      "'g1_node' is the lower one); grad-cam works on any network",
      [&] { n.explain("cam", "0"); });
}

TEST(Cam, RefusesANonLinearityBehindThePool) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  b.node("GlobalAveragePool", "pool", {"c1"});
  b.node("Relu", "r", {"pool"});
  b.node("Flatten", "flat", {"r"});
  b.gemm_with("g", "flat", b.random.normal({3, 4}));
  const Explainer n(b.finish("g"), Random(1).normal({1, 3, 8, 8}));
  expect_error(ErrorKind::kUsage,
               "cam: the model does not end in global average pooling and one linear layer ('r_node' (Relu) stands in "
               "between); grad-cam works on any network",
               [&] { n.explain("cam", "0"); });
}

// SqueezeNet's form: the pooled map has one channel per class, which is the class activation map.
TEST(Cam, PooledClassMapsAreTheirOwnCam) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  b.node("GlobalAveragePool", "pool", {"c1"});
  b.node("Flatten", "flat", {"pool"});
  const Explainer n(b.finish("flat"), Random(1).normal({2, 3, 8, 8}));
  EXPECT_TRUE(within(n.explain("cam", "3").values, n.value("c1").select(1, 3), kExact));
}

// A 1x1 convolution as the linear layer, on the pooled map.
TEST(Cam, ConvolutionAfterThePoolIsTheLinearLayer) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  b.node("GlobalAveragePool", "pool", {"c1"});
  b.conv("head", "pool", 3, {1, 1, 1, true});
  b.node("Flatten", "flat", {"head"});
  const Explainer n(b.finish("flat"), Random(1).normal({2, 3, 8, 8}));
  EXPECT_TRUE(within(n.explain("cam", "1").values, n.explain("grad-cam", "1", {"c1"}).values * 64, kExact));
}

// The network behind a class logit may be a single output: class 1 is S, class 0 its negative.
TEST(Cam, SingleLogitStandsForTwoClasses) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  const Explainer n(b.head("c1", 1), Random(1).normal({1, 3, 8, 8}));
  for (const char* target : {"0", "1"}) {
    EXPECT_TRUE(within(n.explain("cam", target).values, n.explain("grad-cam", target, {"c1"}).values * 64, kExact))
        << target;
  }
}

// A 1x1 convolution as segmenter, explained at one pixel: only that pixel matters.
TEST(HiResCam, OnePixelOfASegmenterIsThatPixel) {
  LayerBuilder b(2);
  b.conv("c1", "x", 4);
  b.node("Relu", "r1", {"c1"});
  b.conv("classes", "r1", 3, {1, 1, 1, true});
  const Explainer n(b.finish("classes"), Random(1).normal({1, 3, 6, 7}));
  Target target = Target::parse("2");
  target.mask = at::zeros({6, 7});
  target.mask[3][5] = 1;
  const Tensor values = attribute(MethodCall::parse("hires-cam"), n.context(target, {"r1"})).values[0];
  Tensor rest = values.clone();
  rest[3][5] = 0;
  EXPECT_EQ(rest.abs().max().item<double>(), 0);
  const Tensor w = n.network.graph().value(n.network.graph().find("classes.w")).constant.flatten(1)[2];
  EXPECT_NEAR(values[3][5].item<double>(), (w * n.value("r1")[0].select(1, 3).select(1, 5)).sum().item<double>(),
              1e-12);
}

/// The shared models end in global average pooling and a linear layer as well. Float64, a seeded picture.
TEST(Cam, IsGradCamTimesPositionsOnTheSharedModels) {
  const char* set = std::getenv("PELLUCID_SHARED");
  const std::string folder = (set ? std::string(set) : std::string(PELLUCID_SOURCE_DIR) + "/../shared") + "/models/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no models in " << folder;
  for (const auto& [file, size] :
       {std::pair{"mobilenet_v2_imagenet.onnx", 224}, std::pair{"resnet20_cifar10.onnx", 32}}) {
    const Explainer n(load_onnx(folder + file), Random(3).normal({1, 3, size, size}));
    const Tensor cam = n.explain("cam", "top1").values;
    const double positions = static_cast<double>(cam.size(1) * cam.size(2));
    for (const char* method : {"grad-cam", "hires-cam", "xgrad-cam"}) {
      // 1e-6: XGrad-CAM leaves out channels whose total is that small a share of their size.
      EXPECT_TRUE(within(n.explain(method, "top1").values * positions, cam, {1e-6, 1e-6})) << file << ", " << method;
    }
  }
}

// Two valid convolutions of 5, stride 2, on 29 pixels: position (i,j) sees 13 pixels around 4 i + 6.5, while spreading
// 5 positions over the picture puts them at 5.8 i + 2.9.
TEST(Cam, AlignsPositionsWithWhatTheySee) {
  LayerBuilder b(1, {-1, 3, 29, 29});
  for (const auto& [name, from] : {std::pair{"c1", "x"}, std::pair{"c2", "c1"}}) {
    b.graph.constant(std::string(name) + ".w", b.random.normal({3, 3, 5, 5}));
    b.graph.node("Conv", {from, std::string(name) + ".w"}, {name}, {{"strides", std::vector<int64_t>{2, 2}}});
  }
  b.graph.node("Relu", {"c2"}, {"r"});
  b.graph.node("GlobalAveragePool", {"r"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"flat"});
  b.gemm_with("logits", "flat", b.random.normal({2, 3}));
  const Explainer n(b.finish("logits"), Random(3).normal({1, 3, 29, 29}));
  ASSERT_EQ(n.value("r").size(2), 5);
  for (const std::string method : {"grad-cam", "eigen-cam", "score-cam", "smooth(layer-cam:align=receptive-field)"}) {
    const bool smooth = method.rfind("smooth", 0) == 0;
    const Attribution a = n.explain(smooth ? method + ":samples=3" : method + ":align=receptive-field", "0");
    const Tensor raw = at::relu(a.values[0]);
    const auto between = [&](int64_t pixel) {
      const double at = std::clamp((static_cast<double>(pixel) + 0.5 - 6.5) / 4, 0.0, 4.0);
      const auto low = static_cast<int64_t>(at);
      return std::tuple(low, std::min<int64_t>(low + 1, 4), at - static_cast<double>(low));
    };
    Tensor expected = at::zeros({29, 29}, at::kDouble);
    for (int64_t y = 0; y < 29; ++y) {
      for (int64_t x = 0; x < 29; ++x) {
        const auto [y0, y1, v] = between(y);
        const auto [x0, x1, u] = between(x);
        const auto cell = [&](int64_t i, int64_t j) { return raw[i][j].item<double>(); };
        expected[y][x] =
            (1 - v) * ((1 - u) * cell(y0, x0) + u * cell(y0, x1)) + v * ((1 - u) * cell(y1, x0) + u * cell(y1, x1));
      }
    }
    EXPECT_TRUE(within(a.map[0], expected, {1e-9, 1e-9})) << method;
    EXPECT_GT(expected.max().item<double>(), 0) << method;
  }
}

// Where every layer pads by half its kernel, the two are nearly one; where a layer sees the whole picture there is no
// place to put it.
TEST(Cam, AlignmentNeedsReceptiveFields) {
  LayerBuilder b(1, {-1, 3, 8, 8});
  b.conv("c1", "x", 4);
  b.node("GlobalAveragePool", "pool", {"c1"});
  b.node("Sigmoid", "gates", {"pool"});
  b.node("Mul", "gated", {"c1", "gates"});
  b.node("GlobalAveragePool", "pooled", {"gated"});
  b.node("Flatten", "flat", {"pooled"});
  b.gemm_with("logits", "flat", b.random.normal({2, 4}));
  const Explainer n(b.finish("logits"), Random(3).normal({1, 3, 8, 8}));
  const Attribution at_c1 =
      attribute(MethodCall::parse("hires-cam:align=receptive-field"), n.context(Target::parse("0"), {"c1"}));
  EXPECT_TRUE(within(at_c1.map, at::relu(at_c1.values), {1e-12, 1e-12}));
  try {
    attribute(MethodCall::parse("hires-cam:align=receptive-field"), n.context(Target::parse("0"), {"gated"}));
    FAIL() << "a gate sees everything";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "align=receptive-field: what a position of layer 'gated' sees is not known, or is the whole picture; "
                 "align=half-pixel works for any layer");
  }
}

// Half-pixel centres: a one-hot cell (1,1) of 7x7 over 224 has its centroid at 47.5 in pixel indices, the centre of its
// 32-pixel cell; aligned corners would put it at 37.
TEST(UpsampleMap, KeepsTheCentreOfACell) {
  Tensor map = at::zeros({1, 7, 7}, at::TensorOptions(at::kDouble));
  map[0][1][1] = 1;
  const Tensor up = upsample_map(map, 224, 224)[0];
  const Tensor index = at::arange(224, at::TensorOptions(at::kDouble));
  EXPECT_NEAR((up.sum(1) * index).sum().item<double>() / up.sum().item<double>(), 47.5, 1e-9);
  EXPECT_NEAR(up.max().item<double>(), (63.0 / 64) * (63.0 / 64), 1e-12);
  EXPECT_GE(up.min().item<double>(), 0);
}

}  // namespace
}  // namespace pellucid::test
