#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/ground_truth.h"
#include "pellucid/segment.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// COCO's run lengths: down the columns, starting with the number of zeros.
std::vector<int64_t> run_lengths(const Image& mask) {
  std::vector<int64_t> counts{0};
  bool inside = false;
  for (int x = 0; x < mask.width; ++x) {
    for (int y = 0; y < mask.height; ++y) {
      const bool here = *mask.at(x, y) > 127;
      if (here != inside) counts.push_back(0);
      inside = here;
      ++counts.back();
    }
  }
  return counts;
}

/// objects.json in the form of COCO instances, written as it grows and renamed when it is whole.
class ObjectsFile {
 public:
  ObjectsFile(const fs::path& path, const GroundTruthSet& set)
      : path_(path), part_path_(path.string() + ".part"), set_(set), file_(part_path_, std::ios::binary) {
    ordered_json info{{"description", set.summary}, {"set", set.name}, {"after", set.source}};
    ordered_json categories = ordered_json::array();
    for (const auto* names : {&set.classes, &set.parts}) {
      for (const std::string& name : *names) {
        categories.push_back({{"id", categories.size() + 1},
                              {"name", name},
                              {"supercategory", names == &set.classes ? "class" : "part"}});
      }
    }
    file_ << "{\"info\":" << info.dump() << ",\n\"categories\":" << categories.dump() << ",\n\"annotations\":[";
  }
  ~ObjectsFile() {
    file_.close();
    std::error_code ignored;
    fs::remove(part_path_, ignored);
  }

  void add(int64_t image_id, const std::string& file, const GroundTruthSample& sample) {
    const int64_t num_classes = static_cast<int64_t>(set_.classes.size());
    images_ += (images_.empty() ? "\n" : ",\n") + ordered_json{{"id", image_id},
                                                               {"file_name", file},
                                                               {"width", sample.picture.width},
                                                               {"height", sample.picture.height},
                                                               {"label", sample.label}}
                                                      .dump();
    for (const GroundTruthObject& object : sample.objects)
      write(image_id, object.label + 1, object.box, object.mask, {});
    for (size_t i = 0; i < sample.parts.size(); ++i) {
      const Image mask = sample.parts[i].mask();
      write(image_id, num_classes + static_cast<int64_t>(i) + 1, bounding_box(mask), mask,
            sample.parts[i].discriminative);
    }
  }

  void finish() {
    file_ << "],\n\"images\":[" << images_ << "]}\n";
    file_.close();
    std::error_code error;
    if (file_) fs::rename(part_path_, path_, error);
    if (!file_ || error) throw_failed(printable(path_.string()) + ": cannot be written");
  }

 private:
  void write(int64_t image_id, int64_t category, const Rect& box, const Image& mask,
             const std::optional<bool>& discriminative) {
    int64_t area = 0;
    for (const uint8_t value : mask.pixels) area += value > 127 ? 1 : 0;
    ordered_json one{{"id", ++num_annotations_},
                     {"image_id", image_id},
                     {"category_id", category},
                     {"bbox", {box.x, box.y, box.width, box.height}},
                     {"area", area},
                     {"iscrowd", 0}};
    if (discriminative) one["discriminative"] = *discriminative;
    one["segmentation"] = {{"size", {mask.height, mask.width}}, {"counts", run_lengths(mask)}};
    file_ << (num_annotations_ == 1 ? "\n" : ",\n") << one.dump();
  }

  fs::path path_, part_path_;
  const GroundTruthSet& set_;
  std::ofstream file_;
  std::string images_;
  int64_t num_annotations_ = 0;
};

}  // namespace

std::vector<double> part_importance(const Network& network, const ModelCard& card, const GroundTruthSet& set,
                                    GroundTruthRequest request) {
  if (card.width != card.height || card.channels() != 3) {
    throw_usage("part_importance: the model takes " + std::to_string(card.width) + "x" + std::to_string(card.height) +
                " pixels; generated pictures are square and in color");
  }
  request.size = static_cast<int>(card.width);
  std::vector<GroundTruthRequest> requests{request};
  for (const std::string& part : set.parts) {
    requests.push_back(request);
    requests.back().removed_parts.insert(part);
  }
  const auto count = static_cast<int64_t>(requests.size());
  Tensor pixels = at::empty({count, request.size, request.size, 3}, at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    const Image picture = draw_sample(set, requests[static_cast<size_t>(i)]).picture;
    std::copy(picture.pixels.begin(), picture.pixels.end(), pixels[i].data_ptr<uint8_t>());
  }
  Tensor display = pixels.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0;
  if (card.order == ChannelOrder::kBgr) display = display.flip(1);
  Tensor input = card.model_from_display(display);
  if (!card.channels_first) input = input.permute({0, 2, 3, 1}).contiguous();
  Shape one = input.sizes().vec();
  one[0] = 1;
  const LayerTable table(network, {one});
  // Before a final softmax, which would press the drops of a certain answer into nothing.
  Tensor logits = forward(network, input, table.logits(), nullptr).to(at::kCPU, at::kDouble);
  if (logits.dim() > 2 && logits.numel() == logits.size(0) * logits.size(1)) logits = logits.flatten(1);
  if (logits.dim() != 2 || request.label >= logits.size(1)) {
    throw_usage("part_importance: the network's output " + shape_text(logits.sizes()) + " has no class " +
                std::to_string(request.label));
  }
  const Tensor scores = logits.select(1, request.label);
  std::vector<double> drops;
  for (int64_t i = 1; i < count; ++i) drops.push_back((scores[0] - scores[i]).item<double>());
  return drops;
}

int64_t write_dataset(const DatasetRequest& request, Progress* progress) {
  if (request.output.empty()) throw_usage("dataset: an output folder is needed (-o DIR)");
  const GroundTruthSet& set = find_ground_truth_set(request.name);
  if (request.swap_shortcut && !set.has_shortcut) {
    throw_usage("dataset: nothing is planted in " + set.name + ", so there is nothing to swap");
  }
  const fs::path root = fs::u8path(request.output);
  for (const char* folder : {"images", "masks", "parts"}) make_folder((root / folder).string());
  ObjectsFile objects(root / "objects.json", set);
  const auto num_classes = static_cast<int64_t>(set.classes.size());
  std::string table = "file,label,class\n";
  const int64_t total = request.per_class * num_classes;
  for (int64_t i = 0; i < total; ++i) {
    if (progress) progress->check();
    GroundTruthRequest one;
    one.label = static_cast<int>(i % num_classes);
    one.seed = request.seed;
    one.index = static_cast<uint64_t>(i);
    one.size = request.size;
    one.removed_parts = request.removed_parts;
    if (request.swap_shortcut) one.planted_label = static_cast<int>((one.label + 1) % num_classes);
    const GroundTruthSample sample = draw_sample(set, one);
    std::string number = std::to_string(i);
    const std::string file = std::string(6 - std::min<size_t>(6, number.size()), '0') + number + ".png";
    save_png((root / "images" / file).string(), sample.picture);
    save_png((root / "masks" / file).string(), sample.mask);
    save_png((root / "parts" / file).string(), sample.part_map);
    objects.add(i + 1, file, sample);
    table += file + "," + std::to_string(one.label) + "," + set.classes[static_cast<size_t>(one.label)] + "\n";
    if (progress) progress->report(static_cast<double>(i + 1), static_cast<double>(total), set.name);
  }
  objects.finish();
  // Last, so that a folder with a table is complete.
  write_file_atomically((root / "labels.csv").string(), table);
  return total;
}

}  // namespace pellucid
