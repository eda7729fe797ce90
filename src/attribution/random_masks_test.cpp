// RISE, Sobol and HSIC: fixture F8, scores whose indices are known, and literal second implementations.

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/error.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

/// Class 0 is the sum of weights [H,W] times pixels.
Graph linear_graph(const Tensor& weights) {
  LayerBuilder b(1, {-1, 1, weights.size(0), weights.size(1)});
  b.node("Flatten", "flat", {"x"});
  const Tensor w = weights.flatten();
  b.gemm_with("logits", "flat", at::stack({w, at::zeros_like(w)}), at::zeros({2}, at::kDouble));
  return b.finish("logits");
}

/// Class 0 is the product of the first two pixels of [1,1,2].
Graph product_graph() {
  LayerBuilder b(1, {-1, 1, 1, 2});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("first", "flat", doubles({1, 0}, {1, 2}));
  b.gemm_with("second", "flat", doubles({0, 1}, {1, 2}));
  b.graph.node("Mul", {"first", "second"}, {"product"}, {}, "product_node");
  b.gemm_with("logits", "product", doubles({1, 0}, {2, 1}));
  return b.finish("logits");
}

Attribution explain(const Explainer& n, const std::string& method, const std::map<std::string, Tensor>& injected = {},
                    uint64_t seed = 0) {
  Context context = n.context("0");
  context.injected = injected;
  context.seed = seed;
  return attribute(MethodCall::parse(method), context);
}

/// All binary masks of `pixels` pixels, [2^pixels,pixels].
Tensor all_masks(int64_t pixels) {
  const Tensor index = at::arange(int64_t{1} << pixels, at::kLong).unsqueeze(1);
  const Tensor bit = at::pow(2, at::arange(pixels, at::kLong)).unsqueeze(0);
  return index.div(bit, "floor").remainder(2).to(at::kDouble);
}

// F8: contributions 4, 3, 2, 1 and p = 1/2 give 5 + c / 2; centred, the contributions themselves.
TEST(Rise, LinearScoreOverAllMasks) {
  const Explainer n(linear_graph(doubles({4, 3, 2, 1}, {2, 2})), at::ones({1, 1, 2, 2}, at::kDouble));
  const std::map<std::string, Tensor> masks{{"masks", all_masks(4).view({16, 2, 2})}};
  const Tensor expected = doubles({7, 6.5, 6, 5.5}, {1, 2, 2});
  EXPECT_TRUE(within(explain(n, "rise:score=logit", masks).values, expected, kExact));
  EXPECT_TRUE(within(explain(n, "rise:score=logit,divisor=expected", masks).values, expected, kExact));
  EXPECT_TRUE(
      within(explain(n, "rise:score=logit,centered=true", masks).values, doubles({4, 3, 2, 1}, {1, 2, 2}), kExact));
}

TEST(Rise, StandardErrorsAreThoseOfTheirEstimators) {
  const Explainer n(linear_graph(Random(1).normal({2, 2})), Random(2).normal({1, 1, 2, 2}));
  const Tensor m = Random(3).uniform({50, 2, 2});
  const Tensor f = n.logits((m * n.input[0][0]).unsqueeze(1)).select(1, 0);
  const Tensor mf = f.view({50, 1, 1}) * m;
  // Mean of f M over p: its deviation over root N. Ratio of means: the deviation of f M - S M over the mean of M.
  const Attribution expected = explain(n, "rise:score=logit,divisor=expected", {{"masks", m}});
  EXPECT_TRUE(within(expected.extra.at("standard-error")[0], mf.std(0, false) / std::sqrt(50.0) / 0.5, kExact));
  const Attribution covered = explain(n, "rise:score=logit", {{"masks", m}});
  const Tensor left = mf - covered.values[0] * m;
  EXPECT_TRUE(within(covered.extra.at("standard-error")[0], left.square().mean(0).sqrt() / std::sqrt(50.0) / m.mean(0),
                     kExact));
  EXPECT_NEAR(covered.diagnostics[0].at("max_standard_error"), covered.extra.at("standard-error").max().item<double>(),
              1e-12);
}

/// The published masks, pixel by pixel: cells brought up to (s + 1) cells of ceil(H / s) pixels, then a random crop.
Tensor literal_mask(Random& random, int64_t size, int64_t s, double p) {
  const int64_t cell = (size + s - 1) / s, large = (s + 1) * cell;
  const Tensor cells = random.uniform({s, s}).lt(p).to(at::kDouble);
  const auto y0 = static_cast<int64_t>(random.uniform({1}).item<double>() * static_cast<double>(cell));
  const auto x0 = static_cast<int64_t>(random.uniform({1}).item<double>() * static_cast<double>(cell));
  const auto source = [&](int64_t at) {
    const double c = (static_cast<double>(at) + 0.5) * static_cast<double>(s) / static_cast<double>(large) - 0.5;
    return std::min(std::max(c, 0.0), static_cast<double>(s - 1));
  };
  Tensor mask = at::zeros({size, size}, at::kDouble);
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const double v = source(y + y0), u = source(x + x0);
      const auto top = static_cast<int64_t>(v), left = static_cast<int64_t>(u);
      const int64_t bottom = std::min(top + 1, s - 1), right = std::min(left + 1, s - 1);
      const double a = v - static_cast<double>(top), b = u - static_cast<double>(left);
      mask[y][x] = (1 - a) * ((1 - b) * cells[top][left] + b * cells[top][right]) +
                   a * ((1 - b) * cells[bottom][left] + b * cells[bottom][right]);
    }
  }
  return mask;
}

// The map of a linear score is an expectation over masks: ours and a literal drawing of them must meet.
TEST(Rise, OwnMasksHaveThePublishedDistribution) {
  const Tensor w = Random(1).normal({6, 6});
  const Explainer n(linear_graph(w), at::ones({1, 1, 6, 6}, at::kDouble));
  const Attribution a = explain(n, "rise:score=logit,samples=4000,grid=3,probability=0.3,divisor=expected");
  Random random(77);
  TensorList masks;
  for (int i = 0; i < 1500; ++i) masks.push_back(literal_mask(random, 6, 3, 0.3));
  const Tensor m = at::stack(masks), mf = (m * w).sum({1, 2}, true) * m / 0.3;
  const Tensor error = (mf.var(0) / 1500 + a.extra.at("standard-error")[0].square()).sqrt();
  EXPECT_LT(((a.values[0] - mf.mean(0)).abs() / error).max().item<double>(), 4.5);
}

TEST(Rise, ConstantScoreGivesTheScore) {
  const Explainer n(linear_graph(at::zeros({6, 6}, at::kDouble)), Random(1).normal({1, 1, 6, 6}));
  const Attribution a = explain(n, "rise:samples=50");
  EXPECT_TRUE(within(a.values, at::full({1, 6, 6}, 0.5, at::kDouble), kExact));
  EXPECT_FALSE(a.zero_is_neutral);
  EXPECT_FALSE(a.is_signed);
}

TEST(Rise, RefusesMasksOfAnotherSize) {
  const Explainer n(linear_graph(at::zeros({6, 6}, at::kDouble)), Random(1).normal({1, 1, 6, 6}));
  expect_error(ErrorKind::kUsage, "rise: injected masks have shape [4,6,5]; [n,6,6] was expected", [&] {
    explain(n, "rise", {{"masks", at::ones({4, 6, 5})}});
  });
  expect_error(ErrorKind::kUsage, "rise: fill is 'black+white'; one fill alone was expected",
               [&] { explain(n, "rise:fill=black+white"); });
}

// f = sum a_i m_i of independent uniform m: the share of cell i is a_i^2 / sum a^2.
TEST(Sobol, AdditiveScoreSharesItsVariance) {
  const Tensor a = doubles({4, 3, 2, 1}, {2, 2});
  const Explainer n(linear_graph(a), at::ones({1, 1, 2, 2}, at::kDouble));
  const Attribution result = explain(n, "sobol:samples=4096,grid=2,score=logit");
  EXPECT_TRUE(within(result.values[0], a.square() / a.square().sum(), {2e-3, 2e-3}));
  EXPECT_EQ(result.diagnostics[0].at("passes"), 4096 * 6);
  // The default's 32 points per cell.
  EXPECT_TRUE(within(explain(n, "sobol:grid=2,score=logit").values[0], a.square() / a.square().sum(), {0.15, 0.15}));
}

// f = m1 m2: Var f = 1/9 - 1/16, Var E[f|m2] = 1/48, so each cell's total index is 1 - 3/7.
TEST(Sobol, CountsInteractionsForBoth) {
  const Explainer n(product_graph(), at::ones({1, 1, 1, 2}, at::kDouble));
  const Attribution a = explain(n, "sobol:samples=4096,grid=2,score=logit");
  EXPECT_TRUE(within(a.values[0], doubles({4.0 / 7, 4.0 / 7}, {1, 2}), {3e-3, 3e-3}));
}

TEST(Sobol, IsJansensEstimatorOnAGivenDesign) {
  const Tensor w = Random(1).normal({4, 4});
  const Explainer n(linear_graph(w), Random(2).normal({1, 1, 4, 4}));
  const Tensor design = Random(3).uniform({5, 8});
  const auto f = [&](const Tensor& cells) {
    const Tensor mask = at::upsample_nearest2d(cells.view({1, 1, 2, 2}), {4, 4});
    return n.logits(n.input * mask)[0][0].item<double>();
  };
  const Tensor a = design.narrow(1, 0, 4), b = design.narrow(1, 4, 4);
  std::vector<double> all;
  for (int64_t j = 0; j < 5; ++j) all.insert(all.end(), {f(a[j]), f(b[j])});
  const double variance = doubles(all, {10}).var(false).item<double>();
  Tensor expected = at::zeros({4}, at::kDouble);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      Tensor c = a[j].clone();
      c[i] = b[j][i];
      expected[i] += std::pow(f(a[j]) - f(c), 2) / (2 * 5 * variance);
    }
  }
  const Attribution result = explain(n, "sobol:grid=2,score=logit", {{"design", design}});
  EXPECT_TRUE(within(result.values.flatten(), expected, kExact));
  EXPECT_TRUE(within(result.map, upsample_map(result.values, 4, 4), kExact));
}

TEST(Hsic, IsTheTraceOfItsDefinition) {
  const Tensor w = Random(1).normal({2, 2});
  const Explainer n(linear_graph(w), Random(2).normal({1, 1, 2, 2}));
  const int64_t count = 300;  // more than the block that sums are taken by
  const Tensor m = Random(3).uniform({count, 4}).round();
  const Tensor y = n.logits(m.view({count, 1, 2, 2}) * n.input).select(1, 0);
  const Tensor distance = (y.unsqueeze(1) - y.unsqueeze(0)).abs();
  const Tensor eye = at::eye(count, at::TensorOptions(at::kDouble));
  const Tensor h = eye - 1.0 / static_cast<double>(count);
  const auto trace = [&](double width) {
    const Tensor l = at::exp(-distance.square() / (2 * width * width));
    TensorList values;
    for (int64_t i = 0; i < 4; ++i) {
      const Tensor k = 0.5 - (m.select(1, i).unsqueeze(1) - m.select(1, i).unsqueeze(0)).square();
      values.push_back(at::trace(at::matmul(at::matmul(k, h), at::matmul(l, h))) / static_cast<double>(count));
    }
    return at::stack(values);
  };
  const Tensor pairs = distance.masked_select(at::ones({count, count}, at::kBool).triu(1));
  EXPECT_TRUE(within(explain(n, "hsic:grid=2,score=logit", {{"design", m}}).values.flatten(),
                     trace(at::median(pairs).item<double>()), {1e-9, 1e-9}));
  EXPECT_TRUE(within(explain(n, "hsic:grid=2,score=logit,width=median", {{"design", m}}).values.flatten(),
                     trace(at::quantile(y, 0.5).item<double>()), {1e-9, 1e-9}));
}

TEST(Hsic, FindsTheOneCellThatMatters) {
  Tensor w = at::zeros({4, 4}, at::kDouble);
  w[1][2] = 1;
  const Explainer n(linear_graph(w), at::ones({1, 1, 4, 4}, at::kDouble));
  const Tensor values = explain(n, "hsic:grid=4,score=logit").values[0];
  EXPECT_EQ(values.argmax().item<int64_t>(), 6);
  // Among 15 cells without influence N HSIC / N is a chi-square over N; 4 of 500 would be one in two thousand.
  const Tensor others = values.flatten().index_select(0, w.flatten().eq(0).nonzero().squeeze(1));
  EXPECT_LT(others.max().item<double>(), values.max().item<double>() * 0.05);
}

TEST(Hsic, DoesNotChangeWhenTheScoreIsScaledAndShifted) {
  const Tensor w = Random(1).normal({4, 4}), x = Random(2).normal({1, 1, 4, 4});
  const Tensor once = explain(Explainer(linear_graph(w), x), "hsic:grid=4,score=logit").values;
  const Tensor thrice = explain(Explainer(linear_graph(w * 3), x), "hsic:grid=4,score=logit").values;
  EXPECT_TRUE(within(thrice, once, {1e-9, 1e-9}));
}

TEST(Fills, AreRefusedByNameWithWhatTheMethodTakes) {
  const Explainer n(linear_graph(Random(1).normal({4, 4})), Random(2).normal({1, 1, 4, 4}));
  const std::string plain = "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA] or noise[:SEED]";
  for (const std::string owner : {"rise", "sobol", "hsic"}) {
    expect_error(ErrorKind::kUsage, owner + ": fill is 'red'; it must be " + plain,
                 [&] { n.explain(owner + ":fill=red,samples=2", "0"); });
  }
  const std::string most = "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED] or ";
  expect_error(ErrorKind::kUsage, "lime: fill is 'red'; it must be " + most + "segments",
               [&] { n.explain("lime:fill=red", "0"); });
  expect_error(ErrorKind::kUsage, "occlusion: fill is 'red'; it must be " + most + "inpaint",
               [&] { n.explain("occlusion:fill=red", "0"); });
}

// A score that is zero under most masks has a median of 0, which is no width.
TEST(Hsic, MedianScoreOfZeroIsNoWidth) {
  Tensor w = at::zeros({4, 4}, at::kDouble);
  w[0][0] = 1;
  const Explainer n(linear_graph(w), at::ones({1, 1, 4, 4}, at::kDouble));
  const Tensor m = doubles({1, 0, 0, 1, /**/ 0, 1, 0, 0, /**/ 0, 1, 1, 1, /**/ 0, 0, 1, 0, /**/ 0, 1, 1, 0}, {5, 4});
  const Tensor values = explain(n, "hsic:grid=2,score=logit,width=median", {{"design", m}}).values[0];
  EXPECT_TRUE(at::isfinite(values).all().item<bool>());
  EXPECT_EQ(values.argmax().item<int64_t>(), 0);
}

}  // namespace
}  // namespace pellucid::test
