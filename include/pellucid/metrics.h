#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid {

/// A rectangle of known truth in pixels of the map: columns [x, x + width), rows [y, y + height).
struct TruthBox {
  int64_t x = 0, y = 0, width = 0, height = 0;
};

/// A part of the picture with what it is worth to the network.
struct TruthPart {
  std::string name;
  Tensor mask;                  ///< [H,W], nonzero where the part is seen.
  double importance = 0;        ///< Drop of the target's score when the part is taken away.
  bool discriminative = false;  ///< Whether the class can be told from it.
};

/// What a metric judges, one map of one picture, and everything it may need for that.
struct MetricContext {
  const Context& context;  ///< Network, pictures, target, seed, memory; `map` belongs to one of its pictures.
  Tensor map;              ///< [H,W] at input resolution: signed, never normalized.
  int64_t image = 0;       ///< Which picture of the context.
  /// The same attribution before its channels were reduced, in the shape of one picture, for methods at the input.
  Tensor values = {};
  Tensor mask = {};                   ///< [H,W], nonzero where the evidence is known to be.
  Tensor ignore = {};                 ///< [H,W], nonzero where the truth is not known; left out of every comparison.
  std::vector<TruthBox> boxes = {};   ///< The same truth as boxes; a metric takes the kind it is defined on.
  Tensor others = {};                 ///< [H,W], nonzero on objects of other classes than the target's.
  std::vector<TruthPart> parts = {};  ///< Parts of known importance.
  std::string baseline = {};          ///< The baseline of the method that made the map ("black"); empty: none.
  const Method* method = nullptr;     ///< That made the map, where it is known.
  /// What the method said about the picture (Attribution::diagnostics). "attribution_sum" and "score_difference" are
  /// what a complete method makes equal, against the reference it was really run with.
  std::map<std::string, double> diagnostics = {};
  /// Makes the map again, for other pictures or another network. Same method, same parameters.
  std::function<Attribution(const Context&)> explain = {};
  /// Another picture [1,...] of the same shape with other content, for what unrelated maps score. May be empty and may
  /// return an undefined tensor; then that is left open.
  std::function<Tensor()> another = {};
  /// The same architecture trained on shuffled labels, for data randomization.
  const Network* label_randomized = nullptr;
  /// Pixels of the map per pixel of the photo: published tolerances are in those of the photo.
  double map_scale = 1;
};

/// One curve behind a score.
struct Curve {
  std::string name;                 ///< "deletion"
  std::string x_title, y_title;     ///< "share of pixels removed", "probability"
  std::vector<double> x, y;         ///< Equally long; finite.
  std::vector<std::string> labels;  ///< What each x stands for where that is no number (layer names); else empty.
};

/// Scores by name. One that the map leaves undefined is absent, and a note says why; nothing here is ever NaN.
struct MetricResult {
  std::map<std::string, double> scores;
  std::vector<Curve> curves;
  std::vector<std::string> notes;
  bool degenerate = false;  ///< The map is blank or constant where the metric needs contrast.
};

enum class Better { kHigher, kLower, kNeither };
const char* better_text(Better better);  ///< "higher", "lower", "neither".

struct ScoreSpec {
  std::string name;
  Better better = Better::kHigher;
  std::string meaning;  ///< One line with the unit or range.
};

enum MetricNeed : unsigned {
  kMetricTruth = 1,          ///< A mask or boxes.
  kMetricClass = 2,          ///< A class as target: a probability or another class to compare with.
  kMetricPasses = 4,         ///< Runs the network on changed pictures.
  kMetricExplains = 8,       ///< Explains again (MetricContext::explain).
  kMetricOtherNetwork = 16,  ///< MetricContext::label_randomized.
  kMetricParts = 32,         ///< MetricContext::parts.
  kMetricOthers = 64         ///< MetricContext::others.
};

/// One entry in the table of metrics. Flags, help, docs and JSON follow from it.
struct Metric {
  std::string id;
  std::string title;
  std::string family;  ///< faithfulness, localization, complexity, robustness, randomization or axiomatic.
  std::string summary;
  Paper paper;
  Better better = Better::kHigher;  ///< Of the first score, which stands for the metric.
  std::vector<ScoreSpec> scores;
  std::string assumes;  ///< What has to be true for the number to mean something, and what it cannot see.
  std::string cost;     ///< "none", "2 n passes".
  unsigned needs = 0;
  std::vector<ParamSpec> params;
  std::function<MetricResult(const MetricContext&, const ParamMap&)> run;
  /// Defaults filled in; throws Error(kUsage) on a wrong name or value.
  std::function<ParamMap(const ParamMap&)> complete;
};

/// Every metric, in the order of the table. Duplicate ids are refused when it is first built.
const std::vector<Metric>& metrics();

/// A metric and its parameters, as one string: "deletion:step=224,fill=mean".
struct MetricCall {
  const Metric* metric = nullptr;
  ParamMap params;  ///< Only those that were given.

  /// Throws Error(kUsage) for an unknown metric or a bad parameter.
  static MetricCall parse(const std::string& text);
  std::string text() const;
};

/// Splits "iou,deletion:step=1,fill=mean" at the commas that begin a new metric; "all" stands for every metric.
std::vector<MetricCall> parse_metrics(const std::string& text);

/// Runs a metric. Throws Error(kUsage) when the map's size or something that the metric needs does not fit or is not
/// there, and Error(kFailed) naming the metric when the map or a score is not finite.
MetricResult evaluate(const MetricCall& call, const MetricContext& context);

/// How well a map finds a region that is known to matter. `map` [H,W], `mask` [H,W] bool of the same size. Negative
/// values count as zero. A map without positive values scores 0 everywhere; an empty mask throws Error(kUsage). The
/// metrics of family "localization" compute the same numbers.
struct Localization {
  double iou_half = 0;  ///< IoU of {map >= 0.5 max} with the mask. Higher is better.
  double iou_best = 0;  ///< Best IoU over thresholds 0, 0.02, ..., 1 of the maximum. Higher is better.
  double best_threshold = 0;
  double mass = 0;   ///< Share of the map's sum inside the mask (relevance mass; Arras, Osman, Samek, Information
                     ///< Fusion 2022). Higher is better.
  double rank = 0;   ///< Share of the |mask| highest pixels inside the mask (relevance rank; same paper).
  bool hit = false;  ///< The maximum lies inside (pointing game without tolerance; Zhang et al., ECCV 2016).
};
Localization localization(const Tensor& map, const Tensor& mask);

}  // namespace pellucid
