#include "dataset/flowers_scene.h"

namespace pellucid::flowers {

using namespace render;

Camera make_camera(uint64_t seed, uint64_t index) {
  Random random(seed, index, render::kCameraStream);
  View view;
  view.target = {0, 1.38, 0.1};
  view.azimuth = radians(random.uniform(-48, 48));
  view.elevation = radians(random.uniform(4, 25));
  view.distance = random.uniform(6.5, 9.0);
  view.frame_height = random.uniform(2.95, 3.6);
  view.roll = radians(random.uniform(-8, 8));
  view.shift_x = random.uniform(-0.07, 0.07);
  view.shift_y = random.uniform(-0.03, 0.045);
  return look_from(view);
}

Palette make_palette(uint64_t seed, uint64_t index) {
  Random random(seed, index, kPaletteStream);
  Palette palette;
  const int center = random.integer(0, 2);
  const std::array<Hsv, 3> centers = {
      Hsv{random.uniform(38, 48), random.uniform(0.60, 0.78), random.uniform(0.75, 0.9)},
      Hsv{random.uniform(20, 34), random.uniform(0.45, 0.65), random.uniform(0.32, 0.46)},
      Hsv{random.uniform(44, 60), random.uniform(0.22, 0.38), random.uniform(0.8, 0.92)}};
  palette.center = linear_from_hsv(centers[static_cast<size_t>(center)]);
  palette.leaves = linear_from_hsv({random.uniform(86, 132), random.uniform(0.42, 0.66), random.uniform(0.44, 0.64)});
  palette.stem = linear_from_hsv({random.uniform(76, 118), random.uniform(0.38, 0.58), random.uniform(0.48, 0.66)});
  palette.pot = linear_from_hsv({random.uniform(11, 24), random.uniform(0.48, 0.68), random.uniform(0.62, 0.84)});
  palette.soil = linear_from_hsv({random.uniform(18, 32), random.uniform(0.3, 0.5), random.uniform(0.2, 0.32)});
  return palette;
}

Vec3 class_color(uint64_t seed, uint64_t index, double hue) {
  Random random(seed, index, kClassColorStream);
  return linear_from_hsv({hue + random.uniform(-5, 5), random.uniform(0.76, 0.92), random.uniform(0.84, 0.96)});
}

Vec3 neutral_color(uint64_t seed, uint64_t index, FlowerPart part) {
  Random random(seed, index, part == FlowerPart::kPetals ? kPetalNeutralStream : kStemNeutralStream);
  return linear_from_hsv({random.uniform(0, 360), random.uniform(0, 0.05), random.uniform(0.66, 0.96)});
}

}  // namespace pellucid::flowers
