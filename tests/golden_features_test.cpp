// Methods on features against Captum's feature ablation and the exact Shapley values of the shared set.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

const char* const kAblation = "captum.feature_ablation16";

/// The value of each of the 16 regions, from a map that is constant on them.
Tensor per_region(const Tensor& map, const Tensor& regions) {
  const Tensor labels = regions.flatten();
  const Tensor flat = map.to(at::kDouble).flatten();
  const Tensor sums = at::zeros({16}, at::kDouble).index_add_(0, labels, flat);
  return sums / at::zeros({16}, at::kDouble).index_add_(0, labels, at::ones_like(flat));
}

Tensor regions_for(const Golden& golden, int64_t side) {
  return golden.load("superpixels." + std::to_string(side) + ".npy").to(at::kLong);
}

void compare_ablation(Run run) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  int compared = 0;
  for (const auto& model_case : golden->manifest().at("cases")) {
    NetworkOptions options;
    if (run == Run::kFloat64) options = in_float64();
    const std::string folder = model_case.at("folder").get<std::string>();
    const Explainer net(load_onnx(golden->shared() + "/models/" + model_case.at("model").get<std::string>()),
                        golden->load(folder + "/input.npy"), options);
    const Tensor regions = regions_for(*golden, net.input.size(2));
    for (const auto& target : model_case.at("targets")) {
      const std::string path = target.at("folder").get<std::string>() + "/" + kAblation + ".npy";
      if (!golden->has(path)) continue;
      Context context = net.context(std::to_string(target.at("index").get<int64_t>()));
      context.regions = regions.unsqueeze(0);
      const Attribution a = attribute(MethodCall::parse("feature-ablation:fill=zero"), context);
      EXPECT_TRUE(golden->matches(per_region(a.map[0], regions), golden->entry(path), run)) << path;
      ++compared;
    }
  }
  EXPECT_GE(compared, 6);
}

TEST(GoldenFeatureAblation, Float64) { compare_ablation(Run::kFloat64); }
TEST(GoldenFeatureAblation, Float32) { compare_ablation(Run::kFloat32); }

/// A mean over runs with other seeds against the exact values, in standard errors of that mean.
void compare_with_exact(const std::string& method, int64_t runs) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  const auto& shapley = golden->manifest().at("other").at("shapley").at("cases").at("resnet20");
  const Explainer net(load_onnx(golden->shared() + "/models/resnet20_cifar10.onnx"),
                      golden->load(shapley.at("case").get<std::string>() + "/input.npy"), NetworkOptions());
  const Tensor regions = regions_for(*golden, 32);
  const Tensor exact =
      at::tensor(shapley.at("exact_shapley").get<std::vector<double>>(), at::TensorOptions(at::kDouble));
  TensorList found;
  for (int64_t seed = 0; seed < runs; ++seed) {
    Context context = net.context(std::to_string(shapley.at("target").get<int64_t>()));
    context.regions = regions.unsqueeze(0);
    context.seed = static_cast<uint64_t>(seed);
    const Attribution a = attribute(MethodCall::parse(method), context);
    found.push_back(per_region(a.map[0], regions));
    const double all = shapley.at("v_all").get<double>(), none = shapley.at("v_none").get<double>();
    EXPECT_NEAR(a.diagnostics[0].at("score_kept"), all, 1e-4);
    EXPECT_NEAR(a.diagnostics[0].at("score_removed"), none, 1e-4);
    EXPECT_NEAR(found.back().sum().item<double>(), all - none, 1e-3);
    if (a.extra.count("standard-error")) {
      const Tensor error = per_region(a.extra.at("standard-error")[0], regions);
      EXPECT_LT(((found.back() - exact).abs() / error).max().item<double>(), 5) << seed;
    }
  }
  const Tensor all = at::stack(found);
  const Tensor error = all.std(0) / std::sqrt(static_cast<double>(runs));
  const double z = ((all.mean(0) - exact).abs() / error).max().item<double>();
  std::cout << method << ": largest distance " << z << " standard errors of " << error.mean().item<double>() << "\n";
  EXPECT_LT(z, 5);
}

TEST(GoldenShapley, SamplingComesWithinItsStandardError) {
  compare_with_exact("shapley-sampling:samples=40,fill=zero", 10);
}
TEST(GoldenShapley, KernelShapComesWithinItsStandardError) {
  compare_with_exact("kernel-shap:samples=1000,fill=zero", 10);
}

}  // namespace
}  // namespace pellucid::test
