#include "pellucid/evaluate.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

using test::expect_error;

const std::string kModels = PELLUCID_SOURCE_DIR "/models";
const std::string kModel = kModels + "/flower_single_6c.onnx";
const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";
const std::string kMask = PELLUCID_SOURCE_DIR "/examples/flower_mask.png";

EvaluateRequest small_suite(const std::string& suite, const std::string& methods, const std::string& metrics) {
  EvaluateRequest request;
  request.suite = suite;
  request.methods = methods;
  request.metrics = metrics;
  request.models_folder = kModels;
  request.pictures_per_class = 1;
  request.seeds = 2;
  request.report = false;
  return request;
}

const EvaluatedScore& score_of(const EvaluatedSet& set, const std::string& method, const std::string& score) {
  for (const EvaluatedMethod& m : set.methods) {
    for (const EvaluatedScore& s : m.scores) {
      if (m.method == method && s.spec.name == score) return s;
    }
  }
  throw std::runtime_error("no " + method + " " + score);
}

// The network reads the mark and nothing else (its test accuracy without the mark is chance): a method that follows the
// network finds it, noise does not, and the comparison says that the difference is no accident.
TEST(Evaluate, ThePlantedMarkIsFoundByThoseWhoLookAtTheNetwork) {
  const EvaluateResult result = evaluate(small_suite("shortcut", "grad-cam,occlusion,random", "average-precision,iou"));
  ASSERT_EQ(result.sets.size(), 1u);
  const EvaluatedSet& set = result.sets[0];
  EXPECT_EQ(static_cast<int64_t>(set.pictures.size()) + set.num_wrong, 12);
  const EvaluatedScore& cam = score_of(set, "grad-cam", "average_precision");
  const EvaluatedScore& noise = score_of(set, "random", "average_precision");
  EXPECT_GT(cam.summary.mean, 0.5);
  EXPECT_GT(score_of(set, "occlusion", "average_precision").summary.mean, 0.5);
  EXPECT_LT(noise.summary.mean, 0.1);
  EXPECT_EQ(cam.seed_means.size(), 2u);
  EXPECT_LT(noise.against_best.p_value, 0.01);
  EXPECT_LT(noise.against_best.high95, 0);
  // With two seeds each is measured at the threshold of the other, so no more than at its own best.
  EXPECT_LE(score_of(set, "grad-cam", "validated_iou").summary.mean,
            score_of(set, "grad-cam", "best_iou").summary.mean + 1e-12);
}

// Class discrimination: with flowers of other classes beside it, a map of the class asked for lies on that flower;
// edges know nothing of classes and fall on all alike.
TEST(Evaluate, ScenesTellClassesApart) {
  const EvaluateResult result = evaluate(small_suite("scenes", "grad-cam,edges", "class-discrimination"));
  const EvaluatedSet& set = result.sets.at(0);
  EXPECT_GT(score_of(set, "grad-cam", "own_density_share").summary.mean, 0.7);
  EXPECT_NEAR(score_of(set, "edges", "own_density_share").summary.mean, 0.5, 0.15);
}

TEST(Evaluate, PartsHaveRanks) {
  const EvaluateResult result = evaluate(small_suite("parts", "occlusion,random", "part-ranks"));
  EXPECT_GT(score_of(result.sets.at(0), "occlusion", "rank_correlation").summary.mean,
            score_of(result.sets.at(0), "random", "rank_correlation").summary.mean);
}

TEST(Evaluate, TwoRunsWriteTheSameScores) {
  const test::TemporaryFolder folder;
  EvaluateRequest request = small_suite("shortcut", "grad-cam,random,smoothgrad:samples=4", "iou,deletion:step=2000");
  request.report = true;
  for (const std::string run : {"a", "b"}) {
    request.output = folder.file(run);
    evaluate(request);
  }
  const std::string scores = read_file(folder.file("a/pictures.csv"), 1 << 24);
  EXPECT_EQ(scores, read_file(folder.file("b/pictures.csv"), 1 << 24));
  EXPECT_NE(scores.find("shortcut,shortcut.petals-red.0.0,0,"), std::string::npos) << scores.substr(0, 300);
  const auto json = nlohmann::json::parse(read_file(folder.file("a/result.json"), 1 << 24));
  EXPECT_EQ(json["sets"][0]["methods"].size(), 3u);
  EXPECT_EQ(json["sets"][0]["methods"][0]["scores"][0]["score"], "iou");
  EXPECT_EQ(json["sets"][0]["methods"][0]["curves"]["deletion/deletion"]["x"][0], 0.0);
  const std::string page = read_file(folder.file("a/report.html"), 1 << 26);
  for (const char* part : {"best: iou", "median: iou", "worst: iou", "deletion/deletion"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

// The user's own picture with a mask: the same numbers as `explain --mask` gives.
TEST(Evaluate, OwnPicturesWithMasks) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("masks"));
  std::filesystem::copy_file(kMask, folder.file("masks/flower.png"));
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.truth = folder.file("masks");
  request.methods = "grad-cam";
  request.metrics = "iou,relevance-mass";
  const EvaluateResult result = evaluate(request);
  ExplainRequest explained;
  explained.model.path = kModel;
  explained.run.inputs = {kPicture};
  explained.methods = "grad-cam";
  explained.mask = kMask;
  const auto localization = explain(explained).pictures.at(0).maps.at(0).localization;
  ASSERT_TRUE(localization);
  EXPECT_NEAR(score_of(result.sets[0], "grad-cam", "iou").values.at(0), localization->at("iou_half"), 1e-9);
  EXPECT_NEAR(score_of(result.sets[0], "grad-cam", "mass").values.at(0), localization->at("mass"), 1e-6);
}

TEST(Evaluate, RefusesWhatItCannotDo) {
  EvaluateRequest request;
  expect_error(ErrorKind::kUsage, "evaluate: pictures, or a suite of generated ones, are needed",
               [&] { evaluate(request); });
  request.suite = "flowers";
  expect_error(ErrorKind::kUsage, "no suite 'flowers'; the suites are an8flower, oramas2019, parts, scenes, shortcut",
               [&] { evaluate(request); });
  request.suite = "parts";
  request.run.inputs = {kPicture};
  expect_error(ErrorKind::kUsage, "evaluate: a suite brings its own pictures; give either --suite or pictures",
               [&] { evaluate(request); });
  request.run.inputs.clear();
  request.models_folder = "/nonexistent";
  expect_error(ErrorKind::kUsage,
               "evaluate: bird_parts_16c.onnx is not in /nonexistent; --models names the folder, and with -o DIR the "
               "network is trained there",
               [&] { evaluate(request); });
}

TEST(Axioms, IntegratedGradientsIsCompleteOnTheFlowerAndGradientTimesInputIsNot) {
  AxiomsRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.methods = "integrated-gradients,gradient-x-input";
  request.options.only = {"completeness"};
  const AxiomsResult result = try_axioms(request);
  ASSERT_EQ(result.methods.size(), 2u);
  EXPECT_EQ(result.methods[0].reports.at(0).verdict, Verdict::kHolds) << result.methods[0].reports[0].finding;
  EXPECT_EQ(result.methods[1].reports.at(0).verdict, Verdict::kFails) << result.methods[1].reports[0].finding;
}

}  // namespace
}  // namespace pellucid
