#include "attribution/imputation.h"

#include <gtest/gtest.h>

namespace pellucid {
namespace {

Tensor ramp(int64_t height, int64_t width) {
  const Tensor y = at::arange(height, at::kDouble).view({-1, 1}), x = at::arange(width, at::kDouble).view({1, -1});
  return (2 * y + 3 * x + 1).unsqueeze(0);
}

TEST(LinearImputation, CentreOfThreeByThreeIsTheWeightedMean) {
  const Tensor image = at::arange(1, 10, at::kDouble).view({1, 3, 3});
  Tensor missing = at::zeros({1, 3, 3}, at::kBool);
  missing[0][1][1] = true;
  EXPECT_NEAR(linear_imputation(image, missing)[0][0][1][1].item<double>(), 5.0, 1e-6);
}

TEST(LinearImputation, RampsComeBackAndKnownPixelsStay) {
  const Tensor image = ramp(12, 15);
  Tensor missing = at::zeros({2, 12, 15}, at::kBool);
  missing[0].narrow(0, 3, 6).narrow(1, 4, 7).fill_(true);
  missing[1].narrow(0, 1, 2).narrow(1, 1, 3).fill_(true);
  const Tensor filled = linear_imputation(image, missing);
  for (int64_t b = 0; b < 2; ++b) EXPECT_LT((filled[b] - image).abs().max().item<double>(), 1e-4);
  EXPECT_TRUE(at::equal(filled.masked_select(~missing.unsqueeze(1)),
                        image.unsqueeze(0).expand_as(filled).masked_select(~missing.unsqueeze(1))));
}

TEST(LinearImputation, NothingMissingIsTheIdentityAndAllMissingTheMean) {
  const Tensor image = ramp(5, 6);
  const Tensor filled =
      linear_imputation(image, at::stack({at::zeros({5, 6}, at::kBool), at::ones({5, 6}, at::kBool)}));
  EXPECT_TRUE(at::equal(filled[0], image));
  EXPECT_LT((filled[1] - image.mean()).abs().max().item<double>(), 1e-9);
}

}  // namespace
}  // namespace pellucid
