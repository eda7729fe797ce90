#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

// Pictures must have the same bytes everywhere, so multiply and add may not be fused on machines that could.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && defined(__FP_FAST_FMA)
#pragma GCC optimize("fp-contract=off")
#endif

namespace pellucid::render {

constexpr double kPi = 3.14159265358979323846;

constexpr double radians(double degrees) { return degrees * (kPi / 180.0); }

struct Vec3 {
  double x = 0, y = 0, z = 0;
};

inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(Vec3 a, Vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
inline Vec3 operator*(Vec3 a, double k) { return {a.x * k, a.y * k, a.z * k}; }
inline double dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 cross(Vec3 a, Vec3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
inline double length(Vec3 a) { return std::sqrt(dot(a, a)); }
/// Zero stays zero.
inline Vec3 normalized(Vec3 a) {
  const double norm = length(a);
  return norm > 1e-12 ? a * (1.0 / norm) : Vec3{};
}

inline double clamp01(double x) { return std::min(1.0, std::max(0.0, x)); }
inline double mix(double a, double b, double t) { return a + (b - a) * t; }
inline Vec3 mix(Vec3 a, Vec3 b, double t) { return a + (b - a) * t; }
/// 0 below `from`, 1 above `to`, smooth between; `from` may be the larger one.
inline double smoothstep(double from, double to, double x) {
  const double t = clamp01((x - from) / (to - from));
  return t * t * (3.0 - 2.0 * t);
}

struct SinCos {
  double sin, cos;
};
/// Taylor series after reduction to +-pi/4, for |angle| up to about 1000; error below 1e-9. libm's last bit differs
/// between systems, this does not.
SinCos sin_cos(double angle);

/// Unit vector at an azimuth around y (0 = +z, towards +x) and an elevation over the horizon, radians.
Vec3 direction(double azimuth, double elevation);

/// Hue in degrees, saturation and value in [0, 1].
struct Hsv {
  double hue, saturation, value;
};
/// Colors are computed in linear light, taken as the square of the picture's values (gamma 2): scaling then keeps hue
/// and saturation, and the way back is an exact square root.
Vec3 linear_from_hsv(Hsv color);

/// Stateless 64-bit mix (the finalizer of SplitMix64).
inline uint64_t hash64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// SplitMix64 started from (seed, index, stream). Each group of draws has a stream of its own, so adding a draw to one
/// leaves the others as they are. Compilers differ in the order of function arguments and operands: give two calls a
/// statement each, or the braces of an initializer.
class Random {
 public:
  Random(uint64_t seed, uint64_t index, uint64_t stream) : state_(hash64(hash64(hash64(seed) ^ index) ^ stream)) {}
  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return hash64(state_);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Inclusive at both ends.
  int integer(int low, int high) { return low + static_cast<int>(uniform() * (high - low + 1)); }
  bool chance(double probability) { return uniform() < probability; }

 private:
  uint64_t state_;
};

/// Smooth noise in [0, 1] with one feature per unit, reproducible from `seed`.
double value_noise(double x, double y, uint64_t seed);

}  // namespace pellucid::render
