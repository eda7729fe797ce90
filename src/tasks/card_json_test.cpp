#include "tasks/card_json.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

TEST(CardJson, EveryPresetSurvivesTheRoundTrip) {
  for (const std::string& name : card_presets()) {
    ModelCard card = card_from_preset(name);
    card.width = 31;
    card.height = 17;
    card.resize = ResizePolicy::kLetterbox;
    card.resize_to = 40;
    card.channels_first = false;
    card.default_layer = "a/b";
    card.labels = {"x", "\"quoted\" <b>"};
    const ModelCard again = card_from_json(json_text(card_json(card)), "card.json", ".");
    EXPECT_EQ(json_text(card_json(again)), json_text(card_json(card))) << name;
    EXPECT_EQ(again.mean, card.mean);
    EXPECT_EQ(again.labels, card.labels);
  }
}

TEST(CardJson, FieldsChangeThePresetTheyStartFrom) {
  const ModelCard card =
      card_from_json(R"({"preset": "imagenet", "width": 99, "channel_order": "bgr"})", "c.json", ".");
  const ModelCard preset = card_from_preset("imagenet");
  EXPECT_EQ(card.width, 99);
  EXPECT_EQ(card.order, ChannelOrder::kBgr);
  EXPECT_EQ(card.mean, preset.mean);
  EXPECT_EQ(card.std, preset.std);
}

// A card that adds labels or a layer leaves the preprocessing that the model's file states.
TEST(CardJson, WhatIsLeftOutIsGuessed) {
  ModelCard guess = card_from_preset("cifar10");
  guess.width = guess.height = 32;
  guess.channels_first = false;
  guess.labels_file = "labels.txt";
  const ModelCard labels = card_from_json(R"({"labels": ["a"]})", "c.json", ".", guess);
  EXPECT_EQ(labels.mean, guess.mean);
  EXPECT_EQ(labels.scale, guess.scale);
  EXPECT_EQ(labels.labels, std::vector<std::string>{"a"});
  EXPECT_FALSE(labels.channels_first);
  // Preprocessing that is given is not mixed with what was guessed.
  const ModelCard own = card_from_json(R"({"mean": [1, 2, 3]})", "c.json", ".", guess);
  EXPECT_EQ(own.scale, 1);
  EXPECT_EQ(own.std, std::vector<double>{1});
  EXPECT_EQ(own.labels_file, "labels.txt");
  EXPECT_EQ(card_from_json(R"({"preset": "imagenet"})", "c.json", ".", guess).mean, card_from_preset("imagenet").mean);
}

TEST(CardJson, SavedCardIsReadBack) {
  const test::TemporaryFolder folder;
  ModelCard card = card_from_preset("cifar10");
  card.labels = {"cat"};
  save_card(card, folder.file("c.json"));
  EXPECT_EQ(json_text(card_json(load_card(folder.file("c.json")))), json_text(card_json(card)));
}

TEST(CardJson, LabelsAreMadePrintable) {
  const ModelCard card = card_from_json("{\"labels\": [\"a\\u001b[31m\"]}", "c.json", ".");
  EXPECT_EQ(card.labels.front(), "a?[31m");
}

TEST(CardJson, WrongTypesAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"width": 1.5})", "'width' must be an integer between 0 and 16384"},
      {R"({"height": -1})", "'height' must be an integer between 0 and 16384"},
      {R"({"resize": 3})", "'resize' must be a string"},
      {R"({"resize": "crop"})", "'resize' is 'crop'; one of stretch, center-crop, letterbox was expected"},
      {R"({"channels_first": "yes"})", "'channels_first' must be true or false"},
      {R"({"scale": null})", "'scale' must be a number"},
      {R"({"mean": []})", "'mean' must be a list of one number per channel"},
      {R"({"mean": 0.5})", "'mean' must be a list of one number per channel"},
      {R"({"std": [1, "1"]})", "'std' must be a list of numbers"},
      {R"({"labels": [1]})", "'labels' must be a list of strings"},
      {R"({"labels": {}})", "'labels' must be a list of strings, or the name of a file beside the card"},
      {R"({"labels": ""})", "'labels' must be a list, or the name of a file beside the card"},
      {R"({"labels": "a/../../b"})", "'labels' must be a list, or the name of a file beside the card"},
      {R"(3)", "a JSON object was expected"},
  };
  for (const auto& [text, problem] : cases) {
    test::expect_error(ErrorKind::kInvalidInput, std::string("c.json: ") + problem,
                       [text = text] { card_from_json(text, "c.json", "."); });
  }
}

// Bytes that are no UTF-8 and numbers that JSON does not have must not make the result unreadable.
TEST(CardJson, JsonTextIsAlwaysJson) {
  const std::string text = json_text({{"name", "a\xff"}, {"gap", std::nan("")}});
  const auto json = nlohmann::json::parse(text);
  EXPECT_TRUE(json["gap"].is_null());
  EXPECT_EQ(json["name"], "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace pellucid
