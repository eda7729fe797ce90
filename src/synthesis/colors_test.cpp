#include "synthesis/colors.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/layer_builder.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::Random;
using test::within;

Tensor sorted(const Tensor& picture) { return std::get<0>(picture.flatten(-2).sort(-1)); }

TEST(Histogram, IsTheReferencesExactly) {
  Random random(1);
  const Tensor x = random.normal({3, 9, 8}), y = random.uniform({1, 3, 12, 6});
  const Tensor found = with_histogram_of(x, y);
  EXPECT_TRUE(at::equal(sorted(found), sorted(y[0])));
  // Order is kept.
  EXPECT_TRUE(at::equal(std::get<1>(x.flatten(1).sort(1)), std::get<1>(found.flatten(1).sort(1))));
  EXPECT_TRUE(at::equal(with_histogram_of(y, y), y));
}

TEST(Histogram, OfAnotherSizeIsBetweenItsQuantiles) {
  const Tensor y = at::arange(4, at::kDouble).view({1, 2, 2}).repeat({3, 1, 1});
  const Tensor x = at::arange(8, at::kDouble).neg().view({1, 2, 4}).repeat({3, 1, 1});
  const Tensor found = sorted(with_histogram_of(x, y))[0];
  EXPECT_TRUE(within(found, test::doubles({0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3}, {8}), {1e-12, 1e-12}));
  // Fewer pixels than the reference.
  EXPECT_TRUE(within(sorted(with_histogram_of(y, x))[0], test::doubles({-6.5, -4.5, -2.5, -0.5}, {4}), {1e-12, 1e-12}));
  // Equal values stay in their order instead of becoming one.
  const Tensor flat = at::zeros({3, 2, 2}, at::kDouble);
  EXPECT_TRUE(at::equal(with_histogram_of(flat, y), y));
}

TEST(ColorMoments, BecomeTheReferences) {
  Random random(2);
  const Tensor x = at::einsum("ij,bjhw->bihw", {random.normal({3, 3}), random.normal({1, 3, 20, 30})});
  const Tensor y = at::einsum("ij,jhw->ihw", {random.normal({3, 3}), random.normal({3, 25, 16})}) + 2;
  const Tensor found = with_color_moments_of(x, y);
  const auto covariance = [](const Tensor& rows) {
    const Tensor d = rows - rows.mean(1, true);
    return at::matmul(d, d.t()) / static_cast<double>(d.size(1));
  };
  EXPECT_EQ(found.sizes(), x.sizes());
  EXPECT_TRUE(within(found[0].flatten(1).mean(1), y.flatten(1).mean(1), {1e-9, 1e-9}));
  EXPECT_TRUE(within(covariance(found[0].flatten(1)), covariance(y.flatten(1)), {1e-9, 1e-9}));
  // Gray pictures, whose colors have one direction, stay finite.
  const Tensor gray = random.uniform({1, 1, 8, 8}).expand({1, 3, 8, 8});
  EXPECT_TRUE(at::isfinite(with_color_moments_of(gray, y)).all().item<bool>());
}

TEST(KeepColor, TakesBrightnessAndNothingElse) {
  Random random(3);
  const Tensor x = random.uniform({1, 3, 6, 5}), y = random.uniform({1, 3, 6, 5});
  const Tensor found = with_color_of(x, y);
  const auto yuv = [](const Tensor& rgb) {
    const Tensor luma = 0.299 * rgb.select(1, 0) + 0.587 * rgb.select(1, 1) + 0.114 * rgb.select(1, 2);
    return at::stack({luma, rgb.select(1, 2) - luma, rgb.select(1, 0) - luma});
  };
  EXPECT_TRUE(within(yuv(found)[0], yuv(x)[0], {1e-12, 1e-12}));
  EXPECT_TRUE(within(yuv(found)[1], yuv(y)[1], {1e-12, 1e-12}));
  EXPECT_TRUE(within(yuv(found)[2], yuv(y)[2], {1e-12, 1e-12}));
}

TEST(Finishing, WorksInTheUnitOfTheRecipe) {
  Random random(4);
  test::Studio studio(test::identity_graph(), 6, test::plain_card(), PixelUnit::kCaffe);
  const Tensor image = random.normal({1, 3, 6, 6}) + 0.5, other = random.uniform({1, 3, 6, 6});
  studio.context.pictures["style"] = other;
  const auto finished = [&](const std::string& text) {
    const Tensor pixels = pixels_from_display(image, PixelUnit::kCaffe);
    return display_from_pixels(studio.after_step(text)->apply(pixels, {}, {}), PixelUnit::kCaffe);
  };
  EXPECT_TRUE(within(finished("histogram"), with_histogram_of(image, other), {1e-12, 1e-12}));
  EXPECT_TRUE(within(finished("keep-color:picture=style"), with_color_of(image, other), {1e-12, 1e-12}));
  EXPECT_TRUE(within(finished("clip"), image.clamp(0, 1), {1e-12, 1e-12}));
}

}  // namespace
}  // namespace pellucid
