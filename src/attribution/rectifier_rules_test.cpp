#include <gtest/gtest.h>

#include <functional>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

/// relu(W x) . w with W = [[1,0],[0,1],[1,-3]], w = (1,-1,2), at x = (2,1): pre-activations (2,1,-1), score 1.
/// `activation` makes the rectifier "r" from "c".
Explainer three_rectifiers(const std::function<void(LayerBuilder&)>& activation) {
  LayerBuilder b(1, {-1, 2, 1, 1});
  b.conv_with("c", "x", doubles({1, 0, 0, 1, 1, -3}, {3, 2, 1, 1}));
  activation(b);
  b.conv_with("d", "r", doubles({1, -1, 2}, {1, 3, 1, 1}));
  b.node("Flatten", "score", {"d"});
  return Explainer(b.finish("score"), doubles({2, 1}, {1, 2, 1, 1}));
}

struct Spelling {
  const char* name;
  std::function<void(LayerBuilder&)> write;
};

const Spelling kSpellings[] = {
    {"Relu", [](LayerBuilder& b) { b.node("Relu", "r", {"c"}); }},
    {"Clip", [](LayerBuilder& b) { b.clip("r", "c", 0, 6); }},
    {"Max",
     [](LayerBuilder& b) {
       b.graph.constant("zero", at::zeros({}, at::TensorOptions(at::kDouble)));
       b.graph.node("Max", {"c", "zero"}, {"r"}, {}, "max");
     }},
    {"Where",
     [](LayerBuilder& b) {
       b.graph.constant("zero", at::zeros({}, at::TensorOptions(at::kDouble)));
       b.graph.node("Greater", {"c", "zero"}, {"positive"});
       b.graph.node("Where", {"positive", "c", "zero"}, {"r"}, {}, "where");
     }},
    {"ThresholdedRelu",
     [](LayerBuilder& b) {
       b.node("ThresholdedRelu", "r", {"c"}, {{"alpha", 0.0}});
     }},
};

// Gradient: units one and two are on: (1,0) - (0,1) = (1,-1). Guided backprop drops the negative signal of unit two:
// (1,0). DeconvNet keeps positive signals whatever the unit did: (1,0) + 2 (1,-3) = (3,-6). Whatever the rectifier's
// spelling.
TEST(RectifierRules, ThreeRectifiersInEverySpelling) {
  for (const Spelling& spelling : kSpellings) {
    const Explainer n = three_rectifiers(spelling.write);
    EXPECT_TRUE(within(n.explain("gradient", "1").values, doubles({1, -1}, {1, 2, 1, 1}), kExact)) << spelling.name;
    const Attribution guided = n.explain("guided-backprop", "1");
    EXPECT_TRUE(within(guided.values, doubles({1, 0}, {1, 2, 1, 1}), kExact)) << spelling.name;
    EXPECT_EQ(guided.rule_uses.at("guided-backprop"), 1) << spelling.name;
    EXPECT_TRUE(guided.notes[0].empty()) << spelling.name << ": " << guided.notes[0][0];
    const Attribution deconv = n.explain("deconvnet", "1");
    EXPECT_TRUE(within(deconv.values, doubles({3, -6}, {1, 2, 1, 1}), kExact)) << spelling.name;
    EXPECT_EQ(deconv.rule_uses.at("deconvnet"), 1) << spelling.name;
  }
}

// A unit saturated at the upper bound passes nothing backwards in guided backprop, and everything in DeconvNet.
TEST(RectifierRules, ClipBlocksAboveItsBound) {
  const Explainer n = three_rectifiers([](LayerBuilder& b) { b.clip("r", "c", 0, 1.5); });
  EXPECT_TRUE(within(n.explain("gradient", "1").values, doubles({0, -1}, {1, 2, 1, 1}), kExact));
  EXPECT_TRUE(within(n.explain("guided-backprop", "1").values, doubles({0, 0}, {1, 2, 1, 1}), {0, 0}));
  EXPECT_TRUE(within(n.explain("deconvnet", "1").values, doubles({3, -6}, {1, 2, 1, 1}), kExact));
}

TEST(RectifierRules, WithoutRectifiersAreTheGradientAndSaySo) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  const Explainer n(b.head("c1", 3), Random(1).normal({1, 3, 6, 6}));
  const Tensor gradient = n.explain("gradient", "0").values;
  for (const std::string method : {"deconvnet", "guided-backprop"}) {
    const Attribution a = n.explain(method, "0");
    EXPECT_TRUE(within(a.values, gradient, {0, 0})) << method;
    EXPECT_EQ(a.rule_uses.at(method), 0);
    ASSERT_EQ(a.notes[0].size(), 1u) << method;
    EXPECT_EQ(a.notes[0][0],
              method + ": no rectifier lies between the input and the target, so this is the plain gradient");
  }
}

// The planner turns x * sigmoid(x) into one activation; it is no rectifier, which the result must tell.
TEST(RectifierRules, SmoothActivationsAreReported) {
  const Explainer n(random_network(Family::kSilu, 1), Random(1).normal({1, 3, 8, 8}));
  const Attribution a = n.explain("guided-backprop", "0");
  EXPECT_EQ(a.rule_uses.at("guided-backprop"), 0);
  EXPECT_EQ(a.rule_uses.at("other-activation"), 3);
  ASSERT_FALSE(a.notes[0].empty());
  EXPECT_EQ(
      a.notes[0][0],
      "guided-backprop: no rectifier lies between the input and the target, so this is the plain gradient with other "
      "activations clamped");
}

// With positive weights everywhere and positive input every unit is on and every signal positive.
TEST(GuidedBackprop, IsTheGradientWhenAllIsPositive) {
  LayerBuilder b(1);
  b.conv_with("c1", "x", b.random.uniform({4, 3, 3, 3}));
  b.node("Relu", "r1", {"c1"});
  b.conv_with("c2", "r1", b.random.uniform({4, 4, 3, 3}));
  b.node("Relu", "r2", {"c2"});
  const Explainer n(b.head_with("r2", b.random.uniform({2, 4})), Random(2).uniform({1, 3, 7, 7}));
  const Tensor gradient = n.explain("gradient", "1").values;
  EXPECT_TRUE(within(n.explain("guided-backprop", "1").values, gradient, kExact));
  EXPECT_TRUE(within(n.explain("deconvnet", "1").values, gradient, kExact));
}

TEST(GuidedBackprop, MatchesEveryRectifier) {
  for (const Family family : {Family::kPlain, Family::kResidual, Family::kDepthwise, Family::kClip}) {
    const Explainer n(random_network(family, 1), Random(1).normal({1, 3, 8, 8}));
    EXPECT_EQ(n.explain("guided-backprop", "0").rule_uses.at("guided-backprop"), 3) << family_name(family);
    EXPECT_EQ(n.explain("deconvnet", "0").rule_uses.at("deconvnet"), 3) << family_name(family);
  }
}

/// The rules once more, by hand and with LibTorch's own operators, for two convolutions with rectifiers and a sum.
TEST(RectifierRules, AgreeWithASecondImplementation) {
  LayerBuilder b(5);
  b.conv("c1", "x", 5);
  b.node("Relu", "r1", {"c1"});
  b.conv("c2", "r1", 4);
  b.node("Relu", "r2", {"c2"});
  const Explainer n(b.finish("r2"), Random(6).normal({2, 3, 7, 8}));
  const auto weight = [&](const char* name) { return n.network.graph().value(n.network.graph().find(name)).constant; };
  Tensor seed = at::zeros_like(n.value("r2"));
  seed.select(1, 2).fill_(1);
  for (const bool guided : {true, false}) {
    Tensor r = seed;
    for (const char* layer : {"2", "1"}) {
      const Tensor z = n.value(std::string("c") + layer);
      r = guided ? at::where(z > 0, at::relu(r), at::zeros_like(r)) : at::relu(r);
      r = at::conv_transpose2d(r, weight((std::string("c") + layer + ".w").c_str()), {}, 1, 1);
    }
    const char* method = guided ? "guided-backprop" : "deconvnet";
    EXPECT_TRUE(within(n.explain(method, "channel:r2:2").values, r, kExact)) << method;
  }
}

}  // namespace
}  // namespace pellucid::test
