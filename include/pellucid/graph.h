#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "pellucid/tensor.h"

namespace pellucid {

/// Index of a value in Graph::values. kNoValue marks an optional input that is left out.
using ValueId = int32_t;
constexpr ValueId kNoValue = -1;

using Attribute = std::variant<int64_t, double, std::string, Tensor, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

/// One operation of the graph, as the file has it.
struct Node {
  std::string name;              ///< As in the file; "<op>_<index>" when the file leaves it empty.
  std::string op;                ///< Operator type, e.g. "Conv".
  std::string domain;            ///< Empty for ONNX's own operators.
  int64_t opset = 0;             ///< Version of the operator set that `domain` is imported with.
  std::vector<ValueId> inputs;   ///< kNoValue for optional ones left out.
  std::vector<ValueId> outputs;  ///< At least one. Those omitted at the end are left out, others unread.
  std::map<std::string, Attribute> attributes;

  bool has(const std::string& attribute) const { return attributes.count(attribute) != 0; }
  /// The attribute, or `fallback` when absent. Throw Error(kInvalidInput) when it is there with another type.
  int64_t integer(const std::string& attribute, int64_t fallback) const;
  double real(const std::string& attribute, double fallback) const;
  std::string text(const std::string& attribute, const std::string& fallback) const;
  std::vector<int64_t> integers(const std::string& attribute, std::vector<int64_t> fallback = {}) const;
  std::vector<double> reals(const std::string& attribute, std::vector<double> fallback = {}) const;
  /// Undefined when absent.
  Tensor tensor(const std::string& attribute) const;
};

/// One named tensor of the graph: an input, a weight, or what a node produces.
struct Value {
  std::string name;
  int32_t producer = -1;           ///< Index of the node that makes it; -1 for inputs and initializers.
  std::vector<int32_t> consumers;  ///< Nodes that read it, in topological order, each once.
  Tensor constant;                 ///< Defined for initializers.
};

/// A graph input: declared element type and shape; -1 where the file leaves a dimension symbolic or open.
struct GraphInput {
  ValueId value = kNoValue;
  at::ScalarType type = at::kFloat;
  bool has_shape = false;
  Shape shape;
};

/// An immutable network description: nodes in topological order, named values, weights. Made by load_onnx or
/// GraphBuilder. Copying shares the weights. Safe to share between threads.
class Graph {
 public:
  std::string name;      ///< The file name it came from, for messages.
  std::string producer;  ///< Exporting tool and version as the file says.
  int64_t ir_version = 0;
  std::map<std::string, int64_t> opsets;
  std::map<std::string, std::string> metadata;

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<GraphInput>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  /// The shape that the file declares for each output, -1 where open; absent when it declares none.
  const std::vector<std::optional<Shape>>& output_shapes() const { return output_shapes_; }

  const Value& value(ValueId id) const { return values_.at(static_cast<size_t>(id)); }
  const Node* producer_of(ValueId id) const;
  /// The value of exactly this name, or kNoValue.
  ValueId find(std::string_view value_name) const;

  /// Whether an input of a node is a learned weight: a floating-point constant that is neither a running statistic of a
  /// BatchNormalization nor a number of a formula (the bounds of a Clip, the 6 of x / 6).
  bool is_learned(const Node& node, size_t input) const;
  /// Learned weights, shared ones counted once.
  int64_t num_parameters() const;
  int64_t parameter_bytes() const;

  /// The same graph with some initializers replaced (same dtype; any shape).
  Graph with_constants(const std::map<ValueId, Tensor>& replaced) const;

 private:
  friend class GraphBuilder;
  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::vector<GraphInput> inputs_;
  std::vector<ValueId> outputs_;
  std::vector<std::optional<Shape>> output_shapes_;
  std::unordered_map<std::string, ValueId> by_name_;
};

/// Builds a Graph by hand or from a file: values are named, nodes may come in any order, `finish` checks and sorts
/// them.
///
///   GraphBuilder b;
///   b.input("x", {-1, 3, 32, 32});
///   b.constant("w", weights);
///   b.node("Conv", {"x", "w"}, {"y"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
///   b.output("y", Shape{-1, 8, 32, 32});
///   Graph graph = b.finish();
class GraphBuilder {
 public:
  explicit GraphBuilder(int64_t opset = 13);
  void set_name(std::string name) { graph_.name = std::move(name); }
  void set_opset(const std::string& domain, int64_t version) { graph_.opsets[domain] = version; }
  Graph& properties() { return graph_; }

  void input(const std::string& name, Shape shape, at::ScalarType type = at::kFloat);
  void input_of_unknown_shape(const std::string& name, at::ScalarType type = at::kFloat);
  void constant(const std::string& name, Tensor value);
  /// An empty input name is an optional input left out; an empty output name one that nobody reads. Returns the name of
  /// the first output.
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::vector<std::string>& outputs, std::map<std::string, Attribute> attributes = {},
                   const std::string& name = {}, const std::string& domain = {});
  /// `shape` is what an exported file declares; other tools refuse outputs without one.
  void output(const std::string& name, std::optional<Shape> shape = std::nullopt);

  /// Throws Error(kInvalidInput) on a duplicate name, an input that nothing produces, or a cycle, naming the node.
  /// Linear in the number of nodes and edges.
  Graph finish();

 private:
  ValueId value_named(const std::string& name);
  Graph graph_;
  std::vector<char> defined_;
};

/// Limits on what an importer may allocate or open.
struct LoadOptions {
  int64_t max_bytes = int64_t{16} << 30;  ///< Largest model file, and largest sum of weights, accepted.
};

/// Reads an ONNX file: opset 7 and later, IR version 3 and later, weights inside the file or in external files below
/// the model's folder. Throws Error(kInvalidInput) for a damaged or hostile file and Error(kUnsupported) for what
/// Pellucid does not have, listing every unsupported operator that an output needs at once; those of dead code are left
/// out of the graph.
Graph load_onnx(const std::string& path, const LoadOptions& options = {});
/// The same from memory; external weights are refused.
Graph parse_onnx(std::string_view bytes, const std::string& name, const LoadOptions& options = {});

/// The graph as an ONNX file (IR version 8, weights inside), readable by other tools. `save_onnx` writes it atomically.
std::string onnx_bytes(const Graph& graph);
void save_onnx(const Graph& graph, const std::string& path);

}  // namespace pellucid
