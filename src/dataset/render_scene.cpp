#include "dataset/render_scene.h"

namespace pellucid::render {

Camera look_from(const View& view) {
  Camera camera;
  camera.shift_x = view.shift_x;
  camera.shift_y = view.shift_y;
  const SinCos roll = sin_cos(view.roll);
  const Vec3 back = direction(view.azimuth, view.elevation);
  camera.position = view.target + back * view.distance;
  camera.forward = back * -1.0;
  const Vec3 right = normalized(cross(camera.forward, Vec3{0, 1, 0}));
  const Vec3 up = cross(right, camera.forward);
  camera.right = right * roll.cos + up * roll.sin;
  camera.up = up * roll.cos - right * roll.sin;
  camera.focal = view.distance / view.frame_height;
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

Vec3 MeshBuilder::normal(const std::vector<Vec3>& points, int rows, int cols, int r, int c, bool closed) {
  // Where the patch narrows to a point its columns coincide: look at the next row inwards instead.
  r = std::min(std::max(r, 1), rows - 2);
  const auto at = [&](int row, int col) { return points[static_cast<size_t>(row) * cols + col]; };
  const Vec3 along = at(r + 1, c) - at(r - 1, c);
  const int left = c > 0 ? c - 1 : (closed ? cols - 2 : 0);
  const int right = c + 1 < cols ? c + 1 : (closed ? 1 : cols - 1);
  return normalized(cross(along, at(r, right) - at(r, left)));
}

Vec3 MeshBuilder::lit(const Surface& surface, Vec3 point, Vec3 n, const Look& look) const {
  if (surface.thin && dot(n, camera_.position - point) < 0) n = n * -1.0;
  double facing = dot(n, light_.to_light);
  if (surface.thin && facing < 0) facing = -surface.translucency * facing;
  const double key = std::max(0.0, 0.12 + 0.88 * facing) * (0.55 + 0.45 * look.openness);
  const double sky = (0.72 + 0.28 * n.y) * look.openness;
  return look.albedo * (light_.key * key + light_.ambient * sky);
}

}  // namespace pellucid::render
