#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "pellucid/tensor.h"

namespace pellucid {

/// Convolution weights in the layout that oneDNN's kernels want, made once per input shape and kept
/// while there is room. Without it every call
/// reorders the weights again, which costs up to half of a 1x1 convolution's time. Safe to share between threads.
class PackedConvolutions {
 public:
  PackedConvolutions();
  ~PackedConvolutions();

  /// The convolution of a contiguous-in-channels float32 CPU tensor [N,C,H,W], or undefined when this LibTorch has no
  /// such kernels or they do not suit; then the caller computes it itself. `weight` must stay as it is for good.
  Tensor run(const Tensor& input, const Tensor& weight, const Tensor& bias, at::IntArrayRef strides,
             at::IntArrayRef padding, at::IntArrayRef dilations, int64_t groups) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pellucid
