#pragma once

#include <string>

#include "pellucid/tasks.h"

namespace pellucid {

/// What result.json holds: the request as far as it decides the result, and what came of it (docs/formats.md).
std::string explanation_json(const ExplainRequest& request, const ExplainResult& result, const LoadedModel& model);

}  // namespace pellucid
