#include "attribution/relevance.h"

#include <gtest/gtest.h>

#include <functional>

#include "attribution/relevance_rules.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-9, 1e-9};
// Values worked out without the stabilizer, which moves them by 1e-6 of their denominators.
constexpr Tolerance kStabilized{5e-6, 5e-6};
constexpr double kStabilizer = 1e-6;

// One neuron: inputs (3,2,0), weights (1,-1,3), so z = 1, or 1.5 with a bias of a half; relevance starts from z. Worked
// out by hand from the formulas at the head of relevance_rules.cpp; the bounds of the box are [-1, 4].
struct NeuronCase {
  const char* rule;
  std::vector<double> without_bias, with_bias;
};
const NeuronCase kNeuron[] = {
    {"zero", {3, -2, 0}, {3, -2, 0}},
    {"epsilon(0.25)", {2.4, -1.6, 0}, {3 * 1.5 / 1.75, -2 * 1.5 / 1.75, 0}},
    {"gamma(0.25)", {3.75 / 1.75, -2 / 1.75, 0}, {3.75 * 1.5 / 2.375, -2 * 1.5 / 2.375, 0}},
    {"z-plus", {1, 0, 0}, {3 * 1.5 / 3.5, 0, 0}},
    {"excitation", {1, 0, 0}, {1.5, 0, 0}},
    {"alpha-beta(2)", {2, -1, 0}, {2 * 3 * 1.5 / 3.5, -1.5, 0}},
    {"alpha-beta(1)", {1, 0, 0}, {3 * 1.5 / 3.5, 0, 0}},
    {"w-square", {1. / 11, 1. / 11, 9. / 11}, {1.5 / 11.25, 1.5 / 11.25, 13.5 / 11.25}},
    {"flat", {1. / 3, 1. / 3, 1. / 3}, {0.5, 0.5, 0.5}},
    {"z-box", {4. / 9, 2. / 9, 3. / 9}, {6. / 9, 3. / 9, 4.5 / 9}},
};

/// Display 0 and 1 become -1 and 4.
ModelCard box_card() {
  ModelCard card;
  card.scale = 1.0 / 255;
  card.mean = {0.2, 0.2, 0.2};
  card.std = {0.2, 0.2, 0.2};
  return card;
}

Explainer neuron(const std::string& op, bool bias) {
  LayerBuilder b(1, {-1, 3, 1, 1});
  const Tensor offset = bias ? doubles({0.5}, {1}) : Tensor();
  if (op == "Conv") {
    b.conv_with("c", "x", doubles({1, -1, 3}, {1, 3, 1, 1}), offset);
    b.node("Flatten", "score", {"c"});
  } else if (op == "ConvTranspose") {
    b.graph.constant("c.w", doubles({1, -1, 3}, {3, 1, 1, 1}));
    std::vector<std::string> inputs{"x", "c.w"};
    if (bias) {
      b.graph.constant("c.b", offset);
      inputs.push_back("c.b");
    }
    b.graph.node("ConvTranspose", inputs, {"c"}, {}, "c_node");
    b.graph.node("Flatten", {"c"}, {"score"});
  } else {
    b.node("Flatten", "flat", {"x"});
    b.gemm_with("score", "flat", doubles({1, -1, 3}, {1, 3}), offset);
  }
  return Explainer(b.finish("score"), doubles({3, 2, 0}, {1, 3, 1, 1}), in_float64(), box_card());
}

TEST(RelevanceRules, OneNeuronByHand) {
  for (const std::string op : {"Conv", "ConvTranspose", "Gemm"}) {
    for (const NeuronCase& c : kNeuron) {
      for (const bool bias : {false, true}) {
        const Explainer n = neuron(op, bias);
        const Attribution a = n.explain("lrp:composite=linear:" + std::string(c.rule), "1");
        const auto& expected = bias ? c.with_bias : c.without_bias;
        EXPECT_TRUE(within(a.values, doubles(expected, {1, 3, 1, 1}), kStabilized))
            << op << " " << c.rule << " " << bias;
        // What is not at the input was taken by the bias.
        const auto& d = a.diagnostics[0];
        EXPECT_NEAR(d.at("start"), bias ? 1.5 : 1, 1e-12);
        EXPECT_NEAR(d.at("relevance") + d.at("absorbed"), d.at("start"), 1e-12) << c.rule;
        EXPECT_NEAR(d.at("conservation_gap"), d.at("relevance") - d.at("start"), 1e-12);
      }
    }
  }
}

// --- every rule against its literal matrix form -------------------------------------------------------------------

/// A linear layer as the matrix [outputs, inputs] that its Jacobian is, and its bias, for one image.
struct MatrixForm {
  Tensor w, b;
};

/// Column by column: the network's answer to each unit vector, less its answer to zero.
MatrixForm matrix_of(const Explainer& n, const std::string& value) {
  const Shape one = n.input.narrow(0, 0, 1).sizes().vec();
  const int64_t inputs = n.input[0].numel();
  const Tensor zero = n.value(n.layers.find(value), at::zeros(one, n.input.options())).flatten();
  TensorList columns;
  for (int64_t i = 0; i < inputs; ++i) {
    Tensor unit = at::zeros({inputs}, n.input.options());
    unit[i] = 1;
    columns.push_back(n.value(n.layers.find(value), unit.view(one)).flatten() - zero);
  }
  return {at::stack(columns, 1), zero};
}

Tensor up(const Tensor& t) { return t.clamp_min(0); }
Tensor down(const Tensor& t) { return t.clamp_max(0); }
Tensor stable(const Tensor& z, double epsilon) { return z + (z.ge(0).to(at::kDouble) * 2 - 1) * epsilon; }

/// The sum over outputs j of  numerator_ij / denominator_j R_j,  numerators [outputs, inputs].
Tensor shared_out(const Tensor& numerators, const Tensor& denominators, const Tensor& r) {
  return (numerators * (r / denominators).unsqueeze(1)).sum(0);
}

using MatrixRule = std::function<Tensor(const MatrixForm&, const Tensor& a, const Tensor& r)>;

Tensor literal_alpha_beta(const MatrixForm& m, const Tensor& a, const Tensor& r, double alpha) {
  const Tensor z = m.w * a;
  const Tensor helping = shared_out(up(z), stable(up(z).sum(1) + up(m.b), kStabilizer), r);
  const Tensor hindering = shared_out(down(z), stable(down(z).sum(1) + down(m.b), kStabilizer), r);
  return alpha * helping - (alpha - 1) * hindering;
}

Tensor literal_gamma(const MatrixForm& m, const Tensor& a, const Tensor& r, double gamma) {
  const Tensor favour_up = m.w + gamma * up(m.w), favour_down = m.w + gamma * down(m.w);
  const Tensor z = (m.w * a).sum(1) + m.b;
  const Tensor on = up(a) * favour_up + down(a) * favour_down, off = up(a) * favour_down + down(a) * favour_up;
  const Tensor zero = at::zeros_like(r);
  return shared_out(on, stable(on.sum(1) + m.b + gamma * up(m.b), kStabilizer), at::where(z > 0, r, zero)) +
         shared_out(off, stable(off.sum(1) + m.b + gamma * down(m.b), kStabilizer), at::where(z < 0, r, zero));
}

/// Cells of the matrix inside a kernel; where weights are zero by chance they are not, so random ones are used.
Tensor connected(const MatrixForm& m) { return m.w.ne(0).to(at::kDouble); }

struct LiteralRule {
  const char* text;
  MatrixRule rule;
};
const LiteralRule kLiteral[] = {
    {"epsilon(0.1)", [](const MatrixForm& m, const Tensor& a,
                        const Tensor& r) { return shared_out(m.w * a, stable((m.w * a).sum(1) + m.b, 0.1), r); }},
    {"gamma(0.4)", [](const MatrixForm& m, const Tensor& a, const Tensor& r) { return literal_gamma(m, a, r, 0.4); }},
    {"alpha-beta(2)",
     [](const MatrixForm& m, const Tensor& a, const Tensor& r) { return literal_alpha_beta(m, a, r, 2); }},
    {"alpha-beta(1.5)",
     [](const MatrixForm& m, const Tensor& a, const Tensor& r) { return literal_alpha_beta(m, a, r, 1.5); }},
    {"z-plus", [](const MatrixForm& m, const Tensor& a, const Tensor& r) { return literal_alpha_beta(m, a, r, 1); }},
    {"excitation",
     [](const MatrixForm& m, const Tensor& a, const Tensor& r) {
       const Tensor z = up(m.w * a);
       // Units without a positive contribution pass nothing on.
       return shared_out(z, at::where(z.sum(1) > 0, z.sum(1), at::ones_like(r)), r);
     }},
    {"w-square",
     [](const MatrixForm& m, const Tensor&, const Tensor& r) {
       return shared_out(m.w.square(), stable(m.w.square().sum(1) + m.b.square(), kStabilizer), r);
     }},
    {"flat", [](const MatrixForm& m, const Tensor&,
                const Tensor& r) { return shared_out(connected(m), stable(connected(m).sum(1), kStabilizer), r); }},
    {"z-box",
     [](const MatrixForm& m, const Tensor& a, const Tensor& r) {
       const Tensor z = m.w * a + up(m.w) - 4 * down(m.w);  // bounds -1 and 4
       return shared_out(z, stable(z.sum(1), kStabilizer), r);
     }},
};

/// One linear layer "z" on "x" [N,3,5,6], followed by nothing.
struct LayerCase {
  const char* name;
  std::function<void(LayerBuilder&)> write;
};

void conv_node(LayerBuilder& b, const char* op, const Tensor& weight, const Tensor& bias,
               std::map<std::string, Attribute> attributes) {
  b.graph.constant("w", weight);
  b.graph.constant("b", bias);
  b.graph.node(op, {"x", "w", "b"}, {"z"}, std::move(attributes), "z_node");
}

using Ints = std::vector<int64_t>;
const LayerCase kLayers[] = {
    {"convolution with one-sided padding",
     [](LayerBuilder& b) {
       conv_node(b, "Conv", b.random.normal({4, 3, 3, 3}), b.random.normal({4}),
                 {{"pads", Ints{0, 0, 1, 1}}, {"strides", Ints{2, 2}}});
     }},
    {"dilated convolution",
     [](LayerBuilder& b) {
       conv_node(b, "Conv", b.random.normal({4, 3, 3, 3}), b.random.normal({4}),
                 {{"pads", Ints{2, 2, 2, 2}}, {"dilations", Ints{2, 2}}});
     }},
    {"depthwise convolution",
     [](LayerBuilder& b) {
       conv_node(b, "Conv", b.random.normal({6, 1, 3, 3}), b.random.normal({6}),
                 {{"pads", Ints{1, 1, 1, 1}}, {"group", int64_t{3}}});
     }},
    {"transposed convolution",
     [](LayerBuilder& b) {
       conv_node(b, "ConvTranspose", b.random.normal({3, 4, 3, 3}), b.random.normal({4}),
                 {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}});
     }},
    {"dense layer with factors",
     [](LayerBuilder& b) {
       b.node("Flatten", "flat", {"x"});
       b.graph.constant("w", b.random.normal({90, 7}));
       b.graph.constant("b", b.random.normal({7}));
       b.graph.node("Gemm", {"flat", "w", "b"}, {"z"}, {{"alpha", -0.5}, {"beta", 2.0}}, "z_node");
     }},
    {"matrix product",
     [](LayerBuilder& b) {
       b.graph.constant("w", b.random.normal({6, 7}));
       b.graph.node("MatMul", {"x", "w"}, {"z"}, {}, "z_node");
     }},
};

TEST(RelevanceRules, EqualTheirMatrixForms) {
  for (const LayerCase& layer : kLayers) {
    for (const bool is_signed : {false, true}) {
      LayerBuilder b(17, {-1, 3, 5, 6});
      layer.write(b);
      b.graph.node("Flatten", {"z"}, {"score"});
      const Tensor x = is_signed ? Random(4).normal({2, 3, 5, 6}) : Random(4).uniform({2, 3, 5, 6});
      const Explainer n(b.finish("score"), x, in_float64(), box_card());
      const MatrixForm matrix = matrix_of(n, "z");
      const Tensor z = n.value("z").flatten(1);
      for (const LiteralRule& literal : kLiteral) {
        // The score is one output; with "one" its relevance is 1.
        const int64_t unit = z.size(1) / 2;
        Tensor r = at::zeros({z.size(1)}, at::kDouble);
        r[unit] = 1;
        const Attribution a =
            n.explain("lrp:start=one,composite=linear:" + std::string(literal.text), std::to_string(unit));
        for (int64_t i = 0; i < 2; ++i) {
          const Tensor expected = literal.rule(matrix, x[i].flatten(), r);
          EXPECT_TRUE(within(a.values[i].flatten(), expected, kExact)) << layer.name << ", " << literal.text;
        }
      }
    }
  }
}

// --- sums, pools, batch norms, activations, products ---------------------------------------------------------------

/// The relevance of "x" when 1 starts at output `unit` of "z" and only `write` lies between.
Attribution through(const std::function<void(LayerBuilder&)>& write, const Tensor& x, const NetworkOptions& options,
                    const std::string& composite = "linear:zero", int64_t unit = 0) {
  LayerBuilder b(2, {-1, x.size(1), x.size(2), x.size(3)});
  write(b);
  b.graph.node("Flatten", {"z"}, {"score"});
  const Explainer n(b.finish("score"), x, options);
  const bool single = n.value("score").numel() == 1;  // a single logit is class 1
  return n.explain("lrp:start=one,composite=" + composite, std::to_string(single ? 1 : unit));
}

TEST(RelevanceRules, SumsShareByContribution) {
  const Tensor x = doubles({3, -1, 2, 5}, {1, 4, 1, 1});
  const auto add = [](LayerBuilder& b) {
    b.graph.constant("front", at::tensor({0, 1}, at::TensorOptions(at::kLong)));
    b.graph.constant("back", at::tensor({2, 3}, at::TensorOptions(at::kLong)));
    b.graph.node("Gather", {"x", "front"}, {"p"}, {{"axis", int64_t{1}}});
    b.graph.node("Gather", {"x", "back"}, {"q"}, {{"axis", int64_t{1}}});
    b.graph.node("Add", {"p", "q"}, {"z"});
  };
  // z = (3 + 2, -1 + 5).
  EXPECT_TRUE(within(through(add, x, in_float64()).values, doubles({3. / 5, 0, 2. / 5, 0}, {1, 4, 1, 1}), kStabilized));
  EXPECT_TRUE(within(through(add, x, in_float64(), "linear:zero", 1).values,
                     doubles({0, -1. / 4, 0, 5. / 4}, {1, 4, 1, 1}), kStabilized));
  EXPECT_TRUE(
      within(through(add, x, in_float64(), "sum:gradient").values, doubles({1, 0, 1, 0}, {1, 4, 1, 1}), kExact));
}

TEST(RelevanceRules, AveragesShareByContribution) {
  const Tensor x = doubles({3, -1, 2, 5}, {1, 1, 2, 2});
  const auto pool = [](LayerBuilder& b) { b.node("GlobalAveragePool", "z", {"x"}); };
  EXPECT_TRUE(within(through(pool, x, in_float64()).values, doubles({3. / 9, -1. / 9, 2. / 9, 5. / 9}, {1, 1, 2, 2}),
                     kStabilized));
  const auto window = [](LayerBuilder& b) { b.pool("AveragePool", "z", "x", 2, 1); };
  EXPECT_TRUE(within(through(window, x, in_float64()).values, doubles({3. / 9, -1. / 9, 2. / 9, 5. / 9}, {1, 1, 2, 2}),
                     kStabilized));
}

// Overlapping windows of 3 with stride 2 share the centre: each of the four hands its relevance to it.
TEST(RelevanceRules, MaximaGiveAllToTheWinner) {
  Tensor x = at::zeros({1, 1, 5, 5}, at::kDouble);
  x[0][0][2][2] = 1;
  const auto pool = [](LayerBuilder& b) {
    b.pool("MaxPool", "m", "x", 3, 2);
    b.node("GlobalAveragePool", "z", {"m"});
  };
  Tensor expected = at::zeros_like(x);
  expected[0][0][2][2] = 1;  // four quarters
  EXPECT_TRUE(within(through(pool, x, in_float64()).values, expected, kStabilized));
}

TEST(RelevanceRules, GatesGetNothing) {
  const Tensor x = doubles({3, -1, 2, 5}, {1, 1, 2, 2});
  const auto squeeze = [](LayerBuilder& b) {
    b.node("GlobalAveragePool", "g", {"x"});
    b.node("Sigmoid", "s", {"g"});
    b.node("Mul", "z", {"s", "x"});
  };
  EXPECT_TRUE(within(through(squeeze, x, in_float64()).values, doubles({1, 0, 0, 0}, {1, 1, 2, 2}), kExact));
  const Attribution square = through([](LayerBuilder& b) { b.node("Mul", "z", {"x", "x"}); }, x, in_float64());
  EXPECT_TRUE(within(square.values, doubles({1, 0, 0, 0}, {1, 1, 2, 2}), kExact));
  const Attribution split = through(
      [](LayerBuilder& b) {
        b.node("Neg", "n", {"x"});
        b.node("Mul", "z", {"x", "n"});
      },
      x, in_float64());
  EXPECT_TRUE(within(split.values, doubles({1, 0, 0, 0}, {1, 1, 2, 2}), kExact));  // two halves
  ASSERT_EQ(split.notes[0].size(), 1u);
  EXPECT_EQ(split.notes[0][0].find("lrp: neither factor of "), 0u) << split.notes[0][0];
}

// y = s x + t with s = scale / sqrt(var + eps): R x s / (s x + t), or all of it under pass.
TEST(RelevanceRules, UnmergedBatchNormIsAnAffineLayer) {
  const Tensor x = doubles({3, -1}, {1, 2, 1, 1});
  const auto write = [](LayerBuilder& b) { b.norm("z", "x"); };
  LayerBuilder same(2, {-1, 2, 1, 1});
  same.norm("z", "x");
  const Explainer n(same.finish("z"), x);
  const Tensor z = n.value("z").flatten();
  const double slope = (n.value(n.layers.find("z"), x + 1).flatten() - z)[1].item<double>();
  const double expected = -1 * slope / (z[1].item<double>() + (z[1].item<double>() < 0 ? -1e-6 : 1e-6));
  const Attribution a = through(write, x, in_float64(), "linear:zero", 1);
  EXPECT_NEAR(a.values.flatten()[1].item<double>(), expected, 1e-9 * std::abs(expected));
  EXPECT_EQ(a.rule_uses.at("batch-norm"), 1);
  EXPECT_EQ(a.notes[0].at(0),
            "lrp: 1 of 1 batch normalizations could not be merged into a linear neighbour and are layers of their own");
  EXPECT_NEAR(through(write, x, in_float64(), "batch-norm:pass", 1).values.flatten()[1].item<double>(), 1, 1e-12);
}

// A glob over a block names its activations too; the rule is for its layers with weights.
TEST(RelevanceRules, NamesOfBlocksGovernTheirWeights) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 8, 8}));
  const Attribution by_name = n.explain("lrp:composite=name(*):gamma(0.3);name(nothing*):epsilon", "0");
  const Attribution by_kind = n.explain("lrp:composite=linear:gamma(0.3)", "0");
  EXPECT_TRUE(at::equal(by_name.values, by_kind.values));
  EXPECT_EQ(by_name.notes[0].at(0), "lrp: no node fits the rule for name 'nothing*'");
}

TEST(RelevanceRules, WeightRulesAreRefusedWhereThereAreNoWeights) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 8, 8}));
  expect_error(ErrorKind::kUsage,
               "node 'map_node' (Relu) has no weights that a rule could look at; zero, epsilon, pass or gradient was "
               "expected for it",
               [&] { n.explain("lrp:composite=activation:gamma", "0"); });
  expect_error(ErrorKind::kUsage,
               "the z-box rule needs the bounds of its input, which are known at the first layers only, not at "
               "'logits_node'",
               [&] { n.explain("lrp:composite=dense:z-box", "0"); });
}

// --- whole networks ------------------------------------------------------------------------------------------------

// On networks of rectifiers and pools without biases nothing is absorbed, whatever the rule.
TEST(Lrp, ConservesWithoutBiases) {
  const Explainer n(random_network(Family::kNoBias, 3), Random(1).uniform({2, 3, 14, 14}), in_float64(), box_card());
  for (const std::string lines :
       {"linear:zero", "linear:excitation", "first:flat;linear:excitation", "first:w-square;linear:excitation",
        "first:z-box;linear:excitation", "linear:alpha-beta(2)"}) {
    const Attribution a = n.explain("lrp:epsilon=0,composite=" + lines, "1");
    for (int64_t i = 0; i < 2; ++i) {
      const auto& d = a.diagnostics[static_cast<size_t>(i)];
      // Stabilizers of 1e-6 beside values near one, four layers deep.
      const double bound = lines == "linear:zero" || lines == "linear:excitation" ? 1e-9 : 2e-4;
      EXPECT_NEAR(d.at("conservation_gap") / d.at("start"), 0, bound) << lines;
    }
  }
}

// Without biases LRP-0 is gradient times input (Shrikumar et al. 2016; rectifiers and pools are homogeneous).
TEST(Lrp, ZeroRuleIsGradientTimesInputWithoutBiases) {
  const Explainer n(random_network(Family::kNoBias, 5), Random(1).normal({2, 3, 14, 14}));
  EXPECT_TRUE(within(n.explain("lrp:composite=linear:zero,epsilon=0", "2").values,
                     n.explain("gradient-x-input", "2").values, {2e-9, 2e-9}));
}

TEST(Lrp, WhatDoesNotArriveWasAbsorbed) {
  for (const Family family : kFamilies) {
    const Explainer n(random_network(family, 2), Random(1).normal({2, 3, 14, 14}));
    for (const std::string composite : {"epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1",
                                        "epsilon-alpha2-beta1-flat", "epsilon-gamma-box", "excitation-backprop"}) {
      const Attribution a = n.explain("lrp:composite=" + composite, "1");
      for (int64_t i = 0; i < 2; ++i) {
        const auto& d = a.diagnostics[static_cast<size_t>(i)];
        EXPECT_NEAR(d.at("start"), n.logits(n.input)[i][1].item<double>(), 1e-12);
        EXPECT_NEAR(d.at("relevance") + d.at("absorbed"), d.at("start"), 1e-9 * std::abs(d.at("start")) + 1e-9)
            << family_name(family) << " " << composite;
        EXPECT_NEAR(a.map[i].sum().item<double>(), d.at("relevance"), 1e-9 * (1 + std::abs(d.at("relevance"))));
      }
    }
  }
}

// Batch norms behind convolutions are merged, which changes no answer; node by node they are layers of their own.
TEST(Lrp, CanonicalFormMergesBatchNorms) {
  const Tensor x = Random(1).normal({2, 3, 14, 14});
  const Graph graph = random_network(Family::kResidual, 2);
  const Explainer merged(graph, x), plain(graph, x, in_float64(false));
  EXPECT_TRUE(within(merged.logits(x), plain.logits(x), {1e-12, 1e-12}));
  const Attribution a = merged.explain("lrp", "1");
  EXPECT_EQ(a.rule_uses,
            (std::map<std::string, int64_t>{
                {"batch-norm merged", 3}, {"epsilon", 1}, {"flat", 1}, {"norm", 3}, {"pass", 3}, {"z-plus", 3}}));
  EXPECT_TRUE(a.notes[0].empty());
  const Attribution b = plain.explain("lrp", "1");
  EXPECT_EQ(b.rule_uses.at("batch-norm"), 3);
  EXPECT_EQ(b.rule_uses.count("batch-norm merged"), 0u);
  // Without a bias of its own a convolution and its batch norm are one affine map, also under epsilon.
  EXPECT_TRUE(within(plain.explain("lrp:composite=epsilon,epsilon=1e-12", "1").values,
                     merged.explain("lrp:composite=epsilon,epsilon=1e-12", "1").values, {1e-6, 1e-6}));
}

// A dense layer followed by a batch norm, and a batch norm in front of a layer without padding.
Graph dense_norm_graph(int64_t pad) {
  LayerBuilder b(3);
  b.norm("n0", "x");
  b.graph.constant("c.w", b.random.normal({5, 3, 3, 3}) * 0.3);
  b.graph.constant("c.b", b.random.normal({5}) * 0.1);
  b.graph.node("Conv", {"n0", "c.w", "c.b"}, {"c"}, {{"pads", Ints{pad, pad, pad, pad}}}, "c_node");
  b.graph.node("Relu", {"c"}, {"r"});
  b.graph.node("GlobalAveragePool", {"r"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"flat"});
  b.gemm_with("d", "flat", b.random.normal({4, 5}), b.random.normal({4}));
  for (const char* p : {"scale", "var"}) b.graph.constant(std::string("m.") + p, b.random.uniform({4}) + 0.5);
  for (const char* p : {"shift", "mean"}) b.graph.constant(std::string("m.") + p, b.random.normal({4}));
  b.graph.node("BatchNormalization", {"d", "m.scale", "m.shift", "m.mean", "m.var"}, {"logits"}, {}, "m_node");
  return b.finish("logits");
}

TEST(Lrp, CanonicalFormMergesAroundDenseLayersAndInFrontOfUnpaddedOnes) {
  const Tensor x = Random(1).normal({2, 3, 9, 9});
  for (const int64_t pad : {0, 1}) {
    const Explainer merged(dense_norm_graph(pad), x), plain(dense_norm_graph(pad), x, in_float64(false));
    EXPECT_TRUE(within(merged.logits(x), plain.logits(x), {1e-12, 1e-12})) << pad;
    const Attribution a = merged.explain("lrp", "1");
    // Padding is zero behind the batch norm, not in front of it: with padding the first one has to stay.
    EXPECT_EQ(a.rule_uses.at("batch-norm merged"), pad == 0 ? 2 : 1);
    EXPECT_EQ(a.rule_uses.count("batch-norm"), pad == 0 ? 0u : 1u);
    EXPECT_NEAR(a.diagnostics[0].at("relevance") + a.diagnostics[0].at("absorbed"), a.diagnostics[0].at("start"), 1e-9);
  }
}

TEST(Lrp, StartsFromTheScoreOrFromOne) {
  const Explainer n(random_network(Family::kPlain, 2), Random(1).normal({2, 3, 14, 14}));
  const Attribution score = n.explain("lrp", "1"), one = n.explain("lrp:start=one", "1");
  const Tensor logit = n.logits(n.input).select(1, 1);
  EXPECT_TRUE(within(score.values, one.values * logit.view({2, 1, 1, 1}), kExact));
  EXPECT_EQ(one.diagnostics[1].at("start"), 1);
}

TEST(Lrp, StopsAtALayer) {
  const Explainer n(random_network(Family::kPlain, 2), Random(1).normal({2, 3, 14, 14}));
  const Attribution a = n.explain("lrp:stop=r2", "1");
  EXPECT_EQ(a.values.sizes(), n.value("r2").select(1, 0).sizes());
  EXPECT_EQ(a.layers, std::vector<ValueId>{n.layers.find("r2")});
  EXPECT_TRUE(a.is_signed);
  EXPECT_NEAR(a.values[1].sum().item<double>(), a.diagnostics[1].at("relevance"), 1e-9);
  EXPECT_NEAR(a.diagnostics[1].at("relevance") + a.diagnostics[1].at("absorbed"), a.diagnostics[1].at("start"), 1e-9);
}

// The box follows the picture through whatever the model does to it before its first layer.
TEST(Lrp, BoxBoundsPassThroughPreprocessingInTheGraph) {
  const Tensor display = Random(1).uniform({2, 3, 9, 9});
  LayerBuilder inside(4), outside(4);
  inside.graph.constant("mean", doubles({0.2}, {1}));
  inside.graph.constant("spread", doubles({-0.2}, {1}));  // upside down: the bounds change places
  inside.node("Sub", "centered", {"x", "mean"});
  inside.node("Div", "ready", {"centered", "spread"});
  ModelCard as_is;
  as_is.scale = 1.0 / 255;
  as_is.mean = {0, 0, 0};
  as_is.std = {1, 1, 1};
  ModelCard card = box_card();
  const auto rest = [](LayerBuilder& b, const std::string& from, double sign) {
    const Tensor w = b.random.normal({5, 3, 3, 3}) * sign;
    b.conv_with("c", from, w, b.random.normal({5}));
    b.node("Relu", "r", {"c"});
    return b.head("r", 4);
  };
  const Explainer a(rest(inside, "ready", -1), display, in_float64(), as_is);
  const Explainer b(rest(outside, "x", 1), (display - 0.2) / 0.2, in_float64(), card);
  EXPECT_TRUE(within(a.logits(a.input), b.logits(b.input), {1e-10, 1e-10}));
  EXPECT_TRUE(within(a.explain("lrp:composite=epsilon-gamma-box", "1").values,
                     b.explain("lrp:composite=epsilon-gamma-box", "1").values, {1e-8, 1e-8}));
}

TEST(Lrp, NetworksBeyondTheRulesAreExplainedWithANote) {
  LayerBuilder n(6);
  n.conv("c1", "x", 4);
  n.graph.constant("s", at::ones({4}, at::kDouble));
  n.graph.constant("o", at::zeros({4}, at::kDouble));
  n.graph.node("InstanceNormalization", {"c1", "s", "o"}, {"i"});
  n.graph.node("Softmax", {"i"}, {"p"}, {{"axis", int64_t{1}}});
  n.graph.constant("w", n.random.normal({3, 4}));
  n.graph.node("GlobalAveragePool", {"p"}, {"pool"});
  n.graph.node("Flatten", {"pool"}, {"flat"});
  n.gemm_with("logits", "flat", n.random.normal({3, 4}));
  const Explainer e(n.finish("logits"), Random(1).normal({1, 3, 6, 6}));
  const Attribution a = e.explain("lrp", "1");
  ASSERT_EQ(a.notes[0].size(), 3u);
  EXPECT_EQ(a.notes[0][0],
            "lrp: no rule is known for Softmax; their gradient stood in, which does not conserve relevance");
  EXPECT_EQ(a.notes[0][1], "lrp: InstanceNormalization passes relevance on unchanged");
  EXPECT_EQ(a.notes[0][2].find("lrp: only "), 0u) << a.notes[0][2];
}

// --- rule maps as text ---------------------------------------------------------------------------------------------

TEST(RuleLines, NamesInEitherSpelling) {
  EXPECT_EQ(parse_rule_lines("EpsilonPlusFlat", {}, "lrp").size(), 3u);
  const RuleLines lines = parse_rule_lines("epsilon-gamma-box", {0.5, 0.125}, "lrp");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].selector, "first-conv");
  EXPECT_EQ(lines[1].choice.rule, RelevanceRule::kGamma);
  EXPECT_EQ(lines[1].choice.value, 0.125);
  EXPECT_EQ(lines[2].choice.value, 0.5);
  const RuleLines named = parse_rule_lines("name(" + escaped_pattern("/a,b(1):%*") + "):gamma(2)", {}, "lrp");
  EXPECT_EQ(named[0].pattern, "/a,b(1):%*");
}

TEST(RuleLines, RefuseWhatTheyDoNotKnow) {
  const auto refused = [](const std::string& text, const std::string& message) {
    expect_error(ErrorKind::kUsage, message, [&] { parse_rule_lines(text, {}, "lrp"); });
  };
  refused(
      "epsilon-minus",
      "lrp: composite is 'epsilon-minus'; it must be epsilon, epsilon-plus, epsilon-plus-flat, epsilon-alpha2-beta1, "
      "epsilon-alpha2-beta1-flat, epsilon-gamma-box, excitation-backprop, the path of a JSON rule map or "
      "SELECTOR:RULE;SELECTOR:RULE;...");
  refused(
      "cov:epsilon",
      "lrp: composite: no nodes are called 'cov'; did you mean 'conv'? (first, first-conv, conv, dense, linear, sum, "
      "product, batch-norm, average-pool, max-pool, activation, normalization, op(TYPE) or name(GLOB))");
  refused(
      "conv:epsilonn",
      "lrp: composite: no rule 'epsilonn'; did you mean 'epsilon'? (zero, epsilon, gamma, alpha-beta, z-plus, flat, "
      "w-square, z-box, norm, excitation, pass, gradient)");
  refused("conv:alpha-beta(0.5)", "lrp: composite: alpha of 'alpha-beta(0.5)' must be a number >= 1");
  refused("conv:flat(1)", "lrp: composite: rule 'flat' takes no parameter");
  refused("conv:gamma(0.1", "lrp: composite: 'gamma(0.1' lacks its closing bracket");
  refused("op:flat", "lrp: composite: 'op' must be written op(PATTERN)");
  refused("name(%4):flat", "lrp: composite: '%' in '%4' must be followed by two hexadecimal digits");
  refused(";:",
          "lrp: composite: no nodes are called '' (first, first-conv, conv, dense, linear, sum, product, "
          "batch-norm, average-pool, max-pool, activation, normalization, op(TYPE) or name(GLOB))");
}

TEST(RuleLines, TheFirstThatFitsGoverns) {
  const Explainer n(random_network(Family::kPlain, 2), Random(1).normal({1, 3, 14, 14}));
  const Attribution a = n.explain("lrp:composite=name(c2*):w-square;op(Conv):z-plus;linear:epsilon", "1");
  EXPECT_EQ(a.rule_uses.at("w-square"), 1);
  EXPECT_EQ(a.rule_uses.at("z-plus"), 2);
  EXPECT_EQ(a.rule_uses.at("epsilon"), 1);
}

// --- excitation backprop -------------------------------------------------------------------------------------------

/// Non-negative everywhere: rectified layers, pools, and a head with positive and negative weights.
Explainer rectified_network(uint64_t seed) {
  return Explainer(random_network(Family::kPlain, seed), Random(1).uniform({2, 3, 14, 14}));
}

// With non-negative activations it is the z-plus rule without biases, seeded with 1.
TEST(ExcitationBackprop, IsZPlusWithoutBiases) {
  const Explainer n = rectified_network(2);
  const Attribution a = n.explain("excitation-backprop", "1", {"r1"});
  const Attribution lrp = n.explain("lrp:start=one,stop=r1,composite=linear:excitation,epsilon=0", "1");
  EXPECT_TRUE(within(a.values, lrp.values, {1e-9, 1e-9}));
  EXPECT_TRUE(a.notes[0].empty());
}

// The prior of one is handed on whole: what a layer holds are probabilities.
TEST(ExcitationBackprop, ProbabilitiesSumToOne) {
  const Explainer n = rectified_network(2);
  for (const char* layer : {"map", "p2", "r2", "p1", "r1"}) {
    const Attribution a = n.explain("excitation-backprop", "1", {layer});
    EXPECT_GE(a.values.min().item<double>(), 0) << layer;
    EXPECT_NEAR(a.values[0].sum().item<double>(), 1, 1e-12) << layer;
    EXPECT_NEAR(a.diagnostics[0].at("probability_mass"), 1, 1e-12) << layer;
  }
}

// One unit on (3, 2, 1) with weights (1, -1, 2): P = (3, 0, 2)/5, and for the dual unit (0, 1, 0).
TEST(ExcitationBackprop, OneLayerByHand) {
  LayerBuilder b(1, {-1, 3, 1, 2});
  b.node("Relu", "r", {"x"});
  b.node("GlobalAveragePool", "pool", {"r"});
  b.node("Flatten", "flat", {"pool"});
  b.gemm_with("logits", "flat", doubles({1, -1, 2}, {1, 3}), doubles({-100}, {1}));
  // Channels average to 3, 2 and 1; their left position holds a third, a half and all of it.
  const Explainer n(b.finish("logits"), doubles({2, 4, 2, 2, 2, 0}, {1, 3, 1, 2}));
  const Attribution a = n.explain("excitation-backprop", "1", {"r"});
  EXPECT_TRUE(within(a.values, doubles({3. / 5 / 3 + 2. / 5, 3. / 5 * 2 / 3}, {1, 1, 2}), kExact));
  const Attribution c = n.explain("contrastive-excitation-backprop", "1", {"r"});
  EXPECT_TRUE(within(c.values, doubles({3. / 5 / 3 + 2. / 5 - 0.5, 3. / 5 * 2 / 3 - 0.5}, {1, 1, 2}), kExact));
  EXPECT_TRUE(within(c.map, up(c.values), kExact));
  // Class 0 of a single logit is its dual unit: second channel alone, and the contrast turned round.
  EXPECT_TRUE(within(n.explain("excitation-backprop", "0", {"r"}).values, doubles({0.5, 0.5}, {1, 1, 2}), kExact));
  EXPECT_TRUE(within(n.explain("contrastive-excitation-backprop", "0", {"r"}).values, -c.values, kExact));
}

// A unit whose positive and negative weights mirror each other on a symmetric input: the class and its dual agree.
TEST(ExcitationBackprop, ContrastVanishesBetweenTwins) {
  LayerBuilder b(1, {-1, 2, 1, 3});
  b.node("Relu", "r", {"x"});
  b.node("GlobalAveragePool", "pool", {"r"});
  b.node("Flatten", "flat", {"pool"});
  b.gemm_with("logits", "flat", doubles({1, -1}, {1, 2}));
  const Explainer n(b.finish("logits"), doubles({1, 2, 3, 1, 2, 3}, {1, 2, 1, 3}));
  EXPECT_LT(n.explain("contrastive-excitation-backprop", "1", {"r"}).values.abs().max().item<double>(), 1e-15);
  EXPECT_GT(n.explain("excitation-backprop", "1", {"r"}).values.min().item<double>(), 0.1);
}

TEST(ExcitationBackprop, SaysWhereActivationsAreNegative) {
  const Explainer n(random_network(Family::kSilu, 2), Random(1).normal({1, 3, 14, 14}));
  const Attribution a = n.explain("excitation-backprop", "1", {"r1"});
  ASSERT_EQ(a.notes[0].size(), 1u);
  EXPECT_EQ(a.notes[0][0],
            "excitation-backprop: 3 layers read negative activations, for which the method is not defined; positive "
            "contributions share there");
}

// However few pictures the memory allows in one pass, what each of them absorbed is told.
TEST(Lrp, AbsorbedIsKnownWhenTheBatchIsSplit) {
  const Explainer n(random_network(Family::kPlain, 2), Random(1).normal({3, 3, 14, 14}));
  const Attribution whole = n.explain("lrp", "1");
  Context context = n.context("1");
  context.memory_budget = 1;
  const Attribution split = attribute(MethodCall::parse("lrp"), context);
  for (size_t i = 0; i < 3; ++i) {
    const auto& d = split.diagnostics[i];
    EXPECT_NEAR(d.at("relevance") + d.at("absorbed"), d.at("start"), 1e-9) << i;
    EXPECT_NEAR(d.at("absorbed"), whole.diagnostics[i].at("absorbed"), 1e-9) << i;
    EXPECT_GT(std::abs(d.at("absorbed")), 1e-3) << i;
  }
}

// A convolution whose weights the network computes has no constant side: its gradient stands in, with a note.
TEST(Lrp, ComputedWeightsOfAConvolutionFallBackToTheGradient) {
  LayerBuilder b(4, {1, 2, 6, 6});
  b.conv("c", "x", 4);
  b.node("Relu", "r", {"c"});
  b.node("GlobalAveragePool", "m", {"r"});
  b.graph.constant("k.shape", at::tensor({2, 2, 1, 1}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"m", "k.shape"}, {"k"}, {}, "k_node");
  b.graph.node("Conv", {"x", "k"}, {"d"}, {}, "d_node");
  b.graph.node("GlobalAveragePool", {"d"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"logits"});
  const Explainer n(b.finish("logits"), Random(1).uniform({1, 2, 6, 6}), in_float64(), box_card());
  for (const std::string call : {"lrp", "lrp:composite=epsilon"}) {
    const Attribution a = n.explain(call, "1");
    ASSERT_FALSE(a.notes[0].empty()) << call;
    EXPECT_NE(a.notes[0][0].find("no rule is known for Conv"), std::string::npos) << a.notes[0][0];
  }
}

}  // namespace
}  // namespace pellucid::test
