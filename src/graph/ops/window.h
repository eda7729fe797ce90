#pragma once

#include <vector>

#include "graph/op.h"

namespace pellucid {

/// Where the windows of a convolution or pooling lie, with auto_pad resolved. One entry per spatial axis.
struct WindowGeometry {
  std::vector<int64_t> kernel, strides, dilations;
  std::vector<int64_t> begin, end;  ///< Padding before and after.

  bool symmetric() const { return begin == end; }
  /// The padding in the order LibTorch's pad functions take it (last axis first).
  std::vector<int64_t> torch_pads() const;
  /// The part of a padded tensor that was the input of `shape`.
  Tensor crop(const Tensor& padded, at::IntArrayRef shape) const;
};

/// From the attributes strides, dilations, pads and auto_pad; `spatial` is the input's shape without N and C.
WindowGeometry window_geometry(const Node& node, at::IntArrayRef spatial, const std::vector<int64_t>& kernel);

}  // namespace pellucid
