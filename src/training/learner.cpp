#include "pellucid/learner.h"

#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

const char* const kMeanPrefix = "momentum/";
const char* const kSquarePrefix = "square/";
const char* const kStepKey = "pellucid.steps_done";

std::set<ValueId> running_statistics(const Graph& graph) {
  std::set<ValueId> ids;
  for (const Node& node : graph.nodes()) {
    if (node.op == "BatchNormalization" && node.inputs.size() == 5) ids.insert({node.inputs[3], node.inputs[4]});
  }
  return ids;
}

/// Shortens all of them together.
void shorten(TensorList& gradients, double longest) {
  double squares = 0;
  for (const Tensor& g : gradients) {
    if (g.defined()) squares += g.square().sum(at::kDouble).item<double>();
  }
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) throw_failed("training: the gradient is not finite");
  if (norm <= longest) return;
  for (Tensor& g : gradients) {
    if (g.defined()) g = g * (longest / norm);
  }
}

/// Initializers that gradient descent changes.
std::vector<ValueId> trained_values(const Graph& graph) {
  const std::set<ValueId> statistics = running_statistics(graph);
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
Network network_from(Graph graph) {
  NetworkOptions options;
  for (const ValueId id : trained_values(graph)) {
    if (graph.value(id).constant.scalar_type() == at::kDouble) options.precision = Precision::kFloat64;
  }
  return Network(std::move(graph), options);
}

}  // namespace

struct Learner::Impl {
  Impl(Graph g, LearnerOptions o) : network(network_from(std::move(g))), options(std::move(o)) {
    const Graph& graph = network.graph();
    for (const ValueId id : trained_values(graph)) {
      if (options.frozen && options.frozen(graph.value(id).name)) continue;
      Tensor leaf = graph.value(id).constant.to(network.dtype(), /*non_blocking=*/false, /*copy=*/true);
      if (leaf.dim() == 4) leaf = leaf.contiguous(at::MemoryFormat::ChannelsLast);
      leaves[id] = leaf.requires_grad_(true);
      mean[id] = at::zeros_like(leaf);
      if (options.optimizer == LearnerOptions::Optimizer::kAdam) square[id] = at::zeros_like(leaf);
    }
    if (leaves.empty()) throw_usage(printable(graph.name) + ": nothing to train");
  }

  Values constants() const {
    Values all = leaves;
    all.insert(statistics.begin(), statistics.end());
    return all;
  }

  void descend(ValueId id, Tensor& leaf, Tensor g, double rate) {
    if (options.weight_decay > 0 && leaf.dim() > 1) g = g + leaf * options.weight_decay;
    Tensor& m = mean.at(id);
    if (options.optimizer == LearnerOptions::Optimizer::kSgd) {
      m.mul_(options.momentum).add_(g);
      leaf.sub_((g + m * options.momentum) * rate);
      return;
    }
    const auto t = static_cast<double>(steps);
    Tensor& v = square.at(id);
    m.mul_(options.beta1).add_(g, 1 - options.beta1);
    v.mul_(options.beta2).addcmul_(g, g, 1 - options.beta2);
    const double unbiased = std::sqrt(1 - std::pow(options.beta2, t)) / (1 - std::pow(options.beta1, t));
    const double epsilon = options.epsilon * std::sqrt(1 - std::pow(options.beta2, t));
    leaf.addcdiv_(m, v.sqrt().add_(epsilon), -rate * unbiased);
  }

  Network network;
  LearnerOptions options;
  Values leaves;
  Values statistics;  ///< Running ones, once training has changed them.
  Values mean, square;
  int64_t steps = 0;
};

Learner::Learner(Graph graph, LearnerOptions options)
    : impl_(std::make_unique<Impl>(std::move(graph), std::move(options))) {}
Learner::~Learner() = default;

const Network& Learner::network() const { return impl_->network; }
int64_t Learner::steps() const { return impl_->steps; }

Values Learner::forward(const TensorList& inputs, const std::vector<ValueId>& capture) {
  Request request;
  request.capture = capture;
  request.constants = impl_->constants();
  Values changed;
  Values result = impl_->network.run_with_autograd(inputs, request, {true, &changed});
  for (const auto& [id, value] : changed) impl_->statistics[id] = value.detach();
  return result;
}

void Learner::step(const Tensor& loss, double rate) {
  Impl& l = *impl_;
  if (!std::isfinite(loss.item<double>())) {
    throw_failed("training: the loss is not finite in step " + std::to_string(l.steps + 1));
  }
  TensorList leaves;
  for (const auto& [id, leaf] : l.leaves) leaves.push_back(leaf);
  TensorList gradients = torch::autograd::grad({loss}, leaves, {}, c10::nullopt, false, /*allow_unused=*/true);
  const at::NoGradGuard no_grad;
  if (l.options.longest_gradient > 0) shorten(gradients, l.options.longest_gradient);
  ++l.steps;
  size_t i = 0;
  for (auto& [id, leaf] : l.leaves) {
    if (gradients[i].defined()) l.descend(id, leaf, gradients[i], rate);
    ++i;
  }
}

Graph Learner::graph() const {
  std::map<ValueId, Tensor> now;
  for (const auto& [id, t] : impl_->constants()) {
    const at::ScalarType stored = impl_->network.graph().value(id).constant.scalar_type();
    now[id] = t.detach().clone().contiguous().to(stored);
  }
  return impl_->network.graph().with_constants(now);
}

void Learner::save(const std::string& path, const std::map<std::string, std::string>& metadata) const {
  const Graph trained = graph();
  GraphBuilder b(trained.opsets.at(""));
  b.set_name(trained.name);
  b.properties().metadata = trained.metadata;
  for (const auto& [key, text] : metadata) b.properties().metadata[key] = text;
  b.properties().metadata[kStepKey] = std::to_string(impl_->steps);
  for (const GraphInput& input : trained.inputs()) b.input(trained.value(input.value).name, input.shape, input.type);
  for (const Value& value : trained.values()) {
    if (value.constant.defined()) b.constant(value.name, value.constant);
  }
  for (const auto& [id, m] : impl_->mean) b.constant(kMeanPrefix + trained.value(id).name, m.contiguous());
  for (const auto& [id, v] : impl_->square) b.constant(kSquarePrefix + trained.value(id).name, v.contiguous());
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

std::map<std::string, std::string> Learner::resume(const std::string& path) {
  if (!std::filesystem::exists(std::filesystem::u8path(path))) return {};
  const Graph saved = load_onnx(path);
  const auto found = saved.metadata.find(kStepKey);
  int64_t steps = 0;
  if (found == saved.metadata.end() || !parse_int(found->second, steps) || steps < 0) {
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
  for (auto& [id, leaf] : impl_->leaves) leaf.copy_(tensor(graph.value(id).name, leaf));
  for (auto& [id, m] : impl_->mean) m.copy_(tensor(kMeanPrefix + graph.value(id).name, m));
  for (auto& [id, v] : impl_->square) v.copy_(tensor(kSquarePrefix + graph.value(id).name, v));
  for (const ValueId id : running_statistics(graph)) {
    impl_->statistics[id] = tensor(graph.value(id).name, graph.value(id).constant).clone();
  }
  impl_->steps = steps;
  return saved.metadata;
}

}  // namespace pellucid
