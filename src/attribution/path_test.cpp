// Methods that add up gradients on a path: quadrature, Guided IG, Blur IG, Expected Gradients, layer gradients.

#include "attribution/path.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "attribution/baseline.h"
#include "pellucid/error.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

double score_at(const Explainer& n, const Tensor& picture) {
  return n.logits(picture.unsqueeze(0))[0][1].item<double>();
}
Tensor gradient_at(const Graph& graph, const Tensor& picture) {
  return Explainer(graph, picture.unsqueeze(0)).explain("gradient", "1").values[0];
}

/// S_1 = w . x.
Explainer linear_network(const Tensor& w, const Tensor& x) {
  LayerBuilder b(1, {-1, w.size(1), w.size(2), w.size(3)});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", w.flatten(1));
  return Explainer(b.finish("logits"), x);
}

// Nodes of three and five points, in closed form; the weights of n points integrate x^k to 1 / (k + 1) for k < 2n.
TEST(Quadrature, GaussLegendreIsExact) {
  const Quadrature three = quadrature("gauss-legendre", 3);
  EXPECT_NEAR(three.nodes[0], (1 - std::sqrt(0.6)) / 2, 1e-16);
  EXPECT_EQ(three.nodes[1], 0.5);
  EXPECT_NEAR(three.weights[0], 5.0 / 18, 1e-16);
  const Quadrature five = quadrature("gauss-legendre", 5);
  EXPECT_NEAR(five.nodes[4], (1 + std::sqrt(5 + 2 * std::sqrt(10.0 / 7)) / 3) / 2, 2e-16);
  for (const int64_t n : {1, 2, 7, 50, 51, 511, 512, 513, 1024, 1025, 100000}) {
    const Quadrature q = quadrature("gauss-legendre", n);
    ASSERT_EQ(q.nodes.size(), static_cast<size_t>(n));
    EXPECT_TRUE(std::is_sorted(q.nodes.begin(), q.nodes.end())) << n;
    EXPECT_GT(q.nodes.front(), 0);
    EXPECT_LT(q.nodes.back(), 1);
    for (size_t i = 0; i < q.nodes.size() && n <= 512; ++i) {
      EXPECT_NEAR(q.nodes[i] + q.nodes[q.nodes.size() - 1 - i], 1, 2e-16) << n;
    }
    for (const int64_t power : {int64_t{0}, int64_t{1}, n - 1, std::min<int64_t>(2 * n - 1, 1023)}) {
      long double sum = 0;
      for (size_t i = 0; i < q.nodes.size(); ++i) {
        sum += static_cast<long double>(q.weights[i]) * std::pow(static_cast<long double>(q.nodes[i]), power);
      }
      EXPECT_NEAR(static_cast<double>(sum), 1.0 / static_cast<double>(power + 1), 1e-14) << n << ", power " << power;
    }
  }
}

// 2 n nodes once took n^2 steps: minutes for 100000.
TEST(Quadrature, ManyNodesAreQuick) {
  const auto start = std::chrono::steady_clock::now();
  quadrature("gauss-legendre", 100000);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LT(elapsed.count(), 2);
}

/// Section "Guided IG" of the paper's algorithm, literally, with tensors and a sort for the quantile.
Tensor guided_reference(const Graph& graph, const Tensor& input, const Tensor& baseline, int64_t steps, double fraction,
                        double reach) {
  Tensor x = baseline.clone(), attribution = at::zeros_like(x);
  const double whole = (input - baseline).abs().sum().item<double>();
  for (int64_t s = 1; s <= steps; ++s) {
    const Tensor g = gradient_at(graph, x);
    const double alpha = static_cast<double>(s) / static_cast<double>(steps);
    const Tensor low = baseline + (input - baseline) * std::max(alpha - reach, 0.0);
    const Tensor high = alpha + reach >= 1 ? input : baseline + (input - baseline) * (alpha + reach);
    const double goal = whole * (1 - alpha);
    Tensor h = g.abs();
    while (true) {
      const Tensor old = x;
      const Tensor progress = (x - baseline) / (input - baseline);  // NaN where nothing moves: not behind
      x = at::where(progress < std::max(alpha - reach, 0.0), low, x);
      const double distance = (x - input).abs().sum().item<double>();
      if (std::abs(distance - goal) <= 1e-9 * std::max(1.0, whole)) {
        attribution = attribution + (x - old) * g;
        break;
      }
      h = at::where(x.eq(high), at::full_like(h, INFINITY), h);
      const Tensor sorted = std::get<0>(h.flatten().sort());
      const double q =
          sorted[static_cast<int64_t>(std::floor(fraction * static_cast<double>(h.numel() - 1)))].item<double>();
      const Tensor chosen = h.le(q).logical_and(h.isfinite());
      const double give = at::where(chosen, (x - high).abs(), at::zeros_like(x)).sum().item<double>();
      const double gamma = give > 0 ? (distance - goal) / give : INFINITY;
      x = at::where(chosen, gamma > 1 ? high : x + (high - x) * gamma, x);
      attribution = attribution + (x - old) * g;
      if (gamma <= 1) break;
    }
  }
  EXPECT_TRUE(within(x, input, {1e-9, 1e-9}));  // the path ends at the picture
  return attribution;
}

TEST(GuidedIg, EqualsALiteralImplementation) {
  for (const Family family : {Family::kPlain, Family::kSilu, Family::kResidual}) {
    const Graph graph = random_network(family, 2);
    const Tensor x = Random(3).normal({2, 3, 8, 9});
    x[0].select(0, 1).fill_(0);  // equal to the baseline
    const Explainer n(graph, x);
    for (const auto& [fraction, reach] : {std::pair{0.25, 0.02}, std::pair{0.1, 0.3}, std::pair{1.0, 1.0}}) {
      const std::string method = "guided-ig:steps=20,fraction=" + std::to_string(fraction) +
                                 ",max_dist=" + std::to_string(reach) + ",baseline=zero";
      const Attribution a = n.explain(method, "1");
      for (const int64_t i : {0, 1}) {
        const Tensor expected = guided_reference(graph, x[i], at::zeros_like(x[i]), 20, fraction, reach);
        EXPECT_TRUE(within(a.values[i], expected, {1e-8, 1e-8})) << method << " " << family_name(family);
        // All of the sum's steps are (x_new - x_old) g: nothing but the path's coarseness is left in the gap.
        EXPECT_NEAR(a.diagnostics[static_cast<size_t>(i)].at("score_difference"),
                    score_at(n, x[i]) - score_at(n, at::zeros_like(x[i])), 1e-9);
      }
    }
  }
}

// Without freedom the path is straight, and its gradients those at the beginning of each step.
TEST(GuidedIg, WithoutFreedomIsTheLeftRule) {
  const Explainer n(random_network(Family::kPlain, 1), Random(3).normal({2, 3, 8, 8}));
  EXPECT_TRUE(within(n.explain("guided-ig:steps=10,max_dist=0", "1").values,
                     n.explain("integrated-gradients:steps=10,rule=left", "1").values, {1e-6, 1e-6}));
}

TEST(GuidedIg, LinearScoreIsComplete) {
  const Tensor w = Random(1).normal({2, 3, 4, 5}), x = Random(2).normal({2, 3, 4, 5});
  const Explainer n = linear_network(w, x);
  EXPECT_TRUE(within(n.explain("guided-ig:steps=7,baseline=zero", "1").values, w[1] * x, {1e-8, 1e-8}));
  EXPECT_TRUE(
      within(n.explain("guided-ig:steps=7,baseline=black+white", "1").values, w[1] * (x - 127.5), {1e-8, 1e-8}));
}

// The gap of 200 steps is within 5 % (section 2.7 of the definition's tests).
TEST(GuidedIg, ManyStepsAreComplete) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Explainer n(random_network(Family::kSilu, seed), Random(seed + 3).normal({1, 3, 8, 8}));
    const auto d = n.explain("guided-ig:steps=400", "1").diagnostics[0];
    EXPECT_LE(std::abs(d.at("convergence_delta")), std::max(0.05 * std::abs(d.at("score_difference")), 5e-3)) << seed;
  }
}

TEST(GuidedIg, PictureEqualToTheBaselineIsBlank) {
  const Explainer n(random_network(Family::kPlain, 1), at::zeros({1, 3, 8, 8}, at::TensorOptions(at::kDouble)));
  EXPECT_EQ(n.explain("guided-ig:steps=4,baseline=zero", "1").values.abs().max().item<double>(), 0);
}

// w . x: the differences of the steps add up to x - blurred x whatever their number.
TEST(BlurIg, LinearScoreGivesWeightTimesLostDetail) {
  const Tensor w = Random(1).normal({2, 3, 9, 12}), x = Random(2).normal({2, 3, 9, 12});
  const Explainer n = linear_network(w, x);
  const Tensor expected = w[1] * (x - gaussian_blur(x, 4));
  for (const char* method :
       {"blur-ig:steps=1,sigma=4", "blur-ig:steps=9,sigma=4", "blur-ig:steps=9,sigma=4,spacing=sqrt"}) {
    const Attribution a = n.explain(method, "1");
    EXPECT_TRUE(within(a.values, expected, kExact)) << method;
    EXPECT_NEAR(a.diagnostics[0].at("convergence_delta"), 0, 1e-9) << method;
  }
  // 50 for 224 pixels is 2.678... for 12.
  EXPECT_TRUE(within(n.explain("blur-ig:steps=3", "1").values, w[1] * (x - gaussian_blur(x, 50.0 / 224 * 12)), kExact));
}

// The authors' code: left sum, forward difference of 0.01, nothing beyond the border.
TEST(BlurIg, LeftRuleEqualsALiteralImplementation) {
  const Graph graph = random_network(Family::kSilu, 2);
  const Tensor x = Random(3).normal({1, 3, 9, 10});
  const auto blurred = [&](double sigma) {
    if (sigma == 0) return x;
    // A dense kernel in two dimensions.
    const auto radius = static_cast<int64_t>(std::ceil(4 * sigma));
    const Tensor t = at::arange(-radius, radius + 1, at::kDouble);
    const Tensor line = at::exp(-t.square() / (2 * sigma * sigma));
    Tensor kernel = line.unsqueeze(1) * line.unsqueeze(0);
    kernel = (kernel / kernel.sum()).expand({3, 1, 2 * radius + 1, 2 * radius + 1});
    return at::conv2d(x, kernel, {}, 1, radius, 1, 3);
  };
  Tensor expected = at::zeros_like(x);
  for (int i = 0; i < 6; ++i) {
    const double sigma = 3.0 * i / 6;
    const Tensor slope = (blurred(sigma + 0.01) - blurred(sigma)) / 0.01;
    expected = expected - slope * gradient_at(graph, blurred(sigma)[0]) * (3.0 / 6);
  }
  const Explainer n(graph, x);
  EXPECT_TRUE(within(n.explain("blur-ig:steps=6,sigma=3,rule=left,border=zero", "1").values, expected, {1e-9, 1e-9}));
}

TEST(BlurIg, IsCompleteInTheLimit) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Tensor x = Random(seed + 3).normal({1, 3, 10, 10});
    const Explainer n(random_network(Family::kSilu, seed), x);
    const auto d = n.explain("blur-ig:steps=400,sigma=3", "1").diagnostics[0];
    EXPECT_NEAR(d.at("score_difference"), score_at(n, x[0]) - score_at(n, gaussian_blur(x, 3)[0]), 1e-9);
    EXPECT_NEAR(d.at("attribution_sum"), d.at("score_difference") + d.at("convergence_delta"), 1e-9);
    EXPECT_NEAR(d.at("convergence_delta"), 0, 1e-3 * std::max(1.0, std::abs(d.at("score_difference")))) << seed;
  }
}

TEST(BlurIg, ConstantPictureIsBlank) {
  const Explainer n(random_network(Family::kPlain, 1), at::full({1, 3, 8, 8}, 0.7, at::TensorOptions(at::kDouble)));
  EXPECT_LE(n.explain("blur-ig:steps=4", "1").values.abs().max().item<double>(), 1e-14);
}

Attribution expected_gradients(const Explainer& n, const std::string& method, const Tensor& background,
                               const std::map<std::string, Tensor>& injected = {}) {
  Context context = n.context("1");
  context.background = background;
  context.injected = injected;
  return attribute(MethodCall::parse(method), context);
}

// w . x: w (x - mean of the background), however many samples each picture of it gets.
TEST(ExpectedGradients, LinearScoreGivesWeightTimesDifferenceFromTheMean) {
  const Tensor w = Random(1).normal({2, 3, 4, 5}), x = Random(2).normal({2, 3, 4, 5});
  const Tensor background = Random(3).normal({7, 3, 4, 5});
  const Explainer n = linear_network(w, x);
  for (const char* samples : {"7", "10", "200"}) {
    const Attribution a = expected_gradients(n, std::string("expected-gradients:samples=") + samples, background);
    EXPECT_TRUE(within(a.values, w[1] * (x - background.mean(0)), kExact)) << samples;
    EXPECT_NEAR(a.diagnostics[0].at("convergence_delta"), 0, 1e-10);
    EXPECT_NEAR(a.diagnostics[0].at("gap_standard_error"), 0, 1e-10);
    EXPECT_NEAR(a.diagnostics[0].at("attribution_sum"), a.values[0].sum().item<double>(), 1e-9);
    EXPECT_NEAR(a.diagnostics[0].at("score_difference"), (w[1] * (x[0] - background.mean(0))).sum().item<double>(),
                1e-9);
  }
  // Without background pictures, the named baselines.
  EXPECT_TRUE(
      within(n.explain("expected-gradients:samples=8,baseline=black+white", "1").values, w[1] * (x - 127.5), kExact));
}

// One baseline and positions at Gauss-Legendre nodes, each drawn in proportion to its weight: two nodes have equal
// weights.
TEST(ExpectedGradients, OneBaselineAtGaussNodesIsIntegratedGradients) {
  const Tensor x = Random(2).normal({2, 3, 8, 8});
  const Explainer n(random_network(Family::kPlain, 1), x);
  const std::vector<double> nodes = quadrature("gauss-legendre", 2).nodes;
  const Attribution a = expected_gradients(
      n, "expected-gradients:samples=2", at::zeros({1, 3, 8, 8}, at::kDouble),
      {{"positions", at::tensor(nodes, at::TensorOptions(at::kDouble))}, {"baselines", at::zeros({2}, at::kLong)}});
  EXPECT_TRUE(within(a.values, n.explain("integrated-gradients:steps=2,baseline=zero", "1").values, kExact));
}

// GradientSHAP with given draws: the mean of (x - x') g(x' + a (x - x')).
TEST(ExpectedGradients, InjectedDrawsGiveTheMeanOfTheSamples) {
  const Graph graph = random_network(Family::kResidual, 1);
  const Tensor x = Random(2).normal({1, 3, 8, 8}), background = Random(3).normal({4, 3, 8, 8});
  const Tensor positions = Random(4).uniform({5});
  const Tensor members = at::tensor({3, 0, 3, 1, 2}, at::TensorOptions(at::kLong));
  Tensor expected = at::zeros({3, 8, 8}, at::kDouble);
  for (int64_t k = 0; k < 5; ++k) {
    const Tensor from = background[members[k].item<int64_t>()];
    expected += (x[0] - from) * gradient_at(graph, from + (x[0] - from) * positions[k]) / 5;
  }
  const Explainer n(graph, x);
  EXPECT_TRUE(within(expected_gradients(n, "expected-gradients:samples=5", background,
                                        {{"positions", positions}, {"baselines", members}})
                         .values[0],
                     expected, kExact));
}

// The gap is within four of the standard errors it reports, and falls with the number of samples.
TEST(ExpectedGradients, GapIsWithinItsStandardError) {
  const Explainer n(random_network(Family::kPlain, 1), Random(2).normal({1, 3, 8, 8}));
  const Tensor background = Random(3).normal({16, 3, 8, 8});
  double last = 1e9;
  for (const int64_t samples : {32, 512}) {
    const auto d =
        expected_gradients(n, "expected-gradients:samples=" + std::to_string(samples), background).diagnostics[0];
    EXPECT_LE(std::abs(d.at("convergence_delta")), 4 * d.at("gap_standard_error"));
    EXPECT_LT(d.at("gap_standard_error"), last / 3);
    last = d.at("gap_standard_error");
  }
}

TEST(ExpectedGradients, RefusesABackgroundOfAnotherShape) {
  const Explainer n(random_network(Family::kPlain, 1), Random(2).normal({1, 3, 8, 8}));
  expect_error(
      ErrorKind::kUsage,
      "expected-gradients: the background has shape [4,3,8,9]; pictures like the input [1,3,8,8] were expected", [&] {
        expected_gradients(n, "expected-gradients", Random(3).normal({4, 3, 8, 9}));
      });
}

/// c = conv(x), a = relu(c), S = W mean(a): the head is linear in the layer.
Explainer one_layer(const Tensor& x) {
  LayerBuilder b(5);
  b.conv("c", "x", 6);
  b.node("Relu", "a", {"c"});
  return Explainer(b.head("a", 3), x);
}

// A linear head has one gradient everywhere, so conductance and layer IG are W (A(x) - A(x')) / positions, exactly, and
// internal influence is that gradient.
TEST(LayerGradients, LinearHeadGivesWeightTimesChange) {
  const Tensor x = Random(2).normal({2, 3, 6, 7});
  const Explainer n = one_layer(x);
  const Tensor weight = n.network.graph().value(n.network.graph().find("logits.w")).constant[1].view({1, 6, 1, 1}) / 42;
  const ValueId a = n.layers.find("a");
  const Tensor change = n.value(a) - n.value(a, at::zeros_like(x));
  for (const char* method :
       {"layer-conductance:steps=1", "layer-conductance:steps=9", "layer-integrated-gradients:steps=1"}) {
    const Attribution found = n.explain(method, "1", {"a"});
    EXPECT_TRUE(within(found.values, weight * change, kExact)) << method;
    EXPECT_TRUE(within(found.map, (weight * change).sum(1), kExact)) << method;
    EXPECT_NEAR(found.diagnostics[0].at("convergence_delta"), 0, 1e-10) << method;
  }
  const Attribution influence = n.explain("internal-influence:steps=3", "1", {"a"});
  EXPECT_TRUE(within(influence.values, weight.expand_as(change), kExact));
  ASSERT_EQ(influence.notes[0].size(), 1u);
  EXPECT_EQ(influence.notes[0][0],
            "internal-influence: every position of this layer has the same influence, as in front of a pooling; choose "
            "an earlier layer");
}

// S = mean over positions of w a(x) b(x), and b does not come from a: it stays what the picture makes it, so that the
// units of a share S(a(x), b(x)) - S(a(0), b(x)).
TEST(LayerGradients, BranchesBesideTheLayerKeepThePicture) {
  LayerBuilder b(3, {-1, 3, 6, 7});
  b.conv("a", "x", 4);
  b.conv("b", "x", 4);
  b.node("Mul", "product", {"a", "b"});
  const Tensor w = b.random.normal({2, 4});
  const Tensor x = Random(2).normal({2, 3, 6, 7});
  const Explainer n(b.head_with("product", w), x);
  const Tensor change = n.value(n.layers.find("a")) - n.value(n.layers.find("a"), at::zeros_like(x));
  const Tensor expected = w[1].view({1, 4, 1, 1}) / 42 * n.value(n.layers.find("b")) * change;
  const Attribution found = n.explain("layer-integrated-gradients:steps=3", "1", {"a"});
  EXPECT_TRUE(within(found.values, expected, kExact));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(found.diagnostics[i].at("convergence_delta"), 0, 1e-10);
    EXPECT_NEAR(found.diagnostics[i].at("score_difference"), expected[static_cast<int64_t>(i)].sum().item<double>(),
                1e-10);
  }
}

// The definitions, literally, in a layer with a nonlinear network above it.
TEST(LayerGradients, EqualLiteralImplementations) {
  const Graph graph = random_network(Family::kSilu, 3);
  const Tensor x = Random(2).normal({1, 3, 9, 8});
  const Explainer n(graph, x);
  const ValueId layer = n.layers.find("r1");
  const Tensor weights = [&] {
    Tensor w = at::zeros({1, 4}, at::kDouble);
    w[0][1] = 1;
    return w;
  }();
  const auto gradient = [&](const Request& request, const Tensor& at_input) {
    const Tape tape = n.network.record({at_input}, {{n.layers.logits()}, {layer}, request, false});
    return tape.backward({{n.layers.logits(), weights}}, {layer}).values.at(layer);
  };
  const Quadrature q = quadrature("gauss-legendre", 5);
  const Tensor low = n.value(layer, at::zeros_like(x)), high = n.value(layer);
  Tensor influence = at::zeros_like(high), layer_ig = at::zeros_like(high), conductance = at::zeros_like(high);
  for (size_t k = 0; k < 5; ++k) {
    influence += gradient({}, x * q.nodes[k]) * q.weights[k];
    Request request;
    request.from = {{layer, low + (high - low) * q.nodes[k]}};
    layer_ig += gradient(request, Tensor()) * (high - low) * q.weights[k];
  }
  for (int k = 0; k < 7; ++k) {
    const Tensor here = x * (k / 7.0), there = x * ((k + 1) / 7.0);
    conductance += (gradient({}, here) + gradient({}, there)) / 2 * (n.value(layer, there) - n.value(layer, here));
  }
  EXPECT_TRUE(within(n.explain("internal-influence:steps=5", "1", {"r1"}).values, influence, kExact));
  EXPECT_TRUE(within(n.explain("layer-integrated-gradients:steps=5", "1", {"r1"}).values, layer_ig, kExact));
  EXPECT_TRUE(within(n.explain("layer-conductance:steps=7", "1", {"r1"}).values, conductance, kExact));
  // The number of points per pass does not matter, though conductance needs their neighbours.
  Context context = n.context("1", {"r1"});
  context.batch_size = 3;
  EXPECT_TRUE(within(attribute(MethodCall::parse("layer-conductance:steps=7"), context).values, conductance, kExact));
}

// Every path from the picture to the score goes through the layer, so its units share the difference of scores.
TEST(LayerGradients, UnitsShareTheDifferenceOfScores) {
  for (const Family family : {Family::kSilu, Family::kPlain, Family::kResidual}) {
    const Tensor x = Random(2).normal({1, 3, 9, 8});
    const Explainer n(random_network(family, 3), x);
    const double change = score_at(n, x[0]) - score_at(n, at::zeros_like(x[0]));
    for (const char* method : {"layer-conductance:steps=300", "layer-integrated-gradients:steps=300"}) {
      const Attribution a = n.explain(method, "1", {"r1"});
      EXPECT_NEAR(a.values.sum().item<double>(), change, 5e-3 * std::max(1.0, std::abs(change))) << method;
    }
  }
}

// At the input itself the three are what they are named after.
TEST(LayerGradients, OfTheInputAreIntegratedGradients) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({2, 3, 9, 8}));
  const Tensor ig = n.explain("integrated-gradients:steps=9", "1").values;
  EXPECT_TRUE(within(n.explain("layer-integrated-gradients:steps=9", "1", {"input"}).values, ig, kExact));
  EXPECT_TRUE(within(n.explain("internal-influence:steps=9", "1", {"input"}).values * n.input, ig, kExact));
  EXPECT_TRUE(within(n.explain("layer-conductance:steps=8", "1", {"input"}).values,
                     n.explain("integrated-gradients:steps=9,rule=trapezoid", "1").values, kExact));
}

// As densities the layers' maps keep their sums, up to what the resampling loses at the border.
TEST(LayerGradients, SeveralLayersAreAveragedAsDensities) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({1, 3, 12, 12}));
  const Attribution a = n.explain("layer-conductance", "1", {"r1", "map"});
  ASSERT_EQ(a.layer_values.size(), 2u);
  Tensor expected = at::zeros({1, 12, 12}, at::kDouble);
  for (const char* name : {"r1", "map"}) {
    const Tensor one = n.explain("layer-conductance", "1", {name}).values;
    EXPECT_TRUE(within(a.layer_values.at(n.layers.find(name)), one, kExact));
    const double share = static_cast<double>(one.size(2) * one.size(3)) / 144 / 2;
    expected += upsample_map(one.sum(1), 12, 12) * share;
  }
  EXPECT_TRUE(within(a.map, expected, kExact));
}

TEST(LayerGradients, DependOnTheWeights) {
  const Tensor x = Random(2).normal({1, 3, 12, 12});
  const Explainer one(random_network(Family::kPlain, 3), x), other(random_network(Family::kPlain, 103), x);
  EXPECT_LT(pearson(one.explain("internal-influence", "1", {"r1"}).values,
                    other.explain("internal-influence", "1", {"r1"}).values),
            0.9);
}

TEST(LayerGradients, NeedALayerWithAMap) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({1, 3, 12, 12}));
  expect_error(ErrorKind::kUsage, "layer-conductance: a layer is needed",
               [&] { attribute(MethodCall::parse("layer-conductance"), n.context("1")); });
  expect_error(ErrorKind::kUsage,
               "layer 'flat' has shape [1,8]; a map needs [N,K,h,w] or tokens [N,T,D] that form a grid",
               [&] { n.explain("layer-conductance:steps=2", "1", {"flat"}); });
}

// Of several layers, the gap reported is the largest one.
TEST(LayerGradients, ReportTheWorstGapOfSeveralLayers) {
  const Explainer n(random_network(Family::kSilu, 1), Random(2).normal({1, 3, 9, 9}));
  const std::string method = "layer-conductance:steps=3";
  const auto gap = [&](const std::vector<std::string>& names) {
    return n.explain(method, "1", names).diagnostics[0].at("convergence_delta");
  };
  const double first = gap({"r1"}), last = gap({"map"});
  ASSERT_GT(std::abs(std::abs(first) - std::abs(last)), 1e-6);
  const double worst = std::abs(first) > std::abs(last) ? first : last;
  EXPECT_NEAR(gap({"r1", "map"}), worst, 1e-12);
  EXPECT_NEAR(gap({"map", "r1"}), worst, 1e-12);
}

/// Fails the test when a pass is made.
class NoPass : public Progress {
 public:
  void report(double, double, const std::string& what) override { ADD_FAILURE() << what; }
};

TEST(LayerGradients, RefuseALayerBeforeAnyPass) {
  const Explainer n(random_network(Family::kPlain, 1), Random(2).normal({1, 3, 9, 9}));
  Context context = n.context("1", {"map", "flat"});
  NoPass none;
  context.progress = &none;
  EXPECT_THROW(attribute(MethodCall::parse("layer-conductance"), context), Error);
}

}  // namespace
}  // namespace pellucid::test
