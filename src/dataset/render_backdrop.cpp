#include "dataset/render_backdrop.h"

namespace pellucid::render {
namespace {

double fractal(double x, double y, uint64_t seed) {
  return 0.62 * value_noise(x, y, seed) + 0.38 * value_noise(2.1 * x + 17.0, 2.1 * y + 5.0, seed + 1);
}

}  // namespace

void GroundShadow::cast(Vec3 a, Vec3 b, Vec3 c, Vec3 to_light) {
  struct Cell {
    double x, y;
  };
  const auto project = [&](Vec3 p) {
    const double run = p.y / to_light.y;
    const double scale = kSide / (2 * kReach);
    return Cell{(p.x - to_light.x * run + kReach) * scale, (p.z - to_light.z * run + kReach) * scale};
  };
  const Cell p = project(a), q = project(b), r = project(c);
  const auto cell_of = [](double v) { return static_cast<int>(std::min<double>(kSide, std::max(0.0, v))); };
  // Cells whose middle may lie inside: rounding down after adding a half gives the first middle at or after a corner.
  const int x0 = cell_of(std::min({p.x, q.x, r.x}) + 0.5), x1 = cell_of(std::max({p.x, q.x, r.x}) + 0.5);
  const int y0 = cell_of(std::min({p.y, q.y, r.y}) + 0.5), y1 = cell_of(std::max({p.y, q.y, r.y}) + 0.5);
  const auto edge = [](Cell u, Cell v, double x, double y) {
    return (v.x - u.x) * (y - u.y) - (v.y - u.y) * (x - u.x);
  };
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const double e0 = edge(p, q, x + 0.5, y + 0.5), e1 = edge(q, r, x + 0.5, y + 0.5),
                   e2 = edge(r, p, x + 0.5, y + 0.5);
      if ((e0 >= 0 && e1 >= 0 && e2 >= 0) || (e0 <= 0 && e1 <= 0 && e2 <= 0)) {
        cells_[static_cast<size_t>(y) * kSide + x] = 1.0F;
      }
    }
  }
}

void GroundShadow::cast(const Mesh& mesh, Vec3 to_light, const std::function<bool(uint8_t)>& hidden) {
  for (const Triangle& triangle : mesh.triangles) {
    if (hidden(triangle.part)) continue;
    const auto [a, b, c] = triangle.corners;
    cast(mesh.vertices[a].position, mesh.vertices[b].position, mesh.vertices[c].position, to_light);
  }
}

void GroundShadow::soften() {
  constexpr int kRadius = 1;
  // Two box passes each way, rows and columns in turn.
  std::vector<float> line(kSide);
  for (int pass = 0; pass < 4; ++pass) {
    const size_t step = pass % 2 == 0 ? 1 : kSide;
    const size_t next_line = pass % 2 == 0 ? kSide : 1;
    for (int i = 0; i < kSide; ++i) {
      float* first = cells_.data() + static_cast<size_t>(i) * next_line;
      for (int j = 0; j < kSide; ++j) line[static_cast<size_t>(j)] = first[static_cast<size_t>(j) * step];
      for (int j = kRadius; j + kRadius < kSide; ++j) {
        float sum = 0;
        for (int k = -kRadius; k <= kRadius; ++k) sum += line[static_cast<size_t>(j + k)];
        first[static_cast<size_t>(j) * step] = sum / static_cast<float>(2 * kRadius + 1);
      }
    }
  }
}

double GroundShadow::at(double x, double z) const {
  const double u = (x + kReach) * (kSide / (2 * kReach)) - 0.5;
  const double v = (z + kReach) * (kSide / (2 * kReach)) - 0.5;
  if (u < 0 || v < 0 || u >= kSide - 1 || v >= kSide - 1) return 0;
  const int i = static_cast<int>(u), j = static_cast<int>(v);
  const float* cell = cells_.data() + static_cast<size_t>(j) * kSide + i;
  const double a = u - i, b = v - j;
  const double fade = smoothstep(kReach, 0.75 * kReach, std::max(std::abs(x), std::abs(z)));
  return fade * mix(mix(cell[0], cell[1], a), mix(cell[kSide], cell[kSide + 1], a), b);
}

Backdrop::Backdrop(uint64_t seed, uint64_t index, const Camera& camera, const Light& light) : camera_(camera) {
  ahead_ = normalized(Vec3{camera.forward.x, 0, camera.forward.z});
  aside_ = cross(ahead_, Vec3{0, 1, 0});
  const Vec3 full = light.key * light.to_light.y + light.ambient;
  ambient_share_ = {light.ambient.x / full.x, light.ambient.y / full.y, light.ambient.z / full.z};
  const double brightness = clamp01((full.x + full.y + full.z) / 3);

  Random random(seed, index, kBackdropStream);
  texture_ = random.bits();
  const double eye = camera.position.y;
  const int kind = random.integer(0, 2);
  kind_ = kind == 0 ? Kind::kSky : kind == 1 ? Kind::kWall : Kind::kGarden;
  grain_ = random.uniform(0.03, 0.14);
  grain_scale_ = random.uniform(7, 22);
  stripe_ = random.chance(0.4) ? random.uniform(0.03, 0.10) : 0.0;
  stripe_scale_ = random.uniform(8, 26);
  fill_x_ = random.uniform(-0.2, 0.2);
  fill_y_ = random.uniform(-0.05, 0.3);
  if (kind_ == Kind::kSky) {
    const double hue = random.chance(0.75) ? random.uniform(198, 222) : random.uniform(12, 40);
    const double depth = random.uniform(0.18, 0.50);
    low_ = linear_from_hsv({random.uniform(20, 60), random.uniform(0.02, 0.16), random.uniform(0.86, 0.96)});
    high_ = linear_from_hsv({hue, hue < 90 ? 0.5 * depth : depth, random.uniform(0.72, 0.92)});
    hill_ = linear_from_hsv({random.uniform(80, 210), random.uniform(0.12, 0.32), random.uniform(0.45, 0.72)});
    foot_ =
        -eye / (camera.focal * 3.3 + random.uniform(1.5, 9.0));  // the brow of a hill: the horizon is too high to see
    softness_ = 0.004;
  } else if (kind_ == Kind::kWall) {
    const Hsv paint{random.uniform(0, 360), random.uniform(0.03, 0.36), random.uniform(0.52, 0.92)};
    high_ = linear_from_hsv(paint);
    low_ = high_ * random.uniform(0.72, 0.95);
    foot_ = -eye / (camera.focal * 3.3 + random.uniform(1.2, 4.0));
    softness_ = random.uniform(0.002, 0.008);
  } else {
    const double hue = random.uniform(60, 200);
    low_ = linear_from_hsv({hue, random.uniform(0.2, 0.45), random.uniform(0.25, 0.5)});
    high_ = linear_from_hsv({hue + random.uniform(-30, 60), random.uniform(0.1, 0.35), random.uniform(0.5, 0.88)});
    foot_ = -eye / (camera.focal * 3.3 + random.uniform(2.0, 11.0));
    softness_ = random.uniform(0.02, 0.05);
    const int num_blobs = random.integer(14, 26);
    for (int i = 0; i < num_blobs; ++i) {
      const double depth = random.uniform();
      const Blob blob{
          random.uniform(-0.45, 0.45),
          random.uniform(-0.02, 0.5),
          random.uniform(0.025, 0.085),
          random.uniform(0.15, 0.6),
          mix(0.25, 0.6, depth),
          linear_from_hsv({hue + random.uniform(-70, 70), random.uniform(0.08, 0.5), random.uniform(0.5, 0.98)})};
      blobs_.push_back(blob);
    }
  }
  low_ = low_ * mix(0.75, 1.0, brightness);
  high_ = high_ * mix(0.75, 1.0, brightness);

  Random earth(seed, index, kGroundStream);
  const int cover = earth.integer(0, 3);
  const double angle = earth.uniform(-0.5, 0.5);
  const SinCos wood = sin_cos(angle);
  wood_cos_ = wood.cos;
  wood_sin_ = wood.sin;
  const std::array<Hsv, 4> covers = {Hsv{earth.uniform(72, 118), earth.uniform(0.30, 0.52), earth.uniform(0.42, 0.66)},
                                     Hsv{earth.uniform(24, 38), earth.uniform(0.25, 0.5), earth.uniform(0.5, 0.8)},
                                     Hsv{earth.uniform(24, 44), earth.uniform(0.15, 0.36), earth.uniform(0.45, 0.72)},
                                     Hsv{earth.uniform(0, 360), earth.uniform(0.01, 0.12), earth.uniform(0.55, 0.9)}};
  cover_ = std::array<Cover, 4>{Cover::kGrass, Cover::kPlanks, Cover::kEarth, Cover::kSlab}[static_cast<size_t>(cover)];
  ground_ = linear_from_hsv(covers[static_cast<size_t>(cover)]) * full;
  ground_other_ = ground_ * earth.uniform(0.5, 0.72);
}

Vec3 Backdrop::sky(double side, double height) const {
  const double up = clamp01(height / 0.42);
  Vec3 color = mix(low_, high_, std::sqrt(up));
  const double cloud = fractal(side * 7 + 3, height * 17, texture_);
  color = mix(color, Vec3{0.92, 0.92, 0.93}, 0.75 * smoothstep(0.5, 0.78, cloud) * smoothstep(0.0, 0.15, height));
  const double far_ridge = 0.035 + 0.05 * fractal(side * 6, 0.5, texture_ + 7);
  const double near_ridge = 0.005 + 0.05 * fractal(side * 9 + 40, 0.5, texture_ + 9);
  color = mix(color, mix(low_, hill_, 0.45), smoothstep(far_ridge + 0.005, far_ridge - 0.005, height));
  return mix(color, mix(low_, hill_, 0.8), smoothstep(near_ridge + 0.006, near_ridge - 0.006, height));
}

Vec3 Backdrop::wall(double side, double height) const {
  const double dx = side - fill_x_, dy = height - fill_y_;
  const double pool = 1.0 / (1.0 + 5.0 * (dx * dx + dy * dy));
  const double above = height - foot_;
  const double mottle = 1 + grain_ * (fractal(side * grain_scale_, height * grain_scale_, texture_) - 0.5) * 2;
  const double stripe = 1 + stripe_ * sin_cos(side * stripe_scale_ * 2 * kPi).sin;
  const Vec3 paint = mix(low_, high_, smoothstep(0.0, 0.3, above)) * (mix(0.62, 1.0, pool) * mottle * stripe);
  const double board = smoothstep(0.036, 0.031, above);  // skirting board, with a shadow line above
  const double line = smoothstep(0.046, 0.036, above) * (1 - board);
  return mix(paint * (1 - 0.25 * line), mix(paint, Vec3{0.72, 0.70, 0.67}, 0.6), board);
}

Vec3 Backdrop::garden(double side, double height) const {
  Vec3 color = mix(low_, high_, smoothstep(-0.1, 0.4, height));
  color = color * (0.72 + 0.56 * fractal(side * 6, height * 6, texture_));
  for (const Blob& blob : blobs_) {
    const double dx = side - blob.x, dy = height - blob.y;
    const double squared = (dx * dx + dy * dy) / (blob.radius * blob.radius);
    if (squared >= 1) continue;
    color = mix(color, blob.color, blob.strength * smoothstep(1.0, 1.0 - blob.softness, squared));
  }
  return color;
}

Vec3 Backdrop::ground(Vec3 point, double distance, double footprint) const {
  const double detail = smoothstep(16.0, 5.0, distance);  // gone before it is finer than a pixel
  const double u = point.x * wood_cos_ + point.z * wood_sin_;
  const double v = point.z * wood_cos_ - point.x * wood_sin_;
  switch (cover_) {
    case Cover::kGrass:
      return mix(ground_, ground_other_, 0.5 + detail * (fractal(u * 5.5, v * 3.5, texture_ + 20) - 0.5) * 1.3);
    case Cover::kPlanks: {
      const double board = v / 0.62;
      const double number = std::floor(board);
      const double within = board - number;
      const double gap = std::min(within, 1 - within);
      const double tone = value_noise(number * 3.7, 0.5, texture_ + 21);
      const double streak = value_noise(u * 1.3 + number * 11, board * 7, texture_ + 22);
      // A groove thinner than a pixel is drawn a pixel wide and fainter instead, so that it does not break into dots.
      const double widened = std::max(0.04, 0.9 * footprint / 0.62);
      const double groove = smoothstep(widened, 0.3 * widened, gap) * detail * (0.04 / widened);
      return mix(ground_, ground_other_, clamp01(0.15 + detail * (0.35 * (tone - 0.5) + 0.5 * (streak - 0.5)) + 0.15)) *
             (1 - 0.6 * groove);
    }
    case Cover::kEarth:
      return mix(ground_, ground_other_, 0.4 + detail * (fractal(u * 3, v * 3, texture_ + 23) - 0.5));
    case Cover::kSlab:
      break;
  }
  return ground_ * (0.97 + 0.10 * detail * (value_noise(u * 1.6, v * 1.6, texture_ + 24) - 0.5));
}

Vec3 Backdrop::color(double x, double y, double pixel, const GroundShadow& shadow) const {
  const double right = (x - 0.5 - camera_.shift_x) / camera_.focal;
  const double up = (0.5 + camera_.shift_y - y) / camera_.focal;
  const Vec3 ray = camera_.forward + camera_.right * right + camera_.up * up;
  const double forward = dot(ray, ahead_);  // always positive: the camera looks less than 40 degrees down
  const double side = dot(ray, aside_) / forward;
  const double height = ray.y / forward;
  const double blend = softness_ + 0.7 * pixel / camera_.focal;
  const double above = smoothstep(foot_ - blend, foot_ + blend, height);
  Vec3 behind{};
  if (above > 0) {
    behind = kind_ == Kind::kSky    ? sky(side, height - foot_)
             : kind_ == Kind::kWall ? wall(side, height)
                                    : garden(side, height - foot_);
  }
  if (above >= 1 || height > -1e-3) return behind;
  const double distance = -camera_.position.y / height;
  const Vec3 point = camera_.position + (ahead_ + aside_ * side) * distance;
  const double footprint = pixel / camera_.focal * distance * distance / camera_.position.y;
  Vec3 below = ground(point, distance, footprint);
  const double lit = 1 - shadow.at(point.x, point.z);
  below = below * mix(ambient_share_, Vec3{1, 1, 1}, lit);
  if (kind_ != Kind::kWall) below = mix(below, low_, 0.8 * smoothstep(9.0, 60.0, distance));
  return mix(below, behind, above);
}

}  // namespace pellucid::render
