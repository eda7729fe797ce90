// Metrics that take pixels away in the order of the map, or bring them back, and watch the score.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "attribution/imputation.h"
#include "evaluation/metric.h"

namespace pellucid {

namespace {

constexpr Paper kPetsiuk2018{"petsiuk2018", "Petsiuk, Das, Saenko",
                             "RISE: Randomized Input Sampling for Explanation of Black-box Models", "BMVC", 2018};
constexpr Paper kSamek2017{"samek2017", "Samek, Binder, Montavon, Lapuschkin, Mueller",
                           "Evaluating the Visualization of What a Deep Neural Network Has Learned", "IEEE TNNLS",
                           2017};
constexpr Paper kRong2022{"rong2022", "Rong, Leemann, Borisov, Kasneci, Kasneci",
                          "A Consistent and Efficient Evaluation Strategy for Attribution Methods", "ICML", 2022};
constexpr Paper kChattopadhay2018{"chattopadhyay2018", "Chattopadhyay, Sarkar, Howlader, Balasubramanian",
                                  "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", "WACV",
                                  2018};

struct CurveParams {
  int64_t step = 0;
  std::string fill = "zero";
  std::string score = "probability";
  std::string ties = "random";
};
template <class V>
void describe(V& visit, CurveParams& p) {
  visit("step", p.step, at_least(0), "Pixels per step; 0 takes a hundredth of the picture.");
  visit("fill", p.fill, TextLike{kRemovalAccepts},
        "What stands where a pixel is missing; zero is in the model domain.");
  visit("score", p.score, one_of({"probability", "logit"}), "What is watched.");
  visit("ties", p.ties, one_of({"random", "raster"}), "Order of equal values: random from the seed, or by position.");
}
struct InsertionParams : CurveParams {
  InsertionParams() { fill = "rise-blur"; }
};
struct FlippingParams : CurveParams {
  std::string order = "most-relevant-first";
  FlippingParams() { score = "logit"; }
};
template <class V>
void describe(V& visit, FlippingParams& p) {
  describe(visit, static_cast<CurveParams&>(p));
  visit("order", p.order, one_of({"most-relevant-first", "least-relevant-first"}), "Which pixels go first.");
}

/// 0, step, 2 step, ..., total: both ends once.
std::vector<int64_t> removal_counts(int64_t total, int64_t step) {
  if (step == 0) step = std::max<int64_t>(1, (total + 99) / 100);
  std::vector<int64_t> counts;
  for (int64_t n = 0; n < total; n += step) counts.push_back(n);
  counts.push_back(total);
  return counts;
}

/// For each pixel how many come before it in `order`, [H,W].
Tensor position_in(const Tensor& order, const Tensor& map) {
  Tensor position = at::empty_like(order);
  position.index_copy_(0, order, at::arange(order.numel(), at::kLong));
  return position.view(map.sizes());
}

/// The score of `start` with the first counts[k] pixels taken from `end`, for every k.
std::vector<double> exchange(const Context& one, const Tensor& position, const std::vector<int64_t>& counts,
                             const Tensor& start, const Tensor& end, Measure measure) {
  Variants variants;
  variants.count = static_cast<int64_t>(counts.size());
  variants.measure = measure;
  variants.what = "pictures with pixels exchanged";
  variants.make = [&](int64_t begin, int64_t n) {
    const Tensor limit =
        at::tensor(std::vector<int64_t>(counts.begin() + begin, counts.begin() + begin + n), at::kLong);
    return pick(one, position.unsqueeze(0) < limit.view({-1, 1, 1}), end, start);
  };
  return numbers(measure_variants(one, variants));
}

Curve curve_of(const char* name, const char* x_title, const CurveParams& p, const std::vector<int64_t>& counts,
               std::vector<double> y) {
  Curve curve{name, x_title, p.score, {}, std::move(y), {}};
  for (const int64_t n : counts) curve.x.push_back(static_cast<double>(n) / static_cast<double>(counts.back()));
  return curve;
}

/// Equal values say nothing about which pixel goes first.
void note_constant(const Tensor& map, MetricResult& result) {
  if (map.min().item<double>() < map.max().item<double>()) return;
  result.degenerate = true;
  result.notes.emplace_back("the map is constant: the pixels go in random order");
}

MetricResult exchange_auc(const MetricContext& context, const char* id, const CurveParams& p, bool inserting) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  MetricResult result;
  note_constant(map, result);
  const Tensor fill = removal_fill(one, id, p.fill);
  const std::vector<int64_t> counts = removal_counts(map.numel(), p.step);
  const Tensor position = position_in(descending_order(map, ties_from(p.ties), one.seed), map);
  const Tensor& start = inserting ? fill : one.input;
  const Tensor& end = inserting ? one.input : fill;
  Curve curve = curve_of(id, inserting ? "share of pixels inserted" : "share of pixels removed", p, counts,
                         exchange(one, position, counts, start, end, measure_from(p.score)));
  const double clean = inserting ? curve.y.back() : curve.y.front();
  const double auc = area_under(curve.x, curve.y);
  result.scores = {{"auc", auc}, {"clean", clean}, {"tied", tied_share(map)}};
  if (clean != 0) {
    result.scores["auc_of_clean"] = auc / clean;
  } else {
    result.notes.emplace_back("the clean score is 0: no area relative to it");
  }
  result.curves.push_back(std::move(curve));
  return result;
}

MetricResult deletion(const MetricContext& context, const CurveParams& p) {
  return exchange_auc(context, "deletion", p, false);
}
MetricResult insertion(const MetricContext& context, const InsertionParams& p) {
  return exchange_auc(context, "insertion", p, true);
}

MetricResult pixel_flipping(const MetricContext& context, const FlippingParams& p) {
  const Context one = one_picture(context);
  const bool most_first = p.order == "most-relevant-first";
  const Tensor map = most_first ? judged_map(context) : -judged_map(context);
  MetricResult result;
  note_constant(map, result);
  const std::vector<int64_t> counts = removal_counts(map.numel(), p.step);
  const Tensor position = position_in(descending_order(map, ties_from(p.ties), one.seed), map);
  std::vector<double> y =
      exchange(one, position, counts, one.input, removal_fill(one, "pixel-flipping", p.fill), measure_from(p.score));
  double drop = 0;
  for (const double value : y) drop += y.front() - value;
  result.scores = {{"aopc", drop / static_cast<double>(y.size())}, {"tied", tied_share(map)}};
  result.curves.push_back(curve_of("pixel-flipping", "share of pixels removed", p, counts, std::move(y)));
  return result;
}

struct RoadParams {
  int64_t step = 10;
  double noise = 0.01;
  std::string score = "probability";
  std::string ties = "random";
};
template <class V>
void describe(V& visit, RoadParams& p) {
  visit("step", p.step, integer_between(1, 50),
        "Percent of the pixels removed at first and added each time, below 100.");
  visit("noise", p.noise, between(0, 10), "Standard deviation added to imputed pixels, in the model domain.");
  visit("score", p.score, one_of({"probability", "logit"}), "What is watched.");
  visit("ties", p.ties, one_of({"random", "raster"}), "Order of equal values: random from the seed, or by position.");
}

/// The score after imputing the first counts[k] pixels of an order.
std::vector<double> imputed_scores(const Context& one, const Tensor& position, const std::vector<int64_t>& counts,
                                   const RoadParams& p) {
  const Tensor picture = to_planes(one, one.input).squeeze(0);
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  const Tensor noise =
      at::randn(picture.sizes(), generator, at::TensorOptions(at::kDouble)).to(picture.options()) * p.noise;
  const Tensor place = position.to(picture.device());
  Variants variants;
  variants.count = static_cast<int64_t>(counts.size());
  variants.measure = measure_from(p.score);
  variants.what = "imputed pictures";
  variants.make = [&](int64_t begin, int64_t n) {
    TensorList made;  // one by one: the solver holds some twenty arrays of a picture's size
    for (int64_t k = begin; k < begin + n; ++k) {
      const Tensor missing = (place < counts[static_cast<size_t>(k)]).unsqueeze(0);
      made.push_back(linear_imputation(picture, missing) + noise * missing.unsqueeze(1));
    }
    return from_planes(one, at::cat(made));
  };
  return numbers(measure_variants(one, variants));
}

MetricResult road(const MetricContext& context, const RoadParams& p) {
  const Context one = one_picture(context);
  const Tensor map = judged_map(context);
  MetricResult result;
  note_constant(map, result);
  std::vector<int64_t> counts;
  Curve most{"most relevant removed first", "share of pixels removed", p.score, {}, {}, {}};
  for (int64_t percent = p.step; percent < 100; percent += p.step) {
    most.x.push_back(static_cast<double>(percent) / 100);
    counts.push_back(std::llround(most.x.back() * static_cast<double>(map.numel())));
  }
  Curve least = most;
  least.name = "least relevant removed first";
  const Tensor position = position_in(descending_order(map, ties_from(p.ties), one.seed), map);
  most.y = imputed_scores(one, position, counts, p);
  least.y = imputed_scores(one, map.numel() - 1 - position, counts, p);
  double morf = 0, lerf = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    morf += most.y[i] / static_cast<double>(counts.size());
    lerf += least.y[i] / static_cast<double>(counts.size());
  }
  result.scores = {{"road", (lerf - morf) / 2}, {"morf", morf}, {"lerf", lerf}, {"tied", tied_share(map)}};
  result.curves = {std::move(most), std::move(least)};
  return result;
}

struct AverageDropParams {
  std::string normalization = "max";
  std::string domain = "model";
};
template <class V>
void describe(V& visit, AverageDropParams& p) {
  visit("normalization", p.normalization, one_of({"max", "min-max"}),
        "How the map becomes 0..1: positive part over the maximum, or scaled from minimum to maximum.");
  visit("domain", p.domain, one_of({"model", "display"}),
        "Where picture and map are multiplied: model (masked is often the mean color) or display (masked is black).");
}

/// The map in 0..1; zeros where there is nothing to scale.
Tensor heatmap_of(const Tensor& map, bool min_max, MetricResult& result) {
  const Tensor shifted = min_max ? map - map.min() : at::relu(map);
  const double top = shifted.max().item<double>();
  if (top > 1e-12 * std::max(1.0, map.abs().max().item<double>())) return shifted / top;
  result.degenerate = true;
  result.notes.emplace_back("the map shows nothing: the whole picture is masked");
  return at::zeros_like(map);
}

MetricResult average_drop(const MetricContext& context, const AverageDropParams& p) {
  const Context one = one_picture(context);
  MetricResult result;
  const Tensor heatmap = heatmap_of(judged_map(context), p.normalization == "min-max", result);
  const Tensor black = p.domain == "display" ? fill_for(one, "average-drop", "black", 0) : at::zeros_like(one.input);
  const Tensor masked = blend(one, 0, heatmap.unsqueeze(0), black);
  Variants variants;
  variants.count = 2;
  variants.measure = Measure::kProbability;
  const Tensor both = at::cat({one.input, masked});
  variants.make = [&](int64_t begin, int64_t n) { return both.narrow(0, begin, n); };
  const std::vector<double> y = numbers(measure_variants(one, variants));
  const double clean = y[0], seen = y[1];
  result.scores = {{"increase", seen > clean ? 100.0 : 0.0}, {"mean_map", heatmap.mean().item<double>()}};
  if (clean > 0) {
    result.scores["drop"] = std::max(0.0, clean - seen) / clean * 100;
  } else {
    result.notes.emplace_back("the class has probability 0: it cannot drop");
  }
  if (clean < 1) {
    result.scores["gain"] = std::max(0.0, seen - clean) / (1 - clean) * 100;
  } else {
    result.notes.emplace_back("the class has probability 1: it cannot gain");
  }
  return result;
}

std::vector<ScoreSpec> auc_scores(Better better) {
  return {{"auc", better, "Area under the curve over the share of pixels, 0..1 for a probability."},
          {"auc_of_clean", better, "The same over the clean score, since weak predictions lose little."},
          {"clean", Better::kNeither, "The score of the untouched picture."},
          {"tied", Better::kNeither, "Share of the pixels whose value is not unique."}};
}

}  // namespace

Metric deletion_metric() {
  return make_metric<CurveParams>(
      {"deletion", "Deletion", "faithfulness", "Removes pixels by decreasing value; the score should collapse early.",
       "The fill erases evidence without adding any: pictures with holes are unlike what the network was trained on "
       "(compare road). The sign of the map counts. Methods that optimize this very curve win it.",
       "picture area / step passes"},
      kPetsiuk2018, kMetricPasses, auc_scores(Better::kLower), deletion);
}

Metric insertion_metric() {
  return make_metric<InsertionParams>(
      {"insertion", "Insertion", "faithfulness",
       "Brings pixels back by decreasing value; the score should recover early.",
       "The start shows no evidence; large objects survive the blur. Otherwise as deletion.",
       "picture area / step passes"},
      kPetsiuk2018, kMetricPasses, auc_scores(Better::kHigher), insertion);
}

Metric pixel_flipping_metric() {
  return make_metric<FlippingParams>(
      {"pixel-flipping", "Pixel flipping", "faithfulness",
       "Mean fall of the score while pixels are removed in the order of the map (AOPC).",
       "As deletion. In units of the score, so comparable on one picture and target only. With order=least-relevant-"
       "first lower is better.",
       "picture area / step passes"},
      kSamek2017, kMetricPasses,
      {{"aopc", Better::kHigher, "Mean over the curve, its start included, of the clean score less the score."},
       {"tied", Better::kNeither, "Share of the pixels whose value is not unique."}},
      pixel_flipping);
}

Metric road_metric() {
  return make_metric<RoadParams>(
      {"road", "ROAD (remove and debias)", "faithfulness",
       "Removes pixels from either end of the order and fills them in from their surroundings.",
       "Smooth imputation leaks no mask shape; large smooth objects are imputed perfectly and then nothing drops. "
       "Exactly round(q area) pixels go, by rank.",
       "2 * (100 / step - 1) passes and as many linear systems"},
      kRong2022, kMetricPasses,
      {{"road", Better::kHigher, "Mean over q of half the score left by removing the least less the most relevant."},
       {"morf", Better::kLower, "Mean score after removing the most relevant."},
       {"lerf", Better::kHigher, "Mean score after removing the least relevant."},
       {"tied", Better::kNeither, "Share of the pixels whose value is not unique."}},
      road);
}

Metric average_drop_metric() {
  return make_metric<AverageDropParams>(
      {"average-drop", "Average drop, increase, gain", "faithfulness",
       "Shows the network the picture multiplied by the map and compares probabilities.",
       "A map that is 1 everywhere drops nothing and wins: read it beside mean_map. Over pictures, the means of these "
       "scores are average drop, increase in confidence and average gain.",
       "2 passes"},
      kChattopadhay2018, kMetricPasses | kMetricClass,
      {{"drop", Better::kLower, "max(0, p - q) / p in percent; p clean, q masked."},
       {"increase", Better::kHigher, "100 when q > p, else 0."},
       {"gain", Better::kHigher, "max(0, q - p) / (1 - p) in percent."},
       {"mean_map", Better::kNeither, "Mean of the map in 0..1: how much of the picture was shown."}},
      average_drop);
}

}  // namespace pellucid
