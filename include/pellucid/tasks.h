#pragma once

// One request and one function per verb. The program and the server build the same requests, so they cannot disagree.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pellucid/attribution.h"
#include "pellucid/flowers.h"
#include "pellucid/image.h"
#include "pellucid/progress.h"
#include "pellucid/training.h"

namespace pellucid {

/// `pellucid train`: a residual network on generated flower pictures.
struct TrainRequest {
  FlowerVariant variant = FlowerVariant::kSingle6c;
  int64_t input_size = 128;
  std::vector<int64_t> widths{16, 32, 64, 64};
  int64_t pictures_per_class = 600;  ///< Fresh ones in every epoch.
  int64_t test_per_class = 100;
  uint64_t seed = 1;  ///< Of weights and training pictures; test pictures have a seed of their own.
  TrainingOptions training;
  std::string output;  ///< The .onnx file; its card is written beside it, checkpoints to <output>.checkpoint.
};
struct TrainResult {
  std::vector<Trainer::EpochReport> epochs;
  double test_accuracy = 0;
  int64_t test_pictures = 0;
  int64_t resumed_after = 0;  ///< Epochs that a checkpoint had already done.
};
/// Trains, tests on pictures never trained on, writes model and card, removes the checkpoint. Interrupted runs go on
/// from their checkpoint. `report` is called after each epoch.
TrainResult train(const TrainRequest& request, const std::function<void(const Trainer::EpochReport&)>& report = {},
                  Progress* progress = nullptr);

/// How to open a model. Zero and empty fields take the card's, the file's or the default value.
struct ModelOptions {
  std::string path;
  std::string card;    ///< Card file; by default NAME.json beside NAME.onnx when it is there.
  std::string preset;  ///< Instead of a card.
  std::string labels;  ///< File with one label per line.
  int64_t width = 0, height = 0;
  std::string device = "cpu";
  Precision precision = Precision::kFloat32;
};

/// A model ready to be explained.
struct LoadedModel {
  std::string path;
  Network network;
  ModelCard card;
  /// SHA-256 of the file, computed when first asked for.
  std::string hash() const;
};
LoadedModel load_model(const ModelOptions& options);

/// A picture as the user sees it and as the model gets it.
struct Picture {
  std::string path;
  std::string name;  ///< Safe and unique among the inputs; begins output file names.
  Image photo;       ///< Upright RGB at its own size; what the tensor shows when the input is an array.
  Rect seen;         ///< The part of the photo that the model sees.
  Rect content;      ///< Where that part lies in the model's input (the rest is letterbox filling).
  Tensor input;      ///< [1,C,H,W] or [1,H,W,C], model domain.
};

/// Pictures and arrays named by files, folders (searched without following links; hidden files left out) and globs;
/// sorted, each once. Throws Error(kInvalidInput) when a name leads to nothing.
std::vector<std::string> expand_inputs(const std::vector<std::string>& names);
/// Unique, safe names for these paths.
std::vector<std::string> unique_names(const std::vector<std::string>& paths);
Picture load_picture(const std::string& path, const std::string& name, const LoadedModel& model,
                     const ImageLimits& limits = {});
/// The arrays in a .npy file [C,H,W] or [N,C,H,W], taken as already preprocessed.
std::vector<Picture> load_pictures(const std::string& path, const std::string& name, const LoadedModel& model,
                                   const ImageLimits& limits = {});

struct Prediction {
  int64_t index = 0;
  std::string label;
  double logit = 0;
  double probability = 0;
};
/// The k best classes of each row of logits; sigmoid or softmax as the model has it.
std::vector<std::vector<Prediction>> top_classes(const Tensor& logits, const LoadedModel& model,
                                                 const LayerTable& layers, int64_t k);

/// What is common to all verbs that run a model on pictures.
struct RunOptions {
  std::vector<std::string> inputs;
  int64_t batch_size = 8;
  uint64_t seed = 0;
  ImageLimits image_limits;
};

/// `pellucid predict`.
struct PredictRequest {
  ModelOptions model;
  RunOptions run;
  int64_t top = 5;
};
struct PredictedPicture {
  std::string path;
  std::vector<Prediction> classes;
  std::string error;  ///< Set when the picture could not be read; the others go on.
};
struct PredictResult {
  std::vector<PredictedPicture> pictures;
  std::vector<std::string> notes;
  int64_t num_failed = 0;
};
PredictResult predict(const PredictRequest& request, Progress* progress = nullptr);

/// `pellucid explain`.
struct ExplainRequest {
  ModelOptions model;
  RunOptions run;
  std::string methods = "grad-cam";
  std::vector<std::string> layers;  ///< For the CAM family; several are fused. Empty: the card's or `auto`.
  std::vector<std::string> targets{"top1"};
  std::string mask;           ///< Picture, or folder with a mask of the same stem for each input.
  std::string output;         ///< Folder; made when missing.
  bool report = false;        ///< Also write report.html.
  std::string color_map;      ///< Empty: turbo, or coolwarm for signed maps.
  std::string normalization;  ///< Empty: max, or symmetric for signed maps; percentile for gradient maps.
  double opacity = 0.5;
  bool shared_scale = false;  ///< One color scale for all maps of a method over targets.
  bool write_arrays = true;
  std::string reference;  ///< Picture for the target `similarity`.
};
struct ExplainedMap {
  std::string method;  ///< Method string with all parameters.
  std::string title;
  std::string target;
  int64_t class_index = -1;
  double score = 0;         ///< Value of the target.
  double probability = -1;  ///< Of the class; negative when the target is no class.
  std::vector<std::string> layers;
  std::string overlay_file, values_file, input_file;
  std::map<std::string, std::string> layer_files;  ///< Layer name -> its raw map, when several layers are fused.
  std::map<std::string, std::string> extra_files;  ///< Further maps by name: "standard-error", "features".
  double lowest = 0, highest = 0;                  ///< Of the map at input resolution.
  bool is_signed = false;
  std::string reduction;
  std::map<std::string, double> diagnostics;
  std::vector<std::string> notes;
  std::map<std::string, int64_t> rule_uses;
  double milliseconds = 0;  ///< Of the whole batch, divided by its pictures.
  std::optional<std::map<std::string, double>> localization;
};
struct ExplainedPicture {
  std::string path, name, error, sheet_file;
  std::vector<Prediction> classes;
  std::vector<ExplainedMap> maps;
};
struct ExplainResult {
  std::vector<ExplainedPicture> pictures;
  std::vector<std::string> notes;  ///< What was chosen and why.
  int64_t num_failed = 0;
  std::string result_file, report_file;
  std::string json;  ///< What result.json holds.
};
/// Explains every picture by every method for every target and writes overlays, arrays, a contact sheet per picture,
/// result.json (last) and, if asked for, report.html. A picture that cannot be read is reported and the others go on;
/// when none can, throws Error(kInvalidInput).
ExplainResult explain(const ExplainRequest& request, Progress* progress = nullptr);

/// `pellucid info`.
struct ModelInfo {
  std::vector<LayerInfo> layers;
  std::string cam_layer;  ///< Name of the layer that `auto` means; empty when there is none.
  double flops = 0;
  std::string json;  ///< Everything, as --json prints it.
};
ModelInfo inspect(const LoadedModel& model);

/// `pellucid dataset an8flower`: pictures, masks, part maps and labels.csv.
struct FlowerRequest {
  FlowerVariant variant = FlowerVariant::kSingle6c;
  int64_t per_class = 100;
  uint64_t seed = 1;
  int size = 128;
  std::string output;
};
/// Returns the number of pictures written. Deterministic.
int64_t write_flowers(const FlowerRequest& request, Progress* progress = nullptr);

}  // namespace pellucid
