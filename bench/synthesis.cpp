#include "synthesis.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "pellucid/synthesis.h"

namespace pellucid::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSteps = 512, kRedirected = 17, kWanted = 1.15;

double milliseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

double best(const std::vector<double>& list) { return *std::min_element(list.begin(), list.end()); }

struct Setting {
  const char* name;
  Recipe recipe;
};

std::vector<Setting> settings(int64_t batch) {
  Recipe pixels;
  pixels.objectives = {{1, "class:target=7"}};
  pixels.parameterization = "pixels";
  pixels.optimizer = "adam:rate=0.01";
  pixels.batch = batch;
  pixels.judge_every = 0;
  Recipe spectrum = pixels;
  spectrum.parameterization = "fourier";
  Recipe lucid = find_recipe("lucid").recipe;
  lucid.objectives = pixels.objectives;
  lucid.batch = batch;
  lucid.judge_every = 0;
  return {{"pixels", pixels}, {"spectrum", spectrum}, {"lucid", lucid}};
}

/// The best of the times between steps.
double step_time(const Recipe& recipe, const Network& network, const ModelCard& card, bool redirect, int64_t steps) {
  Recipe r = recipe;
  r.redirect_until = redirect ? steps : -1;
  r.stages = {RecipeStage{}};
  r.stages[0].steps = steps;
  std::vector<double> times;
  Clock::time_point last = Clock::now();
  SynthesisContext context{network, card};
  context.on_step = [&](int64_t step, const Tensor&) {
    if (step > 0) times.push_back(milliseconds(last));
    last = Clock::now();
  };
  synthesize(r, context);
  return best(times);
}

}  // namespace

void bench_synthesis(const Graph& graph, int64_t batch, const std::string& filter) {
  if (("synthesis " + graph.name).find(filter) == std::string::npos) return;
  const Network network(graph);
  ModelCard card;
  card.width = card.height = 224;
  card.scale = 1.0 / 255;
  at::manual_seed(1);
  const Tensor input = at::rand({batch, 3, 224, 224});
  const LayerTable layers(network, {input.sizes().vec()});
  const ValueId logits = layers.logits(), in = graph.inputs()[0].value;
  Request request;
  request.capture = {logits};
  const auto forward = [&] { return network.run({input}, request).at(logits); };
  Tensor seed = at::zeros_like(forward());
  seed.select(1, 7).fill_(1);
  const int64_t steps = batch > 1 ? 4 : 10;
  std::map<std::string, double> ordinary, redirected;
  std::vector<double> plain, forwards;
  for (int round = 0; round < 3; ++round) {
    for (int64_t i = 0; i < steps; ++i) {
      Clock::time_point start = Clock::now();
      network.record({input}, {{logits}, {in}, {}, false}).backward({{logits, seed}}, {in});
      plain.push_back(milliseconds(start));
      start = Clock::now();
      forward();
      forwards.push_back(milliseconds(start));
    }
    for (const Setting& s : settings(batch)) {
      const auto least = [](std::map<std::string, double>& all, const char* name, double t) {
        const auto found = all.emplace(name, t).first;
        found->second = std::min(found->second, t);
      };
      least(ordinary, s.name, step_time(s.recipe, network, card, false, steps));
      least(redirected, s.name, step_time(s.recipe, network, card, true, std::max<int64_t>(2, steps / 2)));
    }
  }
  for (const Setting& s : settings(batch)) {
    // With what is evaluated beside the steps: every 50 of them, at the start, at the end and for 16 draws.
    const double extra = (kSteps / 50 + 3 + (s.recipe.transformations.empty() ? 0 : 16)) * best(forwards);
    const double whole = kRedirected * redirected[s.name] + (kSteps - kRedirected) * ordinary[s.name] + extra;
    const double ratio = whole / (kSteps * best(plain));
    std::printf(
        "synthesis %-9s %-14s x%-3lld step %8.1f ms, redirected %8.1f, pass %8.1f, 512 steps: ratio %.3f <= %.2f %s\n",
        s.name, graph.name.c_str(), static_cast<long long>(batch), ordinary[s.name], redirected[s.name], best(plain),
        ratio, kWanted, ratio <= kWanted ? "yes" : "NO");
  }
}

void bench_synthesis_memory(const std::string& program, const std::string& model, const std::string& photo,
                            const std::string& filter) {
  namespace fs = std::filesystem;
  if (program.empty() || std::string("synthesis memory").find(filter) == std::string::npos) return;
  const fs::path folder = fs::temp_directory_path() / ("pellucid_bench_synthesis_" + std::to_string(::getpid()));
  for (const char* size : {"512", "1024", "2048"}) {
    double megabytes[2] = {};
    for (const int tiled : {0, 1}) {
      const ProcessCost cost =
          run_process({program, "dream", model, photo, "--layer", "auto", "--picture-size", size, "--steps", "4",
                       "--tile", tiled ? "256" : "16384", "-o", (folder / "out").string()});
      megabytes[tiled] = cost.status == 0 ? cost.megabytes : -1;
    }
    std::printf("synthesis memory: dream at %s pixels: %.0f MB whole, %.0f MB in parts of 256\n", size, megabytes[0],
                megabytes[1]);
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

}  // namespace pellucid::bench
