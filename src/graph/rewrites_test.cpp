// Rewritten graphs compute the same function, to the last digits of float64.

#include "graph/rewrites.h"

#include <gtest/gtest.h>

#include <set>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Family;
using test::Random;
using test::within;

Tensor output_of(const Graph& graph, const Tensor& x, bool optimize = true) {
  return Network(graph, test::in_float64(optimize)).run(x).front();
}

TEST(Rewrites, ScoresStayTheSameOnEveryFamilyOfNetworks) {
  std::set<std::string> seen;
  for (const Family family : test::kFamilies) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const Graph graph = test::random_network(family, seed);
      const Tensor x = Random(seed + 100).normal({2, 3, 9, 8});
      const Tensor before = output_of(graph, x);
      for (const Rewrite& rewrite : exact_rewrites(graph, seed)) {
        seen.insert(rewrite.name);
        EXPECT_GT(rewrite.changed, 0);
        for (const bool optimize : {true, false}) {
          EXPECT_TRUE(within(output_of(rewrite.graph, x, optimize), before, {1e-12, 1e-12}))
              << family_name(family) << " " << rewrite.name;
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), 6u);
}

TEST(Rewrites, AveragePoolingDoesNotCountThePadding) {
  test::LayerBuilder b(3);
  b.node("MaxPool", "p", {"x"},
         {{"kernel_shape", std::vector<int64_t>{3, 3}},
          {"strides", std::vector<int64_t>{2, 2}},
          {"pads", std::vector<int64_t>{1, 1, 1, 1}},
          {"storage_order", int64_t{0}},
          {"dilations", std::vector<int64_t>{1, 1}}});
  const Graph graph = with_average_pooling(b.finish("p"));
  const Tensor x = Random(4).normal({2, 3, 9, 8});
  EXPECT_TRUE(within(output_of(graph, x), at::avg_pool2d(x, {3, 3}, {2, 2}, {1, 1}, false, false), {1e-12, 1e-12}));
  test::LayerBuilder places(3);
  places.graph.node("MaxPool", {"x"}, {"p", "where"}, {{"kernel_shape", std::vector<int64_t>{2, 2}}}, "pool");
  places.graph.output("p");
  test::expect_error(ErrorKind::kUsage, "average pooling: pool of net also gives the places of its maxima",
                     [&] { with_average_pooling(places.graph.finish()); });
}

TEST(Rewrites, DoWhatTheyAreNamedAfter) {
  const auto count = [](const Graph& graph, const std::string& op) {
    int64_t n = 0;
    for (const Node& node : graph.nodes()) n += node.op == op ? 1 : 0;
    return n;
  };
  const Graph plain = test::random_network(Family::kPlain, 1), residual = test::random_network(Family::kResidual, 1);
  EXPECT_EQ(count(unfold_batch_norm(plain).graph, "BatchNormalization"), 3);
  EXPECT_EQ(unfold_batch_norm(plain).changed, 3);
  EXPECT_EQ(count(residual, "BatchNormalization"), 3);
  EXPECT_EQ(count(fold_batch_norm(residual).graph, "BatchNormalization"), 0);
  EXPECT_EQ(fold_batch_norm(residual).changed, 3);
  EXPECT_EQ(count(split_convolutions(plain).graph, "Conv"), 6);
  EXPECT_EQ(count(insert_rectifier_identity(plain).graph, "Relu"), 3 + 2);
  EXPECT_EQ(fold_batch_norm(plain).changed, 0);
}

// c1 -> r1 -> p1 -> c2 -> r2 -> p2 -> c3 -> map -> pool -> flat -> logits: three chains, every inner value reordered.
TEST(Rewrites, PermutedChannelsAreThoseOfTheValueInAnotherOrder) {
  const Graph graph = test::random_network(Family::kPlain, 4);
  const Rewrite permuted = permute_channels(graph, 9), scaled = rescale_channels(graph, 9);
  EXPECT_EQ(permuted.changed, 3);
  EXPECT_EQ(scaled.changed, 3);
  const Tensor x = Random(3).normal({1, 3, 8, 8});
  const auto channel_means = [&](const Graph& g) {
    Request request;
    request.capture = {g.find("r2")};
    return Network(g, test::in_float64()).run({x}, request).at(g.find("r2")).mean({0, 2, 3});
  };
  const Tensor before = channel_means(graph), after = channel_means(permuted.graph);
  EXPECT_FALSE(within(after, before, {1e-6, 1e-6}));
  EXPECT_TRUE(within(std::get<0>(after.sort()), std::get<0>(before.sort()), {1e-12, 1e-12}));
  EXPECT_FALSE(within(std::get<0>(channel_means(scaled.graph).sort()), std::get<0>(before.sort()), {1e-3, 1e-3}));
}

TEST(Rewrites, IgnoredBorderIsCutAway) {
  const Graph graph = test::random_network(Family::kConcat, 2);
  const Tensor x = Random(1).normal({2, 3, 12, 11});
  const Tensor inside = x.slice(2, 2, 10).slice(3, 2, 9);
  EXPECT_TRUE(within(output_of(with_ignored_border(graph, 2, true), x), output_of(graph, inside), {1e-13, 1e-13}));
}

TEST(Rewrites, ShiftedInputUndoesTheShift) {
  const Graph graph = test::random_network(Family::kResidual, 2);
  const Tensor x = Random(1).normal({2, 3, 8, 8}), shift = doubles({1, -2, 4}, {1, 3, 1, 1});
  EXPECT_TRUE(within(output_of(with_shifted_input(graph, shift), x + shift), output_of(graph, x), {1e-12, 1e-12}));
}

TEST(Rewrites, SymmetrizedModelAveragesBothPictures) {
  const Graph graph = test::random_network(Family::kDepthwise, 2);
  const Tensor x = Random(1).normal({2, 3, 6, 5});
  Tensor swapped = x.clone();
  swapped.select(3, 1).select(2, 2).copy_(x.select(3, 4).select(2, 5));
  swapped.select(3, 4).select(2, 5).copy_(x.select(3, 1).select(2, 2));
  const Graph both = symmetrized(graph, graph.outputs().front(), 2 * 5 + 1, 5 * 5 + 4, 6, 5, 3, true);
  const Tensor expected = (output_of(graph, x) + output_of(graph, swapped)) / 2;
  EXPECT_TRUE(within(output_of(both, x), expected, {1e-13, 1e-13}));
  EXPECT_TRUE(within(output_of(both, swapped), expected, {1e-13, 1e-13}));
}

TEST(Rewrites, CombinedClassIsTheWeightedSum) {
  const Graph graph = test::random_network(Family::kPlain, 2);
  const Tensor x = Random(1).normal({2, 3, 8, 8});
  const Tensor s = output_of(graph, x);
  const Tensor expected = at::cat({s, (0.75 * s.select(1, 3) - 0.5 * s.select(1, 1)).unsqueeze(1)}, 1);
  const Graph merged = with_combined_class(graph, graph.outputs().front(), 4, 3, 1, 0.75, -0.5);
  EXPECT_EQ(merged.nodes().size(), graph.nodes().size());
  EXPECT_TRUE(within(output_of(merged, x), expected, {1e-13, 1e-13}));
}

TEST(Rewrites, CombinedClassWithoutAGemmIsAppended) {
  test::LayerBuilder b(1);
  b.conv("c", "x", 3);
  b.node("GlobalAveragePool", "pool", {"c"});
  b.node("Flatten", "flat", {"pool"});
  b.node("Relu", "scores", {"flat"});
  const Graph graph = b.finish("scores");
  const Tensor x = Random(1).normal({2, 3, 8, 8}), s = output_of(graph, x);
  const Graph wider = with_combined_class(graph, graph.find("scores"), 3, 0, 2, 2, 1);
  EXPECT_TRUE(
      within(output_of(wider, x), at::cat({s, (2 * s.select(1, 0) + s.select(1, 2)).unsqueeze(1)}, 1), {1e-13, 1e-13}));
}

TEST(Rewrites, CappedScoresStopAtTheCap) {
  const Graph graph = test::random_network(Family::kPlain, 2);
  const Tensor x = Random(1).normal({2, 3, 8, 8}), s = output_of(graph, x);
  const double cap = s.median().item<double>();
  EXPECT_TRUE(
      within(output_of(with_capped_scores(graph, graph.outputs().front(), cap), x), s.clamp_max(cap), {1e-13, 1e-13}));
}

}  // namespace
}  // namespace pellucid
