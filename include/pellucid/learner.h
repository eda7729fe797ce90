#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pellucid/network.h"
#include "pellucid/progress.h"

namespace pellucid {

struct LearnerOptions {
  enum class Optimizer {
    kSgd,  ///< With Nesterov's momentum.
    kAdam  ///< Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
  };
  Optimizer optimizer = Optimizer::kSgd;
  double momentum = 0.9;    ///< Of SGD.
  double weight_decay = 0;  ///< Added to the gradient of weights of two and more dimensions.
  double beta1 = 0.9;       ///< Of Adam, as the next two.
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Gradients longer than this, of all weights together, are shortened to it; 0: none are. Pascanu, Mikolov, Bengio.
  /// "On the difficulty of training recurrent neural networks". ICML 2013.
  double longest_gradient = 0;
  /// Initializers that stay as they are, by name; empty: none. Running statistics are never trained.
  std::function<bool(const std::string& name)> frozen;
};

/// A graph whose weights move: what every training program shares, whatever its loss. Floating-point initializers are
/// trained. Each step: `forward`, a scalar loss of what it returned, `step`.
class Learner {
 public:
  Learner(Graph graph, LearnerOptions options);
  ~Learner();

  const Network& network() const;

  /// Values under LibTorch's autograd, with BatchNormalization in training mode; its new running statistics are kept.
  /// Inputs may require gradients.
  Values forward(const TensorList& inputs, const std::vector<ValueId>& capture);
  /// One step against the gradient of `loss`. Weights that it does not depend on do not move. Throws Error(kFailed)
  /// when the loss is not finite, and leaves the weights as they were.
  void step(const Tensor& loss, double rate);
  int64_t steps() const;

  /// The graph with the weights of now.
  Graph graph() const;
  /// Everything needed to go on, as one ONNX file (the optimizer's memory as unused initializers, `metadata` beside the
  /// model's own), written atomically.
  void save(const std::string& path, const std::map<std::string, std::string>& metadata = {}) const;
  /// Goes on where `path` left off, when the file exists; returns its metadata, or nothing when there is no file.
  /// Throws Error(kInvalidInput) for what is no checkpoint of the same graph.
  std::map<std::string, std::string> resume(const std::string& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The rate of step `step` (from 0) of `total`: up to `largest` over the first 5 %, then a cosine down to zero.
double warmed_cosine(double largest, int64_t step, int64_t total);

struct StepsOptions {
  int64_t steps = 1000;
  double rate = 1e-3;          ///< Largest; see warmed_cosine.
  int64_t report_every = 100;  ///< Steps; also from one checkpoint to the next.
  std::string checkpoint;      ///< A file to go on from and to write to; empty: none. The caller removes it.
};
struct StepsReport {
  int64_t step = 0;    ///< Done so far.
  double loss = 0;     ///< Mean since the report before.
  double seconds = 0;  ///< Since then.
};
/// Steps of a learner against `loss(step)`, which is called for each and may depend on nothing but the weights and the
/// number, so that an interrupted run goes on as if it had not been. Returns the number of steps that a checkpoint had
/// done before.
int64_t train_steps(Learner& learner, const StepsOptions& options, const std::function<Tensor(int64_t step)>& loss,
                    const std::function<void(const StepsReport&)>& report = {}, Progress* progress = nullptr);

}  // namespace pellucid
