// DeconvNet and guided backprop: the backward walk with another rule at rectifiers.
//   Zeiler, Fergus. "Visualizing and Understanding Convolutional Networks". ECCV 2014, section 2.1:
//     R_in = relu(R_out)
//   Springenberg, Dosovitskiy, Brox, Riedmiller. "Striving for Simplicity". ICLR Workshop 2015, section 3.4:
//     R_in = 1[a > 0] relu(R_out)
// Rectifiers are Relu, Clip(0, high), Max(x, 0), Where(x > 0, x, 0) and ThresholdedRelu; smooth activations get the
// nearest sensible rule and a note.

#include "attribution/method.h"
#include "graph/op.h"

namespace pellucid {

namespace {

bool is_rectifier(const Node& node) { return role_of(node) == OpRole::kRectifier; }
bool is_other_activation(const Node& node) {
  return role_of(node) == OpRole::kActivation && node.op != "Sigmoid" && node.op != "Tanh" && node.op != "HardSigmoid";
}

TensorList positive(const TensorList& grads) {
  TensorList result;
  for (const Tensor& g : grads) result.push_back(g.defined() ? at::relu(g) : g);
  return result;
}

TensorList only_first(const NodeBackward& b, const Tensor& r) {
  TensorList result(b.needed.size());
  result[0] = r;
  return result;
}

const char* const kDeconvRule = "deconvnet";
const char* const kGuidedRule = "guided-backprop";
const char* const kSmoothRule = "other-activation";

Attribution ruled(const Context& context, const RuleMap& rules, const char* rule) {
  const ValueId input = input_value(context);
  const GradientResult r = gradients(context, {context.input, all_rows(context), {input}, rules});
  Attribution a = input_attribution(context, r.gradients.at(input), Reduction::kMaxAbs);
  a.rule_uses = r.rule_uses;
  a.notes.resize(static_cast<size_t>(num_images(context)));
  for (auto& notes : a.notes) {
    if (r.rule_uses.at(rule) == 0) {
      notes.push_back(std::string(rule) +
                      ": no rectifier lies between the input and the target, so this is the plain gradient" +
                      (r.rule_uses.at(kSmoothRule) ? " with other activations clamped" : ""));
    } else if (r.rule_uses.at(kSmoothRule) > 0) {
      notes.push_back(
          std::string(rule) + ": " + std::to_string(r.rule_uses.at(kSmoothRule)) +
          " activations are not rectifiers; there the signal is clamped at zero before the activation's own gradient");
    }
  }
  return a;
}

Attribution deconvnet(const Context& context, const NoParams&) {
  return ruled(context, deconvnet_rules(), kDeconvRule);
}
Attribution guided_backprop(const Context& context, const NoParams&) { return guided_backprop_values(context); }

}  // namespace

RuleMap deconvnet_rules() {
  const BackwardRule clamp = [](const NodeBackward& b) { return only_first(b, at::relu(b.grads[0])); };
  return {{kDeconvRule, is_rectifier, clamp}, {kSmoothRule, is_other_activation, clamp}};
}

RuleMap guided_backprop_rules() {
  const BackwardRule guided = [](const NodeBackward& b) { return b.vjp(positive(b.grads)); };
  return {{kGuidedRule, is_rectifier, guided}, {kSmoothRule, is_other_activation, guided}};
}

Attribution guided_backprop_values(const Context& context) {
  return ruled(context, guided_backprop_rules(), kGuidedRule);
}

Method deconvnet_method() {
  return make_method<NoParams>("deconvnet", "DeconvNet", "gradient",
                               "Backward signal rectified at every rectifier, whatever the forward pass did.",
                               papers::kZeiler2014, kNeedsTarget | kNeedsGradient, kNonNegative | kScalesWithLogit,
                               deconvnet);
}

Method guided_backprop_method() {
  return make_method<NoParams>("guided-backprop", "Guided backpropagation", "gradient",
                               "Gradient that keeps only positive signals through active rectifiers.",
                               papers::kSpringenberg2015, kNeedsTarget | kNeedsGradient,
                               kNonNegative | kScalesWithLogit, guided_backprop);
}

}  // namespace pellucid
