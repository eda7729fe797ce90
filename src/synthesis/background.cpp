// What pictures with opacity are put on. Mordvintsev, Pezzotti, Schubert, Olah. "Differentiable Image
// Parameterizations". Distill 2018: what the background shows in each step is another, so that nothing can rely on it.

#include "pellucid/text.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct BackgroundParams {
  double sd = 0.5;
};
template <class V>
void describe(V& visit, BackgroundParams& p) {
  visit("sd", p.sd, between(0, 10), "Standard deviation of its spectrum.");
}

/// alpha color + (1 - alpha) background, the background a random spectrum as in "fourier"; mid-gray without randomness.
class Background final : public Transformation {
 public:
  Background(const PartScope& scope, const BackgroundParams& p)
      : scope_(scope),
        spectrum_(make_part(parameterization_table(), PartKind::kParameterization, "fourier:sd=" + number_text(p.sd),
                            scope)) {}
  Tensor apply(const Tensor& image, const at::Generator& generator) const override {
    return over(image, spectrum_->decode(scope_, spectrum_->begin(scope_, generator)));
  }
  Tensor still(const Tensor& image) const override { return over(image, scope_.gray()); }
  bool takes_alpha() const override { return true; }

 private:
  static Tensor over(const Tensor& image, const Tensor& background) {
    return background + alpha_of(image) * (color_of(image) - background);
  }

  const PartScope& scope_;
  std::unique_ptr<Parameterization> spectrum_;
};

}  // namespace

std::vector<PartEntry<Transformation>> background_transformations() {
  return {part_entry<Transformation, Background, BackgroundParams>(
      "background", "Under a picture with opacity, first of all: a random spectrum.", kMordvintsev2018)};
}

}  // namespace pellucid
