#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

/// What one parameter accepts, for --help, the docs, web forms and JSON.
struct ParamSpec {
  enum class Type { kFlag, kInteger, kReal, kChoice, kText };
  std::string name;
  Type type = Type::kText;
  std::string default_value;
  std::string accepts;               ///< "an integer >= 1", "black, white or gray".
  std::vector<std::string> choices;  ///< For kChoice.
  std::string help;
};

/// Parameter values as text, by name.
using ParamMap = std::map<std::string, std::string>;

/// Ranges that a `describe` function states beside each field.
struct IntegerRange {
  int64_t low, high;
};
struct RealRange {
  double low, high;
};
struct Choices {
  std::vector<std::string> names;
};
/// Free text, checked where it is used; `accepts` says what that is.
struct TextLike {
  std::string accepts;
};
struct Flag {};

inline IntegerRange at_least(int64_t low) { return {low, INT64_MAX}; }
inline IntegerRange integer_between(int64_t low, int64_t high) { return {low, high}; }
inline RealRange between(double low, double high) { return {low, high}; }
inline Choices one_of(std::vector<std::string> names) { return {std::move(names)}; }

namespace detail {

std::string accepts_text(const IntegerRange& range);
std::string accepts_text(const RealRange& range);
std::string accepts_text(const Choices& choices);

/// Collects the declaration of each field.
struct SpecVisitor {
  std::vector<ParamSpec> specs;
  void operator()(const char* name, int64_t& field, const IntegerRange& range, const char* help);
  void operator()(const char* name, double& field, const RealRange& range, const char* help);
  void operator()(const char* name, bool& field, Flag, const char* help);
  void operator()(const char* name, std::string& field, const Choices& choices, const char* help);
  void operator()(const char* name, std::string& field, const TextLike& text, const char* help);
};

/// Sets fields from text and throws Error(kUsage) naming owner, parameter, value and what is accepted.
struct AssignVisitor {
  std::string owner;
  const ParamMap& given;
  void operator()(const char* name, int64_t& field, const IntegerRange& range, const char* help) const;
  void operator()(const char* name, double& field, const RealRange& range, const char* help) const;
  void operator()(const char* name, bool& field, Flag, const char* help) const;
  void operator()(const char* name, std::string& field, const Choices& choices, const char* help) const;
  void operator()(const char* name, std::string& field, const TextLike& text, const char* help) const;
};

/// Prints fields as text.
struct PrintVisitor {
  ParamMap values;
  void operator()(const char* name, int64_t& field, const IntegerRange&, const char*) {
    values[name] = std::to_string(field);
  }
  void operator()(const char* name, double& field, const RealRange&, const char*) { values[name] = number_text(field); }
  void operator()(const char* name, bool& field, Flag, const char*) { values[name] = field ? "true" : "false"; }
  void operator()(const char* name, std::string& field, const Choices&, const char*) { values[name] = field; }
  void operator()(const char* name, std::string& field, const TextLike&, const char*) { values[name] = field; }
};

void refuse_unknown(const std::string& owner, const ParamMap& given, const std::vector<ParamSpec>& specs);

}  // namespace detail

// A parameter struct P comes with `template <class V> void describe(V& visit, P& p)`, found by argument-dependent
// lookup.

template <class P>
std::vector<ParamSpec> param_specs() {
  P p;
  detail::SpecVisitor visitor;
  describe(visitor, p);
  return visitor.specs;
}

/// Defaults with `given` written over them. Unknown names and values out of range throw Error(kUsage).
template <class P>
P params_from(const std::string& owner, const ParamMap& given) {
  detail::refuse_unknown(owner, given, param_specs<P>());
  P p;
  const detail::AssignVisitor visitor{owner, given};
  describe(visitor, p);
  return p;
}

template <class P>
ParamMap params_text(P p) {
  detail::PrintVisitor visitor;
  describe(visitor, p);
  return visitor.values;
}

// How methods, metrics and parts of recipes are written: ID or ID:NAME=VALUE,NAME=VALUE. Colons, commas and equals
// signs inside parentheses belong to the ID.

/// What stands before the colon, trimmed.
std::string call_id(const std::string& call);
/// What stands behind it; none without a colon. Throws Error(kUsage) naming `owner` for what is not NAME=VALUE and for
/// a name that is given twice.
ParamMap call_params(const std::string& owner, const std::string& call);
/// The inverse of both: `params` in the order in which they are declared.
std::string call_text(const std::string& id, const std::vector<ParamSpec>& specs, const ParamMap& params);
/// Splits "iou,deletion:step=1,fill=mean" at the commas that begin a new call.
std::vector<std::string> split_calls(const std::string& list);

}  // namespace pellucid
