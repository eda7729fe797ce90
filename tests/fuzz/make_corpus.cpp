// make_corpus FOLDER: writes the seeds that are checked in under corpus/, a few kB each: small models that between them
// use most of what the importer reads, cards, arrays and pictures.

#include <cstdio>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <string>

#include "pellucid/files.h"
#include "pellucid/graph.h"
#include "pellucid/image.h"
#include "pellucid/make_pictures.h"
#include "pellucid/npy.h"
#include "pellucid/synthesis.h"
#include "pellucid/training.h"

namespace {

using namespace pellucid;
using Ints = std::vector<int64_t>;

Tensor ramp(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return at::linspace(-1, 1, count).reshape(shape);
}

/// Conv -> Clip -> MaxPool -> Conv -> Sigmoid gate -> Concat -> pools -> Gemm -> Softmax.
Graph gated() {
  GraphBuilder b(13);
  b.set_name("gated");
  b.input("x", {-1, 3, 12, 12});
  b.constant("w1", ramp({4, 3, 3, 3}));
  b.constant("zero", at::scalar_tensor(0.0f));
  b.constant("six", at::scalar_tensor(6.0f));
  b.node("Conv", {"x", "w1"}, {"c1"}, {{"pads", Ints{0, 0, 1, 1}}, {"strides", Ints{2, 2}}});
  b.node("Clip", {"c1", "zero", "six"}, {"r1"});
  b.node("MaxPool", {"r1"}, {"p1"}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}});
  b.constant("w2", ramp({4, 1, 3, 3}));
  b.constant("b2", ramp({4}));
  b.node("Conv", {"p1", "w2", "b2"}, {"c2"},
         {{"pads", Ints{1, 1, 1, 1}}, {"group", int64_t{4}}, {"dilations", Ints{1, 1}}});
  b.node("Sigmoid", {"c2"}, {"gate"});
  b.node("Mul", {"c2", "gate"}, {"swish"});
  b.node("Concat", {"swish", "p1"}, {"both"}, {{"axis", int64_t{1}}});
  b.node("AveragePool", {"both"}, {"p2"}, {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 1, 0, 0}}});
  b.node("GlobalAveragePool", {"p2"}, {"gap"});
  b.node("Flatten", {"gap"}, {"flat"});
  b.constant("w3", ramp({5, 8}));
  b.constant("b3", ramp({5}));
  b.node("Gemm", {"flat", "w3", "b3"}, {"logits"}, {{"transB", int64_t{1}}});
  b.node("Softmax", {"logits"}, {"y"}, {{"axis", int64_t{-1}}});
  b.output("y");
  return b.finish();
}

/// The ops that move, pick and reduce, with shapes computed in the graph.
Graph shapes() {
  GraphBuilder b(13);
  b.set_name("shapes");
  b.input("x", {-1, 2, 6, 6});
  b.constant("starts", at::tensor(Ints{0, 1}));
  b.constant("ends", at::tensor(Ints{INT64_MAX, 5}));
  b.constant("axes", at::tensor(Ints{2, 3}));
  b.constant("steps", at::tensor(Ints{2, 1}));
  b.node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"cut"});
  b.constant("pads", at::tensor(Ints{0, 0, 1, 1, 0, 0, 1, 1}));
  b.node("Pad", {"cut", "pads"}, {"padded"}, {{"mode", std::string("reflect")}});
  b.constant("scales", at::tensor(std::vector<float>{1, 1, 2, 1.5}));
  b.node("Resize", {"padded", "", "scales"}, {"big"},
         {{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("half_pixel")}});
  b.node("Transpose", {"big"}, {"moved"}, {{"perm", Ints{0, 2, 3, 1}}});
  b.node("Shape", {"moved"}, {"shape"});
  b.constant("first", at::tensor(Ints{0}));
  b.node("Gather", {"shape", "first"}, {"batch"}, {{"axis", int64_t{0}}});
  b.constant("rest", at::tensor(Ints{-1}));
  b.node("Concat", {"batch", "rest"}, {"target"}, {{"axis", int64_t{0}}});
  b.node("Reshape", {"moved", "target"}, {"rows"});
  b.node("ReduceMean", {"rows"}, {"mean"}, {{"axes", Ints{1}}, {"keepdims", int64_t{1}}});
  b.node("Sub", {"rows", "mean"}, {"centred"});
  b.constant("repeats", at::tensor(Ints{1, 2}));
  b.node("Tile", {"centred", "repeats"}, {"tiled"});
  b.node("LogSoftmax", {"tiled"}, {"y"}, {{"axis", int64_t{1}}});
  b.output("y");
  return b.finish();
}

/// Up and down again: ConvTranspose, InstanceNormalization, and the less common activations.
Graph decoder() {
  GraphBuilder b(12);
  b.set_name("decoder");
  b.input("x", {1, 2, 5, 5});
  b.constant("w", ramp({2, 3, 3, 3}));
  b.node("ConvTranspose", {"x", "w"}, {"up"},
         {{"strides", Ints{2, 2}}, {"pads", Ints{0, 0, 1, 1}}, {"output_padding", Ints{0, 0}}});
  b.constant("scale", ramp({3}));
  b.constant("shift", ramp({3}));
  b.node("InstanceNormalization", {"up", "scale", "shift"}, {"norm"}, {{"epsilon", 1e-3}});
  b.node("LeakyRelu", {"norm"}, {"leaky"}, {{"alpha", 0.2}});
  b.node("Elu", {"leaky"}, {"elu"});
  b.constant("slope", ramp({3, 1, 1}));
  b.node("PRelu", {"elu", "slope"}, {"prelu"});
  b.node("LRN", {"prelu"}, {"lrn"}, {{"size", int64_t{3}}});
  b.node("Tanh", {"lrn"}, {"y"});
  b.output("y");
  return b.finish();
}

Image picture(int width, int height, int channels) {
  Image image(width, height, channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 37 + i / 11);
  return image;
}

std::string opencv_bytes(const char* extension, const Image& image) {
  std::vector<uchar> bytes;
  cv::imencode(extension,
               cv::Mat(image.height, image.width, CV_8UC(image.channels), const_cast<uint8_t*>(image.pixels.data())),
               bytes);
  return {bytes.begin(), bytes.end()};
}

/// 2x2 pixels in two colors; OpenCV writes no GIF. LZW codes of 3 bits: clear, 0, 1, 1, 0, end.
std::string gif() {
  const char bytes[] =
      "GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"
      "\x21\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03\x44\x02\x05\x00;";
  return {bytes, sizeof bytes - 1};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::filesystem::create_directories(std::filesystem::path(folder + "/" + name).parent_path());
    write_file_atomically(folder + "/" + name, bytes);
  };

  ResidualNetworkOptions residual;
  residual.input_size = 16;
  residual.widths = {2, 4};
  write("onnx/residual.onnx", onnx_bytes(make_residual_network(residual)));
  write("onnx/gated.onnx", onnx_bytes(gated()));
  write("onnx/shapes.onnx", onnx_bytes(shapes()));
  write("onnx/decoder.onnx", onnx_bytes(decoder()));

  write("card/preset.json", R"({"preset": "imagenet", "labels": ["cat", "dog"], "default_layer": "block1.relu"})");
  write(
      "card/full.json",
      R"({"preset": "custom", "width": 64, "height": 48, "resize": "letterbox", "resize_to": 70, "channel_order": "bgr",)"
      R"( "channels_first": false, "scale": 0.00392, "mean": [0.1, 0.2, 0.3], "std": [1, 2.5e-1, 3], "labels": "labels.txt"})");
  write(
      "card/gray.json",
      "{\"channel_order\": \"gray\", \"mean\": [0.5], \"std\": [0.5], \"labels\": [\"\\u00e4\", \"\\ud83d\\ude00\"]}");

  write("annotations/coco.json",
        R"({"images": [{"id": 7, "file_name": "photo.jpg", "width": 64, "height": 48}], "annotations": [)"
        R"({"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 5, 20.5, 10], "iscrowd": 0,)"
        R"( "segmentation": [[4, 5, 24.5, 5, 24.5, 15, 4, 15]]},)"
        R"({"id": 2, "image_id": 7, "category_id": 18, "iscrowd": 1,)"
        R"( "segmentation": {"size": [48, 64], "counts": [100, 20, 2952]}},)"
        R"({"id": 3, "image_id": 7, "category_id": 18, "segmentation": {"size": [48, 64], "counts": "0PP3"}}],)"
        R"( "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]})");
  write("annotations/boxes.xml",
        "<annotation><filename>photo.jpg</filename><size><width>64</width><height>48</height></size>"
        "<object><name>dog &amp; car</name><difficult>1</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax>"
        "<ymax>20</ymax></bndbox></object></annotation>");
  write("rule_map/layers.json",
        R"({"rules": [{"layers": "first", "rule": "z-box"}, {"layers": "conv", "rule": "gamma", "gamma": 0.25},)"
        R"( {"layers": "dense", "rule": "epsilon"}]})");
  write("rule_map/names.json", R"json({"rules": [{"name": "/layer4*, (last)", "rule": "alpha-beta", "alpha": 2},)json"
                               R"json( {"op": "ConvTranspose", "rule": "epsilon", "epsilon": 0.01}]})json");
  write("recipe/lucid.json", recipe_text(find_recipe("lucid").recipe));
  write("recipe/texture.json", recipe_text(find_recipe("gatys2015").recipe));
  write("recipe/result.json", R"({"pictures": [{"recipe": )" + recipe_text(find_recipe("fgsm").recipe) + "}]}");

  const std::vector<float> numbers{1.5f, -2, 3, 4, 5, 6};
  write("npy/float32.npy", npy_bytes(numbers.data(), NpyType::kFloat32, {1, 2, 3}));
  write("npy/uint8.npy", npy_bytes("abcd", NpyType::kUInt8, {4}));
  const std::vector<double> wide{0.25, -8};
  write("npy/float64.npy", npy_bytes(wide.data(), NpyType::kFloat64, {2, 1}));
  std::string fortran = npy_bytes(numbers.data(), NpyType::kFloat32, {2, 3});
  fortran.replace(fortran.find("False"), 5, "True ");
  write("npy/fortran.npy", fortran);

  write("image/rgb.png", encode_png(picture(9, 7, 3)));
  write("image/rgba.png", encode_png(picture(5, 6, 4)));
  write("image/gray.png", encode_png(picture(8, 3, 1)));
  write("image/rgb.jpg", encode_jpeg(picture(17, 9, 3), 60));
  write("image/rgb.bmp", opencv_bytes(".bmp", picture(6, 5, 3)));
  write("image/rgb.webp", opencv_bytes(".webp", picture(16, 8, 3)));
  write("image/rgb.tiff", opencv_bytes(".tiff", picture(7, 5, 3)));
  write("image/two.gif", gif());
  write("image/plain.pgm", "P2\n# plain\n3 2\n15\n0 3 7\n15 1 2\n");
  write("image/raw.ppm", std::string("P6 2 1 255\n\x01\x02\x03\xff\xfe\xfd", 17));
  return 0;
}
