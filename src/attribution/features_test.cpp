// Methods on features: fixtures F7 and F8, linear scores, and literal second implementations.

#include "attribution/features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "attribution/linear_regression.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

/// Two classes on pictures [N,1,1,players]: class 0 is second . relu(first x + bias), class 1 is 0.
Graph two_layers(const Tensor& first, const Tensor& bias, const Tensor& second) {
  LayerBuilder b(1, {-1, 1, 1, first.size(1)});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("hidden", "flat", first, bias);
  b.graph.node("Relu", {"hidden"}, {"active"}, {}, "active_node");
  b.gemm_with("logits", "active", at::stack({second, at::zeros_like(second)}), at::zeros({2}, at::kDouble));
  return b.finish("logits");
}

Graph and_graph() { return two_layers(doubles({1, 1}, {1, 2}), doubles({-1}, {1}), doubles({1}, {1})); }
/// max(a, b) = relu(a - b) + relu(b) for b >= 0.
Graph max_graph() { return two_layers(doubles({1, -1, 0, 1}, {2, 2}), doubles({0, 0}, {2}), doubles({1, 1}, {2})); }
Graph random_graph(int64_t players, uint64_t seed) {
  Random random(seed);
  return two_layers(random.normal({6, players}), random.normal({6}), random.normal({6}));
}
/// w . x + 3 on every pixel.
Graph linear_graph(const Tensor& weights) {
  LayerBuilder b(1, {-1, 1, 1, weights.size(0)});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", at::stack({weights, at::zeros_like(weights)}), doubles({3, 0}, {2}));
  return b.finish("logits");
}

Tensor picture(const std::vector<double>& pixels) {
  return doubles(pixels, {1, 1, 1, static_cast<int64_t>(pixels.size())});
}
Tensor one_each(int64_t players) { return at::arange(players, at::kLong).view({1, 1, players}); }

Attribution explain(const Explainer& n, const std::string& method, const std::map<std::string, Tensor>& injected = {}) {
  Context context = n.context("0");
  context.regions = one_each(n.input.size(3));
  context.injected = injected;
  return attribute(MethodCall::parse(method), context);
}

/// Every permutation, by the definition.
Tensor shapley_by_definition(const Explainer& n) {
  const int64_t m = n.input.size(3);
  std::vector<int64_t> order(static_cast<size_t>(m));
  std::iota(order.begin(), order.end(), 0);
  Tensor sum = at::zeros({m}, at::kDouble);
  int64_t count = 0;
  do {
    Tensor x = at::zeros_like(n.input);
    double before = n.logits(x)[0][0].item<double>();
    for (const int64_t i : order) {
      x.select(3, i).copy_(n.input.select(3, i));
      const double after = n.logits(x)[0][0].item<double>();
      sum[i] += after - before;
      before = after;
    }
    ++count;
  } while (std::next_permutation(order.begin(), order.end()));
  return sum / static_cast<double>(count);
}

// F7: AND at (1,1) from (0,0) and max at (3,1).
TEST(Interactions, AreSharedByShapleyValuesAndDoubledByAblation) {
  const Explainer both(and_graph(), picture({1, 1})), larger(max_graph(), picture({3, 1}));
  EXPECT_TRUE(within(explain(both, "feature-ablation:fill=zero").values, doubles({1, 1}, {1, 1, 2}), kExact));
  EXPECT_TRUE(within(explain(larger, "feature-ablation:fill=zero").values, doubles({2, 0}, {1, 1, 2}), kExact));
  for (const std::string method : {"kernel-shap:fill=zero", "shapley-sampling:samples=2,fill=zero"}) {
    EXPECT_TRUE(within(explain(both, method).values, doubles({0.5, 0.5}, {1, 1, 2}), kExact)) << method;
    EXPECT_TRUE(within(explain(larger, method).values, doubles({2.5, 0.5}, {1, 1, 2}), kExact)) << method;
  }
}

TEST(KernelShap, WithAllCoalitionsIsTheShapleyValue) {
  for (const int64_t players : {1, 2, 3, 5, 6}) {
    const Explainer n(random_graph(players, 4), Random(5).normal({1, 1, 1, players}));
    const Attribution a = explain(n, "kernel-shap:fill=zero");
    EXPECT_EQ(a.diagnostics[0].at("exact"), 1);
    EXPECT_EQ(a.diagnostics[0].at("passes"), static_cast<double>(int64_t{1} << players));
    EXPECT_TRUE(within(a.values.flatten(), shapley_by_definition(n), kExact)) << players;
  }
}

TEST(KernelShap, GivesNothingToADummyAndSumsToTheChange) {
  const Graph graph = two_layers(doubles({1, 2, 0, -1, 1, 0}, {2, 3}), doubles({0.5, -0.5}, {2}), doubles({1, 2}, {2}));
  const Explainer n(graph, picture({1, -2, 5}));
  for (const std::string method : {"kernel-shap:fill=zero", "shapley-sampling:samples=4,fill=zero"}) {
    const Attribution a = explain(n, method);
    EXPECT_NEAR(a.values[0][0][2].item<double>(), 0, 1e-12) << method;
    const double change = (n.logits(n.input) - n.logits(at::zeros_like(n.input)))[0][0].item<double>();
    EXPECT_NEAR(a.values.sum().item<double>(), change, 1e-12) << method;
    EXPECT_NEAR(a.diagnostics[0].at("score_kept") - a.diagnostics[0].at("score_removed"), change, 1e-12);
  }
}

// Every coalition of an additive game says the same, so that those drawn suffice; 2^20 are never looked at.
TEST(KernelShap, IsExactOnLinearScoresWhateverIsDrawn) {
  const Tensor w = Random(1).normal({20});
  const Explainer n(linear_graph(w), Random(2).normal({1, 1, 1, 20}));
  const Attribution a = explain(n, "kernel-shap:fill=zero,samples=120");
  EXPECT_EQ(a.diagnostics[0].at("exact"), 0);
  EXPECT_EQ(a.diagnostics[0].at("passes"), 122);
  EXPECT_TRUE(within(a.values.flatten(), w * n.input.flatten(), {1e-9, 1e-9}));
}

// Two thirds of the way to all coalitions, sizes enumerated and drawn; over seeds the mean comes within its error.
TEST(KernelShap, IsUnbiasedWhenCoalitionsAreDrawn) {
  const Explainer n(random_graph(7, 8), Random(9).normal({1, 1, 1, 7}));
  TensorList runs;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Context context = n.context("0");
    context.regions = one_each(7);
    context.seed = seed;
    runs.push_back(attribute(MethodCall::parse("kernel-shap:fill=zero,samples=40"), context).values.flatten());
  }
  const Tensor all = at::stack(runs), truth = shapley_by_definition(n);
  const Tensor error = all.std(0) / std::sqrt(40.0);
  EXPECT_GT(error.max().item<double>(), 1e-6);
  EXPECT_LT(((all.mean(0) - truth).abs() / (error + 1e-3)).max().item<double>(), 4);
}

TEST(KernelShap, SaysWhenCoalitionsDoNotDetermineTheValues) {
  const Explainer n(linear_graph(Random(1).normal({20})), Random(2).normal({1, 1, 1, 20}));
  const Attribution a = explain(n, "kernel-shap:samples=4");
  ASSERT_EQ(a.notes[0].size(), 2u);
  EXPECT_EQ(a.notes[0][1], "kernel-shap: 4 coalitions do not determine 20 values; the solution of least norm is shown");
}

TEST(ShapleySampling, AllPermutationsGiveTheValueAndTwoItsStandardError) {
  const Explainer n(random_graph(3, 4), Random(5).normal({1, 1, 1, 3}));
  const Tensor all = doubles({0, 1, 2, 0, 2, 1, 1, 0, 2, 1, 2, 0, 2, 0, 1, 2, 1, 0}, {6, 3});
  const Attribution a = explain(n, "shapley-sampling:fill=zero", {{"permutations", all}});
  EXPECT_TRUE(within(a.values.flatten(), shapley_by_definition(n), kExact));
  const auto of_rows = [&](int64_t begin, int64_t count) {
    return explain(n, "shapley-sampling:fill=zero", {{"permutations", all.narrow(0, begin, count)}});
  };
  const Tensor first = of_rows(0, 1).values, second = of_rows(1, 1).values;
  // Two values u, v: deviation |u - v| / sqrt(2), error of the mean |u - v| / 2.
  EXPECT_TRUE(within(of_rows(0, 2).extra.at("standard-error"), (first - second).abs() / 2, kExact));
  EXPECT_EQ(of_rows(0, 1).extra.count("standard-error"), 0u);
}

TEST(ShapleySampling, OwnPermutationsComeWithinTheirStandardErrors) {
  const Explainer n(random_graph(6, 11), Random(12).normal({1, 1, 1, 6}));
  const Tensor truth = shapley_by_definition(n);
  for (const std::string antithetic : {"true", "false"}) {
    const Attribution a = explain(n, "shapley-sampling:samples=400,fill=zero,antithetic=" + antithetic);
    const Tensor error = a.extra.at("standard-error").flatten();
    EXPECT_LT(((a.values.flatten() - truth).abs() / (error + 1e-9)).max().item<double>(), 4) << antithetic;
    EXPECT_NEAR(a.diagnostics[0].at("max_standard_error"), error.max().item<double>(), 1e-12);
  }
}

TEST(ShapleySampling, RefusesWhatIsNoPermutation) {
  const Explainer n(random_graph(3, 4), Random(5).normal({1, 1, 1, 3}));
  expect_error(ErrorKind::kUsage, "shapley-sampling: injected permutations: row 0 is no permutation of 0..2", [&] {
    explain(n, "shapley-sampling", {{"permutations", doubles({0, 0, 2}, {1, 3})}});
  });
  expect_error(ErrorKind::kUsage, "shapley-sampling: injected permutations have shape [1,2]; [n,3] was expected", [&] {
    explain(n, "shapley-sampling", {{"permutations", doubles({0, 1}, {1, 2})}});
  });
}

// F8: contributions 4, 3, 2, 1.
TEST(LinearScore, GivesEachFeatureItsContribution) {
  const Explainer n(linear_graph(doubles({4, 3, 2, 1}, {4})), picture({1, 1, 1, 1}));
  const Tensor c = doubles({4, 3, 2, 1}, {1, 1, 4});
  EXPECT_TRUE(within(explain(n, "feature-ablation:fill=zero").values, c, kExact));
  EXPECT_TRUE(within(explain(n, "kernel-shap:fill=zero").values, c, kExact));
  const Attribution sampled = explain(n, "shapley-sampling:fill=zero,samples=6");
  EXPECT_TRUE(within(sampled.values, c, kExact));
  EXPECT_NEAR(sampled.diagnostics[0].at("max_standard_error"), 0, 1e-12);
  const Attribution lime = explain(n, "lime:fill=zero,score=logit,samples=200,ridge_penalty=0");
  EXPECT_TRUE(within(lime.values, c, {1e-9, 1e-9}));
  EXPECT_NEAR(lime.diagnostics[0].at("r2"), 1, 1e-12);
  EXPECT_NEAR(lime.diagnostics[0].at("intercept"), 3, 1e-9);
  EXPECT_NEAR(lime.diagnostics[0].at("surrogate_prediction"), 13, 1e-9);
}

/// Weighted ridge with a free intercept as one system of M + 1 equations.
Tensor ridge_by_definition(const Tensor& z, const Tensor& y, double width, double penalty) {
  const int64_t m = z.size(1);
  const Tensor cosine = z.sum(1) / ((z.square().sum(1) * static_cast<double>(m)).sqrt() + 1e-300);
  const Tensor d = 1 - cosine, weight = at::exp(-(d * d) / (width * width)).sqrt();
  const Tensor a = at::cat({z, at::ones({z.size(0), 1}, at::kDouble)}, 1);
  Tensor normal = at::matmul(a.t(), a * weight.unsqueeze(1));
  for (int64_t i = 0; i < m; ++i) normal[i][i] += penalty;
  return at::linalg_solve(normal, at::mv(a.t(), weight * y));
}

TEST(Lime, IsTheWeightedRidgeOfItsDefinition) {
  const Explainer n(random_graph(4, 3), Random(4).normal({1, 1, 1, 4}));
  const Tensor z = Random(5).uniform({30, 4}).round();
  const Tensor y = n.logits(z.view({30, 1, 1, 4}) * n.input).select(1, 0);
  for (const double penalty : {1.0, 0.1}) {
    const Attribution a =
        explain(n, "lime:fill=zero,score=logit,ridge_penalty=" + number_text(penalty), {{"coalitions", z}});
    const Tensor expected = ridge_by_definition(z, y, 0.25, penalty);
    EXPECT_TRUE(within(a.values.flatten(), expected.narrow(0, 0, 4), kExact));
    EXPECT_NEAR(a.diagnostics[0].at("intercept"), expected[4].item<double>(), 1e-10);
  }
}

// The conditions of optimality: |gradient| <= penalty where w is 0, gradient = -penalty sign(w) elsewhere.
TEST(Lime, LassoMeetsItsConditionsOfOptimality) {
  const Explainer n(random_graph(6, 3), Random(4).normal({1, 1, 1, 6}));
  const Tensor z = Random(5).uniform({60, 6}).round();
  const double penalty = 0.05;
  const Attribution a =
      explain(n, "lime:fill=zero,score=logit,surrogate=lasso,lasso_penalty=0.05", {{"coalitions", z}});
  const Tensor w = a.values.flatten(), y = n.logits(z.view({60, 1, 1, 6}) * n.input).select(1, 0);
  const Tensor d = 1 - (z.sum(1) / 6).sqrt(), weight = at::exp(-d * d / (2 * 0.25 * 0.25));
  const Tensor left = y - at::mv(z, w) - a.diagnostics[0].at("intercept");
  EXPECT_NEAR((weight * left).sum().item<double>(), 0, 1e-9);
  const Tensor gradient = at::mv(z.t(), weight * left) / weight.sum();
  const int64_t zeros = w.eq(0).sum().item<int64_t>();
  EXPECT_GT(zeros, 0);
  EXPECT_LT(zeros, 6);
  EXPECT_EQ(a.diagnostics[0].at("nonzero"), static_cast<double>(6 - zeros));
  for (int64_t i = 0; i < 6; ++i) {
    const double g = gradient[i].item<double>(), v = w[i].item<double>();
    if (v == 0) {
      EXPECT_LE(std::abs(g), penalty + 1e-9) << i;
    } else {
      EXPECT_NEAR(g, penalty * (v > 0 ? 1 : -1), 1e-9) << i;
    }
  }
}

TEST(LinearRegression, SingularSystemsGetTheSolutionOfLeastNorm) {
  bool singular = false;
  const Tensor w = solve_normal_equations(doubles({1, 1, 1, 1}, {2, 2}), doubles({2, 2}, {2}), &singular);
  EXPECT_TRUE(singular);
  EXPECT_TRUE(within(w, doubles({1, 1}, {2}), kExact));
}

TEST(Features, DefaultIsAGridOfAboutFiftyWhereNobodySegments) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 20, 30}));
  const Context context = n.context("0");
  const Features f = features_of(context, "lime", "slic", 0);
  EXPECT_EQ(f.source, "grid:3");
  EXPECT_EQ(f.count, 7 * 10);
  EXPECT_EQ(f.labels[19][29].item<int64_t>(), 69);
  EXPECT_EQ(f.labels[5][8].item<int64_t>(), 12);
  EXPECT_EQ(features_of(context, "lime", "grid:10", 0).count, 6);
  EXPECT_EQ(features_of(context, "lime", "seeds:6", 0).source, "grid:10");
}

TEST(Features, AskTheSegmenterForDisplayColors) {
  ModelCard card;
  card.mean = {10, 20, 30};
  card.std = {2, 2, 2};
  const Explainer n(random_network(Family::kResidual, 1), Random(1).normal({2, 3, 4, 6}), in_float64(), card);
  Context context = n.context("0");
  Tensor seen;
  std::string spec;
  context.segmenter = [&](const Tensor& display, const std::string& text) {
    seen = display;
    spec = text;
    return at::tensor({7, 7, 3, 3, 9, 9}, at::TensorOptions(at::kLong)).expand({4, 6});
  };
  const Features f = features_of(context, "lime", "slic:5", 1);
  EXPECT_EQ(spec, "slic:5");
  EXPECT_TRUE(within(seen, n.card.display_from_model(n.input)[1], kExact));
  EXPECT_EQ(f.count, 3);
  EXPECT_TRUE(f.labels[0].equal(at::tensor({1, 1, 0, 0, 2, 2}, at::TensorOptions(at::kLong))));
  EXPECT_TRUE(paint(f, doubles({5, 6, 7}, {3}))[2].equal(doubles({6, 6, 5, 5, 7, 7}, {6})));
}

TEST(Features, RefuseWhatTheyCannotUse) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 20, 30}));
  Context context = n.context("0");
  for (const std::string bad : {"slick", "slic:", "grid:0", "seeds:-3", "grid:x"}) {
    expect_error(ErrorKind::kUsage,
                 "lime: segments is '" + bad + "'; it must be slic[:SIZE], seeds[:COUNT] or grid[:SIZE] (default slic)",
                 [&] { features_of(context, "lime", bad, 0); });
  }
  context.regions = at::zeros({1, 20, 29}, at::kLong);
  expect_error(ErrorKind::kUsage, "lime: the regions have shape [1,20,29]; [1,20,30] was expected",
               [&] { features_of(context, "lime", "slic", 0); });
  const Explainer large(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 70, 70}));
  expect_error(ErrorKind::kUsage, "lime: grid:1 gives 4900 features; at most 4096 were expected",
               [&] { features_of(large.context("0"), "lime", "grid:1", 0); });
}

TEST(Features, FillWithSegmentsIsEachSegmentsMeanColor) {
  const Tensor x = Random(1).normal({1, 3, 4, 6});
  const Explainer n(random_network(Family::kResidual, 1), x);
  const Context context = n.context("0");
  const Features f = features_of(context, "lime", "grid:2", 0);
  const Tensor expected = at::upsample_nearest2d(at::avg_pool2d(x, {2, 2}), {4, 6});
  EXPECT_TRUE(within(feature_fill(context, "lime", "segments", 0, f), expected, kExact));
}

class CountingProgress : public Progress {
 public:
  explicit CountingProgress(int stop_after) : stop_after_(stop_after) {}
  void report(double done, double total, const std::string&) override {
    EXPECT_LE(done, total);
    EXPECT_GE(done, last_);
    last_ = done;
    if (++reports == stop_after_) cancel();
  }
  int reports = 0;

 private:
  int stop_after_;
  double last_ = 0;
};

// A budget of one byte leaves one picture to a pass; numbers stay the same, progress grows, cancelling stops.
TEST(Features, StreamWithinTheMemoryBudgetAndStopWhenAsked) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({2, 3, 12, 12}));
  for (const std::string method :
       {"lime:samples=20", "kernel-shap:samples=20", "shapley-sampling:samples=2", "feature-ablation",
        "rise:samples=20", "sobol:samples=2,grid=2", "hsic:samples=20,grid=2"}) {
    const MethodCall call = MethodCall::parse(method);
    Context context = n.context("0");
    const Tensor whole = attribute(call, context).values;
    context.memory_budget = 1;
    CountingProgress counting(-1);
    context.progress = &counting;
    EXPECT_TRUE(within(attribute(call, context).values, whole, {1e-9, 1e-9})) << method;
    EXPECT_GE(counting.reports, 20) << method;
    CountingProgress stopping(5);
    context.progress = &stopping;
    expect_error(ErrorKind::kInterrupted, "interrupted", [&] { attribute(call, context); });
    EXPECT_EQ(stopping.reports, 5) << method;
  }
}

// What completeness is judged by: the sum of the values, not of the map, and the change between the two ends of the
// game.
TEST(FeatureScores, SayWhatTheirValuesShouldSumTo) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({2, 3, 12, 12}));
  for (const std::string method : {"kernel-shap:samples=300", "shapley-sampling:samples=4", "feature-ablation"}) {
    const Attribution a = n.explain(
        method + std::string(method == "feature-ablation" ? ":" : ",") + "segments=grid:4,fill=zero,score=logit", "1");
    const Tensor change = (n.logits(n.input) - n.logits(at::zeros_like(n.input))).select(1, 1);
    for (int64_t i = 0; i < 2; ++i) {
      const auto& d = a.diagnostics[static_cast<size_t>(i)];
      const double expected = change[i].item<double>();
      EXPECT_NEAR(d.at("score_difference"), expected, 1e-10) << method;
      EXPECT_NEAR(d.at("attribution_sum"), a.map[i].sum().item<double>() / 16, 1e-9) << method;  // cells of 4 by 4
      if (method == "feature-ablation") continue;
      EXPECT_NEAR(d.at("attribution_sum"), expected, 1e-9) << method;
    }
  }
}

// The channels of a BGR model are put in order before anybody looks at colors.
TEST(Features, SegmentersSeeRgbPictures) {
  ModelCard card;
  card.order = ChannelOrder::kBgr;
  const Explainer n(random_network(Family::kResidual, 1), Random(1).normal({1, 3, 4, 6}), in_float64(), card);
  for (const std::string method : {"feature-ablation:segments=slic:3", "xrai:segments=slic:3,steps=1"}) {
    Context context = n.context("0");
    Tensor seen;
    context.segmenter = [&](const Tensor& display, const std::string&) {
      seen = display;
      return at::zeros({4, 6}, at::kLong);
    };
    attribute(MethodCall::parse(method), context);
    EXPECT_TRUE(within(seen, n.card.display_from_model(n.input)[0].flip({0}), kExact)) << method;
  }
}

TEST(KernelShap, TakesAsManyCoalitionsAsTheFeaturesCallFor) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 12, 12}));
  EXPECT_EQ(n.explain("kernel-shap:segments=grid:3", "0").diagnostics[0].at("passes"), 2 * 16 + 2048 + 2);
}

}  // namespace
}  // namespace pellucid::test
