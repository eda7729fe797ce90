#pragma once

#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {

/// Two activation maps, global average pooling and a linear layer, small enough for paper:
///   A_1 = [[1,0],[2,1]], A_2 = [[0,3],[1,0]], W = [[2,-1],[1,1]], b = (0.5,-0.25)
/// Means F = (1,1), so the logits are (1.5, 1.75). For class t, dS/dA_k = W_tk / 4 at every position.
/// The input is the activation; a 1x1 identity convolution makes it a layer, "A".
inline Explainer two_maps() {
  LayerBuilder b(1, {-1, 2, 2, 2});
  b.conv_with("A", "x", at::eye(2, at::TensorOptions(at::kDouble)).view({2, 2, 1, 1}));
  Graph graph = b.head_with("A", doubles({2, -1, 1, 1}, {2, 2}), doubles({0.5, -0.25}, {2}));
  return Explainer(std::move(graph), doubles({1, 0, 2, 1, 0, 3, 1, 0}, {1, 2, 2, 2}));
}

inline Tensor map2x2(double a, double b, double c, double d) { return doubles({a, b, c, d}, {1, 2, 2}); }

}  // namespace pellucid::test
