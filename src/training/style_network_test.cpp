#include <gtest/gtest.h>

#include "pellucid/network.h"
#include "pellucid/style_networks.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

Tensor value_of(const Network& network, const TensorList& inputs, const std::string& name) {
  Request request;
  request.capture = {network.graph().find(name)};
  return network.run(inputs, request).begin()->second;
}

/// AdaIN around an encoder that hands its picture on.
Network plain_adain() {
  GraphBuilder b(13);
  b.input("x", {-1, 3, -1, -1});
  b.node("Relu", {"x"}, {"map"});
  b.output("map", Shape{-1, 3, -1, -1});
  const Graph encoder = b.finish();
  return Network(make_adain_network({encoder, {{encoder.find("map"), 3, 0}}, {1, 1, 1}, {0, 0, 0}}, 1));
}

Tensor picture(uint64_t seed, int64_t height, int64_t width, int64_t count = 1) {
  return Random(seed).uniform({count, 3, height, width}).to(at::kFloat) * 255;
}

// Both deviations are biased: mean 2, deviation 1 becomes mean 12, deviation 2.
TEST(Adain, GivesTheContentTheStylesStatistics) {
  const Network network = plain_adain();
  const Tensor content = at::tensor({1.0F, 3.0F}).view({1, 1, 1, 2}).repeat({1, 3, 1, 1});
  const Tensor style = at::tensor({10.0F, 14.0F}).view({1, 1, 1, 2}).repeat({1, 3, 1, 1});
  const Tensor t = value_of(network, {content, style, at::ones({1})}, "adain1");
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(t[0][c][0][0].item<double>(), 10, 2e-5);
    EXPECT_NEAR(t[0][c][0][1].item<double>(), 14, 2e-5);
  }
  const Tensor many = picture(1, 9, 7, 2), other = picture(2, 5, 11) * 0.3 + 40;
  const Tensor mixed = value_of(network, {many, other, at::ones({1})}, "mixed1");
  const auto [variance, mean] = at::var_mean(mixed, {2, 3}, false);
  const auto [wanted_variance, wanted_mean] = at::var_mean(other, {2, 3}, false);
  EXPECT_LT((mean - wanted_mean).abs().max().item<double>(), 1e-3);
  EXPECT_LT((variance / wanted_variance - 1).abs().max().item<double>(), 1e-4);
}

TEST(Adain, LeavesTheContentAtAlphaZeroAndInItsOwnStyle) {
  const Network network = plain_adain();
  const Tensor content = picture(3, 8, 6), style = picture(4, 6, 6);
  EXPECT_TRUE(value_of(network, {content, style, at::zeros({1})}, "mixed1").equal(content));
  const Tensor same = value_of(network, {content, content, at::ones({1})}, "mixed1");
  EXPECT_LT((same - content).abs().max().item<double>(), 1e-2);  // of 255
  // Half way is the mean of both ends.
  const Tensor whole = value_of(network, {content, style, at::ones({1})}, "mixed1");
  const Tensor half = value_of(network, {content, style, at::full({1}, 0.5F)}, "mixed1");
  EXPECT_LT((half - (whole + content) / 2).abs().max().item<double>(), 1e-3);
}

/// A picture, and the same averaged over 2x2.
Graph two_levels() {
  GraphBuilder b(13);
  b.input("x", {-1, 3, -1, -1});
  b.node("Relu", {"x"}, {"fine"});
  b.node("AveragePool", {"fine"}, {"coarse"},
         {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  b.output("coarse", Shape{-1, 3, -1, -1});
  return b.finish();
}

// Each level has the statistics of the style at that level, and the picture its size.
TEST(Adain, MixesAtEveryLevel) {
  const Graph encoder = two_levels();
  const AdainEncoder::Level fine{encoder.find("fine"), 3, 0}, coarse{encoder.find("coarse"), 3, 1};
  const Network network(make_adain_network({encoder, {fine, coarse}, {1, 1, 1}, {0, 0, 0}}, 1));
  const Tensor content = picture(5, 12, 8), style = picture(6, 10, 14);
  const TensorList inputs{content, style, at::ones({1})};
  const auto deviation = [](const Tensor& x) { return x.var({2, 3}, /*unbiased=*/false).sqrt(); };
  for (const auto& [name, wanted] :
       std::map<std::string, Tensor>{{"mixed1", style}, {"mixed2", at::avg_pool2d(style, 2)}}) {
    const Tensor mixed = value_of(network, inputs, name);
    EXPECT_LT((mixed.mean({2, 3}) - wanted.mean({2, 3})).abs().max().item<double>(), 1e-3) << name;
    EXPECT_LT((deviation(mixed) - deviation(wanted)).abs().max().item<double>(), 1e-2) << name;
  }
  EXPECT_EQ(value_of(network, inputs, "output").sizes(), content.sizes());
  expect_error(
      ErrorKind::kUsage,
      "arbitrary style: the encoder's layers have to be maps at 1/1 to 1/64 of the picture's size, each smaller "
      "than the one before",
      [&] {
        make_adain_network({encoder, {coarse, fine}, {1, 1, 1}, {0, 0, 0}}, 1);
      });
}

// A channel without contrast has nothing to normalize: the shift is left.
TEST(InstanceNormalization, OfAConstantChannelGivesItsShift) {
  GraphBuilder b(13);
  b.input("x", {1, 2, 4, 4});
  b.constant("scale", at::tensor({2.0F, 3.0F}));
  b.constant("shift", at::tensor({0.25F, -0.5F}));
  b.node("InstanceNormalization", {"x", "scale", "shift"}, {"y"}, {{"epsilon", 1e-5}});
  b.output("y", Shape{1, 2, 4, 4});
  const Tensor x = at::tensor({7.0F, -3.0F}).view({1, 2, 1, 1}).expand({1, 2, 4, 4}).contiguous();
  const Tensor y = Network(b.finish()).run(x)[0];
  EXPECT_NEAR(y[0][0].max().item<double>(), 0.25, 1e-3);
  EXPECT_NEAR(y[0][0].min().item<double>(), 0.25, 1e-3);
  EXPECT_NEAR(y[0][1].max().item<double>(), -0.5, 1e-3);
}

StyleNetworkOptions small(int64_t styles) {
  StyleNetworkOptions options;
  options.width = 3;
  options.blocks = 1;
  options.num_styles = styles;
  return options;
}

/// Three styles that differ.
Graph three_styles() {
  Graph graph = make_style_network(small(3));
  std::map<ValueId, Tensor> different;
  Random random(5);
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    const bool table = value.constant.defined() && value.constant.dim() == 2 && value.constant.size(0) == 3;
    if (table) different[static_cast<ValueId>(i)] = random.normal(value.constant.sizes().vec()).to(at::kFloat);
  }
  EXPECT_EQ(different.size(), 14u);  // scale and shift of seven normalizations
  return graph.with_constants(different);
}

// A row of zeros and a one is the network of that style alone, to the bit.
TEST(ConditionalInstanceNormalization, OneHotIsTheSingleStyle) {
  const Graph many = three_styles();
  const Tensor x = picture(6, 16, 20);
  TensorList answers;
  for (int64_t style = 0; style < 3; ++style) {
    const Tensor row = at::one_hot(at::full({1}, style, at::kLong), 3).to(at::kFloat);
    answers.push_back(Network(many).run({x, row}, {{many.outputs().front()}, {}, {}, {}}).begin()->second);
    const Graph one = make_style_network(small(1));
    std::map<ValueId, Tensor> rows;
    for (size_t i = 0; i < one.values().size(); ++i) {
      const Value& value = one.values()[i];
      if (!value.constant.defined()) continue;
      const Tensor& table = many.value(many.find(value.name)).constant;
      rows[static_cast<ValueId>(i)] =
          value.constant.sizes() == table.sizes() ? table : table.narrow(0, style, 1).clone();
    }
    const Graph single = one.with_constants(rows);
    const Tensor alone =
        Network(single).run({x, at::ones({1, 1})}, {{single.outputs().front()}, {}, {}, {}}).begin()->second;
    EXPECT_TRUE(answers.back().equal(alone)) << style;
  }
  EXPECT_GT((answers[0] - answers[1]).abs().max().item<double>(), 1);
  // Weights mix scales and shifts.
  const Tensor mix = at::tensor({0.25F, 0.0F, 0.75F}).view({1, 3});
  const Tensor row = value_of(Network(many), {x, mix}, "conv2.norm.scale.row");
  const Tensor& table = many.value(many.find("conv2.norm.scale")).constant;
  EXPECT_LT((row[0] - (table[0] * 0.25 + table[2] * 0.75)).abs().max().item<double>(), 1e-6);
}

// With one style it is the affine normalization of the single kind.
TEST(ConditionalInstanceNormalization, OfOneStyleIsTheAffineOne) {
  const Tensor x = picture(7, 12, 16);
  const Network one(make_style_network(small(1))), none(make_style_network(small(0)));
  const Tensor a = one.run({x, at::ones({1, 1})}, {{one.graph().outputs().front()}, {}, {}, {}}).begin()->second;
  EXPECT_LT((a - none.run(x)[0]).abs().max().item<double>(), 0.05);  // of 255
  EXPECT_EQ(a.sizes(), x.sizes());
}

TEST(StyleLosses, AreWhatTheyAreByHand) {
  const Tensor features = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble).view({1, 2, 1, 2});
  const Tensor gram = gram_matrices(features);  // [[5, 11], [11, 25]] / 2
  EXPECT_TRUE(gram.equal(at::tensor({2.5, 5.5, 5.5, 12.5}, at::kDouble).view({1, 2, 2})));
  const Tensor target = at::tensor({3.0, 4.0}, at::kDouble).view({1, 2});
  EXPECT_DOUBLE_EQ(relative_error(target + 1, target).item<double>(), 2.0 / 25);
  EXPECT_DOUBLE_EQ(relative_error(at::zeros_like(target), target).item<double>(), 1);
  // Where things are does not matter to a style, nor how large the picture is.
  const Tensor x = Random(8).normal({1, 4, 6, 6});
  EXPECT_LT(relative_error(gram_matrices(x.flip({2})), gram_matrices(x)).item<double>(), 1e-20);
  EXPECT_LT(relative_error(gram_matrices(x.repeat({1, 1, 2, 3})), gram_matrices(x)).item<double>(), 1e-20);
  EXPECT_LT(statistics_error(x.flip({3}), x).item<double>(), 1e-20);
  EXPECT_GT(statistics_error(x * 2, x).item<double>(), 0.5);
}

}  // namespace
}  // namespace pellucid::test
