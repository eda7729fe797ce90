// The class activation map family. Each member is one function from activations A [N,K,h,w] and gradients G = dS/dA to
// a raw map [N,h,w]; the frame runs the network, reshapes token layers, fuses layers, rectifies and resamples.

#include <cmath>
#include <limits>

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

struct CamInput {
  Tensor activations;  ///< [N,K,h,w] on the CPU, float64 unless the member asks for the network's own type
  Tensor gradients;    ///< the same; undefined for members that need none
};
enum class CamPrecision { kDouble, kNetwork };
using CamRaw = std::function<Tensor(const CamInput&)>;

/// Token layers [N,T,D] become [N,D,rows,columns] without class and register tokens.
Tensor as_map(const Context& context, ValueId layer, const Tensor& t) {
  if (t.dim() == 4) {
    if (t.size(2) * t.size(3) > 1) return t;
    throw_usage("layer '" + printable(context.layers.layer(layer).name) + "' holds one position (" +
                shape_text(t.sizes()) + "); class activation maps need a layer before the pooling");
  }
  const TokenGrid grid = t.dim() == 3 ? token_grid(t.size(1)) : TokenGrid{};
  if (grid.rows == 0) {
    throw_usage("layer '" + printable(context.layers.layer(layer).name) + "' has shape " + shape_text(t.sizes()) +
                "; class activation maps need [N,K,h,w] or tokens [N,T,D] that form a square grid");
  }
  return t.narrow(1, grid.leading, grid.rows * grid.columns)
      .transpose(1, 2)
      .reshape({t.size(0), t.size(2), grid.rows, grid.columns});
}

/// Channels weighted by one number each: sum_k w_k A_k.
Tensor weighted(const Tensor& weights, const Tensor& activations) {
  const Tensor& a = activations;
  const Tensor w = weights.to(a.scalar_type());
  const Shape shape{a.size(0), a.size(2), a.size(3)};
  if (a.is_contiguous(at::MemoryFormat::ChannelsLast)) {  // a position's channels are neighbours
    return at::bmm(a.permute({0, 2, 3, 1}).flatten(1, 2), w.unsqueeze(2)).view(shape);
  }
  return at::bmm(w.unsqueeze(1), a.flatten(2)).view(shape);
}

/// 0 where the denominator is 0.
Tensor safe_ratio(const Tensor& numerator, const Tensor& denominator) {
  const Tensor dead = denominator.eq(0);
  return at::where(dead, at::zeros_like(numerator),
                   numerator / at::where(dead, at::ones_like(denominator), denominator));
}

Tensor peak(const Tensor& map) { return map.flatten(1).amax(1).view({-1, 1, 1}); }

/// Rectified (when the method says so), resampled to the input.
Tensor finished_map(const Context& context, const Tensor& raw, bool rectify) {
  const auto [height, width] = input_size(context);
  return upsample_map(rectify ? at::relu(raw) : raw, height, width);
}

enum class Fusion { kMean, kLayerCam };

/// Several layers: each is divided by its maximum and resampled, then averaged; LayerCAM takes the maximum after
/// tanh(2 m). A layer that is blank for an image is left out.
Tensor fuse(const Context& context, const std::map<ValueId, Tensor>& raws, bool rectify, Fusion fusion) {
  Tensor sum, count;
  for (const auto& [layer, raw] : raws) {
    const Tensor rectified = rectify ? at::relu(raw) : raw;
    const Tensor top = peak(rectified.abs());
    Tensor m = safe_ratio(rectified, top.expand_as(rectified));
    if (fusion == Fusion::kLayerCam) m = at::tanh(m * 2);
    m = finished_map(context, m, false);
    const Tensor alive = top.gt(0).to(m.scalar_type());
    if (!sum.defined()) {
      sum = m;
      count = alive;
    } else {
      sum = fusion == Fusion::kLayerCam ? at::max(sum, m) : sum + m;
      count = count + alive;
    }
  }
  return fusion == Fusion::kLayerCam ? sum : safe_ratio(sum, count.expand_as(sum));
}

Attribution from_raw_maps(const Context& context, std::map<ValueId, Tensor> raws, bool rectify, Fusion fusion) {
  const at::ScalarType dtype = context.network.dtype();
  Attribution a;
  a.layers = context.cam_layers;
  a.reduction = "none";
  a.is_signed = !rectify;
  if (raws.size() == 1) {
    const Tensor raw = raws.begin()->second;
    a.values = raw.to(dtype);
    a.map = finished_map(context, raw, rectify).to(dtype);
    return a;
  }
  a.map = fuse(context, raws, rectify, fusion).to(dtype);
  a.values = a.map;
  for (auto& [layer, raw] : raws) a.layer_values[layer] = raw.to(dtype);
  return a;
}

/// Activations and gradients of the chosen layers.
std::map<ValueId, CamInput> cam_inputs(const Context& context, bool with_gradients,
                                       CamPrecision precision = CamPrecision::kDouble) {
  const auto prepared = [&](ValueId id, const Tensor& t) {
    const Tensor map = as_map(context, id, t).to(at::kCPU);
    return precision == CamPrecision::kDouble || map.scalar_type() != at::kFloat ? map.to(at::kDouble) : map;
  };
  if (context.cam_layers.empty()) throw_usage("class activation maps need a layer");
  std::map<ValueId, CamInput> result;
  if (with_gradients) {
    const GradientResult r = gradients(context, {context.input, all_rows(context), context.cam_layers, {}});
    for (const ValueId id : context.cam_layers) {
      result[id] = {prepared(id, r.values.at(id)), prepared(id, r.gradients.at(id))};
    }
    return result;
  }
  Request request;
  request.capture = context.cam_layers;
  std::map<ValueId, TensorList> parts;
  const int64_t step = context.network.batches_safely() ? context.batch_size : 1;
  for (int64_t begin = 0; begin < num_images(context); begin += step) {
    const int64_t count = std::min(step, num_images(context) - begin);
    const Values values = context.network.run({context.input.narrow(0, begin, count)}, request, context.progress);
    for (const auto& [id, t] : values) parts[id].push_back(t);
  }
  for (const ValueId id : context.cam_layers) {
    result[id] = {prepared(id, at::cat(parts[id])), {}};
  }
  return result;
}

/// Looks at what a member worked with and writes what it finds into the result.
using CamInspection = std::function<void(const CamInput&, Attribution&)>;

Attribution run_cam(const Context& context, const CamRaw& raw, bool with_gradients, bool rectify,
                    Fusion fusion = Fusion::kMean, const CamInspection& inspect = {},
                    CamPrecision precision = CamPrecision::kDouble) {
  std::map<ValueId, Tensor> raws;
  const std::map<ValueId, CamInput> inputs = cam_inputs(context, with_gradients, precision);
  for (const auto& [layer, input] : inputs) raws[layer] = raw(input);
  Attribution a = from_raw_maps(context, std::move(raws), rectify, fusion);
  if (inspect) {
    a.diagnostics.resize(static_cast<size_t>(num_images(context)));
    a.notes.resize(static_cast<size_t>(num_images(context)));
    for (const auto& entry : inputs) inspect(entry.second, a);
  }
  return a;
}

// Selvaraju et al., ICCV 2017, eq. 1 and 2: channels weighted by their mean gradient.
Tensor grad_cam(const CamInput& in) {
  const Tensor& g = in.gradients;
  // Below a global average pooling the gradient is one number per channel, spread over the map without a copy.
  const bool constant = g.stride(2) == 0 && g.stride(3) == 0;
  return weighted(constant ? g.select(3, 0).select(2, 0) : g.mean({2, 3}, /*keepdim=*/false, at::kDouble),
                  in.activations);
}

/// Nothing in these two divides, so float32 activations need no copy in double.
Method weighted_by_mean_gradient(const char* id, const char* title, const char* summary,
                                 Tensor (*raw)(const CamInput&)) {
  return make_method<NoParams>(id, title, "cam", summary, papers::kSelvaraju2017,
                               kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative | kScalesWithLogit,
                               [raw](const Context& context, const NoParams&) {
                                 return run_cam(context, raw, true, true, Fusion::kMean, {}, CamPrecision::kNetwork);
                               });
}

// The same section: the negated weights show what would raise the score if it were removed.
Tensor counterfactual_grad_cam(const CamInput& in) { return -grad_cam(in); }

// Chattopadhyay et al., WACV 2018, eq. 19 for ReLU networks: with the exponential of the score cancelled,
// alpha = G^2 / (2 G^2 + sum(A) G^3), which is 1 / (2 + G sum(A)), so w_k = sum relu(G) / (2 + G sum(A)).
// No epsilon: squared gradients of deep networks are smaller than the customary ones.
Tensor grad_cam_plus_plus_weights(const Tensor& g, const Tensor& g2, const Tensor& g3, const Tensor& activations) {
  const Tensor total = activations.sum({2, 3}, true);
  return (safe_ratio(g2, 2 * g2 + total * g3) * at::relu(g)).sum({2, 3});
}

/// 2 + G sum(A), and where it has come so close to zero, or below, that the weight would mean nothing. That happens
/// only at layers with negative activations.
struct PlusPlusDenominator {
  Tensor value;
  Tensor unstable;  ///< bool
};
PlusPlusDenominator plus_plus_denominator(const CamInput& in) {
  const Tensor value = 2 + in.gradients * in.activations.sum({2, 3}, true);
  return {value, value.le(1e-3).logical_and(in.gradients.gt(0))};
}

Tensor grad_cam_plus_plus(const CamInput& in) {
  // relu(G) / (2 + G sum(A)): one division, no powers that underflow.
  const auto [denominator, unstable] = plus_plus_denominator(in);
  const Tensor alpha = safe_ratio(at::relu(in.gradients), denominator);
  return weighted(at::where(unstable, at::zeros_like(alpha), alpha).sum({2, 3}), in.activations);
}

void inspect_grad_cam_plus_plus(const CamInput& in, Attribution& a) {
  const Tensor share = plus_plus_denominator(in).unstable.to(at::kDouble).mean({1, 2, 3});
  for (int64_t i = 0; i < share.size(0); ++i) {
    const double s = share[i].item<double>();
    if (s == 0) continue;
    a.diagnostics[static_cast<size_t>(i)]["unstable_weights"] = s;
    if (s > 0.05) {
      a.notes[static_cast<size_t>(i)].push_back("grad-cam++: at " + std::to_string(std::lround(100 * s)) +
                                                " % of the positions the weights are undefined, because the layer has "
                                                "negative activations; choose a rectified layer");
    }
  }
}

struct GradCamPlusPlusParams {
  double epsilon = 0;
};

template <class V>
void describe(V& visit, GradCamPlusPlusParams& p) {
  visit("epsilon", p.epsilon, between(0, 1),
        "Added to the denominator as pytorch-grad-cam does with 1e-06; 0 is the paper's formula.");
}

Tensor grad_cam_plus_plus_with_epsilon(const CamInput& in, double epsilon) {
  if (epsilon == 0) return grad_cam_plus_plus(in);
  const Tensor& g = in.gradients;
  const Tensor g2 = g.square();
  const Tensor alpha = g2 / (2 * g2 + in.activations.sum({2, 3}, true) * g2 * g + epsilon);
  const Tensor used = at::where(g.ne(0), alpha, at::zeros_like(alpha));
  return weighted((used * at::relu(g)).sum({2, 3}), in.activations);
}

// Fu et al., BMVC 2020, eq. 8: gradients weighted by the share of each position in its channel's activation.
Tensor xgrad_cam(const CamInput& in) {
  const Tensor total = in.activations.sum({2, 3});
  // A channel whose positive and negative parts cancel has no meaningful shares.
  const Tensor cancelled = total.abs().lt(in.activations.abs().sum({2, 3}) * 1e-6);
  const Tensor products = (in.gradients * in.activations).sum({2, 3});
  const Tensor weights = safe_ratio(products, at::where(cancelled, at::zeros_like(total), total));
  return weighted(weights, in.activations);
}

// Draelos, Carin, arXiv 2020, eq. 5: no averaging.
Tensor hires_cam(const CamInput& in) { return (in.gradients * in.activations).sum(1); }

// Positive part of each product (Grad-CAM's repository, element-wise variant).
Tensor grad_cam_elementwise(const CamInput& in) { return at::relu(in.gradients * in.activations).sum(1); }

// Jiang et al., IEEE TIP 2021, eq. 6: every position has its own weight, its positive gradient.
Tensor layer_cam(const CamInput& in) { return (at::relu(in.gradients) * in.activations).sum(1); }

/// Projection of the rows (positions) of [positions, K] matrices on their first right singular vector, by the
/// eigenvectors of the smaller Gram matrix.
Tensor first_component(const Tensor& m) {
  const int64_t positions = m.size(1);
  // The solver would fail in words of its own; a NaN in the map is reported as one.
  if (!at::isfinite(m).all().item<bool>()) return m.sum(2) * std::numeric_limits<double>::quiet_NaN();
  if (positions <= m.size(2)) {
    // M v = sigma u with M M^T u = sigma^2 u.
    const auto [values, vectors] = at::linalg_eigh(m.matmul(m.transpose(1, 2)));
    return vectors.select(2, positions - 1) * at::sqrt(at::relu(values.select(1, positions - 1))).unsqueeze(1);
  }
  const auto [values, vectors] = at::linalg_eigh(m.transpose(1, 2).matmul(m));
  return m.matmul(vectors.select(2, m.size(2) - 1).unsqueeze(2)).squeeze(2);
}

struct EigenParams {
  bool centered = false;
};

template <class V>
void describe(V& visit, EigenParams& p) {
  visit("centered", p.centered, Flag{},
        "Subtract each channel's mean first, as pytorch-grad-cam does; the paper does not.");
}

/// `reference` decides the sign, which a singular vector does not have.
Tensor eigen_map(const Tensor& maps, bool centered, const Tensor& reference) {
  Tensor m = maps.flatten(2).transpose(1, 2);  // [N, positions, K]
  if (centered) m = m - m.mean(1, true);
  const Tensor component = first_component(m);
  const Tensor against = (component * reference.flatten(1)).sum(1).lt(0);
  return at::where(against.unsqueeze(1), -component, component).view({maps.size(0), maps.size(2), maps.size(3)});
}

// Muhammad, Yeasin, IJCNN 2020: first principal component of the activations. The sign follows the mean activation, so
// that the dominant pattern and not its background lights up.
Tensor eigen_cam(const CamInput& in, const EigenParams& p) {
  const Tensor mean = in.activations.mean(1);
  return eigen_map(in.activations, p.centered, p.centered ? mean - mean.mean({1, 2}, true) : mean);
}

// The same on G * A (pytorch-grad-cam); the sign follows the sum of G * A.
Tensor eigen_grad_cam(const CamInput& in, const EigenParams& p) {
  const Tensor product = in.gradients * in.activations;
  const Tensor sum = product.sum(1);
  if (p.centered) return eigen_map(product, true, sum - sum.mean({1, 2}, true));
  const Tensor map = eigen_map(product, false, sum);
  const Tensor wrong = (map.sum({1, 2}) * sum.sum({1, 2})).lt(0);
  return at::where(wrong.view({-1, 1, 1}), -map, map);
}

// Omeiza et al., arXiv 2019: the powers of the gradient are averaged over noisy copies inside Grad-CAM++.
struct SmoothGradCamParams {
  int64_t samples = 10;
  double noise = 0.15;
};

template <class V>
void describe(V& visit, SmoothGradCamParams& p) {
  visit("samples", p.samples, integer_between(1, 100000), "Noisy copies per picture.");
  visit("noise", p.noise, between(0, 10), "Standard deviation of the noise as a share of the picture's value range.");
}

Attribution smooth_grad_cam_plus_plus(const Context& context, const SmoothGradCamParams& p) {
  const Tensor noise = noise_samples(context, p.samples);
  const Tensor scale = noise_scale(context, p.noise);
  std::map<ValueId, TensorList> maps;
  const std::map<ValueId, CamInput> clean = cam_inputs(context, false);
  for (int64_t i = 0; i < num_images(context); ++i) {
    const Tensor noisy = context.input[i].unsqueeze(0) + noise * scale[i];
    const GradientResult r =
        gradients(context, {noisy, std::vector<int64_t>(static_cast<size_t>(p.samples), i), context.cam_layers, {}});
    for (const ValueId id : context.cam_layers) {
      const Tensor g = as_map(context, id, r.gradients.at(id)).to(at::kCPU).to(at::kDouble);
      const Tensor a = clean.at(id).activations.narrow(0, i, 1);
      const auto mean_power = [&](int64_t power) { return g.pow(power).mean(0, true); };
      maps[id].push_back(weighted(grad_cam_plus_plus_weights(mean_power(1), mean_power(2), mean_power(3), a), a));
    }
  }
  std::map<ValueId, Tensor> raws;
  for (auto& [id, list] : maps) raws[id] = at::cat(list);
  return from_raw_maps(context, std::move(raws), true, Fusion::kMean);
}

// Selvaraju et al., ICCV 2017, section 3.2: the rectified map, resampled, times guided backprop.
struct GuidedParams {
  std::string upsampling = "bilinear";
};

template <class V>
void describe(V& visit, GuidedParams& p) {
  visit("upsampling", p.upsampling, one_of({"bilinear", "nearest"}),
        "How the class activation map reaches input size; Captum uses nearest.");
}

Attribution guided_cam(const Context& context, const GuidedParams& p, const CamRaw& raw) {
  const Attribution cam = run_cam(context, raw, true, true);
  Attribution guided = guided_backprop_values(context);
  const auto [height, width] = input_size(context);
  Tensor map = cam.map;
  if (p.upsampling == "nearest") {
    if (!cam.layer_values.empty()) throw_usage("guided-grad-cam: upsampling=nearest needs a single layer");
    map = at::upsample_nearest2d(at::relu(cam.values).unsqueeze(1), {height, width}).squeeze(1);
  }
  const Tensor values = guided.values * map.to(guided.values.options()).unsqueeze(context.card.channels_first ? 1 : 3);
  Attribution a = input_attribution(context, values, Reduction::kMaxAbs);
  a.layers = context.cam_layers;
  a.rule_uses = guided.rule_uses;
  a.notes = guided.notes;
  return a;
}

/// A member without parameters of its own.
template <class F>
Method plain_cam(const char* id, const char* title, const char* summary, const Paper& paper, unsigned properties, F raw,
                 bool rectify = true, Fusion fusion = Fusion::kMean) {
  return make_method<NoParams>(id, title, "cam", summary, paper, kNeedsTarget | kNeedsLayer | kNeedsGradient,
                               properties, [raw, rectify, fusion](const Context& context, const NoParams&) {
                                 return run_cam(context, raw, true, rectify, fusion);
                               });
}

}  // namespace

Attribution summed_channels(const Context& context, const Values& layers, bool rectify) {
  std::map<ValueId, Tensor> raws;
  for (const auto& [id, t] : layers) raws[id] = as_map(context, id, t).to(at::kCPU).to(at::kDouble).sum(1);
  Attribution a = from_raw_maps(context, std::move(raws), rectify, Fusion::kMean);
  a.layers.clear();
  for (const auto& entry : layers) a.layers.push_back(entry.first);
  return a;
}

Method grad_cam_method() {
  return weighted_by_mean_gradient("grad-cam", "Grad-CAM", "Channels weighted by the mean gradient of the score.",
                                   grad_cam);
}

Method counterfactual_grad_cam_method() {
  return weighted_by_mean_gradient("counterfactual-grad-cam", "Counterfactual Grad-CAM",
                                   "Regions whose removal would raise the score.", counterfactual_grad_cam);
}

Method grad_cam_plus_plus_method() {
  return make_method<GradCamPlusPlusParams>(
      "grad-cam++", "Grad-CAM++", "cam",
      "Positive gradients weighted position by position, so that several instances count.", papers::kChattopadhyay2018,
      kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative,
      [](const Context& context, const GradCamPlusPlusParams& p) {
        return run_cam(
            context, [p](const CamInput& in) { return grad_cam_plus_plus_with_epsilon(in, p.epsilon); }, true, true,
            Fusion::kMean, p.epsilon == 0 ? CamInspection(inspect_grad_cam_plus_plus) : CamInspection());
      });
}

Method guided_grad_cam_method() {
  return make_method<GuidedParams>(
      "guided-grad-cam", "Guided Grad-CAM", "cam", "Guided backprop inside the Grad-CAM region.",
      papers::kSelvaraju2017, kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative,
      [](const Context& context, const GuidedParams& p) { return guided_cam(context, p, grad_cam); });
}

Method guided_grad_cam_plus_plus_method() {
  return make_method<GuidedParams>(
      "guided-grad-cam++", "Guided Grad-CAM++", "cam", "Guided backprop inside the Grad-CAM++ region.",
      papers::kChattopadhyay2018, kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative,
      [](const Context& context, const GuidedParams& p) { return guided_cam(context, p, grad_cam_plus_plus); });
}

Method smooth_grad_cam_plus_plus_method() {
  return make_method<SmoothGradCamParams>("smooth-grad-cam++", "Smooth Grad-CAM++", "cam",
                                          "Grad-CAM++ with gradient powers averaged over noisy copies.",
                                          papers::kOmeiza2019, kNeedsTarget | kNeedsLayer | kNeedsGradient,
                                          kNonNegative | kStochastic, smooth_grad_cam_plus_plus);
}

Method xgrad_cam_method() {
  return plain_cam("xgrad-cam", "XGrad-CAM", "Gradients weighted by each position's share of its channel.",
                   papers::kFu2020, kNonNegative | kScalesWithLogit, xgrad_cam);
}

Method hires_cam_method() {
  return plain_cam("hires-cam", "HiResCAM", "Gradient times activation, position by position.", papers::kDraelos2020,
                   kNonNegative | kScalesWithLogit, hires_cam);
}

Method layer_cam_method() {
  return plain_cam("layer-cam", "LayerCAM",
                   "Positive gradients as weights of each position; fuses shallow and deep layers.", papers::kJiang2021,
                   kNonNegative | kScalesWithLogit, layer_cam, true, Fusion::kLayerCam);
}

Method grad_cam_elementwise_method() {
  return plain_cam("grad-cam-elementwise", "Element-wise Grad-CAM", "Positive part of gradient times activation.",
                   papers::kSelvaraju2017, kNonNegative | kScalesWithLogit, grad_cam_elementwise);
}

Method eigen_cam_method() {
  return make_method<EigenParams>(
      "eigen-cam", "Eigen-CAM", "cam", "First principal component of the activations; no class.", papers::kMuhammad2020,
      kNeedsLayer, kNonNegative | kClassAgnostic, [](const Context& context, const EigenParams& p) {
        return run_cam(
            context, [p](const CamInput& in) { return eigen_cam(in, p); }, false, true);
      });
}

Method eigen_grad_cam_method() {
  return make_method<EigenParams>("eigen-grad-cam", "Eigen-Grad-CAM", "cam",
                                  "First principal component of gradient times activation.", papers::kMuhammad2020,
                                  kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative | kScalesWithLogit,
                                  [](const Context& context, const EigenParams& p) {
                                    return run_cam(
                                        context, [p](const CamInput& in) { return eigen_grad_cam(in, p); }, true, true);
                                  });
}

// Zhou et al., CVPR 2016, eq. 2: the weights of the last linear layer over the maps that it pools.

namespace {

/// How the logits come out of a pooled map: logits = W mean(A) + b.
struct CamHead {
  ValueId maps = kNoValue;
  Tensor weights;  ///< [classes, K]; undefined when the pooled map already has one channel per class.
};

bool op_is(const Node& node, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (node.op == name) return true;
  }
  return false;
}

CamHead find_head(const Context& context) {
  const Graph& graph = context.network.graph();
  CamHead head;
  const auto refuse = [&](const std::string& obstacle) {
    throw_usage("cam: the model does not end in global average pooling and one linear layer (" + obstacle +
                "); grad-cam works on any network");
  };
  ValueId value = context.layers.logits();
  for (const Node* node = graph.producer_of(value);; node = graph.producer_of(value)) {
    if (!node) refuse("the input is reached without pooling");
    const auto constant = [&](size_t i) {
      return i < node->inputs.size() && node->inputs[i] != kNoValue ? graph.value(node->inputs[i]).constant : Tensor();
    };
    if (op_is(*node, {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "Identity", "Cast"})) {
      value = node->inputs[0];
    } else if (op_is(*node, {"GlobalAveragePool"})) {
      head.maps = node->inputs[0];
      return head;
    } else if (op_is(*node, {"ReduceMean", "AveragePool"})) {
      const Shape& in = context.layers.shape(node->inputs[0]);
      const Shape& out = context.layers.shape(value);
      const int64_t left = c10::multiply_integers(out);
      if (in.size() != 4 || left != in[0] * in[1])
        refuse("'" + printable(node->name) + "' does not average the whole map");
      head.maps = node->inputs[0];
      return head;
    } else if (op_is(*node, {"Gemm", "MatMul"}) && constant(1).defined()) {
      if (head.weights.defined())
        refuse("there are two linear layers, '" + printable(node->name) + "' is the lower one");
      Tensor w = constant(1);
      const bool transposed = node->op == "Gemm" && node->integer("transB", 0) != 0;
      w = transposed ? w : w.t();
      head.weights = (node->op == "Gemm" ? w * node->real("alpha", 1.0) : w).to(at::kCPU).to(at::kDouble);
      value = node->inputs[0];
    } else if (op_is(*node, {"Add"}) && (constant(0).defined() || constant(1).defined())) {
      value = constant(0).defined() ? node->inputs[1] : node->inputs[0];
    } else if (op_is(*node, {"Conv"}) && constant(1).defined() && !head.weights.defined() &&
               c10::multiply_integers(context.layers.shape(value)) ==
                   context.layers.shape(value)[0] * context.layers.shape(value)[1]) {
      head.weights = constant(1).flatten(1).to(at::kCPU).to(at::kDouble);
      value = node->inputs[0];
    } else {
      refuse("'" + printable(node->name) + "' (" + node->op + ") stands in between");
    }
  }
}

// With several classes in the target (a difference, a probability) the weights are those of its gradient by the logits.
Attribution cam(const Context& context, const NoParams&) {
  const CamHead head = find_head(context);
  if (context.target.value() != context.layers.logits()) {
    throw_usage("cam: the target must be a class; grad-cam explains any target");
  }
  Context at_head = context;
  at_head.cam_layers = {head.maps};
  Request request;
  request.capture = {head.maps, context.target.value()};
  const std::vector<int64_t> rows = all_rows(context);
  const int64_t step = context.network.batches_safely() ? context.batch_size : 1;
  TensorList maps;
  for (int64_t begin = 0; begin < num_images(context); begin += step) {
    const int64_t count = std::min(step, num_images(context) - begin);
    const Values values = context.network.run({context.input.narrow(0, begin, count)}, request, context.progress);
    const BoundTarget target =
        context.target.rows(std::vector<int64_t>(rows.begin() + begin, rows.begin() + begin + count));
    const Tensor seed = target.seed(values.at(target.value())).flatten(1).to(at::kCPU).to(at::kDouble);
    const Tensor a = as_map(at_head, head.maps, values.at(head.maps)).to(at::kCPU).to(at::kDouble);
    if (head.weights.defined() && (head.weights.size(0) != seed.size(1) || head.weights.size(1) != a.size(1))) {
      throw_usage("cam: the linear layer " + shape_text(head.weights.sizes()) + " does not fit a map of " +
                  std::to_string(a.size(1)) + " channels and " + std::to_string(seed.size(1)) + " classes");
    }
    maps.push_back(weighted(head.weights.defined() ? seed.mm(head.weights) : seed, a));
  }
  return from_raw_maps(at_head, {{head.maps, at::cat(maps)}}, true, Fusion::kMean);
}

}  // namespace

Method cam_method() {
  return make_method<NoParams>("cam", "CAM", "cam", "Class weights of the last linear layer over the maps it pools.",
                               papers::kZhou2016, kNeedsTarget, kNonNegative | kScalesWithLogit, cam);
}

}  // namespace pellucid
