// The fast gradient sign attack against Captum's, in float64.

#include <nlohmann/json.hpp>

#include "golden.h"
#include "pellucid/synthesis.h"
#include "support/explainer.h"

namespace pellucid {
namespace {

using test::Golden;

/// A card under which what the network sees is the variable itself: the arrays are in normalized units.
ModelCard network_units() {
  ModelCard card;
  card.scale = 1.0 / 255;
  return card;
}

/// Runs a recipe from a golden input; the delta's range is that of pictures, so pixels are used without clamping.
SynthesisResult attack_in_network_units(const Golden& golden, const std::string& model, const Tensor& input,
                                        int64_t target, double rate, int64_t steps,
                                        const std::function<void(int64_t, const Tensor&)>& on_step = {}) {
  const Network network(load_onnx(golden.shared() + "/models/" + model), test::in_float64());
  const ModelCard card = network_units();
  Recipe recipe;
  recipe.objectives = {{-1, "log-probability:target=" + std::to_string(target)}};
  recipe.parameterization = "pixels:clamp=false";
  recipe.gradient = {"normalize:by=sign"};
  recipe.optimizer = "ascent:rate=" + std::to_string(rate);
  recipe.stages[0].steps = steps;
  recipe.redirect_until = -1;
  recipe.height = input.size(2);
  recipe.width = input.size(3);
  SynthesisContext context{network, card};
  context.pictures["start"] = input;
  context.on_step = on_step;
  return synthesize(recipe, context);
}

TEST(GoldenAttacks, FastGradientSign) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  const auto& cases = golden->manifest().at("other").at("adversarial").at("cases");
  for (const auto& [name, file] : std::map<std::string, std::string>{{"mobilenet_cat", "mobilenet_v2_imagenet.onnx"},
                                                                     {"resnet20_test_0012", "resnet20_cifar10.onnx"}}) {
    const auto& expected = cases.at(name);
    Tensor input = golden->load(expected.at("input").get<std::string>());
    if (input.dim() == 3) input = input.unsqueeze(0);
    const double epsilon = expected.at("fgsm").at("epsilon").get<double>();
    const SynthesisResult result =
        attack_in_network_units(*golden, file, input, expected.at("target").get<int64_t>(), epsilon, 1);
    const Tensor sign = golden->load("adversarial/" + name + ".fgsm_sign.npy").view(input.sizes());
    const Tensor found = ((result.image.to(at::kDouble) - input) / epsilon).round();
    EXPECT_LE(found.ne(sign).sum().item<int64_t>(), input.numel() / 1000) << name;
    EXPECT_NEAR(result.objective_start[0], expected.at("fgsm").at("loss_clean").get<double>(), 1e-6) << name;
    EXPECT_NEAR(result.objective[0], expected.at("fgsm").at("loss_adversarial").get<double>(), 1e-3) << name;
  }
}

}  // namespace
}  // namespace pellucid
