#include "graph/change_rule.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "graph/op.h"
#include "graph/ops/window.h"

namespace pellucid {

namespace {

using IsComputed = std::function<bool(ValueId)>;

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

/// AveragePool without padding divides by the whole window; this many times too much, by output.
std::vector<double> counts(const Node& node, const WindowGeometry& g, size_t axis, int64_t size, int64_t outputs) {
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

void learn_sliding(const Node& node, const TensorList& in, const Tensor& out, const IsComputed& is_computed,
                   ChangeRule& rule) {
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
      rule.sliding[a] = {extent, g.strides[a], g.begin[a], out.size(static_cast<int64_t>(a) + 2)};
      if (average) rule.scale[a] = counts(node, g, a, in[0].size(static_cast<int64_t>(a) + 2), rule.sliding[a].outputs);
    }
    rule.node = without_padding(node);
    if (node.op == "MaxPool") rule.padding = -std::numeric_limits<double>::infinity();
    rule.kind = ChangeKind::kSliding;
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
      rule.padding = in[2].item<double>();
    } else {
      rule.padding = node.real("value", 0);
    }
    for (size_t a = 0; a < 2; ++a) rule.sliding[a] = {1, 1, pads[2 + a], out.size(static_cast<int64_t>(a) + 2)};
    rule.kind = ChangeKind::kSliding;
  }
}

void learn_head(const Node& node, const TensorList& in, const Tensor& out, const IsComputed& is_computed,
                ChangeRule& rule) {
  const Shape planes{in[0].size(0), in[0].size(1)};
  if (node.op == "GlobalAveragePool") {
    rule.kind = ChangeKind::kGlobalMean;
  } else if (node.op == "ReduceMean") {
    std::vector<int64_t> axes = node.integers("axes");
    if (axes.empty() && in.size() > 1 && in[1].defined() && !is_computed(node.inputs[1])) {
      const Tensor given = in[1].to(at::kLong).contiguous();
      axes.assign(given.data_ptr<int64_t>(), given.data_ptr<int64_t>() + given.numel());
    }
    for (int64_t& a : axes) a = a < 0 ? a + 4 : a;
    std::sort(axes.begin(), axes.end());
    if (axes == std::vector<int64_t>{2, 3}) rule.kind = ChangeKind::kGlobalMean;
  } else if ((node.op == "Flatten" && node.integer("axis", 1) == 1) || node.op == "Reshape") {
    if (out.dim() == 2 && out.size(0) == 1 && out.size(1) == in[0].numel()) rule.kind = ChangeKind::kFlatten;
  }
}

}  // namespace

ChangeRule change_rule(const Node& node, const TensorList& in, const Tensor& out,
                       const std::function<bool(ValueId)>& is_computed) {
  ChangeRule rule;
  if (node.domain.empty() && (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul") && in[1].defined()) {
    const double inner = node.op == "Conv" ? static_cast<double>(in[1].numel()) / static_cast<double>(in[1].size(0))
                                           : static_cast<double>(in[0].size(-1));
    rule.multiplications = static_cast<double>(out.numel()) * inner;
  }
  if (in.empty() || !in[0].defined()) return rule;
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
    if (fits) rule.kind = ChangeKind::kPointwise;
  } else if (node.domain.empty() && in[0].dim() == 4 && is_computed(node.inputs[0])) {
    learn_sliding(node, in, out, is_computed, rule);
    learn_head(node, in, out, is_computed, rule);
  }
  if (node.domain.empty() && (node.op == "Gemm" || node.op == "MatMul") && in[0].dim() == 2 && in.size() > 1 &&
      !is_computed(node.inputs[1]) && in[1].dim() == 2 && is_computed(node.inputs[0]) &&
      node.integer("transA", 0) == 0 && (in.size() < 3 || node.inputs[2] == kNoValue || !is_computed(node.inputs[2]))) {
    rule.kind = ChangeKind::kDense;
  }
  return rule;
}

}  // namespace pellucid
