#include "synthesis/plane_transform.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/studio.h"

namespace pellucid {
namespace {

using test::Random;
using test::within;

const Shape kSizes[] = {{2, 3, 8, 6}, {2, 3, 7, 9}, {1, 3, 1, 1}, {1, 1, 5, 2}, {3, 1, 4}};

TEST(PlaneTransform, IsLibTorchsPlaneByPlane) {
  Random random(1);
  for (const Shape& shape : kSizes) {
    const Tensor x = random.normal(shape);
    const Tensor spectrum = at::fft_rfft2(x);
    EXPECT_TRUE(within(at::view_as_real(spectrum_from_planes(x)), at::view_as_real(spectrum), {1e-12, 1e-12}));
    EXPECT_TRUE(within(planes_from_spectrum(spectrum, x.size(-2), x.size(-1)), x, {1e-12, 1e-12}));
  }
}

// Imaginary parts of frequencies that are their own mirror images count for nothing, and get no gradient.
TEST(PlaneTransform, HasTheGradientOfLibTorchs) {
  Random random(2);
  for (const Shape& shape : kSizes) {
    const int64_t height = shape[shape.size() - 2], width = shape.back();
    Shape half = shape;
    half.back() = width / 2 + 1;
    half.push_back(2);
    const Tensor weights = random.normal(shape), twofold = random.normal(half);
    const auto gradient = [](const Tensor& at, const std::function<Tensor(const Tensor&)>& f) {
      const Tensor leaf = at.detach().clone().requires_grad_(true);
      f(leaf).sum().backward();
      return leaf.grad();
    };
    const Tensor x = random.normal(shape), p = random.normal(half);
    EXPECT_TRUE(within(
        gradient(x, [&](const Tensor& t) { return at::view_as_real(spectrum_from_planes(t)) * twofold; }),
        gradient(x, [&](const Tensor& t) { return at::view_as_real(at::fft_rfft2(t)) * twofold; }), {1e-12, 1e-12}));
    EXPECT_TRUE(within(
        gradient(
            p, [&](const Tensor& t) { return planes_from_spectrum(at::view_as_complex(t), height, width) * weights; }),
        gradient(p,
                 [&](const Tensor& t) {
                   return at::fft_irfft2(at::view_as_complex(t), at::IntArrayRef{height, width}) * weights;
                 }),
        {1e-12, 1e-12}));
  }
}

TEST(PlaneTransform, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Tensor p = Random(3).normal({2, 3, 37, 20, 2}).to(at::kFloat);
  const int threads = at::get_num_threads();
  const auto decoded = [&](int number) {
    at::set_num_threads(number);
    const Tensor leaf = p.clone().requires_grad_(true);
    const Tensor planes = planes_from_spectrum(at::view_as_complex(leaf), 37, 38);
    planes.square().sum().backward();
    return TensorList{planes.detach(), leaf.grad(), at::view_as_real(spectrum_from_planes(planes.detach()))};
  };
  const TensorList one = decoded(1);
  for (const int number : {2, 3, 7}) EXPECT_TRUE(same_values(decoded(number), one)) << number;
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace pellucid
