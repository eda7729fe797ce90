// RISE: the mean score given that a pixel is visible, over random smooth masks.
//   Petsiuk, Das, Saenko. "RISE: Randomized Input Sampling for Explanation of Black-box Models". BMVC 2018, eq. 6:
//   S(q) = sum_i f(x * M_i) M_i(q) / (N p)
// Masks are drawn as the authors' code does: a grid of Bernoulli(p) cells brought up bilinearly by one cell more than
// the picture needs, and a random crop of it. The default divides by sum_i M_i(q) instead of its expectation N p, which
// takes the coverage pattern out. Even for a linear score the map is p sum_j c_j + (1 - p) c_q: affine in the truth,
// its zero without meaning. `centered` gives cov(f, M(q)) / var(M(q)), which is c_q there.

#include <ATen/CPUGeneratorImpl.h>

#include "attribution/perturbation.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kPetsiuk2018{"petsiuk2018", "Petsiuk, Das, Saenko",
                             "RISE: Randomized Input Sampling for Explanation of Black-box Models", "BMVC", 2018};
const char* const kId = "rise";

struct RiseParams {
  int64_t samples = 4000, grid = 7;
  double probability = 0.5;
  bool centered = false;
  std::string divisor = "coverage", fill = "zero", score = "probability";
};

template <class V>
void describe(V& visit, RiseParams& p) {
  visit("samples", p.samples, integer_between(1, 10000000), "Random masks.");
  visit("grid", p.grid, integer_between(1, 1024), "Cells of a mask along each side.");
  visit("probability", p.probability, between(1e-6, 1), "Of a cell to be visible.");
  visit("centered", p.centered, Flag{}, "Covariance of score and visibility over the variance of visibility, signed.");
  visit("divisor", p.divisor, one_of({"coverage", "expected"}),
        "Divide by how often a pixel was visible, or by its expectation as published.");
  visit("fill", p.fill, TextLike{kFillAccepts}, "What is seen where a mask is 0.");
  visit("score", p.score, one_of({"probability", "logit"}), "The number that is averaged.");
}

class MaskStream {
 public:
  MaskStream(const Context& context, const RiseParams& p, int64_t height, int64_t width)
      : p_(p), height_(height), width_(width), generator_(at::detail::createCPUGenerator(context.seed)) {
    const auto found = context.injected.find("masks");
    if (found == context.injected.end()) return;
    injected_ = found->second.to(at::kCPU).to(at::kDouble);
    if (injected_.dim() != 3 || injected_.size(0) < 1 || injected_.size(1) != height || injected_.size(2) != width) {
      throw_usage(std::string(kId) + ": injected masks have shape " + shape_text(injected_.sizes()) + "; [n," +
                  std::to_string(height) + "," + std::to_string(width) + "] was expected");
    }
  }

  int64_t count() const { return injected_.defined() ? injected_.size(0) : p_.samples; }

  /// The next masks, [n,H,W].
  Tensor next(int64_t n) {
    if (injected_.defined()) {
      given_ += n;
      return injected_.narrow(0, given_ - n, n);
    }
    const int64_t s = p_.grid, ch = (height_ + s - 1) / s, cw = (width_ + s - 1) / s;
    TensorList masks;
    for (int64_t i = 0; i < n; ++i) {
      const auto options = at::TensorOptions().dtype(at::kDouble);
      const Tensor cells = at::rand({1, s, s}, generator_, options).lt(p_.probability).to(at::kDouble);
      const auto below = [&](int64_t high) { return at::randint(high, {}, generator_, options).item<int64_t>(); };
      const int64_t y = below(ch), x = below(cw);
      masks.push_back(upsample_map(cells, (s + 1) * ch, (s + 1) * cw)[0].narrow(0, y, height_).narrow(1, x, width_));
    }
    return at::stack(masks);
  }

 private:
  const RiseParams& p_;
  int64_t height_, width_;
  at::Generator generator_;
  Tensor injected_;
  int64_t given_ = 0;
};

/// Sums over masks M and scores f, per pixel; float64 [HW].
struct Sums {
  double n = 0, f = 0, ff = 0;
  Tensor m, fm, mm, fmm, ffmm;

  explicit Sums(int64_t pixels)
      : m(at::zeros({pixels}, at::kDouble)), fm(m.clone()), mm(m.clone()), fmm(m.clone()), ffmm(m.clone()) {}

  void add(const Tensor& masks, const Tensor& scores) {
    const Tensor flat = masks.flatten(1).t(), one = at::ones_like(scores);
    const Tensor first = at::matmul(flat, at::stack({one, scores}, 1));
    const Tensor second = at::matmul(flat.square(), at::stack({one, scores, scores.square()}, 1));
    n += static_cast<double>(scores.size(0));
    f += scores.sum().item<double>();
    ff += scores.square().sum().item<double>();
    m += first.select(1, 0);
    fm += first.select(1, 1);
    mm += second.select(1, 0);
    fmm += second.select(1, 1);
    ffmm += second.select(1, 2);
  }
};

struct Estimate {
  Tensor map, standard_error;
};

/// 0 where nothing was measured (0/0), NaN where a score was NaN.
Tensor ratio(const Tensor& a, const Tensor& b) { return at::where(b.eq(0), at::zeros_like(a), a / b); }

Estimate estimate(const Sums& s, const RiseParams& p) {
  Estimate e;
  if (p.centered) {
    // The slope of f on M(q), with the standard error of a simple regression.
    const double mean = s.f / s.n;
    const Tensor variance = s.mm / s.n - (s.m / s.n).square();
    const Tensor usable = at::where(variance > 1e-12, variance, at::zeros_like(variance));
    e.map = ratio(s.fm / s.n - mean * s.m / s.n, usable);
    const Tensor left = at::relu(s.ff / s.n - mean * mean - e.map.square() * usable);
    e.standard_error = ratio(left, usable * std::max(1.0, s.n - 2)).sqrt();
  } else if (p.divisor == "coverage") {
    e.map = ratio(s.fm, s.m);
    e.standard_error = ratio(at::relu(s.ffmm - 2 * e.map * s.fmm + e.map.square() * s.mm).sqrt(), s.m);
  } else {
    e.map = s.fm / (s.n * p.probability);
    const Tensor variance = at::relu(s.ffmm / s.n - (s.fm / s.n).square());
    e.standard_error = (variance / s.n).sqrt() / p.probability;
  }
  return e;
}

Attribution rise(const Context& context, const RiseParams& p) {
  const auto [height, width] = input_size(context);
  const int64_t images = num_images(context);
  const int64_t step = rows_within_budget(context, input_value(context));
  const Measure measure = measure_from(p.score);
  TensorList maps, errors;
  std::vector<std::map<std::string, double>> diagnostics;
  for (int64_t i = 0; i < images; ++i) {
    const Tensor fill = fill_for(context, kId, p.fill, i);
    MaskStream stream(context, p, height, width);  // the same masks for every image
    Sums sums(height * width);
    for (int64_t begin = 0; begin < stream.count(); begin += step) {
      const Tensor masks = stream.next(std::min(step, stream.count() - begin));
      Variants variants;
      variants.image = i;
      variants.count = masks.size(0);
      variants.measure = measure;
      variants.what = "random masks";
      variants.done = i * stream.count() + begin;
      variants.total = images * stream.count();
      variants.make = [&](int64_t from, int64_t n) { return blend(context, i, masks.narrow(0, from, n), fill); };
      sums.add(masks, measure_variants(context, variants));
    }
    const Estimate e = estimate(sums, p);
    maps.push_back(e.map.view({height, width}));
    errors.push_back(e.standard_error.view({height, width}));
    diagnostics.push_back({{"passes", sums.n},
                           {"mean_standard_error", e.standard_error.mean().item<double>()},
                           {"max_standard_error", e.standard_error.max().item<double>()}});
  }
  const at::ScalarType type = context.network.dtype();
  Attribution a = map_attribution(at::stack(maps).to(type), p.centered || !is_probability(context.target, measure));
  a.zero_is_neutral = p.centered;
  a.extra["standard-error"] = at::stack(errors).to(type);
  a.diagnostics = std::move(diagnostics);
  return a;
}

}  // namespace

Method rise_method() {
  return make_method<RiseParams>(kId, "RISE", "perturbation",
                                 "Mean score over random masks that leave a pixel visible.", kPetsiuk2018,
                                 kNeedsTarget | kNeedsBaseline, kStochastic, rise);
}

}  // namespace pellucid
