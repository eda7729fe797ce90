// Blur Integrated Gradients: the path from a blurred picture to the picture itself, L(sigma) = Gaussian_sigma * x:
//   -integral over sigma of dS/dx(L(sigma)) dL/dsigma.
//   Xu, Venugopalan, Sundararajan. "Attribution in Scale and Space". CVPR 2020, eq. 3.
// The midpoint rule multiplies the gradient in the middle of each step by the exact difference of its ends, so that a
// linear score is complete with any number of steps. The left rule is that of the authors' code (PAIR-code/saliency),
// which estimates dL/dsigma from a forward difference of 0.01; with border=zero as there.

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/path.h"

namespace pellucid {

namespace {

constexpr Paper kXu2020{"xu2020", "Xu, Venugopalan, Sundararajan", "Attribution in Scale and Space", "CVPR", 2020};

struct BlurIgParams {
  int64_t steps = 100;
  double sigma = 0;
  std::string spacing = "linear";
  std::string rule = "midpoint";
  std::string border = "reflect";
};

template <class V>
void describe(V& visit, BlurIgParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Gradients taken between the blurred picture and the picture.");
  visit("sigma", p.sigma, between(0, 10000),
        "Blur where the path starts, in pixels; 0 takes 50 for a picture of 224 pixels and in proportion for others.");
  visit("spacing", p.spacing, one_of({"linear", "sqrt"}), "Steps of equal sigma, or of equal squared sigma.");
  visit("rule", p.rule, one_of({"midpoint", "left"}), "Where in a step the gradient is taken.");
  visit("border", p.border, one_of({"reflect", "zero"}),
        "What the blur finds beyond the border: the picture mirrored, its edge not repeated, or zeros.");
}

/// The path of one image, blurred in float64: neighbouring blurs differ by little.
class BlurPath {
 public:
  BlurPath(const Context& context, int64_t image, const BlurIgParams& p)
      : context_(context),
        p_(p),
        planes_(to_planes(context, context.input.narrow(0, image, 1)).to(at::kDouble)),
        border_(p.border == "zero" ? Border::kZero : Border::kReflect),
        widest_(p.sigma > 0 ? p.sigma : 50.0 / 224 * static_cast<double>(std::max(planes_.size(2), planes_.size(3)))) {}

  /// The picture at `position` steps from the sharp end, [1,...] as the model has it.
  Tensor at(double position) const { return blurred(sigma(position)); }
  Tensor point(int64_t step) const { return at(static_cast<double>(step) + (p_.rule == "left" ? 0.0 : 0.5)); }
  /// What the picture gains over the step.
  Tensor gain(int64_t step) const {
    const auto k = static_cast<double>(step);
    if (p_.rule == "midpoint") return at(k) - at(k + 1);
    constexpr double kDifference = 0.01;
    const double width = sigma(k + 1) - sigma(k);
    return (at(k) - blurred(sigma(k) + kDifference)) * (width / kDifference);
  }

 private:
  double sigma(double position) const {
    const double share = position / static_cast<double>(p_.steps);
    return widest_ * (p_.spacing == "sqrt" ? std::sqrt(share) : share);
  }
  Tensor blurred(double sigma) const { return from_planes(context_, gaussian_blur(planes_, sigma, border_)); }

  const Context& context_;
  const BlurIgParams& p_;
  Tensor planes_;
  Border border_;
  double widest_;
};

Tensor blur_integral(const Context& context, int64_t image, const BlurPath& path, int64_t steps) {
  const ValueId input = input_value(context);
  const int64_t rows = gradient_rows(context, {input});
  Tensor sum = at::zeros(context.input.sizes().slice(1), at::kDouble);
  for (int64_t begin = 0; begin < steps; begin += rows) {
    const int64_t count = std::min(rows, steps - begin);
    TensorList points;
    for (int64_t k = 0; k < count; ++k) points.push_back(path.point(begin + k).to(context.input.options()));
    const Tensor g =
        gradients(context, {at::cat(points), std::vector<int64_t>(static_cast<size_t>(count), image), {input}, {}})
            .gradients.at(input)
            .to(at::kCPU)
            .to(at::kDouble);
    for (int64_t k = 0; k < count; ++k) sum.add_(g[k] * path.gain(begin + k)[0].to(at::kCPU));
    if (context.progress) {
      context.progress->report(static_cast<double>(image * steps + begin + count),
                               static_cast<double>(num_images(context) * steps), "degrees of blur");
    }
  }
  return sum;
}

Attribution blur_ig(const Context& context, const BlurIgParams& p) {
  TensorList values, starts;
  for (int64_t i = 0; i < num_images(context); ++i) {
    const BlurPath path(context, i, p);
    values.push_back(blur_integral(context, i, path, p.steps));
    starts.push_back(path.at(static_cast<double>(p.steps)).to(context.input.options()));
  }
  const Tensor difference = scores_at(context, context.input) - scores_at(context, at::cat(starts));
  Attribution a = input_attribution(context, at::stack(values).to(context.network.dtype()), Reduction::kSum);
  a.diagnostics.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double change = difference[static_cast<int64_t>(i)].item<double>();
    write_completeness({values[i].sum().item<double>() - change, change}, a.diagnostics[i]);
    a.diagnostics[i]["passes"] = static_cast<double>(p.steps);
  }
  return a;
}

}  // namespace

Method blur_ig_method() {
  return make_method<BlurIgParams>(
      "blur-ig", "Blur Integrated Gradients", "gradient",
      "Gradient integrated while the picture goes from blurred to sharp; no baseline color.", kXu2020,
      kNeedsTarget | kNeedsGradient, kComplete | kScalesWithLogit, blur_ig);
}

}  // namespace pellucid
