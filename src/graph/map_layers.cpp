// Which layers hold a map: positions in rows and columns that still lie where the input's do. Convolutional layers
// [N,K,h,w] do; so do the tokens [N,T,D] of transformers, whose matrices of attention have four axes too but none of
// positions.

#include "graph/map_layers.h"

#include <cmath>

#include "graph/node_kinds.h"

namespace pellucid {

namespace {

constexpr int64_t kMostLeadingTokens = 8;

/// Whether tokens are the positions of `map`, after at most eight of another kind.
bool lie_on(const TokenGrid& map, int64_t tokens) {
  const int64_t leading = tokens - map.rows * map.columns;
  return map.rows > 0 && leading >= 0 && leading <= kMostLeadingTokens;
}

/// The sum with a bias after a product of matrices: a part of a dense layer.
bool adds_bias(const Graph& graph, const Node& node) {
  bool constant = false, product = false;
  for (const ValueId in : node.inputs) {
    if (in == kNoValue) continue;
    const Node* const before = graph.producer_of(in);
    constant = constant || graph.value(in).constant.defined();
    product = product || (before && is_any(before->op, {"MatMul", "Gemm"}));
  }
  return constant && product;
}

/// What enters the last block of attention: the last sum or normalization before the last Softmax that leads on.
class LastAttention {
 public:
  explicit LastAttention(const Graph& graph) : graph_(graph) {}
  void see(const LayerInfo& info, bool tokens) {
    if (info.op == "Softmax" && candidate_) found_ = candidate_;
    if (!tokens || !is_any(info.op, {"LayerNormalization", "Add"})) return;
    const Node* const node = graph_.producer_of(info.value);
    if (!adds_bias(graph_, *node)) candidate_ = &info;
  }
  const LayerInfo* found() const { return found_ ? found_ : candidate_; }

 private:
  const Graph& graph_;
  const LayerInfo* candidate_ = nullptr;
  const LayerInfo* found_ = nullptr;
};

}  // namespace

TokenGrid token_grid(int64_t tokens) {
  for (int64_t leading = 0; leading <= kMostLeadingTokens; ++leading) {
    const int64_t rest = tokens - leading;
    const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(rest, 0)))));
    if (side >= 2 && side * side == rest) return {side, side, leading};
  }
  return {};
}

namespace {

/// By value id: whether it is a map, and the last map on the way to it.
struct Maps {
  std::vector<char> is_map;
  std::vector<TokenGrid> before;

  TokenGrid tokens(const Shape& shape, ValueId id) const {
    if (shape.size() != 3) return {};
    const TokenGrid& map = before[static_cast<size_t>(id)];
    if (lie_on(map, shape[1])) return {map.rows, map.columns, shape[1] - map.rows * map.columns};
    return map.rows > 0 ? TokenGrid{} : token_grid(shape[1]);
  }
};

Maps find_maps(const Graph& graph, const LayerTable& layers) {
  const size_t count = graph.values().size();
  std::vector<char> among_tokens(count, 0), channels_last(count, 0);
  Maps maps{std::vector<char>(count, 0), std::vector<TokenGrid>(count)};
  for (const Node& node : graph.nodes()) {
    TokenGrid before;
    bool tokens = false, last = false;
    for (const ValueId in : node.inputs) {
      if (in == kNoValue) continue;
      const auto i = static_cast<size_t>(in);
      if (before.rows == 0) before = maps.before[i];
      tokens = tokens || among_tokens[i];
      last = last || channels_last[i];
    }
    if (node.op == "Transpose") {
      const std::vector<int64_t> perm = node.integers("perm");
      if (perm == std::vector<int64_t>{0, 2, 3, 1}) last = true;
      if (perm == std::vector<int64_t>{0, 3, 1, 2}) last = false;
    }
    for (const ValueId out : node.outputs) {
      if (out == kNoValue) continue;
      const auto o = static_cast<size_t>(out);
      const Shape& s = layers.shape(out);
      // Back from tokens to a map of the same positions.
      const bool again = tokens && !last && s.size() == 4 && s[2] == before.rows && s[3] == before.columns;
      among_tokens[o] = (tokens && !again) || (s.size() == 3 && lie_on(before, s[1]));
      channels_last[o] = last;
      maps.is_map[o] = is_spatial(s) && !among_tokens[o] && !last;
      maps.before[o] = maps.is_map[o] ? TokenGrid{s[2], s[3], 0} : before;
    }
  }
  return maps;
}

}  // namespace

TokenGrid grid_of_tokens(const Graph& graph, const LayerTable& layers, ValueId id) {
  return find_maps(graph, layers).tokens(layers.shape(id), id);
}

bool leads_to(const Graph& graph, ValueId from, ValueId to) {
  std::vector<char> reached(graph.values().size(), 0);
  reached.at(static_cast<size_t>(from)) = 1;
  for (const Node& node : graph.nodes()) {
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [&](ValueId id) { return id != kNoValue && reached[static_cast<size_t>(id)]; });
    if (!any) continue;
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) reached[static_cast<size_t>(id)] = 1;
    }
  }
  return reached.at(static_cast<size_t>(to)) != 0;
}

void LayerTable::judge_cam(const Graph& graph) {
  std::vector<char> leads(graph.values().size(), 0);
  leads[static_cast<size_t>(logits_)] = 1;
  const Shape& out_shape = shapes_[static_cast<size_t>(logits_)];
  const auto& nodes = graph.nodes();
  for (size_t i = nodes.size(); i-- > 0;) {
    const bool needed = std::any_of(nodes[i].outputs.begin(), nodes[i].outputs.end(),
                                    [&](ValueId id) { return id != kNoValue && leads[static_cast<size_t>(id)]; });
    if (!needed) continue;
    for (const ValueId in : nodes[i].inputs) {
      if (in != kNoValue) leads[static_cast<size_t>(in)] = 1;
    }
  }
  // What matters is that the layer is a map, not how much of the input a position sees: a squeeze-and-excitation gate
  // lets every position see all of it.
  const Maps maps = find_maps(graph, *this);
  // The last such map that is a feature: not a copy, not pooled or resized, and not the class map of a segmenter.
  const auto is_feature = [&](const LayerInfo& info) {
    return !is_any(info.op, {"MaxPool", "AveragePool", "LpPool", "Dropout", "Identity", "Pad", "Transpose", "Resize",
                             "Upsample", "Slice", "Split", "Reshape", "Cast"}) &&
           !(out_shape.size() == 4 && info.shape[1] == out_shape[1]);
  };
  const LayerInfo* best = nullptr;
  LastAttention attention(graph);
  for (LayerInfo& info : layers_) {
    if (info.value == logits_ || !leads[static_cast<size_t>(info.value)]) continue;
    const bool tokens =
        maps.tokens(info.shape, info.value).rows > 0 && !is_any(info.op, {"Reshape", "Transpose", "Concat"});
    info.suits_cam = tokens || maps.is_map[static_cast<size_t>(info.value)];
    if (info.suits_cam && !tokens && is_feature(info)) best = &info;
    attention.see(info, tokens);
  }
  const LayerInfo* const tokens = attention.found();
  if (tokens && (!best || tokens->index > best->index)) best = tokens;
  if (best) cam_layer_ = best->value;
}

}  // namespace pellucid
