#include "training/network_builder.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace pellucid {

NetworkBuilder::NetworkBuilder(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

Tensor NetworkBuilder::normal(const Shape& shape, double deviation) {
  return at::randn(shape, generator_, at::TensorOptions(at::kFloat)) * deviation;
}

std::string NetworkBuilder::node(const std::string& op, const std::string& name, const std::vector<std::string>& from,
                                 std::map<std::string, Attribute> attributes) {
  return graph.node(op, from, {name}, std::move(attributes), name);
}

std::string NetworkBuilder::conv(const std::string& name, const std::string& from, int64_t in, int64_t out,
                                 const Conv& options) {
  const int64_t kernel = options.kernel;
  int64_t pad = kernel / 2;
  std::string x = from;
  if (options.border == Border::kReflect && pad > 0) {
    graph.constant(name + ".pads", at::tensor({int64_t{0}, int64_t{0}, pad, pad, int64_t{0}, int64_t{0}, pad, pad}));
    x = node("Pad", name + ".pad", {from, name + ".pads"}, {{"mode", std::string("reflect")}});
    pad = 0;
  }
  graph.constant(name + ".weight", normal({out, in, kernel, kernel},
                                          std::sqrt(options.gain / static_cast<double>(in * kernel * kernel))));
  std::vector<std::string> inputs{x, name + ".weight"};
  if (options.bias) {
    graph.constant(name + ".bias", at::zeros({out}));
    inputs.push_back(name + ".bias");
  }
  return node("Conv", name, inputs,
              {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
               {"strides", std::vector<int64_t>{options.stride, options.stride}},
               {"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
}

std::string NetworkBuilder::batch_norm(const std::string& name, const std::string& from, int64_t channels) {
  graph.constant(name + ".scale", at::ones({channels}));
  graph.constant(name + ".bias", at::zeros({channels}));
  graph.constant(name + ".mean", at::zeros({channels}));
  graph.constant(name + ".var", at::ones({channels}));
  return node("BatchNormalization", name, {from, name + ".scale", name + ".bias", name + ".mean", name + ".var"},
              {{"epsilon", 1e-5}, {"momentum", 0.9}});
}

std::string NetworkBuilder::instance_norm(const std::string& name, const std::string& from, int64_t channels) {
  graph.constant(name + ".scale", at::ones({channels}));
  graph.constant(name + ".bias", at::zeros({channels}));
  return node("InstanceNormalization", name, {from, name + ".scale", name + ".bias"}, {{"epsilon", 1e-5}});
}

std::string NetworkBuilder::relu(const std::string& name, const std::string& from) {
  return node("Relu", name, {from});
}

std::string NetworkBuilder::upsample(const std::string& name, const std::string& from) {
  graph.constant(name + ".scales", at::tensor({1.0F, 1.0F, 2.0F, 2.0F}));
  return node("Resize", name, {from, "", name + ".scales"},
              {{"mode", std::string("nearest")},
               {"coordinate_transformation_mode", std::string("asymmetric")},
               {"nearest_mode", std::string("floor")}});
}

std::string NetworkBuilder::average_pool(const std::string& name, const std::string& from) {
  return node("AveragePool", name, {from},
              {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
}

Graph NetworkBuilder::classifier(const std::string& from, int64_t width, int64_t num_classes) {
  node("GlobalAveragePool", "pool", {from});
  node("Flatten", "flatten", {"pool"});
  graph.constant("classifier.weight", normal({num_classes, width}, std::sqrt(1.0 / static_cast<double>(width))));
  graph.constant("classifier.bias", at::zeros({num_classes}));
  graph.node("Gemm", {"flatten", "classifier.weight", "classifier.bias"}, {"logits"}, {{"transB", int64_t{1}}},
             "classifier");
  graph.output("logits", Shape{-1, num_classes});
  return graph.finish();
}

}  // namespace pellucid
