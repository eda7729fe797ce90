// Rule maps as text: named ones and written ones share one notation and one parser.

#include "pellucid/rule_lines.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

struct RuleName {
  const char* name;
  RelevanceRule rule;
  const char* parameter;
  double low;
};
constexpr RuleName kRules[] = {
    {"zero", RelevanceRule::kZero, "", 0},        {"epsilon", RelevanceRule::kEpsilon, "epsilon", 0},
    {"gamma", RelevanceRule::kGamma, "gamma", 0}, {"alpha-beta", RelevanceRule::kAlphaBeta, "alpha", 1},
    {"z-plus", RelevanceRule::kZPlus, "", 0},     {"flat", RelevanceRule::kFlat, "", 0},
    {"w-square", RelevanceRule::kWSquare, "", 0}, {"z-box", RelevanceRule::kZBox, "", 0},
    {"norm", RelevanceRule::kEpsilon, "", 0},     {"excitation", RelevanceRule::kExcitation, "", 0},
    {"pass", RelevanceRule::kPass, "", 0},        {"gradient", RelevanceRule::kGradient, "", 0},
};

/// Composites of Zennit (Anders, Neumann, Samek, Müller, Lapuschkin; arXiv 2021) in this notation.
struct NamedMap {
  const char* name;
  const char* lines;
};
constexpr NamedMap kMaps[] = {
    {"epsilon", "linear:epsilon"},
    {"epsilon-plus", "conv:z-plus;dense:epsilon"},
    {"epsilon-plus-flat", "first:flat;conv:z-plus;dense:epsilon"},
    {"epsilon-alpha2-beta1", "conv:alpha-beta(2);dense:epsilon"},
    {"epsilon-alpha2-beta1-flat", "first:flat;conv:alpha-beta(2);dense:epsilon"},
    {"epsilon-gamma-box", "first-conv:z-box;conv:gamma;dense:epsilon"},
    {"excitation-backprop", "linear:z-plus"},
};

/// "EpsilonPlusFlat" and "epsilon-plus-flat" are one name.
std::string normal_name(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

class LineParser {
 public:
  LineParser(const RuleDefaults& defaults, const std::string& owner) : defaults_(defaults), owner_(owner) {}

  RuleLine parse(const std::string& text) const {
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos) {
      fail("'" + printable(text) + "' is not SELECTOR:RULE");
    }
    RuleLine line;
    select(trim(text.substr(0, colon)), line);
    choose(trim(text.substr(colon + 1)), line.choice);
    return line;
  }

  [[noreturn]] void fail(const std::string& problem) const { throw_usage(owner_ + ": composite: " + problem); }

 private:
  /// Splits "word(inner)"; false when there are no brackets.
  bool brackets(const std::string& text, std::string& word, std::string& inner) const {
    const size_t open = text.find('(');
    word = text.substr(0, open);
    if (open == std::string::npos) return false;
    if (text.back() != ')') fail("'" + printable(text) + "' lacks its closing bracket");
    inner = text.substr(open + 1, text.size() - open - 2);
    return true;
  }

  void select(const std::string& text, RuleLine& line) const {
    std::string inner;
    const bool has_pattern = brackets(text, line.selector, inner);
    const bool takes_pattern = line.selector == "op" || line.selector == "name";
    const auto& known = rule_selectors();
    if (!takes_pattern && std::find(known.begin(), known.end(), line.selector) == known.end()) {
      fail("no nodes are called '" + printable(line.selector) + "'" + did_you_mean(line.selector, known) + " (" +
           join(known, ", ") + ", op(TYPE) or name(GLOB))");
    }
    if (takes_pattern != has_pattern || (takes_pattern && inner.empty())) {
      fail("'" + printable(text) + "' must be written " +
           (takes_pattern ? line.selector + "(PATTERN)" : line.selector + ", without brackets"));
    }
    line.pattern = unescaped(inner);
  }

  void choose(const std::string& text, RuleChoice& choice) const {
    std::string word, inner;
    const bool has_value = brackets(text, word, inner);
    const RuleName* found = nullptr;
    for (const RuleName& rule : kRules) {
      if (word == rule.name) found = &rule;
    }
    if (!found) {
      fail("no rule '" + printable(word) + "'" + did_you_mean(word, rule_names()) + " (" + join(rule_names(), ", ") +
           ")");
    }
    choice.rule = found->rule;
    choice.value = found->rule == RelevanceRule::kGamma       ? defaults_.gamma
                   : found->rule == RelevanceRule::kAlphaBeta ? 2
                                                              : defaults_.epsilon;
    if (!has_value) return;
    const std::string parameter = found->parameter;
    if (parameter.empty()) fail("rule '" + word + "' takes no parameter");
    double value = 0;
    if (!parse_double(inner, value) || !(value >= found->low)) {
      fail(parameter + " of '" + printable(text) + "' must be a number >= " + number_text(found->low));
    }
    choice.value = value;
  }

  std::string unescaped(const std::string& text) const {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        result += text[i];
        continue;
      }
      const std::string digits = text.substr(i + 1, 2);
      if (digits.size() != 2 || !std::isxdigit(static_cast<unsigned char>(digits[0])) ||
          !std::isxdigit(static_cast<unsigned char>(digits[1]))) {
        fail("'%' in '" + printable(text) + "' must be followed by two hexadecimal digits");
      }
      result += static_cast<char>(std::stoi(digits, nullptr, 16));
      i += 2;
    }
    return result;
  }

  const RuleDefaults& defaults_;
  const std::string& owner_;
};

}  // namespace

const std::vector<std::string>& rule_selectors() {
  static const std::vector<std::string> names{"first",        "first-conv", "conv",       "dense",
                                              "linear",       "sum",        "product",    "batch-norm",
                                              "average-pool", "max-pool",   "activation", "normalization"};
  return names;
}

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const RuleName& rule : kRules) names.push_back(rule.name);
  return names;
}

std::string rule_parameter(const std::string& name) {
  for (const RuleName& rule : kRules) {
    if (name == rule.name) return rule.parameter;
  }
  return "";
}

std::vector<std::string> rule_map_names() {
  std::vector<std::string> names;
  for (const NamedMap& map : kMaps) names.push_back(map.name);
  return names;
}

std::string escaped_pattern(const std::string& text) {
  static const char kDigits[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::string("%,;:()").find(c) != std::string::npos || byte <= ' ') {
      result += '%';
      result += kDigits[byte >> 4];
      result += kDigits[byte & 15];
    } else {
      result += c;
    }
  }
  return result;
}

RuleLines parse_rule_lines(const std::string& text, const RuleDefaults& defaults, const std::string& owner) {
  std::string lines = text;
  if (text.find(':') == std::string::npos) {
    const auto found = std::find_if(std::begin(kMaps), std::end(kMaps),
                                    [&](const NamedMap& map) { return normal_name(map.name) == normal_name(text); });
    if (found == std::end(kMaps)) {
      throw_usage(owner + ": composite is '" + printable(text) + "'; it must be " + join(rule_map_names(), ", ") +
                  ", the path of a JSON rule map or SELECTOR:RULE;SELECTOR:RULE;...");
    }
    lines = found->lines;
  }
  const LineParser parser(defaults, owner);
  RuleLines result;
  for (const std::string& part : split(lines, ';')) {
    if (!trim(part).empty()) result.push_back(parser.parse(trim(part)));
  }
  if (result.empty()) parser.fail("at least one SELECTOR:RULE was expected");
  return result;
}

}  // namespace pellucid
