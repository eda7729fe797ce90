#include "pellucid/layers.h"

#include <algorithm>
#include <optional>
#include <set>

#include "graph/node_kinds.h"
#include "graph/op.h"
#include "graph/positions.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

bool is_glob(const std::string& name) { return name.find_first_of("*?") != std::string::npos; }

/// Labels, ranks, shapes or truth values instead of numbers.
bool holds_indices(const Graph& graph, ValueId id) {
  const Node* node = graph.producer_of(id);
  while (node && is_any(node->op, {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"})) {
    id = node->inputs[0];
    node = graph.producer_of(id);
  }
  if (!node) return false;
  if (node->op == "TopK") return node->outputs.size() > 1 && node->outputs[1] == id;
  if (node->op == "Cast") {
    constexpr int64_t kFloat = 1, kHalf = 10, kDouble = 11, kBFloat16 = 16;
    const int64_t to = node->integer("to", kFloat);
    return to != kFloat && to != kHalf && to != kDouble && to != kBFloat16;
  }
  return is_any(node->op, {"ArgMax", "ArgMin", "Shape", "Size", "NonZero", "NonMaxSuppression", "Equal", "Greater",
                           "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"});
}

/// What turns scores into probabilities.
struct Squashing {
  std::string op;
  ValueId scores = kNoValue;
  int64_t axis = 1;  ///< Of the classes; means nothing for Sigmoid.
};

/// exp(z) / sum(exp(z)), spelled out; z may be x - max(x), and then the scores are x.
std::optional<Squashing> spelled_softmax(const Graph& graph, const std::vector<Shape>& shapes, const Node& node) {
  const auto shape = [&](ValueId id) { return shapes[static_cast<size_t>(id)]; };
  if (node.op != "Div") return {};
  const Node* power = graph.producer_of(node.inputs[0]);
  const Node* sum = graph.producer_of(node.inputs[1]);
  if (!power || !sum || power->op != "Exp" || sum->op != "ReduceSum" || sum->inputs[0] != node.inputs[0]) return {};
  const Shape terms = shape(node.inputs[0]), sums = shape(node.inputs[1]);
  if (terms.size() != sums.size()) return {};
  std::optional<int64_t> axis;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (terms[i] == sums[i]) continue;
    if (axis || sums[i] != 1) return {};
    axis = static_cast<int64_t>(i);
  }
  if (!axis) return {};
  const Node* shift = graph.producer_of(power->inputs[0]);
  const Node* top = shift && shift->op == "Sub" ? graph.producer_of(shift->inputs[1]) : nullptr;
  const bool shifted =
      top && top->op == "ReduceMax" && top->inputs[0] == shift->inputs[0] && shape(shift->inputs[1]) == sums;
  return Squashing{"Softmax", shifted ? shift->inputs[0] : power->inputs[0], *axis};
}

std::optional<Squashing> squashing_by(const Graph& graph, const std::vector<Shape>& shapes, const Node& node) {
  if (node.op == "Sigmoid") return Squashing{node.op, node.inputs[0]};
  if (!is_any(node.op, {"Softmax", "LogSoftmax"})) return spelled_softmax(graph, shapes, node);
  const auto rank = static_cast<int64_t>(shapes[static_cast<size_t>(node.inputs[0])].size());
  const int64_t axis = node.integer("axis", node.opset >= 13 ? -1 : 1);
  return Squashing{node.op, node.inputs[0], axis < 0 ? axis + rank : axis};
}

/// Says so when a network that failed would have taken the batch that its file declares.
void refuse_batch(const Network& network, std::vector<Shape> shapes, const Progress* progress) {
  const auto& inputs = network.graph().inputs();
  if (inputs.empty() || inputs.front().shape.empty() || shapes.empty() || shapes.front().empty()) return;
  const int64_t declared = inputs.front().shape.front();
  if (declared < 2 || shapes.front().front() == declared) return;
  shapes.front().front() = declared;
  try {
    network.shapes(shapes, progress);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInterrupted) throw;
    return;
  }
  throw_unsupported(network.graph().name + ": takes batches of " + std::to_string(declared) +
                    " only; export it with an open batch, or with a batch of 1");
}

}  // namespace

LayerTable::LayerTable(const Network& network, const std::vector<Shape>& input_shapes, const Progress* progress)
    : file_(network.graph().name) {
  const Graph& graph = network.graph();
  Values integers;
  try {
    shapes_ = network.shapes(input_shapes, progress, &integers);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInvalidInput) refuse_batch(network, input_shapes, progress);
    throw;
  }
  layer_of_value_.assign(graph.values().size(), -1);
  for (const GraphInput& input : graph.inputs()) input_values_.push_back(input.value);
  for (const Node& node : graph.nodes()) {
    // What else a node may return (indices, masks, statistics) is no map; the parts of a Split are.
    const size_t count = node.op == "Split" ? node.outputs.size() : std::min<size_t>(1, node.outputs.size());
    for (size_t i = 0; i < count; ++i) {
      const ValueId id = node.outputs[i];
      if (shapes_[static_cast<size_t>(id)] == Shape{-1}) continue;
      LayerInfo info;
      info.value = id;
      info.index = static_cast<int64_t>(layers_.size());
      info.name = graph.value(id).name;
      info.node = node.name;
      info.op = node.op;
      info.shape = shapes_[static_cast<size_t>(id)];
      layer_of_value_[static_cast<size_t>(id)] = info.index;
      layers_.push_back(std::move(info));
    }
  }
  measure(graph, integers);
  find_logits(graph);
  judge_cam(graph);
}

const LayerInfo& LayerTable::layer(ValueId id) const {
  const int64_t index = layer_of_value_.at(static_cast<size_t>(id));
  if (index < 0) throw_usage(file_ + ": the input is the picture itself, not a layer of the network; name a layer");
  return layers_[static_cast<size_t>(index)];
}

void LayerTable::measure(const Graph& graph, const Values& integers) {
  const PositionWalk walk(graph, shapes_, integers);
  std::vector<Positions> known(graph.values().size());
  std::vector<char> from_input(graph.values().size(), 0);
  for (const ValueId id : input_values_) {
    from_input[static_cast<size_t>(id)] = 1;
    known[static_cast<size_t>(id)] = PositionWalk::of_input(shapes_[static_cast<size_t>(id)]);
  }
  std::set<ValueId> counted;
  for (const Node& node : graph.nodes()) {
    const auto first = std::find_if(node.outputs.begin(), node.outputs.end(),
                                    [&](ValueId id) { return layer_of_value_[static_cast<size_t>(id)] >= 0; });
    if (first == node.outputs.end()) continue;
    LayerInfo& info = layers_[static_cast<size_t>(layer_of_value_[static_cast<size_t>(*first)])];
    Positions seen;
    const Shape* in_shape = nullptr;  // of the first input of the highest rank: what has fewer axes is broadcast
    Shape widest;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId in = node.inputs[i];
      if (in == kNoValue) continue;
      const Tensor& constant = graph.value(in).constant;
      if (constant.defined()) {
        if (graph.is_learned(node, i) && counted.insert(in).second) info.parameters += constant.numel();
        continue;
      }
      if (!from_input[static_cast<size_t>(in)]) continue;
      const Positions& p = known[static_cast<size_t>(in)];
      const Shape& shape = shapes_[static_cast<size_t>(in)];
      const bool any = in_shape != nullptr;
      Positions both = !any || shape.size() > in_shape->size() ? p : seen;
      if (any) {
        both.rows = merged(seen.rows, p.rows);
        both.columns = merged(seen.columns, p.columns);
        const bool alike = p.row_axis == seen.row_axis && p.column_axis == seen.column_axis;
        if (shape.size() == in_shape->size() && !alike) both.lose();
      }
      seen = both;
      if (!any || shape.size() > in_shape->size()) {
        in_shape = &shape;
        widest = shape;
      } else if (shape.size() == widest.size()) {
        std::transform(shape.begin(), shape.end(), widest.begin(), widest.begin(),
                       [](int64_t a, int64_t b) { return std::max(a, b); });
      }
    }
    // Shapes are numbers of their own, no longer pictures.
    if (!in_shape || is_any(node.op, {"Shape", "Size"})) continue;
    for (const ValueId out : node.outputs) from_input[static_cast<size_t>(out)] = 1;
    seen = walk.behind(node, seen, *in_shape, widest, info.shape);
    for (const ValueId out : node.outputs) {
      known[static_cast<size_t>(out)] = seen;
      const int64_t index = layer_of_value_[static_cast<size_t>(out)];
      if (index < 0) continue;
      layers_[static_cast<size_t>(index)].rows = seen.rows;
      layers_[static_cast<size_t>(index)].columns = seen.columns;
    }
    const auto numel = [](const Shape& s) { return static_cast<double>(c10::multiply_integers(s)); };
    if (is_any(node.op, {"Conv", "ConvTranspose"}) && node.inputs.size() > 1) {
      const Shape& w = shapes_[static_cast<size_t>(node.inputs[1])];
      const double positions = node.op == "Conv" ? numel(info.shape) / std::max<double>(1, static_cast<double>(w[0]))
                                                 : numel(*in_shape) / std::max<double>(1, static_cast<double>(w[0]));
      info.flops = 2 * numel(w) * positions;
    } else if (is_any(node.op, {"Gemm", "MatMul"}) && !shapes_[static_cast<size_t>(node.inputs[0])].empty()) {
      const Shape& left = shapes_[static_cast<size_t>(node.inputs[0])];
      const bool transposed = node.op == "Gemm" && node.integer("transA", 0) != 0;
      info.flops = 2 * numel(info.shape) * static_cast<double>(transposed ? left.front() : left.back());
    }
  }
}

void LayerTable::find_logits(const Graph& graph) {
  const auto numbers = std::find_if(graph.outputs().begin(), graph.outputs().end(),
                                    [&](ValueId id) { return !holds_indices(graph, id); });
  output_ = numbers == graph.outputs().end() ? graph.outputs().front() : *numbers;
  step_before_squashing(graph);
  if (squashing_.empty() && is_spatial(shape(output_))) {
    const auto scores = std::find_if(numbers, graph.outputs().end(), [&](ValueId id) {
      const Shape& s = shape(id);
      return !holds_indices(graph, id) && (s.size() == 2 || (s.size() == 4 && !is_spatial(s))) && s[1] > 1;
    });
    if (scores != graph.outputs().end()) {
      output_ = *scores;
      step_before_squashing(graph);
    }
  }
  if (!is_spatial(shape(logits_))) return;
  // Maps whose classes lie last: the file says so by what normalizes them, or by having put them there.
  const Node* made = graph.producer_of(logits_);
  bool last_squashed = false;
  for (const Node& node : graph.nodes()) {
    const std::optional<Squashing> s = squashing_by(graph, shapes_, node);
    if (s && s->op == squashing_ && s->scores == logits_) last_squashed = s->op != "Sigmoid" && s->axis == 3;
  }
  const bool put_last = made && made->op == "Transpose" && made->integers("perm") == std::vector<int64_t>{0, 2, 3, 1};
  if (last_squashed || put_last) class_axis_ = 3;
}

void LayerTable::step_before_squashing(const Graph& graph) {
  logits_ = output_;
  squashing_.clear();
  const Node* node = graph.producer_of(output_);
  while (node && is_any(node->op, {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Cast"})) {
    node = graph.producer_of(node->inputs[0]);
  }
  const std::optional<Squashing> found = node ? squashing_by(graph, shapes_, *node) : std::nullopt;
  if (!found) return;
  squashing_ = found->op;
  logits_ = found->scores;
}

ValueId LayerTable::default_cam_layer() const {
  if (cam_layer_ == kNoValue) {
    throw_usage(file_ +
                ": no layer holds a spatial map before the output, so class activation maps need --layer; "
                "gradient and perturbation methods work without one");
  }
  return cam_layer_;
}

ValueId LayerTable::first_convolution() const {
  for (const LayerInfo& info : layers_) {
    if (info.op == "Conv") return info.value;
  }
  throw_usage(file_ + ": there is no convolution");
}

ValueId LayerTable::last_convolution() const {
  for (size_t i = layers_.size(); i-- > 0;) {
    if (layers_[i].op == "Conv") return layers_[i].value;
  }
  throw_usage(file_ + ": there is no convolution");
}

std::vector<ValueId> LayerTable::matches(const std::string& name) const {
  if (name == "auto") return {default_cam_layer()};
  if (name == "last-conv") return {last_convolution()};
  if (name == "first-conv") return {first_convolution()};
  if (name == "logits") return {logits_};
  if (name == "input") return {input_values_.front()};
  int64_t index = 0;
  if (name.size() > 1 && name[0] == '#' && parse_int(name.substr(1), index) && index >= 0 &&
      index < static_cast<int64_t>(layers_.size())) {
    return {layers_[static_cast<size_t>(index)].value};
  }
  for (const LayerInfo& info : layers_) {
    if (info.name == name) return {info.value};
  }
  std::vector<ValueId> found;
  for (const LayerInfo& info : layers_) {
    if (info.node == name) found.push_back(info.value);
  }
  if (!found.empty()) return found;
  if (is_glob(name)) {
    for (const LayerInfo& info : layers_) {
      if (glob_match(name, info.name) || glob_match(name, info.node)) found.push_back(info.value);
    }
    return found;
  }
  const auto ends_with = [&](const std::string& text) {
    return text.size() > name.size() && text.compare(text.size() - name.size(), name.size(), name) == 0;
  };
  for (const LayerInfo& info : layers_) {
    if (!name.empty() && (ends_with(info.name) || ends_with(info.node))) found.push_back(info.value);
  }
  return found;
}

std::vector<ValueId> LayerTable::find_all(const std::string& name) const {
  const std::vector<ValueId> found = matches(name);
  if (found.size() > 1 && !is_glob(name)) refuse_ambiguous(name, found);
  if (!found.empty()) return found;
  std::vector<std::string> names;
  for (const LayerInfo& info : layers_) {
    names.push_back(info.name);
    if (info.node != info.name) names.push_back(info.node);
  }
  throw_usage(file_ + ": no layer '" + printable(name) + "'" + did_you_mean(name, names) +
              " ('pellucid info' lists all " + std::to_string(layers_.size()) + ")");
}

ValueId LayerTable::find(const std::string& name) const {
  const std::vector<ValueId> found = find_all(name);
  if (found.size() == 1) return found.front();
  refuse_ambiguous(name, found);
}

void LayerTable::refuse_ambiguous(const std::string& name, const std::vector<ValueId>& found) const {
  std::string list;
  for (size_t i = 0; i < found.size() && i < 4; ++i) list += (i ? ", '" : "'") + printable(layer(found[i]).name) + "'";
  throw_usage(file_ + ": '" + printable(name) + "' fits " + std::to_string(found.size()) + " layers (" + list +
              (found.size() > 4 ? ", ..." : "") + "); name one");
}

}  // namespace pellucid
