#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tasks/evaluation_records.h"
#include "tasks/evaluation_report.h"
#include "tasks/evaluation_scores.h"
#include "tasks/judged_pictures.h"

namespace pellucid {

/// Shows a piece of work as its share of the whole.
class ShareOfProgress final : public Progress {
 public:
  explicit ShareOfProgress(Progress* whole) : whole_(whole) {}

  void begin(double done, double step, double total, const std::string& what);
  /// The same piece under another name.
  void rename(const std::string& what) { begin(done_, step_, total_, what); }
  void report(double done, double total, const std::string& what) override;
  void check() const override;

 private:
  Progress* whole_;
  double done_ = 0, step_ = 1, total_ = 1;
  std::string what_;
};

/// Explains the pictures of one set by all methods and judges the maps by all metrics.
class SetEvaluator {
 public:
  /// All of it must outlive the evaluator. `label_randomized` may be null.
  SetEvaluator(const EvaluateRequest& request, const LoadedModel& model, const PictureSource& source,
               const std::vector<MethodCall>& methods, const std::vector<MetricCall>& metrics,
               const LoadedModel* label_randomized, const EvaluationRecords& records, Progress* progress);

  /// Takes from the records what is there. What a picture fails by goes to `errors`.
  EvaluatedSet run(std::vector<std::string>& errors);
  /// The best, the median and the worst picture of each method by the first score.
  std::vector<EvaluationGallery> galleries(const EvaluatedSet& set);
  /// Pictures of the source that something was annotated for.
  int64_t num_with_truth() const { return num_with_truth_; }

 private:
  /// Pictures of one shape with one target, ready to be explained.
  struct Batch {
    std::vector<JudgedPicture> pictures;
    std::vector<size_t> rows;  ///< Of each picture among the set's.
    Tensor input;
    std::shared_ptr<const LayerTable> table;
    std::unique_ptr<BoundTarget> target;
    std::string key;  ///< What maps of these pictures depend on, but for the method.
  };

  std::shared_ptr<const LayerTable> table_for(const Shape& shape);
  Batch batch_of(std::vector<JudgedPicture> pictures);
  Batch next_batch(int64_t& next, std::vector<std::string>& errors);
  Tensor probabilities(const Batch& batch) const;
  bool is_right(const JudgedPicture& judged);
  Tensor another_picture(size_t row) const;
  std::string record_key(const Batch& batch, size_t i, size_t method) const;
  Context context_for(const Batch& batch, size_t method, Progress* progress);
  Attribution explain(const Batch& batch, size_t method);
  void judge(const Batch& batch, size_t method, int64_t done);
  JudgedMap judge_one(const Batch& batch, size_t i, const Attribution& a, const Context& context, size_t method);
  MetricContext metric_context(const Batch& batch, size_t i, const Attribution& a, const Context& context,
                               size_t method) const;
  bool applies(const Metric& metric, const Batch& batch, size_t i) const;

  struct Call {
    MethodCall call;
    ParamMap full;  ///< Every parameter.
  };

  const EvaluateRequest& request_;
  const LoadedModel& model_;
  const PictureSource& source_;
  const std::vector<MetricCall>& metrics_;
  const LoadedModel* label_randomized_;
  const EvaluationRecords& records_;
  Progress* whole_;
  ShareOfProgress progress_;
  std::vector<Call> calls_;
  std::string key_;  ///< What all numbers of the set depend on.
  EvaluatedSet set_;
  int64_t num_with_truth_ = 0;
  ScoreCollector scores_;
  std::optional<JudgedPicture> waiting_;
  std::vector<int64_t> source_index_;  ///< Of each picture of the set in the source.
  std::shared_ptr<const LayerTable> table_;
  Shape table_shape_;
};

}  // namespace pellucid
