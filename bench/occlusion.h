#pragma once

#include <string>

#include "pellucid/graph.h"

namespace pellucid::bench {

/// Occlusion of one picture at 224x224 with and without recomputation of what a patch cannot reach, for patches of 16
/// and 32 pixels and a stride of 8, where `filter` occurs in the task's name. Prints seconds, the factor between them,
/// that of the multiplications, and the memory that the incremental run took on top.
void bench_occlusion(const Graph& graph, const std::string& filter);

}  // namespace pellucid::bench
