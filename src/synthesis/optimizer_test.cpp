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

using Function = std::function<LossAndGradients(const Tensor&)>;

struct Course {
  Tensor end;
  double loss = 0;
  int evaluations = 0;
};

Course minimize(const std::string& text, const Function& function, const Tensor& start, int64_t steps) {
  const Studio studio(test::identity_graph(), 4);
  const auto optimizer = studio.optimizer(text);
  TensorList variables{start.clone()};
  Course course;
  for (int64_t t = 0; t < steps; ++t) {
    const LossAndGradients here = function(variables[0]);
    optimizer->step(variables, here, {t, t, steps, 0}, [&](const TensorList& elsewhere) {
      ++course.evaluations;
      return function(elsewhere[0]);
    });
  }
  course.end = variables[0];
  course.loss = function(course.end).loss;
  return course;
}

/// By autograd.
Function of(const std::function<Tensor(const Tensor&)>& loss) {
  return [loss](const Tensor& x) {
    const at::AutoGradMode record(true);
    const Tensor leaf = x.detach().clone().requires_grad_(true);
    const Tensor value = loss(leaf);
    value.backward();
    return LossAndGradients{value.item<double>(), {leaf.grad().clone()}};
  };
}

// x^t A x / 2 - b x with eigenvalues from 1 to 1000; the minimum is A^-1 b.
TEST(Lbfgs, SolvesAQuadratic) {
  Random random(1);
  const Tensor q = std::get<0>(at::linalg_qr(random.normal({50, 50})));
  const Tensor eigenvalues = at::pow(10.0, at::linspace(0, 3, 50, at::kDouble));
  const Tensor a = at::matmul(q * eigenvalues, q.t());
  const Tensor b = random.normal({50, 1});
  const Function f = of([&](const Tensor& x) {
    const Tensor v = x.view({50, 1});
    return (v * at::matmul(a, v)).sum() / 2 - (b * v).sum();
  });
  const Course course = minimize("lbfgs", f, at::zeros({1, 50}, at::kDouble), 130);
  EXPECT_TRUE(within(course.end.view({50, 1}), at::matmul(at::inverse(a), b), {1e-7, 1e-7}));
  EXPECT_LE(course.evaluations, 130 * 1.3);
}

TEST(Lbfgs, SolvesAGentleQuadraticInFewSteps) {
  Random random(2);
  const Tensor scale = at::linspace(1, 10, 50, at::kDouble), goal = random.normal({50});
  const Function f = of([&](const Tensor& x) { return (scale * (x.flatten() - goal).square()).sum(); });
  EXPECT_TRUE(within(minimize("lbfgs", f, at::zeros({1, 50}, at::kDouble), 60).end.flatten(), goal, {1e-8, 1e-8}));
}

TEST(Lbfgs, FollowsRosenbrocksValley) {
  const Function f = of([](const Tensor& x) {
    const Tensor a = x.flatten()[0], b = x.flatten()[1];
    return 100 * (b - a * a).square() + (1 - a).square();
  });
  EXPECT_LT(minimize("lbfgs", f, doubles({-1.2, 1}, {1, 2}), 60).loss, 1e-8);
}

// |x x^t - G|^2, as texture has it: without a line search the first steps diverge.
TEST(Lbfgs, MatchesGramMatrices) {
  Random random(3);
  const Tensor goal = random.normal({6, 40});
  const Tensor gram = at::matmul(goal, goal.t()) / 40;
  const Function f = of([&](const Tensor& x) {
    const Tensor v = x.view({6, 40});
    return (at::matmul(v, v.t()) / 40 - gram).square().sum();
  });
  const Tensor start = random.normal({1, 240}) * 3;
  const Course course = minimize("lbfgs", f, start, 60);
  EXPECT_LT(course.loss, 1e-8 * f(start).loss);
}

// The least of x^t A x / 2 - b x in a box: where a variable is inside, its gradient is 0; at a bound it points outward.
TEST(Lbfgs, FindsTheLeastWithinBounds) {
  Random random(4);
  const Tensor q = std::get<0>(at::linalg_qr(random.normal({30, 30})));
  const Tensor a = at::matmul(q * at::pow(10.0, at::linspace(0, 2, 30, at::kDouble)), q.t());
  const Tensor b = 20 * random.normal({30, 1});
  const Function f = of([&](const Tensor& x) {
    const Tensor v = x.view({30, 1});
    return (v * at::matmul(a, v)).sum() / 2 - (b * v).sum();
  });
  const Studio studio(test::identity_graph(), 4);
  const auto optimizer = studio.optimizer("lbfgs:history=20");
  optimizer->keep_within({{at::full({1, 1}, -0.5, at::kDouble)}, {at::full({1, 1}, 0.25, at::kDouble)}});
  TensorList variables{at::zeros({1, 30}, at::kDouble)};
  for (int64_t t = 0; t < 150; ++t) {
    optimizer->step(variables, f(variables[0]), {t, t, 150, 0}, [&](const TensorList& elsewhere) {
      EXPECT_GE(elsewhere[0].min().item<double>(), -0.5);
      EXPECT_LE(elsewhere[0].max().item<double>(), 0.25);
      return f(elsewhere[0]);
    });
  }
  const Tensor x = variables[0].flatten(), g = f(variables[0]).gradients[0].flatten();
  int64_t low = 0, high = 0, inside = 0;
  for (int64_t i = 0; i < 30; ++i) {
    const double value = x[i].item<double>(), slope = g[i].item<double>();
    if (value == -0.5) {
      EXPECT_GE(slope, 0) << i;
      ++low;
    } else if (value == 0.25) {
      EXPECT_LE(slope, 0) << i;
      ++high;
    } else {
      EXPECT_NEAR(slope, 0, 1e-6) << i;
      ++inside;
    }
  }
  EXPECT_GT(low, 2);
  EXPECT_GT(high, 2);
  EXPECT_GT(inside, 2);
}

TEST(Ascent, GoesDownTheGradientWithMomentum) {
  const Function f = [](const Tensor& x) { return LossAndGradients{0, {at::ones_like(x)}}; };
  const Tensor zero = at::zeros({1, 2}, at::kDouble);
  EXPECT_TRUE(within(minimize("ascent:rate=2", f, zero, 3).end, zero - 6, {1e-12, 1e-12}));
  // Rates 4, 3, 2.
  EXPECT_TRUE(within(minimize("ascent:rate=4,rate_end=2", f, zero, 3).end, zero - 9, {1e-12, 1e-12}));
  // Velocities 1, 1.5, 1.75.
  EXPECT_TRUE(within(minimize("ascent:rate=1,momentum=0.5", f, zero, 3).end, zero - 4.25, {1e-12, 1e-12}));
}

// On a linear function each step gains just what was asked for, unless the rate is smaller.
TEST(Ascent, GainsWhatIsAskedFor) {
  const Tensor w = doubles({3, 4, 30, 40}, {2, 2});
  const Function f = [&](const Tensor& x) { return LossAndGradients{(x * w).sum().item<double>(), {w}}; };
  const Tensor end = minimize("ascent:rate=1e6,gain=2", f, at::zeros({2, 2}, at::kDouble), 5).end;
  EXPECT_TRUE(within((end * w).sum(1), doubles({-10, -10}, {2}), {1e-9, 1e-9}));
  const Tensor capped = minimize("ascent:rate=0.01,gain=2", f, at::zeros({2, 2}, at::kDouble), 1).end;
  EXPECT_TRUE(within(capped[0], w[0] * -0.01, {1e-9, 1e-9}));
}

// Kingma and Ba: with a constant gradient every step has the length of the rate, whatever the gradient's.
// Langevin's noise: of the stated deviation, new in every step, the same again for the same seed and step, and for the
// first pictures of any batch.
TEST(Ascent, AddsNoiseOfTheStatedDeviation) {
  const Studio studio(test::identity_graph(), 4);
  const auto moved = [&](int64_t batch, int64_t step, uint64_t seed) {
    TensorList variables{at::zeros({batch, 3, 100}, at::kDouble), at::zeros({batch, 20000}, at::kDouble)};
    LossAndGradients here{0, {at::full_like(variables[0], 2), at::zeros_like(variables[1])}};
    studio.optimizer("ascent:rate=3,noise=0.3")->step(variables, here, {step, step, 10, seed}, {});
    return variables;
  };
  const TensorList first = moved(2, 0, 5);
  // Standard errors of the mean are 0.3 / sqrt(600) and 0.3 / sqrt(40000), of the deviation 0.3 / sqrt(80000).
  EXPECT_NEAR(first[0].mean().item<double>(), -6, 0.05);
  EXPECT_NEAR(first[1].mean().item<double>(), 0, 0.006);
  EXPECT_NEAR(first[1].std().item<double>(), 0.3, 0.004);
  EXPECT_TRUE(same_values(moved(2, 0, 5), first));
  EXPECT_TRUE(at::equal(moved(1, 0, 5)[1][0], first[1][0]));
  const Tensor others[] = {first[1][1], moved(2, 1, 5)[1][0], moved(2, 0, 6)[1][0]};
  for (const Tensor& other : others) {
    EXPECT_LT(std::abs((other * first[1][0]).mean().item<double>()), 0.09 * 0.03);
  }
}

TEST(Adam, StepIsTheRateForConstantGradients) {
  const Function f = [](const Tensor& x) { return LossAndGradients{0, {at::full_like(x, 1e-3)}}; };
  const Tensor zero = at::zeros({1, 3}, at::kDouble);
  EXPECT_TRUE(within(minimize("adam:rate=0.05", f, zero, 10).end, zero - 0.5, {1e-4, 1e-4}));
}

// A literal second implementation, with the switch to a tenth of the rate.
TEST(AdaGrad, FollowsItsRule) {
  Random random(4);
  const Tensor start = random.normal({1, 7});
  const Function f = [](const Tensor& x) { return LossAndGradients{0, {2 * x}}; };
  const Tensor end = minimize("adagrad:rate=5,memory=0.8,momentum=0.7,cool=4", f, start, 12).end;
  for (int64_t i = 0; i < 7; ++i) {
    double x = start[0][i].item<double>(), sum = 0, v = 0;
    for (int t = 0; t < 12; ++t) {
      const double g = 2 * x, rate = t >= 8 ? 0.5 : 5;
      sum = 0.8 * sum + g * g;
      if (t == 8) v = 0;
      v = 0.7 * v - g / (1 / rate + std::sqrt(sum));
      x += v;
    }
    EXPECT_NEAR(end[0][i].item<double>(), x, 1e-9);
  }
}

}  // namespace
}  // namespace pellucid
