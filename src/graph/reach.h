#pragma once

#include <vector>

#include "pellucid/tensor.h"

namespace pellucid {

/// The intervals of one axis of a map that a run of variants changes, all computed at the same length.
struct Span {
  std::vector<int64_t> low, high;  ///< Changed at most in [low, high).
  std::vector<int64_t> start;      ///< Computed in [start, start + length), inside the map.
  int64_t length = 0;

  /// From the bounds, in a map with `size` positions.
  static Span of(std::vector<int64_t> low, std::vector<int64_t> high, int64_t size);
  bool same_place(const Span& other) const { return length == other.length && start == other.start; }
};

/// One axis of a sliding window: kernel extent (with dilation), stride, leading padding, number of outputs.
struct Sliding {
  int64_t extent = 1, stride = 1, pad = 0, outputs = 0;

  /// The outputs that see any of the changed inputs.
  Span through(const Span& changed) const;
  /// Where the inputs of an output span begin (may be negative), and how many they are.
  std::vector<int64_t> read_start(const Span& out) const;
  int64_t read_length(const Span& out) const { return (out.length - 1) * stride + extent; }
};

/// The bounding intervals of two spans of a map with `size` positions.
Span united(const Span& a, const Span& b, int64_t size);

/// Rows that read windows of equal size from a map: the clean map [1,C,H,W] with a crop of their own pasted in.
struct WindowRead {
  const Tensor& clean;                  ///< [1,C,H,W], channels last
  const Tensor& crops;                  ///< [n,C,h,w], channels last; undefined when nothing is pasted
  std::vector<int64_t> crop_y, crop_x;  ///< Where the crop of each row lies.
  std::vector<int64_t> y, x;            ///< Where the window of each row begins; it may leave the map.
  int64_t height = 0, width = 0;
  double padding = 0;  ///< What is outside the map.
};
/// [n,C,height,width], channels last. CPU only.
Tensor read_windows(const WindowRead& read);

}  // namespace pellucid
