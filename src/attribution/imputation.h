#pragma once

#include "pellucid/tensor.h"

namespace pellucid {

/// Fills what is missing from a picture with what its surroundings suggest: every missing pixel becomes the weighted
/// mean of its eight neighbours, 1/6 for edge and 1/12 for diagonal ones, those outside the picture left out and the
/// rest renormalized. The noisy linear imputation of ROAD without its noise.
/// Rong, Leemann, Borisov, Kasneci, Kasneci. "A Consistent and Efficient Evaluation Strategy for Attribution Methods".
/// ICML 2022.
/// image [C,H,W], missing [B,H,W] bool -> [B,C,H,W]. A missing region without a known neighbour (everything is missing)
/// gets the picture's mean color. Solved by conjugate gradients to a relative residual of 1e-6.
Tensor linear_imputation(const Tensor& image, const Tensor& missing);

}  // namespace pellucid
