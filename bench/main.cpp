// pellucid_bench: the engine against what a careful user of LibTorch would write, in the same run. See README.md.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "eager.h"
#include "harness.h"
#include "integrated_gradients.h"
#include "models.h"
#include "occlusion.h"
#include "pellucid/attribution.h"
#include "pellucid/error.h"
#include "perturbation_cams.h"
#include "style.h"
#include "synthesis.h"

namespace {

namespace fs = std::filesystem;
using namespace pellucid;
using namespace pellucid::bench;

struct Options {
  std::string filter;
  std::string program;  ///< The pellucid program; without it whole processes are not measured.
  std::string models;   ///< Folder with mobilenet_v2_imagenet.onnx.
  std::string photo;
  int threads = 0;  ///< 0: all cores.
  HarnessOptions harness;
};

/// Where each wanted ratio comes from is in README.md.
constexpr double kForwardTarget = 1.0;
constexpr double kGradientTarget = 1.0;
constexpr double kGradCamTarget = 1.15;
constexpr double kRelevanceTarget = 2.5;
constexpr double kImportSeconds = 0.15;
constexpr double kExplainSeconds = 0.8;
constexpr double kExplainMegabytes = 600;

/// A fast wrong answer is an error. In the mean square, because a rectifier whose input is all but zero may round to
/// the other side and change single numbers of a gradient.
void check_close(const std::string& what, const Tensor& ours, const Tensor& other) {
  const double error = (ours - other).norm().item<double>();
  const double scale = other.norm().item<double>();
  if (!(error <= 5e-3 * scale)) {
    std::fprintf(stderr, "%s: differs from the reference by %g of %g\n", what.c_str(), error, scale);
    std::exit(1);
  }
}

void bench_network(const Graph& graph, int64_t batch, const Options& options) {
  const Network network(graph);
  const EagerNetwork eager(graph);
  at::manual_seed(1);
  const Tensor input = at::randn({batch, 3, 224, 224});
  const ValueId in = graph.inputs()[0].value;
  const LayerTable layers(network, {input.sizes().vec()});
  const ValueId logits = layers.logits();
  const std::string suffix = " " + graph.name + " x" + std::to_string(batch);

  const auto wanted = [&](const std::string& task) {
    return options.filter.empty() || (task + suffix).find(options.filter) != std::string::npos;
  };
  Request request;
  request.capture = {logits};
  const auto forward = [&] { return network.run({input}, request).at(logits); };
  const auto eager_forward = [&] {
    at::NoGradGuard no_grad;
    return eager.forward(input);
  };
  const Tensor clean = forward();

  if (wanted("forward")) {
    check_close("forward" + suffix, clean, eager_forward());
    compare("forward" + suffix, {{"engine", [&] { forward(); }}, {"eager LibTorch", [&] { eager_forward(); }}},
            kForwardTarget, options.harness);
  }
  if (wanted("gradient")) {
    Tensor seed = at::zeros_like(clean);
    seed.select(1, 7).fill_(1);
    const auto gradient = [&] {
      return network.record({input}, {{logits}, {in}, {}, false}).backward({{logits, seed}}, {in}).values.at(in);
    };
    check_close("gradient" + suffix, gradient(), eager.gradient(input, seed));
    compare("gradient" + suffix,
            {{"engine", [&] { gradient(); }}, {"whole-graph autograd", [&] { eager.gradient(input, seed); }}},
            kGradientTarget, options.harness);
  }
  if (wanted("grad-cam")) {
    ModelCard card;
    card.width = card.height = 224;
    const BoundTarget target(Target::parse("top1"), layers, card, logits, clean);
    const ValueId layer = layers.default_cam_layer();
    const Context context{network, layers, card, input, target, {layer}, 0, 16, nullptr, {}};
    const MethodCall call = MethodCall::parse("grad-cam");
    // The definition on the eager network's own terms: weights are the mean gradients of the layer.
    const Tape tape = network.record({input}, {{logits}, {layer}, {}, false});
    const Tensor gradient = tape.backward({{logits, target.seed(clean)}}, {layer}).values.at(layer);
    check_close("grad-cam" + suffix, attribute(call, context).values,
                (gradient.mean({2, 3}, true) * tape.value(layer)).sum(1));
    compare("grad-cam" + suffix, {{"grad-cam", [&] { attribute(call, context); }}, {"one forward", [&] { forward(); }}},
            kGradCamTarget, options.harness);
  }
}

/// Relevance propagation against one gradient, both as methods.
void bench_relevance(const Graph& graph, int64_t batch, const Options& options) {
  const std::string suffix = " " + graph.name + " x" + std::to_string(batch);
  const Network network(graph);
  at::manual_seed(1);
  const Tensor input = at::randn({batch, 3, 224, 224});
  const LayerTable layers(network, {input.sizes().vec()});
  ModelCard card;
  card.width = card.height = 224;
  Request request;
  request.capture = {layers.logits()};
  const Tensor clean = network.run({input}, request).at(layers.logits());
  const BoundTarget target(Target::parse("top1"), layers, card, layers.logits(), clean);
  const Context context{network, layers, card, input, target, {}, 0, 16, nullptr, {}};
  const MethodCall gradient = MethodCall::parse("gradient");
  for (const char* composite :
       {"epsilon-plus-flat", "epsilon", "epsilon-alpha2-beta1-flat", "epsilon-gamma-box", "excitation-backprop"}) {
    const std::string task = std::string("lrp ") + composite + suffix;
    if (!options.filter.empty() && task.find(options.filter) == std::string::npos) continue;
    const MethodCall lrp = MethodCall::parse(std::string("lrp:composite=") + composite);
    // What set out arrived or was absorbed on the way.
    const auto d = attribute(lrp, context).diagnostics.front();
    check_close(task, at::full({1}, d.at("relevance") + d.at("absorbed"), at::TensorOptions(at::kDouble)),
                at::full({1}, d.at("start"), at::TensorOptions(at::kDouble)));
    compare(task, {{"lrp", [&] { attribute(lrp, context); }}, {"gradient", [&] { attribute(gradient, context); }}},
            kRelevanceTarget, options.harness);
  }
}

void bench_import(const Options& options) {
  if (!options.filter.empty() && std::string("import").find(options.filter) == std::string::npos) return;
  const fs::path file = fs::temp_directory_path() / ("pellucid_bench_" + std::to_string(::getpid()) + ".onnx");
  save_onnx(resnet50(), file.string());
  const auto megabytes = static_cast<double>(fs::file_size(file)) / 1e6;
  compare("import " + std::to_string(static_cast<int>(megabytes)) + " MB (resnet50)",
          {{"load_onnx", [&] { load_onnx(file.string()); }},
           {"and Network", [&] { Network network(load_onnx(file.string())); }}},
          0, options.harness);
  std::printf("%-34s wanted: load_onnx <= %.0f ms\n", "", kImportSeconds * 1e3);
  fs::remove(file);
}

void bench_process(const Options& options) {
  if (options.program.empty()) {
    std::printf("explain: not measured, no --program given\n");
    return;
  }
  if (!options.filter.empty() && std::string("explain").find(options.filter) == std::string::npos) return;
  const fs::path folder = fs::temp_directory_path() / ("pellucid_bench_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::string model = options.models + "/mobilenet_v2_imagenet.onnx";
  if (!fs::exists(model)) {
    model = (folder / "mobilenet_v2.onnx").string();
    save_onnx(mobilenet_v2(), model);
  }
  std::vector<double> milliseconds;
  double megabytes = 0;
  for (int repeat = 0; repeat < 8; ++repeat) {
    const ProcessCost cost =
        run_process({options.program, "explain", model, options.photo, "-o", (folder / "out").string()});
    if (cost.status != 0) {
      std::fprintf(stderr, "explain: %s ended with status %d\n", options.program.c_str(), cost.status);
      std::exit(1);
    }
    // The first run reads the libraries from disk.
    if (repeat > 0) milliseconds.push_back(cost.seconds * 1e3);
    megabytes = std::max(megabytes, cost.megabytes);
  }
  const Timing t = timing_of(milliseconds);
  std::printf("%-34s %-22s %9.0f %9.0f %6.0f%%   <= %.0f ms %s\n", "explain mobilenet_v2, one photo", "whole process",
              t.best, t.median, t.spread * 100, kExplainSeconds * 1e3, t.best <= kExplainSeconds * 1e3 ? "yes" : "NO");
  std::printf("%-34s %-22s %6.0f MB   <= %.0f MB %s\n", "", "largest resident set", megabytes, kExplainMegabytes,
              megabytes <= kExplainMegabytes ? "yes" : "NO");
  fs::remove_all(folder);
}

Options parse(int argc, char** argv) {
  Options options;
  options.models = PELLUCID_SOURCE_DIR "/../shared/models";
  options.photo = PELLUCID_SOURCE_DIR "/examples/flower.png";
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (i + 1 == argc) throw_usage("unknown option or no value: " + flag);
    const std::string value = argv[++i];
    if (flag == "--filter") {
      options.filter = value;
    } else if (flag == "--program") {
      options.program = value;
    } else if (flag == "--models") {
      options.models = value;
    } else if (flag == "--photo") {
      options.photo = value;
    } else if (flag == "--threads") {
      options.threads = std::atoi(value.c_str());
    } else if (flag == "--seconds") {
      options.harness.seconds = std::atof(value.c_str());
    } else {
      throw_usage("unknown option " + flag +
                  "; --filter, --program, --models, --photo, --threads and --seconds are known");
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    set_num_threads(options.threads);
    keep_freed_memory();  // as the program does; both sides of every comparison have it
    print_machine(PELLUCID_SOURCE_DIR);
    print_heading();
    // First: a child starts with its parent's resident set, which would count as its own later on.
    bench_process(options);
    bench_synthesis_memory(options.program, PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx", options.photo,
                           options.filter);
    const std::string trained = options.models + "/mobilenet_v2_imagenet.onnx";
    for (const char* name : {"mobilenet_v2", "resnet50", "vgg16", "squeezenet1_1"}) {
      const std::string model = name;
      Graph graph = model == "resnet50"       ? resnet50()
                    : model == "vgg16"        ? vgg16()
                    : model != "mobilenet_v2" ? squeezenet1_1()
                    : fs::exists(trained)     ? load_onnx(trained)
                                              : mobilenet_v2();
      graph.name = model;
      for (const int64_t batch : {1, 8}) {
        bench_network(graph, batch, options);
        bench_relevance(graph, batch, options);
      }
      if (options.filter.empty() || ("IG-50 " + model).find(options.filter) != std::string::npos) {
        bench_integrated_gradients(graph, options.harness);
      }
      bench_perturbation_cams(graph, options.filter, options.harness);
      if (model != "resnet50") {
        for (const int64_t batch : {1, 16}) bench_synthesis(graph, batch, options.filter);
      }
    }
    for (const Graph& graph : {vgg16(), resnet50(), resnet18(), mobilenet_v2()}) bench_occlusion(graph, options.filter);
    bench_style(vgg16(), options.filter);
    bench_import(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pellucid_bench: %s\n", error.what());
    return 1;
  }
}
