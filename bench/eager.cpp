#include "eager.h"

#include <torch/csrc/autograd/autograd.h>

#include <numeric>
#include <stdexcept>

namespace pellucid::bench {

namespace {

bool is_activation(const std::string& op) { return op == "Relu" || op == "Clip"; }

std::vector<int64_t> front(const std::vector<int64_t>& pads) { return {pads[0], pads[1]}; }

}  // namespace

EagerNetwork::EagerNetwork(const Graph& graph) : graph_(graph), replaced_(graph.values().size()) {
  std::iota(replaced_.begin(), replaced_.end(), 0);
  at::NoGradGuard no_grad;
  for (const Node& node : graph_.nodes()) {
    const auto constant = [&](size_t i) {
      return i < node.inputs.size() && node.inputs[i] != kNoValue ? graph_.value(node.inputs[i]).constant : Tensor();
    };
    Step step;
    step.node = &node;
    const ValueId from = node.inputs[0];
    if (node.op == "Conv") {
      step.weight = constant(1);
      step.bias = constant(2);
    } else if (node.op == "Gemm") {
      step.weight = node.integer("transB", 0) ? constant(1) : constant(1).t();
      step.bias = constant(2);
    } else if (node.op == "BatchNormalization") {
      // Every one here follows a convolution that nothing else reads.
      for (Step& before : steps_) {
        if (before.node->outputs[0] != from) continue;
        const Tensor gain = constant(1) / at::sqrt(constant(4) + node.real("epsilon", 1e-5));
        before.weight = before.weight * gain.view({-1, 1, 1, 1});
        before.bias =
            (before.bias.defined() ? before.bias : at::zeros_like(gain)) * gain + constant(2) - constant(3) * gain;
        replaced_[static_cast<size_t>(node.outputs[0])] = from;
      }
      continue;
    } else if (node.op == "Clip") {
      step.low = constant(1).defined() ? constant(1).item<double>() : node.real("min", 0);
      step.high = constant(2).defined() ? constant(2).item<double>() : node.real("max", 6);
    }
    step.in_place =
        is_activation(node.op) && graph_.value(from).consumers.size() == 1 && graph_.value(from).producer >= 0;
    steps_.push_back(step);
  }
  std::vector<char> is_read(replaced_.size(), 0);
  for (const ValueId id : graph_.outputs()) is_read[slot(id)] = 1;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    if (step->node->op == "Conv") step->weight = step->weight.contiguous(at::MemoryFormat::ChannelsLast);
    for (const ValueId id : step->node->inputs) {
      if (id == kNoValue || is_read[slot(id)]) continue;
      is_read[slot(id)] = 1;
      step->last_reads.push_back(slot(id));
    }
  }
}

Tensor EagerNetwork::apply(const Step& step, std::vector<Tensor>& values) const {
  const Node& node = *step.node;
  const auto in = [&](size_t i) -> Tensor& { return values[slot(node.inputs[i])]; };
  if (node.op == "Conv") {
    Tensor x = in(0);
    std::vector<int64_t> pads = node.integers("pads", {0, 0, 0, 0});
    if (pads[0] != pads[2] || pads[1] != pads[3]) {
      x = at::constant_pad_nd(x, {pads[1], pads[3], pads[0], pads[2]});
      pads = {0, 0, 0, 0};
    }
    return at::conv2d(x, step.weight, step.bias, node.integers("strides", {1, 1}), front(pads),
                      node.integers("dilations", {1, 1}), node.integer("group", 1));
  }
  if (node.op == "Relu") return step.in_place ? at::relu_(in(0)) : at::relu(in(0));
  if (node.op == "Clip") {
    return step.in_place ? at::hardtanh_(in(0), step.low, step.high) : at::hardtanh(in(0), step.low, step.high);
  }
  if (node.op == "Add") return in(0) + in(1);
  if (node.op == "Concat") return at::cat({in(0), in(1)}, node.integer("axis", 1));
  if (node.op == "MaxPool") {
    return at::max_pool2d(in(0), node.integers("kernel_shape"), node.integers("strides", {1, 1}),
                          front(node.integers("pads", {0, 0, 0, 0})), 1, node.integer("ceil_mode", 0) != 0);
  }
  if (node.op == "GlobalAveragePool") return at::adaptive_avg_pool2d(in(0), {1, 1});
  if (node.op == "Flatten") return at::flatten(in(0), 1);
  if (node.op == "Gemm") return at::linear(in(0), step.weight, step.bias);
  throw std::runtime_error("the eager reference has no " + node.op);
}

Tensor EagerNetwork::forward(const Tensor& input) const {
  std::vector<Tensor> values(replaced_.size());
  values[static_cast<size_t>(graph_.inputs()[0].value)] = input.contiguous(at::MemoryFormat::ChannelsLast);
  for (const Step& step : steps_) {
    values[slot(step.node->outputs[0])] = apply(step, values);
    // As local variables would go out of scope.
    for (const size_t read : step.last_reads) values[read].reset();
  }
  return values[slot(graph_.outputs()[0])];
}

Tensor EagerNetwork::gradient(const Tensor& input, const Tensor& seed) const {
  const Tensor leaf = input.contiguous(at::MemoryFormat::ChannelsLast).detach().requires_grad_(true);
  return torch::autograd::grad({forward(leaf)}, {leaf}, {seed})[0];
}

}  // namespace pellucid::bench
