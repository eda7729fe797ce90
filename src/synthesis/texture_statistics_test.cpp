#include "synthesis/texture_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/texture.h"
#include "support/compare.h"
#include "support/layer_builder.h"
#include "synthesis/steerable_pyramid.h"

namespace pellucid {
namespace {

using test::Random;
using test::within;

TEST(SteerablePyramid, InvertsItself) {
  Random random(1);
  const Tensor x = random.normal({2, 64, 48});
  for (const int64_t orientations : {1, 2, 3, 4, 6}) {
    const SteerablePyramid pyramid = steerable_pyramid(x, 4, orientations);
    EXPECT_EQ(pyramid.bands[3].sizes(), (Shape{2, orientations, 8, 6}));
    EXPECT_TRUE(within(from_steerable_pyramid(pyramid), x, {1e-9, 1e-9})) << orientations;
  }
}

// A tight frame: energies add up, when coarse positions count for as many fine ones as they stand for.
TEST(SteerablePyramid, KeepsTheEnergy) {
  Random random(2);
  const Tensor x = random.normal({1, 64, 64});
  const SteerablePyramid pyramid = steerable_pyramid(x, 3, 4);
  double energy =
      pyramid.high.square().sum().item<double>() + 64 * pyramid.lowpass.back().square().sum().item<double>();
  for (size_t s = 0; s < 3; ++s) {
    energy += std::pow(4, s) * at::real(pyramid.bands[s]).square().sum().item<double>();
  }
  EXPECT_NEAR(energy / x.square().sum().item<double>(), 1, 1e-9);
}

TEST(SteerablePyramid, SeparatesOrientations) {
  // Waves along x with 8 pixels to a period: the second octave, the first orientation.
  const Tensor wave = (at::arange(64, at::kDouble) * (2 * 3.14159265358979 / 8)).cos().expand({1, 64, 64}).contiguous();
  const SteerablePyramid pyramid = steerable_pyramid(wave, 3, 4);
  const auto power = [&](size_t s, int64_t k) { return pyramid.bands[s][0][k].abs().square().mean().item<double>(); };
  EXPECT_GT(power(1, 0), 0.5);
  EXPECT_LT(power(1, 2), 1e-12);
  // The envelope of a wave is flat.
  const Tensor envelope = pyramid.bands[1][0][0].abs();
  EXPECT_LT((envelope.max() - envelope.min()).item<double>(), 1e-9);
  // Upsampling keeps a wave.
  const Tensor up = spectral_upsample(wave);
  const Tensor longer = (at::arange(128, at::kDouble) * (2 * 3.14159265358979 / 16)).cos().expand({1, 128, 128});
  EXPECT_TRUE(within(up, longer, {1e-9, 1e-9}));
}

TEST(TextureStatistics, OfWhiteNoiseAreThoseOfNothing) {
  Random random(3);
  const int64_t side = 256;
  const auto groups = texture_statistics(random.normal({1, side, side}));
  ASSERT_EQ(groups.size(), 6u);
  const double error = 4.0 / static_cast<double>(side);
  EXPECT_EQ(groups[0].name, "marginals");
  const Tensor marginals = groups[0].rows.flatten();
  EXPECT_NEAR(marginals[0].item<double>(), 0, error);
  EXPECT_NEAR(marginals[1].item<double>(), 1, 2 * error);
  EXPECT_NEAR(marginals[2].item<double>(), 0, 3 * error);
  EXPECT_NEAR(marginals[3].item<double>(), 3, 6 * error);
  // Noise that has lost only frequencies above the highest along an axis is nearly white still.
  const Tensor finest = groups[2].rows[0].view({7, 7});
  const Tensor relative = (finest / finest[3][3]).abs();
  EXPECT_NEAR(relative[0][3].item<double>(), 0, 0.1);
  EXPECT_NEAR(relative[3][0].item<double>(), 0, 0.1);
}

TEST(TextureStatistics, AutocorrelationIsADelta) {
  Random random(4);
  const int64_t side = 128;
  const Tensor noise = random.normal({1, side, side});
  const Tensor x = noise - noise.mean();
  // By its definition, for some shifts, against the pyramid's first low-pass image.
  const SteerablePyramid pyramid = steerable_pyramid(noise, 2, 4);
  TextureModel model;
  model.scales = 2;
  const Tensor found = texture_statistics(noise, model)[2].rows[0].view({7, 7});
  const Tensor low = pyramid.lowpass[0][0] - pyramid.lowpass[0][0].mean();
  for (const auto& [dy, dx] : std::vector<std::pair<int64_t, int64_t>>{{0, 0}, {1, 0}, {-2, 3}, {3, -3}}) {
    const double expected = (low * at::roll(low, {dy, dx}, {0, 1})).mean().item<double>();
    EXPECT_NEAR(found[3 + dy][3 + dx].item<double>(), expected, 1e-12) << dy << "," << dx;
  }
  const Tensor white = at::real(at::fft_ifft2(at::fft_fft2(x).abs().square())) / static_cast<double>(side * side);
  const Tensor correlation = (white / white[0][0][0]).abs().flatten().narrow(0, 1, side * side - 1);
  EXPECT_LT(correlation.narrow(0, 0, 7).max().item<double>(), 4.0 / static_cast<double>(side));
}

TEST(ColorAxes, AreUncorrelatedWithVarianceOne) {
  Random random(5);
  const Tensor mix = at::eye(3, at::kDouble) + 0.5 * random.uniform({3, 3});
  const Tensor picture = at::einsum("ij,jhw->ihw", {mix, random.normal({3, 40, 40})}) + 0.3;
  const ColorAxes axes(picture);
  const Tensor rows = axes.planes(picture).flatten(1);
  EXPECT_LT(rows.mean(1).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(within(at::matmul(rows, rows.t()) / 1600, at::eye(3, at::kDouble), {1e-9, 1e-9}));
  // A gray picture has one axis.
  const Tensor gray = random.uniform({1, 40, 40}).expand({3, 40, 40});
  EXPECT_EQ(ColorAxes(gray).planes(gray).size(0), 1);
}

TEST(WaveletErrors, AreZeroForAPictureAndGrowWithTheDifference) {
  Random random(6);
  const Tensor a = random.uniform({1, 3, 70, 64});
  for (const auto& [name, error] : wavelet_errors(a, a)) EXPECT_NEAR(error, 0, 1e-9) << name;
  const Tensor blurred = at::avg_pool2d(a, {3, 3}, {1, 1}, {1, 1});
  double some = 0, more = 0;
  for (const auto& [name, error] : wavelet_errors(0.9 * a + 0.1 * blurred, a)) some = error;
  for (const auto& [name, error] : wavelet_errors(blurred, a)) more = error;
  EXPECT_GT(some, 0.01);
  EXPECT_GT(more, 2 * some);
}

TEST(CopyCorrelation, FindsAShiftedCopy) {
  Random random(7);
  const Tensor a = random.uniform({1, 3, 48, 32});
  EXPECT_NEAR(copy_correlation(a, a), 1, 1e-9);
  EXPECT_NEAR(copy_correlation(at::roll(a, {5, 11}, {2, 3}), a), 1, 1e-9);
  EXPECT_NEAR(copy_correlation(0.5 * a + 0.2, a), 1, 1e-9);
  EXPECT_LT(copy_correlation(random.uniform({1, 3, 48, 32}), a), 0.25);
}

}  // namespace
}  // namespace pellucid
