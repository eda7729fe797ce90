#include "tasks/cam_layers.h"

#include <algorithm>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// A card that names a layer the model does not have is a wrong file, not a wrong request.
std::vector<ValueId> layers_named(const LayerTable& table, const std::string& name, bool from_card) {
  try {
    return table.find_all(name);
  } catch (const Error& e) {
    if (from_card) throw_invalid("card: default_layer: " + std::string(e.what()));
    throw;
  }
}

}  // namespace

std::vector<ValueId> cam_layers(const LayerTable& table, const ModelCard& card, const std::vector<std::string>& names,
                                std::vector<std::string>& notes) {
  const bool from_card = names.empty() && !card.default_layer.empty();
  const std::vector<std::string> wanted = !names.empty() ? names
                                          : from_card    ? std::vector<std::string>{card.default_layer}
                                                         : std::vector<std::string>{"auto"};
  std::string why = from_card ? "the card's default layer" : "--layer";
  std::vector<ValueId> layers;
  for (const std::string& name : wanted) {
    for (const ValueId id : layers_named(table, name, from_card)) {
      if (std::find(layers.begin(), layers.end(), id) == layers.end()) layers.push_back(id);
    }
    if (name == "auto") {
      why = table.shape(layers.back()).size() == 3 ? "the tokens that enter the last attention"
                                                   : "the last spatial map before pooling, after its activation";
    }
  }
  std::string list;
  for (const ValueId id : layers) {
    const LayerInfo& info = table.layer(id);
    list += (list.empty() ? "" : ", ") + printable(info.name) + " " + shape_text(at::IntArrayRef(info.shape).slice(1));
  }
  add_note(notes, "layer " + list + ": " + why);
  return layers;
}

void add_note(std::vector<std::string>& notes, const std::string& note) {
  if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
}

}  // namespace pellucid
