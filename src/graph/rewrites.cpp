#include "graph/rewrites.h"

#include <ATen/CPUGeneratorImpl.h>

#include <functional>
#include <optional>
#include <set>

#include "graph/rewriter.h"

namespace pellucid {

namespace {

/// A convolution whose weight, and bias if it has one, are known.
bool is_plain_convolution(const Graph& graph, const Node& node) {
  const bool known = is_op(node, "Conv") && input_constant(graph, node, 1).defined() &&
                     input_constant(graph, node, 1).is_floating_point();
  const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  return known && (!has_bias || input_constant(graph, node, 2).defined());
}

Tensor bias_or_zeros(const Graph& graph, const Node& node, const Tensor& weight) {
  const Tensor bias = input_constant(graph, node, 2);
  return bias.defined() ? bias : at::zeros({weight.size(0)}, weight.options());
}

/// 1/2, 1, 2, 4, 1/2, ...: exact in every floating-point format.
Tensor powers_of_two(int64_t count, const Tensor& like) {
  return at::exp2(at::arange(count, at::kLong).remainder(4).to(at::kDouble) - 1).to(like.options());
}
/// One factor per slice of the first axis.
Tensor per_row(const Tensor& factors, const Tensor& t) {
  Shape shape(static_cast<size_t>(t.dim()), 1);
  shape[0] = -1;
  return factors.view(shape);
}

bool is_output(const Graph& graph, ValueId id) {
  for (const ValueId out : graph.outputs()) {
    if (out == id) return true;
  }
  return false;
}

/// The one node that reads a value which is no output, or null.
const Node* only_reader(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.consumers.size() != 1 || is_output(graph, id)) return nullptr;
  const Node& reader = graph.nodes()[static_cast<size_t>(value.consumers.front())];
  int64_t times = 0;
  for (const ValueId in : reader.inputs) times += in == id ? 1 : 0;
  return times == 1 ? &reader : nullptr;
}

}  // namespace

Rewrite unfold_batch_norm(const Graph& graph) {
  return rewrite("batch-norm-unfolded", graph, [&](Rewriter& to, const Node& node) {
    if (!is_plain_convolution(graph, node)) return false;
    const Tensor weight = input_constant(graph, node, 1);
    const Tensor bias = bias_or_zeros(graph, node, weight);
    const Tensor scale = powers_of_two(weight.size(0), weight);
    const std::string out = to.name(node.outputs[0]);
    const std::string from = to.name(node.inputs[0]);
    to.constant(out + ".unscaled.weight", weight / per_row(scale, weight));
    to.constant(out + ".norm.scale", scale * 2);
    to.constant(out + ".norm.shift", bias);
    to.constant(out + ".norm.mean", at::zeros_like(scale));
    to.constant(out + ".norm.var", at::full_like(scale, 4));
    to.emit(node, {from, out + ".unscaled.weight"}, {out + ".unscaled"}, node.name + ".unscaled");
    to.builder().node(
        "BatchNormalization",
        {out + ".unscaled", out + ".norm.scale", out + ".norm.shift", out + ".norm.mean", out + ".norm.var"}, {out},
        {{"epsilon", 0.0}}, node.name + ".norm");
    return true;
  });
}

Rewrite fold_batch_norm(const Graph& graph) {
  // Convolutions whose only reader is a normalization, by the value between them.
  const auto norm_after = [&](const Node& conv) -> const Node* {
    if (!is_plain_convolution(graph, conv)) return nullptr;
    const Node* next = only_reader(graph, conv.outputs[0]);
    if (!next || !is_op(*next, "BatchNormalization") || next->inputs[0] != conv.outputs[0]) return nullptr;
    for (size_t i = 1; i < 5; ++i) {
      if (!input_constant(graph, *next, i).defined()) return nullptr;
    }
    return next;
  };
  std::set<const Node*> merged;
  Rewrite result = rewrite("batch-norm-folded", graph, [&](Rewriter& to, const Node& node) {
    if (merged.count(&node)) return true;
    const Node* norm = norm_after(node);
    if (!norm) return false;
    merged.insert(norm);
    const auto parameter = [&](size_t i) { return input_constant(graph, *norm, i).to(at::kDouble); };
    const Tensor weight = input_constant(graph, node, 1);
    const Tensor factor = parameter(1) / at::sqrt(parameter(4) + norm->real("epsilon", 1e-5));
    const Tensor bias = (bias_or_zeros(graph, node, weight).to(at::kDouble) - parameter(3)) * factor + parameter(2);
    const std::string out = to.name(norm->outputs[0]);
    to.constant(out + ".folded.weight", (weight.to(at::kDouble) * per_row(factor, weight)).to(weight.scalar_type()));
    to.constant(out + ".folded.bias", bias.to(weight.scalar_type()));
    to.emit(node, {to.name(node.inputs[0]), out + ".folded.weight", out + ".folded.bias"}, {out}, node.name);
    return true;
  });
  result.changed = static_cast<int64_t>(merged.size());  // a pair counts once
  return result;
}

Rewrite split_convolutions(const Graph& graph) {
  return rewrite("convolutions-split", graph, [&](Rewriter& to, const Node& node) {
    if (!is_plain_convolution(graph, node) || node.integer("group", 1) != 1) return false;
    const Tensor weight = input_constant(graph, node, 1);
    const int64_t total = weight.size(0), half = total / 2;
    if (half == 0) return false;
    const Tensor bias = input_constant(graph, node, 2);
    const std::string out = to.name(node.outputs[0]);
    std::vector<std::string> parts;
    for (const auto& [suffix, begin, end] :
         {std::tuple{".first", int64_t{0}, half}, std::tuple{".second", half, total}}) {
      const std::string part = out + suffix;
      std::vector<std::string> in{to.name(node.inputs[0]), part + ".weight"};
      to.constant(part + ".weight", weight.slice(0, begin, end).contiguous());
      if (bias.defined()) {
        to.constant(part + ".bias", bias.slice(0, begin, end).contiguous());
        in.push_back(part + ".bias");
      }
      to.emit(node, in, {part}, node.name + suffix);
      parts.push_back(part);
    }
    to.builder().node("Concat", parts, {out}, {{"axis", int64_t{1}}}, node.name + ".joined");
    return true;
  });
}

namespace {

/// A layer, the channel-wise operations behind it, and the layer they lead to.
struct Chain {
  const Node* first;
  std::vector<const Node*> between;
  const Node* last;
};

enum class Across { kAnyChannelwise, kHomogeneous };

/// One filter per channel.
bool is_depthwise(const Graph& graph, const Node& node) {
  if (!is_plain_convolution(graph, node)) return false;
  const Tensor weight = input_constant(graph, node, 1);
  return weight.size(1) == 1 && weight.size(0) == node.integer("group", 1);
}

/// A node whose own weights follow the order of the channels.
bool has_channel_weights(const Graph& graph, const Node& node) {
  return is_op(node, "BatchNormalization") || is_depthwise(graph, node);
}

bool is_passable(const Graph& graph, const Node& node, Across across) {
  static const std::set<std::string> homogeneous{
      "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout"};
  static const std::set<std::string> channelwise{"Clip", "Sigmoid", "Tanh", "Elu", "Softplus", "HardSigmoid"};
  if (!node.domain.empty()) return false;
  if (homogeneous.count(node.op)) return node.outputs.size() == 1 || node.op == "Dropout";
  if (across == Across::kHomogeneous) return false;
  if (node.op == "BatchNormalization") {
    for (size_t i = 1; i < 5; ++i) {
      if (!input_constant(graph, node, i).defined()) return false;
    }
    return node.outputs.size() == 1;
  }
  return channelwise.count(node.op) != 0 || is_depthwise(graph, node);
}

/// A Flatten that keeps one number per channel.
bool flattens_pooled(const Graph& graph, const Node& node) {
  const Node* before = graph.producer_of(node.inputs[0]);
  return is_op(node, "Flatten") && node.integer("axis", 1) == 1 && before &&
         (is_op(*before, "GlobalAveragePool") || is_op(*before, "GlobalMaxPool"));
}

/// A linear layer at the end of a chain: its weight has one column (Conv, transposed Gemm) or row per channel.
bool ends_chain(const Graph& graph, const Node& node, bool flat) {
  if (flat) {
    return is_op(node, "Gemm") && input_constant(graph, node, 1).defined() && node.integer("transA", 0) == 0;
  }
  return is_plain_convolution(graph, node) && node.integer("group", 1) == 1;
}

std::vector<Chain> chains(const Graph& graph, Across across) {
  std::vector<Chain> result;
  // A weight that several nodes read must stay as it is.
  const auto owns = [&](const Node& node) {
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != kNoValue && graph.value(node.inputs[i]).consumers.size() != 1) return false;
    }
    return true;
  };
  for (const Node& node : graph.nodes()) {
    if (!is_plain_convolution(graph, node) || !owns(node) || node.integer("group", 1) != 1) {
      continue;
    }
    Chain chain{&node, {}, nullptr};
    bool flat = false;
    for (const Node* at = only_reader(graph, node.outputs[0]); at; at = only_reader(graph, at->outputs[0])) {
      const ValueId reached = chain.between.empty() ? node.outputs[0] : chain.between.back()->outputs[0];
      if (at->inputs[0] != reached) break;
      if ((has_channel_weights(graph, *at) || ends_chain(graph, *at, flat)) && !owns(*at)) break;
      if (ends_chain(graph, *at, flat)) {
        chain.last = at;
        break;
      }
      const bool flattens = !flat && flattens_pooled(graph, *at);
      if (!flattens && (flat || !is_passable(graph, *at, across))) break;
      flat = flat || flattens;
      chain.between.push_back(at);
    }
    if (chain.last) result.push_back(chain);
  }
  return result;
}

/// The axis of the last layer's weight that counts the chain's channels.
int64_t channel_axis(const Node& last) { return is_op(last, "Gemm") && last.integer("transB", 0) == 0 ? 0 : 1; }

using Constants = std::map<ValueId, Tensor>;
/// Weights on their way to being replaced: a layer in the middle is the end of one chain and the start of another.
const Tensor& current(const Graph& graph, const Constants& changed, ValueId id) {
  const auto found = changed.find(id);
  return found == changed.end() ? graph.value(id).constant : found->second;
}

}  // namespace

Rewrite permute_channels(const Graph& graph, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  Constants changed;
  const std::vector<Chain> found = chains(graph, Across::kAnyChannelwise);
  for (const Chain& chain : found) {
    const auto select = [&](ValueId id, int64_t axis, const Tensor& order) {
      if (id != kNoValue) changed[id] = current(graph, changed, id).index_select(axis, order);
    };
    const int64_t channels = graph.value(chain.first->inputs[1]).constant.size(0);
    const Tensor order = at::randperm(channels, generator, at::TensorOptions(at::kLong));
    for (size_t i = 1; i < chain.first->inputs.size(); ++i) select(chain.first->inputs[i], 0, order);
    for (const Node* node : chain.between) {
      if (!has_channel_weights(graph, *node)) continue;
      for (size_t i = 1; i < node->inputs.size(); ++i) select(node->inputs[i], 0, order);
    }
    select(chain.last->inputs[1], channel_axis(*chain.last), order);
  }
  return {"channels-permuted", graph.with_constants(changed), static_cast<int64_t>(found.size())};
}

Rewrite rescale_channels(const Graph& graph, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  Constants changed;
  const std::vector<Chain> found = chains(graph, Across::kHomogeneous);
  for (const Chain& chain : found) {
    const Tensor& weight = graph.value(chain.first->inputs[1]).constant;
    const Tensor factor =
        at::exp2(at::randint(-2, 3, {weight.size(0)}, generator, at::TensorOptions(at::kDouble))).to(weight.options());
    for (size_t i = 1; i < chain.first->inputs.size(); ++i) {
      const ValueId id = chain.first->inputs[i];
      if (id == kNoValue) continue;
      const Tensor& old = current(graph, changed, id);
      changed[id] = old * per_row(factor, old);
    }
    const ValueId last = chain.last->inputs[1];
    const Tensor& old = current(graph, changed, last);
    Shape shape(static_cast<size_t>(old.dim()), 1);
    shape[static_cast<size_t>(channel_axis(*chain.last))] = -1;
    changed[last] = old / factor.view(shape);
  }
  return {"channels-rescaled", graph.with_constants(changed), static_cast<int64_t>(found.size())};
}

Rewrite insert_rectifier_identity(const Graph& graph) {
  // Not at zero, where many pixels lie and a rectifier has no derivative.
  constexpr double kKink = 0.01234567;
  return {"rectifier-identity",
          with_input_stage(graph, std::nullopt,
                           [&](Rewriter& to, const std::string& x) {
                             to.constant(x + ".kink",
                                         at::full({}, kKink, at::TensorOptions(graph.inputs().front().type)));
                             GraphBuilder& b = to.builder();
                             b.node("Sub", {x, x + ".kink"}, {x + ".above"}, {}, "above_kink");
                             b.node("Neg", {x + ".above"}, {x + ".below"}, {}, "below_kink");
                             b.node("Relu", {x + ".above"}, {x + ".up"}, {}, "rectified_up");
                             b.node("Relu", {x + ".below"}, {x + ".down"}, {}, "rectified_down");
                             b.node("Sub", {x + ".up", x + ".down"}, {x + ".rejoined"}, {}, "rejoined");
                             return b.node("Add", {x + ".rejoined", x + ".kink"}, {x + ".same"}, {}, "same");
                           }),
          1};
}

std::vector<Rewrite> exact_rewrites(const Graph& graph, uint64_t seed) {
  std::vector<Rewrite> list;
  list.push_back(unfold_batch_norm(graph));
  list.push_back(fold_batch_norm(graph));
  list.push_back(split_convolutions(graph));
  list.push_back(permute_channels(graph, seed));
  list.push_back(rescale_channels(graph, seed));
  list.push_back(insert_rectifier_identity(graph));
  std::vector<Rewrite> result;
  for (Rewrite& r : list) {
    if (r.changed > 0) result.push_back(std::move(r));
  }
  return result;
}

}  // namespace pellucid
