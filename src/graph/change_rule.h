#pragma once

// How the nodes of a network pass a change of part of their input on.

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "graph/reach.h"
#include "pellucid/graph.h"

namespace pellucid {

/// How a node passes a change on.
enum class ChangeKind {
  kUnknown,     ///< Everything behind it may change.
  kPointwise,   ///< Each position for itself.
  kSliding,     ///< Conv, pooling, padding.
  kGlobalMean,  ///< From the clean sum and the difference.
  kFlatten,     ///< [N,C,H,W] -> [N,C*H*W]
  kDense        ///< Linear in a flattened map: the clean result and the difference.
};

struct ChangeRule {
  ChangeKind kind = ChangeKind::kUnknown;
  std::array<Sliding, 2> sliding;    ///< Rows, columns.
  std::shared_ptr<const Node> node;  ///< Without padding of its own, for kSliding.
  double padding = 0;
  std::array<std::vector<double>, 2> scale;  ///< AveragePool: window size over counted positions, by output.
  double multiplications = 0;                ///< Of the clean pass.
};

/// What a node does, from a pass with whole inputs `in` and the first result `out`. `is_computed` tells values that
/// depend on the picture from constants.
ChangeRule change_rule(const Node& node, const TensorList& in, const Tensor& out,
                       const std::function<bool(ValueId)>& is_computed);

}  // namespace pellucid
