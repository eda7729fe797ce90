// LIME on superpixels: a sparse or ridge linear surrogate of the score around the picture.
//   Ribeiro, Singh, Guestrin. "Why Should I Trust You?: Explaining the Predictions of Any Classifier". KDD 2016, eq. 1:
//   min over w, b of sum pi(z) (f(z) - w.z - b)^2 + penalty(w)
// with z in {0,1}^M uniform, the first one all ones, and pi(z) = sqrt(exp(-d^2 / width^2)), d the cosine distance of z
// to all ones, as the authors' code has it. Superpixels are SLIC's by default, where that code uses quickshift.

#include <ATen/CPUGeneratorImpl.h>

#include "attribution/features.h"
#include "attribution/linear_regression.h"

namespace pellucid {

namespace {

constexpr Paper kRibeiro2016{"ribeiro2016", "Ribeiro, Singh, Guestrin",
                             "\"Why Should I Trust You?\": Explaining the Predictions of Any Classifier", "KDD", 2016};
const char* const kId = "lime";

struct LimeParams {
  int64_t samples = 1000;
  std::string segments = "slic", fill = "gray", score = "probability", surrogate = "ridge";
  double kernel_width = 0.25, ridge_penalty = 1, lasso_penalty = 0.01;
};

template <class V>
void describe(V& visit, LimeParams& p) {
  visit("samples", p.samples, integer_between(1, 1000000), "Perturbed pictures, the clean one included.");
  visit("segments", p.segments, TextLike{kSegmentsAccepts}, "Superpixels, where the user gives no regions.");
  visit("fill", p.fill, TextLike{kFeatureFillAccepts}, "What replaces a superpixel that is off.");
  visit("score", p.score, one_of({"probability", "logit"}), "The number that the surrogate predicts.");
  visit("surrogate", p.surrogate, one_of({"ridge", "lasso"}), "The regression that is fitted.");
  visit("kernel_width", p.kernel_width, between(1e-6, 1e6), "Width of the kernel on the cosine distance.");
  visit("ridge_penalty", p.ridge_penalty, between(0, 1e12),
        "Weight of the squared coefficients beside the weighted sum of squares.");
  visit("lasso_penalty", p.lasso_penalty, between(0, 1e12),
        "Weight of the absolute coefficients beside half the weighted mean of squares.");
}

/// [n,M], the first of all samples all ones.
Tensor draw(at::Generator& generator, int64_t begin, int64_t n, int64_t m) {
  Tensor z = at::rand({n, m}, generator, at::TensorOptions().dtype(at::kDouble)).lt(0.5).to(at::kDouble);
  if (begin == 0) z[0].fill_(1);
  return z;
}

FeatureScores surrogate(const Context& context, const LimeParams& p, const FeatureGame& game, int64_t image,
                        double clean) {
  // The moments of a block are one matrix product.
  constexpr int64_t kBlock = 512;
  const int64_t m = game.features().count;
  const Tensor injected = injected_rows(context, kId, "coalitions", m);
  const int64_t count = injected.defined() ? injected.size(0) : p.samples;
  at::Generator generator = at::detail::createCPUGenerator(context.seed);
  RegressionMoments moments(m);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const Tensor z = injected.defined() ? injected.narrow(0, begin, n) : draw(generator, begin, n, m);
    const Tensor distance = 1 - (z.sum(1) / static_cast<double>(m)).sqrt();
    const Tensor weight = at::exp(-distance.square() / (2 * p.kernel_width * p.kernel_width));
    // Relative to the clean score: a score that never changes then has coefficients of exactly zero.
    const Tensor change = game.values(z, image * count + begin, num_images(context) * count) - clean;
    moments.add(z, change, weight);
  }
  const Tensor gram = moments.centered_gram(), c = moments.centered_correlation();
  FeatureScores found;
  if (p.surrogate == "ridge") {
    bool singular = false;
    found.values =
        solve_normal_equations(gram + p.ridge_penalty * at::eye(m, at::TensorOptions(at::kDouble)), c, &singular);
    if (singular)
      found.notes.push_back(
          "lime: too few samples for these superpixels without a penalty; the solution of least norm is shown");
  } else {
    found.values = solve_lasso(gram, c, p.lasso_penalty * moments.total_weight());
  }
  const Tensor& w = found.values;
  const double intercept = clean + moments.target_mean() - w.dot(moments.row_mean()).item<double>();
  found.diagnostics = {{"passes", static_cast<double>(count)},
                       {"intercept", intercept},
                       {"surrogate_prediction", intercept + w.sum().item<double>()},
                       {"nonzero", w.count_nonzero().item<double>()}};
  // Of the weighted sum of squares; a score that never changes leaves nothing to explain.
  const double square = moments.centered_square();
  const double left = square - 2 * w.dot(c).item<double>() + w.dot(at::mv(gram, w)).item<double>();
  if (square > 0) found.diagnostics["r2"] = 1 - left / square;
  return found;
}

Attribution lime(const Context& context, const LimeParams& p) {
  const Measure measure = measure_from(p.score);
  const Tensor clean = clean_measure(context, measure);
  return explain_features(context, kId, p.segments, p.fill, measure, [&](const FeatureGame& game, int64_t image) {
    return surrogate(context, p, game, image, clean[image].item<double>());
  });
}

}  // namespace

Method lime_method() {
  return make_method<LimeParams>(kId, "LIME", "perturbation",
                                 "Coefficients of a local linear surrogate on superpixels, with its R2.", kRibeiro2016,
                                 kNeedsTarget | kNeedsBaseline, kStochastic, lime);
}

}  // namespace pellucid
