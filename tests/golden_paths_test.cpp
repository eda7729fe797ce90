// Captum's layer conductance and internal influence: every array, at both layers, for all pictures and targets.

#include <gtest/gtest.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

/// The method whose arrays a file name begins with; empty for others.
std::string method_for(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  if (file.rfind("captum.layer_conductance.", 0) == 0) return "layer-conductance:steps=50,rule=captum,baseline=zero";
  if (file.rfind("captum.internal_influence.", 0) == 0) return "internal-influence:steps=50,baseline=zero";
  return "";
}

void compare_all(Run run) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  int compared = 0;
  for (const auto& model_case : golden->manifest().at("cases")) {
    const std::string folder = model_case.at("folder").get<std::string>();
    const Explainer net(load_onnx(golden->shared() + "/models/" + model_case.at("model").get<std::string>()),
                        golden->load(folder + "/input.npy"), run == Run::kFloat64 ? in_float64() : NetworkOptions{});
    for (const auto& target : model_case.at("targets")) {
      for (const GoldenEntry& entry : golden->entries_in(target.at("folder").get<std::string>())) {
        const std::string method = method_for(entry.path);
        if (method.empty()) continue;
        const Attribution a = net.explain(method, std::to_string(target.at("index").get<int64_t>()), {entry.layer});
        EXPECT_TRUE(golden->matches(a.values.to(at::kDouble).reshape(entry.shape), entry, run));
        ++compared;
      }
    }
  }
  std::cout << compared << " arrays of layer conductance and internal influence compared\n";
  EXPECT_GE(compared, 13);  // as many as the set held when this was written
}

TEST(GoldenPaths, Float64) { compare_all(Run::kFloat64); }
TEST(GoldenPaths, Float32) { compare_all(Run::kFloat32); }

}  // namespace
}  // namespace pellucid::test
