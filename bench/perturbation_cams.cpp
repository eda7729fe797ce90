#include "perturbation_cams.h"

#include <cstdio>
#include <cstdlib>

#include "pellucid/attribution.h"

namespace pellucid::bench {

namespace {

/// Largest ratio of cached to whole passes at the last block that we want.
constexpr double kCachedTarget = 0.1;
/// Rows per whole pass; more than 16 were no faster.
constexpr int64_t kRows = 16;

struct Setup {
  const Network& network;
  const LayerTable& layers;
  const Tensor& input;
  ValueId layer;
  int64_t class_index;
};

/// The logit of every variant of the layer, by whole passes in which `change` edits it.
Tensor whole_passes(const Setup& s, int64_t count, const std::function<Tensor(const Tensor&, int64_t begin)>& change) {
  TensorList parts;
  for (int64_t begin = 0; begin < count; begin += kRows) {
    const int64_t rows = std::min(kRows, count - begin);
    Request request;
    request.capture = {s.layers.logits()};
    request.edit[s.layer] = [&](const Tensor& t) { return change(t.clone(), begin); };
    const Shape shape{rows, s.input.size(1), s.input.size(2), s.input.size(3)};
    parts.push_back(s.network.run({s.input.expand(shape)}, request).at(s.layers.logits()).select(1, s.class_index));
  }
  return at::cat(parts);
}

Tensor ablation_by_whole_passes(const Setup& s, const Tensor& a, const Tensor& score) {
  const Tensor scores = whole_passes(s, a.size(1), [](Tensor t, int64_t begin) {
    for (int64_t row = 0; row < t.size(0); ++row) t[row].select(0, begin + row).zero_();
    return t;
  });
  return ((score - scores).view({1, -1, 1, 1}) * a).sum(1);
}

Tensor positions_by_whole_passes(const Setup& s, const Tensor& a) {
  const Tensor scores = whole_passes(s, a.size(2) * a.size(3), [](const Tensor& t, int64_t begin) {
    const Tensor mask = at::zeros({t.size(0), t.size(2) * t.size(3)}, t.options());
    for (int64_t row = 0; row < t.size(0); ++row) mask[row][begin + row] = 1;
    return t * mask.view({t.size(0), 1, t.size(2), t.size(3)});
  });
  return (scores - scores.min()).view({1, a.size(2), a.size(3)});
}

/// Every channel, dead or not, one row of a whole pass.
Tensor score_cam_by_whole_passes(const Setup& s, const Tensor& a) {
  const int64_t height = s.input.size(2), width = s.input.size(3);
  TensorList parts;
  for (int64_t begin = 0; begin < a.size(1); begin += kRows) {
    const Tensor maps = upsample_map(a[0].narrow(0, begin, std::min(kRows, a.size(1) - begin)), height, width);
    const Tensor low = maps.flatten(1).amin(1).view({-1, 1, 1}), high = maps.flatten(1).amax(1).view({-1, 1, 1});
    const Tensor masks = (maps - low) / (high - low).clamp_min(1e-30);
    Request request;
    request.capture = {s.layers.logits()};
    const Tensor logits = s.network.run({s.input * masks.unsqueeze(1)}, request).at(s.layers.logits());
    parts.push_back(at::softmax(logits, 1).select(1, s.class_index));
  }
  return (at::cat(parts).view({1, -1, 1, 1}) * a).sum(1);
}

void check_close(const std::string& what, const Tensor& ours, const Tensor& other) {
  const double error = (ours - other).norm().item<double>(), scale = other.norm().item<double>();
  if (error <= 5e-3 * scale) return;
  std::fprintf(stderr, "%s: differs from whole passes by %g of %g\n", what.c_str(), error, scale);
  std::exit(1);
}

}  // namespace

void bench_perturbation_cams(const Graph& graph, const std::string& filter, const HarnessOptions& options) {
  const std::vector<std::string> methods{"ablation-cam", "recipro-cam:window=point,score=logit", "score-cam"};
  const auto wanted = [&](const std::string& method) {
    return filter.empty() || (method + " " + graph.name).find(filter) != std::string::npos;
  };
  bool any = false;
  for (const std::string& method : methods) any = any || wanted(method);
  if (!any) return;
  const Network network(graph);
  at::manual_seed(1);
  const Tensor input = at::randn({1, 3, 224, 224});
  const LayerTable layers(network, {input.sizes().vec()});
  const ValueId layer = layers.default_cam_layer();
  Request request;
  request.capture = {layers.logits(), layer};
  const Values clean = network.run({input}, request);
  ModelCard card;
  card.width = card.height = 224;
  const Tensor& logits = clean.at(layers.logits());
  const BoundTarget target(Target::parse("top1"), layers, card, layers.logits(), logits);
  const Context context{network, layers, card, input, target, {layer}, 0, 16, nullptr, {}};
  const Setup s{network, layers, input, layer, target.class_index(0)};
  const Tensor& a = clean.at(layer);
  const auto by_whole_passes = [&](const std::string& method) {
    if (method == "score-cam") return score_cam_by_whole_passes(s, a);
    return method == "ablation-cam" ? ablation_by_whole_passes(s, a, logits[0][s.class_index])
                                    : positions_by_whole_passes(s, a);
  };
  for (const std::string& method : methods) {
    if (!wanted(method)) continue;
    const MethodCall call = MethodCall::parse(method);
    const std::string task = call.method->id + " " + graph.name;
    check_close(task, attribute(call, context).values, by_whole_passes(method));
    HarnessOptions few = options;
    few.least_repeats = 2;  // whole passes take up to a minute
    compare(task, {{"method", [&] { attribute(call, context); }}, {"whole passes", [&] { by_whole_passes(method); }}},
            method == "score-cam" ? 0 : kCachedTarget, few);
  }
}

}  // namespace pellucid::bench
