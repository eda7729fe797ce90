#pragma once

#include <functional>
#include <memory>
#include <string>

#include "graph/packed_convolution.h"
#include "pellucid/network.h"

namespace pellucid {

/// What rules compute from a network's weights (their positive part, their squares), kept between passes while there is
/// room, because for many layers making it takes as long as the layer itself. Safe to share between threads.
class WeightCache {
 public:
  WeightCache();
  ~WeightCache();

  /// `make(weight)`, which depends on nothing but the weight and what `name` says. Made anew when the weight was
  /// written to.
  Tensor get(const Tensor& weight, const std::string& name, const std::function<Tensor(const Tensor&)>& make) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a network keeps between passes for the nodes that run.
struct NodeCaches {
  WeightCache weights;
  PackedConvolutions packed;
};

}  // namespace pellucid
