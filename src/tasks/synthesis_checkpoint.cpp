#include "tasks/synthesis_checkpoint.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr const char* kStateKey = "pellucid.synthesis";

using Json = nlohmann::json;

Json state_json(const SynthesisCheckpoint& c, const Recipe& recipe, const std::string& begun_with) {
  Json j;
  j["recipe"] = recipe_text(recipe);
  j["begun_with"] = begun_with;
  j["at"] = {c.stage, c.stage_step, c.step};
  j["counts"] = {c.variables.size(), c.optimizer.size()};
  j["best"] = c.best_objective;
  j["start"] = c.objective_start;
  j["steps"] = c.trace.steps;
  j["terms"] = c.trace.terms;
  return j;
}

}  // namespace

void save_checkpoint(const std::string& path, const SynthesisCheckpoint& c, const Recipe& recipe,
                     const std::string& begun_with) {
  GraphBuilder b;
  b.input("x", {1});
  b.node("Identity", {"x"}, {"y"});
  b.output("y", Shape{1});
  for (size_t i = 0; i < c.variables.size(); ++i) b.constant("v" + std::to_string(i), c.variables[i].contiguous());
  for (size_t i = 0; i < c.optimizer.size(); ++i) b.constant("o" + std::to_string(i), c.optimizer[i].contiguous());
  b.constant("start", c.start.contiguous());
  if (c.best.defined()) b.constant("best", c.best.contiguous());
  b.properties().metadata[kStateKey] = state_json(c, recipe, begun_with).dump();
  save_onnx(b.finish(), path);
}

std::optional<SynthesisCheckpoint> load_checkpoint(const std::string& path, const Recipe& recipe,
                                                   const std::string& begun_with) {
  std::error_code ec;
  if (!fs::exists(fs::u8path(path), ec)) return std::nullopt;
  const Graph graph = load_onnx(path);
  const auto found = graph.metadata.find(kStateKey);
  if (found == graph.metadata.end()) throw_invalid(printable(path) + ": not a checkpoint of a picture");
  const auto tensor = [&](const std::string& name) {
    const ValueId id = graph.find(name);
    if (id == kNoValue || !graph.value(id).constant.defined()) {
      throw_invalid(printable(path) + ": not a checkpoint of a picture");
    }
    return graph.value(id).constant;
  };
  SynthesisCheckpoint c;
  std::string of, begun;
  try {
    const Json j = Json::parse(found->second);
    of = j.at("recipe").get<std::string>();
    begun = j.at("begun_with").get<std::string>();
    c.stage = j.at("at").at(0).get<int64_t>();
    c.stage_step = j.at("at").at(1).get<int64_t>();
    c.step = j.at("at").at(2).get<int64_t>();
    const auto count = [&](size_t k) { return j.at("counts").at(k).get<size_t>(); };
    for (size_t i = 0; i < count(0); ++i) c.variables.push_back(tensor("v" + std::to_string(i)));
    for (size_t i = 0; i < count(1); ++i) c.optimizer.push_back(tensor("o" + std::to_string(i)));
    c.best_objective = j.at("best").get<std::vector<double>>();
    c.objective_start = j.at("start").get<std::vector<double>>();
    c.trace.steps = j.at("steps").get<std::vector<int64_t>>();
    c.trace.terms = j.at("terms").get<std::map<std::string, std::vector<std::vector<double>>>>();
  } catch (const Json::exception&) {
    throw_invalid(printable(path) + ": not a checkpoint of a picture");
  }
  if (of != recipe_text(recipe) || begun != begun_with) {
    throw_invalid(printable(path) +
                  ": a checkpoint of another recipe, model or picture; delete it or leave out --resume");
  }
  c.start = tensor("start");
  if (!c.best_objective.empty()) c.best = tensor("best");
  return c;
}

}  // namespace pellucid
