#pragma once

// Feed-forward style: networks that repaint a picture in one pass. `train_style` makes them, `stylize` runs them.

#include <functional>
#include <string>
#include <vector>

#include "pellucid/tasks.h"

namespace pellucid {

/// Layers of a network that say how near a picture is to a style and to a content. Empty fields are chosen: for style
/// the last ReLU at each of the first four sizes of map, for content that at the third.
struct FeatureLayers {
  std::vector<std::string> style;
  std::string content;
};

/// How near pictures came to what they were made from, in the features of a network; 0 is reached, 1 as far as nothing.
struct StyleMeasure {
  double style = 0;    ///< ||G - G'||^2 / ||G'||^2 of Gram matrices over positions, mean over layers.
  double content = 0;  ///< ||F - F'||^2 / ||F'||^2.
};

/// `pellucid train-style`.
struct TrainStyleRequest {
  enum class Kind {
    kSingle,    ///< One network per style (Johnson et al., 2016).
    kMany,      ///< One network, several styles (Dumoulin et al., 2017).
    kArbitrary  ///< The style is a second picture (Huang, Belongie, 2017).
  };
  Kind kind = Kind::kSingle;
  /// Pictures, folders, globs, or "texture:KIND" or "texture:KIND:NUMBER" for one that `pellucid dataset textures`
  /// could draw. For kArbitrary empty draws a fresh texture each time.
  std::vector<std::string> styles;
  /// Pictures, folders, globs; or names of generated sets.
  std::vector<std::string> contents{"an8flower-single", "parts", "scenes"};
  ModelOptions network;  ///< That measures style; for kArbitrary also the encoder. Empty: texture_encoder.onnx.
  FeatureLayers layers;
  /// Of kArbitrary: where the content gets the style's mean and deviation, from the largest map to the smallest. Empty:
  /// the first ReLU of each of the first four sizes of map. Coarse ones alone lose the colors.
  std::vector<std::string> adain_layers;
  int64_t width = 16, blocks = 3;  ///< Of StyleNetworkOptions.
  int64_t steps = 2000, batch_size = 4;
  int64_t size = 96;         ///< Side of the content pictures trained on.
  int64_t style_size = 128;  ///< Shorter side of the style pictures.
  double learning_rate = 1e-3;
  double style_weight = 1, content_weight = 1;
  /// For kArbitrary: of the squared error of pixels where content and style are the same picture, a quarter of each
  /// batch.
  double reconstruction_weight = 10;
  uint64_t seed = 1;
  int64_t test_pictures = 16;
  /// Also makes the same pictures by optimizing their pixels this many steps against the same loss; 0 does not.
  int64_t compare_steps = 0;
  std::string output;  ///< The .onnx file; card beside it, checkpoint in <output>.checkpoint.
};
/// Sums since the last report.
struct StyleTrainingReport {
  int64_t step = 0, steps = 0;
  double content = 0, style = 0, reconstruction = 0;  ///< Unweighted means since the last report.
  double seconds = 0;
};
struct TrainedStyle {
  std::string name;
  StyleMeasure network;    ///< Mean over test contents never trained on.
  StyleMeasure start;      ///< Of the contents themselves.
  StyleMeasure optimized;  ///< By pixels, when compared.
};
struct TrainStyleResult {
  std::vector<TrainedStyle> styles;
  double milliseconds = 0;         ///< For one picture of 256 x 256.
  double reconstruction_psnr = 0;  ///< For kArbitrary, of test contents at alpha 0, in dB.
  int64_t parameters = 0;
  int64_t resumed_after = 0;
  std::vector<std::string> notes;
};
/// Trains, measures, writes network and card, removes the checkpoint. Interrupted runs go on from their checkpoint, to
/// the bit as if they had not been.
TrainStyleResult train_style(const TrainStyleRequest& request,
                             const std::function<void(const StyleTrainingReport&)>& report = {},
                             Progress* progress = nullptr);

/// `pellucid stylize`: runs any picture-to-picture network on pictures and videos of any size.
struct StylizeRequest {
  ModelOptions model;
  RunOptions run;
  std::string output;  ///< Folder.
  /// Networks with a second input for a picture: styles, mixed in these weights (none: equal). Mixing averages what the
  /// styles alone give the rest of the network, which for adaptive instance normalization is its own rule.
  std::vector<std::string> styles;
  std::vector<double> style_weights;
  double alpha = 1;  ///< Where the network has such an input.
  /// Networks with several styles inside: "0:0.5,3:0.5", by index or name.
  std::string mix;
  /// Pictures, or folders with one of each picture's stem. One: only where it is bright is the picture repainted. One
  /// for each style: where that style goes, in networks with adaptive instance normalization; where masks overlap,
  /// styles mix. Such networks are masked in their features, by the statistics of each region; others in pixels.
  std::vector<std::string> masks;
  bool keep_colors = false;  ///< Only the brightness changes.
  int64_t style_size = 256;  ///< Shorter side that style pictures are brought to, in pixels.
  int64_t tile = 768;        ///< Pictures of more than tile x tile pixels are made in tiles.
  /// Of tiled pictures: where the mean and deviation of every instance normalization come from. "exact" goes over all
  /// tiles once per normalization; "reduced" takes those of the picture reduced to one tile.
  std::string statistics = "exact";
  std::string range;          ///< "0..255", "0..1" or "-1..1"; empty: what the file says or a trial shows.
  bool measure = false;       ///< With `measure_by`: how near results are to the first style picture and the content.
  ModelOptions measure_by;    ///< Empty path: texture_encoder.onnx.
  std::string measure_style;  ///< The picture that a network with its style inside was trained on, or "texture:KIND".
  bool video = true;          ///< Frames of a video also become a video.
};
struct StylizedPicture {
  std::string path, name, file, error;
  int64_t width = 0, height = 0, tiles = 1;
  double milliseconds = 0;
  StyleMeasure result, original;  ///< When measured.
};
struct StylizeResult {
  std::vector<StylizedPicture> pictures;
  std::vector<std::string> video_files, notes;
  int64_t num_failed = 0;
  std::string json, result_file;
};
StylizeResult stylize(const StylizeRequest& request, Progress* progress = nullptr);

}  // namespace pellucid
