#include "integrated_gradients.h"

#include <cstdio>
#include <cstdlib>

#include "pellucid/attribution.h"

namespace pellucid::bench {

namespace {

constexpr double kTarget = 1.1;
constexpr int64_t kPoints = 50, kBatch = 10;

}  // namespace

void bench_integrated_gradients(const Graph& graph, const HarnessOptions& options) {
  const Network network(graph);
  at::manual_seed(1);
  const Tensor input = at::randn({1, 3, 224, 224});
  const LayerTable layers(network, {input.sizes().vec()});
  const ValueId logits = layers.logits(), in = graph.inputs()[0].value;
  Request request;
  request.capture = {logits};
  ModelCard card;
  card.width = card.height = 224;
  const BoundTarget target(Target::parse("top1"), layers, card, logits, network.run({input}, request).at(logits));
  const Context context{network, layers, card, input, target, {}, 0, 16, nullptr, {}};
  const MethodCall call = MethodCall::parse("integrated-gradients:rule=midpoint,baseline=zero");
  const BoundTarget rows = target.rows(std::vector<int64_t>(kBatch, 0));

  // The points lie ready; only gradients are taken and added up.
  const Tensor points = input * ((at::arange(kPoints) + 0.5) / kPoints).view({kPoints, 1, 1, 1});
  Tensor sum;
  const auto gradients = [&] {
    sum = at::zeros_like(input);
    for (int64_t begin = 0; begin < kPoints; begin += kBatch) {
      const Tape tape = network.record({points.narrow(0, begin, kBatch)}, {{logits}, {in}, {}, false});
      const Tensor seed = rows.seed(tape.value(logits));
      sum += tape.backward({{logits, seed}}, {in}).values.at(in).sum(0, true);
    }
  };
  const std::string task = "IG-50 " + graph.name;
  gradients();
  const Tensor expected = input * sum / kPoints, ours = attribute(call, context).values;
  const double error = (ours - expected).norm().item<double>() / expected.norm().item<double>();
  if (!(error <= 5e-3)) {
    std::fprintf(stderr, "%s: differs from the sum of the gradients by %g\n", task.c_str(), error);
    std::exit(1);
  }
  compare(task, {{"integrated-gradients", [&] { attribute(call, context); }}, {"50 gradients", gradients}}, kTarget,
          options);
}

}  // namespace pellucid::bench
