#include "pellucid/sanity.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "attribution/method.h"
#include "evaluation/rebound.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

const std::set<std::string>& weighted_ops() {
  static const std::set<std::string> ops{"Conv", "ConvTranspose", "Gemm", "MatMul"};
  return ops;
}

bool is_weight(const Graph& graph, ValueId id) {
  return id != kNoValue && graph.value(id).constant.defined() && graph.value(id).constant.is_floating_point();
}

/// Nodes that the value depends on.
std::vector<char> ancestors(const Graph& graph, ValueId of) {
  std::vector<char> found(graph.nodes().size(), 0);
  std::vector<ValueId> open{of};
  while (!open.empty()) {
    const int32_t producer = open.back() == kNoValue ? -1 : graph.value(open.back()).producer;
    open.pop_back();
    if (producer < 0 || found[static_cast<size_t>(producer)]++) continue;
    for (const ValueId in : graph.nodes()[static_cast<size_t>(producer)].inputs) open.push_back(in);
  }
  return found;
}

/// The layer that makes `id`, or null.
RandomizedLayer* layer_before(const Graph& graph, ValueId id, const std::map<int32_t, size_t>& made_by,
                              std::vector<RandomizedLayer>& layers) {
  const auto found = made_by.find(id == kNoValue ? -1 : graph.value(id).producer);
  return found == made_by.end() ? nullptr : &layers[found->second];
}

/// Standard deviation of all values; 0 for a single one.
double deviation(const Tensor& t) { return t.numel() > 1 ? t.std(/*unbiased=*/false).item<double>() : 0.0; }

/// Standard normal cut off at two deviations, brought back to deviation 1.
Tensor truncated_normal(at::IntArrayRef shape, at::Generator& generator) {
  constexpr double kLow = 0.022750131948179195;      // share of the normal distribution below -2
  constexpr double kDeviation = 0.8796256610342398;  // of what lies within two
  const Tensor u = at::rand(shape, generator, at::TensorOptions(at::kDouble));
  return std::sqrt(2.0) * at::erfinv(2 * (kLow + u * (1 - 2 * kLow)) - 1) / kDeviation;
}

}  // namespace

std::vector<RandomizedLayer> randomizable_layers(const Graph& graph, ValueId target) {
  const std::vector<char> needed = ancestors(graph, target);
  std::vector<RandomizedLayer> layers;
  std::map<int32_t, size_t> made_by;  // node -> layer whose output it still is
  std::set<ValueId> taken;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!needed[i]) continue;
    const auto index = static_cast<int32_t>(i);
    const auto take = [&](ValueId id, std::vector<ValueId>& list) {
      if (is_weight(graph, id) && taken.insert(id).second) list.push_back(id);
    };
    if (weighted_ops().count(node.op) && node.domain.empty()) {
      RandomizedLayer layer{node.name, {}, {}, {}};
      for (const ValueId id : node.inputs) take(id, layer.weights);
      if (layer.weights.empty()) continue;
      made_by[index] = layers.size();
      layers.push_back(std::move(layer));
    } else if (node.op == "BatchNormalization" && node.inputs.size() == 5) {
      RandomizedLayer* before = layer_before(graph, node.inputs[0], made_by, layers);
      if (!before) {
        layers.push_back({node.name, {}, {}, {}});
        before = &layers.back();
      }
      take(node.inputs[1], before->ones);
      take(node.inputs[2], before->zeros);
      take(node.inputs[3], before->zeros);
      take(node.inputs[4], before->ones);
    } else if (node.op == "Add" && node.inputs.size() == 2) {
      // The bias of a MatMul.
      for (const int side : {0, 1}) {
        const ValueId bias = node.inputs[static_cast<size_t>(1 - side)];
        RandomizedLayer* before = layer_before(graph, node.inputs[static_cast<size_t>(side)], made_by, layers);
        if (!before || !is_weight(graph, bias)) continue;
        take(bias, before->weights);
        made_by[index] = static_cast<size_t>(before - layers.data());
        break;
      }
    }
  }
  if (layers.empty()) throw_usage(graph.name + ": the target depends on no layer whose weights could be randomized");
  return layers;
}

std::map<ValueId, Tensor> reset_weights(const Graph& graph, const RandomizedLayer& layer, WeightReset reset,
                                        uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  std::map<ValueId, Tensor> result;
  for (const ValueId id : layer.weights) {
    const Tensor old = graph.value(id).constant.to(at::kCPU);
    Tensor fresh;
    if (reset == WeightReset::kPermutation) {
      const Tensor order = at::randperm(old.numel(), generator, at::TensorOptions(at::kLong));
      fresh = old.flatten().index_select(0, order).view(old.sizes());
    } else {
      fresh = (truncated_normal(old.sizes(), generator) * deviation(old.to(at::kDouble))).to(old.scalar_type());
    }
    result[id] = fresh;
  }
  for (const ValueId id : layer.ones) result[id] = at::ones_like(graph.value(id).constant);
  for (const ValueId id : layer.zeros) result[id] = at::zeros_like(graph.value(id).constant);
  return result;
}

namespace {

/// The map of a batch of one, [H,W] float64, averaged over noisy copies if asked to.
Tensor map_by(const Context& one, const ExplainFunction& explain, const RandomizationOptions& options) {
  if (options.noise_samples == 0) return explain(one).map[0].to(at::kCPU, at::kDouble);
  const double scale = options.noise * (one.input.max() - one.input.min()).item<double>();
  // The same noise for every network, so that only the weights differ.
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  Tensor sum;
  for (int64_t i = 0; i < options.noise_samples; ++i) {
    Context noisy = one;
    noisy.input =
        one.input +
        at::randn(one.input.sizes(), generator, at::TensorOptions(at::kDouble)).to(one.input.options()) * scale;
    const Tensor map = explain(noisy).map[0].to(at::kCPU, at::kDouble);
    sum = sum.defined() ? sum + map : map;
  }
  return sum / static_cast<double>(options.noise_samples);
}

bool is_constant(const Tensor& map) {
  const double low = map.min().item<double>(), high = map.max().item<double>();
  return high - low <= 1e-12 * std::max(std::abs(low), std::abs(high));
}

class Average {
 public:
  void add(const std::optional<double>& value) {
    if (!value) return;
    sum_ += *value;
    ++count_;
  }
  std::optional<double> get() const {
    if (count_ == 0) return std::nullopt;
    return sum_ / static_cast<double>(count_);
  }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

struct AverageSimilarity {
  Average spearman, spearman_abs, ssim, hog;
  int64_t degenerate = 0;
  void add(const MapSimilarity& s) {
    spearman.add(s.spearman);
    spearman_abs.add(s.spearman_abs);
    ssim.add(s.ssim);
    hog.add(s.hog);
  }
};

/// Positions of the steps to look at, among `count` layers in the order they lose their weights.
std::vector<int64_t> steps_to_look_at(int64_t count, int64_t most) {
  std::vector<int64_t> steps;
  const int64_t looked_at = most > 0 ? std::min(most, count) : count;
  // The last of each of `looked_at` equal parts: the end is always among them.
  for (int64_t k = 1; k <= looked_at; ++k) steps.push_back(k * count / looked_at - 1);
  return steps;
}

}  // namespace

std::vector<SanityStep> parameter_randomization(const Context& context, int64_t image, const ExplainFunction& explain,
                                                const RandomizationOptions& options) {
  const Context one = picture_of(context, image);
  const Graph& graph = one.network.graph();
  const std::vector<RandomizedLayer> layers = randomizable_layers(graph, one.target.value());
  std::vector<int64_t> order(layers.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<int64_t>(options.order == RandomizationOrder::kBottomUp ? i : order.size() - 1 - i);
  }
  const std::vector<int64_t> steps = steps_to_look_at(static_cast<int64_t>(layers.size()), options.max_steps);
  const Tensor before = map_by(one, explain, options);
  std::vector<AverageSimilarity> found(steps.size());
  double done = 0;
  const double total = static_cast<double>(options.seeds) * static_cast<double>(steps.size());
  for (int64_t seed = 0; seed < options.seeds; ++seed) {
    std::map<ValueId, Tensor> replaced;
    int64_t next = 0;
    for (size_t s = 0; s < steps.size(); ++s) {
      if (options.order == RandomizationOrder::kIndependent) {
        replaced.clear();
        next = steps[s];
      }
      for (; next <= steps[s]; ++next) {
        const auto layer = static_cast<size_t>(order[static_cast<size_t>(next)]);
        const uint64_t own_seed = one.seed + 1000003 * static_cast<uint64_t>(seed + 1) + layer;
        for (auto& [id, tensor] : reset_weights(graph, layers[layer], options.reset, own_seed)) replaced[id] = tensor;
      }
      const Network changed(graph.with_constants(replaced), one.network.options());
      const Context other = context_like(one, changed, one.layers, one.input, one.target, one.cam_layers);
      const Tensor map = map_by(other, explain, options);
      if (is_constant(map)) {
        ++found[s].degenerate;
      } else {
        found[s].add(map_similarity(before, map));
      }
      if (one.progress) one.progress->report(++done, total, "layers randomized");
    }
  }
  std::vector<SanityStep> result;
  for (size_t s = 0; s < steps.size(); ++s) {
    const int64_t layer = order[static_cast<size_t>(steps[s])];
    result.push_back({layers[static_cast<size_t>(layer)].name,
                      layer,
                      {found[s].spearman.get(), found[s].spearman_abs.get(), found[s].ssim.get(), found[s].hog.get()},
                      found[s].degenerate});
  }
  return result;
}

MapSimilarity similarity_floor(const Context& context, int64_t image, const Tensor& another,
                               const ExplainFunction& explain, const RandomizationOptions& options) {
  const Context one = picture_of(context, image);
  Context other = one;
  other.input = another.to(one.input.options());
  return map_similarity(map_by(one, explain, options), map_by(other, explain, options));
}

namespace {

OtherClass compare_with_class(const Context& one, int64_t class_index, const ExplainFunction& explain) {
  const Rebound other(one, one.network, one.input, std::to_string(class_index));
  return {class_index, map_similarity(explain(one).map[0], explain(other.context()).map[0])};
}

/// Logits of a batch of one, [classes]; those of a single logit are (-s, s).
Tensor class_logits(const Context& one) {
  Request request;
  request.capture = {one.target.value()};
  const Tensor value = one.network.run({one.input}, request).at(one.target.value()).to(at::kCPU, at::kDouble).flatten();
  return value.numel() == 1 ? at::cat({-value, value}) : value;
}

}  // namespace

OtherClass random_logit(const Context& context, int64_t image, const ExplainFunction& explain) {
  const Context one = picture_of(context, image);
  class_text(one, "random-logit");
  const int64_t classes = class_logits(one).numel(), own = one.target.class_index(0);
  if (classes < 2) throw_usage("random-logit: the network has one class only");
  at::Generator generator = at::detail::createCPUGenerator(one.seed);
  const int64_t drawn = at::randint(classes - 1, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
  return compare_with_class(one, drawn < own ? drawn : drawn + 1, explain);
}

OtherClass least_likely_class(const Context& context, int64_t image, const ExplainFunction& explain) {
  const Context one = picture_of(context, image);
  class_text(one, "class-sensitivity");
  const Tensor logits = class_logits(one);
  if (logits.numel() < 2) throw_usage("class-sensitivity: the network has one class only");
  Tensor others = logits.clone();
  others[one.target.class_index(0)] = HUGE_VAL;
  return compare_with_class(one, others.argmin().item<int64_t>(), explain);
}

MapSimilarity label_randomization(const Context& context, int64_t image, const Network& trained_on_shuffled_labels,
                                  const ExplainFunction& explain) {
  const Context one = picture_of(context, image);
  const Rebound other(one, trained_on_shuffled_labels, one.input, class_text(one, "label-randomization"));
  return map_similarity(explain(one).map[0], explain(other.context()).map[0]);
}

}  // namespace pellucid
