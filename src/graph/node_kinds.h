#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "pellucid/network.h"

namespace pellucid {

/// Whether an operator is one of these.
inline bool is_any(const std::string& op, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return op == name; });
}

/// [N,K,h,w] with more than one position.
inline bool is_spatial(const Shape& shape) { return shape.size() == 4 && shape[2] * shape[3] > 1; }

}  // namespace pellucid
