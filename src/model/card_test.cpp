#include <gtest/gtest.h>

#include "pellucid/model.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-12, 1e-12};

Graph graph_of(const Shape& input, at::ScalarType type = at::kFloat) {
  GraphBuilder b;
  b.set_name("net");
  b.input("x", input, type);
  b.node("Identity", {"x"}, {"y"});
  b.output("y");
  return b.finish();
}

// 8-bit 255 of the first channel of imagenet: (1 - 0.485) / 0.229.
TEST(ModelCard, BringsPicturesIntoTheModelsRangeAndBack) {
  const Tensor white = at::ones({1, 3, 2, 2}, at::TensorOptions(at::kDouble));
  const auto first = [&](const char* preset) {
    const ModelCard card = card_from_preset(preset);
    const Tensor x = card.model_from_display(card.channels() == 1 ? white.narrow(1, 0, 1) : white);
    return x[0][0][0][0].item<double>();
  };
  EXPECT_NEAR(first("imagenet"), (1 - 0.485) / 0.229, 1e-12);
  EXPECT_NEAR(first("imagenet-tf"), 1, 1e-12);
  EXPECT_NEAR(first("caffe"), 255 - 103.939, 1e-9);  // blue first
  EXPECT_NEAR(first("mnist"), (1 - 0.1307) / 0.3081, 1e-12);
  EXPECT_NEAR(first("flower"), 2, 1e-12);
  EXPECT_NEAR(first("none"), 255, 1e-9);
  for (const std::string& name : card_presets()) {
    const ModelCard card = card_from_preset(name);
    const Tensor picture = Random(1).uniform({2, card.channels(), 3, 4});
    EXPECT_TRUE(within(card.display_from_model(card.model_from_display(picture)), picture, kExact)) << name;
    EXPECT_EQ(card.preset, name);
  }
}

TEST(ModelCard, LabelsFallBackToNumbers) {
  ModelCard card;
  card.labels = {"cat"};
  EXPECT_EQ(card.label(0), "cat");
  EXPECT_EQ(card.label(1), "class 1");
  EXPECT_EQ(card.label(-1), "class -1");
}

TEST(CardPresets, ListThemselvesWhenRefusing) {
  expect_error(
      ErrorKind::kUsage,
      "preset is 'imagnet'; imagenet, imagenet-tf, caffe, cifar10, mnist, flower, none are known; did you mean "
      "'imagenet'?",
      [] { card_from_preset("imagnet"); });
}

TEST(GuessedCard, FollowsTheInput) {
  const auto guessed = [](const Shape& shape) { return guess_card(graph_of(shape)); };
  EXPECT_EQ(guessed({-1, 3, 224, 224}).preset, "imagenet");
  EXPECT_EQ(guessed({-1, 3, 224, 224}).resize_to, 256);
  EXPECT_EQ(guessed({-1, 3, -1, -1}).width, 224);
  EXPECT_EQ(guessed({-1, 3, 32, 32}).preset, "cifar10");
  EXPECT_EQ(guessed({-1, 1, 28, 28}).preset, "mnist");
  EXPECT_EQ(guessed({-1, 1, 28, 28}).channels(), 1);
  const ModelCard last = guessed({-1, 299, 299, 3});
  EXPECT_EQ(last.preset, "imagenet-tf");
  EXPECT_FALSE(last.channels_first);
  EXPECT_EQ(last.height, 299);
  EXPECT_EQ(guessed({-1, 3, 48, 40}).preset, "none");
  EXPECT_EQ(guessed({-1, 3, 48, 40}).width, 40);
  ASSERT_EQ(guessed({-1, 3, 32, 32}).notes.size(), 1u);
  EXPECT_EQ(guessed({-1, 3, 32, 32}).notes[0],
            "preprocessing 'cifar10' guessed from an input of 3x32x32; set it with --preset or a card file");
}

TEST(GuessedCard, TrustsTheFile) {
  GraphBuilder b;
  b.input("x", {-1, 3, 32, 32});
  b.properties().metadata["pellucid.preset"] = "flower";
  b.node("Identity", {"x"}, {"y"});
  b.output("y");
  EXPECT_EQ(guess_card(b.finish()).preset, "flower");
}

TEST(FittedCard, RefusesWhatDoesNotFit) {
  const auto refused = [](ModelCard card, const Graph& graph, ErrorKind kind, const std::string& message) {
    expect_error(kind, message, [&] { fit_card(card, graph); });
  };
  refused(card_from_preset("imagenet"), graph_of({-1, 1, 28, 28}), ErrorKind::kUsage,
          "net: the model takes 1 channel but the card 'imagenet' makes 3");
  refused(card_from_preset("none"), graph_of({-1, 3, 8}), ErrorKind::kUnsupported,
          "net: its input has shape [-1,3,8]; a picture [N,C,H,W] or [N,H,W,C] is supported");
  refused(card_from_preset("none"), graph_of({-1, 3, 8, 8}, at::kBool), ErrorKind::kUnsupported,
          "net: its input 'x' is bool; a picture of numbers is supported");
  ModelCard bad_std = card_from_preset("none");
  bad_std.std = {1, 0, 1};
  refused(bad_std, graph_of({-1, 3, 8, 8}), ErrorKind::kUsage, "card: std is 0; it must be positive");
  ModelCard two = card_from_preset("none");
  two.mean = {1, 2};
  refused(two, graph_of({-1, 3, 8, 8}), ErrorKind::kUsage, "card: mean has 2 numbers; 3 channels need as many");
}

TEST(FittedCard, SpreadsOneNumberOverTheChannels) {
  ModelCard card;
  card.mean = {0.5};
  card.std = {2};
  fit_card(card, graph_of({-1, 3, 8, 10}));
  EXPECT_EQ(card.mean, (std::vector<double>{0.5, 0.5, 0.5}));
  EXPECT_EQ(card.std, (std::vector<double>{2, 2, 2}));
  EXPECT_EQ(card.height, 8);
  EXPECT_EQ(card.width, 10);
}

TEST(Labels, AreReadLineByLine) {
  const TemporaryFolder folder;
  const std::string path = folder.write("labels.txt", "cat\r\ndog\n\x1b[31mred\n\nlast\n");
  EXPECT_EQ(read_labels(path), (std::vector<std::string>{"cat", "dog", "?[31mred", "", "last"}));
}

}  // namespace
}  // namespace pellucid::test
