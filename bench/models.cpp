#include "models.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace pellucid::bench {

namespace {

using Ints = std::vector<int64_t>;

struct ConvShape {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t groups = 1;
};

/// Names every value after its place in the network, as exporters do.
class NetBuilder {
 public:
  NetBuilder(const std::string& name, uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {
    graph_.set_name(name);
    graph_.input("input", {-1, 3, 224, 224});
  }

  std::string conv(const std::string& x, const ConvShape& s, bool bias) {
    const std::string name = next("conv");
    const int64_t fan_in = s.in / s.groups * s.kernel * s.kernel;
    std::vector<std::string> inputs{x, weight(name + ".weight", {s.out, s.in / s.groups, s.kernel, s.kernel}, fan_in)};
    if (bias) inputs.push_back(weight(name + ".bias", {s.out}, 100));
    const int64_t pad = s.kernel / 2;
    return graph_.node("Conv", inputs, {name},
                       {{"kernel_shape", Ints{s.kernel, s.kernel}},
                        {"strides", Ints{s.stride, s.stride}},
                        {"pads", Ints{pad, pad, pad, pad}},
                        {"group", s.groups}},
                       name);
  }

  std::string conv_norm(const std::string& x, const ConvShape& s) {
    const std::string y = conv(x, s, false);
    const std::string name = y + ".norm";
    const auto options = at::TensorOptions(at::kFloat);
    graph_.constant(name + ".scale", at::rand({s.out}, generator_, options) * 0.2 + 0.9);
    graph_.constant(name + ".bias", at::randn({s.out}, generator_, options) * 0.1);
    graph_.constant(name + ".mean", at::randn({s.out}, generator_, options) * 0.1);
    graph_.constant(name + ".var", at::rand({s.out}, generator_, options) * 0.5 + 0.75);
    return graph_.node("BatchNormalization", {y, name + ".scale", name + ".bias", name + ".mean", name + ".var"},
                       {name}, {{"epsilon", 1e-5}}, name);
  }

  std::string relu(const std::string& x) { return simple("Relu", "relu", {x}); }
  std::string add(const std::string& a, const std::string& b) { return simple("Add", "add", {a, b}); }
  std::string concat(const std::string& a, const std::string& b) {
    return simple("Concat", "concat", {a, b}, {{"axis", int64_t{1}}});
  }

  std::string relu6(const std::string& x) {
    if (!has_six_) {
      graph_.constant("zero", at::scalar_tensor(0.0f));
      graph_.constant("six", at::scalar_tensor(6.0f));
      has_six_ = true;
    }
    return simple("Clip", "relu6", {x, "zero", "six"});
  }

  std::string max_pool(const std::string& x, int64_t kernel, int64_t stride, int64_t pad, bool ceil = false) {
    return simple("MaxPool", "pool", {x},
                  {{"kernel_shape", Ints{kernel, kernel}},
                   {"strides", Ints{stride, stride}},
                   {"pads", Ints{pad, pad, pad, pad}},
                   {"ceil_mode", static_cast<int64_t>(ceil)}});
  }

  std::string global_pool(const std::string& x) { return simple("GlobalAveragePool", "gap", {x}); }
  std::string flatten(const std::string& x) { return simple("Flatten", "flatten", {x}); }

  std::string dense(const std::string& x, int64_t in, int64_t out) {
    const std::string name = next("fc");
    const std::string w = weight(name + ".weight", {out, in}, in);
    const std::string b = weight(name + ".bias", {out}, 100);
    return graph_.node("Gemm", {x, w, b}, {name}, {{"transB", int64_t{1}}}, name);
  }

  Graph finish(const std::string& output) {
    graph_.output(output);
    return graph_.finish();
  }

 private:
  std::string next(const std::string& kind) { return kind + "_" + std::to_string(count_++); }

  std::string simple(const std::string& op, const std::string& kind, const std::vector<std::string>& inputs,
                     std::map<std::string, Attribute> attributes = {}) {
    const std::string name = next(kind);
    return graph_.node(op, inputs, {name}, std::move(attributes), name);
  }

  /// He et al., ICCV 2015: variance 2 / fan in, so that activations neither vanish nor explode.
  std::string weight(const std::string& name, const Ints& shape, int64_t fan_in) {
    graph_.constant(name, at::randn(shape, generator_, at::TensorOptions(at::kFloat)) *
                              std::sqrt(2.0 / static_cast<double>(fan_in)));
    return name;
  }

  GraphBuilder graph_{13};
  at::Generator generator_;
  int count_ = 0;
  bool has_six_ = false;
};

}  // namespace

// Sandler, Howard, Zhu, Zhmoginov, Chen. "MobileNetV2: Inverted Residuals and Linear Bottlenecks". CVPR 2018, table 2.
Graph mobilenet_v2(uint64_t seed) {
  struct Stage {
    int64_t expansion, channels, repeats, stride;
  };
  const Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                          {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  NetBuilder b("mobilenet_v2", seed);
  std::string x = b.relu6(b.conv_norm("input", {3, 32, 3, 2}));
  int64_t in = 32;
  for (const Stage& s : stages) {
    for (int64_t i = 0; i < s.repeats; ++i) {
      const int64_t stride = i == 0 ? s.stride : 1;
      const int64_t hidden = in * s.expansion;
      std::string y = s.expansion == 1 ? x : b.relu6(b.conv_norm(x, {in, hidden}));
      y = b.relu6(b.conv_norm(y, {hidden, hidden, 3, stride, hidden}));
      y = b.conv_norm(y, {hidden, s.channels});
      x = stride == 1 && in == s.channels ? b.add(x, y) : y;
      in = s.channels;
    }
  }
  x = b.relu6(b.conv_norm(x, {in, 1280}));
  return b.finish(b.dense(b.flatten(b.global_pool(x)), 1280, 1000));
}

// He, Zhang, Ren, Sun. "Deep Residual Learning for Image Recognition". CVPR 2016, table 1; stride in the 3x3.
Graph resnet18(uint64_t seed) {
  NetBuilder b("resnet18", seed);
  std::string x = b.max_pool(b.relu(b.conv_norm("input", {3, 64, 7, 2})), 3, 2, 1);
  int64_t in = 64;
  for (const int64_t width : {64, 128, 256, 512}) {
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t stride = width == in ? 1 : 2;
      std::string y = b.relu(b.conv_norm(x, {in, width, 3, stride}));
      y = b.conv_norm(y, {width, width, 3});
      x = b.relu(b.add(y, stride == 1 ? x : b.conv_norm(x, {in, width, 1, stride})));
      in = width;
    }
  }
  return b.finish(b.dense(b.flatten(b.global_pool(x)), in, 1000));
}

Graph resnet50(uint64_t seed) {
  NetBuilder b("resnet50", seed);
  std::string x = b.max_pool(b.relu(b.conv_norm("input", {3, 64, 7, 2})), 3, 2, 1);
  const int64_t repeats[] = {3, 4, 6, 3};
  int64_t in = 64;
  for (int64_t stage = 0; stage < 4; ++stage) {
    const int64_t width = int64_t{64} << stage;
    const int64_t out = 4 * width;
    for (int64_t i = 0; i < repeats[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      std::string y = b.relu(b.conv_norm(x, {in, width}));
      y = b.relu(b.conv_norm(y, {width, width, 3, stride}));
      y = b.conv_norm(y, {width, out});
      const std::string shortcut = i == 0 ? b.conv_norm(x, {in, out, 1, stride}) : x;
      x = b.relu(b.add(y, shortcut));
      in = out;
    }
  }
  return b.finish(b.dense(b.flatten(b.global_pool(x)), in, 1000));
}

// Simonyan, Zisserman. "Very Deep Convolutional Networks for Large-Scale Image Recognition". ICLR 2015, column D.
Graph vgg16(uint64_t seed) {
  NetBuilder b("vgg16", seed);
  std::string x = "input";
  int64_t in = 3;
  const Ints blocks[] = {{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}};
  for (const Ints& widths : blocks) {
    for (const int64_t width : widths) {
      x = b.relu(b.conv(x, {in, width, 3}, true));
      in = width;
    }
    x = b.max_pool(x, 2, 2, 0);
  }
  x = b.relu(b.dense(b.flatten(x), 512 * 7 * 7, 4096));
  x = b.relu(b.dense(x, 4096, 4096));
  return b.finish(b.dense(x, 4096, 1000));
}

// Iandola et al. "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size". 2016;
// version 1.1.
Graph squeezenet1_1(uint64_t seed) {
  NetBuilder b("squeezenet1_1", seed);
  std::string x = b.max_pool(b.relu(b.conv("input", {3, 64, 3, 2}, true)), 3, 2, 0, true);
  int64_t in = 64;
  const auto fire = [&](int64_t squeeze, int64_t expand) {
    const std::string s = b.relu(b.conv(x, {in, squeeze}, true));
    x = b.concat(b.relu(b.conv(s, {squeeze, expand}, true)), b.relu(b.conv(s, {squeeze, expand, 3}, true)));
    in = 2 * expand;
  };
  fire(16, 64);
  fire(16, 64);
  x = b.max_pool(x, 3, 2, 0, true);
  fire(32, 128);
  fire(32, 128);
  x = b.max_pool(x, 3, 2, 0, true);
  fire(48, 192);
  fire(48, 192);
  fire(64, 256);
  fire(64, 256);
  x = b.relu(b.conv(x, {in, 1000}, true));
  return b.finish(b.flatten(b.global_pool(x)));
}

}  // namespace pellucid::bench
