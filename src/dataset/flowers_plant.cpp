#include "dataset/flowers_scene.h"

namespace pellucid::flowers {

using namespace render;

namespace {

constexpr uint8_t id(FlowerPart part) { return static_cast<uint8_t>(part); }

/// Where the flower head sits and how it is turned: `normal` points out of its face.
struct Head {
  Vec3 position, normal, across, upward;
};

/// One ring of petals (or sepals) in the plane of the head, in world units and radians.
struct PetalRing {
  int count = 5;
  double phase = 0;   ///< angle of the first one
  double root = 0.1;  ///< distance of the base from the axis
  double length = 0.6;
  double width = 0.25;  ///< half of it
  double fullness = 1;  ///< above 1 moves the widest point outwards
  double bend = 0;      ///< sideways, at the tip, per length
  double cup = 0;       ///< slope out of the plane
  double curl = 0;      ///< curvature out of the plane, negative falls back
  double trough = 0;    ///< how much the rims rise over the middle
  double twist = 0;     ///< pinwheel: one rim over, the other under the neighbor
  double height = 0;    ///< offset along the normal
  double disorder = 0;  ///< spread of all of these between petals
};

void add_petals(MeshBuilder& builder, const Head& head, const PetalRing& ring, const Surface& surface, Vec3 albedo,
                Random& random) {
  for (int i = 0; i < ring.count; ++i) {
    const double angle =
        ring.phase + 2 * kPi * (i + ring.disorder * random.uniform(-0.5, 0.5)) / static_cast<double>(ring.count);
    const double extent = ring.length * (1 + ring.disorder * random.uniform(-0.5, 0.5));
    const double cup = ring.cup + ring.disorder * random.uniform(-0.35, 0.35);
    const double bend = ring.bend + ring.disorder * random.uniform(-0.4, 0.4);
    const double brightness = 1 + random.uniform(-0.07, 0.07);
    // Nearest rims of neighbors never share a plane, so one always lies clearly over the other.
    const double height = ring.height + (i % 2) * 0.012 + random.uniform(0, 0.006);
    const SinCos turn = sin_cos(angle);
    const Vec3 outward = head.across * turn.cos + head.upward * turn.sin;
    const Vec3 sideways = cross(head.normal, outward);
    const auto along = [](double r) { return 0.5 - 0.5 * sin_cos(kPi * r).cos; };
    const auto position = [&](double r, double c) {
      const double t = along(r);
      const double s = 2 * c - 1;
      const double widest = mix(t, t * t, clamp01(ring.fullness - 1)) * mix(1, 2 - t, clamp01(1 - ring.fullness));
      const double half_width = ring.width * 2 * std::sqrt(std::max(0.0, widest * (1 - widest)));
      const double rise = extent * (cup * t + ring.curl * t * t) + half_width * (ring.trough * s * s + ring.twist * s);
      return head.position + outward * (ring.root + extent * t) + sideways * (s * half_width + bend * extent * t * t) +
             head.normal * (height + rise);
    };
    const auto look = [&](double r, double c) {
      const double t = along(r);
      const double s = 2 * c - 1;
      const double vein = 1 - 0.10 * smoothstep(0.16, 0.0, std::abs(s)) * (1 - t);
      const double rim = 1 - 0.20 * s * s * s * s;
      const Vec3 pale = mix(albedo, Vec3{0.9, 0.9, 0.9}, 0.07 * smoothstep(0.35, 1.0, t));
      return Look{pale * (brightness * vein * rim * mix(0.70, 1.0, smoothstep(0.0, 0.55, t))),
                  mix(0.45, 1.0, smoothstep(0.0, 0.6, t))};
    };
    builder.add(surface, 15, 9, position, look);
  }
}

void add_head(MeshBuilder& builder, const Head& head, const Palette& palette, Random& random) {
  PetalRing ring;
  ring.count = random.integer(5, 9);
  ring.phase = random.uniform(0, 2 * kPi);
  const double center_radius = random.uniform(0.17, 0.25);
  ring.root = center_radius * 0.45;
  ring.length = random.uniform(0.55, 0.72);
  // Full circles and airy stars: a multiple of the width at which neighbors just touch.
  ring.width = std::min(0.34, random.uniform(0.85, 1.3) * kPi * 0.62 * (ring.root + ring.length) / ring.count);
  ring.fullness = random.uniform(0.7, 1.7);
  ring.bend = random.uniform(-0.22, 0.22);
  ring.cup = random.uniform(0.0, 0.38);
  ring.curl = random.uniform(-0.40, 0.12);
  ring.trough = random.uniform(-0.1, 0.3);
  ring.twist = random.uniform(0.10, 0.24);
  if (random.chance(0.5)) ring.twist = -ring.twist;
  ring.disorder = random.uniform(0.05, 0.16);
  add_petals(builder, head, ring, {id(FlowerPart::kPetals), true}, palette.petals, random);
  PetalRing inner = ring;
  inner.phase += kPi / ring.count;
  inner.length *= random.uniform(0.58, 0.74);
  inner.width *= 0.82;
  inner.cup += 0.22;
  inner.height += 0.05;
  if (random.chance(0.4)) add_petals(builder, head, inner, {id(FlowerPart::kPetals), true}, palette.petals, random);

  PetalRing sepals;
  sepals.count = 5;
  sepals.phase = random.uniform(0, 2 * kPi);
  sepals.root = 0.02;
  sepals.length = 0.34;
  sepals.width = 0.10;
  sepals.cup = 0.6 * ring.cup - 0.15;  // always behind the petals
  sepals.curl = std::min(0.0, ring.curl);
  sepals.height = -0.07;
  sepals.disorder = 0.1;
  add_petals(builder, head, sepals, {id(FlowerPart::kLeaves), true}, palette.leaves, random);

  const double dome = center_radius * random.uniform(0.35, 0.7);
  const double seat = ring.height + 0.02 + center_radius * std::max(0.0, ring.cup) * 0.4;
  const auto position = [&](double r, double c) {
    const SinCos around = sin_cos(2 * kPi * c);
    const SinCos over = sin_cos(0.5 * kPi * (1 - r));
    return head.position + (head.across * around.cos - head.upward * around.sin) * (center_radius * over.sin) +
           head.normal * (seat - 0.06 + (dome + 0.06) * over.cos);
  };
  // Florets, each a little lighter or darker, fading towards the middle where they would be too small to see.
  const uint64_t florets = random.bits();
  const auto look = [&](double r, double c) {
    const auto floret = static_cast<uint64_t>(r * 9 + 0.5) * 32 + static_cast<uint64_t>(c * 32 + 0.5) % 32;
    const double grain = static_cast<double>(hash64(florets + floret) >> 40) * 0x1p-24 - 0.5;
    const double tone = mix(0.68, 1.04, smoothstep(0.0, 0.45, r)) + 0.6 * grain * smoothstep(1.0, 0.5, r);
    return Look{palette.center * tone, mix(0.55, 1.0, r)};
  };
  builder.add({id(FlowerPart::kCenter), false, true}, 10, 33, position, look);
}

struct Stem {
  Vec3 p0, p1, p2, p3;  ///< cubic Bezier curve from the soil to the head
  Vec3 at(double t) const {
    const double u = 1 - t;
    return p0 * (u * u * u) + p1 * (3 * u * u * t) + p2 * (3 * u * t * t) + p3 * (t * t * t);
  }
  Vec3 tangent(double t) const {
    const double u = 1 - t;
    return normalized((p1 - p0) * (u * u) + (p2 - p1) * (2 * u * t) + (p3 - p2) * (t * t));
  }
};

void add_stem(MeshBuilder& builder, const Stem& stem, double radius, Vec3 albedo) {
  const auto position = [&](double r, double c) {
    const Vec3 tangent = stem.tangent(r);
    const Vec3 across = normalized(cross(Vec3{0, 0, 1}, tangent) + cross(tangent, Vec3{0.02, 0, 0}));
    const Vec3 other = cross(across, tangent);
    const SinCos around = sin_cos(2 * kPi * c);
    const double thickness = radius * (mix(1.12, 0.9, r) + 0.7 * smoothstep(0.93, 1.0, r));
    return stem.at(r) + (across * around.cos + other * around.sin) * thickness;
  };
  const auto look = [&](double r, double) {
    const double shade = mix(0.72, 1.0, smoothstep(0.0, 0.16, r));
    return Look{albedo * shade, mix(1.0, 0.55, smoothstep(0.72, 1.0, r))};
  };
  builder.add({id(FlowerPart::kStem), false, true}, 22, 13, position, look);
}

/// A leaf that comes straight at the camera would hide the stem, whose color may be what matters.
Vec3 turned_aside(Vec3 outward, const Camera& camera) {
  constexpr double kMostFrontal = 0.5;
  const Vec3 toward = normalized(Vec3{-camera.forward.x, 0, -camera.forward.z});
  const Vec3 aside = cross(Vec3{0, 1, 0}, toward);
  if (dot(outward, toward) <= kMostFrontal) return outward;
  const double side = std::sqrt(1 - kMostFrontal * kMostFrontal);
  return toward * kMostFrontal + aside * (dot(outward, aside) < 0 ? -side : side);
}

void add_leaves(MeshBuilder& builder, const Stem& stem, Vec3 albedo, const Camera& camera, Random& random) {
  const int count = random.integer(2, 4);
  const double phase = random.uniform(0, 2 * kPi);
  const double spread = random.chance(0.5) ? kPi : radians(137.5);  // opposite pairs or a spiral
  for (int i = 0; i < count; ++i) {
    const double azimuth = phase + spread * i + (i >= 2 ? 0.9 : 0.0) + random.uniform(-0.3, 0.3);
    const double start = 0.10 + 0.42 * (i + random.uniform(0.2, 0.8)) / count;
    const double extent = random.uniform(0.62, 0.95) * (1 - 0.25 * i / count);
    const double half_width = extent * random.uniform(0.19, 0.27);
    const double rise = random.uniform(0.55, 1.15);
    const double droop = rise * random.uniform(0.5, 1.15);
    const double fold = random.uniform(0.15, 0.5);
    const double sweep = random.uniform(-0.25, 0.25);
    const double brightness = 1 + random.uniform(-0.1, 0.1);
    const Vec3 outward = turned_aside(direction(azimuth, 0), camera);
    const Vec3 sideways = cross(Vec3{0, 1, 0}, outward);
    const Vec3 origin = stem.at(start);
    const auto position = [&](double r, double c) {
      const double t = r * (0.4 + 0.6 * r);
      const double s = 2 * c - 1;
      const double width = half_width * 2.598 * std::sqrt(t) * (1 - t) + 0.012 * (1 - t);
      return origin + outward * (extent * t) + sideways * (s * width + sweep * extent * t * t) +
             Vec3{0, extent * (rise * t - droop * t * t) + fold * width * std::abs(s), 0};
    };
    const auto look = [&](double r, double c) {
      const double s = std::abs(2 * c - 1);
      const double midrib = smoothstep(0.22, 0.05, s) * (1 - 0.6 * r);
      const double branch = (r * 7 - s * 1.6) - std::floor(r * 7 - s * 1.6);
      const double veins = 0.10 * smoothstep(0.3, 0.0, std::abs(branch - 0.5)) * smoothstep(1.0, 0.7, s);
      const Vec3 rib = mix(albedo, Vec3{0.55, 0.62, 0.36}, 0.45);
      return Look{mix(albedo, rib, clamp01(midrib + veins)) * (brightness * (1 - 0.22 * s * s)),
                  mix(0.6, 1.0, smoothstep(0.0, 0.4, r))};
    };
    builder.add({id(FlowerPart::kLeaves), true}, 22, 15, position, look);
  }
}

void add_pot(MeshBuilder& builder, const Palette& palette, double height, Random& random) {
  const double rim = random.uniform(0.37, 0.45);
  const double foot = rim * random.uniform(0.62, 0.78);
  const double lip = random.uniform(0.03, 0.055);
  const double collar = random.uniform(0.12, 0.19);
  struct Ring {
    double radius, y, openness, shade;
  };
  const double below = height - collar;
  const std::array<Ring, 12> profile = {Ring{foot - 0.01, 0.0, 0.45, 0.8},
                                        Ring{foot, 0.03, 0.6, 0.95},
                                        Ring{mix(foot, rim, 0.33), below * 0.33, 0.85, 1},
                                        Ring{mix(foot, rim, 0.7), below * 0.7, 0.9, 1},
                                        Ring{rim - 0.012, below - 0.05, 0.75, 0.9},
                                        Ring{rim, below - 0.004, 0.4, 0.62},
                                        Ring{rim + lip, below, 0.8, 0.95},
                                        Ring{rim + lip + 0.012, below + 0.02, 1, 1.05},
                                        Ring{rim + lip + 0.016, height - 0.02, 1, 1.05},
                                        Ring{rim + lip, height, 1, 1.15},
                                        Ring{rim - 0.01, height, 1, 1.1},
                                        Ring{rim - 0.03, height - 0.09, 0.35, 0.6}};
  const auto ring_at = [&](double r) { return profile[static_cast<size_t>(r * (profile.size() - 1) + 0.5)]; };
  const uint64_t mottle = random.bits();
  const auto on_circle = [](double radius, double y, double c) {
    const SinCos around = sin_cos(2 * kPi * c);
    return Vec3{radius * around.cos, y, radius * around.sin};
  };
  const auto position = [&](double r, double c) { return on_circle(ring_at(r).radius, ring_at(r).y, c); };
  const auto look = [&](double r, double c) {
    const Ring ring = ring_at(r);
    const double patch = value_noise(std::abs(c - 0.5) * 14, ring.y * 6, mottle) - 0.5;
    return Look{palette.pot * (ring.shade * (1 + 0.16 * patch)), ring.openness};
  };
  builder.add({id(FlowerPart::kPot), false, true}, static_cast<int>(profile.size()), 37, position, look);
  const double soil_y = height - 0.06;
  builder.add(
      {id(FlowerPart::kSoil), false, true}, 6, 25,
      [&](double r, double c) {
        const double bump = 0.03 * value_noise(std::abs(c - 0.5) * 16, r * 5, mottle + 1);
        return on_circle((rim - 0.02) * (1 - 0.97 * r), soil_y + 0.05 * r * (2 - r) + bump, c);
      },
      [&](double r, double c) {
        const double crumb = value_noise(std::abs(c - 0.5) * 24, r * 7, mottle + 2);
        return Look{palette.soil * (0.7 + 0.7 * crumb), mix(0.35, 0.85, r)};
      });
}

}  // namespace

Mesh make_plant(uint64_t seed, uint64_t index, const Palette& palette, const Light& light, const Camera& camera) {
  MeshBuilder builder(light, camera);
  Random pot_random(seed, index, kPotStream);
  const double pot_height = pot_random.uniform(0.48, 0.60);
  add_pot(builder, palette, pot_height, pot_random);

  Random stem_random(seed, index, kStemStream);
  Head head;
  head.position = {stem_random.uniform(-0.28, 0.28), stem_random.uniform(1.92, 2.2), stem_random.uniform(0.05, 0.3)};
  const double turn = radians(stem_random.uniform(-14, 14));
  const double tilt = radians(stem_random.uniform(4, 38));
  head.normal = direction(turn, tilt);
  head.across = normalized(cross(Vec3{0, 1, 0}, head.normal));
  head.upward = cross(head.normal, head.across);
  Stem stem;
  stem.p0 = {0, pot_height - 0.08, 0};
  stem.p1 = {stem_random.uniform(-0.3, 0.3), pot_height + stem_random.uniform(0.4, 0.7),
             stem_random.uniform(-0.2, 0.1)};
  stem.p3 = head.position - head.normal * 0.05;
  stem.p2 = stem.p3 - head.normal * stem_random.uniform(0.2, 0.4) - Vec3{0, 0.35, 0};
  add_stem(builder, stem, stem_random.uniform(0.080, 0.100), palette.stem);

  Random leaf_random(seed, index, kLeafStream);
  add_leaves(builder, stem, palette.leaves, camera, leaf_random);
  Random head_random(seed, index, kHeadStream);
  add_head(builder, head, palette, head_random);
  return builder.take();
}

}  // namespace pellucid::flowers
