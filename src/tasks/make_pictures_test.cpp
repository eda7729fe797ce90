#include "pellucid/make_pictures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/video.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/npy_tensor.h"
#include "support/temporary_folder.h"
#include "tasks/picture_maker.h"

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

// Class 0 is 100 times red less blue, class 1 the opposite once: halfway, neither outweighs the other; their weights,
// each times its half share, keep the geometric mean.
TEST(Visualize, InterpolatesBetweenLogitsOfAnyScale) {
  const test::TemporaryFolder folder;
  test::LayerBuilder b(1, {-1, 3, 32, 32});
  save_onnx(b.head_with("x", test::doubles({100, 0, -100, -1, 0, 1}, {2, 3})), folder.file("net.onnx"));
  VisualizeRequest request;
  request.make.model.path = folder.file("net.onnx");
  request.make.model.preset = "none";
  request.make.size = 32;
  request.make.steps = 60;
  request.make.output = folder.file("out");
  request.targets = {"0", "1"};
  request.interpolate = 3;
  const MakeResult result = visualize(request);
  ASSERT_EQ(result.pictures.size(), 3u);
  std::map<std::string, double> weights;
  for (const WeightedPart& part : result.pictures[1].recipe.objectives) {
    if (part.picture == 1) weights[part.part] = part.weight;
  }
  ASSERT_EQ(weights.size(), 2u);
  // The pictures of the short runs differ by their starts, so by a few percent in what they reach.
  EXPECT_NEAR(std::log10(weights.at("class:target=1") / weights.at("class:target=0")), 2, 0.1);
  EXPECT_NEAR(std::log10(weights.at("class:target=1") * weights.at("class:target=0") * 4), 0, 0.01);
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
    EXPECT_EQ(p.image.sizes(), (Shape{p.recipe.parameterization == "fourier-alpha" ? 4 : 3, 48, 48})) << p.name;
    EXPECT_EQ(p.steps, 8) << p.name;
    EXPECT_GT(p.objective, p.objective_start) << p.name;
    EXPECT_GT(p.probability, 0) << p.name;
  }
  EXPECT_EQ(result.pictures.back().recipe.objectives.front().part, "log-probability:target=1");
}

// A network of the same shape whose activations say something else.
TEST(Visualize, LadderHasTheGeneratorOfThisNetworkOnly) {
  VisualizeRequest request = small_request("");
  request.targets = {"1"};
  request.ladder = true;
  request.make.steps = 1;
  request.make.model.path = PELLUCID_SOURCE_DIR "/models/flower_double_12c.onnx";
  for (const MadePicture& p : visualize(request).pictures) {
    EXPECT_NE(p.recipe.name, "dgn-am");
    EXPECT_NE(p.recipe.name, "ppgn");
  }
  request.generator = PELLUCID_SOURCE_DIR "/models/flower_generator.onnx";
  EXPECT_EQ(visualize(request).pictures.back().recipe.name, "ppgn");
}

// Colors and opacity as they are in the array; the sheet is for people.
TEST(Visualize, OpacityIsTheFourthChannelOfThePng) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.path());
  request.targets = {"0"};
  request.make.recipe = "lucid-alpha";
  const MadePicture made = visualize(request).pictures.at(0);
  ASSERT_EQ(made.image.sizes(), (Shape{4, 48, 48}));
  const std::string bytes = read_file(folder.file(made.image_file), 1 << 20);
  EXPECT_EQ(bytes.at(25), 6) << "PNG's number for colors with opacity";
  const Image image = image_from_display(made.image);
  EXPECT_EQ(bytes, encode_png(image));
  ASSERT_EQ(image.channels, 4);
  for (int y = 0; y < 48; y += 5) {
    for (int c = 0; c < 4; ++c) {
      EXPECT_EQ(image.at(7, y)[c], std::lround(made.image[c][y][7].item<double>() * 255)) << c << " " << y;
    }
  }
  EXPECT_TRUE(at::equal(test::load_npy(folder.file(made.values_file)), made.image.to(at::kDouble)));
  EXPECT_EQ(decode_image(folder.file("sheet.png")).channels, 3);
  request.make.resume = true;
  const MakeResult again = visualize(request);
  EXPECT_EQ(again.notes.back().rfind("kept 1 of 1 pictures", 0), 0u) << again.notes.back();
  EXPECT_TRUE(at::equal(again.pictures.at(0).image, made.image));
}

const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

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
  refused("{",
          ": not JSON: parse error at line 1, column 2: syntax error while parsing object key - unexpected end of "
          "input; expected string literal");
  refused("[]", " must be an object");
  refused(R"({"stages": [{"step": 3}]})",
          ": a stage: unknown field 'step'; did you mean 'steps' or 'after_step'? (fields are steps, scale, optimizer, "
          "after_step, objectives)");
  refused(R"({"width": 1.5})", ": 'width' must be an integer");
  refused(R"({"gradient": [3]})", ": 'gradient' must be a list of strings");
  refused(R"({"seed": "x"})", ": 'seed' must be an integer >= 0 as a string");
  refused(R"({"optimizer": "adamm"})",
          ": no optimizer 'adamm'; did you mean 'adam'?; there are adam, ascent, adagrad, lbfgs, deepfool");
  refused(R"({"pictures": []})", ": holds no recipe");
  refused(R"({"batch": 1, "batch": 2})", ": not a recipe: field 'batch' is given twice");
  refused(std::string(1000, '['), ": not a recipe: nested too deeply");
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

/// Cancels when a share of the work is done.
class CancelAfter final : public Progress {
 public:
  explicit CancelAfter(double share) : share_(share) {}
  void report(double done, double total, const std::string&) override {
    if (total > 0 && done / total >= share_) cancel();
  }

 private:
  double share_;
};

// An interrupted run leaves a checkpoint, from which the same bytes come out; nothing of it stays.
TEST(Visualize, ResumesToTheSameBytes) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.file("whole"));
  request.targets = {"1"};
  request.make.save_every = 4;
  const MakeResult whole = visualize(request);
  EXPECT_EQ(whole.pictures[0].snapshot_files.size(), 2u);
  EXPECT_EQ(decode_image(folder.file("whole/" + whole.pictures[0].snapshot_files[0])).width, 48);
  request.make.output = folder.file("parts");
  request.make.save_every = 0;
  CancelAfter cancel(0.6);
  EXPECT_TRUE(visualize(request, &cancel).interrupted);
  const std::string checkpoint = folder.file("parts/" + whole.pictures[0].name + ".checkpoint");
  EXPECT_TRUE(std::filesystem::exists(checkpoint));
  request.make.resume = true;
  const MakeResult rest = visualize(request);
  EXPECT_FALSE(std::filesystem::exists(checkpoint));
  EXPECT_TRUE(at::equal(rest.pictures[0].image, whole.pictures[0].image));
  EXPECT_EQ(read_file(folder.file("parts/" + rest.pictures[0].image_file), 1 << 20),
            read_file(folder.file("whole/" + whole.pictures[0].image_file), 1 << 20));
  // The checkpoint of another recipe is refused.
  CancelAfter again(0.6);
  request.make.resume = false;
  visualize(request, &again);
  request.make.resume = true;
  request.make.seed = 3;
  test::expect_error(ErrorKind::kInvalidInput,
                     checkpoint + ": a checkpoint of another recipe, model or picture; delete it or leave out --resume",
                     [&] { visualize(request); });
}

// What is finished stays, with the time of its files; another request makes all anew.
TEST(Visualize, KeepsWhatIsFinished) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.path());
  request.targets = {"1"};
  request.layer = "block3.relu";
  request.channels = "2";
  request.batch = 1;
  const MakeResult first = visualize(request);
  const std::string kept = folder.file(first.pictures[0].image_file), lost = folder.file(first.pictures[1].image_file);
  const auto long_ago = std::filesystem::last_write_time(kept) - std::chrono::hours(1);
  std::filesystem::last_write_time(kept, long_ago);
  std::filesystem::remove(lost);

  request.make.resume = true;
  const MakeResult second = visualize(request);
  EXPECT_EQ(second.notes.back(), "kept 1 of 2 pictures, finished before by the same request (--resume)");
  EXPECT_EQ(std::filesystem::last_write_time(kept), long_ago);
  EXPECT_TRUE(std::filesystem::exists(lost));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(at::equal(second.pictures[i].image, first.pictures[i].image)) << i;
    EXPECT_EQ(second.pictures[i].objective, first.pictures[i].objective) << i;
    EXPECT_EQ(second.pictures[i].title, first.pictures[i].title) << i;
  }
  EXPECT_EQ(second.pictures[0].probability, first.pictures[0].probability);
  EXPECT_EQ(second.pictures[0].classes.size(), first.pictures[0].classes.size());
  EXPECT_EQ(second.pictures[0].seconds, std::round(first.pictures[0].seconds * 1000) / 1000);

  request.make.seed = 3;
  const MakeResult other = visualize(request);
  EXPECT_EQ(other.notes.back(), "the output folder holds no finished run of this request; all pictures are made anew");
  EXPECT_NE(std::filesystem::last_write_time(kept), long_ago);
  EXPECT_FALSE(at::equal(other.pictures[0].image, first.pictures[0].image));
  folder.write("result.json", "{\"pictures\": [1");
  EXPECT_TRUE(at::equal(visualize(request).pictures[0].image, other.pictures[0].image)) << "a damaged file";
}

// Another picture under the same name is another request.
TEST(Dream, TellsPicturesOfOneNameApart) {
  const test::TemporaryFolder folder;
  DreamRequest request;
  request.make.model.path = kModel;
  request.make.steps = 4;
  request.make.size = 48;
  request.make.output = folder.file("out");
  request.inputs = {folder.file("photo.png")};
  request.layer = "block2.relu";
  request.make.resume = true;
  save_png(request.inputs[0], Image(48, 48, 3, 90));
  dream(request);
  EXPECT_EQ(dream(request).notes.back(), "kept 1 of 1 pictures, finished before by the same request (--resume)");
  save_png(request.inputs[0], Image(48, 48, 3, 91));
  EXPECT_EQ(dream(request).notes.back(),
            "the output folder holds no finished run of this request; all pictures are made anew");
}

TEST(Visualize, ShowsAllChannelsAndTheirOpposites) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request(folder.path());
  request.make.size = 32;
  request.make.steps = 3;
  request.layer = "stem.relu";
  request.channels = "all";
  request.negative = true;
  const MakeResult result = visualize(request);
  ASSERT_EQ(result.pictures.size(), 32u);
  EXPECT_EQ(result.pictures[1].title, "stem.relu channel 0 negative");
  EXPECT_EQ(result.pictures[31].title, "stem.relu channel 15 negative");
  EXPECT_EQ(result.pictures[0].recipe.batch, 16);
  // Negative ones made it small: their objective is minus the activation.
  EXPECT_LE(result.pictures[1].objective, 0);
}

// What one network's classes look like, another one that was trained on other flowers with other classes recognizes: it
// has six more, so chance is a twelfth.
TEST(Visualize, PicturesTransferToAnotherNetwork) {
  const test::TemporaryFolder folder;
  VisualizeRequest request;
  request.make.model.path = kModel;
  request.make.steps = 96;
  request.make.output = folder.path();
  request.make.recipe = "yosinski2015";
  request.targets = {"0", "1", "2", "3", "4", "5"};
  PredictRequest second;
  second.model.path = PELLUCID_SOURCE_DIR "/models/flower_double_12c.onnx";
  for (const MadePicture& made : visualize(request).pictures) {
    EXPECT_EQ(made.rank, 1) << made.title;
    second.run.inputs.push_back(folder.file(made.image_file));
  }
  const PredictResult seen = predict(second);
  ASSERT_EQ(seen.pictures.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const Prediction& answer = seen.pictures[i].classes.at(0);
    EXPECT_EQ(answer.index, static_cast<int64_t>(i)) << answer.label;
    EXPECT_GT(answer.probability, 0.9) << answer.label;
  }
}

TEST(Visualize, DirectionsAreThoseOfTheFile) {
  const test::TemporaryFolder folder;
  VisualizeRequest request = small_request("");
  request.layer = "block3.relu";
  request.channels = "5";
  const MakeResult channel = visualize(request);
  std::vector<float> rows(128, 0);
  rows[5] = 1;
  rows[64 + 7] = 2;
  request.direction = folder.file("d.npy");
  write_npy(request.direction, rows.data(), {2, 64});
  request.channels.clear();
  request.batch = 1;
  const MakeResult result = visualize(request);
  ASSERT_EQ(result.pictures.size(), 2u);
  EXPECT_EQ(result.pictures[1].title, "block3.relu direction 1");
  EXPECT_LT((result.pictures[0].image - channel.pictures[0].image).abs().max().item<double>(), 1e-3);
  write_npy(request.direction, rows.data(), {4, 32});
  test::expect_error(ErrorKind::kInvalidInput, request.direction + ": holds [4,32]; the layer has 64 channels",
                     [&] { visualize(request); });
}

TEST(Visualize, DiversePicturesHaveLessInCommon) {
  VisualizeRequest request = small_request("");
  request.targets = {"2"};
  request.make.steps = 24;
  request.diversity = 3;
  request.diversity_layer = "block3.relu";
  const auto common = [&](double weight) {
    request.diversity_weight = weight;
    const MakeResult result = visualize(request);
    EXPECT_EQ(result.pictures.size(), 3u);
    // What the pictures have in common by the network's own account, through a run of no steps.
    const LoadedModel model = load_model(request.make.model);
    Recipe recipe = result.pictures[0].recipe;
    recipe.stages = {recipe.stages[0]};
    recipe.stages[0].steps = 0;
    recipe.parameterization = "pixels";
    recipe.transformations.clear();
    SynthesisContext context{model.network, model.card};
    context.pictures["start"] =
        at::stack({result.pictures[0].image, result.pictures[1].image, result.pictures[2].image});
    const SynthesisResult seen = synthesize(recipe, context);
    double sum = 0;
    for (const double v : seen.terms.at("diversity:layer=block3.relu")) sum -= v;
    return sum;
  };
  EXPECT_LT(common(1000), common(1e-9) - 0.01);
}

// A film goes in: as many frames as asked for, each from the one before.
TEST(Dream, ZoomsFrameByFrame) {
  const test::TemporaryFolder folder;
  DreamRequest request;
  request.make.model.path = kModel;
  request.make.size = 64;
  request.make.steps = 4;
  request.make.output = folder.path();
  request.inputs = {kPicture};
  request.layer = "block2.relu";
  request.zoom_frames = 3;
  const MakeResult result = dream(request);
  ASSERT_EQ(result.pictures.size(), 3u);
  ASSERT_EQ(result.film_files.size(), 1u);
  VideoReader film(folder.file(result.film_files[0]));
  Image frame;
  int count = 0;
  while (film.next(frame)) ++count;
  EXPECT_EQ(count, 3);
  EXPECT_FALSE(at::equal(result.pictures[1].image, result.pictures[2].image));

  request.make.animation = "gif";
  EXPECT_EQ(dream(request).film_files, std::vector<std::string>{"flower.block2.relu.gif"});
  EXPECT_EQ(decode_image(folder.file("flower.block2.relu.gif")).width, 64);
}

// However long, a film does not end in saturated areas: later frames begin with no more contrast than the photo has.
TEST(Dream, FilmsKeepTheContrastOfThePhoto) {
  DreamRequest request;
  request.make.model.path = kModel;
  request.make.size = 64;
  request.inputs = {kPicture};
  request.layer = "block3.relu";
  request.zoom_frames = 16;
  const MakeResult result = dream(request);
  EXPECT_EQ(result.pictures[1].steps, 12);  // 3 of 10 in each octave
  EXPECT_LT(result.pictures.back().saturation, 0.35);
}

TEST(Dream, FollowsAGuide) {
  DreamRequest request;
  request.make.model.path = kModel;
  request.make.size = 64;
  request.inputs = {kPicture};
  request.guide = kPicture;
  request.layer = "block2.relu";
  const MakeResult result = dream(request);
  EXPECT_GT(result.pictures.at(0).objective, result.pictures.at(0).objective_start);
  request.channel = 3;
  test::expect_error(ErrorKind::kUsage, "dream: a guide or a channel, not both", [&] { dream(request); });
}

// Without steps nothing changes but the rounding of octaves, also when the network would see parts.
TEST(Dream, OfNoStepsIsThePicture) {
  const test::TemporaryFolder folder;
  DreamRequest request;
  request.make.model.path = kModel;
  request.inputs = {kPicture};
  request.layer = "block2.relu";
  request.make.tile = 64;
  Recipe recipe = find_recipe("deepdream").recipe;
  for (RecipeStage& stage : recipe.stages) stage.steps = 0;
  request.make.recipe = folder.write("still.json", recipe_text(recipe));
  const MadePicture made = dream(request).pictures.at(0);
  const Image source = decode_image(kPicture);
  double worst = 0;
  for (int y = 0; y < source.height; ++y) {
    for (int x = 0; x < source.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        worst = std::max(worst, std::abs(made.image[c][y][x].item<double>() - source.at(x, y)[c] / 255.0));
      }
    }
  }
  EXPECT_LT(worst, 1e-6);
}

// The code of a picture, stored and read back, is inverted as the picture itself is.
TEST(Invert, StoredCodesAreThoseOfPictures) {
  const test::TemporaryFolder folder;
  InvertRequest request;
  request.make.model.path = kModel;
  request.make.steps = 60;
  request.inputs = {kPicture};
  request.layers = {"block1.relu"};
  const MadePicture of_picture = invert(request).pictures.at(0);
  EXPECT_GT(of_picture.feature_error, 0);
  EXPECT_NEAR(of_picture.feature_error, std::sqrt(-of_picture.objective), 1e-7);
  const LoadedModel model = load_model(request.make.model);
  const Picture picture = load_picture(kPicture, "p", model);
  const LayerTable layers(model.network, {picture.input.sizes().vec()});
  Request capture;
  capture.capture = {layers.find("block1.relu")};
  const Tensor code = model.network.run({picture.input}, capture).at(capture.capture[0]).contiguous();
  request.inputs.clear();
  request.code = folder.file("code.npy");
  write_npy(request.code, code.data_ptr<float>(), code.sizes().vec());
  const MadePicture of_code = invert(request).pictures.at(0);
  EXPECT_TRUE(at::equal(of_code.image, of_picture.image));
  EXPECT_EQ(of_code.image.sizes(), (Shape{3, 128, 128}));
}

}  // namespace
}  // namespace pellucid
