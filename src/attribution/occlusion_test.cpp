#include <gtest/gtest.h>

#include "attribution/imputation.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

/// One output that sums c * x over a picture [1,height,width].
Graph linear(const Tensor& c) {
  LayerBuilder b(1, {-1, 1, c.size(0), c.size(1)});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", c.reshape({1, -1}));
  return b.finish("logits");
}
Tensor ones(int64_t height, int64_t width) { return at::ones({1, 1, height, width}, at::kDouble); }
constexpr Tolerance kExact{1e-12, 1e-12};

TEST(Occlusion, SinglePixelsOfALinearModelGiveItsTerms) {
  const Tensor c = doubles({4, 3, 2, 1}, {2, 2});
  const Explainer net(linear(c), ones(2, 2));
  EXPECT_TRUE(within(net.explain("occlusion:patch=1,stride=1,fill=zero,score=logit", "1").map[0], c, kExact));
}

TEST(Occlusion, OverlappingPatchesAverageByCoverage) {
  // Rows of two pixels with equal terms: a 2x2 patch drops twice the sums (3, 5, 7) of neighbours in (1, 2, 3, 4).
  const Tensor c = doubles({1, 2, 3, 4, 1, 2, 3, 4}, {2, 4});
  const Explainer net(linear(c), ones(2, 4));
  const Attribution a = net.explain("occlusion:patch=2,stride=1,fill=zero,score=logit", "1");
  EXPECT_TRUE(within(a.map[0], doubles({6, 8, 12, 14, 6, 8, 12, 14}, {2, 4}), kExact));
  EXPECT_EQ(a.diagnostics[0].at("patches"), 3);
}

TEST(Occlusion, EachFillDropsItsDifference) {
  const Explainer net(linear(doubles({1, 1, 1, 1}, {2, 2})),
                      ones(2, 2) * 0.75 * 255);  // the card's model domain: 0..255
  const auto drop = [&](const std::string& fill) {
    return net.explain("occlusion:patch=1,stride=1,score=logit,fill=" + fill, "1").map[0][0][0].item<double>();
  };
  EXPECT_NEAR(drop("black"), 0.75 * 255, 1e-10);
  EXPECT_NEAR(drop("gray"), 0.25 * 255, 1e-10);
  EXPECT_NEAR(drop("value:0.3"), 0.45 * 255, 1e-10);
  EXPECT_NEAR(drop("mean"), 0, 1e-10);  // a constant picture hides nothing
  EXPECT_NEAR(drop("inpaint"), 0, 1e-3);
  EXPECT_NEAR(drop("blur:1"), 0, 1e-10);
}

TEST(Occlusion, LastPatchIsMovedInsideOrCutOff) {
  const Tensor c = at::arange(1, 6, at::kDouble).repeat({5, 1});  // columns 1 2 3 4 5
  const Explainer net(linear(c), ones(5, 5));
  const auto row = [&](const std::string& edges) {
    return net.explain("occlusion:patch=2,stride=2,fill=zero,score=logit,edges=" + edges, "1");
  };
  // Patches at 0, 2 and 3 (or 4, one pixel wide and high); columns drop 3, 7 and 9 (5) a row, two rows a patch.
  const Tensor inside = row("inside").map[0][0], clipped = row("clip").map[0][0];
  EXPECT_TRUE(within(inside, doubles({6, 6, 14, 16, 18}, {5}), kExact));
  EXPECT_TRUE(within(clipped, doubles({6, 6, 14, 14, 10}, {5}), kExact));
  EXPECT_TRUE(within(row("clip").map[0][4], doubles({3, 3, 7, 7, 5}, {5}), kExact));
}

TEST(Occlusion, GapsBetweenPatchesStayZero) {
  const Explainer net(linear(doubles({1, 2, 3, 4, 5, 6, 7, 8, 9}, {3, 3})), ones(3, 3));
  EXPECT_TRUE(within(net.explain("occlusion:patch=1,stride=2,fill=zero,score=logit", "1").map[0],
                     doubles({1, 0, 3, 0, 0, 0, 7, 0, 9}, {3, 3}), kExact));
}

TEST(Occlusion, ProbabilityMapShowsTheScoreLeftAtPatchCentres) {
  const Tensor c = doubles({1, 2, 3, 4, 5, 6, 7, 8, 9}, {3, 3});
  const Explainer net(linear(c), ones(3, 3));
  const Attribution a = net.explain("occlusion:patch=1,stride=2,fill=zero,map=probability,score=logit", "1");
  EXPECT_TRUE(within(a.values[0], doubles({44, 42, 38, 36}, {2, 2}), kExact));
  EXPECT_TRUE(within(a.map[0], doubles({44, 43, 42, 41, 40, 39, 38, 37, 36}, {3, 3}), kExact));
  EXPECT_TRUE(a.is_signed);  // a logit may be negative
  EXPECT_FALSE(a.zero_is_neutral);
  const Attribution p = net.explain("occlusion:patch=1,fill=zero,map=probability", "1");
  EXPECT_FALSE(p.is_signed);
  EXPECT_FALSE(p.zero_is_neutral);
  ASSERT_EQ(p.notes[0].size(), 1u);
  EXPECT_EQ(p.notes[0][0], "occlusion: the map shows the score that is left, so it is low where the picture matters");
  EXPECT_TRUE(net.explain("occlusion:patch=1,fill=zero", "1").zero_is_neutral);
}

TEST(Occlusion, ProbabilityIsThatOfTheSoftmax) {
  LayerBuilder b(2, {-1, 1, 2, 2});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", doubles({1, 0, 0, 0, 0, 1, 0, 0}, {2, 4}));
  const Explainer net(b.finish("logits"), ones(2, 2));
  // Logits (1, 1); covering the first pixel leaves (0, 1), the second (1, 0).
  const double left = 1 / (1 + std::exp(1.0));
  EXPECT_TRUE(within(net.explain("occlusion:patch=1,stride=1,fill=zero", "0").map[0],
                     doubles({0.5 - left, left - 0.5, 0, 0}, {2, 2}), kExact));
}

TEST(Occlusion, IncrementalEqualsWholePasses) {
  int incremental = 0;
  for (const Family family : kFamilies) {
    for (const auto& [size, call] :
         std::vector<std::pair<Shape, std::string>>{{{2, 3, 33, 40}, "patch=5,stride=3"},
                                                    {{2, 3, 33, 40}, "patch=7,stride=4,edges=clip,fill=noise:3"},
                                                    {{1, 3, 30, 31}, "patch=6,stride=5,fill=inpaint,map=probability"},
                                                    {{1, 3, 24, 24}, "patch=24,stride=1"}}) {
      const Explainer net(random_network(family, 6), Random(9).uniform(size));
      const Attribution fast = net.explain("occlusion:score=logit," + call, "1");
      const Attribution slow = net.explain("occlusion:score=logit,incremental=false," + call, "1");
      EXPECT_TRUE(within(fast.values, slow.values, {1e-9, 1e-9})) << family_name(family) << " " << call;
      EXPECT_EQ(slow.diagnostics[0].at("work_share"), 1);
      incremental += fast.diagnostics[0].at("work_share") < 1;
    }
  }
  EXPECT_GE(incremental, 14);
}

TEST(Occlusion, TransposedInputIsNoObstacle) {
  LayerBuilder b(4, {-1, 24, 20, 3});
  GraphBuilder& g = b.graph;
  g.node("Transpose", {"x"}, {"t"}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  g.constant("w", b.random.normal({4, 3, 3, 3}));
  g.node("Conv", {"t", "w"}, {"c"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  g.node("Relu", {"c"}, {"r"});
  g.node("GlobalAveragePool", {"r"}, {"p"});
  g.node("Flatten", {"p"}, {"out"});
  ModelCard card;
  card.channels_first = false;
  const Explainer net(b.finish("out"), Random(9).uniform({1, 24, 20, 3}), in_float64(), card);
  const Attribution fast = net.explain("occlusion:score=logit,patch=4,stride=3", "1");
  EXPECT_LT(fast.diagnostics[0].at("work_share"), 0.5);
  EXPECT_TRUE(within(fast.map, net.explain("occlusion:score=logit,patch=4,stride=3,incremental=false", "1").map,
                     {1e-10, 1e-10}));
}

TEST(Occlusion, RefusesAPatchLargerThanThePicture) {
  const Explainer net(linear(doubles({1, 2, 3, 4}, {2, 2})), ones(2, 2));
  expect_error(ErrorKind::kUsage, "occlusion: patch is 3; it must fit the picture of 2 x 2 pixels",
               [&] { net.explain("occlusion:patch=3", "0"); });
}

TEST(Occlusion, StopsWhenCancelled) {
  const Explainer net(random_network(Family::kPlain, 6), Random(9).uniform({1, 3, 40, 40}));
  for (const std::string how : {"true", "false"}) {
    Progress progress;
    Context context = net.context("1");
    context.progress = &progress;
    progress.cancel();
    expect_error(ErrorKind::kInterrupted, "interrupted",
                 [&] { attribute(MethodCall::parse("occlusion:patch=4,incremental=" + how), context); });
  }
}

// A difference of classes has no probability: what is measured is the difference, not that of the first class.
TEST(Occlusion, DifferencesAndMeansAreMeasuredAsTheyAre) {
  LayerBuilder b(3, {-1, 1, 2, 2});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", doubles({1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 4, 0}, {3, 4}));
  const Explainer net(b.finish("logits"), ones(2, 2));
  const std::string call = "occlusion:patch=1,stride=1,fill=zero";
  EXPECT_TRUE(within(net.explain(call, "0 vs 1").map[0], doubles({1, -2, 0, 0}, {2, 2}), kExact));
  EXPECT_TRUE(within(net.explain(call, "mean:0").map[0], doubles({2.0 / 3, -2.0 / 3, -4.0 / 3, 0}, {2, 2}), kExact));
}

// What is filled in is what imputing the whole picture gives, also at the border and in the corners.
TEST(Occlusion, InpaintsAsFromTheWholePicture) {
  const Tensor c = Random(1).normal({9, 8}), x = Random(2).normal({1, 1, 9, 8});
  const Explainer net(linear(c), x);
  const Attribution a = net.explain("occlusion:patch=3,stride=5,edges=clip,fill=inpaint,score=logit", "1");
  for (const int64_t top : {0, 5}) {
    for (const int64_t left : {0, 5}) {
      Tensor missing = at::zeros({1, 9, 8}, at::kBool);
      missing[0].narrow(0, top, 3).narrow(1, left, 3).fill_(true);
      const double drop = (c * (x[0] - linear_imputation(x[0], missing)[0])).sum().item<double>();
      EXPECT_NEAR(a.map[0][top][left].item<double>(), drop, 1e-5) << top << " " << left;
    }
  }
}

}  // namespace
}  // namespace pellucid::test
