#include <map>
#include <set>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "pellucid/training.h"
#include "training/network_builder.h"

namespace pellucid {

namespace {

/// Broadcasts one number per output (dimension 0) or per input (dimension 1) over a weight.
Tensor along(const Tensor& numbers, int64_t dimension, int64_t rank) {
  Shape shape(static_cast<size_t>(rank), 1);
  shape[static_cast<size_t>(dimension)] = -1;
  return numbers.view(shape);
}

/// The only reader of a value, or null.
const Node* only_reader(const Graph& graph, ValueId id) {
  const std::vector<int32_t>& readers = graph.value(id).consumers;
  return readers.size() == 1 ? &graph.nodes()[static_cast<size_t>(readers.front())] : nullptr;
}

}  // namespace

Graph make_vgg_network(const VggNetworkOptions& options) {
  if (options.widths.empty() || options.num_classes < 1) {
    throw_usage("vgg network: at least one stage and one class are needed");
  }
  NetworkBuilder b(options.seed);
  b.graph.set_name("vgg");
  b.graph.input("input", {-1, 3, -1, -1});
  NetworkBuilder::Conv conv;
  conv.border = NetworkBuilder::Border::kReflect;
  conv.bias = true;
  std::string x = "input";
  int64_t width = 3;
  for (size_t stage = 0; stage < options.widths.size(); ++stage) {
    const std::string number = std::to_string(stage + 1);
    if (stage > 0) x = b.average_pool("pool" + std::to_string(stage), x);
    for (const char* place : {"_1", "_2"}) {
      const std::string name = "conv" + number + place;
      x = b.conv(name, x, width, options.widths[stage], conv);
      width = options.widths[stage];
      x = b.relu(name + ".relu", b.batch_norm(name + ".norm", x, width));
    }
  }
  return b.classifier(x, width, options.num_classes);
}

Graph with_folded_batch_norms(const Graph& graph) {
  GraphBuilder b(graph.opsets.at(""));
  b.set_name(graph.name);
  b.properties().metadata = graph.metadata;
  for (const GraphInput& input : graph.inputs()) b.input(graph.value(input.value).name, input.shape, input.type);
  std::map<ValueId, Tensor> constants;
  std::map<ValueId, ValueId> stands_for;  // output of a folded normalization -> of its convolution
  std::set<const Node*> folded;
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization") continue;
    const Node* conv = graph.producer_of(node.inputs[0]);
    if (!conv || conv->op != "Conv" || conv->inputs.size() != 3 || !only_reader(graph, node.inputs[0])) {
      throw_usage(printable(node.name) + ": only the normalization of a convolution with a bias can be folded");
    }
    const auto parameter = [&](size_t i) { return graph.value(node.inputs[i]).constant.to(at::kDouble); };
    const Tensor factor = parameter(1) / (parameter(4) + node.real("epsilon", 1e-5)).sqrt();
    const Tensor& weight = graph.value(conv->inputs[1]).constant;
    const Tensor& bias = graph.value(conv->inputs[2]).constant;
    constants[conv->inputs[1]] = (weight.to(at::kDouble) * along(factor, 0, weight.dim())).to(weight.scalar_type());
    constants[conv->inputs[2]] = ((bias.to(at::kDouble) - parameter(3)) * factor + parameter(2)).to(bias.scalar_type());
    stands_for[node.outputs[0]] = conv->outputs[0];
    folded.insert(&node);
  }
  std::set<ValueId> read;
  for (const Node& node : graph.nodes()) {
    if (!folded.count(&node)) read.insert(node.inputs.begin(), node.inputs.end());
  }
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!graph.value(id).constant.defined() || !read.count(id)) continue;
    b.constant(graph.value(id).name, constants.count(id) ? constants.at(id) : graph.value(id).constant);
  }
  const auto name_of = [&](ValueId id) {
    if (id == kNoValue) return std::string();
    const auto other = stands_for.find(id);
    return graph.value(other == stands_for.end() ? id : other->second).name;
  };
  for (const Node& node : graph.nodes()) {
    if (folded.count(&node)) continue;
    std::vector<std::string> inputs, outputs;
    for (const ValueId id : node.inputs) inputs.push_back(name_of(id));
    for (const ValueId id : node.outputs) outputs.push_back(graph.value(id).name);
    b.node(node.op, inputs, outputs, node.attributes, node.name, node.domain);
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    b.output(name_of(graph.outputs()[i]), graph.output_shapes()[i]);
  }
  return b.finish();
}

Graph with_unit_mean_activations(const Graph& graph, const std::function<Tensor(int64_t)>& inputs, int64_t count) {
  static const std::set<std::string> kHomogeneous{"Pad",     "AveragePool", "MaxPool", "GlobalAveragePool",
                                                  "Flatten", "Relu"};
  // Mean activation of every channel after each Relu.
  std::vector<ValueId> rectified;
  for (const Node& node : graph.nodes()) {
    if (node.op == "Relu") rectified.push_back(node.outputs[0]);
  }
  const Network network(graph);
  Values means;
  for (int64_t i = 0; i < count; ++i) {
    Request request;
    request.capture = rectified;
    for (const auto& [id, value] : network.run({inputs(i)}, request)) {
      const Tensor mean = value.to(at::kDouble).mean({0, 2, 3}) / static_cast<double>(count);
      means[id] = means.count(id) ? means.at(id) + mean : mean;
    }
  }
  // Each value is `scale` times smaller than before, by channel.
  Values scale;
  scale[graph.inputs().at(0).value] = at::ones({1}, at::TensorOptions(at::kDouble));
  std::map<ValueId, Tensor> constants;
  for (const Node& node : graph.nodes()) {
    const Tensor& in = scale.at(node.inputs[0]);
    if (kHomogeneous.count(node.op)) {
      scale[node.outputs[0]] = in;
      continue;
    }
    if (node.op != "Conv" && node.op != "Gemm") {
      throw_usage(printable(node.name) + ": activations cannot be rescaled past " + printable(node.op));
    }
    const Tensor& weight = graph.value(node.inputs[1]).constant;
    Tensor out = at::ones({weight.size(0)}, at::TensorOptions(at::kDouble));
    const Node* next = only_reader(graph, node.outputs[0]);
    if (next && next->op == "Relu") {
      const Tensor mean = means.at(next->outputs[0]);
      out = at::where(mean > 1e-6, mean, out);  // dead channels stay as they are
    }
    const int64_t rank = weight.dim();
    constants[node.inputs[1]] =
        (weight.to(at::kDouble) * along(in, 1, rank) / along(out, 0, rank)).to(weight.scalar_type());
    if (node.inputs.size() > 2) {
      const Tensor& bias = graph.value(node.inputs[2]).constant;
      constants[node.inputs[2]] = (bias.to(at::kDouble) / out).to(bias.scalar_type());
    }
    scale[node.outputs[0]] = out;
  }
  return graph.with_constants(constants);
}

}  // namespace pellucid
