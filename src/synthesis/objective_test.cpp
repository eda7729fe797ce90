#include <gtest/gtest.h>

#include <algorithm>
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

/// The identity network, whose layer "c" is the picture; activations are given directly.
struct Judge {
  explicit Judge(int64_t side = 4, int64_t batch = 1)
      : studio(test::identity_graph(), side, test::plain_card(), PixelUnit::kDisplay, batch) {}
  Tensor score(const std::string& text, const Tensor& activations) const {
    return score(*studio.objective(text), activations);
  }
  static Tensor score(const Objective& objective, const Tensor& activations) {
    Values values;
    for (const ValueId layer : objective.layers()) values[layer] = activations;
    return objective.score({values, activations, {}});
  }
  Studio studio;
};

TEST(Channel, IsTheMeanOfItsPositions) {
  const Judge judge;
  const Tensor a = at::arange(24, at::kDouble).view({2, 3, 2, 2});
  EXPECT_TRUE(within(judge.score("channel:layer=c,channel=1", a), doubles({5.5, 17.5}, {2}), {1e-12, 1e-12}));
  test::expect_error(ErrorKind::kUsage, "channel: channel 3 does not exist; the layer has 3",
                     [&] { static_cast<void>(judge.score("channel:layer=c,channel=3", a)); });
  test::expect_error(ErrorKind::kUsage, "channel: layer is missing (layer=NAME)",
                     [&] { static_cast<void>(judge.score("channel:channel=3", a)); });
}

TEST(Neuron, PositionIsRowThenColumn) {
  const Judge judge;
  const Tensor a = at::arange(60, at::kDouble).view({1, 3, 4, 5});
  EXPECT_EQ(judge.score("neuron:layer=c,channel=1", a).item<double>(), 20 + 2 * 5 + 2);
  EXPECT_EQ(judge.score("neuron:layer=c,channel=2,y=3,x=1", a).item<double>(), 40 + 3 * 5 + 1);
  test::expect_error(ErrorKind::kUsage, "neuron: position 1,5 lies outside of 4x5",
                     [&] { static_cast<void>(judge.score("neuron:layer=c,y=1,x=5", a)); });
}

TEST(Energy, IsTheMeanSquare) {
  const Judge judge;
  EXPECT_EQ(judge.score("energy:layer=c", doubles({1, 2, 3, 4}, {1, 1, 2, 2})).item<double>(), 7.5);
}

TEST(Direction, OfOneChannelIsThatChannel) {
  Judge judge;
  Random random(1);
  const Tensor a = random.normal({2, 3, 4, 4});
  judge.studio.context.tensors["v"] = doubles({0, 1, 0}, {3});
  EXPECT_TRUE(within(judge.score("direction:layer=c,direction=v", a), judge.score("channel:layer=c,channel=1", a),
                     {1e-12, 1e-12}));
  // The middle position, dot product times cosine squared: (3,4,0).(0,5,0) = 20, cosine 0.8.
  Tensor b = at::zeros({1, 3, 3, 3}, at::kDouble);
  b[0][0][1][1] = 3;
  b[0][1][1][1] = 4;
  judge.studio.context.tensors["v"] = doubles({0, 5, 0}, {3});
  EXPECT_NEAR(judge.score("direction:layer=c,direction=v,at=middle,power=2", b).item<double>(), 20 * 0.64, 1e-6);
  // The cosine alone: positions without activation do not count.
  EXPECT_NEAR(judge.score("direction:layer=c,direction=v,power=-1", b).item<double>(), 0.8, 1e-6);
}

TEST(Match, IsTheRelativeSquaredDistance) {
  Judge judge(2);
  judge.studio.context.pictures["content"] = at::full({1, 3, 2, 2}, 0.5, at::kDouble);
  const auto match = judge.studio.objective("match:layer=c");
  EXPECT_NEAR(Judge::score(*match, at::full({1, 3, 2, 2}, 0.25, at::kDouble)).item<double>(), -0.25, 1e-12);
  EXPECT_NEAR(judge.score("content:layer=c", at::full({1, 3, 2, 2}, 0.25, at::kDouble)).item<double>(), -0.0625, 1e-12);
  test::expect_error(ErrorKind::kUsage, "match: no picture 'nothing' was given",
                     [&] { static_cast<void>(judge.studio.objective("match:layer=c,picture=nothing")); });
}

// F = [[1,2],[3,4]] against the identity, with a third channel of zeros: Gatys' 13.03125 times 4/9, and his gradient
// [[2.3125,3.25],[5.1875,7.375]] likewise.
TEST(Gram, OfTwoByTwo) {
  Judge judge(2);
  Studio& studio = judge.studio;
  studio.scope.height = 1;
  studio.context.pictures["style"] = doubles({1, 0, 0, 1, 0, 0}, {1, 3, 1, 2});
  const auto gram = studio.objective("gram:layer=c");
  const Tensor f = doubles({1, 2, 3, 4, 0, 0}, {1, 3, 1, 2}).requires_grad_(true);
  const at::AutoGradMode record(true);
  const Tensor score = Judge::score(*gram, f);
  EXPECT_NEAR(score.item<double>(), -13.03125 * 4 / 9, 1e-9);
  score.sum().backward();
  EXPECT_TRUE(within(f.grad(), doubles({2.3125, 3.25, 5.1875, 7.375, 0, 0}, {1, 3, 1, 2}) * (-4.0 / 9), {1e-9, 1e-9}));
}

TEST(Statistics, AreZeroForEqualMeansAndDeviations) {
  Judge judge(2);
  judge.studio.context.pictures["style"] = doubles({1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 2}, {1, 3, 2, 2});
  // The same numbers elsewhere.
  EXPECT_NEAR(
      judge.score("statistics:layer=c", doubles({4, 1, 2, 3, 8, 5, 6, 7, 2, 1, 1, 1}, {1, 3, 2, 2})).item<double>(), 0,
      1e-12);
  // Means off by one in the first channel.
  EXPECT_NEAR(
      judge.score("statistics:layer=c", doubles({2, 3, 4, 5, 5, 6, 7, 8, 1, 1, 1, 2}, {1, 3, 2, 2})).item<double>(), -1,
      1e-9);
}

TEST(Diversity, OfIdenticalAndOrthogonalPictures) {
  Random random(2);
  const Judge judge(4, 3);
  const Tensor one = random.normal({1, 3, 4, 4});
  EXPECT_NEAR(judge.score("diversity:layer=c", at::cat({one, one, 2 * one})).sum().item<double>(), -2, 1e-8);
  // Each picture in a channel of its own: Gram matrices without a common entry.
  Tensor apart = at::zeros({3, 3, 4, 4}, at::kDouble);
  for (int64_t b = 0; b < 3; ++b) apart[b][b].fill_(static_cast<double>(b + 1));
  EXPECT_NEAR(judge.score("diversity:layer=c", apart).abs().max().item<double>(), 0, 1e-12);
}

// Values 1, 3, 7: neighbours differ by 2 and 4, the ends by 6 at half the weight.
TEST(Alignment, SumsPairsOfNeighbours) {
  const Judge judge(2, 3);
  const Tensor a = doubles({1, 3, 7}, {3, 1, 1, 1}).expand({3, 3, 2, 2});
  const Tensor near = judge.score("alignment:layer=c", a);
  EXPECT_TRUE(within(near, doubles({-2, -10, -8}, {3}), {1e-12, 1e-12}));
  EXPECT_NEAR(judge.score("alignment:layer=c,reach=2", a).sum().item<double>(), -(4 + 16 + 36 / 2.0), 1e-12);
}

TEST(LogProbability, IsMinusTheCrossEntropy) {
  Random random(3);
  const Studio studio(test::linear_graph(random.normal({4, 48}), 4), 4, test::plain_card(4));
  const Tensor logits = random.normal({1, 4});
  const Tensor expected = at::log_softmax(logits, 1).select(1, 2);
  EXPECT_TRUE(within(Judge::score(*studio.objective("log-probability:target=2"), logits), expected, {1e-9, 1e-9}));
  // Its gradient is e_c - p, in all of the logits.
  const Tensor leaf = logits.clone().requires_grad_(true);
  Judge::score(*studio.objective("log-probability:target=2"), leaf).sum().backward();
  EXPECT_TRUE(within(leaf.grad(), doubles({0, 0, 1, 0}, {1, 4}) - at::softmax(logits, 1), {1e-9, 1e-9}));
  EXPECT_TRUE(within(Judge::score(*studio.objective("class:target=2"), logits), logits.select(1, 2), {1e-12, 1e-12}));
  EXPECT_NEAR(Judge::score(*studio.objective("class:target=2 vs 0"), logits).item<double>(),
              (logits[0][2] - logits[0][0]).item<double>(), 1e-12);
  test::expect_error(ErrorKind::kUsage, "class: target 'top1' needs a picture that ranks the classes",
                     [&] { static_cast<void>(studio.objective("class:target=top1")); });
}

TEST(Objective, GradientIsThatOfTheFormula) {
  Random random(4);
  Judge judge(4, 2);
  judge.studio.context.pictures["content"] = random.uniform({2, 3, 4, 4}) + 0.1;
  judge.studio.context.pictures["style"] = random.uniform({1, 3, 4, 4});
  judge.studio.context.tensors["direction"] = random.normal({3});
  judge.studio.context.tensors["half"] = at::cat({at::ones({2, 4}, at::kDouble), at::zeros({2, 4}, at::kDouble)});
  // Positive, so that no cosine meets the bound below which it is held.
  const Tensor a = random.uniform({2, 3, 4, 4}) + 0.2;
  for (const char* text :
       {"channel:layer=c,channel=2", "neuron:layer=c,channel=0,y=1,x=3", "energy:layer=c", "direction:layer=c",
        "direction:layer=c,power=2", "direction:layer=c,power=-1", "match:layer=c", "content:layer=c",
        "caricature:layer=c,power=2", "guide:layer=c", "gram:layer=c", "gram:layer=c,mask=half", "statistics:layer=c",
        "diversity:layer=c", "alignment:layer=c"}) {
    const auto part = judge.studio.objective(text);
    EXPECT_LT(test::gradient_error([&](const Tensor& t) { return Judge::score(*part, t); }, a), 1e-6) << text;
  }
}

// Whatever is beside a picture in the batch, its number is the same, unless the objective is about the batch.
TEST(Objective, CountsPicturesApart) {
  Random random(5);
  Judge judge(4, 1);
  judge.studio.context.pictures["content"] = random.uniform({1, 3, 4, 4});
  judge.studio.context.pictures["style"] = random.uniform({1, 3, 4, 4});
  judge.studio.context.tensors["direction"] = random.normal({3});
  const Tensor a = random.normal({3, 3, 4, 4});
  for (const PartInfo& info : synthesis_parts(PartKind::kObjective)) {
    if (info.id == "class" || info.id == "log-probability" || info.id == "diversity" || info.id == "alignment" ||
        info.id == "portilla-simoncelli") {
      continue;
    }
    const bool reads_layer = std::any_of(info.params.begin(), info.params.end(),
                                         [](const ParamSpec& param) { return param.name == "layer"; });
    const auto part = judge.studio.objective(info.id + (reads_layer ? ":layer=c" : ""));
    const Tensor all = Judge::score(*part, a);
    for (int64_t b = 0; b < 3; ++b) {
      EXPECT_NEAR(all[b].item<double>(), Judge::score(*part, a.narrow(0, b, 1)).item<double>(), 1e-9) << info.id;
    }
  }
}

}  // namespace
}  // namespace pellucid
