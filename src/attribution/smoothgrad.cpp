// SmoothGrad and its second moments: gradients of noisy copies of the picture.
//   Smilkov, Thorat, Kim, Viegas, Wattenberg. "SmoothGrad: Removing Noise by Adding Noise". arXiv 2017.
//   SmoothGrad squared: Hooker et al., NeurIPS 2019. VarGrad: Adebayo et al., NeurIPS 2018.
// Signed gradients are averaged, then reduced; averaging magnitudes is another method.

#include "attribution/method.h"

namespace pellucid {

namespace {

struct SmoothGradParams {
  int64_t samples = 50;
  double noise = 0.15;
};

template <class V>
void describe(V& visit, SmoothGradParams& p) {
  visit("samples", p.samples, integer_between(1, 100000), "Noisy copies per picture.");
  visit("noise", p.noise, between(0, 10), "Standard deviation of the noise as a share of the picture's value range.");
}

struct Moments {
  Tensor mean;      ///< float64, [N,C,H,W]
  Tensor variance;  ///< population variance
};

/// Welford's update, which does not cancel as E[x^2] - E[x]^2 does.
Moments gradient_moments(const Context& context, const SmoothGradParams& p) {
  const ValueId input = input_value(context);
  const int64_t images = num_images(context);
  const Tensor noise = noise_samples(context, p.samples);
  const Tensor scale = noise_scale(context, p.noise);
  const Tensor means = at::zeros(context.input.sizes(), at::kDouble);
  const Tensor squares = at::zeros(context.input.sizes(), at::kDouble);
  for (int64_t i = 0; i < images; ++i) {
    Tensor mean = means[i];
    Tensor square = squares[i];
    for (int64_t begin = 0; begin < p.samples; begin += context.batch_size) {
      const int64_t count = std::min(context.batch_size, p.samples - begin);
      const Tensor noisy = context.input[i].unsqueeze(0) + noise.narrow(0, begin, count) * scale[i];
      const Tensor g = gradients(context, {noisy, std::vector<int64_t>(static_cast<size_t>(count), i), {input}, {}})
                           .gradients.at(input)
                           .to(at::kCPU)
                           .to(at::kDouble);
      for (int64_t k = 0; k < count; ++k) {
        const Tensor delta = g[k] - mean;
        mean.add_(delta / static_cast<double>(begin + k + 1));
        square.add_(delta * (g[k] - mean));
      }
      if (context.progress) {
        context.progress->report(static_cast<double>(i * p.samples + begin + count),
                                 static_cast<double>(images * p.samples), "noisy copies");
      }
    }
  }
  return {means, squares / static_cast<double>(p.samples)};
}

Attribution result(const Context& context, const SmoothGradParams& p, const Tensor& values, Reduction reduction) {
  Attribution a = input_attribution(context, values.to(context.network.dtype()), reduction);
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  for (auto& d : a.diagnostics) d["passes"] = static_cast<double>(p.samples);
  return a;
}

Attribution smoothgrad(const Context& context, const SmoothGradParams& p) {
  return result(context, p, gradient_moments(context, p).mean, Reduction::kMaxAbs);
}

Attribution smoothgrad_squared(const Context& context, const SmoothGradParams& p) {
  const Moments m = gradient_moments(context, p);
  return result(context, p, m.mean.square() + m.variance, Reduction::kSumPositive);
}

Attribution vargrad(const Context& context, const SmoothGradParams& p) {
  return result(context, p, gradient_moments(context, p).variance, Reduction::kSumPositive);
}

}  // namespace

Method smoothgrad_method() {
  return make_method<SmoothGradParams>(
      "smoothgrad", "SmoothGrad", "gradient",
      "Mean signed gradient over noisy copies; the picture takes the largest magnitude.", papers::kSmilkov2017,
      kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic | kScalesWithLogit, smoothgrad);
}

Method smoothgrad_squared_method() {
  return make_method<SmoothGradParams>("smoothgrad-squared", "SmoothGrad squared", "gradient",
                                       "Mean squared gradient over noisy copies.", papers::kHooker2019,
                                       kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic, smoothgrad_squared);
}

Method vargrad_method() {
  return make_method<SmoothGradParams>("vargrad", "VarGrad", "gradient", "Variance of the gradient over noisy copies.",
                                       papers::kAdebayo2018, kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic,
                                       vargrad);
}

}  // namespace pellucid
