// Global sensitivity analysis of the score under masks on a grid of cells.
//   Sobol: Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre. "Look at the Variance! Efficient Black-box Explanations with
//   Sobol-based Sensitivity Analysis". NeurIPS 2021. Total-order index by Jansen's estimator (Computer Physics
//   Communications 1999): ST_i = sum_j (f(A_j) - f(C^i_j))^2 / (2 N Var f), C^i being A with column i from B.
//   HSIC: Novello, Fel, Vigouroux. "Making Sense of Dependence: Efficient Black-box Explanations Using Dependence
//   Measure". NeurIPS 2022. HSIC_i = tr(K_i H L H) / N, K_i = 1/2 - (m - m')^2 on the cell, L Gaussian on the score.

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "attribution/features.h"

namespace pellucid {

namespace {

constexpr Paper kFel2021{"fel2021", "Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre",
                         "Look at the Variance! Efficient Black-box Explanations with Sobol-based Sensitivity Analysis",
                         "NeurIPS", 2021};
constexpr Paper kNovello2022{"novello2022", "Novello, Fel, Vigouroux",
                             "Making Sense of Dependence: Efficient Black-box Explanations Using Dependence Measure",
                             "NeurIPS", 2022};

struct SobolParams {
  int64_t samples = 32, grid = 8;
  std::string fill = "zero", score = "probability";
};

template <class V>
void describe(V& visit, SobolParams& p) {
  visit("samples", p.samples, integer_between(1, 65536),
        "Points of the design, N; costs N (cells + 2) passes. Powers of two fill the space best.");
  visit("grid", p.grid, integer_between(1, 64), "Cells along each side.");
  visit("fill", p.fill, TextLike{kFillAccepts}, "What is blended in where a mask is below 1.");
  visit("score", p.score, one_of({"probability", "logit"}), "The number whose variance is explained.");
}

struct HsicParams {
  int64_t samples = 500, grid = 8;
  std::string width = "pairwise-median", fill = "zero", score = "probability";
};

template <class V>
void describe(V& visit, HsicParams& p) {
  visit("samples", p.samples, integer_between(1, 4000), "Random masks.");
  visit("grid", p.grid, integer_between(1, 64), "Cells along each side.");
  visit("width", p.width, one_of({"pairwise-median", "median"}),
        "Of the Gaussian kernel on scores: the median distance of two scores, or, as released, the median score.");
  visit("fill", p.fill, TextLike{kFillAccepts}, "What is seen where a mask is 0.");
  visit("score", p.score, one_of({"probability", "logit"}), "The number whose dependence is measured.");
}

CellGrid grid_over(const Context& context, int64_t cells) {
  const auto [height, width] = input_size(context);
  return {height, width, cells};
}

/// Scrambled Sobol' points [count,dimensions] in [0,1): LibTorch's direction numbers (Joe, Kuo, SIAM J. Sci. Comput.
/// 2008), Matousek's linear matrix scrambling and a digital shift.
Tensor sobol_points(int64_t count, int64_t dimensions, uint64_t seed) {
  constexpr int64_t kBits = 30;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto options = at::TensorOptions().dtype(at::kLong);
  Tensor state = at::zeros({dimensions, kBits}, options);
  at::_sobol_engine_initialize_state_(state, dimensions);
  const Tensor powers = at::pow(2, at::arange(kBits, options));
  Tensor shift = (at::randint(2, {dimensions, kBits}, generator, options) * powers).sum(1);
  const Tensor scrambling = at::randint(2, {dimensions, kBits, kBits}, generator, options).tril();
  at::_sobol_engine_scramble_(state, scrambling, dimensions);
  const Tensor first = (shift.to(at::kDouble) / std::ldexp(1.0, kBits)).unsqueeze(0);
  if (count == 1) return first;
  return at::cat({first, std::get<0>(at::_sobol_engine_draw(shift, count - 1, state, dimensions, 0, at::kDouble))});
}

/// Binary Latin hypercube [count,dimensions]: each column has its two values equally often.
Tensor binary_hypercube(int64_t count, int64_t dimensions, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  TensorList columns;
  for (int64_t i = 0; i < dimensions; ++i) {
    columns.push_back(at::randperm(count, generator, at::TensorOptions().dtype(at::kLong)).mul(2).ge(count));
  }
  return at::stack(columns, 1).to(at::kDouble);
}

/// Runs `indices` (float64 [cells] for one image) on every image; the map is bilinear.
template <class F>
Attribution on_grid(const Context& context, const CellGrid& grid, double passes, const F& indices) {
  TensorList values;
  for (int64_t i = 0; i < num_images(context); ++i) values.push_back(indices(i).view({grid.rows, grid.columns}));
  Attribution a;
  a.values = at::relu(at::stack(values)).to(context.network.dtype());
  a.map = upsample_map(a.values, grid.height, grid.width);
  a.is_signed = false;
  a.reduction = "none";
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  for (auto& d : a.diagnostics) d = {{"passes", passes}, {"cells", static_cast<double>(grid.cells())}};
  return a;
}

Tensor measure_designs(const Context& context, const CellGrid& grid, int64_t image, int64_t count, Measure measure,
                       const Tensor& fill, const std::function<Tensor(int64_t, int64_t)>& rows) {
  Variants variants;
  variants.image = image;
  variants.count = count;
  variants.measure = measure;
  variants.what = "masks";
  variants.done = image * count;
  variants.total = num_images(context) * count;
  variants.make = [&](int64_t begin, int64_t n) { return blend(context, image, grid.spread(rows(begin, n)), fill); };
  return measure_variants(context, variants);
}

Attribution sobol(const Context& context, const SobolParams& p) {
  const CellGrid grid = grid_over(context, p.grid);
  const int64_t d = grid.cells();
  const Tensor injected = injected_rows(context, "sobol", "design", 2 * d);
  const Tensor design = injected.defined() ? injected : sobol_points(p.samples, 2 * d, context.seed);
  const int64_t n = design.size(0), count = n * (d + 2);
  const Tensor a = design.narrow(1, 0, d), b = design.narrow(1, d, d);
  // Row v: point v % n of A, of B, then of A with column 0, 1, ... from B.
  const auto rows = [&](int64_t begin, int64_t length) {
    const Tensor index = at::arange(begin, begin + length, at::kLong);
    const Tensor point = index.remainder(n), block = index.div(n, "floor").unsqueeze(1);
    const Tensor from_b = block.eq(1).logical_or(block.sub(2).eq(at::arange(d, at::kLong).unsqueeze(0)));
    return at::where(from_b, b.index_select(0, point), a.index_select(0, point));
  };
  return on_grid(context, grid, static_cast<double>(count), [&](int64_t image) {
    const Tensor f = measure_designs(context, grid, image, count, measure_from(p.score),
                                     fill_for(context, "sobol", p.fill, image), rows);
    // A and B together: the variance of N = 32 points alone is off by a seventh.
    const Tensor variance = f.narrow(0, 0, 2 * n).var(/*unbiased=*/false);
    const Tensor change = (f.narrow(0, 0, n).unsqueeze(0) - f.narrow(0, 2 * n, d * n).view({d, n})).square().mean(1);
    return variance.item<double>() == 0 ? change * 0 : change / (2 * variance);
  });
}

/// (2 / N) m^T H L H m for each column m: with m in {0,1} K is 2 m m' and terms that centring removes.
Tensor hsic_of_columns(const Tensor& masks, const Tensor& scores, double width) {
  constexpr int64_t kBlock = 256;
  const int64_t n = masks.size(0);
  const Tensor centered = masks - masks.mean(0, /*keepdim=*/true);
  Tensor sum = at::zeros({masks.size(1)}, at::kDouble);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t rows = std::min(kBlock, n - begin);
    const Tensor distance = (scores.narrow(0, begin, rows).unsqueeze(1) - scores.unsqueeze(0)) / width;
    sum += (centered.narrow(0, begin, rows) * at::matmul(at::exp(-distance.square() / 2), centered)).sum(0);
  }
  return sum * 2 / static_cast<double>(n);
}

double kernel_width(const Tensor& scores, const std::string& rule) {
  const double range = (scores.max() - scores.min()).item<double>();
  const double median = rule == "median"     ? std::abs(at::quantile(scores, 0.5).item<double>())
                        : scores.size(0) > 1 ? at::median(at::pdist(scores.unsqueeze(1))).item<double>()
                                             : 0;
  // Where the score is mostly constant (or zero), the median distance (or score) is 0.
  return std::max(median, 1e-6 * range);
}

Attribution hsic(const Context& context, const HsicParams& p) {
  const CellGrid grid = grid_over(context, p.grid);
  const Tensor injected = injected_rows(context, "hsic", "design", grid.cells());
  const Tensor masks = injected.defined() ? injected : binary_hypercube(p.samples, grid.cells(), context.seed);
  const int64_t count = masks.size(0);
  const auto rows = [&](int64_t begin, int64_t length) { return masks.narrow(0, begin, length); };
  return on_grid(context, grid, static_cast<double>(count), [&](int64_t image) {
    const Tensor f = measure_designs(context, grid, image, count, measure_from(p.score),
                                     fill_for(context, "hsic", p.fill, image), rows);
    if ((f.max() - f.min()).item<double>() == 0) return at::zeros({grid.cells()}, at::kDouble);
    return hsic_of_columns(masks, f, kernel_width(f, p.width));
  });
}

}  // namespace

Method sobol_method() {
  return make_method<SobolParams>("sobol", "Sobol attribution", "perturbation",
                                  "Share of the score's variance that involves a cell, interactions included.",
                                  kFel2021, kNeedsTarget | kNeedsBaseline, kNonNegative | kStochastic, sobol);
}

Method hsic_method() {
  return make_method<HsicParams>("hsic", "HSIC attribution", "perturbation",
                                 "Kernel dependence between a cell's visibility and the score.", kNovello2022,
                                 kNeedsTarget | kNeedsBaseline, kNonNegative | kStochastic, hsic);
}

}  // namespace pellucid
