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
