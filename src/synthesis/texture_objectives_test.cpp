#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Random;
using test::Studio;
using test::within;

/// The identity network, whose layer "c" is the picture.
struct Judge {
  explicit Judge(int64_t side = 4, int64_t batch = 1)
      : studio(test::identity_graph(), side, test::plain_card(), PixelUnit::kDisplay, batch) {}
  Tensor score(const std::string& text, const Tensor& activations) const {
    const auto part = studio.objective(text);
    const Values values{{studio.layers.find("c"), activations}};
    return part->score({values, activations, {}});
  }
  Studio studio;
};

/// Strides as long as their kernels and no padding: nothing tells a position from the one a period further.
Graph periodic_graph(double factor = 1) {
  test::LayerBuilder b(11, {-1, 3, -1, -1});
  b.conv("c1", "x", 6, {1});
  b.node("Relu", "r1", {"c1"});
  b.pool("MaxPool", "p1", "r1", 2, 2);
  const Tensor weight = b.random.normal({5, 6, 1, 1}) * factor;
  b.conv_with("c2", "p1", weight);
  b.node("Relu", "r2", {"c2"});
  b.pool("AveragePool", "p2", "r2", 2, 2);
  return b.head("p2", 3);
}

TEST(Gram, DoesNotCountHowOftenATextureRepeats) {
  Random random(1);
  Judge judge;
  const Tensor tile = random.uniform({1, 3, 4, 4});
  judge.studio.context.pictures["style"] = tile;
  EXPECT_NEAR(judge.score("gram:layer=c", tile.repeat({1, 1, 3, 2})).item<double>(), 0, 1e-20);
  EXPECT_NEAR(judge.score("statistics:layer=c", tile.repeat({1, 1, 3, 2})).item<double>(), 0, 1e-20);
  EXPECT_LT(judge.score("gram:layer=c", 2 * tile).item<double>(), -1e-3);
}

TEST(Gram, TakesTheStyleInItsOwnProportions) {
  Random random(2);
  Judge judge(8);
  const Tensor style = random.uniform({1, 3, 4, 8});
  judge.studio.context.pictures["style"] = style;
  EXPECT_NEAR(judge.score("gram:layer=c", style).item<double>(), 0, 1e-20);
  // Half as large in both directions.
  const Tensor half = resize_display(style, 2, 4);
  EXPECT_NEAR(judge.score("gram:layer=c,scale=0.5", half).item<double>(), 0, 1e-20);
  EXPECT_LT(judge.score("gram:layer=c,scale=0.5", style).item<double>(), -1e-6);
}

// The weights of others for ours, docs/style.md: a port that mixes them up trains to something else entirely.
TEST(Gram, ConvertsTheWeightsOfOthers) {
  Random random(3);
  Judge judge;
  const Tensor f = random.normal({1, 3, 4, 4}), g = random.normal({1, 3, 4, 4});
  judge.studio.context.pictures["style"] = judge.studio.context.pictures["content"] = g;
  const double channels = 3, positions = 16;
  const auto products = [](const Tensor& a) { return at::matmul(a[0].flatten(1), a[0].flatten(1).t()); };
  const Tensor change = products(f) - products(g);
  const double ours = -judge.score("gram:layer=c", f).item<double>();
  // Gatys' E_l; the mean squared difference of Gram matrices over H W, and over C H W.
  const auto sum = [](const Tensor& t) { return t.square().sum().item<double>(); };
  EXPECT_NEAR(ours, sum(change) / (4 * channels * channels * positions * positions), 1e-12);
  EXPECT_NEAR(4 * ours, (change / positions).square().mean().item<double>(), 1e-12);
  EXPECT_NEAR(4 / (channels * channels) * ours, (change / (channels * positions)).square().mean().item<double>(),
              1e-12);
  const double content = -judge.score("content:layer=c", f).item<double>();
  EXPECT_NEAR(content, 2 / (channels * positions) * 0.5 * sum(f - g), 1e-12);
}

TEST(Gram, OfARegionIsThatOfTheRegionAlone) {
  Random random(4);
  Judge judge(8);
  Tensor mask = at::zeros({8, 8}, at::kDouble);
  mask.narrow(1, 0, 4).fill_(1);
  judge.studio.context.tensors["left"] = mask;
  judge.studio.context.tensors["right"] = 1 - mask;
  const Tensor style = random.uniform({1, 3, 8, 8});
  judge.studio.context.pictures["style"] = style;
  // What lies left is what lay right in the style; elsewhere anything.
  Tensor picture = random.uniform({1, 3, 8, 8});
  picture.narrow(3, 0, 4).copy_(style.narrow(3, 4, 4));
  for (const char* kind : {"gram", "statistics"}) {
    const std::string text = std::string(kind) + ":layer=c,mask=left,style_mask=right";
    EXPECT_NEAR(judge.score(text, picture).item<double>(), 0, 1e-20) << kind;
    EXPECT_LT(judge.score(std::string(kind) + ":layer=c,mask=right,style_mask=right", picture).item<double>(), -1e-4);
  }
  // A soft mask m weighs products by m^2 over the sum of m^2.
  judge.studio.context.tensors["soft"] = random.uniform({8, 8});
  const Tensor m = judge.studio.context.tensors["soft"];
  const Tensor guided = (picture[0] * m).flatten(1);
  const Tensor found = at::matmul(guided, guided.t()) / m.square().sum();
  const Tensor goal = at::matmul(style[0].flatten(1), style[0].flatten(1).t()) / 64;
  EXPECT_NEAR(judge.score("gram:layer=c,mask=soft", picture).item<double>(),
              -(found - goal).square().sum().item<double>() / 36, 1e-12);
}

TEST(Gram, DoesNotChangeWithAShiftByTheNetworksPeriod) {
  Random random(5);
  Studio studio(periodic_graph(), 16);
  const Tensor picture = random.uniform({1, 3, 16, 16});
  studio.context.pictures["style"] = picture;
  for (const char* layer : {"r1", "p1", "r2", "p2"}) {
    const auto gram = studio.objective(std::string("gram:layer=") + layer);
    const auto score = [&](const Tensor& x) {
      return gram->score({studio.scope.activations(x, gram->layers()), x, {}}).item<double>();
    };
    EXPECT_NEAR(score(picture), 0, 1e-24) << layer;
    EXPECT_NEAR(score(at::roll(picture, {4, -8}, {2, 3})), 0, 1e-20) << layer;
  }
  // Half a period is another picture to the second pooling.
  const auto gram = studio.objective("gram:layer=p2");
  const Tensor shifted = at::roll(picture, {1, 1}, {2, 3});
  EXPECT_LT(gram->score({studio.scope.activations(shifted, gram->layers()), shifted, {}}).item<double>(), -1e-8);
}

// Rectifiers and pooling are homogeneous: dividing by the mean undoes any unit that weights have.
TEST(Gram, RescaledDoesNotDependOnTheUnitOfALayer) {
  Random random(6);
  const Tensor picture = random.uniform({1, 3, 16, 16}), style = random.uniform({1, 3, 16, 16});
  const auto score = [&](double factor, const std::string& rescale) {
    Studio studio(periodic_graph(factor), 16);
    studio.context.pictures["style"] = style;
    const auto gram = studio.objective("gram:layer=p2,rescale=" + rescale);
    return gram->score({studio.scope.activations(picture, gram->layers()), picture, {}}).item<double>();
  };
  for (const char* rescale : {"layer", "channel"}) {
    EXPECT_NEAR(score(1, rescale) / score(37, rescale), 1, 1e-9) << rescale;
  }
  EXPECT_NEAR(score(37, "none") / score(1, "none"), std::pow(37, 4), 1e-3 * std::pow(37, 4));
  EXPECT_GT(std::abs(score(1, "layer") / score(1, "channel") - 1), 1e-3);
}

TEST(StyleObjectives, HaveTheGradientOfTheirFormula) {
  Random random(7);
  Judge judge(4);
  judge.studio.context.pictures["style"] = random.uniform({1, 3, 4, 4});
  judge.studio.context.tensors["m"] = random.uniform({4, 4});
  const Tensor a = random.uniform({2, 3, 4, 4}) + 0.2;
  for (const char* text : {"gram:layer=c,rescale=channel,mask=m,style_mask=m", "gram:layer=c,rescale=layer",
                           "statistics:layer=c,mask=m,style_mask=m,rescale=channel"}) {
    EXPECT_LT(test::gradient_error([&](const Tensor& t) { return judge.score(text, t); }, a), 1e-6) << text;
  }
}

TEST(Wavelets, HaveTheGradientOfTheirFormula) {
  Random random(8);
  Judge judge(16);
  judge.studio.context.pictures["style"] = random.uniform({1, 3, 24, 24});
  const auto part = judge.studio.objective("portilla-simoncelli:scales=2,orientations=3,neighborhood=3,scale=1.5");
  const auto score = [&](const Tensor& x) { return part->score({{}, x, {}}); };
  EXPECT_LT(test::gradient_error(score, random.uniform({1, 3, 16, 16})), 1e-6);
  // Picture by picture.
  const Tensor two = random.uniform({2, 3, 16, 16});
  EXPECT_NEAR(score(two)[1].item<double>(), score(two.narrow(0, 1, 1))[0].item<double>(), 1e-12);
}

TEST(Wavelets, AreZeroForThePictureItself) {
  Random random(9);
  Judge judge(32);
  const Tensor style = random.uniform({1, 3, 32, 32});
  judge.studio.context.pictures["style"] = style;
  const auto part = judge.studio.objective("portilla-simoncelli");
  EXPECT_NEAR(part->score({{}, style, {}}).item<double>(), 0, 1e-20);
  EXPECT_NEAR(part->score({{}, at::roll(style, {8, 16}, {2, 3}), {}}).item<double>(), 0, 1e-16);
  EXPECT_LT(part->score({{}, random.uniform({1, 3, 32, 32}), {}}).item<double>(), -1e-3);
  test::expect_error(ErrorKind::kUsage, "portilla-simoncelli: the result's sides must be multiples of 4, not 34x34",
                     [&] {
                       Judge other(34);
                       other.studio.context.pictures["style"] = style;
                       other.studio.objective("portilla-simoncelli");
                     });
}

// Values 0, 0.2, 0.6 and 1 in another order want 0.1, 0.3, 0.5 and 0.9, of variance 0.0875; the other channels agree.
TEST(Histogram, IsTheDistanceOfSortedValues) {
  Judge judge(2);
  const Tensor rest = doubles({0.1, 0.2, 0.3, 0.4}, {1, 2, 2}).expand({2, 2, 2});
  const auto picture = [&](const Tensor& red) { return at::cat({red.view({1, 2, 2}), rest}).unsqueeze(0); };
  judge.studio.context.pictures["style"] = picture(doubles({0.5, 0.9, 0.1, 0.3}, {4}));
  const double variance = (0.0875 + 2 * 0.0125) / 3, error = (0.01 + 0.01 + 0.01 + 0.01) / 12;
  const at::AutoGradMode record(true);
  const Tensor image = picture(doubles({0.6, 0, 1, 0.2}, {4})).requires_grad_(true);
  const Tensor score = judge.score("histogram", image);
  EXPECT_NEAR(score.item<double>(), -error / variance, 1e-6);
  score.sum().backward();
  EXPECT_TRUE(
      within(image.grad()[0][0].flatten() * variance * 12 / 2, doubles({-0.1, 0.1, -0.1, 0.1}, {4}), {1e-6, 1e-6}));
  // What agrees, in any order.
  EXPECT_NEAR(judge.score("histogram", judge.studio.context.pictures["style"].flip(2)).item<double>(), 0, 1e-12);
}

}  // namespace
}  // namespace pellucid
