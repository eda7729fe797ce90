#pragma once

#include <string>

#include "harness.h"
#include "pellucid/graph.h"

namespace pellucid::bench {

/// 512 steps of a recipe for a class at 224 pixels against as many plain forward and backward passes: the pixels, the
/// decorrelated spectrum, and the spectrum with random transformations (whose pictures are a little larger).
void bench_synthesis(const Graph& graph, int64_t batch, const std::string& filter);

/// The largest resident set of `pellucid dream` on a photo enlarged to several sizes, with and without parts.
void bench_synthesis_memory(const std::string& program, const std::string& model, const std::string& photo,
                            const std::string& filter);

}  // namespace pellucid::bench
