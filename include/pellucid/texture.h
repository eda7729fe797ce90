#pragma once

// How near a picture comes to the texture of another, in numbers.

#include <string>
#include <utility>
#include <vector>

#include "pellucid/synthesis.h"

namespace pellucid {

/// |G - G0| / |G0| in the Frobenius norm for the Gram matrices per position of pictures [1,3,H,W] at each of these
/// layers; the pictures may differ in size.
std::vector<double> gram_errors(const SynthesisContext& context, const Tensor& picture, const Tensor& reference,
                                const std::vector<std::string>& layers);

/// Relative errors of the statistics of Portilla, Simoncelli, IJCV 2000, by group: the root of the mean over a group's
/// rows of the squared relative difference; "all" is that of the mean over groups. Pictures [1,3,H,W] are cut to
/// multiples of 16 pixels (fewer for small ones); colors are taken along the reference's principal components.
std::vector<std::pair<std::string, double>> wavelet_errors(const Tensor& picture, const Tensor& reference);

/// The largest correlation of brightness between the two over all shifts, around the border; the larger one is cut to
/// the size of the smaller. 1 for a copy; near 0 for pictures that have nothing to do with one another.
double copy_correlation(const Tensor& picture, const Tensor& reference);

}  // namespace pellucid
