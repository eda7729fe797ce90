// Pictures whose spectrum has the magnitudes of photographs, so that only phases are left to choose.

#include <cmath>

#include "synthesis/papers.h"
#include "synthesis/part.h"
#include "synthesis/plane_transform.h"

namespace pellucid {

namespace {

struct PhaseParams {
  double decay = 1;
  double contrast = 1.2;
  bool decorrelate = true;
  double sd = 1;
};
template <class V>
void describe(V& visit, PhaseParams& p) {
  visit("decay", p.decay, between(0, 4), "Power of the frequency that magnitudes fall with; 1 as in photographs.");
  visit("contrast", p.contrast, between(0.01, 20), "Standard deviation of each plane before the sigmoid.");
  visit("decorrelate", p.decorrelate, Flag{}, "Planes are what varies together in photographs, not RGB.");
  visit("sd", p.sd, between(0, 100), "Standard deviation of the phases at a random start, in radians.");
}

/// z = F^-1(m exp(i phase)) with fixed m, then color and sigmoid as in "fourier". The publication takes m from
/// ImageNet; ours is the power law that it follows.
class Phase final : public Parameterization {
 public:
  Phase(const PartScope& scope, const PhaseParams& p) : p_(p), magnitude_(magnitude(scope)) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    return {p_.sd * drawn_normal({scope.batch, 3, scope.height, scope.width / 2 + 1}, generator, scope.options())};
  }
  /// The phases of a picture; its magnitudes are lost.
  TensorList encode(const PartScope&, const Tensor& image) const override {
    const Tensor z = stored_from_display(image, p_.decorrelate, "sigmoid");
    return {at::angle(spectrum_from_planes(z)).contiguous()};
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    const Tensor phase = conjugate_symmetric(variables.front(), scope.width);
    const Tensor spectrum = at::complex(magnitude_ * at::cos(phase), magnitude_ * at::sin(phase));
    const Tensor z = planes_from_spectrum(spectrum, scope.height, scope.width);
    return display_from_stored(z, p_.decorrelate, "sigmoid");
  }

 private:
  /// The columns that are their own mirror images hold each frequency twice: there phases are made odd in the row, so
  /// that no magnitude is lost.
  static Tensor conjugate_symmetric(const Tensor& phase, int64_t width) {
    const auto odd = [](const Tensor& column) {
      const Tensor mirrored = at::cat({column.narrow(2, 0, 1), column.narrow(2, 1, column.size(2) - 1).flip(2)}, 2);
      return (column - mirrored) / 2;
    };
    const int64_t columns = phase.size(3);
    TensorList parts{odd(phase.narrow(3, 0, 1))};
    const bool even = width % 2 == 0 && columns > 1;
    if (columns > (even ? 2 : 1)) parts.push_back(phase.narrow(3, 1, columns - (even ? 2 : 1)));
    if (even) parts.push_back(odd(phase.narrow(3, columns - 1, 1)));
    return at::cat(parts, 3);
  }

  /// [h, w/2 + 1], zero at frequency zero, so that every plane has the deviation asked for and mean zero.
  Tensor magnitude(const PartScope& scope) const {
    const Tensor fy = at::fft_fftfreq(scope.height, 1.0, at::kDouble).view({-1, 1});
    const Tensor fx = at::arange(scope.width / 2 + 1, at::kDouble) / static_cast<double>(scope.width);
    const Tensor f = at::sqrt(fy.square() + fx.square());
    Tensor m = at::where(f > 0, f.clamp_min(1e-12).pow(-p_.decay), at::zeros_like(f));
    // Every column but the first, and the last of an even width, stands for its mirror image too.
    Tensor count = at::full({scope.width / 2 + 1}, 2.0, at::kDouble);
    count[0] = 1;
    if (scope.width % 2 == 0) count[-1] = 1;
    const auto pixels = static_cast<double>(scope.height * scope.width);
    const Tensor variance = (m.square() * count).sum() / (pixels * pixels);
    m = m * (p_.contrast / variance.sqrt());
    return m.to(scope.options());
  }

  PhaseParams p_;
  Tensor magnitude_;
};

}  // namespace

std::vector<PartEntry<Parameterization>> phase_parameterizations() {
  return {part_entry<Parameterization, Phase, PhaseParams>(
      "fourier-phase", "Phases of a spectrum whose magnitudes are those of photographs.", kFel2023)};
}

}  // namespace pellucid
