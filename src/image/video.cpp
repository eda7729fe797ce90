#include "pellucid/video.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <opencv2/videoio/registry.hpp>
#include <optional>

#include "core/lower_case.h"
#include "image/animated_gif.h"
#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 8> kExtensions{".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"};
constexpr double kDefaultRate = 25;

/// The codecs behind OpenCV write to stderr what we say in one line ourselves.
void silence_codecs() {
  static std::once_flag once;
  std::call_once(once, [] {
    ::setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  });
}

/// FFmpeg would follow a playlist to other files and addresses whatever its name; these containers hold their frames.
bool begins_like_container(const std::string& path) {
  std::array<char, 16> head{};
  std::ifstream stream(fs::u8path(path), std::ios::binary);
  stream.read(head.data(), head.size());
  if (stream.gcount() < 12) return false;
  const auto has = [&](size_t at, const char* bytes, size_t size) {
    return std::memcmp(head.data() + at, bytes, size) == 0;
  };
  if (has(0, "RIFF", 4)) return has(8, "AVI ", 4);
  for (const char* box : {"ftyp", "moov", "mdat", "wide", "free", "skip"}) {
    if (has(4, box, 4)) return true;
  }
  return has(0, "\x1a\x45\xdf\xa3", 4) || has(0, "\0\0\1\xba", 4) || has(0, "\0\0\1\xb3", 4);
}

std::string lower_extension(const std::string& path) { return lower_case(fs::u8path(path).extension().string()); }

std::string refusal_of(int width, int height, const ImageLimits& limits) {
  return "frames of " + std::to_string(width) + "x" + std::to_string(height) + " pixels; 1 to " +
         std::to_string(limits.max_pixels) + " pixels are accepted";
}

}  // namespace

bool named_like_video(const std::string& path) {
  const std::string extension = lower_extension(path);
  return std::any_of(kExtensions.begin(), kExtensions.end(), [&](const char* e) { return extension == e; });
}

struct VideoReader::Impl {
  std::string name;
  ImageLimits limits;
  cv::VideoCapture capture;
  int64_t position = 0;

  void check_pixels(int width, int height) const {
    if (int64_t{width} * height > limits.max_pixels) throw_invalid(name + ": " + refusal_of(width, height, limits));
  }
};

VideoReader::VideoReader(const std::string& path, const ImageLimits& limits) : impl_(std::make_unique<Impl>()) {
  silence_codecs();
  impl_->name = printable(path);
  impl_->limits = limits;
  std::error_code ec;
  if (!fs::is_regular_file(fs::u8path(path), ec)) throw_invalid(impl_->name + ": is not a regular file");
  if (!begins_like_container(path)) {
    throw_invalid(impl_->name +
                  ": not a video in an accepted container; accepted are AVI, MP4, QuickTime, Matroska, "
                  "WebM, MPEG");
  }
  // A full path, so that nothing in the name is taken for an address or a pattern of numbered pictures.
  const std::string full = fs::absolute(fs::u8path(path)).string();
  try {
    // OpenCV's own reader of JPEG frames complains to stderr, so it stands in only where there is no FFmpeg.
    const bool ffmpeg = cv::videoio_registry::hasBackend(cv::CAP_FFMPEG);
    impl_->capture.open(full, ffmpeg ? cv::CAP_FFMPEG : cv::CAP_OPENCV_MJPEG);
  } catch (const cv::Exception&) {
    impl_->capture.release();
  }
  if (!impl_->capture.isOpened()) {
    throw_invalid(impl_->name + ": cannot be read as a video: the file is damaged, or of a codec this OpenCV lacks");
  }
  impl_->check_pixels(static_cast<int>(impl_->capture.get(cv::CAP_PROP_FRAME_WIDTH)),
                      static_cast<int>(impl_->capture.get(cv::CAP_PROP_FRAME_HEIGHT)));
}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;

bool VideoReader::next(Image& frame) {
  cv::Mat pixels;
  try {
    if (!impl_->capture.read(pixels) || pixels.empty()) {
      if (impl_->position == 0) {
        throw_invalid(impl_->name + ": cannot be read as a video: no frame of it can be decoded");
      }
      return false;
    }
  } catch (const cv::Exception&) {
    throw_invalid(impl_->name + ": cannot be read as a video beyond frame " + std::to_string(impl_->position));
  }
  ++impl_->position;
  impl_->check_pixels(pixels.cols, pixels.rows);
  frame = Image(pixels.cols, pixels.rows, 3);
  cv::Mat target = mat_of(frame);
  cv::cvtColor(pixels, target, pixels.channels() == 1 ? cv::COLOR_GRAY2RGB : cv::COLOR_BGR2RGB);
  return true;
}

void VideoReader::skip(int64_t count) {
  for (; count > 0 && impl_->capture.grab(); --count) ++impl_->position;
}

int64_t VideoReader::position() const { return impl_->position; }

double VideoReader::frames_per_second() const {
  const double rate = impl_->capture.get(cv::CAP_PROP_FPS);
  return std::isfinite(rate) && rate > 0 && rate <= 1000 ? rate : kDefaultRate;
}

int64_t VideoReader::declared_frames() const {
  const double count = impl_->capture.get(cv::CAP_PROP_FRAME_COUNT);
  return std::isfinite(count) && count > 0 && count < 1e12 ? static_cast<int64_t>(count) : 0;
}

struct VideoWriter::Impl {
  std::string path, temporary;
  int width = 0, height = 0;
  cv::VideoWriter writer;
  std::optional<AnimatedGif> gif;  ///< Instead of the writer.
};

VideoWriter::VideoWriter(const std::string& path, int width, int height, double frames_per_second)
    : impl_(std::make_unique<Impl>()) {
  const ImageLimits limits;
  if (width < 1 || height < 1 || int64_t{width} * height > limits.max_pixels) {
    throw_usage(printable(path) + ": " + refusal_of(width, height, limits));
  }
  silence_codecs();
  impl_->path = path;
  impl_->width = width;
  impl_->height = height;
  if (lower_extension(path) == ".gif") {
    impl_->gif.emplace(path, width, height, frames_per_second);
    return;
  }
  const fs::path p = fs::absolute(fs::u8path(path));
  impl_->temporary = (p.parent_path() / ("." + p.stem().string() + "." + std::to_string(::getpid()) + ".avi")).string();
  try {
    impl_->writer.open(impl_->temporary, cv::CAP_OPENCV_MJPEG, cv::VideoWriter::fourcc('M', 'J', 'P', 'G'),
                       frames_per_second, cv::Size(width, height), true);
  } catch (const cv::Exception&) {
    impl_->writer.release();
  }
  if (!impl_->writer.isOpened()) {
    throw_failed(printable(path) + ": cannot write: this OpenCV cannot write videos there");
  }
  impl_->writer.set(cv::VIDEOWRITER_PROP_QUALITY, 92);
}

VideoWriter::~VideoWriter() {
  if (!impl_ || !impl_->writer.isOpened()) return;
  impl_->writer.release();
  std::error_code ignored;
  fs::remove(fs::u8path(impl_->temporary), ignored);
}
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;

void VideoWriter::add(const Image& frame) {
  check_image(frame, "video frame");
  Image rgb = rgb_from(frame);
  if (rgb.width != impl_->width || rgb.height != impl_->height) rgb = resize(rgb, impl_->width, impl_->height);
  if (impl_->gif) {
    impl_->gif->add(rgb);
    return;
  }
  cv::Mat bgr;
  cv::cvtColor(mat_of(rgb), bgr, cv::COLOR_RGB2BGR);
  impl_->writer.write(bgr);
}

void VideoWriter::close() {
  if (impl_->gif) {
    impl_->gif->close();
    impl_->gif.reset();
    return;
  }
  if (!impl_->writer.isOpened()) return;
  impl_->writer.release();
  std::error_code ec;
  fs::rename(fs::u8path(impl_->temporary), fs::absolute(fs::u8path(impl_->path)), ec);
  if (ec) throw_failed(printable(impl_->path) + ": cannot write: " + ec.message());
}

}  // namespace pellucid
