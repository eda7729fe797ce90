#pragma once

// Codes of generators that were trained on the activations of the network that is looked into.

#include <string>

#include "synthesis/part.h"

namespace pellucid {

/// The codes of pictures: a layer's activations averaged over a grid of so many rows and columns, or over the layer's
/// own where it has fewer, [N,C,rows,columns]; those of dense layers have one position.
Tensor codes_from_display(const SynthesisContext& context, ValueId layer, const Tensor& display, int64_t rows,
                          int64_t columns);

/// |E(G(h)) - h|^2 / |h|^2 over the scope's batch of random codes h, with E as in codes_from_display: next to nothing
/// for a generator of this network's codes, about 1 for that of another's; infinite where their shapes differ.
double code_error(const PartScope& scope, const std::string& latent);

}  // namespace pellucid
