#pragma once

// Colors of one picture given to another; pictures [3,H,W] or [B,3,H,W] in one range, of any two sizes.

#include "pellucid/tensor.h"

namespace pellucid {

/// Every channel gets the reference's values in the order of its own: the same histogram, exactly where both have as
/// many pixels, else by linear interpolation between quantiles. Equal values are told apart by their position.
Tensor with_histogram_of(const Tensor& picture, const Tensor& reference);

/// An affine map of colors gives the picture the reference's mean and covariance: with S the covariances,
/// S_reference^(1/2) S_picture^(-1/2). Gatys, Ecker, Bethge, Hertzmann, Shechtman. "Controlling Perceptual Factors in
/// Neural Style Transfer". CVPR 2017. Values may leave the range of display.
Tensor with_color_moments_of(const Tensor& picture, const Tensor& reference);

/// The brightness Y of the picture with the color U, V of the reference, which has its size (BT.601). Values may leave
/// the range of display.
Tensor with_color_of(const Tensor& picture, const Tensor& reference);

}  // namespace pellucid
