#include "tasks/shipped_models.h"

#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// ./models, where `cmake --install` puts models, seen from the program, and where they lie for one in
/// build/PRESET/bin.
std::vector<fs::path> models_folders() {
  std::vector<fs::path> folders{fs::u8path("models")};
  std::error_code ec;
  const fs::path program = fs::read_symlink("/proc/self/exe", ec);
  if (ec) return folders;
  const fs::path above = program.parent_path().parent_path();
  folders.push_back(above / "share" / "pellucid" / "models");
  folders.push_back(above.parent_path().parent_path() / "models");
  return folders;
}

std::string found_in(const std::vector<fs::path>& folders, const std::string& file) {
  std::error_code ec;
  for (const fs::path& folder : folders) {
    if (!folder.empty() && fs::is_regular_file(folder / fs::u8path(file), ec))
      return (folder / fs::u8path(file)).string();
  }
  return {};
}

/// How the shipped networks were made; models/README.md has the same as commands.
TrainRequest recipe_of(const std::string& set, const std::string& file) {
  TrainRequest recipe;
  recipe.data = set;
  recipe.training.epochs = 6;
  if (file == "flower_double_12c.onnx") {
    recipe.training.epochs = 8;
    recipe.pictures_per_class = 500;
  } else if (file == "bird_parts_16c.onnx") {
    recipe.input_size = 96;
    recipe.training.epochs = 10;
    recipe.pictures_per_class = 150;
  } else if (file == "shortcut_6c.onnx") {
    recipe.input_size = 96;
    recipe.pictures_per_class = 400;
  } else if (file == "flower_single_6c_shuffled.onnx") {
    recipe.shuffle_labels = true;
    recipe.training.epochs = 60;
    recipe.pictures_per_class = 50;
    recipe.training.weight_decay = 0;
  }
  return recipe;
}

}  // namespace

std::string shipped_model(const std::string& file) { return found_in(models_folders(), file); }

std::string shipped_model(const std::string& set, const std::string& file, const EvaluateRequest& request,
                          std::vector<std::string>& notes, Progress* progress) {
  std::vector<fs::path> folders;
  if (!request.models_folder.empty()) {
    folders = {fs::u8path(request.models_folder)};
  } else {
    folders = models_folders();
    if (!request.output.empty()) folders.push_back(fs::u8path(request.output) / "models");
  }
  const std::string found = found_in(folders, file);
  if (!found.empty()) return found;
  if (request.output.empty()) {
    throw_usage("evaluate: " + file + " is not in " + folders.front().string() +
                "; --models names the folder, and with -o DIR the network is trained there");
  }
  TrainRequest recipe = recipe_of(set, file);
  recipe.output = (fs::u8path(request.output) / "models" / file).string();
  const TrainResult trained = train(recipe, {}, progress);
  add_note(notes, file + " was not found and has been trained: test accuracy " +
                      number_text(std::round(trained.test_accuracy * 1e4) / 1e4));
  return recipe.output;
}

}  // namespace pellucid
