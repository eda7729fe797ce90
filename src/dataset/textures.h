#pragma once

#include <array>
#include <vector>

#include "dataset/render_math.h"

namespace pellucid::render {

/// What varies within a class of textures. Patterns live in the plane, with features of about one unit.
struct TextureStyle {
  uint64_t seed = 0;             ///< Of the noise.
  std::array<Vec3, 4> palette;   ///< Linear colors; the first two differ clearly.
  std::array<double, 4> knob{};  ///< In [0, 1), each pattern's to use.
};

/// Linear color at a point.
using TexturePattern = Vec3 (*)(const TextureStyle& style, double x, double y);

struct TextureKind {
  const char* name;
  TexturePattern pattern;
  double features;  ///< Units across a picture of middle scale.
  bool upright;     ///< Turned by a few degrees at most, else by any angle.
};

/// All kinds, in the order of their class.
const std::vector<TextureKind>& texture_kinds();

}  // namespace pellucid::render
