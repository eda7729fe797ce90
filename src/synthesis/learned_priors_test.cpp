#include "synthesis/learned_priors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

/// A network whose layer "code" [N,6] is E(x) = share D x, for the generator x = D' h.
struct CodedCase {
  explicit CodedCase(double share)
      : generator(linear_generator(LatentCase().matrix), test::in_float64()),
        studio(network(share), 4, test::plain_card(4)) {
    studio.context.networks.emplace("g", SecondNetwork{generator, card});
  }
  static Graph network(double share) {
    LayerBuilder b(1, {-1, 3, 4, 4});
    b.node("Flatten", "flat", {"x"});
    b.gemm_with("code", "flat", share * LatentCase().matrix);
    b.gemm_with("logits", "code", Random(3).normal({5, 6}));
    return b.finish("logits");
  }
  Tensor projected(const std::string& text, const Tensor& variable) const {
    TensorList variables{variable.clone()};
    studio.parameterization("latent:network=g,encoder_layer=code," + text)->project(studio.scope, variables);
    return variables.front();
  }
  Network generator;
  ModelCard card;
  Studio studio;
};

// E(G(h)) = D D' h = h, as the rows of D are orthonormal: whatever the units of the variable, reality changes nothing.
TEST(Latent, RealCodesStayWhereTheyAre) {
  CodedCase c(1);
  const Tensor h = Random(5).normal({1, 6});
  EXPECT_TRUE(within(c.projected("reality=0.3", h), h, {1e-12, 1e-12}));
  c.studio.context.tensors["g.range"] = Random(12).uniform({4, 6}) + 0.1;
  EXPECT_TRUE(within(c.projected("bound=range,reality=0.3", h), h, {1e-12, 1e-12}));
  const Tensor v = Random(6).normal({1, 2});
  EXPECT_TRUE(within(c.projected("bound=principal,reality=0.3", v), v, {1e-12, 1e-12}));
  EXPECT_LT(code_error(c.studio.scope, "latent:network=g,encoder_layer=code,reality=1"), 1e-24);
}

// E(G(h)) = h / 2: r of the way there leaves (1 - r/2) h. In deviations s from the mean m, h = m + s v, half of it is
// v/2 - m/(2 s), and v - r (v + m/s) / 2 is left. Along directions d_k the same holds for the part of -m/2 that lies in
// their span, which least squares finds.
TEST(Latent, GoesAShareOfTheWayToReality) {
  CodedCase c(0.5);
  const Tensor h = Random(5).normal({1, 6});
  EXPECT_TRUE(within(c.projected("reality=0.2", h), 0.9 * h, {1e-12, 1e-12}));
  EXPECT_TRUE(within(c.projected("decay=0.5,reality=0.2", h), 0.45 * h, {1e-12, 1e-12}));
  EXPECT_TRUE(
      within(c.projected("bound=clip,low=-0.1,high=0.1,reality=0.2", h), (0.9 * h).clamp(-0.1, 0.1), {1e-12, 1e-12}));
  const Tensor range = Random(12).uniform({4, 6}) + 0.1;
  c.studio.context.tensors["g.range"] = range;
  const Tensor m = range[0], s = range[1], d = range.slice(0, 2);
  EXPECT_TRUE(within(c.projected("bound=range,reality=0.2", h), h - 0.1 * (h + m / s), {1e-12, 1e-12}));
  const Tensor v = Random(6).normal({1, 2});
  const Tensor m_along = at::linalg_solve(d.mm(d.t()), d.mv(m).unsqueeze(1)).t();
  EXPECT_TRUE(within(c.projected("bound=principal,reality=0.2", v), v - 0.1 * (v + m_along), {1e-10, 1e-10}));
  // |h/2 - h|^2 / |h|^2
  EXPECT_NEAR(code_error(c.studio.scope, "latent:network=g,encoder_layer=code"), 0.25, 1e-12);
}

TEST(Latent, RefusesTheCodesOfAnotherNetwork) {
  const CodedCase c(1);
  test::expect_error(ErrorKind::kUsage, "latent: the code of g is [1,6], which is no average of logits, [1,5]",
                     [&] { c.studio.parameterization("latent:network=g,encoder_layer=logits,reality=0.1"); });
  EXPECT_EQ(code_error(c.studio.scope, "latent:network=g,encoder_layer=logits"),
            std::numeric_limits<double>::infinity());
}

// h <- (1 - d) h + N(0, s^2) from h = 0 has after t steps the variance s^2 (1 - q^t) / (1 - q), q = (1 - d)^2; without
// a class to look for it is all that moves.
TEST(Latent, SamplesNormalCodesByNoiseAndDecay) {
  CodedCase c(1);
  Recipe recipe;
  recipe.objectives = {{0, "class:target=1"}};
  recipe.parameterization = "latent:network=g,sd=0,decay=0.1";
  recipe.optimizer = "ascent:rate=1,noise=0.5";
  recipe.stages[0].steps = 12;
  recipe.batch = 400;
  recipe.width = recipe.height = 4;
  const Tensor image = synthesize(recipe, c.studio.context).image;
  const Tensor codes = at::matmul(image.to(at::kDouble).flatten(1), LatentCase().matrix.t());
  // Each step makes of a variance v what is left of v + 0.25 after the decay.
  const double q = 0.81;
  EXPECT_NEAR(codes.square().mean().item<double>(), 0.25 * q * (1 - std::pow(q, 12)) / (1 - q), 0.05);
  EXPECT_TRUE(at::equal(synthesize(recipe, c.studio.context).image, image));
  recipe.batch = 2;  // the first ones of a batch are those of any
  EXPECT_TRUE(within(synthesize(recipe, c.studio.context).image, image.narrow(0, 0, 2), {1e-6, 1e-6}));
}

// Every field of the grid is a mean; a grid finer than the map is the map.
TEST(Codes, AreMeansOverAGrid) {
  const Studio studio(test::identity_graph(), 4);
  const Tensor image = Random(7).uniform({2, 3, 4, 4});
  const ValueId layer = studio.layers.find("c");
  const Tensor means = image.view({2, 3, 2, 2, 4}).mean(3).view({2, 3, 2, 2, 2}).mean(4);
  EXPECT_TRUE(within(codes_from_display(studio.context, layer, image, 2, 2), means, {1e-12, 1e-12}));
  EXPECT_TRUE(within(codes_from_display(studio.context, layer, image, 9, 9), image, {1e-12, 1e-12}));
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
