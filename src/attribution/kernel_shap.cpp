// KernelSHAP: Shapley values of the superpixel game as the solution of one weighted regression.
//   Lundberg, Lee. "A Unified Approach to Interpreting Model Predictions". NeurIPS 2017, theorem 2:
//   min over phi of sum over S of pi(|S|) (v(S) - v(none) - sum of phi over S)^2, subject to sum phi = v(all) - v(none)
//   pi(k) = (M - 1) / (C(M,k) k (M - k))
// Sizes whose coalitions all fit into the budget are enumerated, small and large ones first; the rest is drawn with
// probability proportional to the kernel, each coalition with its complement. With all 2^M - 2 the values are exact.
// Constraints, not large weights, hold at the two ends; no coefficient is dropped.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attribution/features.h"
#include "attribution/linear_regression.h"

namespace pellucid {

namespace {

constexpr Paper kLundberg2017{"lundberg2017", "Lundberg, Lee", "A Unified Approach to Interpreting Model Predictions",
                              "NeurIPS", 2017};
const char* const kId = "kernel-shap";

struct KernelShapParams {
  int64_t samples = 0;
  std::string segments = "slic", fill = "gray", score = "logit";
};

template <class V>
void describe(V& visit, KernelShapParams& p) {
  visit("samples", p.samples, integer_between(0, 10000000),
        "Coalitions that are measured, beside none and all; from 2^M - 2 on the values are exact. 0: 2048 and two for "
        "each of the M features.");
  visit("segments", p.segments, TextLike{kSegmentsAccepts}, "Features, where the user gives no regions.");
  visit("fill", p.fill, TextLike{kFeatureFillAccepts}, "What replaces a feature that is absent.");
  visit("score", p.score, one_of({"logit", "probability"}), "The number that is shared out.");
}

/// Which coalitions are measured and what each weighs, a block at a time. Coalitions come in pairs with their
/// complements (of half the features: once).
class CoalitionDesign {
 public:
  CoalitionDesign(int64_t players, int64_t budget, uint64_t seed)
      : players_(players), generator_(at::detail::createCPUGenerator(seed)) {
    double mass = 0;
    for (int64_t k = 1; 2 * k <= players; ++k) {
      const double twice = 2 * k == players ? 1 : 2;
      sizes_.push_back(
          {twice * static_cast<double>(players - 1) / (static_cast<double>(k) * static_cast<double>(players - k)),
           twice * choose(players, k)});
      mass += sizes_.back().mass;
    }
    for (Size& s : sizes_) s.mass /= mass;
    left_mass_ = 1;
    while (enumerated_ < static_cast<int64_t>(sizes_.size())) {
      const Size& s = sizes_[static_cast<size_t>(enumerated_)];
      // Enumerated when as many draws as there are coalitions would be expected to fall on it.
      if (static_cast<double>(budget) * s.mass / left_mass_ < s.coalitions * (1 - 1e-8)) break;
      budget -= static_cast<int64_t>(s.coalitions);
      count_ += static_cast<int64_t>(s.coalitions);
      left_mass_ = std::max(0.0, left_mass_ - s.mass);
      ++enumerated_;
    }
    exact_ = enumerated_ == static_cast<int64_t>(sizes_.size());
    if (!exact_) {
      draws_ = std::max<int64_t>(2, budget / 2 * 2);
      count_ += draws_;
    }
  }

  int64_t count() const { return count_; }
  bool exact() const { return exact_; }

  /// At most `n` more: kept [k,M] and weights [k], float64.
  std::pair<Tensor, Tensor> next(int64_t n) {
    n = std::min(n, count_ - given_);
    Tensor kept = at::zeros({n, players_}, at::kDouble), weights = at::empty({n}, at::kDouble);
    auto* const row = kept.data_ptr<double>();
    for (int64_t i = 0; i < n; ++i, ++given_) {
      if (complement_is_next_) {
        complement_is_next_ = false;
      } else {
        advance();
        complement_is_next_ = 2 * size_ != players_ || size_ > enumerated_;
        is_complement_ = false;
      }
      for (int64_t j = 0; j < players_; ++j) row[i * players_ + j] = is_complement_ ? 1 : 0;
      for (const int64_t j : members_) row[i * players_ + j] = is_complement_ ? 0 : 1;
      is_complement_ = true;
      weights[i] = weight_;
    }
    return {kept, weights};
  }

 private:
  struct Size {
    double mass;        ///< Share of the kernel's sum, of this size and its complement.
    double coalitions;  ///< How many there are.
  };

  static double choose(int64_t n, int64_t k) {
    double c = 1;
    for (int64_t i = 1; i <= k; ++i) c = std::round(c * static_cast<double>(n - k + i) / static_cast<double>(i));
    return c;
  }

  /// The next coalition of at most half the players.
  void advance() {
    if (size_ <= enumerated_ && next_combination()) return;
    if (size_ < enumerated_) {
      ++size_;
      members_.resize(static_cast<size_t>(size_));
      std::iota(members_.begin(), members_.end(), 0);
      weight_ = sizes_[static_cast<size_t>(size_ - 1)].mass / sizes_[static_cast<size_t>(size_ - 1)].coalitions;
      return;
    }
    const double u = at::rand({}, generator_, at::TensorOptions().dtype(at::kDouble)).item<double>() * left_mass_;
    double sum = 0;
    size_ = enumerated_;
    do {
      sum += sizes_[static_cast<size_t>(size_++)].mass;
    } while (sum <= u && size_ < static_cast<int64_t>(sizes_.size()));
    const Tensor order = at::randperm(players_, generator_, at::TensorOptions().dtype(at::kLong));
    members_.assign(order.data_ptr<int64_t>(), order.data_ptr<int64_t>() + size_);
    weight_ = left_mass_ / static_cast<double>(draws_);
  }

  bool next_combination() {
    for (int64_t i = size_ - 1; i >= 0; --i) {
      int64_t& member = members_[static_cast<size_t>(i)];
      if (member < players_ - size_ + i) {
        ++member;
        for (int64_t j = i + 1; j < size_; ++j) members_[static_cast<size_t>(j)] = member + j - i;
        return true;
      }
    }
    return false;
  }

  int64_t players_;
  at::Generator generator_;
  std::vector<Size> sizes_;  ///< Of 1, 2, ... players.
  int64_t enumerated_ = 0;   ///< Sizes up to this one are enumerated.
  int64_t count_ = 0, draws_ = 0, given_ = 0;
  double left_mass_ = 1;
  bool exact_ = false;
  int64_t size_ = 0;
  std::vector<int64_t> members_;
  double weight_ = 0;
  bool complement_is_next_ = false, is_complement_ = false;
};

FeatureScores shapley_values(const Context& context, const KernelShapParams& p, const FeatureGame& game,
                             int64_t image) {
  constexpr int64_t kBlock = 512;
  const int64_t m = game.features().count;
  const Tensor injected = injected_rows(context, kId, "coalitions", m);
  CoalitionDesign design(m, p.samples > 0 ? p.samples : 2 * m + 2048, context.seed);
  const int64_t count = injected.defined() ? injected.size(0) : design.count();
  const int64_t done = image * (count + 2), total = num_images(context) * (count + 2);
  const Tensor ends = game.values(at::stack({at::zeros({m}, at::kDouble), at::ones({m}, at::kDouble)}), done, total);
  const double none = ends[0].item<double>(), change = (ends[1] - ends[0]).item<double>();
  RegressionMoments moments(m - 1);
  for (int64_t begin = 0; begin < count && m > 1; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const auto [kept, weights] =
        injected.defined() ? std::pair<Tensor, Tensor>{injected.narrow(0, begin, n), at::ones({n}, at::kDouble)}
                           : design.next(n);
    // The last value is what the others leave of v(all) - v(none).
    const Tensor last = kept.narrow(1, m - 1, 1);
    const Tensor y = game.values(kept, done + 2 + begin, total) - none - last.squeeze(1) * change;
    moments.add(kept.narrow(1, 0, m - 1) - last, y, weights);
  }
  FeatureScores found;
  bool singular = false;
  const Tensor others =
      m > 1 ? solve_normal_equations(moments.gram(), moments.correlation(), &singular) : at::zeros({0}, at::kDouble);
  found.values = at::cat({others, (ends[1] - ends[0] - others.sum()).view({1})});
  found.change = change;
  const bool exact = !injected.defined() && design.exact();
  found.diagnostics = {{"passes", static_cast<double>(count + 2)},
                       {"exact", exact ? 1.0 : 0.0},
                       {"score_kept", ends[1].item<double>()},
                       {"score_removed", none}};
  if (singular) {
    found.notes.push_back("kernel-shap: " + std::to_string(count) + " coalitions do not determine " +
                          std::to_string(m) + " values; the solution of least norm is shown");
  }
  return found;
}

Attribution kernel_shap(const Context& context, const KernelShapParams& p) {
  return explain_features(
      context, kId, p.segments, p.fill, measure_from(p.score),
      [&](const FeatureGame& game, int64_t image) { return shapley_values(context, p, game, image); });
}

}  // namespace

Method kernel_shap_method() {
  return make_method<KernelShapParams>(
      kId, "KernelSHAP", "perturbation",
      "Shapley values of superpixels or regions from one weighted regression; exact for few features.", kLundberg2017,
      kNeedsTarget | kNeedsBaseline, kStochastic | kScalesWithLogit, kernel_shap);
}

}  // namespace pellucid
