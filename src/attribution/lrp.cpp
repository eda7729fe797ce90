// Layer-wise relevance propagation: the score handed back layer by layer, each layer by its own rule.
//   Bach, Binder, Montavon, Klauschen, Müller, Samek. "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
//   by Layer-Wise Relevance Propagation". PLoS ONE 2015. Montavon, Binder, Lapuschkin, Samek, Müller. "Layer-Wise
//   Relevance Propagation: An Overview". LNCS 11700, 2019.
// Rule maps and their names as in Zennit (Anders, Neumann, Samek, Müller, Lapuschkin; arXiv 2021). Relevance starts
// from the score, as in the papers; Zennit starts from 1.

#include <cmath>
#include <cstdio>
#include <limits>

#include "attribution/relevance.h"

namespace pellucid {

namespace {

constexpr Paper kBach2015{"bach2015", "Bach, Binder, Montavon, Klauschen, Müller, Samek",
                          "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance "
                          "Propagation",
                          "PLoS ONE", 2015};

struct LrpParams {
  std::string composite = "epsilon-plus-flat";
  double epsilon = 1e-6;
  double gamma = 0.25;
  std::string start = "score";
  std::string stop = "input";
};

template <class V>
void describe(V& visit, LrpParams& p) {
  visit("composite", p.composite,
        TextLike{"epsilon, epsilon-plus, epsilon-plus-flat, epsilon-alpha2-beta1, epsilon-alpha2-beta1-flat, "
                 "epsilon-gamma-box, excitation-backprop, a JSON rule map, or SELECTOR:RULE;..."},
        "Which layer gets which rule.");
  visit("epsilon", p.epsilon, between(0, std::numeric_limits<double>::infinity()),
        "Stabilizer of the epsilon rule, where a rule map gives none.");
  visit("gamma", p.gamma, between(0, std::numeric_limits<double>::infinity()),
        "How much the gamma rule favours positive weights, where a rule map says nothing.");
  visit("start", p.start, one_of({"score", "one"}), "Relevance to distribute: the target's score, or 1.");
  visit("stop", p.stop, TextLike{"input or a layer"}, "Where to stop: relevance of the pixels or of a layer.");
}

Attribution lrp(const Context& context, const LrpParams& p) {
  RelevanceRules rules;
  rules.lines = parse_rule_lines(p.composite, {p.epsilon, p.gamma}, "lrp");
  rules.epsilon = p.epsilon;
  const ValueId at = context.layers.find(p.stop);
  const Relevance r = propagate(context, rules, {at}, p.start == "score", "lrp");
  Attribution a;
  if (at == input_value(context)) {
    a = input_attribution(context, r.values.at(at), Reduction::kSum);
  } else {
    a = summed_channels(context, r.values, /*rectify=*/false);
  }
  const Tensor arrived = sum_per_image(r.values.at(at));
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  for (int64_t i = 0; i < num_images(context); ++i) {
    auto& d = a.diagnostics[static_cast<size_t>(i)];
    const double start = r.start[i].item<double>(), sum = arrived[i].item<double>();
    d["start"] = start;
    d["relevance"] = sum;
    d["conservation_gap"] = sum - start;
    d["absorbed"] = r.absorbed[i].item<double>();
  }
  a.notes = r.notes;
  a.rule_uses = r.rule_uses;
  for (size_t i = 0; i < a.diagnostics.size(); ++i) {
    const auto& d = a.diagnostics[i];
    if (std::abs(d.at("relevance")) >= 0.1 * std::abs(d.at("start"))) continue;
    char share[32];
    std::snprintf(share, sizeof share, "%.2g %%", 100 * std::abs(d.at("relevance") / d.at("start")));
    a.notes[i].push_back(std::string("lrp: only ") + share +
                         " of the relevance arrives; the rest is absorbed by biases and stabilizers (result.json)");
  }
  return a;
}

}  // namespace

Method lrp_method() {
  return make_method<LrpParams>(
      "lrp", "Layer-wise relevance propagation", "propagation",
      "The score handed back layer by layer, in proportion to what each input contributed; a rule for each layer.",
      kBach2015, kNeedsTarget | kNeedsGradient, 0, lrp);
}

}  // namespace pellucid
