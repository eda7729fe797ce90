#include "pellucid/error.h"
#include "pellucid/training.h"
#include "training/network_builder.h"

namespace pellucid {

namespace {

/// Conv without bias -> BatchNormalization.
std::string normed_conv(NetworkBuilder& b, const std::string& name, const std::string& from, int64_t in, int64_t out,
                        int64_t kernel, int64_t stride) {
  NetworkBuilder::Conv options;
  options.kernel = kernel;
  options.stride = stride;
  return b.batch_norm(name + ".norm", b.conv(name, from, in, out, options), out);
}

}  // namespace

Graph make_residual_network(const ResidualNetworkOptions& options) {
  if (options.widths.empty() || options.num_classes < 1 || options.input_size < 8) {
    throw_usage("residual network: at least one block, one class and 8 pixels are needed");
  }
  NetworkBuilder b(options.seed);
  b.graph.set_name("residual");
  b.graph.input("input", {-1, 3, options.input_size, options.input_size});
  int64_t width = options.widths.front();
  std::string x = b.relu("stem.relu", normed_conv(b, "stem", "input", 3, width, 3, 2));
  for (size_t i = 0; i < options.widths.size(); ++i) {
    const std::string name = "block" + std::to_string(i + 1);
    const int64_t out = options.widths[i];
    const int64_t stride = out == width ? 1 : 2;
    const std::string shortcut = out == width ? x : normed_conv(b, name + ".shortcut", x, width, out, 1, stride);
    const std::string inner = b.relu(name + ".conv1.relu", normed_conv(b, name + ".conv1", x, width, out, 3, stride));
    const std::string outer = normed_conv(b, name + ".conv2", inner, out, out, 3, 1);
    x = b.relu(name + ".relu", b.node("Add", name + ".add", {outer, shortcut}));
    width = out;
  }
  return b.classifier(x, width, options.num_classes);
}

}  // namespace pellucid
