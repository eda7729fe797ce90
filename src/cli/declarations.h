#pragma once

// How methods, metrics and whatever else declares a paper and parameters is printed.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid {

std::string paper_text(const Paper& paper);
nlohmann::ordered_json paper_json(const Paper& paper);
nlohmann::ordered_json parameters_json(const std::vector<ParamSpec>& params);
/// For the terminal; says so when there are none.
std::string parameters_table(const std::vector<ParamSpec>& params);
/// As a table of a page; empty when there are none.
std::string parameters_markdown(const std::vector<ParamSpec>& params);

}  // namespace pellucid
