// Shapley values of the game v(S) = f(picture with only the features S kept), by sampling orders of the features:
//   phi_i = mean over permutations of v(predecessors of i and i) - v(predecessors of i)
//   Castro, Gomez, Tejada. "Polynomial calculation of the Shapley value based on sampling". Computers & Operations
//   Research 2009. Each order with its reverse: Mitchell, Cooper, Frank, Holmes, JMLR 2022.
// The values of one order sum to v(all) - v(none) exactly.

#include <ATen/CPUGeneratorImpl.h>

#include "attribution/features.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr Paper kCastro2009{"castro2009", "Castro, Gomez, Tejada",
                            "Polynomial calculation of the Shapley value based on sampling",
                            "Computers & Operations Research", 2009};
const char* const kId = "shapley-sampling";

struct ShapleySamplingParams {
  int64_t samples = 50;
  bool antithetic = true;
  std::string segments = "slic", fill = "gray", score = "logit";
};

template <class V>
void describe(V& visit, ShapleySamplingParams& p) {
  visit("samples", p.samples, integer_between(1, 1000000),
        "Orders of the features; each costs as many passes as there are features.");
  visit("antithetic", p.antithetic, Flag{},
        "Every second order is the reverse of the one before; lowers the variance.");
  visit("segments", p.segments, TextLike{kSegmentsAccepts}, "Features, where the user gives no regions.");
  visit("fill", p.fill, TextLike{kFeatureFillAccepts}, "What replaces a feature that is absent.");
  visit("score", p.score, one_of({"logit", "probability"}), "The number that is shared out.");
}

/// Marginal contributions along one order [M] of the features: float64 [M].
Tensor marginals(const FeatureGame& game, const Tensor& order, double none, double all, int64_t done, int64_t total) {
  const int64_t m = order.size(0);
  const Tensor rank = at::empty({m}, at::kLong).index_put_({order}, at::arange(m, at::kLong));
  const auto prefixes = [&](int64_t begin, int64_t n) {
    return rank.unsqueeze(0).lt(at::arange(begin + 1, begin + 1 + n, at::kLong).unsqueeze(1));
  };
  const Tensor steps = at::empty({m + 1}, at::kDouble);
  steps[0] = none;
  steps[m] = all;
  if (m > 1) steps.narrow(0, 1, m - 1).copy_(game.values(m - 1, prefixes, done, total));
  return at::empty({m}, at::kDouble).index_put_({order}, steps.diff());
}

FeatureScores sampled(const Context& context, const ShapleySamplingParams& p, const FeatureGame& game, int64_t image) {
  const int64_t m = game.features().count;
  const Tensor injected = injected_rows(context, kId, "permutations", m);
  const int64_t count = injected.defined() ? injected.size(0) : p.samples;
  const bool paired = p.antithetic && !injected.defined();
  const int64_t per_image = count * (m - 1) + 2, start = image * per_image, total = num_images(context) * per_image;
  const Tensor ends = game.values(at::stack({at::zeros({m}, at::kDouble), at::ones({m}, at::kDouble)}), start, total);
  const double none = ends[0].item<double>(), all = ends[1].item<double>();
  at::Generator generator = at::detail::createCPUGenerator(context.seed);
  // The independent units are orders, or pairs of an order and its reverse. Welford's update.
  int64_t k = 0;
  const auto next = [&](const Tensor& order) {
    return marginals(game, order, none, all, start + 2 + k++ * (m - 1), total);
  };
  Tensor mean = at::zeros({m}, at::kDouble), squares = at::zeros({m}, at::kDouble);
  int64_t units = 0;
  for (; k < count; ++units) {
    const Tensor order = injected.defined() ? injected[k].to(at::kLong)
                                            : at::randperm(m, generator, at::TensorOptions().dtype(at::kLong));
    if (injected.defined() && !std::get<0>(order.sort()).equal(at::arange(m, at::kLong))) {
      throw_usage(std::string(kId) + ": injected permutations: row " + std::to_string(k) + " is no permutation of 0.." +
                  std::to_string(m - 1));
    }
    Tensor unit = next(order);
    if (paired && k < count) unit = (unit + next(order.flip(0))) / 2;
    const Tensor delta = unit - mean;
    mean = mean + delta / static_cast<double>(units + 1);
    squares = squares + delta * (unit - mean);
  }
  FeatureScores found;
  found.values = mean;
  found.change = all - none;
  if (units > 1) found.standard_errors = (squares / static_cast<double>((units - 1) * units)).sqrt();
  found.diagnostics = {{"passes", static_cast<double>(count * (m - 1) + 2)},
                       {"score_kept", all},
                       {"score_removed", none},
                       {"permutations", static_cast<double>(count)}};
  return found;
}

Attribution shapley_sampling(const Context& context, const ShapleySamplingParams& p) {
  return explain_features(context, kId, p.segments, p.fill, measure_from(p.score),
                          [&](const FeatureGame& game, int64_t image) { return sampled(context, p, game, image); });
}

}  // namespace

Method shapley_sampling_method() {
  return make_method<ShapleySamplingParams>(
      kId, "Shapley value sampling", "perturbation",
      "Shapley values of superpixels or regions from random orders, with standard errors.", kCastro2009,
      kNeedsTarget | kNeedsBaseline, kStochastic | kScalesWithLogit, shapley_sampling);
}

}  // namespace pellucid
