// Recipes for texture and style.

#include "synthesis/recipe_families.h"

namespace pellucid {

namespace {

Recipe gatys(int64_t steps) {
  Recipe r = pixels_in_gray_levels("pixels:mean=0.5,sd=0.1", "lbfgs:history=20", steps);
  r.redirect_until = -1;
  return r;
}

}  // namespace

std::vector<NamedRecipe> texture_recipes() {
  return {
      {"gatys2015", "texture", "Gram matrices from noise.", kGatys2015, "gram", 1, gatys(300)},
      {"gatys2016", "style", "Gram matrices of one picture, content of another.", kGatys2016, "gram", 1, gatys(300)}};
}

}  // namespace pellucid
