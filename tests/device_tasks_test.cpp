// The verbs on a device that is not the CPU (support/strict_device.h): from pictures in files to files.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "pellucid/attacks.h"
#include "pellucid/evaluate.h"
#include "pellucid/make_pictures.h"
#include "pellucid/tasks.h"
#include "support/npy_tensor.h"
#include "support/strict_device.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";
const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

ModelOptions model_on(const std::string& device) {
  ModelOptions options;
  options.path = kModel;
  options.device = device;
  return options;
}

ExplainResult explain_on(const std::string& device, const std::string& folder) {
  ExplainRequest request;
  request.model = model_on(device);
  request.run.inputs = {kPicture};
  request.methods =
      "grad-cam,guided-grad-cam,lrp,integrated-gradients:steps=8,smooth(gradient):samples=4,rise:samples=32";
  request.targets = {"top1", "petals-blue", "top1 vs top2"};
  request.output = folder;
  return explain(request);
}

TEST(DeviceTasks, ExplainsTheSame) {
  const TemporaryFolder cpu, other;
  const int64_t before = strict_device_operators();
  const ExplainResult expected = explain_on("cpu", cpu.path());
  EXPECT_EQ(strict_device_operators(), before);
  const ExplainResult there = explain_on("privateuseone", other.path());
  EXPECT_GT(strict_device_operators(), before + 1000);
  ASSERT_EQ(there.pictures.at(0).maps.size(), expected.pictures.at(0).maps.size());
  for (size_t i = 0; i < expected.pictures[0].maps.size(); ++i) {
    const ExplainedMap& map = expected.pictures[0].maps[i];
    EXPECT_NEAR(there.pictures[0].maps[i].score, map.score, 1e-4);
    const Tensor a = load_npy(cpu.file(map.values_file)),
                 b = load_npy(other.file(there.pictures[0].maps[i].values_file));
    EXPECT_LT((a - b).abs().max().item<double>(), 1e-3 * a.abs().max().item<double>()) << map.values_file;
  }
}

// Metrics that look at the map, change the picture, or change the weights.
TEST(DeviceTasks, JudgesTheSame) {
  const TemporaryFolder truth;
  std::filesystem::copy_file(PELLUCID_SOURCE_DIR "/examples/flower_mask.png", truth.file("flower.png"));
  const auto judge = [&](const std::string& device) {
    EvaluateRequest request;
    request.model = model_on(device);
    request.run.inputs = {kPicture};
    request.truth = truth.path();
    request.target = "top1";
    request.methods = "gradient-x-input,grad-cam";
    request.metrics = "iou,completeness,road,max-sensitivity,random-logit";
    request.seeds = 1;
    request.report = false;
    return evaluate(request);
  };
  const EvaluateResult expected = judge("cpu"), there = judge("privateuseone");
  int compared = 0;
  for (size_t m = 0; m < expected.sets.at(0).methods.size(); ++m) {
    const EvaluatedMethod &a = expected.sets[0].methods[m], &b = there.sets.at(0).methods.at(m);
    ASSERT_EQ(a.scores.size(), b.scores.size());
    for (size_t i = 0; i < a.scores.size(); ++i, ++compared) {
      if (std::isnan(a.scores[i].summary.mean) && std::isnan(b.scores[i].summary.mean)) continue;
      EXPECT_NEAR(b.scores[i].summary.mean, a.scores[i].summary.mean,
                  2e-2 * std::max(1.0, std::abs(a.scores[i].summary.mean)))
          << a.method << " " << a.scores[i].metric << " " << a.scores[i].spec.name;
    }
  }
  EXPECT_GE(compared, 10);
}

TEST(DeviceTasks, TriesTheAxioms) {
  AxiomsRequest request;
  request.model = model_on("privateuseone");
  request.run.inputs = {kPicture};
  request.methods = "gradient-x-input,grad-cam";
  const AxiomsResult result = try_axioms(request);
  ASSERT_EQ(result.methods.size(), 2u);
  for (const AxiomsOfMethod& method : result.methods) EXPECT_EQ(method.left_out, "");
}

TEST(DeviceTasks, MakesPictures) {
  MakeOptions make;
  make.model = model_on("privateuseone");
  make.steps = 3;
  VisualizeRequest wanted;
  wanted.make = make;
  wanted.targets = {"petals-red"};
  wanted.ladder = true;
  for (const MadePicture& made : visualize(wanted).pictures) EXPECT_TRUE(at::isfinite(made.image).all().item<bool>());
  InvertRequest inverted;
  inverted.make = make;
  inverted.inputs = {kPicture};
  inverted.layers = {"block2.relu"};
  EXPECT_GT(invert(inverted).pictures.at(0).objective, -10);
  DreamRequest dreamt;
  dreamt.make = make;
  dreamt.inputs = {kPicture};
  dreamt.layer = "block2.relu";
  const MadePicture dreamed = dream(dreamt).pictures.at(0);
  EXPECT_GT(dreamed.objective, dreamed.objective_start);
  AttackRequest attacked;
  attacked.make = make;
  attacked.inputs = {kPicture};
  EXPECT_LE(attack(attacked).pictures.at(0).change_max, 4.0 / 255 + 1e-6);
}

}  // namespace
}  // namespace pellucid::test
