#pragma once

// The frame of the class activation map family: it runs the network, reshapes token layers, combines the channels,
// smooths, fuses layers, rectifies and resamples. A member supplies the weights of the channels.

#include <functional>
#include <map>
#include <string>

#include "attribution/method.h"

namespace pellucid {

/// One layer as a member sees it.
struct CamInput {
  Tensor activations;  ///< [N,K,h,w] on the CPU, float64 unless the member asks for the network's own type.
  Tensor gradients;    ///< The same; undefined for members that need none.
  ValueId layer = kNoValue;
  Tensor value;  ///< The layer as the network computed it, [N,K,h,w] or [N,T,D], on its device and in its type.
};

/// What a member makes of a layer: weights for its activations or, where there is no such thing, the map itself.
struct CamTerms {
  Tensor weights;  ///< [N,K], or [N,K,h,w] when every position has its own.
  Tensor map;      ///< [N,h,w]
};
using CamMember = std::function<CamTerms(const CamInput&)>;
inline CamTerms weigh(const Tensor& weights) { return {weights, {}}; }
inline CamTerms whole_map(const Tensor& map) { return {{}, map}; }

/// How several layers become one map: each is divided by its maximum and resampled; a layer that is blank for an image
/// is left out.
enum class Fusion {
  kMean,
  kMax,
  kLayerCam  ///< Maximum after tanh(2 m). Jiang et al., IEEE TIP 2021.
};

/// Parameters that every member has.
struct CamOptions {
  std::string smooth = "none";
  std::string fusion = "mean";
  std::string align = "half-pixel";

  bool eigen() const { return smooth == "eigen" || smooth == "eigen+augment"; }
  bool augment() const { return smooth == "augment" || smooth == "eigen+augment"; }
};
Fusion fusion_from(const CamOptions& options);

/// Float64 unless a member without divisions takes the network's own type.
enum class CamPrecision { kDouble, kNetwork };

/// Looks at what a member worked with and writes what it finds into the result, whose notes and diagnostics have one
/// entry per image.
using CamInspection = std::function<void(const CamInput&, Attribution&)>;

/// What a member needs beyond the layers' activations.
struct CamCall {
  bool gradients = true;
  bool rectify = true;
  CamPrecision precision = CamPrecision::kDouble;
  CamInspection inspect = {};
  /// Differentiated instead of the target's score.
  std::function<Tensor(const BoundTarget& target, const Tensor& value)> score = {};
};

/// The members that are one formula of activations and gradients: grad-cam, hires-cam, layer-cam, grad-cam-elementwise.
CamMember gradient_member(const std::string& name);

/// Runs a member on the context's layers.
Attribution run_cam(const Context& context, const CamMember& member, const CamOptions& options,
                    const CamCall& call = {});

/// Activations and, when the call wants them, gradients of the chosen layers.
std::map<ValueId, CamInput> cam_inputs(const Context& context, const CamCall& call = {});

/// Maps [N,h,w] of one or several layers as a result.
Attribution from_raw_maps(const Context& context, std::map<ValueId, Tensor> raws, bool rectify,
                          const CamOptions& options);

/// The raw map [N,h,w]: the sum over the channels of weights times activations or, with eigen smoothing, the first
/// principal component of these products instead of their sum.
Tensor combined(const CamTerms& terms, const Tensor& activations, const CamOptions& options);

/// Token layers [N,T,D] become [N,D,rows,columns] without class and register tokens. Throws Error(kUsage) for layers
/// that are no map.
Tensor as_map(const Context& context, ValueId layer, const Tensor& t);

/// Channels weighted by one number each, weights [N,K]: sum_k w_k A_k.
Tensor weighted(const Tensor& weights, const Tensor& activations);

/// 0 where the denominator is 0.
Tensor safe_ratio(const Tensor& numerator, const Tensor& denominator);

/// Projection of the positions of maps [N,K,h,w] on their first principal component, [N,h,w]. `reference` [N,h,w]
/// decides the sign, which a singular vector does not have.
Tensor eigen_map(const Tensor& maps, bool centered, const Tensor& reference);
/// Uncentered, of products such as gradient times activation, whose sum decides the sign.
Tensor eigen_of_products(const Tensor& products);

/// The mean result over the picture and its mirror image, each times 0.9, 1 and 1.1 in the model domain, the maps of
/// mirrored pictures mirrored back. Throws Error(kUsage) for targets that name a position.
Attribution augmented(const Context& context, const std::function<Attribution(const Context&)>& run);

/// What the options' defaults are for a member with parameters P.
template <class P>
struct CamDefaults {
  static constexpr const char* fusion = "mean";
};

template <class P>
struct CamParams {
  P own;
  CamOptions options;
  CamParams() { options.fusion = CamDefaults<P>::fusion; }
};

template <class V, class P>
void describe(V& visit, CamParams<P>& p) {
  describe(visit, p.own);
  visit(
      "smooth", p.options.smooth, one_of({"none", "eigen", "augment", "eigen+augment"}),
      "eigen: first principal component of the weighted activations instead of their sum. augment: mean over mirrored "
      "and brightened pictures.");
  visit("fusion", p.options.fusion, one_of({"mean", "max", "tanh-max"}),
        "How the maps of several layers become one; tanh-max is LayerCAM's.");
  visit("align", p.options.align, one_of({"half-pixel", "receptive-field"}),
        "Where a layer's positions lie in the picture: evenly spread over it, or at the centres of their receptive "
        "fields, which differ where a network pads unevenly or not at all.");
}

/// A member with parameters P and those that every member has; `function` takes (context, P, CamOptions).
template <class P, class F>
Method make_cam(const char* id, const char* title, const char* summary, const Paper& paper, unsigned needs,
                unsigned properties, F function) {
  return make_method<CamParams<P>>(id, title, "cam", summary, paper, needs, properties,
                                   [function](const Context& context, const CamParams<P>& p) {
                                     const auto run = [&](const Context& c) { return function(c, p.own, p.options); };
                                     return p.options.augment() ? augmented(context, run) : run(context);
                                   });
}

}  // namespace pellucid
