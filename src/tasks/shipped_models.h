#pragma once

#include <string>
#include <vector>

#include "pellucid/evaluate.h"

namespace pellucid {

/// The file of this name among the shipped networks: in ./models or where Pellucid is installed; empty when in neither.
std::string shipped_model(const std::string& file);

/// A network for pictures of a generated set: the shipped `file` in `request.models_folder`, ./models, or where
/// Pellucid is installed; trained into the output folder, as models/README.md says, when it is in none of them.
std::string shipped_model(const std::string& set, const std::string& file, const EvaluateRequest& request,
                          std::vector<std::string>& notes, Progress* progress);

}  // namespace pellucid
