#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::Random;
using test::Studio;
using test::within;

Recipe named(const std::string& id, int64_t target) {
  Recipe recipe = find_recipe(id, "attack").recipe;
  recipe.objectives = {{-1, "log-probability:target=" + std::to_string(target)}};
  return recipe;
}

/// A random network with a picture to attack, 16x16; the class it has of it.
struct Case {
  Case() : studio(test::random_network(test::Family::kPlain, 7), 16, test::plain_card()) {
    start = Random(3).uniform({1, 3, 16, 16});
    studio.context.pictures["start"] = start;
    const ValueId logits = studio.layers.logits();
    const Tensor scores = studio.scope.activations(start, {logits}).at(logits);
    own = scores[0].argmax().item<int64_t>();
  }
  SynthesisResult run(Recipe recipe) const {
    recipe.width = recipe.height = 16;
    return synthesize(recipe, studio.context);
  }
  Studio studio;
  Tensor start;
  int64_t own = 0;
};

// PGD with one step of the whole bound and no random start is FGSM, to the last bit.
TEST(Delta, OneStepOfTheWholeBoundIsFgsm) {
  const Case c;
  Recipe one = named("pgd", c.own);
  one.parameterization = "delta:norm=linf,size=4";
  one.optimizer = "ascent:rate=0.01568627450980392";
  one.stages[0].steps = 1;
  const Tensor fgsm = c.run(named("fgsm", c.own)).image;
  EXPECT_TRUE(c.run(one).image.equal(fgsm));
  EXPECT_FALSE(c.run(named("pgd", c.own)).image.equal(fgsm));
}

// Of a change, the pixels that change most are left, within the range.
TEST(Delta, L0KeepsTheLargestPixels) {
  Studio studio(test::identity_graph(), 4);
  studio.context.pictures["start"] = at::full({1, 3, 4, 4}, 0.9, at::kDouble);
  const auto delta = studio.parameterization("delta:norm=l0,size=2");
  Tensor change = at::zeros({1, 3, 4, 4}, at::kDouble);
  change[0][0][0][0] = 0.5;  // cut off to 0.1 by the range, so the smallest of the three
  change[0][1][1][2] = -0.3;
  change[0][2][3][3] = -0.2;
  TensorList variables{change.clone()};
  delta->project(studio.scope, variables);
  change[0][0][0][0] = 0;
  EXPECT_TRUE(within(variables[0], change, {1e-12, 1e-12}));
  test::expect_error(ErrorKind::kUsage, "delta: norm=l0 begins at zero",
                     [&] { studio.parameterization("delta:norm=l0,start=random"); });
}

TEST(Delta, SparseAttacksChangeNoMorePixelsThanAllowed) {
  const Case c;
  Recipe recipe = named("pgd-l0", c.own);
  recipe.parameterization = "delta:norm=l0,size=9";
  const SynthesisResult result = c.run(recipe);
  const Tensor change = (result.image - c.start.to(at::kFloat)).abs().amax(1);
  EXPECT_LE(change.gt(1e-6).sum().item<int64_t>(), 9);
  EXPECT_GT(change.gt(1e-6).sum().item<int64_t>(), 0);
  EXPECT_GT(result.objective[0], result.objective_start[0]);
  EXPECT_GE(result.image.min().item<float>(), 0);
  EXPECT_LE(result.image.max().item<float>(), 1);
}

// f0 - f1 = w x + b: the boundary is (w x + b) / |w| away, and one step of the linearization is there.
TEST(DeepFool, ReachesTheBoundaryOfALinearModelInOneStep) {
  const Tensor w = Random(5).normal({1, 48});
  Studio studio(test::linear_graph(at::cat({w, -w}), 4), 4, test::plain_card(4));
  // Half a gray level of w above the boundary, in the middle of the range.
  const Tensor start = at::full({1, 48}, 0.5, at::kDouble);
  const Tensor on = start - w * ((start * w).sum() / w.square().sum());
  const Tensor x = (on + 0.05 * w / w.norm()).view({1, 3, 4, 4});
  studio.context.pictures["start"] = x;
  for (const std::string norm : {"l2", "linf"}) {
    Recipe recipe = named(norm == "l2" ? "deepfool" : "deepfool-linf", 0);
    recipe.optimizer = "deepfool:overshoot=0,norm=" + norm;
    recipe.stages[0].steps = 1;
    recipe.width = recipe.height = 4;
    const Tensor change = synthesize(recipe, studio.context).image.to(at::kDouble) - x;
    const double gap = (2 * w * x.view({1, 48})).sum().item<double>();
    const double size = norm == "l2" ? change.norm().item<double>() : change.abs().max().item<double>();
    const double expected = gap / (norm == "l2" ? 2 * w.norm() : 2 * w.abs().sum()).item<double>();
    EXPECT_NEAR(size, expected + 1e-4, 1e-6) << norm;  // the step goes 1e-4 beyond
    EXPECT_LT((w * (x + change).view({1, 48})).sum().item<double>(), 0) << norm;
    recipe.optimizer = "deepfool:overshoot=0.02,norm=" + norm;
    const Tensor longer = synthesize(recipe, studio.context).image.to(at::kDouble) - x;
    EXPECT_TRUE(within(longer, 1.02 * change, {1e-4, 1e-4})) << norm;
  }
}

TEST(DeepFool, ChangesTheAnswerOfARandomNetwork) {
  const Case c;
  const Tensor image = c.run(named("deepfool", c.own)).image;
  const ValueId logits = c.studio.layers.logits();
  const Tensor scores = c.studio.scope.activations(image.to(at::kDouble), {logits}).at(logits);
  EXPECT_NE(scores[0].argmax().item<int64_t>(), c.own);
  Recipe batch = named("deepfool", c.own);
  batch.batch = 2;
  test::expect_error(ErrorKind::kUsage, "deepfool: attacks one picture at a time; batch must be 1",
                     [&] { c.run(batch); });
}

// A run that is told it is enough is the run of a recipe with so many steps.
TEST(Synthesize, EndsWhenItIsEnough) {
  Case c;
  Recipe recipe = named("bim", c.own);
  recipe.stages[0].steps = 3;
  const SynthesisResult three = c.run(recipe);
  recipe.stages[0].steps = 9;
  c.studio.context.enough = [](int64_t step, const Tensor&) { return step == 2; };
  const SynthesisResult told = c.run(recipe);
  EXPECT_EQ(told.steps, 3);
  EXPECT_FALSE(told.interrupted);
  EXPECT_TRUE(told.image.equal(three.image));
}

}  // namespace
}  // namespace pellucid
