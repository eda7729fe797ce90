// Graphs for functions made from a model's own.

#include "graph/rewriter.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// The element type that the model's weights have.
at::ScalarType weight_type(const Graph& graph) {
  for (const Value& v : graph.values()) {
    if (v.constant.defined() && v.constant.is_floating_point()) return v.constant.scalar_type();
  }
  return at::kFloat;
}

Tensor integers(const std::vector<int64_t>& numbers) { return at::tensor(numbers, at::TensorOptions(at::kLong)); }

}  // namespace

Graph with_average_pooling(const Graph& graph) {
  return rewrite("average-pooling", graph,
                 [&](Rewriter& rewriter, const Node& node) {
                   if (!is_op(node, "MaxPool")) return false;
                   bool dilated = false;
                   for (const int64_t d : node.integers("dilations", {})) dilated = dilated || d != 1;
                   if (dilated || node.outputs.size() > 1) {
                     throw_usage("average pooling: " + printable(node.name) + " of " + printable(graph.name) +
                                 (dilated ? " has dilations" : " also gives the places of its maxima"));
                   }
                   Node average = node;
                   average.op = "AveragePool";
                   average.attributes.erase("dilations");
                   average.attributes.erase("storage_order");
                   average.attributes["count_include_pad"] = int64_t{0};
                   rewriter.copy(average);
                   return true;
                 })
      .graph;
}

Graph with_ignored_border(const Graph& graph, int64_t border, bool channels_first) {
  std::optional<Shape> shape;
  const GraphInput& in = graph.inputs().front();
  const int64_t rows = channels_first ? 2 : 1;
  if (in.has_shape) {
    shape = in.shape;
    for (const int64_t axis : {rows, rows + 1}) {
      int64_t& side = shape->at(static_cast<size_t>(axis));
      if (side > 0) side += 2 * border;
    }
  }
  return with_input_stage(graph, shape, [&](Rewriter& to, const std::string& x) {
    to.constant(x + ".inside.starts", integers({border, border}));
    to.constant(x + ".inside.ends", integers({-border, -border}));
    to.constant(x + ".inside.axes", integers({rows, rows + 1}));
    return to.builder().node("Slice", {x, x + ".inside.starts", x + ".inside.ends", x + ".inside.axes"},
                             {x + ".inside"}, {}, "cut_border");
  });
}

Graph with_shifted_input(const Graph& graph, const Tensor& shift) {
  return with_input_stage(graph, std::nullopt, [&](Rewriter& to, const std::string& x) {
    to.constant(x + ".shift", shift.to(at::kCPU, graph.inputs().front().type));
    return to.builder().node("Sub", {x, x + ".shift"}, {x + ".unshifted"}, {}, "unshift");
  });
}

Graph symmetrized(const Graph& graph, ValueId of, int64_t i, int64_t j, int64_t height, int64_t width, int64_t channels,
                  bool channels_first) {
  Rewriter to(graph);
  to.inputs();
  const ValueId input = graph.inputs().front().value;
  const std::string x = to.name(input);
  const std::string suffix = ".swapped";
  for (const Node& node : graph.nodes()) to.copy(node);
  // The second copy reads the same weights and the picture with two pixels exchanged.
  std::vector<int64_t> order(static_cast<size_t>(height * width));
  for (size_t k = 0; k < order.size(); ++k) order[k] = static_cast<int64_t>(k);
  std::swap(order.at(static_cast<size_t>(i)), order.at(static_cast<size_t>(j)));
  const int64_t axis = channels_first ? 2 : 1;
  to.constant(x + ".swap", integers(order));
  to.constant(x + ".row_shape", channels_first ? integers({0, 0, -1}) : integers({0, -1, channels}));
  to.constant(x + ".picture_shape",
              channels_first ? integers({0, 0, height, width}) : integers({0, height, width, channels}));
  to.builder().node("Reshape", {x, x + ".row_shape"}, {x + ".row"}, {}, "flatten_picture");
  to.builder().node("Gather", {x + ".row", x + ".swap"}, {x + ".exchanged"}, {{"axis", axis}}, "swap_pixels");
  to.builder().node("Reshape", {x + ".exchanged", x + ".picture_shape"}, {x + suffix}, {}, "unflatten_picture");
  const auto second = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> result = to.names(ids);
    for (size_t k = 0; k < ids.size(); ++k) {
      if (ids[k] != kNoValue && !graph.value(ids[k]).constant.defined()) result[k] += suffix;
    }
    return result;
  };
  for (const Node& node : graph.nodes()) to.emit(node, second(node.inputs), second(node.outputs), node.name + suffix);
  const std::string mean = to.name(of) + ".symmetrized";
  to.constant(mean + ".half", at::full({}, 0.5, at::TensorOptions(weight_type(graph))));
  to.builder().node("Add", {to.name(of), to.name(of) + suffix}, {mean + ".sum"}, {}, "symmetrized_sum");
  to.builder().node("Mul", {mean + ".sum", mean + ".half"}, {mean}, {}, "symmetrized_mean");
  to.builder().output(mean);
  return to.finish();
}

namespace {

/// The graph up to one value, which becomes its only output after `make` has added nodes; dead nodes stay.
Graph with_head(const Graph& graph, const std::function<std::string(Rewriter&)>& make) {
  Rewriter to(graph);
  to.inputs();
  for (const Node& node : graph.nodes()) to.copy(node);
  const std::string head = make(to);
  to.builder().output(head);
  return to.finish();
}

}  // namespace

Graph with_combined_class(const Graph& graph, ValueId of, int64_t num_classes, int64_t t, int64_t u, double a,
                          double b) {
  const Node* gemm = graph.producer_of(of);
  const bool merges = gemm && is_op(*gemm, "Gemm") && input_constant(graph, *gemm, 1).defined() &&
                      (gemm->inputs.size() < 3 || gemm->inputs[2] == kNoValue ||
                       input_constant(graph, *gemm, 2).numel() == num_classes);
  const auto extended = [&](const Tensor& w, int64_t axis) {
    return at::cat({w, (w.select(axis, t) * a + w.select(axis, u) * b).unsqueeze(axis)}, axis);
  };
  if (merges) {
    const int64_t axis = gemm->integer("transB", 0) == 0 ? 1 : 0;
    std::map<ValueId, Tensor> changed{{gemm->inputs[1], extended(input_constant(graph, *gemm, 1), axis)}};
    const Tensor bias = input_constant(graph, *gemm, 2);
    if (bias.defined()) changed[gemm->inputs[2]] = extended(bias.flatten(), 0);
    const Graph wider = graph.with_constants(changed);
    return with_head(wider, [&](Rewriter& to) { return to.name(of); });
  }
  return with_head(graph, [&](Rewriter& to) {
    const Tensor eye = at::eye(num_classes, at::TensorOptions(weight_type(graph)));
    const std::string combined = to.name(of) + ".combined";
    to.constant(combined + ".weight", extended(eye, 1).contiguous());
    return to.builder().node("MatMul", {to.name(of), combined + ".weight"}, {combined}, {}, "combine_classes");
  });
}

Graph with_capped_scores(const Graph& graph, ValueId of, double cap) {
  return with_head(graph, [&](Rewriter& to) {
    const std::string& score = to.name(of);
    to.constant(score + ".cap", at::full({}, cap, at::TensorOptions(weight_type(graph))));
    to.builder().node("Sub", {score + ".cap", score}, {score + ".below_cap"}, {}, "below_cap");
    to.builder().node("Relu", {score + ".below_cap"}, {score + ".room"}, {}, "room");
    return to.builder().node("Sub", {score + ".cap", score + ".room"}, {score + ".capped"}, {}, "capped");
  });
}

}  // namespace pellucid
