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

TEST(Regularizer, CountsPicturesApart) {
  const Studio studio(test::identity_graph(), 4);
  Random random(7);
  const Tensor x = random.normal({3, 3, 6, 6});
  for (const PartInfo& info : synthesis_parts(PartKind::kRegularizer)) {
    const auto part = studio.regularizer(info.id);
    const Tensor all = part->penalty(x);
    for (int64_t b = 0; b < 3; ++b) {
      EXPECT_NEAR(all[b].item<double>(), part->penalty(x.narrow(0, b, 1)).item<double>(), 1e-9) << info.id;
    }
  }
}

}  // namespace
}  // namespace pellucid
