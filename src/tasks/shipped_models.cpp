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

}  // namespace

std::string shipped_model(const std::string& file) { return found_in(models_folders(), file); }

std::string shipped_model(const EvaluationSuite::Part& part, const EvaluateRequest& request,
                          std::vector<std::string>& notes, Progress* progress) {
  std::vector<fs::path> folders;
  if (!request.models_folder.empty()) {
    folders = {fs::u8path(request.models_folder)};
  } else {
    folders = models_folders();
    if (!request.output.empty()) folders.push_back(fs::u8path(request.output) / "models");
  }
  const std::string found = found_in(folders, part.model);
  if (!found.empty()) return found;
  if (request.output.empty()) {
    throw_usage("evaluate: " + part.model + " is not in " + folders.front().string() +
                "; --models names the folder, and with -o DIR the network is trained there");
  }
  TrainRequest recipe;
  recipe.data = part.set;
  recipe.output = (fs::u8path(request.output) / "models" / part.model).string();
  const TrainResult trained = train(recipe, {}, progress);
  add_note(notes, part.model + " was not found and has been trained: test accuracy " +
                      number_text(std::round(trained.test_accuracy * 1e4) / 1e4));
  return recipe.output;
}

}  // namespace pellucid
