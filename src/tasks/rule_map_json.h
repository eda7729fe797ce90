#pragma once

#include <string>

#include "pellucid/attribution.h"

namespace pellucid {

/// A rule map as JSON (docs/formats.md) in the notation of `parse_rule_lines`. Throws Error(kInvalidInput) that begins
/// with `name` and says which rule is wrong.
std::string rule_lines_from_json(const std::string& text, const std::string& name);

/// Where a parameter `composite` names a file (*.json), its rules take the name's place, so that the method's text
/// holds everything and round-trips.
void read_rule_map(MethodCall& call);

}  // namespace pellucid
