#pragma once

#include <cstdint>

#include "dataset/render_scene.h"
#include "pellucid/flowers.h"

namespace pellucid::flowers {

// The pot stands on the origin and is about 0.65 high, the whole plant about 2.7. The flower looks towards +z.

/// The free colors of a scene, linear; the class decides some of them.
struct Palette {
  render::Vec3 petals, center, stem, leaves, pot, soil;
};

render::Camera make_camera(uint64_t seed, uint64_t index);
/// Colors before the class and FlowerOptions::grayed_parts have their say.
Palette make_palette(uint64_t seed, uint64_t index);
/// The saturated color of a class around `hue`, and the neutral one of the candidate part that is not discriminative.
render::Vec3 class_color(uint64_t seed, uint64_t index, double hue);
render::Vec3 neutral_color(uint64_t seed, uint64_t index, FlowerPart part);

/// The plant and its pot, lit. Shape depends on (seed, index) alone.
render::Mesh make_plant(uint64_t seed, uint64_t index, const Palette& palette, const render::Light& light,
                        const render::Camera& camera);

/// Random streams of the plant, see render::Stream.
enum PlantStream : uint64_t {
  kPaletteStream = 3,
  kClassColorStream,
  kPetalNeutralStream,
  kStemNeutralStream,
  kHeadStream,
  kStemStream,
  kLeafStream,
  kPotStream
};

}  // namespace pellucid::flowers
