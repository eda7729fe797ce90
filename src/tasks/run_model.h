#pragma once

#include <string>
#include <vector>

#include "pellucid/tasks.h"

namespace pellucid {

/// One value for a batch of inputs; one picture at a time where the model answers wrongly for more.
Tensor forward(const Network& network, const Tensor& input, ValueId value, const Progress* progress);

/// Inputs of one shape as one batch, on the network's device and of its element type.
Tensor batch_of(const std::vector<const Picture*>& pictures, const Network& network);

/// The shape of one input, [1,...]; 224 where the card leaves a side open.
Shape usual_input_shape(const ModelCard& card);

/// Where a mask picture is above 127, bool [H,W].
Tensor mask_tensor(const Image& mask);

/// What a user should know about which of the model's outputs is explained; empty where there is nothing to say.
std::string output_note(const LayerTable& layers, const Graph& graph);

bool has_finite_scores(const Tensor& scores);

/// What to say of scores that are not finite: the model's file and the first value on the way to them that is not.
/// `input` is one picture's.
std::string score_problem(const Network& network, const Tensor& input, const LayerTable& table,
                          const Progress* progress);

/// A note when the card names fewer or more classes than there are scores.
void add_label_note(std::vector<std::string>& notes, const ModelCard& card, const LayerTable& layers);

}  // namespace pellucid
