// Birds that no one has seen. Each has a beak, eyes, wings, a tail and feet in one of four variants, and the class is
// the combination; its crest and the color of its body know nothing of the class. After the idea of Hesse,
// Schaub-Meyer, Roth. "FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI Methods".
// ICCV 2023, with birds, code and renderer of our own.

#include <array>

#include "dataset/ground_truth.h"
#include "dataset/render_backdrop.h"
#include "pellucid/error.h"
#include "pellucid/segment.h"

namespace pellucid {
namespace {

using namespace render;

enum Part : uint8_t { kBeak = 1, kEye, kWings, kTail, kFeet, kCrest, kBody };
constexpr int kNumVariants = 4;
constexpr int kNumClasses = kNumVariants * kNumVariants;

const std::vector<std::string>& part_names() {
  static const std::vector<std::string> names{"beak", "eye", "wings", "tail", "feet", "crest", "body"};
  return names;
}

enum BirdStream : uint64_t {
  kPoseStream = kFirstOwnStream,
  kBodyStream,
  kBeakStream,
  kEyeStream,
  kWingStream,
  kTailStream,
  kFootStream,
  kCrestStream
};

/// The field with four elements: addition is exclusive or, multiplication has this table.
constexpr std::array<std::array<int, 4>, 4> kProduct = {{{0, 0, 0, 0}, {0, 1, 2, 3}, {0, 2, 3, 1}, {0, 3, 1, 2}}};

/// Variant of a part in a class: a word of the extended Reed-Solomon code of length 5 over that field. Two words agree
/// in one place at most, so any two parts tell the class and every part tells as much as any other.
int variant_of(int label, Part part) {
  const int a = label / kNumVariants, b = label % kNumVariants;
  switch (part) {
    case kBeak:
      return a;
    case kEye:
      return b;
    case kWings:
      return a ^ b;
    case kTail:
      return a ^ kProduct[2][static_cast<size_t>(b)];
    default:
      return a ^ kProduct[3][static_cast<size_t>(b)];
  }
}

Vec3 jittered(Random& random, Hsv hsv) {
  hsv.hue += random.uniform(-6, 6);
  hsv.value *= random.uniform(0.93, 1.05);
  return linear_from_hsv(hsv);
}

/// A point of the bird's middle plane, moved sideways. The bird looks towards +x.
Vec3 at(double x, double y, double z = 0) { return {x, y, z}; }

/// The middle line from the rump through the breast to the top of the head.
Vec3 spine(double t) {
  const double u = 1 - t;
  return at(-0.86, 1.02) * (u * u * u) + at(-0.35, 0.76) * (3 * u * u * t) + at(0.72, 0.80) * (3 * u * t * t) +
         at(0.50, 2.08) * (t * t * t);
}
const Vec3 kHead = at(0.485, 1.60);
constexpr double kHeadRadius = 0.41;

/// How the bird holds itself, and its colors that no class decides.
struct Pose {
  double tail_lift, wing_open, wing_drop, stride;
  Vec3 back, belly;
};

class BirdBuilder {
 public:
  BirdBuilder(uint64_t seed, uint64_t index, const Light& light, const Camera& camera)
      : mesh_(light, camera), seed_(seed), index_(index) {
    Random random(seed, index, kPoseStream);
    pose_.tail_lift = random.uniform(-0.15, 0.30);
    pose_.wing_open = random.uniform(0.0, 0.16);
    pose_.wing_drop = random.uniform(-0.12, 0.12);
    pose_.stride = random.uniform(-0.10, 0.10);
    Random body(seed, index, kBodyStream);
    const Hsv back{body.uniform(0, 360), body.uniform(0.05, 0.32), body.uniform(0.45, 0.86)};
    pose_.back = linear_from_hsv(back);
    const double value = body.uniform(0.84, 0.95);
    const double saturation = body.uniform(0.02, 0.14);
    pose_.belly = linear_from_hsv({body.uniform(20, 60), saturation, value});
  }

  Mesh build(int label) {
    body();
    feet(variant_of(label, kFeet));
    tail(variant_of(label, kTail));
    wings(variant_of(label, kWings));
    beak(variant_of(label, kBeak));
    eyes(variant_of(label, kEye));
    crest();
    return mesh_.take();
  }

 private:
  /// A tube around the curve center(t), which stays in a plane of constant z; `width` is its half-axis across that
  /// plane and `height` the one within.
  template <class Center, class Width, class Height, class LookAt>
  void tube(Part part, int rows, int cols, Center center, Width width, Height height, LookAt look) {
    const auto position = [&](double r, double c) {
      constexpr double kStep = 1e-3;
      const Vec3 tangent = normalized(center(std::min(1.0, r + kStep)) - center(std::max(0.0, r - kStep)));
      const Vec3 across{0, 0, 1};
      const Vec3 within = cross(across, tangent);
      const SinCos around = sin_cos(2 * kPi * c);
      return center(r) + across * (around.cos * width(r)) + within * (around.sin * height(r));
    };
    mesh_.add({part, false, true}, rows, cols, position, look);
  }

  /// A ball whose look depends on the cosine of the angle to `axis` and on the height within it (-1 to 1).
  template <class LookAt>
  void ball(Part part, Vec3 center, Vec3 axis, double radius, LookAt look) {
    const Vec3 across = normalized(cross(Vec3{0, 1, 0}, axis));
    const Vec3 upward = cross(axis, across);
    const auto on_ball = [&](double r, double c) {
      const SinCos over = sin_cos(kPi * r);
      const SinCos around = sin_cos(2 * kPi * c);
      return (across * around.cos + upward * around.sin) * over.sin - axis * over.cos;
    };
    mesh_.add(
        {part, false, true}, 21, 25, [&](double r, double c) { return center + on_ball(r, c) * radius; },
        [&](double r, double c) {
          const Vec3 n = on_ball(r, c);
          return look(dot(n, axis), n.y);
        });
  }

  struct Feather {
    Vec3 root, along, aside;  ///< unit vectors; aside is its breadth
    double length = 0.5, half_width = 0.1;
    double fullness = 1.4;  ///< above 1: widest near the tip
    double bend = 0;        ///< sideways at the tip, per length
    double thickness = 0.02;
    Vec3 color, tip;
    double tip_from = 1.1;  ///< share of the length where the color of the tip begins
  };
  void feather(Part part, const Feather& f) {
    const Vec3 out = cross(f.along, f.aside);
    const auto position = [&](double r, double c) {
      const double t = 0.5 - 0.5 * sin_cos(kPi * r).cos;
      const double s = 2 * c - 1;
      const double widest = mix(t, t * t, clamp01(f.fullness - 1));
      const double half = f.half_width * (2 * std::sqrt(std::max(0.0, widest * (1 - widest))) + 0.25 * (1 - t));
      return f.root + f.along * (f.length * t) + f.aside * (s * half + f.bend * f.length * t * t) +
             out * (f.thickness * (1 - s * s));
    };
    const auto look = [&](double r, double c) {
      const double t = 0.5 - 0.5 * sin_cos(kPi * r).cos;
      const double s = std::abs(2 * c - 1);
      const Vec3 base = mix(f.color, f.tip, smoothstep(f.tip_from - 0.03, f.tip_from + 0.03, t));
      return Look{base * ((1 - 0.12 * smoothstep(0.18, 0.0, s)) * (1 - 0.18 * s * s) *
                          mix(0.75, 1.0, smoothstep(0.0, 0.4, t)))};
    };
    mesh_.add({part, true}, 17, 9, position, look);
  }

  void body() {
    const auto radius = [](double t) {
      const double base = mix(0.36, 0.60, smoothstep(0.0, 0.36, t)) - 0.15 * smoothstep(0.40, 0.72, t);
      const double start = 1 - std::min(1.0, t / 0.30), end = 1 - std::min(1.0, (1 - t) / 0.20);
      return base * std::sqrt(std::max(0.0, 1 - start * start)) * std::sqrt(std::max(0.0, 1 - end * end));
    };
    const auto along = [](double r) { return 0.5 - 0.5 * sin_cos(kPi * r).cos; };
    const auto center = [&](double r) { return spine(along(r)); };
    const auto half = [&](double r) { return radius(along(r)); };
    tube(kBody, 34, 33, center, half, half, [&](double r, double c) {
      // sin is +1 along cross(z, tangent): the inner side of the curve, which is the back.
      const double under = -sin_cos(2 * kPi * c).sin;
      const double t = along(r);
      const double edge = mix(0.05, 0.35, smoothstep(0.5, 0.9, t));
      const Vec3 coat = mix(pose_.back, pose_.belly, smoothstep(edge - 0.12, edge + 0.12, under));
      return Look{coat, mix(1.0, 0.7, smoothstep(0.2, 1.0, under) * smoothstep(0.8, 0.5, t))};
    });
  }

  void feet(int variant) {
    Random random(seed_, index_, kFootStream);
    struct Kind {
      Hsv leg, other;
      double thickness;
    };
    constexpr std::array<Kind, kNumVariants> kKinds = {
        Kind{{44, 0.85, 0.92}, {44, 0.85, 0.92}, 0.045}, Kind{{4, 0.80, 0.80}, {4, 0.80, 0.86}, 0.085},
        Kind{{250, 0.25, 0.16}, {40, 0.05, 0.95}, 0.065}, Kind{{35, 0.25, 0.45}, {212, 0.75, 0.80}, 0.060}};
    const Kind& kind = kKinds[static_cast<size_t>(variant)];
    const Vec3 leg = jittered(random, kind.leg), other = jittered(random, kind.other);
    for (const double side : {-1.0, 1.0}) {
      const double x = 0.02 + side * pose_.stride, z = side * 0.24;
      const auto center = [&](double r) { return at(mix(x - 0.03, x, r), mix(0.62, 0.03, r), z); };
      const auto thick = [&](double r) {
        return kind.thickness * (variant == 3 ? mix(1.0, 2.0, smoothstep(0.50, 0.56, r)) : 1.0);
      };
      tube(kFeet, 25, 13, center, thick, thick, [&](double r, double) {
        const double stripe = r * 5.0 - std::floor(r * 5.0);
        const bool second = variant == 2 ? stripe > 0.5 : variant == 3 && r > 0.52;
        return Look{second ? other : leg, 0.85};
      });
      if (variant == 0) {
        for (const double turn : {-0.6, 0.0, 0.6}) toe(x, z, turn, 0.34, 0.035, leg);
        toe(x, z, kPi, 0.16, 0.035, leg);
      } else if (variant == 1) {
        web(x, z, leg);
      } else {
        const double radius = variant == 2 ? 0.11 : 0.15;
        ball(kFeet, at(x + 0.06, radius * 0.75, z), {1, 0, 0}, radius, [&](double, double) {
          return Look{variant == 2 ? leg : other, 0.85};
        });
      }
    }
  }

  void toe(double x, double z, double turn, double length, double thickness, Vec3 albedo) {
    const SinCos way = sin_cos(turn);
    const auto position = [&](double r, double c) {
      const SinCos around = sin_cos(2 * kPi * c);
      const double thick = thickness * (1 - 0.55 * r);
      return at(x + way.cos * length * r - way.sin * around.cos * thick, 0.04 + 0.8 * around.sin * thick,
                z + way.sin * length * r + way.cos * around.cos * thick);
    };
    mesh_.add({kFeet, false, true}, 7, 9, position, [&](double, double) { return Look{albedo, 0.85}; });
  }

  void web(double x, double z, Vec3 albedo) {
    const auto position = [&](double r, double c) {
      const double s = 2 * c - 1;
      return at(x - 0.05 + 0.42 * r * (1 - 0.12 * std::abs(sin_cos(1.5 * kPi * s).sin)), 0.03 + 0.07 * (1 - r),
                z + s * 0.22 * r);
    };
    mesh_.add({kFeet, true}, 7, 13, position, [&](double, double c) {
      return Look{albedo * (1 - 0.25 * smoothstep(0.10, 0.0, std::abs(std::abs(2 * c - 1) - 0.5))), 0.9};
    });
  }

  void tail(int variant) {
    Random random(seed_, index_, kTailStream);
    constexpr std::array<Hsv, kNumVariants> kColors = {Hsv{350, 0.80, 0.82}, Hsv{205, 0.70, 0.86}, Hsv{268, 0.25, 0.22},
                                                       Hsv{50, 0.85, 0.94}};
    constexpr std::array<Hsv, kNumVariants> kTips = {Hsv{350, 0.1, 0.96}, Hsv{205, 0.85, 0.38}, Hsv{268, 0.25, 0.22},
                                                     Hsv{130, 0.65, 0.5}};
    Feather f;
    f.color = jittered(random, kColors[static_cast<size_t>(variant)]);
    f.tip = jittered(random, kTips[static_cast<size_t>(variant)]);
    const double size = random.uniform(0.93, 1.07);
    const auto add = [&](double angle, double length, double half_width, double z, double bend) {
      const SinCos way = sin_cos(angle + pose_.tail_lift);
      f.along = at(-way.cos, way.sin);
      f.aside = at(way.sin, way.cos);
      f.root = at(-0.70, 1.04, z);
      f.length = length * size;
      f.half_width = half_width;
      f.bend = bend;
      feather(kTail, f);
    };
    if (variant == 0) {  // one long ribbon with a pale end
      f.tip_from = 0.72;
      add(0.15, 1.0, 0.14, 0, -0.25);
    } else if (variant == 1) {  // a fan with a dark rim
      f.tip_from = 0.78;
      f.fullness = 2.0;
      for (int i = 0; i < 5; ++i) add(-0.45 + 0.36 * i, 0.78, 0.15, 0.02 * (i % 2), 0);
    } else if (variant == 2) {  // a fork
      add(0.52, 1.0, 0.09, 0.03, 0.22);
      add(-0.22, 1.0, 0.09, -0.03, -0.22);
    } else {  // short and cocked, two colors
      f.tip_from = 0.5;
      f.fullness = 1.6;
      for (int i = 0; i < 3; ++i) add(0.75 + 0.26 * i, 0.66, 0.14, 0.02 * (i % 2), 0);
    }
  }

  /// A wing lies on the flank: a leaf whose breadth follows the round of the body.
  void wings(int variant) {
    Random random(seed_, index_, kWingStream);
    struct Kind {
      Hsv color, other;
      double length, half_width, fullness;
    };
    constexpr std::array<Kind, kNumVariants> kKinds = {Kind{{222, 0.75, 0.78}, {222, 0.6, 0.45}, 1.12, 0.27, 0.55},
                                                       Kind{{8, 0.78, 0.80}, {40, 0.03, 0.97}, 0.98, 0.34, 1.2},
                                                       Kind{{138, 0.62, 0.58}, {52, 0.80, 0.95}, 1.02, 0.33, 0.9},
                                                       Kind{{292, 0.42, 0.62}, {292, 0.5, 0.22}, 0.86, 0.37, 1.0}};
    const Kind& kind = kKinds[static_cast<size_t>(variant)];
    const Vec3 base = jittered(random, kind.color), other = jittered(random, kind.other);
    const double length = kind.length * random.uniform(0.95, 1.05);
    for (const double side : {-1.0, 1.0}) {
      const SinCos way = sin_cos(0.10 + pose_.wing_drop);
      const Vec3 along = at(-way.cos, -way.sin), aside = at(-way.sin, way.cos);
      const auto shape = [&](double r, double c) {
        const double t = 0.5 - 0.5 * sin_cos(kPi * r).cos;
        const double s = 2 * c - 1;
        const double widest =
            kind.fullness > 1 ? mix(t, t * t, kind.fullness - 1) : mix(std::sqrt(t), t, kind.fullness);
        const double scallop = s < 0 ? 1 - 0.14 * std::abs(sin_cos(4 * kPi * t).sin) : 1.0;
        return std::array<double, 3>{t, s,
                                     kind.half_width * 2 * std::sqrt(std::max(0.0, widest * (1 - widest))) * scallop};
      };
      const auto position = [&](double r, double c) {
        const auto [t, s, half] = shape(r, c);
        Vec3 p = at(0.34, 1.12) + along * (length * t) + aside * (s * half);
        const double dx = (p.x + 0.05) / 1.0, dy = (p.y - 0.98) / 0.72;
        const double flank = 0.60 * std::sqrt(std::max(0.06, 1 - dx * dx - dy * dy));
        p.z = side * (flank + 0.07 + pose_.wing_open * t + 0.03 * (1 - s * s));
        return p;
      };
      const auto look = [&](double r, double c) {
        const auto [t, s, half] = shape(r, c);
        double second = 0;
        if (variant == 0) second = smoothstep(0.60, 0.68, t);                  // dark point
        if (variant == 1) second = smoothstep(0.07, 0.03, std::abs(t - 0.5));  // one white bar
        if (variant == 2) second = smoothstep(-0.30, -0.45, s);                // bright hind edge
        if (variant == 3) {                                                    // dark spots
          const double u = t * 4.5 - std::floor(t * 4.5) - 0.5, v = (s + 1) * 1.75 - std::floor((s + 1) * 1.75) - 0.5;
          second = smoothstep(0.12, 0.06, u * u + v * v);
        }
        return Look{mix(base, other, second) * (1 - 0.15 * s * s), 0.95};
      };
      mesh_.add({kWings, true}, 33, 25, position, look);
    }
  }

  void beak(int variant) {
    Random random(seed_, index_, kBeakStream);
    struct Kind {
      Hsv color, tip;
      double length, droop, height, width, tip_from;
    };
    constexpr std::array<Kind, kNumVariants> kKinds = {
        Kind{{30, 0.88, 0.96}, {30, 0.88, 0.96}, 0.40, 0.02, 0.15, 0.13, 2},       // short cone
        Kind{{255, 0.20, 0.20}, {255, 0.20, 0.20}, 0.80, 0.36, 0.075, 0.07, 2},    // long, bent down
        Kind{{52, 0.85, 0.96}, {52, 0.3, 0.2}, 0.58, -0.08, 0.10, 0.22, 0.80},     // flat with a dark nail
        Kind{{356, 0.80, 0.84}, {40, 0.10, 0.95}, 0.50, 0.42, 0.24, 0.17, 0.62}};  // thick hook, two colors
    const Kind& kind = kKinds[static_cast<size_t>(variant)];
    const Vec3 base = jittered(random, kind.color), tip = jittered(random, kind.tip);
    const double length = kind.length * random.uniform(0.94, 1.06);
    const auto center = [&](double r) {
      return kHead + at(kHeadRadius - 0.10, 0.0) +
             at(length * r, -kind.droop * length * r * r * (variant == 3 ? 1.6 * r : 1.0));
    };
    const auto taper = [&](double r) {
      const double t = clamp01(r);
      return variant == 2 ? std::sqrt(std::max(0.0, 1 - t * t * t * t)) * (1 - 0.2 * t)
                          : std::sqrt(std::max(0.0, 1 - t)) * (variant == 0 ? std::sqrt(std::max(0.0, 1 - t)) : 1.0);
    };
    tube(
        kBeak, 22, 19, center, [&](double r) { return kind.width * taper(r); },
        [&](double r) { return kind.height * taper(r); },
        [&](double r, double c) {
          const double seam = smoothstep(0.06, 0.02, std::min(std::abs(c - 0.5), std::min(c, 1 - c)));
          return Look{mix(base, tip, smoothstep(kind.tip_from - 0.05, kind.tip_from + 0.05, r)) * (1 - 0.35 * seam)};
        });
  }

  void eyes(int variant) {
    Random random(seed_, index_, kEyeStream);
    struct Kind {
      Hsv outer, inner;
      double pupil, radius;
    };
    constexpr std::array<Kind, kNumVariants> kKinds = {
        Kind{{0, 0.0, 0.95}, {14, 0.85, 0.90}, 0.92, 0.165}, Kind{{230, 0.3, 0.12}, {230, 0.3, 0.12}, 2, 0.145},
        Kind{{48, 0.85, 0.96}, {48, 0.85, 0.96}, 0.78, 0.175}, Kind{{0, 0.0, 0.95}, {178, 0.85, 0.78}, 0.90, 0.165}};
    const Kind& kind = kKinds[static_cast<size_t>(variant)];
    const Vec3 outer = jittered(random, kind.outer), inner = jittered(random, kind.inner);
    const Vec3 dark = linear_from_hsv({240, 0.3, 0.08}), shine{0.95, 0.95, 0.95};
    for (const double side : {-1.0, 1.0}) {
      const Vec3 axis = normalized(Vec3{0.50, 0.12, side});
      ball(kEye, kHead + at(0.13, 0.10, side * 0.315), axis, kind.radius, [&](double facing, double height) {
        Vec3 here = facing > kind.pupil ? dark : facing > 0.60 ? inner : outer;
        if (variant == 1 && facing > 0.72 && height > 0.42) here = shine;
        return Look{here};
      });
    }
  }

  void crest() {
    Random random(seed_, index_, kCrestStream);
    const int variant = random.integer(0, kNumVariants - 1);
    const double hue = random.uniform(0, 360);
    Feather f;
    f.color = linear_from_hsv({hue, random.uniform(0.45, 0.8), random.uniform(0.55, 0.92)});
    f.tip = linear_from_hsv({hue + random.uniform(-60, 60), random.uniform(0.3, 0.8), random.uniform(0.5, 0.95)});
    f.tip_from = 0.7;
    const double size = random.uniform(0.9, 1.15);
    const auto add = [&](double angle, double length, double half_width, double bend, double x) {
      const SinCos way = sin_cos(angle);
      f.along = at(-way.cos, way.sin);
      f.aside = at(way.sin, way.cos);
      f.root = kHead + at(x, kHeadRadius - 0.09);
      f.length = length * size;
      f.half_width = half_width;
      f.bend = bend;
      feather(kCrest, f);
    };
    if (variant == 0) {
      for (int i = 0; i < 3; ++i) add(0.55 + 0.42 * i, 0.46, 0.07, 0, -0.02 + 0.04 * i);
    } else if (variant == 1) {
      add(1.0, 0.62, 0.08, -0.45, 0);
    } else if (variant == 2) {
      ball(kCrest, kHead + at(-0.02, kHeadRadius + 0.08), {0, 1, 0}, 0.17 * size,
           [&](double, double height) { return Look{mix(f.color, f.tip, smoothstep(0.2, 0.5, height))}; });
    } else {
      for (int i = 0; i < 5; ++i) add(0.75 + 0.40 * i, 0.26, 0.075, 0, -0.12 + 0.06 * i);
    }
  }

  MeshBuilder mesh_;
  uint64_t seed_, index_;
  Pose pose_{};
};

Camera bird_camera(uint64_t seed, uint64_t index) {
  Random random(seed, index, kCameraStream);
  View view;
  view.target = {-0.02, 1.16, 0};
  const bool faces_left = random.chance(0.5);
  const double turn = random.uniform(-16, 46);  // from the side, more often from before than from behind
  view.azimuth = radians(faces_left ? 180 - turn : turn);
  view.elevation = radians(random.uniform(4, 22));
  view.distance = random.uniform(6.5, 9.0);
  view.frame_height = random.uniform(3.3, 3.8);
  view.roll = radians(random.uniform(-7, 7));
  view.shift_x = random.uniform(-0.06, 0.06);
  view.shift_y = random.uniform(-0.05, 0.05);
  return look_from(view);
}

GroundTruthSample draw_bird(const GroundTruthRequest& request) {
  const Camera camera = bird_camera(request.seed, request.index);
  const Light light = make_light(request.seed, request.index, camera);
  const Mesh bird = BirdBuilder(request.seed, request.index, light, camera).build(request.label);
  const auto removed = [&](uint8_t part) { return request.removed_parts.count(part_names()[part - 1U]) > 0; };
  SampleGrid grid(request.size * request.supersampling);
  draw_mesh(grid, bird, camera, removed);
  // Of the body alone, and drawn even without it: deleting a part changes the pixels that it covers and no others.
  GroundShadow shadow;
  shadow.cast(bird, light.to_light, [](uint8_t part) { return part != kBody; });
  shadow.soften();
  const Backdrop backdrop(request.seed, request.index, camera, light);
  const double pixel = 1.0 / request.size;
  Rendered drawn =
      develop(grid, request.seed, request.index, {request.size, request.supersampling, request.noise_std, kBody + 1},
              [&](double x, double y) { return backdrop.color(x, y, pixel, shadow); });
  GroundTruthSample sample = sample_from(std::move(drawn), request.label, part_names(),
                                         [](const std::string& name) { return name != "crest" && name != "body"; });
  std::vector<const Image*> all;
  for (const GroundTruthPart& part : sample.parts) all.push_back(&part.coverage);
  sample.objects.push_back({request.label, bounding_box(mask_of(all)), sample.mask});
  return sample;
}

}  // namespace

int bird_variant(int label, const std::string& part) {
  if (label < 0 || label >= kNumClasses) {
    throw_usage("parts: class " + std::to_string(label) + " does not exist; the classes are 0 to " +
                std::to_string(kNumClasses - 1));
  }
  for (uint8_t i = kBeak; i <= kFeet; ++i)
    if (part_names()[i - 1U] == part) return variant_of(label, static_cast<Part>(i));
  throw_usage("parts: '" + part + "' has no variant that the class decides; beak, eye, wings, tail and feet have");
}

GroundTruthSet bird_set() {
  GroundTruthSet set;
  set.name = "parts";
  set.summary = "birds; the class is the combination of beak, eyes, wings, tail and feet";
  set.source = "Hesse, Schaub-Meyer, Roth, ICCV 2023 (FunnyBirds)";
  for (int i = 0; i < kNumClasses; ++i) {
    const std::string number = std::to_string(i + 1);
    set.classes.push_back("species-" + std::string(number.size() < 2 ? "0" : "") + number);
  }
  set.parts = part_names();
  set.training_drops = {"beak", "eye", "wings", "tail", "feet"};
  set.most_drops = 3;
  set.draw = draw_bird;
  return set;
}

}  // namespace pellucid
