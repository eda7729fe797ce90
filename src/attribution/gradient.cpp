// Gradient, saliency, gradient x input: one pass forward, one back.
//   Simonyan, Vedaldi, Zisserman. "Deep Inside Convolutional Networks". ICLR Workshop 2014, section 3.
//   Shrikumar, Greenside, Kundaje. "Learning Important Features Through Propagating Activation Differences". ICML 2017.

#include "attribution/method.h"

namespace pellucid {

namespace {

struct GradientParams {
  std::string gradient_domain = "model";
};

template <class V>
void describe(V& visit, GradientParams& p) {
  visit("gradient_domain", p.gradient_domain, one_of({"model", "display"}),
        "What the derivative is by: the preprocessed input, or the picture's own colors in 0..1, whose channels a card "
        "may scale differently.");
}

Tensor input_gradient(const Context& context) {
  const ValueId input = input_value(context);
  return gradients(context, {context.input, all_rows(context), {input}, {}}).gradients.at(input);
}

Tensor input_gradient(const Context& context, const GradientParams& p) {
  const Tensor g = input_gradient(context);
  if (p.gradient_domain == "model") return g;
  const Tensor planes = to_planes(context, g);
  const Tensor black = at::zeros({1, planes.size(1), 1, 1}, planes.options());
  const Tensor slope = context.card.model_from_display(black + 1) - context.card.model_from_display(black);
  return from_planes(context, planes * slope);
}

Attribution gradient(const Context& context, const GradientParams& p) {
  return input_attribution(context, input_gradient(context, p), Reduction::kSum);
}

Attribution saliency(const Context& context, const GradientParams& p) {
  return input_attribution(context, input_gradient(context, p), Reduction::kMaxAbs);
}

Attribution gradient_x_input(const Context& context, const NoParams&) {
  const Tensor g = input_gradient(context);
  return input_attribution(context, g * context.input.to(g.options()), Reduction::kSum);
}

}  // namespace

Method gradient_method() {
  return make_method<GradientParams>(
      "gradient", "Gradient", "gradient",
      "Signed derivative of the score by each input value; the picture sums the channels.", papers::kSimonyan2014,
      kNeedsTarget | kNeedsGradient, kScalesWithLogit, gradient);
}

Method saliency_method() {
  return make_method<GradientParams>(
      "saliency", "Saliency", "gradient", "Largest absolute derivative over the channels of each pixel.",
      papers::kSimonyan2014, kNeedsTarget | kNeedsGradient, kNonNegative | kScalesWithLogit, saliency);
}

Method gradient_x_input_method() {
  return make_method<NoParams>("gradient-x-input", "Gradient x input", "gradient",
                               "Derivative times the (preprocessed) input; complete for networks without biases.",
                               papers::kShrikumar2017, kNeedsTarget | kNeedsGradient, kScalesWithLogit,
                               gradient_x_input);
}

}  // namespace pellucid
