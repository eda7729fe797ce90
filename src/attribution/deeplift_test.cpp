#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

Explainer two_inputs(LayerBuilder& b, const std::string& output, double x1, double x2) {
  b.node("Flatten", "score", {output});
  return Explainer(b.finish("score"), doubles({x1, x2}, {1, 2, 1, 1}));
}

// One function as two graphs. Rescaling depends on the graph: relu(relu(x1) - 1 - relu(x2)) at (3,1) changes from 0 to
// 1 while its argument changes from -1 to 1, so the multiplier is a half and C = (3,-1)/2. In relu(relu(x1 - 1) -
// relu(x2)) the first rectifier has multiplier 2/3 and the last one 1: C = (2,-1).
TEST(DeepLift, DependsOnTheGraph) {
  const Tensor difference = doubles({1, -1}, {1, 2, 1, 1});
  LayerBuilder f(1, {-1, 2, 1, 1});
  f.node("Relu", "r", {"x"});
  f.conv_with("c", "r", difference, doubles({-1}, {1}));
  f.node("Relu", "out", {"c"});
  const Attribution a = two_inputs(f, "out", 3, 1).explain("deeplift:baseline=zero", "1");
  EXPECT_TRUE(within(a.values, doubles({1.5, -0.5}, {1, 2, 1, 1}), kExact));
  LayerBuilder g(1, {-1, 2, 1, 1});
  g.conv_with("shift", "x", at::eye(2, at::TensorOptions(at::kDouble)).view({2, 2, 1, 1}), doubles({-1, 0}, {2}));
  g.node("Relu", "r", {"shift"});
  g.conv_with("c", "r", difference);
  g.node("Relu", "out", {"c"});
  const Attribution b = two_inputs(g, "out", 3, 1).explain("deeplift:baseline=zero", "1");
  EXPECT_TRUE(within(b.values, doubles({2, -1}, {1, 2, 1, 1}), kExact));
  EXPECT_EQ(b.rule_uses.at("rescale"), 2);
}

// 1 - relu(1 - x) at 2 has no gradient, yet the score rose from 0 to 1.
TEST(DeepLift, SeesThroughSaturation) {
  LayerBuilder b(1, {-1, 1, 1, 1});
  b.conv_with("c", "x", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Relu", "r", {"c"});
  b.conv_with("d", "r", doubles({-1}, {1, 1, 1, 1}), doubles({1}, {1}));
  b.node("Flatten", "score", {"d"});
  const Explainer n(b.finish("score"), doubles({2}, {1, 1, 1, 1}));
  EXPECT_EQ(n.explain("gradient", "1").values.item<double>(), 0);
  EXPECT_NEAR(n.explain("deeplift:baseline=zero", "1").values.item<double>(), 1, 1e-12);
}

// Exact on every kind of network that has rules for all its nodes, for every baseline.
TEST(DeepLift, IsComplete) {
  for (const Family family : kFamilies) {
    for (const uint64_t seed : {1, 2, 3}) {
      const Explainer n(random_network(family, seed), Random(seed).normal({2, 3, 14, 14}));
      for (const std::string baseline : {"zero", "white", "blur:2", "black+white"}) {
        const Attribution a = n.explain("deeplift:baseline=" + baseline, "1");
        for (const auto& d : a.diagnostics) {
          EXPECT_NEAR(d.at("convergence_delta"), 0, 1e-8) << family_name(family) << " " << baseline;
        }
      }
      const Tensor change = n.logits(n.input) - n.logits(at::zeros_like(n.input));
      const Attribution a = n.explain("deeplift:baseline=zero", "1");
      EXPECT_NEAR(a.values[1].sum().item<double>(), change[1][1].item<double>(), 1e-8) << family_name(family);
      EXPECT_TRUE(a.notes[0].empty()) << family_name(family);
    }
  }
}

// Homogeneous: without biases and against zero the multiplier of each rectifier is its gradient.
TEST(DeepLift, IsGradientTimesInputWithoutBiases) {
  LayerBuilder b(4);
  b.conv("c1", "x", 6, {3, 1, 1, false});
  b.node("Relu", "r1", {"c1"});
  b.pool("AveragePool", "p", "r1", 2, 2);
  b.conv("c2", "p", 6, {3, 1, 1, false});
  b.node("Relu", "r2", {"c2"});
  const Explainer n(b.head("r2", 3, false), Random(1).normal({2, 3, 12, 12}));
  EXPECT_TRUE(
      within(n.explain("deeplift:baseline=zero", "2").values, n.explain("gradient-x-input", "2").values, kExact));
}

// A single peak: the windows of 3 with stride 2 overlap at the centre of 5x5. Against zero all four windows rise
// from 0 to the peak, so its place collects all four, and every other place nothing.
TEST(DeepLift, OverlappingWindowsAddUp) {
  Tensor x = at::zeros({1, 1, 5, 5}, at::kDouble);
  x[0][0][2][2] = 7;
  LayerBuilder b(1, {-1, 1, 5, 5});
  b.pool("MaxPool", "m", "x", 3, 2);
  b.node("GlobalAveragePool", "g", {"m"});
  b.node("Flatten", "score", {"g"});
  const Explainer n(b.finish("score"), x);
  const Attribution a = n.explain("deeplift:baseline=zero", "1");
  Tensor expected = at::zeros_like(x);
  expected[0][0][2][2] = 7;  // four windows, a quarter each in the mean
  EXPECT_TRUE(within(a.values, expected, kExact));
}

// max(x1, x2) from the baseline (1.5, 1.5), where the first place counts as the winner: up to (2, 5) all 3.5 belong to
// x2, which wins now; down to (1, 0) the fall of a half belongs to x1, which won before.
TEST(DeepLift, MaximaSplitBetweenTheWinners) {
  const auto network = [](const Tensor& x) {
    LayerBuilder b(1, {-1, 1, 1, 2});
    b.node("GlobalMaxPool", "m", {"x"});
    b.node("Flatten", "score", {"m"});
    ModelCard card;  // black is (0 - mean) / std = the constant baseline 1.5
    card.scale = 1.0 / 255;
    card.mean = {-1.5};
    card.std = {1};
    return Explainer(b.finish("score"), x, in_float64(), card);
  };
  const Attribution rise = network(doubles({2, 5}, {1, 1, 1, 2})).explain("deeplift", "1");
  EXPECT_TRUE(within(rise.values, doubles({0, 3.5}, {1, 1, 1, 2}), kExact));
  const Attribution fall = network(doubles({1, 0}, {1, 1, 1, 2})).explain("deeplift", "1");
  EXPECT_TRUE(within(fall.values, doubles({-0.5, 0}, {1, 1, 1, 2}), kExact));
}

// x1 x2 from (0, 0) to (3, 2): six, half for each factor. x1 / x2 from (1, 1) to (3, 2) changes by a half:
// (3-1)(1/2+1)/2 = 1.5 for x1 and (1/2-1)(3+1)/2 = -1 for x2.
TEST(DeepLift, ProductsSplitEvenly) {
  const auto network = [](const char* op, double start) {
    LayerBuilder b(1, {-1, 2, 1, 1});
    for (const int64_t i : {0, 1}) {
      b.graph.constant("i" + std::to_string(i), at::full({1}, i, at::TensorOptions(at::kLong)));
      b.graph.node("Gather", {"x", "i" + std::to_string(i)}, {"x" + std::to_string(i)}, {{"axis", int64_t{1}}});
    }
    b.graph.node(op, {"x0", "x1"}, {"y"});
    b.graph.node("Flatten", {"y"}, {"score"});
    ModelCard card;
    card.scale = 1.0 / 255;
    card.mean = {-start, -start};
    card.std = {1, 1};
    return Explainer(b.finish("score"), doubles({3, 2}, {1, 2, 1, 1}), in_float64(), card);
  };
  EXPECT_TRUE(within(network("Mul", 0).explain("deeplift", "1").values, doubles({3, 3}, {1, 2, 1, 1}), kExact));
  EXPECT_TRUE(within(network("Div", 1).explain("deeplift", "1").values, doubles({1.5, -1}, {1, 2, 1, 1}), kExact));
}

// A picture that equals the baseline has nothing to explain, and nothing is divided by zero.
TEST(DeepLift, NoDifferenceNoContribution) {
  const Explainer n(random_network(Family::kPlain, 1), at::zeros({1, 3, 14, 14}, at::kDouble));
  const Attribution a = n.explain("deeplift:baseline=zero", "1");
  EXPECT_EQ(a.values.abs().max().item<double>(), 0);
  EXPECT_EQ(a.diagnostics[0].at("convergence_delta"), 0);
}

TEST(DeepLift, SaysWhatNoRuleCovers) {
  LayerBuilder b(6);
  b.conv("c1", "x", 4);
  b.graph.node("Softmax", {"c1"}, {"p"}, {{"axis", int64_t{1}}});
  b.graph.node("GlobalAveragePool", {"p"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"flat"});
  b.gemm_with("logits", "flat", b.random.normal({3, 4}));
  const Explainer n(b.finish("logits"), Random(1).normal({1, 3, 6, 6}));
  const Attribution a = n.explain("deeplift:baseline=zero", "1");
  ASSERT_EQ(a.notes[0].size(), 1u);
  EXPECT_EQ(a.notes[0][0],
            "deeplift: no rule is known for Softmax; the mean of their gradients at the picture and at the baseline "
            "stood in, which leaves a gap");
}

/// Counts the passes.
class PassCounter : public Progress {
 public:
  void report(double, double, const std::string& what) override { passes += what == "pictures"; }
  int passes = 0;
};

// Both records of every picture of a pass are held, so the budget decides how many go together.
TEST(DeepLift, KeepsToTheMemoryBudget) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({3, 3, 14, 14}));
  const Tensor whole = n.explain("deeplift", "1").values;
  Context context = n.context("1");
  PassCounter counter;
  context.progress = &counter;
  context.memory_budget = 1;
  EXPECT_TRUE(within(attribute(MethodCall::parse("deeplift"), context).values, whole, kExact));
  EXPECT_EQ(counter.passes, 3);
}

}  // namespace
}  // namespace pellucid::test
