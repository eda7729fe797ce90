#include <gtest/gtest.h>

#include <map>

#include "support/compare.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::Random;
using test::Studio;
using test::within;

at::Generator generator(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

const std::vector<std::string> kLinear{
    "pad",  "pad:mode=reflect", "pad:mode=replicate", "jitter", "roll:pixels=5", "scale", "rotate", "flip",
    "crop", "window:side=17"};

/// T without the gray that it puts outside of the picture.
Tensor linear_part(const Transformation& part, const Tensor& x, uint64_t seed) {
  return part.apply(x + 0.5, generator(seed)) - 0.5;
}

// <T x, y> = <x, T^t y> with T^t from autograd, and T(2x) = 2 T(x): the gradient belongs to the same draw.
TEST(Transformation, GradientIsTheAdjoint) {
  const Studio studio(test::identity_graph(), 26);
  Random random(1);
  for (const std::string& text : kLinear) {
    const auto part = studio.transformation(text);
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const Tensor x = random.normal({2, 3, 26, 26});
      const Tensor leaf = random.normal({2, 3, 26, 26}).requires_grad_(true);
      Tensor y;
      {
        const at::AutoGradMode record(true);
        const Tensor out = linear_part(*part, leaf, seed);
        y = random.normal(out.sizes().vec());
        (out * y).sum().backward();
      }
      const double left = (linear_part(*part, x, seed) * y).sum().item<double>();
      const double right = (x * leaf.grad()).sum().item<double>();
      EXPECT_NEAR(left, right, 1e-9 * (1 + std::abs(left))) << text << " seed " << seed;
      EXPECT_TRUE(within(linear_part(*part, 2 * x, seed), 2 * linear_part(*part, x, seed), {1e-9, 1e-9})) << text;
    }
  }
}

// Corners of a turned picture filled with black would show here.
TEST(Transformation, MidGrayStaysMidGray) {
  const Studio studio(test::identity_graph(), 26);
  const Tensor gray = at::full({1, 3, 26, 26}, 0.5, at::kDouble);
  for (const std::string& text : kLinear) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Tensor y = studio.transformation(text)->apply(gray, generator(seed));
      EXPECT_LT((y - 0.5).abs().max().item<double>(), 1e-12) << text;
    }
  }
}

// Of a picture made larger for it, the middle counts where nothing is random.
TEST(Jitter, LeavesTheMiddleWhenItRests) {
  const Studio studio(test::identity_graph(), 8);
  const Tensor x = at::arange(64, at::kDouble).view({1, 1, 8, 8});
  EXPECT_TRUE(
      at::equal(studio.transformation("jitter:pixels=2,inner=true")->still(x), x.narrow(2, 1, 6).narrow(3, 1, 6)));
  EXPECT_TRUE(at::equal(studio.transformation("jitter:pixels=2")->still(x), x));
  EXPECT_EQ(studio.transformation("jitter:pixels=2,rest=50")->rest(), 50);
}

TEST(Jitter, IsACropOfThePicture) {
  const Studio studio(test::identity_graph(), 10);
  const Tensor x = at::arange(300, at::kDouble).view({1, 3, 10, 10});
  std::map<double, int> corners;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Tensor y = studio.transformation("jitter:pixels=3")->apply(x, generator(seed));
    ASSERT_EQ(y.sizes(), (Shape{1, 3, 7, 7}));
    const auto corner = static_cast<int64_t>(y[0][0][0][0].item<double>());
    ASSERT_TRUE(at::equal(y, x.narrow(2, corner / 10, 7).narrow(3, corner % 10, 7)));
    ++corners[static_cast<double>(corner)];
  }
  EXPECT_EQ(corners.size(), 16u);  // offsets 0..3 on both axes
}

// Chi-square with 10 degrees of freedom: 23.2 at p = 0.01.
TEST(Scale, DrawsItsFactorsEvenly) {
  const Studio studio(test::identity_graph(), 100);
  const Tensor x = at::zeros({1, 1, 100, 100}, at::kDouble);
  const auto part = studio.transformation("scale");
  std::map<int64_t, int> counts;
  constexpr int kDraws = 2200;
  at::Generator g = generator(4);
  for (int i = 0; i < kDraws; ++i) ++counts[part->apply(x, g).size(2)];
  ASSERT_EQ(counts.size(), 11u);
  double chi = 0;
  for (const auto& [size, count] : counts) {
    EXPECT_EQ(size % 2, 0);  // 90, 92, ..., 110
    chi += std::pow(count - kDraws / 11.0, 2) / (kDraws / 11.0);
  }
  EXPECT_LT(chi, 23.2);
}

// Two angles, -90 and 90 degrees: sampling falls on pixel centres, so the result is exact.
TEST(Rotate, ByARightAngleIsExact) {
  const Studio studio(test::identity_graph(), 8);
  Random random(2);
  const Tensor x = random.uniform({1, 3, 8, 8});
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const Tensor y = studio.transformation("rotate:degrees=90,count=2,still=0")->apply(x, generator(seed));
    const double left = (y - at::rot90(x, 1, {2, 3})).abs().max().item<double>();
    const double right = (y - at::rot90(x, -1, {2, 3})).abs().max().item<double>();
    EXPECT_LT(std::min(left, right), 1e-9);
  }
}

// A turn keeps lengths when the picture is wider than high: a point on the axis stays as far from the centre.
TEST(Rotate, KeepsLengthsInWidePictures) {
  const Studio studio(test::identity_graph(), 8);
  Tensor x = at::full({1, 1, 41, 81}, 0.5, at::kDouble);
  x[0][0][20][56] = 1.5;  // 16 right of the centre
  const Tensor y = studio.transformation("rotate:degrees=90,count=2,still=0")->apply(x, generator(1)) - 0.5;
  const int64_t where = y.flatten().argmax().item<int64_t>();
  EXPECT_EQ(where % 81, 40);
  EXPECT_EQ(std::abs(where / 81 - 20), 16);
  EXPECT_NEAR(y.max().item<double>(), 1.0, 1e-9);
}

TEST(Window, LeavesSmallPicturesAlone) {
  const Studio studio(test::identity_graph(), 8);
  Random random(2);
  const Tensor x = random.uniform({1, 3, 8, 12});
  EXPECT_TRUE(at::equal(studio.transformation("window:side=20")->apply(x, generator(1)), x));
  EXPECT_EQ(studio.transformation("window:side=9")->apply(x, generator(1)).sizes(), (Shape{1, 3, 8, 9}));
}

TEST(Noise, IsTheSameForEveryPictureOfABatch) {
  const Studio studio(test::identity_graph(), 8);
  const Tensor y = studio.transformation("noise:sd=0.1")->apply(at::zeros({2, 3, 64, 64}, at::kDouble), generator(1));
  EXPECT_TRUE(at::equal(y[0], y[1]));
  EXPECT_NEAR(y.std().item<double>(), 0.1, 0.003);
}

}  // namespace
}  // namespace pellucid
