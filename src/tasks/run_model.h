#pragma once

#include <string>
#include <vector>

#include "pellucid/tasks.h"

namespace pellucid {

/// One value for a batch of inputs; one picture at a time where the model answers wrongly for more.
Tensor forward(const Network& network, const Tensor& input, ValueId value, const Progress* progress);

/// Inputs of one shape as one batch, on the network's device and of its element type.
Tensor batch_of(const std::vector<const Picture*>& pictures, const Network& network);

/// Where a mask picture is above 127, bool [H,W].
Tensor mask_tensor(const Image& mask);

/// What a user should know about which of the model's outputs is explained; empty where there is nothing to say.
std::string output_note(const LayerTable& layers, const Graph& graph);

/// What is wrong with a picture's scores: "the network's scores are not finite"; empty when nothing is.
std::string score_problem(const Tensor& scores);

}  // namespace pellucid
