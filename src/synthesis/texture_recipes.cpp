// Recipes for texture and style.

#include "synthesis/recipe_families.h"

namespace pellucid {

namespace {

/// Of styles over the content where activations are rescaled; ours.
constexpr double kStyleWeight = 20;

/// Little noise at the start leaves little that the network cannot see. Ours.
Recipe gatys(int64_t steps) {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.02", "lbfgs:history=20", steps);
  r.redirect_until = -1;
  r.judge_every = 0;
  return r;
}

/// These statistics see every pixel, and correlations of next to nothing have no useful gradient: noise of the source's
/// colors.
Recipe wavelets(int64_t steps) {
  Recipe r = gatys(steps);
  r.parameterization = "pixels:colors=style";
  return r;
}

}  // namespace

std::vector<NamedRecipe> texture_recipes() {
  return {{"gatys2015", "texture", "Gram matrices from noise.", kGatys2015, "gram", 1, gatys(200)},
          {"portilla-simoncelli", "texture", "Wavelet statistics from noise, without the network.", kPortilla2000,
           "portilla-simoncelli", 1, wavelets(200)},
          {"gatys2016", "style", "Gram matrices of one picture, content of another.", kGatys2016, "gram", kStyleWeight,
           gatys(200)}};
}

}  // namespace pellucid
