#include "style.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "pellucid/synthesis.h"

namespace pellucid::bench {

namespace {

constexpr int64_t kSteps = 4;
constexpr int64_t kWhole = 16384, kTile = 256;
constexpr double kWantedRatio = 1.3;  // line searches evaluate a little more than once a step

/// The rectified layers that begin each resolution of VGG.
std::vector<std::string> style_layers(const Graph& graph) {
  std::vector<std::string> names;
  bool taken = false;
  for (const Node& node : graph.nodes()) {
    if (node.op == "MaxPool") taken = false;
    if (node.op == "Relu" && !taken) {
      names.push_back(graph.value(node.outputs[0]).name);
      taken = true;
    }
    if (names.size() == 5) break;
  }
  return names;
}

Recipe style_recipe(const std::vector<std::string>& layers, int64_t side, int64_t steps, int64_t tile) {
  Recipe recipe;
  recipe.tile = tile;
  recipe.unit = PixelUnit::kCaffe;
  recipe.parameterization = "pixels:clamp=false";
  recipe.optimizer = "lbfgs:history=20";
  recipe.redirect_until = -1;
  recipe.judge_every = 0;
  recipe.stages[0].steps = steps;
  recipe.width = recipe.height = side;
  recipe.objectives = {{1, "match:layer=" + layers[3] + ",picture=content"}};
  for (const std::string& layer : layers) recipe.objectives.push_back({1, "gram:layer=" + layer + ",rescale=channel"});
  return recipe;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void bench_style(const Graph& graph, const std::string& filter) {
  const std::string task = "style " + graph.name;
  if (task.find(filter) == std::string::npos) return;
  const Network network(graph);
  ModelCard card;
  card.width = card.height = 224;
  card.scale = 1.0 / 255;
  card.mean = {0.485, 0.456, 0.406};
  card.std = {0.229, 0.224, 0.225};
  const std::vector<std::string> layers = style_layers(graph);
  at::manual_seed(1);
  const SynthesisContext context{network,
                                 card,
                                 {{"content", at::rand({1, 3, 512, 512})},
                                  {"style", at::rand({1, 3, 512, 512})},
                                  {"start", at::rand({1, 3, 512, 512})}}};
  const auto steps = [&](int64_t side, int64_t count, int64_t tile) {
    synthesize(style_recipe(layers, side, count, tile), context);
  };

  Network::RecordRequest what;
  for (const std::string& layer : layers) what.until.push_back(graph.find(layer));
  what.wrt = {graph.inputs()[0].value};
  const Tensor input = at::randn({1, 3, 512, 512});
  const auto pass = [&] {
    const Tape tape = network.record({input}, what);
    Values seeds;
    for (const ValueId id : what.until) seeds[id] = at::ones_like(tape.value(id));
    tape.backward(seeds, what.wrt);
  };
  pass();
  double plain = 1e9, whole = 1e9, around = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat) {
    plain = std::min(plain, seconds_of([&] {
                       for (int64_t i = 0; i < kSteps; ++i) pass();
                     }));
    around = std::min(around, seconds_of([&] { steps(512, 0, kWhole); }));
    whole = std::min(whole, seconds_of([&] { steps(512, kSteps, kWhole); }));
  }
  const double step = (whole - around) / kSteps, one = plain / kSteps;
  std::printf("%-44s %9.1f ms a step, %9.1f ms forward and back, ratio %.2f (wanted %.2f)\n",
              (task + " 512x512").c_str(), 1e3 * step, 1e3 * one, step / one, kWantedRatio);

  for (const int64_t side : {512, 1024}) {
    for (const int64_t tile : {kWhole, kTile}) {
      set_memory_limit(int64_t{1} << 50);  // begins to count anew
      const int64_t before = memory_in_use();
      steps(side, 1, tile);
      const std::string how = tile == kWhole ? ", whole" : ", tiles of " + std::to_string(tile);
      std::printf("%-44s %9.0f MB\n", (task + " " + std::to_string(side) + how).c_str(),
                  static_cast<double>(memory_peak() - before) / (1 << 20));
    }
  }
}

}  // namespace pellucid::bench
