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

Tensor process(const std::string& text, const Tensor& gradient, const StepInfo& step = {}) {
  const Studio studio(test::identity_graph(), 4);
  return studio.gradient(text)->process(gradient, step);
}
Tensor after(const std::string& text, const Tensor& pixels, const Tensor& gradient = {}, const StepInfo& step = {},
             PixelUnit unit = PixelUnit::kDisplay) {
  const Studio studio(test::identity_graph(), 4, test::plain_card(), unit);
  return studio.after_step(text)->apply(pixels, gradient, step);
}

TEST(Normalize, DividesPictureByPicture) {
  const Tensor g = doubles({1, -3, 2, 2, 10, -30, 20, 20}, {2, 1, 2, 2});
  EXPECT_TRUE(within(process("normalize", g)[0], g[0] / 2, {1e-12, 1e-12}));
  EXPECT_TRUE(within(process("normalize", g)[1], g[1] / 20, {1e-12, 1e-12}));
  EXPECT_TRUE(within(process("normalize:by=l2", g)[1], g[1] / std::sqrt(1800.0), {1e-9, 1e-9}));
  EXPECT_TRUE(within(process("normalize:by=std", g)[0], g[0] / std::sqrt(4.25), {1e-7, 1e-7}));
  EXPECT_TRUE(
      at::equal(process("normalize:by=sign", doubles({-2, 0, 5}, {1, 1, 1, 3})), doubles({-1, 0, 1}, {1, 1, 1, 3})));
  // Nothing to divide by, nothing to show.
  EXPECT_TRUE(
      at::equal(process("normalize", at::zeros({1, 3, 2, 2}, at::kDouble)), at::zeros({1, 3, 2, 2}, at::kDouble)));
}

/// Root mean square of the bands of a pyramid made anew, by Burt and Adelson's kernel without reflection at the border.
std::vector<double> band_strengths(const Tensor& x, int levels) {
  std::vector<double> strengths;
  Tensor low = x;
  const Tensor k1 = doubles({1, 4, 6, 4, 1}, {5}) / 16;
  const Tensor k = at::outer(k1, k1).view({1, 1, 5, 5}).repeat({3, 1, 1, 1});
  for (int i = 0; i < levels; ++i) {
    const Tensor padded = at::reflection_pad2d(low, {2, 2, 2, 2});
    const Tensor next = at::conv2d(padded, k, {}, 2, at::IntArrayRef{0, 0}, 1, 3);
    Tensor spread = at::zeros_like(low);
    spread.slice(2, 0, low.size(2), 2).slice(3, 0, low.size(3), 2).copy_(next);
    const Tensor up = at::conv2d(spread, 4 * k, {}, 1, at::IntArrayRef{2, 2}, 1, 3);
    const Tensor band = low - up;
    // Away from the border, where the two differ.
    strengths.push_back(band.slice(2, 4, -4).slice(3, 4, -4).square().mean().sqrt().item<double>());
    low = next;
  }
  return strengths;
}

TEST(Laplacian, MakesBandsEquallyStrong) {
  Random random(8);
  // Noise with amplitudes that fall with the square of the frequency: each band is about twice as strong as the last.
  const Tensor f = (at::fft_fftfreq(128, 1.0, at::kDouble).view({-1, 1}).square() +
                    at::fft_fftfreq(128, 1.0, at::kDouble).view({1, -1}).square())
                       .clamp_min(1.0 / 128 / 128);
  const Tensor g = at::real(at::fft_ifft2(at::fft_fft2(random.normal({1, 3, 128, 128})) / f));
  const std::vector<double> before = band_strengths(g, 3);
  EXPECT_GT(before[2] / before[0], 3);
  const std::vector<double> strengths = band_strengths(process("laplacian:levels=4", g), 3);
  const double mean = (strengths[0] + strengths[1] + strengths[2]) / 3;
  for (const double s : strengths) EXPECT_NEAR(s / mean, 1, 0.2);
}

TEST(Laplacian, WorksOnAnySize) {
  Random random(8);
  for (const int64_t side : {1, 2, 3, 5, 17}) {
    const Tensor y = process("laplacian", random.normal({2, 3, side, side + 2}));
    EXPECT_EQ(y.sizes(), (Shape{2, 3, side, side + 2}));
    EXPECT_TRUE(at::isfinite(y).all().item<bool>());
  }
}

// Two Gaussians in a row are one whose variances add; a constant stays.
TEST(BlurGradient, IsAGaussian) {
  Tensor x = at::zeros({1, 1, 41, 41}, at::kDouble);
  x[0][0][20][20] = 1;
  const Tensor y = process("blur:begin=2,end=2", x);
  EXPECT_NEAR(y.sum().item<double>(), 1, 1e-9);
  const Tensor t = at::arange(41, at::kDouble) - 20;
  EXPECT_NEAR((y[0][0].sum(0) * t.square()).sum().item<double>(), 4, 0.06);  // cut off at three sigma
  EXPECT_TRUE(within(process("blur", at::ones({1, 2, 7, 7}, at::kDouble)), at::ones({1, 2, 7, 7}, at::kDouble),
                     {1e-12, 1e-12}));
  // Sigma falls over the stage.
  EXPECT_LT(process("blur:begin=3,end=1", x, {0, 0, 10, 0}).max().item<double>(),
            process("blur:begin=3,end=1", x, {9, 9, 10, 0}).max().item<double>());
  EXPECT_TRUE(at::equal(process("blur:begin=3,end=0", x, {9, 9, 10, 0}), x));
}

// Norms 1..100: the 50th percentile is 50.5, so exactly fifty pixels become zero.
TEST(ClipNorm, ZeroesTheLowerHalf) {
  const Tensor norms = at::randperm(100, at::TensorOptions(at::kLong)).to(at::kDouble) + 1;
  const Tensor pixels = norms.view({1, 1, 10, 10}) * doubles({2.0 / 3, -2.0 / 3, 1.0 / 3}, {1, 3, 1, 1});
  const Tensor y = after("clip-norm:percentile=50", pixels);
  EXPECT_TRUE(at::equal(y, at::where(norms.view({1, 1, 10, 10}) <= 50, at::zeros_like(pixels), pixels)));
  EXPECT_TRUE(at::equal(after("clip-norm:percentile=0", pixels), pixels));
}

TEST(ClipContribution, LooksAtPixelTimesGradient) {
  // Products summed over channels: 1*1+1*1 = 2, 3*1-3*1 = 0, 1*(-5)+0 = -5, 0.
  const Tensor pixels = doubles({1, 3, 1, 0, 1, 3, 0, 0}, {1, 2, 2, 2});
  const Tensor gradient = doubles({1, 1, -5, 9, 1, -1, 9, 9}, {1, 2, 2, 2});
  const Tensor y = after("clip-contribution:percentile=60", pixels, gradient);
  EXPECT_TRUE(at::equal(y, doubles({1, 0, 1, 0, 1, 0, 0, 0}, {1, 2, 2, 2})));
}

TEST(Bound, ShortensColorsThatAreTooLong) {
  const Tensor pixels = doubles({3, 30, 4, 40, 0, 0}, {1, 3, 1, 2});
  EXPECT_TRUE(within(after("bound:norm=10", pixels), doubles({3, 6, 4, 8, 0, 0}, {1, 3, 1, 2}), {1e-12, 1e-12}));
}

TEST(Sphere, FixesTheNorm) {
  Random random(4);
  const Tensor x = random.normal({2, 3, 5, 5});
  const Tensor y = after("sphere:rms=3", x);
  for (int64_t b = 0; b < 2; ++b) EXPECT_NEAR(y[b].square().mean().sqrt().item<double>(), 3, 1e-12);
  EXPECT_NEAR((x[1] * y[1]).sum().item<double>() / (x[1].norm() * y[1].norm()).item<double>(), 1, 1e-12);
}

TEST(Decay, TakesAShare) {
  EXPECT_TRUE(within(after("decay:share=0.25", doubles({4, -8}, {1, 1, 1, 2})), doubles({3, -6}, {1, 1, 1, 2}),
                     {1e-12, 1e-12}));
}

TEST(Blur, ComesEverySoManySteps) {
  Random random(4);
  const Tensor x = random.normal({1, 3, 9, 9});
  EXPECT_TRUE(at::equal(after("blur:every=4", x, {}, {3, 3, 10, 0}), x));
  EXPECT_FALSE(at::equal(after("blur:every=4", x, {}, {4, 4, 10, 0}), x));
}

TEST(Bilateral, KeepsEdgesAndRemovesNoise) {
  Random random(5);
  Tensor edge = at::zeros({1, 3, 32, 32}, at::kDouble);
  edge.narrow(3, 16, 16).fill_(1);
  Tensor y = after("bilateral", edge);
  EXPECT_GT((y.select(3, 16) - y.select(3, 15)).min().item<double>(), 0.95);
  const Tensor noise = 0.5 + 0.03 * random.normal({1, 3, 64, 64});
  y = after("bilateral", noise);
  EXPECT_LT(y.std().item<double>(), 0.015);
  // Colors are compared in display range whatever the unit.
  const Tensor gray_levels = pixels_from_display(noise, PixelUnit::kCaffe);
  const Tensor z = after("bilateral", gray_levels, {}, {}, PixelUnit::kCaffe);
  EXPECT_TRUE(within(display_from_pixels(z, PixelUnit::kCaffe), y, {1e-9, 1e-9}));
  // Past its share of the stage it rests.
  EXPECT_TRUE(at::equal(after("bilateral:every=1,until=0.75", noise, {}, {80, 80, 101, 0}), noise));
}

TEST(Median, RemovesSinglePixels) {
  Tensor x = at::zeros({1, 1, 7, 7}, at::kDouble);
  x[0][0][3][3] = 9;
  EXPECT_EQ(after("median", x).abs().max().item<double>(), 0);
  test::expect_error(ErrorKind::kUsage, "median: window must be odd",
                     [&] { static_cast<void>(after("median:window=4", x)); });
}

}  // namespace
}  // namespace pellucid
