#include "graph/incremental.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "graph/executor.h"
#include "graph/ops/window.h"
#include "graph/reach.h"

namespace pellucid {

namespace {

/// How a node passes a change on.
enum class Kind {
  kUnknown,     ///< Everything behind it may change.
  kPointwise,   ///< Each position for itself.
  kSliding,     ///< Conv, pooling, padding.
  kGlobalMean,  ///< From the clean sum and the difference.
  kFlatten,     ///< [N,C,H,W] -> [N,C*H*W]
  kDense        ///< Linear in a flattened map: the clean result and the difference.
};

struct StepInfo {
  Kind kind = Kind::kUnknown;
  std::array<Sliding, 2> sliding;    ///< Rows, columns.
  std::shared_ptr<const Node> node;  ///< Without padding of its own, for kSliding.
  double padding = 0;
  std::array<std::vector<double>, 2> scale;  ///< AveragePool: window size over counted positions, by output.
  double multiplications = 0;                ///< Of the clean pass.
};

/// What of a value a block of variants changes.
struct Reach {
  enum What { kNothing, kPart, kFlat, kAll } what = kNothing;
  std::array<Span, 2> span;  ///< Of the map [.,C,H,W], for kPart and kFlat.
};

/// Variants that go through together: the product of some places along y and along x, as far as variants are there.
struct Block {
  std::vector<size_t> variants;
  std::vector<size_t> at_y, at_x;  ///< For each variant, its place in the spans.
  std::vector<Reach> reach;        ///< By value id.
  std::vector<int64_t> signature;  ///< Equal for blocks whose tensors have equal shapes.
  double multiplications = 0;
  int64_t bytes = 0;
};

/// Dense layers take differences only while these touch less than this share of the map: they use the weights once per
/// position instead of once per batch.
constexpr double kDenseShare = 0.5;
/// Bringing a weight into a convolution's layout costs about as much as this many multiplications.
constexpr double kReorderCost = 100;

bool is_pointwise(const Node& node) {
  static const std::set<std::string> plain = {"Abs",
                                              "Acos",
                                              "Acosh",
                                              "Add",
                                              "Asin",
                                              "Asinh",
                                              "Atan",
                                              "Atanh",
                                              "BatchNormalization",
                                              "Cast",
                                              "Ceil",
                                              "Celu",
                                              "Clip",
                                              "Cos",
                                              "Cosh",
                                              "Div",
                                              "Elu",
                                              "Erf",
                                              "Exp",
                                              "Floor",
                                              "Gelu",
                                              "HardSwish",
                                              "LRN",
                                              "Log",
                                              "Max",
                                              "Mean",
                                              "HardSigmoid",
                                              "Min",
                                              "Mish",
                                              "Mul",
                                              "Neg",
                                              "PRelu",
                                              "Pow",
                                              "Relu",
                                              "Reciprocal",
                                              "LeakyRelu",
                                              "Selu",
                                              "Round",
                                              "Sigmoid",
                                              "Sign",
                                              "Sin",
                                              "Sinh",
                                              "Softplus",
                                              "ThresholdedRelu",
                                              "Identity",
                                              "Sqrt",
                                              "Softsign",
                                              "Sub",
                                              "Sum",
                                              "Tan",
                                              "Tanh",
                                              "Where"};
  if (node.domain == kCanonicalDomain) return true;
  if (!node.domain.empty()) return false;
  if (node.op == "Concat") return node.integer("axis", 1) == 1 || node.integer("axis", 1) == -3;
  if (node.op == "Softmax" || node.op == "LogSoftmax") {
    return node.opset >= 13 && (node.integer("axis", -1) == 1 || node.integer("axis", -1) == -3);
  }
  if (node.op == "Dropout") return node.outputs.size() < 2 || node.outputs[1] == kNoValue;
  return plain.count(node.op) != 0;
}

/// The same for every position of a map it is broadcast to.
bool is_flat(const Tensor& t) {
  if (t.numel() == 1) return true;
  return t.dim() >= 3 && t.size(-1) == 1 && t.size(-2) == 1;
}

std::shared_ptr<const Node> without_padding(const Node& node) {
  auto copy = std::make_shared<Node>(node);
  copy->attributes.erase("pads");
  copy->attributes["auto_pad"] = std::string("VALID");
  copy->attributes["ceil_mode"] = int64_t{0};
  return copy;
}

int64_t bytes_of(const Tensor& t) { return t.numel() * static_cast<int64_t>(t.element_size()); }

/// Ranges of `count` things in pieces of at most `most`, as equal as can be.
std::vector<std::pair<size_t, size_t>> pieces(size_t count, size_t most) {
  const size_t number = (count + most - 1) / most;
  std::vector<std::pair<size_t, size_t>> result;
  for (size_t begin = 0; begin < count; begin += most) result.emplace_back(begin, std::min(count, begin + most));
  TORCH_INTERNAL_ASSERT(result.size() == number);
  return result;
}

}  // namespace

struct IncrementalPasses::Impl {
  Impl(const Network& network, const Tensor& clean, ValueId until, std::vector<Window> windows, const Options& given)
      : net(*network.impl_), target(until), changed(std::move(windows)), options(given) {
    if (!net.device.is_cpu() || !network.batches_safely() || clean.dim() != 4 || changed.empty() ||
        net.graph.inputs().size() != 1 || until == net.graph.inputs()[0].value ||
        !at::isFloatingType(net.graph.inputs()[0].type)) {
      return;
    }
    plan = net.plan_for(net.key_for({}, {until}, {}, false));
    info.resize(plan->steps.size());
    if (!run_clean(clean) || !choose_blocks()) return;
    forget_unread();
    worthwhile = total_multiplications() < 0.9 * clean_multiplications() * static_cast<double>(changed.size());
    if (!worthwhile) kept.clear();
  }

  const Tensor& constant(ValueId id) const { return plan->constants[static_cast<size_t>(id)]; }
  const Tensor& clean(ValueId id) const { return kept[static_cast<size_t>(id)]; }
  bool is_computed(ValueId id) const { return id != kNoValue && !constant(id).defined(); }
  Tensor prepared_map(const Tensor& t) const { return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t; }

  // The clean pass ----------------------------------------------------------------------------------------------------

  TensorList call(const Step& step, const Node& node, TensorList& in, const PackedConvolutions* packed) const {
    OpCall c{node, in};
    c.promote = net.promote;
    c.device = net.device;
    const bool weights_stay =
        node.inputs.size() > 1 && node.inputs[1] != kNoValue && constant(node.inputs[1]).defined() &&
        (node.inputs.size() < 3 || node.inputs[2] == kNoValue || constant(node.inputs[2]).defined());
    if (net.channels_last && weights_stay) c.packed = packed;
    const at::NoGradGuard no_grad;
    return call_op(net.graph.name, *step.op, c);
  }

  /// Runs on the clean picture, keeps every value that something behind may read, and learns how each step passes
  /// changes on. False when that takes more than half the budget, or the picture is no map.
  bool run_clean(const Tensor& picture) {
    kept.resize(plan->num_values);
    shapes.resize(plan->num_values);
    input = net.graph.inputs()[0].value;
    kept[static_cast<size_t>(input)] = net.prepared(picture);
    shapes[static_cast<size_t>(input)] = picture.sizes().vec();
    int64_t bytes = 0;
    for (size_t s = 0; s < plan->steps.size(); ++s) {
      const Step& step = plan->steps[s];
      const Node& node = *step.node;
      if (node.op == "Transpose" && node.inputs[0] == input) {
        if (s != 0 || !step.last_use[0] || node.integers("perm") != std::vector<int64_t>{0, 3, 1, 2}) return false;
        first_step = 1;  // the passes begin with its result
      }
      TensorList in;
      for (const ValueId id : node.inputs)
        in.push_back(id == kNoValue ? Tensor() : is_computed(id) ? clean(id) : constant(id));
      const TensorList inputs = in;
      TensorList out = call(step, node, in, &net.caches.packed);
      for (size_t j = 0; j < node.outputs.size(); ++j) {
        const ValueId id = node.outputs[j];
        if (id == kNoValue) continue;
        kept[static_cast<size_t>(id)] = prepared_map(out[j]);
        shapes[static_cast<size_t>(id)] = out[j].sizes().vec();
        bytes += bytes_of(out[j]);
      }
      learn(s, inputs, out[0]);
      for (size_t j = 0; j < node.inputs.size(); ++j) {
        // What only an element-wise step reads is never read again.
        if (step.last_use[j] && info[s].kind == Kind::kPointwise && num_computed(node) == 1 &&
            node.inputs[j] != input && is_computed(node.inputs[j]) && readers(node.inputs[j]) == 1) {
          bytes -= bytes_of(clean(node.inputs[j]));
          kept[static_cast<size_t>(node.inputs[j])] = Tensor();
        }
      }
      for (const ValueId id : step.unused) kept[static_cast<size_t>(id)] = Tensor();
      if (bytes > options.memory_budget / 2) return false;
    }
    if (first_step == 1) input = plan->steps[0].node->outputs[0];
    return clean(input).dim() == 4;
  }

  int64_t num_computed(const Node& node) const {
    return std::count_if(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return is_computed(id); });
  }
  int64_t readers(ValueId id) const {
    int64_t count = 0;
    for (const Step& step : plan->steps) count += std::count(step.node->inputs.begin(), step.node->inputs.end(), id);
    return count;
  }

  void learn(size_t s, const TensorList& in, const Tensor& out) {
    const Node& node = *plan->steps[s].node;
    StepInfo& step = info[s];
    if (node.domain.empty() && (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul") && in[1].defined()) {
      const double inner = node.op == "Conv" ? static_cast<double>(in[1].numel()) / static_cast<double>(in[1].size(0))
                                             : static_cast<double>(in[0].size(-1));
      step.multiplications = static_cast<double>(out.numel()) * inner;
    }
    if (in.empty() || !in[0].defined()) return;
    if (is_pointwise(node)) {
      bool fits = out.dim() == 4;
      for (size_t j = 0; j < in.size(); ++j) {
        if (!in[j].defined()) continue;
        const bool is_constant = !is_computed(node.inputs[j]);
        if (node.op == "BatchNormalization" && j > 0) {
          fits = fits && is_constant;
        } else {
          fits = fits && ((is_constant && is_flat(in[j]) && node.op != "Concat") ||
                          (in[j].dim() == 4 && in[j].sizes().slice(2) == out.sizes().slice(2) && !is_constant));
        }
      }
      if (fits) step.kind = Kind::kPointwise;
    } else if (node.domain.empty() && in[0].dim() == 4 && is_computed(node.inputs[0])) {
      learn_sliding(node, in, out, step);
      learn_head(node, in, out, step);
    }
    if (node.domain.empty() && (node.op == "Gemm" || node.op == "MatMul") && in[0].dim() == 2 && in.size() > 1 &&
        !is_computed(node.inputs[1]) && in[1].dim() == 2 && is_computed(node.inputs[0]) &&
        node.integer("transA", 0) == 0 &&
        (in.size() < 3 || node.inputs[2] == kNoValue || !is_computed(node.inputs[2]))) {
      step.kind = Kind::kDense;
    }
  }

  void learn_sliding(const Node& node, const TensorList& in, const Tensor& out, StepInfo& step) const {
    const bool conv = node.op == "Conv";
    const bool average = node.op == "AveragePool";
    if (conv || average || (node.op == "MaxPool" && (node.outputs.size() < 2 || node.outputs[1] == kNoValue))) {
      if (conv &&
          (is_computed(node.inputs[1]) || (in.size() > 2 && node.inputs[2] != kNoValue && is_computed(node.inputs[2]))))
        return;
      const std::vector<int64_t> kernel = conv ? in[1].sizes().slice(2).vec() : node.integers("kernel_shape");
      const WindowGeometry g = window_geometry(node, in[0].sizes().slice(2), kernel);
      if (average && g.dilations != std::vector<int64_t>{1, 1}) return;
      for (size_t a = 0; a < 2; ++a) {
        const int64_t extent = (g.kernel[a] - 1) * g.dilations[a] + 1;
        step.sliding[a] = {extent, g.strides[a], g.begin[a], out.size(static_cast<int64_t>(a) + 2)};
        if (average)
          step.scale[a] = counts(node, g, a, in[0].size(static_cast<int64_t>(a) + 2), step.sliding[a].outputs);
      }
      step.node = without_padding(node);
      if (node.op == "MaxPool") step.padding = -std::numeric_limits<double>::infinity();
      step.kind = Kind::kSliding;
    } else if (node.op == "Pad" && node.text("mode", "constant") == "constant") {
      std::vector<int64_t> pads = node.integers("pads");
      if (pads.empty() && in.size() > 1 && in[1].defined() && !is_computed(node.inputs[1])) {
        const Tensor given = in[1].to(at::kLong).contiguous();
        pads.assign(given.data_ptr<int64_t>(), given.data_ptr<int64_t>() + given.numel());
      }
      const bool odd = pads.size() != 8 || in.size() > 3 || *std::min_element(pads.begin(), pads.end()) < 0;
      if (odd || pads[0] || pads[1] || pads[4] || pads[5]) return;
      if (in.size() > 2 && in[2].defined()) {
        if (is_computed(node.inputs[2])) return;
        step.padding = in[2].item<double>();
      } else {
        step.padding = node.real("value", 0);
      }
      for (size_t a = 0; a < 2; ++a) step.sliding[a] = {1, 1, pads[2 + a], out.size(static_cast<int64_t>(a) + 2)};
      step.kind = Kind::kSliding;
    }
  }

  /// AveragePool without padding divides by the whole window; this many times too much, by output.
  static std::vector<double> counts(const Node& node, const WindowGeometry& g, size_t axis, int64_t size,
                                    int64_t outputs) {
    const bool include = node.integer("count_include_pad", 0) != 0;
    std::vector<double> result;
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t begin = o * g.strides[axis] - g.begin[axis];
      const int64_t low = std::max(begin, include ? -g.begin[axis] : 0);
      const int64_t high = std::min(begin + g.kernel[axis], size + (include ? g.end[axis] : 0));
      result.push_back(static_cast<double>(g.kernel[axis]) / static_cast<double>(std::max<int64_t>(1, high - low)));
    }
    return result;
  }

  void learn_head(const Node& node, const TensorList& in, const Tensor& out, StepInfo& step) const {
    const Shape planes{in[0].size(0), in[0].size(1)};
    if (node.op == "GlobalAveragePool") {
      step.kind = Kind::kGlobalMean;
    } else if (node.op == "ReduceMean") {
      std::vector<int64_t> axes = node.integers("axes");
      if (axes.empty() && in.size() > 1 && in[1].defined() && !is_computed(node.inputs[1])) {
        const Tensor given = in[1].to(at::kLong).contiguous();
        axes.assign(given.data_ptr<int64_t>(), given.data_ptr<int64_t>() + given.numel());
      }
      for (int64_t& a : axes) a = a < 0 ? a + 4 : a;
      std::sort(axes.begin(), axes.end());
      if (axes == std::vector<int64_t>{2, 3}) step.kind = Kind::kGlobalMean;
    } else if ((node.op == "Flatten" && node.integer("axis", 1) == 1) || node.op == "Reshape") {
      if (out.dim() == 2 && out.size(0) == 1 && out.size(1) == in[0].numel()) step.kind = Kind::kFlatten;
    }
  }

  // Blocks ------------------------------------------------------------------------------------------------------------

  /// Ways to cut the grid of windows, by memory and predicted time. False when not even single variants fit.
  bool choose_blocks() {
    std::set<std::pair<int64_t, int64_t>> ys, xs;
    for (const Window& w : changed) {
      ys.emplace(w.top, w.top + w.height);
      xs.emplace(w.left, w.left + w.width);
    }
    const std::vector<std::pair<int64_t, int64_t>> y(ys.begin(), ys.end()), x(xs.begin(), xs.end());
    double best = std::numeric_limits<double>::infinity();
    for (const auto& [edge_y, edge_x] : std::vector<std::pair<size_t, size_t>>{
             {6, 6}, {5, 5}, {4, 8}, {4, 6}, {4, 5}, {4, 4}, {3, 4}, {3, 3}, {2, 4}, {2, 2}, {1, 2}, {1, 1}}) {
      if (static_cast<int64_t>(edge_y * edge_x) > options.most_rows) continue;
      // Smaller cuts only when larger ones do not fit: a batch of few rows wastes the processor.
      if (best < std::numeric_limits<double>::infinity() && edge_y * edge_x < 16) break;
      std::vector<Block> made = cut(y, x, edge_y, edge_x);
      double cost = 0;
      std::set<std::vector<int64_t>> signatures;
      int64_t most = 0;
      for (const Block& b : made) {
        cost += b.multiplications;
        most = std::max(most, b.bytes);
        signatures.insert(b.signature);
      }
      cost += static_cast<double>(signatures.size()) * kReorderCost * static_cast<double>(num_weights());
      const int64_t bytes = most + kept_bytes() + packed_bytes();
      if (bytes > options.memory_budget || cost >= best) continue;
      best = cost;
      planned = bytes;
      blocks = std::move(made);
    }
    std::stable_sort(blocks.begin(), blocks.end(),
                     [](const Block& a, const Block& b) { return a.signature < b.signature; });
    return !blocks.empty();
  }

  int64_t num_weights() const {
    int64_t count = 0;
    for (const Step& step : plan->steps) {
      if (step.node->op == "Conv" && !is_computed(step.node->inputs[1]))
        count += constant(step.node->inputs[1]).numel();
    }
    return count;
  }
  /// Weights in the layout of one block's shapes.
  int64_t packed_bytes() const {
    return net.channels_last ? num_weights() * static_cast<int64_t>(c10::elementSize(net.promote)) : 0;
  }
  int64_t kept_bytes() const {
    int64_t bytes = 0;
    std::set<const void*> seen;
    for (const Tensor& t : kept) {
      if (t.defined() && seen.insert(t.data_ptr()).second) bytes += bytes_of(t);
    }
    return bytes;
  }

  using Places = std::vector<std::pair<int64_t, int64_t>>;

  std::vector<Block> cut(const Places& y, const Places& x, size_t edge_y, size_t edge_x) const {
    std::map<std::pair<int64_t, int64_t>, size_t> index_y, index_x;
    for (size_t i = 0; i < y.size(); ++i) index_y[y[i]] = i;
    for (size_t i = 0; i < x.size(); ++i) index_x[x[i]] = i;
    const auto pieces_y = pieces(y.size(), edge_y), pieces_x = pieces(x.size(), edge_x);
    std::vector<Block> all(pieces_y.size() * pieces_x.size());
    for (size_t v = 0; v < changed.size(); ++v) {
      const Window& w = changed[v];
      const size_t i = index_y.at({w.top, w.top + w.height}), j = index_x.at({w.left, w.left + w.width});
      const size_t most = edge_y * edge_x;
      Block& block = all[i / edge_y * pieces_x.size() + j / edge_x];
      TORCH_CHECK(block.variants.size() < most, "the same window is given twice");
      block.variants.push_back(v);
      block.at_y.push_back(i % edge_y);
      block.at_x.push_back(j % edge_x);
    }
    std::vector<Block> result;
    for (size_t b = 0; b < all.size(); ++b) {
      if (all[b].variants.empty()) continue;
      const auto range_y = pieces_y[b / pieces_x.size()], range_x = pieces_x[b % pieces_x.size()];
      follow(all[b],
             Places(y.begin() + static_cast<long>(range_y.first), y.begin() + static_cast<long>(range_y.second)),
             Places(x.begin() + static_cast<long>(range_x.first), x.begin() + static_cast<long>(range_x.second)));
      result.push_back(std::move(all[b]));
    }
    return result;
  }

  int64_t axis_size(ValueId id, size_t axis) const { return shapes[static_cast<size_t>(id)].at(axis + 2); }

  /// How far the block's windows reach at every value, and what that costs.
  void follow(Block& block, const Places& y, const Places& x) const {
    block.reach.assign(plan->num_values, {});
    Reach& first = block.reach[static_cast<size_t>(input)];
    first.what = Reach::kPart;
    for (size_t a = 0; a < 2; ++a) {
      std::vector<int64_t> low, high;
      for (const auto& place : a == 0 ? y : x) {
        low.push_back(place.first);
        high.push_back(place.second);
      }
      first.span[a] = Span::of(std::move(low), std::move(high), axis_size(input, a));
    }
    const auto rows = static_cast<int64_t>(block.variants.size());
    block.signature = {rows, first.span[0].length, first.span[1].length};
    int64_t alive = value_bytes(block, input);
    for (size_t s = first_step; s < plan->steps.size(); ++s) {
      const Step& step = plan->steps[s];
      const Reach reach = reach_of(block, s);
      if (reach.what == Reach::kNothing) continue;
      double share = 1;
      int64_t made = 0;
      for (const ValueId out : step.node->outputs) {
        if (out == kNoValue) continue;
        block.reach[static_cast<size_t>(out)] = reach;
        made += value_bytes(block, out);
      }
      if (reach.what == Reach::kPart) {
        const ValueId out = step.node->outputs[0];
        share = static_cast<double>(reach.span[0].length * reach.span[1].length) /
                static_cast<double>(axis_size(out, 0) * axis_size(out, 1));
        block.signature.insert(block.signature.end(), {reach.span[0].length, reach.span[1].length});
      } else if (info[s].kind == Kind::kDense) {
        share = dense_share(block, step);
      }
      block.multiplications += info[s].multiplications * share * static_cast<double>(rows);
      // Windows gathered for this step, and its result, live beside what waits for later.
      int64_t gathered = 0;
      for (size_t j = 0; j < step.node->inputs.size(); ++j) {
        const ValueId in = step.node->inputs[j];
        if (is_computed(in)) gathered += std::max(read_bytes(block, s, in, reach), value_bytes(block, in));
      }
      block.bytes = std::max(block.bytes, alive + gathered + made);
      alive += made;
      for (size_t j = 0; j < step.node->inputs.size(); ++j) {
        if (step.last_use[j] && is_computed(step.node->inputs[j])) alive -= value_bytes(block, step.node->inputs[j]);
      }
    }
  }

  double dense_share(const Block& block, const Step& step) const {
    const Reach& in = block.reach[static_cast<size_t>(step.node->inputs[0])];
    if (in.what != Reach::kFlat) return 1;
    const ValueId map = flat_source.at(step.node->inputs[0]);
    return static_cast<double>(in.span[0].length * in.span[1].length) /
           static_cast<double>(axis_size(map, 0) * axis_size(map, 1));
  }

  int64_t whole_bytes(const Block& block, ValueId id) const {
    const int64_t numel = c10::multiply_integers(shapes[static_cast<size_t>(id)]);
    return numel * static_cast<int64_t>(block.variants.size()) *
           static_cast<int64_t>(c10::elementSize(net.promote == at::ScalarType::Undefined ? at::kFloat : net.promote));
  }
  int64_t value_bytes(const Block& block, ValueId id) const {
    const Reach& r = block.reach[static_cast<size_t>(id)];
    if (r.what == Reach::kNothing || r.what == Reach::kFlat) return 0;
    if (r.what == Reach::kAll) return whole_bytes(block, id);
    return whole_bytes(block, id) / (axis_size(id, 0) * axis_size(id, 1)) * r.span[0].length * r.span[1].length;
  }
  int64_t read_bytes(const Block& block, size_t s, ValueId in, const Reach& out) const {
    const Reach& r = block.reach[static_cast<size_t>(in)];
    if (r.what != Reach::kPart) return 0;
    if (out.what == Reach::kAll)
      return info[s].kind == Kind::kGlobalMean ? value_bytes(block, in) : whole_bytes(block, in);
    if (out.what != Reach::kPart || info[s].kind != Kind::kSliding) return 0;
    return whole_bytes(block, in) / (axis_size(in, 0) * axis_size(in, 1)) *
           info[s].sliding[0].read_length(out.span[0]) * info[s].sliding[1].read_length(out.span[1]);
  }

  bool is_most(const std::array<Span, 2>& span, ValueId id) const {
    return static_cast<double>(span[0].length * span[1].length) >=
           options.whole_share * static_cast<double>(axis_size(id, 0) * axis_size(id, 1));
  }

  Reach reach_of(const Block& block, size_t s) const {
    const Step& step = plan->steps[s];
    const ValueId out = step.node->outputs[0];
    Reach result;
    bool all = false, flat = false;
    const Reach* part = nullptr;
    bool several = false;
    for (const ValueId id : step.node->inputs) {
      if (!is_computed(id)) continue;
      const Reach& r = block.reach[static_cast<size_t>(id)];
      all = all || r.what == Reach::kAll;
      flat = flat || r.what == Reach::kFlat;
      if (r.what != Reach::kPart && r.what != Reach::kFlat) continue;
      several = several || part != nullptr;
      if (!part)
        result.span = r.span;
      else if (r.what == Reach::kPart && info[s].kind == Kind::kPointwise) {
        for (size_t a = 0; a < 2; ++a) result.span[a] = united(result.span[a], r.span[a], axis_size(id, a));
      }
      part = &r;
    }
    if (!all && !part) return {};
    result.what = Reach::kAll;
    if (all) return result;
    switch (info[s].kind) {
      case Kind::kPointwise:
        if (!flat && !(several && is_most(result.span, out))) result.what = Reach::kPart;
        break;
      case Kind::kSliding:
        for (size_t a = 0; a < 2; ++a) result.span[a] = info[s].sliding[a].through(part->span[a]);
        if (!is_most(result.span, out)) result.what = Reach::kPart;
        break;
      case Kind::kFlatten:
        flat_source[out] = step.node->inputs[0];
        result.what = Reach::kFlat;
        break;
      default:
        break;  // kGlobalMean and kDense change all of their result
    }
    return result;
  }

  /// Whether a dense step takes the difference instead of the whole.
  bool takes_difference(const Block& block, const Step& step) const {
    return dense_share(block, step) < kDenseShare &&
           bytes_of(constant(step.node->inputs[1])) <= options.memory_budget / 8;
  }

  /// Drops clean values that no block reads.
  void forget_unread() {
    std::vector<char> read(plan->num_values, 0);
    const auto mark = [&](ValueId id) {
      if (is_computed(id)) read[static_cast<size_t>(id)] = 1;
    };
    mark(input);
    for (const Block& block : blocks) {
      for (size_t s = first_step; s < plan->steps.size(); ++s) {
        const Node& node = *plan->steps[s].node;
        const Reach::What out = block.reach[static_cast<size_t>(node.outputs[0])].what;
        if (out == Reach::kNothing) continue;
        if (info[s].kind == Kind::kGlobalMean || info[s].kind == Kind::kDense) mark(node.outputs[0]);
        for (const ValueId id : node.inputs) {
          if (!is_computed(id) || block.reach[static_cast<size_t>(id)].what == Reach::kAll) continue;
          mark(id);
          const auto source = flat_source.find(id);
          if (source != flat_source.end()) mark(source->second);
        }
      }
    }
    for (size_t id = 0; id < kept.size(); ++id) {
      if (!read[id] && static_cast<ValueId>(id) != target) kept[id] = Tensor();
    }
  }

  double clean_multiplications() const {
    double sum = 0;
    for (const StepInfo& step : info) sum += step.multiplications;
    return sum;
  }
  double total_multiplications() const {
    double sum = clean_multiplications();
    for (const Block& block : blocks) sum += block.multiplications;
    return sum;
  }

  // A block's pass ----------------------------------------------------------------------------------------------------

  struct Pass {
    const Block& block;
    TensorList current;  ///< By value id: crops [n,C,h,w] or whole values [n,...].
    const PackedConvolutions* packed;
  };

  static std::vector<int64_t> by_variant(const std::vector<int64_t>& places, const std::vector<size_t>& at) {
    std::vector<int64_t> result;
    for (const size_t i : at) result.push_back(places[i]);
    return result;
  }

  /// Windows of a value, with the block's own crops in place.
  Tensor windows(const Pass& pass, ValueId id, const std::vector<int64_t>& y, const std::vector<int64_t>& x,
                 int64_t height, int64_t width, double padding) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    const Tensor& now = pass.current[static_cast<size_t>(id)];
    const Tensor crops = now.defined() ? prepared_map(now) : now;
    const Tensor map = prepared_map(clean(id));
    WindowRead read{map,    crops, {},     {}, by_variant(y, pass.block.at_y), by_variant(x, pass.block.at_x),
                    height, width, padding};
    if (r.what == Reach::kPart) {
      read.crop_y = by_variant(r.span[0].start, pass.block.at_y);
      read.crop_x = by_variant(r.span[1].start, pass.block.at_x);
    }
    return read_windows(read);
  }

  /// A value over the spans of `wanted`; the crops themselves when they are there.
  Tensor over(const Pass& pass, ValueId id, const std::array<Span, 2>& wanted) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    if (r.what == Reach::kPart && r.span[0].same_place(wanted[0]) && r.span[1].same_place(wanted[1]))
      return pass.current[static_cast<size_t>(id)];
    return windows(pass, id, wanted[0].start, wanted[1].start, wanted[0].length, wanted[1].length, 0);
  }

  Tensor whole(const Pass& pass, ValueId id) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    if (r.what == Reach::kAll) return pass.current[static_cast<size_t>(id)];
    if (r.what == Reach::kNothing) return clean(id);
    if (r.what == Reach::kFlat) return whole(pass, flat_source.at(id)).contiguous().flatten(1);
    const std::vector<int64_t> zeros_y(r.span[0].start.size(), 0), zeros_x(r.span[1].start.size(), 0);
    return windows(pass, id, zeros_y, zeros_x, axis_size(id, 0), axis_size(id, 1), 0);
  }

  /// What the crops change: crop - clean, [n,C,h,w].
  Tensor difference(const Pass& pass, ValueId id) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    const Tensor map = prepared_map(clean(id));
    const Tensor none;
    const WindowRead read{map,
                          none,
                          {},
                          {},
                          by_variant(r.span[0].start, pass.block.at_y),
                          by_variant(r.span[1].start, pass.block.at_x),
                          r.span[0].length,
                          r.span[1].length,
                          0};
    return pass.current[static_cast<size_t>(id)] - read_windows(read);
  }

  /// Clean mean + sum of differences / positions.
  Tensor global_mean(const Pass& pass, const Node& node) const {
    const ValueId id = node.inputs[0];
    const auto positions = static_cast<double>(axis_size(id, 0) * axis_size(id, 1));
    const Tensor change = difference(pass, id).sum({2, 3}, false, at::kDouble) / positions;
    const Tensor& before = clean(node.outputs[0]);
    Shape shape = before.sizes().vec();
    const Tensor after = before.to(at::kDouble).flatten().unsqueeze(0) + change;
    shape[0] = after.size(0);
    return after.view(shape).to(before.scalar_type());
  }

  /// Clean result + weight * difference, position by position of the map that was flattened.
  Tensor dense(const Pass& pass, const Node& node) const {
    const ValueId map = flat_source.at(node.inputs[0]);
    const Reach& r = pass.block.reach[static_cast<size_t>(map)];
    const Shape& shape = shapes[static_cast<size_t>(map)];
    const Tensor& given = constant(node.inputs[1]);
    const bool transposed = node.op == "Gemm" && node.integer("transB", 0) != 0;
    const Tensor weight = (transposed ? given.t() : given).view_as(transposed ? given.t() : given);
    const Tensor by_channel = weight.unflatten(0, {shape[1], shape[2] * shape[3]});  // [C,H*W,K]
    const Tensor change = difference(pass, map).permute({2, 3, 0, 1}).contiguous();  // [h,w,n,C]
    const auto rows = static_cast<int64_t>(pass.block.variants.size());
    Tensor sum = at::zeros({rows, weight.size(1)}, at::kDouble);
    // By position of the map: which variants cover it, and which element of their crop that is.
    std::map<int64_t, std::pair<std::vector<int64_t>, std::vector<int64_t>>> covers;
    for (int64_t n = 0; n < rows; ++n) {
      const auto v = static_cast<size_t>(n);
      const int64_t top = r.span[0].start[pass.block.at_y[v]], left = r.span[1].start[pass.block.at_x[v]];
      for (int64_t y = 0; y < r.span[0].length; ++y) {
        for (int64_t x = 0; x < r.span[1].length; ++x) {
          auto& [who, element] = covers[(top + y) * shape[3] + left + x];
          who.push_back(n);
          element.push_back((y * r.span[1].length + x) * rows + n);
        }
      }
    }
    const Tensor elements = change.flatten(0, 2);
    for (const auto& [position, cover] : covers) {
      const Tensor product =
          at::matmul(elements.index_select(0, at::tensor(cover.second, at::kLong)), by_channel.select(1, position));
      sum.index_add_(0, at::tensor(cover.first, at::kLong), product.to(at::kDouble));
    }
    const double alpha = node.op == "Gemm" ? node.real("alpha", 1) : 1;
    const Tensor& before = clean(node.outputs[0]);
    return (before.to(at::kDouble) + sum * alpha).to(before.scalar_type());
  }

  Tensor slide(Pass& pass, const Step& step, const StepInfo& how, const Reach& out) const {
    const Node& node = *step.node;
    const std::vector<int64_t> y = how.sliding[0].read_start(out.span[0]), x = how.sliding[1].read_start(out.span[1]);
    const int64_t height = how.sliding[0].read_length(out.span[0]), width = how.sliding[1].read_length(out.span[1]);
    const Reach& r = pass.block.reach[static_cast<size_t>(node.inputs[0])];
    const bool same =
        r.span[0].start == y && r.span[1].start == x && r.span[0].length == height && r.span[1].length == width;
    Tensor read = same ? pass.current[static_cast<size_t>(node.inputs[0])]
                       : windows(pass, node.inputs[0], y, x, height, width, how.padding);
    if (node.op == "Pad") return read;
    TensorList in{std::move(read)};
    for (size_t j = 1; j < node.inputs.size(); ++j)
      in.push_back(node.inputs[j] == kNoValue ? Tensor() : constant(node.inputs[j]));
    Tensor result = call(step, *how.node, in, pass.packed)[0];
    if (how.scale[0].empty()) return result;
    std::array<Tensor, 2> scale;
    for (size_t a = 0; a < 2; ++a) {
      std::vector<double> factors;
      for (const size_t place : a == 0 ? pass.block.at_y : pass.block.at_x) {
        for (int64_t i = 0; i < out.span[a].length; ++i)
          factors.push_back(how.scale[a][static_cast<size_t>(out.span[a].start[place] + i)]);
      }
      const auto rows = static_cast<int64_t>(pass.block.variants.size());
      scale[a] = at::tensor(factors, result.options()).view(a == 0 ? Shape{rows, 1, -1, 1} : Shape{rows, 1, 1, -1});
    }
    return result * (scale[0] * scale[1]);
  }

  TensorList step_outputs(Pass& pass, size_t s, const Reach& out) const {
    const Step& step = plan->steps[s];
    const Node& node = *step.node;
    const auto what = [&](size_t j) { return pass.block.reach[static_cast<size_t>(node.inputs[j])].what; };
    if (out.what == Reach::kPart && info[s].kind == Kind::kSliding) return {slide(pass, step, info[s], out)};
    if (info[s].kind == Kind::kGlobalMean && what(0) == Reach::kPart) return {global_mean(pass, node)};
    if (info[s].kind == Kind::kDense && what(0) == Reach::kFlat && takes_difference(pass.block, step))
      return {dense(pass, node)};
    TensorList in;
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      const ValueId id = node.inputs[j];
      if (id == kNoValue || constant(id).defined()) {
        in.push_back(id == kNoValue ? Tensor() : constant(id));
      } else {
        in.push_back(out.what == Reach::kPart ? over(pass, id, out.span) : whole(pass, id));
        if (node.op == "Concat" && what(j) == Reach::kNothing && out.what == Reach::kAll) {
          Shape shape = in[j].sizes().vec();
          shape[0] = static_cast<int64_t>(pass.block.variants.size());
          in[j] = in[j].expand(shape);
        }
      }
    }
    release(pass, step);
    return call(step, node, in, pass.packed);
  }

  /// Lets go of what nobody reads after this step, so that it may be overwritten in place.
  void release(Pass& pass, const Step& step) const {
    for (size_t j = 0; j < step.node->inputs.size(); ++j) {
      const ValueId id = step.node->inputs[j];
      if (!step.last_use[j] || !is_computed(id)) continue;
      const auto source = flat_source.find(id);
      pass.current[static_cast<size_t>(id)] = Tensor();
      if (source != flat_source.end()) pass.current[static_cast<size_t>(source->second)] = Tensor();
    }
  }

  Tensor run_block(const Block& block, const Paint& paint, const PackedConvolutions* packed,
                   const Progress* progress) const {
    Pass pass{block, TensorList(plan->num_values), packed};
    const Reach& first = block.reach[static_cast<size_t>(input)];
    TensorList crops;
    for (size_t i = 0; i < block.variants.size(); ++i) {
      crops.push_back(paint(block.variants[i], {first.span[0].start[block.at_y[i]], first.span[1].start[block.at_x[i]],
                                                first.span[0].length, first.span[1].length}));
    }
    pass.current[static_cast<size_t>(input)] = prepared_map(net.prepared(at::stack(crops)));
    for (size_t s = first_step; s < plan->steps.size(); ++s) {
      if (progress) progress->check();
      const Step& step = plan->steps[s];
      const Reach& out = block.reach[static_cast<size_t>(step.node->outputs[0])];
      if (out.what == Reach::kNothing) continue;
      if (out.what == Reach::kFlat) continue;  // its map stays alive in its place
      TensorList made = step_outputs(pass, s, out);
      for (size_t j = 0; j < step.node->outputs.size(); ++j) {
        if (step.node->outputs[j] != kNoValue)
          pass.current[static_cast<size_t>(step.node->outputs[j])] = std::move(made[j]);
      }
      for (const ValueId id : step.unused) pass.current[static_cast<size_t>(id)] = Tensor();
      release(pass, step);
    }
    const Reach& last = block.reach[static_cast<size_t>(target)];
    if (last.what == Reach::kNothing) {
      Shape shape = clean(target).sizes().vec();
      shape[0] = static_cast<int64_t>(block.variants.size());
      return clean(target).expand(shape);
    }
    return whole(pass, target);
  }

  const Network::Impl& net;
  ValueId target, input = kNoValue;
  std::vector<Window> changed;
  Options options;
  std::shared_ptr<const Plan> plan;
  std::vector<StepInfo> info;
  size_t first_step = 0;
  TensorList kept;  ///< Clean values by id.
  std::vector<Shape> shapes;
  mutable std::map<ValueId, ValueId> flat_source;  ///< A flattened value -> its map.
  std::vector<Block> blocks;
  int64_t planned = 0;
  bool worthwhile = false;
};

IncrementalPasses::IncrementalPasses(const Network& network, const Tensor& clean, ValueId until,
                                     std::vector<Window> changed, const Options& options)
    : impl_(std::make_unique<Impl>(network, clean, until, std::move(changed), options)) {}
const NodeCaches& IncrementalPasses::caches_of(const Network& network) { return network.impl_->caches; }

IncrementalPasses::~IncrementalPasses() = default;

bool IncrementalPasses::worthwhile() const { return impl_->worthwhile; }

double IncrementalPasses::work_share() const {
  if (!impl_->worthwhile) return 1;
  return impl_->total_multiplications() / (impl_->clean_multiplications() * static_cast<double>(impl_->changed.size()));
}

int64_t IncrementalPasses::planned_bytes() const { return impl_->planned; }

void IncrementalPasses::run(const Paint& paint, const Use& use, const Progress* progress) const {
  TORCH_CHECK(impl_->worthwhile, "IncrementalPasses::run where it is not worthwhile");
  // One copy of the weights in the layout of the current shapes.
  auto packed = std::make_unique<PackedConvolutions>();
  const std::vector<int64_t>* shape = nullptr;
  for (const Block& block : impl_->blocks) {
    if (shape && *shape != block.signature) packed = std::make_unique<PackedConvolutions>();
    shape = &block.signature;
    use(block.variants, impl_->run_block(block, paint, packed.get(), progress));
  }
}

}  // namespace pellucid
