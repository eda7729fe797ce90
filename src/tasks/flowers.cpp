#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/tasks.h"

namespace pellucid {

int64_t write_flowers(const FlowerRequest& request, Progress* progress) {
  if (request.output.empty()) throw_usage("dataset: an output folder is needed (-o DIR)");
  const std::vector<std::string> classes = flower_classes(request.variant);
  const std::filesystem::path root = std::filesystem::u8path(request.output);
  for (const char* folder : {"images", "masks", "parts"}) make_folder((root / folder).string());
  FlowerOptions options;
  options.size = request.size;
  std::string table = "file,label,class\n";
  const int64_t total = request.per_class * static_cast<int64_t>(classes.size());
  for (int64_t i = 0; i < total; ++i) {
    if (progress) progress->check();
    const auto label = static_cast<int>(i % static_cast<int64_t>(classes.size()));
    const FlowerSample sample = render_flower(request.variant, label, request.seed, static_cast<uint64_t>(i), options);
    std::string number = std::to_string(i);
    const std::string file = std::string(6 - std::min<size_t>(6, number.size()), '0') + number + ".png";
    save_png((root / "images" / file).string(), sample.image);
    save_png((root / "masks" / file).string(), sample.mask);
    save_png((root / "parts" / file).string(), sample.parts);
    table += file + "," + std::to_string(label) + "," + classes[static_cast<size_t>(label)] + "\n";
    if (progress) progress->report(static_cast<double>(i + 1), static_cast<double>(total), "flowers");
  }
  // Last, so that a folder with a table is complete.
  write_file_atomically((root / "labels.csv").string(), table);
  return total;
}

}  // namespace pellucid
