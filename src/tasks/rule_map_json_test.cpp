#include "tasks/rule_map_json.h"

#include <gtest/gtest.h>

#include "pellucid/files.h"
#include "pellucid/rule_lines.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

TEST(RuleMapJson, BecomesOneLineOfText) {
  const std::string text = R"json({"rules": [
      {"layers": "first", "rule": "z-box"},
      {"name": "/layer4*, (last)", "rule": "alpha-beta", "alpha": 2},
      {"op": "ConvTranspose", "rule": "epsilon", "epsilon": 0.01},
      {"layers": "dense", "rule": "epsilon"}]})json";
  const std::string lines = rule_lines_from_json(text, "map.json");
  EXPECT_EQ(lines,
            "first:z-box;name(/layer4*%2C%20%28last%29):alpha-beta(2);op(ConvTranspose):epsilon(0.01);dense:epsilon");
  const RuleLines rules = parse_rule_lines(lines, {}, "lrp");
  ASSERT_EQ(rules.size(), 4u);
  EXPECT_EQ(rules[1].pattern, "/layer4*, (last)");
  EXPECT_EQ(rules[2].choice.value, 0.01);
}

TEST(RuleMapJson, TakesTheFilesPlaceInTheMethod) {
  const TemporaryFolder folder;
  const std::string path = folder.file("map.json");
  write_file_atomically(path, R"({"rules": [{"layers": "conv", "rule": "gamma", "gamma": 0.5}]})");
  MethodCall call = MethodCall::parse("lrp:composite=" + path);
  read_rule_map(call);
  EXPECT_EQ(call.text(), "lrp:composite=conv:gamma(0.5)");
  EXPECT_EQ(MethodCall::parse(call.text()).text(), call.text());
  MethodCall named = MethodCall::parse("lrp:composite=epsilon-plus");
  read_rule_map(named);
  EXPECT_EQ(named.text(), "lrp:composite=epsilon-plus");
}

TEST(RuleMapJson, RefusesWithFileAndRule) {
  const auto refused = [](const std::string& text, const std::string& message) {
    expect_error(ErrorKind::kInvalidInput, message, [&] { rule_lines_from_json(text, "map.json"); });
  };
  const std::string shape = "map.json: not a rule map: an object with one list 'rules' of 1 to 1000 rules was expected";
  refused("[]", shape);
  refused("{}", shape);
  refused(R"({"rules": []})", shape);
  refused(R"({"rules": [{"layers": "conv", "rule": "flat"}], "more": 1})", shape);
  refused(R"({"rules": [3]})",
          "map.json: rules[0]: must be an object such as {\"layers\": \"conv\", \"rule\": \"z-plus\"}");
  refused(R"({"rules": [{"layers": "conv"}]})", "map.json: rules[0]: 'rule' is missing");
  refused(R"({"rules": [{"rule": "flat"}]})",
          "map.json: rules[0]: 'layers', 'op' or 'name' must say which nodes are meant");
  refused(R"({"rules": [{"rule": "flat", "op": "Conv", "name": "x"}]})",
          "map.json: rules[0]: only one of 'layers', 'op' and 'name' can say which nodes are meant");
  refused(
      R"({"rules": [{"layers": "convv", "rule": "flat"}]})",
      "map.json: rules[0]: 'layers' is 'convv'; did you mean 'conv'?; one of first, first-conv, conv, dense, linear, "
      "sum, product, batch-norm, average-pool, max-pool, activation, normalization was expected");
  refused(
      R"({"rules": [{"layers": "conv", "rule": "flat"}, {"layers": "conv", "rule": "gama"}]})",
      "map.json: rules[1]: 'rule' is 'gama'; did you mean 'gamma'?; one of zero, epsilon, gamma, alpha-beta, z-plus, "
      "flat, w-square, z-box, norm, excitation, pass, gradient was expected");
  refused(R"({"rules": [{"layers": "conv", "rule": "gamma", "epsilon": 1}]})",
          "map.json: rules[0]: unknown field 'epsilon' (fields are layers, op, name, rule, gamma)");
  refused(R"({"rules": [{"layers": "conv", "rule": "gamma", "gamma": "big"}]})",
          "map.json: rules[0]: 'gamma' must be a number");
  refused(R"({"rules": [{"layers": "conv", "rule": "alpha-beta", "alpha": 0.5}]})",
          "map.json: composite: alpha of 'alpha-beta(0.5)' must be a number >= 1");
  refused("{\"rules\": ",
          "map.json: not JSON: parse error at line 1, column 11: syntax error while parsing value - unexpected end of "
          "input; expected "
          "'[', '{', or a literal");
  refused("[[[[[[[[[[[[1]]]]]]]]]]]]", "map.json: not a rule map: nested too deeply");
  refused(R"({"rules": [{"rule": "flat", "layers": "conv", "rule": "pass"}]})",
          "map.json: not a rule map: field 'rule' is given twice");
}

}  // namespace
}  // namespace pellucid::test
