#include "synthesis/tiles.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/studio.h"
#include "synthesis/evaluation.h"

namespace pellucid {
namespace {

using test::LayerBuilder;
using test::Random;
using test::Studio;
using test::within;

TEST(TileRanges, CoverTheLengthOnce) {
  for (const int64_t length : {40, 64, 100, 129, 500}) {
    for (const int64_t offset : {0, 8, 24, 56}) {
      const std::vector<TileRange> ranges = tile_ranges(length, 64, 12, 8, offset);
      int64_t at = 0;
      for (const TileRange& r : ranges) {
        EXPECT_EQ(r.begin, at);
        EXPECT_EQ(r.begin % 8, 0);
        EXPECT_EQ(r.seen_begin % 8, 0);
        EXPECT_TRUE(r.end - r.begin >= 32 || ranges.size() == 1) << length << " " << offset;
        EXPECT_LT(r.end - r.begin, 64 + 64);
        EXPECT_LE(r.seen_begin, std::max<int64_t>(0, r.begin - 12));
        EXPECT_GE(r.seen_end, std::min(length, r.end + 12));
        at = r.end;
      }
      EXPECT_EQ(at, length);
    }
  }
}

/// Two strided convolutions with a pool between: stride 8, and a field that grows with the size of the last kernel.
Graph strided(int64_t last_kernel) {
  LayerBuilder b(3);
  b.conv("c1", "x", 6, {3, 2});
  b.node("Relu", "r1", {"c1"});
  b.pool("MaxPool", "p", "r1", 2, 2);
  b.conv("c2", "p", 6, {3, 2});
  b.node("Relu", "r2", {"c2"});
  b.conv("c3", "r2", 4, {last_kernel, 1});
  return b.head("c3", 3);
}

Recipe one_step(const std::string& objective, int64_t height, int64_t width) {
  Recipe recipe;
  recipe.objectives = {{1, objective}};
  recipe.parameterization = "pixels:clamp=false";
  recipe.stages[0].steps = 1;
  recipe.height = height;
  recipe.width = width;
  recipe.redirect_until = -1;
  recipe.tile = 16384;
  return recipe;
}

Tensor gradient(const Studio& studio, const Recipe& recipe, const Tensor& picture, int64_t step) {
  const at::NoGradGuard no_grad;
  const LayerTable table(studio.network, {picture.sizes().vec()});
  const Stage stage = make_stage(recipe, recipe.stages[0], studio.context, table, picture.size(2), picture.size(3));
  return evaluate(recipe, studio.context, table, stage, {picture}, {step, 0, 1, 5}, Wanted::kGradients).gradients[0];
}

// Where the margin covers the receptive field, and for objectives that relate far parts of the picture to each other,
// parts change nothing but the order of sums.
TEST(Tiles, GiveTheGradientOfTheWholePicture) {
  Random random(1);
  Studio studio(strided(1), 32);
  const Tensor picture = random.uniform({2, 3, 230, 301});
  for (const std::string objective :
       {"channel:layer=c3,channel=1", "energy:layer=r1", "gram:layer=p", "diversity:layer=r2", "guide:layer=c3"}) {
    studio.context.pictures["content"] = studio.context.pictures["style"] = random.uniform({1, 3, 60, 50});
    Recipe recipe = one_step(objective, 230, 301);
    recipe.batch = 2;
    const Tensor whole = gradient(studio, recipe, picture, 0);
    recipe.tile = 128;
    for (const int64_t step : {0, 1, 2}) {
      EXPECT_TRUE(within(gradient(studio, recipe, picture, step), whole, {1e-12, 1e-9})) << objective;
    }
  }
}

// Beyond the margin single parts are wrong at their borders, which lie elsewhere in every step: on average it is right.
TEST(Tiles, AverageToTheGradientOfTheWholePicture) {
  Random random(2);
  const Studio studio(strided(7), 32);
  const Tensor picture = random.uniform({1, 3, 200, 264});
  Recipe recipe = one_step("channel:layer=c3,channel=1", 200, 264);
  const Tensor whole = gradient(studio, recipe, picture, 0);
  recipe.tile = 128;
  EXPECT_FALSE(within(gradient(studio, recipe, picture, 0), whole, {1e-12, 1e-9}));
  Tensor mean = at::zeros_like(whole);
  for (int64_t step = 0; step < 64; ++step) mean += gradient(studio, recipe, picture, step) / 64;
  const Tensor a = whole - whole.mean(), b = mean - mean.mean();
  EXPECT_GT((a * b).sum().item<double>() / (a.norm() * b.norm()).item<double>(), 0.99);
}

// Logits have no place: each part counts by its area.
TEST(Tiles, LogitsCountByArea) {
  Random random(3);
  const Studio studio(strided(1), 32);
  const Tensor picture = random.uniform({1, 3, 160, 64});
  Recipe recipe = one_step("class:target=2", 160, 64);
  recipe.tile = 64;
  const LayerTable table(studio.network, {picture.sizes().vec()});
  const at::NoGradGuard no_grad;
  const Stage stage = make_stage(recipe, recipe.stages[0], studio.context, table, 160, 64);
  ASSERT_EQ(stage.tiles.kind, TilePlan::Kind::kSeparate);
  const at::Generator generator = StepInfo{}.generator(0x711e);  // as the evaluation below draws them
  const int64_t y = stage.tiles.offset(generator), x = stage.tiles.offset(generator);
  const TiledNetwork parts(studio.context, table, stage.layers, stage.tiles, y, x);
  const auto list = parts.parts(picture);
  ASSERT_GE(list.size(), 2u);
  double expected = 0, area = 0;
  for (const auto& part : list) {
    area += part.share;
    expected += part.share * studio.network.run(parts.seen(picture, part).contiguous())[0][0][2].item<double>();
  }
  EXPECT_NEAR(area, 1, 1e-12);
  const Evaluation e = evaluate(recipe, studio.context, table, stage, {picture}, {}, Wanted::kGradients);
  const double first = e.objective.item<double>();
  Tensor moved = picture + 1e-6 * e.gradients[0];
  const double second =
      evaluate(recipe, studio.context, table, stage, {moved}, {}, Wanted::kPlain).objective.item<double>();
  // The gradient is that of what is made small, and belongs to the number that is reported.
  EXPECT_NEAR((first - second) / (1e-6 * e.gradients[0].square().sum().item<double>()), 1, 1e-3);
  EXPECT_NEAR(first, expected, 1e-9);
}

}  // namespace
}  // namespace pellucid
