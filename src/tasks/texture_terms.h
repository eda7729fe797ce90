#pragma once

#include <string>
#include <vector>

#include "pellucid/style.h"
#include "tasks/picture_maker.h"

namespace pellucid {

/// The model of both verbs: "texture-encoder", or no path, is the one that is shipped.
LoadedModel load_texture_model(const ModelOptions& options, const TextureTerms& terms);

/// Layers that stand for textures from fine to coarse: the first rectified one and the last before each change of
/// resolution, up to five. Throws Error(kUsage) for networks without maps.
std::vector<std::string> texture_layers(const LayerTable& layers, const Graph& graph);
/// The names that the user gave, each looked up, or those above.
std::vector<std::string> chosen_layers(const std::vector<std::string>& given, const LayerTable& layers,
                                       const Graph& graph);
/// A rectified layer inside of the network that is none of these, or empty.
std::string unseen_layer(const std::vector<std::string>& used, const LayerTable& layers, const Graph& graph);
/// The last layer whose positions are at most this many pixels apart.
std::string layer_with_jump(const LayerTable& layers, double pixels);

/// One objective for each layer; their weights add up to `weight`. `more` is appended to each part (",scale=0.5").
std::vector<WeightedPart> texture_objectives_of(const TextureTerms& terms, const std::vector<std::string>& layers,
                                                double weight, const std::string& more);

/// Whether the user named a file with a recipe, whose stages stay as they are.
bool from_file(const MakeOptions& options);
/// Makes a recipe of one stage one of several, each at twice the size of the one before. Later stages have half the
/// steps of the first; with `steps` > 0 that is the sum of all.
void set_scales(Recipe& recipe, int64_t scales, int64_t steps);

}  // namespace pellucid
