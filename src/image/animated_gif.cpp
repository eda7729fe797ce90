// GIF89a with giflib. Colors by median cut: Heckbert, "Color Image Quantization for Frame Buffer Display", SIGGRAPH
// 1982.

#include "image/animated_gif.h"

#include <fcntl.h>
#include <gif_lib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kColors = 256;
constexpr int kLargestSide = 65535;  // sixteen bits in the header
/// Hundredths of a second; viewers slow down what is shorter.
constexpr int kShortestDelay = 2;

/// Bins whose colors one color of the palette stands for.
struct Box {
  std::vector<size_t> bins;
  int64_t count = 0;
  int axis = 0, length = 0;  ///< Where it is longest, in bins.
};

int coordinate(size_t bin, int axis) {
  return static_cast<int>(bin >> (MedianCut::kBits * (2 - axis)) & ((1 << MedianCut::kBits) - 1));
}

Box box_of(std::vector<size_t> bins, const std::vector<int64_t>& counts) {
  Box box;
  box.bins = std::move(bins);
  for (const size_t bin : box.bins) box.count += counts[bin];
  for (int axis = 0; axis < 3; ++axis) {
    const auto [low, high] = std::minmax_element(box.bins.begin(), box.bins.end(), [&](size_t a, size_t b) {
      return coordinate(a, axis) < coordinate(b, axis);
    });
    const int length = coordinate(*high, axis) - coordinate(*low, axis);
    if (length > box.length) box.axis = axis, box.length = length;
  }
  return box;
}

/// At the median of what is counted, each half with a bin at least.
std::pair<Box, Box> halves(Box box, const std::vector<int64_t>& counts) {
  std::sort(box.bins.begin(), box.bins.end(), [&](size_t a, size_t b) {
    const int ca = coordinate(a, box.axis), cb = coordinate(b, box.axis);
    return ca != cb ? ca < cb : a < b;
  });
  int64_t below = 0;
  size_t at = 0;
  while (at + 1 < box.bins.size() && 2 * (below + counts[box.bins[at]]) <= box.count) below += counts[box.bins[at++]];
  const auto middle = box.bins.begin() + static_cast<ptrdiff_t>(std::max<size_t>(1, at));
  return {box_of({box.bins.begin(), middle}, counts), box_of({middle, box.bins.end()}, counts)};
}

struct GifCloser {
  void operator()(GifFileType* gif) const { EGifCloseFile(gif, nullptr); }
};
struct ColorMapFreer {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};

[[noreturn]] void throw_unwritable(const std::string& path, const char* reason) {
  throw_failed(printable(path) + ": cannot write: " + (reason ? reason : "giflib says no more"));
}

}  // namespace

void MedianCut::count(const Image& rgb) {
  for (size_t i = 0; i + 2 < rgb.pixels.size(); i += 3) {
    const size_t bin = bin_of(&rgb.pixels[i]);
    ++counts_[bin];
    for (size_t c = 0; c < 3; ++c) sums_[bin][c] += rgb.pixels[i + c];
  }
}

Color MedianCut::mean_of(size_t bin) const {
  Color mean;
  for (size_t c = 0; c < 3; ++c) mean[c] = static_cast<uint8_t>((sums_[bin][c] + counts_[bin] / 2) / counts_[bin]);
  return mean;
}

std::vector<Color> MedianCut::palette() const {
  std::vector<size_t> used;
  for (size_t bin = 0; bin < kBins; ++bin) {
    if (counts_[bin] > 0) used.push_back(bin);
  }
  if (used.empty()) return {Color{}};
  std::vector<Box> boxes{box_of(used, counts_)};
  while (boxes.size() < std::min(kColors, used.size())) {
    // Where most is to be won: by pixels and by how far apart they are. A box of one bin wins nothing.
    const auto gain = [](const Box& b) { return static_cast<double>(b.count) * b.length * b.length; };
    const auto widest =
        std::max_element(boxes.begin(), boxes.end(), [&](const Box& a, const Box& b) { return gain(a) < gain(b); });
    auto [first, second] = halves(std::move(*widest), counts_);
    *widest = std::move(first);
    boxes.push_back(std::move(second));
  }
  std::vector<Color> colors;
  for (const Box& box : boxes) {
    Color mean;
    for (size_t c = 0; c < 3; ++c) {
      int64_t sum = 0;
      for (const size_t bin : box.bins) sum += sums_[bin][c];
      mean[c] = static_cast<uint8_t>((sum + box.count / 2) / box.count);
    }
    colors.push_back(mean);
  }
  return colors;
}

std::vector<uint8_t> MedianCut::nearest(const std::vector<Color>& palette) const {
  std::vector<uint8_t> index(kBins);
  for (size_t bin = 0; bin < kBins; ++bin) {
    if (counts_[bin] == 0) continue;
    const Color color = mean_of(bin);
    int best = std::numeric_limits<int>::max();
    for (size_t i = 0; i < palette.size(); ++i) {
      int distance = 0;
      for (size_t c = 0; c < 3; ++c) distance += (color[c] - palette[i][c]) * (color[c] - palette[i][c]);
      if (distance < best) best = distance, index[bin] = static_cast<uint8_t>(i);
    }
  }
  return index;
}

AnimatedGif::AnimatedGif(const std::string& path, int width, int height, double frames_per_second)
    : path_(path),
      width_(width),
      height_(height),
      delay_(std::max(kShortestDelay, static_cast<int>(std::lround(100 / std::max(0.1, frames_per_second))))),
      spool_(std::tmpfile(), std::fclose) {
  if (width > kLargestSide || height > kLargestSide) {
    throw_usage(printable(path) + ": frames of " + std::to_string(width) + "x" + std::to_string(height) +
                " pixels; a GIF has sides up to " + std::to_string(kLargestSide));
  }
  if (!spool_) throw_unwritable(path, "no temporary file for its frames");
}

void AnimatedGif::add(const Image& rgb) {
  colors_.count(rgb);
  if (std::fwrite(rgb.pixels.data(), 1, rgb.pixels.size(), spool_.get()) != rgb.pixels.size()) {
    throw_unwritable(path_, "the disk is full");
  }
  ++frames_;
}

void AnimatedGif::write(const std::string& path) {
  int error = 0;
  // giflib's own way to open a file lets nobody else read it.
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) throw_unwritable(path_, std::strerror(errno));
  std::unique_ptr<GifFileType, GifCloser> gif(EGifOpenFileHandle(file, &error));
  if (!gif) throw_unwritable(path_, GifErrorString(error));
  const auto check = [&](int status) {
    if (status != GIF_OK) throw_unwritable(path_, GifErrorString(gif->Error));
  };
  const std::vector<Color> palette = colors_.palette();
  std::array<GifColorType, kColors> entries{};
  for (size_t i = 0; i < palette.size(); ++i) entries[i] = {palette[i][0], palette[i][1], palette[i][2]};
  const std::unique_ptr<ColorMapObject, ColorMapFreer> map(GifMakeMapObject(kColors, entries.data()));
  if (!map) throw_unwritable(path_, "out of memory");
  EGifSetGifVersion(gif.get(), true);
  check(EGifPutScreenDesc(gif.get(), width_, height_, 8, 0, map.get()));
  const std::array<uint8_t, 3> for_ever{1, 0, 0};
  check(EGifPutExtensionLeader(gif.get(), APPLICATION_EXT_FUNC_CODE));
  check(EGifPutExtensionBlock(gif.get(), 11, "NETSCAPE2.0"));
  check(EGifPutExtensionBlock(gif.get(), static_cast<int>(for_ever.size()), for_ever.data()));
  check(EGifPutExtensionTrailer(gif.get()));

  const std::vector<uint8_t> nearest = colors_.nearest(palette);
  const GraphicsControlBlock control{DISPOSE_DO_NOT, false, delay_, NO_TRANSPARENT_COLOR};
  std::array<GifByteType, 4> control_bytes{};
  EGifGCBToExtension(&control, control_bytes.data());
  std::vector<uint8_t> row(3 * static_cast<size_t>(width_));
  std::vector<GifPixelType> line(static_cast<size_t>(width_));
  std::rewind(spool_.get());
  for (int64_t frame = 0; frame < frames_; ++frame) {
    check(EGifPutExtension(gif.get(), GRAPHICS_EXT_FUNC_CODE, static_cast<int>(control_bytes.size()),
                           control_bytes.data()));
    check(EGifPutImageDesc(gif.get(), 0, 0, width_, height_, false, nullptr));
    for (int y = 0; y < height_; ++y) {
      if (std::fread(row.data(), 1, row.size(), spool_.get()) != row.size()) {
        throw_unwritable(path_, "its frames cannot be read back");
      }
      for (size_t x = 0; x < line.size(); ++x) line[x] = nearest[MedianCut::bin_of(&row[3 * x])];
      check(EGifPutLine(gif.get(), line.data(), width_));
    }
  }
  if (EGifCloseFile(gif.release(), &error) != GIF_OK) throw_unwritable(path_, GifErrorString(error));
}

void AnimatedGif::close() {
  const fs::path path = fs::absolute(fs::u8path(path_));
  const fs::path temporary = path.parent_path() / ("." + path.stem().string() + "." + std::to_string(::getpid()));
  std::error_code ec;
  try {
    write(temporary.string());
  } catch (const Error&) {
    fs::remove(temporary, ec);
    throw;
  }
  fs::rename(temporary, path, ec);
  if (ec) throw_unwritable(path_, ec.message().c_str());
}

}  // namespace pellucid
