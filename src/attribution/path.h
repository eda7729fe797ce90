#pragma once

// What the methods share that add up gradients on the way from a baseline to the picture.

#include "attribution/method.h"
#include "attribution/quadrature.h"

namespace pellucid {

/// A straight path of one value of the network, for the target of one image.
struct StraightPath {
  int64_t image = 0;
  Tensor from, to;        ///< Both ends, of the shape that one image has at `at`.
  ValueId at = kNoValue;  ///< The value that moves.
  ValueId wrt = kNoValue;
  Tensor beside = {};          ///< With `at` inside: the picture [...] for the branches that do not come from there.
  double done = 0, total = 0;  ///< Progress when the path is part of more work, in points.
};

/// sum_m w_m dS/d(wrt) at from + a_m (to - from), float64 on the CPU, [...]. In passes of `gradient_rows`; one pass is
/// held at a time.
Tensor path_integral(const Context& context, const StraightPath& path, const Quadrature& q);

/// How far an attribution's sum is from the difference of scores that it should explain.
struct Completeness {
  double delta = 0;       ///< Sum of the attribution less the difference.
  double difference = 0;  ///< Score of the picture less that of the baseline.
};
/// Adds convergence_delta, score_difference, attribution_sum and relative_gap.
void write_completeness(const Completeness& c, std::map<std::string, double>& diagnostics);

/// S of each image of a batch in the model domain, float64 [N] on the CPU, for the target of each image.
Tensor scores_at(const Context& context, const Tensor& batch);

struct IntegratedGradientsParams {
  int64_t steps = 50;
  std::string rule = "gauss-legendre";
  std::string baseline = "black";
  bool adaptive = false;
};
/// Integrated Gradients averaged over the baselines, float64 in the input's shape, with its diagnostics. `owner` names
/// the method in errors.
struct InputIntegral {
  Tensor values;
  std::vector<std::map<std::string, double>> diagnostics;
};
InputIntegral integrate_from_baselines(const Context& context, const std::string& owner,
                                       const IntegratedGradientsParams& p);

}  // namespace pellucid
