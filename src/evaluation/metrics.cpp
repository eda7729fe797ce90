// The table of metrics. To add one: write its parameters, `describe`, the function and its Metric in the file of its
// family; declare it in metric.h; add its line here; test it on a map whose score is worked out by hand. Flags, help,
// docs, JSON and the tests that run over the whole table follow.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "attribution/baseline.h"
#include "evaluation/metric.h"
#include "evaluation/rebound.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const std::vector<Metric>& metrics() {
  static const std::vector<Metric> table = [] {
    std::vector<Metric> list{average_precision_metric(),
                             iou_metric(),
                             pointing_game_metric(),
                             relevance_mass_metric(),
                             relevance_rank_metric(),
                             localization_error_metric(),
                             part_ranks_metric(),
                             class_discrimination_metric(),
                             deletion_metric(),
                             insertion_metric(),
                             pixel_flipping_metric(),
                             road_metric(),
                             average_drop_metric(),
                             faithfulness_correlation_metric(),
                             mu_fidelity_metric(),
                             sensitivity_n_metric(),
                             infidelity_metric(),
                             monotonicity_metric(),
                             monotonicity_correlation_metric(),
                             max_sensitivity_metric(),
                             continuity_metric(),
                             seed_stability_metric(),
                             sparseness_metric(),
                             complexity_metric(),
                             effective_complexity_metric(),
                             completeness_metric(),
                             parameter_randomization_metric(),
                             smooth_parameter_randomization_metric(),
                             random_logit_metric(),
                             class_sensitivity_metric(),
                             label_randomization_metric()};
    std::set<std::string> ids;
    for (const Metric& m : list) TORCH_INTERNAL_ASSERT(ids.insert(m.id).second, "two metrics are named ", m.id);
    return list;
  }();
  return table;
}

const char* better_text(Better better) {
  switch (better) {
    case Better::kHigher:
      return "higher";
    case Better::kLower:
      return "lower";
    case Better::kNeither:
      break;
  }
  return "neither";
}

MetricCall MetricCall::parse(const std::string& text) {
  const std::string id = call_id(text);
  MetricCall call;
  std::vector<std::string> ids;
  for (const Metric& m : metrics()) {
    ids.push_back(m.id);
    if (m.id == id) call.metric = &m;
  }
  if (!call.metric) {
    throw_usage("no metric '" + printable(id) + "'" + did_you_mean(id, ids) + " (there are: " + join(ids, ", ") + ")");
  }
  call.params = call_params(id, text);
  call.metric->complete(call.params);
  return call;
}

std::string MetricCall::text() const { return call_text(metric->id, metric->params, params); }

std::vector<MetricCall> parse_metrics(const std::string& text) {
  std::vector<MetricCall> calls;
  for (const std::string& piece : split_calls(text)) {
    if (trim(piece) == "all") {
      for (const Metric& m : metrics()) calls.push_back({&m, {}});
    } else {
      calls.push_back(MetricCall::parse(piece));
    }
  }
  return calls;
}

namespace {

void check_size(const std::string& id, const char* what, const Tensor& t, int64_t height, int64_t width) {
  if (t.dim() != 2 || t.size(0) != height || t.size(1) != width) {
    throw_usage(id + ": the " + what + " has shape " + shape_text(t.sizes()) + "; [" + std::to_string(height) + "," +
                std::to_string(width) + "], the size of the input, was expected");
  }
}

void check_needs(const Metric& metric, const MetricContext& c) {
  if (c.image < 0 || c.image >= num_images(c.context)) {
    throw_usage(metric.id + ": picture " + std::to_string(c.image) + " is not in a batch of " +
                std::to_string(num_images(c.context)));
  }
  const auto [height, width] = input_size(c.context);
  check_size(metric.id, "map", c.map, height, width);
  if (c.mask.defined()) check_size(metric.id, "mask", c.mask, height, width);
  if (c.ignore.defined()) check_size(metric.id, "mask of what is not known", c.ignore, height, width);
  if ((metric.needs & kMetricTruth) && !c.mask.defined() && c.boxes.empty()) {
    throw_usage(metric.id + ": needs a mask or boxes of what is known to matter");
  }
  if ((metric.needs & kMetricClass) && c.context.target.class_index(c.image) < 0) {
    throw_usage(metric.id + ": needs a class as target, not '" + printable(c.context.target.description(c.image)) +
                "'");
  }
  if ((metric.needs & kMetricParts) && c.parts.empty()) throw_usage(metric.id + ": needs parts of known importance");
  if ((metric.needs & kMetricOthers) && !c.others.defined()) {
    throw_usage(metric.id + ": needs objects of other classes in the picture");
  }
  if ((metric.needs & kMetricExplains) && !c.explain) throw_usage(metric.id + ": needs the method that made the map");
  if ((metric.needs & kMetricOtherNetwork) && c.label_randomized == nullptr) {
    throw_usage(metric.id + ": needs a network trained on shuffled labels");
  }
}

void check_finite(const Metric& metric, const MetricResult& result) {
  const auto check = [&](const std::string& what, double value) {
    if (!std::isfinite(value)) throw_failed(metric.id + ": " + what + " is not finite");
  };
  for (const auto& [name, value] : result.scores) check(name, value);
  for (const Curve& curve : result.curves) {
    for (const double y : curve.y) check("the curve " + curve.name, y);
  }
}

}  // namespace

MetricResult evaluate(const MetricCall& call, const MetricContext& context) {
  check_needs(*call.metric, context);
  if (!context.map.isfinite().all().item<bool>()) throw_failed(call.metric->id + ": the map has NaN or infinity");
  MetricContext judged = context;
  // Explained again, a map that is drawn and not computed is another one; with one seed it would pass for stable.
  constexpr unsigned kDrawn = kModelFree | kStochastic;
  if (context.method && (context.method->properties & kDrawn) == kDrawn) {
    judged.explain = [inner = context.explain, again = uint64_t{0}](const Context& one) mutable {
      Context fresh = one;
      fresh.seed += ++again;
      return inner(fresh);
    };
  }
  MetricResult result = call.metric->run(judged, call.params);
  check_finite(*call.metric, result);
  return result;
}

Context one_picture(const MetricContext& c) { return picture_of(c.context, c.image); }

Tensor judged_map(const MetricContext& c) { return c.map.to(at::kCPU, at::kDouble); }

Ties ties_from(const std::string& name) { return name == "raster" ? Ties::kRaster : Ties::kRandom; }

Tensor descending_order(const Tensor& map, Ties ties, uint64_t seed) {
  const Tensor flat = map.flatten().to(at::kCPU);
  if (ties == Ties::kRaster) return std::get<1>(flat.sort(/*stable=*/true, 0, /*descending=*/true));
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const Tensor shuffled = at::randperm(flat.numel(), generator, at::TensorOptions(at::kLong));
  return shuffled.index_select(
      0, std::get<1>(flat.index_select(0, shuffled).sort(/*stable=*/true, 0, /*descending=*/true)));
}

double tied_share(const Tensor& map) {
  const Tensor counts = std::get<2>(at::unique_consecutive(std::get<0>(map.flatten().sort()), false, true));
  const Tensor tied = at::where(counts > 1, counts, at::zeros_like(counts)).sum();
  return tied.item<double>() / static_cast<double>(map.numel());
}

const char* const kRemovalAccepts = "black, white, gray, zero, mean, blur[:SIGMA], rise-blur or noise[:SEED]";

namespace {

/// One row of RISE's kernel: a Gaussian of sigma 5, cut off at four sigma and reflected into 11 samples.
Tensor rise_kernel() {
  constexpr int64_t kSize = 11, kRadius = 20;
  Tensor weights = at::exp(-at::arange(-kRadius, kRadius + 1, at::kDouble).square() / 50.0);
  weights = weights / weights.sum();
  std::vector<double> kernel(kSize, 0.0);
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = -kRadius; j <= kRadius; ++j) {
      int64_t at = (((i + j) % (2 * kSize)) + 2 * kSize) % (2 * kSize);
      if (at >= kSize) at = 2 * kSize - 1 - at;
      if (at == kSize / 2) kernel[static_cast<size_t>(i)] += weights[j + kRadius].item<double>();
    }
  }
  return at::tensor(kernel, at::TensorOptions(at::kDouble));
}

}  // namespace

Tensor removal_fill(const Context& one, const std::string& owner, const std::string& name) {
  if (name != "rise-blur") return fill_for(one, owner, name, 0);
  const Tensor planes = to_planes(one, one.input);
  const Tensor row = rise_kernel().to(planes.options());
  const Tensor kernel = at::outer(row, row).view({1, 1, 11, 11});
  return from_planes(one, at::conv2d(planes.transpose(0, 1), kernel, {}, 1, 5).transpose(0, 1));
}

Tensor pick(const Context& one, const Tensor& masks, const Tensor& yes, const Tensor& no) {
  const Tensor m = masks.to(one.input.device()).unsqueeze(one.card.channels_first ? 1 : 3);
  return at::where(m, yes, no);
}

std::optional<OwnBalance> own_balance(const std::map<std::string, double>& diagnostics) {
  const auto sum = diagnostics.find("attribution_sum"), difference = diagnostics.find("score_difference");
  if (sum == diagnostics.end() || difference == diagnostics.end()) return std::nullopt;
  return OwnBalance{sum->second, difference->second};
}

bool needs_own_balance(const Method& method) {
  return method.family == "perturbation" || method.id.find("blur-ig") != std::string::npos;
}

double area_under(const std::vector<double>& x, const std::vector<double>& y) {
  double area = 0;
  for (size_t i = 1; i < x.size(); ++i) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  return area;
}

std::vector<double> numbers(const Tensor& t) {
  const Tensor d = t.to(at::kCPU, at::kDouble).contiguous();
  return {d.data_ptr<double>(), d.data_ptr<double>() + d.numel()};
}

Tensor explain_pictures(const MetricContext& c, const Context& one, const Tensor& pictures) {
  TensorList maps;
  const int64_t total = pictures.size(0), step = std::max<int64_t>(1, one.batch_size);
  for (int64_t begin = 0; begin < total; begin += step) {
    const int64_t n = std::min(step, total - begin);
    Context part = one;
    part.input = pictures.narrow(0, begin, n);
    part.target = one.target.rows(std::vector<int64_t>(static_cast<size_t>(n), 0));
    if (one.regions.defined()) {
      Shape shape = one.regions.sizes().vec();
      shape[0] = n;
      part.regions = one.regions.expand(shape);
    }
    maps.push_back(c.explain(part).map.to(at::kCPU, at::kDouble));
    if (one.progress) {
      one.progress->report(static_cast<double>(begin + n), static_cast<double>(total), "pictures explained again");
    }
  }
  return at::cat(maps);
}

}  // namespace pellucid
