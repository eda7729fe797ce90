#include <gtest/gtest.h>

#include <set>

#include "pellucid/synthesis.h"
#include "support/expect_error.h"

namespace pellucid {
namespace {

constexpr PartKind kKinds[] = {PartKind::kObjective,   PartKind::kParameterization, PartKind::kTransformation,
                               PartKind::kRegularizer, PartKind::kGradient,         PartKind::kOptimizer,
                               PartKind::kAfterStep};

TEST(PartCall, PrintsBackWhatItParsed) {
  for (const PartKind kind : kKinds) {
    std::set<std::string> ids;
    for (const PartInfo& info : synthesis_parts(kind)) {
      EXPECT_TRUE(ids.insert(info.id).second) << info.id;
      EXPECT_EQ(PartCall::parse(kind, info.id).text(), info.id);
      PartCall full{&info, info.complete({})};
      EXPECT_EQ(PartCall::parse(kind, full.text()).text(), full.text());
      EXPECT_FALSE(info.summary.empty());
      for (const ParamSpec& spec : info.params) EXPECT_FALSE(spec.help.empty()) << info.id << " " << spec.name;
    }
  }
  EXPECT_EQ(PartCall::parse(PartKind::kObjective, " channel : channel=3, layer=a:0").text(),
            "channel:layer=a:0,channel=3");
}

TEST(PartCall, RefusesWhatItDoesNotKnow) {
  test::expect_error(ErrorKind::kUsage,
                     "no optimizer 'adamm'; did you mean 'adam'?; there are adam, ascent, adagrad, lbfgs, deepfool",
                     [] { PartCall::parse(PartKind::kOptimizer, "adamm:rate=1"); });
  test::expect_error(ErrorKind::kUsage, "adam: 'rate' is not NAME=VALUE",
                     [] { PartCall::parse(PartKind::kOptimizer, "adam:rate"); });
  test::expect_error(ErrorKind::kUsage, "adam: rate is given twice",
                     [] { PartCall::parse(PartKind::kOptimizer, "adam:rate=1,rate=2"); });
  EXPECT_THROW(PartCall::parse(PartKind::kOptimizer, "adam:rate=-1"), Error);
  EXPECT_THROW(PartCall::parse(PartKind::kOptimizer, "adam:speed=1"), Error);
}

TEST(Recipe, RefusesTilesThatAreTooSmall) {
  Recipe recipe;
  recipe.objectives = {{1, "class"}};
  recipe.tile = 8;
  test::expect_error(ErrorKind::kUsage, "recipe: tile is 8; it must be 0 or between 32 and 16384",
                     [&] { check_recipe(recipe); });
}

TEST(Recipes, AreWellFormed) {
  std::set<std::string> families;
  for (const NamedRecipe& named : recipes()) {
    families.insert(named.family);
    EXPECT_EQ(&find_recipe(named.id, named.family), &named);
    EXPECT_EQ(named.recipe.name, named.id);
    EXPECT_STRNE(named.paper.key, "") << named.id;
    Recipe recipe = named.recipe;
    recipe.objectives = {{named.weight, (named.objective.empty() ? std::string("class") : named.objective)}};
    EXPECT_NO_THROW(check_recipe(recipe)) << named.id;
  }
  EXPECT_EQ(families, (std::set<std::string>{"attack", "dream", "invert", "style", "texture", "visualize"}));
  test::expect_error(
      ErrorKind::kUsage,
      "no recipe 'lucide'; did you mean 'lucid'?; there are erhan2009, simonyan2014, "
      "mahendran2016, yosinski2015, oygaard2015, tyka2016, multiscale, lucid, lucid-alpha, maco, denoiser, "
      "dgn-am, ppgn",
      [] { find_recipe("lucide", "visualize"); });
}

}  // namespace
}  // namespace pellucid
