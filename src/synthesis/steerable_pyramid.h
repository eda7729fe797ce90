#pragma once

// A complex steerable pyramid in the frequency domain: bands one octave wide, oriented, self-inverting.
// Simoncelli, Freeman. "The Steerable Pyramid: A Flexible Architecture for Multi-Scale Derivative Computation". ICIP
// 1995; with analytic bands as in Portilla, Simoncelli. IJCV 2000. Everything is differentiable.

#include <cstdint>
#include <vector>

#include "pellucid/tensor.h"

namespace pellucid {

/// Of pictures [P,H,W] for scales s = 0 (finest), 1, ...; sizes of scale s are H/2^s, W/2^s.
struct SteerablePyramid {
  Tensor high;                  ///< [P,H,W]: what lies above all bands.
  std::vector<Tensor> bands;    ///< Per scale complex [P,K,h,w]; the real part is the band, the modulus its envelope.
  std::vector<Tensor> lowpass;  ///< Per scale [P,h,w] what its bands are cut from, and last the residual.
};

/// Throws Error(kUsage) unless both sides are multiples of 2^scales.
SteerablePyramid steerable_pyramid(const Tensor& pictures, int64_t scales, int64_t orientations);

/// The pictures [P,H,W] from `high`, the real parts of the bands and the last of `lowpass`.
Tensor from_steerable_pyramid(const SteerablePyramid& pyramid);

/// Complex or real [...,h,w] at twice the size, by zeros in the spectrum.
Tensor spectral_upsample(const Tensor& image);

}  // namespace pellucid
