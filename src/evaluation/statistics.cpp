// Scores over a data set.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/metrics.h"
#include "pellucid/similarity.h"

namespace pellucid {

namespace {

Tensor doubles(const std::vector<double>& values) { return at::tensor(values, at::TensorOptions(at::kDouble)); }

/// P(W <= w) for the smaller rank sum of n pairs without ties: subsets of 1..n counted by their sum.
double exact_tail(int64_t n, double w) {
  const auto most = static_cast<size_t>(n * (n + 1) / 2);
  std::vector<double> ways(most + 1, 0.0);
  ways[0] = 1;
  for (int64_t rank = 1; rank <= n; ++rank) {
    for (size_t sum = most; sum >= static_cast<size_t>(rank); --sum) ways[sum] += ways[sum - static_cast<size_t>(rank)];
  }
  double below = 0;
  for (size_t sum = 0; static_cast<double>(sum) <= w; ++sum) below += ways[sum];
  return below / std::pow(2.0, static_cast<double>(n));
}

/// Wilcoxon's signed-rank test, two-sided.
double signed_rank_p(const Tensor& differences) {
  const Tensor d = differences.masked_select(differences.ne(0));
  const int64_t n = d.numel();
  if (n == 0) return 1;
  const Tensor ranks = average_ranks(d.abs());
  const double up = ranks.masked_select(d > 0).sum().item<double>();
  const auto count = static_cast<double>(n);
  const double down = count * (count + 1) / 2 - up;
  const double w = std::min(up, down);
  const Tensor ties = std::get<2>(at::unique_consecutive(std::get<0>(ranks.sort()), false, true)).to(at::kDouble);
  const bool tied = ties.max().item<double>() > 1;
  if (n <= 20 && !tied) return std::min(1.0, 2 * exact_tail(n, w));
  const double mean = count * (count + 1) / 4;
  const double variance = count * (count + 1) * (2 * count + 1) / 24 - (ties.pow(3) - ties).sum().item<double>() / 48;
  if (!(variance > 0)) return 1;
  return std::erfc(std::abs(w - mean) / std::sqrt(2 * variance));
}

}  // namespace

Summary summarize(const std::vector<double>& values, uint64_t seed) {
  if (values.empty()) throw_usage("summarize: there are no values");
  Summary s;
  s.count = static_cast<int64_t>(values.size());
  const Tensor v = doubles(values);
  s.mean = s.low = s.high = v.mean().item<double>();
  if (s.count == 1) return s;
  s.standard_error = v.std(/*unbiased=*/true).item<double>() / std::sqrt(static_cast<double>(s.count));
  constexpr int64_t kResamplings = 2000;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  Tensor means = at::empty({kResamplings}, at::kDouble);
  for (int64_t i = 0; i < kResamplings; ++i) {
    const Tensor rows = at::randint(s.count, {s.count}, generator, at::TensorOptions(at::kLong));
    means[i] = v.index_select(0, rows).mean();
  }
  means = std::get<0>(means.sort());
  s.low = means[kResamplings / 40].item<double>();
  s.high = means[kResamplings - 1 - kResamplings / 40].item<double>();
  return s;
}

PairedComparison compare_paired(const std::vector<double>& a, const std::vector<double>& b, uint64_t seed) {
  if (a.size() != b.size()) {
    throw_usage("compare_paired: " + std::to_string(a.size()) + " values against " + std::to_string(b.size()) +
                "; one pair per picture was expected");
  }
  if (a.empty()) throw_usage("compare_paired: there are no values");
  const Tensor d = doubles(a) - doubles(b);
  PairedComparison result;
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  result.difference = summarize(differences, seed);
  result.p_value = signed_rank_p(d);
  return result;
}

}  // namespace pellucid
