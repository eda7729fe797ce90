#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pellucid/tasks.h"

namespace pellucid {

/// The card as JSON and back; docs/formats.md describes the fields. Unknown fields and wrong types throw
/// Error(kInvalidInput) naming the file and the field. A card may start from a preset and change some of it. One that
/// says nothing about the values of pixels (preset, scale, mean, std, channel_order) has `guess` for all that it leaves
/// out; the others have its layout and its labels.
nlohmann::ordered_json card_json(const ModelCard& card);
ModelCard card_from_json(const std::string& text, const std::string& name, const std::string& folder,
                         const ModelCard& guess = {});

void save_card(const ModelCard& card, const std::string& path);
/// Reads a card; `labels` may name a file beside it.
ModelCard load_card(const std::string& path, const ModelCard& guess = {});

/// JSON as one string; text that is no UTF-8 is replaced, numbers that are not finite become null.
std::string json_text(const nlohmann::ordered_json& json, int indent = 2);

nlohmann::ordered_json file_json(const UsedFile& file);
/// "float32", as users write it.
const char* precision_name(Precision p);

}  // namespace pellucid
