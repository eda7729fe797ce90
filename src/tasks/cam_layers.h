#pragma once

#include <string>
#include <vector>

#include "pellucid/model.h"

namespace pellucid {

/// The layers that class activation maps use: those named, or the card's, or `auto`; each once. Adds to `notes` which
/// they are and why. Throws Error(kUsage) for a name that fits nothing, Error(kInvalidInput) when it is the card's.
std::vector<ValueId> cam_layers(const LayerTable& table, const ModelCard& card, const std::vector<std::string>& names,
                                std::vector<std::string>& notes);

/// Appends a note unless it is there already.
void add_note(std::vector<std::string>& notes, const std::string& note);

}  // namespace pellucid
