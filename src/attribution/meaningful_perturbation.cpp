// Meaningful perturbation: the smallest smooth mask whose blurring destroys the class, found by gradient descent.
//   Fong, Vedaldi. "Interpretable Explanations of Black Boxes by Meaningful Perturbation". ICCV 2017, eq. 5:
//   min over m in [0,1] of l1 sum |1 - m| + tv sum |grad m|^beta + E over shifts t of f(Phi(x(. - t); m))
// with Phi(x; m) = m x + (1 - m) blur(x); m = 1 keeps. Both sums run over the cells of the low-resolution mask, as in
// the authors' code, whose constants are the defaults. The explanation is 1 - m.

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/perturbation.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kFong2017{"fong2017", "Fong, Vedaldi",
                          "Interpretable Explanations of Black Boxes by Meaningful Perturbation", "ICCV", 2017};
const char* const kId = "meaningful-perturbation";

struct MeaningfulParams {
  int64_t iterations = 300, mask_size = 28;
  double learning_rate = 0.1, l1 = 1e-4, tv = 1e-2, beta = 3, mask_sigma = 5, blur_sigma = 10, jitter = 4;
  std::string score = "probability";
};

template <class V>
void describe(V& visit, MeaningfulParams& p) {
  visit("iterations", p.iterations, integer_between(1, 100000), "Steps of Adam.");
  visit("learning_rate", p.learning_rate, between(0, 10), "Of Adam.");
  visit("l1", p.l1, between(0, 1e6), "Weight of the sum of 1 - m over the cells of the mask.");
  visit("tv", p.tv, between(0, 1e6), "Weight of the total variation, a sum over the cells of the mask.");
  visit("beta", p.beta, between(1, 10), "Exponent of the total variation.");
  visit("mask_size", p.mask_size, integer_between(1, 4096), "Cells of the mask along the shorter side.");
  visit("mask_sigma", p.mask_sigma, between(0, 1000),
        "Blur of the mask at the picture's size; in pixels of a picture 224 wide, as are the next two.");
  visit("blur_sigma", p.blur_sigma, between(0.01, 1000), "Blur of the picture where the mask is 0.");
  visit("jitter", p.jitter, between(0, 1000), "Largest random shift of the picture under the mask.");
  visit("score", p.score, one_of({"probability", "logit"}), "The number that is lowered.");
}

/// Everything about a batch that stays the same while its masks change. Planes are [N,C,H,W].
struct Problem {
  Problem(const Context& c, const MeaningfulParams& params)
      : context(c), p(params), measure(measure_from(params.score)), x(to_planes(c, c.input)) {
    std::tie(height, width) = input_size(c);
    const double shorter = static_cast<double>(std::min(height, width));
    scale = shorter / 224;
    const auto cells = [&](int64_t side) {
      const double wanted = static_cast<double>(p.mask_size) * static_cast<double>(side) / shorter;
      return std::clamp<int64_t>(std::llround(wanted), 1, side);
    };
    rows = cells(height);
    columns = cells(width);
    blurred = gaussian_blur(x, p.blur_sigma * scale);
  }

  /// Low-resolution masks [n,1,h,w] at the picture's size [n,1,H,W]; differentiable.
  Tensor full_size(const Tensor& low) const {
    const Tensor up = at::upsample_bilinear2d(low, {height, width}, /*align_corners=*/false);
    const double sigma = p.mask_sigma * scale;
    return sigma > 0 ? gaussian_blur(up, sigma) : up;
  }

  const Context& context;
  const MeaningfulParams& p;
  Measure measure;
  Tensor x, blurred;
  int64_t height = 0, width = 0, rows = 0, columns = 0;
  double scale = 1;
};

/// Planes moved by whole pixels, edges repeated.
Tensor shifted(const Tensor& planes, int64_t dy, int64_t dx) {
  const auto index = [&](int64_t size, int64_t by) {
    return (at::arange(size, at::TensorOptions(planes.device()).dtype(at::kLong)) - by).clamp(0, size - 1);
  };
  if (dy == 0 && dx == 0) return planes;
  return planes.index_select(2, index(planes.size(2), dy)).index_select(3, index(planes.size(3), dx));
}

/// Shifts (dy, dx) of every iteration, the same for all images: injected["jitter"] [iterations,2] or drawn.
Tensor jitter_of(const Problem& problem) {
  const int64_t count = problem.p.iterations;
  const auto found = problem.context.injected.find("jitter");
  if (found != problem.context.injected.end()) {
    if (found->second.dim() != 2 || found->second.size(0) < count || found->second.size(1) != 2) {
      throw_usage(std::string(kId) + ": injected jitter has shape " + shape_text(found->second.sizes()) + "; [" +
                  std::to_string(count) + ",2] was expected");
    }
    return found->second.to(at::kCPU).to(at::kLong).contiguous();
  }
  // At least a pixel, where any jitter is wanted.
  const int64_t most = problem.p.jitter > 0 ? std::max<int64_t>(1, std::llround(problem.p.jitter * problem.scale)) : 0;
  at::Generator generator = at::detail::createCPUGenerator(problem.context.seed);
  return at::randint(-most, most + 1, {count, 2}, generator, at::TensorOptions().dtype(at::kLong));
}

struct Start {
  Tensor mask;  ///< [1,1,h,w]
  double clean = 0, removed = 0;
};

/// The smallest centred disc that, blurred, takes 99 % of what blurring the whole picture takes from the score.
Start smallest_disc(const Problem& problem, int64_t image) {
  constexpr int64_t kRadii = 24;
  constexpr double kThreshold = 1e-2;
  const auto centers = [](int64_t cells) {
    return (at::arange(cells, at::kDouble) + 0.5) / static_cast<double>(cells) * 2 - 1;
  };
  const Tensor radius =
      (centers(problem.rows).square().unsqueeze(1) + centers(problem.columns).square().unsqueeze(0)).sqrt();
  // 0, 1/24, ... of the half diagonal; the last covers every cell.
  const Tensor radii = at::arange(kRadii + 1, at::kDouble) / static_cast<double>(kRadii) * std::sqrt(2.0);
  const Tensor masks =
      radius.unsqueeze(0).ge(radii.view({-1, 1, 1})).to(problem.x.options()).unsqueeze(1);  // [25,1,h,w]
  Variants discs;
  discs.image = image;
  discs.count = kRadii + 1;
  discs.measure = problem.measure;
  discs.what = "discs";
  discs.make = [&](int64_t begin, int64_t n) {
    return blend(problem.context, image, problem.full_size(masks.narrow(0, begin, n)).squeeze(1),
                 from_planes(problem.context, problem.blurred.narrow(0, image, 1)));
  };
  const Tensor f = measure_variants(problem.context, discs);
  Start start{masks.narrow(0, kRadii, 1), f[0].item<double>(), f[kRadii].item<double>()};
  for (int64_t k = kRadii - 1; k >= 0; --k) {
    if (f[k].item<double>() > start.removed + kThreshold * (start.clean - start.removed)) break;
    start.mask = masks.narrow(0, k, 1);
  }
  return start;
}

/// Sum over cells of the norm of the forward differences to the power beta.
Tensor total_variation(const Tensor& m, double beta) {
  const Tensor dy = at::constant_pad_nd(m.diff(1, 2), {0, 0, 0, 1}), dx = at::constant_pad_nd(m.diff(1, 3), {0, 1});
  // Under the root, so that the gradient of a flat mask is 0 and not 0/0.
  constexpr double kEpsilon = 1e-12;
  return (dy.square() + dx.square() + kEpsilon).pow(beta / 2).sum();
}

/// Gradient of the objective with respect to the masks [N,1,h,w].
Tensor objective_gradient(const Problem& problem, const Tensor& masks, int64_t dy, int64_t dx) {
  const Context& context = problem.context;
  at::AutoGradMode enabled(true);
  const Tensor leaf = masks.detach().requires_grad_(true);
  const Tensor x = shifted(problem.x, dy, dx), blurred = shifted(problem.blurred, dy, dx);
  const Tensor phi = blurred + (x - blurred) * problem.full_size(leaf);
  Tensor g;
  {
    at::NoGradGuard no_grad;
    GradientRequest request{
        from_planes(context, phi.detach()).contiguous(), all_rows(context), {input_value(context)}, {}};
    request.score = [&](const BoundTarget& target, const Tensor& value) {
      return measured(target, problem.measure, value);
    };
    g = to_planes(context, gradients(context, request).gradients.at(input_value(context)));
  }
  // Without the bars of |1 - m|: m <= 1, and their derivative would be 0 where nothing is deleted yet.
  const Tensor objective =
      problem.p.l1 * (1 - leaf).sum() + problem.p.tv * total_variation(leaf, problem.p.beta) + (phi * g).sum();
  return torch::autograd::grad({objective}, {leaf})[0];
}

/// Kingma, Ba. "Adam". ICLR 2015.
class Adam {
 public:
  explicit Adam(double rate) : rate_(rate) {}
  Tensor step(const Tensor& x, const Tensor& g) {
    constexpr double kFirst = 0.9, kSecond = 0.999, kEpsilon = 1e-8;
    ++count_;
    mean_ = mean_.defined() ? mean_ * kFirst + g * (1 - kFirst) : g * (1 - kFirst);
    square_ = square_.defined() ? square_ * kSecond + g.square() * (1 - kSecond) : g.square() * (1 - kSecond);
    const double first = 1 - std::pow(kFirst, count_), second = 1 - std::pow(kSecond, count_);
    return x - rate_ * (mean_ / first) / ((square_ / second).sqrt() + kEpsilon);
  }

 private:
  double rate_;
  int count_ = 0;
  Tensor mean_, square_;
};

Attribution meaningful_perturbation(const Context& context, const MeaningfulParams& p) {
  const Problem problem(context, p);
  std::vector<Start> starts;
  TensorList masks;
  for (int64_t i = 0; i < num_images(context); ++i) {
    starts.push_back(smallest_disc(problem, i));
    masks.push_back(starts.back().mask);
  }
  Tensor mask = at::cat(masks);
  const Tensor jitter = jitter_of(problem);
  Adam adam(p.learning_rate);
  for (int64_t k = 0; k < p.iterations; ++k) {
    const Tensor g = objective_gradient(problem, mask, jitter[k][0].item<int64_t>(), jitter[k][1].item<int64_t>());
    mask = adam.step(mask, g).clamp(0, 1);
    if (context.progress) {
      context.progress->report(static_cast<double>(k + 1), static_cast<double>(p.iterations), "mask steps");
    }
  }
  const Tensor full = problem.full_size(mask).squeeze(1);
  Attribution a;
  a.values = (1 - mask.squeeze(1)).contiguous();
  a.map = (1 - full).clamp(0, 1);
  a.is_signed = false;
  a.reduction = "none";
  a.diagnostics.resize(starts.size());
  a.notes.resize(starts.size());
  for (int64_t i = 0; i < num_images(context); ++i) {
    const Start& start = starts[static_cast<size_t>(i)];
    Variants last;
    last.image = i;
    last.count = 1;
    last.measure = problem.measure;
    last.make = [&](int64_t, int64_t) {
      return blend(context, i, full.narrow(0, i, 1), from_planes(context, problem.blurred.narrow(0, i, 1)));
    };
    a.diagnostics[static_cast<size_t>(i)] = {{"score_clean", start.clean},
                                             {"score_blurred", start.removed},
                                             {"score_masked", measure_variants(context, last).item<double>()},
                                             {"area", a.map[i].to(at::kDouble).mean().item<double>()},
                                             {"passes", static_cast<double>(2 * p.iterations + 26)}};
    if (start.clean == start.removed) {
      a.notes[static_cast<size_t>(i)].push_back(
          "meaningful-perturbation: blurring the whole picture does not change the score, so there is nothing to find");
      a.values[i].zero_();
      a.map[i].zero_();
    }
  }
  return a;
}

}  // namespace

Method meaningful_perturbation_method() {
  return make_method<MeaningfulParams>(
      kId, "Meaningful perturbation", "perturbation",
      "The smallest smooth region whose blurring destroys the class, found by gradient descent.", kFong2017,
      kNeedsTarget | kNeedsGradient, kNonNegative | kStochastic, meaningful_perturbation);
}

}  // namespace pellucid
