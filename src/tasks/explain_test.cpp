#include <gtest/gtest.h>

#include <filesystem>

#include "pellucid/tasks.h"
#include "support/expect_error.h"
#include "support/npy_tensor.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";
const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

/// What the engine gives without any of the tasks around it.
Attribution direct(const LoadedModel& model, const Tensor& input, const std::string& method, const std::string& layer,
                   const std::string& target_text) {
  const LayerTable table(model.network, {input.sizes().vec()});
  const Target target = Target::parse(target_text);
  Request request;
  request.capture.push_back(target_value(target, table, model.network.graph()));
  const Tensor value = model.network.run({input}, request).at(request.capture[0]);
  const BoundTarget bound(target, table, model.card, request.capture[0], value);
  Context context{model.network, table, model.card, input, bound, {table.find(layer)}, 7, 1, nullptr, {}};
  return attribute(MethodCall::parse(method), context);
}

// Arrays in files are the library's numbers bit by bit: nothing scales, clips or normalizes them on the way.
TEST(Explain, ArraysAreTheNumbersOfTheLibrary) {
  const test::TemporaryFolder folder;
  ExplainRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.run.seed = 7;
  request.run.batch_size = 1;
  request.output = folder.path();
  const std::vector<std::string> ids{"grad-cam", "hires-cam", "gradient", "gradient-x-input", "smoothgrad:samples=3"};
  for (const std::string& id : ids) request.methods = id == ids.front() ? id : request.methods + "," + id;
  request.targets = {"petals-red"};
  const ExplainResult result = explain(request);
  ASSERT_EQ(result.pictures.size(), 1u);
  ASSERT_EQ(result.pictures[0].maps.size(), ids.size());
  const LoadedModel model = load_model(request.model);
  const Picture picture = load_picture(kPicture, "p", model);
  for (size_t i = 0; i < ids.size(); ++i) {
    const Attribution expected = direct(model, picture.input, ids[i], "block4.relu", "petals-red");
    const ExplainedMap& map = result.pictures[0].maps[i];
    const Tensor values = test::load_npy(folder.file(map.values_file)),
                 shown = test::load_npy(folder.file(map.input_file));
    EXPECT_TRUE(at::equal(values, expected.values[0].to(at::kDouble))) << ids[i];
    EXPECT_TRUE(at::equal(shown, expected.map[0].to(at::kDouble))) << ids[i];
    EXPECT_EQ(shown.sizes().vec(), (Shape{128, 128}));
    EXPECT_FLOAT_EQ(static_cast<float>(map.highest), expected.map.max().item<float>());
  }
}

// A picture is most similar to itself; the reference must not disturb the batch that it is compared with.
TEST(Explain, SimilarityToAReferenceOverABatch) {
  const test::TemporaryFolder folder;
  DatasetRequest flowers;
  flowers.per_class = 1;
  flowers.size = 128;
  flowers.output = folder.path();
  write_dataset(flowers);
  ExplainRequest request;
  request.model.path = kModel;
  request.run.inputs = {folder.file("images")};
  request.reference = folder.file("images/000002.png");
  request.targets = {"similarity"};
  request.output.clear();
  const ExplainResult result = explain(request);
  ASSERT_EQ(result.pictures.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const double score = result.pictures[i].maps.at(0).score;
    EXPECT_TRUE(i == 2 ? std::abs(score - 1) < 1e-5 : score < 0.99) << i << ": " << score;
  }
}

TEST(Explain, WithoutAFolderNothingIsWritten) {
  ExplainRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  const ExplainResult result = explain(request);
  ASSERT_EQ(result.pictures.size(), 1u);
  EXPECT_TRUE(result.pictures[0].maps[0].overlay_file.empty());
  EXPECT_TRUE(result.result_file.empty());
  EXPECT_EQ(result.pictures[0].classes[0].label, "petals-yellow");
}

TEST(Explain, CancelledRunStopsBeforeItBegins) {
  const test::TemporaryFolder folder;
  ExplainRequest request;
  request.model.path = kModel;
  request.run.inputs = {kPicture};
  request.output = folder.file("o");
  Progress progress;
  progress.cancel();
  test::expect_error(ErrorKind::kInterrupted, "interrupted", [&] { explain(request, &progress); });
  EXPECT_FALSE(std::filesystem::exists(folder.file("o/result.json")));
}

TEST(Explain, WishesAreCheckedBeforeTheModelIsRead) {
  ExplainRequest request;
  request.model.path = "there is no such model";
  request.methods = "grad-cam:x";
  EXPECT_THROW(
      {
        try {
          explain(request);
        } catch (const Error& e) {
          EXPECT_EQ(e.kind(), ErrorKind::kUsage);
          throw;
        }
      },
      Error);
}

}  // namespace
}  // namespace pellucid
