#include "attribution/noise.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-12, 1e-12};

Explainer small_network(const Tensor& x) { return Explainer(random_network(Family::kPlain, 1), x); }

TEST(NoiseStream, DoesNotDependOnThePortions) {
  // 3 * 5 * 7 = 105 numbers, no multiple of the generator's block.
  const Explainer n = small_network(Random(2).normal({2, 3, 5, 7}));
  const Context context = n.context("1");
  const Tensor whole = NoiseStream(context, 9).draw(9);
  NoiseStream parts(context, 9);
  TensorList list;
  for (const int64_t count : {1, 4, 2, 2}) list.push_back(parts.draw(count));
  EXPECT_TRUE(at::cat(list).equal(whole));
  EXPECT_TRUE(NoiseStream(context, 2).draw(2).equal(whole.narrow(0, 0, 2)));
  Context other = n.context("1");
  other.seed = 1;
  EXPECT_FALSE(NoiseStream(other, 9).draw(9).equal(whole));
}

// What one call of LibTorch's generator gives, where the numbers fill whole blocks.
TEST(NoiseStream, HasTheNumbersOfOneDraw) {
  const Explainer n = small_network(Random(2).normal({1, 3, 8, 8}));
  Context context = n.context("1");
  context.seed = 5;
  at::Generator generator = at::detail::createCPUGenerator(5);
  const Tensor expected = at::randn({7, 3, 8, 8}, generator, at::TensorOptions(at::kDouble));
  NoiseStream stream(context, 7);
  EXPECT_TRUE(at::cat({stream.draw(3), stream.draw(4)}).equal(expected));
}

// 20000 numbers: the mean has a standard error of 0.0071, the variance of 0.01; four of each.
TEST(NoiseStream, IsStandardNormal) {
  const Explainer n = small_network(Random(2).normal({1, 3, 8, 8}));
  const Tensor z = NoiseStream(n.context("1"), 105).draw(105);
  EXPECT_NEAR(z.mean().item<double>(), 0, 0.029);
  EXPECT_NEAR(z.var().item<double>(), 1, 0.04);
}

TEST(NoiseStream, RefusesInjectedNoiseOfAnotherShape) {
  const Explainer n = small_network(Random(2).normal({1, 3, 8, 8}));
  Context context = n.context("1");
  context.injected_noise = at::zeros({2, 3, 8, 8}, at::kDouble);
  expect_error(ErrorKind::kUsage, "injected noise has shape [2,3,8,8]; [3, shape of one image] was expected",
               [&] { attribute(MethodCall::parse("smooth(grad-cam):samples=3"), context); });
}

TEST(RunningMoments, MeanAndVarianceOfAList) {
  const Tensor x = Random(4).normal({11, 6}) + 1e6;  // where E[x^2] - E[x]^2 would lose six digits
  RunningMoments moments;
  for (int64_t i = 0; i < 11; ++i) moments.add(x[i]);
  EXPECT_TRUE(within(moments.mean(), x.mean(0), {1e-14, 1e-14}));
  EXPECT_TRUE(within(moments.variance(), x.var({0}, /*unbiased=*/false, false), {1e-9, 1e-9}));
}

// SmoothGrad and its moments are special cases.
TEST(Smooth, OfSaliencyIsSmoothGrad) {
  const Explainer n = small_network(Random(3).normal({2, 3, 9, 10}));
  const auto same = [&](const std::string& a, const std::string& b) {
    EXPECT_TRUE(within(n.explain(a, "1").values, n.explain(b, "1").values, kExact)) << a;
  };
  same("smooth(saliency):samples=7", "smoothgrad:samples=7");
  same("smooth(gradient):samples=7,noise=0.3", "smoothgrad:samples=7,noise=0.3");
  same("smooth(gradient):samples=7,moment=squared", "smoothgrad-squared:samples=7");
  same("smooth(gradient):samples=7,moment=variance", "vargrad:samples=7");
  EXPECT_TRUE(
      within(n.explain("smooth(saliency):samples=7", "1").map, n.explain("smoothgrad:samples=7", "1").map, kExact));
  EXPECT_TRUE(within(n.explain("smooth(gradient):samples=7,moment=variance", "1").map,
                     n.explain("vargrad:samples=7", "1").map, kExact));
}

// A literal second implementation: noisy pictures made here, explained one by one, raw maps averaged, then rectified.
TEST(Smooth, AveragesRawMapsOfNoisyPictures) {
  const Tensor x = Random(3).normal({2, 3, 9, 10}), noise = Random(4).normal({5, 3, 9, 10});
  const Graph graph = random_network(Family::kPlain, 1);
  const Explainer n(graph, x);
  Context context = n.context("1", {"map"});
  context.injected_noise = noise;
  for (const int64_t i : {0, 1}) {
    TensorList raw;
    for (int64_t k = 0; k < 5; ++k) {
      const Tensor copy = x[i] + noise[k] * ((x[i].max() - x[i].min()) * 0.2);
      raw.push_back(Explainer(graph, copy.unsqueeze(0)).explain("grad-cam", "1", {"map"}).values[0]);
    }
    const Tensor list = at::stack(raw);
    const auto smooth = [&](const std::string& moment) {
      return attribute(MethodCall::parse("smooth(grad-cam):samples=5,noise=0.2,moment=" + moment), context);
    };
    const Tensor mean = list.mean(0);
    EXPECT_TRUE(within(smooth("mean").values[i], mean, kExact));
    EXPECT_TRUE(within(smooth("mean").map[i], upsample_map(at::relu(mean).unsqueeze(0), 9, 10)[0], kExact));
    EXPECT_TRUE(within(smooth("squared").values[i], list.square().mean(0), kExact));
    EXPECT_TRUE(within(smooth("variance").values[i], list.var({0}, false, false), kExact));
  }
}

TEST(Smooth, ForwardsTheParametersInside) {
  const Explainer n = small_network(Random(3).normal({1, 3, 9, 10}));
  EXPECT_TRUE(within(n.explain("smooth(integrated-gradients:steps=3,rule=left):samples=1,noise=0", "1").values,
                     n.explain("integrated-gradients:steps=3,rule=left", "1").values, kExact));
  EXPECT_FALSE(within(n.explain("smooth(integrated-gradients:steps=3,rule=left):samples=1,noise=0", "1").values,
                      n.explain("integrated-gradients:steps=3,rule=right", "1").values, {1e-6, 1e-6}));
}

TEST(Smooth, KeepsTheMapOfEachLayer) {
  const Explainer n = small_network(Random(3).normal({1, 3, 9, 10}));
  const Attribution one = n.explain("grad-cam", "1", {"r1", "map"});
  const Attribution a = n.explain("smooth(grad-cam):samples=1,noise=0", "1", {"r1", "map"});
  ASSERT_EQ(a.layer_values.size(), 2u);
  for (const auto& [layer, raw] : one.layer_values) EXPECT_TRUE(within(a.layer_values.at(layer), raw, kExact));
  EXPECT_TRUE(within(a.map, one.map, kExact));
}

class Steps : public Progress {
 public:
  void report(double done, double total, const std::string&) override {
    shares.push_back(done / total);
    if (shares.size() == stop_after) cancel();
    check();
  }
  std::vector<double> shares;
  size_t stop_after = 0;
};

TEST(Smooth, ReportsOneRisingProgressAndStops) {
  const Explainer n = small_network(Random(3).normal({1, 3, 9, 10}));
  for (const std::string method : {"smooth(integrated-gradients:steps=40):samples=4", "smooth-grad-cam++:samples=40"}) {
    Context context = n.context("1", {"map"});
    Steps steps;
    context.progress = &steps;
    attribute(MethodCall::parse(method), context);
    EXPECT_GE(steps.shares.size(), 3u) << method;
    EXPECT_TRUE(std::is_sorted(steps.shares.begin(), steps.shares.end())) << method;
    EXPECT_EQ(steps.shares.back(), 1) << method;
    Steps stopped;
    stopped.stop_after = 2;
    context.progress = &stopped;
    expect_error(ErrorKind::kInterrupted, "interrupted", [&] { attribute(MethodCall::parse(method), context); });
    EXPECT_EQ(stopped.shares.size(), 2u) << method;
  }
}

TEST(SmoothText, RoundTripsAndSplits) {
  for (const char* text : {"smooth(grad-cam)", "smooth(grad-cam):samples=20,noise=0.1",
                           "smooth(integrated-gradients:steps=10,baseline=blur:5):samples=3,moment=variance"}) {
    EXPECT_EQ(MethodCall::parse(MethodCall::parse(text).text()).text(), text);
    ASSERT_EQ(parse_methods(text).size(), 1u);
    const auto three = parse_methods("gradient," + std::string(text) + ",eigen-cam:centered=true");
    ASSERT_EQ(three.size(), 3u);
    EXPECT_EQ(three[1].text(), text);
    EXPECT_EQ(three[2].text(), "eigen-cam:centered=true");
  }
  // A parameter after the parenthesis belongs to smooth, with or without a colon of its own.
  EXPECT_EQ(parse_methods("smooth(smoothgrad:samples=2),samples=3")[0].text(),
            "smooth(smoothgrad:samples=2):samples=3");
  EXPECT_EQ(smooth_params().size(), 3u);
}

TEST(SmoothText, RefusesWhatItCannotRead) {
  const auto refuse = [](const std::string& text, const std::string& message) {
    expect_error(ErrorKind::kUsage, message, [&] { MethodCall::parse(text); });
  };
  const std::string form = "; smooth(METHOD) is the only form with parentheses, and does not go inside itself";
  refuse("blur(grad-cam)", "no method 'blur(grad-cam)'" + form);
  refuse("smooth(grad-cam", "no method 'smooth(grad-cam'" + form);
  refuse("smooth(smooth(grad-cam))", "no method 'smooth(smooth(grad-cam))'" + form);
  refuse("smooth()", "no method '' ('pellucid methods' lists all)");
  refuse("smooth(gradcam)",
         "no method 'gradcam'; did you mean 'grad-cam', 'xgrad-cam' or 'cam'? ('pellucid methods' lists all)");
  refuse("smooth(grad-cam):samples=0",
         "smooth(grad-cam): samples is '0'; it must be an integer between 1 and 100000 (default 50)");
}

// Memory does not grow with the copies: nothing of one copy is kept but the running mean. 100000 copies of this picture
// would be 15 GB of noise at once; the stream is stopped after two of them.
TEST(Smooth, DrawsNoiseAsItGoes) {
  const Explainer n = small_network(Random(3).normal({1, 3, 80, 80}));
  for (const char* method :
       {"smooth(gradient):samples=100000", "smoothgrad:samples=100000", "smooth-grad-cam++:samples=100000"}) {
    Context context = n.context("1", {"map"});
    Steps stopped;
    stopped.stop_after = 2;
    context.progress = &stopped;
    expect_error(ErrorKind::kInterrupted, "interrupted", [&] { attribute(MethodCall::parse(method), context); });
  }
}

// The budget decides how many pictures one recorded pass takes.
TEST(GradientRows, FollowTheMemoryBudget) {
  const Explainer n = small_network(Random(3).normal({1, 3, 16, 16}));
  Context context = n.context("1");
  const std::vector<ValueId> input{input_value(context)};
  context.batch_size = 16;
  EXPECT_EQ(gradient_rows(context, input), 16);
  context.memory_budget = 1;
  EXPECT_EQ(gradient_rows(context, input), 1);
  // c1 keeps 6 * 16 * 16 numbers, the pooled map 6 * 7 * 7, c2 8 * 7 * 7, its mean and c3 8 * 6 * 6, then 8 and 4. Most
  // is alive at c1: twice what it reads and writes, and 27 numbers for each of 256 windows. Then six pictures; 8 bytes
  // each.
  const int64_t record = 6 * 256 + 6 * 49 + 8 * 49 + 2 * 8 * 36 + 8 + 4 + 1;
  const int64_t kept = record + 2 * (3 * 256 + 6 * 256) + 27 * 256 + 6 * 3 * 256;
  context.memory_budget = 5 * 8 * kept;
  EXPECT_EQ(gradient_rows(context, input), 5);
  context.memory_budget -= 8;
  EXPECT_EQ(gradient_rows(context, input), 4);
  const Tensor few = attribute(MethodCall::parse("integrated-gradients:steps=9"), context).values;
  context.memory_budget = 1;
  EXPECT_TRUE(within(attribute(MethodCall::parse("integrated-gradients:steps=9"), context).values, few, kExact));
}

// The standard errors of the first copy are not those of the mean.
TEST(Smooth, LeavesOutWhatBelongsToOneCopy) {
  const Explainer n = small_network(Random(3).normal({1, 3, 9, 10}));
  EXPECT_FALSE(n.explain("rise:samples=4,grid=2", "1").extra.empty());
  EXPECT_TRUE(n.explain("smooth(rise:samples=4,grid=2):samples=2", "1").extra.empty());
}

}  // namespace
}  // namespace pellucid::test
