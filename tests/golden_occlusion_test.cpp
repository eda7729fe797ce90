// Occlusion against the arrays that Captum computed on the shared models.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

void compare_occlusion(Run run) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  int compared = 0;
  for (const auto& model_case : golden->manifest().at("cases")) {
    const std::string folder = model_case.at("folder").get<std::string>();
    const Explainer net(load_onnx(golden->shared() + "/models/" + model_case.at("model").get<std::string>()),
                        golden->load(folder + "/input.npy"), run == Run::kFloat64 ? in_float64() : NetworkOptions());
    const bool small = net.input.size(-1) == 32;
    for (const auto& target : model_case.at("targets")) {
      for (const GoldenEntry& entry : golden->entries_in(target.at("folder").get<std::string>())) {
        std::string geometry;
        if (entry.method == "captum.occlusion") geometry = small ? "patch=8,stride=4" : "patch=32,stride=16";
        if (entry.method == "captum.occlusion_uneven") geometry = small ? "patch=9,stride=5" : "patch=40,stride=30";
        if (geometry.empty()) continue;
        // Captum cuts its windows off at the edge; its zero is that of the model domain.
        const std::string call = "occlusion:score=logit,fill=zero,edges=clip," + geometry;
        const std::string text = std::to_string(target.at("index").get<int64_t>());
        const Attribution a = net.explain(call, text);
        EXPECT_TRUE(golden->matches(a.map.to(at::kDouble).reshape(entry.shape), entry, run)) << entry.path;
        EXPECT_LT(a.diagnostics[0].at("work_share"), 1) << entry.path;
        if (small) {
          const Tensor plain = net.explain(call + ",incremental=false", text).map;
          EXPECT_TRUE(golden->matches(plain.to(at::kDouble).reshape(entry.shape), entry, run)) << entry.path;
        }
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 10);
}

TEST(GoldenOcclusion, Float64) { compare_occlusion(Run::kFloat64); }
TEST(GoldenOcclusion, Float32) { compare_occlusion(Run::kFloat32); }

}  // namespace
}  // namespace pellucid::test
