#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "pellucid/attacks.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/npy_tensor.h"
#include "support/run_program.h"
#include "support/temporary_folder.h"
#include "synthesis/part.h"
#include "tasks/attacker.h"
#include "tasks/card_json.h"
#include "tasks/picture_maker.h"

namespace pellucid {
namespace {

const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";
const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

AttackRequest flower_request() {
  AttackRequest request;
  request.make.model.path = kModel;
  request.inputs = {kPicture};
  return request;
}

/// Rendered flowers, `per_class` of each class.
std::string flowers(const test::TemporaryFolder& folder, int64_t per_class) {
  DatasetRequest request;
  request.per_class = per_class;
  request.seed = 5;
  request.output = folder.file("flowers");
  write_dataset(request);
  return request.output + "/images";
}

// Files hold 8 bits, and what they hold is within the bound.
TEST(Attack, KeepsTheBoundInTheFile) {
  AttackRequest request = flower_request();
  for (const std::string recipe : {"fgsm", "bim", "pgd", "pgd-l2", "pgd-l0"}) {
    request.make.recipe = recipe;
    request.epsilon = recipe == "pgd-l2" ? 1000 : recipe == "pgd-l0" ? 200 : 6;
    const AttackedPicture made = attack(request).pictures.at(0);
    const double size = recipe == "pgd-l2"   ? 255 * made.change_norm
                        : recipe == "pgd-l0" ? static_cast<double>(made.change_pixels)
                                             : 255 * made.change_max;
    EXPECT_LE(size, request.epsilon + 1e-4) << recipe;
    EXPECT_GT(made.change_max, 0.5 / 255) << recipe;
    EXPECT_GT(made.objective, made.objective_start) << recipe;
    EXPECT_FALSE(made.control_fooled) << recipe;
  }
  // Half a step of eight bits is nothing.
  request.make.recipe = "fgsm";
  request.epsilon = 0.5;
  EXPECT_EQ(attack(request).pictures.at(0).change_max, 0);
  request.target = "no such class";
  EXPECT_THROW(attack(request), Error);
}

// The usual norms of two sizes, and a number that is given as it is.
TEST(Attack, NormGrowsWithThePicture) {
  const auto fitted = [](const char* name, int64_t width, int64_t height) {
    Recipe recipe = find_recipe(name, "attack").recipe;
    fit_epsilon(recipe, width, height);
    return bound_of(recipe).size;
  };
  EXPECT_NEAR(fitted("pgd-l2", 32, 32), 0.5 * 255, 1e-9);
  EXPECT_NEAR(fitted("pgd-l2", 224, 224), 3 * 255, 1e-9);
  EXPECT_NEAR(fitted("pgd-l2", 256, 64), 1.75 * 255, 1e-9);  // as many pixels as 128x128, halfway
  EXPECT_NEAR(fitted("pgd-l2", 1, 1), 0.1 * 255, 1e-9);
  EXPECT_EQ(fitted("pgd-l0", 224, 224), 500);
  EXPECT_EQ(fitted("pgd-l0", 32, 32), 10);
  AttackRequest request = flower_request();
  request.make.recipe = "pgd-l2";
  const AttackedPicture made = attack(request).pictures.at(0);
  EXPECT_EQ(made.image.width, 128);
  EXPECT_NEAR(bound_of(made.recipe).size, 1.75 * 255, 1e-9);
  EXPECT_LE(made.change_norm, 1.75 + 1e-6);
  request.epsilon = 100;
  EXPECT_NEAR(bound_of(attack(request).pictures.at(0).recipe).size, 100, 1e-9);
}

// Nothing is fooled by an answer that stays.
TEST(Attack, TargetThatIsTheAnswerAlreadyDoesNotCount) {
  AttackRequest request = flower_request();
  request.target = "petals-yellow";
  const AttackedPicture made = attack(request).pictures.at(0);
  EXPECT_FALSE(made.fooled);
  EXPECT_FALSE(made.control_fooled);
  ASSERT_FALSE(made.notes.empty());
  EXPECT_EQ(made.notes.front(), "the target is the answer already: there is nothing to fool");
  request.epsilon = 0;
  test::expect_error(ErrorKind::kUsage, "epsilon must be above 0 (-1 takes the recipe's)", [&] { attack(request); });
}

// Linear scores of 8x8 pixels: one sign step is the best change there is.
TEST(Attack, SmallPicturesAreAttacked) {
  const test::TemporaryFolder folder;
  test::LayerBuilder b(4, {1, 3, 8, 8});
  b.node("Flatten", "flat", {"x"});
  const Tensor w = b.random.normal({2, 192});
  b.gemm_with("logits", "flat", w);
  save_onnx(b.finish("logits"), folder.file("linear.onnx"));
  save_png(folder.file("gray.png"), Image(8, 8, 3, 128));
  AttackRequest request;
  request.make.model.path = folder.file("linear.onnx");
  request.make.model.preset = "none";
  request.make.recipe = "fgsm";
  request.inputs = {folder.file("gray.png")};
  const AttackedPicture made = attack(request).pictures.at(0);
  const int64_t k = made.before.front().index;
  const Tensor change = display_from_image(made.image) - display_from_image(made.source);
  const Tensor signs = (w[1 - k] - w[k]).sign().view({1, 3, 8, 8}).to(at::kFloat);
  EXPECT_LT((change - signs * 4 / 255).abs().max().item<double>(), 1e-6);
}

TEST(Attack, ReachesATargetAndStopsThere) {
  AttackRequest request = flower_request();
  request.target = "3";
  request.epsilon = 24;
  request.make.steps = 40;
  const AttackedPicture made = attack(request).pictures.at(0);
  EXPECT_TRUE(made.fooled);
  EXPECT_EQ(made.goal, 3);
  EXPECT_EQ(made.after.at(0).index, 3);
  EXPECT_LT(made.steps, 40);
  request.all_steps = true;
  const AttackedPicture whole = attack(request).pictures.at(0);
  EXPECT_EQ(whole.steps, 40);
  EXPECT_GT(whole.after.at(0).probability, made.after.at(0).probability);
  request.target = "least-likely";
  PredictRequest all;
  all.model = request.make.model;
  all.run.inputs = request.inputs;
  all.top = 6;
  EXPECT_EQ(attack(request).pictures.at(0).goal, predict(all).pictures.at(0).classes.at(5).index);
}

// A card that resizes and cuts undoes an attack on what the model sees, not one through the resizing.
TEST(Attack, FoolsWhenTheFileIsReadAgain) {
  const test::TemporaryFolder folder;
  AttackRequest request = flower_request();
  ModelCard card = load_card(PELLUCID_SOURCE_DIR "/models/flower_single_6c.json");
  card.resize = ResizePolicy::kCenterCrop;
  card.resize_to = 150;
  save_card(card, folder.file("card.json"));
  request.make.model.card = folder.file("card.json");
  request.make.output = folder.file("out");
  request.own_size = true;
  request.epsilon = 24;
  request.make.steps = 30;
  const AttackResult result = attack(request);
  const AttackedPicture& made = result.pictures.at(0);
  EXPECT_TRUE(made.fooled);
  ASSERT_TRUE(made.fools_after_reload.has_value());
  EXPECT_TRUE(*made.fools_after_reload);
  const Image written = decode_image(folder.file("out/" + made.image_file));
  EXPECT_EQ(written.width, 256);
  EXPECT_EQ(written.pixels, made.image.pixels);
  EXPECT_LE(255 * made.change_max, 24 + 1e-4);
  // A second reader with nothing in common but the file.
  PredictRequest predict_request;
  predict_request.model = request.make.model;
  predict_request.run.inputs = {folder.file("out/" + made.image_file)};
  EXPECT_NE(predict(predict_request).pictures.at(0).classes.at(0).index, made.before.at(0).index);
}

// The differentiable resizing is that of the loader, up to its rounding to 8 bits.
TEST(Attack, SeesPicturesAsTheLoaderDoes) {
  LoadedModel model = load_model(flower_request().make.model);
  const Image photo = crop(decode_image(kPicture), {10, 20, 200, 151});
  for (const ResizePolicy policy : {ResizePolicy::kStretch, ResizePolicy::kCenterCrop, ResizePolicy::kLetterbox}) {
    model.card.resize = policy;
    model.card.resize_to = policy == ResizePolicy::kCenterCrop ? 146 : 0;
    SynthesisContext context{model.network, model.card};
    context.by_card = true;
    const Tensor seen = network_input(context, display_from_image(photo), false);
    const Tensor loaded = picture_from_image(photo, "", "", model).input;
    const double unit =
        (model.card.model_from_display(at::ones({1, 3, 1, 1})) - model.card.model_from_display(at::zeros({1, 3, 1, 1})))
            .max()
            .item<double>();
    EXPECT_LE((seen - loaded).abs().max().item<double>(), 1.01 / 255 * unit) << static_cast<int>(policy);
    EXPECT_LE((seen - loaded).abs().mean().item<double>(), 0.5 / 255 * unit) << static_cast<int>(policy);
  }
}

// DeepFool's way to the boundary is at most a fifth longer than the shortest that steps within balls find, on nearly
// all pictures: within balls a fifth smaller they find none, within larger ones they do.
TEST(Attack, DeepFoolFindsShortWays) {
  const test::TemporaryFolder folder;
  AttackRequest request = flower_request();
  request.inputs = {flowers(folder, 1)};
  request.make.recipe = "deepfool";
  const AttackResult deepfool = attack(request);
  ASSERT_EQ(deepfool.pictures.size(), 6u);
  request.make.recipe = "pgd-l2";
  request.make.steps = 20;
  request.all_steps = true;
  int short_ways = 0, found = 0;
  for (const AttackedPicture& p : deepfool.pictures) {
    ASSERT_GT(p.unrounded_norm, 0) << p.name;
    request.inputs = {p.path};
    request.epsilon = 255 * p.unrounded_norm / 1.2;
    short_ways += attack(request).pictures.at(0).fooled_unrounded ? 0 : 1;
    request.epsilon = 255 * p.unrounded_norm * 1.6;
    found += attack(request).pictures.at(0).fooled_unrounded ? 1 : 0;
  }
  EXPECT_GE(short_ways, 5);
  EXPECT_GE(found, 5);
}

TEST(AttackCurve, LargerChangesFoolNoFewerPictures) {
  const test::TemporaryFolder folder;
  AttackCurveRequest request;
  request.attack = flower_request();
  request.attack.inputs = {flowers(folder, 1)};
  request.attack.make.output = folder.file("out");
  request.recipes = {"bim", "fgsm"};
  request.epsilons = {0.5, 2, 8, 24};
  const AttackCurveResult result = attack_curve(request);
  ASSERT_EQ(result.curves.size(), 3u);
  EXPECT_EQ(result.pictures, 6);
  const AttackCurve& bim = result.curves[0];
  for (size_t i = 1; i < 4; ++i) EXPECT_GE(bim.success[i], bim.success[i - 1]);
  EXPECT_GT(bim.success[3], 0.6);
  EXPECT_EQ(bim.success_rounded[0], 0);
  EXPECT_EQ(result.curves[2].name, "noise");
  EXPECT_LE(result.curves[2].success[2], 1.0 / 6);
  const std::string csv = test::file_text(folder.file("out/curve.csv"));
  EXPECT_EQ(csv.substr(0, csv.find('\n')), "epsilon,bim,bim rounded,fgsm,fgsm rounded,noise,noise rounded");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_GT(decode_image(folder.file("out/curve.png")).width, 300);
  request.recipes = {"no"};
  EXPECT_THROW(attack_curve(request), Error);
}

// One change within its bound fools pictures that it was not made from, and more of them than noise does.
TEST(UniversalAttack, FoolsPicturesItHasNotSeen) {
  const test::TemporaryFolder folder;
  UniversalRequest request;
  request.attack = flower_request();
  request.attack.inputs = {flowers(folder, 4)};
  request.attack.make.output = folder.file("out");
  request.attack.epsilon = 60;
  request.epochs = 3;
  request.held_out = 0.34;
  const UniversalResult result = universal_attack(request);
  EXPECT_EQ(result.training_pictures, 16);
  EXPECT_EQ(result.held_out_pictures, 8);
  EXPECT_LE(result.change.abs().max().item<double>(), 60.0 / 255 + 1e-7);
  EXPECT_GT(result.held_out_rate, result.noise_rate);
  EXPECT_GT(result.training_rates.back(), 0.3);
  EXPECT_TRUE(test::load_npy(folder.file("out/change.npy")).equal(result.change));
  request.attack.inputs = {kPicture};
  test::expect_error(ErrorKind::kUsage, "universal: 1 pictures are not enough; 2 are needed",
                     [&] { universal_attack(request); });
}

}  // namespace
}  // namespace pellucid
