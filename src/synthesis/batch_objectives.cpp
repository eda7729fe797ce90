// What pictures of a batch are to one another.

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"

namespace pellucid {

namespace {

/// -(1/B) sum over ordered pairs of the cosine of their Gram matrices: pictures of the batch unlike one another.
class Diversity final : public LayerObjective {
 public:
  Diversity(const PartScope& scope, const LayerParams& p) : LayerObjective(scope, "diversity", p.layer) {}
  Tensor score(const ObjectiveInput& input) const override {
    Tensor g = gram_matrix(map_of(input)).flatten(1);
    g = g / (g.norm(2, 1, true) + 1e-10);
    const Tensor cosines = at::matmul(g, g.t());
    // Each picture carries its own share; the sum over the batch is minus the sum over pairs over B.
    return -(cosines.sum(1) - cosines.diagonal()) / static_cast<double>(g.size(0));
  }
};

struct AlignmentParams {
  std::string layer;
  int64_t reach = 1;
  double decay = 2;
};
template <class V>
void describe(V& visit, AlignmentParams& p) {
  visit("layer", p.layer, TextLike{"a layer by name, suffix, glob or #index"}, "Where.");
  visit("reach", p.reach, integer_between(1, 64), "How far apart in the batch two pictures may be to count.");
  visit("decay", p.decay, between(1, 100), "What the weight of a pair is divided by for each place further apart.");
}
/// Minus the mean squared difference of the activations of neighbours in the batch: a row of pictures that turn into
/// one another. Each of a pair carries half.
class Alignment final : public LayerObjective {
 public:
  Alignment(const PartScope& scope, const AlignmentParams& p) : LayerObjective(scope, "alignment", p.layer), p_(p) {}
  Tensor score(const ObjectiveInput& input) const override {
    const Tensor a = map_of(input).flatten(1);
    const int64_t count = a.size(0);
    Tensor sum = at::zeros({count}, a.options());
    double weight = 1;
    for (int64_t apart = 1; apart <= std::min(p_.reach, count - 1); ++apart, weight /= p_.decay) {
      const Tensor pairs =
          (a.narrow(0, apart, count - apart) - a.narrow(0, 0, count - apart)).square().mean(1) * (weight / 2);
      sum = sum - at::constant_pad_nd(pairs, {0, apart}) - at::constant_pad_nd(pairs, {apart, 0});
    }
    return sum;
  }

 private:
  AlignmentParams p_;
};

}  // namespace

std::vector<PartEntry<Objective>> batch_objectives() {
  return {
      part_entry<Objective, Diversity, LayerParams>("diversity", "Pictures of a batch unlike one another.", kOlah2017),
      part_entry<Objective, Alignment, AlignmentParams>("alignment", "Neighbours in a batch alike.", kOlah2017)};
}

}  // namespace pellucid
