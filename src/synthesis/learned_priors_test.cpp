#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::LayerBuilder;
using test::Random;
using test::Studio;
using test::within;

/// Pictures [N,3,4,4] = code [N,6] times a matrix.
Graph linear_generator(const Tensor& matrix) {
  GraphBuilder b(13);
  b.set_name("generator");
  b.input("code", {-1, matrix.size(0)}, at::kDouble);
  b.constant("m", matrix);
  b.constant("shape", at::tensor({int64_t{-1}, int64_t{3}, int64_t{4}, int64_t{4}}));
  b.node("MatMul", {"code", "m"}, {"flat"});
  b.node("Reshape", {"flat", "shape"}, {"picture"});
  b.output("picture");
  return b.finish();
}

struct LatentCase {
  LatentCase()
      : w(Random(2).normal({2, 48})),
        matrix(std::get<0>(at::linalg_qr(Random(4).normal({48, 6}))).t().contiguous()),
        generator(linear_generator(matrix), test::in_float64()),
        studio(test::linear_graph(w, 4), 4, test::plain_card(4)) {
    studio.context.networks.emplace("g", SecondNetwork{generator, card});
    recipe.objectives = {{1, "class:target=1"}};
    recipe.gradient = {"normalize:by=l2"};
    recipe.optimizer = "ascent:rate=0.2,rate_end=0";
    recipe.stages[0].steps = 2000;
    recipe.width = recipe.height = 4;
    recipe.redirect_until = -1;
  }
  /// The code of a picture: the rows of the matrix are orthonormal.
  Tensor code_of(const Tensor& image) const { return at::matmul(matrix, image.to(at::kDouble).view({48})); }
  Tensor w, matrix;
  Network generator;
  ModelCard card;
  Studio studio;
  Recipe recipe;
};

// S = w D' h on the sphere |h|^2 = d is largest at h along D w; within a box at its corner of the same signs.
TEST(Latent, FindsTheBestCodeOfALinearGenerator) {
  LatentCase c;
  const Tensor best = at::matmul(c.matrix, c.w[1]);
  c.recipe.parameterization = "latent:network=g,bound=sphere";
  const Tensor on_sphere = c.code_of(synthesize(c.recipe, c.studio.context).image);
  EXPECT_TRUE(within(on_sphere, best * (std::sqrt(6.0) / best.norm()), {1e-3, 1e-3}));
  c.recipe.parameterization = "latent:network=g,bound=clip,low=-0.5,high=2";
  const Tensor in_box = c.code_of(synthesize(c.recipe, c.studio.context).image);
  EXPECT_TRUE(within(in_box, at::where(best.gt(0), 2.0, -0.5), {1e-4, 1e-4}));
}

// Codes are stored in deviations from their mean; beyond `deviations` or `low` they do not go.
TEST(Latent, KeepsCodesInTheirRange) {
  LatentCase c;
  const Tensor mean = at::tensor({0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, at::kDouble), deviation = 0.5 * mean;
  c.studio.context.tensors["g.range"] = at::stack({mean, deviation});
  const Tensor best = at::matmul(c.matrix, c.w[1]);
  c.recipe.parameterization = "latent:network=g,bound=range,deviations=3,low=0";
  const Tensor code = c.code_of(synthesize(c.recipe, c.studio.context).image);
  EXPECT_TRUE(within(code, at::where(best.gt(0), mean + 3 * deviation, at::zeros_like(mean)), {1e-4, 1e-4}));
  c.studio.context.tensors["g.range"] = at::zeros({2, 5}, at::kDouble);
  test::expect_error(ErrorKind::kUsage, "latent: the range is [2,5]; [2,6], mean, deviation, was expected",
                     [&] { synthesize(c.recipe, c.studio.context); });
}

// Along two directions only, to the corner of their box.
TEST(Latent, MovesAlongPrincipalDirections) {
  LatentCase c;
  const Tensor range = Random(12).uniform({4, 6});
  c.studio.context.tensors["g.range"] = range;
  const Tensor best = at::matmul(c.matrix, c.w[1]);
  c.recipe.parameterization = "latent:network=g,bound=principal,deviations=2";
  const Tensor code = c.code_of(synthesize(c.recipe, c.studio.context).image);
  const Tensor directions = range.slice(0, 2);
  const Tensor corner = 2 * at::matmul(directions, best).sign();
  EXPECT_TRUE(within(code, range[0] + at::matmul(corner, directions), {1e-4, 1e-4}));
  c.studio.context.tensors["g.range"] = range.slice(0, 0, 2);
  test::expect_error(ErrorKind::kUsage,
                     "latent: the range is [2,6]; [3,6], mean, deviation and principal directions, was expected",
                     [&] { synthesize(c.recipe, c.studio.context); });
}

TEST(Latent, HasTheGradientOfTheGenerator) {
  LatentCase c;
  const auto latent = c.studio.parameterization("latent:network=g,output=signed");
  const auto values = [&](const Tensor& code) {
    return latent->decode(c.studio.scope, {code}).square().flatten(1).sum(1);
  };
  EXPECT_LT(test::gradient_error(values, Random(8).normal({1, 6})), 1e-6);
  // -1 is black and 1 white.
  const Tensor zero = at::zeros({1, 6}, at::kDouble);
  EXPECT_TRUE(within(latent->decode(c.studio.scope, {zero}), at::full({1, 3, 4, 4}, 0.5, at::kDouble), {1e-12, 1e-12}));
  test::expect_error(ErrorKind::kUsage, "latent: no network 'other' was given",
                     [&] { c.studio.parameterization("latent:network=other"); });
}

// R(x) = x / 2, also for sides that are no multiples of what the network wants.
TEST(Denoise, GoesAShareOfTheWay) {
  LayerBuilder b(1);
  b.conv_with("half", "x", at::eye(3, at::kDouble).view({3, 3, 1, 1}) / 2);
  const Network denoiser(b.finish("half"), test::in_float64());
  const ModelCard card;
  Studio studio(test::identity_graph(), 7);
  studio.context.networks.emplace("d", SecondNetwork{denoiser, card});
  const auto denoise = studio.after_step("denoise:network=d,strength=0.2,every=3");
  const Tensor x = Random(9).uniform({2, 3, 7, 5});
  StepInfo step;
  EXPECT_TRUE(within(denoise->apply(x, {}, step), 0.9 * x, {1e-12, 1e-12}));
  step.step = 1;
  EXPECT_TRUE(denoise->apply(x, {}, step).equal(x));
}

}  // namespace
}  // namespace pellucid
