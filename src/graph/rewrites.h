#pragma once

// Other graphs for the same function, by exact algebra on the weights; and graphs for functions made from the model's
// own. For axioms: two graphs of one function should be explained alike.

#include <string>
#include <vector>

#include "pellucid/graph.h"

namespace pellucid {

/// Value names are kept wherever the value is still computed; new ones begin with the old name. The outputs of the new
/// graph equal those of the old one but for rounding.
struct Rewrite {
  std::string name;  ///< "batch-norm-unfolded"
  Graph graph;
  int64_t changed = 0;  ///< Places that were rewritten; 0 leaves the graph as it is.
};

/// Every convolution becomes one without bias, scaled by powers of two per output channel, followed by a
/// BatchNormalization that undoes the scale and adds the bias.
Rewrite unfold_batch_norm(const Graph& graph);
/// Every BatchNormalization that alone reads a convolution is merged into its weights.
Rewrite fold_batch_norm(const Graph& graph);
/// Every ungrouped convolution with two or more output channels becomes two, joined by Concat.
Rewrite split_convolutions(const Graph& graph);
/// The channels between one layer and the next are put in another order, in the weights of both and in what stands
/// between them. Only where a chain of channel-wise operations leads from one to the other and nothing else reads it.
Rewrite permute_channels(const Graph& graph, uint64_t seed);
/// The channels between two layers are scaled by powers of two and the next weights divided by them; only across ReLU,
/// LeakyRelu, pooling, and other operations that commute with positive factors.
Rewrite rescale_channels(const Graph& graph, uint64_t seed);
/// The input x becomes c + relu(x - c) - relu(c - x), which is x.
Rewrite insert_rectifier_identity(const Graph& graph);
/// All of the above that change anything.
std::vector<Rewrite> exact_rewrites(const Graph& graph, uint64_t seed);

/// Every MaxPool becomes an AveragePool of the same windows that does not count what lies outside of the map. Another
/// function, for smoother pictures of texture and style (Gatys, Ecker, Bethge. NIPS 2015). Throws Error(kUsage) for one
/// with dilations or whose second output is used.
Graph with_average_pooling(const Graph& graph);
/// The model on the inside of pictures that have `border` more pixels on every side, which it cuts away.
Graph with_ignored_border(const Graph& graph, int64_t border, bool channels_first);
/// The model after subtracting `shift`, which broadcasts to the input.
Graph with_shifted_input(const Graph& graph, const Tensor& shift);
/// (f(x) + f(swapped x)) / 2 for the value `of`, where pixels i and j (flat, row-major) of an input of this size are
/// exchanged. The only output. The graph need not say the input's shape.
Graph symmetrized(const Graph& graph, ValueId of, int64_t i, int64_t j, int64_t height, int64_t width, int64_t channels,
                  bool channels_first);
/// `of` [N,K] with one class more: a times class t plus b times class u. Merged into the weights when a Gemm makes it;
/// the result is the only output.
Graph with_combined_class(const Graph& graph, ValueId of, int64_t num_classes, int64_t t, int64_t u, double a,
                          double b);
/// Every score s of `of` [N,K] cut off at `cap`: cap - relu(cap - s). The only output.
Graph with_capped_scores(const Graph& graph, ValueId of, double cap);

}  // namespace pellucid
