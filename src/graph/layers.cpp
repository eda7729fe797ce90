#include "pellucid/layers.h"

#include <set>

#include "graph/node_kinds.h"
#include "graph/op.h"
#include "graph/ops/window.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

bool is_glob(const std::string& name) { return name.find_first_of("*?") != std::string::npos; }

/// Whether the last two axes, those of positions, came through: a channel shuffle, a reduction over channels.
bool keeps_positions(const Shape& in, const Shape& out) {
  return in.size() >= 4 && out.size() >= 4 && std::equal(in.end() - 2, in.end(), out.end() - 2) &&
         in.back() * in[in.size() - 2] > 1;
}

/// What a node with windows does to the receptive field along one axis.
void widen(ReceptiveField& field, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad) {
  const double reach = static_cast<double>((kernel - 1) * dilation);
  field.center += (reach / 2 - static_cast<double>(pad)) * field.jump;
  field.size += reach * field.jump;
  field.jump *= static_cast<double>(stride);
}

/// Two branches meet: the union of what they see.
ReceptiveField merged(const ReceptiveField& a, const ReceptiveField& b) {
  ReceptiveField field;
  field.whole = a.whole || b.whole;
  field.jump = std::max(a.jump, b.jump);
  const double low = std::min(a.center - a.size / 2, b.center - b.size / 2);
  const double high = std::max(a.center + a.size / 2, b.center + b.size / 2);
  field.size = high - low;
  field.center = (low + high) / 2;
  return field;
}

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

}  // namespace

LayerTable::LayerTable(const Network& network, const std::vector<Shape>& input_shapes) : file_(network.graph().name) {
  const Graph& graph = network.graph();
  shapes_ = network.shapes(input_shapes);
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
  measure(graph);
  find_logits(graph);
  judge_cam(graph);
}

const LayerInfo& LayerTable::layer(ValueId id) const {
  const int64_t index = layer_of_value_.at(static_cast<size_t>(id));
  if (index < 0) throw_usage(file_ + ": the input is the picture itself, not a layer of the network; name a layer");
  return layers_[static_cast<size_t>(index)];
}

void LayerTable::measure(const Graph& graph) {
  std::vector<std::pair<ReceptiveField, ReceptiveField>> fields(graph.values().size());
  std::vector<char> from_input(graph.values().size(), 0);
  for (const ValueId id : input_values_) from_input[static_cast<size_t>(id)] = 1;
  std::set<ValueId> counted;
  for (const Node& node : graph.nodes()) {
    const auto first = std::find_if(node.outputs.begin(), node.outputs.end(),
                                    [&](ValueId id) { return layer_of_value_[static_cast<size_t>(id)] >= 0; });
    if (first == node.outputs.end()) continue;
    LayerInfo& info = layers_[static_cast<size_t>(layer_of_value_[static_cast<size_t>(*first)])];
    std::pair<ReceptiveField, ReceptiveField> field;
    bool any = false;
    const Shape* in_shape = nullptr;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId in = node.inputs[i];
      if (in == kNoValue) continue;
      const Tensor& constant = graph.value(in).constant;
      if (constant.defined()) {
        if (graph.is_learned(node, i) && counted.insert(in).second) info.parameters += constant.numel();
        continue;
      }
      if (!from_input[static_cast<size_t>(in)]) continue;
      const auto& f = fields[static_cast<size_t>(in)];
      field = any ? std::pair{merged(field.first, f.first), merged(field.second, f.second)} : f;
      if (!any) in_shape = &shapes_[static_cast<size_t>(in)];
      any = true;
    }
    if (!any) continue;
    for (const ValueId out : node.outputs) from_input[static_cast<size_t>(out)] = 1;
    const bool windowed = is_any(node.op, {"Conv", "MaxPool", "AveragePool", "LpPool"}) && in_shape->size() == 4;
    if (windowed) {
      std::vector<int64_t> kernel = node.integers("kernel_shape");
      if (kernel.empty() && node.inputs.size() > 1) {
        const Shape& w = shapes_[static_cast<size_t>(node.inputs[1])];
        if (w.size() == 4) kernel = {w[2], w[3]};
      }
      const WindowGeometry g = window_geometry(node, at::IntArrayRef(*in_shape).slice(2), kernel);
      widen(field.first, kernel[0], g.strides[0], g.dilations[0], g.begin[0]);
      widen(field.second, kernel[1], g.strides[1], g.dilations[1], g.begin[1]);
    } else if (node.op == "Pad" && in_shape->size() == 4) {
      // What is padded moves the first position to the left by as many.
      std::vector<int64_t> pads = node.integers("pads");
      if (pads.empty() && node.inputs.size() > 1 && node.inputs[1] != kNoValue) {
        const Tensor& t = graph.value(node.inputs[1]).constant;
        if (t.defined() && t.scalar_type() == at::kLong)
          pads.assign(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
      }
      if (pads.size() == 8) {
        field.first.center -= static_cast<double>(pads[2]) * field.first.jump;
        field.second.center -= static_cast<double>(pads[3]) * field.second.jump;
      }
    } else if (is_any(node.op, {"ConvTranspose", "Resize", "Upsample", "DepthToSpace"}) && is_spatial(*in_shape) &&
               info.shape.size() == 4) {
      for (size_t axis = 0; axis < 2; ++axis) {
        ReceptiveField& f = axis == 0 ? field.first : field.second;
        const double scale = static_cast<double>(info.shape[axis + 2]) / static_cast<double>((*in_shape)[axis + 2]);
        f.size += f.jump;  // interpolation may look at the neighbour
        f.center -= f.jump * (1 - 1 / scale) / 2;
        f.jump /= scale;
      }
    } else if (is_any(node.op, {"Gemm", "MatMul", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ReduceMean",
                                "ReduceMax", "ReduceSum", "Flatten", "Reshape", "Einsum", "InstanceNormalization",
                                "GroupNormalization", "Softmax"}) &&
               !(is_any(node.op, {"Reshape", "ReduceMean", "ReduceMax", "ReduceSum", "Softmax"}) &&
                 keeps_positions(*in_shape, info.shape))) {
      const bool one_by_one = in_shape->size() == 4 && !is_spatial(*in_shape);
      if (!one_by_one || field.first.whole) field.first.whole = field.second.whole = true;
    }
    for (const ValueId out : node.outputs) {
      fields[static_cast<size_t>(out)] = field;
      const int64_t index = layer_of_value_[static_cast<size_t>(out)];
      if (index < 0) continue;
      layers_[static_cast<size_t>(index)].rows = field.first;
      layers_[static_cast<size_t>(index)].columns = field.second;
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
  const Node* squash = nullptr;
  for (const Node& node : graph.nodes()) {
    if (node.op == squashing_ && node.inputs[0] == logits_) squash = &node;
  }
  const bool last_squashed = squash && squash->op != "Sigmoid" &&
                             (squash->integer("axis", squash->opset >= 13 ? -1 : 1) + 4) % 4 == 3;
  const bool put_last =
      made && made->op == "Transpose" && made->integers("perm") == std::vector<int64_t>{0, 2, 3, 1};
  if (last_squashed || put_last) class_axis_ = 3;
}

void LayerTable::step_before_squashing(const Graph& graph) {
  logits_ = output_;
  squashing_.clear();
  const Node* node = graph.producer_of(output_);
  while (node && is_any(node->op, {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Cast"})) {
    const Node* before = graph.producer_of(node->inputs[0]);
    if (!before || !is_any(before->op, {"Softmax", "LogSoftmax", "Sigmoid", "Identity", "Dropout", "Flatten", "Reshape",
                                        "Squeeze", "Cast"})) {
      return;
    }
    node = before;
  }
  if (node && is_any(node->op, {"Softmax", "LogSoftmax", "Sigmoid"})) {
    squashing_ = node->op;
    logits_ = node->inputs[0];
  }
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
