#pragma once

#include <cstdint>
#include <vector>

#include "dataset/render_math.h"

namespace pellucid::render {

/// A triangle corner on the sample grid: x to the right and y down in samples, `depth` larger when nearer (1 /
/// distance), color as square root of linear light in [0, 1].
struct Corner {
  double x, y, depth;
  Vec3 color;
};

/// What one sample sees. The color is in units of 1/4095.
struct Sample {
  float depth = 0.0F;
  uint16_t red = 0, green = 0, blue = 0;
  uint8_t part = 0;
};

/// A depth-buffered square of samples. Corners are snapped to 1/256 of a sample and coverage is decided in integers, so
/// neighbors that share an edge leave no gap and no rounding moves an outline.
class SampleGrid {
 public:
  explicit SampleGrid(int side) : side_(side), samples_(static_cast<size_t>(side) * side) {}
  void draw(const Corner& a, const Corner& b, const Corner& c, uint8_t part);
  int side() const { return side_; }
  const Sample* row(int y) const { return samples_.data() + static_cast<size_t>(y) * side_; }

 private:
  int side_;
  std::vector<Sample> samples_;
};

}  // namespace pellucid::render
