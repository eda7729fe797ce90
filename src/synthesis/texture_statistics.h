#pragma once

// The texture statistics of Portilla, Simoncelli. "A Parametric Texture Model Based on Joint Statistics of Complex
// Wavelet Coefficients". IJCV 40(1), 2000.

#include <string>
#include <vector>

#include "pellucid/tensor.h"

namespace pellucid {

/// Statistics of one kind: rows are compared on their own, each relative to its length. A row holds all planes, so that
/// a color that hardly varies counts as little as it is seen.
struct StatisticsGroup {
  std::string name;
  Tensor rows;  ///< [R,n], differentiable.
};

struct TextureModel {
  int64_t scales = 4;
  int64_t orientations = 4;
  int64_t neighborhood = 7;  ///< Odd: side of the autocorrelations that are kept.
};

/// Planes [P,H,W] in which the colors of a picture are uncorrelated, of mean 0 and variance 1: the principal components
/// of its pixels. Components with less than a hundredth of the first one's variance keep their size relative to it, and
/// those without any are left out.
class ColorAxes {
 public:
  /// `picture` [3,H,W].
  explicit ColorAxes(const Tensor& picture);
  Tensor planes(const Tensor& picture) const;

 private:
  Tensor mean_, axes_;  ///< [3,1], [P,3]
};

/// Of planes [P,H,W]; sides are multiples of 2^scales. Groups:
///   marginals        mean and variance of each plane; skewness and kurtosis
///   lowpass          skewness and kurtosis of the low-pass images; variances of these and of the high-pass residual
///   autocorrelation  of the low-pass images
///   energy           autocorrelation of the magnitudes of each band
///   magnitudes       correlations of magnitudes: all orientations and planes of a scale, and with the next coarser
///   phase            correlations of bands with the next coarser ones at twice their phase, in one and the other part
/// Unlike the publication's: minimum and maximum are left to the range of the pixels and to histogram matching; the
/// magnitudes' correlations are of unit variance; the coarsest bands are not correlated with the low-pass residual.
std::vector<StatisticsGroup> texture_statistics(const Tensor& planes, const TextureModel& model = {});

/// Mean over a group's rows of the squared relative difference.
Tensor relative_square_error(const StatisticsGroup& found, const StatisticsGroup& wanted);

/// The largest part [.., H, W] in the middle whose sides are multiples of `unit`.
Tensor centered_multiple(const Tensor& picture, int64_t unit);
/// As many scales as a picture of this size has, up to those of the model.
TextureModel fitting_model(const TextureModel& model, int64_t height, int64_t width);

}  // namespace pellucid
