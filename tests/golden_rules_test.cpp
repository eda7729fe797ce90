// Relevance propagation, excitation backprop and DeepLIFT against every array of Zennit and Captum, in float64 and in
// float32, within the tolerances that come with the arrays.

#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "attribution/relevance.h"
#include "golden.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

/// Zennit's composites in our notation; `excitation_backprop` there is z-plus with biases, seeded with 1.
const std::map<std::string, std::string>& composite_of() {
  static const std::map<std::string, std::string> names = {
      {"zennit.epsilon", "linear:epsilon"},
      {"zennit.epsilon_plus", "conv:z-plus;dense:epsilon"},
      {"zennit.epsilon_plus_flat", "first:flat;conv:z-plus;dense:epsilon"},
      {"zennit.epsilon_alpha2_beta1", "conv:alpha-beta(2);dense:epsilon"},
      {"zennit.epsilon_alpha2_beta1_flat", "first:flat;conv:alpha-beta(2);dense:epsilon"},
      {"zennit.epsilon_gamma_box", "first-conv:z-box;conv:gamma(0.25);dense:epsilon"},
      {"zennit.excitation_backprop", "linear:z-plus"},
      {"zennit.excitation_backprop_relu6grad", "linear:z-plus;activation:gradient"},
      {"zennit.epsilon_plus_addgrad", "conv:z-plus;dense:epsilon;sum:gradient"}};
  return names;
}

bool take_suffix(std::string& text, const std::string& suffix) {
  if (text.size() < suffix.size() || text.compare(text.size() - suffix.size(), suffix.size(), suffix) != 0)
    return false;
  text.resize(text.size() - suffix.size());
  return true;
}

/// Display bounds that become the model's lowest and highest input.
ModelCard card_with_bounds(const nlohmann::json& model) {
  ModelCard card;
  card.scale = 1.0 / 255;
  card.mean.clear();
  card.std.clear();
  for (size_t c = 0; c < 3; ++c) {
    const double low = model.at("lowest_input")[c].get<double>(), high = model.at("highest_input")[c].get<double>();
    card.std.push_back(1 / (high - low));
    card.mean.push_back(-low / (high - low));
  }
  return card;
}

class RulesComparison {
 public:
  RulesComparison(const Golden& golden, Run run) : golden_(golden), run_(run) {}

  void model(const nlohmann::json& model_case) {
    const std::string folder = model_case.at("folder").get<std::string>();
    const Graph graph = load_onnx(golden_.shared() + "/models/" + model_case.at("model").get<std::string>());
    const ModelCard card = card_with_bounds(golden_.manifest().at("models").at(folder.substr(0, folder.find('/'))));
    const Tensor input = golden_.load(folder + "/input.npy");
    const Explainer canonical(graph, input, options(true), card), as_stored(graph, input, options(false), card);
    for (const auto& target : model_case.at("targets")) {
      const std::string text = std::to_string(target.at("index").get<int64_t>());
      for (const GoldenEntry& entry : golden_.entries_in(target.at("folder").get<std::string>())) {
        compare(canonical, as_stored, entry, text);
      }
      delta(canonical, target, text);
    }
  }

  int compared() const { return compared_; }

 private:
  NetworkOptions options(bool optimize) const {
    NetworkOptions o;
    if (run_ == Run::kFloat64) o.precision = Precision::kFloat64;
    o.optimize = optimize;
    return o;
  }

  void compare(const Explainer& canonical, const Explainer& as_stored, const GoldenEntry& entry,
               const std::string& target) {
    std::string name = entry.path.substr(entry.path.rfind('/') + 1);
    take_suffix(name, ".npy");
    const bool channel_sum = take_suffix(name, ".chsum"), first_channel = take_suffix(name, ".ch0");
    const bool middle = take_suffix(name, ".middle"), plain = take_suffix(name, ".nocanon");
    Tensor values;
    if (name == "captum.deeplift") {
      values = canonical.explain("deeplift:baseline=zero", target).values;
    } else if (name == "captum.lrp_epsilon") {
      // Captum keeps batch norms as layers, which matters at its epsilon.
      values = as_stored.explain("lrp:composite=epsilon,epsilon=1e-09", target).values;
    } else if (const auto found = composite_of().find(name); found != composite_of().end()) {
      const std::string lines = (plain ? "batch-norm:pass;" : "") + found->second;
      values = relevance(plain ? as_stored : canonical, lines, target, middle ? entry.layer : "input");
    } else {
      return;
    }
    values = values.to(at::kDouble);
    if (channel_sum) values = values.sum(1);
    if (first_channel) values = values.select(1, 0);
    EXPECT_TRUE(golden_.matches(values.reshape(entry.shape), entry, run_));
    ++compared_;
  }

  /// By channel, which the method sums over at inner layers; both must tell the same.
  Tensor relevance(const Explainer& n, const std::string& lines, const std::string& target, const std::string& layer) {
    const std::string method = "lrp:composite=" + lines + ",start=one,stop=" + layer;
    if (layer == "input") return n.explain(method, target).values;
    RelevanceRules rules;
    rules.lines = parse_rule_lines(lines, {}, "lrp");
    const ValueId id = n.layers.find(layer);
    const Tensor r = propagate(n.context(target), rules, {id}, false, "lrp").values.at(id);
    EXPECT_TRUE(within(n.explain(method, target).values, r.to(at::kDouble).sum(1), {1e-5, 1e-5})) << method;
    return r;
  }

  void delta(const Explainer& n, const nlohmann::json& target, const std::string& text) {
    const std::string key = "captum.deeplift.convergence_delta";
    if (!target.at("scalars").contains(key)) return;
    const auto& golden = target.at("scalars").at(key);
    const double actual = n.explain("deeplift:baseline=zero", text).diagnostics[0].at("convergence_delta");
    const double logit = std::abs(target.at("logit").get<double>());
    // In float32 both gaps are rounding.
    const double bound =
        run_ == Run::kFloat64 ? 1e-6 : std::max(1e-4, 3 * golden.at("noise_f32_over_logit").get<double>());
    EXPECT_NEAR(actual, golden.at("value").get<double>(), bound * logit) << target.at("folder");
    ++compared_;
  }

  const Golden& golden_;
  Run run_;
  int compared_ = 0;
};

void compare_all(Run run) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  RulesComparison comparison(*golden, run);
  for (const auto& model_case : golden->manifest().at("cases")) comparison.model(model_case);
  std::cout << (run == Run::kFloat64 ? "float64: " : "float32: ") << comparison.compared() << " arrays compared\n";
  EXPECT_GE(comparison.compared(), 114);
}

TEST(GoldenRules, Float64) { compare_all(Run::kFloat64); }
TEST(GoldenRules, Float32) { compare_all(Run::kFloat32); }

}  // namespace
}  // namespace pellucid::test
