#include "cli/declarations.h"

#include "cli/cli.h"

namespace pellucid {

std::string paper_text(const Paper& paper) {
  return std::string(paper.authors) + ". \"" + paper.title + "\". " + paper.venue + " " + std::to_string(paper.year);
}

nlohmann::ordered_json paper_json(const Paper& paper) {
  return {{"key", paper.key},
          {"authors", paper.authors},
          {"title", paper.title},
          {"venue", paper.venue},
          {"year", paper.year}};
}

nlohmann::ordered_json parameters_json(const std::vector<ParamSpec>& params) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ParamSpec& spec : params) {
    list.push_back({{"name", spec.name},
                    {"default", spec.default_value},
                    {"accepts", spec.accepts},
                    {"choices", spec.choices},
                    {"help", spec.help}});
  }
  return list;
}

std::string parameters_table(const std::vector<ParamSpec>& params) {
  if (params.empty()) return "no parameters\n";
  std::vector<std::vector<std::string>> rows;
  for (const ParamSpec& spec : params) rows.push_back({"  " + spec.name, spec.default_value, spec.accepts, spec.help});
  return text_table({"  parameter", "default", "accepts", "meaning"}, rows, terminal_width());
}

std::string parameters_markdown(const std::vector<ParamSpec>& params) {
  if (params.empty()) return "";
  std::string text = "\n| Parameter | Default | Accepts | Meaning |\n|---|---|---|---|\n";
  for (const ParamSpec& spec : params) {
    text += "| `" + spec.name + "` | " + spec.default_value + " | " + spec.accepts + " | " + spec.help + " |\n";
  }
  return text;
}

}  // namespace pellucid
