// Meaningful and extremal perturbation on scores whose best mask is known.

#include <gtest/gtest.h>

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/smooth_masks.h"
#include "pellucid/error.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

Graph linear_graph(const Tensor& weights) {
  LayerBuilder b(1, {-1, 1, weights.size(0), weights.size(1)});
  b.node("Flatten", "flat", {"x"});
  const Tensor w = weights.flatten();
  b.gemm_with("logits", "flat", at::stack({w, at::zeros_like(w)}), at::zeros({2}, at::kDouble));
  return b.finish("logits");
}

/// 1 within `radius` of a point, 0 elsewhere.
Tensor disc(int64_t size, double cy, double cx, double radius) {
  const Tensor y = at::arange(size, at::kDouble).view({-1, 1}) - cy, x = at::arange(size, at::kDouble) - cx;
  return (y.square() + x.square()).le(radius * radius).to(at::kDouble);
}

double iou(const Tensor& a, const Tensor& b) {
  const Tensor p = a.gt(0.5), q = b.gt(0.5);
  return p.logical_and(q).sum().item<double>() / p.logical_or(q).sum().item<double>();
}

// Without total variation, blur of the mask and jitter the objective is a sum over pixels, linear in each: the mask is
// 0 where w (x - blurred) exceeds the price of a cell, and 1 elsewhere.
TEST(MeaningfulPerturbation, LinearScoreHasABangBangMask) {
  const Tensor w = Random(1).normal({8, 8}), x = Random(2).normal({1, 1, 8, 8});
  const Explainer n(linear_graph(w), x);
  const Attribution a = n.explain(
      "meaningful-perturbation:score=logit,tv=0,mask_sigma=0,jitter=0,mask_size=8,l1=0.2,blur_sigma=100,iterations=100",
      "0");
  const Tensor gain = w * (x - gaussian_blur(x, 100.0 * 8 / 224))[0][0] - 0.2;
  EXPECT_GT(gain.gt(0.05).sum().item<int64_t>(), 5);
  const Tensor decided = gain.abs().gt(0.05);
  EXPECT_TRUE(a.values[0].masked_select(decided).equal(gain.gt(0).to(at::kDouble).masked_select(decided)));
}

// An unaffordable mask stays away, and Phi(x; 1) = x.
TEST(MeaningfulPerturbation, KeepsThePictureWhenMasksAreDear) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({1, 3, 16, 16}));
  const Attribution a = n.explain("meaningful-perturbation:l1=1000,iterations=60", "0");
  EXPECT_EQ(a.values.abs().max().item<double>(), 0);
  EXPECT_LT(a.map.abs().max().item<double>(), 1e-12);
  EXPECT_NEAR(a.diagnostics[0].at("score_masked"), a.diagnostics[0].at("score_clean"), 1e-12);
}

TEST(MeaningfulPerturbation, LowersTheScoreAndMoreStepsLowerTheObjective) {
  const Tensor w = at::ones({32, 32}, at::kDouble) * disc(32, 20, 10, 5);
  const Tensor x = Random(3).normal({1, 1, 32, 32}) * 0.1 + w;
  const Explainer n(linear_graph(w / w.sum() * 4), x);
  std::vector<double> objectives;
  for (const std::string steps : {"1", "5", "40", "200"}) {
    const Attribution a =
        n.explain("meaningful-perturbation:l1=0.003,tv=0,jitter=0,blur_sigma=60,iterations=" + steps, "0");
    const auto& d = a.diagnostics[0];
    EXPECT_LT(d.at("score_masked"), d.at("score_clean"));
    objectives.push_back(0.003 * a.values.sum().item<double>() + d.at("score_masked"));
  }
  EXPECT_LT(objectives[1], objectives[0]);
  EXPECT_LT(objectives[2], objectives[1] - 0.01);
  EXPECT_NEAR(objectives[3], objectives[2], 0.02 * objectives[2]);
}

TEST(MeaningfulPerturbation, RefusesJitterForTooFewSteps) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({1, 3, 16, 16}));
  Context context = n.context("0");
  context.injected["jitter"] = at::zeros({4, 2}, at::kLong);
  expect_error(ErrorKind::kUsage, "meaningful-perturbation: injected jitter has shape [4,2]; [9,2] was expected",
               [&] { attribute(MethodCall::parse("meaningful-perturbation:iterations=9"), context); });
}

/// By the formula, one kernel and one pixel at a time.
Tensor literal_masks(const Tensor& p, int64_t height, int64_t width, int64_t step, double sigma) {
  const int64_t radius = 1 + static_cast<int64_t>(std::ceil(sigma / static_cast<double>(step)));
  const int64_t padding = 1 + static_cast<int64_t>(std::ceil(2 * sigma / static_cast<double>(step)));
  Tensor mask = at::zeros({height, width}, at::kDouble);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t v = y + std::llround(sigma), u = x + std::llround(sigma);  // with the margin
      double weighted = 0, total = 0;
      for (int64_t ky = 0; ky <= 2 * radius; ++ky) {
        for (int64_t kx = 0; kx <= 2 * radius; ++kx) {
          const int64_t iy = v / step + ky - padding, ix = u / step + kx - padding;
          const double dy = static_cast<double>(v) - sigma - static_cast<double>(step * iy);
          const double dx = static_cast<double>(u) - sigma - static_cast<double>(step * ix);
          const double d = std::max(0.0, std::sqrt(dy * dy + dx * dx) / sigma - 0.5);
          const bool inside = iy >= 0 && iy < p.size(0) && ix >= 0 && ix < p.size(1);
          const double value = inside ? p[iy][ix].item<double>() * std::exp(-2 * d * d) : 0;
          weighted += value * std::exp(20 * value);
          total += std::exp(20 * value);
        }
      }
      mask[y][x] = weighted / total;
    }
  }
  return mask;
}

TEST(SmoothMasks, AreTheSmoothMaximumOfKernels) {
  for (const double sigma : {4.0, 3.4}) {
    const SmoothMasks masks(11, 9, 2, sigma, at::TensorOptions(at::kDouble));
    ASSERT_EQ(masks.rows(), 6);
    ASSERT_EQ(masks.columns(), 5);
    const Tensor p = Random(1).uniform({2, 6, 5});
    const Tensor cropped = masks.crop(masks.with_margin(p));
    for (int64_t k = 0; k < 2; ++k) {
      EXPECT_TRUE(within(cropped[k], literal_masks(p[k], 11, 9, 2, sigma), {1e-10, 1e-10})) << sigma;
    }
  }
}

TEST(SmoothMasks, OneKernelIsFlatWithinHalfItsRadius) {
  const SmoothMasks masks(41, 41, 4, 12, at::TensorOptions(at::kDouble));
  Tensor p = at::zeros({1, masks.rows(), masks.columns()}, at::kDouble);
  p[0][5][5] = 1;
  const Tensor mask = masks.crop(masks.with_margin(p))[0];
  const Tensor core = mask.masked_select(disc(41, 20, 20, 6).to(at::kBool));
  EXPECT_LT((core - 1).abs().max().item<double>(), 1e-6);
  EXPECT_LT(mask.masked_select(disc(41, 20, 20, 9).eq(0)).max().item<double>(), 0.9);
}

TEST(SmoothMasks, BackwardIsTheGradient) {
  const SmoothMasks masks(7, 8, 2, 4, at::TensorOptions(at::kDouble));
  Tensor p = Random(1).uniform({1, masks.rows(), masks.columns()});
  const Tensor mask = masks.with_margin(p), g = Random(2).normal(mask.sizes().vec());
  const Tensor gradient = masks.backward(p, mask, g);
  constexpr double kStep = 1e-6;
  for (int64_t i = 0; i < p.numel(); ++i) {
    Tensor up = p.clone(), down = p.clone();
    up.view(-1)[i] += kStep;
    down.view(-1)[i] -= kStep;
    const double slope = ((masks.with_margin(up) - masks.with_margin(down)) * g).sum().item<double>() / (2 * kStep);
    EXPECT_NEAR(gradient.flatten()[i].item<double>(), slope, 1e-7) << i;
  }
}

// The score is the sum over a disc of 10 % of the picture and its margin: that disc is the best mask of that area.

// The score is the sum over a disc that covers 10 % of the picture and its margin.
TEST(ExtremalPerturbation, FindsTheRegionAndKeepsTheArea) {
  // 32 pixels with a margin of 3 (sigma 21 * 32 / 224) are 39 by 39; 10 % of them is a disc of radius 7.
  const Tensor w = disc(32, 13, 18, 7);
  const Tensor x = Random(3).normal({1, 1, 32, 32}) * 0.2 + w * 2;
  const Explainer n(linear_graph(w / w.sum() * 40), x);
  const Attribution deleted = n.explain("extremal-perturbation:variant=delete,blur_sigma=60", "0");
  EXPECT_NEAR(deleted.diagnostics[0].at("area"), 0.1, 0.02);
  EXPECT_GT(iou(deleted.map[0], w), 0.75);
  const Attribution kept = n.explain("extremal-perturbation:blur_sigma=60", "0");
  const auto& d = kept.diagnostics[0];
  EXPECT_NEAR(d.at("area"), 0.1, 0.02);
  EXPECT_GT(iou(kept.map[0], w), 0.5);
  // Most of what blurring everything loses is kept by a tenth of the area.
  EXPECT_GT(d.at("score_seen"), d.at("score_blurred") + 0.7 * (d.at("score_clean") - d.at("score_blurred")));
}

TEST(ExtremalPerturbation, SeveralAreasAreAveragedAndBadOnesRefused) {
  const Explainer n(random_network(Family::kPlain, 3), Random(2).normal({1, 3, 16, 16}));
  const Tensor small = n.explain("extremal-perturbation:area=0.1,iterations=5", "0").map;
  const Tensor large = n.explain("extremal-perturbation:area=0.3,iterations=5", "0").map;
  const Attribution both = n.explain("extremal-perturbation:area=0.1+0.3,iterations=5", "0");
  EXPECT_TRUE(within(both.map, (small + large) / 2, {1e-9, 1e-9}));
  EXPECT_EQ(both.diagnostics[0].count("area_2"), 1u);
  for (const std::string bad : {"0", "1", "x", "0.1+"}) {
    expect_error(ErrorKind::kUsage,
                 "extremal-perturbation: area is '" + bad +
                     "'; it must be a share between 0 and 1, or several joined by '+' (default 0.1)",
                 [&] { n.explain("extremal-perturbation:area=" + bad, "0"); });
  }
}

// The score sums over the left part of a dense output alone, so the mask must not reach into the right one: mirrored
// steps look at the mirrored target.
TEST(ExtremalPerturbation, MirrorsTheTargetWithThePicture) {
  LayerBuilder b(1, {-1, 1, 24, 24});
  b.conv_with("logits", "x", doubles({1, 0}, {2, 1, 1, 1}), doubles({0, 0}, {2}));
  const Tensor x = Random(3).normal({1, 1, 24, 24});
  const Explainer n(b.finish("logits"), x);
  Target target = Target::parse("0");
  target.mask = at::zeros({24, 24}, at::kDouble);
  target.mask.narrow(1, 0, 8).fill_(1);
  const Attribution a = attribute(MethodCall::parse("extremal-perturbation:variant=delete,area_weight=0,step=20,"
                                                    "iterations=4,learning_rate=1"),
                                  n.context(target));
  const Tensor mask = a.map[0];
  EXPECT_LT(mask.narrow(1, 0, 8).min().item<double>(), 0.9);
  EXPECT_GT(mask.narrow(1, 17, 7).min().item<double>(), 0.95);
}

}  // namespace
}  // namespace pellucid::test
