// Published recipes as data: the table of all families.

#include <set>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/recipe_families.h"

namespace pellucid {

RecipeStage recipe_stage(int64_t steps, double scale, const std::string& optimizer,
                         const std::vector<std::string>& after_step) {
  RecipeStage s;
  s.steps = steps;
  s.scale = scale;
  s.optimizer = optimizer;
  s.after_step = after_step;
  return s;
}

Recipe pixels_in_gray_levels(const std::string& parameterization, const std::string& optimizer, int64_t steps) {
  Recipe r;
  r.unit = PixelUnit::kCaffe;
  r.parameterization = parameterization;
  r.optimizer = optimizer;
  r.stages = {recipe_stage(steps)};
  return r;
}

namespace {

std::vector<NamedRecipe> build() {
  std::vector<NamedRecipe> table;
  for (const auto& family :
       {visualize_recipes(), invert_recipes(), dream_recipes(), texture_recipes(), attack_recipes()}) {
    table.insert(table.end(), family.begin(), family.end());
  }
  std::set<std::string> ids;
  for (NamedRecipe& named : table) {
    if (!ids.insert(named.id).second) throw_failed("two recipes are called '" + named.id + "'");
    named.recipe.name = named.id;
  }
  return table;
}

}  // namespace

const std::vector<NamedRecipe>& recipes() {
  static const std::vector<NamedRecipe> table = build();
  return table;
}

const NamedRecipe& find_recipe(const std::string& id, const std::string& family) {
  std::vector<std::string> ids;
  for (const NamedRecipe& named : recipes()) {
    if (!family.empty() && named.family != family) continue;
    if (named.id == id) return named;
    ids.push_back(named.id);
  }
  throw_usage("no recipe '" + printable(id) + "'" + did_you_mean(id, ids) + "; there are " + join(ids, ", "));
}

}  // namespace pellucid
