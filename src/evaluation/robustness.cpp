// Metrics that explain changed pictures again and see how far the map moves.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "evaluation/metric.h"
#include "pellucid/similarity.h"

namespace pellucid {

namespace {

constexpr Paper kYeh2019{"yeh2019", "Yeh, Hsieh, Suggala, Inouye, Ravikumar",
                         "On the (In)fidelity and Sensitivity of Explanations", "NeurIPS", 2019};
constexpr Paper kMontavon2018{"montavon2018", "Montavon, Samek, Mueller",
                              "Methods for Interpreting and Understanding Deep Neural Networks",
                              "Digital Signal Processing", 2018};

constexpr Paper kVisani2022{"visani2022", "Visani, Bagli, Chesani, Poluzzi, Capuzzo",
                            "Statistical Stability Indices for LIME: Obtaining Reliable Explanations for Machine "
                            "Learning Models",
                            "Journal of the Operational Research Society", 2022};

struct MaxSensitivityParams {
  double radius = 0.02;
  int64_t samples = 50;
};
template <class V>
void describe(V& visit, MaxSensitivityParams& p) {
  visit("radius", p.radius, between(0, 1),
        "Largest change of an input value, as a share of the picture's value range.");
  visit("samples", p.samples, at_least(1), "Random pictures; the maximum found grows with their number.");
}

MetricResult max_sensitivity(const MetricContext& context, const MaxSensitivityParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  MetricResult result;
  const double size = map.norm().item<double>();
  if (size == 0) {
    result.degenerate = true;
    result.notes.emplace_back("the map is zero everywhere: a relative change is undefined");
    return result;
  }
  const double radius = p.radius * (one.input.max() - one.input.min()).item<double>();
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  double largest = 0, sum = 0;
  const int64_t step = std::max<int64_t>(1, one.batch_size);
  for (int64_t begin = 0; begin < p.samples; begin += step) {
    Shape shape = one.input.sizes().vec();
    shape[0] = std::min(step, p.samples - begin);
    const Tensor u = at::rand(shape, generator, at::TensorOptions(at::kDouble)).to(one.input.options());
    const Tensor moved = explain_pictures(context, one, one.input + (2 * u - 1) * radius);
    for (const double d : numbers((moved - map).flatten(1).norm(2, 1))) {
      largest = std::max(largest, d / size);
      sum += d / size;
    }
    if (one.progress) {
      one.progress->report(static_cast<double>(begin + shape[0]), static_cast<double>(p.samples), "nearby pictures");
    }
  }
  result.scores = {{"max_sensitivity", largest}, {"mean_sensitivity", sum / static_cast<double>(p.samples)}};
  return result;
}

struct SeedStabilityParams {
  int64_t seeds = 3;
  int64_t grid = 14;
};
template <class V>
void describe(V& visit, SeedStabilityParams& p) {
  visit("seeds", p.seeds, integer_between(2, 1000), "Maps that are compared pair by pair.");
  visit("grid", p.grid, integer_between(2, 64), "Cells along each side, for methods without regions of their own.");
}

/// Means of a map [H,W] over regions labelled 0, 1, ..., float64 [regions].
Tensor region_means(const Tensor& map, const Tensor& labels) {
  const Tensor flat = labels.to(at::kCPU, at::kLong).flatten();
  const Tensor counts = at::bincount(flat).to(at::kDouble);
  const Tensor sums = at::zeros(counts.sizes(), at::kDouble).index_add(0, flat, map.flatten());
  return sums.masked_select(counts > 0) / counts.masked_select(counts > 0);
}

MetricResult seed_stability(const MetricContext& context, const SeedStabilityParams& p) {
  Context one = one_picture(context);
  const uint64_t first = one.seed;
  TensorList values;
  for (int64_t i = 0; i < p.seeds; ++i) {
    // Far apart: methods derive further seeds from theirs by counting up.
    one.seed = first + 1000003 * static_cast<uint64_t>(i);
    const Attribution a = context.explain(one);
    const Tensor map = a.map[0].to(at::kCPU, at::kDouble);
    const auto regions = a.extra.find("features");
    values.push_back(region_means(
        map, regions == a.extra.end() ? CellGrid(map.size(0), map.size(1), p.grid).labels() : regions->second[0]));
    if (one.progress) one.progress->report(static_cast<double>(i + 1), static_cast<double>(p.seeds), "seeds");
  }
  double sum = 0, lowest = 1;
  int64_t defined = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const std::optional<double> tau = kendall_correlation(values[i], values[j]);
      if (!tau) continue;
      sum += *tau;
      lowest = std::min(lowest, *tau);
      ++defined;
    }
  }
  MetricResult result;
  if (defined > 0) {
    result.scores = {{"kendall", sum / static_cast<double>(defined)}, {"lowest", lowest}};
  } else {
    result.degenerate = true;
    result.notes.emplace_back("the maps are constant: there is no order to compare");
  }
  return result;
}

struct ContinuityParams {
  int64_t shifts = 28;
  int64_t step = 1;
  int64_t patches = 7;
  std::string fill = "zero";
};
template <class V>
void describe(V& visit, ContinuityParams& p) {
  visit("shifts", p.shifts, integer_between(2, 1000), "Translations to the right after the first picture.");
  visit("step", p.step, at_least(1), "Pixels per translation; together at most the width less one.");
  visit("patches", p.patches, at_least(1), "Patches along each side whose sums are followed.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What enters from the left.");
}

/// Pictures moved right by 0, step, 2 step, ... pixels, [n,...].
Tensor translations(const Context& one, const ContinuityParams& p) {
  const Tensor planes = to_planes(one, one.input);
  const Tensor fill = to_planes(one, removal_fill(one, "continuity", p.fill));
  const int64_t width = planes.size(3);
  TensorList moved;
  for (int64_t k = 0; k <= p.shifts && k * p.step < width; ++k) {
    const int64_t by = k * p.step;
    moved.push_back(at::cat({fill.narrow(3, 0, by), planes.narrow(3, 0, width - by)}, 3));
  }
  return from_planes(one, at::cat(moved));
}

MetricResult continuity(const MetricContext& context, const ContinuityParams& p) {
  const Context one = one_picture(context);
  MetricResult result;
  const Tensor pictures = translations(one, p);
  const int64_t count = pictures.size(0);
  const Tensor maps = explain_pictures(context, one, pictures);
  Variants variants;
  variants.count = count;
  variants.make = [&](int64_t begin, int64_t n) { return pictures.narrow(0, begin, n); };
  const Tensor score = measure_variants(one, variants);

  const Tensor sums = at::adaptive_avg_pool2d(maps.unsqueeze(1), {p.patches, p.patches}).flatten(1);  // [n,patches]
  double total = 0;
  int64_t defined = 0;
  for (int64_t i = 0; i < sums.size(1); ++i) {
    if (const std::optional<double> r = pearson_correlation(sums.select(1, i), score)) {
      total += *r;
      ++defined;
    }
  }
  if (defined > 0) {
    result.scores["correlation"] = total / static_cast<double>(defined);
  } else {
    result.degenerate = true;
    result.notes.emplace_back("correlation is undefined: neither patch sums nor scores vary");
  }

  const Tensor flat = to_planes(one, pictures).flatten(1).to(at::kCPU, at::kDouble);
  const double size = maps[0].abs().sum().item<double>();
  double steepest = 0;
  bool moved = false;
  for (int64_t k = 1; k < count; ++k) {
    const double input_change = (flat[k] - flat[k - 1]).norm().item<double>();
    if (input_change == 0) continue;
    moved = true;
    steepest = std::max(steepest, (maps[k] - maps[k - 1]).abs().sum().item<double>() / input_change);
  }
  if (moved && size > 0) {
    result.scores["steepest"] = steepest / size;
  } else {
    result.degenerate = true;
    result.notes.emplace_back(moved ? "the map is zero everywhere: its relative change is undefined"
                                    : "the picture does not change when it moves");
  }
  Curve curve{"score", "pixels moved", "score", {}, numbers(score), {}};
  for (int64_t k = 0; k < count; ++k) curve.x.push_back(static_cast<double>(k * p.step));
  result.curves.push_back(std::move(curve));
  return result;
}

}  // namespace

Metric max_sensitivity_metric() {
  return make_metric<MaxSensitivityParams>(
      {"max-sensitivity", "Max-sensitivity", "robustness",
       "Largest relative change of the map under small random changes of the picture.",
       "Small changes should not matter to the explanation. A map that never changes scores 0: robustness is not "
       "quality. Sampled, so a lower bound.",
       "samples explanations"},
      kYeh2019, kMetricExplains,
      {{"max_sensitivity", Better::kLower, "Norm of the change over the norm of the map; absent for a map of zeros."},
       {"mean_sensitivity", Better::kLower, "The mean of the same."}},
      max_sensitivity);
}

Metric seed_stability_metric() {
  return make_metric<SeedStabilityParams>(
      {"seed-stability", "Stability over seeds", "robustness",
       "Kendall's rank correlation of what regions get, between maps that differ by their seed alone.",
       "Regions are the method's own (superpixels, whose number must not depend on the seed) or cells of a grid. A "
       "method "
       "that draws nothing scores 1; being stable is not being right.",
       "seeds explanations"},
      kVisani2022, kMetricExplains,
      {{"kendall", Better::kHigher, "Mean over all pairs of seeds, -1..1; absent for constant maps."},
       {"lowest", Better::kHigher, "Of the two maps that differ most."}},
      seed_stability);
}

Metric continuity_metric() {
  return make_metric<ContinuityParams>(
      {"continuity", "Continuity", "robustness",
       "Whether the map follows the score, smoothly, while the picture is moved sideways.",
       "Moving the picture changes the score for reasons the map should show. What enters at the border is the fill.",
       "shifts explanations and as many passes"},
      kMontavon2018, kMetricPasses | kMetricExplains,
      {{"correlation", Better::kHigher, "Mean over patches of the correlation of their sum with the score, -1..1."},
       {"steepest", Better::kLower,
        "Largest change of the map (L1, over the first map's) per change of the picture (L2) in one step."}},
      continuity);
}

}  // namespace pellucid
