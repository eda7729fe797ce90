#include "pellucid/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/graph.h"
#include "pellucid/ground_truth.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/temporary_folder.h"
#include "tasks/judged_pictures.h"

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

// Statistics over pictures assume that they are independent: no two classes show one scene in two colors.
TEST(Evaluate, GeneratedPicturesAreScenesOfTheirOwn) {
  ModelOptions options;
  options.path = kModel;
  const LoadedModel model = load_model(options);
  const auto source = generated_pictures("an8flower-single", model, 1, 1, 0, 128);
  std::set<int64_t> areas;
  for (int64_t i = 0; i < source->size(); ++i) areas.insert(source->picture(i).mask.sum().item<int64_t>());
  EXPECT_EQ(areas.size(), 6u);
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
  EXPECT_GT(decode_image(folder.file("a/shortcut.sheet.png")).height, 3 * 128);
  for (const char* part : {"best: 0.", "median: 0", "worst: 0", ") by iou", "the outline is the truth"}) {
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

/// The flower with a COCO file that says what is in it.
EvaluateRequest annotated(const test::TemporaryFolder& folder, const nlohmann::json& annotations,
                          const std::vector<std::string>& categories) {
  nlohmann::json coco{{"images", {{{"id", 1}, {"file_name", "flower.png"}, {"width", 256}, {"height", 256}}}},
                      {"annotations", annotations},
                      {"categories", nlohmann::json::array()}};
  for (const std::string& name : categories) {
    coco["categories"].push_back({{"id", coco["categories"].size() + 1}, {"name", name}});
  }
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.truth = folder.write("truth.json", coco.dump());
  request.methods = "random";
  request.keep_wrong = true;
  return request;
}
nlohmann::json annotation(int id, int category, const std::vector<int>& box, bool crowd = false) {
  return {{"id", id},
          {"image_id", 1},
          {"category_id", category},
          {"bbox", box},
          {"iscrowd", crowd ? 1 : 0},
          {"area", box[2] * box[3]}};
}

// A label may look like the number of another class, or be the label of several.
TEST(Evaluate, AnnotatedLabelsAreNoNumbers) {
  const test::TemporaryFolder folder;
  EvaluateRequest request = annotated(folder, nlohmann::json::array({annotation(1, 1, {0, 0, 128, 256})}), {"1"});
  request.metrics = "iou";
  request.model.labels = folder.write("numbers.txt", "5\n4\n3\n2\n1\n0\n");
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).class_index, 4);
  request.model.labels = folder.write("twice.txt", "a\nb\n1\nb\n1\n0\n");
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).class_index, 2);
}

// Names are those of classes whatever the case of their letters, unless one is spelled exactly so.
TEST(Evaluate, AnnotatedLabelsMayDifferInCase) {
  const test::TemporaryFolder folder;
  EvaluateRequest request = annotated(folder, nlohmann::json::array({annotation(1, 1, {0, 0, 128, 256})}), {"Cat"});
  request.metrics = "iou";
  request.model.labels = folder.write("lower.txt", "a\nb\ntabby, cat\nd\ne\nf\n");
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).class_index, 2);
  request.model.labels = folder.write("both.txt", "a\nb\ncat\nCat\ne\nf\n");
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).class_index, 3);
}

// Truth that says nothing is told apart from truth that was not given; the maps are judged by what needs none.
TEST(Evaluate, TruthThatMatchesNothingIsAnError) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("masks"));
  std::filesystem::copy_file(kMask, folder.file("masks/other.png"));
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.truth = folder.file("masks");
  request.methods = "gradient";
  request.metrics = "iou,sparseness";
  const EvaluateResult result = evaluate(request);
  EXPECT_EQ(result.num_failed, 1);
  EXPECT_EQ(result.errors.at(0), folder.file("masks") +
                                     ": says nothing about any of the 1 pictures (flower: nothing is annotated for it; "
                                     "what needs truth is left open)");
  EXPECT_EQ(score_of(result.sets.at(0), "gradient", "gini").summary.n, 1);
  // All of it is left out of scores, which is not to say that the model does not know the class.
  const nlohmann::json crowd = nlohmann::json::array({annotation(1, 1, {0, 0, 64, 256}, true)});
  EvaluateRequest crowds = annotated(folder, crowd, {"petals-red"});
  crowds.metrics = "iou";
  std::string notes;
  const EvaluateResult of_crowds = evaluate(crowds);
  for (const std::string& note : of_crowds.sets.at(0).notes) notes += note + "\n";
  EXPECT_NE(notes.find("flower: only crowds and difficult things are annotated; its best class is explained"),
            std::string::npos)
      << notes;
}

// A crowd of the class asked for is neither inside nor outside; the picture is 128 x 128 for the network.
TEST(Evaluate, CrowdsAreLeftOut) {
  const test::TemporaryFolder folder;
  const nlohmann::json things{annotation(1, 1, {0, 0, 64, 256}), annotation(2, 1, {128, 0, 128, 256}, true)};
  EvaluateRequest request = annotated(folder, things, {"petals-red"});
  request.metrics = "relevance-mass";
  const EvaluateResult result = evaluate(request);
  EXPECT_DOUBLE_EQ(score_of(result.sets[0], "random", "chance").values.at(0), 0.5);
  const auto json = nlohmann::json::parse(result.json);
  EXPECT_EQ(json["truth_sha256"], sha256_file(request.truth));
  EXPECT_EQ(json["sets"][0]["files"][0]["sha256"], sha256_file(kPicture));
  EXPECT_EQ(json["precision"], "float32");
  EXPECT_EQ(json["keep_wrong"], true);
  EXPECT_EQ(json["batch_size"], 8);
}

// VOC's class masks: the left quarter is a bird, the next one border: a third of what is known is the bird.
TEST(Evaluate, BordersOfClassMasksAreLeftOut) {
  const test::TemporaryFolder folder;
  Image classes(256, 256, 3, 0);
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 128; ++x) {
      const Color color = x < 64 ? Color{128, 128, 0} : Color{224, 224, 192};
      std::copy(color.begin(), color.end(), classes.at(x, y));
    }
  }
  std::filesystem::create_directories(folder.file("SegmentationClass"));
  save_png(folder.file("SegmentationClass/flower.png"), classes);
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.truth = folder.file("SegmentationClass");
  request.methods = "random";
  request.metrics = "relevance-mass";
  EXPECT_DOUBLE_EQ(score_of(evaluate(request).sets.at(0), "random", "chance").values.at(0), 1.0 / 3);
}

// A target that is no class: what needs one is left open, the rest is judged.
TEST(Evaluate, TargetsThatAreNoClassAreJudgedByWhatNeedsNone) {
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.target = "channel:last-conv:0";
  request.methods = "gradient";
  request.metrics = "class-sensitivity,deletion:step=4000,sparseness";
  const EvaluateResult result = evaluate(request);
  EXPECT_EQ(score_of(result.sets.at(0), "gradient", "spearman").summary.n, 0);
  EXPECT_EQ(score_of(result.sets.at(0), "gradient", "gini").summary.n, 1);
}

// What a metric says no to on a picture is said, and the other metrics stand.
TEST(Evaluate, MetricThatCannotBeHadIsLeftOpen) {
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.methods = "gradient";
  request.metrics = "deletion:fill=nothing,sparseness";
  const EvaluateResult result = evaluate(request);
  const EvaluatedMethod& method = result.sets.at(0).methods.at(0);
  EXPECT_EQ(method.scores.at(0).summary.n, 0);
  EXPECT_EQ(score_of(result.sets[0], "gradient", "gini").summary.n, 1);
  ASSERT_FALSE(method.notes.empty());
  EXPECT_EQ(method.notes.back().rfind("deletion: ", 0), 0u) << method.notes.back();
}

/// Cancels itself at the second sign of life of a metric, which is the metric's own.
class CancelsWithin final : public Progress {
 public:
  explicit CancelsWithin(std::string what) : what_(std::move(what)) {}
  void report(double, double, const std::string& what) override {
    if (what.find(what_) != std::string::npos && ++seen_ == 2) cancel();
  }

 private:
  std::string what_;
  int seen_ = 0;
};

TEST(Evaluate, MetricsShowTheirProgressAndStop) {
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.methods = "random";
  request.metrics = "deletion:step=500,sparseness";
  CancelsWithin progress(" by deletion");
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] { evaluate(request, &progress); });
}

// One logit is two classes: above zero it answers with the second.
TEST(Evaluate, OneLogitCanBeRightAndWrong) {
  const test::TemporaryFolder folder;
  for (const bool spatial : {false, true}) {
    test::LayerBuilder b(1, {1, 3, 8, 8});
    b.graph.node("GlobalAveragePool", {"x"}, {"pool"});
    b.graph.constant("w", at::ones({1, 3, 1, 1}, at::kFloat));
    b.graph.constant("bias", at::full({1}, 100.0, at::kFloat));
    b.graph.node("Conv", {"pool", "w", "bias"}, {"c"});
    if (!spatial) b.graph.node("Flatten", {"c"}, {"flat"});
    save_onnx(b.finish(spatial ? "c" : "flat"), folder.file("binary.onnx"));
    EvaluateRequest request =
        annotated(folder, nlohmann::json::array({annotation(1, 1, {0, 0, 128, 256})}), {"yes", "no"});
    request.model.path = folder.file("binary.onnx");
    request.model.labels = folder.write("labels.txt", "no\nyes\n");
    request.metrics = "iou";
    request.keep_wrong = false;
    EXPECT_EQ(evaluate(request).sets.at(0).num_wrong, 0) << spatial;
    request = annotated(folder, nlohmann::json::array({annotation(1, 2, {0, 0, 128, 256})}), {"yes", "no"});
    request.model.path = folder.file("binary.onnx");
    request.model.labels = folder.file("labels.txt");
    request.metrics = "iou";
    request.keep_wrong = false;
    expect_error(ErrorKind::kFailed,
                 "evaluate: pictures: the network answers none of the 1 pictures rightly (--keep-wrong judges them all "
                 "the same)",
                 [&] { evaluate(request); });
  }
}

// The limits on pictures hold for masks as well: here one of 4 KB beside a photo of a few hundred bytes.
TEST(Evaluate, MasksAreHeldAgainstTheLimits) {
  const test::TemporaryFolder folder;
  save_png(folder.file("photo.png"), Image(64, 64, 3, 90));
  folder.write("masks/photo.pgm", "P5\n64 64\n255\n" + std::string(64 * 64, '\xff'));
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {folder.file("photo.png")};
  request.truth = folder.file("masks");
  request.methods = "random";
  request.metrics = "iou";
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).truth.sha256, sha256_file(folder.file("masks/photo.pgm")));
  request.run.image_limits.max_bytes = 2000;
  EXPECT_THROW(evaluate(request), Error);
}

/// Cancels itself the nth time that something is heard of a method.
class CancelsAfter final : public Progress {
 public:
  explicit CancelsAfter(int reports) : left_(reports) {}
  void report(double, double, const std::string&) override {
    if (--left_ == 0) cancel();
  }

 private:
  int left_;
};

std::vector<std::string> records_in(const test::TemporaryFolder& folder, const std::string& run) {
  std::vector<std::string> files;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file(run + "/records"), ec)) {
    files.push_back(entry.path().string());
  }
  return files;
}

// Stopped in the middle and asked for again, a run judges only what is left and writes what it would have written.
TEST(Evaluate, GoesOnWhereItWasStopped) {
  const test::TemporaryFolder folder;
  EvaluateRequest request =
      small_suite("shortcut", "random,grad-cam,smoothgrad:samples=2", "iou,seed-stability:seeds=2,deletion:step=4000");
  request.output = folder.file("whole");
  evaluate(request);
  EXPECT_TRUE(records_in(folder, "whole").empty());
  EXPECT_FALSE(std::filesystem::exists(folder.file("whole/records")));

  request.output = folder.file("stopped");
  CancelsAfter progress(200);
  EXPECT_THROW(evaluate(request, &progress), Error);
  const std::vector<std::string> records = records_in(folder, "stopped");
  EXPECT_GT(records.size(), 5u);
  EXPECT_LT(records.size(), 36u);
  EXPECT_FALSE(std::filesystem::exists(folder.file("stopped/table.csv")));
  // One of them damaged: as if it were not there.
  std::ofstream(records.front(), std::ios::trunc) << "{\"results\": [";
  evaluate(request);
  for (const std::string file : {"/table.csv", "/pictures.csv"}) {
    EXPECT_EQ(read_file(folder.file("stopped" + file), 1 << 24), read_file(folder.file("whole" + file), 1 << 24));
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("stopped/records")));
}

// A record stands for the numbers of one request: here each claims what no map scores, and only the same request
// believes it.
TEST(Evaluate, RecordsOfAnotherRequestAreNotSeen) {
  const test::TemporaryFolder folder;
  EvaluateRequest request = small_suite("shortcut", "random", "iou");
  request.output = folder.file("run");
  CancelsAfter progress(30);
  EXPECT_THROW(evaluate(request, &progress), Error);
  const std::vector<std::string> records = records_in(folder, "run");
  ASSERT_FALSE(records.empty());
  for (const std::string& file : records) {
    auto json = nlohmann::json::parse(read_file(file, 1 << 24));
    json["results"][0]["scores"]["iou"] = 7;
    std::ofstream(file, std::ios::trunc) << json.dump();
  }
  const auto claimed = [&](const EvaluateRequest& r) {
    std::filesystem::remove_all(folder.file("copy"));
    std::filesystem::copy(folder.file("run"), folder.file("copy"), std::filesystem::copy_options::recursive);
    EvaluateRequest other = r;
    other.output = folder.file("copy");
    const EvaluateResult result = evaluate(other);
    const std::vector<double>& values = result.sets.at(0).methods.at(0).scores.at(0).values;
    return static_cast<size_t>(std::count(values.begin(), values.end(), 7.0));
  };
  EXPECT_EQ(claimed(request), records.size());
  EvaluateRequest other = request;
  other.run.seed = 1;
  EXPECT_EQ(claimed(other), 0u) << "seed";
  other = request;
  other.metrics = "iou:threshold=0.4";
  EXPECT_EQ(claimed(other), 0u) << "metrics";
  other = request;
  other.run.batch_size = 3;
  other.pictures_per_class = 2;
  EXPECT_EQ(claimed(other), 0u) << "pictures";
  other = request;
  other.model.precision = Precision::kFloat64;
  EXPECT_EQ(claimed(other), 0u) << "precision";
  other = request;
  other.model.path = kModels + "/shortcut_6c.onnx";
  other.methods = "random,center";  // another method more takes nothing away
  EXPECT_EQ(claimed(other), records.size()) << "methods";
}

// The shipped network that was trained on shuffled labels belongs to one set of the suite.
TEST(Evaluate, SuitesBringTheirNetworkOfShuffledLabels) {
  EvaluateRequest request = small_suite("an8flower", "gradient,edges", "label-randomization");
  request.seeds = 1;
  const EvaluateResult result = evaluate(request);
  EXPECT_GT(score_of(result.sets.at(0), "gradient", "spearman").summary.n, 3);
  EXPECT_LT(score_of(result.sets.at(0), "gradient", "spearman").summary.mean, 0.9);
  EXPECT_NEAR(score_of(result.sets.at(0), "edges", "spearman").summary.mean, 1, 1e-12);
  EXPECT_EQ(score_of(result.sets.at(1), "gradient", "spearman").summary.n, 0);
}

// Data sets call a class by one of its names; what the network does not know is said.
TEST(Evaluate, AnnotatedLabelsMayBeOneNameOfAClass) {
  const test::TemporaryFolder folder;
  const nlohmann::json thing = nlohmann::json::array({annotation(1, 1, {0, 0, 128, 256})});
  EvaluateRequest request = annotated(folder, thing, {"rose"});
  request.metrics = "iou";
  request.model.labels = folder.write("labels.txt", "a\nb\nc\ndog rose, rose, wild rose\ne\nf\n");
  EXPECT_EQ(evaluate(request).sets.at(0).pictures.at(0).class_index, 3);
  request = annotated(folder, thing, {"tulip"});
  request.metrics = "iou";
  request.model.labels = folder.file("labels.txt");
  const EvaluateResult result = evaluate(request);
  EXPECT_EQ(result.sets.at(0).notes.back(),
            "flower: the model has no class 'tulip'; its best class is explained, and all that is annotated counts as "
            "truth");
}

// 255, 128 and 0, a quarter each and the rest: a third of what is known is inside.
TEST(Evaluate, GrayOfAThreeValuedMaskIsLeftOut) {
  const test::TemporaryFolder folder;
  Image mask(256, 256, 1, 0);
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 128; ++x) *mask.at(x, y) = x < 64 ? 255 : 128;
  }
  std::filesystem::create_directories(folder.file("masks"));
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.truth = folder.file("masks");
  request.methods = "random";
  request.metrics = "relevance-mass";
  save_png(folder.file("masks/flower.png"), mask);
  EXPECT_DOUBLE_EQ(score_of(evaluate(request).sets.at(0), "random", "chance").values.at(0), 1.0 / 3);
  *mask.at(255, 255) = 60;  // a fourth value: a smoothed outline, so above 127 is inside
  save_png(folder.file("masks/flower.png"), mask);
  EXPECT_DOUBLE_EQ(score_of(evaluate(request).sets.at(0), "random", "chance").values.at(0), 0.5);
}

// One metric with two fills: two columns, two curves.
TEST(Evaluate, OneMetricMayBeAskedForTwice) {
  EvaluateRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.methods = "center";
  request.metrics = "deletion:step=8000,deletion:step=8000,fill=mean,sparseness";
  const EvaluatedSet set = evaluate(request).sets.at(0);
  std::vector<std::string> header;
  evaluation_table(set, header);
  EXPECT_EQ(header, (std::vector<std::string>{"method", "deletion:step=8000 (-)", "deletion:step=8000,fill=mean (-)",
                                              "sparseness (+)", "ms"}));
  EXPECT_EQ(set.methods.at(0).mean_curves.count("deletion:step=8000/deletion"), 1u);
  EXPECT_EQ(set.methods.at(0).mean_curves.count("deletion:step=8000,fill=mean/deletion"), 1u);
}

// A softmax at the end changes nothing about what a part is worth: that is said in logits.
TEST(PartImportance, IsMeasuredBeforeTheSoftmax) {
  const GroundTruthSet& set = find_ground_truth_set("parts");
  ModelCard card;
  card.width = card.height = 32;
  GroundTruthRequest request;
  request.label = 1;
  std::vector<std::vector<double>> drops;
  for (const bool squashes : {false, true}) {
    test::LayerBuilder b(3, {-1, 3, 32, 32});
    b.conv("c", "x", 4);
    b.node("GlobalAveragePool", "pool", {"c"});
    b.node("Flatten", "flat", {"pool"});
    b.gemm_with("scores", "flat", test::Random(4).normal({16, 4}) * 5);
    if (squashes) b.graph.node("Softmax", {"scores"}, {"shares"}, {{"axis", int64_t{1}}});
    NetworkOptions options;
    options.precision = Precision::kFloat64;
    const Network network(b.finish(squashes ? "shares" : "scores"), options);
    drops.push_back(part_importance(network, card, set, request));
  }
  ASSERT_EQ(drops[0].size(), set.parts.size());
  for (size_t i = 0; i < drops[0].size(); ++i) EXPECT_NEAR(drops[0][i], drops[1][i], 1e-9) << set.parts[i];
  EXPECT_GT(std::abs(*std::max_element(drops[0].begin(), drops[0].end())), 0);
}

TEST(Evaluate, RefusesWhatItCannotDo) {
  EvaluateRequest request;
  expect_error(ErrorKind::kUsage, "evaluate: pictures, or a suite of generated ones, are needed",
               [&] { evaluate(request); });
  request.run.inputs = {kPicture};
  request.metrics = "iou,label-randomization";
  expect_error(ErrorKind::kUsage,
               "evaluate: label-randomization needs a network trained on shuffled labels (--label-randomized)",
               [&] { evaluate(request); });
  request.run.inputs.clear();
  request.metrics.clear();
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
