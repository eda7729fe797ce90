#include "graph/rewriter.h"

namespace pellucid {

Rewrite rewrite(const char* name, const Graph& graph, const std::function<bool(Rewriter&, const Node&)>& replace) {
  Rewriter rewriter(graph);
  rewriter.inputs();
  int64_t changed = 0;
  for (const Node& node : graph.nodes()) {
    if (replace(rewriter, node)) {
      ++changed;
    } else {
      rewriter.copy(node);
    }
  }
  rewriter.outputs();
  return {name, rewriter.finish(), changed};
}

Graph with_input_stage(const Graph& graph, const std::optional<Shape>& shape,
                       const std::function<std::string(Rewriter&, const std::string&)>& make) {
  Rewriter to(graph);
  const GraphInput& in = graph.inputs().front();
  if (shape) {
    to.builder().input(to.name(in.value), *shape, in.type);
  } else if (in.has_shape) {
    to.builder().input(to.name(in.value), in.shape, in.type);
  } else {
    to.builder().input_of_unknown_shape(to.name(in.value), in.type);
  }
  const std::string from = make(to, to.name(in.value));
  for (const Node& node : graph.nodes()) {
    std::vector<std::string> names = to.names(node.inputs);
    for (size_t i = 0; i < names.size(); ++i) {
      if (node.inputs[i] == in.value) names[i] = from;
    }
    to.emit(node, names, to.names(node.outputs), node.name);
  }
  to.outputs();
  return to.finish();
}

Tensor input_constant(const Graph& graph, const Node& node, size_t index) {
  const ValueId id = index < node.inputs.size() ? node.inputs[index] : kNoValue;
  return id == kNoValue ? Tensor() : graph.value(id).constant;
}

bool is_op(const Node& node, const char* op) { return node.op == op && node.domain.empty(); }

}  // namespace pellucid
