#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "graph/op.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"

namespace pellucid {

namespace {

std::string engineering(double n) {
  const char* const units[] = {"", " k", " M", " G", " T"};
  int unit = 0;
  while (n >= 1000 && unit < 4) {
    n /= 1000;
    ++unit;
  }
  return number_text(std::round(n * 100) / 100) + units[unit];
}

void print_ops(bool json) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::vector<std::vector<std::string>> rows;
  for (const Op& op : all_ops()) {
    if (op.domain == kCanonicalDomain) continue;
    list.push_back({{"op", op.type}, {"domain", op.domain}, {"since", op.since}, {"until", op.until}});
    rows.push_back({op.type, op.domain.empty() ? "ai.onnx" : op.domain, std::to_string(std::max<int64_t>(op.since, 7)) + "-" +
                                                                           std::to_string(op.until)});
  }
  std::cout << (json ? json_text(list) + "\n" : text_table({"op", "domain", "opsets"}, rows));
}

}  // namespace

std::function<int(TerminalProgress&)> setup_info(CLI::App& app, GlobalOptions& global) {
  auto model_options = std::make_shared<ModelOptions>();
  auto ops = std::make_shared<bool>(false);
  app.add_option("model", model_options->path, "ONNX file")->type_name("MODEL");
  app.add_flag("--ops", *ops, "List the supported operators instead");
  add_model_flags(app, *model_options);
  return [model_options, ops, &global](TerminalProgress&) {
    if (*ops) {
      print_ops(global.json);
      return 0;
    }
    if (model_options->path.empty()) throw_usage("info: a model file is needed (or --ops)");
    const LoadedModel model = load_model(*model_options);
    const ModelInfo info = inspect(model);
    if (global.json) {
      std::cout << info.json << "\n";
      return 0;
    }
    const Graph& graph = model.network.graph();
    std::cout << printable(model.path) << ": " << graph.nodes().size() << " nodes, " << engineering(static_cast<double>(graph.num_parameters()))
              << " parameters, " << engineering(info.flops) << " FLOPs\n";
    std::cout << "opset " << (graph.opsets.count("") ? std::to_string(graph.opsets.at("")) : "?") << ", by "
              << (graph.producer.empty() ? "an unnamed exporter" : printable(graph.producer)) << "\n";
    for (const std::string& note : model.card.notes) std::cout << "note: " << printable(note, 400) << "\n";
    std::vector<std::vector<std::string>> rows;
    for (const LayerInfo& layer : info.layers) {
      const bool local = !layer.rows.whole && layer.shape.size() == 4;
      const std::string name = printable(layer.name, 60);
      rows.push_back({std::to_string(layer.index), name, layer.node == layer.name ? "" : printable(layer.node, 60),
                      printable(layer.op, 30), shape_text(at::IntArrayRef(layer.shape)),
                      local ? number_text(layer.rows.size) + (layer.rows.size == layer.columns.size ? "" : "x" + number_text(layer.columns.size)) +
                                  "/" + number_text(layer.rows.jump)
                            : "all",
                      engineering(static_cast<double>(layer.parameters)), engineering(layer.flops),
                      layer.name == info.cam_layer ? "auto" : layer.suits_cam ? "yes" : ""});
    }
    std::cout << text_table({"#", "layer", "node", "op", "shape", "field/jump", "parameters", "FLOPs", "CAM"}, rows);
    if (info.cam_layer.empty()) std::cout << "no layer suits class activation maps\n";
    return 0;
  };
}

}  // namespace pellucid
