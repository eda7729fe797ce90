#include <algorithm>
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
      {"imagenet-tf",
       preset("imagenet-tf", 1.0 / 127.5, {1, 1, 1}, {1, 1, 1}, ChannelOrder::kRgb, ResizePolicy::kCenterCrop)},
      {"caffe",
       preset("caffe", 1.0, {103.939, 116.779, 123.68}, {1, 1, 1}, ChannelOrder::kBgr, ResizePolicy::kCenterCrop)},
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

/// "0.485,0.456,0.406"; false when that is not what it is.
bool numbers_from(const std::string& text, std::vector<double>& numbers) {
  numbers.clear();
  for (const std::string& part : split(text, ',')) {
    double value = 0;
    if (!parse_double(trim(part), value)) return false;
    numbers.push_back(value);
  }
  return numbers.size() == 1 || numbers.size() == 3;
}

/// The first integer after `words` in a sentence such as "shorter side to 256, centre crop 224".
int64_t integer_after(const std::string& text, const std::string& words) {
  size_t at = text.find(words);
  if (at == std::string::npos) return 0;
  at = text.find_first_of("0123456789", at + words.size());
  int64_t value = 0;
  const size_t end = at == std::string::npos ? at : text.find_first_not_of("0123456789", at);
  return at != std::string::npos && parse_int(text.substr(at, end - at), value) && value <= 16384 ? value : 0;
}

/// Exporters write how pictures are prepared into the file's metadata; there is no standard, these keys are common.
bool card_from_metadata(const Graph& graph, ModelCard& card) {
  const auto text = [&](const char* key) {
    const auto found = graph.metadata.find(key);
    return found == graph.metadata.end() ? std::string() : found->second;
  };
  if (!numbers_from(text("mean"), card.mean) || !numbers_from(text("std"), card.std)) return false;
  for (const double s : card.std) {
    if (!(s > 0)) return false;
  }
  card.preset = "metadata";
  // Means above 1 are in units of 0..255, the others of 0..1.
  const bool bytes = *std::max_element(card.mean.begin(), card.mean.end()) > 1 ||
                     *std::max_element(card.std.begin(), card.std.end()) > 1;
  card.scale = bytes ? 1.0 : 1.0 / 255;
  card.order = card.mean.size() == 1          ? ChannelOrder::kGray
               : text("input_color") == "BGR" ? ChannelOrder::kBgr
                                              : ChannelOrder::kRgb;
  const std::string resize = text("resize");
  const int64_t shorter = integer_after(resize, "shorter side");
  if (shorter > 0) {
    card.resize = ResizePolicy::kCenterCrop;
    card.resize_to = shorter;
    const int64_t side = integer_after(resize, "crop");
    const InputSize size = input_size(graph);
    if (side > 0 && size.height < 0) card.width = card.height = side;
  }
  const std::string labels = text("labels");
  if (!labels.empty() && labels.size() < 200 && labels.find_first_of("/\\:") == std::string::npos && labels[0] != '.') {
    card.labels_file = labels;
  }
  card.notes.push_back("preprocessing from the model's metadata");
  return true;
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
  throw_usage("preset is '" + printable(name) + "'; " + join(card_presets(), ", ") + " are known" +
              did_you_mean(name, card_presets()));
}

ModelCard guess_card(const Graph& graph) {
  const InputSize size = input_size(graph);
  ModelCard stated;
  if (card_from_metadata(graph, stated)) {
    stated.channels_first = size.channels_first;
    fit_card(stated, graph);
    return stated;
  }
  std::string name = "none";
  std::string why;
  const auto wanted = graph.metadata.find("pellucid.preset");
  if (wanted != graph.metadata.end()) {
    name = wanted->second;
    why = "the file's metadata";
  } else if (!graph.inputs().empty() && !at::isFloatingType(graph.inputs().front().type)) {
    why = "an input of integers";
  } else if (size.channels == 1) {
    name = "mnist";
    why = "one input channel";
  } else if (size.channels == 3 && size.height == 32 && size.width == 32) {
    name = "cifar10";
    why = "an input of 3x32x32";
  } else if (size.channels == 3 && !size.channels_first) {
    name = "imagenet-tf";
    why = "a channels-last input, as TensorFlow writes";
  } else if (size.channels == 3 && graph.find("classifier") != kNoValue &&
             graph.producer.find("tf2onnx") != std::string::npos) {
    name = "imagenet-tf";
    why = "the exporter tf2onnx";
  } else if (size.channels == 3 && (size.height < 0 || size.height >= 64)) {
    name = "imagenet";
    why = "three input channels" +
          (size.height > 0 ? " of " + std::to_string(size.height) + "x" + std::to_string(size.width) : "");
  }
  ModelCard card = card_from_preset(name);
  card.channels_first = size.channels_first;
  card.notes.push_back("preprocessing '" + name + "'" +
                       (why.empty() ? ", since nothing in the file tells of another" : " guessed from " + why) +
                       "; set it with --preset or a card file");
  fit_card(card, graph);
  return card;
}

void fit_card(ModelCard& card, const Graph& graph) {
  const InputSize size = input_size(graph);
  if (graph.inputs().size() != 1) {
    throw_unsupported(graph.name + ": the model has " + std::to_string(graph.inputs().size()) +
                      " inputs; models with one picture as input are supported");
  }
  if (graph.inputs().front().type == at::kBool) {
    throw_unsupported(graph.name + ": its input '" + printable(graph.value(graph.inputs().front().value).name) +
                      "' is bool; a picture of numbers is supported");
  }
  if (graph.inputs().front().has_shape && !size.known) {
    throw_unsupported(graph.name + ": its input has shape " + shape_text(graph.inputs().front().shape) +
                      "; a picture [N,C,H,W] or [N,H,W,C] is supported");
  }
  if (size.known && size.channels >= 0 && size.channels != card.channels()) {
    if (size.channels == 1 && card.channels() == 3 && card.preset == "none") {
      card.order = ChannelOrder::kGray;
    } else {
      throw_usage(graph.name + ": the model takes " + std::to_string(size.channels) +
                  (size.channels == 1 ? " channel" : " channels") + " but the card '" + card.preset + "' makes " +
                  std::to_string(card.channels()));
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
