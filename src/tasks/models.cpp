#include <algorithm>
#include <cmath>
#include <filesystem>

#include "graph/map_layers.h"
#include "model/class_scores.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/cam_layers.h"
#include "tasks/card_json.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace fs = std::filesystem;

std::string LoadedModel::hash() const { return sha256_file(path); }

/// What a card does not say; nothing where no guess fits the model.
static ModelCard guess_for_card(const Graph& graph) {
  try {
    return guess_card(graph);
  } catch (const Error&) {
    return {};
  }
}

LoadedModel load_model(const ModelOptions& options) {
  const fs::path path = fs::u8path(options.path);
  Graph graph = load_onnx(options.path);
  ModelCard card;
  std::error_code ec;
  fs::path beside = path;
  beside.replace_extension(".json");
  std::string card_file = options.card;
  const ModelCard guess = guess_for_card(graph);
  if (!options.card.empty()) {
    card = load_card(options.card, guess);
    card.notes.push_back("card " + printable(options.card));
  } else if (!options.preset.empty()) {
    card = card_from_preset(options.preset);
    card.labels_file = guess.labels_file;
    card.notes.push_back("preset " + options.preset);
  } else if (path.extension() == ".onnx" && fs::is_regular_file(beside, ec)) {
    card_file = beside.string();
    card = load_card(card_file, guess);
    card.notes.push_back("card " + printable(beside.filename().string()) + " beside the model");
  } else {
    card = guess_card(graph);
  }
  if (options.width > 0) card.width = options.width;
  if (options.height > 0) card.height = options.height;
  if (options.width > 0 || options.height > 0) {
    if (card.width == 0) card.width = card.height;
    if (card.height == 0) card.height = card.width;
    card.resize_to = 0;
  }
  try {
    fit_card(card, graph);
  } catch (const Error& e) {
    // What a file says wrongly is bad input, not wrong usage.
    if (card_file.empty() || e.kind() != ErrorKind::kUsage) throw;
    throw_invalid(printable(fs::u8path(card_file).filename().string()) + ": " + e.what());
  }
  if (!options.labels.empty()) {
    card.labels = read_labels(options.labels);
  } else if (card.labels.empty() && !card.labels_file.empty()) {
    const fs::path labels = path.parent_path() / fs::u8path(card.labels_file);
    if (fs::is_regular_file(labels, ec) && !fs::is_symlink(labels, ec)) card.labels = read_labels(labels.string());
  }
  NetworkOptions network;
  network.device = options.device;
  network.precision = options.precision;
  return {options.path, Network(std::move(graph), network), std::move(card)};
}

Tensor forward(const Network& network, const Tensor& input, ValueId value, const Progress* progress) {
  Request request;
  request.capture.push_back(value);
  if (network.batches_safely(progress)) return network.run({input}, request, progress).at(value);
  TensorList parts;
  for (int64_t i = 0; i < input.size(0); ++i) {
    parts.push_back(network.run({input.narrow(0, i, 1)}, request, progress).at(value));
  }
  return at::cat(parts);
}

Tensor batch_of(const std::vector<const Picture*>& pictures, const Network& network) {
  TensorList inputs;
  for (const Picture* p : pictures) inputs.push_back(p->input);
  return at::cat(inputs).to(at::TensorOptions().device(network.device()).dtype(network.dtype()));
}

Shape usual_input_shape(const ModelCard& card) {
  const int64_t height = card.height > 0 ? card.height : 224;
  const int64_t width = card.width > 0 ? card.width : 224;
  return card.channels_first ? Shape{1, card.channels(), height, width} : Shape{1, height, width, card.channels()};
}

Tensor mask_tensor(const Image& mask) {
  const Tensor t = at::empty({mask.height, mask.width}, at::kByte);
  std::copy(mask.pixels.begin(), mask.pixels.end(), t.data_ptr<uint8_t>());
  return t.gt(127);
}

std::string output_note(const LayerTable& layers, const Graph& graph) {
  const std::string name = "'" + printable(graph.value(layers.output()).name) + "'";
  const Shape& shape = layers.shape(layers.logits());
  if (shape.size() == 4 && shape[2] * shape[3] > 1) {
    return "the output " + name + " is a map of scores " + shape_text(shape) + " with " +
           std::to_string(num_classes(layers)) + " classes; a class is summed over an area";
  }
  if (layers.output() == graph.outputs().front()) return {};
  std::vector<std::string> names;
  for (const ValueId id : graph.outputs()) names.push_back(printable(graph.value(id).name));
  return "the scores are those of the output " + name + " (outputs are " + join(names, ", ") + ")";
}

bool has_finite_scores(const Tensor& scores) {
  return !scores.is_floating_point() || at::isfinite(scores).all().item<bool>();
}

std::string score_problem(const Network& network, const Tensor& input, const LayerTable& table,
                          const Progress* progress) {
  const Graph& graph = network.graph();
  const std::string problem = printable(graph.name) + ": the network's scores are not finite";
  std::vector<ValueId> path;
  for (const LayerInfo& layer : table.layers()) {
    if (leads_to(graph, layer.value, table.logits())) path.push_back(layer.value);
  }
  constexpr size_t kAtOnce = 16;  // values held in memory
  for (size_t begin = 0; begin < path.size(); begin += kAtOnce) {
    Request request;
    for (size_t i = begin; i < std::min(path.size(), begin + kAtOnce); ++i) request.capture.push_back(path[i]);
    const Values values = network.run({input}, request, progress);
    for (const ValueId id : request.capture) {
      if (has_finite_scores(values.at(id))) continue;
      const Node& node = *graph.producer_of(id);
      std::string where =
          "'" + printable(graph.value(id).name) + "' (" + printable(node.op) + " '" + printable(node.name) + "')";
      for (const ValueId in : node.inputs) {
        if (in == kNoValue || !graph.value(in).constant.defined() || has_finite_scores(graph.value(in).constant))
          continue;
        where += ", whose weight '" + printable(graph.value(in).name) + "' holds NaN or infinity";
        break;
      }
      return problem + "; the first value that is not finite is " + where;
    }
  }
  return problem;
}

void add_label_note(std::vector<std::string>& notes, const ModelCard& card, const LayerTable& layers) {
  const Shape& scores = layers.shape(layers.logits());
  const bool per_class =
      scores.size() == 4 || (scores.size() >= 2 && c10::multiply_integers(scores) == scores[0] * scores[1]);
  if (card.labels.empty() || !per_class) return;
  const int64_t classes = num_classes(layers);
  const auto num_labels = static_cast<int64_t>(card.labels.size());
  if (num_labels == classes) return;
  add_note(notes, std::to_string(num_labels) + (num_labels == 1 ? " label" : " labels") + " for " +
                      std::to_string(classes) + " classes: they may belong to another model");
}

std::vector<std::vector<Prediction>> top_classes(const Tensor& logits, const LoadedModel& model,
                                                 const LayerTable& layers, int64_t k) {
  std::vector<std::vector<Prediction>> result;
  // Scores per class only; dense and other outputs have no ranking worth printing.
  if (!logits.is_floating_point() || logits.dim() < 2 || logits.numel() != logits.size(0) * logits.size(1)) {
    result.resize(static_cast<size_t>(logits.dim() ? logits.size(0) : 1));
    return result;
  }
  const Tensor raw = logits.flatten(1).to(at::kCPU).to(at::kDouble), scores = paired_scores(raw);
  const Tensor probabilities = class_probabilities(raw, layers.squashing() == "Sigmoid");
  const auto [values, indices] = scores.topk(std::min<int64_t>(k, scores.size(1)), 1);
  for (int64_t i = 0; i < scores.size(0); ++i) {
    std::vector<Prediction> row;
    for (int64_t j = 0; j < values.size(1); ++j) {
      const int64_t index = indices[i][j].item<int64_t>();
      row.push_back(
          {index, model.card.label(index), values[i][j].item<double>(), probabilities[i][index].item<double>()});
    }
    result.push_back(std::move(row));
  }
  return result;
}

ModelInfo inspect(const LoadedModel& model, const Progress* progress) {
  const Graph& graph = model.network.graph();
  const ModelCard& card = model.card;
  const Shape input = usual_input_shape(card);
  const LayerTable table(model.network, {input}, progress);
  nlohmann::ordered_json json;
  json["model"] = model.path;
  json["producer"] = graph.producer;
  json["ir_version"] = graph.ir_version;
  json["opsets"] = graph.opsets;
  json["parameters"] = graph.num_parameters();
  json["bytes"] = graph.parameter_bytes();
  json["input"] = {
      {"name", graph.value(graph.inputs()[0].value).name}, {"declared", graph.inputs()[0].shape}, {"shape", input}};
  for (const ValueId id : graph.outputs()) {
    json["outputs"].push_back({{"name", graph.value(id).name}, {"shape", table.shape(id)}});
  }
  json["logits"] = graph.value(table.logits()).name;
  json["squashing"] = table.squashing();
  json["card"] = card_json(card);
  json["card"]["labels"] = card.labels.size();
  std::vector<std::string> notes = card.notes;
  add_label_note(notes, card, table);
  json["notes"] = notes;
  ModelInfo info;
  // Constants are layers to the engine, not to who looks for one; the others keep their indices.
  for (const LayerInfo& layer : table.layers()) {
    if (layer.op != "Constant") info.layers.push_back(layer);
  }
  try {
    info.cam_layer = table.layer(table.default_cam_layer()).name;
    json["cam_layer"] = info.cam_layer;
  } catch (const Error&) {
    json["cam_layer"] = nullptr;
  }
  for (const LayerInfo& layer : info.layers) {
    info.flops += layer.flops;
    nlohmann::ordered_json row;
    row["index"] = layer.index;
    row["name"] = layer.name;
    row["node"] = layer.node;
    row["op"] = layer.op;
    row["shape"] = layer.shape;
    const bool local = !layer.rows.whole && layer.shape.size() == 4;
    if (local) {
      row["receptive_field"] = {{"height", layer.rows.size},     {"width", layer.columns.size},
                                {"jump_y", layer.rows.jump},     {"jump_x", layer.columns.jump},
                                {"center_y", layer.rows.center}, {"center_x", layer.columns.center}};
    } else {
      row["receptive_field"] = "whole input";
    }
    row["parameters"] = layer.parameters;
    row["flops"] = layer.flops;
    row["suits_cam"] = layer.suits_cam;
    json["layers"].push_back(std::move(row));
  }
  json["flops"] = info.flops;
  info.json = json_text(json);
  return info;
}

}  // namespace pellucid
