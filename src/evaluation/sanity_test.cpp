#include "pellucid/sanity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/metrics.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Explainer;
using test::Family;
using test::Random;
using test::within;

ExplainFunction by(const std::string& method) {
  return [call = MethodCall::parse(method)](const Context& c) { return attribute(call, c); };
}

/// A map that depends on the picture alone: an edge detector of sorts.
Attribution picture_itself(const Context& c) {
  Attribution a;
  a.map = c.input.sum(1);
  a.values = a.map;
  return a;
}

/// A map that looks at nothing.
ExplainFunction noise() {
  return [draws = std::make_shared<Random>(1)](const Context& c) {
    Attribution a;
    a.map = draws->normal({c.input.size(0), c.input.size(2), c.input.size(3)});
    a.values = a.map;
    return a;
  };
}

TEST(Sanity, LayersHaveTheirBiasesAndNormalizations) {
  const Graph graph = test::random_network(Family::kResidual, 1);
  const std::vector<RandomizedLayer> layers = randomizable_layers(graph, graph.outputs().front());
  std::vector<std::string> names;
  for (const RandomizedLayer& layer : layers) names.push_back(layer.name);
  EXPECT_EQ(names, (std::vector<std::string>{"c1_node", "c2_node", "c3_node", "s3_node", "logits_node"}));
  EXPECT_EQ(layers[0].weights.size(), 2u);
  EXPECT_EQ(layers[0].ones, (std::vector<ValueId>{graph.find("n1.scale"), graph.find("n1.var")}));
  EXPECT_EQ(layers[0].zeros, (std::vector<ValueId>{graph.find("n1.shift"), graph.find("n1.mean")}));
  EXPECT_TRUE(layers[3].ones.empty());
}

TEST(Sanity, BiasAddedAfterAMatrixProductBelongsToIt) {
  test::LayerBuilder b(1, {-1, 1, 2, 2});
  b.node("Flatten", "flat", {"x"});
  b.graph.constant("w", Random(1).normal({4, 3}));
  b.graph.constant("bias", Random(2).normal({3}));
  b.graph.node("MatMul", {"flat", "w"}, {"product"}, {}, "product_node");
  b.graph.node("Add", {"bias", "product"}, {"logits"}, {}, "sum_node");
  const Graph graph = b.finish("logits");
  const std::vector<RandomizedLayer> layers = randomizable_layers(graph, graph.outputs().front());
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].weights, (std::vector<ValueId>{graph.find("w"), graph.find("bias")}));
}

TEST(Sanity, ResetKeepsTheDistribution) {
  test::LayerBuilder b(1);
  b.conv("c", "x", 200);
  const Graph graph = b.head("c", 2);
  const RandomizedLayer layer = randomizable_layers(graph, graph.outputs().front()).front();
  const Tensor old = graph.value(graph.find("c.w")).constant;
  const Tensor fresh = reset_weights(graph, layer, WeightReset::kTruncatedNormal, 5).at(graph.find("c.w"));
  ASSERT_EQ(fresh.sizes(), old.sizes());
  const double deviation = old.std(false).item<double>();
  EXPECT_NEAR(fresh.std(false).item<double>() / deviation, 1, 0.03);  // 5400 numbers: 1 % standard error
  EXPECT_NEAR(fresh.mean().item<double>() / deviation, 0, 0.06);
  EXPECT_LE(fresh.abs().max().item<double>(), 2 / 0.8796 * deviation);
  EXPECT_GT(fresh.abs().max().item<double>(), 1.9 / 0.8796 * deviation);
  const Tensor shuffled = reset_weights(graph, layer, WeightReset::kPermutation, 5).at(graph.find("c.w"));
  EXPECT_FALSE(shuffled.equal(old));
  EXPECT_TRUE(std::get<0>(shuffled.flatten().sort()).equal(std::get<0>(old.flatten().sort())));
  EXPECT_TRUE(reset_weights(graph, layer, WeightReset::kTruncatedNormal, 5).at(graph.find("c.w")).equal(fresh));
}

// The plain network's four layers, from the logits down.
TEST(Sanity, CascadingGoesFromTheLogitsDown) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 16, 16}));
  RandomizationOptions options;
  const auto names = [&] {
    std::vector<std::string> result;
    for (const SanityStep& s : parameter_randomization(net.context(), 0, picture_itself, options)) {
      result.push_back(s.layer);
    }
    return result;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"logits_node", "c3_node", "c2_node", "c1_node"}));
  options.max_steps = 2;
  EXPECT_EQ(names(), (std::vector<std::string>{"c3_node", "c1_node"}));
  options.order = RandomizationOrder::kBottomUp;
  EXPECT_EQ(names(), (std::vector<std::string>{"c2_node", "logits_node"}));
}

// What is reported is the similarity of the maps that were made, the first of them by the network as it is.
TEST(Sanity, EachStepExplainsTheNetworkWithItsWeightsReplaced) {
  const Graph graph = test::random_network(Family::kPlain, 3);
  const Explainer net(graph, Random(4).normal({1, 3, 16, 16}));
  std::vector<Tensor> maps;
  const ExplainFunction gradient = by("gradient");
  const auto spy = [&](const Context& c) {
    Attribution a = gradient(c);
    maps.push_back(a.map[0].clone());
    return a;
  };
  RandomizationOptions options;
  options.order = RandomizationOrder::kIndependent;
  const std::vector<SanityStep> steps = parameter_randomization(net.context("2"), 0, spy, options);
  ASSERT_EQ(maps.size(), 5u);
  for (size_t s = 0; s < 4; ++s) {
    const MapSimilarity expected = map_similarity(maps[0], maps[s + 1]);
    EXPECT_EQ(steps[s].similarity.spearman, expected.spearman);
    EXPECT_EQ(steps[s].similarity.ssim, expected.ssim);
  }
  EXPECT_TRUE(within(maps[0], net.explain("gradient", "2").map[0], {1e-14, 1e-14}));
  EXPECT_FALSE(within(maps[1], maps[0], {0.1, 0.1}));
}

TEST(Sanity, PictureAloneFailsAndNoisePasses) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 32, 32}));
  for (const SanityStep& s : parameter_randomization(net.context(), 0, picture_itself)) {
    EXPECT_NEAR(*s.similarity.spearman, 1, 1e-12);
    EXPECT_NEAR(*s.similarity.ssim, 1, 1e-12);
    EXPECT_NEAR(*s.similarity.hog, 1, 1e-12);
  }
  for (const SanityStep& s : parameter_randomization(net.context(), 0, noise())) {
    EXPECT_NEAR(*s.similarity.spearman, 0, 4.0 / 32);  // four standard errors of 1024 pixels
  }
}

TEST(Sanity, DeadNetworksAreLeftOutAndCounted) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 16, 16}));
  int calls = 0;
  const auto blank_after_first = [&](const Context& c) {
    Attribution a = picture_itself(c);
    if (calls++ > 0) a.map = at::zeros_like(a.map);
    return a;
  };
  for (const SanityStep& s : parameter_randomization(net.context(), 0, blank_after_first)) {
    EXPECT_EQ(s.degenerate, 1);
    EXPECT_FALSE(s.similarity.spearman);
  }
}

TEST(Sanity, SmoothCheckAveragesOverTheSameNoise) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 16, 16}));
  RandomizationOptions options;
  options.noise_samples = 3;
  for (const SanityStep& s : parameter_randomization(net.context(), 0, picture_itself, options)) {
    EXPECT_NEAR(*s.similarity.spearman, 1, 1e-12);  // every network sees the same noisy pictures
  }
}

TEST(Sanity, OtherClassesOfAClassAgnosticMap) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 16, 16}));
  const Tensor logits = net.logits(net.input)[0];
  const OtherClass least = least_likely_class(net.context(), 0, picture_itself);
  EXPECT_EQ(least.class_index, logits.argmin().item<int64_t>());
  EXPECT_NEAR(*least.similarity.spearman, 1, 1e-12);
  const OtherClass random = random_logit(net.context("1"), 0, by("gradient"));
  EXPECT_NE(random.class_index, 1);
  const Tensor a = net.explain("gradient", "1").map[0];
  const Tensor b = net.explain("gradient", std::to_string(random.class_index)).map[0];
  EXPECT_NEAR(*random.similarity.spearman, *spearman_correlation(a, b), 1e-12);
}

TEST(Sanity, LabelRandomizationComparesTwoNetworks) {
  const Graph graph = test::random_network(Family::kPlain, 3), other = test::random_network(Family::kPlain, 8);
  const Tensor x = Random(4).normal({1, 3, 16, 16});
  const Explainer net(graph, x), shuffled(other, x);
  const MapSimilarity found = label_randomization(net.context("1"), 0, shuffled.network, by("gradient"));
  const MapSimilarity expected =
      map_similarity(net.explain("gradient", "1").map[0], shuffled.explain("gradient", "1").map[0]);
  EXPECT_NEAR(*found.spearman, *expected.spearman, 1e-12);
  EXPECT_NEAR(*found.hog, *expected.hog, 1e-12);
  const MapSimilarity itself = label_randomization(net.context("1"), 0, net.network, by("gradient"));
  EXPECT_NEAR(*itself.spearman, 1, 1e-12);
  const MapSimilarity cams = label_randomization(net.context("1", {"map"}), 0, shuffled.network, by("hires-cam"));
  EXPECT_NEAR(*cams.spearman,
              *spearman_correlation(net.explain("hires-cam", "1", {"map"}).map[0],
                                    shuffled.explain("hires-cam", "1", {"map"}).map[0]),
              1e-12);
}

TEST(Sanity, RefusesATargetThatIsNoClass) {
  const Explainer net(test::random_network(Family::kPlain, 3), Random(4).normal({1, 3, 16, 16}));
  test::expect_error(ErrorKind::kUsage, "random-logit: needs one class of a classifier as target, not 'channel:map:0'",
                     [&] { random_logit(net.context("channel:map:0"), 0, picture_itself); });
}

// A trained network: the gradient changes with the head, guided backprop hardly does.
// Adebayo et al. 2018; Nie, Zhang, Patel 2018.
TEST(Sanity, GuidedBackpropSurvivesWhatTheGradientDoesNot) {
  const Graph graph = load_onnx(std::string(PELLUCID_SOURCE_DIR) + "/models/flower_single_6c.onnx");
  const Tensor photo = Random(1).uniform({1, 3, 64, 64});
  ModelCard card = guess_card(graph);
  NetworkOptions options;
  const Explainer net(graph, card.model_from_display(photo), options, card);
  RandomizationOptions few;
  few.max_steps = 5;
  few.seeds = 2;
  const auto mean_ssim = [&](const char* method) {
    double sum = 0;
    const std::vector<SanityStep> steps = parameter_randomization(net.context(), 0, by(method), few);
    for (const SanityStep& s : steps) sum += s.similarity.ssim.value_or(0) / static_cast<double>(steps.size());
    return sum;
  };
  const double guided = mean_ssim("guided-backprop"), gradient = mean_ssim("gradient");
  EXPECT_GT(guided, 0.4);    // 0.69 when this was written
  EXPECT_LT(gradient, 0.2);  // 0.02
}

}  // namespace
}  // namespace pellucid
