// Karmani, Sivakaran, Prasad, Ali, Yang, Tang. "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using
// Kernel PCA". arXiv 2024: the first component of kernel PCA over the positions of a layer. Rows of the data are
// positions, channels are centered, the kernel matrix is centered in feature space, and the map is sqrt(lambda_1) u_1.
// Kernels and their defaults are scikit-learn's.

#include <algorithm>
#include <cmath>

#include "attribution/cam.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kKarmani2024{"karmani2024", "Karmani, Sivakaran, Prasad, Ali, Yang, Tang",
                             "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA", "arXiv",
                             2024};

struct KpcaParams {
  std::string kernel = "sigmoid";
  double gamma = 0;
  int64_t degree = 3;
  double offset = 1;
  bool centered = true;
};

template <class V>
void describe(V& visit, KpcaParams& p) {
  visit("kernel", p.kernel, one_of({"sigmoid", "rbf", "poly", "cosine", "linear"}), "Similarity of two positions.");
  visit("gamma", p.gamma, between(0, 1e6), "Scale inside sigmoid, rbf and poly; 0 is one over the channels.");
  visit("degree", p.degree, integer_between(1, 20), "Power of poly.");
  visit("offset", p.offset, between(0, 1e6), "Added inside sigmoid and poly.");
  visit("centered", p.centered, Flag{}, "Subtract each channel's mean first.");
}

/// Kernel matrix [n,n] of rows [n,K].
Tensor kernel_matrix(const Tensor& rows, const KpcaParams& p) {
  const double gamma = p.gamma > 0 ? p.gamma : 1.0 / static_cast<double>(rows.size(1));
  if (p.kernel == "cosine") {
    const Tensor norm = rows.norm(2, {1}, true);
    const Tensor unit = safe_ratio(rows, norm.expand_as(rows));
    return unit.mm(unit.t());
  }
  const Tensor products = rows.mm(rows.t());
  if (p.kernel == "linear") return products;
  if (p.kernel == "sigmoid") return at::tanh(products * gamma + p.offset);
  if (p.kernel == "poly") return at::pow(products * gamma + p.offset, p.degree);
  const Tensor squares = products.diagonal();
  return at::exp((squares.unsqueeze(0) + squares.unsqueeze(1) - 2 * products).clamp_min(0) * -gamma);
}

/// The first component [n] of rows [n,K], and the share of the kernel's size that its variance has.
std::pair<Tensor, double> first_kernel_component(const Tensor& rows, const KpcaParams& p) {
  const Tensor kernel = kernel_matrix(rows, p);
  const Tensor mean = kernel.mean(0, true);
  const Tensor centered = kernel - mean - mean.t() + kernel.mean();
  const auto [values, vectors] = at::linalg_eigh(centered);
  const int64_t last = rows.size(0) - 1;
  const double variance = values[last].item<double>();
  const double size = kernel.abs().max().item<double>() * static_cast<double>(rows.size(0));
  return {vectors.select(1, last) * std::sqrt(std::max(0.0, variance)), size > 0 ? variance / size : 0};
}

/// [h,w] of one image, float64 [K,h,w]; the sign is that of the mean activation. NaN stays NaN.
Tensor kpca_map(const Context& context, const KpcaParams& p, const Tensor& activations) {
  const int64_t positions = activations.size(1) * activations.size(2);
  // The matrix, its centered form, eigenvectors and the solver's working space.
  const double bytes = 5.0 * sizeof(double) * static_cast<double>(positions) * static_cast<double>(positions);
  if (bytes > static_cast<double>(context.memory_budget)) {
    throw_usage("kpca-cam: the layer has " + std::to_string(positions) + " positions, whose kernel matrix needs " +
                std::to_string(static_cast<int64_t>(bytes) >> 20) + " MiB of the " +
                std::to_string(context.memory_budget >> 20) + " that are allowed; choose a deeper layer or eigen-cam");
  }
  if (!at::isfinite(activations).all().item<bool>()) return activations.sum(0) * std::nan("");
  Tensor rows = activations.flatten(1).t();
  if (p.centered) rows = rows - rows.mean(0, true);
  auto [component, share] = first_kernel_component(rows, p);
  // A kernel that is constant but for rounding (dead or saturated) has no component.
  if (share <= 1e-6) component = at::zeros_like(component);
  const Tensor mean = activations.mean(0).flatten();
  if ((component * (mean - mean.mean())).sum().item<double>() < 0) component = -component;
  return component.view({activations.size(1), activations.size(2)});
}

Attribution kpca_cam(const Context& context, const KpcaParams& p, const CamOptions& options) {
  CamCall call;
  call.gradients = false;
  call.inspect = [&](const CamInput& in, Attribution& a) {
    for (int64_t i = 0; i < in.activations.size(0); ++i) {
      const Tensor& raw = a.layer_values.empty() ? a.values : a.layer_values.at(in.layer);
      const bool alive = in.activations[i].abs().max().item<double>() > 0;
      if (!alive || raw[i].abs().max().item<double>() > 0) continue;
      a.notes[static_cast<size_t>(i)].push_back(
          "kpca-cam: the kernel hardly differs between positions (gamma is too small or too large for these "
          "activations)");
    }
  };
  return run_cam(
      context,
      [&](const CamInput& in) {
        TensorList maps;
        for (int64_t i = 0; i < in.activations.size(0); ++i) {
          if (context.progress) {
            context.progress->report(static_cast<double>(i), static_cast<double>(in.activations.size(0)), "kernels");
          }
          maps.push_back(kpca_map(context, p, in.activations[i]));
        }
        return whole_map(at::stack(maps));
      },
      options, call);
}

}  // namespace

Method kpca_cam_method() {
  return make_cam<KpcaParams>("kpca-cam", "KPCA-CAM", "First component of kernel PCA of the activations; no class.",
                              kKarmani2024, kNeedsLayer, kNonNegative | kClassAgnostic, kpca_cam);
}

}  // namespace pellucid
