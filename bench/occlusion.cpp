#include "occlusion.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "pellucid/attribution.h"

namespace pellucid::bench {

namespace {

constexpr double kWantedFactor = 4;

/// On the clock, and of all threads on the processor: what else the machine does changes the second less.
struct Seconds {
  double wall = 1e9, cpu = 1e9;
};

Seconds seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu_start = std::clock();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC};
}

/// Seconds per picture of plain passes, at the batch size that is best for them.
Seconds plain_seconds(const Network& network, ValueId logits) {
  Seconds best;
  Request request;
  request.capture = {logits};
  for (const int64_t batch : {8, 16, 32}) {
    const Tensor input = at::randn({batch, 3, 224, 224});
    network.run({input}, request);
    for (int repeat = 0; repeat < 2; ++repeat) {
      const Seconds s = seconds_of([&] { network.run({input}, request); });
      best.wall = std::min(best.wall, s.wall / static_cast<double>(batch));
      best.cpu = std::min(best.cpu, s.cpu / static_cast<double>(batch));
    }
  }
  return best;
}

/// A fast wrong answer is an error: some patches far apart by plain passes too.
void check(const Context& context, const Network& network, ValueId logits, const Tensor& map, int64_t patch) {
  const Tensor gray = context.card.model_from_display(at::full_like(context.input, 0.5));
  Request request;
  request.capture = {logits};
  const auto logit = [&](const Tensor& x) {
    return context.target.score(network.run({x}, request).at(logits)).item<double>();
  };
  const double clean = logit(context.input);
  // A corner pixel lies in one patch only, so that the map holds the drop of that patch.
  for (const bool bottom : {false, true}) {
    for (const bool right : {false, true}) {
      const int64_t top = bottom ? 224 - patch : 0, left = right ? 224 - patch : 0;
      Tensor x = context.input.clone();
      x.narrow(2, top, patch).narrow(3, left, patch).copy_(gray.narrow(2, top, patch).narrow(3, left, patch));
      const double drop = clean - logit(x);
      const double got = map[0][bottom ? 223 : 0][right ? 223 : 0].item<double>();
      if (std::abs(got - drop) > 1e-5 * std::max(1.0, std::abs(clean))) {
        std::fprintf(stderr, "occlusion: a drop of %g where plain passes give %g\n", got, drop);
        std::exit(1);
      }
    }
  }
}

}  // namespace

void bench_occlusion(const Graph& graph, const std::string& filter) {
  const auto task = [&](int64_t patch) { return "occlusion " + graph.name + " patch " + std::to_string(patch); };
  const auto wanted = [&](int64_t patch) { return task(patch).find(filter) != std::string::npos; };
  if (!wanted(16) && !wanted(32)) return;
  const Network network(graph);
  at::manual_seed(1);
  const Tensor input = at::rand({1, 3, 224, 224});
  const LayerTable layers(network, {input.sizes().vec()});
  const ValueId logits = layers.logits();
  Request request;
  request.capture = {logits};
  ModelCard card;
  card.width = card.height = 224;
  const BoundTarget target(Target::parse("top1"), layers, card, logits, network.run({input}, request).at(logits));
  const Context context{network, layers, card, input, target, {}, 0, 16, nullptr, {}};
  for (const int64_t patch : {32, 16}) {
    if (!wanted(patch)) continue;
    const MethodCall call = MethodCall::parse("occlusion:score=logit,stride=8,patch=" + std::to_string(patch));
    set_memory_limit(int64_t{1} << 50);  // begins to count anew
    const int64_t before = memory_in_use();
    Attribution found;
    const Seconds ours = seconds_of([&] { found = attribute(call, context); });
    const double peak = static_cast<double>(memory_peak() - before) / (1 << 20);
    const Seconds plain = plain_seconds(network, logits);
    check(context, network, logits, found.map, patch);
    const double positions = found.diagnostics[0].at("patches");
    const double factor = plain.wall * positions / ours.wall;
    std::printf(
        "%-34s %3.0f patches %7.2f s, plain %7.2f s: %5.2fx, CPU time %5.2fx, work %5.2fx (>= %.0f %s), "
        "peak %4.0f MB\n",
        task(patch).c_str(), positions, ours.wall, plain.wall * positions, factor, plain.cpu * positions / ours.cpu,
        1 / found.diagnostics[0].at("work_share"), kWantedFactor, factor >= kWantedFactor ? "yes" : "NO", peak);
    std::fflush(stdout);
  }
}

}  // namespace pellucid::bench
