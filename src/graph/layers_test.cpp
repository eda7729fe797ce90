#include "pellucid/layers.h"

#include <gtest/gtest.h>

#include <functional>

#include "graph/map_layers.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/vision_transformer.h"

namespace pellucid::test {
namespace {

/// Names with a common ending, a common beginning, and nodes named otherwise than their values.
Explainer named() {
  LayerBuilder b(1, {-1, 3, 16, 16});
  b.conv("block1/conv", "x", 4);
  b.node("Relu", "block1/relu", {"block1/conv"});
  b.conv("block2/conv", "block1/relu", 4);
  b.node("Relu", "block2/out", {"block2/conv"});
  return Explainer(b.head("block2/out", 3), at::zeros({1, 3, 16, 16}));
}

TEST(LayerNames, FindEveryWayOfNaming) {
  const Explainer n = named();
  const Graph& g = n.network.graph();
  const auto is = [&](const char* asked, const char* value) {
    EXPECT_EQ(n.layers.find(asked), g.find(value)) << asked;
  };
  is("block1/conv", "block1/conv");
  is("block1/conv_node", "block1/conv");  // by node
  is("out", "block2/out");                // a suffix that one layer has
  is("2/conv", "block2/conv");
  is("*2/c*", "block2/conv");
  is("block?/relu", "block1/relu");
  is("#0", "block1/conv");
  is("#3", "block2/out");
  is("auto", "block2/out");
  is("last-conv", "block2/conv");
  is("first-conv", "block1/conv");
  is("input", "x");
  is("logits", "logits");
  EXPECT_EQ(n.layers.find_all("*/conv"), (std::vector<ValueId>{g.find("block1/conv"), g.find("block2/conv")}));
  EXPECT_EQ(n.layers.find_all("block1/*").size(), 2u);
}

TEST(LayerNames, RefuseWhatIsUnknownOrAmbiguous) {
  const Explainer n = named();
  expect_error(
      ErrorKind::kUsage,
      "net: no layer 'block1/conw'; did you mean 'block1/conv' or 'block2/conv'? ('pellucid info' lists all 7)",
      [&] { n.layers.find("block1/conw"); });
  expect_error(ErrorKind::kUsage, "net: no layer 'zzzzzzzzzzzzzz' ('pellucid info' lists all 7)",
               [&] { n.layers.find("zzzzzzzzzzzzzz"); });
  expect_error(ErrorKind::kUsage, "net: no layer '#7' ('pellucid info' lists all 7)", [&] { n.layers.find("#7"); });
  expect_error(ErrorKind::kUsage, "net: '/conv' fits 2 layers ('block1/conv', 'block2/conv'); name one",
               [&] { n.layers.find("/conv"); });
  expect_error(ErrorKind::kUsage,
               "net: 'block*' fits 4 layers ('block1/conv', 'block1/relu', 'block2/conv', 'block2/out'); name one",
               [&] { n.layers.find("block*"); });
  expect_error(ErrorKind::kUsage,
               "net: '*' fits 7 layers ('block1/conv', 'block1/relu', 'block2/conv', 'block2/out', ...); name one",
               [&] { n.layers.find("*"); });
}

TEST(LayerTable, CountsParametersAndOperations) {
  const Explainer n = named();
  const LayerInfo& conv = n.layers.layer(n.layers.find("block1/conv"));
  EXPECT_EQ(conv.parameters, 4 * 3 * 9 + 4);
  EXPECT_EQ(conv.flops, 2.0 * 4 * 3 * 9 * 16 * 16);
  EXPECT_EQ(conv.shape, (Shape{1, 4, 16, 16}));
  EXPECT_EQ(conv.op, "Conv");
  EXPECT_TRUE(conv.suits_cam);
  const LayerInfo& logits = n.layers.layer(n.layers.find("logits"));
  EXPECT_EQ(logits.flops, 2.0 * 3 * 4);
  EXPECT_EQ(logits.parameters, 3 * 4 + 3);
  EXPECT_FALSE(logits.suits_cam);
  EXPECT_FALSE(n.layers.layer(n.layers.find("pool")).suits_cam);
}

// Every part of a Split is a layer and hands on what it sees; one that the file leaves unnamed counts as well.
TEST(LayerTable, PartsOfASplitAreLayers) {
  LayerBuilder b(1, {-1, 4, 8, 8});
  b.conv("c1", "x", 5);
  b.graph.constant("sizes", at::tensor({1, 2, 2}, at::TensorOptions(at::kLong)));
  b.graph.node("Split", {"c1", "sizes"}, {"", "left", "right"}, {{"axis", int64_t{1}}}, "split");
  b.graph.constant("w", b.random.normal({3, 2, 3, 3}));
  b.graph.node("Conv", {"right", "w"}, {"c2"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  b.graph.node("GlobalAveragePool", {"c2"}, {"pool"});
  b.graph.node("Flatten", {"pool"}, {"out"});
  const Tensor x = b.random.normal({1, 4, 8, 8});
  const Explainer n(b.finish("out"), x, in_float64());
  const LayerInfo& right = n.layers.layer(n.layers.find("right"));
  EXPECT_EQ(right.shape, (Shape{1, 2, 8, 8}));
  EXPECT_EQ(right.rows.size, 3);
  const LayerInfo& c2 = n.layers.layer(n.layers.find("c2"));
  EXPECT_EQ(c2.rows.size, 5);
  EXPECT_EQ(c2.flops, 2.0 * 3 * 2 * 9 * 64);
  EXPECT_EQ(c2.parameters, 3 * 2 * 9);
  EXPECT_EQ(n.layers.default_cam_layer(), c2.value);
  EXPECT_TRUE(n.layers.layer(n.layers.find("out")).rows.whole);
  expect_error(ErrorKind::kUsage, "net: 'split' fits 3 layers ('split.output0', 'left', 'right'); name one",
               [&] { n.layers.find("split"); });
  // The unnamed part takes no gradient and shifts nobody else's.
  const ValueId c1 = n.network.graph().find("c1");
  const Tape tape = n.network.record({x}, {{n.layers.logits()}, {c1}, {}});
  const Tensor seed = at::ones({1, 3}, at::kDouble);
  const Tensor found = tape.backward({{n.layers.logits(), seed}}, {c1}).values.at(c1);
  EXPECT_EQ(found.narrow(1, 0, 3).abs().max().item<double>(), 0);
  EXPECT_GT(found.narrow(1, 3, 2).abs().max().item<double>(), 0);
}

// What training sets, each weight once: no running statistics, no bounds, no numbers of a formula.
TEST(LayerTable, CountsLearnedWeightsOnly) {
  LayerBuilder b(1, {-1, 3, 8, 8});
  const Tensor shared = b.random.normal({3, 3, 3, 3});
  b.graph.constant("w", shared);
  const std::map<std::string, Attribute> padded{{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
  b.graph.node("Conv", {"x", "w"}, {"c1"}, padded);
  b.graph.node("Conv", {"c1", "w"}, {"c2"}, padded);
  b.graph.constant("gamma", b.random.normal({3}));
  b.graph.constant("beta", b.random.normal({3}));
  b.graph.constant("mean", b.random.normal({3}));
  b.graph.constant("var", b.random.uniform({3}));
  b.graph.node("BatchNormalization", {"c2", "gamma", "beta", "mean", "var"}, {"n"});
  b.graph.constant("low", at::zeros({}, at::kDouble));
  b.graph.constant("six", at::full({}, 6., at::kDouble));
  b.graph.node("Clip", {"n", "low", "six"}, {"clipped"});
  b.graph.node("Div", {"clipped", "six"}, {"gate"});
  b.graph.constant("scale", b.random.normal({3, 1, 1}));
  b.graph.node("Mul", {"gate", "scale"}, {"scaled"});
  b.graph.constant("slope", b.random.uniform({1}));
  b.graph.node("PRelu", {"scaled", "slope"}, {"out"});
  const Explainer n(b.finish("out"), at::zeros({1, 3, 8, 8}, at::kDouble), in_float64());
  const auto parameters = [&](const char* name) { return n.layers.layer(n.layers.find(name)).parameters; };
  EXPECT_EQ(parameters("c1"), 81);
  EXPECT_EQ(parameters("c2"), 0);  // counted where it is first read
  EXPECT_EQ(parameters("n"), 6);
  EXPECT_EQ(parameters("clipped"), 0);
  EXPECT_EQ(parameters("gate"), 0);
  EXPECT_EQ(parameters("scaled"), 3);
  EXPECT_EQ(parameters("out"), 1);
  EXPECT_EQ(n.network.graph().num_parameters(), 81 + 6 + 3 + 1);
}

// Scores are explained before they are squashed.
TEST(LayerTable, LooksBehindAFinalSquashing) {
  for (const std::string op : {"Softmax", "LogSoftmax", "Sigmoid"}) {
    LayerBuilder b(1, {-1, 3, 8, 8});
    b.conv("c1", "x", 4);
    b.node("GlobalAveragePool", "pool", {"c1"});
    b.node("Flatten", "flat", {"pool"});
    b.gemm_with("scores", "flat", b.random.normal({3, 4}));
    b.graph.node(op, {"scores"}, {"squashed"});
    b.graph.node("Identity", {"squashed"}, {"final"});
    const Explainer n(b.finish("final"), at::zeros({1, 3, 8, 8}));
    EXPECT_EQ(n.layers.logits(), n.network.graph().find("scores")) << op;
    EXPECT_EQ(n.layers.output(), n.network.graph().find("final")) << op;
    EXPECT_EQ(n.layers.squashing(), op);
  }
  EXPECT_EQ(named().layers.squashing(), "");
}

// exp(x - max) / sum, as some exporters spell a softmax; other quotients are what they are.
TEST(LayerTable, LooksBehindASoftmaxSpelledOut) {
  const auto logits_of = [](bool shifted, const std::string& divisor) {
    LayerBuilder b(1, {-1, 3, 8, 8}, 13);
    b.conv("c1", "x", 4);
    b.node("GlobalAveragePool", "pool", {"c1"});
    b.node("Flatten", "flat", {"pool"});
    b.gemm_with("scores", "flat", b.random.normal({3, 4}));
    b.graph.node("ReduceMax", {"scores"}, {"top"}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{1}}});
    b.graph.node("Sub", {"scores", "top"}, {"shifted"});
    b.graph.node("Exp", {shifted ? "shifted" : "scores"}, {"powers"});
    b.graph.constant("axes", at::tensor(std::vector<int64_t>{1}));
    b.graph.node("ReduceSum", {divisor, "axes"}, {"sum"}, {{"keepdims", int64_t{1}}});
    b.graph.node("Div", {"powers", "sum"}, {"shares"});
    const Explainer n(b.finish("shares"), at::zeros({1, 3, 8, 8}));
    return n.network.graph().value(n.layers.logits()).name + " " + n.layers.squashing();
  };
  EXPECT_EQ(logits_of(true, "powers"), "scores Softmax");
  EXPECT_EQ(logits_of(false, "powers"), "scores Softmax");
  EXPECT_EQ(logits_of(true, "scores"), "shares ");
}

// Labels that come before the probabilities are not taken for scores; nor is a map of features that comes first.
TEST(LayerTable, TakesTheOutputThatHoldsScores) {
  const auto with_outputs = [](const std::vector<std::string>& names) {
    LayerBuilder b(1, {-1, 3, 8, 8});
    b.conv("c1", "x", 4);
    b.node("GlobalAveragePool", "pool", {"c1"});
    b.node("Flatten", "flat", {"pool"});
    b.gemm_with("scores", "flat", b.random.normal({3, 4}));
    b.graph.node("ArgMax", {"scores"}, {"label"}, {{"axis", int64_t{1}}});
    b.graph.node("Softmax", {"scores"}, {"squashed"});
    for (size_t i = 0; i + 1 < names.size(); ++i) b.graph.output(names[i]);
    return Explainer(b.finish(names.back()), at::zeros({1, 3, 8, 8}));
  };
  const auto taken = [&](const std::vector<std::string>& names) {
    const Explainer n = with_outputs(names);
    return n.network.graph().value(n.layers.output()).name;
  };
  EXPECT_EQ(taken({"label", "squashed"}), "squashed");
  EXPECT_EQ(taken({"c1", "scores"}), "scores");
  EXPECT_EQ(taken({"scores", "c1"}), "scores");
  EXPECT_EQ(taken({"c1"}), "c1");
  EXPECT_EQ(taken({"label"}), "label");
  const Explainer n = with_outputs({"label", "squashed"});
  EXPECT_EQ(n.layers.squashing(), "Softmax");
  EXPECT_EQ(n.network.graph().value(n.layers.logits()).name, "scores");
}

// [N,H,W,classes], said by the axis of the Softmax or by a final Transpose.
TEST(LayerTable, FindsClassesThatLieLast) {
  const auto axis = [](const std::string& squash, int64_t softmax_axis, bool transpose) {
    LayerBuilder b(1, {-1, 3, 8, 8}, 13);
    b.conv("c1", "x", 5);
    if (transpose) b.graph.node("Transpose", {"c1"}, {"last"}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    const std::string scores = transpose ? "last" : "c1";
    if (squash == "Softmax") b.graph.node(squash, {scores}, {"out"}, {{"axis", softmax_axis}});
    if (squash == "Sigmoid") b.graph.node(squash, {scores}, {"out"});
    return Explainer(b.finish(squash.empty() ? scores : "out"), at::zeros({1, 3, 8, 8})).layers.class_axis();
  };
  EXPECT_EQ(axis("Softmax", -1, true), 3);
  EXPECT_EQ(axis("Softmax", 3, true), 3);
  EXPECT_EQ(axis("Sigmoid", 0, true), 3);
  EXPECT_EQ(axis("", 0, true), 3);
  EXPECT_EQ(axis("Softmax", 1, false), 1);
  EXPECT_EQ(axis("", 0, false), 1);
}

TEST(LayerTable, SaysWhenNoLayerSuits) {
  LayerBuilder b(1, {-1, 3, 8, 8});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", b.random.normal({3, 192}));
  const Explainer n(b.finish("logits"), at::zeros({1, 3, 8, 8}));
  expect_error(
      ErrorKind::kUsage,
      "net: no layer holds a spatial map before the output, so class activation maps need --layer; gradient and "
      "perturbation methods work without one",
      [&] { n.layers.find("auto"); });
  expect_error(ErrorKind::kUsage, "net: there is no convolution", [&] { n.layers.find("last-conv"); });
}

TEST(TokenGrid, SquaresWithLeadingTokens) {
  EXPECT_EQ(token_grid(197).rows, 14);
  EXPECT_EQ(token_grid(197).leading, 1);
  EXPECT_EQ(token_grid(196).leading, 0);
  EXPECT_EQ(token_grid(201).leading, 5);
  EXPECT_EQ(token_grid(7).rows, 2);  // a class token and more in front of 2x2
  EXPECT_EQ(token_grid(2).rows, 0);
  EXPECT_EQ(token_grid(0).rows, 0);
}

// 3 x 5 patches after a class token are 16 tokens, which by their number alone would be a square.
TEST(TokenGrid, IsThatOfThePatches) {
  const Explainer n(vision_transformer(1, 12, 20), Random(2).normal({1, 3, 12, 20}));
  const auto grid = [&](const char* name) { return grid_of_tokens(n.network.graph(), n.layers, n.layers.find(name)); };
  EXPECT_EQ(grid("block1/norm1").rows, 3);
  EXPECT_EQ(grid("block1/norm1").columns, 5);
  EXPECT_EQ(grid("block1/norm1").leading, 1);
  EXPECT_EQ(grid("embedded").leading, 0);
  EXPECT_EQ(grid("patch").rows, 0);  // a map
  EXPECT_EQ(grid("logits").rows, 0);
}

TEST(LayerTable, ChoosesTheLastAttentionOfATransformer) {
  const Explainer n(vision_transformer(1, 16, 16), Random(2).normal({1, 3, 16, 16}));
  EXPECT_EQ(n.layers.layer(n.layers.default_cam_layer()).name, "block1/norm1");
  const auto suits = [&](const char* name) { return n.layers.layer(n.layers.find(name)).suits_cam; };
  EXPECT_TRUE(suits("patch"));
  EXPECT_TRUE(suits("block0/out"));
  EXPECT_TRUE(suits("block1/norm1"));
  EXPECT_FALSE(suits("block1/attention"));  // [1,2,17,17]
  EXPECT_FALSE(suits("block1/q/heads"));
  EXPECT_FALSE(suits("logits"));
}

// Tokens that become a map again are one.
TEST(LayerTable, FindsAMapMadeOfTokens) {
  LayerBuilder b(3, {-1, 3, 6, 10});
  b.conv("map", "x", 8);
  b.graph.constant("flat.shape", at::tensor({0, 8, -1}, at::TensorOptions(at::kLong)));
  b.graph.constant("map.shape", at::tensor({0, 8, 6, 10}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"map", "flat.shape"}, {"flat"});
  b.graph.node("Transpose", {"flat"}, {"tokens"}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  b.graph.node("Softmax", {"tokens"}, {"gates"});
  b.graph.node("Transpose", {"gates"}, {"back"}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  b.graph.node("Reshape", {"back", "map.shape"}, {"again"});
  b.graph.node("Mul", {"map", "again"}, {"gated"});
  b.graph.node("GlobalAveragePool", {"gated"}, {"pooled"});
  b.graph.node("Flatten", {"pooled"}, {"vector"});
  b.gemm_with("logits", "vector", b.random.normal({2, 8}));
  const Explainer n(b.finish("logits"), at::zeros({1, 3, 6, 10}));
  EXPECT_EQ(n.layers.layer(n.layers.default_cam_layer()).name, "gated");
}

/// Rows of the input that one position of a layer depends on, found by moving the input and looking.
std::pair<int64_t, int64_t> footprint(const Explainer& n, ValueId layer, int64_t row) {
  const Tensor before = n.value(layer).select(2, row);
  int64_t first = -1, last = -1;
  for (int64_t y = 0; y < n.input.size(2); ++y) {
    Tensor moved = n.input.clone();
    moved.select(2, y).add_(0.1);
    if (n.value(layer, moved).select(2, row).equal(before)) continue;
    if (first < 0) first = y;
    last = y;
  }
  return {first, last};
}

// Of an interior position, size and centre of the rows it depends on. Positive weights and average pools, so that no
// path cancels or is cut; pixel y spans [y, y + 1].
TEST(ReceptiveField, IsTheFootprintOfAPosition) {
  struct Case {
    const char* name;
    std::function<void(LayerBuilder&)> build;
  };
  const auto conv = [](LayerBuilder& b, const char* name, const char* from, int64_t kernel, int64_t stride) {
    b.conv_with(name, from, b.random.uniform({2, 2, kernel, kernel}) + 0.1, {}, {kernel, stride, 1, false});
  };
  // Its starts are made by nodes, as exporters do.
  const auto slice = [](LayerBuilder& b, const std::string& name, const std::string& from,
                        const std::vector<int64_t>& axes, int64_t start, int64_t step) {
    const auto list = [](int64_t a, int64_t c) { return at::tensor({a, c}, at::TensorOptions(at::kLong)); };
    b.graph.node("Constant", {}, {name + ".half"}, {{"value", list(start, start)}});
    b.graph.node("Identity", {name + ".half"}, {name + ".starts"});
    b.graph.constant(name + ".ends", list(1000, 1000));
    b.graph.constant(name + ".axes", list(axes[0], axes[1]));
    b.graph.constant(name + ".steps", list(step, step));
    b.graph.node("Slice", {from, name + ".starts", name + ".ends", name + ".axes", name + ".steps"}, {name});
  };
  const Case cases[] = {
      {"3x3", [&](LayerBuilder& b) { conv(b, "y", "x", 3, 1); }},
      {"three of 3x3",
       [&](LayerBuilder& b) { conv(b, "a", "x", 3, 1), conv(b, "b", "a", 3, 1), conv(b, "y", "b", 3, 1); }},
      {"5x5 stride 2, 3x3 stride 2", [&](LayerBuilder& b) { conv(b, "a", "x", 5, 2), conv(b, "y", "a", 3, 2); }},
      {"pool and 3x3",
       [&](LayerBuilder& b) {
         conv(b, "a", "x", 3, 1);
         b.pool("AveragePool", "p", "a", 2, 2);
         conv(b, "y", "p", 3, 1);
       }},
      {"residual of 1x1 and 3x3",
       [&](LayerBuilder& b) {
         conv(b, "a", "x", 3, 2);
         conv(b, "s", "x", 1, 2);
         b.node("Add", "y", {"a", "s"});
       }},
      {"concat of 1x1 and 5x5",
       [&](LayerBuilder& b) {
         conv(b, "a", "x", 1, 1);
         conv(b, "s", "x", 5, 1);
         b.node("Concat", "k", {"a", "s"});
         b.pool("AveragePool", "y", "k", 3, 1);
       }},
      {"every third row from the second, 3x3",
       [&](LayerBuilder& b) {
         slice(b, "s", "x", {2, 3}, 1, 3);
         conv(b, "y", "s", 3, 1);
       }},
      {"3x3, every second row from the back, 3x3",
       [&](LayerBuilder& b) {
         conv(b, "a", "x", 3, 1);
         slice(b, "s", "a", {-2, -1}, -37, 2);
         conv(b, "y", "s", 3, 1);
       }},
      {"space to depth, 3x3",
       [&](LayerBuilder& b) {
         conv(b, "a", "x", 3, 1);
         b.graph.node("SpaceToDepth", {"a"}, {"d"}, {{"blocksize", int64_t{2}}});
         b.conv_with("y", "d", b.random.uniform({2, 8, 3, 3}) + 0.1, {}, {3, 1, 1, false});
       }},
      {"channels last in between", [&](LayerBuilder& b) {
         conv(b, "a", "x", 3, 1);
         b.graph.node("Transpose", {"a"}, {"last"}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
         slice(b, "s", "last", {1, 2}, 0, 2);
         b.graph.constant("mix", b.random.uniform({2, 2}) + 0.1);
         b.graph.node("MatMul", {"s", "mix"}, {"mixed"});
         b.graph.node("Transpose", {"mixed"}, {"first"}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
         conv(b, "y", "first", 3, 1);
       }}};
  for (const Case& c : cases) {
    LayerBuilder b(1, {-1, 2, 40, 40});
    c.build(b);
    const Explainer n(b.head("y", 2), Random(3).uniform({1, 2, 40, 40}));
    const LayerInfo& info = n.layers.layer(n.layers.find("y"));
    ASSERT_FALSE(info.rows.whole) << c.name;
    const int64_t row = info.shape[2] / 2;
    const auto [first, last] = footprint(n, info.value, row);
    EXPECT_EQ(info.rows.size, static_cast<double>(last - first + 1)) << c.name;
    const double center = info.rows.center + static_cast<double>(row) * info.rows.jump;
    EXPECT_EQ(center, static_cast<double>(first + last + 1) / 2) << c.name;
    const auto [next_first, next_last] = footprint(n, info.value, row + 1);
    EXPECT_EQ(info.rows.jump, static_cast<double>(next_first - first)) << c.name;
    EXPECT_EQ(info.columns.size, info.rows.size) << c.name;
  }
}

// Positions that are put beside each other, repeated, picked or mirrored have no field of one size and jump.
TEST(ReceptiveField, IsTheWholeWhereTheArithmeticEnds) {
  const auto whole = [](const char* op, const std::vector<std::string>& inputs,
                        const std::map<std::string, Attribute>& attributes) {
    LayerBuilder b(1, {-1, 2, 8, 8});
    const auto list = [&](const char* name, const std::vector<int64_t>& numbers) {
      b.graph.constant(name, at::tensor(numbers, at::TensorOptions(at::kLong)));
    };
    list("twice", {1, 1, 2, 1});
    list("rows", {0, 5, 3});
    list("last", {7});
    list("before", {-9});
    list("two", {2});
    list("back", {-1});
    b.graph.node(op, inputs, {"y"}, attributes);
    b.graph.node("GlobalAveragePool", {"y"}, {"pool"});
    const Explainer n(b.finish("pool"), at::zeros({1, 2, 8, 8}));
    return n.layers.layer(n.layers.find("y")).rows.whole;
  };
  EXPECT_TRUE(whole("Concat", {"x", "x"}, {{"axis", int64_t{2}}}));
  EXPECT_FALSE(whole("Concat", {"x", "x"}, {{"axis", int64_t{1}}}));
  EXPECT_TRUE(whole("Tile", {"x", "twice"}, {}));
  EXPECT_TRUE(whole("Gather", {"x", "rows"}, {{"axis", int64_t{2}}}));
  EXPECT_TRUE(whole("Slice", {"x", "last", "before", "two", "back"}, {}));
  EXPECT_TRUE(whole("Softmax", {"x"}, {{"axis", int64_t{2}}}));
  EXPECT_FALSE(whole("Softmax", {"x"}, {{"axis", int64_t{1}}}));
  EXPECT_FALSE(whole("Relu", {"x"}, {}));
}

TEST(LayerTable, IsLeftWhenTimeIsUp) {
  const Explainer n = named();
  Progress progress;
  progress.cancel();
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] { LayerTable(n.network, {{1, 3, 16, 16}}, &progress); });
}

// A Reshape to [2,4] lets two pictures through and no other number.
TEST(LayerTable, NamesTheOnlyBatchThatANetworkTakes) {
  const auto graph = [](int64_t channels) {
    LayerBuilder b(1, {2, 3, 8, 8});
    b.conv("c1", "x", channels);
    b.node("GlobalAveragePool", "pool", {"c1"});
    b.graph.constant("shape", at::tensor({2, 4}, at::TensorOptions(at::kLong)));
    b.graph.node("Reshape", {"pool", "shape"}, {"flat"});
    b.gemm_with("logits", "flat", b.random.normal({3, 4}));
    return b.finish("logits");
  };
  const Network two(graph(4));
  EXPECT_EQ(LayerTable(two, {{2, 3, 8, 8}}).shape(two.graph().find("logits")), (Shape{2, 3}));
  expect_error(ErrorKind::kUnsupported,
               "net: takes batches of 2 only; export it with an open batch, or with a batch of 1", [&] {
                 LayerTable(two, {{1, 3, 8, 8}});
               });
  // One that no batch suits keeps its own error.
  const Network none(graph(5));
  try {
    LayerTable(none, {{1, 3, 8, 8}});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInvalidInput);
  }
}

TEST(ReceptiveField, GlobalPoolingSeesTheWhole) {
  const Explainer n = named();
  EXPECT_TRUE(n.layers.layer(n.layers.find("pool")).rows.whole);
  EXPECT_TRUE(n.layers.layer(n.layers.find("logits")).rows.whole);
}

}  // namespace
}  // namespace pellucid::test
