// Extremal perturbations: for each area, the smooth mask of that area that keeps the score highest.
//   Fong, Patrick, Vedaldi. "Understanding Deep Networks via Extremal Perturbations and Smooth Masks". ICCV 2019:
//   max over m of f(m * x) - lambda mean (sort(m) - r_a)^2, r_a zeros for a share of 1 - a and then ones
// where m * x takes each pixel from a pyramid of blurred pictures at the level that m says, and m is a smooth maximum
// of kernels placed on a coarse grid. Constants are those of TorchRay, the authors' code: the area counts a margin of
// one kernel around the picture, the loss is a mean over pixels, lambda grows at every step, and the picture is
// mirrored at every second one (not for targets that name a position).

#include <algorithm>
#include <cmath>
#include <optional>

#include "attribution/baseline.h"
#include "attribution/perturbation.h"
#include "attribution/smooth_masks.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kFong2019{"fong2019", "Fong, Patrick, Vedaldi",
                          "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", "ICCV", 2019};
const char* const kId = "extremal-perturbation";

struct ExtremalParams {
  std::string area = "0.1", variant = "preserve", score = "logit";
  int64_t iterations = 800;
  double learning_rate = 0.01, area_weight = 300, step = 7, sigma = 21, blur_sigma = 20, smooth = 0;
};

template <class V>
void describe(V& visit, ExtremalParams& p) {
  visit("area", p.area, TextLike{"a share between 0 and 1, or several joined by '+'"},
        "Share of the picture that the mask covers; the masks of several are averaged.");
  visit("variant", p.variant, one_of({"preserve", "delete", "dual"}),
        "What the mask does: keep the score high, lower it when removed, or both.");
  visit("iterations", p.iterations, integer_between(1, 100000), "Steps of gradient ascent.");
  visit("learning_rate", p.learning_rate, between(0, 100), "Of gradient ascent with momentum and dampening 0.9.");
  visit("area_weight", p.area_weight, between(0, 1e9), "Weight of the area constraint; grows by 1.0035 at every step.");
  visit("step", p.step, between(0.1, 1000),
        "Distance of the kernels; in pixels of a picture 224 wide, as are the next two.");
  visit("sigma", p.sigma, between(0.1, 1000), "Radius of the kernels, the smallest region there is.");
  visit("blur_sigma", p.blur_sigma, between(0.01, 1000), "Blur where the mask is 0.");
  visit("smooth", p.smooth, between(0, 1),
        "Sigma of a final blur as a share of the shorter side; 0.09 in the paper's "
        "pointing game.");
  visit("score", p.score, one_of({"logit", "probability"}), "The number that is kept high.");
}

/// A picture [1,C,H,W] at levels of blur, the last one sharp, and mixtures of neighbouring ones.
class BlurPyramid {
 public:
  BlurPyramid(const Tensor& picture, double sigma) {
    TensorList levels;
    for (int64_t k = 0; k + 1 < kLevels; ++k) {
      levels.push_back(gaussian_blur(picture, sigma * (1 - static_cast<double>(k) / (kLevels - 1))));
    }
    levels.push_back(picture);
    levels_ = at::cat(levels);
  }

  struct Mixed {
    Tensor picture;  ///< [n,C,H,W]
    Tensor slope;    ///< d picture / d mask
  };
  Mixed apply(const Tensor& masks) const {
    const Tensor level = masks.unsqueeze(1) * static_cast<double>(kLevels - 1);
    // From below at 1, where a mask would otherwise get no gradient.
    const Tensor low = level.floor().clamp(0, kLevels - 2);
    const auto at_level = [&](const Tensor& k) {
      Shape shape = levels_.sizes().vec();
      shape[0] = 1;
      // Clamped for the sake of NaN, which is reported at the end.
      const Tensor index =
          k.to(at::kLong).clamp(0, kLevels - 1).unsqueeze(1).expand({masks.size(0), 1, shape[1], shape[2], shape[3]});
      return levels_.unsqueeze(0)
          .expand({masks.size(0), kLevels, shape[1], shape[2], shape[3]})
          .gather(1, index)
          .squeeze(1);
    };
    const Tensor below = at_level(low), step = at_level(low + 1) - below;
    return {below + (level - low) * step, step * static_cast<double>(kLevels - 1)};
  }

 private:
  static constexpr int64_t kLevels = 8;
  Tensor levels_;
};

std::vector<double> parse_areas(const std::string& text) {
  std::vector<double> areas;
  for (const std::string& part : split(text, '+')) {
    double area = 0;
    if (!parse_double(trim(part), area) || !(area > 0 && area < 1)) {
      throw_usage(std::string(kId) + ": area is '" + printable(text) +
                  "'; it must be a share between 0 and 1, or several joined by '+' (default 0.1)");
    }
    areas.push_back(area);
  }
  return areas;
}

class Optimizer {
 public:
  Optimizer(const Context& context, const ExtremalParams& p, int64_t image)
      : context_(context),
        p_(p),
        image_(image),
        areas_(parse_areas(p.area)),
        measure_(measure_from(p.score)),
        picture_(to_planes(context, context.input.narrow(0, image, 1))),
        scale_(static_cast<double>(std::min(picture_.size(2), picture_.size(3))) / 224),
        masks_(picture_.size(2), picture_.size(3), std::max<int64_t>(1, std::llround(p.step * scale_)),
               p.sigma * scale_, picture_.options()),
        pyramid_(picture_, p.blur_sigma * scale_),
        mirrored_(mirrored_context(context)) {}

  struct Result {
    Tensor mask;  ///< [H,W], the mean over areas.
    std::map<std::string, double> diagnostics;
    std::vector<std::string> notes;
  };

  Result run() {
    const auto n = static_cast<int64_t>(areas_.size());
    Tensor p = at::ones({n, masks_.rows(), masks_.columns()}, picture_.options()), velocity;
    double weight = p_.area_weight;
    for (int64_t k = 0; k < p_.iterations; ++k) {
      const Tensor mask = masks_.with_margin(p);
      const Tensor towards = masks_.uncrop(reward_gradient(masks_.crop(mask), mirrored_ && k % 2 == 1), mask) -
                             weight * area_gradient(mask);
      const Tensor g = masks_.backward(p, mask, towards);
      // Momentum with dampening: the first step is taken in full.
      velocity = velocity.defined() ? kMomentum * velocity + (1 - kMomentum) * g : g;
      p = (p + p_.learning_rate * velocity).clamp(0, 1);
      weight *= kGrowth;
      if (context_.progress) {
        context_.progress->report(static_cast<double>(image_ * p_.iterations + k + 1),
                                  static_cast<double>(num_images(context_) * p_.iterations), "mask steps");
      }
    }
    return finish(masks_.with_margin(p));
  }

 private:
  /// With the target of the mirrored picture; nothing where the target names a position, which has no mirror image.
  static std::optional<Context> mirrored_context(const Context& context) {
    try {
      Context mirrored = context;
      mirrored.target = context.target.mirrored();
      return mirrored;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  static constexpr double kMomentum = 0.9, kGrowth = 1.0035;

  /// Of the mean squared distance between the sorted mask and r_a.
  Tensor area_gradient(const Tensor& mask) const {
    const Tensor flat = mask.flatten(1);
    const int64_t pixels = flat.size(1);
    const auto [sorted, order] = flat.sort(/*stable=*/true, 1, /*descending=*/false);
    Tensor off = sorted.clone();
    for (size_t i = 0; i < areas_.size(); ++i) {
      const auto zeros = static_cast<int64_t>(static_cast<double>(pixels) * (1 - areas_[i]));
      off[static_cast<int64_t>(i)].narrow(0, zeros, pixels - zeros).sub_(1);
    }
    return at::zeros_like(flat).scatter_(1, order, off * (2.0 / static_cast<double>(pixels))).view(mask.sizes());
  }

  /// Of the reward with respect to the cropped masks [n,H,W].
  Tensor reward_gradient(const Tensor& masks, bool mirrored) const {
    Tensor result = at::zeros_like(masks);
    if (p_.variant != "delete") result = result + score_gradient(masks, mirrored);
    // d(-f(1 - m))/dm = f'(1 - m)
    if (p_.variant != "preserve") result = result + score_gradient(1 - masks, mirrored);
    return result;
  }

  /// d f(masks * x) / d masks.
  Tensor score_gradient(const Tensor& masks, bool mirrored) const {
    const BlurPyramid::Mixed mixed = pyramid_.apply(masks);
    const Tensor planes = mirrored ? mixed.picture.flip({3}) : mixed.picture;
    GradientRequest request{from_planes(context_, planes).contiguous(),
                            std::vector<int64_t>(areas_.size(), image_),
                            {input_value(context_)},
                            {}};
    request.score = [&](const BoundTarget& target, const Tensor& value) { return measured(target, measure_, value); };
    const Tensor g =
        to_planes(context_, gradients(mirrored ? *mirrored_ : context_, request).gradients.at(input_value(context_)));
    return ((mirrored ? g.flip({3}) : g) * mixed.slope).sum(1);
  }

  /// The clean score, that of the most blurred picture, and those of the pictures seen through the masks.
  Tensor final_scores(const Tensor& masks) const {
    const Tensor ends = at::stack({at::ones_like(masks[0]), at::zeros_like(masks[0])});
    const Tensor all = at::cat({ends, masks});
    Variants seen;
    seen.image = image_;
    seen.count = all.size(0);
    seen.measure = measure_;
    seen.what = "masks";
    seen.make = [&](int64_t begin, int64_t n) {
      return from_planes(context_, pyramid_.apply(all.narrow(0, begin, n)).picture).contiguous();
    };
    return measure_variants(context_, seen);
  }

  Result finish(const Tensor& with_margin) const {
    const Tensor masks = masks_.crop(with_margin);
    const Tensor f = final_scores(masks);
    const int64_t per_step = p_.variant == "dual" ? 2 : 1;
    Result result;
    result.diagnostics = {
        {"score_clean", f[0].item<double>()},
        {"score_blurred", f[1].item<double>()},
        {"passes", static_cast<double>(2 * per_step * p_.iterations * static_cast<int64_t>(areas_.size()))}};
    for (size_t i = 0; i < areas_.size(); ++i) {
      const auto k = static_cast<int64_t>(i);
      const std::string suffix = areas_.size() == 1 ? "" : "_" + std::to_string(i + 1);
      result.diagnostics["score_seen" + suffix] = f[k + 2].item<double>();
      result.diagnostics["area" + suffix] = with_margin[k].to(at::kDouble).mean().item<double>();
      result.diagnostics["area_in_picture" + suffix] = masks[k].to(at::kDouble).mean().item<double>();
    }
    result.mask = masks.mean(0);
    if (p_.smooth > 0) {
      const auto shorter = static_cast<double>(std::min(masks.size(1), masks.size(2)));
      result.mask = gaussian_blur(result.mask.unsqueeze(0).unsqueeze(0), p_.smooth * shorter)[0][0];
    }
    if (f[0].item<double>() == f[1].item<double>()) {
      result.notes.push_back(
          "extremal-perturbation: blurring the whole picture does not change the score, so there is nothing to find");
      result.mask = at::zeros_like(result.mask);
    }
    return result;
  }

  const Context& context_;
  const ExtremalParams& p_;
  int64_t image_;
  std::vector<double> areas_;
  Measure measure_;
  Tensor picture_;  ///< Planes [1,C,H,W].
  double scale_;
  SmoothMasks masks_;
  BlurPyramid pyramid_;
  std::optional<Context> mirrored_;
};

Attribution extremal_perturbation(const Context& context, const ExtremalParams& p) {
  TensorList maps;
  std::vector<std::map<std::string, double>> diagnostics;
  std::vector<std::vector<std::string>> notes;
  for (int64_t i = 0; i < num_images(context); ++i) {
    Optimizer::Result found = Optimizer(context, p, i).run();
    maps.push_back(found.mask);
    diagnostics.push_back(std::move(found.diagnostics));
    notes.push_back(std::move(found.notes));
  }
  Attribution a = map_attribution(at::stack(maps), /*is_signed=*/false);
  a.diagnostics = std::move(diagnostics);
  a.notes = std::move(notes);
  return a;
}

}  // namespace

Method extremal_perturbation_method() {
  return make_method<ExtremalParams>(kId, "Extremal perturbation", "perturbation",
                                     "The smooth mask of a given area through which the score stays highest.",
                                     kFong2019, kNeedsTarget | kNeedsGradient, kNonNegative, extremal_perturbation);
}

}  // namespace pellucid
