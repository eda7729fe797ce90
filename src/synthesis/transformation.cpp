// What happens to the picture before the network sees it: the objective has to hold whatever is drawn.

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

/// Outside of the picture there is mid-gray, in the display range.
constexpr double kOutside = 0.5;

double uniform(const at::Generator& generator) {
  return at::rand({1}, generator, at::TensorOptions(at::kDouble)).item<double>();
}
int64_t below(int64_t count, const at::Generator& generator) {
  return std::min<int64_t>(count - 1, static_cast<int64_t>(uniform(generator) * static_cast<double>(count)));
}

struct PadParams {
  int64_t pixels = 12;
  std::string mode = "gray";
};
template <class V>
void describe(V& visit, PadParams& p) {
  visit("pixels", p.pixels, integer_between(0, 4096), "Pixels added on every side.");
  visit("mode", p.mode, one_of({"gray", "reflect", "replicate"}), "What is there.");
}
class Pad final : public Transformation {
 public:
  Pad(const PartScope&, const PadParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator&) const override {
    const int64_t n = p_.pixels;
    if (p_.mode == "reflect") return at::reflection_pad2d(image, {n, n, n, n});
    if (p_.mode == "replicate") return at::replication_pad2d(image, {n, n, n, n});
    return at::constant_pad_nd(image, {n, n, n, n}, kOutside);
  }

 private:
  PadParams p_;
};

struct JitterParams {
  int64_t pixels = 8;
  bool inner = false;
  int64_t rest = 0;
};
template <class V>
void describe(V& visit, JitterParams& p) {
  visit("pixels", p.pixels, integer_between(0, 4096), "The crop is smaller by this, and lies anywhere.");
  visit("inner", p.inner, Flag{},
        "The picture is larger than what is asked for: without randomness its middle counts.");
  visit("rest", p.rest, at_least(0), "So many last steps of a stage see the middle.");
}
class Jitter final : public Transformation {
 public:
  Jitter(const PartScope&, const JitterParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const int64_t height = image.size(2) - p_.pixels, width = image.size(3) - p_.pixels;
    if (height < 1 || width < 1)
      throw_usage("jitter: pixels is " + std::to_string(p_.pixels) + "; the picture has only " +
                  std::to_string(image.size(3)) + "x" + std::to_string(image.size(2)));
    const int64_t y = below(p_.pixels + 1, generator), x = below(p_.pixels + 1, generator);
    return image.narrow(2, y, height).narrow(3, x, width);
  }
  Tensor still(const Tensor& image) const override {
    if (!p_.inner || std::min(image.size(2), image.size(3)) <= p_.pixels) return image;
    return image.narrow(2, p_.pixels / 2, image.size(2) - p_.pixels)
        .narrow(3, p_.pixels / 2, image.size(3) - p_.pixels);
  }
  int64_t rest() const override { return p_.rest; }

 private:
  JitterParams p_;
};

struct WindowParams {
  int64_t side = 224;
};
template <class V>
void describe(V& visit, WindowParams& p) {
  visit("side", p.side, integer_between(1, 16384), "Largest side of what is seen at a time.");
}
/// Of a picture larger than the window, a part that is more often in the middle than at the border: normal around the
/// centre with a deviation of 0.3 of the slack.
class Window final : public Transformation {
 public:
  Window(const PartScope&, const WindowParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const auto narrowed = [&](const Tensor& t, int64_t axis) {
      const int64_t slack = t.size(axis) - p_.side;
      const double draw = at::randn({1}, generator, at::TensorOptions(at::kDouble)).item<double>();
      if (slack <= 0) return t;
      const double offset = static_cast<double>(slack) * (0.5 + 0.3 * draw);
      return t.narrow(axis, std::clamp<int64_t>(std::llround(offset), 0, slack), p_.side);
    };
    return narrowed(narrowed(image, 2), 3);
  }

 private:
  WindowParams p_;
};

struct RollParams {
  int64_t pixels = 32;
};
template <class V>
void describe(V& visit, RollParams& p) {
  visit("pixels", p.pixels, integer_between(0, 1 << 20), "Largest shift to either side; what leaves comes back in.");
}
class Roll final : public Transformation {
 public:
  Roll(const PartScope&, const RollParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const int64_t y = below(2 * p_.pixels + 1, generator) - p_.pixels;
    const int64_t x = below(2 * p_.pixels + 1, generator) - p_.pixels;
    return at::roll(image, {y, x}, {2, 3});
  }

 private:
  RollParams p_;
};

struct ScaleParams {
  double low = 0.9, high = 1.1;
  int64_t count = 11;
};
template <class V>
void describe(V& visit, ScaleParams& p) {
  visit("low", p.low, between(0.05, 20), "Smallest factor.");
  visit("high", p.high, between(0.05, 20), "Largest factor.");
  visit("count", p.count, integer_between(1, 10000), "Factors to draw from, evenly spaced from low to high.");
}
class Scale final : public Transformation {
 public:
  Scale(const PartScope&, const ScaleParams& p) : p_(p) {
    if (p.high < p.low) throw_usage("scale: high is below low");
  }
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const double step = p_.count > 1 ? (p_.high - p_.low) / static_cast<double>(p_.count - 1) : 0;
    const double factor = p_.low + step * static_cast<double>(below(p_.count, generator));
    const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::llround(static_cast<double>(n) * factor)); };
    const int64_t height = side(image.size(2)), width = side(image.size(3));
    if (height == image.size(2) && width == image.size(3)) return image;
    return at::upsample_bilinear2d(image, {height, width}, /*align_corners=*/false);
  }

 private:
  ScaleParams p_;
};

struct RotateParams {
  double degrees = 10;
  int64_t count = 21;
  double still = 5;
};
template <class V>
void describe(V& visit, RotateParams& p) {
  visit("degrees", p.degrees, between(0, 180), "Largest angle to either side.");
  visit("count", p.count, integer_between(1, 10000), "Angles to draw from, evenly spaced.");
  visit("still", p.still, between(0, 10000), "How many times more 'not at all' is in the list.");
}
class Rotate final : public Transformation {
 public:
  Rotate(const PartScope&, const RotateParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const int64_t draw = below(p_.count + static_cast<int64_t>(p_.still), generator);
    if (draw >= p_.count || p_.count == 1) return image;
    const double degrees = -p_.degrees + 2 * p_.degrees * static_cast<double>(draw) / static_cast<double>(p_.count - 1);
    if (degrees == 0) return image;
    const double angle = degrees * M_PI / 180, c = std::cos(angle), s = std::sin(angle);
    const double aspect = static_cast<double>(image.size(2)) / static_cast<double>(image.size(3));
    // affine_grid works in -1..1 on both axes; lengths are those of pixels.
    const Tensor turn = at::tensor({c, -s * aspect, 0.0, s / aspect, c, 0.0}, image.options())
                            .view({1, 2, 3})
                            .expand({image.size(0), 2, 3});
    const Tensor grid = at::affine_grid_generator(turn, image.sizes(), /*align_corners=*/false);
    return at::grid_sampler_2d(image - kOutside, grid, 0, 0, /*align_corners=*/false) + kOutside;
  }

 private:
  RotateParams p_;
};

struct FlipParams {
  double probability = 0.5;
};
template <class V>
void describe(V& visit, FlipParams& p) {
  visit("probability", p.probability, between(0, 1), "Of exchanging left and right.");
}
class Flip final : public Transformation {
 public:
  Flip(const PartScope&, const FlipParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    return uniform(generator) < p_.probability ? image.flip(3) : image;
  }

 private:
  FlipParams p_;
};

struct NoiseParams {
  double sd = 0.02;
};
template <class V>
void describe(V& visit, NoiseParams& p) {
  visit("sd", p.sd, between(0, 10), "Standard deviation of the noise that is added, in display range.");
}
class Noise final : public Transformation {
 public:
  Noise(const PartScope&, const NoiseParams& p) : p_(p) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    Shape one = image.sizes().vec();
    one[0] = 1;  // the same for every picture, so that a batch equals its pictures one by one
    return image + p_.sd * at::randn(one, generator, at::TensorOptions(at::kDouble)).to(image.options());
  }

 private:
  NoiseParams p_;
};

struct CropParams {
  double low = 0.5, high = 1.0;
};
template <class V>
void describe(V& visit, CropParams& p) {
  visit("low", p.low, between(0.01, 1), "Smallest side of the crop as a share of the picture's.");
  visit("high", p.high, between(0.01, 1), "Largest.");
}
/// A square-ish crop anywhere, brought back to the size of the picture.
class Crop final : public Transformation {
 public:
  Crop(const PartScope&, const CropParams& p) : p_(p) {
    if (p.high < p.low) throw_usage("crop: high is below low");
  }
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    const double share = p_.low + (p_.high - p_.low) * uniform(generator);
    const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::llround(static_cast<double>(n) * share)); };
    const int64_t height = side(image.size(2)), width = side(image.size(3));
    const int64_t y = below(image.size(2) - height + 1, generator), x = below(image.size(3) - width + 1, generator);
    return resize_display(image.narrow(2, y, height).narrow(3, x, width), image.size(2), image.size(3));
  }

 private:
  CropParams p_;
};

}  // namespace

std::vector<PartEntry<Transformation>> geometric_transformations() {
  return {part_entry<Transformation, Pad, PadParams>("pad", "A border around the picture."),
          part_entry<Transformation, Jitter, JitterParams>("jitter", "A crop that is a little smaller, anywhere."),
          part_entry<Transformation, Window, WindowParams>(
              "window", "A part no larger than this, mostly of the middle.", kOygaard2015),
          part_entry<Transformation, Roll, RollParams>("roll", "A circular shift."),
          part_entry<Transformation, Scale, ScaleParams>("scale", "Another size."),
          part_entry<Transformation, Rotate, RotateParams>("rotate", "A turn about the centre; corners become gray."),
          part_entry<Transformation, Flip, FlipParams>("flip", "Left and right exchanged."),
          part_entry<Transformation, Noise, NoiseParams>("noise", "Gaussian noise added."),
          part_entry<Transformation, Crop, CropParams>("crop", "A part of the picture enlarged to its whole size.")};
}

}  // namespace pellucid
