#include "pellucid/params.h"

#include <cmath>

namespace pellucid::detail {

std::string accepts_text(const IntegerRange& range) {
  if (range.high == INT64_MAX) return "an integer >= " + std::to_string(range.low);
  return "an integer between " + std::to_string(range.low) + " and " + std::to_string(range.high);
}

std::string accepts_text(const RealRange& range) {
  if (std::isinf(range.high)) return "a number >= " + number_text(range.low);
  return "a number between " + number_text(range.low) + " and " + number_text(range.high);
}

std::string accepts_text(const Choices& choices) {
  std::string text;
  for (size_t i = 0; i < choices.names.size(); ++i) {
    if (i) text += i + 1 == choices.names.size() ? " or " : ", ";
    text += choices.names[i];
  }
  return text;
}

void SpecVisitor::operator()(const char* name, int64_t& field, const IntegerRange& range, const char* help) {
  specs.push_back({name, ParamSpec::Type::kInteger, std::to_string(field), accepts_text(range), {}, help});
}
void SpecVisitor::operator()(const char* name, double& field, const RealRange& range, const char* help) {
  specs.push_back({name, ParamSpec::Type::kReal, number_text(field), accepts_text(range), {}, help});
}
void SpecVisitor::operator()(const char* name, bool& field, Flag, const char* help) {
  specs.push_back({name, ParamSpec::Type::kFlag, field ? "true" : "false", "true or false", {}, help});
}
void SpecVisitor::operator()(const char* name, std::string& field, const Choices& choices, const char* help) {
  specs.push_back({name, ParamSpec::Type::kChoice, field, accepts_text(choices), choices.names, help});
}
void SpecVisitor::operator()(const char* name, std::string& field, const TextLike& text, const char* help) {
  specs.push_back({name, ParamSpec::Type::kText, field, text.accepts, {}, help});
}

namespace {

[[noreturn]] void refuse(const std::string& owner, const char* name, const std::string& value,
                         const std::string& accepts, const std::string& fallback) {
  throw_usage(owner + ": " + name + " is '" + printable(value) + "'; it must be " + accepts + " (default " + fallback +
              ")");
}

}  // namespace

void AssignVisitor::operator()(const char* name, int64_t& field, const IntegerRange& range, const char*) const {
  const auto found = given.find(name);
  if (found == given.end()) return;
  int64_t value = 0;
  if (!parse_int(found->second, value) || value < range.low || value > range.high) {
    refuse(owner, name, found->second, accepts_text(range), std::to_string(field));
  }
  field = value;
}

void AssignVisitor::operator()(const char* name, double& field, const RealRange& range, const char*) const {
  const auto found = given.find(name);
  if (found == given.end()) return;
  double value = 0;
  if (!parse_double(found->second, value) || !(value >= range.low && value <= range.high)) {
    refuse(owner, name, found->second, accepts_text(range), number_text(field));
  }
  field = value;
}

void AssignVisitor::operator()(const char* name, bool& field, Flag, const char*) const {
  const auto found = given.find(name);
  if (found == given.end()) return;
  if (found->second != "true" && found->second != "false") {
    refuse(owner, name, found->second, "true or false", field ? "true" : "false");
  }
  field = found->second == "true";
}

void AssignVisitor::operator()(const char* name, std::string& field, const Choices& choices, const char*) const {
  const auto found = given.find(name);
  if (found == given.end()) return;
  for (const std::string& choice : choices.names) {
    if (choice == found->second) {
      field = choice;
      return;
    }
  }
  refuse(owner, name, found->second, accepts_text(choices), field);
}

void AssignVisitor::operator()(const char* name, std::string& field, const TextLike&, const char*) const {
  const auto found = given.find(name);
  if (found != given.end()) field = found->second;
}

void refuse_unknown(const std::string& owner, const ParamMap& given, const std::vector<ParamSpec>& specs) {
  for (const auto& entry : given) {
    std::vector<std::string> names;
    bool known = false;
    for (const ParamSpec& spec : specs) {
      names.push_back(spec.name);
      known = known || spec.name == entry.first;
    }
    if (known) continue;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    throw_usage(owner + ": no parameter '" + printable(entry.first) + "'" + did_you_mean(entry.first, names) +
                (list.empty() ? " (it takes none)" : " (it takes " + list + ")"));
  }
}

}  // namespace pellucid::detail

namespace pellucid {

namespace {

/// Position of a character that is inside no parentheses.
size_t find_outside(const std::string& text, char wanted) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == wanted && depth <= 0) return i;
    depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
  }
  return std::string::npos;
}

std::vector<std::string> split_outside(std::string text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = find_outside(text, separator); at != std::string::npos; at = find_outside(text, separator)) {
    parts.push_back(text.substr(0, at));
    text.erase(0, at + 1);
  }
  parts.push_back(text);
  return parts;
}

}  // namespace

std::string call_id(const std::string& call) { return trim(call.substr(0, find_outside(call, ':'))); }

ParamMap call_params(const std::string& owner, const std::string& call) {
  ParamMap params;
  const size_t colon = find_outside(call, ':');
  if (colon == std::string::npos) return params;
  for (const std::string& part : split(call.substr(colon + 1), ',')) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos) throw_usage(owner + ": '" + printable(part) + "' is not NAME=VALUE");
    const std::string name = trim(part.substr(0, equals));
    if (!params.emplace(name, trim(part.substr(equals + 1))).second)
      throw_usage(owner + ": " + name + " is given twice");
  }
  return params;
}

std::string call_text(const std::string& id, const std::vector<ParamSpec>& specs, const ParamMap& params) {
  std::string text = id;
  char separator = ':';
  for (const ParamSpec& spec : specs) {
    const auto found = params.find(spec.name);
    if (found == params.end()) continue;
    text += separator + spec.name + "=" + found->second;
    separator = ',';
  }
  return text;
}

std::vector<std::string> split_calls(const std::string& list) {
  std::vector<std::string> calls;
  for (const std::string& part : split_outside(list, ',')) {
    // With '=' but no ':' before it, it continues the call before.
    const size_t equals = find_outside(part, '='), colon = find_outside(part, ':');
    const bool continues = equals != std::string::npos && (colon == std::string::npos || colon > equals);
    if (continues && !calls.empty()) {
      calls.back() += (find_outside(calls.back(), ':') == std::string::npos ? ":" : ",") + part;
    } else {
      calls.push_back(part);
    }
  }
  return calls;
}

}  // namespace pellucid
