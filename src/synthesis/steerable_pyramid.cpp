#include "synthesis/steerable_pyramid.h"

#include <cmath>
#include <string>

#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr double kPi = 3.14159265358979323846;

struct Frequencies {
  Tensor octave;  ///< [h,w]: log2 of the radius, 0 at the highest frequency along an axis.
  Tensor angle;   ///< [h,w]
};
Frequencies frequencies(int64_t height, int64_t width, const at::TensorOptions& options) {
  const Tensor fy = 2 * at::fft_fftfreq(height, 1.0, at::kDouble).view({-1, 1});
  const Tensor fx = 2 * at::fft_fftfreq(width, 1.0, at::kDouble).view({1, -1});
  const Tensor radius = (fy.square() + fx.square()).sqrt();
  return {radius.clamp_min(1e-12).log2().to(options),
          at::atan2(fy.expand_as(radius), fx.expand_as(radius)).to(options)};
}

/// 0 up to an octave below `edge`, 1 above it; squares of this and of `low` add up to 1.
Tensor high_mask(const Tensor& octave, double edge) { return ((edge - octave).clamp(0, 1) * (kPi / 2)).cos(); }
Tensor low_mask(const Tensor& octave, double edge) { return ((edge - octave).clamp(0, 1) * (kPi / 2)).sin(); }

/// sqrt(c) cos^(K-1) of the angle to orientation k, such that the squares over all k add up to 1.
Tensor angular_mask(const Tensor& angle, int64_t k, int64_t count) {
  const double order = static_cast<double>(count) - 1;
  const double log_scale = 2 * order * std::log(2.0) + 2 * std::lgamma(order + 1) -
                           std::log(static_cast<double>(count)) - std::lgamma(2 * order + 1);
  const Tensor cosine = (angle - kPi * static_cast<double>(k) / static_cast<double>(count)).cos();
  return std::exp(log_scale / 2) * cosine.pow(static_cast<double>(count - 1));
}

/// (-i)^(K-1), which makes bands of odd order real.
Tensor turned(const Tensor& spectrum, int64_t count, bool back) {
  switch ((back ? 3 * (count - 1) : count - 1) % 4) {
    case 0:
      return spectrum;
    case 1:
      return spectrum * c10::complex<double>(0, -1);
    case 2:
      return -spectrum;
    default:
      return spectrum * c10::complex<double>(0, 1);
  }
}

Tensor to_spectrum(const Tensor& x) { return at::fft_fft2(x); }
Tensor to_space(const Tensor& x) { return at::fft_ifft2(x); }

/// The lower half of the frequencies of both axes, scaled so that values keep their size.
Tensor halved(const Tensor& spectrum) {
  Tensor x = spectrum;
  for (const int64_t axis : {-2, -1}) {
    const int64_t n = x.size(axis), first = (n / 2 + 1) / 2, rest = n / 2 - first;
    x = at::cat({x.narrow(axis, 0, first), x.narrow(axis, n - rest, rest)}, axis);
  }
  return x / 4;
}
/// The opposite.
Tensor doubled(const Tensor& spectrum) {
  Tensor x = spectrum;
  for (const int64_t axis : {-2, -1}) {
    const int64_t n = x.size(axis), first = (n + 1) / 2;
    Shape zeros = x.sizes().vec();
    zeros[static_cast<size_t>(x.dim() + axis)] = n;
    x = at::cat({x.narrow(axis, 0, first), at::zeros(zeros, x.options()), x.narrow(axis, first, n - first)}, axis);
  }
  return x * 4;
}

}  // namespace

Tensor spectral_upsample(const Tensor& image) {
  const Tensor up = to_space(doubled(to_spectrum(image)));
  return image.is_complex() ? up : at::real(up);
}

SteerablePyramid steerable_pyramid(const Tensor& pictures, int64_t scales, int64_t orientations) {
  const int64_t unit = int64_t{1} << scales;
  if (pictures.size(1) % unit != 0 || pictures.size(2) % unit != 0) {
    throw_usage("steerable pyramid: sides must be multiples of " + std::to_string(unit) + ", not " +
                std::to_string(pictures.size(2)) + "x" + std::to_string(pictures.size(1)));
  }
  SteerablePyramid pyramid;
  Tensor spectrum = to_spectrum(pictures);
  Frequencies f = frequencies(pictures.size(1), pictures.size(2), pictures.options());
  pyramid.high = at::real(to_space(spectrum * high_mask(f.octave, 0)));
  spectrum = spectrum * low_mask(f.octave, 0);
  for (int64_t s = 0; s < scales; ++s) {
    pyramid.lowpass.push_back(at::real(to_space(spectrum)));
    const Tensor band = spectrum * high_mask(f.octave, -1);
    TensorList oriented;
    for (int64_t k = 0; k < orientations; ++k) {
      const Tensor mask = angular_mask(f.angle, k, orientations);
      // Waves at right angles to the orientation belong to both halves.
      const Tensor cosine = (f.angle - kPi * static_cast<double>(k) / static_cast<double>(orientations)).cos();
      const Tensor half = (1e6 * cosine).clamp(-0.5, 0.5) + 0.5;
      oriented.push_back(to_space(turned(2 * band * (mask * half), orientations, false)));
    }
    pyramid.bands.push_back(at::stack(oriented, 1));
    spectrum = halved(spectrum * low_mask(f.octave, -1));
    f = frequencies(spectrum.size(1), spectrum.size(2), pictures.options());
  }
  pyramid.lowpass.push_back(at::real(to_space(spectrum)));
  return pyramid;
}

Tensor from_steerable_pyramid(const SteerablePyramid& pyramid) {
  Tensor spectrum = to_spectrum(pyramid.lowpass.back());
  for (size_t s = pyramid.bands.size(); s-- > 0;) {
    const Tensor& bands = pyramid.bands[s];
    const int64_t count = bands.size(1);
    const Frequencies f = frequencies(bands.size(2), bands.size(3), pyramid.high.options());
    spectrum = doubled(spectrum) * low_mask(f.octave, -1);
    for (int64_t k = 0; k < count; ++k) {
      const Tensor mask = angular_mask(f.angle, k, count) * high_mask(f.octave, -1);
      spectrum = spectrum + turned(to_spectrum(at::real(bands.select(1, k))) * mask, count, true);
    }
  }
  const Frequencies f = frequencies(pyramid.high.size(1), pyramid.high.size(2), pyramid.high.options());
  spectrum = spectrum * low_mask(f.octave, 0) + to_spectrum(pyramid.high) * high_mask(f.octave, 0);
  return at::real(to_space(spectrum));
}

}  // namespace pellucid
