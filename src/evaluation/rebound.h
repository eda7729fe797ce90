#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pellucid/attribution.h"

namespace pellucid {

/// The picture of a batch of one explained on another network: layer table, target and layers found again there.
class Rebound {
 public:
  /// `target` is parsed for the other network. Layers are looked up by the names they have in `one`; throws
  /// Error(kUsage) when one is missing.
  Rebound(const Context& one, const Network& network, const Tensor& input, const std::string& target);

  const Context& context() const { return *context_; }

 private:
  LayerTable layers_;
  std::optional<Context> context_;  // refers to layers_
};

/// Everything of `one` but its network, layer table, pictures, target and layers.
Context context_like(const Context& one, const Network& network, const LayerTable& layers, const Tensor& input,
                     BoundTarget target, std::vector<ValueId> cam_layers);

/// Picture `image` of a context alone.
Context picture_of(const Context& context, int64_t image);

/// The class of a batch of one as a target's text. Throws Error(kUsage), in the name of `owner`, when the target is no
/// class of a classifier.
std::string class_text(const Context& one, const std::string& owner);

}  // namespace pellucid
