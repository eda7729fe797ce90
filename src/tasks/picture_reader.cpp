#include "tasks/picture_reader.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {
constexpr int64_t kMostUnreadable = 64;
}

void check_run_options(const RunOptions& run) {
  if (run.batch_size < 1) throw_usage("batch-size must be an integer >= 1");
  if (run.every < 1) throw_usage("every must be an integer >= 1");
  if (run.max_frames < 0) throw_usage("max-frames must be an integer >= 0");
}

PictureReader::PictureReader(const RunOptions& run, const LoadedModel& model)
    : run_(run), model_(model), paths_(expand_inputs(run.inputs)), names_(unique_names(paths_)) {}

std::vector<ReadPicture> PictureReader::next(int64_t most) {
  std::vector<ReadPicture> batch;
  Shape shape;
  int64_t readable = 0;
  // Unreadable ones alone must not pile up either.
  while (readable < most && static_cast<int64_t>(batch.size()) < most + kMostUnreadable) {
    std::optional<ReadPicture> one = std::exchange(held_, std::nullopt);
    if (!one) one = read_one();
    if (!one) break;
    if (one->error.empty()) {
      if (readable > 0 && one->picture.input.sizes() != shape) {
        held_ = std::move(one);
        break;
      }
      shape = one->picture.input.sizes().vec();
      ++readable;
    }
    batch.push_back(std::move(*one));
  }
  return batch;
}

std::optional<ReadPicture> PictureReader::read_one() {
  while (true) {
    if (!waiting_.empty()) {
      ReadPicture one = std::move(waiting_.back());
      waiting_.pop_back();
      return one;
    }
    try {
      if (video_) {
        if (auto frame = next_frame()) return frame;
        video_.reset();
      }
      if (next_ == paths_.size()) return std::nullopt;
      open_next();
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kInvalidInput) throw;
      video_.reset();
      return failed(e.what());
    }
  }
}

void PictureReader::open_next() {
  const size_t i = next_++;
  const std::string &path = paths_[i], &name = names_[i];
  if (named_like_video(path)) {
    video_.emplace(path, run_.image_limits);
    frames_taken_ = 0;
    sha256_ = sha256_file(path);
    return;
  }
  for (ReadPicture& entry : read_pictures(path, name, model_, run_.image_limits)) {
    waiting_.push_back(std::move(entry));
  }
  sha256_ = sha256_file(path);
  for (ReadPicture& one : waiting_) one.picture.sha256 = sha256_;
  std::reverse(waiting_.begin(), waiting_.end());
}

ReadPicture PictureReader::failed(const std::string& error) const {
  ReadPicture bad;
  bad.picture.path = paths_[next_ - 1];
  bad.picture.name = names_[next_ - 1];
  bad.error = error;
  return bad;
}

std::optional<ReadPicture> PictureReader::next_frame() {
  const size_t i = next_ - 1;
  if (run_.max_frames > 0 && frames_taken_ >= run_.max_frames) return std::nullopt;
  if (frames_taken_ > 0) video_->skip(run_.every - 1);
  const int64_t index = video_->position();
  Image photo;
  if (!video_->next(photo)) {
    const int64_t declared = video_->declared_frames(), found = video_->position();
    // Containers without an index only estimate their length.
    if (found + 1 < declared) {
      notes_.push_back(printable(paths_[i]) + ": only " + std::to_string(found) + " of " + std::to_string(declared) +
                       " frames could be decoded");
    }
    return std::nullopt;
  }
  char number[32];
  std::snprintf(number, sizeof(number), ".frame%04lld", static_cast<long long>(index));
  ReadPicture one;
  one.picture = picture_from_image(std::move(photo), paths_[i], names_[i] + number, model_);
  one.picture.sha256 = sha256_;
  one.picture.video_name = names_[i];
  one.picture.frames_per_second = video_->frames_per_second() / static_cast<double>(run_.every);
  ++frames_taken_;
  return one;
}

}  // namespace pellucid
