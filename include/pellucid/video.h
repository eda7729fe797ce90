#pragma once

#include <memory>
#include <string>

#include "pellucid/image.h"

namespace pellucid {

/// Whether a file's name ends like a video's: avi, m4v, mkv, mov, mp4, mpeg, mpg, webm. Case does not matter.
bool named_like_video(const std::string& path);

/// The frames of a video file, in order, one in memory at a time. Containers are told by the file's first bytes (AVI,
/// MP4/QuickTime, Matroska/WebM, MPEG); playlists and addresses are never followed.
class VideoReader {
 public:
  /// Throws Error(kInvalidInput), one line that begins with the file's name, when it is no video in one of these, when
  /// nothing can be decoded from it, or when its frames have more pixels than `limits` accept.
  explicit VideoReader(const std::string& path, const ImageLimits& limits = {});
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  /// The next frame as RGB; false at the end, or where the rest cannot be decoded.
  bool next(Image& frame);
  /// Goes past `count` frames without converting them.
  void skip(int64_t count);
  int64_t position() const;          ///< Frames read or skipped.
  double frames_per_second() const;  ///< 25 where the file does not say.
  /// As many as the file says it has; 0 when it does not say.
  int64_t declared_frames() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes an .avi of JPEG frames, which needs no codec beside OpenCV's own; or, when the name ends in .gif, an animated
/// GIF that plays for ever, with one palette of 256 colors for all frames (Heckbert, "Color Image Quantization for
/// Frame Buffer Display", SIGGRAPH 1982: median cut) and without dithering. The file appears under its name when
/// `close` is called and is whole then.
class VideoWriter {
 public:
  /// Throws Error(kFailed) when this OpenCV cannot write videos, or the file; Error(kUsage) for a size that no picture
  /// may have, or a GIF cannot.
  VideoWriter(const std::string& path, int width, int height, double frames_per_second);
  ~VideoWriter();
  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;

  /// Frames of another size are resized to the first's. Throws Error(kUsage) for an empty one.
  void add(const Image& frame);
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pellucid
