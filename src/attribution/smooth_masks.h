#pragma once

#include "pellucid/tensor.h"

namespace pellucid {

/// Smooth masks of extremal perturbations: numbers p in 0..1 on a coarse grid, each scaling a kernel
/// exp(-2 max(0, d / sigma - 1/2)^2) around its place; a pixel gets the smooth maximum sum_k v_k softmax(20 v)_k of
/// v_k = p_k kernel_k over the (2r + 1)^2 kernels that reach it. Masks have a margin of sigma around the picture, so
/// that kernels outside it count and masks do not hug the border.
/// Fong, Patrick, Vedaldi. "Understanding Deep Networks via Extremal Perturbations and Smooth Masks". ICCV 2019;
/// geometry as in TorchRay. One kernel is looked at at a time, which holds a few masks instead of (2r + 1)^2.
class SmoothMasks {
 public:
  /// For pictures [height,width]; `step` >= 1 pixels between kernels, sigma > 0 in pixels.
  SmoothMasks(int64_t height, int64_t width, int64_t step, double sigma, const at::TensorOptions& options);

  /// The size of the grid.
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }

  /// p [n,rows,columns] -> masks with their margin [n,H',W'].
  Tensor with_margin(const Tensor& p) const;
  /// d/dp of sum(grad * with_margin(p)), `mask` being with_margin(p).
  Tensor backward(const Tensor& p, const Tensor& mask, const Tensor& grad) const;

  /// The picture's part of a mask with margin, and a gradient on it with zeros around.
  Tensor crop(const Tensor& mask) const;
  Tensor uncrop(const Tensor& grad, const Tensor& like) const;

 private:
  Tensor pad(const Tensor& p) const;
  Tensor cut(const Tensor& blocks) const;
  Tensor uncut(const Tensor& mask) const;
  template <class F>
  void for_each_kernel(const Tensor& padded, const F& visit) const;

  int64_t height_, width_, step_, offset_;
  int64_t radius_, padding_, rows_, columns_;
  Tensor kernels_;  ///< [2r+1,2r+1,step,step] by (ky, kx, y, x)
};

}  // namespace pellucid
