#include "tasks/rule_map_json.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/rule_lines.h"
#include "pellucid/text.h"
#include "tasks/parsed_json.h"

namespace pellucid {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxBytes = int64_t{1} << 20;
constexpr size_t kMaxRules = 1000;

/// One entry of "rules": who, which rule, its parameter.
class RuleReader {
 public:
  RuleReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail("must be an object such as {\"layers\": \"conv\", \"rule\": \"z-plus\"}");
  }

  std::string line() const {
    const std::string rule = text("rule");
    const auto rules = rule_names();
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) {
      fail("'rule' is '" + printable(rule) + "'" + did_you_mean(rule, rules) + "; one of " + join(rules, ", ") +
           " was expected");
    }
    const std::string parameter = rule_parameter(rule);
    refuse_unknown(parameter);
    return selector() + ":" + rule + (parameter.empty() || !json_.contains(parameter) ? "" : value(parameter));
  }

 private:
  std::string selector() const {
    std::string result;
    for (const char* key : {"layers", "op", "name"}) {
      if (!json_.contains(key)) continue;
      if (!result.empty()) fail("only one of 'layers', 'op' and 'name' can say which nodes are meant");
      const std::string pattern = text(key);
      result = key == std::string("layers") ? pattern : key + ("(" + escaped_pattern(pattern) + ")");
      const auto& known = rule_selectors();
      if (key == std::string("layers") && std::find(known.begin(), known.end(), pattern) == known.end()) {
        fail("'layers' is '" + printable(pattern) + "'" + did_you_mean(pattern, known) + "; one of " +
             join(known, ", ") + " was expected");
      }
    }
    if (result.empty()) fail("'layers', 'op' or 'name' must say which nodes are meant");
    return result;
  }

  std::string text(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) fail("'" + std::string(key) + "' is missing");
    if (!found->is_string() || found->get<std::string>().empty()) {
      fail("'" + std::string(key) + "' must be a string that is not empty");
    }
    return found->get<std::string>();
  }

  std::string value(const std::string& key) const {
    const Json& number = json_.at(key);
    if (!number.is_number()) fail("'" + key + "' must be a number");
    return "(" + number_text(number.get<double>()) + ")";
  }

  void refuse_unknown(const std::string& parameter) const {
    std::vector<std::string> known{"layers", "op", "name", "rule"};
    if (!parameter.empty()) known.push_back(parameter);
    for (const auto& item : json_.items()) {
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        fail("unknown field '" + printable(item.key()) + "'" + did_you_mean(item.key(), known) + " (fields are " +
             join(known, ", ") + ")");
      }
    }
  }

  [[noreturn]] void fail(const std::string& problem) const { throw_invalid(where_ + ": " + problem); }

  const Json& json_;
  std::string where_;
};

}  // namespace

std::string rule_lines_from_json(const std::string& text, const std::string& name) {
  const Json json = parsed_json(text, name, "a rule map", 8);
  const bool fits = json.is_object() && json.size() == 1 && json.contains("rules") && json["rules"].is_array() &&
                    !json["rules"].empty() && json["rules"].size() <= kMaxRules;
  if (!fits) {
    throw_invalid(name + ": not a rule map: an object with one list 'rules' of 1 to " + std::to_string(kMaxRules) +
                  " rules was expected");
  }
  std::string lines;
  for (size_t i = 0; i < json["rules"].size(); ++i) {
    const std::string line = RuleReader(json["rules"][i], name + ": rules[" + std::to_string(i) + "]").line();
    try {
      parse_rule_lines(line, {}, name);
    } catch (const Error& e) {
      throw_invalid(std::string(e.what()));
    }
    lines += (lines.empty() ? "" : ";") + line;
  }
  return lines;
}

void read_rule_map(MethodCall& call) {
  const auto found = call.params.find("composite");
  if (found == call.params.end()) return;
  const std::string path = found->second;
  if (path.size() < 5 || path.compare(path.size() - 5, 5, ".json") != 0) return;
  const std::string name = printable(std::filesystem::u8path(path).filename().string());
  found->second = rule_lines_from_json(read_file(path, kMaxBytes), name);
}

}  // namespace pellucid
