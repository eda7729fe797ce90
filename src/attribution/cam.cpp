// The class activation map family: the members that are a formula of activations A [N,K,h,w] and gradients G = dS/dA.

#include "attribution/cam.h"

#include <array>
#include <cmath>

#include "attribution/noise.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

// Selvaraju et al., ICCV 2017, eq. 1 and 2: channels weighted by their mean gradient.
Tensor grad_cam_weights(const CamInput& in) {
  const Tensor& g = in.gradients;
  // Below a global average pooling the gradient is one number per channel, spread over the map without a copy.
  const bool constant = g.stride(2) == 0 && g.stride(3) == 0;
  return constant ? g.select(3, 0).select(2, 0) : g.mean({2, 3}, /*keepdim=*/false, at::kDouble);
}
CamTerms grad_cam(const CamInput& in) { return weigh(grad_cam_weights(in)); }

/// Nothing in these two divides, so float32 activations need no copy in double.
Method weighted_by_mean_gradient(const char* id, const char* title, const char* summary,
                                 CamTerms (*member)(const CamInput&)) {
  return make_cam<NoParams>(id, title, summary, papers::kSelvaraju2017, kNeedsTarget | kNeedsLayer | kNeedsGradient,
                            kNonNegative | kScalesWithLogit,
                            [member](const Context& context, const NoParams&, const CamOptions& options) {
                              CamCall call;
                              call.precision = CamPrecision::kNetwork;
                              return run_cam(context, member, options, call);
                            });
}

// The same section: the negated weights show what would raise the score if it were removed.
CamTerms counterfactual_grad_cam(const CamInput& in) { return weigh(-grad_cam_weights(in)); }

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

CamTerms grad_cam_plus_plus(const CamInput& in) {
  // relu(G) / (2 + G sum(A)): one division, no powers that underflow.
  const auto [denominator, unstable] = plus_plus_denominator(in);
  const Tensor alpha = safe_ratio(at::relu(in.gradients), denominator);
  return weigh(at::where(unstable, at::zeros_like(alpha), alpha).sum({2, 3}));
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

CamTerms grad_cam_plus_plus_with_epsilon(const CamInput& in, double epsilon) {
  if (epsilon == 0) return grad_cam_plus_plus(in);
  const Tensor& g = in.gradients;
  const Tensor g2 = g.square();
  const Tensor alpha = g2 / (2 * g2 + in.activations.sum({2, 3}, true) * g2 * g + epsilon);
  const Tensor used = at::where(g.ne(0), alpha, at::zeros_like(alpha));
  return weigh((used * at::relu(g)).sum({2, 3}));
}

// Fu et al., BMVC 2020, eq. 8: gradients weighted by the share of each position in its channel's activation.
CamTerms xgrad_cam(const CamInput& in) {
  const Tensor total = in.activations.sum({2, 3});
  // A channel whose positive and negative parts cancel has no meaningful shares.
  const Tensor cancelled = total.abs().lt(in.activations.abs().sum({2, 3}) * 1e-6);
  const Tensor products = (in.gradients * in.activations).sum({2, 3});
  return weigh(safe_ratio(products, at::where(cancelled, at::zeros_like(total), total)));
}

// Draelos, Carin, arXiv 2020, eq. 5: no averaging.
CamTerms hires_cam(const CamInput& in) { return weigh(in.gradients); }

// Positive part of each product (Grad-CAM's repository, element-wise variant).
CamTerms grad_cam_elementwise(const CamInput& in) {
  return weigh(in.gradients * (in.gradients * in.activations).gt(0));
}

// Jiang et al., IEEE TIP 2021, eq. 6: every position has its own weight, its positive gradient.
CamTerms layer_cam(const CamInput& in) { return weigh(at::relu(in.gradients)); }

struct LayerCamParams {};
template <class V>
void describe(V&, LayerCamParams&) {}

struct EigenParams {
  bool centered = false;
};

template <class V>
void describe(V& visit, EigenParams& p) {
  visit("centered", p.centered, Flag{},
        "Subtract each channel's mean first, as pytorch-grad-cam does; the paper does not.");
}

// Muhammad, Yeasin, IJCNN 2020: first principal component of the activations. The sign follows the mean activation, so
// that the dominant pattern and not its background lights up.
CamTerms eigen_cam(const CamInput& in, const EigenParams& p) {
  const Tensor mean = in.activations.mean(1);
  return whole_map(eigen_map(in.activations, p.centered, p.centered ? mean - mean.mean({1, 2}, true) : mean));
}

// Fuad, Martin, Giot, Bourqui, Benois-Pineau, Zemmari. "Features Understanding in 3D CNNs for Actions Recognition in
// Video". IPTA 2020 (Feature Explanation Method): the share of a channel's positions above its mean plus k standard
// deviations.
constexpr Paper kFuad2020{"fuad2020", "Fuad, Martin, Giot, Bourqui, Benois-Pineau, Zemmari",
                          "Features Understanding in 3D CNNs for Actions Recognition in Video", "IPTA", 2020};

struct FemParams {
  double deviations = 2;
};

template <class V>
void describe(V& visit, FemParams& p) {
  visit("deviations", p.deviations, between(0, 10), "Standard deviations above a channel's mean that count as strong.");
}

CamTerms fem(const CamInput& in, const FemParams& p) {
  const Tensor mean = in.activations.mean({2, 3}, true);
  const Tensor deviation = (in.activations - mean).square().mean({2, 3}, true).sqrt();
  return weigh(in.activations.gt(mean + p.deviations * deviation).to(at::kDouble).mean({2, 3}));
}

// The same on G * A (pytorch-grad-cam); the sign follows the sum of G * A.
CamTerms eigen_grad_cam(const CamInput& in, const EigenParams& p) {
  const Tensor product = in.gradients * in.activations;
  if (!p.centered) return whole_map(eigen_of_products(product));
  const Tensor sum = product.sum(1);
  return whole_map(eigen_map(product, true, sum - sum.mean({1, 2}, true)));
}

// Omeiza et al., arXiv 2019: the powers of the gradient are averaged over noisy copies inside Grad-CAM++.
struct SmoothGradCamParams : NoiseParams {
  SmoothGradCamParams() { samples = 10; }
};

Attribution smooth_grad_cam_plus_plus(const Context& context, const SmoothGradCamParams& p, const CamOptions& options) {
  const Tensor scale = noise_scale(context, p.noise);
  const int64_t images = num_images(context);
  const int64_t step = gradient_rows(context, context.cam_layers);
  std::map<ValueId, TensorList> maps;
  CamCall forward_only;
  forward_only.gradients = false;
  const std::map<ValueId, CamInput> clean = cam_inputs(context, forward_only);
  for (int64_t i = 0; i < images; ++i) {
    NoiseStream noise(context, p.samples);
    std::map<ValueId, std::array<Tensor, 3>> powers;  // sums of G, G^2 and G^3
    for (int64_t begin = 0; begin < p.samples; begin += step) {
      const int64_t count = std::min(step, p.samples - begin);
      const Tensor noisy = context.input[i].unsqueeze(0) + noise.draw(count) * scale[i];
      const GradientResult r =
          gradients(context, {noisy, std::vector<int64_t>(static_cast<size_t>(count), i), context.cam_layers, {}});
      for (const ValueId id : context.cam_layers) {
        const Tensor g = as_map(context, id, r.gradients.at(id)).to(at::kCPU).to(at::kDouble);
        for (size_t k = 0; k < 3; ++k) {
          const Tensor sum = g.pow(static_cast<double>(k + 1)).sum(0, true);
          Tensor& power = powers[id][k];
          power = power.defined() ? power + sum : sum;
        }
      }
      if (context.progress) {
        context.progress->report(static_cast<double>(i * p.samples + begin + count),
                                 static_cast<double>(images * p.samples), "noisy copies");
      }
    }
    const auto share = static_cast<double>(p.samples);
    for (const ValueId id : context.cam_layers) {
      const Tensor a = clean.at(id).activations.narrow(0, i, 1);
      const auto& [g, g2, g3] = powers.at(id);
      const Tensor weights = grad_cam_plus_plus_weights(g / share, g2 / share, g3 / share, a);
      maps[id].push_back(combined(weigh(weights), a, options));
    }
  }
  std::map<ValueId, Tensor> raws;
  for (auto& [id, list] : maps) raws[id] = at::cat(list);
  return from_raw_maps(context, std::move(raws), true, options);
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

Attribution guided_cam(const Context& context, const GuidedParams& p, const CamOptions& options,
                       const CamMember& member) {
  const Attribution cam = run_cam(context, member, options);
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
template <class P = NoParams>
Method plain_cam(const char* id, const char* title, const char* summary, const Paper& paper, unsigned properties,
                 CamTerms (*member)(const CamInput&)) {
  return make_cam<P>(id, title, summary, paper, kNeedsTarget | kNeedsLayer | kNeedsGradient, properties,
                     [member](const Context& context, const P&, const CamOptions& options) {
                       return run_cam(context, member, options);
                     });
}

}  // namespace

template <>
struct CamDefaults<LayerCamParams> {
  static constexpr const char* fusion = "tanh-max";
};

CamMember gradient_member(const std::string& name) {
  if (name == "hires-cam") return hires_cam;
  if (name == "layer-cam") return layer_cam;
  if (name == "grad-cam-elementwise") return grad_cam_elementwise;
  return grad_cam;
}

Attribution summed_channels(const Context& context, const Values& layers, bool rectify) {
  std::map<ValueId, Tensor> raws;
  for (const auto& [id, t] : layers) raws[id] = as_map(context, id, t).to(at::kCPU).to(at::kDouble).sum(1);
  Attribution a = from_raw_maps(context, std::move(raws), rectify, {});
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
  return make_cam<GradCamPlusPlusParams>(
      "grad-cam++", "Grad-CAM++", "Positive gradients weighted position by position, so that several instances count.",
      papers::kChattopadhyay2018, kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative,
      [](const Context& context, const GradCamPlusPlusParams& p, const CamOptions& options) {
        CamCall call;
        if (p.epsilon == 0) call.inspect = inspect_grad_cam_plus_plus;
        return run_cam(
            context, [p](const CamInput& in) { return grad_cam_plus_plus_with_epsilon(in, p.epsilon); }, options, call);
      });
}

Method guided_grad_cam_method() {
  return make_cam<GuidedParams>("guided-grad-cam", "Guided Grad-CAM", "Guided backprop inside the Grad-CAM region.",
                                papers::kSelvaraju2017,
                                kNeedsTarget | kNeedsLayer | kNeedsGradient | kNeedsInputGradient, kNonNegative,
                                [](const Context& context, const GuidedParams& p, const CamOptions& options) {
                                  return guided_cam(context, p, options, grad_cam);
                                });
}

Method guided_grad_cam_plus_plus_method() {
  return make_cam<GuidedParams>("guided-grad-cam++", "Guided Grad-CAM++",
                                "Guided backprop inside the Grad-CAM++ region.", papers::kChattopadhyay2018,
                                kNeedsTarget | kNeedsLayer | kNeedsGradient | kNeedsInputGradient, kNonNegative,
                                [](const Context& context, const GuidedParams& p, const CamOptions& options) {
                                  return guided_cam(context, p, options, grad_cam_plus_plus);
                                });
}

Method smooth_grad_cam_plus_plus_method() {
  return make_cam<SmoothGradCamParams>("smooth-grad-cam++", "Smooth Grad-CAM++",
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
  return plain_cam<LayerCamParams>("layer-cam", "LayerCAM",
                                   "Positive gradients as weights of each position; fuses shallow and deep layers.",
                                   papers::kJiang2021, kNonNegative | kScalesWithLogit, layer_cam);
}

Method grad_cam_elementwise_method() {
  return plain_cam("grad-cam-elementwise", "Element-wise Grad-CAM", "Positive part of gradient times activation.",
                   papers::kSelvaraju2017, kNonNegative | kScalesWithLogit, grad_cam_elementwise);
}

Method eigen_cam_method() {
  return make_cam<EigenParams>("eigen-cam", "Eigen-CAM", "First principal component of the activations; no class.",
                               papers::kMuhammad2020, kNeedsLayer, kNonNegative | kClassAgnostic,
                               [](const Context& context, const EigenParams& p, const CamOptions& options) {
                                 CamCall call;
                                 call.gradients = false;
                                 return run_cam(
                                     context, [p](const CamInput& in) { return eigen_cam(in, p); }, options, call);
                               });
}

Method fem_method() {
  return make_cam<FemParams>("fem", "FEM",
                             "Channels weighted by how many of their positions are unusually strong; no class.",
                             kFuad2020, kNeedsLayer, kNonNegative | kClassAgnostic,
                             [](const Context& context, const FemParams& p, const CamOptions& options) {
                               CamCall call;
                               call.gradients = false;
                               return run_cam(
                                   context, [p](const CamInput& in) { return fem(in, p); }, options, call);
                             });
}

Method eigen_grad_cam_method() {
  return make_cam<EigenParams>("eigen-grad-cam", "Eigen-Grad-CAM",
                               "First principal component of gradient times activation.", papers::kMuhammad2020,
                               kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative | kScalesWithLogit,
                               [](const Context& context, const EigenParams& p, const CamOptions& options) {
                                 return run_cam(
                                     context, [p](const CamInput& in) { return eigen_grad_cam(in, p); }, options);
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
Attribution cam(const Context& context, const NoParams&, const CamOptions& options) {
  const CamHead head = find_head(context);
  if (context.target.value() != context.layers.logits()) {
    throw_usage("cam: the target must be a class; grad-cam explains any target");
  }
  Context at_head = context;
  at_head.cam_layers = {head.maps};
  Request request;
  request.capture = {head.maps, context.target.value()};
  const std::vector<int64_t> rows = all_rows(context);
  const int64_t step = rows_per_pass(context);
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
    maps.push_back(combined(weigh(head.weights.defined() ? seed.mm(head.weights) : seed), a, options));
  }
  return from_raw_maps(at_head, {{head.maps, at::cat(maps)}}, true, options);
}

}  // namespace

Method cam_method() {
  return make_cam<NoParams>("cam", "CAM", "Class weights of the last linear layer over the maps it pools.",
                            papers::kZhou2016, kNeedsTarget, kNonNegative | kScalesWithLogit, cam);
}

}  // namespace pellucid
