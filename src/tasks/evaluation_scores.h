#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/evaluate.h"

namespace pellucid {

/// What metric strings are called where room is short: by their id, or in full where several share it.
std::map<std::string, std::string> short_names(const std::vector<std::string>& metrics);

/// What all metrics say about one map of one picture, in the order of the metrics.
struct JudgedMap {
  std::vector<MetricResult> results;
  std::vector<std::string> notes;  ///< Of the method and of metrics that could not be had.
  double milliseconds = 0;         ///< Of the explanation.
};

/// Collects the scores of one set picture by picture and sums them up.
class ScoreCollector {
 public:
  ScoreCollector(std::vector<MetricCall> metrics, size_t num_methods, int64_t seeds, uint64_t seed);

  /// Scores that the map leaves undefined become NaN. Pictures may come in any order.
  void add(size_t method, size_t picture, const JudgedMap& map);
  /// Fills scores, curves and times of the methods that were not left out, for the set's pictures.
  void finish(EvaluatedSet& set);

 private:
  void add_curve(size_t method, const std::string& name, const Curve& curve);
  EvaluatedScore summarized(const EvaluatedSet& set, const std::string& metric, const ScoreSpec& spec,
                            std::vector<double> values) const;
  EvaluatedScore validated_iou(const EvaluatedSet& set, size_t method, const std::string& metric) const;
  void compare_with_best(EvaluatedSet& set) const;

  struct OfMethod {
    std::map<std::pair<size_t, std::string>, std::map<size_t, double>> scores;  ///< (metric, score) -> by picture.
    std::map<std::string, std::pair<Curve, int64_t>> curves;                    ///< Sums, and how many.
    std::map<size_t, std::vector<double>> sweeps;                               ///< IoU by threshold, by picture.
    double milliseconds = 0;
  };
  std::vector<MetricCall> metrics_;
  std::vector<std::string> names_;  ///< Of the metrics, for curves.
  std::vector<OfMethod> methods_;
  int64_t seeds_;
  uint64_t seed_;
};

}  // namespace pellucid
