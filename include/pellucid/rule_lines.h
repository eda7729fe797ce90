#pragma once

#include <string>
#include <vector>

#include "pellucid/network.h"

namespace pellucid {

/// The rules that a rule map may give a node.
enum class RelevanceRule {
  kZero,        ///< a_i w_ij / z_j, nothing where z_j is 0
  kEpsilon,     ///< the same with z_j kept away from 0; for sums, pools and batch norms too
  kGamma,       ///< positive weights favoured
  kAlphaBeta,   ///< positive and negative contributions apart
  kZPlus,       ///< positive contributions only, positive biases in the denominator
  kFlat,        ///< equal shares
  kWSquare,     ///< squared weights
  kZBox,        ///< for inputs between known bounds
  kExcitation,  ///< positive contributions only, no bias: excitation backprop
  kPass,        ///< relevance as it is
  kGradient     ///< the node's own vector-Jacobian product
};

/// A rule with its parameter.
struct RuleChoice {
  RelevanceRule rule = RelevanceRule::kEpsilon;
  double value = 0;  ///< epsilon, gamma or alpha (beta = alpha - 1).
};

/// One line of a rule map: which nodes, which rule. Lines are tried in order.
struct RuleLine {
  std::string selector;  ///< "first", "first-conv", "conv", "dense", ..., "op" or "name".
  std::string pattern;   ///< Operator type for "op", glob over node names for "name".
  RuleChoice choice;
};
using RuleLines = std::vector<RuleLine>;

/// Values that rules have when a line does not say its own.
struct RuleDefaults {
  double epsilon = 1e-6;
  double gamma = 0.25;
};

/// A rule map by name ("epsilon-plus-flat", "EpsilonPlusFlat") or written out as "SELECTOR:RULE;SELECTOR:RULE;...":
/// SELECTOR is one of `rule_selectors` or op(TYPE) or name(GLOB), RULE one of `rule_names`, with its parameter in
/// brackets: "first:flat;conv:gamma(0.1);name(head*):epsilon". A character that would end a pattern or a method string
/// is written %XX. Throws Error(kUsage) that begins with `owner`.
RuleLines parse_rule_lines(const std::string& text, const RuleDefaults& defaults, const std::string& owner);

/// `text` with the characters of a pattern that the notation uses itself as %XX.
std::string escaped_pattern(const std::string& text);

const std::vector<std::string>& rule_selectors();
std::vector<std::string> rule_names();
/// "epsilon", "gamma" or "alpha" for the rules that have a parameter, otherwise empty.
std::string rule_parameter(const std::string& rule);
std::vector<std::string> rule_map_names();

}  // namespace pellucid
