#pragma once

// What the files with recipes share. To add a recipe: an entry in the file of its family, its paper in papers.h and
// docs/bibliography.bib. Where a publication leaves a number open, or has it for one network only, ours is marked with
// "ours".

#include <string>
#include <vector>

#include "pellucid/synthesis.h"
#include "synthesis/papers.h"

namespace pellucid {

RecipeStage recipe_stage(int64_t steps, double scale = 1, const std::string& optimizer = "",
                         const std::vector<std::string>& after_step = {});
/// One stage on pixels in gray levels around the mean color.
Recipe pixels_in_gray_levels(const std::string& parameterization, const std::string& optimizer, int64_t steps);

/// One function for each file of recipes; `recipes()` joins them.
std::vector<NamedRecipe> visualize_recipes();  ///< In the order of their priors, from none to strong.
std::vector<NamedRecipe> invert_recipes();
std::vector<NamedRecipe> dream_recipes();
std::vector<NamedRecipe> texture_recipes();
std::vector<NamedRecipe> attack_recipes();

}  // namespace pellucid
