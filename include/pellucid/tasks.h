#pragma once

// One request and one function per verb. The program and the server build the same requests, so they cannot disagree.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/annotations.h"
#include "pellucid/attribution.h"
#include "pellucid/ground_truth.h"
#include "pellucid/image.h"
#include "pellucid/progress.h"
#include "pellucid/training.h"

namespace pellucid {

/// `pellucid train`: a small network on generated pictures.
struct TrainRequest {
  std::string data = "an8flower-single";  ///< Name of a GroundTruthSet, or several joined by commas.
  /// "residual", or "vgg": a plain encoder for losses on features; its BatchNormalization is folded at the end and its
  /// activations are scaled to mean one.
  std::string architecture = "residual";
  int64_t input_size = 128;
  std::vector<int64_t> widths{16, 32, 64, 64};
  int64_t pictures_per_class = 600;  ///< Fresh ones in every epoch, unless `same_pictures`.
  int64_t test_per_class = 100;
  bool same_pictures = false;  ///< Every epoch sees the pictures of the first, in an order of its own.
  /// The labels of the training pictures are permuted: data-label randomization (Adebayo, Gilmer, Muelly, Goodfellow,
  /// Hardt, Kim. "Sanity Checks for Saliency Maps". NeurIPS 2018). Implies same_pictures: all there is to learn is by
  /// heart. Test pictures keep their labels.
  bool shuffle_labels = false;
  uint64_t seed = 1;  ///< Of weights and training pictures; test pictures have a seed of their own.
  TrainingOptions training;
  std::string output;  ///< The .onnx file; its card is written beside it, checkpoints to <output>.checkpoint.
};
struct TrainResult {
  std::vector<Trainer::EpochReport> epochs;
  double test_accuracy = 0;
  int64_t test_pictures = 0;
  /// Accuracy of the finished network (running statistics, no updates) on the training pictures with the labels it was
  /// given; only with same_pictures, negative otherwise.
  double train_accuracy = -1;
  /// What else the set asks to be measured on the test pictures: for sets with a shortcut "without the watermark",
  /// "with the watermark of another class" and "answers that follow that watermark"; for sets trained with parts left
  /// out "without PART" for each.
  std::vector<std::pair<std::string, double>> controls;
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
  std::string name;              ///< Safe and unique among the inputs; begins output file names.
  Image photo;                   ///< Upright RGB at its own size; what the tensor shows when the input is an array.
  Rect seen;                     ///< The part of the photo that the model sees.
  Rect content;                  ///< Where that part lies in the model's input (the rest is letterbox filling).
  Tensor input;                  ///< [1,C,H,W] or [1,H,W,C], model domain.
  std::string sha256;            ///< Of the file; empty when it was not asked for.
  std::string video_name;        ///< Of a frame: the name its video's other frames share.
  double frames_per_second = 0;  ///< Of a frame: of the frames that are taken.
};

/// Pictures, videos and arrays named by files, folders (searched without following links; hidden files left out) and
/// globs; sorted, each once. Throws Error(kInvalidInput) when a name leads to nothing.
std::vector<std::string> expand_inputs(const std::vector<std::string>& names);
/// Unique, safe names for these paths.
std::vector<std::string> unique_names(const std::vector<std::string>& paths);
Picture load_picture(const std::string& path, const std::string& name, const LoadedModel& model,
                     const ImageLimits& limits = {});
/// The same for a picture that is in memory; `path` is only recorded.
Picture picture_from_image(Image photo, const std::string& path, const std::string& name, const LoadedModel& model);
/// Where the photo lies in the model's input, for masks and boxes of annotations.h.
ModelView view_of(const Picture& picture, const ModelCard& card);
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
  int64_t every = 1;       ///< Of a video, each frame, each second one, ...
  int64_t max_frames = 0;  ///< Most frames taken of one video; 0: all.
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
  std::string name;
  std::string error;  ///< Set when the picture could not be read or its scores are not finite; the others go on.
};
struct PredictResult {
  std::vector<PredictedPicture> pictures;
  std::vector<std::string> notes;
  int64_t num_failed = 0;
};
PredictResult predict(const PredictRequest& request, Progress* progress = nullptr);

/// What is made of a map besides its picture.
enum class SegmentMode {
  kNone,
  kGrabCut,  ///< The object, by graph cut.
  kBox       ///< The box around the largest component above a threshold.
};

/// A region found from a map, in pixels of the photo.
struct ExplainedSegment {
  Rect box;
  int64_t num_pixels = 0;
  double threshold = 0;  ///< For kBox.
  std::string mask_file, cutout_file;
  std::optional<double> iou, box_iou;  ///< With the mask given, within what the model sees.
};

/// `pellucid explain`.
struct ExplainRequest {
  ModelOptions model;
  RunOptions run;
  std::string methods = "grad-cam";
  std::vector<std::string> layers;  ///< For the CAM family; several are fused. Empty: the card's or `auto`.
  std::vector<std::string> targets{"top1"};
  std::string mask;               ///< Picture, or folder with a mask of the same stem for each input.
  std::optional<Rect> box;        ///< Instead of a mask: a rectangle in pixels of the picture.
  std::string regions;            ///< Label picture, or folder of them: each color a feature to perturb.
  std::string background;         ///< Folder of pictures to compare with, for methods that average over baselines.
  int64_t background_count = 16;  ///< Most pictures taken from it, evenly spread.
  SegmentMode segment = SegmentMode::kNone;
  double box_threshold = 0;   ///< Share of the maximum for kBox; 0: that of the method's paper (CAM 0.2, others 0.15).
  std::string output;         ///< Folder; made when missing.
  bool report = false;        ///< Also write report.html.
  std::string color_map;      ///< Empty: turbo, or coolwarm for signed maps.
  std::string normalization;  ///< Empty: max, or symmetric for signed maps; percentile for gradient maps.
  double opacity = 0.5;
  bool shared_scale = false;  ///< One color scale for all maps of a method over targets.
  bool write_arrays = true;
  std::string reference;  ///< Picture for the target `similarity`.
  bool video = false;     ///< Of a video's frames, also write the overlays as a video.
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
  std::optional<ExplainedSegment> segment;
};
/// A file that a picture was explained with, and the SHA-256 of its bytes.
struct UsedFile {
  std::string path, sha256;
};
struct ExplainedPicture {
  std::string path, name, error, sheet_file, sha256;
  UsedFile mask, regions;          ///< Empty when there was none.
  std::vector<std::string> notes;  ///< What could not be done for this picture.
  std::vector<Prediction> classes;
  std::vector<ExplainedMap> maps;
};
struct ExplainResult {
  std::vector<ExplainedPicture> pictures;
  std::vector<std::string> notes;  ///< What was chosen and why.
  int64_t num_failed = 0;
  std::string result_file, report_file;
  std::vector<std::string> video_files;
  UsedFile reference;
  std::vector<UsedFile> background;
  std::string json;  ///< What result.json holds.
};
/// Explains every picture by every method for every target and writes overlays, arrays, a contact sheet per picture,
/// result.json (last) and, if asked for, report.html. A picture that cannot be read or explained is reported and the
/// others go on; when none can, throws the first one's error.
ExplainResult explain(const ExplainRequest& request, Progress* progress = nullptr);

/// `pellucid info`.
struct ModelInfo {
  std::vector<LayerInfo> layers;
  std::string cam_layer;  ///< Name of the layer that `auto` means; empty when there is none.
  double flops = 0;
  std::string json;  ///< Everything, as --json prints it.
};
ModelInfo inspect(const LoadedModel& model, const Progress* progress = nullptr);

/// What each part of a generated picture is worth to a network: the logit of the request's class less the logit when
/// the part is deleted, in the order of the set's parts (the single-deletion score of Hesse, Schaub-Meyer, Roth, ICCV
/// 2023). Parts already in `removed_parts` are worth 0. The picture is drawn at the card's size, which must be square.
std::vector<double> part_importance(const Network& network, const ModelCard& card, const GroundTruthSet& set,
                                    GroundTruthRequest request);

/// `pellucid dataset NAME`: pictures with their truth, see docs/formats.md.
struct DatasetRequest {
  std::string name = "an8flower-single";  ///< Of a GroundTruthSet.
  int64_t per_class = 100;
  uint64_t seed = 1;
  int size = 128;
  std::set<std::string> removed_parts;  ///< Left out of every picture.
  bool swap_shortcut = false;           ///< In sets with a shortcut: the mark of the next class instead of its own.
  std::string output;
};
/// Returns the number of pictures written. Deterministic.
int64_t write_dataset(const DatasetRequest& request, Progress* progress = nullptr);

}  // namespace pellucid
