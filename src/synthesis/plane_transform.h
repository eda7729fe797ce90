#pragma once

// Fourier transforms of pictures plane by plane, on all threads: LibTorch's transform on processors uses one. The same
// bits whatever the number of threads. Both are differentiable once.

#include "pellucid/tensor.h"

namespace pellucid {

/// rfft2 without a factor: real [...,h,w] -> complex [...,h,w/2+1].
Tensor spectrum_from_planes(const Tensor& planes);
/// Its inverse, irfft2 divided by h w: complex [...,h,w/2+1] -> real [...,h,w].
Tensor planes_from_spectrum(const Tensor& spectrum, int64_t height, int64_t width);

}  // namespace pellucid
