#pragma once

#include "graph/op.h"
#include "graph/weight_cache.h"

namespace pellucid {

/// A Conv, ConvTranspose, Gemm or MatMul by a constant, as the linear map z = W a + b whose input, weight and bias can
/// be exchanged: what the rules of relevance propagation are written in. Padding counts as zeros whatever the input.
class LinearNode {
 public:
  /// Keeps references to what the walk shows; lives no longer than the rule's call.
  LinearNode(const NodeBackward& backward, const NodeCaches& caches);

  /// False for a product of two computed values (attention), which no rule can split.
  bool by_constant() const { return by_constant_; }

  const Tensor& input() const { return input_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< Undefined when the node has none.
  const Tensor& output() const { return output_; }

  /// `make` of the weight or of the bias (undefined when there is none), which the network keeps under `name`.
  using Make = std::function<Tensor(const Tensor&)>;
  Tensor of_weight(const std::string& name, const Make& make) const { return kept(weight_, name, make); }
  Tensor of_bias(const std::string& name, const Make& make) const { return kept(bias_, name, make); }

  /// W a + b with the map's geometry; `bias` may be undefined. Weight and bias are those of the node or were made by
  /// `of_weight` and `of_bias`: convolutions keep them in a layout of their own.
  Tensor forward(const Tensor& input, const Tensor& weight, const Tensor& bias = {}) const;
  /// W^T r: shaped like the input, or like `like` when the weights take another number of channels.
  Tensor transposed(const Tensor& weight, const Tensor& r, const Tensor& like = {}) const;

  /// Whether inputs and weights joined along axis 1, the input channels of both, make the sum of their maps.
  bool adds_channels() const { return node_.op == "Conv" && node_.integer("group", 1) == 1; }

  /// The same geometry with weights of one for a single output channel, when the map treats all output channels alike;
  /// otherwise undefined. [1,C,...] for Conv, [C,1,...] for ConvTranspose.
  Tensor single_channel_ones() const;
  /// Output channels lie along this axis.
  static constexpr int64_t kChannelAxis = 1;

  /// `relevance` as the value of input 0 or 1 that is not the weight, the others undefined.
  TensorList result(Tensor relevance) const;

 private:
  Tensor run(const TensorList& inputs, bool packs) const;
  Tensor kept(const Tensor& t, const std::string& name, const Make& make) const;

  const NodeBackward& backward_;
  const NodeCaches& caches_;
  Node node_;  ///< With alpha and beta of Gemm multiplied into the weights, so that signs can be told apart.
  const Op* op_;
  size_t data_ = 0, weights_ = 1;
  bool by_constant_ = false;
  bool scaled_ = false;  ///< Weight and bias are copies made for this call.
  Tensor input_, weight_, bias_, output_;
};

}  // namespace pellucid
