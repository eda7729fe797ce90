// Integrated Gradients: (x - b) times the mean gradient on the straight path from b to x.
//   Sundararajan, Taly, Yan. "Axiomatic Attribution for Deep Networks". ICML 2017, eq. 1 and 3.
// Gauss-Legendre nodes as Captum's default.

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/method.h"

namespace pellucid {

namespace {

struct IntegratedGradientsParams {
  int64_t steps = 50;
  std::string rule = "gauss-legendre";
  std::string baseline = "black";
  bool adaptive = false;
};

template <class V>
void describe(V& visit, IntegratedGradientsParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Points on the path from baseline to input.");
  visit("rule", p.rule, one_of({"gauss-legendre", "midpoint", "trapezoid", "left", "right"}), "Quadrature.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the path starts.");
  visit("adaptive", p.adaptive, Flag{},
        "Double the steps, up to 1024, until the completeness gap is below 1 % of the difference of scores.");
}

struct Quadrature {
  std::vector<double> nodes, weights;  ///< On [0,1]; the weights sum to 1.
};

/// Newton's method on the Legendre polynomial P_n, from Chebyshev-like starts.
Quadrature gauss_legendre(int64_t n) {
  Quadrature q;
  q.nodes.resize(static_cast<size_t>(n));
  q.weights.resize(static_cast<size_t>(n));
  const auto count = static_cast<double>(n);
  for (int64_t m = 0; m < n; ++m) {
    double x = std::cos(M_PI * (static_cast<double>(m) + 0.75) / (count + 0.5));
    double derivative = 1;
    for (int iteration = 0; iteration < 100; ++iteration) {
      double p0 = 1, p1 = x;
      for (int64_t k = 2; k <= n; ++k) {
        const auto kd = static_cast<double>(k);
        const double p2 = ((2 * kd - 1) * x * p1 - (kd - 1) * p0) / kd;
        p0 = p1;
        p1 = p2;
      }
      derivative = n == 1 ? 1.0 : count * (x * p1 - p0) / (x * x - 1);
      const double step = p1 / derivative;
      x -= step;
      if (std::abs(step) < 1e-16) break;
    }
    const auto at = static_cast<size_t>(n - 1 - m);
    q.nodes[at] = (1 + x) / 2;
    q.weights[at] = 1 / ((1 - x * x) * derivative * derivative);
  }
  return q;
}

Quadrature quadrature(const std::string& rule, int64_t n) {
  if (rule == "gauss-legendre") return gauss_legendre(n);
  Quadrature q;
  const auto count = static_cast<double>(n);
  for (int64_t m = 0; m < n; ++m) {
    const auto i = static_cast<double>(m);
    if (rule == "trapezoid") {
      q.nodes.push_back(n == 1 ? 0.5 : i / (count - 1));
      q.weights.push_back(n == 1 ? 1.0 : (m == 0 || m == n - 1 ? 0.5 : 1.0) / (count - 1));
    } else {
      q.nodes.push_back((i + (rule == "midpoint" ? 0.5 : rule == "right" ? 1.0 : 0.0)) / count);
      q.weights.push_back(1 / count);
    }
  }
  return q;
}

/// The path integral of the gradient for one image, float64.
Tensor path_integral(const Context& context, int64_t image, const Tensor& x, const Tensor& b, const Quadrature& q) {
  const ValueId input = input_value(context);
  const Tensor difference = x - b;
  Tensor sum = at::zeros(x.sizes(), at::kDouble);
  const auto n = static_cast<int64_t>(q.nodes.size());
  for (int64_t begin = 0; begin < n; begin += context.batch_size) {
    const int64_t count = std::min(context.batch_size, n - begin);
    TensorList points;
    for (int64_t k = 0; k < count; ++k) points.push_back(b + difference * q.nodes[static_cast<size_t>(begin + k)]);
    const Tensor g =
        gradients(context, {at::stack(points), std::vector<int64_t>(static_cast<size_t>(count), image), {input}, {}})
            .gradients.at(input)
            .to(at::kCPU)
            .to(at::kDouble);
    for (int64_t k = 0; k < count; ++k) sum.add_(g[k], q.weights[static_cast<size_t>(begin + k)]);
    if (context.progress) {
      context.progress->report(static_cast<double>(begin + count), static_cast<double>(n), "points on the path");
    }
  }
  return sum;
}

Attribution integrated_gradients(const Context& context, const IntegratedGradientsParams& p) {
  const std::vector<Tensor> starts = baselines(context, "integrated-gradients", p.baseline);
  const int64_t images = num_images(context);
  const std::vector<int64_t> rows = all_rows(context);
  const Tensor at_input = scores(context, context.input, rows).to(at::kCPU).to(at::kDouble);
  TensorList at_start;
  for (const Tensor& b : starts) at_start.push_back(scores(context, b, rows).to(at::kCPU).to(at::kDouble));

  Attribution a;
  a.diagnostics.resize(static_cast<size_t>(images));
  TensorList values;
  for (int64_t i = 0; i < images; ++i) {
    const Tensor x = context.input[i];
    Tensor total = at::zeros(x.sizes(), at::kDouble);
    double gap = 0, difference = 0;
    int64_t steps = p.steps, passes = 0;
    for (size_t s = 0; s < starts.size(); ++s) {
      const Tensor b = starts[s][i];
      const double delta_score = at_input[i].item<double>() - at_start[s][i].item<double>();
      Tensor ig;
      double delta = 0;
      for (steps = p.steps;; steps = std::min<int64_t>(1024, steps * 2)) {
        ig = (x - b).to(at::kCPU).to(at::kDouble) * path_integral(context, i, x, b, quadrature(p.rule, steps));
        passes += steps;
        delta = ig.sum().item<double>() - delta_score;
        if (!p.adaptive || steps >= 1024 || std::abs(delta) <= std::max(0.01 * std::abs(delta_score), 1e-3)) break;
      }
      const double share = 1.0 / static_cast<double>(starts.size());
      total.add_(ig, share);
      gap += delta * share;
      difference += delta_score * share;
    }
    values.push_back(total);
    auto& d = a.diagnostics[static_cast<size_t>(i)];
    d["convergence_delta"] = gap;
    d["score_difference"] = difference;
    d["relative_gap"] = difference != 0 ? std::abs(gap / difference) : std::abs(gap);
    d["steps"] = static_cast<double>(steps);
    d["passes"] = static_cast<double>(passes);
  }
  Attribution reduced = input_attribution(context, at::stack(values).to(context.network.dtype()), Reduction::kSum);
  reduced.diagnostics = std::move(a.diagnostics);
  return reduced;
}

}  // namespace

Method integrated_gradients_method() {
  return make_method<IntegratedGradientsParams>(
      "integrated-gradients", "Integrated Gradients", "gradient",
      "Gradient integrated on the straight path from a baseline; sums to the difference of scores.",
      papers::kSundararajan2017, kNeedsTarget | kNeedsBaseline | kNeedsGradient, kComplete | kScalesWithLogit,
      integrated_gradients);
}

}  // namespace pellucid
