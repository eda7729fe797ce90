#include "graph/plan.h"

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// Rewrites the node list of one request. Each pass looks for a pattern whose inner values nobody asked for.
class Planner {
 public:
  Planner(const std::shared_ptr<const Graph>& graph, const std::vector<Tensor>& constants, const PlanKey& key,
          FoldCache& folded, at::ScalarType promote, at::Device device)
      : shared_graph_(graph),
        graph_(*graph),
        key_(key),
        folded_(folded),
        promote_(promote),
        device_(device),
        constants_(constants) {
    for (const auto* list : {&key.keep, &key.known, &key.edited, &key.wrt}) named_.insert(list->begin(), list->end());
    known_.insert(key.known.begin(), key.known.end());
    overridden_.insert(key.overridden.begin(), key.overridden.end());
    for (const ValueId id : key.overridden) constants_[static_cast<size_t>(id)] = Tensor();
  }

  Plan make() {
    select();
    count_readers();
    if (!key_.plain) {
      fold_constants();
      canonical_activations();
      fold_batch_normalization();
      fold_leading_batch_normalization();
    }
    return finish();
  }

 private:
  using NodePtr = std::shared_ptr<const Node>;

  /// Nodes that the kept values need, not looking behind values already known.
  void select() {
    const auto& nodes = graph_.nodes();
    std::vector<char> needed_value(graph_.values().size(), 0);
    for (const ValueId id : key_.keep) needed_value[static_cast<size_t>(id)] = 1;
    std::vector<char> needed_node(nodes.size(), 0);
    for (size_t i = nodes.size(); i-- > 0;) {
      for (const ValueId out : nodes[i].outputs) {
        if (out != kNoValue && needed_value[static_cast<size_t>(out)] && !known_.count(out)) needed_node[i] = 1;
      }
      if (!needed_node[i]) continue;
      for (const ValueId in : nodes[i].inputs) {
        if (in != kNoValue) needed_value[static_cast<size_t>(in)] = 1;
      }
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (needed_node[i]) nodes_.push_back(NodePtr(shared_graph_, &nodes[i]));
    }
  }

  void count_readers() {
    readers_.assign(constants_.size(), 0);
    producer_.assign(constants_.size(), -1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId in : nodes_[i]->inputs) {
        if (in != kNoValue) ++readers_[static_cast<size_t>(in)];
      }
      for (const ValueId out : nodes_[i]->outputs) {
        if (out != kNoValue) producer_[static_cast<size_t>(out)] = static_cast<int32_t>(i);
      }
    }
  }

  const Tensor& constant(ValueId id) const {
    static const Tensor none;
    return id == kNoValue ? none : constants_[static_cast<size_t>(id)];
  }

  /// The node that makes `id`, if it still stands in the list, `id` has one reader and nobody named it.
  const Node* inner_producer(ValueId id, const std::string& op) const {
    if (id == kNoValue || named_.count(id) || known_.count(id)) return nullptr;
    const int32_t index = producer_[static_cast<size_t>(id)];
    if (index < 0 || !nodes_[static_cast<size_t>(index)] || readers_[static_cast<size_t>(id)] != 1) return nullptr;
    const Node* node = nodes_[static_cast<size_t>(index)].get();
    return node->op == op && node->domain.empty() ? node : nullptr;
  }

  /// One number of a constant, when it is one.
  static bool scalar(const Tensor& t, double& value) {
    if (!t.defined() || t.numel() != 1 || !(t.is_floating_point() || at::isIntegralType(t.scalar_type(), false)))
      return false;
    value = t.item<double>();
    return true;
  }

  void fold_constants() {
    for (auto& node : nodes_) {
      if (node->op == "RandomNormal" || node->op == "RandomUniform" || node->op == "RandomNormalLike" ||
          node->op == "RandomUniformLike" || node->op == "Bernoulli" || node->op == "Dropout") {
        continue;
      }
      bool all = true;
      for (const ValueId in : node->inputs) all = all && (in == kNoValue || constant(in).defined());
      for (const ValueId out : node->outputs) all = all && (out == kNoValue || !(named_.count(out)));
      if (!all) continue;
      TensorList in;
      for (const ValueId id : node->inputs) in.push_back(constant(id));
      OpCall call{*node, in};
      call.promote = promote_;
      call.device = device_;
      at::NoGradGuard no_grad;
      const TensorList out = call_op(graph_.name, *find_op(node->domain, node->op, node->opset), call);
      for (size_t i = 0; i < node->outputs.size() && i < out.size(); ++i) {
        if (node->outputs[i] != kNoValue) constants_[static_cast<size_t>(node->outputs[i])] = out[i];
      }
      remove(node);
    }
    compact();
  }

  /// The many spellings of rectifiers and smooth activations become one node each, so that rules see them.
  void canonical_activations() {
    for (auto& node : nodes_) {
      if (!node || !node->domain.empty()) continue;
      if (node->op == "Clip") {
        rectifier_from_clip(node);
      } else if (node->op == "Max") {
        rectifier_from_max(node);
      } else if (node->op == "Where") {
        rectifier_from_where(node);
      } else if (node->op == "Mul") {
        gate(node);
      }
    }
    compact();
  }

  /// Clip(x, 0) or Clip(x, 0, high).
  void rectifier_from_clip(NodePtr& node) {
    double low = 0, high = 0;
    bool has_low = node->has("min"), has_high = node->has("max");
    if (has_low) low = node->real("min", 0);
    if (has_high) high = node->real("max", 0);
    if (node->inputs.size() > 1 && node->inputs[1] != kNoValue) {
      if (!scalar(constant(node->inputs[1]), low)) return;
      has_low = true;
    }
    if (node->inputs.size() > 2 && node->inputs[2] != kNoValue) {
      if (!scalar(constant(node->inputs[2]), high)) return;
      has_high = true;
    }
    // Files write "no upper bound" as the largest float.
    if (has_high && high > 1e38) has_high = false;
    if (!has_low || low != 0 || (has_high && !(high > 0))) return;
    std::map<std::string, Attribute> attributes;
    if (has_high) attributes = {{"min", 0.0}, {"max", high}};
    replace(node, "Rectify", {node->inputs[0]}, std::move(attributes));
  }

  /// Max(x, 0).
  void rectifier_from_max(NodePtr& node) {
    if (node->inputs.size() != 2) return;
    for (size_t i = 0; i < 2; ++i) {
      double low = 1;
      if (scalar(constant(node->inputs[i]), low) && low == 0 && constant(node->inputs[i]).is_floating_point()) {
        replace(node, "Rectify", {node->inputs[1 - i]}, {});
        return;
      }
    }
  }

  /// Where(x > 0, x, 0).
  void rectifier_from_where(NodePtr& node) {
    double otherwise = 1, bound = 1;
    if (node->inputs.size() != 3 || !scalar(constant(node->inputs[2]), otherwise) || otherwise != 0) return;
    const Node* greater = inner_producer(node->inputs[0], "Greater");
    if (!greater) greater = inner_producer(node->inputs[0], "GreaterOrEqual");
    if (!greater || greater->inputs[0] != node->inputs[1] || !scalar(constant(greater->inputs[1]), bound) || bound != 0)
      return;
    const ValueId x = node->inputs[1];
    remove_producer(node->inputs[0]);
    replace(node, "Rectify", {x}, {});
  }

  /// x * Sigmoid(x), x * HardSigmoid(x) with slope 1/6, and the Erf form of Gelu.
  void gate(NodePtr& node) {
    if (node->inputs.size() != 2) return;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId x = node->inputs[i];
      const ValueId g = node->inputs[1 - i];
      if (const Node* s = inner_producer(g, "Sigmoid"); s && s->inputs[0] == x) {
        remove_producer(g);
        return replace(node, "Silu", {x}, {});
      }
      if (const Node* s = inner_producer(g, "HardSigmoid"); s && s->inputs[0] == x) {
        if (std::abs(s->real("alpha", 0.2) - 1.0 / 6) > 1e-6 || s->real("beta", 0.5) != 0.5) continue;
        remove_producer(g);
        return replace(node, "HardSwish", {x}, {});
      }
      if (gelu_gate(x, g)) return replace(node, "Gelu", {gelu_input_}, {});
    }
  }

  /// PyTorch writes Gelu as Mul(Mul(x, Add(Erf(Div(x, sqrt 2)), 1)), 0.5) and, in other versions, with the half first.
  bool gelu_gate(ValueId product, ValueId half_value) {
    double half = 0, one = 0, root = 0;
    if (!scalar(constant(half_value), half) || half != 0.5) return false;
    const Node* mul = inner_producer(product, "Mul");
    if (!mul) return false;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId x = mul->inputs[i];
      const Node* add = inner_producer(mul->inputs[1 - i], "Add");
      if (!add) continue;
      for (size_t j = 0; j < 2; ++j) {
        const Node* erf = inner_producer(add->inputs[j], "Erf");
        if (!erf || !scalar(constant(add->inputs[1 - j]), one) || one != 1) continue;
        const Node* div = inner_producer(erf->inputs[0], "Div");
        if (!div || div->inputs[0] != x || !scalar(constant(div->inputs[1]), root) ||
            std::abs(root - std::sqrt(2.0)) > 1e-5) {
          continue;
        }
        const ValueId inner[] = {product, mul->inputs[1 - i], add->inputs[j], erf->inputs[0]};
        for (const ValueId id : inner) remove_producer(id);
        gelu_input_ = x;
        return true;
      }
    }
    return false;
  }

  /// A BatchNormalization behind a linear node, y = s (w x + b) + t with s = gamma / sqrt(var + eps) and
  /// t = beta - mean s, becomes one linear node with w' = s w and b' = s b + t.
  void fold_batch_normalization() {
    for (auto& node : nodes_) {
      if (!node || !is_constant_norm(*node)) continue;
      const ValueId between = node->inputs[0];
      const Node* linear = inner_producer(between, "Conv");
      if (!linear) linear = inner_producer(between, "ConvTranspose");
      if (!linear) linear = inner_producer(between, "Gemm");
      if (!linear || !has_constant_weights(*linear)) continue;
      const bool scaled = linear->real("alpha", 1) != 1 || linear->real("beta", 1) != 1;
      if (scaled || linear->integer("transA", 0) != 0) continue;
      if (linear->op == "ConvTranspose" && linear->integer("group", 1) != 1) continue;
      const FoldedWeights* folded = fold(*linear, *node, output_axis(*linear));
      if (!folded) continue;
      auto merged = std::make_shared<Node>(*linear);
      merged->inputs = {linear->inputs[0], add_constant(folded->weight), add_constant(folded->bias)};
      merged->outputs = {node->outputs[0]};
      const auto index = static_cast<size_t>(producer_[static_cast<size_t>(between)]);
      // The merged node stands where the BatchNormalization stood, after all that either needed.
      nodes_[index].reset();
      producer_[static_cast<size_t>(node->outputs[0])] = static_cast<int32_t>(&node - nodes_.data());
      node = std::move(merged);
    }
    compact();
  }

  /// The other way round, w (s x + t) + b with w' = w s and b' = w t + b: not with padding, which is zero behind the
  /// BatchNormalization and would not be in front of it.
  void fold_leading_batch_normalization() {
    for (auto& node : nodes_) {
      if (!node || !node->domain.empty() || !takes_leading_norm(*node)) continue;
      const ValueId between = node->inputs[0];
      const Node* norm = inner_producer(between, "BatchNormalization");
      if (!norm || !is_constant_norm(*norm)) continue;
      const FoldedWeights* folded = fold_leading(*node, *norm);
      if (!folded) continue;
      auto merged = std::make_shared<Node>(*node);
      merged->inputs = {norm->inputs[0], add_constant(folded->weight), add_constant(folded->bias)};
      nodes_[static_cast<size_t>(producer_[static_cast<size_t>(between)])].reset();
      node = std::move(merged);
    }
    compact();
  }

  /// Null where the numbers of channels do not fit.
  const FoldedWeights* fold_leading(const Node& node, const Node& norm) {
    const std::pair<ValueId, ValueId> key{norm.outputs[0], node.outputs[0]};
    const bool overridden = any_overridden();
    const auto cached = folded_.find(key);
    if (cached != folded_.end() && !overridden) return &cached->second;
    const Tensor& original = constant(node.inputs[1]);
    const int64_t axis = 1 - output_axis(node);  // input channels
    const auto [scale, shift] = scale_and_shift(norm);
    if (scale.numel() != original.size(axis)) return nullptr;
    std::vector<int64_t> shape(static_cast<size_t>(original.dim()), 1), rest;
    shape[static_cast<size_t>(axis)] = -1;
    for (int64_t d = 0; d < original.dim(); ++d) {
      if (d != 1 - axis) rest.push_back(d);
    }
    const Tensor w = original.to(at::kDouble);
    Tensor bias = (w * shift.view(shape)).sum(rest);
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) bias = bias + constant(node.inputs[2]);
    FoldedWeights result;
    result.weight = (w * scale.view(shape)).to(original.scalar_type()).contiguous(original.suggest_memory_format());
    result.bias = bias.to(original.scalar_type());
    if (overridden) {
      scratch_.push_back(std::make_unique<FoldedWeights>(std::move(result)));
      return scratch_.back().get();
    }
    return &(folded_[key] = std::move(result));
  }

  bool is_constant_norm(const Node& node) const {
    if (node.op != "BatchNormalization" || !node.domain.empty() || node.inputs.size() != 5) return false;
    for (size_t i = 1; i < 5; ++i) {
      if (!constant(node.inputs[i]).defined()) return false;
    }
    for (size_t i = 1; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) return false;
    }
    return true;
  }

  bool has_constant_weights(const Node& node) const {
    if (node.inputs.size() < 2 || !constant(node.inputs[1]).defined()) return false;
    return node.inputs.size() < 3 || node.inputs[2] == kNoValue || constant(node.inputs[2]).defined();
  }

  bool takes_leading_norm(const Node& node) const {
    if (node.op == "Gemm") {
      return has_constant_weights(node) && node.real("alpha", 1) == 1 && node.real("beta", 1) == 1 &&
             node.integer("transA", 0) == 0;
    }
    if (node.op != "Conv" || !has_constant_weights(node) || node.integer("group", 1) != 1) return false;
    const std::string policy = node.text("auto_pad", "NOTSET");
    const std::vector<int64_t> pads = node.integers("pads");
    return policy == "VALID" ||
           (policy == "NOTSET" && std::all_of(pads.begin(), pads.end(), [](int64_t pad) { return pad == 0; }));
  }

  /// The axis of the weights along which outputs lie; inputs lie along the other of the first two.
  static int64_t output_axis(const Node& node) {
    if (node.op == "Conv") return 0;
    return node.op == "Gemm" && node.integer("transB", 0) != 0 ? 0 : 1;
  }

  /// s and t of a BatchNormalization, float64.
  std::pair<Tensor, Tensor> scale_and_shift(const Node& norm) const {
    const auto parameter = [&](size_t i) { return constant(norm.inputs[i]).to(at::kDouble).flatten(); };
    const Tensor scale = parameter(1) / at::sqrt(parameter(4) + norm.real("epsilon", 1e-5));
    return {scale, parameter(2) - parameter(3) * scale};
  }

  const FoldedWeights* fold(const Node& conv, const Node& norm, int64_t axis) {
    // By what comes out: `conv` may itself be the result of folding, a node that only this plan has.
    const auto cached = folded_.find({norm.outputs[0], kNoValue});
    if (cached != folded_.end() && !any_overridden()) return &cached->second;
    const Tensor w = constant(conv.inputs[1]).to(at::kDouble);
    for (size_t i = 1; i < 5; ++i) {
      if (constant(norm.inputs[i]).numel() != w.size(axis)) return nullptr;
    }
    auto [scale, shift] = scale_and_shift(norm);
    if (conv.inputs.size() > 2 && conv.inputs[2] != kNoValue)
      shift = shift + constant(conv.inputs[2]).to(at::kDouble) * scale;
    std::vector<int64_t> shape(static_cast<size_t>(w.dim()), 1);
    shape[static_cast<size_t>(axis)] = -1;
    const Tensor& original = constant(conv.inputs[1]);
    FoldedWeights result;
    result.weight = (w * scale.view(shape)).to(original.scalar_type()).contiguous(original.suggest_memory_format());
    result.bias = shift.to(original.scalar_type());
    if (any_overridden()) {
      scratch_.push_back(std::make_unique<FoldedWeights>(std::move(result)));
      return scratch_.back().get();
    }
    return &(folded_[{norm.outputs[0], kNoValue}] = std::move(result));
  }

  /// Weights that replace the network's own may have been folded already into those of this node, under other ids.
  bool any_overridden() const { return !overridden_.empty(); }
  ValueId add_constant(const Tensor& t) {
    constants_.push_back(t);
    readers_.push_back(1);
    producer_.push_back(-1);
    return static_cast<ValueId>(constants_.size()) - 1;
  }

  void replace(NodePtr& node, const std::string& op, std::vector<ValueId> inputs,
               std::map<std::string, Attribute> attributes) {
    auto made = std::make_shared<Node>();
    made->name = node->name;
    made->op = op;
    made->domain = kCanonicalDomain;
    made->opset = 1;
    made->attributes = std::move(attributes);
    made->inputs = std::move(inputs);
    made->outputs = node->outputs;
    for (const ValueId in : node->inputs) {
      if (in != kNoValue) --readers_[static_cast<size_t>(in)];
    }
    for (const ValueId in : made->inputs) ++readers_[static_cast<size_t>(in)];
    node = std::move(made);
  }

  void remove(NodePtr& node) {
    for (const ValueId in : node->inputs) {
      if (in != kNoValue) --readers_[static_cast<size_t>(in)];
    }
    node.reset();
  }

  void remove_producer(ValueId id) { remove(nodes_[static_cast<size_t>(producer_[static_cast<size_t>(id)])]); }

  void compact() {
    nodes_.erase(std::remove(nodes_.begin(), nodes_.end(), nullptr), nodes_.end());
    count_readers();
  }

  Plan finish() {
    Plan plan;
    plan.constants = constants_;
    plan.num_values = constants_.size();
    plan.kept = key_.keep;
    std::vector<char> keep(plan.num_values, 0);
    for (const auto* list : {&key_.keep, &key_.wrt}) {
      for (const ValueId id : *list) keep[static_cast<size_t>(id)] = 1;
    }
    mark_recorded(plan);
    std::vector<char> read_later(plan.num_values, 0);
    plan.steps.resize(nodes_.size());
    for (size_t i = nodes_.size(); i-- > 0;) {
      Step& step = plan.steps[i];
      step.node = nodes_[i];
      step.op = find_op(step.node->domain, step.node->op, step.node->opset);
      step.recorded = recorded_[i] != 0;
      for (const ValueId out : step.node->outputs) {
        if (out != kNoValue && !read_later[static_cast<size_t>(out)] && !keep[static_cast<size_t>(out)])
          step.unused.push_back(out);
      }
      step.last_use.assign(step.node->inputs.size(), 0);
      for (size_t j = step.node->inputs.size(); j-- > 0;) {
        const ValueId in = step.node->inputs[j];
        if (in == kNoValue) continue;
        step.last_use[j] = !read_later[static_cast<size_t>(in)] && !keep[static_cast<size_t>(in)];
        read_later[static_cast<size_t>(in)] = 1;
      }
    }
    for (size_t id = 0; id < plan.num_values; ++id) keep[id] |= read_later[id];
    plan.wanted = std::move(keep);
    return plan;
  }

  /// A step is recorded when it lies behind a `wrt` value and before a kept one.
  void mark_recorded(const Plan& plan) {
    recorded_.assign(nodes_.size(), 0);
    if (key_.wrt.empty()) return;
    std::vector<char> behind(plan.num_values, 0);
    for (const ValueId id : key_.wrt) behind[static_cast<size_t>(id)] = 1;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId in : nodes_[i]->inputs) {
        if (in != kNoValue && behind[static_cast<size_t>(in)]) recorded_[i] = 1;
      }
      if (!recorded_[i]) continue;
      for (const ValueId out : nodes_[i]->outputs) {
        if (out != kNoValue) behind[static_cast<size_t>(out)] = 1;
      }
    }
  }

  const std::shared_ptr<const Graph>& shared_graph_;
  const Graph& graph_;
  const PlanKey& key_;
  FoldCache& folded_;
  at::ScalarType promote_;
  at::Device device_;
  std::vector<Tensor> constants_;
  std::set<ValueId> named_, known_, overridden_;
  std::vector<NodePtr> nodes_;
  std::vector<int32_t> readers_, producer_;
  std::vector<char> recorded_;
  std::vector<std::unique_ptr<FoldedWeights>> scratch_;
  ValueId gelu_input_ = kNoValue;
};

/// Whether LibTorch lacks memory or its device broke down: not what it says of operands that do not fit.
bool is_failure(const c10::Error& e) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&e)) return true;
  const std::string what = e.what_without_backtrace();
  // Allocators and libraries that throw nothing more special.
  for (const char* sign : {"DefaultCPUAllocator", "CUDA error", "cuDNN error", "CUBLAS_STATUS"}) {
    if (what.find(sign) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Plan make_plan(const std::shared_ptr<const Graph>& graph, const std::vector<Tensor>& constants, const PlanKey& key,
               FoldCache& folded, at::ScalarType promote, at::Device device) {
  return Planner(graph, constants, key, folded, promote, device).make();
}

TensorList call_op(const std::string& file, const Op& op, OpCall& call) {
  const auto describe = [&](const std::string& problem) {
    std::string shapes;
    for (const Tensor& t : call.in)
      shapes += (shapes.empty() ? "" : ", ") + (t.defined() ? shape_text(t.sizes()) : "-");
    return file + ": node '" + printable(call.node.name) + "' (" + printable(call.node.op, 40) + "), inputs " + shapes +
           ": " + problem;
  };
  try {
    return op.forward(call);
  } catch (const Error& e) {
    const std::string what = e.what();
    // Operators report as "node 'x' (Op): ..."; only the file is missing.
    throw Error(e.kind(), what.rfind("node '", 0) == 0 ? file + ": " + what : describe(what));
  } catch (const c10::Error& e) {
    std::string what = e.what_without_backtrace();
    throw Error(is_failure(e) ? ErrorKind::kFailed : ErrorKind::kInvalidInput,
                describe(printable(what.substr(0, what.find('\n')), 300)));
  } catch (const std::exception& e) {
    throw Error(ErrorKind::kFailed, describe(printable(e.what(), 300)));
  }
}

}  // namespace pellucid
