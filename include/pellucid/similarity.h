#pragma once

#include <optional>

#include "pellucid/tensor.h"

namespace pellucid {

/// How alike two maps are. All take tensors of one shape on any device, compute in float64, and return nothing where
/// the number is undefined (a constant map has no ranks, no contrast and no edges).

/// Pearson's correlation, -1..1.
std::optional<double> pearson_correlation(const Tensor& a, const Tensor& b);

/// Spearman's correlation: Pearson's of the ranks, equal values sharing their average rank.
std::optional<double> spearman_correlation(const Tensor& a, const Tensor& b);

/// Kendall's tau-b: pairs in the same order less pairs in opposite order, over the root of the pairs that differ in `a`
/// times those that differ in `b`. Takes n^2 bytes for n values. Kendall. "The Treatment of Ties in Ranking Problems".
/// Biometrika 1945.
std::optional<double> kendall_correlation(const Tensor& a, const Tensor& b);

/// Average ranks 1..n of the elements, float64 in the shape given.
Tensor average_ranks(const Tensor& t);

/// Mean structural similarity of two maps [H,W], each first scaled from its minimum and maximum to 0..1. Gaussian
/// window of 11 pixels with sigma 1.5 (the largest odd size that fits for smaller maps), population covariance, data
/// range 1, C1 = 0.01^2, C2 = 0.03^2, mean over the windows that lie inside. Wang, Bovik, Sheikh, Simoncelli. "Image
/// Quality Assessment". IEEE TIP 2004.
std::optional<double> structural_similarity(const Tensor& a, const Tensor& b);

/// Histogram of oriented gradients of a map [H,W] scaled to 0..1: central differences (none across the border), 9
/// unsigned orientations, cells of 16 pixels (a quarter of the shorter side where that is less), blocks of 3x3 cells
/// normalized by L2-Hys with clipping at 0.2.
/// Dalal, Triggs. "Histograms of Oriented Gradients for Human Detection". CVPR 2005.
Tensor oriented_gradients(const Tensor& map);
/// Spearman's correlation of the two histograms.
std::optional<double> hog_similarity(const Tensor& a, const Tensor& b);

/// All of them, as the sanity checks report them.
struct MapSimilarity {
  std::optional<double> spearman;      ///< Of the signed values.
  std::optional<double> spearman_abs;  ///< Of the magnitudes.
  std::optional<double> ssim;
  std::optional<double> hog;
};
MapSimilarity map_similarity(const Tensor& a, const Tensor& b);

}  // namespace pellucid
