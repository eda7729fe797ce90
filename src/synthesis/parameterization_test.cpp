#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Random;
using test::Studio;
using test::within;

at::Generator generator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

/// A spectrum of zeros for one picture, with the real part of one bin of one channel set.
Tensor one_bin(int64_t side, int64_t channel, int64_t fy, int64_t fx, double value) {
  Tensor p = at::zeros({1, 3, side, side / 2 + 1, 2}, at::kDouble);
  p[0][channel][fy][fx][0] = value;
  return p;
}

// s(0) = n / (1/n) = n^2, the inverse transform divides by n^2, and Lucid's constant by 4.
TEST(Fourier, ZeroFrequencyIsAConstantOfAQuarter) {
  for (const int64_t side : {4, 7, 16}) {
    const Studio studio(test::identity_graph(), side);
    const Tensor z = at::logit(
        studio.parameterization("fourier:decorrelate=false")->decode(studio.scope, {one_bin(side, 1, 0, 0, 1.2)}));
    EXPECT_TRUE(within(z.select(1, 1), at::full({1, side, side}, 0.3, at::kDouble), {1e-12, 1e-12}));
    EXPECT_LT(z.select(1, 0).abs().max().item<double>(), 1e-12);
  }
}

// f = 1/4, s = 4 * 4 = 16; the bin and its mirror give 2 * 16 v cos / 16, and a quarter of that is v/2 cos.
TEST(Fourier, OneBinIsACosine) {
  const Studio studio(test::identity_graph(), 4);
  const double v = 0.7;
  const Tensor z =
      at::logit(studio.parameterization("fourier:decorrelate=false")->decode(studio.scope, {one_bin(4, 0, 0, 1, v)}));
  const Tensor row = doubles({v / 2, 0, -v / 2, 0}, {1, 4}).expand({4, 4});
  EXPECT_LT((z[0][0] - row).abs().max().item<double>(), 1e-12);
}

// Columns of the normalized root of ImageNet's color covariance: which way the matrix is applied shows here.
TEST(Fourier, ColorsAreColumnsOfTheMatrix) {
  const Studio studio(test::identity_graph(), 4);
  const auto fourier = studio.parameterization("fourier");
  const std::vector<std::vector<double>> columns{
      {0.562829, 0.584476, 0.584476}, {0.194825, 0.0, -0.194825}, {0.043295, -0.108236, 0.064942}};
  for (int64_t k = 0; k < 3; ++k) {
    const Tensor rgb = at::logit(fourier->decode(studio.scope, {one_bin(4, k, 0, 0, 4.0)}));
    const Tensor expected = doubles(columns[static_cast<size_t>(k)], {1, 3, 1, 1}).expand({1, 3, 4, 4});
    EXPECT_LT((rgb - expected).abs().max().item<double>(), 1e-6) << "column " << k;
  }
}

double start_deviation(const std::string& text, int64_t side, int seeds) {
  const Studio studio(test::identity_graph(), side);
  const auto fourier = studio.parameterization(text);
  double square = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const Tensor z =
        at::logit(fourier->decode(studio.scope, fourier->begin(studio.scope, generator(static_cast<uint64_t>(seed)))));
    square += (z - z.mean({2, 3}, true)).square().mean().item<double>() + z.mean({2, 3}).square().mean().item<double>();
  }
  return std::sqrt(square / seeds);
}

// The deviation of a start follows from the sum of s(f)^2 over all frequencies.
TEST(Fourier, StartHasTheDeviationOfItsSpectrum) {
  EXPECT_NEAR(start_deviation("fourier:decorrelate=false", 64, 64), 0.01729, 0.03 * 0.01729);
  EXPECT_NEAR(start_deviation("fourier:decorrelate=false", 128, 64), 0.01880, 0.03 * 0.01880);
  EXPECT_NEAR(start_deviation("fourier:decorrelate=false,decay=0", 64, 64),
              0.01 * std::sqrt(2.0) / 4 * std::sqrt(63.0 / 64), 0.03 * 0.0035);
}

TEST(Fourier, EncodesWhatItDecodes) {
  Random random(3);
  for (const char* text : {"fourier", "fourier:decorrelate=false", "fourier:decay=0.5", "fourier:range=clip", "pyramid",
                           "pyramid:levels=1", "pixels"}) {
    for (const int64_t side : {9, 12}) {
      const Studio studio(test::identity_graph(), side);
      const auto part = studio.parameterization(text);
      // Within what both ranges can show.
      const Tensor image = 0.1 + 0.8 * random.uniform({1, 3, side, side});
      EXPECT_LT((part->decode(studio.scope, part->encode(studio.scope, image)) - image).abs().max().item<double>(),
                1e-9)
          << text << " " << side;
    }
  }
}

TEST(Fourier, GradientIsThatOfTheDecoder) {
  const Studio studio(test::identity_graph(), 5);
  Random random(5);
  const Tensor weights = random.normal({1, 3, 5, 5});
  for (const char* text : {"fourier", "fourier:range=clip", "fourier:decay=1.5,decorrelate=false"}) {
    const auto part = studio.parameterization(text);
    const auto value = [&](const Tensor& p) { return (part->decode(studio.scope, {p}) * weights).sum(); };
    EXPECT_LT(test::gradient_error(value, random.normal({1, 3, 5, 3, 2}) * 0.3), 1e-6) << text;
  }
}

// Colors are those of "fourier"; opacity is the sigmoid of a plane of its own, without the matrix of colors: a quarter
// of the zero frequency as above.
TEST(FourierAlpha, OpacityHasASpectrumOfItsOwn) {
  const Studio studio(test::identity_graph(), 6, test::plain_card(), PixelUnit::kDisplay, 2);
  const auto part = studio.parameterization("fourier-alpha:sd=0.3");
  TensorList variables = part->begin(studio.scope, generator(3));
  ASSERT_EQ(variables.size(), 2u);
  EXPECT_EQ(variables[1].sizes(), (Shape{2, 1, 6, 4, 2}));
  EXPECT_NEAR(variables[1].std().item<double>(), 0.3, 0.06);
  variables[1].zero_();
  variables[1][1][0][0][0][0] = 2;
  const Tensor image = part->decode(studio.scope, variables);
  ASSERT_EQ(image.sizes(), (Shape{2, 4, 6, 6}));
  EXPECT_TRUE(at::equal(color_of(image), studio.parameterization("fourier")->decode(studio.scope, {variables[0]})));
  EXPECT_LT((image[0][3] - 0.5).abs().max().item<double>(), 1e-12);
  EXPECT_LT((image[1][3] - 1 / (1 + std::exp(-0.5))).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(within(part->decode(studio.scope, part->encode(studio.scope, image)), image, {1e-9, 1e-9}));
}

// The first pictures of a batch begin as they would alone.
TEST(Parameterization, StartDoesNotDependOnTheBatch) {
  const Studio one(test::identity_graph(), 9);
  const Studio three(test::identity_graph(), 9, test::plain_card(), PixelUnit::kDisplay, 3);
  for (const char* text : {"fourier", "fourier-alpha", "pixels"}) {
    const Tensor alone = one.parameterization(text)->begin(one.scope, generator(7))[0];
    const Tensor batch = three.parameterization(text)->begin(three.scope, generator(7))[0];
    EXPECT_TRUE(at::equal(alone, batch.narrow(0, 0, 1))) << text;
    EXPECT_FALSE(at::equal(alone, batch.narrow(0, 1, 1))) << text;
  }
}

TEST(Pixels, UnitOfCaffeIsGrayLevelsLessTheMeanColor) {
  const Studio studio(test::identity_graph(), 2, test::plain_card(), PixelUnit::kCaffe);
  const auto part = studio.parameterization("pixels");
  const Tensor pixels = part->encode(studio.scope, at::ones({1, 3, 2, 2}, at::kDouble))[0];
  EXPECT_NEAR(pixels[0][0][0][0].item<double>(), 255 - 123.68, 1e-9);
  EXPECT_NEAR(pixels[0][2][1][1].item<double>(), 255 - 103.939, 1e-9);
  const auto zero = studio.parameterization("pixels:mean=-1,sd=0");
  EXPECT_LT(zero->begin(studio.scope, generator(1))[0].abs().max().item<double>(), 1e-9);
  TensorList variables{at::full({1, 3, 2, 2}, 400.0, at::kDouble)};
  part->project(studio.scope, variables);
  EXPECT_NEAR(variables[0][0][1][0][0].item<double>(), 255 - 116.779, 1e-9);
}

TEST(Delta, ChangeStaysInItsBallAndThePictureInRange) {
  Random random(9);
  Studio studio(test::identity_graph(), 6);
  studio.context.pictures["start"] = random.uniform({1, 3, 6, 6});
  const Tensor start = studio.context.pictures["start"];
  for (const std::string norm : {"linf", "l2"}) {
    const auto part = studio.parameterization("delta:size=8,start=random,norm=" + norm);
    for (uint64_t seed = 0; seed < 8; ++seed) {
      TensorList variables = part->begin(studio.scope, generator(seed));
      if (seed > 3) {
        variables[0] = 3 * random.normal({1, 3, 6, 6});
        part->project(studio.scope, variables);
      }
      const Tensor change = part->decode(studio.scope, variables) - start;
      const double size = norm == "linf" ? change.abs().max().item<double>() : change.norm().item<double>();
      EXPECT_LE(size, 8.0 / 255 + 1e-12);
      EXPECT_GT(size, 2.0 / 255);  // it is used, too
      const Tensor image = start + change;
      EXPECT_GE(image.min().item<double>(), 0);
      EXPECT_LE(image.max().item<double>(), 1);
    }
  }
}

// Whatever the phases, magnitudes before color and sigmoid are the same, for even and odd sides; each plane has the
// contrast that was asked for.
TEST(FourierPhase, KeepsMagnitudes) {
  for (const int64_t side : {16, 17}) {
    const Studio studio(test::identity_graph(), side);
    const auto part = studio.parameterization("fourier-phase:decorrelate=false,contrast=0.7");
    TensorList first = part->begin(studio.scope, generator(1)), second = part->begin(studio.scope, generator(2));
    const auto magnitudes = [&](const TensorList& variables) {
      const Tensor z = at::logit(part->decode(studio.scope, variables));
      EXPECT_NEAR(z.select(1, 1).std(/*unbiased=*/false).item<double>(), 0.7, 1e-6);
      return at::fft_rfft2(z).abs();
    };
    const Tensor a = magnitudes(first);
    EXPECT_TRUE(within(magnitudes(second), a, {1e-8, 1e-8}));
    // Amplitude falls with the frequency.
    EXPECT_NEAR((a[0][0][0][1] / a[0][0][0][4]).item<double>(), 4, 1e-6);
    // A picture's own phases give back a picture of the same phases.
    const Tensor image = part->decode(studio.scope, first);
    EXPECT_TRUE(within(part->decode(studio.scope, part->encode(studio.scope, image)), image, {1e-6, 1e-6}));
  }
}

// A spectrum of zeros leaves what pictures have in common: levels of one value, and from an eighth on two that the
// first and the last picture have and the one between takes in halves.
TEST(Shared, PicturesHaveLevelsInCommon) {
  const Studio studio(test::identity_graph(), 16, test::plain_card(), PixelUnit::kDisplay, 3);
  const auto part = studio.parameterization("shared:decorrelate=false,levels=3");
  TensorList variables = part->encode(studio.scope, at::full({3, 3, 16, 16}, 0.5, at::kDouble));
  ASSERT_EQ(variables.size(), 5u);
  EXPECT_EQ(variables[1].sizes(), (Shape{1, 3, 8, 8}));
  EXPECT_EQ(variables[3].sizes(), (Shape{1, 3, 2, 2}));
  EXPECT_EQ(variables[4].sizes(), (Shape{2, 3, 2, 2}));
  variables[2].fill_(0.25);
  variables[4][0].fill_(1);
  variables[4][1].fill_(-1);
  const Tensor z = at::logit(part->decode(studio.scope, variables));
  const double expected[] = {1.25, 0.25, -0.75};
  for (int64_t b = 0; b < 3; ++b) {
    EXPECT_LT((z[b] - expected[b]).abs().max().item<double>(), 1e-12) << b;
  }
}

TEST(Shared, TakesPicturesAsTheyAre) {
  Random random(6);
  const Studio studio(test::identity_graph(), 12, test::plain_card(), PixelUnit::kDisplay, 2);
  const auto part = studio.parameterization("shared");
  const Tensor image = random.uniform({2, 3, 12, 12}) * 0.9 + 0.05;
  EXPECT_TRUE(within(part->decode(studio.scope, part->encode(studio.scope, image)), image, {1e-10, 1e-10}));
}

// One layer of one number: u = w x + v y + b, t = atan(u), color = sigmoid(a t / 0.67 + c t^2 / 0.6 + d).
TEST(Cppn, IsTheFormulaOfCoordinates) {
  const Studio studio(test::identity_graph(), 5);
  const auto part = studio.parameterization("cppn:layers=1,channels=1");
  const TensorList start = part->begin(studio.scope, generator(1));
  ASSERT_EQ(start.size(), 4u);
  EXPECT_TRUE(within(part->decode(studio.scope, start), at::full({1, 3, 5, 5}, 0.5, at::kDouble), {1e-15, 1e-15}));
  const TensorList variables{doubles({0.8, -0.3}, {1, 1, 2}), doubles({0.2}, {1, 1, 1}),
                             doubles({1, 0, 0, 1, 0.5, -2}, {1, 3, 2}), doubles({0, 0.1, -0.4}, {1, 3, 1})};
  const Tensor image = part->decode(studio.scope, variables);
  for (const auto& [row, column] : {std::pair{0, 0}, std::pair{1, 4}, std::pair{3, 2}}) {
    const double x = std::sqrt(3.0) * (column - 2) / 2, y = std::sqrt(3.0) * (row - 2) / 2;
    const double t = std::atan(0.8 * x - 0.3 * y + 0.2), a = t / 0.67, c = t * t / 0.6;
    const double u[] = {a, c + 0.1, 0.5 * a - 2 * c - 0.4};
    for (int64_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(image[0][k][row][column].item<double>(), 1 / (1 + std::exp(-u[k])), 1e-12);
    }
  }
}

}  // namespace
}  // namespace pellucid
