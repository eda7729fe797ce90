#include "tasks/card_json.h"

#include <filesystem>
#include <set>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "tasks/parsed_json.h"

namespace pellucid {

namespace {

using Json = nlohmann::ordered_json;

template <class T>
struct Named {
  const char* name;
  T value;
};
constexpr Named<ResizePolicy> kPolicies[] = {{"stretch", ResizePolicy::kStretch},
                                             {"center-crop", ResizePolicy::kCenterCrop},
                                             {"letterbox", ResizePolicy::kLetterbox}};
constexpr Named<ChannelOrder> kOrders[] = {
    {"rgb", ChannelOrder::kRgb}, {"bgr", ChannelOrder::kBgr}, {"gray", ChannelOrder::kGray}};

template <class T, size_t N>
const char* name_of(const Named<T> (&table)[N], T value) {
  for (const auto& entry : table) {
    if (entry.value == value) return entry.name;
  }
  return "";
}

class Reader {
 public:
  Reader(const Json& json, std::string name) : json_(json), name_(std::move(name)) {
    if (!json_.is_object()) fail("", "a JSON object was expected");
  }

  template <class T, size_t N>
  void choice(const char* key, const Named<T> (&table)[N], T& field) {
    std::string text;
    if (!string(key, text)) return;
    std::string list;
    for (const auto& entry : table) {
      if (text == entry.name) {
        field = entry.value;
        return;
      }
      list += (list.empty() ? "" : ", ") + std::string(entry.name);
    }
    fail(key, "is '" + printable(text) + "'; one of " + list + " was expected");
  }

  bool string(const char* key, std::string& field) {
    const Json* v = find(key);
    if (!v) return false;
    if (!v->is_string()) fail(key, "must be a string");
    field = v->get<std::string>();
    return true;
  }

  void integer(const char* key, int64_t& field, int64_t low, int64_t high) {
    const Json* v = find(key);
    if (!v) return;
    if (!v->is_number_integer() || v->get<double>() < static_cast<double>(low) ||
        v->get<double>() > static_cast<double>(high)) {
      fail(key, "must be an integer between " + std::to_string(low) + " and " + std::to_string(high));
    }
    field = v->get<int64_t>();
  }

  void number(const char* key, double& field) {
    const Json* v = find(key);
    if (!v) return;
    if (!v->is_number()) fail(key, "must be a number");
    field = v->get<double>();
  }

  void numbers(const char* key, std::vector<double>& field) {
    const Json* v = find(key);
    if (!v) return;
    if (!v->is_array() || v->empty() || v->size() > 4) fail(key, "must be a list of one number per channel");
    field.clear();
    for (const Json& n : *v) {
      if (!n.is_number()) fail(key, "must be a list of numbers");
      field.push_back(n.get<double>());
    }
  }

  void flag(const char* key, bool& field) {
    const Json* v = find(key);
    if (!v) return;
    if (!v->is_boolean()) fail(key, "must be true or false");
    field = v->get<bool>();
  }

  const Json* find(const char* key) {
    known_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }

  void refuse_unknown() const {
    const std::vector<std::string> names(known_.begin(), known_.end());
    for (const auto& item : json_.items()) {
      if (!known_.count(item.key())) {
        throw_invalid(name_ + ": unknown field '" + printable(item.key()) + "'" + did_you_mean(item.key(), names) +
                      " (fields are " + join(names, ", ") + ")");
      }
    }
  }

  [[noreturn]] void fail(const std::string& key, const std::string& problem) const {
    throw_invalid(name_ + ": " + (key.empty() ? "" : "'" + key + "' ") + problem);
  }

 private:
  const Json& json_;
  std::string name_;
  std::set<std::string> known_;
};

}  // namespace

Json card_json(const ModelCard& card) {
  Json json;
  json["preset"] = card.preset;
  json["width"] = card.width;
  json["height"] = card.height;
  json["resize"] = name_of(kPolicies, card.resize);
  json["resize_to"] = card.resize_to;
  json["channel_order"] = name_of(kOrders, card.order);
  json["channels_first"] = card.channels_first;
  json["scale"] = card.scale;
  json["mean"] = card.mean;
  json["std"] = card.std;
  if (!card.default_layer.empty()) json["default_layer"] = card.default_layer;
  json["labels"] = card.labels;
  return json;
}

ModelCard card_from_json(const std::string& text, const std::string& name, const std::string& folder,
                         const ModelCard& guess) {
  const Json json = parsed_json(text, name, "a card", 8);
  Reader reader(json, name);
  ModelCard card;
  bool values = false;
  for (const char* key : {"preset", "scale", "mean", "std", "channel_order"}) {
    values = values || reader.find(key) != nullptr;
  }
  if (!values) card = guess;
  std::string preset;
  if (reader.string("preset", preset) && preset != "custom") {
    try {
      card = card_from_preset(preset);
    } catch (const Error& e) {
      throw_invalid(name + ": " + e.what());
    }
  }
  card.channels_first = guess.channels_first;
  card.labels_file = guess.labels_file;
  // A size of its own comes with a margin of its own.
  if (reader.find("width") || reader.find("height")) card.resize_to = 0;
  constexpr int64_t kLargest = 16384;
  reader.integer("width", card.width, 0, kLargest);
  reader.integer("height", card.height, 0, kLargest);
  reader.choice("resize", kPolicies, card.resize);
  reader.integer("resize_to", card.resize_to, 0, kLargest);
  reader.choice("channel_order", kOrders, card.order);
  reader.flag("channels_first", card.channels_first);
  reader.number("scale", card.scale);
  reader.numbers("mean", card.mean);
  reader.numbers("std", card.std);
  reader.string("default_layer", card.default_layer);
  if (const Json* labels = reader.find("labels")) {
    if (labels->is_string()) {
      const std::string file = labels->get<std::string>();
      const bool beside =
          !file.empty() && file != ".." && file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
      if (!beside) reader.fail("labels", "must be a list, or the name of a file beside the card");
      const std::filesystem::path path = std::filesystem::u8path(folder) / std::filesystem::u8path(file);
      std::error_code ec;
      if (std::filesystem::is_symlink(path, ec)) reader.fail("labels", "names a symbolic link");
      card.labels = read_labels(path.string());
    } else if (labels->is_array()) {
      for (const Json& label : *labels) {
        if (!label.is_string()) reader.fail("labels", "must be a list of strings");
        card.labels.push_back(printable(label.get<std::string>(), 300));
      }
    } else {
      reader.fail("labels", "must be a list of strings, or the name of a file beside the card");
    }
  }
  reader.refuse_unknown();
  return card;
}

void save_card(const ModelCard& card, const std::string& path) {
  write_file_atomically(path, json_text(card_json(card)) + "\n");
}

ModelCard load_card(const std::string& path, const ModelCard& guess) {
  const std::filesystem::path p = std::filesystem::u8path(path);
  const std::string folder = p.has_parent_path() ? p.parent_path().string() : ".";
  return card_from_json(read_file(path, int64_t{16} << 20), printable(p.filename().string()), folder, guess);
}

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::ordered_json file_json(const UsedFile& file) { return {{"path", file.path}, {"sha256", file.sha256}}; }

const char* precision_name(Precision p) {
  switch (p) {
    case Precision::kFloat64:
      return "float64";
    case Precision::kBFloat16:
      return "bf16";
    case Precision::kAsStored:
      return "as-stored";
    default:
      return "float32";
  }
}

}  // namespace pellucid
