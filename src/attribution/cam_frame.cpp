// What the members of the class activation map family share.

#include <cmath>
#include <limits>

#include "attribution/cam.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

Tensor as_map(const Context& context, ValueId layer, const Tensor& t) {
  if (t.dim() == 4 && t.size(2) * t.size(3) <= 1) {
    throw_usage("layer '" + printable(context.layers.layer(layer).name) + "' holds one position (" +
                shape_text(t.sizes()) + "); class activation maps need a layer before the pooling");
  }
  return layer_planes(context, layer, t);
}

Tensor weighted(const Tensor& weights, const Tensor& activations) {
  const Tensor& a = activations;
  const Tensor w = weights.to(a.scalar_type());
  // A position's channels are neighbours in channels-last memory, a channel's positions otherwise. One product of a
  // matrix and a vector per image: LibTorch's batched product packs the matrix first, which costs as much again.
  const bool channels_last = a.is_contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor matrices = channels_last ? a.permute({0, 2, 3, 1}).flatten(1, 2) : a.flatten(2).transpose(1, 2);
  Tensor sums = at::empty({a.size(0), a.size(2) * a.size(3)}, a.options());
  for (int64_t i = 0; i < a.size(0); ++i) {
    Tensor row = sums[i];
    at::mv_out(row, matrices[i], w[i]);
  }
  return sums.view({a.size(0), a.size(2), a.size(3)});
}

Tensor safe_ratio(const Tensor& numerator, const Tensor& denominator) {
  const Tensor dead = denominator.eq(0);
  return at::where(dead, at::zeros_like(numerator),
                   numerator / at::where(dead, at::ones_like(denominator), denominator));
}

namespace {

Tensor peak(const Tensor& map) { return map.flatten(1).amax(1).view({-1, 1, 1}); }

/// Several layers as one map [N,H,W].
Tensor fuse(const Context& context, const std::map<ValueId, Tensor>& raws, bool rectify, const CamOptions& options) {
  const Fusion fusion = fusion_from(options);
  Tensor sum, count;
  for (const auto& [layer, raw] : raws) {
    const Tensor rectified = rectify ? at::relu(raw) : raw;
    const Tensor top = peak(rectified.abs());
    Tensor m = safe_ratio(rectified, top.expand_as(rectified));
    if (fusion == Fusion::kLayerCam) m = at::tanh(m * 2);
    m = layer_map_at_input(context, layer, m, options.align);
    const Tensor alive = top.gt(0).to(m.scalar_type());
    if (!sum.defined()) {
      sum = m;
      count = alive;
    } else {
      sum = fusion == Fusion::kMean ? sum + m : at::max(sum, m);
      count = count + alive;
    }
  }
  return fusion == Fusion::kMean ? safe_ratio(sum, count.expand_as(sum)) : sum;
}

}  // namespace

Attribution from_raw_maps(const Context& context, std::map<ValueId, Tensor> raws, bool rectify,
                          const CamOptions& options) {
  const at::ScalarType dtype = context.network.dtype();
  Attribution a;
  a.layers = context.cam_layers;
  a.reduction = "none";
  a.is_signed = !rectify;
  if (raws.size() == 1) {
    const auto& [layer, raw] = *raws.begin();
    a.values = raw.to(dtype);
    a.map = layer_map_at_input(context, layer, rectify ? at::relu(raw) : raw, options.align).to(dtype);
    return a;
  }
  a.map = fuse(context, raws, rectify, options).to(dtype);
  a.values = a.map;
  for (auto& [layer, raw] : raws) a.layer_values[layer] = raw.to(dtype);
  return a;
}

Fusion fusion_from(const CamOptions& options) {
  return options.fusion == "tanh-max" ? Fusion::kLayerCam : options.fusion == "max" ? Fusion::kMax : Fusion::kMean;
}

std::map<ValueId, CamInput> cam_inputs(const Context& context, const CamCall& call) {
  const auto prepared = [&](ValueId id, const Tensor& t) {
    const Tensor map = as_map(context, id, t).to(at::kCPU);
    return call.precision == CamPrecision::kDouble || map.scalar_type() != at::kFloat ? map.to(at::kDouble) : map;
  };
  if (context.cam_layers.empty()) throw_usage("class activation maps need a layer");
  std::map<ValueId, CamInput> result;
  if (call.gradients) {
    GradientRequest request{context.input, all_rows(context), context.cam_layers, {}};
    request.score = call.score;
    const GradientResult r = gradients(context, request);
    for (const ValueId id : context.cam_layers) {
      const Tensor& value = r.values.at(id);
      result[id] = {prepared(id, value), prepared(id, r.gradients.at(id)), id, value};
    }
    return result;
  }
  Request request;
  request.capture = context.cam_layers;
  std::map<ValueId, TensorList> parts;
  const int64_t step = rows_per_pass(context);
  for (int64_t begin = 0; begin < num_images(context); begin += step) {
    const int64_t count = std::min(step, num_images(context) - begin);
    const Values values = context.network.run({context.input.narrow(0, begin, count)}, request, context.progress);
    for (const auto& [id, t] : values) parts[id].push_back(t);
  }
  for (const ValueId id : context.cam_layers) {
    const Tensor value = at::cat(parts[id]);
    result[id] = {prepared(id, value), {}, id, value};
  }
  return result;
}

Tensor combined(const CamTerms& terms, const Tensor& activations, const CamOptions& options) {
  if (terms.map.defined()) return terms.map;
  const Tensor& w = terms.weights;
  if (!options.eigen()) return w.dim() == 2 ? weighted(w, activations) : (w * activations).sum(1);
  const Tensor spread = w.dim() == 2 ? w.unsqueeze(2).unsqueeze(3) : w;
  return eigen_of_products(spread.to(at::kDouble) * activations.to(at::kDouble));
}

Attribution run_cam(const Context& context, const CamMember& member, const CamOptions& options, const CamCall& call) {
  std::map<ValueId, Tensor> raws;
  const std::map<ValueId, CamInput> inputs = cam_inputs(context, call);
  bool has_weights = true;
  for (const auto& [layer, input] : inputs) {
    const CamTerms terms = member(input);
    has_weights = terms.weights.defined();
    raws[layer] = combined(terms, input.activations, options);
  }
  Attribution a = from_raw_maps(context, std::move(raws), call.rectify, options);
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  a.notes.resize(static_cast<size_t>(num_images(context)));
  if (options.eigen() && !has_weights) {
    for (auto& notes : a.notes) notes.push_back("smooth=eigen changes nothing: the method does not sum over channels");
  }
  if (call.inspect) {
    for (const auto& entry : inputs) call.inspect(entry.second, a);
  }
  return a;
}

namespace {

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

}  // namespace

Tensor eigen_map(const Tensor& maps, bool centered, const Tensor& reference) {
  Tensor m = maps.flatten(2).transpose(1, 2);  // [N, positions, K]
  if (centered) m = m - m.mean(1, true);
  const Tensor component = first_component(m);
  const Tensor against = (component * reference.flatten(1)).sum(1).lt(0);
  return at::where(against.unsqueeze(1), -component, component).view({maps.size(0), maps.size(2), maps.size(3)});
}

Tensor eigen_of_products(const Tensor& products) {
  const Tensor sum = products.sum(1);
  const Tensor map = eigen_map(products, false, sum);
  const Tensor wrong = (map.sum({1, 2}) * sum.sum({1, 2})).lt(0);
  return at::where(wrong.view({-1, 1, 1}), -map, map);
}

Attribution augmented(const Context& context, const std::function<Attribution(const Context&)>& run) {
  constexpr double kBrightness[] = {1, 0.9, 1.1};
  constexpr double kShare = 1.0 / 6;
  Attribution mean;
  const auto add = [&](Tensor& sum, const Tensor& t, bool mirrored, int64_t width_axis) {
    const Tensor straight = (mirrored ? t.flip({width_axis}) : t) * kShare;
    sum = sum.defined() ? sum + straight : straight;
  };
  const int64_t input_width = context.card.channels_first ? 3 : 2;
  for (const bool mirrored : {false, true}) {
    for (const double brightness : kBrightness) {
      Context variant = context;
      variant.input = (mirrored ? context.input.flip({input_width}) : context.input) * brightness;
      if (mirrored) variant.target = context.target.mirrored();
      Attribution a = run(variant);
      const Tensor values = a.values, map = a.map;
      const std::map<ValueId, Tensor> layer_values = a.layer_values;
      if (!mean.map.defined()) {  // the picture as it is: its notes are those of the result
        mean = std::move(a);
        mean.values = mean.map = Tensor();
        for (auto& entry : mean.layer_values) entry.second = Tensor();
      }
      add(mean.values, values, mirrored, values.dim() == 4 ? input_width : 2);
      add(mean.map, map, mirrored, 2);
      for (const auto& [layer, t] : layer_values) add(mean.layer_values[layer], t, mirrored, 2);
    }
  }
  return mean;
}

}  // namespace pellucid
