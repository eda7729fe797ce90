// What happens to gradients before a step and to pictures after it.

#include <cmath>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

Tensor per_sample(const Tensor& value, const Tensor& like) {
  Shape shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = like.size(0);
  return value.view(shape);
}

/// Separable Gaussian with reflected borders.
Tensor gaussian(const Tensor& planes, double sigma) {
  if (sigma <= 0) return planes;
  int64_t radius = static_cast<int64_t>(std::ceil(3 * sigma));
  radius = std::min(radius, std::min(planes.size(2), planes.size(3)) - 1);
  const Tensor t = at::arange(-radius, radius + 1, at::kDouble);
  Tensor kernel = at::exp(-t.square() / (2 * sigma * sigma));
  kernel = (kernel / kernel.sum()).to(planes.options());
  Tensor y = planes.reshape({-1, 1, planes.size(2), planes.size(3)});
  y = at::conv2d(at::reflection_pad2d(y, {radius, radius, 0, 0}), kernel.view({1, 1, 1, -1}));
  y = at::conv2d(at::reflection_pad2d(y, {0, 0, radius, radius}), kernel.view({1, 1, -1, 1}));
  return y.view(planes.sizes());
}

struct NormalizeParams {
  std::string by = "mean-abs";
};
template <class V>
void describe(V& visit, NormalizeParams& p) {
  visit("by", p.by, one_of({"mean-abs", "std", "l2", "sign"}), "Divide by it; sign keeps nothing but the sign.");
}
class Normalize final : public GradientStep {
 public:
  Normalize(const PartScope&, const NormalizeParams& p) : p_(p) {}
  Tensor process(const Tensor& gradient, const StepInfo&) const override {
    if (p_.by == "sign") return gradient.sign();
    const Tensor flat = gradient.flatten(1);
    if (p_.by == "l2") return gradient / (per_sample(flat.norm(2, 1), gradient) + 1e-10);
    if (p_.by == "std") return gradient / (per_sample(flat.std(1, /*unbiased=*/false), gradient) + 1e-8);
    return gradient / per_sample(flat.abs().mean(1).clamp_min(1e-30), gradient);
  }

 private:
  NormalizeParams p_;
};

struct SigmaParams {
  double begin = 2, end = 0.5;
};
template <class V>
void describe(V& visit, SigmaParams& p) {
  visit("begin", p.begin, between(0, 1000), "Sigma in pixels at the first step of the stage.");
  visit("end", p.end, between(0, 1000), "At the last; linear between.");
}
double sigma_at(const SigmaParams& p, const StepInfo& step) { return p.begin + (p.end - p.begin) * step.fraction(); }

class BlurGradient final : public GradientStep {
 public:
  BlurGradient(const PartScope&, const SigmaParams& p) : p_(p) {}
  Tensor process(const Tensor& gradient, const StepInfo& step) const override {
    return gradient.dim() == 4 ? gaussian(gradient, sigma_at(p_, step)) : gradient;
  }

 private:
  SigmaParams p_;
};

struct LaplacianParams {
  int64_t levels = 4;
};
template <class V>
void describe(V& visit, LaplacianParams& p) {
  visit("levels", p.levels, integer_between(1, 10), "Bands above the coarsest.");
}

Tensor binomial(const Tensor& like) {
  const Tensor k = at::tensor({1., 4., 6., 4., 1.}, like.options()) / 16;
  return at::outer(k, k).view({1, 1, 5, 5});
}
/// Blurred and every second pixel; the border reflected.
Tensor shrink(const Tensor& x) {
  const int64_t pad = std::min<int64_t>(2, std::min(x.size(2), x.size(3)) - 1);
  Tensor y = at::reflection_pad2d(x, {pad, pad, pad, pad});
  if (pad < 2) y = at::replication_pad2d(y, {2 - pad, 2 - pad, 2 - pad, 2 - pad});
  return at::conv2d(y, binomial(x), {}, 2);
}
/// Enlarged to the given size, normalized at the borders.
Tensor enlarge(const Tensor& x, int64_t height, int64_t width) {
  const auto spread = [&](const Tensor& t) {
    const Tensor y = at::conv_transpose2d(t, binomial(t), {}, 2, 2, 1);
    return y.slice(2, 0, height).slice(3, 0, width);
  };
  return spread(x) / spread(at::ones_like(x));
}

/// Each band of frequencies divided by its strength.
class Laplacian final : public GradientStep {
 public:
  Laplacian(const PartScope&, const LaplacianParams& p) : p_(p) {}
  Tensor process(const Tensor& gradient, const StepInfo&) const override {
    if (gradient.dim() != 4) return gradient;
    const int64_t batch = gradient.size(0);
    Tensor low = gradient.reshape({-1, 1, gradient.size(2), gradient.size(3)});
    TensorList bands;
    for (int64_t level = 0; level < p_.levels && std::min(low.size(2), low.size(3)) > 1; ++level) {
      const Tensor next = shrink(low);
      bands.push_back(low - enlarge(next, low.size(2), low.size(3)));
      low = next;
    }
    bands.push_back(low);
    const auto even = [&](const Tensor& band) {
      const Tensor b = band.reshape({batch, -1, band.size(2), band.size(3)});
      const Tensor rms = b.flatten(1).square().mean(1).sqrt().clamp_min(1e-10);
      return (b / rms.view({-1, 1, 1, 1})).reshape(band.sizes());
    };
    Tensor sum = even(bands.back());
    for (size_t i = bands.size() - 1; i-- > 0;) sum = enlarge(sum, bands[i].size(2), bands[i].size(3)) + even(bands[i]);
    return sum.view(gradient.sizes());
  }

 private:
  LaplacianParams p_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct DecayParams {
  double share = 1e-4;
};
template <class V>
void describe(V& visit, DecayParams& p) {
  visit("share", p.share, between(0, 1), "Of every pixel's value that is taken away at each step.");
}
class Decay final : public AfterStep {
 public:
  Decay(const PartScope&, const DecayParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override { return pixels * (1 - p_.share); }

 private:
  DecayParams p_;
};

struct BlurParams {
  double begin = 1, end = 1;
  int64_t every = 4;
};
template <class V>
void describe(V& visit, BlurParams& p) {
  visit("begin", p.begin, between(0, 1000), "Sigma in pixels at the first step of the stage.");
  visit("end", p.end, between(0, 1000), "At the last; linear between.");
  visit("every", p.every, integer_between(1, 1000000), "Steps from one blurring to the next.");
}
class Blur final : public AfterStep {
 public:
  Blur(const PartScope&, const BlurParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo& step) const override {
    if (step.step % p_.every != 0) return pixels;
    return gaussian(pixels, p_.begin + (p_.end - p_.begin) * step.fraction());
  }

 private:
  BlurParams p_;
};

struct PercentileParams {
  double percentile = 50;
};
template <class V>
void describe(V& visit, PercentileParams& p) {
  visit("percentile", p.percentile, between(0, 100), "Pixels below this percentile of the picture become zero.");
}
/// Zeroes the pixels for which `score` [B,1,H,W] lies below the percentile.
Tensor clip_below(const Tensor& pixels, const Tensor& score, double percentile) {
  const Tensor bound = at::quantile(score.flatten(1).to(at::kDouble), percentile / 100, 1).view({-1, 1, 1, 1});
  return at::where(score.to(at::kDouble) < bound, at::zeros_like(pixels), pixels);
}
class ClipNorm final : public AfterStep {
 public:
  ClipNorm(const PartScope&, const PercentileParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override {
    return clip_below(pixels, pixels.norm(2, {1}, true), p_.percentile);
  }

 private:
  PercentileParams p_;
};
class ClipContribution final : public AfterStep {
 public:
  ClipContribution(const PartScope&, const PercentileParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor& gradient, const StepInfo&) const override {
    return clip_below(pixels, (pixels * gradient).sum(1, true).abs(), p_.percentile);
  }

 private:
  PercentileParams p_;
};

struct BoundParams {
  double norm = 160;
};
template <class V>
void describe(V& visit, BoundParams& p) {
  visit("norm", p.norm, between(1e-6, 1e6), "Largest norm of a pixel's color.");
}
class Bound final : public AfterStep {
 public:
  Bound(const PartScope&, const BoundParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override {
    return pixels * at::clamp_max(p_.norm / pixels.norm(2, {1}, true).clamp_min(1e-12), 1);
  }

 private:
  BoundParams p_;
};

struct SphereParams {
  double rms = 68.92;
};
template <class V>
void describe(V& visit, SphereParams& p) {
  visit("rms", p.rms, between(1e-9, 1e6), "Root of the mean square over all values, in the unit of the recipe.");
}
/// The norm of the whole picture is fixed.
class Sphere final : public AfterStep {
 public:
  Sphere(const PartScope&, const SphereParams& p) : p_(p) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo&) const override {
    const Tensor rms = pixels.flatten(1).square().mean(1).sqrt().clamp_min(1e-12);
    return pixels * (p_.rms / per_sample(rms, pixels));
  }

 private:
  SphereParams p_;
};

struct BilateralParams {
  double space_begin = 3, space_end = 1;
  double color = 0.1;
  int64_t window = 5;
  int64_t every = 4;
  double until = 0.75;
};
template <class V>
void describe(V& visit, BilateralParams& p) {
  visit("space_begin", p.space_begin, between(0.1, 100), "Sigma in pixels at the first step of the stage.");
  visit("space_end", p.space_end, between(0.1, 100), "At the last; linear between.");
  visit("color", p.color, between(1e-3, 10), "Sigma of the distance of colors, in display range.");
  visit("window", p.window, integer_between(3, 31), "Side of the neighbourhood; odd.");
  visit("every", p.every, integer_between(1, 1000000), "Steps from one filtering to the next.");
  visit("until", p.until, between(0, 1), "Share of the stage after which it stops.");
}
/// Tomasi, Manduchi, ICCV 1998: neighbours count by nearness and by likeness of color, so edges stay.
class Bilateral final : public AfterStep {
 public:
  Bilateral(const PartScope& scope, const BilateralParams& p) : p_(p), unit_(scope.unit) {
    if (p.window % 2 == 0) throw_usage("bilateral: window must be odd");
  }
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo& step) const override {
    if (step.step % p_.every != 0 || step.fraction() > p_.until) return pixels;
    const double space = p_.space_begin + (p_.space_end - p_.space_begin) * step.fraction();
    const Tensor x = display_from_pixels(pixels, unit_);
    const int64_t radius = p_.window / 2, height = x.size(2), width = x.size(3);
    const Tensor padded = at::replication_pad2d(x, {radius, radius, radius, radius});
    Tensor sum = at::zeros_like(x), weights = at::zeros_like(x.narrow(1, 0, 1));
    for (int64_t dy = -radius; dy <= radius; ++dy) {
      for (int64_t dx = -radius; dx <= radius; ++dx) {
        const Tensor neighbour = padded.narrow(2, radius + dy, height).narrow(3, radius + dx, width);
        const Tensor distance = (neighbour - x).square().sum(1, true);
        const Tensor w = at::exp(-distance / (2 * p_.color * p_.color) -
                                 static_cast<double>(dx * dx + dy * dy) / (2 * space * space));
        sum = sum + w * neighbour;
        weights = weights + w;
      }
    }
    return pixels_from_display(sum / weights, unit_);
  }

 private:
  BilateralParams p_;
  PixelUnit unit_;
};

struct MedianParams {
  int64_t window = 3;
  int64_t every = 4;
};
template <class V>
void describe(V& visit, MedianParams& p) {
  visit("window", p.window, integer_between(3, 15), "Side of the neighbourhood; odd.");
  visit("every", p.every, integer_between(1, 1000000), "Steps from one filtering to the next.");
}
class Median final : public AfterStep {
 public:
  Median(const PartScope&, const MedianParams& p) : p_(p) {
    if (p.window % 2 == 0) throw_usage("median: window must be odd");
  }
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo& step) const override {
    if (step.step % p_.every != 0) return pixels;
    const int64_t r = p_.window / 2;
    const Tensor padded = at::replication_pad2d(pixels, {r, r, r, r});
    const Tensor patches = padded.unfold(2, p_.window, 1).unfold(3, p_.window, 1).flatten(4);
    return std::get<0>(patches.median(4));
  }

 private:
  MedianParams p_;
};

}  // namespace

std::vector<PartEntry<GradientStep>> gradient_steps() {
  return {part_entry<GradientStep, Normalize, NormalizeParams>(
              "normalize", "Divided by its own size, picture by picture.", kMordvintsev2015),
          part_entry<GradientStep, Laplacian, LaplacianParams>(
              "laplacian", "Every band of frequencies made equally strong.", kMordvintsev2015),
          part_entry<GradientStep, BlurGradient, SigmaParams>("blur", "Blurred.", kOygaard2015)};
}

std::vector<PartEntry<AfterStep>> pixel_after_steps() {
  return {part_entry<AfterStep, Decay, DecayParams>("decay", "Every pixel a little nearer to zero.", kYosinski2015),
          part_entry<AfterStep, Blur, BlurParams>("blur", "The picture blurred.", kYosinski2015),
          part_entry<AfterStep, ClipNorm, PercentileParams>("clip-norm", "Pixels of small norm set to zero.",
                                                            kYosinski2015),
          part_entry<AfterStep, ClipContribution, PercentileParams>(
              "clip-contribution", "Pixels that contribute little set to zero.", kYosinski2015),
          part_entry<AfterStep, Bound, BoundParams>("bound", "Colors of too large norm shortened."),
          part_entry<AfterStep, Sphere, SphereParams>("sphere", "The whole picture brought to one norm.", kErhan2009),
          part_entry<AfterStep, Bilateral, BilateralParams>("bilateral", "Smoothed within edges.", kTyka2016),
          part_entry<AfterStep, Median, MedianParams>("median", "The median of the neighbourhood.")};
}

}  // namespace pellucid
