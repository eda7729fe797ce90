#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/graph.h"
#include "pellucid/stylize.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tasks/feature_losses.h"
#include "tasks/style_pictures.h"

namespace pellucid {
namespace {

using test::expect_error;

TrainStyleRequest tiny(TrainStyleRequest::Kind kind, const std::string& output) {
  TrainStyleRequest request;
  request.kind = kind;
  request.network.path = PELLUCID_SOURCE_DIR "/models/texture_encoder.onnx";
  request.contents = {"an8flower-single"};
  request.width = 4;
  request.blocks = 1;
  request.size = 32;
  request.style_size = 48;
  request.batch_size = 2;
  request.steps = 30;
  request.learning_rate = 5e-3;
  request.test_pictures = 2;
  if (kind != TrainStyleRequest::Kind::kArbitrary) request.styles = {"texture:brush-strokes:11"};
  if (kind == TrainStyleRequest::Kind::kMany) request.styles.push_back("texture:mosaic:3");
  request.output = output;
  return request;
}

/// Cancels when a step is done.
class CancelAt final : public Progress {
 public:
  explicit CancelAt(double step) : step_(step) {}
  void report(double done, double, const std::string&) override {
    if (done >= step_) cancel();
  }

 private:
  double step_;
};

bool same_weights(const std::string& a, const std::string& b) {
  const Graph one = load_onnx(a), other = load_onnx(b);
  for (const Value& v : one.values()) {
    if (v.constant.defined() && !v.constant.equal(other.value(other.find(v.name)).constant)) return false;
  }
  return true;
}

bool python_has_onnx() { return std::system("/usr/bin/python3 -c 'import onnx' 2>/dev/null") == 0; }

// A hundred steps of a tiny network lower its losses, and the file is ONNX to others.
class TrainStyle : public testing::TestWithParam<TrainStyleRequest::Kind> {};
TEST_P(TrainStyle, ComesNearerToStyleAndContent) {
  const test::TemporaryFolder folder;
  TrainStyleRequest request = tiny(GetParam(), folder.file("n.onnx"));
  request.steps = 100;
  std::vector<double> losses;
  const TrainStyleResult result =
      train_style(request, [&](const StyleTrainingReport& report) { losses.push_back(report.style + report.content); });
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_LT(losses[1], losses[0]);
  ASSERT_FALSE(result.styles.empty());
  for (const TrainedStyle& style : result.styles) {
    EXPECT_GT(style.network.style, 0);
    EXPECT_GT(style.network.content, 0);
    EXPECT_LT(style.start.content, 1e-10);  // the contents are their own
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("n.onnx.checkpoint")));
  EXPECT_TRUE(std::filesystem::exists(folder.file("n.json")));
  if (!python_has_onnx()) GTEST_SKIP() << "python3-onnx is not installed; the file was not given to onnx.checker";
  const std::string check =
      "/usr/bin/python3 -c 'import onnx,sys; onnx.checker.check_model(sys.argv[1], full_check=True)' ";
  EXPECT_EQ(std::system((check + request.output).c_str()), 0);
}
INSTANTIATE_TEST_SUITE_P(Kinds, TrainStyle,
                         testing::Values(TrainStyleRequest::Kind::kSingle, TrainStyleRequest::Kind::kMany,
                                         TrainStyleRequest::Kind::kArbitrary));

// Interrupted and resumed equals uninterrupted, to the bit.
TEST(TrainStyleRun, GoesOnWhereItWasInterrupted) {
  const test::TemporaryFolder folder;
  TrainStyleRequest request = tiny(TrainStyleRequest::Kind::kMany, folder.file("whole.onnx"));
  request.steps = 6;
  train_style(request);
  request.output = folder.file("parts.onnx");
  CancelAt third(3);
  EXPECT_THROW(train_style(request, {}, &third), Error);
  ASSERT_TRUE(std::filesystem::exists(request.output + ".checkpoint"));
  EXPECT_EQ(train_style(request).resumed_after, 3);
  EXPECT_TRUE(same_weights(folder.file("whole.onnx"), folder.file("parts.onnx")));
}

TEST(TrainStyleRun, RefusesWhatItCannotDo) {
  const test::TemporaryFolder folder;
  TrainStyleRequest request = tiny(TrainStyleRequest::Kind::kSingle, folder.file("n.pt"));
  expect_error(ErrorKind::kUsage, "train-style: the output '" + request.output + "' must end in .onnx",
               [&] { train_style(request); });
  request.output = folder.file("n.onnx");
  request.size = 50;
  expect_error(ErrorKind::kUsage, "train-style: size is 50; a multiple of 8, at least 32, was expected",
               [&] { train_style(request); });
  request.size = 32;
  request.styles = {};
  expect_error(ErrorKind::kUsage, "train-style: no style; name a picture or texture:KIND (--style)",
               [&] { train_style(request); });
  request.styles = {"texture:mosaic", "texture:waves"};
  expect_error(ErrorKind::kUsage, "train-style: 2 styles; the kind single takes one", [&] { train_style(request); });
}

// A run of the arbitrary kind draws its pictures anew when it goes on, and they are the same.
TEST(TrainStyleRun, GoesOnWithTheSamePicturesForArbitrary) {
  const test::TemporaryFolder folder;
  TrainStyleRequest request = tiny(TrainStyleRequest::Kind::kArbitrary, folder.file("whole.onnx"));
  request.steps = 4;
  train_style(request);
  request.output = folder.file("parts.onnx");
  CancelAt second(2);
  EXPECT_THROW(train_style(request, {}, &second), Error);
  EXPECT_EQ(train_style(request).resumed_after, 2);
  EXPECT_TRUE(same_weights(folder.file("whole.onnx"), folder.file("parts.onnx")));
  request.layers.content = "conv3_2.relu";
  expect_error(ErrorKind::kUsage,
               "train-style: the content layer of the kind arbitrary is the last that gets the style (--adain-layer)",
               [&] { train_style(request); });
}

// Crops have the asked-for size and range whatever they are cut from, and depend on the generator alone.
TEST(VariedCrops, AreCutFromPicturesOfAnySize) {
  const VariedCrops crops({at::randint(256, {3, 40, 70}).to(at::kByte), at::full({3, 20, 24}, 51, at::kByte)}, 32);
  const Tensor one = crops.draw(12, at::detail::createCPUGenerator(3));
  EXPECT_EQ(one.sizes(), (Shape{12, 3, 32, 32}));
  EXPECT_GE(one.min().item<double>(), -1e-6);
  EXPECT_LE(one.max().item<double>(), 1 + 1e-6);
  EXPECT_TRUE(one.equal(crops.draw(12, at::detail::createCPUGenerator(3))));
  EXPECT_FALSE(one.equal(crops.draw(12, at::detail::createCPUGenerator(4))));
}

// Ours: a ReLU of each of the four sizes.
TEST(FeatureLosses, ChoosesLayersByTheSizeOfTheirMaps) {
  ModelOptions options;
  options.path = PELLUCID_SOURCE_DIR "/models/texture_encoder.onnx";
  const LoadedModel model = load_model(options);
  const FeatureLosses losses(model, {});
  EXPECT_EQ(losses.layers().style,
            (std::vector<std::string>{"conv1_2.relu", "conv2_2.relu", "conv3_2.relu", "conv4_2.relu"}));
  EXPECT_EQ(losses.layers().content, "conv3_2.relu");
  const Tensor x = at::rand({2, 3, 32, 32});
  const StyleMeasure same = losses.measure(x, losses.grams(x), x);
  EXPECT_LT(same.style, 1e-10);
  EXPECT_LT(same.content, 1e-10);
}

}  // namespace
}  // namespace pellucid
