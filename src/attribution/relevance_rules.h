#pragma once

#include <utility>

#include "graph/weight_cache.h"
#include "pellucid/rule_lines.h"

namespace pellucid {

/// Lowest and highest value that the input of a node can have, shaped like one row of it.
using Bounds = std::pair<Tensor, Tensor>;

/// What one node passes back under a rule, one tensor per input: the relevance of its inputs given `b.grads`, the
/// relevance of its output. Needs a tape that kept all values; `caches` are those of its network. `bounds` is read by
/// the z-box rule alone.
///
/// zero, epsilon and pass suit every node that is linear up to a constant; the rules that look at weights suit Conv,
/// ConvTranspose, Gemm and MatMul by a constant, and throw Error(kUsage) elsewhere; excitation suits these and sums and
/// averages.
TensorList apply_rule(const RuleChoice& choice, const NodeBackward& b, const Bounds* bounds, const NodeCaches& caches);

/// Relevance as it is, to input 0.
TensorList pass_rule(const NodeBackward& b);
/// In proportion to the contributions a_i w_ij to the output: a * VJP(R / (z + epsilon sign z)).
TensorList epsilon_rule(const NodeBackward& b, double epsilon);
/// Excitation backprop at the layer that names the class, a * VJP_{w+}(P / (w+ a)); where P is negative (the score
/// falls with the unit, as for class 0 of a single logit) from the dual unit, whose weights have the other sign.
/// Contrastive: minus the same with units and dual units exchanged.
TensorList class_unit_rule(const NodeBackward& b, bool contrastive, const NodeCaches& caches);

/// Whether any number of `t` is below 0.
bool has_negative(const Tensor& t);

/// z + epsilon sign(z), with sign(0) = 1.
Tensor stabilize(const Tensor& z, double epsilon);

}  // namespace pellucid
