#include "pellucid/layers.h"

#include <array>
#include <optional>
#include <set>

#include "graph/node_kinds.h"
#include "graph/op.h"
#include "graph/ops/window.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

bool is_glob(const std::string& name) { return name.find_first_of("*?") != std::string::npos; }

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

/// What the positions of a value see, and which of its axes they lie along.
struct Positions {
  ReceptiveField rows, columns;
  int64_t row_axis = 2, column_axis = 3;

  std::array<std::pair<int64_t, ReceptiveField*>, 2> axes() { return {{{row_axis, &rows}, {column_axis, &columns}}}; }
  bool lie_along(int64_t axis) const { return axis == row_axis || axis == column_axis; }
  bool are_planes() const { return row_axis == 2 && column_axis == 3; }
  void lose() { rows.whole = columns.whole = true; }
};

int64_t rank_of(const Shape& shape) { return static_cast<int64_t>(shape.size()); }
int64_t extent(const Shape& shape, int64_t axis) {
  return axis >= 0 && axis < rank_of(shape) ? shape[static_cast<size_t>(axis)] : 1;
}

/// Follows positions through one node after another.
class PositionWalk {
 public:
  PositionWalk(const Graph& graph, const std::vector<Shape>& shapes, const Values& integers)
      : graph_(graph), shapes_(shapes), integers_(integers) {}

  /// Channels come last where only the last axis can be that of colors.
  static Positions of_input(const Shape& shape) {
    const auto colors = [](int64_t n) { return n == 1 || n == 3; };
    Positions p;
    p.row_axis = rank_of(shape) - 2;
    p.column_axis = rank_of(shape) - 1;
    if (rank_of(shape) == 4 && colors(shape[3]) && !colors(shape[1])) {
      --p.row_axis;
      --p.column_axis;
    }
    return p;
  }

  /// What the results of `node` see. `in` is the shape of its picture, `widest` the same but with the largest size that
  /// any picture has along each axis; `p` is what they see together.
  Positions behind(const Node& node, Positions p, const Shape& in, const Shape& widest, const Shape& out) const {
    const bool same_rank = in.size() == out.size();
    const bool one_position = rank_of(in) == 4 && extent(in, p.row_axis) * extent(in, p.column_axis) == 1;
    if (is_any(node.op, {"Conv", "MaxPool", "AveragePool", "LpPool"}) && rank_of(in) == 4 && p.are_planes()) {
      std::vector<int64_t> kernel = node.integers("kernel_shape");
      if (kernel.empty() && node.inputs.size() > 1) {
        const Shape& w = shapes_[static_cast<size_t>(node.inputs[1])];
        if (w.size() == 4) kernel = {w[2], w[3]};
      }
      const WindowGeometry g = window_geometry(node, at::IntArrayRef(in).slice(2), kernel);
      widen(p.rows, kernel[0], g.strides[0], g.dilations[0], g.begin[0]);
      widen(p.columns, kernel[1], g.strides[1], g.dilations[1], g.begin[1]);
    } else if (node.op == "SpaceToDepth" && p.are_planes()) {
      const int64_t block = node.integer("blocksize", 1);
      widen(p.rows, block, block, 1, 0);
      widen(p.columns, block, block, 1, 0);
    } else if (node.op == "Pad") {
      pad(node, in, p);
    } else if (node.op == "Slice") {
      slice(node, in, p);
    } else if (node.op == "Transpose" && same_rank) {
      transpose(node, p);
    } else if (is_any(node.op, {"ConvTranspose", "Resize", "Upsample", "DepthToSpace"}) && same_rank &&
               extent(in, p.row_axis) * extent(in, p.column_axis) > 1) {
      for (auto [axis, f] : p.axes()) {
        const double scale = static_cast<double>(extent(out, axis)) / static_cast<double>(extent(in, axis));
        f->size += f->jump;  // interpolation may look at the neighbour
        f->center -= f->jump * (1 - 1 / scale) / 2;
        f->jump /= scale;
      }
    } else if (is_any(node.op, {"Reshape", "Flatten", "Squeeze", "Unsqueeze"})) {
      if (!reshape(in, out, p) && (!one_position || p.rows.whole)) p.lose();
    } else if (mixes_positions(node, in, out, p)) {
      if (!one_position || p.rows.whole) p.lose();
    } else if (!same_rank) {
      if (!reshape(in, out, p)) p.lose();
    } else {
      for (auto [axis, f] : p.axes()) f->whole = f->whole || extent(out, axis) != extent(widest, axis);
    }
    return p;
  }

 private:
  /// The integers of an attribute (older opsets) or an input (newer ones); empty when the node has neither.
  std::optional<std::vector<int64_t>> list(const Node& node, const char* attribute, size_t input) const {
    if (node.has(attribute)) return node.integers(attribute);
    if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return std::vector<int64_t>();
    const auto found = integers_.find(node.inputs[input]);
    const Tensor& known = found == integers_.end() ? graph_.value(node.inputs[input]).constant : found->second;
    if (!known.defined() || known.is_floating_point()) return std::nullopt;
    const Tensor t = known.to(at::kCPU, at::kLong).contiguous();
    return std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
  }

  /// What is padded moves the first position to the left by as many.
  void pad(const Node& node, const Shape& in, Positions& p) const {
    const auto pads = list(node, "pads", 1);
    const auto axes = list(node, "axes", 3);
    if (!pads || !axes || pads->size() != 2 * (axes->empty() ? in.size() : axes->size())) return p.lose();
    for (size_t i = 0; 2 * i < pads->size(); ++i) {
      const int64_t given = axes->empty() ? static_cast<int64_t>(i) : (*axes)[i];
      for (auto [axis, f] : p.axes()) {
        if (axis == (given < 0 ? given + rank_of(in) : given)) f->center -= static_cast<double>((*pads)[i]) * f->jump;
      }
    }
  }

  void slice(const Node& node, const Shape& in, Positions& p) const {
    const auto starts = list(node, "starts", 1), axes = list(node, "axes", 3), steps = list(node, "steps", 4);
    if (!starts || !axes || !steps) return p.lose();
    for (size_t i = 0; i < starts->size(); ++i) {
      const int64_t given = i < axes->size() ? (*axes)[i] : static_cast<int64_t>(i);
      const int64_t step = i < steps->size() ? (*steps)[i] : 1;
      for (auto [axis, f] : p.axes()) {
        if (axis != (given < 0 ? given + rank_of(in) : given)) continue;
        const int64_t size = extent(in, axis);
        const int64_t start = (*starts)[i] < 0 ? (*starts)[i] + size : (*starts)[i];
        f->center += static_cast<double>(std::clamp<int64_t>(start, 0, size)) * f->jump;
        f->jump *= static_cast<double>(step);
        f->whole = f->whole || step < 0;  // mirrored
      }
    }
  }

  static void transpose(const Node& node, Positions& p) {
    const std::vector<int64_t> perm = node.integers("perm");
    const auto place = [&](int64_t axis) { return std::find(perm.begin(), perm.end(), axis) - perm.begin(); };
    if (perm.empty()) return p.lose();
    p.row_axis = place(p.row_axis);
    p.column_axis = place(p.column_axis);
  }

  /// Finds the axes of positions again where they came through side by side: a channel shuffle, one more axis.
  static bool reshape(const Shape& in, const Shape& out, Positions& p) {
    const int64_t height = extent(in, p.row_axis), width = extent(in, p.column_axis);
    const bool beside = p.row_axis >= 0 && p.column_axis == p.row_axis + 1 && p.column_axis < rank_of(in);
    if (!beside || height * width == 1) return false;
    const int64_t before = c10::multiply_integers(in.begin(), in.begin() + p.row_axis);
    int64_t product = 1;
    for (int64_t axis = 0; axis + 1 < rank_of(out); ++axis) {
      if (product == before && extent(out, axis) == height && extent(out, axis + 1) == width) {
        p.row_axis = axis;
        p.column_axis = axis + 1;
        return true;
      }
      product *= extent(out, axis);
    }
    return false;
  }

  /// Whether a result at one position depends on others.
  bool mixes_positions(const Node& node, const Shape& in, const Shape& out, const Positions& p) const {
    const auto axis_of = [&](int64_t otherwise) {
      const int64_t axis = node.integer("axis", otherwise);
      return axis < 0 ? axis + rank_of(in) : axis;
    };
    if (is_any(node.op, {"Concat", "Gather"})) return p.lie_along(axis_of(0));
    const bool flattens = node.opset < 13;  // the axis and all behind it
    if (is_any(node.op, {"Softmax", "LogSoftmax", "Hardmax"})) {
      const int64_t axis = axis_of(flattens ? 1 : -1);
      return rank_of(in) < 4 || p.lie_along(axis) || (flattens && axis <= p.column_axis);
    }
    if (node.op == "LayerNormalization") return axis_of(-1) <= p.column_axis;
    if (node.op.rfind("Reduce", 0) == 0) {
      return rank_of(in) < 4 || in.size() != out.size() || extent(in, p.row_axis) != extent(out, p.row_axis) ||
             extent(in, p.column_axis) != extent(out, p.column_axis);
    }
    // A matrix product of the last axis alone is a convolution of 1x1, channels last.
    if (node.op == "MatMul") {
      return rank_of(in) < 4 || in.size() != out.size() || p.column_axis + 1 >= rank_of(in) ||
             !graph_.value(node.inputs.at(1)).constant.defined();
    }
    return is_any(node.op, {"Conv",
                            "MaxPool",
                            "AveragePool",
                            "LpPool",
                            "SpaceToDepth",
                            "Gemm",
                            "Einsum",
                            "GlobalAveragePool",
                            "GlobalMaxPool",
                            "GlobalLpPool",
                            "InstanceNormalization",
                            "GroupNormalization",
                            "GatherElements",
                            "GatherND",
                            "GridSample",
                            "RoiAlign",
                            "ScatterElements",
                            "ScatterND",
                            "CumSum",
                            "ReverseSequence"});
  }

  const Graph& graph_;
  const std::vector<Shape>& shapes_;
  const Values& integers_;
};

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
  const Node* squash = nullptr;
  for (const Node& node : graph.nodes()) {
    if (node.op == squashing_ && node.inputs[0] == logits_) squash = &node;
  }
  const bool last_squashed =
      squash && squash->op != "Sigmoid" && (squash->integer("axis", squash->opset >= 13 ? -1 : 1) + 4) % 4 == 3;
  const bool put_last = made && made->op == "Transpose" && made->integers("perm") == std::vector<int64_t>{0, 2, 3, 1};
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
