#include "synthesis/plane_transform.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace pellucid {

namespace {

using torch::autograd::AutogradContext;

/// `transform` of every plane [1,h,w] of x.
template <class Transform>
Tensor plane_by_plane(const Tensor& x, int64_t height, int64_t width, at::ScalarType type, const Transform& transform) {
  const Tensor in = x.reshape({-1, x.size(-2), x.size(-1)});
  Shape shape = x.sizes().vec();
  shape[shape.size() - 2] = height;
  shape[shape.size() - 1] = width;
  Tensor out;
  if (x.is_cuda()) {
    out = transform(in);
  } else {
    out = at::empty({in.size(0), height, width}, x.options().dtype(type));
    at::parallel_for(0, in.size(0), 1, [&](int64_t begin, int64_t end) {
      const at::NoGradGuard no_grad;  // of this thread
      for (int64_t i = begin; i < end; ++i) out.narrow(0, i, 1).copy_(transform(in.narrow(0, i, 1)));
    });
  }
  return out.view(shape);
}

/// `norm` says which of the two directions divides by h w.
Tensor forward_transform(const Tensor& planes, const char* norm) {
  return plane_by_plane(planes, planes.size(-2), planes.size(-1) / 2 + 1, c10::toComplexType(planes.scalar_type()),
                        [&](const Tensor& p) {
                          return at::fft_rfft2(p, c10::nullopt, {-2, -1}, norm);
                        });
}
Tensor inverse_transform(const Tensor& spectrum, int64_t height, int64_t width, const char* norm) {
  return plane_by_plane(spectrum, height, width, c10::toRealValueType(spectrum.scalar_type()), [&](const Tensor& s) {
    return at::fft_irfft2(s, at::IntArrayRef{height, width}, {-2, -1}, norm);
  });
}

/// The columns that stand for their mirror images too: all but the first, and but the last of an even width.
Tensor twofold(const Tensor& spectrum, int64_t width) { return spectrum.narrow(-1, 1, width - spectrum.size(-1)); }

// Each transform is, but for the columns that count twice, the transpose of the other.
struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext* context, const Tensor& planes) {
    context->saved_data["width"] = planes.size(-1);
    return forward_transform(planes, "backward");
  }
  static TensorList backward(AutogradContext* context, TensorList gradients) {
    const int64_t width = context->saved_data["width"].toInt();
    const Tensor g = gradients[0].clone();
    twofold(g, width).div_(2);
    return {inverse_transform(g, g.size(-2), width, "forward")};
  }
};

struct Inverse : torch::autograd::Function<Inverse> {
  static Tensor forward(AutogradContext*, const Tensor& spectrum, int64_t height, int64_t width) {
    return inverse_transform(spectrum, height, width, "backward");
  }
  static TensorList backward(AutogradContext*, TensorList gradients) {
    const Tensor g = forward_transform(gradients[0], "forward");
    twofold(g, gradients[0].size(-1)).mul_(2);
    return {g, {}, {}};
  }
};

}  // namespace

Tensor spectrum_from_planes(const Tensor& planes) { return Forward::apply(planes); }

Tensor planes_from_spectrum(const Tensor& spectrum, int64_t height, int64_t width) {
  return Inverse::apply(spectrum, height, width);
}

}  // namespace pellucid
