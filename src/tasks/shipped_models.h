#pragma once

#include <string>
#include <vector>

#include "pellucid/evaluate.h"

namespace pellucid {

/// The file of this name among the shipped networks: in ./models or where Pellucid is installed; empty when in neither.
std::string shipped_model(const std::string& file);

/// The network of a suite's part: in `request.models_folder`, ./models, or where Pellucid is installed; trained into
/// the output folder when it is in none of them.
std::string shipped_model(const EvaluationSuite::Part& part, const EvaluateRequest& request,
                          std::vector<std::string>& notes, Progress* progress);

}  // namespace pellucid
