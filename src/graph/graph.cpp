#include "pellucid/graph.h"

#include <algorithm>
#include <queue>
#include <set>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

template <class T>
const T* attribute_as(const Node& node, const std::string& key, const char* expected) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return nullptr;
  const T* value = std::get_if<T>(&it->second);
  if (!value) {
    throw_invalid("node '" + printable(node.name) + "' (" + node.op + "): attribute '" + key + "' must be " + expected);
  }
  return value;
}

}  // namespace

int64_t Node::integer(const std::string& attribute, int64_t fallback) const {
  const auto* v = attribute_as<int64_t>(*this, attribute, "an integer");
  return v ? *v : fallback;
}

double Node::real(const std::string& attribute, double fallback) const {
  const auto* v = attribute_as<double>(*this, attribute, "a number");
  return v ? *v : fallback;
}

std::string Node::text(const std::string& attribute, const std::string& fallback) const {
  const auto* v = attribute_as<std::string>(*this, attribute, "a string");
  return v ? *v : fallback;
}

std::vector<int64_t> Node::integers(const std::string& attribute, std::vector<int64_t> fallback) const {
  const auto* v = attribute_as<std::vector<int64_t>>(*this, attribute, "a list of integers");
  return v ? *v : fallback;
}

std::vector<double> Node::reals(const std::string& attribute, std::vector<double> fallback) const {
  const auto* v = attribute_as<std::vector<double>>(*this, attribute, "a list of numbers");
  return v ? *v : fallback;
}

Tensor Node::tensor(const std::string& attribute) const {
  const auto* v = attribute_as<Tensor>(*this, attribute, "a tensor");
  return v ? *v : Tensor();
}

const Node* Graph::producer_of(ValueId id) const {
  const int32_t index = value(id).producer;
  return index < 0 ? nullptr : &nodes_[static_cast<size_t>(index)];
}

ValueId Graph::find(std::string_view value_name) const {
  const auto it = by_name_.find(std::string(value_name));
  return it == by_name_.end() ? kNoValue : it->second;
}

bool Graph::is_learned(const Node& node, size_t input) const {
  const ValueId id = node.inputs.at(input);
  if (id == kNoValue) return false;
  const Tensor& constant = value(id).constant;
  if (!constant.defined() || !constant.is_floating_point()) return false;
  const auto is_any = [&](std::initializer_list<const char*> ops) {
    return std::any_of(ops.begin(), ops.end(), [&](const char* op) { return node.op == op; });
  };
  if (is_any({"Clip", "Dropout", "Pad", "Resize", "Upsample"})) return false;
  if (node.op == "BatchNormalization") return input < 3;
  // 0.5 * x, x / 6, x + 3: numbers of a formula.
  const bool formula = is_any({"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where"});
  return !(formula && constant.numel() == 1);
}

int64_t Graph::num_parameters() const {
  int64_t total = 0;
  std::set<ValueId> counted;
  for (const Node& node : nodes_) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (is_learned(node, i) && counted.insert(node.inputs[i]).second) total += value(node.inputs[i]).constant.numel();
    }
  }
  return total;
}

int64_t Graph::parameter_bytes() const {
  int64_t total = 0;
  for (const Value& v : values_) {
    if (v.constant.defined()) total += static_cast<int64_t>(v.constant.nbytes());
  }
  return total;
}

Graph Graph::with_constants(const std::map<ValueId, Tensor>& replaced) const {
  Graph copy = *this;
  for (const auto& [id, tensor] : replaced) {
    Value& v = copy.values_.at(static_cast<size_t>(id));
    if (!v.constant.defined()) throw_usage(name + ": '" + printable(v.name) + "' is not a weight");
    v.constant = tensor;
  }
  return copy;
}

GraphBuilder::GraphBuilder(int64_t opset) {
  graph_.opsets[""] = opset;
  graph_.ir_version = 8;
  graph_.name = "graph";
}

ValueId GraphBuilder::value_named(const std::string& name) {
  const auto [it, inserted] = graph_.by_name_.try_emplace(name, static_cast<ValueId>(graph_.values_.size()));
  if (inserted) {
    graph_.values_.push_back(Value{name, -1, {}, {}});
    defined_.push_back(0);
  }
  return it->second;
}

void GraphBuilder::input(const std::string& name, Shape shape, at::ScalarType type) {
  input_of_unknown_shape(name, type);
  graph_.inputs_.back().has_shape = true;
  graph_.inputs_.back().shape = std::move(shape);
}

void GraphBuilder::input_of_unknown_shape(const std::string& name, at::ScalarType type) {
  const ValueId id = value_named(name);
  if (defined_[static_cast<size_t>(id)]++)
    throw_invalid(graph_.name + ": input '" + printable(name) + "' is defined twice");
  graph_.inputs_.push_back(GraphInput{id, type, false, {}});
}

void GraphBuilder::constant(const std::string& name, Tensor value) {
  const ValueId id = value_named(name);
  if (defined_[static_cast<size_t>(id)]++) {
    throw_invalid(graph_.name + ": initializer '" + printable(name) + "' is defined twice");
  }
  graph_.values_[static_cast<size_t>(id)].constant = std::move(value);
}

std::string GraphBuilder::node(const std::string& op, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs, std::map<std::string, Attribute> attributes,
                               const std::string& name, const std::string& domain) {
  Node n;
  n.op = op;
  n.domain = domain == "ai.onnx" ? std::string() : domain;
  n.name = name.empty() ? op + "_" + std::to_string(graph_.nodes_.size()) : name;
  const auto version = graph_.opsets.find(n.domain);
  n.opset = version == graph_.opsets.end() ? 0 : version->second;
  n.attributes = std::move(attributes);
  for (const std::string& in : inputs) n.inputs.push_back(in.empty() ? kNoValue : value_named(in));
  const auto index = static_cast<int32_t>(graph_.nodes_.size());
  // Omitted outputs that still count get values that nobody reads: the first, one before a named one, parts of a Split.
  size_t count = std::max<size_t>(1, outputs.size());
  while (op != "Split" && count > 1 && outputs[count - 1].empty()) --count;
  for (size_t i = 0; i < count; ++i) {
    std::string out = i < outputs.size() ? outputs[i] : std::string();
    if (out.empty()) {
      out = n.name + ".output" + std::to_string(i);
      while (graph_.find(out) != kNoValue) out += "_";
    }
    const ValueId id = value_named(out);
    if (defined_[static_cast<size_t>(id)]++) {
      throw_invalid(graph_.name + ": node '" + printable(n.name) + "' (" + op + "): its output '" + printable(out) +
                    "' is already defined");
    }
    graph_.values_[static_cast<size_t>(id)].producer = index;
    n.outputs.push_back(id);
  }
  graph_.nodes_.push_back(std::move(n));
  return outputs.empty() ? std::string() : outputs.front();
}

void GraphBuilder::output(const std::string& name, std::optional<Shape> shape) {
  graph_.outputs_.push_back(value_named(name));
  graph_.output_shapes_.push_back(std::move(shape));
}

Graph GraphBuilder::finish() {
  const std::string& file = graph_.name;
  for (const ValueId id : graph_.outputs_) {
    if (!defined_[static_cast<size_t>(id)]) {
      throw_invalid(file + ": output '" + printable(graph_.value(id).name) + "' is not produced by any node");
    }
  }
  // Kahn's algorithm; the lowest ready index goes first, so that a sorted file keeps its order.
  const size_t count = graph_.nodes_.size();
  std::vector<int32_t> waiting(count, 0);
  std::vector<std::vector<int32_t>> readers(graph_.values_.size());
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
  for (size_t i = 0; i < count; ++i) {
    for (const ValueId in : graph_.nodes_[i].inputs) {
      if (in == kNoValue) continue;
      if (!defined_[static_cast<size_t>(in)]) {
        throw_invalid(file + ": node '" + printable(graph_.nodes_[i].name) + "' (" + graph_.nodes_[i].op +
                      "): its input '" + printable(graph_.value(in).name) +
                      "' is not produced by any node, input or initializer");
      }
      if (graph_.value(in).producer >= 0) {
        ++waiting[i];
        readers[static_cast<size_t>(in)].push_back(static_cast<int32_t>(i));
      }
    }
    if (waiting[i] == 0) ready.push(static_cast<int32_t>(i));
  }
  std::vector<int32_t> order;
  order.reserve(count);
  while (!ready.empty()) {
    const int32_t index = ready.top();
    ready.pop();
    order.push_back(index);
    for (const ValueId out : graph_.nodes_[static_cast<size_t>(index)].outputs) {
      if (out == kNoValue) continue;
      for (const int32_t reader : readers[static_cast<size_t>(out)]) {
        if (--waiting[static_cast<size_t>(reader)] == 0) ready.push(reader);
      }
    }
  }
  if (order.size() != count) {
    // Nodes behind a cycle wait as well: walking back from any of them along waiting producers ends inside one.
    const auto waiting_producer = [&](size_t node) {
      for (const ValueId in : graph_.nodes_[node].inputs) {
        const int32_t producer = in == kNoValue ? -1 : graph_.value(in).producer;
        if (producer >= 0 && waiting[static_cast<size_t>(producer)] > 0) return static_cast<size_t>(producer);
      }
      return node;
    };
    size_t at = 0;
    while (waiting[at] == 0) ++at;
    std::vector<char> visited(count, 0);
    for (; !visited[at]; at = waiting_producer(at)) visited[at] = 1;
    // Once more round, for the cycle's first node in the file's order.
    size_t first = at;
    for (size_t node = waiting_producer(at); node != at; node = waiting_producer(node)) first = std::min(first, node);
    throw_invalid(file + ": the graph has a cycle through node '" + printable(graph_.nodes_[first].name) + "' (" +
                  graph_.nodes_[first].op + ")");
  }
  std::vector<Node> sorted;
  sorted.reserve(count);
  for (const int32_t index : order) sorted.push_back(std::move(graph_.nodes_[static_cast<size_t>(index)]));
  graph_.nodes_ = std::move(sorted);
  for (size_t i = 0; i < count; ++i) {
    const auto index = static_cast<int32_t>(i);
    for (const ValueId out : graph_.nodes_[i].outputs) {
      if (out != kNoValue) graph_.values_[static_cast<size_t>(out)].producer = index;
    }
    for (const ValueId in : graph_.nodes_[i].inputs) {
      if (in == kNoValue) continue;
      auto& consumers = graph_.values_[static_cast<size_t>(in)].consumers;
      if (consumers.empty() || consumers.back() != index) consumers.push_back(index);
    }
  }
  return std::move(graph_);
}

}  // namespace pellucid
