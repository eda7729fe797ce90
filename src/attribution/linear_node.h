#pragma once

#include "graph/op.h"
#include "pellucid/network.h"

namespace pellucid {

/// A Conv, ConvTranspose, Gemm or MatMul by a constant, as the linear map z = W a + b whose input, weight and bias can
/// be exchanged: what the rules of relevance propagation are written in. Padding counts as zeros whatever the input.
class LinearNode {
 public:
  /// Keeps references to what the walk shows; lives no longer than the rule's call.
  explicit LinearNode(const NodeBackward& backward);

  /// False for a product of two computed values (attention), which no rule can split.
  bool by_constant() const { return by_constant_; }

  const Tensor& input() const { return input_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< Undefined when the node has none.
  const Tensor& output() const { return output_; }

  /// W a + b with the map's geometry; `bias` may be undefined.
  Tensor forward(const Tensor& input, const Tensor& weight, const Tensor& bias = {}) const;
  /// W^T r: shaped like the input.
  Tensor transposed(const Tensor& weight, const Tensor& r) const;

  /// The same geometry with weights of one for a single output channel, when the map treats all output channels alike;
  /// otherwise undefined. [1,C,...] for Conv, [C,1,...] for ConvTranspose.
  Tensor single_channel_ones() const;
  /// Output channels lie along this axis.
  static constexpr int64_t kChannelAxis = 1;

  /// `relevance` as the value of input 0 or 1 that is not the weight, the others undefined.
  TensorList result(Tensor relevance) const;

 private:
  Tensor run(const TensorList& inputs) const;

  const NodeBackward& backward_;
  Node node_;  ///< With alpha and beta of Gemm multiplied into the weights, so that signs can be told apart.
  const Op* op_;
  size_t data_ = 0, weights_ = 1;
  bool by_constant_ = false;
  Tensor input_, weight_, bias_, output_;
};

}  // namespace pellucid
