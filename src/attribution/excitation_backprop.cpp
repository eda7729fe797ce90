// Excitation backprop: the probability that a neuron wins, when each winner passes its place on to its inputs in
// proportion to their positive contributions. Contrastive: minus the same for the dual class unit, whose weights are
// negated.
//   Zhang, Lin, Brandt, Shen, Sclaroff. "Top-down Neural Attention by Excitation Backprop". ECCV 2016, eq. 5
//   and section 3.3.
// Where activations or summands are negative, which the paper excludes, positive contributions share.

#include "attribution/relevance.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr Paper kZhang2016{"zhang2016", "Zhang, Lin, Brandt, Shen, Sclaroff",
                           "Top-down Neural Attention by Excitation Backprop", "ECCV", 2016};

Attribution winning(const Context& context, bool contrastive, const char* owner) {
  RelevanceRules rules;
  rules.lines = {{"linear", "", {RelevanceRule::kExcitation, 0}}};
  rules.excitation = true;
  rules.contrastive = contrastive;
  if (context.cam_layers.empty()) throw_usage(std::string(owner) + " needs a layer");
  const Relevance r = propagate(context, rules, context.cam_layers, /*from_score=*/false, owner);
  Attribution a = summed_channels(context, r.values, /*rectify=*/true);
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  const Tensor mass = sum_per_image(r.values.at(context.cam_layers.front()));
  for (int64_t i = 0; i < num_images(context); ++i) {
    auto& d = a.diagnostics[static_cast<size_t>(i)];
    d["start"] = r.start[i].item<double>();
    d["probability_mass"] = mass[i].item<double>();
  }
  a.notes = r.notes;
  a.rule_uses = r.rule_uses;
  return a;
}

Attribution excitation(const Context& context, const NoParams&) {
  return winning(context, false, "excitation-backprop");
}
Attribution contrastive_excitation(const Context& context, const NoParams&) {
  return winning(context, true, "contrastive-excitation-backprop");
}

}  // namespace

Method excitation_backprop_method() {
  return make_method<NoParams>("excitation-backprop", "Excitation backprop", "propagation",
                               "Probability that a unit wins when each winner passes its place to its inputs.",
                               kZhang2016, kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative, excitation);
}

Method contrastive_excitation_backprop_method() {
  return make_method<NoParams>("contrastive-excitation-backprop", "Contrastive excitation backprop", "propagation",
                               "Excitation backprop of the class minus that of its dual unit.", kZhang2016,
                               kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative, contrastive_excitation);
}

}  // namespace pellucid
