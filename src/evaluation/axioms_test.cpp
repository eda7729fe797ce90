#include "pellucid/axioms.h"

#include <gtest/gtest.h>

#include <map>

#include "graph/rewrites.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Explainer;
using test::Family;
using test::LayerBuilder;
using test::Random;

std::map<std::string, AxiomReport> check(const std::string& method, const Context& context,
                                         const std::vector<std::string>& only = {}) {
  AxiomOptions options;
  options.only = only;
  options.features = 8;
  options.border = 2;
  std::map<std::string, AxiomReport> result;
  for (const AxiomReport& r : check_axioms(MethodCall::parse(method), context, options)) result[r.axiom] = r;
  return result;
}
AxiomReport check_one(const std::string& axiom, const std::string& method, const Context& context) {
  return check(method, context, {axiom}).at(axiom);
}

ModelCard gray_card() {
  ModelCard card;
  card.order = ChannelOrder::kGray;
  return card;
}

/// score_0 = 1 - relu(1 - x) for one pixel at x = 2; score_1 = 0.
Explainer saturated() {
  LayerBuilder b(1, {-1, 1, 1, 1});
  b.graph.constant("one", at::ones({}, at::kDouble));
  b.graph.node("Sub", {"one", "x"}, {"below"});
  b.graph.node("Relu", {"below"}, {"room"});
  b.graph.node("Sub", {"one", "room"}, {"f"});
  b.graph.node("Flatten", {"f"}, {"flat"});
  b.graph.constant("w", doubles({1, 0}, {1, 2}));
  b.graph.node("MatMul", {"flat", "w"}, {"logits"});
  return {b.finish("logits"), doubles({2}, {1, 1, 1, 1}), test::in_float64(), gray_card()};
}

// F3 at x = 2: the score is 1 more than at the baseline 0; the gradient is 0, integrated gradients are 1.
TEST(Axioms, SaturatedUnitLosesTheGradient) {
  const Explainer net = saturated();
  const AxiomReport gradient = check_one("sensitivity-a", "gradient", net.context("0"));
  EXPECT_EQ(gradient.verdict, Verdict::kFails);
  EXPECT_EQ(gradient.measured, 1);
  EXPECT_NE(gradient.finding.find("pixel (0,0) alone differs from the baseline zero and change"), std::string::npos)
      << gradient.finding;
  EXPECT_EQ(check_one("sensitivity-a", "integrated-gradients:baseline=zero", net.context("0")).verdict,
            Verdict::kHolds);
  const AxiomReport sum = check_one("completeness", "gradient-x-input", net.context("0"));
  EXPECT_EQ(sum.verdict, Verdict::kFails);
  EXPECT_DOUBLE_EQ(sum.measured, 1);
  EXPECT_EQ(check_one("completeness", "integrated-gradients:baseline=zero,steps=64", net.context("0")).verdict,
            Verdict::kHolds);
}

/// relu(relu(x1) - 1 - relu(x2)), or relu(relu(x1 - 1) - relu(x2)): one function of the pixels (x1, x2).
Explainer f2(bool inner_shift) {
  LayerBuilder b(1, {-1, 1, 1, 2});
  b.node("Flatten", "flat", {"x"});
  b.graph.constant("one", at::ones({}, at::kDouble));
  b.gemm_with("x1", "flat", doubles({1, 0}, {1, 2}));
  b.gemm_with("x2", "flat", doubles({0, 1}, {1, 2}));
  b.graph.node("Relu", {"x2"}, {"second"});
  if (inner_shift) {
    b.graph.node("Sub", {"x1", "one"}, {"shifted"});
    b.graph.node("Relu", {"shifted"}, {"first"});
  } else {
    b.graph.node("Relu", {"x1"}, {"rectified"});
    b.graph.node("Sub", {"rectified", "one"}, {"first"});
  }
  b.graph.node("Sub", {"first", "second"}, {"difference"});
  b.graph.node("Relu", {"difference"}, {"f"});
  b.graph.constant("w", doubles({1, 0}, {1, 2}));
  b.graph.node("MatMul", {"f", "w"}, {"logits"});
  return {b.finish("logits"), doubles({3, 1}, {1, 1, 1, 2}), test::in_float64(), gray_card()};
}

// F2 at (3, 1): the same attributions by both graphs.
TEST(Axioms, TwoGraphsOfOneFunctionAreExplainedAlike) {
  for (const bool inner_shift : {false, true}) {
    const Explainer net = f2(inner_shift);
    EXPECT_TRUE(
        test::within(net.explain("gradient-x-input", "0").values, doubles({3, -1}, {1, 1, 1, 2}), {1e-12, 1e-12}));
    EXPECT_TRUE(test::within(net.explain("integrated-gradients:baseline=zero,steps=4096,rule=midpoint", "0").values,
                             doubles({1.5, -0.5}, {1, 1, 1, 2}), {1e-3, 1e-3}));
  }
}

TEST(Axioms, GradientOnARandomNetwork) {
  const Explainer net(test::random_network(Family::kResidual, 5), Random(6).normal({2, 3, 10, 10}));
  const auto r = check("gradient", net.context());
  ASSERT_EQ(r.size(), 7u);
  EXPECT_EQ(r.at("completeness").verdict, Verdict::kFails);
  EXPECT_EQ(r.at("sensitivity-a").verdict, Verdict::kFails);  // with its scores capped
  EXPECT_NE(r.at("sensitivity-a").finding.find("scores capped at"), std::string::npos);
  EXPECT_EQ(r.at("sensitivity-b").verdict, Verdict::kHolds);
  EXPECT_EQ(r.at("sensitivity-b").measured, 0);
  EXPECT_EQ(r.at("implementation-invariance").verdict, Verdict::kHolds);
  EXPECT_LE(r.at("implementation-invariance").measured, 1e-10);
  EXPECT_GE(r.at("implementation-invariance").tried, 8);
  EXPECT_EQ(r.at("symmetry").verdict, Verdict::kHolds);
  EXPECT_EQ(r.at("linearity").verdict, Verdict::kHolds);
  EXPECT_EQ(r.at("input-invariance").verdict, Verdict::kHolds);
}

TEST(Axioms, IntegratedGradientsHoldWhatTheyWereMadeFor) {
  const Explainer net(test::random_network(Family::kClip, 5), Random(6).normal({1, 3, 10, 10}));
  const auto r = check("integrated-gradients:baseline=zero,steps=200", net.context());
  for (const char* id :
       {"completeness", "sensitivity-a", "sensitivity-b", "implementation-invariance", "symmetry", "linearity"}) {
    EXPECT_EQ(r.at(id).verdict, Verdict::kHolds) << id << ": " << r.at(id).finding;
  }
  // The baseline stays where it is when the picture moves.
  EXPECT_EQ(r.at("input-invariance").verdict, Verdict::kFails);
}

TEST(Axioms, GradientTimesInputIsNotInvariantToAShift) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({1, 3, 10, 10}));
  EXPECT_EQ(check_one("input-invariance", "gradient-x-input", net.context()).verdict, Verdict::kFails);
  EXPECT_EQ(check_one("linearity", "gradient-x-input", net.context()).verdict, Verdict::kHolds);
}

// Without biases the score is the sum of gradient x input.
TEST(Axioms, GradientTimesInputIsCompleteWithoutBiases) {
  const Explainer net(test::random_network(Family::kNoBias, 5), Random(6).normal({3, 3, 10, 10}));
  const AxiomReport r = check_one("completeness", "gradient-x-input", net.context());
  EXPECT_EQ(r.verdict, Verdict::kHolds) << r.finding;
  EXPECT_LE(r.measured, 1e-10);
  EXPECT_EQ(r.tried, 3);
}

// The input as a difference of two rectifiers: the rule drops what has the wrong sign for each.
TEST(Axioms, GuidedBackpropSeesTheImplementation) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({1, 3, 10, 10}));
  const AxiomReport r = check_one("implementation-invariance", "guided-backprop", net.context());
  EXPECT_EQ(r.verdict, Verdict::kFails);
  EXPECT_NE(r.finding.find("rectifier-identity"), std::string::npos) << r.finding;
}

// HiResCAM before global average pooling and one linear layer: S - b, and S with the layer at zero is b.
TEST(Axioms, HiResCamIsCompleteOnAPooledHead) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({2, 3, 10, 10}));
  const AxiomReport r = check_one("completeness", "hires-cam", net.context("top1", {"map"}));
  EXPECT_EQ(r.verdict, Verdict::kHolds) << r.finding;
  EXPECT_LE(r.measured, 1e-10);
  const AxiomReport border = check_one("sensitivity-b", "hires-cam", net.context("top1", {"map"}));
  EXPECT_EQ(border.verdict, Verdict::kFails);  // resampled over the border
}

// A trained network in float32, as users have it: rounding is no failure.
TEST(Axioms, GradientOnATrainedNetworkInFloat32) {
  const Graph graph = load_onnx(std::string(PELLUCID_SOURCE_DIR) + "/models/flower_single_6c.onnx");
  const ModelCard card = guess_card(graph);
  const Explainer net(graph, card.model_from_display(Random(1).uniform({1, 3, 64, 64})), {}, card);
  const auto r = check("gradient", net.context());
  for (const char* id : {"sensitivity-b", "implementation-invariance", "symmetry", "linearity", "input-invariance"}) {
    EXPECT_EQ(r.at(id).verdict, Verdict::kHolds) << id << ": " << r.at(id).measured << " " << r.at(id).finding;
  }
  EXPECT_EQ(r.at("completeness").verdict, Verdict::kFails);
  EXPECT_EQ(check_one("implementation-invariance", "guided-backprop", net.context()).verdict, Verdict::kFails);
}

/// Paints half of the score on every pixel, as methods of regions do, and says what was shared out when asked to.
Method painted(const char* family, bool says) {
  Method m = *MethodCall::parse("gradient").method;
  m.id = "painted";
  m.family = family;
  m.run = [says](const Context& context, const ParamMap&) {
    Attribution a;
    a.values = at::ones_like(context.input);
    a.map = a.values.sum(1);
    a.reduction = "sum";
    a.diagnostics.resize(static_cast<size_t>(context.input.size(0)));
    a.notes.resize(a.diagnostics.size());
    if (says) a.diagnostics[0] = {{"attribution_sum", 4}, {"score_difference", 4}};
    return a;
  };
  return m;
}

// One region of many pixels sums to many times what it was given; only the method knows that it was given it once.
TEST(Axioms, CompletenessIsAskedAgainstTheMethodsOwnReference) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({1, 3, 10, 10}));
  const auto tried = [&](const Method& method) {
    AxiomOptions options;
    options.only = {"completeness"};
    return check_axioms(MethodCall{&method, {}}, net.context(), options).at(0);
  };
  const Method silent = painted("perturbation", false), saying = painted("perturbation", true);
  EXPECT_EQ(tried(silent).verdict, Verdict::kDoesNotApply);
  EXPECT_EQ(tried(silent).finding, "painted does not say what its values add up to");
  EXPECT_EQ(tried(saying).verdict, Verdict::kHolds) << tried(saying).finding;
  EXPECT_EQ(tried(painted("gradient", false)).verdict, Verdict::kFails);
}

// Each picture is called by its name where it has one.
TEST(Axioms, FindingsNameThePicture) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({1, 3, 10, 10}));
  AxiomOptions options;
  options.only = {"completeness"};
  options.pictures = {"flower"};
  const AxiomReport r = check_axioms(MethodCall::parse("gradient"), net.context(), options).at(0);
  EXPECT_EQ(r.finding.rfind("picture flower: attributions sum to", 0), 0u) << r.finding;
}

// Height and width open, channels last: the symmetric model needs the number of channels, which the picture tells.
TEST(Axioms, SymmetryOfAModelThatSaysNothingOfItsInput) {
  LayerBuilder b(1, {-1, -1, -1, -1});
  b.graph.node("Transpose", {"x"}, {"planes"}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  b.graph.constant("w", Random(2).normal({4, 3, 3, 3}));
  b.graph.node("Conv", {"planes", "w"}, {"c"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  b.graph.node("Relu", {"c"}, {"r"});
  b.graph.node("GlobalAveragePool", {"r"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"logits"});
  ModelCard card;
  card.channels_first = false;
  const Explainer net(b.finish("logits"), Random(6).normal({1, 6, 5, 3}), test::in_float64(), card);
  const AxiomReport r = check_one("symmetry", "gradient", net.context("0"));
  EXPECT_EQ(r.tried, 2) << r.finding;
}

TEST(Axioms, DoNotApplyWhereTheyMakeNoSense) {
  const Explainer net(test::random_network(Family::kPlain, 5), Random(6).normal({1, 3, 10, 10}));
  const AxiomReport layer = check_one("sensitivity-a", "grad-cam", net.context("top1", {"map"}));
  EXPECT_EQ(layer.verdict, Verdict::kDoesNotApply);
  EXPECT_NE(layer.finding.find("the map belongs to a layer"), std::string::npos);
  EXPECT_EQ(check_one("linearity", "gradient", net.context("channel:map:0")).verdict, Verdict::kDoesNotApply);
  const AxiomReport blurred = check_one("sensitivity-a", "integrated-gradients:baseline=blur", net.context());
  EXPECT_EQ(blurred.verdict, Verdict::kDoesNotApply);
  test::expect_error(
      ErrorKind::kUsage,
      "no axiom 'symetry'; did you mean 'symmetry'? (there are: completeness, sensitivity-a, sensitivity-b, "
      "implementation-invariance, symmetry, linearity, input-invariance)",
      [&] { check_one("symetry", "gradient", net.context()); });
}

}  // namespace
}  // namespace pellucid
