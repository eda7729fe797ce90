#include "tasks/shipped_models.h"

#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// Where `cmake --install` puts models, seen from the program, and where they lie for one in build/PRESET/bin.
std::vector<fs::path> models_near_the_program() {
  std::error_code ec;
  const fs::path program = fs::read_symlink("/proc/self/exe", ec);
  if (ec) return {};
  const fs::path above = program.parent_path().parent_path();
  return {above / "share" / "pellucid" / "models", above.parent_path().parent_path() / "models"};
}

}  // namespace

std::string shipped_model(const EvaluationSuite::Part& part, const EvaluateRequest& request,
                          std::vector<std::string>& notes, Progress* progress) {
  std::vector<fs::path> folders;
  if (!request.models_folder.empty()) {
    folders = {fs::u8path(request.models_folder)};
  } else {
    folders = models_near_the_program();
    folders.insert(folders.begin(), fs::u8path("models"));
    if (!request.output.empty()) folders.push_back(fs::u8path(request.output) / "models");
  }
  std::error_code ec;
  for (const fs::path& folder : folders) {
    if (!folder.empty() && fs::is_regular_file(folder / part.model, ec)) return (folder / part.model).string();
  }
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
