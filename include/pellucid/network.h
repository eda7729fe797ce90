#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pellucid/graph.h"
#include "pellucid/progress.h"

namespace pellucid {

class Tape;
struct Plan;

enum class Precision {
  kFloat32,   ///< Weights and inputs as float32, whatever the file stores.
  kFloat64,   ///< Everything in float64: for analytic tests and for telling rounding from error.
  kBFloat16,  ///< Weights and inputs as bfloat16: half the memory; for devices that are fast in it.
  kAsStored   ///< No conversion: each tensor keeps the element type of the file.
};

struct NetworkOptions {
  std::string device = "cpu";  ///< "cpu", "cuda" or "cuda:N".
  Precision precision = Precision::kFloat32;
  bool optimize = true;  ///< Fold BatchNorm, fuse activations, channels-last memory. Off: node by node as in the file.
};

/// Changes a value on the way through the network: receives it, returns what later nodes see (same shape).
using Edit = std::function<Tensor(const Tensor&)>;

/// What one pass should do. Values are named by id.
struct Request {
  std::vector<ValueId> capture;         ///< Values to return. Nodes that none of them needs are not run.
  std::map<ValueId, Tensor> from;       ///< Values already known; what only they need is not run.
  std::map<ValueId, Edit> edit;         ///< Ablation, clamping, style changes.
  std::map<ValueId, Tensor> constants;  ///< Weights that replace the network's own for this pass.
};

using Values = std::map<ValueId, Tensor>;

/// How run_with_autograd treats layers that behave differently in training.
struct TrainingMode {
  bool enabled = false;
  Values* batch_statistics = nullptr;  ///< Receives new running means and variances, by the ids of the old ones.
};

struct NodeBackward;

/// What a backward rule returns: one tensor per node input, undefined where nothing flows.
using BackwardRule = std::function<TensorList(const NodeBackward&)>;

/// The same node in another recorded pass, for rules that compare two inputs.
struct NodeReference {
  const TensorList& inputs;
  const TensorList& outputs;
  std::function<TensorList(const TensorList&)> vjp;
};

/// One node in the backward walk, as a rule sees it.
struct NodeBackward {
  const Node& node;
  const TensorList& inputs;         ///< Forward inputs; weights included.
  const TensorList& outputs;        ///< Forward outputs.
  const TensorList& grads;          ///< What arrived at each output; undefined where nothing did.
  const std::vector<bool>& needed;  ///< Inputs on a path to a value asked for.
  /// The node's own vector-Jacobian product applied to other output gradients.
  std::function<TensorList(const TensorList&)> vjp;
  const NodeReference* reference = nullptr;  ///< When the walk was given a second tape.
};

/// Which nodes a rule governs. Rules are data: tried in order, first match wins, the rest keep their own VJP.
struct RuleEntry {
  std::string name;  ///< For reports: "guided-backprop".
  std::function<bool(const Node&)> matches;
  BackwardRule rule;
};
using RuleMap = std::vector<RuleEntry>;

struct Gradients {
  Values values;                             ///< d<seed, value>/d(wrt) for each wrt; undefined where no path exists.
  std::map<std::string, int64_t> rule_uses;  ///< Rule name -> nodes it governed.
};

/// A graph with its weights on a device. Does not change once built and may be shared between threads.
class Network {
 public:
  explicit Network(Graph graph, NetworkOptions options = {});
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  const Graph& graph() const;
  const NetworkOptions& options() const;
  at::Device device() const;
  /// Element type activations have: that of `precision`, or float32 when as stored.
  at::ScalarType dtype() const;

  /// Runs forward without gradients. `inputs` follow graph().inputs(); an entry may be undefined when `request.from`
  /// makes it unnecessary. Real numbers for an input of integers are rounded into its range. Throws Error naming the
  /// node when an operator cannot work on what reaches it.
  Values run(const TensorList& inputs, const Request& request, const Progress* progress = nullptr) const;

  /// The graph's outputs for one input.
  TensorList run(const Tensor& input) const;

  /// The shape of every value for inputs of these shapes, by value id, found by running on zeros; {-1} for values that
  /// the outputs do not need. `integers` receives the short lists of integers on the way: shapes, axes, pads.
  std::vector<Shape> shapes(const std::vector<Shape>& inputs, const Progress* progress = nullptr,
                            Values* integers = nullptr) const;

  /// Runs forward to `until` and keeps what is needed to walk back to `wrt`. Everything before `wrt` runs without
  /// record. `request.capture` are further values to keep for Tape::value; `request.edit` may name only values that do
  /// not depend on `wrt`. With `keep_all` every intermediate value is kept and nothing is fused with its activation,
  /// for rules that look at the values themselves.
  struct RecordRequest {
    std::vector<ValueId> until;
    std::vector<ValueId> wrt;
    Request request;
    bool keep_all = false;
  };
  Tape record(const TensorList& inputs, const RecordRequest& what, const Progress* progress = nullptr) const;

  /// Runs forward under LibTorch's own autograd as one graph: for objectives that combine many values, and for
  /// training. Leaves that require gradients may be inputs, `request.from` values or `request.constants`. With
  /// `training.enabled`, BatchNormalization uses batch statistics and Dropout drops.
  Values run_with_autograd(const TensorList& inputs, const Request& request, TrainingMode training = {}) const;

  /// Whether a batch gives each image the answer it would get alone. Models exported with a fixed batch, or with a
  /// number where the batch should be in a Reshape, may not; those are run with one image at a time. Decided once, on
  /// first use.
  bool batches_safely(const Progress* progress = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  friend class Tape;
  friend class IncrementalPasses;
};

/// What one recorded pass left behind. Nothing of it stays in the network, which it may outlive. May be walked any
/// number of times.
class Tape {
 public:
  Tape(Tape&&) noexcept;
  Tape& operator=(Tape&&) noexcept;
  ~Tape();

  /// The forward value of `until`, `wrt` or a captured value; as it was computed, never overwritten.
  const Tensor& value(ValueId id) const;

  /// One reverse walk from `seeds` (same shape as the values) to `wrt`, asking `rules` at each node. `reference` is
  /// another pass of the same network and request, whose values the rules then see beside these.
  Gradients backward(const Values& seeds, const std::vector<ValueId>& wrt, const RuleMap& rules = {},
                     const Tape* reference = nullptr) const;

 private:
  friend class Network;
  struct Impl;
  explicit Tape(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pellucid
