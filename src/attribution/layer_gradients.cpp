// Attributions to the units of inner layers, along the way from a baseline to the picture.
//   Layer conductance, sum over steps of dS/dA dA: Dhamdhere, Sundararajan, Yan. "How Important Is a Neuron?". ICLR
//   2019, eq. 2.
//   Internal influence, mean of dS/dA: Leino, Sen, Datta, Fredrikson, Li. "Influence-Directed Explanations for Deep
//   Convolutional Networks". ITC 2018, definition 1.
//   Layer Integrated Gradients: Integrated Gradients with the layer's activation in the place of the picture, on the
//   straight path between its values; branches beside the layer keep what the picture gives them (as Captum's
//   LayerIntegratedGradients).
// Values are signed numbers for every unit, [N,K,h,w]; their sum over the channels makes the map.

#include <algorithm>
#include <cmath>
#include <optional>

#include "attribution/baseline.h"
#include "attribution/path.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kDhamdhere2019{"dhamdhere2019", "Dhamdhere, Sundararajan, Yan", "How Important Is a Neuron?", "ICLR",
                               2019};
constexpr Paper kLeino2018{"leino2018", "Leino, Sen, Datta, Fredrikson, Li",
                           "Influence-Directed Explanations for Deep Convolutional Networks", "ITC", 2018};

/// What one layer's units got, for one image, from one baseline.
struct LayerShare {
  Tensor values;                     ///< float64 on the CPU, in the shape one image has there.
  std::optional<double> difference;  ///< Of scores, where it is not that of picture and baseline.
};
/// The path is that of the picture, with respect to the layer.
using LayerIntegral = std::function<LayerShare(const StraightPath& input_path, ValueId layer)>;

/// [N,H,W] at the resolution of the input. With several layers each is a density, so that coarse layers do not outweigh
/// fine ones, and they are averaged.
Tensor layers_map(const Context& context, const std::map<ValueId, Tensor>& values) {
  if (values.size() == 1) return map_from_values(context, values.begin()->second, "sum", false);
  const auto [height, width] = input_size(context);
  Tensor sum;
  for (const auto& entry : values) {
    const Tensor& v = entry.second;
    const double cells = static_cast<double>(v.size(2) * v.size(3)) / static_cast<double>(height * width);
    const Tensor map = map_from_values(context, v, "sum", false) * (cells / static_cast<double>(values.size()));
    sum = sum.defined() ? sum + map : map;
  }
  return sum;
}

/// Every layer, image and baseline in turn. `steps` is for the progress line.
Attribution layer_attribution(const Context& context, const char* owner, const std::string& baseline, double steps,
                              bool complete, const LayerIntegral& integral) {
  if (context.cam_layers.empty()) throw_usage(std::string(owner) + ": a layer is needed");
  for (const ValueId layer : context.cam_layers) {  // refused before any pass
    const Shape& shape = context.layers.shape(layer);
    if (std::all_of(shape.begin(), shape.end(), [](int64_t n) { return n >= 0; })) {
      layer_planes(context, layer, at::empty(shape, context.input.options()));
    }
  }
  const std::vector<Tensor> starts = baselines(context, owner, baseline);
  const int64_t images = num_images(context);
  const auto share = 1 / static_cast<double>(starts.size());
  Tensor difference = scores_at(context, context.input);
  for (const Tensor& start : starts) difference = difference - scores_at(context, start) * share;

  Attribution a;
  a.diagnostics.resize(static_cast<size_t>(images));
  a.layers = context.cam_layers;
  a.reduction = "sum";
  const double total = steps * static_cast<double>(starts.size() * a.layers.size()) * static_cast<double>(images);
  double done = 0;
  std::map<ValueId, Tensor> values;
  for (const ValueId layer : context.cam_layers) {
    TensorList rows;
    for (int64_t i = 0; i < images; ++i) {
      Tensor sum;
      double change = difference[i].item<double>();
      double own_change = 0;
      for (const Tensor& start : starts) {
        StraightPath path{i, start[i], context.input[i], input_value(context), layer};
        path.done = done;
        path.total = total;
        const LayerShare found = integral(path, layer);
        sum = sum.defined() ? sum + found.values * share : found.values * share;
        if (found.difference) change = own_change += *found.difference * share;
        done += steps;
      }
      rows.push_back(sum);
      if (!complete) continue;
      const Completeness here{sum.sum().item<double>() - change, change};
      auto& d = a.diagnostics[static_cast<size_t>(i)];
      // Each layer explains all of the difference: of several, the worst.
      const auto so_far = d.find("convergence_delta");
      if (so_far == d.end() || std::abs(here.delta) > std::abs(so_far->second)) write_completeness(here, d);
    }
    values[layer] = layer_planes(context, layer, at::stack(rows)).to(context.network.dtype());
  }
  a.map = layers_map(context, values);
  a.values = values.size() == 1 ? values.begin()->second : a.map;
  if (values.size() > 1) a.layer_values = std::move(values);
  return a;
}

struct LayerConductanceParams {
  int64_t steps = 50;
  std::string rule = "trapezoid";
  std::string baseline = "black";
};

template <class V>
void describe(V& visit, LayerConductanceParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Steps on the path from baseline to input.");
  visit("rule", p.rule, one_of({"trapezoid", "captum"}),
        "The mean of the gradients at both ends of a step; or Captum's: those at the left end, between Gauss-Legendre "
        "nodes, which leaves out both ends of the path.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the path starts.");
}

/// Consecutive points are looked at in pairs, so the last one of each pass is kept for the next.
Tensor conductance(const Context& context, const StraightPath& path, const LayerConductanceParams& p) {
  std::vector<double> points;
  if (p.rule == "captum") points = quadrature("gauss-legendre", p.steps + 1).nodes;
  if (p.rule == "trapezoid") points = quadrature("trapezoid", p.steps + 1).nodes;
  const double left_weight = p.rule == "captum" ? 1.0 : 0.5;
  const auto n = static_cast<int64_t>(points.size());
  const int64_t step = gradient_rows(context, {path.wrt});
  Tensor sum, last_value, last_gradient;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t count = std::min(step, n - begin);
    TensorList rows;
    for (int64_t k = 0; k < count; ++k) {
      rows.push_back(path.from + (path.to - path.from) * points[static_cast<size_t>(begin + k)]);
    }
    const GradientResult r = gradients(
        context, {at::stack(rows), std::vector<int64_t>(static_cast<size_t>(count), path.image), {path.wrt}, {}});
    const Tensor value = r.values.at(path.wrt).to(at::kCPU).to(at::kDouble);
    const Tensor gradient = r.gradients.at(path.wrt).to(at::kCPU).to(at::kDouble);
    for (int64_t k = 0; k < count; ++k) {
      if (!sum.defined()) {
        sum = at::zeros_like(value[k]);
      } else {
        sum.add_((last_gradient * left_weight + gradient[k] * (1 - left_weight)) * (value[k] - last_value));
      }
      last_value = value[k];
      last_gradient = gradient[k];
    }
    if (context.progress) {
      context.progress->report(path.done + static_cast<double>(begin + count), path.total, "points on the path");
    }
  }
  return sum;
}

Attribution layer_conductance(const Context& context, const LayerConductanceParams& p) {
  return layer_attribution(context, "layer-conductance", p.baseline, static_cast<double>(p.steps + 1), true,
                           [&](const StraightPath& path, ValueId) {
                             return LayerShare{conductance(context, path, p), {}};
                           });
}

struct LayerPathParams {
  int64_t steps = 50;
  std::string rule = "gauss-legendre";
  std::string baseline = "black";
};

template <class V>
void describe(V& visit, LayerPathParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Points on the path from baseline to input.");
  visit("rule", p.rule, one_of(quadrature_rules()), "Quadrature.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the path starts.");
}

/// Below a global average pooling all positions of a channel have the same influence; the picture then shows nothing.
void note_constant_maps(Attribution& a) {
  a.notes.resize(static_cast<size_t>(a.map.size(0)));
  const auto [low, high] = at::aminmax(a.map.flatten(1), 1);
  for (int64_t i = 0; i < a.map.size(0); ++i) {
    const double top = std::max(std::abs(low[i].item<double>()), std::abs(high[i].item<double>()));
    if (top == 0 || high[i].item<double>() - low[i].item<double>() > 1e-6 * top) continue;
    a.notes[static_cast<size_t>(i)].push_back(
        "internal-influence: every position of this layer has the same influence, as in front of a pooling; choose an "
        "earlier layer");
  }
}

Attribution internal_influence(const Context& context, const LayerPathParams& p) {
  const Quadrature q = quadrature(p.rule, p.steps);
  Attribution a = layer_attribution(context, "internal-influence", p.baseline, static_cast<double>(p.steps), false,
                                    [&](const StraightPath& path, ValueId) {
                                      return LayerShare{path_integral(context, path, q), {}};
                                    });
  note_constant_maps(a);
  return a;
}

/// The value of a layer for one picture [...], like the network's own.
Tensor layer_value(const Context& context, const Tensor& picture, ValueId layer) {
  Request request;
  request.capture = {layer};
  return context.network.run({picture.unsqueeze(0)}, request, context.progress).at(layer)[0];
}

/// The score of the path's picture with the layer's value replaced.
double score_with(const Context& context, const StraightPath& path, const Tensor& value) {
  const BoundTarget target = context.target.rows({path.image});
  Request request;
  request.capture = {target.value()};
  request.from = {{path.at, value.unsqueeze(0)}};
  const Values values = context.network.run({path.beside.unsqueeze(0)}, request, context.progress);
  return target.score(values.at(target.value())).item<double>();
}

Attribution layer_integrated_gradients(const Context& context, const LayerPathParams& p) {
  const Quadrature q = quadrature(p.rule, p.steps);
  return layer_attribution(context, "layer-integrated-gradients", p.baseline, static_cast<double>(p.steps), true,
                           [&](const StraightPath& of_input, ValueId layer) {
                             StraightPath path = of_input;
                             path.from = layer_value(context, of_input.from, layer);
                             path.to = layer_value(context, of_input.to, layer);
                             path.at = layer;
                             path.beside = of_input.to;
                             const Tensor change = (path.to - path.from).to(at::kCPU).to(at::kDouble);
                             return LayerShare{
                                 path_integral(context, path, q) * change,
                                 score_with(context, path, path.to) - score_with(context, path, path.from)};
                           });
}

}  // namespace

Method layer_conductance_method() {
  return make_method<LayerConductanceParams>(
      "layer-conductance", "Layer Conductance", "gradient",
      "What flows through each unit of a layer between the baseline and the picture.", kDhamdhere2019,
      kNeedsTarget | kNeedsLayer | kNeedsBaseline | kNeedsGradient, kComplete | kScalesWithLogit, layer_conductance);
}

Method internal_influence_method() {
  return make_method<LayerPathParams>(
      "internal-influence", "Internal Influence", "gradient",
      "Mean gradient by each unit of a layer on the way from a baseline; choose a layer well before the pooling.",
      kLeino2018, kNeedsTarget | kNeedsLayer | kNeedsBaseline | kNeedsGradient, kScalesWithLogit, internal_influence);
}

Method layer_integrated_gradients_method() {
  return make_method<LayerPathParams>("layer-integrated-gradients", "Layer Integrated Gradients", "gradient",
                                      "Integrated Gradients of a layer's activation, from its value for the baseline.",
                                      papers::kSundararajan2017,
                                      kNeedsTarget | kNeedsLayer | kNeedsBaseline | kNeedsGradient,
                                      kComplete | kScalesWithLogit, layer_integrated_gradients);
}

}  // namespace pellucid
