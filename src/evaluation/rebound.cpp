#include "evaluation/rebound.h"

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

BoundTarget bound_to(const std::string& text, const LayerTable& layers, const Context& one, const Network& network,
                     const Tensor& input) {
  const Target target = Target::parse(text);
  const ValueId id = target_value(target, layers, network.graph());
  Request request;
  request.capture = {id};
  return {target, layers, one.card, id, network.run({input}, request).at(id)};
}

}  // namespace

Context context_like(const Context& one, const Network& network, const LayerTable& layers, const Tensor& input,
                     BoundTarget target, std::vector<ValueId> cam_layers) {
  Context c{network, layers, one.card, input, std::move(target), std::move(cam_layers)};
  c.seed = one.seed;
  c.batch_size = one.batch_size;
  c.progress = one.progress;
  c.injected_noise = one.injected_noise;
  c.memory_budget = one.memory_budget;
  c.regions = one.regions;
  c.segmenter = one.segmenter;
  c.background = one.background;
  c.injected = one.injected;
  return c;
}

Rebound::Rebound(const Context& one, const Network& network, const Tensor& input, const std::string& target)
    : layers_(network, {input.sizes().vec()}) {
  std::vector<ValueId> cam_layers;
  for (const ValueId id : one.cam_layers) {
    const std::string& name = one.network.graph().value(id).name;
    cam_layers.push_back(network.graph().find(name));
    if (cam_layers.back() == kNoValue) {
      throw_usage("layer '" + printable(name) + "' does not exist in the other network");
    }
  }
  context_.emplace(context_like(one, network, layers_, input, bound_to(target, layers_, one, network, input),
                                std::move(cam_layers)));
}

Context picture_of(const Context& context, int64_t image) {
  Context one = context;
  one.input = context.input.narrow(0, image, 1);
  one.target = context.target.rows({image});
  if (one.regions.defined() && one.regions.dim() == 3) one.regions = one.regions.narrow(0, image, 1);
  return one;
}

std::string class_text(const Context& one, const std::string& owner) {
  const int64_t index = one.target.class_index(0);
  if (index < 0 || one.target.is_dense()) {
    throw_usage(owner + ": needs one class of a classifier as target, not '" + printable(one.target.description(0)) +
                "'");
  }
  return std::to_string(index);
}

}  // namespace pellucid
