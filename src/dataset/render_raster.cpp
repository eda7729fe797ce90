#include "dataset/render_raster.h"

namespace pellucid::render {
namespace {

constexpr int64_t kSnap = 256;
/// Far outside every picture, and small enough that products of differences fit 64 bits.
constexpr double kFarthest = 1e6;

int64_t snapped(double samples) {
  return static_cast<int64_t>(std::floor(std::min(kFarthest, std::max(-kFarthest, samples)) * kSnap + 0.5));
}

uint16_t stored(double value) { return static_cast<uint16_t>(clamp01(value) * 4095.0 + 0.5); }

int first_sample(int64_t low) { return static_cast<int>(std::max<int64_t>(0, (low + kSnap / 2 - 1) / kSnap)); }

}  // namespace

void SampleGrid::draw(const Corner& a, const Corner& b, const Corner& c, uint8_t part) {
  const int64_t ax = snapped(a.x), ay = snapped(a.y);
  int64_t bx = snapped(b.x), by = snapped(b.y);
  int64_t cx = snapped(c.x), cy = snapped(c.y);
  const Corner* second = &b;
  const Corner* third = &c;
  int64_t area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
  if (area == 0) return;
  if (area < 0) {
    std::swap(bx, cx);
    std::swap(by, cy);
    std::swap(second, third);
    area = -area;
  }
  const int64_t high_x = std::max({ax, bx, cx}), high_y = std::max({ay, by, cy});
  if (high_x < 0 || high_y < 0) return;
  const int x0 = first_sample(std::min({ax, bx, cx})), y0 = first_sample(std::min({ay, by, cy}));
  const int x1 = static_cast<int>(std::min<int64_t>(side_ - 1, (high_x - kSnap / 2) / kSnap));
  const int y1 = static_cast<int>(std::min<int64_t>(side_ - 1, (high_y - kSnap / 2) / kSnap));
  if (x0 > x1 || y0 > y1) return;

  // Weight of a corner at a sample: twice the area of the triangle that the sample makes with the opposite edge.
  const auto edge = [&](int64_t px, int64_t py, int64_t qx, int64_t qy) {
    return (qx - px) * (y0 * kSnap + kSnap / 2 - py) - (qy - py) * (x0 * kSnap + kSnap / 2 - px);
  };
  int64_t row_a = edge(bx, by, cx, cy), row_b = edge(cx, cy, ax, ay), row_c = edge(ax, ay, bx, by);
  const int64_t right_a = (by - cy) * kSnap, right_b = (cy - ay) * kSnap, right_c = (ay - by) * kSnap;
  const int64_t down_a = (cx - bx) * kSnap, down_b = (ax - cx) * kSnap, down_c = (bx - ax) * kSnap;
  const double inverse = 1.0 / static_cast<double>(area);
  const double depth_b = (second->depth - a.depth) * inverse, depth_c = (third->depth - a.depth) * inverse;
  const Vec3 color_b = (second->color - a.color) * inverse, color_c = (third->color - a.color) * inverse;
  for (int y = y0; y <= y1; ++y, row_a += down_a, row_b += down_b, row_c += down_c) {
    Sample* row = samples_.data() + static_cast<size_t>(y) * side_;
    int64_t wa = row_a, wb = row_b, wc = row_c;
    for (int x = x0; x <= x1; ++x, wa += right_a, wb += right_b, wc += right_c) {
      if ((wa | wb | wc) < 0) continue;
      const auto share_b = static_cast<double>(wb), share_c = static_cast<double>(wc);
      const auto depth = static_cast<float>(a.depth + depth_b * share_b + depth_c * share_c);
      Sample& sample = row[x];
      if (depth <= sample.depth) continue;
      const Vec3 color = a.color + color_b * share_b + color_c * share_c;
      sample = {depth, stored(color.x), stored(color.y), stored(color.z), part};
    }
  }
}

}  // namespace pellucid::render
