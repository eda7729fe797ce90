#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "graph/plan.h"
#include "graph/weight_cache.h"

namespace pellucid {

/// One recorded node: what its VJP and the rules may ask for.
struct Record {
  const Op* op = nullptr;  ///< Null for a user's edit.
  std::shared_ptr<const Node> node;
  TensorList inputs, outputs;  ///< Undefined where the VJP does not read them and nobody asked to keep all.
  TensorList saved;
  std::vector<Shape> in_shapes;
  bool island = false;  ///< `inputs` are leaves and `outputs` end a small autograd graph.
};

enum class Mode { kInference, kRecord, kAutograd };

struct Network::Impl {
  Impl(Graph g, NetworkOptions o);

  std::shared_ptr<const Plan> plan_for(const PlanKey& key) const;
  PlanKey key_for(const Request& request, std::vector<ValueId> until, std::vector<ValueId> wrt, bool plain) const;

  struct Pass {
    Mode mode = Mode::kInference;
    bool keep_all = false;
    TrainingMode training;
    std::vector<Record>* records = nullptr;
    const Progress* progress = nullptr;
    std::vector<Shape>* shapes = nullptr;
    Values* integers = nullptr;  ///< Receives short lists of integers.
  };
  /// The kept values of `plan`, by id.
  Values execute(const Plan& plan, const TensorList& inputs, const Request& request, const Pass& pass) const;

  Tensor prepared(const Tensor& t) const;  ///< On the device, in the dtype and memory format of the network.
  /// The same for what is given as an input of the graph, of the type that it declares.
  Tensor entering(const GraphInput& declared, const Tensor& t) const;
  /// Whether a node fixes the size of the batch by a constant.
  bool fixes_batch() const;
  /// Whether the second of two random images gets the answer that it gets alone.
  bool proves_batches(const Progress* progress) const;

  const std::shared_ptr<const Graph> shared_graph;  ///< Tapes and plans hold its nodes.
  const Graph& graph;
  NetworkOptions options;
  at::Device device = at::kCPU;
  at::ScalarType promote = at::ScalarType::Undefined;
  bool channels_last = false;
  std::vector<Tensor> constants;

  mutable std::mutex mutex;
  mutable std::map<PlanKey, std::shared_ptr<const Plan>> plans;
  mutable FoldCache folded;
  NodeCaches caches;
  mutable std::optional<bool> batches_safely;
};

struct Tape::Impl {
  std::string file;
  std::vector<Record> records;
  Values values;
};

}  // namespace pellucid
