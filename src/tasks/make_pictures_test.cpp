#include "pellucid/make_pictures.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/files.h"
#include "support/expect_error.h"
#include "support/npy_tensor.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";

VisualizeRequest small_request(const std::string& output) {
  VisualizeRequest request;
  request.make.model.path = kModel;
  request.make.size = 48;
  request.make.steps = 8;
  request.make.output = output;
  return request;
}

// The stored recipe alone makes the same picture, bit for bit.
TEST(Visualize, RunsAgainFromItsResult) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.file("a"));
  request.targets = {"petals-red"};
  request.layer = "block3.relu";
  request.channels = "2,5-6";
  request.make.seed = 11;
  const MakeResult first = visualize(request);
  ASSERT_EQ(first.pictures.size(), 4u);
  EXPECT_GT(first.pictures[0].objective, first.pictures[0].objective_start);
  EXPECT_EQ(first.pictures[0].class_index, 0);
  EXPECT_EQ(first.pictures[3].title, "block3.relu channel 6");
  EXPECT_EQ(first.pictures[0].image.sizes(), (Shape{3, 48, 48}));

  VisualizeRequest again;
  again.make.model.path = kModel;
  again.make.recipe = folder.file("a/result.json");
  again.make.output = folder.file("b");
  const MakeResult second = visualize(again);
  ASSERT_EQ(second.pictures.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(at::equal(first.pictures[i].image, second.pictures[i].image)) << i;
    const Tensor stored = test::load_npy(folder.file("a/" + first.pictures[i].values_file));
    EXPECT_TRUE(at::equal(stored, first.pictures[i].image.to(at::kDouble)));
  }
  EXPECT_FALSE(at::equal(first.pictures[1].image, first.pictures[2].image));

  // What is said besides is changed.
  again.make.steps = 3;
  again.make.size = 40;
  again.make.output.clear();
  const MakeResult third = visualize(again);
  EXPECT_EQ(third.pictures[0].steps, 3);
  EXPECT_EQ(third.pictures[0].image.sizes(), (Shape{3, 40, 40}));
}

TEST(Visualize, PicturesAreRoundedNotStretched) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.path());
  request.targets = {"0"};
  const MakeResult result = visualize(request);
  const Image image = decode_image(folder.file(result.pictures[0].image_file));
  ASSERT_EQ(image.width, 48);
  for (int y = 0; y < 48; y += 5) {
    for (int c = 0; c < 3; ++c) {
      const double value = result.pictures[0].image[c][y][7].item<double>();
      EXPECT_EQ(image.at(7, y)[c], std::lround(std::min(1.0, std::max(0.0, value)) * 255));
    }
  }
}

TEST(Visualize, LadderTriesEveryPrior) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.path());
  request.targets = {"1"};
  request.ladder = true;
  const MakeResult result = visualize(request);
  std::vector<std::string> names;
  for (const NamedRecipe& named : recipes()) {
    if (named.family == "visualize") names.push_back(named.id);
  }
  ASSERT_EQ(result.pictures.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const MadePicture& p = result.pictures[i];
    EXPECT_EQ(p.recipe.name, names[i]);
    EXPECT_EQ(p.image.sizes(), (Shape{3, 48, 48})) << p.name;
    EXPECT_EQ(p.steps, 8) << p.name;
    EXPECT_GT(p.objective, p.objective_start) << p.name;
    EXPECT_GT(p.probability, 0) << p.name;
  }
}

const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

// The changed picture stays within the bound, and its answer is another one.
TEST(Attack, ChangesTheAnswerWithinItsBound) {
  AttackRequest request;
  request.make.model.path = kModel;
  request.inputs = {kPicture};
  for (const std::string recipe : {"fgsm", "bim", "pgd", "pgd-l2"}) {
    request.make.recipe = recipe;
    request.epsilon = recipe == "pgd-l2" ? 1000 : 6;
    const MadePicture made = attack(request).pictures.at(0);
    EXPECT_LE(recipe == "pgd-l2" ? made.change_norm : made.change_max, request.epsilon / 255 + 1e-6) << recipe;
    EXPECT_GT(made.change_max, 1.0 / 255) << recipe;
    EXPECT_GT(made.objective, made.objective_start) << recipe;
    EXPECT_EQ(made.class_index, made.classes_before.at(0).index);
  }
  EXPECT_THROW(
      [&] {
        request.target = "no such class";
        attack(request);
      }(),
      Error);
}

TEST(Attack, ReachesATarget) {
  AttackRequest request;
  request.make.model.path = kModel;
  request.inputs = {kPicture};
  request.target = "3";
  request.epsilon = 24;
  request.make.steps = 40;
  const MadePicture made = attack(request).pictures.at(0);
  EXPECT_EQ(made.class_index, 3);
  EXPECT_EQ(made.rank, 1);
  EXPECT_EQ(made.classes.at(0).index, 3);
}

TEST(Invert, FeaturesComeNearer) {
  InvertRequest request;
  request.make.model.path = kModel;
  request.inputs = {kPicture};
  request.layers = {"block1.relu"};
  const MadePicture made = invert(request).pictures.at(0);
  EXPECT_GT(made.objective, -0.05);
  EXPECT_LT(made.objective_start, -0.5);
}

TEST(Dream, KeepsTheSizeAndRaisesTheLayer) {
  DreamRequest request;
  request.make.model.path = kModel;
  request.make.size = 96;
  request.inputs = {kPicture};
  request.layer = "block3.relu";
  const MakeResult result = dream(request);
  const MadePicture& made = result.pictures.at(0);
  EXPECT_EQ(std::max(made.image.size(1), made.image.size(2)), 96);
  EXPECT_GT(made.objective, 1.5 * made.objective_start);
  EXPECT_GE(made.image.min().item<double>(), -1e-6);
  EXPECT_LE(made.image.max().item<double>(), 1 + 1e-6);
}

TEST(Recipe, ReadsBackWhatItPrints) {
  const test::TemporaryFolder folder;
  for (const NamedRecipe& named : recipes()) {
    Recipe recipe = named.recipe;
    recipe.objectives = {{named.weight, "class:target=3"}};
    recipe.stages[0].objectives = {{0.25, "energy:layer=a"}};
    recipe.seed = 12345678901234;
    const std::string text = recipe_text(recipe);
    const std::vector<Recipe> back = load_recipes(folder.write(named.id + ".json", text));
    ASSERT_EQ(back.size(), 1u);
    EXPECT_EQ(recipe_text(back[0]), text) << named.id;
  }
}

TEST(Recipe, RefusesWhatItDoesNotKnow) {
  const test::TemporaryFolder folder;
  const auto refused = [&](const std::string& json, const std::string& problem) {
    const std::string path = folder.write("r.json", json);
    test::expect_error(ErrorKind::kInvalidInput, path + problem, [&] { load_recipes(path); });
  };
  refused("{", ": not JSON");
  refused("[]", " must be an object");
  refused(R"({"stages": [{"step": 3}]})",
          ": a stage: unknown field 'step'; did you mean 'steps' or 'after_step'? (fields are steps, scale, optimizer, "
          "after_step, objectives)");
  refused(R"({"width": 1.5})", ": 'width' must be an integer");
  refused(R"({"gradient": [3]})", ": 'gradient' must be a list of strings");
  refused(R"({"seed": "x"})", ": 'seed' must be an integer >= 0 as a string");
  refused(R"({"optimizer": "adamm"})",
          ": no optimizer 'adamm'; did you mean 'adam'?; there are adam, ascent, adagrad, lbfgs");
  refused(R"({"pictures": []})", ": holds no recipe");
}

TEST(Visualize, RefusesWhatIsNotThere) {
  VisualizeRequest request = small_request("");
  test::expect_error(ErrorKind::kUsage, "nothing to visualize; name a class (--target) or a layer and channels",
                     [&] { visualize(request); });
  request.layer = "block3.relu";
  test::expect_error(ErrorKind::kUsage, "layer needs channels (--channels 3,17 or 0-7)", [&] { visualize(request); });
  request.channels = "7-3";
  test::expect_error(ErrorKind::kUsage, "channels is '7-3'; numbers as 12, 3,17 or 0-7 were expected",
                     [&] { visualize(request); });
  request.channels = "99999";
  EXPECT_THROW(visualize(request), Error);
  request.layer = request.channels = "";
  request.targets = {"top1"};
  EXPECT_THROW(visualize(request), Error);
}

}  // namespace
}  // namespace pellucid
