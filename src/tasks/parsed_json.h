#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace pellucid {

/// The JSON of a file that a user wrote, in its order. Throws Error(kInvalidInput) that begins with `name` and names
/// the place for what is no JSON, nests deeper than `max_depth`, or names a field of one object twice; `kind` says what
/// the file should be ("a card").
nlohmann::ordered_json parsed_json(const std::string& text, const std::string& name, const std::string& kind,
                                   int max_depth);

}  // namespace pellucid
