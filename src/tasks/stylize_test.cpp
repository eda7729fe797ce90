#include "pellucid/stylize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "pellucid/style_networks.h"
#include "pellucid/video.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/temporary_folder.h"
#include "tasks/picture_maker.h"
#include "tasks/style_runner.h"

namespace pellucid {
namespace {

using test::expect_error;

Graph network_of(int64_t styles) {
  StyleNetworkOptions options;
  options.width = 4;
  options.blocks = 1;
  options.num_styles = styles;
  return make_style_network(options);
}

/// Large shapes and small ones.
Tensor picture(int64_t height, int64_t width) {
  const Tensor y = at::linspace(0, 9, height).view({1, 1, height, 1}),
               x = at::linspace(0, 13, width).view({1, 1, 1, width});
  const Tensor noise = test::Random(3).uniform({1, 3, height, width}).to(at::kFloat);
  return ((x + y).sin() * 0.3 + 0.5 + 0.2 * (noise - 0.5)).clamp(0, 1).contiguous();
}

Tensor repainted(const Graph& graph, const Tensor& x, int64_t tile, bool exact) {
  StyleRunner::Options options;
  options.tile = tile;
  options.exact = exact;
  options.range = {0, 255};
  return StyleRunner(graph, options).repaint(x).display;
}

// Tiles see what they need and normalize by the statistics of the whole picture.
TEST(StyleRunner, TilesGiveWhatTheWholePictureGives) {
  const Graph graph = network_of(0);
  const Tensor x = picture(222, 310);
  const Tensor whole = repainted(graph, x, 4096, true);
  StyleRunner::Options options;
  options.tile = 144;
  options.range = {0, 255};
  const StyleRunner::Repainted tiled = StyleRunner(graph, options).repaint(x);
  EXPECT_GT(tiled.tiles, 8);
  EXPECT_LT((tiled.display - whole).abs().max().item<double>(), 1e-4);
  const double reduced = (repainted(graph, x, 144, false) - whole).abs().mean().item<double>();
  EXPECT_LT(reduced, 0.2);
  EXPECT_GT(reduced, 1e-4);  // an approximation, unlike the other
}

TEST(StyleRunner, KeepsEverySize) {
  const Graph graph = network_of(0);
  for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{{37, 50}, {64, 41}, {18, 23}}) {
    const Tensor made = repainted(graph, picture(height, width), 4096, true);
    EXPECT_EQ(made.sizes(), (Shape{1, 3, height, width}));
    EXPECT_TRUE(at::isfinite(made).all().item<bool>());
  }
}

// Inputs but the picture become constants; the answer stays.
TEST(StyleRunner, GivesFurtherInputsTheirValues) {
  const Graph graph = network_of(3);
  const Tensor x = picture(32, 40) * 255, row = at::tensor({0.2F, 0.5F, 0.3F}).view({1, 3});
  const Network network(graph);
  const Graph single = with_given_inputs(graph, meeting_values(network, {x, row}));
  EXPECT_EQ(single.inputs().size(), 1u);
  Request request;
  request.capture = {graph.outputs().front()};
  const Tensor whole = network.run({x, row}, request).begin()->second;
  EXPECT_LT((Network(single).run(x)[0] - whole).abs().max().item<double>(), 1e-2);
}

/// An untrained network with adaptive instance normalization at two levels.
Graph adain_network() {
  GraphBuilder b(13);
  b.input("x", {-1, 3, -1, -1});
  b.constant("kernel", test::Random(8).normal({5, 3, 3, 3}).to(at::kFloat) * 0.3);
  b.node("Conv", {"x", "kernel"}, {"conv"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  b.node("Relu", {"conv"}, {"fine"});
  b.node("AveragePool", {"fine"}, {"coarse"},
         {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  b.output("coarse", Shape{-1, 5, -1, -1});
  const Graph encoder = b.finish();
  const double scale = 1 / 255.0;
  Graph graph = make_adain_network(
      {encoder, {{encoder.find("fine"), 5, 0}, {encoder.find("coarse"), 5, 1}}, {scale, scale, scale}, {0, 0, 0}}, 1);
  graph.metadata["pellucid.style.range"] = "0..255";
  return graph;
}

/// The network with one style in it, and that style's statistics.
std::pair<Graph, StyleRunner::Region> with_style(const Graph& graph, const Tensor& style, double alpha) {
  const Values given =
      meeting_values(Network(graph), {at::zeros({1, 3, 8, 8}), style * 255, at::full({1}, alpha, at::kFloat)});
  StyleRunner::Region region;
  region.alpha = alpha;
  for (const std::string level : {"style1", "style2"}) {
    region.mean.push_back(given.at(graph.find(level + ".mean")));
    region.deviation.push_back(given.at(graph.find(level + ".deviation")));
  }
  return {with_given_inputs(graph, given), region};
}

// One region of everything is the network itself, and nothing of it is the content with alpha 0, in tiles and without.
TEST(StyleRunner, RepaintsByRegion) {
  const Graph adain = adain_network();
  ASSERT_EQ(num_adain_levels(adain), 2u);
  EXPECT_EQ(num_adain_levels(network_of(0)), 0u);
  const Tensor x = picture(150, 202), style = picture(60, 50).flip({1});
  auto [graph, region] = with_style(adain, style, 0.7);
  StyleRunner::Options options;
  options.range = {0, 255};
  const StyleRunner whole(graph, options);
  options.tile = 128;
  const StyleRunner tiled(graph, options);
  region.mask = at::ones({1, 1, 150, 202});
  const auto distance = [](const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); };
  EXPECT_LT(distance(whole.repaint(x, {region}).display, whole.repaint(x).display), 1e-4);
  const StyleRunner::Repainted in_tiles = tiled.repaint(x, {region});
  EXPECT_GT(in_tiles.tiles, 1);
  EXPECT_LT(distance(in_tiles.display, whole.repaint(x).display), 1e-4);
  // The same twice over is the same once.
  EXPECT_LT(distance(whole.repaint(x, {region, region}).display, whole.repaint(x).display), 1e-4);
  region.mask = at::zeros({1, 1, 150, 202});
  const Tensor content = StyleRunner(with_style(adain, style, 0).first, options).repaint(x).display;
  EXPECT_LT(distance(whole.repaint(x, {region}).display, content), 1e-4);
  // Left of the middle the style, right of it the content; what is seen over the border is a few pixels.
  region.mask.narrow(3, 0, 100).fill_(1);
  const Tensor half = whole.repaint(x, {region}).display;
  EXPECT_LT(distance(half.narrow(3, 112, 90), content.narrow(3, 112, 90)), 1e-4);
  EXPECT_LT(distance(tiled.repaint(x, {region}).display, half), 1e-4);
  // The left half has its own statistics, so that it is what it would be alone but for its border.
  const Tensor alone = whole.repaint(x.narrow(3, 0, 100).contiguous()).display;
  EXPECT_LT(distance(half.narrow(3, 0, 88), alone.narrow(3, 0, 88)), 0.05);
}

class Stylize : public testing::Test {
 protected:
  StylizeRequest request(int64_t styles) {
    StylizeRequest r;
    r.model.path = folder_.file("net" + std::to_string(styles) + ".onnx");
    save_onnx(network_of(styles), r.model.path);
    save_png(folder_.file("p.png"), image_from_display(picture(40, 56)[0]));
    r.run.inputs = {folder_.file("p.png")};
    r.output = folder_.file("out");
    return r;
  }
  Tensor made(const StylizeRequest& r, const std::string& file = "p.styled.png") {
    return display_from_image(decode_image(r.output + "/" + file));
  }
  test::TemporaryFolder folder_;
};

TEST_F(Stylize, WritesPicturesAndSaysWhatItGuessed) {
  const StylizeRequest r = request(0);
  const StylizeResult result = stylize(r);
  ASSERT_EQ(result.pictures.size(), 1u);
  EXPECT_EQ(result.notes.front(), "pixels 0..255 found by a trial, RGB, [N,3,H,W]");
  EXPECT_EQ(made(r).sizes(), (Shape{1, 3, 40, 56}));
  const Tensor direct =
      repainted(load_onnx(r.model.path), display_from_image(decode_image(r.run.inputs[0])), 4096, true);
  EXPECT_LE((made(r) - direct).abs().max().item<double>(), 0.5 / 255 + 1e-6);
  std::ifstream file(result.result_file);
  EXPECT_EQ(nlohmann::json::parse(file).at("pictures").at(0).at("width"), 56);
}

TEST_F(Stylize, ChoosesAndMixesStylesInside) {
  StylizeRequest r = request(3);
  expect_error(ErrorKind::kUsage, "the network holds 3 styles; choose one (--style-index) or some (--mix)",
               [&] { stylize(r); });
  r.mix = "3";
  expect_error(ErrorKind::kUsage, "style 3 does not exist; the network's styles are 0 to 2", [&] { stylize(r); });
  r.mix = "0:-1";
  expect_error(ErrorKind::kUsage, "mix is '0:-1'; STYLE:WEIGHT,... with weights of at least 0 was expected",
               [&] { stylize(r); });
  r.mix = "1";
  stylize(r);
  const Tensor one = made(r);
  r.mix = "1:2";  // weights are relative
  stylize(r);
  EXPECT_TRUE(made(r).equal(one));
  r.mix = "";
  r.styles = {"texture:waves"};
  expect_error(ErrorKind::kUsage, "--style: the network takes no picture for a style", [&] { stylize(r); });
}

TEST_F(Stylize, RepaintsOnlyTheMaskAndKeepsColors) {
  StylizeRequest r = request(0);
  Image mask(56, 40, 1);
  for (int y = 0; y < 40; ++y) std::fill(mask.at(0, y), mask.at(0, y) + 28, 255);
  save_png(folder_.file("mask.png"), mask);
  const Tensor before = display_from_image(decode_image(r.run.inputs[0]));
  r.masks = {folder_.file("mask.png")};
  stylize(r);
  EXPECT_TRUE(made(r).narrow(3, 28, 28).equal(before.narrow(3, 28, 28)));
  EXPECT_FALSE(made(r).narrow(3, 0, 28).equal(before.narrow(3, 0, 28)));
  r.masks = {};
  r.keep_colors = true;
  stylize(r);
  // Red less blue stays, but where values were cut off.
  const auto color = [](const Tensor& x) { return x.select(1, 0) - x.select(1, 2); };
  const Tensor whole = made(r);
  const Tensor uncut = whole.gt(0.01).logical_and(whole.lt(0.99)).all(1);
  EXPECT_GT(uncut.sum().item<int64_t>(), 200);
  const Tensor moved = (color(whole) - color(before)).abs().masked_select(uncut);
  EXPECT_LT(moved.max().item<double>(), 1.5 / 255);
}

TEST_F(Stylize, GivesEachRegionItsStyle) {
  StylizeRequest r = request(0);
  r.masks = {"a.png", "b.png"};
  expect_error(ErrorKind::kUsage,
               "--mask: the network takes one mask, since it has no adaptive instance normalization by region",
               [&] { stylize(r); });
  r.model.path = folder_.file("adain.onnx");
  save_onnx(adain_network(), r.model.path);
  r.styles = {"texture:waves:1"};
  r.style_size = 64;
  expect_error(ErrorKind::kUsage, "2 masks for 1 styles; one was expected, or one for each style", [&] { stylize(r); });
  r.masks = {};
  stylize(r);
  const Tensor one = made(r);
  r.styles = {"texture:mosaic:2"};
  stylize(r);
  const Tensor other = made(r);
  Image left(56, 40, 1), right(56, 40, 1, 255);
  for (int y = 0; y < 40; ++y) {
    std::fill(left.at(0, y), left.at(0, y) + 28, 255);
    std::fill(right.at(0, y), right.at(0, y) + 28, 0);
  }
  save_png(folder_.file("left.png"), left);
  save_png(folder_.file("right.png"), right);
  r.styles = {"texture:waves:1", "texture:mosaic:2"};
  r.masks = {folder_.file("left.png"), folder_.file("right.png")};
  stylize(r);
  const auto nearer = [&](int64_t x) {
    const Tensor part = made(r).narrow(3, x, 20);
    return (part - one.narrow(3, x, 20)).abs().mean().item<double>() <
           (part - other.narrow(3, x, 20)).abs().mean().item<double>();
  };
  EXPECT_TRUE(nearer(0));
  EXPECT_FALSE(nearer(36));
}

TEST_F(Stylize, MakesAVideoOfAVideo) {
  StylizeRequest r = request(0);
  try {
    VideoWriter video(folder_.file("v.avi"), 64, 48, 5);
    for (int i = 0; i < 3; ++i) video.add(image_from_display(picture(48, 64 + i).narrow(3, i, 64)[0]));
    video.close();
  } catch (const Error& e) {
    GTEST_SKIP() << e.what();
  }
  r.run.inputs = {folder_.file("v.avi")};
  const StylizeResult result = stylize(r);
  EXPECT_EQ(result.pictures.size(), 3u);
  ASSERT_EQ(result.video_files.size(), 1u);
  VideoReader reader(r.output + "/" + result.video_files[0]);
  Image frame;
  int frames = 0;
  while (reader.next(frame)) ++frames;
  EXPECT_EQ(frames, 3);
  EXPECT_EQ(frame.width, 64);
}

// The networks of others, against numbers of another implementation.
TEST(SharedStyleNetworks, GiveTheReferenceOutputs) {
  const auto golden = test::Golden::open();
  if (!golden) GTEST_SKIP() << test::Golden::absent();
  std::ifstream file(golden->shared() + "/models/reference_outputs.json");
  const nlohmann::json models = nlohmann::json::parse(file).at("models");
  for (const std::string name : {"style_rain_princess.onnx", "style_udnie.onnx"}) {
    const nlohmann::json& model = models.at(name);
    const Graph graph = load_onnx(golden->shared() + "/models/" + name);
    const Shape shape = model.at("input_shape").get<Shape>();
    const Tensor flat = at::arange(shape[1] * shape[2] * shape[3], at::kDouble);
    const Tensor x = (127.5 + 127.5 * (flat * 0.01).sin()).to(at::kFloat).view(shape);
    const Network network(graph);
    for (const auto& [value, wanted] : model.at("values").items()) {
      Request request;
      request.capture = {graph.find(value)};
      const Tensor got = network.run({x}, request).begin()->second.to(at::kDouble).contiguous();
      const double tolerance = 0.05;
      EXPECT_EQ(got.sizes().vec(), wanted.at("shape").get<Shape>());
      EXPECT_NEAR(got.mean().item<double>(), wanted.at("mean").get<double>(), tolerance) << name << " " << value;
      EXPECT_NEAR(got.std(false).item<double>(), wanted.at("std").get<double>(), tolerance) << name << " " << value;
      const std::vector<double> first = wanted.at("first").get<std::vector<double>>();
      for (size_t i = 0; i < first.size(); ++i) {
        EXPECT_NEAR(got.flatten()[static_cast<int64_t>(i)].item<double>(), first[i], tolerance) << name << " " << value;
      }
    }
  }
}

}  // namespace
}  // namespace pellucid
