#include "attribution/smooth_masks.h"

#include <cmath>

namespace pellucid {

namespace {
constexpr double kColdness = 20;
}  // namespace

SmoothMasks::SmoothMasks(int64_t height, int64_t width, int64_t step, double sigma, const at::TensorOptions& options)
    : height_(height), width_(width), step_(step), offset_(std::llround(sigma)) {
  const auto distance = static_cast<double>(step);
  radius_ = 1 + static_cast<int64_t>(std::ceil(sigma / distance));
  padding_ = 1 + static_cast<int64_t>(std::ceil(2 * sigma / distance));
  rows_ = (height + step - 1) / step;
  columns_ = (width + step - 1) / step;
  // From a pixel at an offset within its block of step pixels to the k-th kernel it sees, along one axis: [2r+1,step].
  const Tensor kernel = at::arange(2 * radius_ + 1, at::kDouble) - static_cast<double>(padding_);
  const Tensor along = at::arange(step, at::kDouble).unsqueeze(0) - sigma - distance * kernel.unsqueeze(1);
  const Tensor square = along.square();
  const Tensor d = (square.unsqueeze(2).unsqueeze(1) + square.unsqueeze(1).unsqueeze(0)).sqrt() / sigma;
  kernels_ = at::exp(-2 * at::relu(d - 0.5).square()).to(options);
}

Tensor SmoothMasks::pad(const Tensor& p) const {
  return at::constant_pad_nd(p, {padding_, padding_, padding_, padding_});
}

// Masks are computed as blocks [n,by,step,bx,step], of which the last along each axis has one pixel that counts.
Tensor SmoothMasks::cut(const Tensor& blocks) const {
  const Tensor whole = blocks.reshape({blocks.size(0), blocks.size(1) * step_, blocks.size(3) * step_});
  return whole.slice(1, 0, whole.size(1) - step_ + 1).slice(2, 0, whole.size(2) - step_ + 1);
}

Tensor SmoothMasks::uncut(const Tensor& mask) const {
  const Tensor whole = at::constant_pad_nd(mask, {0, step_ - 1, 0, step_ - 1});
  return whole.view({whole.size(0), whole.size(1) / step_, step_, whole.size(2) / step_, step_});
}

template <class F>
void SmoothMasks::for_each_kernel(const Tensor& padded, const F& visit) const {
  const int64_t by = padded.size(1) - 2 * radius_, bx = padded.size(2) - 2 * radius_;
  for (int64_t ky = 0; ky < kernels_.size(0); ++ky) {
    for (int64_t kx = 0; kx < kernels_.size(1); ++kx) {
      const Tensor cells = padded.narrow(1, ky, by).narrow(2, kx, bx).unsqueeze(3).unsqueeze(2);
      visit(cells, kernels_[ky][kx].unsqueeze(1), ky, kx);
    }
  }
}

Tensor SmoothMasks::with_margin(const Tensor& p) const {
  Tensor weighted, total;
  for_each_kernel(pad(p), [&](const Tensor& cells, const Tensor& kernel, int64_t, int64_t) {
    const Tensor v = cells * kernel, e = at::exp(kColdness * v);
    weighted = weighted.defined() ? weighted.add_(v * e) : v * e;
    total = total.defined() ? total.add_(e) : e;
  });
  return cut((weighted / total).clamp(0, 1));
}

Tensor SmoothMasks::backward(const Tensor& p, const Tensor& mask, const Tensor& grad) const {
  const Tensor padded = pad(p), m = uncut(mask);
  Tensor total;
  for_each_kernel(padded, [&](const Tensor& cells, const Tensor& kernel, int64_t, int64_t) {
    const Tensor e = at::exp(kColdness * (cells * kernel));
    total = total.defined() ? total.add_(e) : e;
  });
  const Tensor share = uncut(grad) / total;
  Tensor result = at::zeros_like(padded);
  for_each_kernel(padded, [&](const Tensor& cells, const Tensor& kernel, int64_t ky, int64_t kx) {
    const Tensor v = cells * kernel;
    const Tensor dv = at::exp(kColdness * v) * (1 + kColdness * (v - m)) * share;
    result.narrow(1, ky, dv.size(1)).narrow(2, kx, dv.size(3)).add_((dv * kernel).sum({2, 4}));
  });
  return result.narrow(1, padding_, rows_).narrow(2, padding_, columns_);
}

Tensor SmoothMasks::crop(const Tensor& mask) const {
  return mask.narrow(1, offset_, height_).narrow(2, offset_, width_);
}

Tensor SmoothMasks::uncrop(const Tensor& grad, const Tensor& like) const {
  Tensor result = at::zeros_like(like);
  result.narrow(1, offset_, height_).narrow(2, offset_, width_).copy_(grad);
  return result;
}

}  // namespace pellucid
