#pragma once

// The verbs that take the texture of pictures: `texture` makes more of it, `style` gives it to another picture.

#include <string>
#include <vector>

#include "pellucid/make_pictures.h"

namespace pellucid {

/// Whether the first argument of these verbs is a picture by its name (or a folder, or a pattern), so that the model
/// was left out and "texture-encoder", the shipped one, is meant.
bool is_picture_argument(const std::string& argument);

/// Which statistics of which layers make a texture, for both verbs.
struct TextureTerms {
  /// Empty takes the first rectified layer and the last layer before each change of resolution.
  std::vector<std::string> layers;
  std::vector<double> layer_weights;  ///< One for each layer, relative; empty: all equal.
  std::string statistics = "gram";    ///< Or "statistics": mean and standard deviation of each channel.
  /// "none" takes activations as they are; "layer" and "channel" divide them by the style's mean, so that no layer or
  /// channel outweighs others by its unit. For chains of convolutions, rectifiers and pooling the latter is the same as
  /// rescaling the weights (Gatys, Ecker, Bethge. NIPS 2015).
  std::string rescale = "layer";
  bool average_pooling = false;  ///< In place of max pooling: smoother pictures.
};

/// `pellucid texture`: more of a picture's texture.
/// Gatys, Ecker, Bethge. "Texture Synthesis Using Convolutional Neural Networks". NIPS 2015; with the recipe
/// portilla-simoncelli the statistics of Portilla, Simoncelli, IJCV 2000, instead of the network's.
struct TextureRequest {
  MakeOptions make;  ///< `size` 0 takes that of the source as it is used.
  TextureTerms terms;
  std::vector<std::string> inputs;
  int64_t source_size = 0;  ///< Longer side to which the source is brought; 0: its own, up to 256.
  /// Sizes, each twice the one before, of which the last is the result's; 0: three, as long as the first has 32 pixels.
  int64_t scales = 0;
};
/// Reports, beside the loss, relative errors of Gram matrices at every layer and at one that was not matched, of
/// wavelet statistics, and the correlation with the source that would tell a copy.
MakeResult texture(const TextureRequest& request, Progress* progress = nullptr);

/// `pellucid style`: the content of one picture in the style of others.
/// Gatys, Ecker, Bethge. "Image Style Transfer Using Convolutional Neural Networks". CVPR 2016.
struct StyleRequest {
  MakeOptions make;  ///< `size` 0 takes the content's own, up to 512 pixels.
  TextureTerms terms;
  std::vector<std::string> inputs;  ///< Contents; one result each.
  std::vector<std::string> styles;
  /// One for each style, or one for all together; empty: 1. Times 20 but with rescale "none".
  std::vector<double> style_weights;
  double content_weight = 1;  ///< 0 leaves the content out.
  /// Empty takes the last at an eighth of the picture's resolution, or at twice that of the coarsest style layer where
  /// that is finer.
  std::vector<std::string> content_layers;
  std::string start = "content";  ///< "content", "noise", "style", or "histogram": the content with the
                                  ///< first style's histogram of colors.
  /// "style"; "luminance" gives the result the content's colors; "match" first gives the styles the content's mean and
  /// covariance of colors. Gatys et al. "Controlling Perceptual Factors in Neural Style Transfer". CVPR 2017.
  std::string color = "style";
  double style_scale = 1;  ///< Longer side of styles relative to the result's.
  double tv = 0;           ///< Weight of the total variation (sum of absolute differences, in gray levels).
  int64_t scales = 0;      ///< As above; 0: two for results larger than 384 pixels.
  /// Regions, one pair for each style (or none at all): pictures that are bright where the style goes and where it is
  /// taken from.
  std::vector<std::string> content_masks, style_masks;
};
/// Reports the content and style losses of the content itself and of the result, and the ratio of their gradients'
/// norms on noise.
MakeResult style(const StyleRequest& request, Progress* progress = nullptr);

}  // namespace pellucid
