// Metrics for pictures whose truth is known by construction: how much each part matters, and which objects are there
// besides the one asked for.

#include <algorithm>
#include <cmath>

#include "attribution/method.h"
#include "evaluation/metric.h"
#include "pellucid/error.h"
#include "pellucid/similarity.h"

namespace pellucid {

namespace {

constexpr Paper kHesse2023{"hesse2023", "Hesse, Schaub-Meyer, Roth",
                           "FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI Methods",
                           "ICCV", 2023};
constexpr Paper kArras2022{"arras2022", "Arras, Osman, Samek",
                           "CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network "
                           "Explanations",
                           "Information Fusion", 2022};

/// Sum of the map over each part, in the order of the parts that are seen.
MetricResult part_ranks(const MetricContext& context, const NoParams&) {
  const Tensor map = judged_map(context);
  std::vector<double> attribution, importance;
  double discriminative = 0, all = 0;
  for (const TruthPart& part : context.parts) {
    const Tensor mask = part.mask.to(at::kCPU).to(at::kBool);
    if (!mask.any().item<bool>()) continue;
    const Tensor inside = map.masked_select(mask);
    attribution.push_back(inside.sum().item<double>());
    importance.push_back(part.importance);
    const double positive = at::relu(inside).sum().item<double>();
    all += positive;
    if (part.discriminative) discriminative += positive;
  }
  MetricResult result;
  if (attribution.size() < 2) {
    result.notes.emplace_back("fewer than two parts are seen: there is nothing to rank");
    return result;
  }
  const auto most = [](const std::vector<double>& v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
  const std::optional<double> correlation =
      spearman_correlation(at::tensor(attribution, at::kDouble), at::tensor(importance, at::kDouble));
  if (correlation) {
    result.scores["rank_correlation"] = *correlation;
    result.scores["top_part"] = most(attribution) == most(importance) ? 1.0 : 0.0;
  } else {
    result.degenerate = true;
    result.notes.emplace_back("all parts matter alike, or get alike: there are no ranks to compare");
  }
  result.scores["discriminative_share"] = all > 0 ? discriminative / all : 0;
  return result;
}

MetricResult class_discrimination(const MetricContext& context, const NoParams&) {
  const Tensor map = at::relu(judged_map(context));
  const Tensor own = context.mask.to(at::kCPU).to(at::kBool);
  // What two things share is the asked one's.
  const Tensor others = context.others.to(at::kCPU).to(at::kBool).logical_and(own.logical_not());
  const double mine = map.masked_select(own).sum().item<double>();
  const double theirs = map.masked_select(others).sum().item<double>();
  MetricResult result;
  if (!(mine + theirs > 0)) {
    result.degenerate = true;
    result.notes.emplace_back("the map is nowhere positive on any object: it points at none and scores 0");
  }
  result.scores["own_share"] = mine + theirs > 0 ? mine / (mine + theirs) : 0;
  const auto mean_in = [&](double sum, const Tensor& mask) {
    return sum / std::max<double>(1, mask.sum().item<double>());
  };
  const double own_mean = mean_in(mine, own), other_mean = mean_in(theirs, others);
  result.scores["own_density_share"] = own_mean + other_mean > 0 ? own_mean / (own_mean + other_mean) : 0;
  return result;
}

}  // namespace

Metric part_ranks_metric() {
  return make_metric<NoParams>(
      {"part-ranks", "Part ranks", "localization",
       "Do the parts of a picture get attribution in the order in which the network needs them?",
       "Importance is the drop of the logit when the part is drawn away; parts that stand in for each other have none.",
       "none"},
      kHesse2023, kMetricParts,
      {{"rank_correlation", Better::kHigher,
        "Spearman's, between summed attribution and importance of the parts; -1..1"},
       {"top_part", Better::kHigher, "1 when the part with most attribution is the most important one"},
       {"discriminative_share", Better::kHigher,
        "share of the positive attribution on all parts that lies on those the class can be told from; 0..1"}},
      part_ranks);
}

Metric class_discrimination_metric() {
  return make_metric<NoParams>(
      {"class-discrimination", "Class discrimination", "localization",
       "With objects of several classes in a picture, is it the asked one that is found?",
       "Every object is enough for its class by itself. A map that marks all objects alike scores the share of the "
       "asked one's area, and a half by density.",
       "none"},
      kArras2022, kMetricTruth | kMetricOthers,
      {{"own_share", Better::kHigher,
        "share of the positive attribution on all objects that lies on the asked one; 0..1"},
       {"own_density_share", Better::kHigher,
        "the same with attribution per pixel, so that large objects have no advantage; 0..1"}},
      class_discrimination);
}

}  // namespace pellucid
