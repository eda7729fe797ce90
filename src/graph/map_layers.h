#pragma once

#include "pellucid/layers.h"

namespace pellucid {

/// Rows and columns of a token layer [N,T,D]: those of the map that was made into tokens, or else a square. {0,0} for a
/// layer that is none.
TokenGrid grid_of_tokens(const Graph& graph, const LayerTable& layers, ValueId id);

/// Whether a path of nodes leads from one value to another, or they are the same.
bool leads_to(const Graph& graph, ValueId from, ValueId to);

}  // namespace pellucid
