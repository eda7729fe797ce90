// Procedural textures in random colors, scales and directions: something to learn the statistics of texture from, and
// styles to paint in. Noise and cells after Perlin, "An Image Synthesizer", SIGGRAPH 1985, and Worley, "A Cellular
// Texture Basis Function", SIGGRAPH 1996.

#include "dataset/textures.h"

#include "dataset/ground_truth.h"

namespace pellucid {
namespace {

using render::mix;
using render::Random;
using render::Vec3;

constexpr uint64_t kStyleStream = render::kFirstOwnStream + 60;
constexpr uint64_t kPlaceStream = render::kFirstOwnStream + 61;

/// Colors that go together: one or two hues, from dark to light, the first two never alike.
std::array<Vec3, 4> draw_palette(Random& random) {
  const double hue = random.uniform(0, 360);
  const int scheme = random.integer(0, 3);
  const double other = scheme == 0   ? hue + random.uniform(-25, 25)
                       : scheme == 1 ? hue + 180 + random.uniform(-25, 25)
                       : scheme == 2 ? hue + 120 + random.uniform(-25, 25)
                                     : random.uniform(0, 360);
  const bool dark_first = random.chance(0.5);
  const double dark = random.uniform(0.12, 0.42), light = random.uniform(0.62, 0.98);
  const render::Hsv first{hue, random.uniform(0.25, 0.9), dark_first ? dark : light};
  const render::Hsv second{other, random.uniform(0.1, 0.9), dark_first ? light : dark};
  const render::Hsv third{mix(hue, other, random.uniform()), random.uniform(0.1, 0.8), random.uniform(0.35, 0.8)};
  const render::Hsv fourth{other + random.uniform(-60, 60), random.uniform(0.2, 0.9), random.uniform(0.3, 0.95)};
  return {render::linear_from_hsv(first), render::linear_from_hsv(second), render::linear_from_hsv(third),
          render::linear_from_hsv(fourth)};
}

/// Where the picture lies in the plane of the pattern.
struct Place {
  double x, y, scale;
  render::SinCos turn;
};

Place draw_place(const render::TextureKind& kind, Random& random) {
  const double scale = kind.features * random.uniform(0.65, 1.5);
  const double turn = kind.upright ? random.uniform(-0.12, 0.12) : random.uniform(0, 2 * render::kPi);
  const double x = random.uniform(-60, 60), y = random.uniform(-60, 60);
  return {x, y, scale, render::sin_cos(turn)};
}

GroundTruthSample draw_texture(const GroundTruthRequest& request) {
  const render::TextureKind& kind = render::texture_kinds()[static_cast<size_t>(request.label)];
  Random colors(request.seed, request.index, kStyleStream);
  render::TextureStyle style;
  style.seed = colors.bits();
  style.palette = draw_palette(colors);
  for (double& knob : style.knob) knob = colors.uniform();
  Random where(request.seed, request.index, kPlaceStream);
  const Place place = draw_place(kind, where);
  const bool blank = request.removed_parts.count("texture") != 0;
  const int size = request.size, fine = request.supersampling;
  const auto behind = [&](double x, double y) {
    if (blank) return Vec3{0.25, 0.25, 0.25};
    Vec3 sum{};
    for (int k = 0; k < fine * fine; ++k) {
      const double u = x + ((k % fine + 0.5) / fine - 0.5) / size - 0.5;
      const double v = y + ((k / fine + 0.5) / fine - 0.5) / size - 0.5;
      sum = sum + kind.pattern(style, place.x + (u * place.turn.cos - v * place.turn.sin) * place.scale,
                               place.y + (u * place.turn.sin + v * place.turn.cos) * place.scale);
    }
    return sum * (1.0 / (fine * fine));
  };
  render::Rendered drawn = render::develop(render::SampleGrid(size), request.seed, request.index,
                                           {size, 1, request.noise_std, 2, 0}, behind);
  if (!blank) {
    std::swap(drawn.coverage[0], drawn.coverage[1]);
    drawn.parts = Image(size, size, 1, 1);
  }
  GroundTruthSample sample =
      sample_from(std::move(drawn), request.label, {"texture"}, [](const std::string&) { return true; });
  sample.objects.push_back({request.label, {0, 0, size, size}, sample.mask});
  return sample;
}

}  // namespace

GroundTruthSet texture_set() {
  GroundTruthSet set;
  set.name = "textures";
  set.summary = "procedural textures (bricks, wood, marble, ...) in random colors and scales; the pattern is the class";
  set.source = "Perlin, SIGGRAPH 1985; Worley, SIGGRAPH 1996";
  for (const render::TextureKind& kind : render::texture_kinds()) set.classes.push_back(kind.name);
  set.parts = {"texture"};
  set.draw = draw_texture;
  return set;
}

}  // namespace pellucid
