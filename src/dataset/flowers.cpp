#include "pellucid/flowers.h"

#include <algorithm>
#include <array>

#include "dataset/flowers_scene.h"
#include "dataset/render_backdrop.h"
#include "dataset/render_picture.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

using flowers::Palette;
using render::Camera;
using render::Light;
using render::Mesh;
using render::Vec3;

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
  render::check_picture_options("flower", options.size, options.supersampling, options.noise_std);
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
  const Camera camera = flowers::make_camera(seed, index);
  const Light light = render::make_light(seed, index, camera);
  const Palette palette = palette_of_class(variant, class_index, seed, index, options.grayed_parts);
  const Mesh plant = flowers::make_plant(seed, index, palette, light, camera);
  const auto hidden = [&](uint8_t part) { return options.removed_parts.count(static_cast<FlowerPart>(part)) > 0; };
  render::SampleGrid grid(options.size * options.supersampling);
  render::draw_mesh(grid, plant, camera, hidden);
  render::GroundShadow shadow;
  shadow.cast(plant, light.to_light, hidden);
  shadow.soften();

  const render::Backdrop backdrop(seed, index, camera, light);
  const auto wanted = static_cast<int>(flower_discriminative_part(variant, class_index));
  const double pixel = 1.0 / options.size;
  render::Rendered drawn =
      render::develop(grid, seed, index, {options.size, options.supersampling, options.noise_std, kNumParts, wanted},
                      [&](double x, double y) { return backdrop.color(x, y, pixel, shadow); });
  FlowerSample result;
  result.image = std::move(drawn.image);
  result.parts = std::move(drawn.parts);
  result.coverage = drawn.coverage[static_cast<size_t>(wanted)];
  result.mask = result.coverage;
  for (uint8_t& share : result.mask.pixels) share = share >= 128 ? 255 : 0;
  result.part_coverage = std::move(drawn.coverage);
  result.label = class_index;
  return result;
}

}  // namespace pellucid
