#include "pellucid/evaluate.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"
#include "tasks/evaluation_report.h"
#include "tasks/judged_pictures.h"
#include "tasks/run_model.h"
#include "tasks/segmenter.h"
#include "tasks/shipped_models.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Shows a piece of work as its share of the whole.
class ShareOfProgress final : public Progress {
 public:
  explicit ShareOfProgress(Progress* whole) : whole_(whole) {}

  void begin(double done, double step, double total, const std::string& what) {
    done_ = done;
    step_ = step;
    total_ = total;
    what_ = what;
    report(0, 1, what);
  }
  void report(double done, double total, const std::string&) override {
    if (!whole_) return;
    whole_->check();
    whole_->report(done_ + (total > 0 ? step_ * std::min(1.0, done / total) : 0), total_, what_);
  }
  void check() const override {
    if (whole_) whole_->check();
  }

 private:
  Progress* whole_;
  double done_ = 0, step_ = 1, total_ = 1;
  std::string what_;
};

/// A batch of pictures with one target, ready to be explained.
struct Batch {
  std::vector<JudgedPicture> pictures;
  std::vector<size_t> rows;  ///< Of each picture among the set's.
  Tensor input;
  std::shared_ptr<const LayerTable> table;
  std::unique_ptr<BoundTarget> target;
};

class SetEvaluator {
 public:
  SetEvaluator(const EvaluateRequest& request, const LoadedModel& model, const PictureSource& source,
               const std::vector<MethodCall>& methods, const std::vector<MetricCall>& metrics,
               const Network* label_randomized, Progress* progress)
      : request_(request),
        model_(model),
        source_(source),
        metrics_(metrics),
        label_randomized_(label_randomized),
        whole_(progress),
        progress_(progress) {
    set_.name = source.name();
    set_.model = model.path;
    set_.model_hash = model.hash();
    set_.notes = model.card.notes;
    for (const MethodCall& call : methods) {
      EvaluatedMethod method;
      MethodCall full = call;
      full.params = call.method->complete(call.params);
      method.method = call.text();
      method.title = call.method->title;
      set_.methods.push_back(std::move(method));
      calls_.push_back({call, full.params});
      milliseconds_.push_back(0);
    }
    columns_.resize(calls_.size());
    curves_.resize(calls_.size());
    sweeps_.resize(calls_.size());
  }

  EvaluatedSet run(std::vector<std::string>& errors) {
    const at::NoGradGuard no_grad;
    for (int64_t next = 0; next < source_.size();) {
      Batch batch = next_batch(next, errors);
      if (batch.pictures.empty()) continue;
      for (size_t m = 0; m < calls_.size(); ++m) {
        if (set_.methods[m].left_out.empty()) judge(batch, m, next);
      }
    }
    finish();
    return std::move(set_);
  }

  /// The best, the median and the worst picture of each method by the first score.
  std::vector<EvaluationGallery> galleries(const EvaluatedSet& set) {
    const at::NoGradGuard no_grad;
    std::vector<EvaluationGallery> result;
    for (size_t m = 0; m < calls_.size(); ++m) {
      const EvaluatedMethod& method = set.methods[m];
      if (method.scores.empty()) continue;
      const EvaluatedScore& score = method.scores.front();
      std::vector<size_t> order;
      for (size_t i = 0; i < score.values.size(); ++i) {
        if (std::isfinite(score.values[i])) order.push_back(i);
      }
      if (order.empty()) continue;
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return score.spec.better == Better::kLower ? score.values[a] < score.values[b]
                                                   : score.values[a] > score.values[b];
      });
      EvaluationGallery gallery;
      gallery.title = method.title + " (" + method.method + ")";
      const std::vector<std::pair<const char*, size_t>> chosen{
          {"best", order.front()}, {"median", order[order.size() / 2]}, {"worst", order.back()}};
      for (const auto& [rank, row] : chosen) {
        Batch batch = batch_of({source_.picture(source_index_[row])});
        const Attribution a = explain(batch, m);
        gallery.pictures.push_back(figure(batch.pictures.front(), a,
                                          std::string(rank) + ": " + score.spec.name + " " +
                                              number_text(std::round(score.values[row] * 1000) / 1000)));
      }
      result.push_back(std::move(gallery));
    }
    return result;
  }

 private:
  /// The report holds all of them at once: no larger than they are shown.
  static Image for_gallery(const Image& image) {
    constexpr int kLongest = 512;
    const int longer = std::max(image.width, image.height);
    if (longer <= kLongest) return image;
    const auto side = [&](int n) { return std::max<int>(1, static_cast<int>(int64_t{n} * kLongest / longer)); };
    return resize(image, side(image.width), side(image.height));
  }

  static HtmlReport::Figure figure(const JudgedPicture& judged, const Attribution& a, const std::string& caption) {
    MapStyle style;
    const ValueRange range = map_range(a.map[0], {});
    HtmlReport::Figure f;
    f.image = for_gallery(
        draw_map(judged.picture.photo, judged.picture.seen, judged.picture.content, a.map[0], range, style).overlay);
    f.title = judged.picture.name;
    f.lines = {caption};
    return f;
  }

  struct Call {
    MethodCall call;
    ParamMap full;  ///< Every parameter.
  };

  std::shared_ptr<const LayerTable> table_for(const Shape& shape) {
    if (!table_ || table_shape_ != shape) {
      Shape one = shape;
      one[0] = 1;
      table_ = std::make_shared<const LayerTable>(model_.network, std::vector<Shape>{one});
      table_shape_ = shape;
    }
    return table_;
  }

  Batch batch_of(std::vector<JudgedPicture> pictures) {
    Batch batch;
    batch.pictures = std::move(pictures);
    TensorList inputs;
    for (const JudgedPicture& p : batch.pictures) inputs.push_back(p.picture.input);
    batch.input = at::cat(inputs).to(at::TensorOptions().device(model_.network.device()).dtype(model_.network.dtype()));
    batch.table = table_for(batch.input.sizes().vec());
    const Target target = Target::parse(batch.pictures.front().target);
    const ValueId id = target_value(target, *batch.table, model_.network.graph());
    batch.target = std::make_unique<BoundTarget>(target, *batch.table, model_.card, id,
                                                 forward(model_.network, batch.input, id, whole_));
    return batch;
  }

  /// The next pictures of one shape and one target that the network gets right.
  Batch next_batch(int64_t& next, std::vector<std::string>& errors) {
    std::vector<JudgedPicture> pictures;
    std::vector<int64_t> indices;
    while (next < source_.size() && static_cast<int64_t>(pictures.size()) < request_.run.batch_size) {
      if (whole_) whole_->check();
      if (!waiting_) {
        try {
          waiting_ = source_.picture(next);
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::kInvalidInput) throw;
          errors.emplace_back(e.what());
          ++next;
          continue;
        }
      }
      const bool fits = pictures.empty() || (pictures.front().target == waiting_->target &&
                                             pictures.front().picture.input.sizes() == waiting_->picture.input.sizes());
      if (!fits) break;
      if (request_.keep_wrong || is_right(*waiting_)) {
        pictures.push_back(std::move(*waiting_));
        indices.push_back(next);
      } else {
        ++set_.num_wrong;
      }
      waiting_.reset();
      ++next;
    }
    if (pictures.empty()) return {};
    Batch batch = batch_of(std::move(pictures));
    const Tensor probability = probabilities(batch);
    for (size_t i = 0; i < batch.pictures.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      batch.rows.push_back(set_.pictures.size());
      source_index_.push_back(indices[i]);
      set_.pictures.push_back({batch.pictures[i].picture.name, batch.pictures[i].seed, batch.target->class_index(row),
                               batch.target->description(row),
                               probability.defined() ? probability[row].item<double>() : -1, batch.pictures[i].file,
                               batch.pictures[i].truth});
    }
    return batch;
  }

  Tensor probabilities(const Batch& batch) const {
    const Tensor p = batch.target->probability(forward(model_.network, batch.input, batch.target->value(), whole_));
    return p.defined() ? p.to(at::kCPU).to(at::kDouble) : p;
  }

  bool is_right(const JudgedPicture& judged) {
    if (judged.right.empty()) return true;
    const auto table = table_for(judged.picture.input.sizes().vec());
    const Tensor input =
        judged.picture.input.to(at::TensorOptions().device(model_.network.device()).dtype(model_.network.dtype()));
    const Tensor logits = forward(model_.network, input, table->logits(), whole_);
    if (logits.dim() < 2 || logits.numel() != logits.size(0) * logits.size(1)) return true;  // no classifier
    // One logit stands for two classes, which the target knows about.
    const BoundTarget top(Target::parse("top1"), *table, model_.card, table->logits(), logits);
    const int64_t answer = top.class_index(0);
    return std::find(judged.right.begin(), judged.right.end(), answer) != judged.right.end();
  }

  Context context_for(const Batch& batch, size_t m, Progress* progress) {
    Context context{model_.network, *batch.table, model_.card, batch.input, *batch.target};
    context.seed = request_.run.seed + static_cast<uint64_t>(batch.pictures.front().seed);
    context.batch_size = request_.run.batch_size;
    context.progress = progress;
    context.segmenter = superpixels_of;
    if (calls_[m].call.method->needs & kNeedsLayer) {
      context.cam_layers = cam_layers(*batch.table, model_.card, request_.layers, set_.notes);
    }
    return context;
  }

  Attribution explain(const Batch& batch, size_t m) {
    return attribute(calls_[m].call, context_for(batch, m, &progress_));
  }

  void judge(const Batch& batch, size_t m, int64_t done) {
    const auto total = static_cast<double>(source_.size()) * static_cast<double>(calls_.size());
    const auto count = static_cast<double>(batch.pictures.size());
    const double before =
        static_cast<double>(done) * static_cast<double>(calls_.size()) - count * static_cast<double>(calls_.size() - m);
    EvaluatedMethod& method = set_.methods[m];
    progress_.begin(before, count / 2, total, set_.name + ": " + method.method);
    Attribution a;
    const auto start = std::chrono::steady_clock::now();
    try {
      a = explain(batch, m);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kUsage) throw;
      method.left_out = e.what();
      return;
    }
    milliseconds_[m] += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    const Context context = context_for(batch, m, &progress_);
    for (size_t i = 0; i < batch.pictures.size(); ++i) {
      for (const std::string& note : a.notes[i]) add_note(method.notes, note);
      for (size_t k = 0; k < metrics_.size(); ++k) {
        progress_.begin(before + count / 2 + static_cast<double>(i) / 2, 0, total,
                        set_.name + ": " + method.method + " by " + metrics_[k].metric->id);
        progress_.check();
        judge_one(batch, i, a, context, m, k);
      }
    }
  }

  void judge_one(const Batch& batch, size_t i, const Attribution& a, const Context& context, size_t m, size_t k) {
    const JudgedPicture& judged = batch.pictures[i];
    const MetricCall& call = metrics_[k];
    const auto row = static_cast<int64_t>(i);
    MetricContext metric{context, a.map[row].to(at::kCPU).to(at::kDouble), row};
    if (a.values.sizes() == batch.input.sizes()) metric.values = a.values[row];
    metric.mask = judged.mask;
    metric.ignore = judged.ignore;
    metric.boxes = judged.boxes;
    metric.others = judged.others;
    metric.parts = judged.parts;
    const auto baseline = calls_[m].full.find("baseline");
    if (baseline != calls_[m].full.end()) metric.baseline = baseline->second;
    metric.method = calls_[m].call.method;
    if (i < a.diagnostics.size()) metric.diagnostics = a.diagnostics[i];
    metric.label_randomized = label_randomized_;
    metric.explain = [&](const Context& other) { return attribute(calls_[m].call, other); };
    const MetricResult result = applies(*call.metric, batch, i) ? score_of(call, metric, m) : MetricResult{};
    const size_t at = batch.rows[i];
    for (const ScoreSpec& spec : call.metric->scores) {
      std::vector<double>& column = columns_[m][{k, spec.name}];
      column.resize(at, kUndefined);
      const auto found = result.scores.find(spec.name);
      column.push_back(found == result.scores.end() ? kUndefined : found->second);
    }
    for (const Curve& curve : result.curves) {
      add_curve(m, call.metric->id + "/" + curve.name, curve);
      if (call.metric->id == "iou") sweeps_[m][at] = curve.y;
    }
  }

  /// What a metric cannot do on one picture leaves that score undefined; the others stand.
  MetricResult score_of(const MetricCall& call, const MetricContext& metric, size_t m) {
    try {
      return evaluate(call, metric);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kUsage) throw;
      add_note(set_.methods[m].notes, e.what());
      return {};
    }
  }

  static bool applies(const Metric& metric, const Batch& batch, size_t i) {
    const JudgedPicture& judged = batch.pictures[i];
    if ((metric.needs & kMetricClass) && batch.target->class_index(static_cast<int64_t>(i)) < 0) return false;
    if ((metric.needs & kMetricTruth) && !judged.mask.defined() && judged.boxes.empty()) return false;
    if ((metric.needs & kMetricOthers) && !judged.others.defined()) return false;
    if ((metric.needs & kMetricParts) && judged.parts.size() < 2) return false;
    return true;
  }

  void add_curve(size_t m, const std::string& name, const Curve& curve) {
    auto& [sum, count] = curves_[m][name];
    if (count == 0) {
      sum = curve;
    } else if (sum.x.size() == curve.x.size()) {
      for (size_t j = 0; j < curve.y.size(); ++j) sum.y[j] += curve.y[j];
    } else {
      return;
    }
    ++count;
  }

  void finish() {
    for (size_t m = 0; m < calls_.size(); ++m) {
      EvaluatedMethod& method = set_.methods[m];
      if (!method.left_out.empty()) continue;
      method.milliseconds = milliseconds_[m] / std::max<double>(1, static_cast<double>(set_.pictures.size()));
      for (size_t k = 0; k < metrics_.size(); ++k) {
        for (const ScoreSpec& spec : metrics_[k].metric->scores) {
          EvaluatedScore score;
          score.metric = metrics_[k].text();
          score.spec = spec;
          score.values = columns_[m][{k, spec.name}];
          score.values.resize(set_.pictures.size(), kUndefined);
          summarize_score(score);
          method.scores.push_back(std::move(score));
        }
        if (metrics_[k].metric->id == "iou") add_validated_iou(m, metrics_[k].text(), method);
      }
      for (auto& [name, entry] : curves_[m]) {
        for (double& y : entry.first.y) y /= static_cast<double>(entry.second);
        method.mean_curves[name] = std::move(entry.first);
      }
    }
    compare_with_best();
  }

  /// The threshold of each seed's pictures is the one that is best on the other seeds' (a single seed: on its own).
  void add_validated_iou(size_t m, const std::string& metric, EvaluatedMethod& method) {
    EvaluatedScore score;
    score.metric = metric;
    score.spec = {"validated_iou", Better::kHigher,
                  "At the threshold that is best for the pictures of the other seeds."};
    score.values.assign(set_.pictures.size(), kUndefined);
    const auto best_without = [&](int64_t seed) {
      std::vector<double> sum;
      for (const auto& [row, sweep] : sweeps_[m]) {
        if (request_.seeds > 1 && set_.pictures[row].seed == seed) continue;
        sum.resize(sweep.size());
        for (size_t t = 0; t < sweep.size(); ++t) sum[t] += sweep[t];
      }
      return sum.empty() ? 0 : static_cast<size_t>(std::max_element(sum.begin(), sum.end()) - sum.begin());
    };
    std::map<int64_t, size_t> threshold;
    for (const auto& [row, sweep] : sweeps_[m]) {
      const int64_t seed = set_.pictures[row].seed;
      if (threshold.count(seed) == 0) threshold[seed] = best_without(seed);
      score.values[row] = sweep.at(threshold[seed]);
    }
    summarize_score(score);
    method.scores.push_back(std::move(score));
  }

  void summarize_score(EvaluatedScore& score) const {
    score.summary = summarize(score.values, request_.run.seed);
    std::map<int64_t, std::vector<double>> by_seed;
    for (size_t i = 0; i < score.values.size(); ++i) by_seed[set_.pictures[i].seed].push_back(score.values[i]);
    for (const auto& [seed, values] : by_seed) {
      const Summary s = summarize(values, request_.run.seed);
      if (s.n > 0) score.seed_means.push_back(s.mean);
    }
    score.seed_sd = summarize(score.seed_means, request_.run.seed).sd;
  }

  void compare_with_best() {
    const EvaluatedMethod* any = nullptr;
    for (const EvaluatedMethod& method : set_.methods) {
      if (method.left_out.empty()) any = &method;
    }
    if (!any) return;
    for (size_t s = 0; s < any->scores.size(); ++s) {
      const EvaluatedScore* best = nullptr;
      for (const EvaluatedMethod& method : set_.methods) {
        if (!method.left_out.empty() || method.scores[s].summary.n == 0) continue;
        const EvaluatedScore& score = method.scores[s];
        const bool better = !best || (score.spec.better == Better::kLower ? score.summary.mean < best->summary.mean
                                                                          : score.summary.mean > best->summary.mean);
        if (better) best = &score;
      }
      if (!best) continue;
      for (EvaluatedMethod& method : set_.methods) {
        if (!method.left_out.empty()) continue;
        method.scores[s].against_best = compare_paired(method.scores[s].values, best->values, request_.run.seed);
      }
    }
  }

  const EvaluateRequest& request_;
  const LoadedModel& model_;
  const PictureSource& source_;
  std::vector<Call> calls_;
  const std::vector<MetricCall>& metrics_;
  const Network* label_randomized_;
  Progress* whole_;
  ShareOfProgress progress_;
  EvaluatedSet set_;
  std::vector<double> milliseconds_;
  /// Per method: (metric, score) -> one value per picture.
  std::vector<std::map<std::pair<size_t, std::string>, std::vector<double>>> columns_;
  std::vector<std::map<std::string, std::pair<Curve, int64_t>>> curves_;
  std::vector<std::map<size_t, std::vector<double>>> sweeps_;  ///< Per method and picture: IoU by threshold.
  std::optional<JudgedPicture> waiting_;
  std::vector<int64_t> source_index_;  ///< Of each picture of the set in the source.
  std::shared_ptr<const LayerTable> table_;
  Shape table_shape_;
};

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
  if (trim(request.metrics) == "all") request.metrics = every_metric(!request.label_randomized.empty());
  for (const MetricCall& call : parse_metrics(request.metrics)) {
    if ((call.metric->needs & kMetricOtherNetwork) && request.label_randomized.empty()) {
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
      judge(model, *own_pictures(request_, model));
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
      if (options.path.empty()) options.path = shipped_model(part, request_, result_.notes, progress_);
      if (part.size > 0 && options.width == 0) options.width = options.height = part.size;
      const LoadedModel model = load_model(options);
      judge(model, *generated_pictures(part.set, model, request_.pictures_per_class, request_.seeds, request_.run.seed,
                                       request_.picture_size));
      const auto published = suite.published.find(part.set);
      if (published != suite.published.end()) result_.sets.back().published = published->second;
    }
    if (!suite.published_source.empty()) add_note(result_.notes, "published figures: " + suite.published_source);
  }

  void judge(const LoadedModel& model, const PictureSource& source) {
    SetEvaluator evaluator(request_, model, source, methods_, metrics_,
                           label_randomized_ ? &label_randomized_->network : nullptr, progress_);
    result_.sets.push_back(evaluator.run(result_.errors));
    if (result_.sets.back().pictures.empty()) {
      if (!result_.errors.empty()) throw_invalid(result_.errors.front());
      throw_failed("evaluate: " + source.name() + ": the network answers none of the " + std::to_string(source.size()) +
                   " pictures rightly (--keep-wrong judges them all the same)");
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
    }
    result_.result_file = "result.json";
    write_file_atomically((folder / "result.json").string(), result_.json + "\n");
  }

  EvaluateRequest request_;
  std::vector<MethodCall> methods_;
  std::vector<MetricCall> metrics_;
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
