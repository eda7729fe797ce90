#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataset/flowers_math.h"
#include "pellucid/flowers.h"

namespace pellucid::flowers {

/// World units: y up, the ground at y = 0, the pot on the origin about 0.65 high, the whole plant about 2.7. The flower
/// looks towards +z.
struct Camera {
  Vec3 position, forward, right, up;
  double focal = 1;                 ///< picture widths per unit of slope
  double shift_x = 0, shift_y = 0;  ///< picture widths, right and down
};

struct Light {
  Vec3 to_light;  ///< unit vector
  Vec3 key;       ///< linear color of the directional light
  Vec3 ambient;   ///< linear color of the light from everywhere
};

/// The free colors of a scene, linear; the class decides some of them.
struct Palette {
  Vec3 petals, center, stem, leaves, pot, soil;
};

struct Vertex {
  Vec3 position;
  Vec3 color;  ///< linear light reaching the camera
};

struct Triangle {
  std::array<uint32_t, 3> corners;
  FlowerPart part;
};

struct Mesh {
  std::vector<Vertex> vertices;
  std::vector<Triangle> triangles;
};

Camera make_camera(uint64_t seed, uint64_t index);
Light make_light(uint64_t seed, uint64_t index, const Camera& camera);
/// Colors before the class and FlowerOptions::grayed_parts have their say.
Palette make_palette(uint64_t seed, uint64_t index);
/// The saturated color of a class around `hue`, and the neutral one of the candidate part that is not discriminative.
Vec3 class_color(uint64_t seed, uint64_t index, double hue);
Vec3 neutral_color(uint64_t seed, uint64_t index, FlowerPart part);

/// The plant and its pot, lit. Shape depends on (seed, index) alone.
Mesh make_plant(uint64_t seed, uint64_t index, const Palette& palette, const Light& light, const Camera& camera);

/// Separate streams of random numbers, see Random.
enum Stream : uint64_t {
  kCameraStream = 1,
  kLightStream,
  kPaletteStream,
  kClassColorStream,
  kPetalNeutralStream,
  kStemNeutralStream,
  kHeadStream,
  kStemStream,
  kLeafStream,
  kPotStream,
  kBackdropStream,
  kGroundStream,
  kNoiseStream
};

}  // namespace pellucid::flowers
