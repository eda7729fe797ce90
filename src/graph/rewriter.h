#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/rewrites.h"

namespace pellucid {

/// Copies a graph node by node into a builder, with the chance to emit something else for a node.
class Rewriter {
 public:
  explicit Rewriter(const Graph& graph) : graph_(graph), builder_(opset_of(graph)) {
    Graph& properties = builder_.properties();
    properties.name = graph.name;
    properties.producer = graph.producer;
    properties.opsets = graph.opsets;
    properties.metadata = graph.metadata;
  }

  GraphBuilder& builder() { return builder_; }

  void inputs() {
    for (const GraphInput& in : graph_.inputs()) {
      if (in.has_shape) {
        builder_.input(name(in.value), in.shape, in.type);
      } else {
        builder_.input_of_unknown_shape(name(in.value), in.type);
      }
    }
  }

  /// The names that a node reads and writes.
  std::vector<std::string> names(const std::vector<ValueId>& ids) const {
    std::vector<std::string> result;
    for (const ValueId id : ids) result.push_back(id == kNoValue ? std::string() : name(id));
    return result;
  }
  const std::string& name(ValueId id) const { return graph_.value(id).name; }

  void copy(const Node& node) { emit(node, names(node.inputs), names(node.outputs), node.name); }
  void emit(const Node& node, const std::vector<std::string>& in, const std::vector<std::string>& out,
            const std::string& node_name) {
    builder_.node(node.op, in, out, node.attributes, node_name, node.domain);
  }

  /// A weight in place of the one of this name.
  void constant(const std::string& name, const Tensor& value) {
    if (written_.insert(name).second) builder_.constant(name, value);
  }
  /// The weights that were not replaced; unused ones are left out.
  void constants() {
    std::set<ValueId> used;
    for (const Value& v : builder_.properties().values()) {
      const ValueId id = graph_.find(v.name);
      if (id != kNoValue && graph_.value(id).constant.defined() && !v.constant.defined()) used.insert(id);
    }
    for (const ValueId id : used) constant(name(id), graph_.value(id).constant);
  }
  void outputs() {
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      builder_.output(name(graph_.outputs()[i]), graph_.output_shapes()[i]);
    }
  }
  Graph finish() {
    constants();
    return builder_.finish();
  }

 private:
  static int64_t opset_of(const Graph& graph) {
    const auto found = graph.opsets.find("");
    return found == graph.opsets.end() ? 13 : found->second;
  }

  const Graph& graph_;
  GraphBuilder builder_;
  std::set<std::string> written_;
};

/// The graph with `replace(node)` in place of the nodes for which it returns true.
Rewrite rewrite(const char* name, const Graph& graph, const std::function<bool(Rewriter&, const Node&)>& replace);

/// The graph with another input in front: `make` writes nodes that read the input's name and returns what the old nodes
/// read instead. Names of old values stay.
Graph with_input_stage(const Graph& graph, const std::optional<Shape>& shape,
                       const std::function<std::string(Rewriter&, const std::string&)>& make);

/// The weight that an input of a node is; undefined for one that is computed or missing.
Tensor input_constant(const Graph& graph, const Node& node, size_t index);

bool is_op(const Node& node, const char* op);

}  // namespace pellucid
