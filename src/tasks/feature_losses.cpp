#include "tasks/feature_losses.h"

#include "pellucid/error.h"
#include "pellucid/style_networks.h"
#include "pellucid/text.h"
#include "tasks/shipped_models.h"

namespace pellucid {

namespace {

constexpr size_t kSizes = 4;
constexpr size_t kContentSize = 2;

Shape probe_shape(const ModelCard& card) {
  const int64_t height = card.height > 0 ? card.height : 64, width = card.width > 0 ? card.width : 64;
  return card.channels_first ? Shape{1, card.channels(), height, width} : Shape{1, height, width, card.channels()};
}

}  // namespace

std::vector<std::vector<LayerInfo>> rectified_by_size(const LoadedModel& model) {
  const LayerTable table(model.network, {probe_shape(model.card)});
  std::vector<std::vector<LayerInfo>> sizes;
  for (const LayerInfo& layer : table.layers()) {
    if ((layer.op != "Relu" && layer.op != "Clip") || layer.shape.size() != 4) continue;
    if (sizes.empty() || sizes.back().back().shape[2] != layer.shape[2]) sizes.emplace_back();
    sizes.back().push_back(layer);
  }
  return sizes;
}

FeatureLosses::FeatureLosses(const LoadedModel& model, const FeatureLayers& layers) : model_(model), names_(layers) {
  if (model.card.channels() != 3 || !model.card.channels_first) {
    throw_usage(printable(model.path) + ": only networks for [N,3,H,W] pictures can measure style");
  }
  if (names_.style.empty() || names_.content.empty()) {
    const auto sizes = rectified_by_size(model);
    if (sizes.empty()) throw_usage(printable(model.path) + ": no ReLU to measure style by; name layers");
    if (names_.style.empty()) {
      for (size_t i = 0; i < std::min(kSizes, sizes.size()); ++i) names_.style.push_back(sizes[i].back().name);
    }
    if (names_.content.empty()) names_.content = sizes[std::min(kContentSize, sizes.size() - 1)].back().name;
  }
  const LayerTable table(model.network, {probe_shape(model.card)});
  for (std::string& name : names_.style) {
    style_.push_back(table.find(name));
    name = table.layer(style_.back()).name;
  }
  content_ = table.find(names_.content);
  names_.content = table.layer(content_).name;
}

FeatureLosses::Features FeatureLosses::of(const Tensor& display) const {
  Request request;
  request.capture = style_;
  request.capture.push_back(content_);
  const Tensor rgb = model_.card.order == ChannelOrder::kBgr ? display.flip(1) : display;
  const Values values = model_.network.run_with_autograd({model_.card.model_from_display(rgb)}, request);
  Features features;
  for (const ValueId id : style_) features.style.push_back(values.at(id));
  features.content = values.at(content_);
  return features;
}

TensorList FeatureLosses::grams(const Tensor& display) const {
  const at::NoGradGuard no_grad;
  TensorList grams;
  for (const Tensor& features : of(display).style) grams.push_back(gram_matrices(features));
  return grams;
}

Tensor FeatureLosses::style_loss(const Features& features, const TensorList& target_grams) {
  Tensor sum;
  for (size_t i = 0; i < target_grams.size(); ++i) {
    const Tensor error = relative_error(gram_matrices(features.style[i]), target_grams[i]);
    sum = sum.defined() ? sum + error : error;
  }
  return sum / static_cast<double>(target_grams.size());
}

Tensor FeatureLosses::content_loss(const Features& features, const Features& target) {
  return relative_error(features.content, target.content);
}

StyleMeasure FeatureLosses::measure(const Tensor& display, const TensorList& style_grams, const Tensor& content) const {
  const at::NoGradGuard no_grad;
  const Features made = of(display);
  return {style_loss(made, style_grams).mean().item<double>(), content_loss(made, of(content)).mean().item<double>()};
}

LoadedModel load_style_measure(ModelOptions options) {
  if (options.path.empty()) options.path = shipped_model("texture_encoder.onnx");
  if (options.path.empty()) throw_usage("texture_encoder.onnx is not in ./models; name a network that measures style");
  return load_model(options);
}

}  // namespace pellucid
