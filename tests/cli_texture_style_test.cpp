// `pellucid texture`, `style`, `stylize` and interpolation from the command line.

#include <algorithm>
#include <array>
#include <cmath>

#include "support/cli_fixture.h"

namespace pellucid::test {
namespace {

/// Checks of `period` pixels in two colors.
Image checks(int side, int period, std::array<uint8_t, 3> one, std::array<uint8_t, 3> other) {
  Image image(side, side, 3);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const auto& color = (x / period + y / period) % 2 == 0 ? one : other;
      std::copy(color.begin(), color.end(), image.at(x, y));
    }
  }
  return image;
}

class CliTexture : public Cli {
 protected:
  CliTexture() {
    save_png(folder.file("red.png"), checks(48, 8, {220, 40, 30}, {120, 10, 10}));
    save_png(folder.file("blue.png"), checks(48, 8, {30, 60, 230}, {10, 10, 120}));
    picture("content.png", 48);
  }

  static Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// The one picture of a quick run.
  json made(const Words& words, const std::string& out) const {
    const json all = good_json(with(words, {"-o", out}));
    EXPECT_EQ(result(out).at("pictures"), all.at("pictures"));
    EXPECT_EQ(all.at("pictures").size(), 1u);
    return all.at("pictures").at(0);
  }
  json styled(const Words& more, const std::string& out) const {
    return made(with({"style", kModel, "content.png", "--style", "red.png"}, more), out);
  }
  Image written(const std::string& out, const json& p) const {
    return decode_image(folder.file(out + "/" + p.at("image").get<std::string>()));
  }
  /// Red minus blue, on average over columns.
  static double redness(const Image& image, int first, int last) {
    double sum = 0;
    for (int y = 0; y < image.height; ++y) {
      for (int x = first; x < last; ++x) sum += image.at(x, y)[0] - image.at(x, y)[2];
    }
    return sum / (image.height * (last - first));
  }
  static double redness(const Image& image) { return redness(image, 0, image.width); }
  static double measure(const json& p, const std::string& name, const char* field = "value") {
    for (const json& m : p.at("measures")) {
      if (m.at("name") == name) return m.at(field);
    }
    ADD_FAILURE() << "no measure " << name;
    return NAN;
  }
};

TEST_F(CliTexture, TextureTakesTheShippedEncoderWithoutAModel) {
  const json p = made({"texture", "red.png", "--steps", "12", "--scales", "1"}, "t");
  EXPECT_EQ(fs::path(result("t").at("model").at("path").get<std::string>()).filename(), "texture_encoder.onnx");
  EXPECT_EQ(names("t"), (std::set<std::string>{"red.gatys2015.png", "red.gatys2015.npy", "sheet.png", "result.json"}));
  EXPECT_LT(p.at("objective_start"), 0);
  EXPECT_GT(p.at("objective").get<double>(), 0.2 * p.at("objective_start").get<double>());
  const Image image = written("t", p);
  EXPECT_EQ(image.width, 48);
  EXPECT_GT(redness(image), 50);
  // By its name it is the same.
  const json named = made({"texture", "texture-encoder", "red.png", "--steps", "12", "--scales", "1"}, "named");
  EXPECT_EQ(named.at("objective"), p.at("objective"));
}

TEST_F(CliTexture, TextureInScalesOfAnotherSizeWithAnotherModel) {
  const json p = made({"texture", kModel, "blue.png", "--picture-size", "64", "--source-size", "32", "--scales", "2",
                       "--steps", "12", "--seed", "3"},
                      "t");
  const json& stages = p.at("recipe").at("stages");
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].at("steps"), 8);
  EXPECT_EQ(stages[1].at("steps"), 4);
  EXPECT_EQ(stages[1].at("scale"), 2);
  EXPECT_EQ(p.at("steps"), 12);
  const Image image = written("t", p);
  EXPECT_EQ(image.width, 64);
  EXPECT_LT(redness(image), -50);
}

TEST_F(CliTexture, StylesGoWhereTheirMasksAre) {
  Image left(24, 24, 1), right(24, 24, 1), all(8, 8, 1);
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 24; ++x) *(x < 12 ? left : right).at(x, y) = 255;
  }
  std::fill(all.pixels.begin(), all.pixels.end(), uint8_t{255});
  save_png(folder.file("left.png"), left);
  save_png(folder.file("right.png"), right);
  save_png(folder.file("all.png"), all);
  const json p = styled(
      {"--style", "blue.png", "--style-weight", "0.75,0.5", "--content-mask", "left.png", "--content-mask", "right.png",
       "--style-mask", "all.png", "--style-mask", "all.png", "--content-weight", "0.1", "--steps", "60"},
      "masked");
  double weights[2] = {0, 0};
  for (const json& part : p.at("recipe").at("objectives")) {
    const std::string text = part.at("part");
    if (text.find("picture=style,") != std::string::npos) weights[0] += part.at("weight").get<double>();
    if (text.find("picture=style2,") != std::string::npos) weights[1] += part.at("weight").get<double>();
  }
  EXPECT_NEAR(weights[0] / weights[1], 1.5, 1e-9);
  EXPECT_EQ(p.at("files").at("style2"), "blue.png");
  const Image image = written("masked", p);
  EXPECT_GT(redness(image, 0, 20), 50);
  EXPECT_LT(redness(image, 28, 48), -50);
}

TEST_F(CliTexture, ColorsAreTheStylesOrTheContents) {
  const Image content = decode_image(folder.file("content.png"));
  const Words quick{"--steps", "12", "--content-weight", "0.1"};
  const double style = redness(written("style", styled(with(quick, {"--color", "style"}), "style")));
  const double match = redness(written("match", styled(with(quick, {"--color", "match"}), "match")));
  const json p = styled(with(quick, {"--color", "luminance"}), "luminance");
  EXPECT_GT(style, 60);
  EXPECT_NEAR(match, redness(content), 15);
  // Differences of channels are the content's, but for what clipping cuts off and rounding.
  const Image kept = written("luminance", p);
  int64_t compared = 0;
  for (int y = 0; y < 48; ++y) {
    for (int x = 0; x < 48; ++x) {
      const uint8_t *a = kept.at(x, y), *b = content.at(x, y);
      if (*std::min_element(a, a + 3) == 0 || *std::max_element(a, a + 3) == 255) continue;
      EXPECT_NEAR(a[0] - a[2], b[0] - b[2], 1.01);
      ++compared;
    }
  }
  EXPECT_GT(compared, 500);
  EXPECT_NE(p.at("finished_objective"), p.at("objective"));
}

TEST_F(CliTexture, StartsWithWhatIsAskedFor) {
  // One small step: what it began with decides the loss at the start.
  const auto run = [&](const std::string& start, const Words& more) {
    return styled(with({"--start", start, "--steps", "1"}, more), start + (more.empty() ? "" : more.back()));
  };
  const json content = run("content", {});
  const double style_loss = measure(content, "style loss", "start");
  EXPECT_NEAR(measure(content, "content loss", "start"), 0, 1e-9);
  EXPECT_NEAR(content.at("objective_start"), -style_loss, 1e-4 * style_loss);
  // The style is there; only the content is missing.
  const json style = run("style", {"--content-weight", "0"});
  EXPECT_NEAR(style.at("objective_start"), 0, 1e-6);
  const json histogram = run("histogram", {"--content-weight", "0"});
  EXPECT_LT(-histogram.at("objective_start").get<double>(), 0.9 * style_loss);
  EXPECT_GT(-histogram.at("objective_start").get<double>(), 1e-3 * style_loss);
  const json noise = run("noise", {"--seed", "1"}), other = run("noise", {"--seed", "2"});
  EXPECT_NE(noise.at("objective_start"), other.at("objective_start"));
  EXPECT_EQ(run("content", {"--seed", "5"}).at("objective_start"), content.at("objective_start"));
}

TEST_F(CliTexture, TilesGiveTheSamePicture) {
  picture("content.png", 96);
  const json whole = styled({"--steps", "3", "--scales", "1"}, "whole");
  const json tiled = styled({"--steps", "3", "--scales", "1", "--tile", "64"}, "tiled");
  EXPECT_EQ(tiled.at("recipe").at("tile"), 64);
  // Of one picture the statistics are the same but for borders of tiles; the courses of two runs then part a little.
  const double before = whole.at("objective_start"), a = whole.at("objective");
  EXPECT_NEAR(tiled.at("objective_start"), before, 0.02 * std::abs(before));
  EXPECT_NEAR(tiled.at("objective"), a, 0.1 * std::abs(a));
  const Image x = written("whole", whole), y = written("tiled", tiled);
  ASSERT_EQ(y.width, 96);
  double difference = 0;
  for (size_t i = 0; i < x.pixels.size(); ++i) difference += std::abs(int{x.pixels[i]} - int{y.pixels[i]});
  EXPECT_LT(difference / static_cast<double>(x.pixels.size()), 12);
}

TEST_F(CliTexture, TotalVariationSmooths) {
  const auto variation = [](const Image& image) {
    double sum = 0;
    for (int y = 0; y < image.height; ++y) {
      for (int x = 1; x < image.width; ++x) sum += std::abs(image.at(x, y)[1] - image.at(x - 1, y)[1]);
    }
    return sum;
  };
  const Words quick{"--start", "noise", "--steps", "12"};
  const double without = variation(written("without", styled(quick, "without")));
  const double some = variation(written("some", styled(with(quick, {"--tv", "1"}), "some")));
  const double much = variation(written("much", styled(with(quick, {"--tv", "30"}), "much")));
  EXPECT_LT(some, without);
  EXPECT_LT(much, 0.5 * some);
}

// Of styles that its training had not: nearer to them than the content is, and back to the content without.
TEST_F(CliTexture, TheShippedNetworkTakesAnyPictureAsTheStyle) {
  const std::string models = PELLUCID_SOURCE_DIR "/models/", flower = PELLUCID_SOURCE_DIR "/examples/flower.png";
  const auto stylized = [&](const std::string& style, const Words& more) {
    return good_json(with({"stylize", models + "style_any.onnx", flower, "--style", style, "--measure", "--measure-by",
                           models + "texture_encoder.onnx", "-o", "any"},
                          more));
  };
  for (const std::string style : {"red.png", "blue.png", "texture:mosaic:77"}) {
    const json one = stylized(style, {}).at("pictures").at(0);
    EXPECT_LT(one.at("style_loss"), 0.7 * one.at("style_loss_of_original").get<double>()) << style;
    const double red = redness(decode_image(folder.file("any/flower.styled.png")));
    if (style == "red.png") {
      EXPECT_GT(red, 40);
    }
    if (style == "blue.png") {
      EXPECT_LT(red, -40);
    }
  }
  stylized("red.png", {"--alpha", "0"});
  const Image back = decode_image(folder.file("any/flower.styled.png")), content = decode_image(flower);
  double squares = 0;
  for (size_t i = 0; i < back.pixels.size(); ++i) squares += std::pow(back.pixels[i] - content.pixels[i], 2);
  EXPECT_LT(std::sqrt(squares / static_cast<double>(back.pixels.size())), 255 * 0.08);  // 22 dB
}

TEST_F(CliTexture, InterpolatesBetweenTwoClasses) {
  const auto run = [&](const std::string& out, const Words& more) {
    return good_json(
        with({"visualize", kModel, "-t", "0", "-t", "3", "--steps", "24", "--picture-size", "32", "-o", out}, more));
  };
  const json all = run("between", {"--interpolate", "3"});
  ASSERT_EQ(all.at("pictures").size(), 3u);
  std::vector<Image> images;
  for (const json& p : all.at("pictures")) images.push_back(written("between", p));
  const auto distance = [](const Image& a, const Image& b) {
    double sum = 0;
    for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
    return sum / static_cast<double>(a.pixels.size());
  };
  // The middle one is nearer to both than they are to each other.
  EXPECT_GT(distance(images[0], images[2]), 5);
  EXPECT_LT(distance(images[0], images[1]), distance(images[0], images[2]));
  EXPECT_LT(distance(images[1], images[2]), distance(images[0], images[2]));
  bad({"visualize", kModel, "-t", "0", "--interpolate", "3", "-o", "no"}, 2,
      "interpolate goes from one target, channel or direction to another; 1 are named");
  bad({"visualize", kModel, "-t", "0", "-t", "1", "--interpolate", "1", "-o", "no"}, 2,
      "interpolate must be an integer >= 2");
}

// The last good picture is written, and the status says that it is not what was asked for.
TEST_F(CliTexture, NumbersThatAreNotFiniteEndWithFive) {
  folder.write("nan.json", R"({"name": "n", "parameterization": "pixels:clamp=false", "optimizer": "ascent:rate=1",
                               "regularizers": [{"weight": 1e30, "part": "tv:beta=8"}], "stages": [{"steps": 4}],
                               "width": 32, "height": 32})");
  const ProgramResult r = run({"visualize", kModel, "-t", "0", "--recipe", "nan.json", "-o", "o"});
  EXPECT_EQ(r.status, 5);
  EXPECT_EQ(r.err, "pellucid: 1 of 1 pictures stopped early: numbers were not finite\n");
  EXPECT_TRUE(fs::exists(folder.file("o/result.json")));
  EXPECT_EQ(run({"visualize", kModel, "-t", "0", "--recipe", "nan.json", "-o", "o", "--resume"}).status, 5)
      << "it is not finished";
}

TEST_F(CliTexture, RefusesWhatDoesNotFitAndWritesNothing) {
  save_png(folder.file("wide.png"), Image(40, 20, 1));
  folder.write("broken.png", "not a picture");
  const auto refused = [&](const Words& words, int status, const std::string& line) {
    bad(with(words, {"-o", "out"}), status, line);
    EXPECT_FALSE(fs::exists(folder.file("out"))) << line;
  };
  const Words style{"style", kModel, "content.png", "--style", "red.png"};
  refused({"texture", kModel, "none.png"}, 3, "none.png: no such file or folder");
  refused({"texture", "none.png"}, 3, "none.png: no such file or folder");
  refused({"texture", kModel}, 2, "texture: inputs is required (pellucid texture --help)");
  refused({"texture", "none.onnx", "red.png"}, 3, "none.onnx: cannot be opened: No such file or directory");
  refused({"style", kModel, "content.png"}, 2, "style: --style is required (pellucid style --help)");
  refused({"style", kModel, "content.png", "--style", "none.png"}, 3,
          "none.png: cannot open: No such file or directory");
  refused({"texture", kModel, "red.png", "broken.png"}, 3,
          "broken.png: not a picture in an accepted format; accepted are PNG, JPEG, BMP, GIF, WebP, TIFF, PNM");
  refused(with(style, {"--style-weight", "1,2"}), 2, "2 style weights for 1 styles");
  refused(with(style, {"--style-weight", "x"}), 2, "style-weight is 'x'; numbers >= 0 as 1 or 0.7,0.3 were expected");
  refused(with(style, {"--content-mask", "red.png"}), 2,
          "masks come in pairs, a --content-mask and a --style-mask for each of the 1 styles");
  refused(with(style, {"--content-mask", "wide.png", "--style-mask", "red.png"}), 2,
          "wide.png: the mask is 40x20; the picture is 48x48, and the mask must have its proportions");
  refused(with(style, {"--layers", "no_such_layer"}), 2,
          "flower_single_6c.onnx: no layer 'no_such_layer' ('pellucid info' lists all 38)");
  refused(with(style, {"--layer-weights", "1"}), 2,
          "1 layer weights for 4 layers (stem.relu, block1.relu, block2.relu, block4.relu)");
  refused(with(style, {"--color", "blue"}), 2, "color is 'blue'; one of style, luminance, match was expected");
}

}  // namespace
}  // namespace pellucid::test
