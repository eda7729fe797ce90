#include "pellucid/error.h"
#include "pellucid/priors.h"
#include "training/network_builder.h"

namespace pellucid {

namespace {

NetworkBuilder::Conv biased(double gain, int64_t stride = 1) {
  NetworkBuilder::Conv options;
  options.stride = stride;
  options.bias = true;
  options.gain = gain;
  return options;
}

/// Factors of enlargement are no weights.
bool is_factor(const std::string& name) {
  const std::string ending = ".scales";
  return name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}

std::string at_size(const char* way, size_t level, const char* what) {
  return std::string(way) + std::to_string(level + 1) + "." + what;
}

}  // namespace

Graph make_denoiser(const DenoiserOptions& options) {
  if (options.widths.empty() || options.channels < 1) {
    throw_usage("denoiser: at least one size and one channel are needed");
  }
  NetworkBuilder b(options.seed);
  b.graph.set_name("denoiser");
  const int64_t channels = options.channels;
  b.graph.input("picture", {-1, channels, -1, -1});
  const auto block = [&](const std::string& name, const std::string& from, int64_t in, int64_t out, int64_t stride) {
    return b.relu(name + ".relu", b.conv(name, from, in, out, biased(2, stride)));
  };
  std::vector<std::string> down;
  std::string x = "picture";
  int64_t width = channels;
  for (size_t level = 0; level < options.widths.size(); ++level) {
    const int64_t out = options.widths[level];
    x = block(at_size("down", level, "conv1"), x, width, out, level == 0 ? 1 : 2);
    x = block(at_size("down", level, "conv2"), x, out, out, 1);
    down.push_back(x);
    width = out;
  }
  for (size_t level = options.widths.size() - 1; level-- > 0;) {
    const int64_t out = options.widths[level];
    x = b.upsample(at_size("up", level, "twice"), x);
    x = block(at_size("up", level, "conv1"), x, width, out, 1);
    x = b.node("Concat", at_size("up", level, "joined"), {x, down[level]}, {{"axis", int64_t{1}}});
    x = block(at_size("up", level, "conv2"), x, 2 * out, out, 1);
    width = out;
  }
  x = b.conv("change", x, width, channels, biased(/*gain=*/0));
  b.node("Add", "denoised", {"picture", x});
  b.graph.output("denoised", Shape{-1, channels, -1, -1});
  return b.graph.finish();
}

Tensor denoising_loss(Learner& learner, const Tensor& clean, const Tensor& noise) {
  const ValueId output = learner.network().graph().outputs().front();
  return (learner.forward({clean + noise}, {output}).at(output) - clean).square().mean();
}

Graph make_generator(const GeneratorOptions& options) {
  if (options.code.size() != 3 || options.widths.empty()) {
    throw_usage("generator: a code [C,h,w] and at least one size are needed");
  }
  NetworkBuilder b(options.seed);
  b.graph.set_name("generator");
  b.graph.input("code", {-1, options.code[0], options.code[1], options.code[2]});
  std::string x = "code";
  int64_t width = options.code[0], height = options.code[1], across = options.code[2];
  for (size_t level = 0; level < options.widths.size(); ++level) {
    const std::string name = "size" + std::to_string(level + 1);
    x = b.relu(name + ".relu",
               b.batch_norm(name + ".norm", b.conv(name, x, width, options.widths[level], {}), options.widths[level]));
    x = b.upsample(name + ".twice", x);
    width = options.widths[level];
    height *= 2;
    across *= 2;
  }
  x = b.conv("rgb", x, width, 3, biased(0.5));
  b.node("Sigmoid", "picture", {x});
  b.graph.output("picture", Shape{-1, 3, height, across});
  return b.graph.finish();
}

LearnerOptions prior_learner_options() {
  LearnerOptions options;
  options.optimizer = LearnerOptions::Optimizer::kAdam;
  options.frozen = is_factor;
  return options;
}

}  // namespace pellucid
