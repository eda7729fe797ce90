#include "dataset/render_math.h"

namespace pellucid::render {

SinCos sin_cos(double angle) {
  const double quarter = std::floor(angle * (2.0 / kPi) + 0.5);
  const double r = angle - quarter * (kPi / 2.0);
  const double q = r * r;
  const double s = r * (1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0 * (1.0 - q / 110.0)))));
  const double c = 1.0 - q / 2.0 * (1.0 - q / 12.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0))));
  switch (static_cast<int64_t>(quarter) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

Vec3 direction(double azimuth, double elevation) {
  const SinCos a = sin_cos(azimuth);
  const SinCos e = sin_cos(elevation);
  return {a.sin * e.cos, e.sin, a.cos * e.cos};
}

Vec3 linear_from_hsv(Hsv color) {
  const double turns = color.hue / 360.0;
  const double sector = (turns - std::floor(turns)) * 6.0;
  const double low = color.value * (1.0 - color.saturation);
  const auto channel = [&](double offset) {
    double k = sector + offset;
    if (k >= 6.0) k -= 6.0;
    const double weight = clamp01(std::min(k, 4.0 - k));
    const double value = color.value + (low - color.value) * weight;
    return value * value;
  };
  return {channel(5.0), channel(3.0), channel(1.0)};
}

double value_noise(double x, double y, uint64_t seed) {
  const double cell_x = std::floor(x);
  const double cell_y = std::floor(y);
  const auto lattice = [&](int dx, int dy) {
    const auto ix = static_cast<uint64_t>(static_cast<int64_t>(cell_x) + dx);
    const auto iy = static_cast<uint64_t>(static_cast<int64_t>(cell_y) + dy);
    return static_cast<double>(hash64(seed ^ (ix * 0x8da6b343ULL + iy * 0xd8163841cb1ab3c7ULL)) >> 40) * 0x1p-24;
  };
  const double u = smoothstep(0.0, 1.0, x - cell_x);
  const double v = smoothstep(0.0, 1.0, y - cell_y);
  return mix(mix(lattice(0, 0), lattice(1, 0), u), mix(lattice(0, 1), lattice(1, 1), u), v);
}

}  // namespace pellucid::render
