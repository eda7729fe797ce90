#pragma once

// What objectives about activations share.

#include <string>
#include <utility>
#include <vector>

#include "pellucid/error.h"
#include "synthesis/part.h"

namespace pellucid {

/// Activations as [B,C,h,w]; dense ones have one position. Throws Error(kUsage) in the owner's name for others.
Tensor as_map(const Tensor& value, const std::string& owner);

/// The base of objectives that look at one layer.
class LayerObjective : public Objective {
 public:
  LayerObjective(const PartScope& scope, std::string owner, const std::string& layer)
      : owner_(std::move(owner)), layer_(layer.empty() ? missing() : scope.layers.find(layer)) {}
  std::vector<ValueId> layers() const override { return {layer_}; }

 protected:
  Tensor map_of(const ObjectiveInput& input) const { return as_map(input.values.at(layer_), owner_); }
  Tensor map_of_picture(const PartScope& scope, const std::string& name) const {
    return as_map(scope.activations(scope.picture(owner_, name), {layer_}).at(layer_), owner_).detach();
  }
  Tensor channel_of(const Tensor& map, int64_t channel) const {
    if (channel >= map.size(1)) {
      throw_usage(owner_ + ": channel " + std::to_string(channel) + " does not exist; the layer has " +
                  std::to_string(map.size(1)));
    }
    return map.select(1, channel);
  }

  std::string owner_;
  ValueId layer_;

 private:
  [[noreturn]] ValueId missing() const { throw_usage(owner_ + ": layer is missing (layer=NAME)"); }
};

struct LayerParams {
  std::string layer;
};
template <class V>
void describe(V& visit, LayerParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
}

/// A mask [H,W] among the tensors of a run as [1,1,H,W]; undefined for an empty name.
Tensor fitted_mask(const PartScope& scope, const std::string& owner, const std::string& name);
/// The same at the size of activations [B,C,h,w].
Tensor mask_at(const Tensor& mask, const Tensor& a);
/// [B,C,C]: sum over positions of a a^T, divided by their number; with a mask m, sum of (m a)(m a)^T divided by that of
/// m^2.
Tensor gram_matrix(const Tensor& a, const Tensor& mask = {});
/// Mean and standard deviation of each channel over positions, [B,C] each; with a mask, weighted by it.
std::pair<Tensor, Tensor> channel_moments(const Tensor& a, const Tensor& mask = {});

}  // namespace pellucid
