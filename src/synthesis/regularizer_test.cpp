#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Random;
using test::Studio;

double penalty(const std::string& text, const Tensor& pixels) {
  const Studio studio(test::identity_graph(), 4);
  return studio.regularizer(text)->penalty(pixels).item<double>();
}

/// Differences 2 and 5 along rows, 1 and 4 along columns.
Tensor two_by_two() { return doubles({1, 3, 2, 7}, {1, 1, 2, 2}); }

TEST(Tv, OfTwoByTwo) {
  EXPECT_NEAR(penalty("tv:kind=l1", two_by_two()), 12, 1e-12);
  EXPECT_NEAR(penalty("tv:kind=squared", two_by_two()), 46, 1e-12);
  EXPECT_NEAR(penalty("tv:beta=2", two_by_two()), 46, 1e-12);
  // Per pixel sqrt(4 + 1), sqrt(16), sqrt(25), and the last, whose zero is held at 1e-6, sqrt of that.
  EXPECT_NEAR(penalty("tv:beta=1", two_by_two()), std::sqrt(5.0) + 4 + 5 + 1e-3, 1e-9);
  EXPECT_NEAR(penalty("tv:beta=2,mean=true", two_by_two()), 46.0 / 4, 1e-12);
}

TEST(AlphaNorm, IsOneForPixelsOfTheTypicalNorm) {
  const Tensor pixels = at::full({1, 3, 5, 5}, 80 / std::sqrt(3.0), at::kDouble);
  EXPECT_NEAR(penalty("alpha-norm", pixels), 1, 1e-12);
  EXPECT_NEAR(penalty("alpha-norm:alpha=3", 2 * pixels), 8, 1e-12);
}

TEST(L2, IsASumOfSquaresAroundAValue) {
  EXPECT_NEAR(penalty("l2", two_by_two()), 1 + 9 + 4 + 49, 1e-12);
  EXPECT_NEAR(penalty("l2:mean=3", two_by_two()), 4 + 0 + 1 + 16, 1e-12);
  EXPECT_NEAR(penalty("l1:mean=3", two_by_two()), 2 + 0 + 1 + 4, 1e-12);
}

TEST(Regularizer, GradientIsThatOfTheFormula) {
  const Studio studio(test::identity_graph(), 4);
  Random random(6);
  const Tensor x = random.normal({2, 3, 4, 5}) * 3;
  for (const char* text : {"l2:mean=1", "l1", "alpha-norm:alpha=6,scale=2", "alpha-norm:alpha=1.5", "tv", "tv:beta=1",
                           "tv:beta=1.5,mean=true", "tv:kind=l1", "tv:kind=squared"}) {
    const auto part = studio.regularizer(text);
    EXPECT_LT(test::gradient_error([&](const Tensor& t) { return part->penalty(t); }, x), 1e-6) << text;
  }
}

// The blurred copy is held constant, so the gradient is the difference; borders count what is there.
TEST(BlurPenalty, StepMovesTowardsTheBlurredPicture) {
  const Studio studio(test::identity_graph(), 4);
  Tensor x = at::zeros({1, 1, 5, 5}, at::kDouble);
  x[0][0][0][0] = 1;
  const Tensor leaf = x.clone().requires_grad_(true);
  {
    const at::AutoGradMode record(true);
    studio.regularizer("blur")->penalty(leaf).sum().backward();
  }
  // In the corner the weights that lie inside are 1, 0.5, 0.5, 0.5.
  EXPECT_NEAR(leaf.grad()[0][0][0][0].item<double>(), 1 - 1 / 2.5, 1e-12);
  EXPECT_NEAR(leaf.grad()[0][0][1][1].item<double>(), -0.5 / 5, 1e-12);
  EXPECT_NEAR(leaf.grad()[0][0][3][3].item<double>(), 0, 1e-12);
  const Studio other(test::identity_graph(), 4);
  EXPECT_NEAR(other.regularizer("blur")->penalty(at::ones({1, 3, 4, 4}, at::kDouble)).item<double>(), 0, 1e-20);
}

TEST(BlurPenalty, IsAboutOpacityWhenAskedTo) {
  const Studio studio(test::identity_graph(), 4);
  EXPECT_TRUE(studio.regularizer("blur:of=alpha")->of_alpha());
  EXPECT_FALSE(studio.regularizer("blur")->of_alpha());
}

TEST(Regularizer, CountsPicturesApart) {
  const Studio studio(test::identity_graph(), 4);
  Random random(7);
  const Tensor x = random.normal({3, 3, 10, 10});  // holds a patch
  for (const PartInfo& info : synthesis_parts(PartKind::kRegularizer)) {
    const auto part = studio.regularizer(info.id);
    const Tensor all = part->penalty(x);
    for (int64_t b = 0; b < 3; ++b) {
      EXPECT_NEAR(all[b].item<double>(), part->penalty(x.narrow(0, b, 1)).item<double>(), 1e-9) << info.id;
    }
  }
}

/// Noise whose amplitude falls with a power of the frequency, around mid-gray.
Tensor power_law(Random& random, int64_t side, double power) {
  const Tensor f = at::fft_fftfreq(side, 1.0, at::kDouble);
  const Tensor radius = (f.view({-1, 1}).square() + f.view({1, -1}).square()).sqrt().clamp_min(1.0 / side);
  const Tensor x = at::real(at::fft_ifft2(at::fft_fft2(random.normal({1, 1, side, side})) / radius.pow(power)));
  return (0.5 + 0.1 * x / x.std()).expand({1, 3, side, side}).contiguous();
}

// Power falls with the square of the frequency where amplitude falls with the frequency.
TEST(Spectrum, IsSmallForAPowerLaw) {
  Random random(3);
  const Studio studio(test::identity_graph(), 64);
  const auto spectrum = studio.regularizer("spectrum");
  const double natural = spectrum->penalty(power_law(random, 64, 1)).item<double>();
  EXPECT_LT(natural, 0.4);
  EXPECT_GT(spectrum->penalty(power_law(random, 64, 0)).item<double>(), 5 * natural);
  EXPECT_GT(spectrum->penalty(power_law(random, 64, 2)).item<double>(), 5 * natural);
  // Contrast does not matter, nor does brightness.
  const Tensor x = power_law(random, 64, 1.5);
  EXPECT_NEAR(spectrum->penalty(0.3 + 0.5 * x).item<double>(), spectrum->penalty(x).item<double>(), 1e-6);
}

// One component fitted to a picture is its patches' Gaussian; the density is that of the textbook.
TEST(PatchPrior, IsTheDensityOfAGaussian) {
  Random random(4);
  Studio studio(test::identity_graph(), 24);
  const Tensor like = power_law(random, 24, 1);
  studio.context.pictures["like"] = like;
  const auto prior = studio.regularizer("patch-prior:side=2,components=1,picture=like,stride=1");
  Tensor rows = like.mean(1).unfold(1, 2, 1).unfold(2, 2, 1).flatten(3).flatten(0, 2);
  rows = rows - rows.mean(1, true);
  const Tensor covariance =
      at::matmul(rows.t(), rows) / static_cast<double>(rows.size(0)) + 2e-5 * at::eye(4, at::kDouble) / 2;
  const Tensor x = random.uniform({1, 3, 2, 2});
  Tensor v = x.mean(1).flatten();
  v = v - v.mean();
  const double expected = 0.5 * (v * at::mv(at::inverse(covariance), v)).sum().item<double>() +
                          0.5 * at::logdet(2 * M_PI * covariance).item<double>();
  EXPECT_NEAR(prior->penalty(x).item<double>() * 4 / expected, 1, 1e-6);
}

TEST(PatchPrior, PrefersPhotographsSpectra) {
  Random random(5);
  Studio studio(test::identity_graph(), 48);
  studio.context.pictures["like"] = power_law(random, 48, 1);
  for (const char* text : {"patch-prior", "patch-prior:picture=like"}) {
    const auto prior = studio.regularizer(text);
    const double natural = prior->penalty(power_law(random, 48, 1)).item<double>();
    EXPECT_LT(natural + 0.3, prior->penalty(power_law(random, 48, 0)).item<double>()) << text;
    EXPECT_LT(test::gradient_error([&](const Tensor& t) { return prior->penalty(t); }, power_law(random, 12, 1)), 1e-6)
        << text;
  }
  const auto spectrum = Studio(test::identity_graph(), 12).regularizer("spectrum:bands=4");
  EXPECT_LT(test::gradient_error([&](const Tensor& t) { return spectrum->penalty(t); }, power_law(random, 12, 1)),
            1e-6);
}

}  // namespace
}  // namespace pellucid
