// How unlike photographs a picture is: by its spectrum, and by its patches.

#include <cmath>
#include <utility>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct SpectrumParams {
  double slope = -2;
  int64_t bands = 12;
};
template <class V>
void describe(V& visit, SpectrumParams& p) {
  visit("slope", p.slope, between(-6, 2), "Of the logarithm of power over that of frequency; -2 as in photographs.");
  visit("bands", p.bands, integer_between(2, 64), "Rings of frequencies, evenly spaced in the logarithm.");
}
/// The variance over rings of frequencies of log power - slope log f, of the mean of the channels: how far the radial
/// spectrum is from a power law, whatever the contrast.
class Spectrum final : public Regularizer {
 public:
  Spectrum(const PartScope&, const SpectrumParams& p) : p_(p) {}
  Tensor penalty(const Tensor& pixels) const override {
    const Tensor f = frequencies(pixels.size(2), pixels.size(3));
    const auto [rings, laws] = bands(f, std::max(pixels.size(2), pixels.size(3)));
    const Tensor gray = pixels.mean(1);
    const Tensor spectrum = at::view_as_real(at::fft_rfft2(gray, c10::nullopt, {-2, -1}, "ortho"));
    const Tensor power = spectrum.square().sum(-1).flatten(1);
    const Tensor rest = (at::matmul(power, rings.to(power.options())) + 1e-12).log() - laws.to(power.options());
    return (rest - rest.mean(1, true)).square().mean(1);
  }

 private:
  /// [h (w/2 + 1)], cycles per pixel.
  static Tensor frequencies(int64_t height, int64_t width) {
    const Tensor fy = at::fft_fftfreq(height, 1.0, at::kDouble).view({-1, 1});
    const Tensor fx = at::arange(width / 2 + 1, at::kDouble) / static_cast<double>(width);
    return at::sqrt(fy.square() + fx.square()).flatten();
  }
  /// What takes the mean over each ring [frequencies, rings], and the logarithm of power that the law has there
  /// [rings].
  std::pair<Tensor, Tensor> bands(const Tensor& f, int64_t longer) const {
    const double low = std::log(1.0 / static_cast<double>(longer)), high = std::log(0.5);
    const Tensor logarithm = f.clamp_min(1e-12).log();
    const Tensor place = (logarithm - low) / std::max(high - low, 1e-9) * static_cast<double>(p_.bands);
    TensorList rings, laws;
    for (int64_t band = 0; band < p_.bands; ++band) {
      const Tensor in = place.ge(static_cast<double>(band)).logical_and(place.lt(static_cast<double>(band + 1)));
      const double count = in.sum().item<double>();
      if (count < 1) continue;
      rings.push_back(in.to(at::kDouble) / count);
      laws.push_back((rings.back() * logarithm).sum() * p_.slope);
    }
    if (rings.size() < 2) throw_usage("spectrum: the picture is too small for rings of frequencies");
    return {at::stack(rings, 1), at::stack(laws)};
  }

  SpectrumParams p_;
};

struct PatchParams {
  int64_t side = 8;
  int64_t components = 6;
  std::string picture;
  int64_t stride = 4;
};
template <class V>
void describe(V& visit, PatchParams& p) {
  visit("side", p.side, integer_between(2, 16), "Of the patches, in pixels.");
  visit("components", p.components, integer_between(1, 64), "Gaussians of the mixture.");
  visit("picture", p.picture, TextLike{"the name of a picture, or nothing"},
        "Whose patches the mixture is fitted to; without one, covariances are those of a 1/f^2 spectrum at contrasts "
        "from 0.01 to 0.3.");
  visit("stride", p.stride, integer_between(1, 16), "From one patch to the next.");
}

/// Minus the mean log-likelihood, per value, of gray patches without their mean under a mixture of Gaussians of mean
/// zero. As in expected patch log likelihood, with our own mixtures: fitted to a given picture by expectation
/// maximization, or in closed form as a Gaussian scale mixture.
class PatchPrior final : public Regularizer {
 public:
  PatchPrior(const PartScope& scope, const PatchParams& p) : p_(p), unit_(scope.unit) {
    const at::NoGradGuard no_grad;
    if (p.picture.empty()) {
      scale_mixture();
    } else {
      fit(patches_of(scope.picture("patch-prior", p.picture).to(at::kCPU).to(at::kDouble)).flatten(0, 1));
    }
  }
  Tensor penalty(const Tensor& pixels) const override {
    const Tensor patches = patches_of(display_from_pixels(pixels, unit_));  // [B,P,n]
    const Tensor likelihood = at::logsumexp(log_densities(patches.flatten(0, 1)), {1});
    return -likelihood.view({patches.size(0), -1}).mean(1) / static_cast<double>(p_.side * p_.side);
  }

 private:
  static constexpr double kNoise = 1e-5;  ///< Variance that every patch has: of rounding to eight bits.

  Tensor patches_of(const Tensor& display) const {
    const Tensor gray = display.mean(1);
    const int64_t n = p_.side;
    if (std::min(gray.size(1), gray.size(2)) < n) throw_usage("patch-prior: the picture is smaller than a patch");
    const Tensor patches = gray.unfold(1, n, p_.stride).unfold(2, n, p_.stride).flatten(3).flatten(1, 2);
    return patches - patches.mean(2, true);
  }

  /// log weight + log density of each row of [P,n] under each component, [P,K].
  Tensor log_densities(const Tensor& rows) const {
    TensorList columns;
    for (size_t k = 0; k < whiteners_.size(); ++k) {
      const Tensor white = at::matmul(rows, whiteners_[k].to(rows.options()));
      columns.push_back(constants_[k] - 0.5 * white.square().sum(1));
    }
    return at::stack(columns, 1);
  }

  void set(const Tensor& covariance, double weight) {
    const auto [values, vectors] = at::linalg_eigh(covariance + kNoise * at::eye(covariance.size(0), at::kDouble));
    const Tensor lengths = values.clamp_min(kNoise);
    whiteners_.push_back(vectors / lengths.sqrt().unsqueeze(0));
    constants_.push_back(std::log(std::max(weight, 1e-12)) - 0.5 * lengths.log().sum().item<double>() -
                         0.5 * static_cast<double>(covariance.size(0)) * std::log(2 * M_PI));
  }

  void scale_mixture() {
    // The covariance of values at a distance is the transform of the power spectrum.
    constexpr int64_t kPeriod = 64;
    const Tensor f = at::fft_fftfreq(kPeriod, 1.0, at::kDouble);
    const Tensor square = f.view({-1, 1}).square() + f.view({1, -1}).square();
    const Tensor power = at::where(square > 0, 1 / square.clamp_min(1e-12), at::zeros_like(square));
    const Tensor correlation = at::real(at::fft_ifft2(power));
    const int64_t n = p_.side * p_.side;
    const Tensor at_y = at::arange(n, at::kLong).div(p_.side, "floor"),
                 at_x = at::arange(n, at::kLong).remainder(p_.side);
    const Tensor dy = (at_y.view({-1, 1}) - at_y.view({1, -1})).abs(),
                 dx = (at_x.view({-1, 1}) - at_x.view({1, -1})).abs();
    Tensor covariance = correlation.flatten().index_select(0, (dy * kPeriod + dx).flatten()).view({n, n});
    const Tensor center = at::eye(n, at::kDouble) - 1.0 / static_cast<double>(n);
    covariance = at::matmul(at::matmul(center, covariance), center);
    covariance = covariance / (covariance.trace() / static_cast<double>(n));
    for (int64_t k = 0; k < p_.components; ++k) {
      const double share = p_.components > 1 ? static_cast<double>(k) / static_cast<double>(p_.components - 1) : 0.5;
      const double contrast = 0.01 * std::pow(30.0, share);
      set(covariance * (contrast * contrast), 1.0 / static_cast<double>(p_.components));
    }
  }

  void fit(const Tensor& rows) {
    constexpr int kRounds = 8;
    const int64_t count = rows.size(0);
    if (count < 2 * p_.components) throw_usage("patch-prior: the picture has too few patches");
    // Begins with groups of equal contrast.
    const Tensor order = at::argsort(rows.square().sum(1), int64_t{0}, false);
    Tensor shares = at::zeros({count, p_.components}, at::kDouble);
    for (int64_t i = 0; i < count; ++i) shares[order[i].item<int64_t>()][i * p_.components / count] = 1;
    for (int round = 0; round < kRounds; ++round) {
      whiteners_.clear();
      constants_.clear();
      for (int64_t k = 0; k < p_.components; ++k) {
        const Tensor share = shares.select(1, k).unsqueeze(1);
        const double total = std::max(share.sum().item<double>(), 1e-9);
        set(at::matmul((rows * share).t(), rows) / total, total / static_cast<double>(count));
      }
      shares = at::softmax(log_densities(rows), 1);
    }
  }

  PatchParams p_;
  PixelUnit unit_;
  TensorList whiteners_;
  std::vector<double> constants_;
};

}  // namespace

std::vector<PartEntry<Regularizer>> statistical_regularizers() {
  return {part_entry<Regularizer, Spectrum, SpectrumParams>("spectrum", "Distance of the spectrum from a power law."),
          part_entry<Regularizer, PatchPrior, PatchParams>(
              "patch-prior", "How improbable patches are under a mixture of Gaussians.", kZoran2011)};
}

}  // namespace pellucid
