#pragma once

#include <memory>
#include <set>
#include <vector>

#include "graph/op.h"
#include "pellucid/network.h"

namespace pellucid {

/// One node to execute. `node` may be one that the planner made; its value ids may lie beyond those of the graph.
struct Step {
  const Op* op = nullptr;
  std::shared_ptr<const Node> node;
  std::vector<char> last_use;   ///< Per input: no later step reads the value and nobody asked for it.
  std::vector<ValueId> unused;  ///< Outputs that nothing reads.
  bool recorded = false;        ///< On a path from a `wrt` value to `until`.
};

/// What to execute for one kind of request: nodes in order, with constants resolved.
struct Plan {
  std::vector<Step> steps;
  size_t num_values = 0;          ///< Graph values and those the planner added.
  std::vector<Tensor> constants;  ///< By value id; undefined where the value is computed.
  std::vector<ValueId> kept;      ///< Values that outlive the pass.
  std::vector<char> wanted;       ///< By value id: some step reads it, or it is kept.
};

/// What decides a plan. Requests that agree in it share one.
struct PlanKey {
  std::vector<ValueId> keep;   ///< capture + until, sorted
  std::vector<ValueId> known;  ///< from
  std::vector<ValueId> edited;
  std::vector<ValueId> overridden;
  std::vector<ValueId> wrt;
  bool plain = false;  ///< Node by node as in the file.
  bool operator<(const PlanKey& other) const {
    return std::tie(keep, known, edited, overridden, wrt, plain) <
           std::tie(other.keep, other.known, other.edited, other.overridden, other.wrt, other.plain);
  }
};

/// Weights with a BatchNormalization folded into them, computed once for all plans: by the normalization's output where
/// it follows the linear node, by its output and the node's where it comes before.
struct FoldedWeights {
  Tensor weight, bias;
};
using FoldCache = std::map<std::pair<ValueId, ValueId>, FoldedWeights>;

/// `constants` are the network's weights on their device, by value id. Nothing the key names is optimized away.
/// The plan shares the graph, whose nodes it runs.
Plan make_plan(const std::shared_ptr<const Graph>& graph, const std::vector<Tensor>& constants, const PlanKey& key,
               FoldCache& folded, at::ScalarType promote, at::Device device);

/// Runs one operator and turns whatever it throws into an Error that names the node and the shapes it got.
TensorList call_op(const std::string& file, const Op& op, OpCall& call);

}  // namespace pellucid
