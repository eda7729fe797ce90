#include "dataset/flowers_scene.h"

namespace pellucid::flowers {

Camera make_camera(uint64_t seed, uint64_t index) {
  Random random(seed, index, kCameraStream);
  const double azimuth = radians(random.uniform(-48, 48));
  const double elevation = radians(random.uniform(4, 25));
  const double distance = random.uniform(6.5, 9.0);
  const double frame_height = random.uniform(2.95, 3.6);
  const SinCos roll = sin_cos(radians(random.uniform(-8, 8)));
  Camera camera;
  camera.shift_x = random.uniform(-0.07, 0.07);
  camera.shift_y = random.uniform(-0.03, 0.045);
  const Vec3 target{0, 1.38, 0.1};
  const Vec3 back = direction(azimuth, elevation);
  camera.position = target + back * distance;
  camera.forward = back * -1.0;
  const Vec3 right = normalized(cross(camera.forward, Vec3{0, 1, 0}));
  const Vec3 up = cross(right, camera.forward);
  camera.right = right * roll.cos + up * roll.sin;
  camera.up = up * roll.cos - right * roll.sin;
  camera.focal = distance / frame_height;
  return camera;
}

Light make_light(uint64_t seed, uint64_t index, const Camera& camera) {
  Random random(seed, index, kLightStream);
  const Vec3 back = camera.forward * -1.0;
  const Vec3 ahead = normalized(Vec3{back.x, 0, back.z});
  const Vec3 aside = cross(Vec3{0, 1, 0}, ahead);
  const double azimuth = radians(random.uniform(-75, 75));
  const double elevation = radians(random.uniform(38, 66));
  const Vec3 local = direction(azimuth, elevation);
  Light light;
  light.to_light = aside * local.x + Vec3{0, local.y, 0} + ahead * local.z;
  const double key = random.uniform(0.68, 0.90);
  const double ambient = random.uniform(0.30, 0.44);
  // Warm sun with a cool sky or the reverse; small, so that hues stay what they are.
  const double warmth = random.uniform(-0.03, 0.06);
  light.key = Vec3{1 + warmth, 1, 1 - warmth} * key;
  light.ambient = Vec3{1 - 0.5 * warmth, 1, 1 + 0.5 * warmth} * ambient;
  return light;
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
