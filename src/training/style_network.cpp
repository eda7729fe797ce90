#include <set>

#include "pellucid/error.h"
#include "pellucid/style_networks.h"
#include "pellucid/text.h"
#include "training/network_builder.h"

namespace pellucid {

namespace {

constexpr int64_t kFewestChannels = 16;  // of the decoder, so that colors are not lost

NetworkBuilder::Conv reflected(int64_t kernel, int64_t stride = 1, bool bias = false) {
  NetworkBuilder::Conv conv;
  conv.kernel = kernel;
  conv.stride = stride;
  conv.border = NetworkBuilder::Border::kReflect;
  conv.bias = bias;
  return conv;
}

/// x * factor + offset by channel.
std::string affine(NetworkBuilder& b, const std::string& name, const std::string& from,
                   const std::vector<double>& factor, const std::vector<double>& offset) {
  const auto constant = [&](const std::string& what, const std::vector<double>& numbers) {
    b.graph.constant(name + what, at::tensor(numbers, at::kDouble).to(at::kFloat).view({1, -1, 1, 1}));
    return name + what;
  };
  const std::string scaled = b.node("Mul", name + ".scaled", {from, constant(".factor", factor)});
  return b.node("Add", name, {scaled, constant(".offset", offset)});
}

class StyleNetwork {
 public:
  explicit StyleNetwork(const StyleNetworkOptions& options) : options_(options), b_(options.seed) {}

  Graph build() {
    b_.graph.set_name("style");
    b_.graph.input("input", {-1, 3, -1, -1});
    if (options_.num_styles > 0) b_.graph.input("style", {-1, options_.num_styles});
    const int64_t w = options_.width;
    std::string x = affine(b_, "centered", "input", {1 / 127.5}, {-1});
    x = layer("conv1", x, 3, w, 9, 1);
    x = layer("conv2", x, w, 2 * w, 3, 2);
    x = layer("conv3", x, 2 * w, 4 * w, 3, 2);
    for (int64_t i = 1; i <= options_.blocks; ++i) {
      const std::string name = "res" + std::to_string(i);
      const std::string inner = layer(name + ".conv1", x, 4 * w, 4 * w, 3, 1);
      const std::string outer = norm(name + ".conv2.norm", conv(name + ".conv2", inner, 4 * w, 4 * w, 3, 1), 4 * w);
      x = b_.node("Add", name + ".add", {outer, x});
    }
    x = layer("up1", b_.upsample("up1.resize", x), 4 * w, 2 * w, 3, 1);
    x = layer("up2", b_.upsample("up2.resize", x), 2 * w, w, 3, 1);
    x = b_.conv("conv_out", x, w, 3, reflected(9, 1, true));
    x = b_.node("Sigmoid", "squashed", {x});
    b_.graph.constant("output.range", at::full({1}, 255.0F));
    b_.node("Mul", "output", {x, "output.range"});
    b_.graph.output("output", Shape{-1, 3, -1, -1});
    return b_.graph.finish();
  }

 private:
  std::string conv(const std::string& name, const std::string& from, int64_t in, int64_t out, int64_t kernel,
                   int64_t stride) {
    return b_.conv(name, from, in, out, reflected(kernel, stride));
  }

  std::string norm(const std::string& name, const std::string& from, int64_t channels) {
    if (options_.num_styles == 0) return b_.instance_norm(name, from, channels);
    // Conditional: normalized, then scale and shift that the style's weights choose.
    b_.graph.constant(name + ".one", at::ones({channels}));
    b_.graph.constant(name + ".zero", at::zeros({channels}));
    b_.node("InstanceNormalization", name + ".plain", {from, name + ".one", name + ".zero"}, {{"epsilon", 1e-5}});
    const auto chosen = [&](const std::string& what, const Tensor& start) {
      b_.graph.constant(name + "." + what, start.repeat({options_.num_styles, 1}));
      b_.node("MatMul", name + "." + what + ".row", {"style", name + "." + what});
      if (!axes_) b_.graph.constant("axes", at::tensor({int64_t{2}, int64_t{3}}));
      axes_ = true;
      return b_.node("Unsqueeze", name + "." + what + ".chosen", {name + "." + what + ".row", "axes"});
    };
    const std::string scale = chosen("scale", at::ones({1, channels}));
    const std::string shift = chosen("bias", at::zeros({1, channels}));
    return b_.node("Add", name, {b_.node("Mul", name + ".scaled", {name + ".plain", scale}), shift});
  }

  std::string layer(const std::string& name, const std::string& from, int64_t in, int64_t out, int64_t kernel,
                    int64_t stride) {
    return b_.relu(name + ".relu", norm(name + ".norm", conv(name, from, in, out, kernel, stride), out));
  }

  StyleNetworkOptions options_;
  NetworkBuilder b_;
  bool axes_ = false;
};

/// Nodes that lead to a value, in order.
std::vector<const Node*> nodes_before(const Graph& graph, ValueId value) {
  std::set<ValueId> wanted{value};
  std::vector<const Node*> found;
  for (auto node = graph.nodes().rbegin(); node != graph.nodes().rend(); ++node) {
    bool needed = false;
    for (const ValueId id : node->outputs) needed = needed || wanted.count(id) != 0;
    if (!needed) continue;
    wanted.insert(node->inputs.begin(), node->inputs.end());
    found.insert(found.begin(), &*node);
  }
  return found;
}

/// Copies the encoder for one of the inputs; weights are shared. Returns the names of its features, by level.
std::vector<std::string> embed(NetworkBuilder& b, const AdainEncoder& encoder, const std::string& input,
                               bool with_weights) {
  const Graph& graph = encoder.graph;
  const ValueId from = graph.inputs().at(0).value;
  const std::string entry = affine(b, input + ".normalized", input, encoder.scale, encoder.offset);
  const auto name_of = [&](ValueId id) {
    if (id == kNoValue) return std::string();
    if (id == from) return entry;
    const Value& value = graph.value(id);
    return (value.constant.defined() ? "encoder." : input + ".") + value.name;
  };
  std::set<ValueId> written;
  for (const Node* node : nodes_before(graph, encoder.levels.back().layer)) {
    std::vector<std::string> inputs, outputs;
    for (const ValueId id : node->inputs) {
      if (id != kNoValue && with_weights && graph.value(id).constant.defined() && written.insert(id).second) {
        b.graph.constant(name_of(id), graph.value(id).constant);
      }
      inputs.push_back(name_of(id));
    }
    for (const ValueId id : node->outputs) {
      outputs.push_back(name_of(id));
      written.insert(id);
    }
    b.graph.node(node->op, inputs, outputs, node->attributes, input + "." + node->name, node->domain);
  }
  std::vector<std::string> features;
  for (const AdainEncoder::Level& level : encoder.levels) {
    if (!written.count(level.layer)) {
      throw_usage("arbitrary style: " + printable(graph.value(level.layer).name) + " does not lead to " +
                  printable(graph.value(encoder.levels.back().layer).name));
    }
    features.push_back(name_of(level.layer));
  }
  return features;
}

/// Mean and deviation of the style for the content's features, by the share alpha. Returns the name of the result.
std::string adapt(NetworkBuilder& b, const std::string& number, int64_t channels, const std::string& content,
                  const std::string& style) {
  const std::map<std::string, Attribute> over_positions{{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{1}}};
  const std::string s = "style" + number, t = "adain" + number, m = "mixed" + number;
  b.node("Identity", "content" + number, {content});
  b.node("ReduceMean", s + ".mean", {style}, over_positions);
  b.node("Sub", s + ".centered", {style, s + ".mean"});
  b.node("Mul", s + ".squared", {s + ".centered", s + ".centered"});
  b.node("ReduceMean", s + ".variance", {s + ".squared"}, over_positions);
  b.node("Sqrt", s + ".deviation", {b.node("Add", s + ".raised", {s + ".variance", "adain.epsilon"})});
  b.graph.constant(t + ".one", at::ones({channels}));
  b.graph.constant(t + ".zero", at::zeros({channels}));
  b.node("InstanceNormalization", t + ".plain", {"content" + number, t + ".one", t + ".zero"},
         {{"epsilon", kAdainEpsilon}});
  b.node("Add", t, {b.node("Mul", t + ".scaled", {t + ".plain", s + ".deviation"}), s + ".mean"});
  b.node("Sub", m + ".difference", {t, "content" + number});
  return b.node("Add", m, {b.node("Mul", m + ".share", {m + ".difference", "alpha"}), "content" + number});
}

/// From the coarsest level to the picture, each level joining at its size. Slightly leaky, since units of so small a
/// decoder are soon dead for good.
void decode(NetworkBuilder& b, const AdainEncoder& encoder, const std::vector<std::string>& mixed) {
  std::string x = mixed.back();
  int64_t channels = encoder.levels.back().channels, halvings = encoder.levels.back().halvings;
  const auto layer = [&](const std::string& name, int64_t in, int64_t out) {
    const std::string conv = b.conv("decoder." + name, x, in, out, reflected(3, 1, true));
    x = b.node("LeakyRelu", "decoder." + name + ".relu", {conv}, {{"alpha", 0.1}});
    channels = out;
  };
  const auto enlarge = [&](int64_t to) {
    for (; halvings > to; --halvings) x = b.upsample("decoder.up" + std::to_string(halvings), x);
  };
  layer("start", channels, std::max(channels / 2, kFewestChannels));
  for (size_t i = mixed.size() - 1; i-- > 0;) {
    const AdainEncoder::Level& level = encoder.levels[i];
    const std::string name = "level" + std::to_string(i + 1);
    enlarge(level.halvings);
    x = b.node("Concat", "decoder." + name, {x, mixed[i]}, {{"axis", int64_t{1}}});
    layer(name + "_1", channels + level.channels, std::max(level.channels, kFewestChannels));
    layer(name + "_2", channels, channels);
  }
  if (halvings > 0) {
    enlarge(0);
    layer("full", channels, std::max(channels / 2, kFewestChannels));
  }
  x = b.conv("decoder.out", x, channels, 3, reflected(3, 1, true));
  affine(b, "output", x, {127.5}, {127.5});
}

}  // namespace

Graph make_style_network(const StyleNetworkOptions& options) {
  if (options.width < 1 || options.blocks < 0 || options.num_styles < 0) {
    throw_usage("style network: a width of at least one channel and no negative numbers are needed");
  }
  return StyleNetwork(options).build();
}

Graph make_adain_network(const AdainEncoder& encoder, uint64_t seed) {
  if (encoder.levels.empty()) throw_usage("arbitrary style: no layer of the encoder");
  int64_t before = -1;
  for (const AdainEncoder::Level& level : encoder.levels) {
    if (level.halvings <= before || level.halvings > 6 || level.channels < 1) {
      throw_usage(
          "arbitrary style: the encoder's layers have to be maps at 1/1 to 1/64 of the picture's size, each "
          "smaller than the one before");
    }
    before = level.halvings;
  }
  NetworkBuilder b(seed);
  for (const auto& [domain, version] : encoder.graph.opsets) b.graph.set_opset(domain, version);
  b.graph.set_opset("", std::max<int64_t>(13, encoder.graph.opsets.at("")));
  b.graph.set_name("adain");
  b.graph.input("content", {-1, 3, -1, -1});
  b.graph.input("style", {-1, 3, -1, -1});
  b.graph.input("alpha", {1});
  b.graph.constant("adain.epsilon", at::full({1}, kAdainEpsilon));
  const std::vector<std::string> content = embed(b, encoder, "content", true),
                                 style = embed(b, encoder, "style", false);
  std::vector<std::string> mixed;
  for (size_t i = 0; i < encoder.levels.size(); ++i) {
    mixed.push_back(adapt(b, std::to_string(i + 1), encoder.levels[i].channels, content[i], style[i]));
  }
  decode(b, encoder, mixed);
  b.graph.output("output", Shape{-1, 3, -1, -1});
  return b.graph.finish();
}

bool is_style_weight(const std::string& name) {
  if (name.compare(0, 8, "encoder.") == 0) return false;
  for (const char* end : {".weight", ".bias", ".scale"}) {
    const std::string ending = end;
    if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
      return true;
  }
  return false;
}

Tensor gram_matrices(const Tensor& features) {
  const Tensor rows = features.flatten(2);
  return at::bmm(rows, rows.transpose(1, 2)) / static_cast<double>(rows.size(2));
}

Tensor relative_error(const Tensor& value, const Tensor& target) {
  const Tensor size = target.flatten(1).square().sum(1).clamp_min(1e-20);
  return (value - target).flatten(1).square().sum(1) / size;
}

Tensor statistics_error(const Tensor& features, const Tensor& target) {
  const auto moments = [](const Tensor& f) {
    const auto [variance, mean] = at::var_mean(f, {2, 3}, /*unbiased=*/false);
    return at::cat({mean, (variance + 1e-5).sqrt()}, 1);
  };
  return relative_error(moments(features), moments(target));
}

}  // namespace pellucid
