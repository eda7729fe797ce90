// Metrics of the map alone: how concentrated it is.

#include <cmath>

#include "evaluation/metric.h"

namespace pellucid {

namespace {

constexpr Paper kChalasani2020{"chalasani2020", "Chalasani, Chen, Chowdhury, Wu, Jha",
                               "Concise Explanations of Neural Networks using Adversarial Training", "ICML", 2020};
constexpr Paper kBhatt2020{"bhatt2020", "Bhatt, Weller, Moura",
                           "Evaluating and Aggregating Feature-based Model Explanations", "IJCAI", 2020};
constexpr Paper kNguyen2020{"nguyen2020", "Nguyen, Martinez", "On quantitative aspects of model interpretability",
                            "arXiv", 2020};

/// |map| flattened; undefined, with a note, for a map of zeros.
Tensor magnitudes(const MetricContext& context, MetricResult& result) {
  const Tensor a = judged_map(context).abs().flatten();
  if (a.max().item<double>() > 0) return a;
  result.degenerate = true;
  result.notes.emplace_back("the map is zero everywhere: its concentration is undefined");
  return {};
}

struct SparsenessParams {
  double epsilon = 0;
};
template <class V>
void describe(V& visit, SparsenessParams& p) {
  visit("epsilon", p.epsilon, between(0, 1), "Added to every magnitude; Quantus adds 1e-7.");
}

/// Sum of (2 i - n - 1) a_i over n sum a, a ascending, i = 1..n.
MetricResult sparseness(const MetricContext& context, const SparsenessParams& p) {
  MetricResult result;
  const Tensor a = magnitudes(context, result);
  if (!a.defined()) return result;
  const Tensor sorted = std::get<0>((a + p.epsilon).sort());
  const auto n = static_cast<double>(a.numel());
  const Tensor weight = 2 * at::arange(1, a.numel() + 1, at::kDouble) - n - 1;
  result.scores["gini"] = (weight * sorted).sum().item<double>() / (n * sorted.sum().item<double>());
  return result;
}

MetricResult complexity(const MetricContext& context, const NoParams&) {
  MetricResult result;
  const Tensor a = magnitudes(context, result);
  if (!a.defined()) return result;
  const double entropy = at::special_entr(a / a.sum()).sum().item<double>();
  const double most = std::log(static_cast<double>(a.numel()));
  result.scores = {{"entropy", entropy}, {"relative", most > 0 ? entropy / most : 0.0}};
  return result;
}

struct EffectiveParams {
  double epsilon = 1e-5;
};
template <class V>
void describe(V& visit, EffectiveParams& p) {
  visit("epsilon", p.epsilon, between(0, 1), "Share of the largest magnitude above which a pixel counts.");
}

MetricResult effective_complexity(const MetricContext& context, const EffectiveParams& p) {
  MetricResult result;
  const Tensor a = magnitudes(context, result);
  if (!a.defined()) {
    result.scores["share"] = 0;
    return result;
  }
  const Tensor above = a > p.epsilon * a.max();
  result.scores = {{"share", above.to(at::kDouble).mean().item<double>()}, {"pixels", above.sum().item<double>()}};
  return result;
}

constexpr const char* kConcentration =
    "Few important pixels are easier to read, whether or not they are the right ones: a wrong map can score perfectly.";

}  // namespace

Metric sparseness_metric() {
  return make_metric<SparsenessParams>(
      {"sparseness", "Sparseness", "complexity", "Gini index of the magnitudes.", kConcentration, "none"},
      kChalasani2020, 0, {{"gini", Better::kHigher, "0 for a constant map, up to 1 - 1/n for a single pixel."}},
      sparseness);
}

Metric complexity_metric() {
  return make_metric<NoParams>({"complexity", "Complexity", "complexity",
                                "Entropy of the magnitudes as a distribution over pixels.", kConcentration, "none"},
                               kBhatt2020, 0,
                               {{"entropy", Better::kLower, "In nats: 0 for a single pixel, ln n for a constant map."},
                                {"relative", Better::kLower, "The same over ln n, 0..1."}},
                               complexity);
}

Metric effective_complexity_metric() {
  return make_metric<EffectiveParams>(
      {"effective-complexity", "Effective complexity", "complexity",
       "How many pixels are not negligible beside the largest.", kConcentration, "none"},
      kNguyen2020, 0,
      {{"share", Better::kLower, "Share of the pixels, 0..1; 0 for a map of zeros."},
       {"pixels", Better::kLower, "Their number."}},
      effective_complexity);
}

}  // namespace pellucid
