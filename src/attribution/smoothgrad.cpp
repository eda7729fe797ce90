// SmoothGrad and its second moments: gradients of noisy copies of the picture.
//   Smilkov, Thorat, Kim, Viegas, Wattenberg. "SmoothGrad: Removing Noise by Adding Noise". arXiv 2017.
//   SmoothGrad squared: Hooker et al., NeurIPS 2019. VarGrad: Adebayo et al., NeurIPS 2018.
// Signed gradients are averaged, then reduced; averaging magnitudes is another method. The same numbers as
// smooth(saliency), with the copies of a picture in passes together.

#include "attribution/noise.h"

namespace pellucid {

namespace {

/// One for each image.
std::vector<RunningMoments> gradient_moments(const Context& context, const NoiseParams& p) {
  const ValueId input = input_value(context);
  const int64_t images = num_images(context);
  const int64_t step = gradient_rows(context, {input});
  const Tensor scale = noise_scale(context, p.noise);
  std::vector<RunningMoments> moments(static_cast<size_t>(images));
  for (int64_t i = 0; i < images; ++i) {
    NoiseStream noise(context, p.samples);
    for (int64_t begin = 0; begin < p.samples; begin += step) {
      const int64_t count = std::min(step, p.samples - begin);
      const Tensor noisy = context.input[i].unsqueeze(0) + noise.draw(count) * scale[i];
      const Tensor g = gradients(context, {noisy, std::vector<int64_t>(static_cast<size_t>(count), i), {input}, {}})
                           .gradients.at(input);
      for (int64_t k = 0; k < count; ++k) moments[static_cast<size_t>(i)].add(g[k]);
      if (context.progress) {
        context.progress->report(static_cast<double>(i * p.samples + begin + count),
                                 static_cast<double>(images * p.samples), "noisy copies");
      }
    }
  }
  return moments;
}

template <class F>
Attribution result(const Context& context, const NoiseParams& p, Reduction reduction, F chosen) {
  TensorList values;
  for (const RunningMoments& m : gradient_moments(context, p)) values.push_back(chosen(m));
  Attribution a = input_attribution(context, at::stack(values).to(context.network.dtype()), reduction);
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  for (auto& d : a.diagnostics) d["passes"] = static_cast<double>(p.samples);
  return a;
}

Attribution smoothgrad(const Context& context, const NoiseParams& p) {
  return result(context, p, Reduction::kMaxAbs, [](const RunningMoments& m) { return m.mean(); });
}

Attribution smoothgrad_squared(const Context& context, const NoiseParams& p) {
  return result(context, p, Reduction::kSumPositive, [](const RunningMoments& m) { return m.second_moment(); });
}

Attribution vargrad(const Context& context, const NoiseParams& p) {
  return result(context, p, Reduction::kSumPositive, [](const RunningMoments& m) { return m.variance(); });
}

}  // namespace

Method smoothgrad_method() {
  return make_method<NoiseParams>("smoothgrad", "SmoothGrad", "gradient",
                                  "Mean signed gradient over noisy copies; the picture takes the largest magnitude.",
                                  papers::kSmilkov2017, kNeedsTarget | kNeedsGradient,
                                  kNonNegative | kStochastic | kScalesWithLogit, smoothgrad);
}

Method smoothgrad_squared_method() {
  return make_method<NoiseParams>("smoothgrad-squared", "SmoothGrad squared", "gradient",
                                  "Mean squared gradient over noisy copies.", papers::kHooker2019,
                                  kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic, smoothgrad_squared);
}

Method vargrad_method() {
  return make_method<NoiseParams>("vargrad", "VarGrad", "gradient", "Variance of the gradient over noisy copies.",
                                  papers::kAdebayo2018, kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic,
                                  vargrad);
}

}  // namespace pellucid
