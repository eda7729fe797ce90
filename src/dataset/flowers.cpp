#include "pellucid/flowers.h"

#include <algorithm>
#include <array>

#include "dataset/flowers_backdrop.h"
#include "dataset/flowers_raster.h"
#include "dataset/flowers_scene.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

using flowers::Backdrop;
using flowers::Camera;
using flowers::Corner;
using flowers::GroundShadow;
using flowers::Mesh;
using flowers::Palette;
using flowers::Sample;
using flowers::SampleGrid;
using flowers::Triangle;
using flowers::Vec3;

struct Hue {
  const char* name;
  double degrees;
};
constexpr std::array<Hue, 6> kHues = {
    {{"red", 0}, {"yellow", 55}, {"green", 120}, {"cyan", 180}, {"blue", 232}, {"magenta", 300}}};
constexpr int kNumHues = static_cast<int>(kHues.size());
constexpr int kNumParts = 7;
constexpr double kGray = 0.3;  ///< linear albedo of a grayed part

struct VariantName {
  FlowerVariant variant;
  const char* name;
  int num_classes;
};
constexpr std::array<VariantName, 2> kVariants = {
    {{FlowerVariant::kSingle6c, "single-6c", kNumHues}, {FlowerVariant::kDouble12c, "double-12c", 2 * kNumHues}}};

const VariantName& described(FlowerVariant variant) {
  for (const VariantName& known : kVariants)
    if (known.variant == variant) return known;
  throw_usage("unknown flower variant " + std::to_string(static_cast<int>(variant)));
}

void check_class(FlowerVariant variant, int class_index) {
  const VariantName& known = described(variant);
  if (class_index >= 0 && class_index < known.num_classes) return;
  throw_usage("flower class " + std::to_string(class_index) + " does not exist: " + known.name + " has classes 0 to " +
              std::to_string(known.num_classes - 1));
}

void check_parts(const std::set<FlowerPart>& parts, const char* option) {
  for (const FlowerPart part : parts) {
    const int value = static_cast<int>(part);
    if (value >= 1 && value < kNumParts) continue;
    throw_usage(std::string("flower option ") + option + " holds part " + std::to_string(value) +
                "; the parts of the plant are 1 to " + std::to_string(kNumParts - 1));
  }
}

void check_options(const FlowerOptions& options) {
  if (options.size < 16 || options.size > 1024)
    throw_usage("flower option size is " + std::to_string(options.size) + "; it must be 16 to 1024");
  if (options.supersampling < 1 || options.supersampling > 8)
    throw_usage("flower option supersampling is " + std::to_string(options.supersampling) + "; it must be 1 to 8");
  if (!(options.noise_std >= 0 && options.noise_std <= 64))
    throw_usage("flower option noise_std is " + std::to_string(options.noise_std) + "; it must be 0 to 64");
  check_parts(options.removed_parts, "removed_parts");
  check_parts(options.grayed_parts, "grayed_parts");
}

Palette palette_of_class(FlowerVariant variant, int class_index, uint64_t seed, uint64_t index,
                         const std::set<FlowerPart>& grayed) {
  Palette palette = flowers::make_palette(seed, index);
  if (variant == FlowerVariant::kDouble12c) {
    palette.petals = flowers::neutral_color(seed, index, FlowerPart::kPetals);
    palette.stem = flowers::neutral_color(seed, index, FlowerPart::kStem);
  }
  const Vec3 hue = flowers::class_color(seed, index, flower_class_hue(variant, class_index));
  (flower_discriminative_part(variant, class_index) == FlowerPart::kPetals ? palette.petals : palette.stem) = hue;
  const std::array<Vec3*, kNumParts> colors = {nullptr,         &palette.petals, &palette.center, &palette.stem,
                                               &palette.leaves, &palette.pot,    &palette.soil};
  for (const FlowerPart part : grayed) *colors[static_cast<size_t>(part)] = {kGray, kGray, kGray};
  return palette;
}

Corner project(const flowers::Vertex& vertex, const Camera& camera, double side) {
  const Vec3 offset = vertex.position - camera.position;
  const double inverse = 1.0 / dot(offset, camera.forward);
  const double x = 0.5 + camera.shift_x + dot(offset, camera.right) * inverse * camera.focal;
  const double y = 0.5 + camera.shift_y - dot(offset, camera.up) * inverse * camera.focal;
  const auto root = [](double linear) { return std::sqrt(std::max(0.0, linear)); };
  return {x * side, y * side, inverse, {root(vertex.color.x), root(vertex.color.y), root(vertex.color.z)}};
}

/// Nearly normal, in standard deviations: the sum of twelve 5-bit numbers, whose tails end at 3.5.
double noise(uint64_t bits) {
  int sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<int>((bits >> (5 * i)) & 31);
  constexpr double kMean = 12 * 15.5;
  constexpr double kInverseStd = 0.031265264;  // 1 / sqrt(12 * (32 * 32 - 1) / 12)
  return std::min(3.5, std::max(-3.5, (sum - kMean) * kInverseStd));
}

uint8_t developed(double linear, double grain) {
  const double value = 255.0 * std::sqrt(flowers::clamp01(linear)) + grain;
  return static_cast<uint8_t>(std::min(255.0, std::max(0.0, std::floor(value + 0.5))));
}

/// The part of a pixel: `preferred` if and only if it covers half of it, else the one with most samples, the smaller
/// number in a tie.
int part_of(const std::array<int, kNumParts>& counts, int preferred, int total) {
  if (2 * counts[static_cast<size_t>(preferred)] >= total) return preferred;
  int best = preferred == 0 ? 1 : 0;
  for (int part = 0; part < kNumParts; ++part)
    if (part != preferred && counts[static_cast<size_t>(part)] > counts[static_cast<size_t>(best)]) best = part;
  return best;
}

}  // namespace

std::vector<std::string> flower_classes(FlowerVariant variant) {
  std::vector<std::string> names;
  for (int i = 0; i < described(variant).num_classes; ++i) {
    const bool petals = flower_discriminative_part(variant, i) == FlowerPart::kPetals;
    names.push_back(std::string(petals ? "petals-" : "stem-") + kHues[static_cast<size_t>(i % kNumHues)].name);
  }
  return names;
}

std::string flower_variant_name(FlowerVariant variant) { return described(variant).name; }

FlowerVariant flower_variant(const std::string& name) {
  std::string names;
  for (const VariantName& known : kVariants) {
    if (name == known.name) return known.variant;
    names += std::string(names.empty() ? "" : ", ") + known.name;
  }
  throw_usage("unknown flower variant \"" + name + "\"; known are " + names);
}

FlowerPart flower_discriminative_part(FlowerVariant variant, int class_index) {
  check_class(variant, class_index);
  return class_index < kNumHues ? FlowerPart::kPetals : FlowerPart::kStem;
}

double flower_class_hue(FlowerVariant variant, int class_index) {
  check_class(variant, class_index);
  return kHues[static_cast<size_t>(class_index % kNumHues)].degrees;
}

FlowerSample render_flower(FlowerVariant variant, int class_index, uint64_t seed, uint64_t index,
                           const FlowerOptions& options) {
  check_class(variant, class_index);
  check_options(options);
  const int size = options.size;
  const int ss = options.supersampling;
  const Camera camera = flowers::make_camera(seed, index);
  const flowers::Light light = flowers::make_light(seed, index, camera);
  const Palette palette = palette_of_class(variant, class_index, seed, index, options.grayed_parts);
  const Mesh plant = flowers::make_plant(seed, index, palette, light, camera);

  SampleGrid grid(size * ss);
  GroundShadow shadow;
  std::vector<Corner> corners;
  corners.reserve(plant.vertices.size());
  for (const flowers::Vertex& vertex : plant.vertices) corners.push_back(project(vertex, camera, size * ss));
  for (const Triangle& triangle : plant.triangles) {
    if (options.removed_parts.count(triangle.part) > 0) continue;
    const auto [a, b, c] = triangle.corners;
    grid.draw(corners[a], corners[b], corners[c], static_cast<uint8_t>(triangle.part));
    shadow.cast(plant.vertices[a].position, plant.vertices[b].position, plant.vertices[c].position, light.to_light);
  }
  shadow.soften();

  const Backdrop backdrop(seed, index, camera, light);
  const int wanted = static_cast<int>(flower_discriminative_part(variant, class_index));
  const int total = ss * ss;
  FlowerSample result{Image(size, size, 3), Image(size, size, 1), Image(size, size, 1), Image(size, size, 1),
                      class_index};
  const uint64_t noise_key = flowers::Random(seed, index, flowers::kNoiseStream).bits();
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      std::array<int, kNumParts> counts{};
      std::array<uint64_t, 3> light_sum{};  // squares of stored values: linear light, exact in any order
      for (int j = 0; j < ss; ++j) {
        const Sample* samples = grid.row(y * ss + j) + static_cast<size_t>(x) * ss;
        for (int i = 0; i < ss; ++i) {
          const Sample& sample = samples[i];
          ++counts[sample.part];
          light_sum[0] += static_cast<uint64_t>(sample.red) * sample.red;
          light_sum[1] += static_cast<uint64_t>(sample.green) * sample.green;
          light_sum[2] += static_cast<uint64_t>(sample.blue) * sample.blue;
        }
      }
      Vec3 behind{};
      if (counts[0] > 0) behind = backdrop.color((x + 0.5) / size, (y + 0.5) / size, 1.0 / size, shadow);
      const double share = static_cast<double>(counts[0]) / total;
      constexpr double kSampleUnit = 1.0 / (4095.0 * 4095.0);
      const std::array<double, 3> behind_rgb = {behind.x, behind.y, behind.z};
      const uint64_t pixel = static_cast<uint64_t>(y) * static_cast<uint64_t>(size) + static_cast<uint64_t>(x);
      uint8_t* out = result.image.at(x, y);
      for (size_t channel = 0; channel < 3; ++channel) {
        const double front = static_cast<double>(light_sum[channel]) * kSampleUnit / total;
        const double grain = options.noise_std * noise(flowers::hash64(noise_key + 3 * pixel + channel));
        out[channel] = developed(front + behind_rgb[channel] * share, grain);
      }
      const int seen = counts[static_cast<size_t>(wanted)];
      const bool masked = 2 * seen >= total;
      *result.mask.at(x, y) = masked ? 255 : 0;
      *result.coverage.at(x, y) = static_cast<uint8_t>((2 * 255 * seen + total) / (2 * total));
      *result.parts.at(x, y) = static_cast<uint8_t>(part_of(counts, wanted, total));
    }
  }
  return result;
}

}  // namespace pellucid
