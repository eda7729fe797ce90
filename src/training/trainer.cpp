#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "pellucid/training.h"

namespace pellucid {

namespace {

const char* const kMomentumPrefix = "momentum/";
const char* const kEpochKey = "pellucid.epochs_done";

/// Initializers that gradient descent changes, and running statistics that it does not.
std::vector<ValueId> trained_values(const Graph& graph) {
  std::set<ValueId> statistics;
  for (const Node& node : graph.nodes()) {
    if (node.op == "BatchNormalization" && node.inputs.size() == 5) statistics.insert({node.inputs[3], node.inputs[4]});
  }
  std::vector<ValueId> ids;
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    const auto id = static_cast<ValueId>(i);
    if (value.constant.defined() && value.constant.is_floating_point() && !value.consumers.empty() &&
        !statistics.count(id)) {
      ids.push_back(id);
    }
  }
  return ids;
}

/// A graph of float64 weights is trained in float64, every other in float32.
NetworkOptions network_options(const Graph& graph) {
  NetworkOptions options;
  for (const ValueId id : trained_values(graph)) {
    if (graph.value(id).constant.scalar_type() == at::kDouble) options.precision = Precision::kFloat64;
  }
  return options;
}

Network network_from(Graph graph) {
  const NetworkOptions options = network_options(graph);
  return Network(std::move(graph), options);
}

}  // namespace

struct Trainer::Impl {
  Impl(Graph g, TrainingOptions o) : network(network_from(std::move(g))), options(o) {
    for (const ValueId id : trained_values(network.graph())) {
      Tensor leaf = network.graph().value(id).constant.to(network.dtype(), /*non_blocking=*/false, /*copy=*/true);
      if (leaf.dim() == 4) leaf = leaf.contiguous(at::MemoryFormat::ChannelsLast);
      constants[id] = leaf.requires_grad_(true);
      momentum[id] = at::zeros_like(leaf);
    }
  }

  double rate(int64_t step, int64_t total) const {
    const double warmup = std::max(1.0, 0.05 * static_cast<double>(total));
    const auto now = static_cast<double>(step);
    if (now < warmup) return options.learning_rate * (now + 1) / warmup;
    const double progress = (now - warmup) / std::max(1.0, static_cast<double>(total) - warmup);
    return options.learning_rate * 0.5 * (1 + std::cos(M_PI * progress));
  }

  void descend(const TensorList& gradients, double learning_rate) {
    const at::NoGradGuard no_grad;
    size_t i = 0;
    for (auto& [id, leaf] : constants) {
      if (statistics.count(id)) continue;
      const Tensor& gradient = gradients[i++];
      if (!gradient.defined()) continue;
      const Tensor g = leaf.dim() > 1 ? gradient + leaf * options.weight_decay : gradient;
      Tensor& m = momentum.at(id);
      m.mul_(options.momentum).add_(g);
      leaf.sub_((g + m * options.momentum) * learning_rate);
    }
  }

  Network network;
  TrainingOptions options;
  Values constants;  ///< Trained leaves, and running statistics once training has changed them.
  std::set<ValueId> statistics;
  Values momentum;
  int64_t epochs_done = 0;
};

Trainer::Trainer(Graph graph, TrainingOptions options) : impl_(std::make_unique<Impl>(std::move(graph), options)) {}
Trainer::~Trainer() = default;

int64_t Trainer::epochs_done() const { return impl_->epochs_done; }

Trainer::EpochReport Trainer::train_epoch(const BatchSource& batches, int64_t steps_per_epoch, Progress* progress) {
  const auto start = std::chrono::steady_clock::now();
  Impl& t = *impl_;
  const ValueId logits = t.network.graph().outputs().front();
  double loss_sum = 0, correct = 0, seen = 0;
  for (int64_t step = 0; step < steps_per_epoch; ++step) {
    if (progress) progress->check();
    const TrainingBatch batch = batches(t.epochs_done, step);
    Request request;
    request.capture = {logits};
    request.constants = t.constants;
    Values statistics;
    const Tensor scores =
        t.network.run_with_autograd({batch.input.to(t.network.dtype())}, request, {true, &statistics}).at(logits);
    const Tensor loss = at::cross_entropy_loss(scores, batch.labels);
    TensorList leaves;
    for (const auto& [id, leaf] : t.constants) {
      if (!t.statistics.count(id)) leaves.push_back(leaf);
    }
    t.descend(torch::autograd::grad({loss}, leaves, {}, false, false, /*allow_unused=*/true),
              t.rate(t.epochs_done * steps_per_epoch + step, t.options.epochs * steps_per_epoch));
    for (const auto& [id, value] : statistics) {
      t.constants[id] = value.detach();
      t.statistics.insert(id);
    }
    const double loss_now = loss.item<double>();
    if (!std::isfinite(loss_now)) {
      throw_failed("training: the loss is not finite in epoch " + std::to_string(t.epochs_done + 1) + ", step " +
                   std::to_string(step + 1) + "; a smaller --learning-rate may help");
    }
    loss_sum += loss_now;
    correct += scores.argmax(1).eq(batch.labels).sum().item<double>();
    seen += static_cast<double>(batch.labels.size(0));
    if (progress) {
      progress->report(
          static_cast<double>(step + 1), static_cast<double>(steps_per_epoch),
          "epoch " + std::to_string(t.epochs_done + 1) + ", loss " + number_text(std::round(loss_now * 1000) / 1000));
    }
  }
  ++t.epochs_done;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {t.epochs_done, loss_sum / static_cast<double>(steps_per_epoch), correct / seen, seconds};
}

Graph Trainer::graph() const {
  std::map<ValueId, Tensor> now;
  for (const auto& [id, leaf] : impl_->constants) {
    const at::ScalarType stored = impl_->network.graph().value(id).constant.scalar_type();
    now[id] = leaf.detach().clone().contiguous().to(stored);
  }
  return impl_->network.graph().with_constants(now);
}

void Trainer::save(const std::string& path) const {
  // The trained graph again, with momentum as further initializers.
  const Graph trained = graph();
  GraphBuilder b(trained.opsets.at(""));
  b.set_name(trained.name);
  b.properties().metadata = trained.metadata;
  b.properties().metadata[kEpochKey] = std::to_string(impl_->epochs_done);
  for (const GraphInput& input : trained.inputs()) b.input(trained.value(input.value).name, input.shape, input.type);
  for (const Value& value : trained.values()) {
    if (value.constant.defined()) b.constant(value.name, value.constant);
  }
  for (const auto& [id, m] : impl_->momentum) b.constant(kMomentumPrefix + trained.value(id).name, m.contiguous());
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> list;
    for (const ValueId id : ids) list.push_back(id == kNoValue ? std::string() : trained.value(id).name);
    return list;
  };
  for (const Node& node : trained.nodes())
    b.node(node.op, names(node.inputs), names(node.outputs), node.attributes, node.name, node.domain);
  for (size_t i = 0; i < trained.outputs().size(); ++i) {
    b.output(trained.value(trained.outputs()[i]).name, trained.output_shapes()[i]);
  }
  save_onnx(b.finish(), path);
}

bool Trainer::resume(const std::string& path) {
  if (!std::filesystem::exists(std::filesystem::u8path(path))) return false;
  const Graph saved = load_onnx(path);
  const auto epochs = saved.metadata.find(kEpochKey);
  int64_t done = 0;
  if (epochs == saved.metadata.end() || !parse_int(epochs->second, done) || done < 0) {
    throw_invalid(path + ": not a training checkpoint");
  }
  const at::NoGradGuard no_grad;
  const Graph& graph = impl_->network.graph();
  const auto tensor = [&](const std::string& name, const Tensor& like) {
    const ValueId id = saved.find(name);
    if (id == kNoValue || !saved.value(id).constant.defined() || saved.value(id).constant.sizes() != like.sizes()) {
      throw_invalid(path + ": a checkpoint of another network ('" + printable(name) +
                    "' is missing or has another shape)");
    }
    return saved.value(id).constant;
  };
  for (auto& [id, leaf] : impl_->constants) leaf.copy_(tensor(graph.value(id).name, leaf));
  for (auto& [id, m] : impl_->momentum) m.copy_(tensor(kMomentumPrefix + graph.value(id).name, m));
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization" || node.inputs.size() != 5) continue;
    for (const size_t i : {3, 4}) {
      const ValueId id = node.inputs[i];
      impl_->constants[id] = tensor(graph.value(id).name, graph.value(id).constant).clone();
      impl_->statistics.insert(id);
    }
  }
  impl_->epochs_done = done;
  return true;
}

double accuracy(const Network& network, const BatchSource& batches, int64_t num_batches) {
  const at::NoGradGuard no_grad;
  double correct = 0, seen = 0;
  for (int64_t i = 0; i < num_batches; ++i) {
    const TrainingBatch batch = batches(0, i);
    correct +=
        network.run(batch.input.to(network.dtype()))[0].argmax(1).to(at::kCPU).eq(batch.labels).sum().item<double>();
    seen += static_cast<double>(batch.labels.size(0));
  }
  return seen > 0 ? correct / seen : 0;
}

}  // namespace pellucid
