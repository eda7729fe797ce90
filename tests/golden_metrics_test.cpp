// Our metrics on five maps of one picture against the scores that published implementations, or literal transcriptions
// of their definitions, gave them (RISE, Quantus, scikit-image, SciPy).

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "pellucid/metrics.h"
#include "pellucid/similarity.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

class GoldenMetrics : public ::testing::Test {
 protected:
  void SetUp() override {
    golden_ = Golden::open();
    if (!golden_) GTEST_SKIP() << Golden::absent();
    group_ = golden_->manifest().at("other").at("metrics");
    for (const auto& [name, entry] : group_.at("maps").items()) {
      maps_[name] = golden_->load(entry.at("file").get<std::string>()).squeeze();
    }
  }

  const nlohmann::json& expected(const std::string& map) const { return group_.at("maps").at(map); }

  std::optional<Golden> golden_;
  nlohmann::json group_;
  std::map<std::string, Tensor> maps_;
};

TEST_F(GoldenMetrics, MapsAlone) {
  const Tensor input = golden_->load(group_.at("input").get<std::string>());
  const Tensor mask = golden_->load("metrics/mask.npy");
  const Explainer net(load_onnx(golden_->shared() + "/models/mobilenet_v2_imagenet.onnx"), input, {});
  const Context context = net.context(std::to_string(group_.at("target").get<int64_t>()));
  for (const auto& [name, map] : maps_) {
    MetricContext judged{context, map};
    judged.mask = mask.eq(255);
    judged.ignore = mask.eq(128);
    const auto score = [&](const std::string& metric, const std::string& of) {
      return evaluate(MetricCall::parse(metric), judged).scores.at(of);
    };
    const nlohmann::json& e = expected(name);
    EXPECT_NEAR(score("iou:threshold=0.2", "iou"), e.at("iou20").get<double>(), 1e-8) << name;
    EXPECT_NEAR(score("relevance-mass", "mass"), e.at("inside").get<double>(), 1e-8) << name;
    EXPECT_NEAR(score("sparseness:epsilon=1e-7", "gini"), e.at("gini").get<double>(), 1e-8) << name;
    EXPECT_EQ(score("pointing-game:ties=raster", "hit") == 1, e.at("pointing15").get<bool>()) << name;
    EXPECT_EQ(score("pointing-game:ties=raster", "hit_without_tolerance") == 1, e.at("pointing").get<bool>()) << name;
  }
}

TEST_F(GoldenMetrics, SimilaritiesOfPairs) {
  for (const auto& [pair, e] : group_.at("pairs").items()) {
    const size_t bar = pair.find('|');
    const Tensor &a = maps_.at(pair.substr(0, bar)), &b = maps_.at(pair.substr(bar + 1));
    EXPECT_NEAR(*spearman_correlation(a, b), e.at("spearman").get<double>(), 1e-8) << pair;
    EXPECT_NEAR(*structural_similarity(a, b), e.at("ssim_gauss").get<double>(), 1e-6) << pair;
  }
}

// In float32, as scores that differ by less than the reference's own float32 noise of 1.4e-6 do not need float64. The
// reference breaks ties by position and steps by 224 pixels.
TEST_F(GoldenMetrics, DeletionAndInsertionCurves) {
  const Tensor input = golden_->load(group_.at("input").get<std::string>());
  const Tensor curves = golden_->load("metrics/" + group_.at("curves").at("file").get<std::string>());
  const auto rows = group_.at("curves").at("rows").get<std::vector<std::string>>();
  const Explainer net(load_onnx(golden_->shared() + "/models/mobilenet_v2_imagenet.onnx"), input, {});
  const Context context = net.context(std::to_string(group_.at("target").get<int64_t>()));
  const std::map<std::string, std::string> calls{{"deletion", "deletion:step=224,ties=raster,fill=zero"},
                                                 {"insertion_zero", "insertion:step=224,ties=raster,fill=zero"},
                                                 {"insertion_blur", "insertion:step=224,ties=raster,fill=rise-blur"}};
  // A third of all curves, each kind and three maps: each takes 225 passes.
  for (const char* name : {"gradcam.deletion", "gradient_maxabs.insertion_zero", "ig_chsum.insertion_blur",
                           "gradcam.insertion_blur", "occlusion.deletion"}) {
    const std::string row = name, map = row.substr(0, row.find('.')), kind = row.substr(row.find('.') + 1);
    const auto index = std::find(rows.begin(), rows.end(), row) - rows.begin();
    const MetricResult r = evaluate(MetricCall::parse(calls.at(kind)), {context, maps_.at(map)});
    const Tensor curve = at::tensor(r.curves.at(0).y, at::TensorOptions(at::kDouble));
    ASSERT_EQ(curve.numel(), 225);
    EXPECT_LE((curve - curves[index]).abs().max().item<double>(), 1e-4) << row;
    EXPECT_NEAR(r.scores.at("auc"), expected(map).at(kind + "_auc").get<double>(), 5e-6) << row;
  }
}

}  // namespace
}  // namespace pellucid::test
