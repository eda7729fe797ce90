// Metrics that hold what the map says about sets of pixels against what removing them does to the score.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "evaluation/metric.h"
#include "pellucid/error.h"
#include "pellucid/similarity.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kBhatt2020{"bhatt2020", "Bhatt, Weller, Moura",
                           "Evaluating and Aggregating Feature-based Model Explanations", "IJCAI", 2020};
constexpr Paper kFel2021{"fel2021", "Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre",
                         "Look at the Variance! Efficient Black-box Explanations with Sobol-based Sensitivity Analysis",
                         "NeurIPS", 2021};
constexpr Paper kAncona2018{"ancona2018", "Ancona, Ceolini, Oztireli, Gross",
                            "Towards Better Understanding of Gradient-based Attribution Methods for Deep Neural "
                            "Networks",
                            "ICLR", 2018};
constexpr Paper kYeh2019{"yeh2019", "Yeh, Hsieh, Suggala, Inouye, Ravikumar",
                         "On the (In)fidelity and Sensitivity of Explanations", "NeurIPS", 2019};
constexpr Paper kArya2019{"arya2019",
                          "Arya, Bellamy, Chen, Dhurandhar, Hind, Hoffman, Houde, Liao, Luss, Mojsilovic, "
                          "et al.",
                          "One Explanation Does Not Fit All: A Toolkit and Taxonomy of AI Explainability Techniques",
                          "arXiv", 2019};
constexpr Paper kNguyen2020{"nguyen2020", "Nguyen, Martinez", "On quantitative aspects of model interpretability",
                            "arXiv", 2020};
constexpr Paper kSundararajan2017{"sundararajan2017", "Sundararajan, Taly, Yan",
                                  "Axiomatic Attribution for Deep Networks", "ICML", 2017};

constexpr const char* kScoreHelp = "What is watched.";

/// For random sets of pixels: what the map gives them, and what the score loses without them. Float64 [n] each.
struct SubsetEffects {
  Tensor sums, drops;
};

/// `draw` returns the next set, [H,W] bool; called `count` times in order.
SubsetEffects subset_effects(const Context& one, const Tensor& map, const Tensor& fill, Measure measure, int64_t count,
                             const std::function<Tensor()>& draw) {
  SubsetEffects effects{at::empty({count}, at::kDouble), {}};
  Variants variants;
  variants.count = count;
  variants.measure = measure;
  variants.what = "pictures without a random set of pixels";
  variants.make = [&](int64_t begin, int64_t n) {
    TensorList sets;
    for (int64_t i = 0; i < n; ++i) {
      sets.push_back(draw());
      effects.sums[begin + i] = map.masked_select(sets.back()).sum();
    }
    return pick(one, at::stack(sets), fill, one.input);
  };
  const Tensor left = measure_variants(one, variants);
  effects.drops = clean_measure(one, measure) - left;
  return effects;
}

/// `size` pixels at random, without replacement.
Tensor random_pixels(const Tensor& map, int64_t size, at::Generator& generator) {
  Tensor set = at::zeros({map.numel()}, at::kBool);
  set.index_fill_(0, at::randperm(map.numel(), generator, at::TensorOptions(at::kLong)).narrow(0, 0, size), true);
  return set.view(map.sizes());
}

/// A score of this name, or the note why there is none.
void set_correlation(MetricResult& result, const char* name, std::optional<double> value) {
  if (value) {
    result.scores[name] = *value;
    return;
  }
  result.degenerate = true;
  result.notes.push_back(std::string(name) + " is undefined: the map's sums or the score's changes do not vary");
}

struct FaithfulnessCorrelationParams {
  int64_t size = 224;
  int64_t runs = 100;
  std::string fill = "zero";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, FaithfulnessCorrelationParams& p) {
  visit("size", p.size, at_least(1), "Pixels in a set; at most half of the picture is taken.");
  visit("runs", p.runs, at_least(3), "Random sets.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What stands where a pixel is missing.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

MetricResult faithfulness_correlation(const MetricContext& context, const FaithfulnessCorrelationParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  const int64_t size = std::min(p.size, std::max<int64_t>(1, map.numel() / 2));
  const SubsetEffects e =
      subset_effects(one, map, removal_fill(one, "faithfulness-correlation", p.fill), measure_from(p.score), p.runs,
                     [&] { return random_pixels(map, size, generator); });
  MetricResult result;
  set_correlation(result, "pearson", pearson_correlation(e.sums, e.drops));
  return result;
}

struct MuFidelityParams {
  int64_t grid = 9;
  double share = 0.2;
  int64_t samples = 200;
  std::string fill = "zero";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, MuFidelityParams& p) {
  visit("grid", p.grid, at_least(2), "Cells along each side.");
  visit("share", p.share, between(0, 1), "Share of the cells in a set; at least one cell.");
  visit("samples", p.samples, at_least(3), "Random sets.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What stands where a cell is missing.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

MetricResult mu_fidelity(const MetricContext& context, const MuFidelityParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  const CellGrid grid(map.size(0), map.size(1), p.grid);
  const Tensor cells = grid.labels();
  const int64_t count = grid.cells();
  const int64_t size = std::clamp<int64_t>(std::llround(p.share * static_cast<double>(count)), 1, count);
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  const auto draw = [&] {
    const Tensor chosen = random_pixels(at::empty({count}, at::kDouble), size, generator);
    return chosen.index_select(0, cells.flatten()).view(cells.sizes());
  };
  const SubsetEffects e =
      subset_effects(one, map, removal_fill(one, "mu-fidelity", p.fill), measure_from(p.score), p.samples, draw);
  MetricResult result;
  set_correlation(result, "spearman", spearman_correlation(e.sums, e.drops));
  return result;
}

struct SensitivityNParams {
  int64_t points = 10;
  int64_t runs = 50;
  double largest = 0.8;
  std::string fill = "zero";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, SensitivityNParams& p) {
  visit("points", p.points, at_least(1), "Sizes n, spaced evenly on a logarithmic scale from one pixel up.");
  visit("runs", p.runs, at_least(3), "Random sets of each size.");
  visit("largest", p.largest, between(0, 1), "Largest n as a share of the pixels.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What stands where a pixel is missing.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

MetricResult sensitivity_n(const MetricContext& context, const SensitivityNParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  const Tensor fill = removal_fill(one, "sensitivity-n", p.fill);
  const auto pixels = static_cast<double>(map.numel());
  const double most = std::clamp(std::floor(p.largest * pixels), 1.0, std::max(1.0, pixels - 1));
  std::set<int64_t> sizes;
  for (int64_t i = 0; i < p.points; ++i) {
    const double t = p.points == 1 ? 1 : static_cast<double>(i) / static_cast<double>(p.points - 1);
    sizes.insert(std::llround(std::exp(t * std::log(most))));
  }
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  MetricResult result;
  Curve curve{"sensitivity-n", "pixels removed", "Pearson's correlation", {}, {}, {}};
  double sum = 0;
  for (const int64_t size : sizes) {
    const SubsetEffects e = subset_effects(one, map, fill, measure_from(p.score), p.runs,
                                           [&] { return random_pixels(map, size, generator); });
    const std::optional<double> r = pearson_correlation(e.sums, e.drops);
    if (!r) {
      result.notes.push_back("undefined for sets of " + std::to_string(size) +
                             " pixels: the map's sums or the score's changes do not vary");
      continue;
    }
    curve.x.push_back(static_cast<double>(size));
    curve.y.push_back(*r);
    sum += *r;
  }
  if (curve.y.empty()) {
    result.degenerate = true;
    return result;
  }
  result.scores["mean_pearson"] = sum / static_cast<double>(curve.y.size());
  result.curves.push_back(std::move(curve));
  return result;
}

struct InfidelityParams {
  int64_t samples = 1000;
  std::string perturbation = "square";
  double side = 0.125;
  double noise = 0.2;
  std::string units = "effect";
  bool normalize = true;
  std::string fill = "zero";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, InfidelityParams& p) {
  visit("samples", p.samples, at_least(2), "Random perturbations.");
  visit("perturbation", p.perturbation, one_of({"square", "gaussian"}),
        "Replace a random square by the fill, or subtract Gaussian noise (with units=gradient only).");
  visit("side", p.side, between(0, 1), "Side of the square as a share of the picture's shorter side.");
  visit("noise", p.noise, between(0, 10), "Standard deviation of the noise as a share of the picture's value range.");
  visit("units", p.units, one_of({"effect", "gradient"}),
        "What a value of the map means: the effect of its pixel, or change of the score per unit of input.");
  visit("normalize", p.normalize, Flag{}, "Scale the attribution by the factor that fits best first.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What stands in the square.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

/// <I, Phi> and f(x) - f(x - I) for random I, with Phi in units of the gradient.
SubsetEffects gradient_effects(const Context& one, const Tensor& values, const InfidelityParams& p,
                               const std::function<Tensor()>& draw_square) {
  const Tensor phi = values.to(one.input.options()).unsqueeze(0);
  const Tensor fill = removal_fill(one, "infidelity", p.fill);
  const double scale = p.noise * (one.input.max() - one.input.min()).item<double>();
  at::Generator generator = at::detail::createCPUGenerator(one.seed + 1);
  SubsetEffects effects{at::empty({p.samples}, at::kDouble), {}};
  Variants variants;
  variants.count = p.samples;
  variants.measure = measure_from(p.score);
  variants.what = "perturbed pictures";
  variants.make = [&](int64_t begin, int64_t n) {
    TensorList changed;
    for (int64_t i = 0; i < n; ++i) {
      changed.push_back(
          p.perturbation == "square"
              ? pick(one, draw_square().unsqueeze(0), fill, one.input)
              : one.input -
                    at::randn(one.input.sizes(), generator, at::TensorOptions(at::kDouble)).to(one.input.options()) *
                        scale);
    }
    const Tensor batch = at::cat(changed);
    const Tensor product = ((one.input - batch) * phi).flatten(1).to(at::kCPU, at::kDouble).sum(1);
    effects.sums.narrow(0, begin, n).copy_(product);
    return batch;
  };
  const Tensor left = measure_variants(one, variants);
  effects.drops = clean_measure(one, variants.measure) - left;
  return effects;
}

MetricResult infidelity(const MetricContext& context, const InfidelityParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  const bool gradient = p.units == "gradient";
  if (p.perturbation == "gaussian" && !gradient) {
    throw_usage("infidelity: perturbation=gaussian needs units=gradient, since an effect belongs to a removal");
  }
  if (gradient && (!context.values.defined() || context.values.sizes() != one.input.sizes().slice(1))) {
    throw_usage("infidelity: units=gradient needs an attribution in the shape of the input");
  }
  const int64_t height = map.size(0), width = map.size(1);
  const int64_t side = std::clamp<int64_t>(std::llround(p.side * static_cast<double>(std::min(height, width))), 1,
                                           std::min(height, width));
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  const auto draw = [&] {
    const int64_t y = at::randint(height - side + 1, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
    const int64_t x = at::randint(width - side + 1, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
    Tensor square = at::zeros({height, width}, at::kBool);
    square.narrow(0, y, side).narrow(1, x, side).fill_(true);
    return square;
  };
  const SubsetEffects e = gradient ? gradient_effects(one, context.values, p, draw)
                                   : subset_effects(one, map, removal_fill(one, "infidelity", p.fill),
                                                    measure_from(p.score), p.samples, draw);
  MetricResult result;
  double beta = 1;
  const double energy = e.sums.square().sum().item<double>();
  if (p.normalize && energy > 0) beta = (e.sums * e.drops).sum().item<double>() / energy;
  if (energy == 0) {
    result.degenerate = true;
    result.notes.emplace_back("the map is zero wherever something was changed: it predicts no change at all");
  }
  const double error = (beta * e.sums - e.drops).square().mean().item<double>();
  const double change = e.drops.square().mean().item<double>();
  result.scores = {{"infidelity", error}, {"scale", beta}};
  if (change > 0) {
    result.scores["relative"] = error / change;
  } else {
    result.notes.emplace_back("no perturbation changed the score");
  }
  return result;
}

struct MonotonicityParams {
  int64_t step = 0;
  std::string fill = "zero";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, MonotonicityParams& p) {
  visit("step", p.step, at_least(0), "Pixels per step; 0 takes a hundredth of the picture.");
  visit("fill", p.fill, TextLike{kRemovalAccepts}, "What stands where a pixel is not there yet.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

/// Adds pixels to the fill by increasing magnitude of the map.
MetricResult monotonicity(const MetricContext& context, const MonotonicityParams& p) {
  const Context one = one_picture(context);
  const Tensor magnitude = judged_map(context).abs();
  MetricResult result;
  if (magnitude.min().item<double>() == magnitude.max().item<double>()) {
    result.degenerate = true;
    result.notes.emplace_back("the map's magnitudes are all equal: the pixels come in random order");
  }
  const int64_t total = magnitude.numel();
  const int64_t step = p.step > 0 ? p.step : std::max<int64_t>(1, (total + 99) / 100);
  const Tensor order = descending_order(-magnitude, Ties::kRandom, one.seed);
  Tensor position = at::empty_like(order);
  position.index_copy_(0, order, at::arange(total, at::kLong));
  position = position.view(magnitude.sizes());
  const Tensor fill = removal_fill(one, "monotonicity", p.fill);
  Variants variants;
  variants.count = (total + step - 1) / step + 1;
  variants.measure = measure_from(p.score);
  variants.what = "pictures with pixels added";
  variants.make = [&](int64_t begin, int64_t n) {
    const Tensor limit = at::arange(begin, begin + n, at::kLong) * step;
    return pick(one, position.unsqueeze(0) < limit.view({-1, 1, 1}), one.input, fill);
  };
  const std::vector<double> y = numbers(measure_variants(one, variants));
  Curve curve{"monotonicity", "share of pixels added", p.score, {}, y, {}};
  int64_t rising = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double added = std::min(static_cast<double>(total), static_cast<double>(i) * static_cast<double>(step));
    curve.x.push_back(added / static_cast<double>(total));
    if (i > 0 && y[i] >= y[i - 1]) ++rising;
  }
  const auto steps = static_cast<int64_t>(y.size()) - 1;
  result.scores = {{"rising", static_cast<double>(rising) / static_cast<double>(steps)},
                   {"monotone", rising == steps ? 1.0 : 0.0}};
  result.curves.push_back(std::move(curve));
  return result;
}

struct MonotonicityCorrelationParams {
  int64_t grid = 14;
  int64_t samples = 10;
  std::string score = "logit";
};
template <class V>
void describe(V& visit, MonotonicityCorrelationParams& p) {
  visit("grid", p.grid, at_least(2), "Cells along each side.");
  visit("samples", p.samples, at_least(1), "Random fillings of each cell.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

/// Each cell in turn is filled with uniform noise in display range.
MetricResult monotonicity_correlation(const MetricContext& context, const MonotonicityCorrelationParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  const CellGrid grid(map.size(0), map.size(1), p.grid);
  const Tensor cells = grid.labels();
  const int64_t count = grid.cells();
  const Tensor planes = to_planes(one, one.input);
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  Variants variants;
  variants.count = count * p.samples;
  variants.measure = measure_from(p.score);
  variants.what = "pictures with one cell of noise";
  variants.make = [&](int64_t begin, int64_t n) {
    TensorList made;
    for (int64_t i = begin; i < begin + n; ++i) {
      const Tensor u = at::rand(planes.sizes(), generator, at::TensorOptions(at::kDouble)).to(planes.options());
      made.push_back(
          pick(one, cells.eq(i / p.samples).unsqueeze(0), from_planes(one, one.card.model_from_display(u)), one.input));
    }
    return at::cat(made);
  };
  const Tensor change = clean_measure(one, variants.measure) - measure_variants(one, variants);
  const Tensor effect = change.square().view({count, p.samples}).mean(1);
  const Tensor given = at::zeros({count}, at::kDouble).index_add(0, cells.flatten(), map.abs().flatten());
  MetricResult result;
  set_correlation(result, "spearman", spearman_correlation(given, effect));
  return result;
}

struct CompletenessParams {
  std::string baseline = "auto";
  std::string score = "logit";
};
template <class V>
void describe(V& visit, CompletenessParams& p) {
  visit("baseline", p.baseline, TextLike{std::string("auto, ") + kRemovalAccepts},
        "What the score is compared with; auto takes the method's own, or zero in the model domain.");
  visit("score", p.score, one_of({"probability", "logit"}), kScoreHelp);
}

MetricResult completeness_of(double sum, double difference) {
  MetricResult result;
  const double gap = std::abs(sum - difference);
  result.scores = {{"gap", gap}, {"sum", sum}, {"difference", difference}};
  if (difference != 0) {
    result.scores["relative_gap"] = gap / std::abs(difference);
  } else {
    result.degenerate = true;
    result.notes.emplace_back("picture and baseline have the same score: there is no gap relative to it");
  }
  return result;
}

MetricResult completeness(const MetricContext& context, const CompletenessParams& p) {
  const std::optional<OwnBalance> own = own_balance(context.diagnostics);
  if (own && p.baseline == "auto" && p.score == "logit") return completeness_of(own->sum, own->difference);
  if (context.method && needs_own_balance(*context.method)) {
    MetricResult result;
    result.notes.push_back("does not apply: " + context.method->id + " does not say what its values add up to" +
                           (own ? " for another baseline or score" : ""));
    return result;
  }
  const Context one = one_picture(context);
  std::string name = p.baseline;
  if (name == "auto") name = context.baseline.empty() ? "zero" : context.baseline;
  const Measure measure = measure_from(p.score);
  // Several baselines joined by '+' are averaged over, as the methods do.
  double at_baseline = 0;
  const std::vector<std::string> parts = split(name, '+');
  for (const std::string& part : parts) {
    Context other = one;
    other.input = removal_fill(one, "completeness", trim(part));
    at_baseline += clean_measure(other, measure).item<double>() / static_cast<double>(parts.size());
  }
  const double difference = clean_measure(one, measure).item<double>() - at_baseline;
  const Tensor all = context.values.defined() ? context.values : context.map;
  const double sum = all.to(at::kCPU, at::kDouble).sum().item<double>();
  return completeness_of(sum, difference);
}

}  // namespace

Metric faithfulness_correlation_metric() {
  return make_metric<FaithfulnessCorrelationParams>(
      {"faithfulness-correlation", "Faithfulness correlation", "faithfulness",
       "Whether the map's sum over random sets of pixels goes with the fall of the score without them.",
       "Effects add up over a set, and the fill removes evidence. Scattered pixels hardly change a smooth network, so "
       "the correlation is small and noisy for real pictures.",
       "runs + 1 passes"},
      kBhatt2020, kMetricPasses, {{"pearson", Better::kHigher, "-1..1; absent when one side does not vary."}},
      faithfulness_correlation);
}

Metric mu_fidelity_metric() {
  return make_metric<MuFidelityParams>(
      {"mu-fidelity", "MuFidelity", "faithfulness",
       "As faithfulness correlation, with cells of a grid and rank correlation.",
       "Effects grow with the map's sum, in whatever way. The grid's size decides what can be told apart.",
       "samples + 1 passes"},
      kFel2021, kMetricPasses, {{"spearman", Better::kHigher, "-1..1; absent when one side does not vary."}},
      mu_fidelity);
}

Metric sensitivity_n_metric() {
  return make_metric<SensitivityNParams>(
      {"sensitivity-n", "Sensitivity-n", "faithfulness",
       "Faithfulness correlation for sets of every size from one pixel to most of the picture.",
       "As faithfulness-correlation. Only a network that is linear on the way to the fill reaches 1 for all n.",
       "points * (runs + 1) passes"},
      kAncona2018, kMetricPasses,
      {{"mean_pearson", Better::kHigher, "Mean over the sizes, -1..1; absent when nothing varies."}}, sensitivity_n);
}

Metric infidelity_metric() {
  return make_metric<InfidelityParams>(
      {"infidelity", "Infidelity", "faithfulness",
       "Mean squared error of the map as a prediction of what random perturbations do to the score.",
       "The map says by how much (units), up to one common factor when normalized. In squared units of the score; "
       "`relative` is free of them.",
       "samples + 1 passes"},
      kYeh2019, kMetricPasses,
      {{"infidelity", Better::kLower, "Mean squared error, 0 and above."},
       {"relative", Better::kLower, "The same over the mean squared change: 0 perfect, 1 no better than no map."},
       {"scale", Better::kNeither, "The factor applied to the map."}},
      infidelity);
}

Metric monotonicity_metric() {
  return make_metric<MonotonicityParams>(
      {"monotonicity", "Monotonicity", "faithfulness",
       "Whether the score rises with every step while pixels are added by increasing magnitude.",
       "Every pixel speaks for the class: evidence against it, which the magnitudes hide, makes the score fall however "
       "right the map is.",
       "picture area / step passes"},
      kArya2019, kMetricPasses,
      {{"rising", Better::kHigher, "Share of the steps at which the score does not fall, 0..1."},
       {"monotone", Better::kHigher, "1 when that is all of them, else 0."}},
      monotonicity);
}

Metric monotonicity_correlation_metric() {
  return make_metric<MonotonicityCorrelationParams>(
      {"monotonicity-correlation", "Monotonicity correlation", "faithfulness",
       "Whether cells with larger magnitude in the map change the score more when filled with noise.",
       "The effect of one cell alone; what only several cells do together is not seen.", "grid^2 * samples + 1 passes"},
      kNguyen2020, kMetricPasses, {{"spearman", Better::kHigher, "-1..1; absent when one side does not vary."}},
      monotonicity_correlation);
}

Metric completeness_metric() {
  return make_metric<CompletenessParams>(
      {"completeness", "Completeness gap", "axiomatic",
       "Difference between the map's sum and what the score gains over the baseline.",
       "Says that the parts add up, not that each is right. Meaningless for maps that are no contributions (gradients, "
       "magnitudes, class activation maps).",
       "2 passes"},
      kSundararajan2017, kMetricPasses,
      {{"gap", Better::kLower, "In units of the score."},
       {"relative_gap", Better::kLower, "Over the difference of scores; absent when that is zero."},
       {"sum", Better::kNeither, "Of the attribution."},
       {"difference", Better::kNeither, "Score of the picture less score of the baseline."}},
      completeness);
}

}  // namespace pellucid
