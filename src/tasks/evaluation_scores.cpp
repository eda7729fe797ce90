#include "tasks/evaluation_scores.h"

#include <algorithm>
#include <limits>
#include <set>

namespace pellucid {

std::map<std::string, std::string> short_names(const std::vector<std::string>& metrics) {
  std::map<std::string, std::set<std::string>> by_id;
  for (const std::string& text : metrics) by_id[call_id(text)].insert(text);
  std::map<std::string, std::string> names;
  for (const auto& [id, texts] : by_id) {
    for (const std::string& text : texts) names[text] = texts.size() == 1 ? id : text;
  }
  return names;
}

ScoreCollector::ScoreCollector(std::vector<MetricCall> metrics, size_t num_methods, int64_t seeds, uint64_t seed)
    : metrics_(std::move(metrics)), methods_(num_methods), seeds_(seeds), seed_(seed) {
  for (const MetricCall& call : metrics_) names_.push_back(call.text());
  const auto names = short_names(names_);
  for (std::string& name : names_) name = names.at(name);
}

void ScoreCollector::add(size_t m, size_t picture, const JudgedMap& map) {
  OfMethod& method = methods_[m];
  method.milliseconds += map.milliseconds;
  for (size_t k = 0; k < map.results.size(); ++k) {
    for (const auto& [name, value] : map.results[k].scores) method.scores[{k, name}][picture] = value;
    for (const Curve& curve : map.results[k].curves) {
      add_curve(m, names_[k] + "/" + curve.name, curve);
      if (metrics_[k].metric->id == "iou") method.sweeps[picture] = curve.y;
    }
  }
}

void ScoreCollector::add_curve(size_t m, const std::string& name, const Curve& curve) {
  auto& [sum, count] = methods_[m].curves[name];
  if (count == 0) {
    sum = curve;
  } else if (sum.x.size() == curve.x.size()) {
    for (size_t j = 0; j < curve.y.size(); ++j) sum.y[j] += curve.y[j];
  } else {
    return;
  }
  ++count;
}

void ScoreCollector::finish(EvaluatedSet& set) {
  for (size_t m = 0; m < methods_.size(); ++m) {
    EvaluatedMethod& method = set.methods[m];
    if (!method.left_out.empty()) continue;
    method.milliseconds = methods_[m].milliseconds / std::max<double>(1, static_cast<double>(set.pictures.size()));
    for (size_t k = 0; k < metrics_.size(); ++k) {
      for (const ScoreSpec& spec : metrics_[k].metric->scores) {
        std::vector<double> values(set.pictures.size(), std::numeric_limits<double>::quiet_NaN());
        for (const auto& [picture, value] : methods_[m].scores[{k, spec.name}]) values.at(picture) = value;
        method.scores.push_back(summarized(set, metrics_[k].text(), spec, std::move(values)));
      }
      if (metrics_[k].metric->id == "iou") method.scores.push_back(validated_iou(set, m, metrics_[k].text()));
    }
    for (auto& [name, entry] : methods_[m].curves) {
      for (double& y : entry.first.y) y /= static_cast<double>(entry.second);
      method.mean_curves[name] = std::move(entry.first);
    }
  }
  compare_with_best(set);
}

EvaluatedScore ScoreCollector::summarized(const EvaluatedSet& set, const std::string& metric, const ScoreSpec& spec,
                                          std::vector<double> values) const {
  EvaluatedScore score;
  score.metric = metric;
  score.spec = spec;
  score.values = std::move(values);
  score.summary = summarize(score.values, seed_);
  std::map<int64_t, std::vector<double>> by_seed;
  for (size_t i = 0; i < score.values.size(); ++i) by_seed[set.pictures[i].seed].push_back(score.values[i]);
  for (const auto& [seed, of_seed] : by_seed) {
    const Summary s = summarize(of_seed, seed_);
    if (s.n > 0) score.seed_means.push_back(s.mean);
  }
  score.seed_sd = summarize(score.seed_means, seed_).sd;
  return score;
}

/// The threshold of each seed's pictures is the one that is best on the other seeds' (a single seed: on its own).
EvaluatedScore ScoreCollector::validated_iou(const EvaluatedSet& set, size_t m, const std::string& metric) const {
  const std::map<size_t, std::vector<double>>& sweeps = methods_[m].sweeps;
  std::vector<double> values(set.pictures.size(), std::numeric_limits<double>::quiet_NaN());
  const auto best_without = [&](int64_t seed) {
    std::vector<double> sum;
    for (const auto& [row, sweep] : sweeps) {
      if (seeds_ > 1 && set.pictures[row].seed == seed) continue;
      sum.resize(sweep.size());
      for (size_t t = 0; t < sweep.size(); ++t) sum[t] += sweep[t];
    }
    return sum.empty() ? 0 : static_cast<size_t>(std::max_element(sum.begin(), sum.end()) - sum.begin());
  };
  std::map<int64_t, size_t> threshold;
  for (const auto& [row, sweep] : sweeps) {
    const int64_t seed = set.pictures[row].seed;
    if (threshold.count(seed) == 0) threshold[seed] = best_without(seed);
    values[row] = sweep.at(threshold[seed]);
  }
  const ScoreSpec spec{"validated_iou", Better::kHigher,
                       "At the threshold that is best for the pictures of the other seeds."};
  return summarized(set, metric, spec, std::move(values));
}

void ScoreCollector::compare_with_best(EvaluatedSet& set) const {
  const EvaluatedMethod* any = nullptr;
  for (const EvaluatedMethod& method : set.methods) {
    if (method.left_out.empty()) any = &method;
  }
  if (!any) return;
  for (size_t s = 0; s < any->scores.size(); ++s) {
    const EvaluatedScore* best = nullptr;
    for (const EvaluatedMethod& method : set.methods) {
      if (!method.left_out.empty() || method.scores[s].summary.n == 0) continue;
      const EvaluatedScore& score = method.scores[s];
      const bool better = !best || (score.spec.better == Better::kLower ? score.summary.mean < best->summary.mean
                                                                        : score.summary.mean > best->summary.mean);
      if (better) best = &score;
    }
    if (!best) continue;
    for (EvaluatedMethod& method : set.methods) {
      if (!method.left_out.empty()) continue;
      method.scores[s].against_best = compare_paired(method.scores[s].values, best->values, seed_);
    }
  }
}

}  // namespace pellucid
