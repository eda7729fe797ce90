#pragma once

#include <string>
#include <vector>

#include "pellucid/graph.h"

namespace pellucid {

/// A network that turns a picture into the same picture in a style, after Johnson, Alahi, Fei-Fei, "Perceptual Losses
/// for Real-Time Style Transfer and Super-Resolution", ECCV 2016, with the instance normalization of Ulyanov, Vedaldi,
/// Lempitsky, 2016, nearest-neighbor upsampling and reflected borders instead of transposed convolutions and zeros.
/// Input "input" and output "output" are [N,3,H,W], RGB, 0..255, of any sides that are multiples of four.
/// With `num_styles` above 0 it has a second input "style" [N,num_styles] and conditional instance normalization
/// (Dumoulin, Shlens, Kudlur, "A Learned Representation for Artistic Style", ICLR 2017): scale and shift of every
/// normalization are the mean of those of the styles in these weights; a row of zeros and a one is one style.
struct StyleNetworkOptions {
  int64_t width = 16;  ///< Channels at full size; twice and four times as many at half and quarter size.
  int64_t blocks = 3;  ///< Residual ones, at quarter size.
  int64_t num_styles = 0;
  uint64_t seed = 1;
};
Graph make_style_network(const StyleNetworkOptions& options);

/// What make_adain_network needs to know of its encoder.
struct AdainEncoder {
  struct Level {
    ValueId layer = kNoValue;  ///< Features [N,C,H / 2^halvings, W / 2^halvings].
    int64_t channels = 0;
    int64_t halvings = 0;
  };
  const Graph& graph;
  std::vector<Level> levels;  ///< From the largest map to the smallest, which the others lead to.
  /// The encoder's input is (pixel * scale[c] + offset[c]) for an RGB pixel in 0..255.
  std::vector<double> scale, offset;
};

/// Added to variances by adaptive instance normalization.
constexpr double kAdainEpsilon = 1e-5;

/// Huang, Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization", ICCV 2017: inputs
/// "content" [N,3,H,W] and "style" [N or 1,3,h,w], RGB, 0..255, and "alpha" [1], 1 for all of the style; output
/// "output" [N,3,H,W]. The features of the content get mean and deviation (biased) of those of the style. That happens
/// at every level, as in Sheng, Lin, Shao, Wang, "Avatar-Net: Multi-scale Zero-shot Style Transfer by Feature
/// Decoration", CVPR 2018, so that a small encoder's coarsest map need not hold all of the content. Values of level i,
/// counted from 1 for the largest map: "content<i>", "adain<i>", "mixed<i>", which is alpha of adain and the rest of
/// the content's own, "style<i>.mean" and "style<i>.deviation" [N,C,1,1]. A decoder with reflected borders begins with
/// the coarsest, is given the others where it has come to their size, and makes the picture. The sides of the content
/// must be multiples of 2^halvings of the coarsest.
Graph make_adain_network(const AdainEncoder& encoder, uint64_t seed);

/// Whether training a network of this header moves the initializer: not the encoder, not what is no weight.
bool is_style_weight(const std::string& name);

// Losses, each [N]. All are relative to what is aimed at, so that they have no unit and do not depend on the size of
// the network that measures: 0 is reached, 1 is as far away as nothing at all.

/// F F^T / positions of features [N,C,H,W], [N,C,C].
Tensor gram_matrices(const Tensor& features);
/// Sum of the squared differences over that of the squares of `target` [N or 1,...].
Tensor relative_error(const Tensor& value, const Tensor& target);
/// The same for the means and biased deviations of every channel of [N,C,H,W].
Tensor statistics_error(const Tensor& features, const Tensor& target);

}  // namespace pellucid
