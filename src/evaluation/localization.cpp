// Metrics that compare a map with a region that is known to matter.

#include <algorithm>
#include <cmath>
#include <limits>

#include "evaluation/metric.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr Paper kArras2022{"arras2022", "Arras, Osman, Samek",
                           "CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network "
                           "Explanations",
                           "Information Fusion", 2022};
constexpr Paper kZhang2016{"zhang2016", "Zhang, Lin, Brandt, Shen, Sclaroff",
                           "Top-down Neural Attention by Excitation Backprop", "ECCV", 2016};
constexpr Paper kWang2020{"wang2020", "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
                          "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
                          "CVPR Workshops", 2020};
constexpr Paper kChoe2020{"choe2020", "Choe, Oh, Lee, Chun, Akata, Shim",
                          "Evaluating Weakly Supervised Object Localization Methods Right", "CVPR", 2020};
constexpr Paper kEveringham2010{"everingham2010", "Everingham, Van Gool, Williams, Winn, Zisserman",
                                "The Pascal Visual Object Classes (VOC) Challenge", "IJCV", 2010};
constexpr Paper kSaito2015{"saito2015", "Saito, Rehmsmeier",
                           "The Precision-Recall Plot Is More Informative than the ROC Plot When Evaluating Binary "
                           "Classifiers on Imbalanced Datasets",
                           "PLOS ONE", 2015};

/// The pixels that take part, flattened: the map with what is negative set to zero, the map as it is, and the truth.
struct Compared {
  Tensor positive, raw, inside;
  double top = 0;  ///< Largest positive value.
  double area = 0;
};

Compared compared(const Tensor& map, const Tensor& truth, const Tensor& ignore) {
  Compared c;
  c.raw = map.to(at::kCPU, at::kDouble).flatten();
  c.inside = truth.to(at::kCPU).to(at::kBool).flatten();
  if (ignore.defined()) {
    const Tensor known = ignore.to(at::kCPU).to(at::kBool).flatten().logical_not();
    c.raw = c.raw.masked_select(known);
    c.inside = c.inside.masked_select(known);
  }
  c.positive = at::relu(c.raw);
  c.area = c.inside.sum().item<double>();
  if (c.area > 0) c.top = c.positive.max().item<double>();
  return c;
}

Tensor truth_region(const MetricContext& c) {
  if (c.mask.defined()) return c.mask.ne(0);
  Tensor region = at::zeros(c.map.sizes(), at::kBool);
  for (const TruthBox& b : c.boxes) {
    const int64_t top = std::max<int64_t>(0, b.y), left = std::max<int64_t>(0, b.x);
    const int64_t bottom = std::min(c.map.size(0), b.y + b.height), right = std::min(c.map.size(1), b.x + b.width);
    if (bottom > top && right > left) region.slice(0, top, bottom).slice(1, left, right).fill_(true);
  }
  return region;
}

Compared compared(const MetricContext& c, const char* id) {
  Compared result = compared(c.map, truth_region(c), c.ignore);
  if (result.area == 0) throw_usage(std::string(id) + ": the mask is empty");
  return result;
}

/// The map, with `unknown` where the truth is not known.
Tensor known_map(const MetricContext& c, double unknown) {
  const Tensor map = judged_map(c);
  return c.ignore.defined() ? map.masked_fill(c.ignore.to(at::kCPU).ne(0), unknown) : map;
}

/// A blank map has found nothing; a constant one has chosen everything.
void note_degenerate(const Compared& c, MetricResult& result) {
  if (!(c.top > 0)) {
    result.degenerate = true;
    result.notes.emplace_back("the map is nowhere positive: it points at nothing and scores 0");
  } else if (c.raw.min().item<double>() == c.top) {
    result.degenerate = true;
    result.notes.emplace_back("the map is constant: it points at everything alike");
  }
}

struct Overlap {
  double iou = 0, precision = 0, recall = 0;
};
/// {map >= level} against the truth. At level zero everything would count; only what is positive does.
Overlap overlap(const Compared& c, double level) {
  Overlap o;
  if (!(c.top > 0)) return o;
  const Tensor chosen = level == 0 ? c.positive.gt(0) : c.positive.ge(level);
  const double both = chosen.logical_and(c.inside).sum().item<double>();
  const double chosen_area = chosen.sum().item<double>();
  o.iou = both / (chosen_area + c.area - both);
  o.precision = chosen_area > 0 ? both / chosen_area : 0;
  o.recall = both / c.area;
  return o;
}

constexpr int64_t kSweep = 50;  ///< Steps of the sweep over thresholds.
std::vector<double> sweep(const Compared& c) {
  std::vector<double> result;
  for (int64_t step = 0; step <= kSweep; ++step) {
    result.push_back(overlap(c, static_cast<double>(step) / kSweep * c.top).iou);
  }
  return result;
}
/// Position of the first best value.
size_t best_of(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

double mass_inside(const Compared& c) {
  return c.top > 0 ? c.positive.masked_select(c.inside).sum().item<double>() / c.positive.sum().item<double>() : 0;
}

double rank_inside(const Compared& c, Ties ties, uint64_t seed) {
  if (!(c.top > 0)) return 0;
  const Tensor highest = descending_order(c.positive, ties, seed).narrow(0, 0, static_cast<int64_t>(c.area));
  return c.inside.index_select(0, highest).sum().item<double>() / c.area;
}

}  // namespace

Localization localization(const Tensor& map, const Tensor& mask) {
  if (map.dim() != 2 || map.sizes() != mask.sizes()) {
    throw_usage("localization: map " + shape_text(map.sizes()) + " and mask " + shape_text(mask.sizes()) +
                " must have one size");
  }
  const Compared c = compared(map, mask, {});
  if (c.area == 0) throw_usage("localization: the mask is empty");
  Localization result;
  if (!(c.top > 0)) return result;
  const std::vector<double> ious = sweep(c);
  const size_t best = best_of(ious);
  result.iou_half = ious[kSweep / 2];
  result.iou_best = ious[best];
  result.best_threshold = static_cast<double>(best) / kSweep;
  result.mass = mass_inside(c);
  result.rank = rank_inside(c, Ties::kRaster, 0);
  result.hit = c.inside[c.positive.argmax().item<int64_t>()].item<bool>();
  return result;
}

namespace {

/// The threshold between two classes of values whose means lie furthest apart, weighted by how many each has.
/// Otsu. "A Threshold Selection Method from Gray-Level Histograms". IEEE SMC 1979; exact, on the sorted values.
double otsu_threshold(const Tensor& values) {
  const Tensor sorted = std::get<0>(values.sort());
  const int64_t n = sorted.numel();
  if (n < 2) return sorted[0].item<double>();
  const Tensor below = sorted.cumsum(0).slice(0, 0, n - 1);
  const Tensor count = at::arange(1, n, at::kDouble);
  const Tensor rest = static_cast<double>(n) - count;
  const Tensor apart = (sorted.sum() - below) / rest - below / count;
  // Equal values stay together: only steps between different ones count.
  const Tensor step = sorted.slice(0, 1) > sorted.slice(0, 0, n - 1);
  const Tensor between = count * rest * apart.square() * step.to(at::kDouble);
  return sorted[between.argmax().item<int64_t>() + 1].item<double>();
}

struct IouParams {
  double threshold = 0.5;
};
template <class V>
void describe(V& visit, IouParams& p) {
  visit("threshold", p.threshold, between(0, 1), "Share of the map's maximum from which a pixel is chosen.");
}

MetricResult iou(const MetricContext& context, const IouParams& p) {
  const Compared c = compared(context, "iou");
  MetricResult result;
  note_degenerate(c, result);
  const Overlap fixed = overlap(c, p.threshold * c.top);
  const std::vector<double> all = sweep(c);
  const size_t best = best_of(all);
  result.scores = {{"iou", fixed.iou},
                   {"precision", fixed.precision},
                   {"recall", fixed.recall},
                   {"best_iou", all[best]},
                   {"best_threshold", static_cast<double>(best) / kSweep}};
  if (c.top > 0) {
    const double mean = c.positive.mean().item<double>();
    const auto area = static_cast<int64_t>(c.area);
    const double last = std::get<0>(c.positive.topk(area)).min().item<double>();
    result.scores["mean_iou"] = overlap(c, mean).iou;
    result.scores["otsu_iou"] = overlap(c, otsu_threshold(c.positive)).iou;
    result.scores["area_iou"] = overlap(c, last).iou;
  } else {
    for (const char* name : {"mean_iou", "otsu_iou", "area_iou"}) result.scores[name] = 0;
  }
  Curve curve{"iou", "threshold as a share of the maximum", "IoU", {}, all, {}};
  for (size_t i = 0; i < all.size(); ++i) curve.x.push_back(static_cast<double>(i) / kSweep);
  result.curves.push_back(std::move(curve));
  return result;
}

/// Sum over thresholds of precision times the recall gained there. Tied pixels enter together.
MetricResult average_precision(const MetricContext& context, const NoParams&) {
  const Compared c = compared(context, "average-precision");
  MetricResult result;
  note_degenerate(c, result);
  const auto [sorted, order] = c.raw.sort(0, /*descending=*/true);
  const Tensor counts = std::get<2>(at::unique_consecutive(sorted, false, true));
  const Tensor last = counts.cumsum(0) - 1;  // of each group of equal values
  const Tensor found = c.inside.index_select(0, order).to(at::kDouble).cumsum(0).index_select(0, last);
  const Tensor precision = found / (last.to(at::kDouble) + 1);
  const Tensor recall = found / c.area;
  const Tensor gained = recall - at::cat({at::zeros({1}, at::kDouble), recall.slice(0, 0, -1)});
  result.scores = {{"average_precision", (precision * gained).sum().item<double>()},
                   {"chance", c.area / static_cast<double>(c.raw.numel())}};
  return result;
}

struct MassParams {
  std::string region = "auto";
  std::string normalization = "positive";
};
template <class V>
void describe(V& visit, MassParams& p) {
  visit("region", p.region, one_of({"auto", "box"}),
        "Where energy counts: the mask if there is one, else the boxes; or the boxes, around the mask if need be.");
  visit("normalization", p.normalization, one_of({"positive", "min-max"}),
        "What energy is: positive values, or the map scaled to 0..1 as the paper has it, which turns negative evidence "
        "and a flat offset into energy.");
}

/// The smallest box around what is nonzero; {0,0,0,0} when nothing is.
TruthBox bounding_box(const Tensor& region) {
  const Tensor at = region.nonzero();
  if (at.size(0) == 0) return {};
  const auto [low, high] = at::aminmax(at, 0);
  const auto side = [&](int64_t axis) {
    return std::pair{low[axis].item<int64_t>(), high[axis].item<int64_t>() - low[axis].item<int64_t>() + 1};
  };
  const auto [y, height] = side(0);
  const auto [x, width] = side(1);
  return {x, y, width, height};
}

/// The boxes given, or one around the mask.
std::vector<TruthBox> truth_boxes(const MetricContext& c, MetricResult& result) {
  if (!c.boxes.empty()) return c.boxes;
  result.notes.emplace_back("no boxes were given: one box around the whole mask is used");
  Tensor region = c.mask.to(at::kCPU).ne(0);
  if (c.ignore.defined()) region = region.logical_and(c.ignore.to(at::kCPU).eq(0));
  return {bounding_box(region)};
}

MetricResult relevance_mass(const MetricContext& context, const MassParams& p) {
  MetricResult result;
  MetricContext with_region = context;
  if (p.region == "box") {
    with_region.boxes = truth_boxes(context, result);
    with_region.mask = Tensor();
  }
  const Compared c = compared(with_region, "relevance-mass");
  note_degenerate(c, result);
  double mass = mass_inside(c);
  if (p.normalization == "min-max") {
    const Tensor energy = c.raw - c.raw.min();
    const double all = energy.sum().item<double>();
    mass = all > 0 ? energy.masked_select(c.inside).sum().item<double>() / all : 0;
  }
  result.scores = {{"mass", mass}, {"chance", c.area / static_cast<double>(c.raw.numel())}};
  return result;
}

struct TiesParams {
  std::string ties = "random";
};
template <class V>
void describe(V& visit, TiesParams& p) {
  visit("ties", p.ties, one_of({"random", "raster"}), "Order of equal values: random from the seed, or by position.");
}

MetricResult relevance_rank(const MetricContext& context, const TiesParams& p) {
  const Compared c = compared(context, "relevance-rank");
  MetricResult result;
  note_degenerate(c, result);
  result.scores = {{"rank", rank_inside(c, ties_from(p.ties), context.context.seed)},
                   {"tied", tied_share(c.positive)},
                   {"chance", c.area / static_cast<double>(c.raw.numel())}};
  return result;
}

struct PointingParams {
  double tolerance = 15;
  std::string ties = "random";
};
template <class V>
void describe(V& visit, PointingParams& p) {
  visit("tolerance", p.tolerance, between(0, 1e6), "Euclidean distance in pixels of the photo that still is a hit.");
  visit("ties", p.ties, one_of({"random", "raster"}),
        "Which of several maxima counts: random from the seed, or first.");
}

MetricResult pointing_game(const MetricContext& context, const PointingParams& p) {
  const Compared c = compared(context, "pointing-game");
  MetricResult result;
  note_degenerate(c, result);
  result.scores = {{"hit", 0}, {"hit_without_tolerance", 0}};
  if (result.degenerate) return result;  // a constant map has no maximum: a random pixel would be luck
  const Tensor map = known_map(context, -std::numeric_limits<double>::infinity());
  const int64_t width = map.size(1);
  const int64_t peak = descending_order(map, ties_from(p.ties), context.context.seed)[0].item<int64_t>();
  Tensor region = truth_region(context).to(at::kCPU);
  if (context.ignore.defined()) region = region.logical_and(context.ignore.to(at::kCPU).eq(0));
  const Tensor offset = region.nonzero().to(at::kDouble) -
                        at::tensor({static_cast<double>(peak / width), static_cast<double>(peak % width)}, at::kDouble);
  const double distance = std::sqrt(offset.square().sum(1).min().item<double>()) / context.map_scale;
  result.scores = {{"hit", distance <= p.tolerance ? 1.0 : 0.0},
                   {"hit_without_tolerance", distance == 0 ? 1.0 : 0.0},
                   {"distance", distance}};
  return result;
}

/// The largest 8-connected component of a mask on the CPU; the first in raster order among equals.
Tensor largest_component(const Tensor& chosen) {
  const Tensor m = chosen.contiguous();
  const int64_t height = m.size(0), width = m.size(1);
  const auto in = m.accessor<bool, 2>();
  std::vector<char> seen(static_cast<size_t>(height * width), 0);
  std::vector<int64_t> best, members;
  for (int64_t start = 0; start < height * width; ++start) {
    if (seen[static_cast<size_t>(start)] || !in[start / width][start % width]) continue;
    members.assign(1, start);
    seen[static_cast<size_t>(start)] = 1;
    for (size_t next = 0; next < members.size(); ++next) {
      const int64_t y = members[next] / width, x = members[next] % width;
      for (int64_t v = std::max<int64_t>(0, y - 1); v <= std::min(height - 1, y + 1); ++v) {
        for (int64_t u = std::max<int64_t>(0, x - 1); u <= std::min(width - 1, x + 1); ++u) {
          char& visited = seen[static_cast<size_t>(v * width + u)];
          if (visited || !in[v][u]) continue;
          visited = 1;
          members.push_back(v * width + u);
        }
      }
    }
    if (members.size() > best.size()) best = members;
  }
  Tensor result = at::zeros({height * width}, at::kBool);
  if (!best.empty()) result.index_fill_(0, at::tensor(best, at::kLong), true);
  return result.view({height, width});
}

double box_iou(const TruthBox& a, const TruthBox& b) {
  const auto shared = [](int64_t p, int64_t n, int64_t q, int64_t m) {
    return static_cast<double>(std::max<int64_t>(0, std::min(p + n, q + m) - std::max(p, q)));
  };
  const double both = shared(a.x, a.width, b.x, b.width) * shared(a.y, a.height, b.y, b.height);
  const double either = static_cast<double>(a.width * a.height + b.width * b.height) - both;
  return either > 0 ? both / either : 0;
}

struct LocalizationErrorParams {
  double threshold = 0.2;
  double iou = 0.5;
};
template <class V>
void describe(V& visit, LocalizationErrorParams& p) {
  visit("threshold", p.threshold, between(0, 1), "Share of the map's maximum that the box is drawn around.");
  visit("iou", p.iou, between(0, 1), "Overlap from which a box is right.");
}

MetricResult localization_error(const MetricContext& context, const LocalizationErrorParams& p) {
  MetricResult result;
  const std::vector<TruthBox> truth = truth_boxes(context, result);
  if (truth.front().width == 0) {
    result.notes.emplace_back("the mask is empty: there is no box to find");
    return result;
  }
  const Tensor map = at::relu(known_map(context, 0));
  const double top = map.max().item<double>();
  result.scores = {{"error", 1}, {"iou", 0}, {"best_iou", 0}, {"best_threshold", 0}};
  if (!(top > 0)) {
    result.degenerate = true;
    result.notes.emplace_back("the map is nowhere positive: there is no box");
    return result;
  }
  const auto iou_at = [&](double threshold) {
    const Tensor chosen = threshold == 0 ? map.gt(0) : map.ge(threshold * top);
    const TruthBox box = bounding_box(largest_component(chosen));
    double best = 0;
    for (const TruthBox& t : truth) best = std::max(best, box_iou(box, t));
    return best;
  };
  Curve curve{"box_iou", "threshold as a share of the maximum", "IoU of the boxes", {}, {}, {}};
  for (int64_t step = 0; step <= 20; ++step) {
    curve.x.push_back(static_cast<double>(step) / 20);
    curve.y.push_back(iou_at(curve.x.back()));
  }
  const double found = iou_at(p.threshold);
  const size_t best = best_of(curve.y);
  result.scores = {{"error", found < p.iou ? 1.0 : 0.0},
                   {"iou", found},
                   {"best_iou", curve.y[best]},
                   {"best_threshold", curve.x[best]}};
  result.curves.push_back(std::move(curve));
  return result;
}

const ScoreSpec kChance{"chance", Better::kNeither, "What a random map scores: the region's share of the picture."};

}  // namespace

Metric iou_metric() {
  return make_metric<IouParams>(
      {"iou", "Intersection over union", "localization",
       "Overlap of the truth with what lies above a share of the map's maximum.",
       "The region given is where the evidence is. One fixed threshold also measures how the map is calibrated; "
       "best_iou takes the best of 51 thresholds, with hindsight. Negative values count as zero.",
       "none"},
      kEveringham2010, kMetricTruth,
      {{"iou", Better::kHigher, "At the fixed threshold, 0..1."},
       {"best_iou", Better::kHigher, "At the best threshold, 0..1."},
       {"best_threshold", Better::kNeither, "Where that is."},
       {"mean_iou", Better::kHigher, "Choosing what is above the map's mean, 0..1."},
       {"otsu_iou", Better::kHigher, "At Otsu's threshold of the map, 0..1."},
       {"area_iou", Better::kHigher, "Choosing as many pixels as the truth has, the highest ones (and ties), 0..1."},
       {"precision", Better::kHigher, "Share of what is chosen that lies inside, at the fixed threshold."},
       {"recall", Better::kHigher, "Share of the truth that is chosen, at the fixed threshold."}},
      iou);
}

Metric average_precision_metric() {
  return make_metric<NoParams>(
      {"average-precision", "Average precision", "localization",
       "The map as a classifier of pixels, over all thresholds at once.",
       "The region given is where the evidence is. Depends on the order of the values alone, negative ones included.",
       "none"},
      kSaito2015, kMetricTruth,
      {{"average_precision", Better::kHigher, "0..1; a random map scores `chance`."}, kChance}, average_precision);
}

Metric relevance_mass_metric() {
  return make_metric<MassParams>(
      {"relevance-mass", "Relevance mass (energy-based pointing game)", "localization",
       "Share of the map's positive values that lies inside the truth.",
       "The region given is where the evidence is. A map that is everywhere a little positive scores low even if its "
       "peak is right.",
       "none"},
      kWang2020, kMetricTruth, {{"mass", Better::kHigher, "0..1; a random map scores `chance`."}, kChance},
      relevance_mass);
}

Metric relevance_rank_metric() {
  return make_metric<TiesParams>(
      {"relevance-rank", "Relevance rank", "localization",
       "Share of the highest pixels, as many as the truth has, that lie inside it.",
       "The region given is where the evidence is, all of it: a method that marks only the decisive part is punished.",
       "none"},
      kArras2022, kMetricTruth,
      {{"rank", Better::kHigher, "0..1; a random map scores `chance`."},
       {"tied", Better::kNeither, "Share of the pixels whose value is not unique."},
       kChance},
      relevance_rank);
}

Metric pointing_game_metric() {
  return make_metric<PointingParams>(
      {"pointing-game", "Pointing game", "localization", "Whether the map's maximum lies in the truth or close to it.",
       "The region given is where the evidence is. With large centred objects, or photos not much larger than the "
       "tolerance, a map of the centre scores high.",
       "none"},
      kZhang2016, kMetricTruth,
      {{"hit", Better::kHigher, "1 or 0, with the tolerance."},
       {"hit_without_tolerance", Better::kHigher, "1 or 0."},
       {"distance", Better::kLower, "Pixels of the photo from the maximum to the truth; absent for a blank map."}},
      pointing_game);
}

Metric localization_error_metric() {
  return make_metric<LocalizationErrorParams>(
      {"localization-error", "Weakly supervised localization error", "localization",
       "Whether the box around the largest component above a threshold misses every true box.",
       "The class is given (GT-known); whether it was also predicted is for the caller to add. best_iou is that of "
       "MaxBoxAcc, whose threshold belongs to a data set, not to one picture.",
       "none"},
      kChoe2020, kMetricTruth,
      {{"error", Better::kLower, "1 when no true box is overlapped enough, else 0."},
       {"iou", Better::kHigher, "With the true box that fits best, 0..1."},
       {"best_iou", Better::kHigher, "The same at the best of 21 thresholds."},
       {"best_threshold", Better::kNeither, "Where that is."}},
      localization_error);
}

}  // namespace pellucid
