#pragma once

#include "harness.h"
#include "pellucid/graph.h"

namespace pellucid::bench {

/// Integrated Gradients with 50 points for one picture against 50 gradients of the same network in batches of ten,
/// without anything around them. What the method adds (two scores, the points, the weighted sum) should be within a
/// tenth.
void bench_integrated_gradients(const Graph& graph, const HarnessOptions& options);

}  // namespace pellucid::bench
