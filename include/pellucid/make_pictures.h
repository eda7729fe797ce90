#pragma once

// The verbs that make pictures with a network. Each turns a request into recipes (synthesis.h), runs them one after
// the other and writes what came out.

#include <limits>
#include <string>
#include <vector>

#include "pellucid/synthesis.h"
#include "pellucid/tasks.h"

namespace pellucid {

/// What all of these verbs share.
struct MakeOptions {
  ModelOptions model;
  std::string recipe;  ///< Name of a recipe, or a .json file with one; empty takes the verb's own.
  int64_t size = 0;    ///< Longer side of the result in pixels; 0 takes the model's input size, or 224.
  int64_t steps = 0;   ///< All steps together; 0 takes the recipe's.
  uint64_t seed = 0;
  int64_t tile = 0;        ///< Side of the parts in which the network sees large pictures; 0 takes the recipe's.
  int64_t save_every = 0;  ///< Snapshots and checkpoints every so many steps; 0: none. A cancelled run leaves one.
  bool animate = false;    ///< Films of about a hundred frames of how pictures come to be.
  std::string animation = "avi";  ///< What films are: "avi" or "gif".
  /// Keep what is finished in the output folder for the same request and go on from its checkpoints; the same bytes
  /// come out.
  bool resume = false;
  std::string output;  ///< Folder; empty writes nothing.
};

/// What is said about a picture besides its objective; `start`, where there is one, for the picture before.
struct Measure {
  std::string name;
  double value = 0;
  double start = std::numeric_limits<double>::quiet_NaN();
};
/// A picture that was made.
struct MadePicture {
  std::string name;   ///< Begins its files' names.
  std::string title;  ///< What was made large: "285 Egyptian cat", "block_5.add channel 12".
  Recipe recipe;      ///< The whole of it: run again with the same model, it gives the same picture.
  Tensor image;       ///< [3,H,W] float32, RGB, display range, not stretched.
  /// The same before the recipe's `finish`: what the optimizer reached; undefined for one that was kept (`resume`).
  Tensor unfinished;
  double objective_start = 0, objective = 0;  ///< Of the start and `unfinished`; without the weight where there is one.
  double finished_objective = 0;              ///< Of `image`.
  double robust_objective = 0;                ///< Mean over random draws of the recipe's transformations.
  int64_t class_index = -1;                   ///< For classes; the next three are for the picture rounded to 8 bits.
  double score = 0;                           ///< Logit.
  double probability = -1;
  int64_t rank = 0;                 ///< 1: the network's own answer.
  std::vector<Prediction> classes;  ///< The best three of the network, where it has classes.
  double feature_error = -1;        ///< For inversion: |a - a0| / |a0|, of the float picture; else negative.
  double saturation = 0;            ///< Share of values below 0.02 or above 0.98.
  double high_frequencies = 0;      ///< Share of brightness power, mean apart, above a quarter of a cycle per pixel.
  std::vector<Measure> measures;
  int64_t steps = 0;
  double seconds = 0;
  std::vector<std::string> notes;
  std::string image_file, values_file;
  std::vector<std::string> snapshot_files;
  std::string film_file;
};
struct MakeResult {
  std::vector<MadePicture> pictures;
  std::vector<std::string> notes;
  std::string json;  ///< As in result.json.
  std::string sheet_file, result_file;
  std::vector<std::string> film_files;  ///< Of zooms, beside the frames.
  bool interrupted = false;             ///< Later pictures were not begun.
  /// Pictures that are not what was asked for, because numbers stopped being finite; they are the last good ones, and a
  /// note of theirs says what happened.
  int64_t num_stopped = 0;
};

/// `pellucid visualize`: what makes classes, channels or neurons large.
struct VisualizeRequest {
  MakeOptions make;
  /// "285", "tabby", "A vs B", "probability:CLASS", "channel:LAYER:K", "unit:LAYER:K,Y,X".
  std::vector<std::string> targets;
  std::string layer;
  std::string channels;   ///< Of the layer: "12", "3,17", "0-7", "all".
  bool neuron = false;    ///< The middle position of the channels instead of their mean.
  bool ladder = false;    ///< With every recipe for visualization, from no prior to the strongest.
  std::string generator;  ///< ONNX file whose code recipes with a code use instead of their own.
  int64_t count = 1;      ///< Pictures of each, from different seeds.
  bool negative = false;  ///< After each what makes it smallest.
  int64_t diversity = 1;  ///< So many pictures of each that are to be unlike one another at `diversity_layer`.
  std::string diversity_layer = "auto";
  double diversity_weight = 0;  ///< 0: a fifth of the objective, measured by a short run without.
  /// So many pictures from the first target, channel or direction to the second, which share their coarse structure.
  int64_t interpolate = 0;
  std::string direction;  ///< A .npy file [C] or [K,C] of directions in the layer, instead of channels.
  /// Pictures optimized together; 0: as many as are worth it, up to 16. None influences another.
  int64_t batch = 0;
};
/// Throws Error(kUsage) before the model is run when a target, channel or recipe does not exist.
MakeResult visualize(const VisualizeRequest& request, Progress* progress = nullptr);

/// `pellucid invert`: pictures whose activations are those of a picture.
struct InvertRequest {
  MakeOptions make;
  std::vector<std::string> inputs;
  std::vector<std::string> layers;
  std::string code;  ///< A .npy file with the activations [C,H,W] or [C] of the one layer, instead of pictures.
};
/// The objective is minus the squared distance over the squared norm of the picture's activations.
MakeResult invert(const InvertRequest& request, Progress* progress = nullptr);

/// `pellucid dream`: makes what a layer sees in a picture stronger.
struct DreamRequest {
  MakeOptions make;  ///< `size` 0 takes the picture's own, up to 1024 pixels.
  std::vector<std::string> inputs;
  std::string layer;
  int64_t channel = -1;  ///< One channel of it; -1: the mean square of all.
  std::string guide;     ///< A picture whose features are to be dreamt of.
  /// Frames of a film that goes into the dream: each begins with the last one, enlarged by `zoom`.
  int64_t zoom_frames = 0;
  double zoom = 1.05;
};
MakeResult dream(const DreamRequest& request, Progress* progress = nullptr);

/// Every recipe of a .json file: one, or those of a result.json. Throws Error(kInvalidInput) naming what is wrong.
std::vector<Recipe> load_recipes(const std::string& path);
/// The recipe as such a file.
std::string recipe_text(const Recipe& recipe);

}  // namespace pellucid
