// How the picture is stored.

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "pellucid/error.h"
#include "synthesis/colors.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"
#include "synthesis/plane_transform.h"

namespace pellucid {

namespace {

/// Square root of the covariance of colors in ImageNet, columns scaled so that the longest has length 1: what is stored
/// as (brightness, red-blue, green-magenta) becomes RGB.
Tensor color_matrix(const Tensor& like) {
  const Tensor root = at::tensor({0.26, 0.09, 0.02, 0.27, 0.00, -0.05, 0.27, -0.09, 0.03}, at::kDouble).view({3, 3});
  return (root / root.norm(2, 0).max()).to(like.options());
}

Tensor correlate_colors(const Tensor& planes, const Tensor& matrix) {
  return at::einsum("ij,bjhw->bihw", {matrix, planes});
}

/// Values between 0 and 1 as what a sigmoid makes them of; the ends are cut off a little inside.
Tensor logits_of(const Tensor& display) {
  const Tensor x = display.clamp(1e-3, 1 - 1e-3);
  return at::log(x / (1 - x));
}

}  // namespace

Tensor display_from_stored(const Tensor& z, bool decorrelate, const std::string& range) {
  Tensor rgb = decorrelate ? correlate_colors(z, color_matrix(z)) : z;
  if (range == "sigmoid") return at::sigmoid(rgb);
  if (decorrelate) rgb = rgb + at::tensor({0.48, 0.46, 0.41}, rgb.options()).view({1, 3, 1, 1}) - 0.5;
  // Divided by what they are too large, which unlike clipping keeps a gradient.
  const Tensor t = 2 * rgb;
  return t / at::clamp_min(t.abs(), 1) / 2 + 0.5;
}
Tensor stored_from_display(const Tensor& image, bool decorrelate, const std::string& range) {
  Tensor rgb = range == "sigmoid" ? logits_of(image) : image - 0.5;
  if (!decorrelate) return rgb;
  if (range != "sigmoid") rgb = rgb + 0.5 - at::tensor({0.48, 0.46, 0.41}, rgb.options()).view({1, 3, 1, 1});
  return correlate_colors(rgb, at::inverse(color_matrix(rgb).to(at::kDouble)).to(rgb.options()));
}

Tensor drawn_normal(Shape shape, const at::Generator& generator, const at::TensorOptions& options) {
  TensorList pictures;
  const int64_t batch = shape[0];
  shape[0] = 1;
  for (int64_t b = 0; b < batch; ++b) {
    pictures.push_back(at::randn(shape, generator, at::TensorOptions(at::kDouble)).to(options));
  }
  return at::cat(pictures);
}

namespace {

// ---------------------------------------------------------------------------------------------------------------------

struct PixelParams {
  double mean = 0.5;
  double sd = 0.01;
  bool clamp = true;
  std::string colors;
};
template <class V>
void describe(V& visit, PixelParams& p) {
  visit("mean", p.mean, between(-1, 1),
        "Gray that a random start varies around, in display range; -1 is what the unit of the recipe calls zero.");
  visit("sd", p.sd, between(0, 1), "Standard deviation of a random start, in display range.");
  visit("clamp", p.clamp, Flag{}, "Keep pixels in display range; lbfgs looks for the best within it.");
  visit("colors", p.colors, TextLike{"the name of a picture, or nothing"},
        "A random start has the mean and the covariance of this picture's colors, instead of mean and sd.");
}

/// The picture itself, in the unit of the recipe.
class Pixels final : public Parameterization {
 public:
  Pixels(const PartScope&, const PixelParams& p) : p_(p) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    const Tensor noise = drawn_normal({scope.batch, 3, scope.height, scope.width}, generator, scope.options());
    const Tensor middle =
        p_.mean < 0 ? display_from_pixels(at::zeros_like(noise), scope.unit) : at::full_like(noise, p_.mean);
    Tensor image = middle + p_.sd * noise;
    if (!p_.colors.empty()) {
      const Tensor colors = scope.scaled_picture("pixels", p_.colors, 1);
      for (int64_t b = 0; b < scope.batch; ++b) image[b].copy_(with_color_moments_of(noise[b], colors));
    }
    TensorList variables = encode(scope, image);
    project(scope, variables);
    return variables;
  }
  TensorList encode(const PartScope& scope, const Tensor& image) const override {
    return {pixels_from_display(image, scope.unit).clone()};
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    return display_from_pixels(variables.front(), scope.unit);
  }
  void project(const PartScope& scope, TensorList& variables) const override {
    if (!p_.clamp) return;
    const Bounds range = bounds(scope);
    Tensor& x = variables.front();
    x.copy_(at::minimum(at::maximum(x, range.low.front()), range.high.front()));
  }
  Bounds bounds(const PartScope& scope) const override {
    if (!p_.clamp) return {};
    const Tensor black = at::zeros_like(scope.gray()).narrow(2, 0, 1).narrow(3, 0, 1);
    return {{pixels_from_display(black, scope.unit)}, {pixels_from_display(black + 1, scope.unit)}};
  }
  bool is_pixels() const override { return true; }

 private:
  PixelParams p_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct FourierParams {
  double sd = 0.01;
  double decay = 1;
  bool decorrelate = true;
  std::string range = "sigmoid";
};
template <class V>
void describe(V& visit, FourierParams& p) {
  visit("sd", p.sd, between(0, 10), "Standard deviation of the spectrum at a random start.");
  visit("decay", p.decay, between(0, 4), "Power of the frequency that amplitudes fall with; 1 as in photographs.");
  visit("decorrelate", p.decorrelate, Flag{}, "Store colors by what varies together in photographs.");
  visit("range", p.range, one_of({"sigmoid", "clip"}), "How values are kept in display range.");
}

/// A spectrum, scaled so that every frequency gets a comparable step.
class Fourier final : public Parameterization {
 public:
  Fourier(const PartScope& scope, const FourierParams& p) : p_(p) {
    const Tensor fy = at::fft_fftfreq(scope.height, 1.0, at::kDouble).view({-1, 1});
    const Tensor fx = at::arange(scope.width / 2 + 1, at::kDouble) / static_cast<double>(scope.width);
    const double least = 1.0 / static_cast<double>(std::max(scope.width, scope.height));
    const double root = std::sqrt(static_cast<double>(scope.width * scope.height));
    const Tensor f = at::sqrt(fy.square() + fx.square()).clamp_min(least);
    scale_ = (root / f.pow(p_.decay)).unsqueeze(-1).to(scope.gray().options());
  }
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    return {p_.sd * drawn_normal({scope.batch, 3, scope.height, scope.width / 2 + 1, 2}, generator, scope.options())};
  }
  TensorList encode(const PartScope&, const Tensor& image) const override {
    return {variable(stored_from_display(image, p_.decorrelate, p_.range))};
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    return display_from_stored(stored(scope, variables.front()), p_.decorrelate, p_.range);
  }
  /// What a spectrum stands for, before colors and range; any number of planes. And back.
  Tensor stored(const PartScope& scope, const Tensor& variable) const {
    return planes_from_spectrum(at::view_as_complex(variable * scale_), scope.height, scope.width) / 4;
  }
  Tensor variable(const Tensor& stored) const {
    return (at::view_as_real(spectrum_from_planes(4 * stored)) / scale_).contiguous();
  }

 private:
  FourierParams p_;
  Tensor scale_;  ///< [h, w/2 + 1, 1]: sqrt(w h) / max(f, 1 / max(w, h))^decay.
};

/// The same with opacity: the sigmoid of a plane with a spectrum of its own.
class FourierAlpha final : public Parameterization {
 public:
  FourierAlpha(const PartScope& scope, const FourierParams& p) : sd_(p.sd), colors_(scope, p) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    TensorList variables = colors_.begin(scope, generator);
    variables.push_back(
        sd_ * drawn_normal({scope.batch, 1, scope.height, scope.width / 2 + 1, 2}, generator, scope.options()));
    return variables;
  }
  TensorList encode(const PartScope& scope, const Tensor& image) const override {
    TensorList variables = colors_.encode(scope, color_of(image));
    variables.push_back(colors_.variable(logits_of(alpha_of(image))));
    return variables;
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    const Tensor alpha = at::sigmoid(colors_.stored(scope, variables[1]));
    return at::cat({colors_.decode(scope, {variables[0]}), alpha}, 1);
  }
  bool has_alpha() const override { return true; }

 private:
  double sd_;
  Fourier colors_;
};

// ---------------------------------------------------------------------------------------------------------------------

/// A side of the picture that is halved `level` times, and such a picture at full size.
int64_t halved(int64_t full, int64_t level) { return std::max<int64_t>(1, full >> level); }
Tensor enlarged(const Tensor& small, const PartScope& scope) {
  return at::upsample_bilinear2d(small, {scope.height, scope.width}, /*align_corners=*/false);
}

struct PyramidParams {
  int64_t levels = 4;
  double sd = 0.01;
  bool decorrelate = true;
  std::string range = "sigmoid";
};
template <class V>
void describe(V& visit, PyramidParams& p) {
  visit("levels", p.levels, integer_between(1, 12),
        "Pictures that are added up, each half the size of the one before.");
  visit("sd", p.sd, between(0, 10), "Standard deviation of each level at a random start.");
  visit("decorrelate", p.decorrelate, Flag{}, "Store colors by what varies together in photographs.");
  visit("range", p.range, one_of({"sigmoid", "clip"}), "How values are kept in display range.");
}

/// A sum of pictures of falling size.
class Pyramid final : public Parameterization {
 public:
  Pyramid(const PartScope&, const PyramidParams& p) : p_(p) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    TensorList levels;
    for (int64_t level = 0; level < p_.levels; ++level) {
      levels.push_back(p_.sd * drawn_normal({scope.batch, 3, halved(scope.height, level), halved(scope.width, level)},
                                            generator, scope.options()));
    }
    return levels;
  }
  /// Each level holds what the coarser ones leave of its own size.
  TensorList encode(const PartScope& scope, const Tensor& image) const override {
    Tensor rest = stored_from_display(image, p_.decorrelate, p_.range);
    TensorList levels(static_cast<size_t>(p_.levels));
    for (int64_t level = p_.levels - 1; level > 0; --level) {
      levels[static_cast<size_t>(level)] =
          resize_display(rest, halved(scope.height, level), halved(scope.width, level));
      rest = rest - enlarged(levels[static_cast<size_t>(level)], scope);
    }
    levels[0] = rest.clone();
    return levels;
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    Tensor z = variables.front();
    for (size_t level = 1; level < variables.size(); ++level) z = z + enlarged(variables[level], scope);
    return display_from_stored(z, p_.decorrelate, p_.range);
  }

 private:
  PyramidParams p_;
};

// ---------------------------------------------------------------------------------------------------------------------

struct SharedParams {
  double sd = 0.01;
  int64_t levels = 4;
  double decay = 1;
  bool decorrelate = true;
  std::string range = "sigmoid";
};
template <class V>
void describe(V& visit, SharedParams& p) {
  visit("sd", p.sd, between(0, 10), "Standard deviation of spectra and levels at a random start.");
  visit("levels", p.levels, integer_between(1, 12), "Pictures in common, of a half, a quarter, ... of the size.");
  visit("decay", p.decay, between(0, 4), "Power of the frequency that amplitudes fall with.");
  visit("decorrelate", p.decorrelate, Flag{}, "Store colors by what varies together in photographs.");
  visit("range", p.range, one_of({"sigmoid", "clip"}), "How values are kept in display range.");
}

/// Each picture is a spectrum of its own and small pictures that all have in common; from an eighth of the size on
/// there are also two, of which the first picture has one, the last the other, and those between a mixture.
class Shared final : public Parameterization {
 public:
  Shared(const PartScope& scope, const SharedParams& p)
      : p_(p), own_(scope, {p.sd, p.decay, p.decorrelate, p.range}), batch_(scope.batch) {}
  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    TensorList variables = own_.begin(scope, generator);
    for (const Shape& shape : in_common(scope))
      variables.push_back(p_.sd * drawn_normal(shape, generator, scope.options()));
    return variables;
  }
  /// All of it is the pictures' own.
  TensorList encode(const PartScope& scope, const Tensor& image) const override {
    TensorList variables = own_.encode(scope, image);
    for (const Shape& shape : in_common(scope)) {
      variables.push_back(at::zeros(shape, variables.front().options()));
    }
    return variables;
  }
  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    Tensor z = own_.stored(scope, variables.front());
    for (size_t i = 1; i < variables.size(); ++i) {
      Tensor level = variables[i];
      if (level.size(0) == 2) {
        const Tensor share = at::linspace(0, 1, batch_, level.options()).view({-1, 1, 1, 1});
        level = level.narrow(0, 0, 1) * (1 - share) + level.narrow(0, 1, 1) * share;
      }
      z = z + enlarged(level, scope);
    }
    return display_from_stored(z, p_.decorrelate, p_.range);
  }

 private:
  /// Shapes of the small pictures: one of each size, and two more of the coarse ones.
  std::vector<Shape> in_common(const PartScope& scope) const {
    std::vector<Shape> shapes;
    for (int64_t level = 1; level <= p_.levels; ++level) {
      const int64_t height = halved(scope.height, level), width = halved(scope.width, level);
      shapes.push_back({1, 3, height, width});
      if (level >= 3 && batch_ > 1) shapes.push_back({2, 3, height, width});
    }
    return shapes;
  }

  SharedParams p_;
  Fourier own_;
  int64_t batch_;
};

}  // namespace

std::vector<PartEntry<Parameterization>> picture_parameterizations() {
  return {part_entry<Parameterization, Fourier, FourierParams>(
              "fourier", "A spectrum scaled as photographs' are; colors decorrelated.", kOlah2017),
          part_entry<Parameterization, FourierAlpha, FourierParams>(
              "fourier-alpha", "The same with opacity; what is made large counts times the transparent share.",
              kMordvintsev2018),
          part_entry<Parameterization, Pixels, PixelParams>("pixels", "The picture itself."),
          part_entry<Parameterization, Pyramid, PyramidParams>("pyramid", "A sum of pictures of falling size."),
          part_entry<Parameterization, Shared, SharedParams>(
              "shared", "Spectra, and small pictures that a batch has in common.", kMordvintsev2018)};
}

}  // namespace pellucid
