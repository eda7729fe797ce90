#include "tasks/finished_pictures.h"

#include <algorithm>
#include <filesystem>

#include "core/sha256.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "tasks/recipe_json.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kLargestResult = int64_t{256} << 20;

/// What must be equal for a picture to be one of the same request.
Json same_for_all(const Json& heading) {
  return {heading.at("pellucid"), heading.at("verb"), heading.at("model").at("sha256"), heading.at("card"),
          heading.at("device")};
}

std::vector<Prediction> predictions(const Json& json) {
  std::vector<Prediction> list;
  for (const Json& c : json) {
    Prediction p;
    c.at("index").get_to(p.index);
    c.at("label").get_to(p.label);
    c.at("logit").get_to(p.logit);
    c.at("probability").get_to(p.probability);
    list.push_back(std::move(p));
  }
  return list;
}

}  // namespace

std::string inputs_sha256(const std::map<std::string, Tensor>& pictures, const std::map<std::string, Tensor>& tensors,
                          const std::map<std::string, std::string>& hashes) {
  Sha256 sha;
  const auto text = [&](const std::string& s) { sha.update(s.c_str(), s.size() + 1); };
  for (const auto* map : {&pictures, &tensors}) {
    for (const auto& [name, value] : *map) {
      if (!value.defined()) continue;
      const Tensor t = value.to(at::kCPU).contiguous();
      text(name + shape_text(t.sizes().vec()) + c10::toString(t.scalar_type()));
      sha.update(t.data_ptr(), t.nbytes());
    }
  }
  for (const auto& [name, hash] : hashes) text(name + hash);
  return sha.hex_digest();
}

FinishedPictures::FinishedPictures(const MakeOptions& options, const Json& heading) : options_(options) {
  const std::string path = (fs::u8path(options.output) / "result.json").string();
  std::error_code ec;
  if (!options.resume || options.output.empty() || !fs::exists(fs::u8path(path), ec)) return;
  any_ = true;
  try {
    const Json json = Json::parse(read_file(path, kLargestResult));
    if (same_for_all(json) != same_for_all(Json::parse(heading.dump()))) return;
    for (const Json& picture : json.at("pictures")) pictures_[picture.at("name")] = picture;
  } catch (const Json::exception&) {
    pictures_.clear();
  }
}

bool FinishedPictures::there(const std::string& name) const {
  std::error_code ec;
  return fs::is_regular_file(fs::u8path(options_.output) / fs::u8path(name), ec);
}

std::optional<MadePicture> FinishedPictures::find(const std::string& name, const Recipe& recipe,
                                                  const std::string& inputs) const {
  const auto found = pictures_.find(name);
  if (found == pictures_.end()) return std::nullopt;
  try {
    const Json& json = found->second;
    if (json.at("inputs") != inputs || json.at("recipe") != Json::parse(recipe_json(recipe).dump())) {
      return std::nullopt;
    }
    return read(json, recipe);
  } catch (const Json::exception&) {  // of another form, or changed by hand
    return std::nullopt;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kInvalidInput) throw;
    return std::nullopt;  // its numbers cannot be read
  }
}

std::optional<MadePicture> FinishedPictures::read(const Json& json, const Recipe& recipe) const {
  MadePicture made;
  made.recipe = recipe;
  json.at("name").get_to(made.name);
  json.at("title").get_to(made.title);
  if (json.contains("class")) {
    json.at("class").get_to(made.class_index);
    json.at("logit").get_to(made.score);
    json.at("probability").get_to(made.probability);
    json.at("rank").get_to(made.rank);
  }
  json.at("objective_start").get_to(made.objective_start);
  json.at("objective").get_to(made.objective);
  made.finished_objective = json.value("finished_objective", made.objective);
  json.at("robust_objective").get_to(made.robust_objective);
  made.feature_error = json.value("feature_error", made.feature_error);
  json.at("saturation").get_to(made.saturation);
  json.at("high_frequencies").get_to(made.high_frequencies);
  if (json.contains("classes")) made.classes = predictions(json.at("classes"));
  for (const Json& m : json.value("measures", Json::array())) {
    Measure measure;
    m.at("name").get_to(measure.name);
    m.at("value").get_to(measure.value);
    measure.start = m.value("start", measure.start);
    made.measures.push_back(std::move(measure));
  }
  json.at("steps").get_to(made.steps);
  json.at("seconds").get_to(made.seconds);
  made.notes = json.value("notes", made.notes);
  json.at("image").get_to(made.image_file);
  json.at("values").get_to(made.values_file);
  made.snapshot_files = json.value("snapshots", made.snapshot_files);
  made.film_file = json.value("film", made.film_file);

  const auto& notes = made.notes;
  const bool finished = std::none_of(notes.begin(), notes.end(), [](const std::string& note) {
    return note == kInterruptedNote || note.rfind(kStoppedNote, 0) == 0;
  });
  if (!finished) return std::nullopt;
  std::vector<std::string> files{made.image_file, made.values_file};
  files.insert(files.end(), made.snapshot_files.begin(), made.snapshot_files.end());
  if (options_.save_every > 0 && static_cast<int64_t>(made.snapshot_files.size()) != made.steps / options_.save_every) {
    return std::nullopt;
  }
  if (options_.animate) {
    if (fs::u8path(made.film_file).extension() != "." + options_.animation) return std::nullopt;
    files.push_back(made.film_file);
  }
  if (!std::all_of(files.begin(), files.end(), [&](const std::string& f) { return there(f); })) return std::nullopt;
  const NpyArray values = read_npy((fs::u8path(options_.output) / fs::u8path(made.values_file)).string());
  if (values.shape.size() != 3 || (values.shape[0] != 3 && values.shape[0] != 4)) return std::nullopt;
  made.image = at::tensor(values.floats()).view(values.shape);
  if (recipe.finish.empty()) made.unfinished = made.image;
  return made;
}

}  // namespace pellucid
