#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pellucid/synthesis.h"

namespace pellucid {

/// A recipe as JSON (docs/formats.md) and back. Fields that are missing keep their defaults; unknown ones and wrong
/// types throw Error(kInvalidInput) that begins with `name`.
nlohmann::ordered_json recipe_json(const Recipe& recipe);
Recipe recipe_from_json(const nlohmann::ordered_json& json, const std::string& name);
/// The recipe of a file, or those of the pictures of a result.json.
std::vector<Recipe> recipes_from_text(const std::string& text, const std::string& name);

}  // namespace pellucid
