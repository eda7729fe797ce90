#pragma once

#include <string>
#include <vector>

#include "pellucid/layers.h"

namespace pellucid {

/// How a picture is brought to the input size of a model.
enum class ResizePolicy {
  kStretch,     ///< Both sides are resized independently.
  kCenterCrop,  ///< The shorter side is resized to `resize_to`, then the centre is cut out.
  kLetterbox    ///< Resized to fit, the rest filled with grey.
};
enum class ChannelOrder { kRgb, kBgr, kGray };

/// How a model wants its pictures: everything between a decoded photo and the input tensor, and the names of the
/// classes. A pixel p in 0..255 enters the network as (p * scale - mean[c]) / std[c].
struct ModelCard {
  std::string preset = "none";  ///< Where the numbers come from; "custom" when a card file or flags changed them.
  int64_t width = 0;            ///< Input size in pixels; 0 takes the model's own, or the picture's where that is open.
  int64_t height = 0;
  ResizePolicy resize = ResizePolicy::kStretch;
  int64_t resize_to = 0;  ///< Shorter side before cropping (kCenterCrop); 0 takes the input size.
  ChannelOrder order = ChannelOrder::kRgb;
  bool channels_first = true;  ///< [N,C,H,W]; false for [N,H,W,C].
  double scale = 1.0;
  std::vector<double> mean{0.0};
  std::vector<double> std{1.0};
  std::vector<std::string> labels;
  std::string labels_file;         ///< Name of a file beside the model that lists them, when only that is known.
  std::string default_layer;       ///< Layer for the CAM family, or empty for `auto`.
  std::vector<std::string> notes;  ///< What was guessed, and why.

  int64_t channels() const { return order == ChannelOrder::kGray ? 1 : 3; }
  /// Label of a class, or "class N".
  std::string label(int64_t index) const;

  /// A picture tensor [N,C,H,W] in display range 0..1 (channels in the order the model wants) as model input, and back.
  Tensor model_from_display(const Tensor& display) const;
  Tensor display_from_model(const Tensor& input) const;
};

/// imagenet, imagenet-tf ([-1,1]), caffe, cifar10, mnist, flower, none.
std::vector<std::string> card_presets();
/// Throws Error(kUsage) that lists the presets.
ModelCard card_from_preset(const std::string& name);

/// The preprocessing that a graph's metadata states (keys mean, std, input_color, resize, labels, pellucid.preset), or
/// else the preset that fits its input's shape; with the input size filled in and a note on where it comes from.
ModelCard guess_card(const Graph& graph);

/// Writes a graph's declared input size into a card that leaves it open, and checks that the card fits the input
/// (channels, layout). Throws Error(kUsage) when it does not.
void fit_card(ModelCard& card, const Graph& graph);

/// One label per line; a trailing empty line is dropped. Throws Error(kInvalidInput) over 64 MiB or 10^6 lines.
std::vector<std::string> read_labels(const std::string& path);

/// What is being explained: a scalar for each image. As text:
///   top1, top2, ...        the class ranked first, second, ... on the clean image (default top1)
///   285, "tabby"           a class by index or label (case does not matter; a unique word or part of a label will do)
///   probability:CLASS      its softmax (or sigmoid) probability instead of its logit
///   CLASS vs CLASS         the difference of two logits
///   mean:CLASS             the logit less the mean of all logits
///   channel:LAYER:K        the sum of one channel of a layer
///   unit:LAYER:K,Y,X       one neuron
///   element:OUTPUT:I,J     one element of a graph output (its name or its position, from 0), for detectors and
///                          regressors (indices after the batch)
///   similarity             cosine to a reference embedding (set `reference`)
///   CLASS in X,Y,W,H       on a dense output, a class summed over a box in pixels of the model's input
/// On a dense output [N,classes,H,W] (or [N,H,W,classes], see LayerTable::class_axis) a class means the sum of its
/// logit over `mask` and `box` (default: where it wins).
struct Target {
  enum class Kind { kRank, kClass, kDifference, kMeanDifference, kChannel, kUnit, kElement, kSimilarity };
  Kind kind = Kind::kRank;
  int64_t rank = 1;
  std::string name;   ///< Class name or index as given.
  std::string other;  ///< Second class of a difference.
  bool probability = false;
  std::string layer;  ///< For channel, unit and element.
  std::vector<int64_t> position;
  /// [H,W], or [N,H,W] with one for each image (all zero: none for that one), at any size, nonzero inside; for dense
  /// outputs, to which it is resized with nearest.
  Tensor mask;
  /// Left, top, width, height in pixels of the model's input, or empty; for dense outputs. A position of the output
  /// belongs to it when its centre does, and the one that holds the centre of the box always.
  std::vector<double> box;
  Tensor reference;  ///< Embedding [D].
  std::string text = "top1";

  /// Throws Error(kUsage) for text that is none of the above.
  static Target parse(const std::string& text);
};

/// A target made definite for a batch: which value it is read from and, per image, which class. Fixed on the clean
/// images and unchanged through all perturbations.
class BoundTarget {
 public:
  /// `id` is `target_value` of the target and `value` what it holds for the clean images.
  BoundTarget(const Target& target, const LayerTable& layers, const ModelCard& card, ValueId id, const Tensor& value);

  /// The value the target is read from.
  ValueId value() const { return value_; }
  int64_t size() const { return classes_.defined() ? classes_.size(0) : count_; }
  /// The target for other rows: row i of the result belongs to image rows[i].
  BoundTarget rows(const std::vector<int64_t>& rows) const;
  /// The target for the mirrored pictures (left and right exchanged): masks are mirrored, classes stay. Throws
  /// Error(kUsage) for targets that name a position.
  BoundTarget mirrored() const;

  /// The scalar of each image, [N]; differentiable.
  Tensor score(const Tensor& value) const;
  /// d score / d value.
  Tensor seed(const Tensor& value) const;
  /// Softmax or sigmoid probability of the class, [N]; undefined when the target is no class.
  Tensor probability(const Tensor& value) const;
  /// Its logarithm, without underflow where the class is improbable; differentiable.
  Tensor log_probability(const Tensor& value) const;

  /// Class index of image i, or -1.
  int64_t class_index(int64_t i) const;
  /// What image i is explained for: "frog", "p(frog)", "frog vs cat", "frog vs mean", "frog in 8,8,16,16", or the
  /// target's text when it is no class.
  const std::string& description(int64_t i) const { return descriptions_.at(static_cast<size_t>(i)); }
  bool is_dense() const { return dense_; }
  /// Whether the target is a class by itself, not the difference of classes or anything else.
  bool names_one_class() const { return target_.kind == Target::Kind::kRank || target_.kind == Target::Kind::kClass; }

 private:
  Tensor class_scores(const Tensor& value) const;
  Tensor classes_first(const Tensor& value) const;
  std::string describe(int64_t i, const ModelCard& card) const;

  Target target_;
  ValueId value_ = kNoValue;
  int64_t count_ = 0;
  Tensor classes_;  ///< int64 [N]
  Tensor others_;
  Tensor masks_;  ///< [N,H,W], for dense outputs
  bool dense_ = false;
  bool binary_ = false;
  bool classes_last_ = false;
  bool sigmoid_ = false;  ///< The model squashes each logit by itself (multi-label).
  std::vector<std::string> descriptions_;
};

/// The value a target is read from: the logits, or the layer or output it names.
ValueId target_value(const Target& target, const LayerTable& layers, const Graph& graph);

/// Class index from an index or label. Throws Error(kUsage) with the nearest labels, or the candidates when several
/// fit.
int64_t class_from_name(const std::string& name, const ModelCard& card, int64_t num_classes);

}  // namespace pellucid
