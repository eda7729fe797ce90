#pragma once

#include <cstdint>
#include <vector>

namespace pellucid {

/// A sample of scores in a few numbers. Values that are not finite (undefined scores) are left out and counted: the
/// numbers hold for the pictures on which the score is defined, which may be the easier ones.
struct Summary {
  int64_t n = 0;
  int64_t undefined = 0;
  double mean = 0;
  double sd = 0;              ///< Of the sample, n - 1 in the denominator; 0 for n < 2.
  double standard_error = 0;  ///< sd / sqrt(n)
  double median = 0;
  double low95 = 0,
         high95 = 0;  ///< Percentile bootstrap of the mean, 2000 resamples. Efron, Annals of Statistics 1979.
};
Summary summarize(const std::vector<double>& values, uint64_t seed = 0);

/// Two methods on the same pictures: a[i] and b[i] belong to picture i. Pairs with an undefined member are left out.
struct PairedComparison {
  int64_t n = 0;
  double mean_difference = 0;    ///< a - b
  double low95 = 0, high95 = 0;  ///< Paired bootstrap of it, 2000 resamples.
  /// Two-sided Wilcoxon signed-rank test, zeros dropped, ties by mean ranks; exact up to 25 pairs without ties, else
  /// the normal approximation with continuity and tie correction. Wilcoxon, Biometrics Bulletin 1945. 1 when all pairs
  /// tie. Not corrected for several comparisons: of twenty methods that do not differ, one falls below 0.05 by chance.
  double p_value = 1;
};
PairedComparison compare_paired(const std::vector<double>& a, const std::vector<double>& b, uint64_t seed = 0);

}  // namespace pellucid
