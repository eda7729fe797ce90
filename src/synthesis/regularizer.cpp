// What is made small besides. Formulas for pictures x[c,i,j] in the unit of the recipe, one number per picture;
// differences to the right and lower neighbour, zero at the last row and column.

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

Tensor per_picture(const Tensor& t) { return t.flatten(1).sum(1); }

struct Differences {
  Tensor x, y;
};
Differences differences(const Tensor& p) {
  return {at::constant_pad_nd(p.slice(3, 1) - p.slice(3, 0, -1), {0, 1, 0, 0}),
          at::constant_pad_nd(p.slice(2, 1) - p.slice(2, 0, -1), {0, 0, 0, 1})};
}

struct L2Params {
  double mean = 0;
};
template <class V>
void describe(V& visit, L2Params& p) {
  visit("mean", p.mean, between(-1000, 1000), "Value that pixels are drawn to.");
}
class L2 final : public Regularizer {
 public:
  L2(const PartScope&, const L2Params& p) : p_(p) {}
  Tensor penalty(const Tensor& pixels) const override { return per_picture((pixels - p_.mean).square()); }

 private:
  L2Params p_;
};

class L1 final : public Regularizer {
 public:
  L1(const PartScope&, const L2Params& p) : p_(p) {}
  Tensor penalty(const Tensor& pixels) const override { return per_picture((pixels - p_.mean).abs()); }

 private:
  L2Params p_;
};

struct AlphaParams {
  double alpha = 6;
  double scale = 80;
};
template <class V>
void describe(V& visit, AlphaParams& p) {
  visit("alpha", p.alpha, between(1, 20), "Power.");
  visit("scale", p.scale, between(1e-6, 1e6), "Norm of a typical pixel: one with this norm costs 1.");
}
/// (1/P) sum over pixels of (norm / scale)^alpha.
class Alpha final : public Regularizer {
 public:
  Alpha(const PartScope&, const AlphaParams& p) : p_(p) {}
  Tensor penalty(const Tensor& pixels) const override {
    return ((pixels.square().sum(1) + 1e-12).sqrt() / p_.scale).pow(p_.alpha).flatten(1).mean(1);
  }

 private:
  AlphaParams p_;
};

struct TvParams {
  std::string kind = "beta";
  double beta = 2;
  bool mean = false;
};
template <class V>
void describe(V& visit, TvParams& p) {
  visit("kind", p.kind, one_of({"beta", "l1", "squared"}),
        "(dx^2 + dy^2)^(beta/2), |dx| + |dy|, or dx^2 + dy^2; all of them go by the name of total variation.");
  visit("beta", p.beta, between(0.5, 8), "For kind=beta.");
  visit("mean", p.mean, Flag{}, "Divide by the number of pixels.");
}
class Tv final : public Regularizer {
 public:
  Tv(const PartScope&, const TvParams& p) : p_(p) {}
  Tensor penalty(const Tensor& pixels) const override {
    const Differences d = differences(pixels);
    Tensor v;
    if (p_.kind == "l1") {
      v = d.x.abs() + d.y.abs();
    } else {
      v = d.x.square() + d.y.square();
      // Below beta = 2 the derivative has a pole where neighbours are equal.
      if (p_.kind == "beta" && p_.beta != 2) v = v.clamp_min(1e-6).pow(p_.beta / 2);
    }
    const Tensor sum = per_picture(v);
    return p_.mean ? sum / static_cast<double>(pixels.size(2) * pixels.size(3)) : sum;
  }

 private:
  TvParams p_;
};

struct BlurParams {
  std::string of = "color";
};
template <class V>
void describe(V& visit, BlurParams& p) {
  visit("of", p.of, one_of({"color", "alpha"}), "What is to be smooth; alpha: the opacity of pictures that have one.");
}
/// Half the squared distance to a blurred copy that is held constant: one step of size k moves the picture to
/// (1 - k) x + k blur(x).
class BlurPenalty final : public Regularizer {
 public:
  BlurPenalty(const PartScope&, const BlurParams& p) : of_alpha_(p.of == "alpha") {}
  bool of_alpha() const override { return of_alpha_; }
  Tensor penalty(const Tensor& pixels) const override {
    Tensor kernel = at::full({1, 1, 3, 3}, 0.5, pixels.options());
    kernel[0][0][1][1] = 1;
    const auto sum = [&](const Tensor& t) {
      return at::conv2d(t.reshape({-1, 1, t.size(2), t.size(3)}), kernel, {}, 1, 1).view(t.sizes());
    };
    const Tensor still = pixels.detach();
    const Tensor blurred = sum(still) / sum(at::ones_like(still));
    return 0.5 * per_picture((pixels - blurred).square());
  }

 private:
  bool of_alpha_;
};

}  // namespace

std::vector<PartEntry<Regularizer>> pixel_regularizers() {
  return {part_entry<Regularizer, L2, L2Params>("l2", "Sum of squares around a value.", kSimonyan2014),
          part_entry<Regularizer, L1, L2Params>("l1", "Sum of distances from a value.", kOlah2017),
          part_entry<Regularizer, Alpha, AlphaParams>("alpha-norm", "Mean power of the pixels' norms: soft bounds.",
                                                      kMahendran2016),
          part_entry<Regularizer, Tv, TvParams>("tv", "Total variation, in three readings.", kMahendran2016),
          part_entry<Regularizer, BlurPenalty, BlurParams>("blur", "Distance to a blurred copy.", kOlah2017)};
}

}  // namespace pellucid
