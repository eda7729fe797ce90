#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/studio.h"
#include "synthesis/evaluation.h"

namespace pellucid {
namespace {

using test::doubles;
using test::LayerBuilder;
using test::Random;
using test::Studio;
using test::within;

/// Pixels, plain ascent, nothing else.
Recipe plain_recipe(const std::string& objective, int64_t side, int64_t steps, const std::string& optimizer) {
  Recipe recipe;
  recipe.objectives = {{1, objective}};
  recipe.parameterization = "pixels:clamp=false";
  recipe.optimizer = optimizer;
  recipe.stages = {{}};
  recipe.stages[0].steps = steps;
  recipe.width = recipe.height = side;
  recipe.redirect_until = -1;
  return recipe;
}

NetworkOptions in_float32() {
  NetworkOptions options;
  options.precision = Precision::kFloat32;
  return options;
}

// S = w x: the maximum of S - lambda |x|^2 is w / (2 lambda).
TEST(Synthesize, LinearClassWithDecayHasAClosedForm) {
  Random random(1);
  const Tensor w = random.normal({2, 48}) * 0.2;
  const Studio studio(test::linear_graph(w, 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=1", 4, 200, "ascent:rate=0.25");
  recipe.regularizers = {{0.5, "l2"}};
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_TRUE(within(result.image.flatten(), w[1], {1e-6, 1e-6}));
  EXPECT_NEAR(result.objective[0], w[1].square().sum().item<double>(), 1e-6);
  EXPECT_EQ(result.steps, 200);
  EXPECT_GT(result.objective[0], result.objective_start[0]);
}

// The same optimum without a step size to choose.
TEST(Synthesize, LooksAheadWithLbfgs) {
  Random random(1);
  const Tensor w = random.normal({2, 48}) * 0.2;
  const Studio studio(test::linear_graph(w, 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=1", 4, 12, "lbfgs");
  recipe.regularizers = {{0.5, "l2"}};
  EXPECT_TRUE(within(synthesize(recipe, studio.context).image.flatten(), w[1], {1e-6, 1e-6}));
  // Within bounds, every pixel by itself.
  recipe.parameterization = "pixels";
  EXPECT_TRUE(within(synthesize(recipe, studio.context).image.flatten(), w[1].clamp(0, 1), {1e-6, 1e-6}));
}

// What the optimizer reached is told apart from what the finish makes of it.
TEST(Synthesize, ReportsBeforeAndAfterTheFinish) {
  Random random(1);
  const Tensor w = random.normal({2, 48}) * 0.2;
  const Studio studio(test::linear_graph(w, 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=1", 4, 12, "lbfgs");
  recipe.regularizers = {{0.5, "l2"}};
  recipe.finish = {"clip"};
  const SynthesisResult result = synthesize(recipe, studio.context);
  const Tensor clipped = w[1].clamp(0, 1);
  EXPECT_TRUE(within(result.unfinished.flatten(), w[1], {1e-6, 1e-6}));
  EXPECT_TRUE(within(result.image.flatten(), clipped, {1e-6, 1e-6}));
  EXPECT_NEAR(result.objective[0], w[1].square().sum().item<double>(), 1e-6);
  EXPECT_NEAR(result.terms.at("class:target=1")[0], w[1].square().sum().item<double>(), 1e-6);
  EXPECT_NEAR(result.finished_objective[0], (w[1] * clipped).sum().item<double>(), 1e-6);
  recipe.finish.clear();
  EXPECT_EQ(synthesize(recipe, studio.context).finished_objective, result.objective);
}

// max w x with |x| fixed: x = rho w / |w|.
TEST(Synthesize, LinearUnitOnASphereBecomesItsWeight) {
  Random random(2);
  const Tensor w = random.normal({2, 48});
  const Studio studio(test::linear_graph(w, 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=0", 4, 100, "ascent:rate=0.1");
  recipe.after_step = {"sphere:rms=0.5"};
  const Tensor expected = w[0] / w[0].square().mean().sqrt() * 0.5;
  EXPECT_TRUE(within(synthesize(recipe, studio.context).image.flatten(), expected, {1e-5, 1e-5}));
}

// Weights of objectives and of regularizers add up as they are written.
TEST(Synthesize, ObjectivesAddUpWithTheirWeights) {
  Random random(3);
  const Tensor w = random.normal({3, 48});
  const Studio studio(test::linear_graph(w, 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=0", 4, 1, "ascent:rate=1");
  recipe.parameterization = "pixels:mean=0,sd=0,clamp=false";
  recipe.objectives.push_back({-2, "class:target=1"});
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_TRUE(within(result.image.flatten(), w[0] - 2 * w[1], {1e-6, 1e-6}));
  EXPECT_EQ(result.trace.terms.at("class:target=0").size(), result.trace.steps.size());
  Recipe difference = plain_recipe("class:target=0 vs 1", 4, 1, "ascent:rate=1");
  difference.parameterization = recipe.parameterization;
  EXPECT_TRUE(within(synthesize(difference, studio.context).image.flatten(), w[0] - w[1], {1e-6, 1e-6}));
}

/// relu(mean of the picture - 1): dead wherever a picture in display range begins.
Graph dead_graph() {
  LayerBuilder b(1);
  b.conv_with("c", "x", at::ones({1, 3, 1, 1}, at::kDouble) / 3, at::full({1}, -1.0, at::kDouble));
  b.node("Relu", "r", {"c"});
  return b.finish("r");
}

TEST(Redirect, RevivesADeadUnit) {
  const Studio studio(dead_graph(), 6);
  Recipe recipe = plain_recipe("channel:layer=r,channel=0", 6, 50, "adam:rate=0.1");
  const SynthesisResult stuck = synthesize(recipe, studio.context);
  EXPECT_TRUE(at::equal(stuck.image, stuck.start));
  recipe.redirect_until = 16;
  const SynthesisResult alive = synthesize(recipe, studio.context);
  EXPECT_GT(alive.objective[0], 0.1);
}

// Steps so small that the unit stays dead: 17 steps move the picture, later ones do not.
TEST(Redirect, EndsWhenItIsSaidTo) {
  const Studio studio(dead_graph(), 6);
  Recipe recipe = plain_recipe("channel:layer=r,channel=0", 6, 25, "ascent:rate=1e-4");
  recipe.redirect_until = 16;
  std::vector<Tensor> seen;
  SynthesisContext context = studio.context;
  context.on_step = [&](int64_t, const Tensor& image) { seen.push_back(image.clone()); };
  synthesize(recipe, context);
  ASSERT_EQ(seen.size(), 25u);
  for (size_t t = 1; t < 25; ++t) EXPECT_EQ(at::equal(seen[t], seen[t - 1]), t > 16) << "step " << t;
}

// A gradient that is not blocked is not touched: bit for bit.
TEST(Redirect, LeavesLivingUnitsAlone) {
  const Studio studio(test::random_network(test::Family::kClip, 3), 12);
  Recipe recipe = plain_recipe("class:target=1", 12, 6, "ascent:rate=0.1");
  const Tensor without = synthesize(recipe, studio.context).image;
  recipe.redirect_until = 16;
  EXPECT_TRUE(at::equal(synthesize(recipe, studio.context).image, without));
}

// Above the upper bound of a Clip gradients that would lead further up stay blocked.
TEST(Redirect, PullsBackFromAnUpperBound) {
  LayerBuilder b(1);
  b.conv_with("c", "x", at::ones({1, 3, 1, 1}, at::kDouble) / 3, at::full({1}, 8.0, at::kDouble));
  b.clip("r", "c", 0, 6);
  const Studio studio(b.finish("r"), 6);
  Recipe recipe = plain_recipe("channel:layer=r,channel=0", 6, 5, "ascent:rate=1");
  recipe.redirect_until = 16;
  const SynthesisResult up = synthesize(recipe, studio.context);
  EXPECT_TRUE(at::equal(up.image, up.start));
  recipe.objectives[0].weight = -1;
  const SynthesisResult down = synthesize(recipe, studio.context);
  EXPECT_LT(down.image.mean().item<double>(), down.start.mean().item<double>() - 0.01);
}

// Mahendran and Vedaldi's update with Phi the identity and no regularizer; a scalar simulation of it leaves 1.2e-1,
// 5.5e-3, 3.8e-4 and 1.4e-7 of the picture after 50, 100, 150 and 300 steps at 227 pixels.
TEST(Synthesize, InversionOfTheIdentityDecays) {
  constexpr int64_t kSide = 227;
  Random random(4);
  Studio studio(test::identity_graph(), kSide, test::plain_card(), PixelUnit::kCaffe);
  // The energy is relative to what the network sees, so that it has to see what the method was made for.
  studio.card.scale = 1;
  studio.card.mean = {123.68, 116.779, 103.939};
  // Every value as large as the method expects it, B / sqrt(3), with a sign at random.
  const Tensor sign = random.normal({1, 3, kSide, kSide}).sign();
  const Tensor goal = display_from_pixels(sign * (80 / std::sqrt(3.0)), PixelUnit::kCaffe);
  studio.context.pictures["content"] = goal;
  Recipe recipe = plain_recipe("match:layer=c", kSide, 300, "adagrad");
  recipe.unit = PixelUnit::kCaffe;
  recipe.parameterization = "pixels:mean=-1,sd=0,clamp=false";
  recipe.judge_every = 0;
  std::map<int64_t, double> errors;
  studio.context.on_step = [&](int64_t step, const Tensor& image) {
    const Tensor zero_mean = pixels_from_display(goal, PixelUnit::kCaffe);
    errors[step + 1] = (pixels_from_display(image, PixelUnit::kCaffe) - zero_mean).norm().item<double>() /
                       zero_mean.norm().item<double>();
  };
  synthesize(recipe, studio.context);
  EXPECT_LT(errors.at(50), 3 * 1.2e-1);
  EXPECT_LT(errors.at(100), 3 * 5.5e-3);
  EXPECT_LT(errors.at(150), 3 * 3.8e-4);
  EXPECT_LT(errors.at(300), 3 * 1.4e-7);
}

// f = w x without meeting the range: one sign step lowers it by epsilon |w|_1, an L2 step by epsilon |w|_2.
TEST(Attack, LowersALinearLogitByTheDualNorm) {
  Random random(5);
  const Tensor w = random.normal({1, 48});
  Studio studio(test::linear_graph(at::cat({w, -w}), 4), 4, test::plain_card(4));
  studio.context.pictures["start"] = 0.3 + 0.4 * random.uniform({1, 3, 4, 4});
  Recipe recipe = plain_recipe("class:target=0", 4, 1, "ascent:rate=1");
  recipe.objectives[0].weight = -1;
  recipe.parameterization = "delta:norm=linf,size=8";
  recipe.gradient = {"normalize:by=sign"};
  SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_NEAR(result.objective[0] - result.objective_start[0], 8.0 / 255 * w.abs().sum().item<double>(), 1e-9);
  recipe.parameterization = "delta:norm=l2,size=50";
  recipe.gradient = {"normalize:by=l2"};
  recipe.stages[0].steps = 5;
  recipe.optimizer = "ascent:rate=0.1";
  result = synthesize(recipe, studio.context);
  EXPECT_NEAR(result.objective[0] - result.objective_start[0], 50.0 / 255 * w.norm().item<double>(), 1e-9);
}

TEST(Attack, EveryStepKeepsTheBound) {
  Random random(6);
  for (const std::string norm : {"linf", "l2"}) {
    Studio studio(test::random_network(test::Family::kPlain, 7), 16, test::plain_card(), PixelUnit::kDisplay, 1,
                  in_float32());
    const Tensor start = random.uniform({1, 3, 16, 16}).to(at::kFloat);
    studio.context.pictures["start"] = start;
    Recipe recipe = plain_recipe("log-probability:target=2", 16, 12, "ascent:rate=0.02");
    recipe.objectives[0].weight = -1;
    recipe.parameterization = "delta:size=8,start=random,norm=" + norm;
    recipe.gradient = {norm == "linf" ? "normalize:by=sign" : "normalize:by=l2"};
    int steps = 0;
    studio.context.on_step = [&](int64_t, const Tensor& image) {
      const Tensor delta = image - start;
      const double size = norm == "linf" ? delta.abs().max().item<double>() : delta.norm().item<double>();
      EXPECT_LE(size, 8.0 / 255 + 1e-7);
      EXPECT_GE(image.min().item<double>(), 0);
      EXPECT_LE(image.max().item<double>(), 1);
      ++steps;
    };
    const SynthesisResult result = synthesize(recipe, studio.context);
    EXPECT_EQ(steps, 12);
    EXPECT_GT(result.objective[0], result.objective_start[0]);
  }
}

Recipe lucid_like(int64_t side, int64_t steps) {
  Recipe recipe = plain_recipe("class:target=1", side, steps, "adam:rate=0.05");
  recipe.parameterization = "fourier";
  recipe.transformations = {"pad:pixels=3", "jitter:pixels=2", "scale", "rotate", "jitter:pixels=1"};
  recipe.redirect_until = 16;
  return recipe;
}

TEST(Synthesize, SameSeedSameBits) {
  const Studio studio(test::random_network(test::Family::kResidual, 3), 16, test::plain_card(), PixelUnit::kDisplay, 1,
                      in_float32());
  Recipe recipe = lucid_like(16, 12);
  const Tensor first = synthesize(recipe, studio.context).image;
  EXPECT_TRUE(at::equal(synthesize(recipe, studio.context).image, first));
  recipe.seed = 1;
  EXPECT_FALSE(at::equal(synthesize(recipe, studio.context).image, first));
}

TEST(Synthesize, BatchEqualsItsPicturesOneByOne) {
  Random random(8);
  const Tensor starts = random.uniform({3, 3, 16, 16});
  for (const bool fourier : {true, false}) {
    Recipe recipe = lucid_like(16, 8);
    if (!fourier) {
      recipe.parameterization = "pixels";
      recipe.gradient = {"laplacian", "normalize"};
      recipe.optimizer = "ascent:rate=0.01";
      recipe.after_step = {"clip-norm:percentile=10", "blur:every=2"};
      recipe.regularizers = {{1e-3, "tv"}, {1e-3, "alpha-norm:scale=1"}};
    }
    std::vector<Tensor> alone;
    for (int64_t b = 0; b < 3; ++b) {
      Studio studio(test::random_network(test::Family::kPlain, 9), 16);
      studio.context.pictures["start"] = starts.narrow(0, b, 1);
      alone.push_back(synthesize(recipe, studio.context).image);
    }
    Studio studio(test::random_network(test::Family::kPlain, 9), 16, test::plain_card(), PixelUnit::kDisplay, 3);
    studio.context.pictures["start"] = starts;
    recipe.batch = 3;
    const SynthesisResult batch = synthesize(recipe, studio.context);
    EXPECT_TRUE(within(batch.image, at::cat(alone), {1e-6, 1e-5})) << (fourier ? "fourier" : "pixels");
  }
}

// The objective is infinite where a pixel is above 0.6: the run ends there with the picture before.
TEST(Synthesize, NanEndsWithTheLastGoodPicture) {
  LayerBuilder b(1);
  b.conv_with("c", "x", -at::eye(3, at::kDouble).view({3, 3, 1, 1}), at::full({3}, 0.6, at::kDouble));
  b.node("Log", "l", {"c"});
  b.node("Neg", "n", {"l"});
  const Studio studio(b.finish("n"), 4);
  Recipe recipe = plain_recipe("channel:layer=n,channel=0", 4, 100, "ascent:rate=0.02");
  recipe.parameterization = "pixels:mean=0.5,sd=0";
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_NE(result.problem.find("channel:layer=n,channel=0 is not finite"), std::string::npos) << result.problem;
  EXPECT_LT(result.steps, 100);
  EXPECT_GT(result.steps, 2);
  EXPECT_LE(result.image.max().item<double>(), 0.6);
  EXPECT_TRUE(std::isfinite(result.objective[0]));
  EXPECT_GT(result.objective[0], result.objective_start[0]);
}

class CancelAt final : public Progress {
 public:
  explicit CancelAt(double step) : step_(step) {}
  void report(double done, double, const std::string&) override {
    if (done >= step_) cancel();
  }

 private:
  double step_;
};

TEST(Synthesize, CancelReturnsTheCurrentPicture) {
  Studio studio(test::random_network(test::Family::kPlain, 9), 16);
  Recipe recipe = lucid_like(16, 5);
  const Tensor five = synthesize(recipe, studio.context).image;
  recipe.stages[0].steps = 40;
  CancelAt progress(5);
  studio.context.progress = &progress;
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.steps, 5);
  EXPECT_TRUE(at::equal(result.image, five));
}

// A run that is stopped and goes on from its checkpoint ends with the same bits, whatever its optimizer remembers.
TEST(Synthesize, ResumesToTheSameBits) {
  Random random(15);
  for (const std::string optimizer :
       {"adam:rate=0.05", "adam:nesterov=true", "ascent:rate=0.1,momentum=0.5", "adagrad:rate=3,cool=3", "lbfgs"}) {
    Studio studio(test::random_network(test::Family::kPlain, 9), 16);
    studio.context.pictures["start"] = random.uniform({1, 3, 16, 16});
    Recipe recipe = lucid_like(16, 7);
    recipe.optimizer = optimizer;
    recipe.judge_every = 3;
    recipe.stages.push_back(recipe.stages[0]);
    if (optimizer == "lbfgs") {
      recipe.transformations.clear();
      recipe.parameterization = "pixels";
      recipe.carry = "detail";
      recipe.stages[1].scale = 1.5;
    }
    const SynthesisResult whole = synthesize(recipe, studio.context);
    for (const double stop : {3.0, 7.0, 10.0}) {
      std::optional<SynthesisCheckpoint> kept;
      CancelAt progress(stop);
      SynthesisContext context = studio.context;
      context.progress = &progress;
      context.on_checkpoint = [&](const SynthesisCheckpoint& c) { kept = c; };
      EXPECT_TRUE(synthesize(recipe, context).interrupted);
      ASSERT_TRUE(kept);
      SynthesisContext again = studio.context;
      again.resume = &*kept;
      const SynthesisResult rest = synthesize(recipe, again);
      EXPECT_TRUE(at::equal(rest.image, whole.image)) << optimizer << " " << stop;
      EXPECT_TRUE(at::equal(rest.best, whole.best)) << optimizer << " " << stop;
      EXPECT_EQ(rest.steps, whole.steps);
      EXPECT_EQ(rest.trace.terms, whole.trace.terms);
      EXPECT_EQ(rest.objective_start, whole.objective_start);
    }
  }
}

TEST(Synthesize, RefusesACheckpointOfAnotherRecipe) {
  const Studio studio(test::random_network(test::Family::kPlain, 9), 16);
  SynthesisContext context = studio.context;
  std::optional<SynthesisCheckpoint> kept;
  context.checkpoint_every = 2;
  context.on_checkpoint = [&](const SynthesisCheckpoint& c) { kept = c; };
  synthesize(lucid_like(16, 5), context);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->step, 5);
  context.resume = &*kept;
  test::expect_error(ErrorKind::kUsage, "the checkpoint is not one of this recipe",
                     [&] { synthesize(lucid_like(18, 5), context); });
}

// Every picture of a batch with an objective of its own is the picture that it would be alone.
TEST(Synthesize, ObjectivesForSinglePicturesOfABatch) {
  const Studio studio(test::random_network(test::Family::kPlain, 9), 16);
  Recipe recipe = lucid_like(16, 6);
  recipe.batch = 2;
  recipe.objectives = {{1, "class:target=1", 0}, {2, "class:target=2", 1}, {-0.5, "class:target=0", 1}};
  const SynthesisResult both = synthesize(recipe, studio.context);
  for (int64_t b = 0; b < 2; ++b) {
    Recipe alone = recipe;
    alone.objectives.clear();
    for (WeightedPart part : recipe.objectives) {
      if (part.picture == b) alone.objectives.push_back({part.weight, part.part, -1});
    }
    // The start of a batch is drawn picture by picture, so that its second picture is the second of a batch of two.
    const SynthesisResult one = synthesize(alone, studio.context);
    EXPECT_TRUE(within(both.image[b], one.image[b], {1e-6, 1e-6})) << b;
  }
  recipe.objectives[0].picture = 2;
  test::expect_error(ErrorKind::kUsage, "class:target=1: there is no picture 2 in a batch of 2",
                     [&] { synthesize(recipe, studio.context); });
}

// Without steps, octaves give back the picture itself: details are exact differences.
TEST(Synthesize, DreamOfZeroStepsIsThePicture) {
  Random random(10);
  Studio studio(test::identity_graph(), 20);
  studio.context.pictures["start"] = random.uniform({1, 3, 20, 20});
  Recipe recipe = plain_recipe("energy:layer=c", 20, 0, "ascent");
  recipe.carry = "detail";
  recipe.unit = PixelUnit::kCaffe;
  recipe.stages = {{}, {}};
  recipe.stages[0].steps = recipe.stages[1].steps = 0;
  recipe.stages[1].scale = 2;
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_LT((result.image - studio.context.pictures["start"].to(at::kFloat)).abs().max().item<double>(), 1e-6);
}

// 1.5 times the gradient over its mean magnitude moves the picture by 1.5 gray levels on average.
TEST(Synthesize, StepOfADreamIsInGrayLevels) {
  Random random(11);
  Studio studio(test::identity_graph(), 20);
  const Tensor start = 0.3 + 0.4 * random.uniform({1, 3, 20, 20});
  studio.context.pictures["start"] = start;
  Recipe recipe = plain_recipe("energy:layer=c", 20, 1, "ascent:rate=1.5");
  recipe.gradient = {"normalize"};
  recipe.unit = PixelUnit::kCaffe;
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_NEAR((result.image.to(at::kDouble) - start).abs().mean().item<double>() * 255, 1.5, 1e-4);
  EXPECT_GT(result.objective[0], result.objective_start[0]);
}

// On a network whose layers wrap around, a rolled picture has the gradient rolled: what roll does is undone.
TEST(Synthesize, RollIsUndoneInTheGradient) {
  Random random(12);
  Studio studio(test::identity_graph(), 12);
  studio.context.pictures["start"] = random.uniform({1, 3, 12, 12});
  Recipe recipe = plain_recipe("energy:layer=c", 12, 3, "ascent:rate=0.1");
  const Tensor still = synthesize(recipe, studio.context).image;
  recipe.transformations = {"roll:pixels=5"};
  EXPECT_TRUE(within(synthesize(recipe, studio.context).image, still, {1e-6, 1e-6}));
}

// A network of one input size gets pictures of that size, whatever jitter and scaling made of them.
TEST(Synthesize, PicturesAreFittedOnlyWhereTheNetworkHasOneSize) {
  Random random(13);
  const Studio fixed(test::linear_graph(random.normal({2, 3 * 16 * 16}), 16), 16, test::plain_card(16));
  EXPECT_TRUE(has_fixed_size(fixed.context, {fixed.layers.logits()}, 16, 16, true));
  EXPECT_FALSE(has_fixed_size(fixed.context, {fixed.layers.logits()}, 16, 16));
  EXPECT_TRUE(has_fixed_size(fixed.context, {fixed.layers.logits()}, 20, 20));
  const SynthesisResult result = synthesize(lucid_like(20, 3), fixed.context);
  EXPECT_EQ(result.image.sizes(), (Shape{1, 3, 20, 20}));
  const Studio open(test::random_network(test::Family::kPlain, 9), 16, test::plain_card(16));
  EXPECT_FALSE(has_fixed_size(open.context, {open.layers.logits()}, 16, 16, true));
}

// The network sees what its card says: BGR, its scale and mean, and its layout.
TEST(Synthesize, NormalizesAsTheCardSays) {
  Studio studio(test::identity_graph(), 4);
  studio.card.order = ChannelOrder::kBgr;
  studio.card.scale = 1;
  studio.card.mean = {10, 20, 30};
  studio.card.std = {2, 2, 2};
  Random random(14);
  const Tensor x = random.uniform({1, 3, 4, 4});
  const Tensor expected = (x.flip(1) * 255 - doubles({10, 20, 30}, {1, 3, 1, 1})) / 2;
  EXPECT_TRUE(within(network_input(studio.context, x, false), expected, {1e-12, 1e-12}));
}

// The gradient of several views is the mean of theirs: on a linear network, that of any number.
TEST(Synthesize, AveragesViews) {
  Random random(16);
  const Studio studio(test::linear_graph(random.normal({2, 48}), 4), 4, test::plain_card(4));
  Recipe recipe = plain_recipe("class:target=1", 4, 3, "ascent:rate=0.1");
  recipe.transformations = {"noise:sd=0.3"};
  const Tensor one = synthesize(recipe, studio.context).image;
  recipe.views = 4;
  EXPECT_TRUE(within(synthesize(recipe, studio.context).image, one, {1e-6, 1e-6}));
  // With crops the views differ, and so do the pictures.
  recipe.transformations = {"crop:low=0.5,high=0.7"};
  const Tensor four = synthesize(recipe, studio.context).image;
  recipe.views = 1;
  EXPECT_FALSE(within(synthesize(recipe, studio.context).image, four, {1e-4, 1e-4}));
}

TEST(Synthesize, GrowsFromStageToStage) {
  const Studio studio(test::random_network(test::Family::kPlain, 9), 16);
  Recipe recipe = lucid_like(18, 4);
  recipe.stages.push_back(recipe.stages[0]);
  recipe.stages[1].scale = 1.5;
  recipe.stages[1].optimizer = "adam:rate=0.01";
  const SynthesisResult result = synthesize(recipe, studio.context);
  EXPECT_EQ(result.start.sizes(), (Shape{1, 3, 12, 12}));
  EXPECT_EQ(result.image.sizes(), (Shape{1, 3, 18, 18}));
  EXPECT_EQ(result.steps, 8);
}

TEST(Synthesize, RefusesWhatDoesNotFit) {
  const Studio studio(test::random_network(test::Family::kPlain, 9), 16);
  Recipe recipe = lucid_like(16, 1);
  recipe.after_step = {"blur"};
  test::expect_error(ErrorKind::kUsage,
                     "recipe: after-steps work on pixels; the parameterization must be pixels, not 'fourier'",
                     [&] { synthesize(recipe, studio.context); });
  recipe = lucid_like(16, 1);
  recipe.optimizer = "lbfgs";
  recipe.batch = 2;
  test::expect_error(ErrorKind::kUsage,
                     "recipe: lbfgs optimizes one picture by its own gradient; batch must be 1 and gradient steps none",
                     [&] { synthesize(recipe, studio.context); });
  recipe = plain_recipe("channel:layer=nothing,channel=0", 16, 1, "adam");
  EXPECT_THROW(synthesize(recipe, studio.context), Error);
}

/// A linear class, S = w x, of pictures with opacity.
struct AlphaCase {
  AlphaCase() : w(Random(1).normal({2, 75}) * 0.2), studio(test::linear_graph(w, 5), 5, test::plain_card(5)) {
    recipe.objectives = {{2, "class:target=1"}};
    recipe.parameterization = "fourier-alpha:sd=0.5";
    recipe.transformations = {"background"};
    recipe.optimizer = "adam:rate=0.05";
    recipe.width = recipe.height = 5;
    recipe.batch = 2;
    recipe.redirect_until = -1;
  }
  Evaluation evaluated(const Stage& stage, const TensorList& variables, Wanted wanted, int64_t step = 4) const {
    return evaluate(recipe, studio.context, studio.layers, stage, variables, {step, step, 9, 7}, wanted);
  }
  Stage stage() const { return make_stage(recipe, recipe.stages[0], studio.context, studio.layers, 5, 5); }
  Tensor w;
  Studio studio;
  Recipe recipe;
};

// (1 - mean alpha) 2 w (alpha c + (1 - alpha) b), b a random spectrum of deviation 0.5 that is another in each step, or
// mid-gray where nothing is to be random; and 0.1 of what alpha differs from itself blurred.
TEST(Opacity, ObjectiveCountsTimesTheTransparentShare) {
  const at::NoGradGuard no_grad;
  AlphaCase c;
  c.recipe.regularizers = {{0.1, "blur:of=alpha"}, {0.01, "l2"}};
  const Stage stage = c.stage();
  const TensorList variables = stage.parameterization->begin(*stage.scope, at::detail::createCPUGenerator(3));
  const Tensor image = stage.parameterization->decode(*stage.scope, variables);
  const Tensor color = color_of(image), alpha = alpha_of(image);
  const Tensor penalty = 0.1 * c.studio.regularizer("blur")->penalty(alpha) + 0.01 * color.square().sum({1, 2, 3});
  const auto expected = [&](const Tensor& background) {
    const Tensor seen = alpha * color + (1 - alpha) * background;
    return at::matmul(seen.flatten(1), 2 * c.w[1]) * (1 - alpha.mean({1, 2, 3}));
  };
  const auto random = [&](int64_t step) {
    const auto spectrum = c.studio.parameterization("fourier:sd=0.5");
    PartScope scope{c.studio.context, c.studio.layers, PixelUnit::kDisplay, 2, 5, 5};
    return spectrum->decode(scope, spectrum->begin(scope, StepInfo{step, step, 9, 7}.generator(1)));
  };
  for (const int64_t step : {4, 5}) {
    const Evaluation seen = c.evaluated(stage, variables, Wanted::kTransformed, step);
    EXPECT_TRUE(within(seen.objective, expected(random(step)), {1e-12, 1e-12}));
    EXPECT_NEAR(seen.loss, (penalty - seen.objective).sum().item<double>(), 1e-12);
  }
  EXPECT_FALSE(within(random(4), random(5), {0.1, 0.1}));
  const Evaluation plain = c.evaluated(stage, variables, Wanted::kPlain);
  EXPECT_TRUE(within(plain.objective, expected(at::full({2, 3, 5, 5}, 0.5, at::kDouble)), {1e-12, 1e-12}));
  EXPECT_TRUE(at::equal(plain.image, image));
}

TEST(Opacity, GradientIsThatOfTheLoss) {
  const at::NoGradGuard no_grad;
  AlphaCase c;
  c.recipe.views = 2;
  const Stage stage = c.stage();
  TensorList variables = stage.parameterization->begin(*stage.scope, at::detail::createCPUGenerator(3));
  const Evaluation here = c.evaluated(stage, variables, Wanted::kGradients);
  for (size_t k = 0; k < 2; ++k) {
    const Tensor numeric = at::zeros_like(variables[k]);
    double* value = variables[k].data_ptr<double>();
    for (int64_t i = 0; i < numeric.numel(); ++i) {
      const double old = value[i];
      double loss[2];
      for (int side = 0; side < 2; ++side) {
        value[i] = old + (side ? 1e-5 : -1e-5);
        loss[side] = c.evaluated(stage, variables, Wanted::kGradients).loss;
      }
      value[i] = old;
      numeric.view(-1)[i] = (loss[1] - loss[0]) / 2e-5;
    }
    EXPECT_LT((numeric - here.gradients[k]).abs().max().item<double>(), 1e-6 * numeric.abs().max().item<double>());
  }
}

// Where the weight of a linear class is zero, nothing is gained by covering the background.
TEST(Opacity, LeavesOpenWhatDoesNotMatter) {
  AlphaCase c;
  c.recipe.batch = 1;
  c.recipe.width = c.recipe.height = 8;
  c.recipe.parameterization = "fourier-alpha";
  c.recipe.stages[0].steps = 200;
  Tensor w = at::zeros({2, 3, 8, 8}, at::kDouble);
  w[1].narrow(2, 0, 4).fill_(1);
  const Studio half(test::linear_graph(w.view({2, -1}), 8), 8, test::plain_card(8));
  const Tensor alpha = synthesize(c.recipe, half.context).image[0][3];
  EXPECT_GT(alpha.narrow(1, 0, 4).mean().item<double>(), 2 * alpha.narrow(1, 4, 4).mean().item<double>());
}

TEST(Opacity, GrowsFromStageToStageAndResumes) {
  AlphaCase c;
  c.recipe.stages = {{}, {}};
  c.recipe.stages[0].steps = c.recipe.stages[1].steps = 3;
  c.recipe.stages[1].scale = 1.25;
  const SynthesisResult whole = synthesize(c.recipe, c.studio.context);
  EXPECT_EQ(whole.image.sizes(), (Shape{2, 4, 5, 5}));
  std::optional<SynthesisCheckpoint> kept;
  CancelAt progress(4);
  SynthesisContext context = c.studio.context;
  context.progress = &progress;
  context.on_checkpoint = [&](const SynthesisCheckpoint& checkpoint) { kept = checkpoint; };
  EXPECT_TRUE(synthesize(c.recipe, context).interrupted);
  ASSERT_TRUE(kept);
  SynthesisContext again = c.studio.context;
  again.resume = &*kept;
  EXPECT_TRUE(at::equal(synthesize(c.recipe, again).image, whole.image));
}

TEST(Opacity, RefusesWhatItDoesNotGoWith) {
  const auto refused = [](const std::string& message, const std::function<void(AlphaCase&)>& change) {
    AlphaCase c;
    c.recipe.stages[0].steps = 1;
    change(c);
    test::expect_error(ErrorKind::kUsage, "recipe: " + message, [&] { synthesize(c.recipe, c.studio.context); });
  };
  const std::string alpha = "'fourier-alpha:sd=0.5' has opacity";
  refused(alpha + "; the first transformation must be background", [](AlphaCase& c) { c.recipe.transformations = {}; });
  refused("background comes first, and goes with pictures that have opacity (fourier-alpha)", [](AlphaCase& c) {
    c.recipe.transformations = {"jitter", "background"};
  });
  refused("background comes first, and goes with pictures that have opacity (fourier-alpha)",
          [](AlphaCase& c) { c.recipe.parameterization = "fourier"; });
  refused("blur:of=alpha: 'fourier' has no opacity", [](AlphaCase& c) {
    c.recipe.parameterization = "fourier";
    c.recipe.transformations = {};
    c.recipe.regularizers = {{1, "blur:of=alpha"}};
  });
  refused(alpha + ", which goes with the unit display only", [](AlphaCase& c) { c.recipe.unit = PixelUnit::kCaffe; });
  refused(alpha + " and begins at random, not with a picture", [](AlphaCase& c) {
    c.studio.context.pictures["start"] = at::zeros({1, 3, 5, 5});
  });
  refused("histogram is about colors alone; " + alpha, [](AlphaCase& c) {
    c.studio.context.pictures["style"] = Random(4).uniform({1, 3, 5, 5});
    c.recipe.objectives.push_back({1, "histogram"});
  });
  refused("after-steps work on pixels; the parameterization must be pixels, not 'fourier-alpha:sd=0.5'",
          [](AlphaCase& c) { c.recipe.after_step = {"blur"}; });
  const Studio open(test::identity_graph(), 64);
  Recipe recipe = AlphaCase().recipe;
  recipe.objectives = {{1, "channel:layer=c"}};
  recipe.width = recipe.height = 64;
  recipe.tile = 32;
  test::expect_error(ErrorKind::kUsage,
                     "recipe: a picture with opacity is not looked at in parts; 64x64 is too large, or the tile too "
                     "small",
                     [&] { synthesize(recipe, open.context); });
}

}  // namespace
}  // namespace pellucid
