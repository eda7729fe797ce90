#include "attribution/baseline.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

Explainer small_network(const Tensor& x, const ModelCard& card = {}) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  return Explainer(b.head("c1", 2), x, in_float64(), card);
}

Tensor baseline(const Explainer& n, const std::string& name) {
  const auto list = baselines(n.context("0"), "integrated-gradients", name);
  EXPECT_EQ(list.size(), 1u);
  return list.front();
}

// Colors are stated in display range and reach the model through its card: (255 level / 255 - mean) / std. Zero in the
// model domain is the mean color, not black.
TEST(Baselines, ColorsGoThroughTheCard) {
  const ModelCard card = card_from_preset("imagenet");
  const Explainer n = small_network(Random(1).normal({2, 3, 5, 6}), card);
  const Tensor mean = doubles(card.mean, {1, 3, 1, 1});
  const Tensor std = doubles(card.std, {1, 3, 1, 1});
  for (const auto& [name, level] : {std::pair{"black", 0.0}, std::pair{"gray", 0.5}, std::pair{"white", 1.0}}) {
    EXPECT_TRUE(within(baseline(n, name), ((level - mean) / std).expand({2, 3, 5, 6}), kExact)) << name;
  }
  EXPECT_EQ(baseline(n, "zero").abs().max().item<double>(), 0);
}

TEST(Baselines, MeanIsEachPicturesOwn) {
  const Explainer n = small_network(Random(1).normal({2, 3, 5, 6}));
  EXPECT_TRUE(within(baseline(n, "mean"), n.input.mean({2, 3}, true).expand({2, 3, 5, 6}), kExact));
}

// A one-pixel picture of a Gaussian kernel; the kernel sums to one, so a constant stays what it is, also at the border
// and when the kernel is wider than the picture.
TEST(Baselines, BlurKeepsConstantsAndSpreadsAPoint) {
  const Explainer flat = small_network(at::full({1, 3, 5, 6}, 0.7, at::TensorOptions(at::kDouble)));
  for (const char* name : {"blur:0.5", "blur:3", "blur:40"})
    EXPECT_TRUE(within(baseline(flat, name), flat.input, kExact)) << name;

  Tensor point = at::zeros({1, 3, 21, 21}, at::TensorOptions(at::kDouble));
  point[0][1][10][10] = 1;
  const Tensor blurred = baseline(small_network(point), "blur:2")[0];
  const Tensor t = at::arange(-10, 11, at::TensorOptions(at::kDouble));
  Tensor kernel = at::exp(-t.square() / 8) * t.abs().le(8);  // cut off at four sigma
  kernel = kernel / kernel.sum();
  EXPECT_TRUE(within(blurred[1], kernel.unsqueeze(1) * kernel.unsqueeze(0), kExact));
  EXPECT_EQ(blurred[0].abs().max().item<double>(), 0);
}

TEST(Baselines, NoiseIsInDisplayRangeAndFollowsItsSeed) {
  const ModelCard card = card_from_preset("flower");
  const Explainer n = small_network(Random(1).normal({2, 3, 16, 16}), card);
  const Tensor noise = baseline(n, "noise:5");
  const Tensor display = card.display_from_model(noise);
  EXPECT_GE(display.min().item<double>(), 0);
  EXPECT_LE(display.max().item<double>(), 1);
  // 768 uniform numbers: a standard error of 1 / sqrt(12 * 768) = 0.0104; four of them.
  EXPECT_NEAR(display[0].mean().item<double>(), 0.5, 0.042);
  EXPECT_TRUE(noise[0].equal(noise[1]));
  EXPECT_TRUE(noise.equal(baseline(n, "noise:5")));
  EXPECT_FALSE(noise.equal(baseline(n, "noise:6")));
}

TEST(Baselines, PlusJoinsSeveral) {
  const Explainer n = small_network(Random(1).normal({1, 3, 5, 6}));
  const auto list = baselines(n.context("0"), "integrated-gradients", "black + white");
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].max().item<double>(), 0);
  EXPECT_EQ(list[1].min().item<double>(), 255);
}

TEST(Baselines, RefusesWhatIsNone) {
  const Explainer n = small_network(Random(1).normal({1, 3, 5, 6}));
  for (const std::string name :
       {"purple", "blur:", "blur:0", "blur:-1", "blur:1e9", "blur:nan", "noise:-1", "noise:x", "", "black+"}) {
    const std::string part = name == "black+" ? "" : name;
    expect_error(ErrorKind::kUsage,
                 "integrated-gradients: baseline is '" + part +
                     "'; it must be black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED], or "
                     "several joined by '+' "
                     "(default black)",
                 [&] { n.explain("integrated-gradients:steps=1,baseline=" + name, "0"); });
  }
}

TEST(Baselines, KeepTheLayoutOfTheModel) {
  LayerBuilder b(1, {-1, 5, 6, 3});
  b.node("Transpose", "first", {"x"}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  b.conv_with("c1", "first", b.random.normal({4, 3, 3, 3}));
  ModelCard card = card_from_preset("flower");
  card.channels_first = false;
  const Explainer n(b.head("c1", 2), Random(1).normal({1, 5, 6, 3}), in_float64(), card);
  EXPECT_TRUE(within(baseline(n, "mean"), n.input.mean({1, 2}, true).expand({1, 5, 6, 3}), kExact));
  for (const char* name : {"black", "blur:1", "noise:1"}) EXPECT_EQ(baseline(n, name).sizes(), n.input.sizes()) << name;
  EXPECT_TRUE(within(baseline(n, "white"), at::full({1, 5, 6, 3}, 2.0, at::TensorOptions(at::kDouble)), kExact));
}

}  // namespace
}  // namespace pellucid::test
