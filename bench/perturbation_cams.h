#pragma once

#include <cstdint>
#include <string>

#include "harness.h"
#include "pellucid/graph.h"

namespace pellucid::bench {

/// Ablation-CAM and ReciproCAM, which start from the cached layer, and Score-CAM, which cannot, against one whole
/// forward pass per channel or position in batches of the same size; the results are compared first.
void bench_perturbation_cams(const Graph& graph, const std::string& filter, const HarnessOptions& options);

}  // namespace pellucid::bench
