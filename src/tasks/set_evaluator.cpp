#include "tasks/set_evaluator.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/cam_layers.h"
#include "tasks/card_json.h"
#include "tasks/run_model.h"
#include "tasks/segmenter.h"

namespace pellucid {

void ShareOfProgress::begin(double done, double step, double total, const std::string& what) {
  done_ = done;
  step_ = step;
  total_ = total;
  what_ = what;
  report(0, 1, what);
}

void ShareOfProgress::report(double done, double total, const std::string&) {
  if (!whole_) return;
  whole_->check();
  whole_->report(done_ + (total > 0 ? step_ * std::min(1.0, done / total) : 0), total_, what_);
}

void ShareOfProgress::check() const {
  if (whole_) whole_->check();
}

namespace {

/// Everything that numbers depend on which is the same for all pictures of the set.
std::string request_key(const EvaluateRequest& request, const LoadedModel& model, const LoadedModel* label_randomized,
                        const std::vector<MetricCall>& metrics) {
  nlohmann::ordered_json key{
      {"pellucid", PELLUCID_VERSION},   {"model", model.hash()},
      {"card", card_json(model.card)},  {"label_randomized", label_randomized ? label_randomized->hash() : ""},
      {"device", request.model.device}, {"precision", precision_name(request.model.precision)},
      {"seed", request.run.seed},       {"batch_size", request.run.batch_size},
      {"layers", request.layers},       {"metrics", nlohmann::ordered_json::array()}};
  for (const MetricCall& call : metrics) {
    key["metrics"].push_back(call_text(call.metric->id, call.metric->params, call.metric->complete(call.params)));
  }
  return json_text(key);
}

std::string truth_key(const JudgedPicture& p) {
  std::string key = "|" + tensor_key(p.mask) + tensor_key(p.ignore) + tensor_key(p.others);
  for (const TruthBox& b : p.boxes) {
    for (const int64_t n : {b.x, b.y, b.width, b.height}) key += " " + std::to_string(n);
  }
  for (const TruthPart& part : p.parts) {
    key += "|" + part.name + tensor_key(part.mask) + number_text(part.importance) + (part.discriminative ? "d" : "");
  }
  return key;
}

/// The report holds all of them at once: no larger than they are shown.
Image for_gallery(const Image& image) {
  constexpr int kLongest = 512;
  const int longer = std::max(image.width, image.height);
  if (longer <= kLongest) return image;
  const auto side = [&](int n) { return std::max<int>(1, static_cast<int>(int64_t{n} * kLongest / longer)); };
  return resize(image, side(image.width), side(image.height));
}

/// The truth in the frame of the photo; empty when there is none.
Image truth_on_photo(const JudgedPicture& judged) {
  if (!judged.mask.defined()) return {};
  const Tensor mask = (judged.mask.to(at::kCPU).ne(0).to(at::kByte) * 255).contiguous();
  Image in_model(static_cast<int>(mask.size(1)), static_cast<int>(mask.size(0)), 1);
  std::copy_n(mask.data_ptr<uint8_t>(), in_model.pixels.size(), in_model.pixels.begin());
  const Picture& p = judged.picture;
  Image result(p.photo.width, p.photo.height, 1);
  paste(result, resize(crop(in_model, p.content), p.seen.width, p.seen.height, Filter::kNearest), p.seen.x, p.seen.y);
  return result;
}

HtmlReport::Figure figure(const JudgedPicture& judged, const Attribution& a, const std::string& caption) {
  const MapStyle style;
  const Picture& p = judged.picture;
  HtmlReport::Figure f;
  Image overlay = draw_map(p.photo, p.seen, p.content, a.map[0], map_range(a.map[0], {}), style).overlay;
  if (const Image truth = truth_on_photo(judged); !truth.pixels.empty()) {
    draw_mask_outline(overlay, truth, {255, 255, 255}, std::max(1, overlay.width / 256));
  }
  f.image = for_gallery(overlay);
  f.title = p.name;
  f.lines = {caption};
  return f;
}

}  // namespace

SetEvaluator::SetEvaluator(const EvaluateRequest& request, const LoadedModel& model, const PictureSource& source,
                           const std::vector<MethodCall>& methods, const std::vector<MetricCall>& metrics,
                           const LoadedModel* label_randomized, const EvaluationRecords& records, Progress* progress)
    : request_(request),
      model_(model),
      source_(source),
      metrics_(metrics),
      label_randomized_(label_randomized),
      records_(records),
      whole_(progress),
      progress_(progress),
      key_(request_key(request, model, label_randomized, metrics)),
      scores_(metrics, methods.size(), request.seeds, request.run.seed) {
  set_.name = source.name();
  set_.model = model.path;
  set_.model_hash = model.hash();
  set_.notes = model.card.notes;
  for (const MethodCall& call : methods) {
    EvaluatedMethod method;
    method.method = call.text();
    method.title = call.method->title;
    set_.methods.push_back(std::move(method));
    calls_.push_back({call, call.method->complete(call.params)});
  }
}

EvaluatedSet SetEvaluator::run(std::vector<std::string>& errors) {
  const at::NoGradGuard no_grad;
  for (int64_t next = 0; next < source_.size();) {
    const Batch batch = next_batch(next, errors);
    if (batch.pictures.empty()) continue;
    for (size_t m = 0; m < calls_.size(); ++m) {
      if (set_.methods[m].left_out.empty()) judge(batch, m, next);
    }
  }
  scores_.finish(set_);
  return std::move(set_);
}

std::vector<EvaluationGallery> SetEvaluator::galleries(const EvaluatedSet& set) {
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
    gallery.title = method.title + " (" + method.method + ") by " + score.spec.name;
    gallery.method = method.method;
    std::vector<std::pair<const char*, size_t>> chosen{{order.size() > 1 ? "best" : "only", order.front()}};
    if (order.size() > 2) chosen.emplace_back("median", order[order.size() / 2]);
    if (order.size() > 1) chosen.emplace_back("worst", order.back());
    for (const auto& [rank, row] : chosen) {
      if (whole_) whole_->check();
      const Batch batch = batch_of({source_.picture(source_index_[row])});
      gallery.pictures.push_back(
          figure(batch.pictures.front(), explain(batch, m),
                 std::string(rank) + ": " + number_text(std::round(score.values[row] * 1000) / 1000)));
    }
    result.push_back(std::move(gallery));
  }
  return result;
}

std::shared_ptr<const LayerTable> SetEvaluator::table_for(const Shape& shape) {
  if (!table_ || table_shape_ != shape) {
    Shape one = shape;
    one[0] = 1;
    table_ = std::make_shared<const LayerTable>(model_.network, std::vector<Shape>{one}, whole_);
    table_shape_ = shape;
  }
  return table_;
}

SetEvaluator::Batch SetEvaluator::batch_of(std::vector<JudgedPicture> pictures) {
  Batch batch;
  batch.pictures = std::move(pictures);
  std::vector<const Picture*> list;
  for (const JudgedPicture& p : batch.pictures) {
    list.push_back(&p.picture);
    batch.key += tensor_key(p.picture.input) + p.target + "/" + std::to_string(p.seed) + ";";
  }
  batch.input = pellucid::batch_of(list, model_.network);
  batch.table = table_for(batch.input.sizes().vec());
  const Target target = Target::parse(batch.pictures.front().target);
  const ValueId id = target_value(target, *batch.table, model_.network.graph());
  batch.target = std::make_unique<BoundTarget>(target, *batch.table, model_.card, id,
                                               forward(model_.network, batch.input, id, whole_));
  return batch;
}

/// The next pictures of one shape and one target that the network gets right.
SetEvaluator::Batch SetEvaluator::next_batch(int64_t& next, std::vector<std::string>& errors) {
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
    for (const std::string& note : waiting_->notes) add_note(set_.notes, note);
    num_with_truth_ += waiting_->mask.defined() || !waiting_->boxes.empty();
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

Tensor SetEvaluator::probabilities(const Batch& batch) const {
  const Tensor p = batch.target->probability(forward(model_.network, batch.input, batch.target->value(), whole_));
  return p.defined() ? p.to(at::kCPU).to(at::kDouble) : p;
}

bool SetEvaluator::is_right(const JudgedPicture& judged) {
  if (judged.right.empty()) return true;
  const auto table = table_for(judged.picture.input.sizes().vec());
  const Tensor logits =
      forward(model_.network, pellucid::batch_of({&judged.picture}, model_.network), table->logits(), whole_);
  if (logits.dim() < 2 || logits.numel() != logits.size(0) * logits.size(1)) return true;  // no classifier
  // One logit stands for two classes, which the target knows about.
  const BoundTarget top(Target::parse("top1"), *table, model_.card, table->logits(), logits);
  const int64_t answer = top.class_index(0);
  return std::find(judged.right.begin(), judged.right.end(), answer) != judged.right.end();
}

/// A picture far from this one in the set, which is of another class where the set has several; undefined when there
/// is none of its shape.
Tensor SetEvaluator::another_picture(size_t row) const {
  constexpr int64_t kTries = 8;
  const int64_t size = source_.size(), own = source_index_[row];
  for (int64_t i = 0; i < std::min(size - 1, kTries); ++i) {
    const int64_t index = (own + std::max<int64_t>(1, size / 2) + i) % size;
    if (index == own) continue;
    try {
      const JudgedPicture other = source_.picture(index);
      if (other.picture.input.sizes() == table_shape_) return other.picture.input;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kInvalidInput) throw;
    }
  }
  return {};
}

std::string SetEvaluator::record_key(const Batch& batch, size_t i, size_t m) const {
  const Method& method = *calls_[m].call.method;
  return key_ + "\n" + set_.name + " " + std::to_string(source_.size()) + " " +
         call_text(method.id, method.params, calls_[m].full) + "\n" + batch.key + "\n" +
         std::to_string(source_index_[batch.rows[i]]) + " " + std::to_string(i) + truth_key(batch.pictures[i]);
}

Context SetEvaluator::context_for(const Batch& batch, size_t m, Progress* progress) {
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

Attribution SetEvaluator::explain(const Batch& batch, size_t m) {
  return attribute(calls_[m].call, context_for(batch, m, &progress_));
}

/// Judges the maps of a batch by one method, but for those that a run before this has judged.
void SetEvaluator::judge(const Batch& batch, size_t m, int64_t done) {
  const auto total = static_cast<double>(source_.size()) * static_cast<double>(calls_.size());
  const auto count = static_cast<double>(batch.pictures.size());
  const double before =
      static_cast<double>(done) * static_cast<double>(calls_.size()) - count * static_cast<double>(calls_.size() - m);
  EvaluatedMethod& method = set_.methods[m];
  progress_.begin(before, count / 2, total, set_.name + ": " + method.method);
  const Context context = context_for(batch, m, &progress_);
  std::optional<Attribution> made;
  double milliseconds = 0;
  for (size_t i = 0; i < batch.pictures.size(); ++i) {
    const std::string key = record_key(batch, i, m);
    std::optional<JudgedMap> map = records_.find(key);
    if (map && map->results.size() != metrics_.size()) map.reset();
    if (!map) {
      if (!made) {
        const auto start = std::chrono::steady_clock::now();
        try {
          made = attribute(calls_[m].call, context);
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::kUsage) throw;
          method.left_out = e.what();
          return;
        }
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
        milliseconds = taken.count() / count;
      }
      progress_.begin(before + count / 2 + static_cast<double>(i) / 2, 0, total, set_.name + ": " + method.method);
      map = judge_one(batch, i, *made, context, m);
      map->milliseconds = milliseconds;
      records_.keep(key, *map);
    }
    for (const std::string& note : map->notes) add_note(method.notes, note);
    scores_.add(m, batch.rows[i], *map);
  }
}

/// What a metric cannot do on one picture leaves that score undefined; the others stand.
JudgedMap SetEvaluator::judge_one(const Batch& batch, size_t i, const Attribution& a, const Context& context,
                                  size_t m) {
  JudgedMap judged;
  judged.notes = a.notes[i];
  const MetricContext metric = metric_context(batch, i, a, context, m);
  for (const MetricCall& call : metrics_) {
    progress_.rename(set_.name + ": " + set_.methods[m].method + " by " + call.metric->id);
    MetricResult result;
    try {
      if (applies(*call.metric, batch, i)) result = evaluate(call, metric);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kUsage) throw;
      add_note(judged.notes, e.what());
    }
    judged.results.push_back(std::move(result));
  }
  return judged;
}

MetricContext SetEvaluator::metric_context(const Batch& batch, size_t i, const Attribution& a, const Context& context,
                                           size_t m) const {
  const JudgedPicture& judged = batch.pictures[i];
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
  const Rect &seen = judged.picture.seen, &content = judged.picture.content;
  metric.map_scale =
      std::sqrt(static_cast<double>(content.width) / seen.width * static_cast<double>(content.height) / seen.height);
  metric.label_randomized = label_randomized_ ? &label_randomized_->network : nullptr;
  metric.explain = [this, m](const Context& other) { return attribute(calls_[m].call, other); };
  metric.another = [this, at = batch.rows[i]] { return another_picture(at); };
  return metric;
}

bool SetEvaluator::applies(const Metric& metric, const Batch& batch, size_t i) const {
  const JudgedPicture& judged = batch.pictures[i];
  if ((metric.needs & kMetricClass) && batch.target->class_index(static_cast<int64_t>(i)) < 0) return false;
  if ((metric.needs & kMetricTruth) && !judged.mask.defined() && judged.boxes.empty()) return false;
  if ((metric.needs & kMetricOthers) && !judged.others.defined()) return false;
  if ((metric.needs & kMetricParts) && judged.parts.size() < 2) return false;
  return !(metric.needs & kMetricOtherNetwork) || label_randomized_ != nullptr;
}

}  // namespace pellucid
