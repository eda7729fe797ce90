#pragma once

#include <vector>

#include "pellucid/graph.h"

namespace pellucid::bench {

/// What a careful user of LibTorch would write for a convolutional classifier: one at:: call per node in the file's
/// order, BatchNormalization folded into the convolutions beforehand, channels-last memory, activations in place. No
/// code of the engine. Knows the operators of the models in this folder; any other throws std::runtime_error.
class EagerNetwork {
 public:
  explicit EagerNetwork(const Graph& graph);

  /// The first output. Follows the caller's autograd mode; weights never require gradients.
  Tensor forward(const Tensor& input) const;

  /// d(sum of seed * output) / d(input) by LibTorch's autograd over the whole graph.
  Tensor gradient(const Tensor& input, const Tensor& seed) const;

 private:
  struct Step {
    const Node* node = nullptr;
    Tensor weight, bias;
    bool in_place = false;  ///< Its first input is read by nobody else.
    double low = 0, high = 0;
    std::vector<size_t> last_reads;  ///< Values nobody needs afterwards.
  };
  Tensor apply(const Step& step, std::vector<Tensor>& values) const;

  size_t slot(ValueId id) const { return static_cast<size_t>(replaced_[static_cast<size_t>(id)]); }

  Graph graph_;
  std::vector<Step> steps_;
  std::vector<ValueId> replaced_;  ///< Value -> the value that stands for it after folding.
};

}  // namespace pellucid::bench
