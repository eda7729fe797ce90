#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pellucid/tasks.h"
#include "pellucid/video.h"

namespace pellucid {

/// One input as it was read: a picture, or the reason why there is none.
struct ReadPicture {
  Picture picture;  ///< Path and name are there in either case.
  std::string error;
};

/// Whether a file is called like a picture, video or array; folders are searched for such.
bool named_like_input(const std::string& path);

/// Throws Error(kUsage) for numbers out of range.
void check_run_options(const RunOptions& run);

/// What a picture or array file holds; throws when it holds nothing that can be used.
std::vector<ReadPicture> read_pictures(const std::string& path, const std::string& name, const LoadedModel& model,
                                       const ImageLimits& limits);

/// Reads inputs a few at a time, so that memory does not grow with their number or with the length of a video.
class PictureReader {
 public:
  /// Throws Error(kInvalidInput) when a name leads to nothing. Both references must outlive the reader.
  PictureReader(const RunOptions& run, const LoadedModel& model);

  /// The next inputs in their order, until there are `most` readable pictures of one shape; empty at the end.
  std::vector<ReadPicture> next(int64_t most);

  size_t num_files() const { return paths_.size(); }
  /// Files opened so far.
  size_t position() const { return next_; }
  /// What is worth knowing beyond single pictures: frames that a video promised and did not hold.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::optional<ReadPicture> read_one();
  void open_next();
  ReadPicture failed(const std::string& error) const;
  std::optional<ReadPicture> next_frame();

  const RunOptions& run_;
  const LoadedModel& model_;
  std::vector<std::string> paths_, names_, notes_;
  size_t next_ = 0;
  std::string sha256_;                ///< Of the file being read.
  std::vector<ReadPicture> waiting_;  ///< Of an array file, last first.
  std::optional<ReadPicture> held_;   ///< Read, but of another shape than the last batch.
  std::optional<VideoReader> video_;
  int64_t frames_taken_ = 0;
};

}  // namespace pellucid
