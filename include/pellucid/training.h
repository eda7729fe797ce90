#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pellucid/network.h"
#include "pellucid/progress.h"

namespace pellucid {

/// A residual network with BatchNormalization and global average pooling for [N,3,size,size] pictures, after He, Zhang,
/// Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016: a 3x3 stem of stride 2, one residual block per
/// entry of `widths` (stride 2 whenever the width changes), global average pooling, one linear layer. Weights are drawn
/// as in He et al., ICCV 2015, from `seed`. Values are named stem.relu, block1.add, block1.relu, ..., pool, logits.
struct ResidualNetworkOptions {
  int64_t num_classes = 6;
  int64_t input_size = 128;
  std::vector<int64_t> widths{16, 32, 64, 64};
  uint64_t seed = 1;
};
Graph make_residual_network(const ResidualNetworkOptions& options);

/// A network in the manner of Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
/// Recognition", ICLR 2015, for [N,3,H,W] pictures of any size of at least 2^stages pixels: per entry of `widths` a
/// stage of two 3x3 convolutions with reflected borders, BatchNormalization and ReLU, average pooling by two between
/// stages, global average pooling, one linear layer. Values are named conv1_1, conv1_1.relu, conv1_2, ..., pool1,
/// conv2_1, ..., pool, logits.
struct VggNetworkOptions {
  int64_t num_classes = 6;
  std::vector<int64_t> widths{16, 32, 64, 128};
  uint64_t seed = 1;
};
Graph make_vgg_network(const VggNetworkOptions& options);

/// The same function without BatchNormalization: each is multiplied into the convolution before it. Throws
/// Error(kUsage) when one cannot be.
Graph with_folded_batch_norms(const Graph& graph);

/// The same function, with the weights of a chain of convolutions, ReLUs and poolings scaled so that every channel
/// after a ReLU has mean activation one over the batches inputs(0) to inputs(count - 1); the last linear layer undoes
/// it. Channels that never fire stay as they are. After Gatys, Ecker, Bethge, "Texture Synthesis Using Convolutional
/// Neural Networks", NIPS 2015: layers then weigh about the same in losses on features. Throws Error(kUsage) for graphs
/// with other operators.
Graph with_unit_mean_activations(const Graph& graph, const std::function<Tensor(int64_t)>& inputs, int64_t count);

struct TrainingOptions {
  int64_t epochs = 6;
  int64_t batch_size = 32;
  double learning_rate = 0.05;  ///< Largest; warmed up over the first 5 % of the steps, then a cosine down to zero.
  double momentum = 0.9;        ///< Nesterov's.
  double weight_decay = 5e-4;   ///< On weights of two and more dimensions only.
};

/// One batch: input [N,C,H,W] as the network takes it, labels int64 [N].
struct TrainingBatch {
  Tensor input;
  Tensor labels;
};
/// Batch `step` of `epoch`, a pure function of both, so that a resumed run sees the same data.
using BatchSource = std::function<TrainingBatch(int64_t epoch, int64_t step)>;

/// Trains any graph that ends in logits as a classifier with stochastic gradient descent and cross-entropy. All
/// floating-point initializers but the running statistics of BatchNormalization are trained.
class Trainer {
 public:
  Trainer(Graph graph, TrainingOptions options);
  ~Trainer();

  /// Goes on where `path` left off, when the file exists and was written by `save` for the same graph. Returns whether
  /// it did. Throws Error(kInvalidInput) for another graph.
  bool resume(const std::string& path);

  struct EpochReport {
    int64_t epoch = 0;
    double loss = 0;      ///< Mean over the epoch's batches.
    double accuracy = 0;  ///< On the training batches as they came.
    double seconds = 0;
  };
  /// Runs the epoch after the last one done. Throws Error(kFailed) when the loss stops being finite.
  EpochReport train_epoch(const BatchSource& batches, int64_t steps_per_epoch, Progress* progress = nullptr);

  int64_t epochs_done() const;
  /// The graph with the weights of now.
  Graph graph() const;
  /// Everything needed to resume, as one ONNX file (momentum as unused initializers), written atomically.
  void save(const std::string& path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Share of correct answers of a classifier over `num_batches` batches of epoch 0.
double accuracy(const Network& network, const BatchSource& batches, int64_t num_batches);

}  // namespace pellucid
