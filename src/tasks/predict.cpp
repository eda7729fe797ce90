#include <memory>

#include "pellucid/error.h"
#include "pellucid/tasks.h"
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
    if (result.num_failed > 0 && result.num_failed == static_cast<int64_t>(result.pictures.size())) {
      throw Error(first_kind_, result.pictures.front().error);
    }
    return result;
  }

 private:
  void predict_batch(const std::vector<ReadPicture>& batch, PredictResult& result) {
    std::vector<const Picture*> readable;
    for (const ReadPicture& one : batch) {
      if (one.error.empty()) readable.push_back(&one.picture);
    }
    Tensor logits;
    if (!readable.empty()) {
      const Tensor input = batch_of(readable, model_.network);
      logits = forward(model_.network, input, table_for(input.sizes().vec()).logits(), progress_);
    }
    int64_t row = 0;
    for (const ReadPicture& one : batch) {
      PredictedPicture predicted;
      predicted.path = one.picture.path;
      predicted.name = one.picture.name;
      predicted.error = one.error;
      if (one.error.empty()) {
        const Tensor scores = logits.narrow(0, row++, 1);
        const std::string problem = score_problem(scores);
        if (problem.empty()) {
          predicted.classes = top_classes(scores, model_, *table_, request_.top).front();
          if (predicted.classes.empty()) {
            throw_usage(model_.network.graph().name + ": its output " + shape_text(scores.sizes()) +
                        " is not one score per class");
          }
        } else {
          predicted.error = one.picture.path + ": " + problem;
          if (result.pictures.empty()) first_kind_ = ErrorKind::kFailed;
        }
      }
      result.pictures.push_back(std::move(predicted));
    }
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
  ErrorKind first_kind_ = ErrorKind::kInvalidInput;
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
