#include "pellucid/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pellucid {

namespace {

constexpr int kResamples = 2000;

double mean_of(const std::vector<double>& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

/// Steele, Lea, Flood, OOPSLA 2014 (splitmix64): the same numbers on every machine.
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void bootstrap_mean(const std::vector<double>& values, uint64_t seed, double& low, double& high) {
  low = high = mean_of(values);
  if (values.size() < 2) return;
  std::vector<double> means(kResamples);
  for (double& m : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[next_random(seed) % values.size()];
    m = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  low = quantile(means, 0.025);
  high = quantile(means, 0.975);
}

/// P(W <= w) for the sum of the ranks 1..n that get a plus sign by chance.
double exact_signed_rank(int64_t n, int64_t w) {
  const int64_t most = n * (n + 1) / 2;
  std::vector<double> ways(static_cast<size_t>(most + 1));
  ways[0] = 1;
  for (int64_t rank = 1; rank <= n; ++rank) {
    for (int64_t s = most; s >= rank; --s) ways[static_cast<size_t>(s)] += ways[static_cast<size_t>(s - rank)];
  }
  return std::accumulate(ways.begin(), ways.begin() + w + 1, 0.0) / std::pow(2.0, static_cast<double>(n));
}

double signed_rank_p(std::vector<double> differences) {
  differences.erase(std::remove(differences.begin(), differences.end(), 0.0), differences.end());
  const auto n = static_cast<int64_t>(differences.size());
  if (n == 0) return 1;
  std::sort(differences.begin(), differences.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  double plus = 0, tie_term = 0;
  for (size_t begin = 0; begin < differences.size();) {
    size_t end = begin + 1;
    while (end < differences.size() && std::abs(differences[end]) == std::abs(differences[begin])) ++end;
    const auto tied = static_cast<double>(end - begin);
    const double rank = (static_cast<double>(begin) + 1 + static_cast<double>(end)) / 2;
    tie_term += tied * tied * tied - tied;
    for (size_t i = begin; i < end; ++i) plus += differences[i] > 0 ? rank : 0;
    begin = end;
  }
  const auto count = static_cast<double>(n);
  const double total = count * (count + 1) / 2;
  const double smaller = std::min(plus, total - plus);
  if (n <= 25 && tie_term == 0) return std::min(1.0, 2 * exact_signed_rank(n, std::llround(smaller)));
  const double variance = count * (count + 1) * (2 * count + 1) / 24 - tie_term / 48;
  const double z = std::min(0.0, smaller - total / 2 + 0.5) / std::sqrt(variance);
  return std::min(1.0, std::erfc(-z / std::sqrt(2.0)));
}

}  // namespace

Summary summarize(const std::vector<double>& values, uint64_t seed) {
  Summary s;
  std::vector<double> sorted;
  std::copy_if(values.begin(), values.end(), std::back_inserter(sorted), [](double v) { return std::isfinite(v); });
  std::sort(sorted.begin(), sorted.end());
  s.n = static_cast<int64_t>(sorted.size());
  s.undefined = static_cast<int64_t>(values.size()) - s.n;
  if (sorted.empty()) return s;
  s.mean = mean_of(sorted);
  s.median = quantile(sorted, 0.5);
  if (s.n > 1) {
    double squares = 0;
    for (const double v : sorted) squares += (v - s.mean) * (v - s.mean);
    s.sd = std::sqrt(squares / static_cast<double>(s.n - 1));
    s.standard_error = s.sd / std::sqrt(static_cast<double>(s.n));
  }
  bootstrap_mean(sorted, seed, s.low95, s.high95);
  return s;
}

PairedComparison compare_paired(const std::vector<double>& a, const std::vector<double>& b, uint64_t seed) {
  PairedComparison result;
  std::vector<double> differences;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (std::isfinite(a[i]) && std::isfinite(b[i])) differences.push_back(a[i] - b[i]);
  }
  result.n = static_cast<int64_t>(differences.size());
  result.mean_difference = mean_of(differences);
  bootstrap_mean(differences, seed, result.low95, result.high95);
  result.p_value = signed_rank_p(std::move(differences));
  return result;
}

}  // namespace pellucid
