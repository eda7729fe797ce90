// Feature ablation: what the score loses when one feature alone is removed, A_i = f(x) - f(x without i).
// As in Captum (Kokhlikyan, Miglani, Martin, et al. "Captum: A unified and generic model interpretability library for
// PyTorch". arXiv 2020); the simplest of the game-theoretic values. Features do not overlap.

#include "attribution/features.h"

namespace pellucid {

namespace {

constexpr Paper kKokhlikyan2020{"kokhlikyan2020", "Kokhlikyan, Miglani, Martin, et al.",
                                "Captum: A unified and generic model interpretability library for PyTorch", "arXiv",
                                2020};
const char* const kId = "feature-ablation";

struct FeatureAblationParams {
  std::string segments = "slic", fill = "gray", score = "logit";
};

template <class V>
void describe(V& visit, FeatureAblationParams& p) {
  visit("segments", p.segments, TextLike{kSegmentsAccepts}, "Features, where the user gives no regions.");
  visit("fill", p.fill, TextLike{kFeatureFillAccepts}, "What replaces a feature that is removed.");
  visit("score", p.score, one_of({"logit", "probability"}), "The number whose drop is measured.");
}

Attribution feature_ablation(const Context& context, const FeatureAblationParams& p) {
  const Measure measure = measure_from(p.score);
  const Tensor clean = clean_measure(context, measure);
  return explain_features(context, kId, p.segments, p.fill, measure, [&](const FeatureGame& game, int64_t image) {
    const int64_t m = game.features().count;
    // All but one feature each, and in the last row none.
    const auto rows = [m](int64_t begin, int64_t n) {
      const Tensor row = at::arange(begin, begin + n, at::kLong).unsqueeze(1);
      return row.ne(at::arange(m, at::kLong).unsqueeze(0)).logical_and(row.ne(m)).to(at::kDouble);
    };
    const Tensor v = game.values(m + 1, rows, image * (m + 1), num_images(context) * (m + 1));
    FeatureScores found;
    found.values = clean[image] - v.narrow(0, 0, m);
    found.change = (clean[image] - v[m]).item<double>();
    found.diagnostics["passes"] = static_cast<double>(m + 2);
    return found;
  });
}

}  // namespace

Method feature_ablation_method() {
  return make_method<FeatureAblationParams>(
      kId, "Feature ablation", "perturbation", "What the score loses when one superpixel or region is removed.",
      kKokhlikyan2020, kNeedsTarget | kNeedsBaseline, kScalesWithLogit, feature_ablation);
}

}  // namespace pellucid
