#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "pellucid/image.h"

namespace pellucid {

/// How often each color occurs, to five bits a channel, and the 256 that stand for all of them.
class MedianCut {
 public:
  void count(const Image& rgb);
  /// At most 256 colors, the means of boxes that are halved at their median until there are as many.
  std::vector<Color> palette() const;
  /// For each color to five bits, in the order of `bin_of`, the nearest of a palette.
  std::vector<uint8_t> nearest(const std::vector<Color>& palette) const;

  static constexpr int kBits = 5;
  static constexpr size_t kBins = size_t{1} << (3 * kBits);
  static size_t bin_of(const uint8_t* rgb) {
    size_t bin = 0;
    for (size_t c = 0; c < 3; ++c) bin = bin << kBits | rgb[c] >> (8 - kBits);
    return bin;
  }

 private:
  Color mean_of(size_t bin) const;

  std::vector<int64_t> counts_ = std::vector<int64_t>(kBins);
  std::vector<std::array<int64_t, 3>> sums_ = std::vector<std::array<int64_t, 3>>(kBins);
};

/// Frames of one size as an endless animation. They wait in a nameless file, since the palette is known when all are.
class AnimatedGif {
 public:
  AnimatedGif(const std::string& path, int width, int height, double frames_per_second);
  void add(const Image& rgb);
  /// Writes the file, under a temporary name first.
  void close();

 private:
  void write(const std::string& path);

  std::string path_;
  int width_, height_, delay_;
  int64_t frames_ = 0;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> spool_;
  MedianCut colors_;
};

}  // namespace pellucid
