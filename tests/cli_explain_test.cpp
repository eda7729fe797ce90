// What `explain` and `predict` do with masks, boxes, regions, backgrounds, videos and segments, and with pictures that
// fail one by one.

#include <cmath>

#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/segment.h"
#include "pellucid/video.h"
#include "support/cli_fixture.h"
#include "support/npy_tensor.h"

namespace pellucid::test {
namespace {

/// Two dense classes: red and green of the input, which arrives as it is.
OnnxModel dense_model(int64_t classes = 2) {
  OnnxModel m;
  m.input("x", {-1, 3, -1, -1});
  std::vector<float> kernel(static_cast<size_t>(3 * classes), 0.0f);
  for (int64_t c = 0; c < classes; ++c) kernel[static_cast<size_t>(3 * c + c)] = 1;
  m.floats("w", {classes, 3, 1, 1}, kernel);
  m.node("Conv", {"x", "w"}, {"y"}, "conv");
  m.output("y");
  return m;
}

/// Cuts the middle 4 x 4 out of 8 x 4.
const json kCropCard{{"preset", "none"}, {"width", 4}, {"height", 4}, {"resize", "center-crop"}, {"resize_to", 4}};

Image plain_mask(int width, int height, const Rect& inside) {
  Image mask(width, height, 1, 0);
  paste(mask, Image(inside.width, inside.height, 1, 255), inside.x, inside.y);
  return mask;
}

// Red is 7 everywhere, so the score of class 0 is 7 for each pixel of the mask that the crop leaves: of columns 1..3
// of the picture it keeps 2 and 3.
TEST_F(Cli, MaskOfADenseTargetFollowsTheCrop) {
  folder.write("m.onnx", dense_model().bytes());
  folder.write("crop.json", kCropCard.dump());
  folder.write("box.json", json{{"preset", "none"}, {"width", 8}, {"height", 8}, {"resize", "letterbox"}}.dump());
  Image photo(8, 4, 3, 0);
  for (size_t i = 0; i < photo.pixels.size(); i += 3) photo.pixels[i] = 7;
  save_png(folder.file("p.png"), photo);
  fs::create_directory(folder.file("masks"));
  save_png(folder.file("masks/p.png"), plain_mask(8, 4, {1, 0, 3, 4}));
  const auto score = [&](const Words& more) {
    Words all{"explain", "m.onnx", "p.png", "-o", "o", "-m", "gradient", "-t", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return good_json(all)["pictures"][0]["maps"][0]["score"].get<double>();
  };
  EXPECT_DOUBLE_EQ(score({"--card", "crop.json", "--mask", "masks/p.png"}), 7 * 2 * 4);
  EXPECT_DOUBLE_EQ(score({"--card", "crop.json", "--mask", "masks"}), 7 * 2 * 4);
  EXPECT_DOUBLE_EQ(score({"--card", "crop.json", "--box", "1,0,3,4"}), 7 * 2 * 4);
  EXPECT_DOUBLE_EQ(score({"--card", "box.json", "--mask", "masks"}), 7 * 3 * 4);
  bad({"explain", "m.onnx", "p.png", "--card", "crop.json", "--box", "6,0,3,4"}, 3,
      "box 6,0,3,4 leaves the picture of 8x4");
  bad({"explain", "m.onnx", "p.png", "--box", "6,0,0,4"}, 2,
      "box is '6,0,0,4'; X,Y,WIDTH,HEIGHT in pixels of the picture was expected");
}

TEST_F(Cli, MethodsAreAListThatMayBeRepeated) {
  const json r = good_json(
      {"explain", kModel, kPicture, "-o", "o", "-m", "gradient,saliency", "-m", "smoothgrad", "--samples", "2"});
  std::vector<std::string> made;
  for (const json& map : r["pictures"][0]["maps"]) made.push_back(map["method"]);
  EXPECT_EQ(made, (std::vector<std::string>{"gradient:gradient_domain=model", "saliency:gradient_domain=model",
                                            "smoothgrad:samples=2,noise=0.15"}));
}

// As a shell passes a variable that is not set.
TEST_F(Cli, OutputsNeedAName) {
  for (const char* verb : {"explain", "attack"}) {
    bad({verb, kModel, kPicture, "-o", ""}, 2, std::string(verb) + ": --output is empty; a name was expected");
  }
}

TEST_F(Cli, MasksThatAreBadMissingOrCutAwayConcernTheirPictureOnly) {
  folder.write("m.onnx", dense_model().bytes());
  folder.write("crop.json", kCropCard.dump());
  for (const char* name : {"bad", "cut", "empty", "good", "none", "size"}) {
    Image photo(8, 4, 3, 9);
    photo.at(3, 1)[0] = 200;
    photo.at(4, 1)[1] = 200;
    fs::create_directories(folder.file("in"));
    save_png(folder.file("in/" + std::string(name) + ".png"), photo);
  }
  folder.write("masks/bad.png", "no picture");
  save_png(folder.file("masks/cut.png"), plain_mask(8, 4, {0, 0, 1, 4}));
  save_png(folder.file("masks/empty.png"), Image(8, 4, 1, 0));
  save_png(folder.file("masks/good.png"), plain_mask(8, 4, {3, 0, 1, 4}));
  save_png(folder.file("masks/size.png"), Image(3, 3, 1, 255));
  const ProgramResult r = run(
      {"explain", "m.onnx", "in", "--card", "crop.json", "--mask", "masks", "-o", "o", "-m", "gradient", "-t", "0"});
  EXPECT_EQ(r.status, 3);
  std::map<std::string, json> by_name;
  const json written = result("o");
  for (const json& p : written["pictures"]) by_name[p["name"].get<std::string>()] = p;
  EXPECT_THAT(by_name["bad"]["error"].get<std::string>(), HasSubstr("masks/bad.png: not a picture"));
  EXPECT_EQ(by_name["size"]["error"], "size.png: the mask has 3x3 pixels but its picture 8x4");
  EXPECT_EQ(by_name["cut"]["notes"][0], "its mask lies outside of what the model sees and was not used");
  EXPECT_EQ(by_name["empty"]["notes"][0], "its mask is empty and was not used");
  EXPECT_EQ(by_name["none"]["notes"][0], "no mask for it in masks");
  EXPECT_FALSE(by_name["cut"]["maps"][0].contains("localization"));
  EXPECT_TRUE(by_name["good"]["maps"][0].contains("localization"));
  // One column of four; without a mask class 0 means where it wins, all but one pixel.
  EXPECT_DOUBLE_EQ(by_name["good"]["maps"][0]["score"].get<double>(), 200 + 3 * 9);
  EXPECT_DOUBLE_EQ(by_name["none"]["maps"][0]["score"].get<double>(), 200 + 14 * 9);
  // Hashes of what was read.
  EXPECT_EQ(by_name["good"]["sha256"], sha256_file(folder.file("in/good.png")));
  EXPECT_EQ(by_name["good"]["mask"]["sha256"], sha256_file(folder.file("masks/good.png")));
}

TEST_F(Cli, WhatIsNamedTwiceRunsOnce) {
  const json one = good_json({"explain", kModel, kPicture, "-o", "o", "-m", "grad-cam,grad-cam", "-t", "top1", "-t",
                              "top1", "-t", "petals-yellow"});
  const json& maps = one["pictures"][0]["maps"];
  ASSERT_EQ(maps.size(), 2u);
  EXPECT_EQ(maps[1]["notes"][0], "the same class as target 'top1'");
  EXPECT_FALSE(maps[0].contains("notes"));
}

TEST_F(Cli, OutputsMayBeNamedByPosition) {
  const json a = good_json({"explain", kModel, kPicture, "-o", "o", "-m", "gradient", "-t", "element:0:5"});
  const json b = good_json({"explain", kModel, kPicture, "-o", "o", "-m", "gradient", "-t", "5"});
  EXPECT_EQ(a["pictures"][0]["maps"][0]["score"], b["pictures"][0]["maps"][0]["score"]);
  const ProgramResult r = run({"explain", kModel, kPicture, "-t", "element:9:5"});
  EXPECT_EQ(r.status, 2);
  EXPECT_THAT(r.err, HasSubstr("no output '9'"));
  EXPECT_THAT(r.err, HasSubstr("the outputs are "));
}

// A network that makes pictures has no classes to rank.
TEST_F(Cli, PictureToPictureNetworksNeedATargetOfTheirOwn) {
  folder.write("style.onnx", dense_model(3).bytes());
  picture("p.png", 8);
  bad({"explain", "style.onnx", "p.png", "--size", "8"}, 2,
      "style.onnx: its output [1,3,8,8] is as large as the input and has the channels of a picture, not one score per "
      "class; name what to explain: element:0:C,Y,X, channel:LAYER:K, or a class index if it is a segmenter");
  good({"explain", "style.onnx", "p.png", "--size", "8", "-m", "gradient", "-t", "element:0:1,2,3", "-t",
        "channel:y:2"});
}

TEST_F(Cli, PicturesThatFailAloneDoNotStopTheOthers) {
  folder.write("m.onnx", small_model().bytes());
  const std::vector<float> ones(3 * 8 * 8, 1.0f);
  write_npy(folder.file("good.npy"), ones.data(), {3, 8, 8});
  std::vector<float> two = ones;
  two.insert(two.end(), ones.begin(), ones.end());
  two[3] = INFINITY;
  write_npy(folder.file("two.npy"), two.data(), {2, 3, 8, 8});
  std::vector<float> huge(3 * 8 * 8, 3e38f);
  write_npy(folder.file("huge.npy"), huge.data(), {3, 8, 8});
  write_npy(folder.file("dot.npy"), ones.data(), {3, 1, 1});
  const ProgramResult r =
      run({"explain", "m.onnx", "dot.npy", "good.npy", "huge.npy", "two.npy", "-o", "o", "-m", "grad-cam"});
  EXPECT_EQ(r.status, 3);
  std::map<std::string, json> by_name;
  const json written = result("o");
  for (const json& p : written["pictures"]) by_name[p["name"].get<std::string>()] = p;
  ASSERT_EQ(by_name.size(), 5u);
  const std::string overflow =
      "m.onnx: the network's scores are not finite; the first value that is not finite is 'c' (Conv 'conv')";
  EXPECT_EQ(by_name["two.0"]["error"], "two.npy: holds numbers that are not finite, in array 0");
  EXPECT_EQ(by_name["huge"]["error"], "huge.npy: " + overflow);
  EXPECT_THAT(by_name["dot"]["error"].get<std::string>(), HasSubstr("dot.npy: "));
  EXPECT_TRUE(by_name["good"].contains("maps"));
  EXPECT_TRUE(by_name["two.1"].contains("maps"));
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 3) << r.err;
  bad({"predict", "m.onnx", "huge.npy"}, 5, overflow);
}

// A linear layer that takes maps of 8 x 8 alone.
TEST_F(Cli, PredictGoesOnAfterPicturesThatTheNetworkCannotTake) {
  OnnxModel m;
  m.input("x", {-1, 3, -1, -1}).ones("w", {2, 3 * 8 * 8});
  m.node("Flatten", {"x"}, {"flat"}, "flatten");
  m.node("Gemm", {"flat", "w"}, {"logits"}, "fc").integer("transB", 1);
  m.output("logits");
  folder.write("m.onnx", m.bytes());
  const std::vector<float> ones(3 * 8 * 8, 1.0f);
  write_npy(folder.file("a.npy"), ones.data(), {3, 4, 4});
  write_npy(folder.file("b.npy"), ones.data(), {3, 8, 8});
  const ProgramResult r = run({"predict", "m.onnx", "a.npy", "b.npy", "--json"});
  EXPECT_EQ(r.status, 3);
  EXPECT_THAT(r.err, HasSubstr("pellucid: a.npy: "));
  const json list = json::parse(r.out);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_TRUE(list[0].contains("error"));
  EXPECT_EQ(list[1]["classes"][0]["logit"], 192);
  EXPECT_EQ(run({"predict", "m.onnx", "a.npy"}).status, 3);
}

TEST_F(Cli, FirstValueThatIsNotFiniteIsNamed) {
  OnnxModel m;
  m.input("x", {-1, 3, -1, -1}).ones("s", {3}).ones("b", {3}).ones("mean", {3}).floats("var", {3}, {1, -1, 1});
  m.node("Relu", {"x"}, {"map"}, "relu");
  m.node("BatchNormalization", {"map", "s", "b", "mean", "var"}, {"n"}, "norm");
  m.node("GlobalAveragePool", {"n"}, {"pool"}, "gap");
  m.node("Flatten", {"pool"}, {"logits"}, "flatten");
  m.output("logits");
  folder.write("m.onnx", m.bytes());
  picture("p.png", 8);
  const std::string line =
      "m.onnx: the network's scores are not finite; the first value that is not finite is 'n' (BatchNormalization "
      "'norm')";
  bad({"predict", "m.onnx", "p.png"}, 5, line);
  bad({"explain", "m.onnx", "p.png"}, 5, line);
}

// What no picture could fulfil ends the run with its own line; what was there from earlier stays.
TEST_F(Cli, WishesThatNoPictureFulfilsEndTheRunBeforeItWrites) {
  folder.write("m.onnx", small_model().bytes());
  picture("in/a.png", 8);
  picture("in/b.png", 8, 9);
  good({"explain", "m.onnx", "in", "-o", "o", "-m", "gradient,grad-cam"});
  const std::string before = file_text(folder.file("o/result.json"));
  const std::set<std::string> files = names("o");
  const auto refused = [&](const Words& wish, const std::string& line) {
    for (const std::string methods : {"gradient,grad-cam", "grad-cam", "all"}) {
      if (methods == "all" && wish[0] == "-l") continue;  // there it is a note
      Words all{"explain", "m.onnx", "in", "-o", "o", "-m", methods};
      all.insert(all.end(), wish.begin(), wish.end());
      bad(all, 2, line);
      EXPECT_EQ(file_text(folder.file("o/result.json")), before) << methods;
      EXPECT_EQ(names("o"), files) << methods;
    }
  };
  refused({"-t", "top1", "-t", "similarity"}, "target 'similarity' needs a reference picture");
  refused({"-t", "top3"}, "target 'top3': the model has 2 classes");
  refused({"-t", "channel:map:9"}, "target 'channel:map:9': index 9 is beyond the value's shape [1,2,224,224]");
  refused({"-l", "pool"},
          "layer 'pool' holds one position ([1,2,1,1]); class activation maps need a layer before the pooling");
}

// Class 1 wins nowhere in the first picture. That concerns the first alone, though the error is of the same kind as
// that of a wrong wish.
TEST_F(Cli, WishesThatOnePictureCannotFulfilConcernItAlone) {
  folder.write("m.onnx", dense_model().bytes());
  save_png(folder.file("a.png"), Image(8, 8, 3, 9));
  Image second(8, 8, 3, 9);
  second.at(2, 2)[1] = 200;
  save_png(folder.file("b.png"), second);
  const ProgramResult r =
      run({"explain", "m.onnx", "a.png", "b.png", "-o", "o", "-m", "gradient,saliency", "-t", "1", "--preset", "none"});
  EXPECT_EQ(r.status, 3);
  const json pictures = result("o")["pictures"];
  EXPECT_THAT(pictures[0]["error"].get<std::string>(), HasSubstr("wins nowhere in this picture"));
  EXPECT_EQ(pictures[1]["maps"].size(), 2u);
}

TEST_F(Cli, ReferenceMayBeAnArray) {
  folder.write("m.onnx", small_model().bytes());
  std::vector<float> two(2 * 3 * 8 * 8, 1.0f);
  write_npy(folder.file("one.npy"), two.data(), {3, 8, 8});
  write_npy(folder.file("two.npy"), two.data(), {2, 3, 8, 8});
  const auto with = [](const std::string& reference) {
    return Words{"explain",  "m.onnx", "one.npy",    "-o",          "o",      "-m",
                 "gradient", "-t",     "similarity", "--reference", reference};
  };
  EXPECT_NEAR(good_json(with("one.npy"))["pictures"][0]["maps"][0]["score"].get<double>(), 1, 1e-6);
  bad(with("two.npy"), 3, "two.npy: holds 2 arrays; one was expected as the reference");
}

TEST_F(Cli, CertaintyIsAHundredPercent) {
  OnnxModel m = small_model();
  for (const int i : {0, 1}) m.graph().mutable_initializer(1)->set_float_data(i, 1000);
  folder.write("m.onnx", m.bytes());
  picture("p.png", 8);
  good({"explain", "m.onnx", "p.png", "-o", "o", "--report", "--preset", "none"});
  EXPECT_THAT(file_text(folder.file("o/report.html")), HasSubstr("  100 %"));
}

TEST_F(Cli, PredictAnswersTheSameInBatches) {
  for (int i = 0; i < 9; ++i) picture("in/" + std::to_string(i) + ".png", 40 + i, 25 * i);
  const json one = good_json({"predict", kModel, "in", "--batch-size", "1"});
  const json many = good_json({"predict", kModel, "in", "--batch-size", "4"});
  ASSERT_EQ(one.size(), 9u);
  ASSERT_EQ(many.size(), 9u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(one[i]["path"], many[i]["path"]);
    EXPECT_EQ(one[i]["classes"][0]["index"], many[i]["classes"][0]["index"]);
    EXPECT_NEAR(one[i]["classes"][0]["logit"].get<double>(), many[i]["classes"][0]["logit"].get<double>(), 1e-4);
  }
}

TEST_F(Cli, HelpAndTablesFitTheTerminalWithoutCuttingWords) {
  ProgramOptions narrow;
  narrow.in_child = [] { ::setenv("COLUMNS", "80", 1); };
  const auto widest = [](const std::string& text) {
    size_t most = 0;
    for (const std::string& line : split(text, '\n')) most = std::max(most, line.size());
    return most;
  };
  const std::string help = good({"explain", "--help"}, narrow);
  const std::string joined = join(split(help, '\n'), " ");
  EXPECT_LE(widest(help), 80u);
  EXPECT_THAT(help, HasSubstr("(default 50)"));
  EXPECT_THAT(help, HasSubstr("between 1 and"));
  const std::string table = good({"methods"}, narrow);
  EXPECT_LE(widest(table), 80u);
  std::set<std::string> words;
  for (const std::string& line : split(table, '\n')) {
    for (const std::string& word : split(line, ' ')) words.insert(word);
  }
  for (const std::string& word : split(join(split(good({"methods"}), '\n'), " "), ' ')) {
    EXPECT_TRUE(words.count(word)) << word;
  }
  const std::string one = good({"methods", "integrated-gradients"}, narrow);
  EXPECT_THAT(one, HasSubstr("steps"));
  EXPECT_LE(
      widest(good({"explain", kModel, kPicture, "-m", "integrated-gradients:steps=2,smoothgrad:samples=2"}, narrow)),
      400u);
  EXPECT_EQ(good({"explain", "--version"}), good({"--version"}));
}

TEST_F(Cli, FramesOfVideosAreInputs) {
  VideoWriter writer(folder.file("clip.avi"), 64, 64, 10);
  for (int k = 0; k < 7; ++k) writer.add(gradient_picture(64, 64, 30 * k));
  writer.close();
  const json one =
      good_json({"explain", kModel, "clip.avi", "-o", "o", "--every", "3", "--max-frames", "2", "--video"});
  ASSERT_EQ(one["pictures"].size(), 2u);
  EXPECT_EQ(one["pictures"][0]["name"], "clip.frame0000");
  EXPECT_EQ(one["pictures"][1]["name"], "clip.frame0003");
  EXPECT_EQ(one["pictures"][1]["sha256"], sha256_file(folder.file("clip.avi")));
  EXPECT_TRUE(fs::exists(folder.file("o/clip.frame0003.grad-cam.png")));
  EXPECT_EQ(one["videos"], json::array({"clip.grad-cam.avi"}));
  VideoReader overlays(folder.file("o/clip.grad-cam.avi"));
  Image frame;
  int count = 0;
  while (overlays.next(frame)) ++count;
  EXPECT_EQ(count, 2);
  EXPECT_EQ(good_json({"predict", kModel, "clip.avi"}).size(), 7u);
  const std::string whole = file_text(folder.file("clip.avi"));
  folder.write("cut.avi", whole.substr(0, 60));
  bad({"explain", kModel, "cut.avi"}, 3,
      "cut.avi: cannot be read as a video: the file is damaged, or of a codec this OpenCV lacks");
}

TEST_F(Cli, SegmentsAreWrittenScoredAndRecorded) {
  const json one = good_json(
      {"explain", kModel, kPicture, "-o", "o", "-m", "saliency,grad-cam", "--segment", "grabcut", "--mask", kMask});
  for (const json& map : one["pictures"][0]["maps"]) {
    const json& s = map["segment"];
    EXPECT_EQ(s["by"], "grabcut");
    const Image mask = decode_mask(folder.file("o/" + s["mask"].get<std::string>()));
    const Image truth = decode_mask(kMask);
    ASSERT_EQ(mask.width, 256);
    const Rect box = bounding_box(mask);
    EXPECT_EQ(s["box"]["x"], box.x);
    EXPECT_EQ(s["box"]["width"], box.width);
    EXPECT_NEAR(s["iou"].get<double>(), mask_iou(mask, truth), 1e-12);
    EXPECT_TRUE(fs::exists(folder.file("o/" + s["cutout"].get<std::string>())));
  }
  const json boxes = good_json({"explain", kModel, kPicture, "-o", "b", "--segment", "box", "--box-threshold", "0.5"});
  EXPECT_EQ(boxes["pictures"][0]["maps"][0]["segment"]["threshold"], 0.5);
  bad({"explain", kModel, kPicture, "--box-threshold", "0.5"}, 2, "box-threshold needs --segment box");
}

// The middle 4 x 4 of 8 x 4 is seen, magnified by nothing: position (1,2) of the input is (3,2) of the photo. The map
// of hires-cam is red's own value there.
TEST_F(Cli, BoxesAreInPixelsOfThePhotoThroughTheCrop) {
  folder.write("m.onnx", small_model().bytes());
  folder.write("crop.json", kCropCard.dump());
  Image photo(8, 4, 3, 0);
  photo.at(3, 2)[0] = 250;
  photo.at(0, 0)[0] = 250;  // cut away
  save_png(folder.file("p.png"), photo);
  const json one = good_json({"explain", "m.onnx", "p.png", "--card", "crop.json", "-o", "o", "-m", "hires-cam", "-t",
                              "0", "--segment", "box"});
  EXPECT_EQ(one["pictures"][0]["maps"][0]["segment"]["box"], (json{{"x", 3}, {"y", 2}, {"width", 1}, {"height", 1}}));
  save_png(folder.file("black.png"), Image(8, 4, 3, 0));
  const json blank = good_json({"explain", "m.onnx", "black.png", "--card", "crop.json", "-o", "o", "-m", "hires-cam",
                                "-t", "0", "--segment", "grabcut"});
  EXPECT_THAT(blank["pictures"][0]["maps"][0]["notes"].get<std::vector<std::string>>(),
              Contains("no segment: the map has no contrast"));
}

TEST_F(Cli, RegionsAndBackgroundsAreReadAndHashedOrRefused) {
  picture("p.png", 16);
  Image labels(16, 16, 3, 0);
  for (int y = 0; y < 8; ++y) labels.at(2, y)[1] = 9;
  save_png(folder.file("labels.png"), labels);
  for (int i = 0; i < 3; ++i) picture("bg/" + std::to_string(i) + ".png", 20, 50 * i);
  const json one = good_json({"explain", kModel, "p.png", "-o", "o", "-m", "gradient", "--regions", "labels.png",
                              "--background", "bg", "--background-count", "2"});
  EXPECT_EQ(one["pictures"][0]["regions"]["sha256"], sha256_file(folder.file("labels.png")));
  ASSERT_EQ(one["background_files"].size(), 2u);
  EXPECT_EQ(one["background_files"][1]["path"], "bg/1.png");
  bad({"explain", kModel, "p.png", "--regions", "none.png"}, 3, "regions 'none.png': no such file or folder");
  fs::create_directory(folder.file("empty"));
  bad({"explain", kModel, "p.png", "--regions", "empty"}, 3, "p.png: no regions for it in empty");
  picture("photo.png", 128);
  Image photo(128, 128, 3);
  for (size_t i = 0; i < photo.pixels.size(); ++i)
    photo.pixels[i] = static_cast<uint8_t>(static_cast<uint32_t>(i * i) * 2654435761u >> 13);
  save_png(folder.file("noise.png"), photo);
  bad({"explain", kModel, "photo.png", "--regions", "noise.png"}, 3,
      "noise.png: more than 4096 colors; a label picture has one color for each region");
}

// A row of its own for each target: with two methods and two targets, photo and two maps above, two maps below.
TEST_F(Cli, SheetsBeginARowForEachTarget) {
  good({"explain", kModel, kPicture, "-o", "o", "-m", "grad-cam,saliency", "-t", "top1", "-t", "top2"});
  const Image sheet = decode_image(folder.file("o/flower.sheet.png"));
  EXPECT_GT(sheet.width, 3 * 256);
  EXPECT_LT(sheet.width, 4 * 256);
  EXPECT_GT(sheet.height, 2 * 256);
  EXPECT_LT(sheet.height, 3 * (256 + 70));  // a third row would have its captions too
}

}  // namespace
}  // namespace pellucid::test
