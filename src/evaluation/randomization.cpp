// The sanity checks as metrics: does the map depend on the weights, on the class, on what was learned?

#include "evaluation/metric.h"
#include "pellucid/sanity.h"

namespace pellucid {

namespace {

constexpr Paper kAdebayo2018{"adebayo2018", "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
                             "Sanity Checks for Saliency Maps", "NeurIPS", 2018};
constexpr Paper kHedstroem2024{"hedstroem2024", "Hedstroem, Weber, Lapuschkin, Hoehne",
                               "A Fresh Look at Sanity Checks for Saliency Maps", "xAI", 2024};
constexpr Paper kSixt2020{"sixt2020", "Sixt, Granz, Landgraf",
                          "When Explanations Lie: Why Many Modified BP Attributions Fail", "ICML", 2020};

struct RandomizationParams {
  std::string order = "cascading";
  std::string reset = "normal";
  int64_t seeds = 1;
  int64_t steps = 0;
};
template <class V>
void describe(V& visit, RandomizationParams& p) {
  visit("order", p.order, one_of({"cascading", "bottom-up", "independent"}),
        "From the logits down or from the input up, cumulatively, or one layer at a time.");
  visit("reset", p.reset, one_of({"normal", "permutation"}),
        "New weights: truncated normal with each tensor's own deviation, or its own values shuffled.");
  visit("seeds", p.seeds, at_least(1), "Repetitions that are averaged.");
  visit("steps", p.steps, at_least(0), "At most so many steps, spread over the layers; 0 takes every layer.");
}
struct SmoothParams : RandomizationParams {
  int64_t samples = 10;
  double noise = 0.1;
};
template <class V>
void describe(V& visit, SmoothParams& p) {
  describe(visit, static_cast<RandomizationParams&>(p));
  visit("samples", p.samples, at_least(1), "Noisy copies of the picture whose maps are averaged.");
  visit("noise", p.noise, between(0, 10), "Their standard deviation as a share of the picture's value range.");
}

RandomizationOptions options_from(const RandomizationParams& p) {
  RandomizationOptions options;
  options.order = p.order == "cascading"   ? RandomizationOrder::kCascading
                  : p.order == "bottom-up" ? RandomizationOrder::kBottomUp
                                           : RandomizationOrder::kIndependent;
  options.reset = p.reset == "normal" ? WeightReset::kTruncatedNormal : WeightReset::kPermutation;
  options.seeds = p.seeds;
  options.max_steps = p.steps;
  return options;
}

/// One curve per similarity over the steps at which it is defined, its mean, and its value at the end.
void add_similarities(const std::vector<SanityStep>& steps, MetricResult& result) {
  const auto add = [&](const char* name, const auto& of) {
    Curve curve{name, "layer randomized", "similarity", {}, {}, {}};
    double sum = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::optional<double> value = of(steps[i].similarity);
      if (!value) continue;
      curve.x.push_back(static_cast<double>(i));
      curve.y.push_back(*value);
      curve.labels.push_back(steps[i].layer);
      sum += *value;
    }
    if (curve.y.empty()) return;
    result.scores[name] = sum / static_cast<double>(curve.y.size());
    if (of(steps.back().similarity)) result.scores[std::string(name) + "_last"] = curve.y.back();
    result.curves.push_back(std::move(curve));
  };
  add("spearman_abs", [](const MapSimilarity& s) { return s.spearman_abs; });
  add("spearman", [](const MapSimilarity& s) { return s.spearman; });
  add("ssim", [](const MapSimilarity& s) { return s.ssim; });
  add("hog", [](const MapSimilarity& s) { return s.hog; });
}

MetricResult randomization(const MetricContext& context, const RandomizationOptions& options) {
  const std::vector<SanityStep> steps =
      parameter_randomization(context.context, context.image, context.explain, options);
  MetricResult result;
  add_similarities(steps, result);
  int64_t degenerate = 0;
  for (const SanityStep& step : steps) degenerate += step.degenerate;
  const auto maps = static_cast<int64_t>(steps.size()) * options.seeds;
  result.scores["degenerate"] = static_cast<double>(degenerate) / static_cast<double>(maps);
  if (const Tensor another = context.another ? context.another() : Tensor(); another.defined()) {
    const MapSimilarity floor = similarity_floor(context.context, context.image, another, context.explain, options);
    const auto set = [&](const char* name, const std::optional<double>& value) {
      if (value) result.scores[name] = *value;
    };
    set("spearman_abs_floor", floor.spearman_abs);
    set("spearman_floor", floor.spearman);
    set("ssim_floor", floor.ssim);
    set("hog_floor", floor.hog);
  }
  if (result.curves.empty()) {
    result.degenerate = true;
    result.notes.emplace_back("similarity is undefined: the map, or every map of a randomized network, is constant");
  } else if (degenerate > 0) {
    result.notes.push_back(std::to_string(degenerate) + " of " + std::to_string(maps) +
                           " randomized networks gave a constant map, which is left out");
  }
  return result;
}

void set_similarity(const MapSimilarity& s, MetricResult& result) {
  const auto set = [&](const char* name, const std::optional<double>& value) {
    if (value) result.scores[name] = *value;
  };
  set("spearman", s.spearman);
  set("spearman_abs", s.spearman_abs);
  set("ssim", s.ssim);
  set("hog", s.hog);
  if (!s.spearman) {
    result.degenerate = true;
    result.notes.emplace_back("similarity is undefined: one of the two maps is constant");
  }
}

MetricResult other_class(const OtherClass& found, const MetricContext& context) {
  MetricResult result;
  set_similarity(found.similarity, result);
  result.notes.push_back("compared with " + context.context.card.label(found.class_index));
  return result;
}

std::vector<ScoreSpec> step_scores() {
  return {
      {"spearman_abs", Better::kLower, "Rank correlation of the magnitudes with the map before; mean over steps."},
      {"spearman", Better::kLower, "The same of the signed values."},
      {"ssim", Better::kLower, "Structural similarity; mean over steps. Smooth maps are similar by chance."},
      {"hog", Better::kLower, "Rank correlation of the histograms of oriented gradients; mean over steps."},
      {"spearman_abs_last", Better::kLower, "At the last step, where everything is random when cascading."},
      {"spearman_last", Better::kLower, "The same of the signed values."},
      {"ssim_last", Better::kLower, "The same of the structural similarity."},
      {"hog_last", Better::kLower, "The same of the histograms."},
      {"spearman_abs_floor", Better::kNeither, "What the maps of two different pictures score: no less is to be had."},
      {"spearman_floor", Better::kNeither, "The same of the signed values."},
      {"ssim_floor", Better::kNeither, "The same of the structural similarity."},
      {"hog_floor", Better::kNeither, "The same of the histograms."},
      {"degenerate", Better::kNeither, "Share of the randomized networks whose map was constant."}};
}
std::vector<ScoreSpec> pair_scores() {
  return {{"spearman", Better::kLower, "Rank correlation of the two maps, -1..1."},
          {"spearman_abs", Better::kLower, "Rank correlation of their magnitudes."},
          {"ssim", Better::kLower, "Structural similarity. Smooth maps are similar by chance."},
          {"hog", Better::kLower, "Rank correlation of the histograms of oriented gradients."}};
}

}  // namespace

Metric parameter_randomization_metric() {
  return make_metric<RandomizationParams>(
      {"parameter-randomization", "Parameter randomization", "randomization",
       "How alike the map stays while the network's weights are replaced by random ones.",
       "A map that explains what was learned must change, down to the floor that maps of different pictures score. "
       "Changing proves nothing yet: random maps change most. The class index stays that of the trained network.",
       "layers * seeds + 2 explanations"},
      kAdebayo2018, kMetricExplains, step_scores(),
      [](const MetricContext& c, const RandomizationParams& p) { return randomization(c, options_from(p)); });
}

Metric smooth_parameter_randomization_metric() {
  return make_metric<SmoothParams>(
      {"smooth-parameter-randomization", "Smooth parameter randomization (sMPRT)", "randomization",
       "Parameter randomization on maps averaged over noisy copies of the picture.",
       "As parameter-randomization, with less of the noise that makes maps of gradients change for no reason.",
       "layers * seeds * samples explanations"},
      kHedstroem2024, kMetricExplains, step_scores(), [](const MetricContext& c, const SmoothParams& p) {
        RandomizationOptions options = options_from(p);
        options.noise_samples = p.samples;
        options.noise = p.noise;
        return randomization(c, options);
      });
}

Metric random_logit_metric() {
  return make_metric<NoParams>(
      {"random-logit", "Random logit", "randomization", "How alike the map is to the map of another class at random.",
       "Different classes rest on different evidence. Classes that share it, as cat and dog share fur, may be alike.",
       "2 explanations"},
      kSixt2020, kMetricExplains | kMetricClass, pair_scores(), [](const MetricContext& c, const NoParams&) {
        return other_class(random_logit(c.context, c.image, c.explain), c);
      });
}

Metric class_sensitivity_metric() {
  return make_metric<NoParams>(
      {"class-sensitivity", "Class sensitivity", "randomization",
       "How alike the map is to the map of the least likely class.",
       "As random-logit. Exposes methods that draw the picture's edges whatever the class.", "2 explanations"},
      kSixt2020, kMetricExplains | kMetricClass, pair_scores(), [](const MetricContext& c, const NoParams&) {
        return other_class(least_likely_class(c.context, c.image, c.explain), c);
      });
}

Metric label_randomization_metric() {
  return make_metric<NoParams>(
      {"label-randomization", "Data-label randomization", "randomization",
       "How alike the map is to the map by a network trained on shuffled labels.",
       "The other network has the same architecture and has memorized its labels (at least 95 % on its training set); "
       "otherwise only its ignorance is compared.",
       "2 explanations"},
      kAdebayo2018, kMetricExplains | kMetricClass | kMetricOtherNetwork, pair_scores(),
      [](const MetricContext& c, const NoParams&) {
        MetricResult result;
        set_similarity(label_randomization(c.context, c.image, *c.label_randomized, c.explain), result);
        return result;
      });
}

}  // namespace pellucid
