#include <cmath>
#include <sstream>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/model.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

Tensor per_channel(const std::vector<double>& numbers, const Tensor& like) {
  return at::tensor(numbers, at::kDouble).to(like.options()).view({1, -1, 1, 1});
}

struct Preset {
  const char* name;
  ModelCard card;
};

ModelCard preset(const char* name, double scale, std::vector<double> mean, std::vector<double> std,
                 ChannelOrder order = ChannelOrder::kRgb, ResizePolicy resize = ResizePolicy::kStretch) {
  ModelCard card;
  card.preset = name;
  card.scale = scale;
  card.mean = std::move(mean);
  card.std = std::move(std);
  card.order = order;
  card.resize = resize;
  return card;
}

const std::vector<Preset>& presets() {
  static const std::vector<Preset> list = {
      {"imagenet", preset("imagenet", 1.0 / 255, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}, ChannelOrder::kRgb,
                          ResizePolicy::kCenterCrop)},
      {"imagenet-tf", preset("imagenet-tf", 1.0 / 127.5, {1, 1, 1}, {1, 1, 1}, ChannelOrder::kRgb, ResizePolicy::kCenterCrop)},
      {"caffe", preset("caffe", 1.0, {103.939, 116.779, 123.68}, {1, 1, 1}, ChannelOrder::kBgr, ResizePolicy::kCenterCrop)},
      {"cifar10", preset("cifar10", 1.0 / 255, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225})},
      {"mnist", preset("mnist", 1.0 / 255, {0.1307}, {0.3081}, ChannelOrder::kGray)},
      {"flower", preset("flower", 1.0 / 255, {0.5, 0.5, 0.5}, {0.25, 0.25, 0.25})},
      {"none", preset("none", 1.0, {0, 0, 0}, {1, 1, 1})}};
  return list;
}

struct InputSize {
  int64_t channels = -1, height = -1, width = -1;
  bool channels_first = true;
  bool known = false;
};

InputSize input_size(const Graph& graph) {
  InputSize size;
  if (graph.inputs().empty()) throw_unsupported(graph.name + ": the model has no input");
  const GraphInput& input = graph.inputs().front();
  if (!input.has_shape || input.shape.size() != 4) return size;
  const Shape& s = input.shape;
  size.known = true;
  size.channels_first = !(s[3] >= 1 && s[3] <= 4 && s[1] > 4) && !(s[3] == 3 && s[1] < 0);
  size.channels = size.channels_first ? s[1] : s[3];
  size.height = size.channels_first ? s[2] : s[1];
  size.width = size.channels_first ? s[3] : s[2];
  return size;
}

}  // namespace

std::string ModelCard::label(int64_t index) const {
  if (index >= 0 && index < static_cast<int64_t>(labels.size())) return labels[static_cast<size_t>(index)];
  return "class " + std::to_string(index);
}

Tensor ModelCard::model_from_display(const Tensor& display) const {
  return (display * (255.0 * scale) - per_channel(mean, display)) / per_channel(std, display);
}

Tensor ModelCard::display_from_model(const Tensor& input) const {
  return (input * per_channel(std, input) + per_channel(mean, input)) / (255.0 * scale);
}

std::vector<std::string> card_presets() {
  std::vector<std::string> names;
  for (const Preset& p : presets()) names.push_back(p.name);
  return names;
}

ModelCard card_from_preset(const std::string& name) {
  for (const Preset& p : presets()) {
    if (name == p.name) return p.card;
  }
  throw_usage("preset is '" + printable(name) + "'" + did_you_mean(name, card_presets()) + "; " + join(card_presets(), ", ") +
              " are known");
}

ModelCard guess_card(const Graph& graph) {
  const InputSize size = input_size(graph);
  std::string name = "none";
  std::string why = "nothing in the file tells";
  const auto wanted = graph.metadata.find("pellucid.preset");
  if (wanted != graph.metadata.end()) {
    name = wanted->second;
    why = "the file's metadata";
  } else if (size.channels == 1) {
    name = "mnist";
    why = "one input channel";
  } else if (size.channels == 3 && size.height == 32 && size.width == 32) {
    name = "cifar10";
    why = "an input of 3x32x32";
  } else if (size.channels == 3 && !size.channels_first) {
    name = "imagenet-tf";
    why = "a channels-last input, as TensorFlow writes";
  } else if (size.channels == 3 && graph.find("classifier") != kNoValue && graph.producer.find("tf2onnx") != std::string::npos) {
    name = "imagenet-tf";
    why = "the exporter tf2onnx";
  } else if (size.channels == 3 && (size.height < 0 || size.height >= 64)) {
    name = "imagenet";
    why = "three input channels" + (size.height > 0 ? " of " + std::to_string(size.height) + "x" + std::to_string(size.width) : "");
  }
  ModelCard card = card_from_preset(name);
  card.channels_first = size.channels_first;
  card.notes.push_back("preprocessing '" + name + "' guessed from " + why + "; set it with --preset or a card file");
  fit_card(card, graph);
  return card;
}

void fit_card(ModelCard& card, const Graph& graph) {
  const InputSize size = input_size(graph);
  if (graph.inputs().size() != 1) {
    throw_unsupported(graph.name + ": the model has " + std::to_string(graph.inputs().size()) +
                      " inputs; models with one picture as input are supported");
  }
  if (!at::isFloatingType(graph.inputs().front().type)) {
    throw_unsupported(graph.name + ": its input '" + printable(graph.value(graph.inputs().front().value).name) +
                      "' is not floating point, so no gradient reaches it");
  }
  if (graph.inputs().front().has_shape && !size.known) {
    throw_unsupported(graph.name + ": its input has shape " + shape_text(graph.inputs().front().shape) +
                      "; a picture [N,C,H,W] or [N,H,W,C] is supported");
  }
  if (size.known && size.channels >= 0 && size.channels != card.channels()) {
    if (size.channels == 1 && card.channels() == 3 && card.preset == "none") {
      card.order = ChannelOrder::kGray;
    } else {
      throw_usage(graph.name + ": the model takes " + std::to_string(size.channels) + " channels but the card '" + card.preset +
                  "' makes " + std::to_string(card.channels()));
    }
  }
  const auto one_per_channel = [&](std::vector<double>& numbers, const char* what) {
    if (static_cast<int64_t>(numbers.size()) == card.channels()) return;
    if (numbers.size() == 1 || card.order == ChannelOrder::kGray) {
      numbers.assign(static_cast<size_t>(card.channels()), numbers.empty() ? 0.0 : numbers.front());
    } else {
      throw_usage("card: " + std::string(what) + " has " + std::to_string(numbers.size()) + " numbers; " +
                  std::to_string(card.channels()) + " channels need as many");
    }
  };
  one_per_channel(card.mean, "mean");
  one_per_channel(card.std, "std");
  for (const double s : card.std) {
    if (!(s > 0) || !std::isfinite(s)) throw_usage("card: std is " + number_text(s) + "; it must be positive");
  }
  if (!(card.scale > 0) || !std::isfinite(card.scale)) throw_usage("card: scale must be positive");
  if (card.width == 0 && size.width > 0) card.width = size.width;
  if (card.height == 0 && size.height > 0) card.height = size.height;
  if (card.width == 0 && card.preset.rfind("imagenet", 0) == 0) card.width = card.height = 224;
  if (card.resize == ResizePolicy::kCenterCrop && card.resize_to == 0 && card.width > 0) {
    // 256 for 224, and the same margin for other sizes.
    card.resize_to = std::llround(static_cast<double>(std::min(card.width, card.height)) * 256.0 / 224.0);
  }
}

std::vector<std::string> read_labels(const std::string& path) {
  const std::string bytes = read_file(path, int64_t{64} << 20);
  std::vector<std::string> labels;
  std::istringstream stream(bytes);
  std::string line;
  while (std::getline(stream, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    labels.push_back(printable(line, 300));
    if (labels.size() > 1000000) throw_invalid(path + ": more than 1000000 labels");
  }
  return labels;
}

}  // namespace pellucid
