#include "pellucid/style.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "pellucid/files.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";
const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";

/// Disks of a few colors on a ground that varies slowly.
std::string drawn_texture(const test::TemporaryFolder& folder, const std::string& name, int side, double period) {
  Image image(side, side, 3);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const double u = std::fmod(x / period, 1.0) - 0.5, v = std::fmod(y / period, 1.0) - 0.5;
      const bool inside = u * u + v * v < 0.1;
      const int kind = (static_cast<int>(x / period) * 7 + static_cast<int>(y / period) * 3) % 3;
      const size_t at = 3 * (static_cast<size_t>(y) * static_cast<size_t>(side) + static_cast<size_t>(x));
      for (int c = 0; c < 3; ++c) {
        const double ground = 60 + 20 * std::sin(0.1 * (x + 2 * y) + c);
        image.pixels[at + static_cast<size_t>(c)] = static_cast<uint8_t>(inside ? (c == kind ? 230 : 120) : ground);
      }
    }
  }
  save_png(folder.file(name), image);
  return folder.file(name);
}

double measure(const MadePicture& made, const std::string& name) {
  for (const Measure& m : made.measures) {
    if (m.name == name) return m.value;
  }
  ADD_FAILURE() << "no measure " << name;
  return NAN;
}
double start_of(const MadePicture& made, const std::string& name) {
  for (const Measure& m : made.measures) {
    if (m.name == name) return m.start;
  }
  return NAN;
}

StyleRequest small_style(const test::TemporaryFolder& folder) {
  StyleRequest request;
  request.make.model.path = kModel;
  request.make.size = 64;
  request.make.steps = 60;
  request.inputs = {kPicture};
  request.styles = {drawn_texture(folder, "style.png", 64, 16)};
  return request;
}

TEST(Texture, MatchesTheGramMatrices) {
  const test::TemporaryFolder folder;
  TextureRequest request;
  request.make.model.path = kModel;
  request.make.output = folder.file("out");
  request.make.steps = 120;
  request.source_size = 64;
  request.inputs = {drawn_texture(folder, "disks.png", 64, 16)};
  const MakeResult result = texture(request);
  const MadePicture& made = result.pictures.at(0);
  EXPECT_EQ(made.image.sizes(), (Shape{3, 64, 64}));
  EXPECT_LT(made.objective, 0);
  EXPECT_GT(made.objective, 0.1 * made.objective_start);
  EXPECT_LT(measure(made, "correlation with the source"), 0.8);
  double worst = 0;
  for (const Measure& m : made.measures) {
    if (m.name.rfind("Gram error", 0) == 0 && m.name.find("not matched") == std::string::npos) {
      worst = std::max(worst, m.value);
    }
  }
  EXPECT_GT(worst, 0);
  EXPECT_LT(worst, 0.3);
  // Colors are nearly the source's: its histogram.
  const Tensor found = std::get<0>(made.image[0].flatten().sort());
  const Image source = decode_image(request.inputs[0]);
  std::vector<double> reds;
  for (size_t i = 0; i < source.pixels.size(); i += 3) reds.push_back(source.pixels[i] / 255.0);
  std::sort(reds.begin(), reds.end());
  EXPECT_LT((found.to(at::kDouble) - at::tensor(reds, at::kDouble)).abs().mean().item<double>(), 0.02);
  // What is written runs again.
  EXPECT_NE(read_file(folder.file("out/result.json"), 1 << 24).find("\"histogram:picture=style\""), std::string::npos);
  TextureRequest again = request;
  again.make.recipe = folder.file("out/result.json");
  again.make.output.clear();
  again.make.steps = 0;
  EXPECT_TRUE(at::equal(texture(again).pictures.at(0).image, made.image));
}

TEST(Texture, MakesAnotherSizeInTwoScales) {
  const test::TemporaryFolder folder;
  TextureRequest request;
  request.make.model.path = kModel;
  request.make.steps = 40;
  request.make.size = 96;
  request.source_size = 48;
  request.scales = 2;
  request.inputs = {drawn_texture(folder, "disks.png", 64, 16)};
  const MadePicture made = texture(request).pictures.at(0);
  EXPECT_EQ(made.image.sizes(), (Shape{3, 96, 96}));
  EXPECT_EQ(made.steps, 40);
  ASSERT_EQ(made.recipe.stages.size(), 2u);
  EXPECT_EQ(made.recipe.stages[0].steps, 27);
  EXPECT_NE(made.recipe.objectives[0].part.find("scale=0.5"), std::string::npos);
  EXPECT_GT(made.objective, made.objective_start);
}

TEST(Style, FallsFromTheContentsOwn) {
  const test::TemporaryFolder folder;
  StyleRequest request = small_style(folder);
  request.make.output = folder.file("out");
  request.content_weight = 0.3;
  const MakeResult result = style(request);
  const MadePicture& made = result.pictures.at(0);
  EXPECT_EQ(std::max(made.image.size(1), made.image.size(2)), 64);
  EXPECT_NEAR(start_of(made, "content loss"), 0, 1e-9);
  EXPECT_LT(measure(made, "style loss"), 0.2 * start_of(made, "style loss"));
  EXPECT_GT(measure(made, "content loss"), 0);
  EXPECT_GT(measure(made, "gradient of style over content on noise"), 0);
  EXPECT_GE(made.image.min().item<double>(), 0);
  EXPECT_LE(made.image.max().item<double>(), 1);
  // The content lies before the coarsest layer of the style, which would leave little of it.
  std::set<std::string> style_layers;
  std::string content;
  for (const WeightedPart& part : made.recipe.objectives) {
    const PartCall call = PartCall::parse(PartKind::kObjective, part.part);
    if (call.info->id == "match") content = call.params.at("layer");
    if (call.info->id == "gram") style_layers.insert(call.params.at("layer"));
  }
  EXPECT_EQ(style_layers.count("block4.relu"), 1u);
  EXPECT_EQ(content, "block2.relu");
  EXPECT_TRUE(std::filesystem::exists(folder.file("out/sheet.png")));
  EXPECT_NE(result.json.find("\"content\": \"" + kPicture), std::string::npos);
}

TEST(Style, OfThePictureItselfIsThere) {
  const test::TemporaryFolder folder;
  StyleRequest request = small_style(folder);
  request.styles = {kPicture};
  request.make.size = 0;
  request.make.steps = 2;
  const MadePicture made = style(request).pictures.at(0);
  EXPECT_LT(std::abs(start_of(made, "style loss")), 1e-6);
}

TEST(Style, KeepsTheColorsOfTheContent) {
  const test::TemporaryFolder folder;
  StyleRequest request = small_style(folder);
  request.make.steps = 10;
  request.color = "luminance";
  const MadePicture made = style(request).pictures.at(0);
  EXPECT_EQ(made.recipe.finish, (std::vector<std::string>{"keep-color:picture=content", "clip"}));
  // Differences of channels are the content's wherever nothing was cut off.
  request.content_weight = 0;
  request.make.steps = 0;
  const Tensor x = made.image.to(at::kDouble);
  const Tensor inside = x.gt(0.001).logical_and(x.lt(0.999)).all(0);
  StyleRequest plain = small_style(folder);
  plain.styles = {kPicture};
  plain.make.steps = 1;
  const Tensor content = style(plain).pictures.at(0).image.to(at::kDouble);  // nothing to change
  const auto chroma = [&](const Tensor& t) { return (t[0] - t[2]).masked_select(inside); };
  EXPECT_LT((chroma(x) - chroma(content)).abs().max().item<double>(), 0.01);
}

TEST(Style, TakesSeveralStylesAndRegions) {
  const test::TemporaryFolder folder;
  StyleRequest request = small_style(folder);
  request.make.steps = 8;
  request.styles.push_back(drawn_texture(folder, "other.png", 48, 6));
  request.style_weights = {0.75, 0.5};
  Image left(40, 40, 1), all(8, 8, 1);
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 20; ++x) left.pixels[static_cast<size_t>(y * 40 + x)] = 255;
  }
  std::fill(all.pixels.begin(), all.pixels.end(), uint8_t{255});
  save_png(folder.file("left.png"), left);
  save_png(folder.file("all.png"), all);
  request.content_masks = {folder.file("left.png"), folder.file("all.png")};
  request.style_masks = {folder.file("all.png"), folder.file("all.png")};
  const MadePicture made = style(request).pictures.at(0);
  double first = 0, second = 0;
  for (const WeightedPart& part : made.recipe.objectives) {
    if (part.part.find("picture=style,") != std::string::npos) first += part.weight;
    if (part.part.find("picture=style2,") != std::string::npos) second += part.weight;
  }
  EXPECT_NEAR(first / second, 1.5, 1e-9);
  EXPECT_GT(made.objective, made.objective_start);
}

TEST(Style, RefusesWhatDoesNotFit) {
  const test::TemporaryFolder folder;
  StyleRequest request = small_style(folder);
  request.style_weights = {1, 2, 3};
  test::expect_error(ErrorKind::kUsage, "3 style weights for 1 styles", [&] { style(request); });
  request.style_weights.clear();
  request.content_masks = {kPicture};
  test::expect_error(ErrorKind::kUsage,
                     "masks come in pairs, a --content-mask and a --style-mask for each of the 1 styles",
                     [&] { style(request); });
  request.content_masks.clear();
  request.terms.layer_weights = {1};
  EXPECT_THROW(style(request), Error);
  request.styles.clear();
  test::expect_error(ErrorKind::kUsage, "no style; name a picture (--style PICTURE)", [&] { style(request); });
}

}  // namespace
}  // namespace pellucid
