#include "pellucid/evaluate.h"

#include <algorithm>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"
#include "tasks/evaluation_report.h"
#include "tasks/set_evaluator.h"
#include "tasks/shipped_models.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// Whether there is a network trained on shuffled labels: given, or shipped for some of the suite's sets.
bool has_other_network(const EvaluateRequest& request) {
  if (!request.label_randomized.empty()) return true;
  if (request.suite.empty() || !request.model.path.empty()) return false;
  const auto& parts = find_evaluation_suite(request.suite).parts;
  return std::any_of(parts.begin(), parts.end(), [](const auto& part) { return !part.shuffled.empty(); });
}

/// What "all" means: the second network of some metrics has to be given.
std::string every_metric(bool with_other_network) {
  std::string list;
  for (const Metric& metric : metrics()) {
    if ((metric.needs & kMetricOtherNetwork) && !with_other_network) continue;
    list += (list.empty() ? "" : ",") + metric.id;
  }
  return list;
}

/// Metrics that are defined with what there is to judge by.
std::string metrics_for_own_pictures(const EvaluateRequest& request) {
  std::string list;
  for (const Metric& metric : metrics()) {
    const bool needs_truth = (metric.needs & (kMetricTruth | kMetricParts | kMetricOthers)) != 0;
    // Making maps again for dozens of networks is for those who ask for it.
    const bool costly = (metric.needs & (kMetricExplains | kMetricOtherNetwork)) != 0;
    if (costly || (needs_truth && request.truth.empty()) || (metric.needs & (kMetricParts | kMetricOthers))) continue;
    list += (list.empty() ? "" : ",") + metric.id;
  }
  return list;
}

/// The request with everything said that was left open.
EvaluateRequest completed(EvaluateRequest request) {
  if (!request.suite.empty()) {
    const EvaluationSuite& suite = find_evaluation_suite(request.suite);
    if (!request.run.inputs.empty() || !request.truth.empty()) {
      throw_usage("evaluate: a suite brings its own pictures; give either --suite or pictures");
    }
    if (request.methods.empty()) request.methods = suite.methods;
    if (request.metrics.empty()) request.metrics = suite.metrics;
  } else {
    if (request.run.inputs.empty()) throw_usage("evaluate: pictures, or a suite of generated ones, are needed");
    if (request.methods.empty()) request.methods = "saliency,integrated-gradients,grad-cam,random";
    if (request.metrics.empty()) request.metrics = metrics_for_own_pictures(request);
    request.seeds = 1;
  }
  if (request.pictures_per_class < 1) throw_usage("pictures-per-class must be an integer >= 1");
  if (request.seeds < 1) throw_usage("seeds must be an integer >= 1");
  if (request.run.batch_size < 1) throw_usage("batch-size must be an integer >= 1");
  if (trim(request.metrics) == "all") request.metrics = every_metric(has_other_network(request));
  for (const MetricCall& call : parse_metrics(request.metrics)) {
    if ((call.metric->needs & kMetricOtherNetwork) && !has_other_network(request)) {
      throw_usage("evaluate: " + call.metric->id + " needs a network trained on shuffled labels (--label-randomized)");
    }
  }
  return request;
}

std::vector<MethodCall> distinct_methods(const std::string& text) {
  std::vector<MethodCall> calls;
  for (const MethodCall& call : parse_methods(text)) {
    const bool known =
        std::any_of(calls.begin(), calls.end(), [&](const MethodCall& c) { return c.text() == call.text(); });
    if (!known) calls.push_back(call);
  }
  return calls;
}

class Evaluation {
 public:
  Evaluation(EvaluateRequest request, Progress* progress)
      : request_(std::move(request)),
        methods_(distinct_methods(request_.methods)),
        metrics_(parse_metrics(request_.metrics)),
        records_(request_.output),
        progress_(progress) {}

  EvaluateResult run() {
    if (!request_.output.empty()) {
      make_folder(request_.output);
      // An older run's summary would vouch for files that this run replaces.
      std::error_code ignored;
      fs::remove(fs::u8path(request_.output) / "result.json", ignored);
    }
    if (!request_.label_randomized.empty()) {
      ModelOptions options = request_.model;
      options.path = request_.label_randomized;
      label_randomized_ = std::make_unique<LoadedModel>(load_model(options));
      result_.label_randomized = {options.path, label_randomized_->hash()};
    }
    if (request_.suite.empty()) {
      const LoadedModel model = load_model(request_.model);
      std::error_code ec;
      if (fs::is_regular_file(fs::u8path(request_.truth), ec)) {
        result_.truth = {request_.truth, sha256_file(request_.truth)};
      }
      judge(model, label_randomized_.get(), *own_pictures(request_, model));
    } else {
      run_suite(find_evaluation_suite(request_.suite));
    }
    write();
    return std::move(result_);
  }

 private:
  void run_suite(const EvaluationSuite& suite) {
    for (const EvaluationSuite::Part& part : suite.parts) {
      ModelOptions options = request_.model;
      if (options.path.empty()) {
        options.path = shipped_model(part.set, part.model, request_, result_.notes, progress_);
      }
      if (part.size > 0 && options.width == 0) options.width = options.height = part.size;
      const LoadedModel model = load_model(options);
      const std::unique_ptr<LoadedModel> shuffled = shuffled_network(part);
      judge(model, shuffled ? shuffled.get() : label_randomized_.get(),
            *generated_pictures(part.set, model, request_.pictures_per_class, request_.seeds, request_.run.seed,
                                request_.picture_size));
      const auto published = suite.published.find(part.set);
      if (published != suite.published.end()) result_.sets.back().published = published->second;
    }
    if (!suite.published_source.empty()) add_note(result_.notes, "published figures: " + suite.published_source);
  }

  /// The one that is shipped beside the network of a set; null when one was given, none is needed or none is shipped.
  std::unique_ptr<LoadedModel> shuffled_network(const EvaluationSuite::Part& part) {
    const bool needed = std::any_of(metrics_.begin(), metrics_.end(),
                                    [](const MetricCall& c) { return c.metric->needs & kMetricOtherNetwork; });
    if (!needed || label_randomized_ || part.shuffled.empty() || !request_.model.path.empty()) return nullptr;
    ModelOptions options = request_.model;
    options.path = shipped_model(part.set, part.shuffled, request_, result_.notes, progress_);
    auto network = std::make_unique<LoadedModel>(load_model(options));
    add_note(result_.notes, "label-randomization on " + part.set + ": compared with " + part.shuffled + ", SHA-256 " +
                                network->hash());
    return network;
  }

  void judge(const LoadedModel& model, const LoadedModel* label_randomized, const PictureSource& source) {
    SetEvaluator evaluator(request_, model, source, methods_, metrics_, label_randomized, records_, progress_);
    result_.sets.push_back(evaluator.run(result_.errors));
    if (result_.sets.back().pictures.empty()) {
      if (!result_.errors.empty()) throw_invalid(result_.errors.front());
      throw_failed("evaluate: " + source.name() + ": the network answers none of the " + std::to_string(source.size()) +
                   " pictures rightly (--keep-wrong judges them all the same)");
    }
    if (!request_.truth.empty() && evaluator.num_with_truth() == 0) {
      const std::vector<std::string>& notes = result_.sets.back().notes;
      result_.errors.push_back(printable(request_.truth) + ": says nothing about any of the " +
                               std::to_string(source.size()) + " pictures" +
                               (notes.empty() ? "" : " (" + notes.back() + ")"));
    }
    result_.num_failed = static_cast<int64_t>(result_.errors.size());
    galleries_.push_back(request_.report && !request_.output.empty() ? evaluator.galleries(result_.sets.back())
                                                                     : std::vector<EvaluationGallery>{});
  }

  void write() {
    result_.json = evaluation_json(request_, result_);
    if (request_.output.empty()) return;
    const fs::path folder = fs::u8path(request_.output);
    result_.table_file = "table.csv";
    write_file_atomically((folder / "table.csv").string(), evaluation_csv(result_));
    write_file_atomically((folder / "pictures.csv").string(), picture_scores_csv(result_));
    if (request_.report) {
      result_.report_file = "report.html";
      write_file_atomically((folder / "report.html").string(), evaluation_html(request_, result_, galleries_));
      for (size_t i = 0; i < result_.sets.size(); ++i) {
        if (galleries_[i].empty()) continue;
        result_.sheet_files.push_back(result_.sets[i].name + ".sheet.png");
        save_png((folder / result_.sheet_files.back()).string(), evaluation_sheet(result_.sets[i], galleries_[i]));
      }
    }
    result_.result_file = "result.json";
    write_file_atomically((folder / "result.json").string(), result_.json + "\n");
    records_.remove();
  }

  EvaluateRequest request_;
  std::vector<MethodCall> methods_;
  std::vector<MetricCall> metrics_;
  EvaluationRecords records_;
  Progress* progress_;
  std::unique_ptr<LoadedModel> label_randomized_;
  EvaluateResult result_;
  std::vector<std::vector<EvaluationGallery>> galleries_;
};

}  // namespace

EvaluateResult evaluate(const EvaluateRequest& request, Progress* progress) {
  return Evaluation(completed(request), progress).run();
}

}  // namespace pellucid
