#include "pellucid/priors.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/network.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

Tensor normal(const Shape& shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat));
}

DenoiserOptions small_denoiser(std::vector<int64_t> widths) {
  DenoiserOptions options;
  options.widths = std::move(widths);
  options.channels = 1;
  return options;
}

TEST(Denoiser, ChangesNothingBeforeItIsTrained) {
  const Network network(make_denoiser(small_denoiser({4, 6, 8})));
  const Tensor x = normal({2, 1, 16, 24}, 1);
  EXPECT_TRUE(network.run(x)[0].equal(x));
  expect_error(ErrorKind::kUsage, "denoiser: at least one size and one channel are needed",
               [] { make_denoiser(small_denoiser({})); });
}

// Of independent normal numbers of variance s^2 with noise of variance n^2, the best estimate is x s^2 / (s^2 + n^2).
TEST(Denoiser, FindsTheLinearOptimumOfNormalNumbers) {
  constexpr double kDeviation = 0.2, kNoise = 0.1;
  Learner learner(make_denoiser(small_denoiser({8})), prior_learner_options());
  StepsOptions steps;
  steps.steps = 300;
  steps.rate = 0.02;
  train_steps(learner, steps, [&](int64_t step) {
    const auto seed = static_cast<uint64_t>(2 * step + 10);
    return denoising_loss(learner, kDeviation * normal({4, 1, 16, 16}, seed),
                          kNoise * normal({4, 1, 16, 16}, seed + 1));
  });
  const Tensor x = std::sqrt(kDeviation * kDeviation + kNoise * kNoise) * normal({4, 1, 16, 16}, 3);
  const Tensor best = x * (kDeviation * kDeviation / (kDeviation * kDeviation + kNoise * kNoise));
  EXPECT_LT(difference(Network(learner.graph()).run(x)[0], best).rel_l2, 0.05);
}

TEST(Generator, EnlargesItsCodeAndStaysInDisplayRange) {
  GeneratorOptions options;
  options.code = {5, 2, 3};
  options.widths = {6, 4, 3};
  const Network network(make_generator(options));
  const Tensor picture = network.run(3 * normal({2, 5, 2, 3}, 4))[0];
  EXPECT_EQ(picture.sizes().vec(), (Shape{2, 3, 16, 24}));
  EXPECT_GT(picture.min().item<float>(), 0);
  EXPECT_LT(picture.max().item<float>(), 1);
  EXPECT_GT(picture.std().item<float>(), 0.01);
  options.code = {5};
  expect_error(ErrorKind::kUsage, "generator: a code [C,h,w] and at least one size are needed",
               [&] { make_generator(options); });
}

TEST(Steps, WarmUpAndCoolDown) {
  EXPECT_DOUBLE_EQ(warmed_cosine(2, 0, 100), 0.4);
  EXPECT_DOUBLE_EQ(warmed_cosine(2, 4, 100), 2);
  EXPECT_DOUBLE_EQ(warmed_cosine(2, 5, 100), 2);
  EXPECT_NEAR(warmed_cosine(2, 52, 100), 1 + std::cos(M_PI * 47 / 95), 1e-12);
  EXPECT_LT(warmed_cosine(2, 99, 100), 1e-3);
}

// An interrupted run ends with the weights of one that was not, and factors of enlargement are never touched.
TEST(Steps, GoOnFromTheCheckpoint) {
  const TemporaryFolder folder;
  const auto loss_of = [](Learner& learner, int64_t breaks_at) {
    return [&learner, breaks_at](int64_t step) {
      if (step == breaks_at) throw_failed("power cut");
      const auto seed = static_cast<uint64_t>(step);
      return denoising_loss(learner, normal({1, 1, 8, 8}, seed), normal({1, 1, 8, 8}, seed + 100));
    };
  };
  const auto fresh = [] {
    return std::make_unique<Learner>(make_denoiser(small_denoiser({3, 4})), prior_learner_options());
  };
  StepsOptions steps;
  steps.steps = 7;
  steps.report_every = 3;
  const auto whole = fresh();
  std::vector<int64_t> reported;
  EXPECT_EQ(train_steps(*whole, steps, loss_of(*whole, -1), [&](const StepsReport& r) { reported.push_back(r.step); }),
            0);
  EXPECT_EQ(reported, (std::vector<int64_t>{3, 6, 7}));
  steps.checkpoint = folder.file("x.checkpoint");
  const auto broken = fresh(), mended = fresh();
  EXPECT_THROW(train_steps(*broken, steps, loss_of(*broken, 5)), Error);
  EXPECT_EQ(train_steps(*mended, steps, loss_of(*mended, -1)), 3);
  const Graph expected = whole->graph(), graph = mended->graph();
  for (const Value& v : expected.values()) {
    if (!v.constant.defined()) continue;
    EXPECT_TRUE(v.constant.equal(graph.value(graph.find(v.name)).constant)) << v.name;
    if (v.name.find(".scales") != std::string::npos) {
      EXPECT_EQ(v.constant[3].item<float>(), 2);
    }
  }
}

}  // namespace
}  // namespace pellucid::test
