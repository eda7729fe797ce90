#include "tasks/texture_terms.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "graph/op.h"
#include "graph/rewrites.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "tasks/picture_reader.h"
#include "tasks/shipped_models.h"

namespace pellucid {

namespace {

constexpr size_t kMostLayers = 5;
/// Pixels between the positions of a last map that still is a texture's.
constexpr double kCoarsest = 16;
constexpr const char* kShippedName = "texture-encoder";
constexpr const char* kShippedFile = "texture_encoder.onnx";

/// Padding that a file writes as a layer of its own is none.
bool is_map(const LayerInfo& layer) {
  return layer.shape.size() == 4 && layer.shape[2] > 1 && layer.shape[3] > 1 && layer.op != "Pad";
}

bool is_rectified(const LayerInfo& layer, const Graph& graph) {
  const Node* node = graph.producer_of(layer.value);
  return node && role_of(*node) == OpRole::kRectifier;
}

}  // namespace

bool is_picture_argument(const std::string& argument) {
  std::error_code ec;
  return named_like_input(argument) || argument.find_first_of("*?") != std::string::npos ||
         std::filesystem::is_directory(std::filesystem::u8path(argument), ec);
}

LoadedModel load_texture_model(const ModelOptions& options, const TextureTerms& terms) {
  ModelOptions where = options;
  std::error_code ec;
  if (options.path.empty() || (options.path == kShippedName && !std::filesystem::exists(options.path, ec))) {
    where.path = shipped_model(kShippedFile);
    if (where.path.empty()) {
      throw_usage(std::string(kShippedFile) + " is neither in ./models nor installed; name a model file");
    }
  }
  LoadedModel model = load_model(where);
  if (!terms.average_pooling) return model;
  model.card.notes.emplace_back("average pooling in place of max pooling");
  return {model.path, Network(with_average_pooling(model.network.graph()), model.network.options()),
          std::move(model.card)};
}

std::vector<std::string> texture_layers(const LayerTable& table, const Graph& graph) {
  std::vector<const LayerInfo*> chosen;
  const LayerInfo* last = nullptr;
  for (const LayerInfo& layer : table.layers()) {
    if (!is_map(layer)) continue;
    if (chosen.empty() && is_rectified(layer, graph)) chosen.push_back(&layer);
    if (last && !chosen.empty() && layer.shape[2] < last->shape[2] && last != chosen.back()) chosen.push_back(last);
    last = &layer;
  }
  const double height = static_cast<double>(table.input_shape()[2]);
  if (last && height / static_cast<double>(last->shape[2]) <= kCoarsest && (chosen.empty() || last != chosen.back())) {
    chosen.push_back(last);
  }
  if (!last) throw_usage(printable(graph.name) + ": has no convolutional layers; name layers (--layers)");
  if (chosen.empty()) chosen.push_back(last);
  if (chosen.size() > kMostLayers) chosen.resize(kMostLayers);
  std::vector<std::string> names;
  for (const LayerInfo* layer : chosen) names.push_back(layer->name);
  return names;
}

std::vector<std::string> chosen_layers(const std::vector<std::string>& given, const LayerTable& layers,
                                       const Graph& graph) {
  if (given.empty()) return texture_layers(layers, graph);
  std::vector<std::string> names;
  for (const std::string& name : given) names.push_back(layers.layer(layers.find(name)).name);
  return names;
}

std::string unseen_layer(const std::vector<std::string>& used, const LayerTable& layers, const Graph& graph) {
  std::vector<std::string> others;
  bool between = false;
  for (const LayerInfo& layer : layers.layers()) {
    if (layer.name == used.back()) break;
    if (between && is_map(layer) && is_rectified(layer, graph) &&
        std::find(used.begin(), used.end(), layer.name) == used.end()) {
      others.push_back(layer.name);
    }
    if (layer.name == used.front()) between = true;
  }
  return others.empty() ? std::string() : others[others.size() / 2];
}

std::string layer_with_jump(const LayerTable& layers, double pixels) {
  std::string name;
  const double height = static_cast<double>(layers.input_shape()[2]);
  for (const LayerInfo& layer : layers.layers()) {
    if (is_map(layer) && height / static_cast<double>(layer.shape[2]) <= pixels * 1.1) name = layer.name;
  }
  if (name.empty()) throw_usage("no layer suits as content; name one (--content-layer)");
  return name;
}

std::vector<WeightedPart> texture_objectives_of(const TextureTerms& terms, const std::vector<std::string>& layers,
                                                double weight, const std::string& more) {
  if (!terms.layer_weights.empty() && terms.layer_weights.size() != layers.size()) {
    throw_usage(std::to_string(terms.layer_weights.size()) + " layer weights for " + std::to_string(layers.size()) +
                " layers (" + join(layers, ", ") + ")");
  }
  double sum = 0;
  for (size_t i = 0; i < layers.size(); ++i) sum += terms.layer_weights.empty() ? 1 : terms.layer_weights[i];
  if (!(sum > 0)) throw_usage("the layer weights must have a positive sum");
  std::vector<WeightedPart> parts;
  for (size_t i = 0; i < layers.size(); ++i) {
    const double share = (terms.layer_weights.empty() ? 1 : terms.layer_weights[i]) / sum;
    const std::string rescale = terms.rescale == "none" ? "" : ",rescale=" + terms.rescale;
    parts.push_back({weight * share, terms.statistics + ":layer=" + layers[i] + more + rescale});
  }
  return parts;
}

bool from_file(const MakeOptions& options) { return std::filesystem::u8path(options.recipe).extension() == ".json"; }

void set_scales(Recipe& recipe, int64_t scales, int64_t steps) {
  if (scales < 2 || recipe.stages.size() != 1) return;
  const double share = 1.0 / (1 + static_cast<double>(scales - 1) / 2);
  const RecipeStage only = recipe.stages.front();
  const double first = steps > 0 ? static_cast<double>(steps) * share : static_cast<double>(only.steps);
  recipe.stages.assign(static_cast<size_t>(scales), only);
  int64_t rest = steps;
  for (size_t s = 0; s < recipe.stages.size(); ++s) {
    RecipeStage& stage = recipe.stages[s];
    stage.scale = s == 0 ? 1 : 2;
    stage.steps = std::llround(s == 0 ? first : first / 2);
    if (steps > 0) {
      stage.steps = s + 1 == recipe.stages.size() ? rest : std::min(rest, stage.steps);
      rest -= stage.steps;
    }
  }
}

}  // namespace pellucid
