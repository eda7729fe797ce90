#pragma once

// Networks that know what pictures look like, and how they are trained: a denoiser and a generator.

#include <cstdint>
#include <string>
#include <vector>

#include "pellucid/graph.h"
#include "pellucid/learner.h"

namespace pellucid {

/// A U-shaped network [N,C,H,W] -> [N,C,H,W]: two 3x3 convolutions at each of a falling number of sizes, the way back
/// up joined with what came from the same size on the way down, and the input added to the end, which begins as zero,
/// so that the untrained network changes nothing. After Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for
/// Biomedical Image Segmentation", MICCAI 2015. Sides must be divisible by 2^(widths - 1).
struct DenoiserOptions {
  std::vector<int64_t> widths{16, 32, 64};  ///< Channels at each size, from the full one.
  int64_t channels = 3;                     ///< Of the picture.
  uint64_t seed = 1;
};
Graph make_denoiser(const DenoiserOptions& options);

/// Mean squared error of R(clean + noise) to clean. With noise of standard deviation s the best R has
/// (R(x) - x) / s^2 = d log p(x) / dx of the noisy pictures.
/// Alain, Bengio. "What Regularized Auto-Encoders Learn from the Data-Generating Distribution". JMLR 2014.
Tensor denoising_loss(Learner& learner, const Tensor& clean, const Tensor& noise);

/// A decoder [N,C,h,w] -> pictures [N,3,h 2^k,w 2^k] in display range, k the number of `widths`: at each size a 3x3
/// convolution with BatchNormalization, between them every pixel twice; a sigmoid at the end. After Dosovitskiy, Brox,
/// "Generating Images with Perceptual Similarity Metrics Based on Deep Networks", NeurIPS 2016, made small.
struct GeneratorOptions {
  Shape code{64, 4, 4};                              ///< [C,h,w] of the latent input, "code".
  std::vector<int64_t> widths{128, 96, 64, 32, 16};  ///< Channels at each size from h w on; the last is before the end.
  uint64_t seed = 1;
};
Graph make_generator(const GeneratorOptions& options);

/// What the learner of such a network is made with: Adam, everything trained but the factors of enlargement.
LearnerOptions prior_learner_options();

}  // namespace pellucid
