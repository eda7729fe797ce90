// Relevance propagation through a whole network: which node gets which rule, and what is lost on the way.

#include "attribution/relevance.h"

#include <algorithm>
#include <numeric>

#include "attribution/linear_node.h"
#include "attribution/relevance_rules.h"
#include "graph/incremental.h"
#include "graph/op.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

bool is_any(const Node& node, const std::set<std::string>& ops) { return ops.count(node.op) != 0; }
bool is_linear(const Node& node) { return role_of(node) == OpRole::kLinear; }
bool is_convolution(const Node& node) { return is_any(node, {"Conv", "ConvTranspose"}); }
bool is_dense(const Node& node) { return is_any(node, {"Gemm", "MatMul"}); }
bool is_batch_norm(const Node& node) { return node.op == "BatchNormalization"; }
bool is_normalization(const Node& node) { return role_of(node) == OpRole::kNormalization && !is_batch_norm(node); }
bool is_sum(const Node& node) { return role_of(node) == OpRole::kSum || is_any(node, {"Sub", "Mean"}); }
bool is_average(const Node& node) {
  return is_any(node, {"AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize", "Upsample"});
}
bool is_maximum(const Node& node) {
  return is_any(node, {"MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Max", "Min"});
}
bool is_product(const Node& node) { return is_any(node, {"Mul", "Div"}); }
bool is_activation(const Node& node) {
  const OpRole role = role_of(node);
  return role == OpRole::kRectifier || role == OpRole::kActivation || node.op == "Neg";
}

bool any_in(const std::vector<ValueId>& ids, const std::set<ValueId>& set) {
  return std::any_of(ids.begin(), ids.end(), [&](ValueId id) { return set.count(id) != 0; });
}

}  // namespace

LinearOrder::LinearOrder(const Graph& graph, ValueId input, ValueId target) {
  walk_down(graph, input);
  walk_up(graph, target);
}

/// Values that depend on the input, told apart by whether a linear node (a convolution) lies between.
void LinearOrder::walk_down(const Graph& graph, ValueId input) {
  std::set<ValueId> touched, convolved;
  untouched_ = unconvolved_ = {input};
  for (const Node& node : graph.nodes()) {
    const auto spread = [&](std::set<ValueId>& clean, std::set<ValueId>& dirty, bool stops) {
      const bool from_dirty = any_in(node.inputs, dirty), from_clean = any_in(node.inputs, clean);
      if (!from_dirty && !from_clean) return;
      std::set<ValueId>& side = from_dirty || stops ? dirty : clean;
      side.insert(node.outputs.begin(), node.outputs.end());
    };
    if (is_linear(node) && any_in(node.inputs, untouched_) && !any_in(node.inputs, touched)) {
      for (const ValueId id : node.inputs) {
        if (untouched_.count(id)) first_inputs_.insert(id);
      }
    }
    if (is_convolution(node) && any_in(node.inputs, unconvolved_) && !any_in(node.inputs, convolved)) {
      for (const ValueId id : node.inputs) {
        if (unconvolved_.count(id)) first_inputs_.insert(id);
      }
    }
    spread(untouched_, touched, is_linear(node));
    spread(unconvolved_, convolved, is_convolution(node));
  }
}

/// Values that lead to the target, and among them those without a linear node behind.
void LinearOrder::walk_up(const Graph& graph, ValueId target) {
  open_ = on_the_way_ = {target};
  const auto& nodes = graph.nodes();
  for (size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    if (!any_in(node.outputs, on_the_way_)) continue;
    on_the_way_.insert(node.inputs.begin(), node.inputs.end());
    if (any_in(node.outputs, open_) && !is_linear(node)) open_.insert(node.inputs.begin(), node.inputs.end());
    if (is_batch_norm(node)) ++batch_norms_;
  }
}

bool LinearOrder::is_first(const Node& node) const { return is_linear(node) && any_in(node.inputs, untouched_); }
bool LinearOrder::is_first_convolution(const Node& node) const {
  return is_convolution(node) && any_in(node.inputs, unconvolved_);
}
bool LinearOrder::precedes_linear(const Node& node) const { return any_in(node.outputs, untouched_); }
bool LinearOrder::is_last(const Node& node) const { return is_linear(node) && any_in(node.outputs, open_); }

namespace {

std::vector<int64_t> axes_but_first(const Tensor& t) {
  std::vector<int64_t> axes(static_cast<size_t>(std::max<int64_t>(1, t.dim()) - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return axes;
}

}  // namespace

Tensor sum_per_image(const Tensor& t) {
  const std::vector<int64_t> axes = axes_but_first(t);
  return (axes.empty() ? t.to(at::kDouble) : t.sum(axes, false, at::kDouble)).to(at::kCPU);
}

namespace {

const char* rule_title(RelevanceRule rule) {
  switch (rule) {
    case RelevanceRule::kZero:
      return "zero";
    case RelevanceRule::kEpsilon:
      return "epsilon";
    case RelevanceRule::kGamma:
      return "gamma";
    case RelevanceRule::kAlphaBeta:
      return "alpha-beta";
    case RelevanceRule::kZPlus:
      return "z-plus";
    case RelevanceRule::kFlat:
      return "flat";
    case RelevanceRule::kWSquare:
      return "w-square";
    case RelevanceRule::kZBox:
      return "z-box";
    case RelevanceRule::kExcitation:
      return "excitation";
    case RelevanceRule::kPass:
      return "pass";
    case RelevanceRule::kGradient:
      return "gradient";
  }
  return "";
}

bool looks_at_weights(RelevanceRule rule) {
  switch (rule) {
    case RelevanceRule::kZero:
    case RelevanceRule::kEpsilon:
    case RelevanceRule::kExcitation:
    case RelevanceRule::kPass:
    case RelevanceRule::kGradient:
      return false;
    default:
      return true;
  }
}

/// Builds the rule map of one network and target; the rules refer to the builder and write to the balance.
class RuleMapBuilder {
 public:
  RuleMapBuilder(const Context& context, const RelevanceRules& rules, const LinearOrder& order,
                 RelevanceBalance& balance)
      : context_(context), rules_(rules), order_(order), balance_(balance) {}

  RuleMap build() {
    if (rules_.excitation) {
      add(
          rules_.contrastive ? "contrastive" : "excitation", [this](const Node& n) { return order_.is_last(n); },
          class_unit());
    }
    for (const RuleLine& line : rules_.lines) {
      if (line.choice.rule == RelevanceRule::kZBox && bounds_.empty()) measure_bounds();
      const auto matches = selector(line);
      const auto& nodes = context_.network.graph().nodes();
      if (!line.pattern.empty() && std::none_of(nodes.begin(), nodes.end(), matches)) {
        balance_.idle_lines.insert(line.selector + " '" + printable(line.pattern) + "'");
      }
      add(rule_title(line.choice.rule), matches, balanced(ruled(line.choice)));
    }
    const RuleChoice sums{rules_.excitation ? RelevanceRule::kExcitation : RelevanceRule::kEpsilon, rules_.epsilon};
    const BackwardRule norm = balanced(ruled(sums));
    // Preprocessing inside the model shifts pixels; what they are worth stays with them.
    add(
        "pass", [this](const Node& n) { return is_sum(n) && order_.precedes_linear(n); },
        [norm](const NodeBackward& b) {
          if (std::count(b.needed.begin(), b.needed.end(), true) != 1) return norm(b);
          TensorList result(b.needed.size());
          const auto i = static_cast<size_t>(std::find(b.needed.begin(), b.needed.end(), true) - b.needed.begin());
          result[i] = at::sum_to(b.grads[0], b.inputs[i].sizes());
          return result;
        });
    if (rules_.excitation) {
      add(
          "norm", [](const Node& n) { return n.op == "Sub"; },
          balanced(ruled({RelevanceRule::kEpsilon, rules_.epsilon})));
    }
    add(
        "norm", [](const Node& n) { return is_sum(n) || is_average(n); }, norm);
    if (rules_.excitation) {
      add("batch-norm", is_batch_norm, pass_rule);
    } else {
      add("batch-norm", is_batch_norm, balanced(ruled({RelevanceRule::kEpsilon, rules_.epsilon})));
    }
    add("pass", is_activation, pass_rule);
    add("pass", is_normalization, [this](const NodeBackward& b) {
      balance_.passed_norms.insert(b.node.op);
      return pass_rule(b);
    });
    add("product", is_product, [this](const NodeBackward& b) { return product(b); });
    // Values that only move, and maxima, whose winner takes all: the node's own vector-Jacobian product.
    add(
        "gradient", [](const Node& n) { return role_of(n) != OpRole::kShape && !is_maximum(n); },
        [this](const NodeBackward& b) { return unruled(b); });
    return std::move(map_);
  }

 private:
  void add(const std::string& name, std::function<bool(const Node&)> matches, BackwardRule rule) {
    map_.push_back({name, std::move(matches), std::move(rule)});
  }

  std::function<bool(const Node&)> selector(const RuleLine& line) const {
    const std::string& s = line.selector;
    if (s == "first") return [this](const Node& n) { return order_.is_first(n); };
    if (s == "first-conv") return [this](const Node& n) { return order_.is_first_convolution(n); };
    if (s == "op") return [type = line.pattern](const Node& n) { return n.op == type; };
    if (s == "name") {
      // A block has activations and sums too; a rule about weights governs its layers with weights.
      return [glob = line.pattern, weights = looks_at_weights(line.choice.rule)](const Node& n) {
        return glob_match(glob, n.name) && (!weights || is_linear(n) || is_batch_norm(n));
      };
    }
    if (s == "conv") return is_convolution;
    if (s == "dense") return is_dense;
    if (s == "linear") return is_linear;
    if (s == "sum") return is_sum;
    if (s == "product") return is_product;
    if (s == "batch-norm") return is_batch_norm;
    if (s == "average-pool") return is_average;
    if (s == "max-pool") return is_maximum;
    if (s == "activation") return is_activation;
    return is_normalization;
  }

  /// The rule, but the VJP where both sides of a linear node are computed, weights of a convolution included.
  BackwardRule ruled(const RuleChoice& choice) {
    return [this, choice](const NodeBackward& b) {
      if (is_linear(b.node) && choice.rule != RelevanceRule::kGradient && b.needed.size() > 1 &&
          !LinearNode(b, caches_).by_constant()) {
        return unruled(b);
      }
      const auto bounds = bounds_.find(b.node.inputs.front());
      if (choice.rule == RelevanceRule::kZBox && bounds == bounds_.end()) {
        throw_usage("the z-box rule needs the bounds of its input, which are known at the first layers only, not at '" +
                    printable(b.node.name) + "'");
      }
      note_signed(choice.rule, b);
      return apply_rule(choice, b, bounds == bounds_.end() ? nullptr : &bounds->second, caches_);
    };
  }

  BackwardRule class_unit() {
    return [this](const NodeBackward& b) {
      if (!LinearNode(b, caches_).by_constant()) return unruled(b);
      note_signed(RelevanceRule::kExcitation, b);
      return class_unit_rule(b, rules_.contrastive, caches_);
    };
  }

  /// Excitation backprop is defined for non-negative activations.
  void note_signed(RelevanceRule rule, const NodeBackward& b) {
    if (rule != RelevanceRule::kExcitation || !is_linear(b.node)) return;
    const Tensor& a = b.inputs[b.needed[0] ? 0 : 1];
    if (has_negative(a)) balance_.signed_nodes.insert(b.node.name);
  }

  /// The rule with its losses written down.
  BackwardRule balanced(const BackwardRule& rule) {
    return [this, rule](const NodeBackward& b) {
      TensorList result = rule(b);
      // Below an activation that passes relevance on, this is what the node above has just been given.
      Tensor lost = b.grads[0].is_same(last_.first) ? last_.second : node_sum(b.grads[0]);
      for (size_t i = 0; i < result.size(); ++i) {
        if (!result[i].defined() || !b.needed[i]) continue;
        const Tensor kept = node_sum(result[i]);
        last_ = {result[i], kept};
        if (kept.sizes() != lost.sizes()) return result;  // a node that mixes or splits images
        lost = lost - kept;
      }
      balance_.absorbed.push_back(lost);
      return result;
    };
  }

  /// In the network's own precision: this is a few numbers per layer, and every layer is read for it.
  static Tensor node_sum(const Tensor& t) {
    if (t.dim() == 0 || t.size(0) == 1) return t.sum().to(at::kCPU).to(at::kDouble).view({1});
    return (t.dim() == 1 ? t : t.sum(axes_but_first(t))).to(at::kCPU).to(at::kDouble);
  }

  TensorList unruled(const NodeBackward& b) {
    balance_.gradient_nodes.insert(b.node.op);
    return b.vjp(b.grads);
  }

  /// All to the signal, nothing to the gate; the numerator of a quotient.
  TensorList product(const NodeBackward& b) {
    TensorList result(b.needed.size());
    const Tensor& r = b.grads[0];
    const auto give = [&](size_t i, const Tensor& relevance) {
      result[i] = at::sum_to(relevance, b.inputs[i].sizes());
    };
    if (b.needed[0] != b.needed[1]) {
      give(b.needed[0] ? 0 : 1, r);
    } else if (b.node.op == "Div" || b.node.inputs[0] == b.node.inputs[1]) {
      give(0, r);
    } else if (const int gate = gate_of(b); gate >= 0) {
      give(static_cast<size_t>(1 - gate), r);
    } else {
      balance_.split_products.insert(b.node.name);
      give(0, r * 0.5);
      give(1, r * 0.5);
    }
    return result;
  }

  /// The factor that scales the other: the smaller one, or the one between 0 and 1; -1 when neither is.
  int gate_of(const NodeBackward& b) const {
    if (b.inputs[0].numel() != b.inputs[1].numel()) return b.inputs[0].numel() < b.inputs[1].numel() ? 0 : 1;
    const auto squashed = [&](size_t i) {
      const ValueId id = b.node.inputs[i];
      const Graph& graph = context_.network.graph();
      if (id >= static_cast<ValueId>(graph.values().size())) return false;
      const Node* producer = graph.producer_of(id);
      return producer && is_any(*producer, {"Sigmoid", "HardSigmoid", "Softmax", "Tanh"});
    };
    const bool first = squashed(0), second = squashed(1);
    return first == second ? -1 : first ? 0 : 1;
  }

  /// The darkest and the brightest picture, followed to the inputs of the first linear nodes: whatever moves or scales
  /// pixels inside the model (a Transpose, a Sub of the mean) is done to the bounds too.
  void measure_bounds() {
    const Tensor row = to_planes(context_, context_.input.narrow(0, 0, 1));
    TensorList at_bound[2];
    std::vector<ValueId> ids(order_.first_inputs().begin(), order_.first_inputs().end());
    for (int end = 0; end < 2; ++end) {
      const Tensor picture =
          from_planes(context_, context_.card.model_from_display(at::full_like(row, static_cast<double>(end))));
      Request request;
      for (const ValueId id : ids) {
        if (id != input_value(context_)) request.capture.push_back(id);
      }
      Values values;
      if (!request.capture.empty()) values = context_.network.run({picture}, request, context_.progress);
      values[input_value(context_)] = picture;
      for (const ValueId id : ids) at_bound[end].push_back(values.at(id));
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      const Tensor a = at_bound[0][i], b = at_bound[1][i];
      bounds_[ids[i]] = {at::minimum(a, b), at::maximum(a, b)};
    }
  }

  const Context& context_;
  const NodeCaches& caches_ = IncrementalPasses::caches_of(context_.network);
  const RelevanceRules& rules_;
  const LinearOrder& order_;
  RelevanceBalance& balance_;
  std::map<ValueId, Bounds> bounds_;
  std::pair<Tensor, Tensor> last_;  ///< The relevance last given out by a rule, and its sum per image.
  RuleMap map_;
};

std::vector<std::string> notes_on(const RelevanceBalance& balance, const std::string& owner) {
  const auto list = [](const std::set<std::string>& names) {
    std::string text;
    size_t count = 0;
    for (const std::string& name : names) {
      if (++count > 4) return text + " and " + std::to_string(names.size() - 4) + " more";
      text += (text.empty() ? "" : ", ") + printable(name, 60);
    }
    return text;
  };
  std::vector<std::string> notes;
  if (!balance.idle_lines.empty()) notes.push_back(owner + ": no node fits the rule for " + list(balance.idle_lines));
  if (!balance.gradient_nodes.empty()) {
    notes.push_back(owner + ": no rule is known for " + list(balance.gradient_nodes) +
                    "; their gradient stood in, which does not conserve relevance");
  }
  if (!balance.passed_norms.empty()) {
    notes.push_back(owner + ": " + list(balance.passed_norms) + " passes relevance on unchanged");
  }
  if (!balance.split_products.empty()) {
    notes.push_back(owner + ": neither factor of " + list(balance.split_products) + " is a gate; each gets half");
  }
  if (!balance.signed_nodes.empty()) {
    notes.push_back(owner + ": " + std::to_string(balance.signed_nodes.size()) +
                    " layers read negative activations, for which the method is not defined; positive contributions "
                    "share there");
  }
  return notes;
}

/// The losses of all nodes of a pass, [N].
Tensor total(const TensorList& losses, int64_t images) {
  Tensor sum = at::zeros({images}, at::kDouble);
  for (const Tensor& t : losses) {
    if (images == 1) {
      sum.add_(t.sum());
    } else if (t.size(0) == images) {  // a node that folds images into its rows says nothing about each
      sum.add_(t);
    }
  }
  return sum;
}

Tensor appended(const Tensor& a, const Tensor& b) { return a.defined() ? at::cat({a, b}) : b; }

}  // namespace

Relevance propagate(const Context& context, const RelevanceRules& rules, const std::vector<ValueId>& wrt,
                    bool from_score, const std::string& owner) {
  const LinearOrder order(context.network.graph(), input_value(context), context.target.value());
  RelevanceBalance balance;
  RuleMapBuilder builder(context, rules, order, balance);
  const RuleMap map = builder.build();
  const std::vector<int64_t> rows = all_rows(context);
  // What nodes absorb is collected while they run, so that each request must be served by a single pass.
  const int64_t images = num_images(context), step = gradient_rows(context, wrt);
  Relevance r;
  for (int64_t begin = 0; begin < images; begin += step) {
    const int64_t count = std::min(step, images - begin);
    GradientRequest request;
    request.input = context.input.narrow(0, begin, count);
    request.rows.assign(rows.begin() + begin, rows.begin() + begin + count);
    request.wrt = wrt;
    request.rules = map;
    request.keep_all = true;
    request.from_score = from_score;
    balance.absorbed.clear();
    const GradientResult found = gradients(context, request);
    r.absorbed = appended(r.absorbed, total(balance.absorbed, count));
    r.start = appended(r.start, found.start.to(at::kCPU));
    for (const ValueId id : wrt) r.values[id] = appended(r.values[id], found.gradients.at(id));
    r.rule_uses = found.rule_uses;
  }
  const int64_t remaining = r.rule_uses["batch-norm"];
  if (order.batch_norms() > remaining) r.rule_uses["batch-norm merged"] = order.batch_norms() - remaining;
  for (auto entry = r.rule_uses.begin(); entry != r.rule_uses.end();) {
    entry = entry->second == 0 ? r.rule_uses.erase(entry) : std::next(entry);
  }
  std::vector<std::string> notes = notes_on(balance, owner);
  if (remaining > 0) {
    notes.push_back(owner + ": " + std::to_string(remaining) + " of " + std::to_string(order.batch_norms()) +
                    " batch normalizations could not be merged into a linear neighbour and are layers of their own");
  }
  r.notes.assign(static_cast<size_t>(images), notes);
  return r;
}

}  // namespace pellucid
