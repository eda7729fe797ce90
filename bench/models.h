#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pellucid/graph.h"

namespace pellucid::bench {

/// Well-known architectures with random weights: the time a network takes does not depend on what it has learned.
/// BatchNormalization is there as exporters leave it, with statistics other than 0 and 1. Input [N,3,224,224] -> logits
/// [N,1000].
Graph mobilenet_v2(uint64_t seed = 1);
Graph resnet18(uint64_t seed = 1);
Graph resnet50(uint64_t seed = 1);
Graph vgg16(uint64_t seed = 1);
Graph squeezenet1_1(uint64_t seed = 1);

}  // namespace pellucid::bench
