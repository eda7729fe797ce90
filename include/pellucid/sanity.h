#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pellucid/attribution.h"
#include "pellucid/similarity.h"

namespace pellucid {

/// Makes a map; the same method with the same parameters each time.
using ExplainFunction = std::function<Attribution(const Context&)>;

/// In which order layers lose their weights.
/// Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. "Sanity Checks for Saliency Maps". NeurIPS 2018.
enum class RandomizationOrder {
  kCascading,   ///< From the logits down, each step on top of those before.
  kBottomUp,    ///< From the input up, each step on top of those before.
  kIndependent  ///< One layer at a time, the others as trained.
};

/// What replaces a tensor of weights. BatchNormalization is reset to scale 1, shift 0, mean 0, variance 1 in both.
enum class WeightReset {
  /// Normal numbers around zero cut off at two deviations, scaled to the standard deviation of the tensor's own values.
  kTruncatedNormal,
  kPermutation  ///< The tensor's own values in random order: the very same distribution.
};

struct RandomizationOptions {
  RandomizationOrder order = RandomizationOrder::kCascading;
  WeightReset reset = WeightReset::kTruncatedNormal;
  int64_t seeds = 1;      ///< Independent repetitions; similarities are averaged.
  int64_t max_steps = 0;  ///< At most so many steps are looked at, evenly spread over the layers; 0: every layer.
  /// Smooth: maps are averaged over this many noisy copies of the picture before they are compared, so that what is
  /// compared is no accident of shattered gradients; 0: the plain check.
  /// Hedstroem, Weber, Lapuschkin, Hoehne. "A Fresh Look at Sanity Checks for Saliency Maps". xAI 2024.
  int64_t noise_samples = 0;
  double noise = 0.1;  ///< Standard deviation as a share of the picture's value range.
};

/// A layer whose weights are replaced together: a convolution or linear layer with its bias, and the normalization that
/// follows it.
struct RandomizedLayer {
  std::string name;              ///< Of the node.
  std::vector<ValueId> weights;  ///< Replaced by the reset.
  std::vector<ValueId> ones;     ///< Scale and variance of a normalization: become 1.
  std::vector<ValueId> zeros;    ///< Shift and mean: become 0.
};

/// The layers that the target depends on, in graph order. Throws Error(kUsage) for a graph without weights.
std::vector<RandomizedLayer> randomizable_layers(const Graph& graph, ValueId target);

/// New weights for one layer; `seed` decides them.
std::map<ValueId, Tensor> reset_weights(const Graph& graph, const RandomizedLayer& layer, WeightReset reset,
                                        uint64_t seed);

/// How alike the map of the changed network is to the one before, for one picture.
struct SanityStep {
  std::string layer;         ///< Whose weights were replaced last.
  int64_t index = 0;         ///< Among the randomizable layers, in graph order.
  MapSimilarity similarity;  ///< Averages over the seeds whose map is not degenerate.
  int64_t degenerate = 0;    ///< Seeds whose map came out constant: their similarity is undefined.
};

/// Replaces weights layer by layer, explains picture `image` for the same class index again each time, and compares
/// with the map before. The network itself is not touched: each step explains a network with some weights overridden.
/// One such network is alive at a time. An explanation that depends on what the network has learned must become unlike
/// itself: low is good.
std::vector<SanityStep> parameter_randomization(const Context& context, int64_t image, const ExplainFunction& explain,
                                                const RandomizationOptions& options = {});

/// What maps score that have nothing to do with each other: the map of picture `image` against that of `another`
/// picture [1,...] of the same shape, by the same network for the same class index. Smooth maps, and maps of centred
/// objects, are alike by chance; what parameter randomization leaves means something only above this.
MapSimilarity similarity_floor(const Context& context, int64_t image, const Tensor& another,
                               const ExplainFunction& explain, const RandomizationOptions& options = {});

/// The map of the target's class against that of another class, drawn from the seed. Similar maps for different classes
/// mean that the method does not explain the class.
/// Sixt, Granz, Landgraf. "When Explanations Lie: Why Many Modified BP Attributions Fail". ICML 2020.
struct OtherClass {
  int64_t class_index = 0;
  MapSimilarity similarity;
};
OtherClass random_logit(const Context& context, int64_t image, const ExplainFunction& explain);
/// The same with the class that the network holds least likely.
OtherClass least_likely_class(const Context& context, int64_t image, const ExplainFunction& explain);

/// The map by a network that was trained on shuffled labels against the map by the network itself, for the same class
/// index. Layers are found again by name; throws Error(kUsage) when one does not exist there.
MapSimilarity label_randomization(const Context& context, int64_t image, const Network& trained_on_shuffled_labels,
                                  const ExplainFunction& explain);

}  // namespace pellucid
