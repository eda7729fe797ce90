#include <memory>
#include <optional>
#include <utility>

#include "pellucid/error.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"
#include "tasks/picture_reader.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

class Predictor {
 public:
  Predictor(const PredictRequest& request, const LoadedModel& model, Progress* progress)
      : request_(request), model_(model), progress_(progress) {}

  PredictResult run() {
    PictureReader reader(request_.run, model_);
    PredictResult result;
    result.notes = model_.card.notes;
    while (true) {
      if (progress_) {
        progress_->check();
        progress_->report(static_cast<double>(reader.position()), static_cast<double>(reader.num_files()), "files");
      }
      const std::vector<ReadPicture> batch = reader.next(request_.run.batch_size);
      if (batch.empty()) break;
      predict_batch(batch, result);
    }
    for (const std::string& note : reader.notes()) result.notes.push_back(note);
    for (const PredictedPicture& p : result.pictures) result.num_failed += !p.error.empty();
    if (result.num_failed > 0 && result.num_failed == static_cast<int64_t>(result.pictures.size()))
      throw *first_failure_;
    return result;
  }

 private:
  using Ready = std::vector<std::pair<const Picture*, PredictedPicture*>>;

  /// Unreadable pictures and those that fail alone are reported; the others go on.
  void predict_batch(const std::vector<ReadPicture>& batch, PredictResult& result) {
    const size_t first = result.pictures.size();
    result.pictures.resize(first + batch.size());
    Ready ready;
    for (size_t i = 0; i < batch.size(); ++i) {
      PredictedPicture& predicted = result.pictures[first + i];
      predicted.path = batch[i].picture.path;
      predicted.name = batch[i].picture.name;
      if (batch[i].error.empty()) {
        ready.emplace_back(&batch[i].picture, &predicted);
      } else {
        predicted.error = batch[i].error;
        if (!first_failure_) first_failure_ = Error(ErrorKind::kInvalidInput, predicted.error);
      }
    }
    if (ready.empty() || try_to_answer(ready, result, ready.size() == 1)) return;
    for (const auto& one : ready) try_to_answer({one}, result, true);
  }

  /// False when pictures that failed together should be tried one by one; a failure is reported when it is the `last`
  /// try.
  bool try_to_answer(const Ready& ready, PredictResult& result, bool last) {
    std::vector<const Picture*> pictures;
    for (const auto& one : ready) pictures.push_back(one.first);
    Tensor logits;
    try {
      const Tensor input = batch_of(pictures, model_.network);
      logits = forward(model_.network, input, table_for(input.sizes().vec()).logits(), progress_);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kInterrupted) throw;
      if (last) fail(*ready.front().second, e);
      return last;
    }
    add_label_note(result.notes, model_.card, *table_);
    if (const std::string output = output_note(*table_, model_.network.graph()); !output.empty()) {
      add_note(result.notes, output);
    }
    for (size_t i = 0; i < ready.size(); ++i) {
      const auto& [picture, predicted] = ready[i];
      const Tensor scores = logits.narrow(0, static_cast<int64_t>(i), 1);
      if (has_finite_scores(scores)) {
        predicted->classes = top_classes(scores, model_, *table_, request_.top).front();
        if (predicted->classes.empty()) {
          throw_usage(model_.network.graph().name + ": its output " + shape_text(scores.sizes()) +
                      " is not one score per class");
        }
      } else {
        const Tensor input = batch_of({picture}, model_.network);
        fail(*predicted, Error(ErrorKind::kFailed, score_problem(model_.network, input, *table_, progress_)));
      }
    }
    return true;
  }

  /// A reason in the network does not say by which picture it came up.
  void fail(PredictedPicture& predicted, const Error& error) {
    predicted.error = printable(predicted.path) + ": " + error.what();
    if (!first_failure_) first_failure_ = error;
  }

  const LayerTable& table_for(const Shape& shape) {
    const Shape one{1, shape[1], shape[2], shape[3]};
    if (!table_ || table_shape_ != one) {
      table_ = std::make_unique<LayerTable>(model_.network, std::vector<Shape>{one}, progress_);
      table_shape_ = one;
    }
    return *table_;
  }

  const PredictRequest& request_;
  const LoadedModel& model_;
  Progress* progress_;
  std::unique_ptr<LayerTable> table_;
  Shape table_shape_;
  std::optional<Error> first_failure_;
};

}  // namespace

PredictResult predict(const PredictRequest& request, Progress* progress) {
  if (request.top < 1) throw_usage("top must be an integer >= 1");
  check_run_options(request.run);
  const LoadedModel model = load_model(request.model);
  const at::NoGradGuard no_grad;
  return Predictor(request, model, progress).run();
}

}  // namespace pellucid
