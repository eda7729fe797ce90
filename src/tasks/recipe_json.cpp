#include "tasks/recipe_json.h"

#include <algorithm>
#include <functional>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"
#include "tasks/parsed_json.h"

namespace pellucid {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxBytes = int64_t{16} << 20;

Json weighted_json(const std::vector<WeightedPart>& parts) {
  Json list = Json::array();
  for (const WeightedPart& p : parts) {
    list.push_back({{"weight", p.weight}, {"part", p.part}});
    if (p.picture >= 0) list.back()["picture"] = p.picture;
  }
  return list;
}

/// Fields of one object, each of which is taken once; what is left over is unknown.
class ObjectReader {
 public:
  ObjectReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) throw_invalid(where_ + " must be an object");
  }
  void operator()(const char* key, std::string& field) {
    if (const Json* j = take(key, "a string", [](const Json& v) { return v.is_string(); }))
      field = j->get<std::string>();
  }
  void operator()(const char* key, int64_t& field) {
    if (const Json* j = take(key, "an integer", [](const Json& v) { return v.is_number_integer(); })) {
      field = j->get<int64_t>();
    }
  }
  void operator()(const char* key, double& field) {
    if (const Json* j = take(key, "a number", [](const Json& v) { return v.is_number(); })) field = j->get<double>();
  }
  void operator()(const char* key, std::vector<std::string>& field) {
    const auto strings = [](const Json& v) {
      return v.is_array() && std::all_of(v.begin(), v.end(), [](const Json& e) { return e.is_string(); });
    };
    if (const Json* j = take(key, "a list of strings", strings)) field = j->get<std::vector<std::string>>();
  }
  void operator()(const char* key, std::vector<WeightedPart>& field) {
    const Json* j = take(key, "a list", [](const Json& v) { return v.is_array(); });
    if (!j) return;
    field.clear();
    for (const Json& e : *j) {
      ObjectReader reader(e, where_ + ": an entry of '" + key + "'");
      WeightedPart part;
      reader("weight", part.weight);
      reader("part", part.part);
      reader("picture", part.picture);
      reader.finish();
      field.push_back(part);
    }
  }
  const Json* take(const char* key, const char* what, const std::function<bool(const Json&)>& fits) {
    known_.push_back(key);
    const auto found = json_.find(key);
    if (found == json_.end()) return nullptr;
    if (!fits(*found)) throw_invalid(where_ + ": '" + key + "' must be " + what);
    return &*found;
  }
  void finish() const {
    for (const auto& item : json_.items()) {
      if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
        throw_invalid(where_ + ": unknown field '" + printable(item.key()) + "'" + did_you_mean(item.key(), known_) +
                      " (fields are " + join(known_, ", ") + ")");
      }
    }
  }

 private:
  const Json& json_;
  std::string where_;
  std::vector<std::string> known_;
};

RecipeStage stage_from_json(const Json& json, const std::string& where) {
  RecipeStage stage;
  ObjectReader read(json, where);
  read("steps", stage.steps);
  read("scale", stage.scale);
  read("optimizer", stage.optimizer);
  read("after_step", stage.after_step);
  read("objectives", stage.objectives);
  read.finish();
  return stage;
}

}  // namespace

Json recipe_json(const Recipe& recipe) {
  Json json;
  json["name"] = recipe.name;
  json["objectives"] = weighted_json(recipe.objectives);
  json["parameterization"] = recipe.parameterization;
  json["transformations"] = recipe.transformations;
  json["regularizers"] = weighted_json(recipe.regularizers);
  json["gradient"] = recipe.gradient;
  json["optimizer"] = recipe.optimizer;
  json["after_step"] = recipe.after_step;
  json["finish"] = recipe.finish;
  json["stages"] = Json::array();
  for (const RecipeStage& stage : recipe.stages) {
    Json s{{"steps", stage.steps}, {"scale", stage.scale}};
    if (!stage.optimizer.empty()) s["optimizer"] = stage.optimizer;
    if (!stage.after_step.empty()) s["after_step"] = stage.after_step;
    if (!stage.objectives.empty()) s["objectives"] = weighted_json(stage.objectives);
    json["stages"].push_back(s);
  }
  json["unit"] = recipe.unit == PixelUnit::kCaffe ? "caffe" : "display";
  json["width"] = recipe.width;
  json["height"] = recipe.height;
  json["batch"] = recipe.batch;
  json["views"] = recipe.views;
  json["seed"] = std::to_string(recipe.seed);  // does not fit the numbers of every reader of JSON
  json["redirect_until"] = recipe.redirect_until;
  json["carry"] = recipe.carry;
  json["tile"] = recipe.tile;
  json["judge_every"] = recipe.judge_every;
  return json;
}

Recipe recipe_from_json(const Json& json, const std::string& name) {
  Recipe recipe;
  ObjectReader read(json, name);
  read("name", recipe.name);
  read("objectives", recipe.objectives);
  read("parameterization", recipe.parameterization);
  read("transformations", recipe.transformations);
  read("regularizers", recipe.regularizers);
  read("gradient", recipe.gradient);
  read("optimizer", recipe.optimizer);
  read("after_step", recipe.after_step);
  read("finish", recipe.finish);
  if (const Json* stages = read.take("stages", "a list", [](const Json& v) { return v.is_array(); })) {
    recipe.stages.clear();
    for (const Json& s : *stages) recipe.stages.push_back(stage_from_json(s, name + ": a stage"));
  }
  std::string unit = "display", seed = "0";
  read("unit", unit);
  if (unit != "display" && unit != "caffe") throw_invalid(name + ": 'unit' must be display or caffe");
  recipe.unit = unit == "caffe" ? PixelUnit::kCaffe : PixelUnit::kDisplay;
  read("width", recipe.width);
  read("height", recipe.height);
  read("batch", recipe.batch);
  read("views", recipe.views);
  read("seed", seed);
  int64_t number = 0;
  if (!parse_int(seed, number) || number < 0) throw_invalid(name + ": 'seed' must be an integer >= 0 as a string");
  recipe.seed = static_cast<uint64_t>(number);
  read("redirect_until", recipe.redirect_until);
  read("carry", recipe.carry);
  read("tile", recipe.tile);
  read("judge_every", recipe.judge_every);
  read.finish();
  try {
    Recipe checked = recipe;
    // What is made large may be left to the verb.
    if (checked.objectives.empty()) checked.objectives = {{1, "class"}};
    check_recipe(checked);
  } catch (const Error& e) {
    throw_invalid(name + ": " + e.what());
  }
  return recipe;
}

std::string recipe_text(const Recipe& recipe) { return json_text(recipe_json(recipe)) + "\n"; }

std::vector<Recipe> recipes_from_text(const std::string& text, const std::string& name) {
  const Json json = parsed_json(text, name, "a recipe", 16);
  if (!json.is_object() || !json.contains("pictures")) return {recipe_from_json(json, name)};
  std::vector<Recipe> found;
  if (json["pictures"].is_array()) {
    for (const Json& picture : json["pictures"]) {
      if (!picture.is_object() || !picture.contains("recipe")) continue;
      Recipe recipe = recipe_from_json(picture["recipe"], name);
      // Pictures of one batch have one recipe, which makes them all.
      const bool again = recipe.batch > 1 && !found.empty() && recipe_text(found.back()) == recipe_text(recipe);
      if (!again) found.push_back(std::move(recipe));
    }
  }
  if (found.empty()) throw_invalid(name + ": holds no recipe");
  return found;
}

std::vector<Recipe> load_recipes(const std::string& path) {
  return recipes_from_text(read_file(path, kMaxBytes), printable(path));
}

}  // namespace pellucid
