#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataset/render_math.h"

namespace pellucid::render {

/// World units: y up, the ground at y = 0.
struct Camera {
  Vec3 position, forward, right, up;
  double focal = 1;                 ///< picture widths per unit of slope
  double shift_x = 0, shift_y = 0;  ///< picture widths, right and down
};

struct View {
  Vec3 target;
  double azimuth = 0, elevation = 0, roll = 0;  ///< radians; azimuth as in `direction`
  double distance = 8;
  double frame_height = 3;  ///< world units that fill the picture at the target
  double shift_x = 0, shift_y = 0;
};
Camera look_from(const View& view);

struct Light {
  Vec3 to_light;  ///< unit vector
  Vec3 key;       ///< linear color of the directional light
  Vec3 ambient;   ///< linear color of the light from everywhere
};
Light make_light(uint64_t seed, uint64_t index, const Camera& camera);

struct Vertex {
  Vec3 position;
  Vec3 color;  ///< linear light reaching the camera
};

struct Triangle {
  std::array<uint32_t, 3> corners;
  uint8_t part;  ///< 0 is the background
};

struct Mesh {
  std::vector<Vertex> vertices;
  std::vector<Triangle> triangles;
};

/// What a surface looks like at a point, before light.
struct Look {
  Vec3 albedo;
  double openness = 1;  ///< how much of the light from everywhere arrives, 0..1
};

/// How light treats a kind of surface.
struct Surface {
  uint8_t part;
  bool thin = false;          ///< seen from both sides and lit through, like a petal
  bool closed = false;        ///< the last column coincides with the first
  double translucency = 0.6;  ///< share of the light from behind that a thin surface lets through
};

/// Lit surfaces, one after the other. A surface is lit as if it were alone, so none changes the look of another.
class MeshBuilder {
 public:
  MeshBuilder(const Light& light, const Camera& camera) : light_(light), camera_(camera) {}

  /// A grid of rows x cols vertices, its outside where cross(rows up, columns up) points; position(r, c) and look(r, c)
  /// are asked with both coordinates in [0, 1].
  template <class Position, class LookAt>
  void add(const Surface& surface, int rows, int cols, Position position, LookAt look) {
    const auto first = static_cast<uint32_t>(mesh_.vertices.size());
    std::vector<Vec3> points;
    points.reserve(static_cast<size_t>(rows) * cols);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < cols; ++c) points.push_back(position(unit(r, rows), unit(c, cols)));
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < cols; ++c) {
        const Vec3 point = points[static_cast<size_t>(r) * cols + c];
        const Look here = look(unit(r, rows), unit(c, cols));
        mesh_.vertices.push_back({point, lit(surface, point, normal(points, rows, cols, r, c, surface.closed), here)});
      }
    }
    const auto width = static_cast<uint32_t>(cols);
    for (uint32_t r = 0; r + 1 < static_cast<uint32_t>(rows); ++r) {
      for (uint32_t c = 0; c + 1 < width; ++c) {
        const uint32_t corner = first + r * width + c;
        mesh_.triangles.push_back({{corner, corner + 1, corner + width}, surface.part});
        mesh_.triangles.push_back({{corner + 1, corner + width + 1, corner + width}, surface.part});
      }
    }
  }

  Mesh take() { return std::move(mesh_); }

 private:
  static double unit(int i, int count) { return static_cast<double>(i) / (count - 1); }
  static Vec3 normal(const std::vector<Vec3>& points, int rows, int cols, int r, int c, bool closed);
  Vec3 lit(const Surface& surface, Vec3 point, Vec3 n, const Look& look) const;

  const Light& light_;
  const Camera& camera_;
  Mesh mesh_;
};

/// Separate streams of random numbers (see Random) of what all scenes have. Other groups of draws have streams of their
/// own, from kFirstOwnStream.
enum Stream : uint64_t {
  kCameraStream = 1,
  kLightStream = 2,
  kBackdropStream = 11,
  kGroundStream = 12,
  kNoiseStream = 13,
  kFirstOwnStream = 20
};

}  // namespace pellucid::render
