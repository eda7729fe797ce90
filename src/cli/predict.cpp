#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "pellucid/video.h"
#include "tasks/card_json.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_predict(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<PredictRequest>();
  app.add_option("model", request->model.path, "ONNX file")->required()->type_name("MODEL");
  app.add_option("inputs", request->run.inputs, "Pictures, videos, folders, globs, or preprocessed .npy arrays")
      ->required()
      ->type_name("IMAGE...");
  add_integer(app, "--top", request->top, 1, 100000, "Classes to print");
  add_model_flags(app, request->model);
  add_run_flags(app, request->run);
  return [request, &global](TerminalProgress& progress) {
    const PredictResult result = predict(*request, &progress);
    progress.clear();
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const PredictedPicture& p : result.pictures) {
      nlohmann::ordered_json row{{"path", p.path}, {"name", p.name}};
      if (!p.error.empty()) {
        std::cerr << "pellucid: " << p.error << "\n";
        row["error"] = p.error;
      }
      for (const Prediction& c : p.classes) {
        row["classes"].push_back(
            {{"index", c.index}, {"label", c.label}, {"logit", c.logit}, {"probability", c.probability}});
      }
      if (!result.notes.empty()) row["notes"] = result.notes;
      json.push_back(std::move(row));
    }
    if (global.json) {
      std::cout << json_text(json) << "\n";
      return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
    }
    if (!global.quiet) {
      for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
    }
    for (const PredictedPicture& p : result.pictures) {
      if (!p.error.empty()) continue;
      std::cout << printable(named_like_video(p.path) ? p.name : p.path) << "\n";
      std::vector<std::vector<std::string>> rows;
      for (const Prediction& c : p.classes) {
        rows.push_back({"  " + std::to_string(c.index), printable(c.label, 60),
                        number_text(std::round(c.logit * 1000) / 1000),
                        number_text(std::round(c.probability * 1e4) / 1e4)});
      }
      std::cout << text_table({"  class", "label", "logit", "probability"}, rows);
    }
    return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
  };
}

}  // namespace pellucid
