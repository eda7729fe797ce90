// Integrated Gradients: (x - b) times the mean gradient on the straight path from b to x.
//   Sundararajan, Taly, Yan. "Axiomatic Attribution for Deep Networks". ICML 2017, eq. 1 and 3.
// Gauss-Legendre nodes as Captum's default.

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/path.h"

namespace pellucid {

template <class V>
void describe(V& visit, IntegratedGradientsParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Points on the path from baseline to input.");
  visit("rule", p.rule, one_of(quadrature_rules()), "Quadrature.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the path starts.");
  visit("adaptive", p.adaptive, Flag{},
        "Double the steps, up to 1024, until the completeness gap is below 1 % of the difference of scores.");
}

Tensor path_integral(const Context& context, const StraightPath& path, const Quadrature& q) {
  const Tensor difference = path.to - path.from;
  const auto n = static_cast<int64_t>(q.nodes.size());
  const int64_t step = gradient_rows(context, {path.wrt});
  Tensor sum;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t count = std::min(step, n - begin);
    TensorList points;
    for (int64_t k = 0; k < count; ++k) {
      points.push_back(path.from + difference * q.nodes[static_cast<size_t>(begin + k)]);
    }
    GradientRequest request{
        at::stack(points), std::vector<int64_t>(static_cast<size_t>(count), path.image), {path.wrt}, {}};
    request.at = path.at;
    if (path.beside.defined()) {
      Shape rows = path.beside.sizes().vec();
      rows.insert(rows.begin(), count);
      request.beside = path.beside.unsqueeze(0).expand(rows);
    }
    const Tensor g = gradients(context, request).gradients.at(path.wrt).to(at::kCPU).to(at::kDouble);
    if (!sum.defined()) sum = at::zeros(g.sizes().slice(1), at::kDouble);
    for (int64_t k = 0; k < count; ++k) sum.add_(g[k], q.weights[static_cast<size_t>(begin + k)]);
    if (context.progress) {
      context.progress->report(path.done + static_cast<double>(begin + count),
                               path.total > 0 ? path.total : static_cast<double>(n), "points on the path");
    }
  }
  return sum;
}

void write_completeness(const Completeness& c, std::map<std::string, double>& diagnostics) {
  diagnostics["convergence_delta"] = c.delta;
  diagnostics["score_difference"] = c.difference;
  diagnostics["attribution_sum"] = c.difference + c.delta;
  diagnostics["relative_gap"] = c.difference != 0 ? std::abs(c.delta / c.difference) : std::abs(c.delta);
}

Tensor scores_at(const Context& context, const Tensor& batch) {
  return scores(context, batch, all_rows(context)).to(at::kCPU).to(at::kDouble);
}

InputIntegral integrate_from_baselines(const Context& context, const std::string& owner,
                                       const IntegratedGradientsParams& p) {
  const std::vector<Tensor> starts = baselines(context, owner, p.baseline);
  const int64_t images = num_images(context);
  const Tensor at_input = scores_at(context, context.input);
  TensorList at_start;
  for (const Tensor& b : starts) at_start.push_back(scores_at(context, b));

  InputIntegral result;
  result.diagnostics.resize(static_cast<size_t>(images));
  TensorList values;
  const double share = 1.0 / static_cast<double>(starts.size());
  const auto paths = static_cast<double>(images) * static_cast<double>(starts.size());
  for (int64_t i = 0; i < images; ++i) {
    const Tensor x = context.input[i];
    Tensor total = at::zeros(x.sizes(), at::kDouble);
    Completeness complete;
    int64_t steps = p.steps, passes = 0;
    for (size_t s = 0; s < starts.size(); ++s) {
      StraightPath path{i, starts[s][i], x, input_value(context), input_value(context)};
      const double delta_score = at_input[i].item<double>() - at_start[s][i].item<double>();
      Tensor ig;
      double delta = 0;
      for (steps = p.steps;; steps = std::min<int64_t>(1024, steps * 2)) {
        path.done = static_cast<double>(steps) *
                    static_cast<double>(i * static_cast<int64_t>(starts.size()) + static_cast<int64_t>(s));
        path.total = static_cast<double>(steps) * paths;
        ig = (path.to - path.from).to(at::kCPU).to(at::kDouble) *
             path_integral(context, path, quadrature(p.rule, steps));
        passes += steps;
        delta = ig.sum().item<double>() - delta_score;
        if (!p.adaptive || steps >= 1024 || std::abs(delta) <= std::max(0.01 * std::abs(delta_score), 1e-3)) break;
      }
      total.add_(ig, share);
      complete.delta += delta * share;
      complete.difference += delta_score * share;
    }
    values.push_back(total);
    auto& d = result.diagnostics[static_cast<size_t>(i)];
    write_completeness(complete, d);
    d["steps"] = static_cast<double>(steps);
    d["passes"] = static_cast<double>(passes);
  }
  result.values = at::stack(values);
  return result;
}

namespace {

Attribution integrated_gradients(const Context& context, const IntegratedGradientsParams& p) {
  InputIntegral found = integrate_from_baselines(context, "integrated-gradients", p);
  Attribution a = input_attribution(context, found.values.to(context.network.dtype()), Reduction::kSum);
  a.diagnostics = std::move(found.diagnostics);
  return a;
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
