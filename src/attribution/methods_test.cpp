// Invariants of every method in the table, and the table itself.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "pellucid/text.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/quick_method.h"

namespace pellucid::test {
namespace {

Graph residual_graph() { return random_network(Family::kResidual, 4); }
Tensor pictures(int64_t count = 3) { return Random(8).normal({count, 3, 13, 12}); }

class EveryMethod : public ::testing::TestWithParam<std::string> {
 protected:
  MethodCall call() const { return quick(*MethodCall::parse(GetParam()).method); }
  bool holds(unsigned property) const { return (call().method->properties & property) != 0; }
  bool needs(unsigned need) const { return (call().method->needs & need) != 0; }
  Attribution run(const Explainer& n, const std::string& target = "1") const {
    return n.explain(call().text(), target);
  }
};

/// The first noisy copy, without noise.
MethodCall smooth_once(const MethodCall& call) {
  return MethodCall::parse("smooth(" + call.text() + "):samples=1,noise=0");
}

std::vector<std::string> ids() {
  std::vector<std::string> list;
  for (const Method& m : methods()) list.push_back(m.id);
  return list;
}
INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod, ::testing::ValuesIn(ids()), [](const auto& method) {
  std::string name = method.param;
  std::replace(name.begin(), name.end(), '-', '_');
  std::replace(name.begin(), name.end(), '+', 'p');
  return name;
});

TEST_P(EveryMethod, ShapesAreThoseOfTheInputOrTheLayer) {
  const Explainer n(residual_graph(), pictures());
  const Attribution a = run(n);
  if (a.reduction == "none" && a.layers.empty()) {  // maps without channels, at a resolution of the method's own
    EXPECT_EQ(a.values.dim(), 3);
    EXPECT_EQ(a.values.size(0), 3);
  } else {
    const bool of_layer = needs(kNeedsLayer) && a.values.size(a.values.dim() - 1) == 6;
    EXPECT_EQ(a.values.sizes().vec(), a.reduction == "none" ? (Shape{3, 7, 6})
                                      : of_layer            ? (Shape{3, 8, 7, 6})
                                                            : (Shape{3, 3, 13, 12}));
  }
  EXPECT_EQ(a.map.sizes().vec(), (Shape{3, 13, 12}));
  EXPECT_EQ(a.values.scalar_type(), at::kDouble);
  EXPECT_EQ(a.notes.size(), 3u);
  EXPECT_EQ(a.diagnostics.size(), 3u);
  EXPECT_TRUE(at::isfinite(a.values).all().item<bool>());
  EXPECT_TRUE(at::isfinite(a.map).all().item<bool>());
  EXPECT_GT(a.values.abs().max().item<double>(), 0);
  if (needs(kNeedsLayer)) {
    EXPECT_EQ(a.layers, std::vector<ValueId>{n.layers.find("map")});
  }
}

TEST_P(EveryMethod, SameSeedGivesTheSameBytes) {
  const Explainer n(residual_graph(), pictures(), {});
  // Below a rectifier: in front of the pooling the gradient is constant and noise does not matter.
  Context context = n.context("1", {"r1"});
  context.seed = 7;
  const Attribution first = attribute(call(), context);
  const Attribution again = attribute(call(), context);
  EXPECT_TRUE(first.values.equal(again.values));
  EXPECT_TRUE(first.map.equal(again.map));
  context.seed = 8;
  EXPECT_EQ(attribute(call(), context).values.equal(first.values), !holds(kStochastic));
}

TEST_P(EveryMethod, ThreadsDoNotMatter) {
  // Float64: sums in another order differ by 1e-16; 1e-6 is far from any change of method.
  const Explainer n(residual_graph(), pictures());
  set_num_threads(1);
  const Attribution one = run(n);
  set_num_threads(2);
  const Attribution two = run(n);
  set_num_threads(1);
  EXPECT_TRUE(within(two.values, one.values, {1e-6, 1e-6}));
  EXPECT_TRUE(within(two.map, one.map, {1e-6, 1e-6}));
}

TEST_P(EveryMethod, BatchEqualsItsPicturesOneByOne) {
  const Tensor x = pictures();
  const Explainer all(residual_graph(), x);
  const Attribution batch = run(all);
  for (int64_t i = 0; i < 3; ++i) {
    const Explainer one(residual_graph(), x.narrow(0, i, 1));
    EXPECT_TRUE(within(batch.values[i], run(one).values[0], {1e-5, 1e-5})) << i;
    EXPECT_TRUE(within(batch.map[i], run(one).map[0], {1e-5, 1e-5})) << i;
  }
  // Nor does the number of images per pass.
  Context context = all.context("1", {"map"});
  context.batch_size = 2;
  EXPECT_TRUE(within(attribute(call(), context).values, batch.values, {1e-5, 1e-5}));
}

TEST_P(EveryMethod, LeavesNetworkAndInputAlone) {
  const Explainer n(residual_graph(), pictures(), {});
  const Tensor input = n.input.clone();
  const Tensor before = n.logits(n.input).clone();
  std::vector<Tensor> weights;
  for (const Value& v : n.network.graph().values())
    weights.push_back(v.constant.defined() ? v.constant.clone() : Tensor());
  run(n);
  EXPECT_TRUE(n.input.equal(input));
  EXPECT_TRUE(n.logits(n.input).equal(before));
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!weights[i].defined()) continue;
    EXPECT_TRUE(n.network.graph().values()[i].constant.equal(weights[i])) << n.network.graph().values()[i].name;
  }
}

// Noise around a method is the method itself when there is none.
TEST_P(EveryMethod, OneCopyWithoutNoiseIsTheMethod) {
  const Explainer n(residual_graph(), pictures());
  const Attribution plain = run(n), smooth = n.explain(smooth_once(call()).text(), "1");
  EXPECT_TRUE(within(smooth.values, plain.values, {1e-12, 1e-12}));
  EXPECT_TRUE(within(smooth.map, plain.map, {1e-12, 1e-12}));
  EXPECT_EQ(smooth.is_signed, plain.is_signed);
  EXPECT_EQ(smooth.layers, plain.layers);
  // Two equal copies: the same mean, and no variance beyond the square of rounding.
  const std::string twice = "smooth(" + call().text() + "):samples=2,noise=0";
  EXPECT_TRUE(within(n.explain(twice, "1").values, plain.values, {1e-12, 1e-12}));
  const double largest = plain.values.abs().max().item<double>();
  const Tensor variance = n.explain(twice + ",moment=variance", "1").values;
  EXPECT_LE(variance.abs().max().item<double>(), 1e-24 * largest * largest);
}

TEST_P(EveryMethod, WrappedMethodKeepsTheInvariants) {
  const Tensor x = pictures();
  const Explainer all(residual_graph(), x);
  const MethodCall smooth = MethodCall::parse("smooth(" + call().text() + "):samples=3,noise=0.2");
  const Attribution batch = all.explain(smooth.text(), "1");
  EXPECT_EQ(batch.map.sizes().vec(), (Shape{3, 13, 12}));
  EXPECT_TRUE(at::isfinite(batch.map).all().item<bool>());
  EXPECT_TRUE(batch.values.equal(all.explain(smooth.text(), "1").values));
  for (int64_t i = 0; i < 3; ++i) {
    const Explainer one(residual_graph(), x.narrow(0, i, 1));
    EXPECT_TRUE(within(batch.map[i], one.explain(smooth.text(), "1").map[0], {1e-5, 1e-5})) << i;
  }
  if (holds(kNonNegative)) {
    EXPECT_GE(batch.map.min().item<double>(), 0);
  }
}

TEST_P(EveryMethod, RefusesWrongParametersByName) {
  const Method& method = *call().method;
  for (const ParamSpec& spec : method.params) {
    const bool is_number = spec.type == ParamSpec::Type::kInteger || spec.type == ParamSpec::Type::kReal;
    const std::string bad = is_number ? "-1" : "perhaps";
    if (spec.type == ParamSpec::Type::kText) continue;  // checked where it is used: baseline_test.cpp
    expect_error(ErrorKind::kUsage,
                 method.id + ": " + spec.name + " is '" + bad + "'; it must be " + spec.accepts + " (default " +
                     spec.default_value + ")",
                 [&] { MethodCall::parse(method.id + ":" + spec.name + "=" + bad); });
  }
  std::string takes = " (it takes none)";
  std::vector<std::string> names;
  for (const ParamSpec& spec : method.params) names.push_back(spec.name);
  if (!names.empty()) takes = " (it takes " + join(names, ", ") + ")";
  expect_error(ErrorKind::kUsage, method.id + ": no parameter 'zzzzzz'" + takes,
               [&] { MethodCall::parse(method.id + ":zzzzzz=1"); });
}

TEST_P(EveryMethod, StringsRoundTrip) {
  const Method& method = *call().method;
  EXPECT_EQ(MethodCall::parse(method.id).text(), method.id);
  // Every parameter, at its default.
  MethodCall all{&method, method.complete({})};
  EXPECT_EQ(all.params.size(), method.params.size());
  const MethodCall again = MethodCall::parse(all.text());
  EXPECT_EQ(again.method, &method);
  EXPECT_EQ(again.params, all.params);
  EXPECT_EQ(again.text(), all.text());
  for (const ParamSpec& spec : method.params) {
    EXPECT_EQ(all.params.at(spec.name), spec.default_value);
    EXPECT_FALSE(spec.help.empty()) << spec.name;
    EXPECT_FALSE(spec.accepts.empty()) << spec.name;
  }
}

TEST_P(EveryMethod, DefaultsAreThoseDeclared) {
  const Explainer n(residual_graph(), pictures(1));
  Context context = n.context("1", {"map"});
  MethodCall all{call().method, call().method->complete(call().params)};
  EXPECT_TRUE(attribute(all, context).values.equal(attribute(call(), context).values));
}

TEST_P(EveryMethod, DeclaredSignHolds) {
  bool negative = false;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    for (const Family family : kFamilies) {
      const Explainer n(random_network(family, seed), pictures(1));
      const Attribution a = run(n);
      negative = negative || a.map.min().item<double>() < 0;
      EXPECT_FALSE(a.is_signed && holds(kNonNegative)) << family_name(family);
      if (seed > 0) continue;
      // Targets that have no probability.
      const Attribution difference = run(n, "1 vs 2");
      EXPECT_TRUE(difference.is_signed || difference.map.min().item<double>() >= 0) << family_name(family);
      EXPECT_FALSE(difference.is_signed && holds(kNonNegative)) << family_name(family);
      negative = negative || difference.map.min().item<double>() < 0;
    }
  }
  EXPECT_EQ(negative, !holds(kNonNegative));
}

// Doubling weights and bias of the last layer doubles the logit and with it what scales; what does not scale changes
// otherwise.
TEST_P(EveryMethod, ScalesWithTheLogitAsDeclared) {
  const Graph graph = residual_graph();
  std::map<ValueId, Tensor> doubled;
  for (const char* name : {"logits.w", "logits.b"}) {
    const ValueId id = graph.find(name);
    doubled[id] = graph.value(id).constant * 2;
  }
  const Explainer once(graph, pictures());
  const Explainer twice(graph.with_constants(doubled), pictures());
  const bool scales = static_cast<bool>(within(run(twice).values, run(once).values * 2, {1e-9, 1e-9}));
  EXPECT_EQ(scales, holds(kScalesWithLogit));
}

TEST_P(EveryMethod, TwoClassesDifferUnlessClassAgnostic) {
  const Explainer n(residual_graph(), pictures(1));
  const Tensor a = run(n, "0").values, b = run(n, "2").values;
  if (holds(kClassAgnostic)) {
    EXPECT_TRUE(a.equal(b));
  } else {
    EXPECT_LT(pearson(a, b), 0.999);
  }
}

// What declares completeness sums to the difference of scores, measured here, and the gap it reports.
TEST(MethodTable, CompletenessHoldsWhereDeclared) {
  const Explainer n(residual_graph(), pictures());
  const Tensor from_black = (n.logits(n.input) - n.logits(at::zeros_like(n.input))).select(1, 1);
  int64_t checked = 0;
  for (const Method& method : methods()) {
    if (!(method.properties & kComplete)) continue;
    ++checked;
    const Attribution a = n.explain(quick(method).text(), "1");
    for (int64_t i = 0; i < 3; ++i) {
      const auto& d = a.diagnostics[static_cast<size_t>(i)];
      const double expected = d.at("score_difference") + d.at("convergence_delta");
      EXPECT_NEAR(a.values[i].sum().item<double>(), expected, 1e-9) << method.id;
      if (!(method.needs & kNeedsLayer)) {
        EXPECT_NEAR(a.map[i].sum().item<double>(), expected, 1e-9) << method.id;
      }
      const ParamMap defaults = method.complete({});
      const auto baseline = defaults.find("baseline");
      if (baseline != defaults.end() && baseline->second == "black") {
        EXPECT_NEAR(d.at("score_difference"), from_black[i].item<double>(), 1e-9) << method.id;
      }
    }
  }
  EXPECT_GE(checked, 1);
}

// Kernels that equal their mirror images, stride one and even padding: the mirrored picture has the mirrored map. A
// resampling that is off by a fraction of a pixel shows here.
TEST_P(EveryMethod, MirroredPictureHasTheMirroredMap) {
  LayerBuilder b(3);
  const auto mirror = [](const Tensor& w) { return (w + w.flip({3})) / 2; };
  b.conv_with("c1", "x", mirror(b.random.normal({6, 3, 3, 3})), b.random.normal({6}) * 0.1);
  b.node("Relu", "r1", {"c1"});
  b.pool("AveragePool", "p1", "r1", 2, 2);
  b.conv_with("c2", "p1", mirror(b.random.normal({6, 6, 3, 3}) * 0.3), b.random.normal({6}) * 0.1);
  b.node("Relu", "map", {"c2"});
  const Graph graph = b.head("map", 4);
  const Tensor x = Random(5).normal({2, 3, 10, 12});
  const Explainer straight(graph, x), flipped(graph, x.flip({3}));
  // The published penalties are not symmetric: equally visible pixels are ranked in scan order, and the total variation
  // takes differences to the right and below.
  if (GetParam() == "extremal-perturbation" || GetParam() == "meaningful-perturbation") {
    GTEST_SKIP() << "its penalty is not symmetric";
  }
  MethodCall even = call();
  // Cells that divide the picture evenly.
  for (const ParamSpec& spec : even.method->params) {
    if (spec.name == "grid") even.params["grid"] = "2";
  }
  const auto explained = [&](const Explainer& n, const Tensor& noise, const Tensor& regions,
                             const std::map<std::string, Tensor>& injected) {
    Context context = n.context("1", {"map"});
    context.injected_noise = noise;
    context.regions = regions;
    context.injected = injected;
    return attribute(even, context);
  };
  const Tensor noise = Random(6).normal({6, 3, 10, 12});
  const Tensor regions = at::arange(120, at::kLong).remainder(11).view({1, 10, 12}).expand({2, 10, 12});
  const Tensor masks = Random(7).uniform({6, 10, 12});
  const Tensor design = GetParam() == "hsic" ? Random(8).uniform({6, 2, 2}).round() : Random(8).uniform({6, 2, 2, 2});
  const Attribution a = explained(straight, noise, regions, {{"masks", masks}, {"design", design.flatten(1)}});
  const Attribution m = explained(flipped, noise.flip({3}), regions.flip({2}),
                                  {{"masks", masks.flip({2})}, {"design", design.flip({-1}).flatten(1)}});
  EXPECT_TRUE(within(m.map, a.map.flip({2}), {1e-9, 1e-9}));
  EXPECT_TRUE(within(m.values, a.values.flip({a.values.dim() - 1}), {1e-9, 1e-9}));
}

// Adebayo et al., NeurIPS 2018: an explanation must depend on what the network has learned. All weights are drawn anew.
TEST_P(EveryMethod, RandomWeightsChangeTheMap) {
  if (GetParam() == "internal-influence") return;  // constant in front of a pooling: layer_gradients_test.cpp
  double mean = 0;
  for (const uint64_t seed : {1, 2, 3}) {
    const Explainer trained(random_network(Family::kPlain, seed), pictures(1));
    const Explainer random(random_network(Family::kPlain, seed + 100), pictures(1));
    const Tensor a = run(trained, "1").map, b = run(random, "1").map;
    mean += std::max(spearman(a, b), pearson(a, b)) / 3;
  }
  EXPECT_EQ(mean < 0.9, !holds(kModelFree));
}

// The last layer alone. DeconvNet, guided backprop and their products are known not to notice (the same paper),
// Eigen-CAM does not look at it.
TEST(MethodTable, RandomLastLayerChangesTheMap) {
  const Graph graph = random_network(Family::kPlain, 2);
  for (const Method& method : methods()) {
    const bool insensitive = (method.properties & kClassAgnostic) || (method.id.find("guided-grad") == 0) ||
                             method.id == "guided-backprop" || method.id == "deconvnet";
    if (insensitive || method.id == "internal-influence") continue;
    const std::string call = quick(method).text();
    double mean = 0;
    for (const uint64_t seed : {11, 12, 13}) {
      const Graph changed = graph.with_constants({{graph.find("logits.w"), Random(seed).normal({4, 8})}});
      const Explainer trained(graph, pictures(1)), random(changed, pictures(1));
      const Tensor a = trained.explain(call, "1").map, b = random.explain(call, "1").map;
      mean += std::max(spearman(a, b), pearson(a, b)) / 3;
    }
    EXPECT_LT(mean, 0.9) << method.id;
  }
}

/// The residual network behind a Transpose, for pictures [N,H,W,3].
Graph channels_last_graph() {
  LayerBuilder b(9, {-1, 13, 12, 3});
  b.node("Transpose", "first", {"x"}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  b.conv_with("c1", "first", b.random.normal({6, 3, 3, 3}) * 0.3);
  b.node("Relu", "map", {"c1"});
  return b.head("map", 4);
}
Graph channels_first_graph() {
  LayerBuilder b(9, {-1, 3, 13, 12});
  b.conv_with("c1", "x", b.random.normal({6, 3, 3, 3}) * 0.3);
  b.node("Relu", "map", {"c1"});
  return b.head("map", 4);
}

TEST_P(EveryMethod, WorksOnChannelsLastModels) {
  ModelCard card;
  card.channels_first = false;
  const Tensor x = pictures();
  const Explainer last(channels_last_graph(), x.permute({0, 2, 3, 1}).contiguous(), in_float64(), card);
  const Explainer first(channels_first_graph(), x);
  const Tensor noise = Random(6).normal({6, 3, 13, 12});
  Context a = last.context("1", {"map"});
  a.injected_noise = noise.permute({0, 2, 3, 1});
  Context b = first.context("1", {"map"});
  b.injected_noise = noise;
  const Attribution actual = attribute(call(), a), expected = attribute(call(), b);
  EXPECT_TRUE(within(actual.map, expected.map, {1e-9, 1e-9}));
  const bool of_input = actual.values.sizes() == last.input.sizes();
  const Tensor values = of_input ? actual.values.permute({0, 3, 1, 2}) : actual.values;
  EXPECT_TRUE(within(values, expected.values, {1e-9, 1e-9}));
}

/// A network whose Reshape has the batch of one written into it.
Graph fixed_batch_graph() {
  LayerBuilder b(9, {1, 3, 13, 12});
  b.conv("c1", "x", 6);
  b.node("Relu", "map", {"c1"});
  b.node("GlobalAveragePool", "pool", {"map"});
  b.graph.constant("shape", at::tensor({1, 6}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"pool", "shape"}, {"flat"});
  b.gemm_with("logits", "flat", b.random.normal({4, 6}), b.random.normal({4}));
  return b.finish("logits");
}

TEST_P(EveryMethod, WorksOnModelsForOnePicture) {
  const Tensor x = pictures();
  const Network network(fixed_batch_graph(), in_float64());
  ASSERT_FALSE(network.batches_safely());
  const LayerTable layers(network, {{1, 3, 13, 12}});
  const ModelCard card;
  TensorList logits;
  for (int64_t i = 0; i < 3; ++i) logits.push_back(network.run(x.narrow(0, i, 1))[0]);
  const BoundTarget target(Target::parse("1"), layers, card, layers.logits(), at::cat(logits));
  const Context context{network, layers, card, x, target, {layers.find("map")}, 0, 16, nullptr, {}};
  const Attribution batch = attribute(call(), context);
  for (int64_t i = 0; i < 3; ++i) {
    const Explainer one(fixed_batch_graph(), x.narrow(0, i, 1));
    EXPECT_TRUE(within(batch.values[i], one.explain(call().text(), "1", {"map"}).values[0], {1e-9, 1e-9})) << i;
  }
}

// Pixels that enter as integers have no gradient; methods that need none at the input work as ever.
TEST_P(EveryMethod, IntegerInputEndsTheGradientOnly) {
  const auto graph = [](bool integers) {
    LayerBuilder b(9, {-1, 3, 13, 12});
    GraphBuilder g;
    g.set_name("net");
    g.input("x", {-1, 3, 13, 12}, integers ? at::kByte : at::kFloat);
    g.node("Cast", {"x"}, {"real"}, {{"to", int64_t{1}}});
    g.constant("w", b.random.normal({4, 3, 3, 3}));
    g.node("Conv", {"real", "w"}, {"c1"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    g.node("Relu", {"c1"}, {"map"});
    g.node("GlobalAveragePool", {"map"}, {"pool"});
    g.node("Flatten", {"pool"}, {"flat"});
    g.constant("v", b.random.normal({3, 4}));
    g.node("Gemm", {"flat", "v"}, {"logits"}, {{"transB", int64_t{1}}});
    g.output("logits");
    return g.finish();
  };
  const Tensor x = (Random(3).uniform({1, 3, 13, 12}) * 255).round();
  const Explainer pixels(graph(true), x), real(graph(false), x);
  if (call().method->needs & kNeedsInputGradient) {
    expect_error(ErrorKind::kUnsupported,
                 call().method->id +
                     ": the network's input 'x' is not floating point, so no gradient reaches it; class activation "
                     "maps and perturbation methods need none",
                 [&] { pixels.explain(call().text(), "1", {"map"}); });
    return;
  }
  const Attribution a = pixels.explain(call().text(), "1", {"map"});
  EXPECT_TRUE(at::isfinite(a.map).all().item<bool>());
  // Those that change the picture do so by whole numbers.
  const bool changes = (call().method->needs & (kNeedsLayer | kNeedsBaseline)) != kNeedsLayer ||
                       (call().method->properties & kStochastic) || call().method->id == "score-cam";
  if (changes) return;
  EXPECT_TRUE(within(a.map, real.explain(call().text(), "1", {"map"}).map, {1e-9, 1e-9}));
}

TEST_P(EveryMethod, ConstantAndDeadPicturesStayFinite) {
  for (const double level : {0.0, 1.0, -3.0}) {
    const Explainer n(residual_graph(), at::full({1, 3, 13, 12}, level, at::TensorOptions(at::kDouble)));
    EXPECT_TRUE(at::isfinite(run(n).map).all().item<bool>()) << level;
  }
  LayerBuilder b(1);
  b.conv_with("c1", "x", b.random.normal({4, 3, 3, 3}), at::full({4}, -1e6, at::TensorOptions(at::kDouble)));
  b.node("Relu", "map", {"c1"});
  const Explainer dead(b.head("map", 3), pictures(1));
  const Attribution a = run(dead);
  // DeconvNet does not look at the forward pass; the influence of the last layer does not pass the dead rectifier.
  if (GetParam() == "deconvnet" || GetParam() == "internal-influence" || holds(kModelFree)) return;
  if (!a.zero_is_neutral) {  // a mean of equal scores
    EXPECT_NEAR((a.map.max() - a.map.min()).item<double>(), 0, 1e-12);
    return;
  }
  // Where pictures that differ are compared, their scores may differ in the last bit with their place in a batch.
  EXPECT_LE(a.map.abs().max().item<double>(),
            MethodCall::parse(GetParam()).method->family == "perturbation" ? 1e-14 : 0);
  EXPECT_FALSE(a.notes[0].empty());
}

TEST_P(EveryMethod, SaysWhenTheResultIsNotFinite) {
  if (holds(kModelFree)) return;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Graph graph = residual_graph();
  const ValueId weight = graph.find(holds(kClassAgnostic) ? "c1.w" : "logits.w");
  const Explainer n(graph.with_constants({{weight, graph.value(weight).constant * nan}}), pictures(1));
  expect_error(ErrorKind::kFailed,
               GetParam() +
                   ": the result is not finite; the model's weights, the input or an activation holds NaN or "
                   "infinity, or float32 overflowed (try --precision float64)",
               [&] { run(n); });
}

TEST(MethodTable, HoldsWhatTheIssueLists) {
  const std::set<std::string> expected = {"gradient",
                                          "saliency",
                                          "gradient-x-input",
                                          "smoothgrad",
                                          "smoothgrad-squared",
                                          "vargrad",
                                          "integrated-gradients",
                                          "guided-ig",
                                          "blur-ig",
                                          "expected-gradients",
                                          "xrai",
                                          "layer-conductance",
                                          "internal-influence",
                                          "layer-integrated-gradients",
                                          "random",
                                          "edges",
                                          "center",
                                          "activation-mean",
                                          "deconvnet",
                                          "guided-backprop",
                                          "cam",
                                          "grad-cam",
                                          "counterfactual-grad-cam",
                                          "grad-cam++",
                                          "guided-grad-cam",
                                          "guided-grad-cam++",
                                          "smooth-grad-cam++",
                                          "xgrad-cam",
                                          "hires-cam",
                                          "layer-cam",
                                          "grad-cam-elementwise",
                                          "eigen-cam",
                                          "eigen-grad-cam",
                                          "rise",
                                          "lime",
                                          "kernel-shap",
                                          "shapley-sampling",
                                          "feature-ablation",
                                          "meaningful-perturbation",
                                          "extremal-perturbation",
                                          "sobol",
                                          "hsic",
                                          "lrp",
                                          "deeplift",
                                          "excitation-backprop",
                                          "contrastive-excitation-backprop"};
  std::set<std::string> found;
  for (const Method& m : methods()) {
    found.insert(m.id);
    EXPECT_FALSE(m.title.empty() || m.summary.empty()) << m.id;
    EXPECT_GE(m.paper.year, 2009) << m.id;
    const std::set<std::string> families{"gradient", "propagation", "cam", "perturbation", "baseline"};
    EXPECT_EQ(families.count(m.family), 1u) << m.id;
  }
  for (const std::string& id : expected) EXPECT_EQ(found.count(id), 1u) << id;
  EXPECT_EQ(found.size(), methods().size());
}

TEST(MethodCallText, SuggestsNearNames) {
  expect_error(ErrorKind::kUsage,
               "no method 'gradcam'; did you mean 'grad-cam', 'xgrad-cam' or 'cam'? ('pellucid methods' lists all)",
               [] { MethodCall::parse("gradcam"); });
  expect_error(ErrorKind::kUsage, "no method 'zzzzzzzzzzzz' ('pellucid methods' lists all)",
               [] { MethodCall::parse("zzzzzzzzzzzz"); });
  expect_error(ErrorKind::kUsage, "smoothgrad: 'samples' is not NAME=VALUE",
               [] { MethodCall::parse("smoothgrad:samples"); });
  expect_error(ErrorKind::kUsage, "smoothgrad: samples is given twice",
               [] { MethodCall::parse("smoothgrad:samples=2,samples=3"); });
}

TEST(MethodCallText, ListsSplitAtMethods) {
  const auto calls = parse_methods("gradient,integrated-gradients:steps=10,baseline=blur:5,grad-cam");
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].text(), "gradient");
  EXPECT_EQ(calls[1].text(), "integrated-gradients:steps=10,baseline=blur:5");
  EXPECT_EQ(calls[2].text(), "grad-cam");
  EXPECT_EQ(parse_methods("all").size(), methods().size());
}

}  // namespace
}  // namespace pellucid::test
