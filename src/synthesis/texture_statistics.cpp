#include "synthesis/texture_statistics.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "synthesis/steerable_pyramid.h"

namespace pellucid {

namespace {

constexpr double kTiny = 1e-12;
/// Of a color component, relative to the first: what varies less is not blown up.
constexpr double kLeastVariance = 0.01;

/// [R,4] of rows [R,N]: mean, variance, skewness, kurtosis.
Tensor moments(const Tensor& rows) {
  const Tensor mean = rows.mean(1, true);
  const Tensor x = rows - mean;
  const Tensor variance = x.square().mean(1, true);
  const Tensor safe = variance + kTiny;
  return at::cat({mean, variance, x.pow(3).mean(1, true) / safe.pow(1.5), x.pow(4).mean(1, true) / safe.square()}, 1);
}

/// [R, n n]: covariances of images [R,h,w] with themselves, shifted by up to n/2 pixels either way, around the border.
Tensor autocovariance(const Tensor& images, int64_t n) {
  const Tensor x = images - images.mean({1, 2}, true);
  const Tensor power = at::fft_fft2(x).abs().square();
  const Tensor all = at::real(at::fft_ifft2(power)) / static_cast<double>(x.size(1) * x.size(2));
  const int64_t reach = std::min({n, x.size(1), x.size(2)}) / 2;
  return at::roll(all, {reach, reach}, {1, 2}).narrow(1, 0, 2 * reach + 1).narrow(2, 0, 2 * reach + 1).flatten(1);
}

/// Rows [R,N] of mean 0 and length 1.
Tensor standardized(const Tensor& rows) {
  const Tensor x = rows - rows.mean(1, true);
  return x / (x.square().sum(1, true) + kTiny).sqrt();
}

/// The complex modulus, with a gradient where it is 0.
Tensor modulus(const Tensor& z) {
  const Tensor parts = at::view_as_real(z);
  return (parts.square().sum(-1) + kTiny).sqrt();
}

/// Bands of one scale [P,K,h,w] as [P K, positions].
Tensor as_rows(const Tensor& bands) { return bands.flatten(0, 1).flatten(1); }

}  // namespace

ColorAxes::ColorAxes(const Tensor& picture) {
  const Tensor pixels = picture.detach().to(at::kDouble).flatten(1);
  mean_ = pixels.mean(1, true);
  const Tensor x = pixels - mean_;
  const auto [variances, vectors] = at::linalg_eigh(at::matmul(x, x.t()) / static_cast<double>(x.size(1)), "L");
  const double most = variances[2].item<double>();
  const auto skipped = variances.lt(std::max(1e-10, 1e-6 * most)).sum().item<int64_t>();
  const int64_t first = std::min<int64_t>(skipped, 2);
  const double least = std::max(1e-10, kLeastVariance * most);
  axes_ = (vectors / variances.clamp_min(least).sqrt()).t().narrow(0, first, 3 - first);
}

Tensor ColorAxes::planes(const Tensor& picture) const {
  const Tensor x = picture.flatten(1) - mean_.to(picture.options());
  return at::matmul(axes_.to(picture.options()), x).view({axes_.size(0), picture.size(1), picture.size(2)});
}

std::vector<StatisticsGroup> texture_statistics(const Tensor& planes, const TextureModel& model) {
  const SteerablePyramid pyramid = steerable_pyramid(planes, model.scales, model.orientations);
  TensorList lowpass, autocorrelation, energy, magnitudes, phase;
  const int64_t count = planes.size(0);
  lowpass.push_back(pyramid.high.flatten(1).var(1, false).unsqueeze(0));
  for (const Tensor& low : pyramid.lowpass) {
    lowpass.push_back(moments(low.flatten(1)).narrow(1, 1, 3).flatten().unsqueeze(0));
    autocorrelation.push_back(autocovariance(low, model.neighborhood).flatten().unsqueeze(0));
  }
  Tensor finer, finer_rows;  // standardized magnitudes and real parts of the scale before
  for (const Tensor& bands : pyramid.bands) {
    const Tensor size = modulus(bands);
    const Tensor shifted = autocovariance(size.flatten(0, 1), model.neighborhood);
    energy.push_back(shifted.view({count, model.orientations, -1}).transpose(0, 1).flatten(1));
    const Tensor here = standardized(as_rows(size));
    if (finer.defined()) {
      const Tensor coarse = spectral_upsample(bands);
      const Tensor coarse_size = modulus(coarse);
      magnitudes.push_back(at::matmul(finer, standardized(as_rows(coarse_size)).t()).flatten().unsqueeze(0));
      const Tensor twice = coarse * coarse / coarse_size;
      const Tensor parts = at::cat({as_rows(at::real(twice)), as_rows(at::imag(twice))});
      phase.push_back(at::matmul(finer_rows, standardized(parts).t()).flatten().unsqueeze(0));
    }
    magnitudes.push_back(at::matmul(here, here.t()).flatten().unsqueeze(0));
    finer = here;
    finer_rows = standardized(as_rows(at::real(bands)));
  }
  const auto joined = [](const TensorList& parts) {
    int64_t widest = 0;
    for (const Tensor& p : parts) widest = std::max(widest, p.size(1));
    TensorList padded;
    for (const Tensor& p : parts) padded.push_back(at::constant_pad_nd(p, {0, widest - p.size(1)}));
    return at::cat(padded);
  };
  const Tensor all = moments(planes.flatten(1));
  const Tensor marginals = at::stack({all.narrow(1, 0, 2).flatten(), all.narrow(1, 2, 2).flatten()});
  std::vector<StatisticsGroup> groups{{"marginals", marginals},
                                      {"lowpass", joined(lowpass)},
                                      {"autocorrelation", joined(autocorrelation)},
                                      {"energy", joined(energy)},
                                      {"magnitudes", joined(magnitudes)}};
  if (!phase.empty()) groups.push_back({"phase", joined(phase)});
  return groups;
}

Tensor relative_square_error(const StatisticsGroup& found, const StatisticsGroup& wanted) {
  const Tensor goal = wanted.rows.to(found.rows.options());
  return ((found.rows - goal).square().sum(1) / (goal.square().sum(1) + kTiny)).mean();
}

Tensor centered_multiple(const Tensor& picture, int64_t unit) {
  const int64_t height = picture.size(-2) / unit * unit, width = picture.size(-1) / unit * unit;
  return picture.narrow(-2, (picture.size(-2) - height) / 2, height).narrow(-1, (picture.size(-1) - width) / 2, width);
}

TextureModel fitting_model(const TextureModel& model, int64_t height, int64_t width) {
  TextureModel fitting = model;
  // The coarsest images hold the whole neighborhood.
  while (fitting.scales > 1 && (std::min(height, width) >> fitting.scales) <= model.neighborhood) --fitting.scales;
  return fitting;
}

}  // namespace pellucid
