#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pellucid/attacks.h"

namespace pellucid {

/// How result.json of every kind of attack begins.
nlohmann::ordered_json attack_heading(const std::string& kind, const AttackRequest& request, const LoadedModel& model,
                                      const std::vector<std::string>& notes);

/// The sheet and result.json; fills in the names of the files and the JSON.
void write_attack(AttackResult& result, const AttackRequest& request, const LoadedModel& model);

/// "12.3 %".
std::string percent_text(double share);

}  // namespace pellucid
