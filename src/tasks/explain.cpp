#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "graph/map_layers.h"
#include "model/class_scores.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"
#include "tasks/explanation_writer.h"
#include "tasks/given_truth.h"
#include "tasks/picture_reader.h"
#include "tasks/rule_map_json.h"
#include "tasks/run_model.h"
#include "tasks/segmenter.h"

namespace pellucid {

namespace {

/// What went wrong while pictures were computed, not while results were written: theirs alone, if others can do.
struct ComputeFailure {
  ErrorKind kind;
  std::string message;
  bool of_shape = false;            ///< All pictures of this shape fail alike.
  const ExplainJob* job = nullptr;  ///< At which it happened; null before the first.
};

template <class Work>
auto computing(const Work& work) {
  try {
    return work();
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInterrupted) throw;
    throw ComputeFailure{e.kind(), e.what()};
  }
}

bool names_class(const Target& target) {
  return target.kind == Target::Kind::kRank || target.kind == Target::Kind::kClass ||
         target.kind == Target::Kind::kDifference || target.kind == Target::Kind::kMeanDifference;
}

class Explainer {
 public:
  Explainer(const ExplainRequest& request, const LoadedModel& model, Progress* progress)
      : request_(request),
        model_(model),
        progress_(progress),
        annotations_(request, model.card),
        writer_(request, model) {
    make_jobs();
  }

  ExplainResult run() {
    PictureReader reader(request_.run, model_);
    writer_.prepare_folder();
    result_.notes.insert(result_.notes.begin(), model_.card.notes.begin(), model_.card.notes.end());
    while (true) {
      const std::vector<ReadPicture> batch = reader.next(holds_maps() ? 1 : request_.run.batch_size);
      if (batch.empty()) break;
      if (progress_) {
        progress_->check();
        progress_->report(static_cast<double>(reader.position() - 1), static_cast<double>(reader.num_files()), "files");
      }
      explain_all(batch);
    }
    for (const std::string& note : reader.notes()) result_.notes.push_back(note);
    refuse_if_all_failed();
    writer_.finish(result_);
    return std::move(result_);
  }

 private:
  /// A readable picture and what was found beside it.
  struct Prepared {
    const Picture* picture = nullptr;
    GivenTruth annotations;
    size_t place = 0;  ///< In the results.
  };

  void make_jobs() {
    std::vector<MethodCall> calls;
    std::vector<Target> targets;
    std::set<std::string> seen;
    for (MethodCall& call : parse_methods(request_.methods)) {
      const MethodCall full{call.method, call.method->complete(call.params)};
      if (seen.insert("m " + full.text()).second) calls.push_back(std::move(call));
    }
    for (const std::string& text : request_.targets) {
      if (seen.insert("t " + trim(text)).second) targets.push_back(Target::parse(text));
    }
    if (targets.empty()) throw_usage("at least one target is needed");
    if (targets.size() < request_.targets.size()) result_.notes.emplace_back("targets named twice are explained once");
    for (const std::string& part : split(request_.methods, ',')) {
      skip_unsuitable_ = skip_unsuitable_ || trim(part) == "all";
    }
    std::vector<std::pair<const MethodCall*, const Target*>> pairs;
    for (const Target& target : targets) {
      for (const MethodCall& call : calls) pairs.emplace_back(&call, &target);
    }
    if (request_.shared_scale) {
      // A method's targets follow one another, so that they can be drawn together.
      std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    std::set<std::string> used;
    for (const auto& [call, target] : pairs) {
      ExplainJob job{*call, *target, {}};
      std::string suffix = file_name_from(call->text());
      if (targets.size() > 1) suffix += "." + file_name_from(target->text);
      job.suffix = suffix;
      for (int n = 2; !used.insert(job.suffix).second; ++n) job.suffix = suffix + "-" + std::to_string(n);
      read_rule_map(job.call);  // after naming: files are called after the file, results hold its rules
      jobs_.push_back(std::move(job));
    }
  }

  /// Shared, because the pictures of a batch and a reference of another size take turns.
  std::shared_ptr<const LayerTable> table_for(Shape shape) {
    shape[0] = 1;
    if (!table_ || table_shape_ != shape) {
      table_ = std::make_shared<const LayerTable>(model_.network, std::vector<Shape>{shape}, progress_);
      table_shape_ = shape;
    }
    return table_;
  }

  /// Wishes that no picture could fulfil stop the run before any method has run.
  void check_wishes(const LayerTable& table) {
    if (wishes_checked_) return;
    std::vector<std::string> ignored;
    const auto needs_layer = [](const ExplainJob& j) { return (j.call.method->needs & kNeedsLayer) != 0; };
    if (!request_.layers.empty() && std::any_of(jobs_.begin(), jobs_.end(), needs_layer)) {
      cam_layers(table, model_.card, request_.layers, ignored);
    }
    for (ExplainJob& job : jobs_) {
      check_target(job.target, table);
      if (skip_unsuitable_ || !needs_layer(job) || !(job.call.method->needs & kNeedsGradient)) continue;
      const ValueId target = target_value(job.target, table, model_.network.graph());
      std::vector<ValueId> chosen;
      try {
        chosen = cam_layers(table, model_.card, request_.layers, ignored);
      } catch (const Error&) {
        continue;  // named ones were found above; that this picture has none concerns no other
      }
      for (const ValueId layer : chosen) {
        if (leads_to(model_.network.graph(), layer, target)) continue;
        throw_usage("layer '" + printable(table.layer(layer).name) + "' does not influence the target '" +
                    printable(job.target.text) + "'");
      }
    }
    wishes_checked_ = true;
  }

  void check_target(Target& target, const LayerTable& table) {
    const Shape& shape = table.shape(target_value(target, table, model_.network.graph()));
    if (target.kind == Target::Kind::kSimilarity && !request_.reference.empty()) target.reference = reference();
    if (!names_class(target) || shape.size() < 2) return;
    if (!target.name.empty()) class_from_name(target.name, model_.card, num_classes(table));
    if (!looks_like_picture(shape, table.class_axis() == 3)) return;
    const std::string what = printable(model_.network.graph().name) + ": its output " + shape_text(shape) +
                             " is as large as the input and has the channels of a picture";
    if (target.name.empty()) {
      throw_usage(what +
                  ", not one score per class; name what to explain: element:0:C,Y,X, channel:LAYER:K, or a "
                  "class index if it is a segmenter");
    }
    add_note(result_.notes, what + "; '" + printable(target.text) + "' was taken as a class all the same");
  }

  /// Networks that make pictures out of pictures (style, restoration) have a dense output as segmenters do.
  bool looks_like_picture(const Shape& output, bool channels_last) const {
    if (output.size() != 4 || !model_.card.labels.empty()) return false;
    const size_t in = model_.card.channels_first ? 2 : 1, out = channels_last ? 1 : 2;
    return output[channels_last ? 3 : 1] == 3 && output[out] == table_shape_[in] &&
           output[out + 1] == table_shape_[in + 1] && output[out] > 1;
  }

  Tensor reference() {
    if (!reference_.defined()) {
      const std::vector<Picture> read =
          load_pictures(request_.reference, "reference", model_, request_.run.image_limits);
      if (read.size() != 1) {
        throw_invalid(printable(request_.reference) + ": holds " + std::to_string(read.size()) +
                      " arrays; one was expected as the reference");
      }
      const Picture& p = read.front();
      const LayerTable table(model_.network, {p.input.sizes().vec()}, progress_);
      reference_ = forward(model_.network, batch_of({&p}, model_.network), table.logits(), progress_).flatten();
      result_.reference = {request_.reference, sha256_file(request_.reference)};
    }
    return reference_;
  }

  /// Unreadable pictures and those that fail alone are reported; the others go on.
  void explain_all(const std::vector<ReadPicture>& batch) {
    const size_t first = result_.pictures.size();
    result_.pictures.resize(first + batch.size());
    std::vector<Prepared> ready;
    for (size_t i = 0; i < batch.size(); ++i) {
      ExplainedPicture& entry = result_.pictures[first + i];
      entry.path = batch[i].picture.path;
      entry.name = batch[i].picture.name;
      entry.sha256 = batch[i].picture.sha256;
      if (!batch[i].error.empty()) {
        fail(entry, {ErrorKind::kInvalidInput, batch[i].error}, batch[i].error);
        continue;
      }
      try {
        ready.push_back({&batch[i].picture, annotations_.read(batch[i].picture), first + i});
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::kInvalidInput) throw;
        fail(entry, {e.kind(), e.what()}, e.what());
      }
    }
    if (ready.empty()) return;
    try {
      explain_batch(ready);
    } catch (const ComputeFailure& failure) {
      explain_one_by_one(ready, failure);
    }
    tried_ = true;
  }

  void explain_one_by_one(std::vector<Prepared>& ready, const ComputeFailure& together) {
    for (Prepared& one : ready) {
      std::vector<Prepared> alone;
      alone.push_back(std::move(one));
      try {
        if (ready.size() == 1 || together.of_shape) throw together;
        explain_batch(alone);
      } catch (const ComputeFailure& failure) {
        if (!tried_ && fails_for_any(alone.front().annotations.regions, failure)) {
          throw Error(failure.kind, failure.message);
        }
        ExplainedPicture& entry = result_.pictures[alone.front().place];
        // A reason in the network does not say by which picture it came up.
        fail(entry, failure, printable(entry.path) + ": " + failure.message);
      }
      tried_ = true;
    }
  }

  /// Whether a wish is to blame rather than the first picture: one of noise, at the model's own size and wholly inside
  /// of its mask, fails alike.
  bool fails_for_any(const Tensor& regions, const ComputeFailure& failure) {
    if (failure.kind != ErrorKind::kUsage && failure.kind != ErrorKind::kUnsupported) return false;
    const Shape shape = usual_input_shape(model_.card);
    const int64_t row_axis = model_.card.channels_first ? 2 : 1;
    const at::IntArrayRef sides = at::IntArrayRef(shape).slice(static_cast<size_t>(row_axis), 2);
    if (regions.defined() && regions.sizes() != sides) return false;
    Picture noise;
    noise.input = at::rand(shape, at::detail::createCPUGenerator(request_.run.seed));
    std::vector<Prepared> alone(1);
    alone.front().picture = &noise;
    alone.front().annotations.mask = at::ones(sides, at::kBool);
    alone.front().annotations.regions = regions;
    const std::vector<std::string> notes = result_.notes;
    bool alike = false;
    try {
      computing([&] {
        const at::NoGradGuard no_grad;
        const Tensor input = batch_of({&noise}, model_.network);
        const auto table = table_for(shape);
        const Tensor logits = forward(model_.network, input, table->logits(), progress_);
        if (failure.job) run_job(*failure.job, alone, input, *table, logits);
      });
    } catch (const ComputeFailure& again) {
      alike = again.kind == failure.kind;
    }
    result_.notes = notes;
    return alike;
  }

  void fail(ExplainedPicture& entry, const ComputeFailure& failure, const std::string& line) {
    if (!first_failure_) first_failure_ = failure;
    ++result_.num_failed;
    entry.error = line;
  }

  void refuse_if_all_failed() const {
    const auto count = static_cast<int64_t>(result_.pictures.size());
    if (result_.num_failed == 0 || result_.num_failed < count) return;
    throw Error(first_failure_->kind, count == 1
                                          ? first_failure_->message
                                          : "none of the " + std::to_string(count) +
                                                " inputs could be explained; the first: " + first_failure_->message);
  }

  void explain_batch(const std::vector<Prepared>& ready) {
    const at::NoGradGuard no_grad;
    std::vector<const Picture*> pictures;
    for (const Prepared& p : ready) pictures.push_back(p.picture);
    const Tensor input = batch_of(pictures, model_.network);
    std::shared_ptr<const LayerTable> shared_table;
    try {
      shared_table = computing([&] { return table_for(input.sizes().vec()); });
    } catch (ComputeFailure& failure) {
      failure.of_shape = true;
      throw;
    }
    const LayerTable& table = *shared_table;
    check_wishes(table);
    const Tensor logits = computing([&] { return finite_scores(input, table); });
    const std::string output = output_note(table, model_.network.graph());
    if (!output.empty()) add_note(result_.notes, output);
    add_label_note(result_.notes, model_.card, table);
    if (!table.squashing().empty()) add_note(result_.notes, "scores are taken before the final " + table.squashing());

    const auto classes = top_classes(logits, model_, table, 5);
    std::vector<PictureInProgress> progress(ready.size());
    for (size_t i = 0; i < ready.size(); ++i) {
      progress[i].picture = ready[i].picture;
      progress[i].annotations = &ready[i].annotations;
      ExplainedPicture& explained = progress[i].explained = result_.pictures[ready[i].place];
      explained.classes = classes[i];
      explained.mask = ready[i].annotations.mask_file;
      explained.regions = ready[i].annotations.regions_file;
      explained.notes = ready[i].annotations.notes;
      writer_.begin(progress[i]);
    }
    run_jobs(ready, input, table, logits, progress);
    for (size_t i = 0; i < ready.size(); ++i) {
      writer_.finish_picture(progress[i], result_);
      result_.pictures[ready[i].place] = std::move(progress[i].explained);
    }
  }

  Tensor finite_scores(const Tensor& input, const LayerTable& table) const {
    const Tensor logits = forward(model_.network, input, table.logits(), progress_);
    if (has_finite_scores(logits)) return logits;
    if (input.size(0) > 1) throw_failed("scores are not finite");  // each picture alone says why
    throw_failed(score_problem(model_.network, input, table, progress_));
  }

  /// The maps of the first picture are written when all of them are there, so that a wish that no picture could fulfil
  /// leaves earlier results alone. Under "all" such methods are left out; there it is enough to try the targets.
  bool holds_maps() const { return !tried_ && !skip_unsuitable_ && jobs_.size() > 1; }

  void run_jobs(const std::vector<Prepared>& ready, const Tensor& input, const LayerTable& table, const Tensor& logits,
                std::vector<PictureInProgress>& progress) {
    const std::string* row_target = nullptr;
    std::vector<std::map<std::string, std::string>> resolved(ready.size());
    const auto draw = [&](std::vector<DoneJob>& group) {
      for (DoneJob& done : group) note_repeated_classes(done, resolved);
      const bool new_row =
          !request_.shared_scale && !group.empty() && row_target && *row_target != group.front().job->target.text;
      if (!group.empty()) row_target = &group.front().job->target.text;
      for (size_t i = 0; i < ready.size(); ++i) {
        std::vector<ValueRange> ranges;
        for (const DoneJob& done : group) ranges.push_back(writer_.range(done, static_cast<int64_t>(i)));
        const ValueRange shared = group.size() > 1 ? shared_range(ranges) : ValueRange{};
        for (size_t j = 0; j < group.size(); ++j) {
          writer_.add_map(progress[i], group[j], static_cast<int64_t>(i), table, group.size() > 1 ? shared : ranges[j],
                          new_row);
        }
      }
    };
    if (!tried_ && skip_unsuitable_) try_targets(ready, input, table, logits);
    std::vector<std::vector<DoneJob>> held;
    for (size_t begin = 0; begin < jobs_.size();) {
      size_t end = begin + 1;
      // Maps on one color scale are drawn when all of them are there: a method's maps for all targets.
      while (request_.shared_scale && end < jobs_.size() && jobs_[end].call.text() == jobs_[begin].call.text()) ++end;
      std::vector<DoneJob> group;
      for (size_t j = begin; j < end; ++j) {
        if (auto done = run_job(jobs_[j], ready, input, table, logits)) group.push_back(std::move(*done));
      }
      if (holds_maps()) {
        held.push_back(std::move(group));
      } else {
        draw(group);
      }
      begin = end;
    }
    for (std::vector<DoneJob>& group : held) draw(group);
  }

  void try_targets(const std::vector<Prepared>& ready, const Tensor& input, const LayerTable& table,
                   const Tensor& logits) {
    std::set<std::string> seen;
    for (const ExplainJob& job : jobs_) {
      if (!seen.insert(job.target.text).second) continue;
      DoneJob done;
      done.job = &job;
      bind_target(done, ready, input, table, logits);
    }
  }

  /// Sets the target of a job; returns the value that it is of.
  Tensor bind_target(DoneJob& done, const std::vector<Prepared>& ready, const Tensor& input, const LayerTable& table,
                     const Tensor& logits) {
    const Target& target = done.job->target;
    const ValueId id = target_value(target, table, model_.network.graph());
    try {
      return computing([&] {
        const Tensor value = id == table.logits() ? logits : forward(model_.network, input, id, progress_);
        done.target = std::make_unique<BoundTarget>(with_masks(target, ready, value), table, model_.card, id, value);
        return value;
      });
    } catch (ComputeFailure& failure) {
      failure.job = done.job;
      throw;
    }
  }

  /// Two targets may mean the same class for one picture and different ones for the next.
  static void note_repeated_classes(DoneJob& done, std::vector<std::map<std::string, std::string>>& resolved) {
    const Target& target = done.job->target;
    const bool plain = target.kind == Target::Kind::kRank || target.kind == Target::Kind::kClass;
    if (!plain) return;
    for (size_t i = 0; i < resolved.size(); ++i) {
      const std::string key = done.job->call.text() + (target.probability ? " p" : " l") +
                              std::to_string(done.target->class_index(static_cast<int64_t>(i)));
      const auto [known, fresh] = resolved[i].emplace(key, target.text);
      if (!fresh) done.attribution.notes[i].push_back("the same class as target '" + printable(known->second) + "'");
    }
  }

  std::optional<DoneJob> run_job(const ExplainJob& job, const std::vector<Prepared>& ready, const Tensor& input,
                                 const LayerTable& table, const Tensor& logits) {
    DoneJob done;
    done.job = &job;
    const Tensor value = bind_target(done, ready, input, table, logits);
    Context context{model_.network,          table,     model_.card, input, *done.target, {}, request_.run.seed,
                    request_.run.batch_size, progress_, {}};
    context.segmenter = superpixels_of;
    context.regions = regions_of(ready);
    if (!request_.background.empty()) context.background = background(input);
    done.score = done.target->score(value).to(at::kCPU).to(at::kDouble);
    done.probability = done.target->probability(value);
    if (done.probability.defined()) done.probability = done.probability.to(at::kCPU).to(at::kDouble);
    const auto start = std::chrono::steady_clock::now();
    try {
      if (job.call.method->needs & kNeedsLayer)
        context.cam_layers = cam_layers(table, model_.card, request_.layers, result_.notes);
      done.attribution = attribute(job.call, context);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kInterrupted) throw;
      // Under "all" a method that does not suit the model is left out with its reason.
      const bool unsuitable = e.kind() == ErrorKind::kUsage || e.kind() == ErrorKind::kUnsupported;
      if (!skip_unsuitable_ || !unsuitable) throw ComputeFailure{e.kind(), e.what(), false, &job};
      add_note(result_.notes, job.call.method->id + " left out: " + e.what());
      return std::nullopt;
    }
    done.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() /
                        static_cast<double>(input.size(0));
    return done;
  }

  /// Masks decide what a class means on a dense output; a picture without one takes the area where the class wins.
  static Target with_masks(Target target, const std::vector<Prepared>& ready, const Tensor& value) {
    const bool dense = value.dim() == 4 && value.size(2) * value.size(3) > 1;
    if (!dense || !names_class(target)) return target;
    const auto given =
        std::find_if(ready.begin(), ready.end(), [](const Prepared& p) { return p.annotations.mask.defined(); });
    if (given == ready.end()) return target;
    TensorList masks;
    for (const Prepared& p : ready) {
      masks.push_back(p.annotations.mask.defined() ? p.annotations.mask : at::zeros_like(given->annotations.mask));
    }
    target.mask = at::stack(masks);
    return target;
  }

  static Tensor regions_of(const std::vector<Prepared>& ready) {
    TensorList regions;
    for (const Prepared& p : ready) {
      if (p.annotations.regions.defined()) regions.push_back(p.annotations.regions);
    }
    return regions.empty() ? Tensor() : at::stack(regions);
  }

  Tensor background(const Tensor& input) {
    if (!background_.defined() || background_.sizes().slice(1) != input.sizes().slice(1)) {
      result_.background.clear();
      background_ = load_background(request_.background, request_.background_count, model_, request_.run.image_limits,
                                    input.sizes().vec(), result_.background)
                        .to(input.options());
    }
    return background_;
  }

  const ExplainRequest& request_;
  const LoadedModel& model_;
  Progress* progress_;
  GivenTruthReader annotations_;
  ExplanationWriter writer_;
  ExplainResult result_;
  std::vector<ExplainJob> jobs_;
  bool skip_unsuitable_ = false, wishes_checked_ = false;
  bool tried_ = false;  ///< A picture has come through, or failed for reasons of its own.
  std::optional<ComputeFailure> first_failure_;
  std::shared_ptr<const LayerTable> table_;
  Shape table_shape_;
  Tensor reference_, background_;
};

}  // namespace

ExplainResult explain(const ExplainRequest& request, Progress* progress) {
  // Wishes are checked before the model is read: a typing mistake should not cost a minute.
  check_run_options(request.run);
  if (request.background_count < 1) throw_usage("background-count must be an integer >= 1");
  parse_methods(request.methods);
  for (const std::string& text : request.targets) Target::parse(text);
  const LoadedModel model = load_model(request.model);
  return Explainer(request, model, progress).run();
}

}  // namespace pellucid
