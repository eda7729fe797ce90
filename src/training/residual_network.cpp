#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "pellucid/error.h"
#include "pellucid/training.h"

namespace pellucid {

namespace {

class Builder {
 public:
  explicit Builder(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

  /// Conv without bias -> BatchNormalization [-> Relu].
  std::string conv(const std::string& name, const std::string& from, int64_t in, int64_t out, int64_t kernel,
                   int64_t stride) {
    const double deviation = std::sqrt(2.0 / static_cast<double>(in * kernel * kernel));
    graph.constant(name + ".weight",
                   at::randn({out, in, kernel, kernel}, generator_, at::TensorOptions(at::kFloat)) * deviation);
    const int64_t pad = kernel / 2;
    graph.node("Conv", {from, name + ".weight"}, {name},
               {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
                {"strides", std::vector<int64_t>{stride, stride}},
                {"pads", std::vector<int64_t>{pad, pad, pad, pad}}},
               name);
    const std::string norm = name + ".norm";
    graph.constant(norm + ".scale", at::ones({out}));
    graph.constant(norm + ".bias", at::zeros({out}));
    graph.constant(norm + ".mean", at::zeros({out}));
    graph.constant(norm + ".var", at::ones({out}));
    return graph.node("BatchNormalization", {name, norm + ".scale", norm + ".bias", norm + ".mean", norm + ".var"},
                      {norm}, {{"epsilon", 1e-5}, {"momentum", 0.9}}, norm);
  }

  std::string relu(const std::string& name, const std::string& from) {
    return graph.node("Relu", {from}, {name}, {}, name);
  }

  GraphBuilder graph{13};

 private:
  at::Generator generator_;

  friend Graph pellucid::make_residual_network(const ResidualNetworkOptions&);
};

}  // namespace

Graph make_residual_network(const ResidualNetworkOptions& options) {
  if (options.widths.empty() || options.num_classes < 1 || options.input_size < 8) {
    throw_usage("residual network: at least one block, one class and 8 pixels are needed");
  }
  Builder b(options.seed);
  b.graph.set_name("residual");
  b.graph.input("input", {-1, 3, options.input_size, options.input_size});
  int64_t width = options.widths.front();
  std::string x = b.relu("stem.relu", b.conv("stem", "input", 3, width, 3, 2));
  for (size_t i = 0; i < options.widths.size(); ++i) {
    const std::string name = "block" + std::to_string(i + 1);
    const int64_t out = options.widths[i];
    const int64_t stride = out == width ? 1 : 2;
    const std::string shortcut = out == width ? x : b.conv(name + ".shortcut", x, width, out, 1, stride);
    const std::string inner = b.relu(name + ".conv1.relu", b.conv(name + ".conv1", x, width, out, 3, stride));
    const std::string outer = b.conv(name + ".conv2", inner, out, out, 3, 1);
    x = b.relu(name + ".relu", b.graph.node("Add", {outer, shortcut}, {name + ".add"}, {}, name + ".add"));
    width = out;
  }
  b.graph.node("GlobalAveragePool", {x}, {"pool"}, {}, "pool");
  b.graph.node("Flatten", {"pool"}, {"flatten"}, {}, "flatten");
  b.graph.constant("classifier.weight",
                   at::randn({options.num_classes, width}, b.generator_, at::TensorOptions(at::kFloat)) *
                       std::sqrt(1.0 / static_cast<double>(width)));
  b.graph.constant("classifier.bias", at::zeros({options.num_classes}));
  b.graph.node("Gemm", {"flatten", "classifier.weight", "classifier.bias"}, {"logits"}, {{"transB", int64_t{1}}},
               "classifier");
  b.graph.output("logits", Shape{-1, options.num_classes});
  return b.graph.finish();
}

}  // namespace pellucid
