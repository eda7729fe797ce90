#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

/// S_1 = w . x on pictures of one channel, so that the attribution from zero is w x.
Explainer linear_network(const Tensor& w, const Tensor& x) {
  LayerBuilder b(1, {-1, 1, w.size(0), w.size(1)});
  b.node("Flatten", "flat", {"x"});
  b.gemm_with("logits", "flat", at::stack({at::zeros_like(w), w}).flatten(1));
  return Explainer(b.finish("logits"), x);
}

Attribution xrai(const Explainer& n, const std::string& parameters,
                 const std::function<Tensor(const Tensor&, const std::string&)>& segmenter = {}) {
  Context context = n.context("1");
  context.segmenter = segmenter;
  return attribute(MethodCall::parse("xrai:baseline=zero,steps=1," + parameters), context);
}

// Attributions 1..16 on a 4x4 picture and a grid of 2: regions {1,2,5,6}, {3,4,7,8}, ... have means 3.5, 5.5, 11.5,
// 13.5, whatever the order in which they are added.
TEST(Xrai, DisjointRegionsGetTheirMeans) {
  const Tensor w = at::arange(1, 17, at::kDouble).view({4, 4});
  const Explainer n = linear_network(w, at::ones({1, 1, 4, 4}, at::kDouble));
  const Attribution a = xrai(n, "segments=grid:2,dilation=0,min_area=0");
  const Tensor means = doubles({3.5, 5.5, 11.5, 13.5}, {1, 2, 2});
  EXPECT_TRUE(within(a.map, means.repeat_interleave(2, 1).repeat_interleave(2, 2), kExact));
  EXPECT_EQ(a.diagnostics[0].at("regions"), 4);
  EXPECT_NEAR(a.diagnostics[0].at("convergence_delta"), 0, 1e-10);
}

// A row of 6 pixels with attributions 0 9 6 3 0 0. Segmentation A: {0,1} {2,3} {4,5}, B: {0} {1,2} {3,4,5}. First the
// densest, {1,2} with 7.5. Then {2,3} brings pixel 3 alone, 3; then {4,5} or {0}, all zero.
TEST(Xrai, GrowsByTheDensityOfWhatIsNew) {
  const Tensor w = doubles({0, 9, 6, 3, 0, 0}, {1, 6});
  const Explainer n = linear_network(w, at::ones({1, 1, 1, 6}, at::kDouble));
  std::vector<std::string> asked;
  const auto segmenter = [&](const Tensor& display, const std::string& spec) {
    asked.push_back(spec);
    EXPECT_EQ(display.sizes().vec(), (Shape{1, 1, 6}));
    const auto labels =
        spec == "slic:2" ? std::vector<int64_t>{0, 0, 1, 1, 2, 2} : std::vector<int64_t>{0, 1, 1, 2, 2, 2};
    return at::tensor(labels, at::TensorOptions(at::kLong)).view({1, 6});
  };
  const Attribution a = xrai(n, "segments=slic:2+seeds:3,dilation=0,min_area=0", segmenter);
  EXPECT_EQ(asked, (std::vector<std::string>{"slic:2", "seeds:3"}));
  EXPECT_TRUE(within(a.map, doubles({0, 7.5, 7.5, 3, 0, 0}, {1, 1, 6}), kExact));
  // Additions of at least two pixels: {1,2} with 7.5, then {3,4,5} with 1 (pixel 3 alone is too little), then pixel 0.
  EXPECT_TRUE(within(xrai(n, "segments=slic:2+seeds:3,dilation=0,min_area=0.3", segmenter).map,
                     doubles({0, 7.5, 7.5, 1, 1, 1}, {1, 1, 6}), kExact));
}

/// The published loop, literally: masks, sets and means computed anew each time.
Tensor reference(const Tensor& attribution, std::vector<Tensor> masks, int64_t min_pixels) {
  Tensor result = at::full_like(attribution, -std::numeric_limits<double>::infinity());
  Tensor taken = at::zeros_like(attribution, at::kBool);
  while (true) {
    double highest = -std::numeric_limits<double>::infinity();
    Tensor best;
    for (const Tensor& mask : masks) {
      const Tensor added = mask.logical_and(taken.logical_not());
      if (added.sum().item<int64_t>() < min_pixels) continue;
      const double gain = attribution.masked_select(added).mean().item<double>();
      if (gain > highest) {
        highest = gain;
        best = added;
      }
    }
    if (!best.defined()) break;
    result = at::where(best, at::full_like(result, highest), result);
    taken = taken.logical_or(best);
  }
  const Tensor rest = taken.logical_not();
  if (!rest.any().item<bool>()) return result;
  return at::where(rest, at::full_like(result, attribution.masked_select(rest).mean().item<double>()), result);
}

TEST(Xrai, EqualsALiteralImplementationWithDilatedRegions) {
  Random random(4);
  const Tensor w = random.normal({12, 13}), x = random.normal({1, 1, 12, 13});
  const Explainer n = linear_network(w, x);
  std::vector<Tensor> masks;
  const Tensor y = at::arange(12, at::kLong).unsqueeze(1), u = at::arange(13, at::kLong).unsqueeze(0);
  for (const int64_t size : {3, 5}) {
    const Tensor labels = y.div(size, "floor") * 100 + u.div(size, "floor");
    for (const int64_t label :
         {0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 300, 301, 302, 303, 304}) {
      const Tensor region = labels.eq(label);
      if (!region.any().item<bool>()) continue;
      // Every pixel within 0.1 * 13 = 1.3 of one of the region's.
      Tensor mask = at::zeros({12, 13}, at::kBool);
      for (int64_t i = 0; i < 12; ++i) {
        for (int64_t j = 0; j < 13; ++j) {
          const Tensor distance = (y - i).square() + (u - j).square();
          mask[i][j] = distance.to(at::kDouble).le(1.3 * 1.3).logical_and(region).any();
        }
      }
      masks.push_back(mask);
    }
  }
  const Tensor expected = reference(w * x[0][0], masks, 4);
  // 4 / 156 of the picture.
  const Attribution a = xrai(n, "segments=grid:3+grid:5,dilation=0.1,min_area=0.0256");
  EXPECT_TRUE(within(a.map[0], expected, kExact));
  EXPECT_NEAR(a.map.sum().item<double>(), (w * x[0][0]).sum().item<double>(), 1e-9);
}

// Regions of the user's own are the only ones.
TEST(Xrai, TakesRegionsFromTheContext) {
  const Tensor w = at::arange(1, 17, at::kDouble).view({4, 4});
  const Explainer n = linear_network(w, at::ones({1, 1, 4, 4}, at::kDouble));
  Context context = n.context("1");
  context.regions = at::zeros({1, 4, 4}, at::kLong);
  context.regions.select(1, 0).fill_(7);
  const Attribution a = attribute(MethodCall::parse("xrai:baseline=zero,steps=1,dilation=0"), context);
  EXPECT_TRUE(within(a.map[0].select(0, 0), at::full({4}, 2.5, at::kDouble), kExact));
  EXPECT_TRUE(within(a.map[0].slice(0, 1), at::full({3, 4}, 10.5, at::kDouble), kExact));
}

// Three channels: their sum, or as PAIR has it their maximum.
TEST(Xrai, ReducesChannelsAsAsked) {
  const Tensor x = Random(2).normal({1, 3, 8, 8});
  const Explainer n(random_network(Family::kPlain, 1), x);
  const Tensor ig = n.explain("integrated-gradients:baseline=black+white", "1").values;
  const std::string one_region = "xrai:segments=grid:8,dilation=0";
  EXPECT_TRUE(within(n.explain(one_region + ",channels=sum", "1").map[0], ig.sum(1).mean().expand({8, 8}), kExact));
  EXPECT_TRUE(within(n.explain(one_region, "1").map[0], ig.amax(1).mean().expand({8, 8}), kExact));
}

TEST(Xrai, RefusesSegmentsItCannotRead) {
  const Explainer n(random_network(Family::kPlain, 1), Random(2).normal({1, 3, 8, 8}));
  for (const char* bad : {"squares", "grid", "grid:0", "slic:x"}) {
    expect_error(ErrorKind::kUsage,
                 std::string("xrai: segments is '") + bad +
                     "'; it must be auto, or slic:SIZE, seeds:COUNT and grid:SIZE joined by '+' (default auto)",
                 [&] { n.explain(std::string("xrai:steps=1,segments=") + bad, "1"); });
  }
}

TEST(Xrai, StopsBetweenAdditions) {
  const Explainer n = linear_network(Random(1).normal({12, 12}), at::ones({1, 1, 12, 12}, at::kDouble));
  Context context = n.context("1");
  Progress progress;
  context.progress = &progress;
  context.segmenter = [&](const Tensor&, const std::string&) {
    progress.cancel();  // what follows takes no pass of the network
    return at::arange(144, at::kLong).view({12, 12});
  };
  expect_error(ErrorKind::kInterrupted, "interrupted",
               [&] { attribute(MethodCall::parse("xrai:steps=1,segments=slic:1"), context); });
  expect_error(ErrorKind::kUsage, "xrai: dilation is '0.2'; it must be a number between 0 and 0.1 (default 0.0224)",
               [&] { n.explain("xrai:dilation=0.2", "1"); });
}

}  // namespace
}  // namespace pellucid::test
