#pragma once

#include "pellucid/stylize.h"

namespace pellucid {

/// The features of pictures that losses of style and content are computed from.
class FeatureLosses {
 public:
  /// The model must outlive it. Throws Error(kUsage) when the layers cannot be found or chosen.
  FeatureLosses(const LoadedModel& model, const FeatureLayers& layers);

  struct Features {
    TensorList style;
    Tensor content;
  };
  /// Of pictures [N,3,H,W] in display range, differentiable.
  Features of(const Tensor& display) const;
  /// Gram matrices of the layers of style, without gradients.
  TensorList grams(const Tensor& display) const;
  /// [N], relative to targets of N or one picture.
  static Tensor style_loss(const Features& features, const TensorList& target_grams);
  static Tensor content_loss(const Features& features, const Features& target);
  StyleMeasure measure(const Tensor& display, const TensorList& style_grams, const Tensor& content) const;

  /// Names of the layers in force.
  const FeatureLayers& layers() const { return names_; }

 private:
  const LoadedModel& model_;
  FeatureLayers names_;
  std::vector<ValueId> style_;
  ValueId content_ = kNoValue;
};

/// The ReLUs of a network by the size of their map: for each size, from the largest, its ReLUs in order. Names.
std::vector<std::vector<LayerInfo>> rectified_by_size(const LoadedModel& model);

/// The model that measures style: the one named, or the shipped encoder. Throws Error(kUsage) when there is none.
LoadedModel load_style_measure(ModelOptions options);

}  // namespace pellucid
