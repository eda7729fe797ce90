// Gradient, saliency, gradient x input: one pass forward, one back.
//   Simonyan, Vedaldi, Zisserman. "Deep Inside Convolutional Networks". ICLR Workshop 2014, section 3.
//   Shrikumar, Greenside, Kundaje. "Learning Important Features Through Propagating Activation Differences". ICML 2017.

#include "attribution/method.h"

namespace pellucid {

namespace {

Tensor input_gradient(const Context& context) {
  const ValueId input = input_value(context);
  return gradients(context, {context.input, all_rows(context), {input}, {}}).gradients.at(input);
}

Attribution gradient(const Context& context, const NoParams&) {
  return input_attribution(context, input_gradient(context), Reduction::kSum);
}

Attribution saliency(const Context& context, const NoParams&) {
  return input_attribution(context, input_gradient(context), Reduction::kMaxAbs);
}

Attribution gradient_x_input(const Context& context, const NoParams&) {
  const Tensor g = input_gradient(context);
  return input_attribution(context, g * context.input.to(g.options()), Reduction::kSum);
}

}  // namespace

Method gradient_method() {
  return make_method<NoParams>("gradient", "Gradient", "gradient",
                               "Signed derivative of the score by each input value; the picture sums the channels.",
                               papers::kSimonyan2014, kNeedsTarget | kNeedsGradient, kScalesWithLogit, gradient);
}

Method saliency_method() {
  return make_method<NoParams>("saliency", "Saliency", "gradient",
                               "Largest absolute derivative over the channels of each pixel.", papers::kSimonyan2014,
                               kNeedsTarget | kNeedsGradient, kNonNegative | kScalesWithLogit, saliency);
}

Method gradient_x_input_method() {
  return make_method<NoParams>("gradient-x-input", "Gradient x input", "gradient",
                               "Derivative times the (preprocessed) input; complete for networks without biases.",
                               papers::kShrikumar2017, kNeedsTarget | kNeedsGradient, kScalesWithLogit,
                               gradient_x_input);
}

}  // namespace pellucid
