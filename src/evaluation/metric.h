#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attribution/perturbation.h"
#include "pellucid/metrics.h"

namespace pellucid {

/// What a metric states about itself beside its parameters and its function.
struct MetricText {
  const char* id;
  const char* title;
  const char* family;
  const char* summary;
  const char* assumes;
  const char* cost;
};

/// Builds a table entry from a parameter struct with `describe` and the function that computes the metric. The first
/// score stands for the metric.
template <class P, class F>
Metric make_metric(const MetricText& text, const Paper& paper, unsigned needs, std::vector<ScoreSpec> scores,
                   F function) {
  Metric m;
  m.id = text.id;
  m.title = text.title;
  m.family = text.family;
  m.summary = text.summary;
  m.assumes = text.assumes;
  m.cost = text.cost;
  m.paper = paper;
  m.needs = needs;
  m.better = scores.front().better;
  m.scores = std::move(scores);
  m.params = param_specs<P>();
  const std::string owner = text.id;
  m.run = [owner, function](const MetricContext& context, const ParamMap& given) {
    return function(context, params_from<P>(owner, given));
  };
  m.complete = [owner](const ParamMap& given) { return params_text(params_from<P>(owner, given)); };
  return m;
}

/// The context of the judged picture alone: a batch of one.
Context one_picture(const MetricContext& context);
/// The map as float64 on the CPU, [H,W].
Tensor judged_map(const MetricContext& context);

/// Flat indices of `map`, highest value first. Ties in random order from the seed, or in raster order.
enum class Ties { kRandom, kRaster };
Tensor descending_order(const Tensor& map, Ties ties, uint64_t seed);
Ties ties_from(const std::string& name);
/// Share of the pixels whose value some other pixel has too.
double tied_share(const Tensor& map);

/// Pictures [1,...] put in place of what is removed: what `fill_for` takes, and "rise-blur", RISE's 11x11 Gaussian of
/// sigma 5 over zero padding.
Tensor removal_fill(const Context& one, const std::string& owner, const std::string& name);
extern const char* const kRemovalAccepts;

/// Picks per pixel: `yes` where masks [m,H,W] hold, else `no`; both [1,...] as the model lays pictures out.
Tensor pick(const Context& one, const Tensor& masks, const Tensor& yes, const Tensor& no);

/// What a complete method makes equal, by its own account: the sum of its attributions and the difference of scores
/// from the reference it was run with. Absent when the method does not say (both are in Attribution::diagnostics).
struct OwnBalance {
  double sum = 0, difference = 0;
};
std::optional<OwnBalance> own_balance(const std::map<std::string, double>& diagnostics);
/// Whether only the method's own account can tell what it is complete to: values painted on regions count once for
/// each pixel when they are summed, and blur integrated gradients end at a blurred picture and not at a baseline.
bool needs_own_balance(const Method& method);

/// Area under a curve by the trapezoid rule.
double area_under(const std::vector<double>& x, const std::vector<double>& y);
std::vector<double> numbers(const Tensor& t);

/// Maps [n,H,W] of other pictures [n,...] of the same target, float64 on the CPU, in batches of `batch_size`.
Tensor explain_pictures(const MetricContext& context, const Context& one, const Tensor& pictures);

// The table, one declaration per line of metrics.cpp.
Metric iou_metric();
Metric average_precision_metric();
Metric relevance_mass_metric();
Metric relevance_rank_metric();
Metric pointing_game_metric();
Metric localization_error_metric();
Metric part_ranks_metric();
Metric class_discrimination_metric();
Metric deletion_metric();
Metric insertion_metric();
Metric pixel_flipping_metric();
Metric road_metric();
Metric average_drop_metric();
Metric faithfulness_correlation_metric();
Metric mu_fidelity_metric();
Metric sensitivity_n_metric();
Metric infidelity_metric();
Metric monotonicity_metric();
Metric monotonicity_correlation_metric();
Metric max_sensitivity_metric();
Metric continuity_metric();
Metric seed_stability_metric();
Metric sparseness_metric();
Metric complexity_metric();
Metric effective_complexity_metric();
Metric completeness_metric();
Metric parameter_randomization_metric();
Metric smooth_parameter_randomization_metric();
Metric random_logit_metric();
Metric class_sensitivity_metric();
Metric label_randomization_metric();

}  // namespace pellucid
