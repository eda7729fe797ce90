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
                                        const std::string& parameterization = "pixels:clamp=false") {
  const Network network(load_onnx(golden.shared() + "/models/" + model), test::in_float64());
  const ModelCard card = network_units();
  Recipe recipe;
  recipe.objectives = {{-1, "log-probability:target=" + std::to_string(target)}};
  recipe.parameterization = parameterization;
  recipe.gradient = {"normalize:by=sign"};
  recipe.optimizer = "ascent:rate=" + std::to_string(rate);
  recipe.stages[0].steps = steps;
  recipe.redirect_until = -1;
  recipe.height = input.size(2);
  recipe.width = input.size(3);
  SynthesisContext context{network, card};
  context.pictures["start"] = input;
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

// Sign steps within a ball of either norm, from the picture itself, in its units and without their range.
TEST(GoldenAttacks, ProjectedGradientDescent) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  const auto& expected = golden->manifest().at("other").at("adversarial").at("cases").at("resnet20_test_0012");
  Tensor input = golden->load(expected.at("input").get<std::string>());
  if (input.dim() == 3) input = input.unsqueeze(0);
  for (const std::string norm : {"Linf", "L2"}) {
    const auto& one = expected.at("pgd_" + norm);
    const std::string delta = std::string("delta:range=false,norm=") + (norm == "L2" ? "l2" : "linf") +
                              ",size=" + std::to_string(255 * one.at("radius").get<double>());
    const SynthesisResult result =
        attack_in_network_units(*golden, "resnet20_cifar10.onnx", input, expected.at("target").get<int64_t>(),
                                one.at("step_size").get<double>(), one.at("steps").get<int64_t>(), delta);
    const Tensor array = golden->load("adversarial/" + one.at("file").get<std::string>()).view(input.sizes());
    const Tensor error = (result.image.to(at::kDouble) - array).abs();
    // A sign is as good as random where the gradient is zero up to rounding, and later steps follow it.
    EXPECT_LE(error.gt(1e-5).sum().item<int64_t>(), input.numel() / 500) << norm;
    EXPECT_NEAR(result.objective[0] / one.at("loss").get<double>(), 1, 1e-3) << norm;
  }
}

}  // namespace
}  // namespace pellucid
