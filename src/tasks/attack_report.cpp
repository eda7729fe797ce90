#include "tasks/attack_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "pellucid/files.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/attacker.h"
#include "tasks/card_json.h"
#include "tasks/picture_maker.h"
#include "tasks/recipe_json.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

std::string rounded(double x, double unit = 100) { return number_text(std::round(x * unit) / unit); }

Json classes_json(const std::vector<Prediction>& classes) {
  Json list = Json::array();
  for (const Prediction& c : classes) {
    list.push_back({{"index", c.index}, {"label", c.label}, {"logit", c.logit}, {"probability", c.probability}});
  }
  return list;
}

Json picture_json(const AttackedPicture& p) {
  Json j{{"name", p.name}, {"path", p.path}};
  if (p.goal >= 0) j["goal"] = p.goal;
  j["fooled"] = p.fooled;
  j["fooled_unrounded"] = p.fooled_unrounded;
  j["control_fooled"] = p.control_fooled;
  if (p.fools_after_reload) j["fools_after_reload"] = *p.fools_after_reload;
  j["change_max"] = p.change_max;
  j["change_norm"] = p.change_norm;
  j["change_pixels"] = p.change_pixels;
  if (p.unrounded_norm > 0) j["unrounded_norm"] = p.unrounded_norm;
  j["objective_start"] = p.objective_start;
  j["objective"] = p.objective;
  j["steps"] = p.steps;
  j["starts"] = p.starts;
  j["seconds"] = std::round(p.seconds * 1000) / 1000;
  j["classes_before"] = classes_json(p.before);
  j["classes"] = classes_json(p.after);
  j["classes_of_change"] = classes_json(p.change_alone);
  j["classes_of_control"] = classes_json(p.control);
  if (!p.notes.empty()) j["notes"] = p.notes;
  if (!p.image_file.empty()) j["image"] = p.image_file;
  if (!p.change_file.empty()) j["change"] = p.change_file;
  j["recipe"] = recipe_json(p.recipe);
  return j;
}

SheetCell cell_of(const Image& image, const std::string& title, const std::vector<Prediction>& classes) {
  SheetCell cell;
  cell.image = image;
  cell.title = title;
  for (const Prediction& c : classes) cell.lines.push_back(c.label + "  " + percent_text(c.probability));
  return cell;
}

/// Picture, plus epsilon times the change, is the result; and what noise of the same size does.
void add_row(ContactSheet& sheet, const AttackedPicture& p) {
  const Tensor before = display_from_image(p.source), after = display_from_image(p.image);
  const Tensor change = after - before;
  const double most = std::max(1e-12, p.change_max);
  SheetCell source = cell_of(p.source, p.name, p.before);
  source.new_row = true;
  sheet.cells.push_back(std::move(source));
  SheetCell middle = cell_of(image_from_display((0.5 + change / (2 * most))[0]),
                             "+ " + rounded(255 * p.change_max) + "/255 x", best_of(p.change_alone, 2));
  const bool sparse = 2 * p.change_pixels < before.size(2) * before.size(3);
  middle.lines.push_back("L2 norm " + rounded(p.change_norm) +
                         (sparse ? ", " + std::to_string(p.change_pixels) + " pixels" : ""));
  sheet.cells.push_back(std::move(middle));
  sheet.cells.push_back(cell_of(p.image, "= " + p.recipe.name, p.after));
  Attacker::Victim victim;
  victim.display = before;
  SheetCell control =
      cell_of(image_from_display(attack_control(victim, p.change_norm, p.recipe.seed)[0]), "random signs", p.control);
  sheet.cells.push_back(std::move(control));
}

}  // namespace

std::string percent_text(double share) { return rounded(100 * share, 10) + " %"; }

Json attack_heading(const std::string& kind, const AttackRequest& request, const LoadedModel& model,
                    const std::vector<std::string>& notes) {
  Json json;
  json["pellucid"] = PELLUCID_VERSION;
  json["verb"] = "attack";
  json["kind"] = kind;
  json["model"] = {{"path", model.path}, {"sha256", model.hash()}};
  json["card"] = card_json(model.card);
  json["device"] = request.make.model.device;
  json["own_size"] = request.own_size;
  if (!request.target.empty()) json["target"] = request.target;
  json["notes"] = notes;
  return json;
}

void write_attack(AttackResult& result, const AttackRequest& request, const LoadedModel& model) {
  Json json = attack_heading("pictures", request, model, result.notes);
  json["all_steps"] = request.all_steps;
  json["restarts"] = request.restarts;
  if (result.interrupted) json["interrupted"] = true;
  json["pictures"] = Json::array();
  ContactSheet sheet;
  sheet.title = "pellucid attack";
  sheet.subtitle = fs::u8path(model.path).filename().string();
  sheet.columns = 4;
  for (const AttackedPicture& p : result.pictures) {
    json["pictures"].push_back(picture_json(p));
    if (!p.before.empty()) add_row(sheet, p);
  }
  const std::string& folder = request.make.output;
  const auto file = [&](const std::string& name) { return (fs::u8path(folder) / fs::u8path(name)).string(); };
  if (!folder.empty() && !sheet.cells.empty()) {
    result.sheet_file = "sheet.png";
    result.result_file = "result.json";
    json["sheet"] = result.sheet_file;
    save_png(file(result.sheet_file), draw_contact_sheet(sheet));
  }
  result.json = json_text(json);
  if (!result.result_file.empty()) write_file_atomically(file(result.result_file), result.json + "\n");
}

}  // namespace pellucid
