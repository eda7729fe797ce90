#include "tasks/second_models.h"

#include <algorithm>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "tasks/shipped_models.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// Empty when there is no such file.
std::string find_file(const std::string& name) {
  std::error_code ec;
  const fs::path path = fs::u8path(name);
  if (fs::is_regular_file(path, ec)) return name;
  return path.has_parent_path() ? std::string() : shipped_model(name);
}

/// A code is no picture, so there is no card that fits.
bool takes_pictures(const Graph& graph) {
  if (graph.inputs().size() != 1) return false;
  const GraphInput& input = graph.inputs().front();
  if (!input.has_shape) return true;
  if (input.shape.size() != 4) return false;
  const auto channels = [](int64_t n) { return n == 1 || n == 3 || n < 0; };
  return channels(input.shape[1]) || channels(input.shape[3]);
}

}  // namespace

const LoadedModel& SecondModels::get(const std::string& name) {
  const auto known = loaded_.find(name);
  if (known != loaded_.end()) return known->second;
  ModelOptions options;
  options.path = find_file(name);
  if (options.path.empty()) {
    throw_usage("no network '" + printable(name) + "': it is neither a file nor one of the shipped models");
  }
  options.device = options_.device;
  options.precision = options_.precision;
  Graph graph = load_onnx(options.path);
  if (takes_pictures(graph)) return loaded_.emplace(name, load_model(options)).first->second;
  NetworkOptions network;
  network.device = options.device;
  network.precision = options.precision;
  return loaded_.emplace(name, LoadedModel{options.path, Network(std::move(graph), network), card_from_preset("none")})
      .first->second;
}

std::map<std::string, SecondNetwork> SecondModels::networks(const Recipe& recipe) {
  std::map<std::string, SecondNetwork> found;
  for (const std::string& name : networks_of(recipe)) {
    const LoadedModel& model = get(name);
    found.emplace(name, SecondNetwork{model.network, model.card});
  }
  return found;
}

std::map<std::string, Tensor> SecondModels::tensors(const Recipe& recipe) {
  std::map<std::string, Tensor> found;
  for (const std::string& name : networks_of(recipe)) {
    fs::path beside = fs::u8path(get(name).path);
    beside.replace_extension(".range.npy");
    std::error_code ec;
    if (!fs::is_regular_file(beside, ec)) continue;
    const NpyArray array = read_npy(beside.string());
    found[name + ".range"] = at::tensor(array.floats(), at::kFloat).view(array.shape);
  }
  return found;
}

bool SecondModels::exist(const Recipe& recipe) {
  const std::vector<std::string> names = networks_of(recipe);
  return std::none_of(names.begin(), names.end(), [](const std::string& name) { return find_file(name).empty(); });
}

}  // namespace pellucid
