#pragma once

#include <string>

#include "pellucid/graph.h"

namespace pellucid::bench {

/// Steps of style transfer at 512x512 against as many plain passes forward and back through the same layers; then the
/// largest tensor memory by size, whole and in tiles.
void bench_style(const Graph& graph, const std::string& filter);

}  // namespace pellucid::bench
