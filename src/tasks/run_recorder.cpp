#include "tasks/run_recorder.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "pellucid/text.h"
#include "tasks/synthesis_checkpoint.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kFilmFrames = 100;
constexpr double kFilmRate = 20;

std::string in_folder(const MakeOptions& options, const std::string& name) {
  return (fs::u8path(options.output) / fs::u8path(name)).string();
}

std::string checkpoint_path(const MakeOptions& options, const PictureJob& job) {
  return in_folder(options, job.name + ".checkpoint");
}

std::string step_text(int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "%05lld", static_cast<long long>(step));
  return text;
}

}  // namespace

RunRecorder::RunRecorder(const MakeOptions& options, const PictureJob& job, const LoadedModel& model)
    : options_(options), job_(job), model_(model) {
  const auto pictures = static_cast<size_t>(job.recipe.batch);
  snapshots_.resize(pictures);
  films_.resize(pictures);
  int64_t steps = 0;
  for (const RecipeStage& stage : job.recipe.stages) steps += stage.steps;
  film_every_ = std::max<int64_t>(1, steps / kFilmFrames);
}

std::string RunRecorder::name(int64_t b) const {
  return job_.batch.empty() ? job_.name : job_.batch[static_cast<size_t>(b)].name;
}

std::string RunRecorder::film_name(int64_t b) const { return name(b) + "." + options_.animation; }

std::string RunRecorder::begun_with() const { return model_.hash() + " " + job_.inputs; }

void RunRecorder::attach(SynthesisContext& context) {
  if (options_.output.empty()) return;
  const std::string path = checkpoint_path(options_, job_);
  if (options_.resume) {
    resumed_ = load_checkpoint(path, job_.recipe, begun_with());
    if (resumed_) context.resume = &*resumed_;
  }
  context.checkpoint_every = options_.save_every;
  context.on_checkpoint = [this, path](const SynthesisCheckpoint& c) {
    save_checkpoint(path, c, job_.recipe, begun_with());
  };
  if (options_.save_every > 0 || options_.animate) {
    context.on_step = [this](int64_t step, const Tensor& image) { on_step(step, image); };
  }
}

void RunRecorder::on_step(int64_t step, const Tensor& image) {
  const bool snapshot = options_.save_every > 0 && (step + 1) % options_.save_every == 0;
  const bool frame = options_.animate && step % film_every_ == 0;
  if (!snapshot && !frame) return;
  const Tensor shown = image.detach().to(at::kCPU).to(at::kFloat);
  for (int64_t b = 0; b < image.size(0); ++b) {
    const auto at_b = static_cast<size_t>(b);
    if (snapshot) {
      snapshots_[at_b].push_back(name(b) + ".step" + step_text(step + 1) + ".png");
      save_png(in_folder(options_, snapshots_[at_b].back()), image_from_display(shown[b]));
    }
    if (frame) {
      if (!films_[at_b]) {
        // Frames have the size of the result, so that octaves do not change the film's.
        films_[at_b] =
            std::make_unique<VideoWriter>(in_folder(options_, film_name(b)), static_cast<int>(job_.recipe.width),
                                          static_cast<int>(job_.recipe.height), kFilmRate);
      }
      films_[at_b]->add(shown_from_display(shown[b]));
    }
  }
}

void RunRecorder::finish(MadePicture& made, int64_t b) {
  const auto at_b = static_cast<size_t>(b);
  made.snapshot_files = snapshots_[at_b];
  if (!films_[at_b]) return;
  films_[at_b]->add(shown_from_display(made.image));
  films_[at_b]->close();
  made.film_file = film_name(b);
  if (resumed_)
    made.notes.push_back("the film begins where the run went on, at step " + std::to_string(resumed_->step));
}

void RunRecorder::forget(const MakeOptions& options, const PictureJob& job) {
  if (options.output.empty()) return;
  std::error_code ignored;
  fs::remove(fs::u8path(checkpoint_path(options, job)), ignored);
}

}  // namespace pellucid
