#pragma once

#include "pellucid/layers.h"

namespace pellucid {

/// Classes that the logits count; two where they are one score.
int64_t num_classes(const LayerTable& layers);

/// Probabilities [N,K,...] of scores [N,C,...]: by themselves where each class has a sigmoid, else by softmax; a single
/// score s stands for the two classes (-s, s) with the probabilities sigmoid(-s), sigmoid(s).
Tensor class_probabilities(const Tensor& scores, bool sigmoid);
/// Their logarithms, without underflow.
Tensor log_class_probabilities(const Tensor& scores, bool sigmoid);
/// The scores themselves, (-s, s) for a single one.
Tensor paired_scores(const Tensor& scores);

}  // namespace pellucid
