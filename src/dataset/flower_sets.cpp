// The flowers of flowers.h as a set with parts, and several of them in one picture. The latter is the grid pointing
// game of Bohle, Fritz, Schiele. "Convolutional Dynamic Alignment Networks for Interpretable Classifications". CVPR
// 2021, with flowers for cells.

#include <array>

#include "dataset/ground_truth.h"
#include "pellucid/error.h"
#include "pellucid/flowers.h"
#include "pellucid/segment.h"

namespace pellucid {
namespace {

/// In the order of FlowerPart, from kPetals.
const std::vector<std::string>& part_names() {
  static const std::vector<std::string> names{"petals", "center", "stem", "leaves", "pot", "soil"};
  return names;
}

FlowerPart part_named(const std::string& name) {
  for (size_t i = 0; i < part_names().size(); ++i)
    if (part_names()[i] == name) return static_cast<FlowerPart>(i + 1);
  throw_usage("no flower part '" + name + "'");
}

GroundTruthObject flower_object(int label, Image mask, const std::vector<GroundTruthPart>& parts) {
  std::vector<const Image*> plant;
  for (const GroundTruthPart& part : parts) plant.push_back(&part.coverage);
  return {label, bounding_box(mask_of(plant)), std::move(mask)};
}

GroundTruthSample draw_flower(FlowerVariant variant, const GroundTruthRequest& request) {
  FlowerOptions options;
  options.size = request.size;
  options.supersampling = request.supersampling;
  options.noise_std = request.noise_std;
  for (const std::string& part : request.removed_parts) options.removed_parts.insert(part_named(part));
  FlowerSample flower = render_flower(variant, request.label, request.seed, request.index, options);
  const FlowerPart deciding = flower_discriminative_part(variant, request.label);
  const auto discriminative = [&](const std::string& name) { return part_named(name) == deciding; };
  GroundTruthSample sample = sample_from({std::move(flower.image), std::move(flower.parts), flower.part_coverage},
                                         request.label, part_names(), discriminative);
  sample.objects.push_back(flower_object(request.label, sample.mask, sample.parts));
  return sample;
}

constexpr int kCells = 4;
constexpr uint64_t kLayoutStream = render::kFirstOwnStream + 50;

void copy_into(Image& to, const Image& from, int left, int top) {
  for (int y = 0; y < from.height; ++y)
    std::copy_n(from.at(0, y), static_cast<size_t>(from.width) * from.channels, to.at(left, top + y));
}

/// The class of each cell: that of the picture twice, two others once.
std::array<int, kCells> cell_labels(const GroundTruthRequest& request, int num_classes) {
  render::Random random(request.seed, request.index, kLayoutStream);
  std::array<int, kCells> steps{0, 0, 0, 0};
  steps[2] = random.integer(1, num_classes - 1);
  steps[3] = random.integer(1, num_classes - 2);
  if (steps[3] >= steps[2]) ++steps[3];
  for (int i = kCells - 1; i > 0; --i)
    std::swap(steps[static_cast<size_t>(i)], steps[static_cast<size_t>(random.integer(0, i))]);
  for (int& step : steps) step = (request.label + step) % num_classes;
  return steps;
}

GroundTruthSample draw_scene(const GroundTruthRequest& request) {
  if (request.size < 32 || request.size % 2 != 0) {
    throw_usage("scenes option size is " + std::to_string(request.size) + "; it must be even and 32 to 1024");
  }
  constexpr FlowerVariant kVariant = FlowerVariant::kSingle6c;
  const auto num_classes = static_cast<int>(flower_classes(kVariant).size());
  const std::array<int, kCells> labels = cell_labels(request, num_classes);
  const int size = request.size, side = size / 2;
  GroundTruthSample scene{Image(size, size, 3), request.label, Image(size, size, 1), Image(size, size, 1), {}, {}};
  for (const std::string& name : part_names()) scene.parts.push_back({name, Image(size, size, 1), name == "petals"});
  for (int i = 0; i < kCells; ++i) {
    GroundTruthRequest cell = request;
    cell.label = labels[static_cast<size_t>(i)];
    cell.index = render::hash64(request.index) + static_cast<uint64_t>(i);
    cell.size = side;
    GroundTruthSample flower = draw_flower(kVariant, cell);
    const int left = i % 2 * side, top = i / 2 * side;
    copy_into(scene.picture, flower.picture, left, top);
    copy_into(scene.part_map, flower.part_map, left, top);
    if (cell.label == request.label) copy_into(scene.mask, flower.mask, left, top);
    for (size_t p = 0; p < scene.parts.size(); ++p)
      copy_into(scene.parts[p].coverage, flower.parts[p].coverage, left, top);
    GroundTruthObject object = std::move(flower.objects.front());
    object.box.x += left;
    object.box.y += top;
    Image mask(size, size, 1);
    copy_into(mask, object.mask, left, top);
    object.mask = std::move(mask);
    scene.objects.push_back(std::move(object));
  }
  return scene;
}

}  // namespace

GroundTruthSet flower_set(const std::string& variant_name) {
  const FlowerVariant variant = flower_variant(variant_name);
  const bool single = variant == FlowerVariant::kSingle6c;
  GroundTruthSet set;
  set.name = single ? "an8flower-single" : "an8flower-double";
  set.summary = single ? "potted flowers; the hue of the petals is the class"
                       : "potted flowers; the hue of the petals or that of the stem is the class";
  set.source = "Oramas, Wang, Tuytelaars, ICLR 2019";
  set.classes = flower_classes(variant);
  set.parts = part_names();
  set.draw = [variant](const GroundTruthRequest& request) { return draw_flower(variant, request); };
  return set;
}

GroundTruthSet scene_set() {
  GroundTruthSet set;
  set.name = "scenes";
  set.summary = "four potted flowers in a grid, two of the picture's class and two of other classes";
  set.source = "Bohle, Fritz, Schiele, CVPR 2021 (grid pointing game)";
  set.classes = flower_classes(FlowerVariant::kSingle6c);
  set.parts = part_names();
  set.draw = draw_scene;
  return set;
}

}  // namespace pellucid
