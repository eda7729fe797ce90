#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pellucid/make_pictures.h"
#include "pellucid/video.h"
#include "tasks/picture_maker.h"

namespace pellucid {

/// What is kept of a run while it goes on: snapshots, a film, a checkpoint to go on from.
class RunRecorder {
 public:
  /// All references outlive the recorder.
  RunRecorder(const MakeOptions& options, const PictureJob& job, const LoadedModel& model);

  /// Sets the hooks of a run, and where it goes on from.
  void attach(SynthesisContext& context);
  /// Names the files of picture `b` in it.
  void finish(MadePicture& made, int64_t b);
  /// Removes the checkpoint of a job.
  static void forget(const MakeOptions& options, const PictureJob& job);

 private:
  std::string name(int64_t b) const;
  std::string film_name(int64_t b) const;
  std::string begun_with() const;
  void on_step(int64_t step, const Tensor& image);

  const MakeOptions& options_;
  const PictureJob& job_;
  const LoadedModel& model_;
  std::optional<SynthesisCheckpoint> resumed_;
  std::vector<std::vector<std::string>> snapshots_;  ///< By picture.
  std::vector<std::unique_ptr<VideoWriter>> films_;
  int64_t film_every_ = 1;
};

}  // namespace pellucid
