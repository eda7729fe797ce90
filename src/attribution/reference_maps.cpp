// Maps that every comparison includes: a method that does not beat the edges of the picture or a blob in its middle has
// shown nothing.
//   Random and edges: Hooker et al. "A Benchmark for Interpretability Methods in Deep Neural Networks". NeurIPS 2019.
//   Center: Zhang, Bargal, Lin, Brandt, Shen, Sclaroff. "Top-Down Neural Attention by Excitation Backprop". IJCV 2018.
//   Mean activation: Oramas, Wang, Tuytelaars. "Visual Explanation by Interpretation". ICLR 2019 ("upsampled
//   activation").

#include <cmath>

#include "attribution/noise.h"
#include "attribution/perturbation.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr Paper kZhang2018{"zhang2018", "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff",
                           "Top-Down Neural Attention by Excitation Backprop", "IJCV", 2018};
constexpr Paper kOramas2019{"oramas2019", "Oramas, Wang, Tuytelaars",
                            "Visual Explanation by Interpretation: Improving Visual Feedback Capabilities of Deep "
                            "Neural Networks",
                            "ICLR", 2019};

Attribution same_for_all(const Context& context, const Tensor& map) {
  const auto [height, width] = input_size(context);
  return map_attribution(map.to(context.network.dtype()).expand({num_images(context), height, width}).contiguous(),
                         /*is_signed=*/false);
}

/// Uniform on [0,1]: the run's normal noise through its own distribution function.
Attribution random_map(const Context& context, const NoParams&) {
  const Tensor noise = to_planes(context, NoiseStream(context, 1).draw(1)).select(1, 0).to(at::kCPU).to(at::kDouble);
  return same_for_all(context, 0.5 * (1 + at::erf(noise / std::sqrt(2.0))));
}

/// Magnitude of the Sobel gradient, summed over the channels in display range. The border continues with its own
/// pixels, so that it is no edge.
Attribution edges(const Context& context, const NoParams&) {
  const Tensor display = context.card.display_from_model(to_planes(context, context.input)).to(at::kDouble);
  const Tensor x = at::replication_pad2d(display.flatten(0, 1).unsqueeze(1), {1, 1, 1, 1});
  const Tensor smooth = at::tensor({1.0, 2.0, 1.0}, at::TensorOptions(at::kDouble)).to(x.device()) / 4;
  const Tensor slope = at::tensor({-1.0, 0.0, 1.0}, at::TensorOptions(at::kDouble)).to(x.device()) / 2;
  const auto filtered = [&](const Tensor& rows, const Tensor& columns) {
    return at::conv2d(at::conv2d(x, rows.view({1, 1, 3, 1})), columns.view({1, 1, 1, 3})).view(display.sizes());
  };
  const Tensor magnitude = (filtered(smooth, slope).square() + filtered(slope, smooth).square()).sqrt().sum(1);
  return map_attribution(magnitude.to(context.network.dtype()), /*is_signed=*/false);
}

struct CenterParams {
  double sigma = 0.25;
};

template <class V>
void describe(V& visit, CenterParams& p) {
  visit("sigma", p.sigma, between(0.01, 10), "Width of the Gaussian as a share of each side.");
}

Attribution center(const Context& context, const CenterParams& p) {
  const auto [height, width] = input_size(context);
  const auto profile = [&](int64_t n) {
    const Tensor t = (at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n) - 0.5;
    return at::exp(-t.square() / (2 * p.sigma * p.sigma));
  };
  return same_for_all(context, profile(height).unsqueeze(1) * profile(width).unsqueeze(0));
}

Attribution activation_mean(const Context& context, const NoParams&) {
  if (context.cam_layers.empty()) throw_usage("activation-mean: a layer is needed");
  std::map<ValueId, TensorList> rows;
  Request request;
  request.capture = context.cam_layers;
  const int64_t step = rows_within_budget(context, input_value(context));
  for (int64_t begin = 0; begin < num_images(context); begin += step) {
    const int64_t count = std::min(step, num_images(context) - begin);
    const Values values = context.network.run({context.input.narrow(0, begin, count)}, request, context.progress);
    for (const ValueId id : context.cam_layers) {
      rows[id].push_back(layer_planes(context, id, values.at(id)).to(at::kCPU).to(at::kDouble).mean(1));
    }
  }
  Attribution a;
  a.layers = context.cam_layers;
  a.reduction = "none";
  a.is_signed = false;
  Tensor sum;
  for (auto& [id, parts] : rows) {
    const Tensor raw = at::cat(parts).to(context.network.dtype());
    const Tensor map = map_from_values(context, raw, "none", /*rectify=*/true);
    sum = sum.defined() ? sum + map : map;
    a.layer_values[id] = raw;
  }
  a.map = sum / static_cast<double>(rows.size());
  a.values = a.map;
  if (rows.size() == 1) {
    a.values = a.layer_values.begin()->second;
    a.layer_values.clear();
  }
  return a;
}

constexpr unsigned kWithoutNetwork = kNonNegative | kClassAgnostic | kModelFree;

}  // namespace

Method random_method() {
  return make_method<NoParams>("random", "Random", "baseline", "Uniform noise: what no information looks like.",
                               papers::kHooker2019, 0, kWithoutNetwork | kStochastic, random_map);
}

Method edges_method() {
  return make_method<NoParams>("edges", "Edges", "baseline", "Sobel edges of the picture, without the network.",
                               papers::kHooker2019, 0, kWithoutNetwork, edges);
}

Method center_method() {
  return make_method<CenterParams>("center", "Center", "baseline",
                                   "A Gaussian in the middle, where photographers put things.", kZhang2018, 0,
                                   kWithoutNetwork, center);
}

Method activation_mean_method() {
  return make_method<NoParams>("activation-mean", "Mean activation", "baseline",
                               "Mean over the channels of a layer: where it is active, whatever the class.",
                               kOramas2019, kNeedsLayer, kNonNegative | kClassAgnostic, activation_mean);
}

}  // namespace pellucid
