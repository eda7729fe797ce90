#pragma once

#include <functional>
#include <vector>

#include "dataset/render_scene.h"

namespace pellucid::render {

/// The shadow that things cast on the ground, as a map over the world's x and z.
class GroundShadow {
 public:
  GroundShadow() : cells_(static_cast<size_t>(kSide) * kSide) {}
  /// Adds the triangle, projected along the light.
  void cast(Vec3 a, Vec3 b, Vec3 c, Vec3 to_light);
  /// All triangles of the mesh but those of the parts for which `hidden` says so.
  void cast(const Mesh& mesh, Vec3 to_light, const std::function<bool(uint8_t)>& hidden);
  /// Widens the edges as light from a large lamp would.
  void soften();
  /// 0 in the open, 1 in full shadow.
  double at(double x, double z) const;

 private:
  static constexpr int kSide = 128;
  static constexpr double kReach = 3.2;  ///< world units from the origin that the map covers
  std::vector<float> cells_;
};

/// Everything behind the things of a scene: the ground they stand on and a sky, a wall or a blurred garden.
class Backdrop {
 public:
  Backdrop(uint64_t seed, uint64_t index, const Camera& camera, const Light& light);
  /// Linear color seen at picture coordinates (0, 0 top left, 1, 1 bottom right). `pixel` is the width of a pixel in
  /// these units; edges are blended over it.
  Vec3 color(double x, double y, double pixel, const GroundShadow& shadow) const;

 private:
  enum class Kind { kSky, kWall, kGarden };
  enum class Cover { kGrass, kPlanks, kEarth, kSlab };
  struct Blob {
    double x, y, radius, softness, strength;
    Vec3 color;
  };

  /// Heights of sky and garden count from the foot, that of the wall from the eye.
  Vec3 sky(double side, double height) const;
  Vec3 wall(double side, double height) const;
  Vec3 garden(double side, double height) const;
  /// `footprint` is the length of ground, away from the camera, that a pixel covers.
  Vec3 ground(Vec3 point, double distance, double footprint) const;

  const Camera& camera_;
  Vec3 ahead_, aside_;  ///< horizontal directions of the view
  Vec3 low_, high_;     ///< backdrop colors at its foot and top
  Vec3 hill_, ground_, ground_other_, ambient_share_;
  Kind kind_;
  Cover cover_;
  double foot_;      ///< slope (height per distance ahead) at which ground meets backdrop
  double softness_;  ///< blur of that line, in slope
  double grain_, grain_scale_, stripe_, stripe_scale_;
  double wood_cos_, wood_sin_;
  double fill_x_, fill_y_;  ///< where a wall is brightest
  std::vector<Blob> blobs_;
  uint64_t texture_;
};

}  // namespace pellucid::render
