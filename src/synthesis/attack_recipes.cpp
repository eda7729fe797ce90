// Recipes for adversarial examples.

#include "synthesis/recipe_families.h"

namespace pellucid {

namespace {

Recipe attack(const std::string& delta, const std::string& by, const std::string& optimizer, int64_t steps) {
  Recipe r;
  r.parameterization = delta;
  r.gradient = {"normalize:by=" + by};
  r.optimizer = optimizer;
  r.stages = {recipe_stage(steps)};
  r.redirect_until = -1;
  r.judge_every = 0;
  return r;
}

/// Nothing but the range bounds the change.
Recipe deepfool(const std::string& norm) {
  Recipe r = attack("delta:norm=linf,size=255", "l2", "deepfool:norm=" + norm, 50);
  r.gradient.clear();
  return r;
}

}  // namespace

std::vector<NamedRecipe> attack_recipes() {
  return {{"fgsm", "attack", "One sign step of 4/255.", kGoodfellow2015, "log-probability", -1,
           attack("delta:norm=linf,size=4", "sign", "ascent:rate=0.01568627450980392", 1)},
          {"bim", "attack", "Sign steps of 1/255 within 4/255.", kKurakin2017, "log-probability", -1,
           attack("delta:norm=linf,size=4", "sign", "ascent:rate=0.00392156862745098", 5)},
          {"pgd", "attack", "Sign steps of 1/255 within 4/255 from a random start.", kMadry2018, "log-probability", -1,
           attack("delta:norm=linf,size=4,start=random", "sign", "ascent:rate=0.00392156862745098", 10)},
          {"pgd-l2", "attack", "Steps within a ball of norm 3 for 224x224, 0.5 for 32x32.", kMadry2018,
           "log-probability", -1, attack("delta:norm=l2,size=765,start=random", "l2", "ascent:rate=0.75", 10)},
          {"pgd-l0", "attack", "At most 500 pixels of 224x224, in proportion of others.", kMadry2018, "log-probability",
           -1, attack("delta:norm=l0,size=500", "l2", "ascent:rate=20", 40)},
          {"deepfool", "attack", "The nearest boundary, L2.", kMoosavi2016, "log-probability", -1, deepfool("l2")},
          {"deepfool-linf", "attack", "The nearest boundary, largest change of a value.", kMoosavi2016,
           "log-probability", -1, deepfool("linf")}};
}

}  // namespace pellucid
