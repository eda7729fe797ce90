#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "pellucid/image.h"
#include "pellucid/text.h"
#include "support/onnx_model.h"
#include "support/run_program.h"

namespace pellucid::test {

namespace fs = std::filesystem;
using namespace std::string_literals;
using nlohmann::json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

inline const std::string kProgram = PELLUCID_PROGRAM;
inline const std::string kModel = PELLUCID_SOURCE_DIR "/models/flower_single_6c.onnx";
inline const std::string kCard = PELLUCID_SOURCE_DIR "/models/flower_single_6c.json";
inline const std::string kPicture = PELLUCID_SOURCE_DIR "/examples/flower.png";
inline const std::string kMask = PELLUCID_SOURCE_DIR "/examples/flower_mask.png";

/// Not the color of any flower, and different everywhere.
inline Image gradient_picture(int width, int height, int shift = 0) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* p = image.at(x, y);
      p[0] = static_cast<uint8_t>(x * 255 / width);
      p[1] = static_cast<uint8_t>(y * 255 / height);
      p[2] = static_cast<uint8_t>((x + y + shift) % 256);
    }
  }
  return image;
}

/// Two classes from three channels: a convolution by ones, Relu, pooling and a linear layer. Any input size.
inline OnnxModel small_model(const std::string& map_name = "map", int64_t channels = 3,
                             const std::string& conv_name = "c") {
  OnnxModel m;
  m.input("x", {-1, channels, -1, -1});
  std::vector<float> kernel;
  for (int64_t i = 0; i < 2 * channels; ++i) kernel.push_back(0.5f - 0.1f * static_cast<float>(i));
  m.floats("w", {2, channels, 1, 1}, kernel);
  m.floats("v", {2, 2}, {1, -1, 0.5f, 2});
  m.node("Conv", {"x", "w"}, {conv_name}, "conv");
  m.node("Relu", {conv_name}, {map_name}, "relu");
  m.node("GlobalAveragePool", {map_name}, {"pool"}, "gap");
  m.node("Flatten", {"pool"}, {"flat"}, "flatten");
  m.node("Gemm", {"flat", "v"}, {"logits"}, "fc").integer("transB", 1);
  m.output("logits");
  return m;
}

/// Runs the program in a folder of its own.
class Cli : public ::testing::Test {
 protected:
  ProgramResult run(const Words& arguments, ProgramOptions options = {}) const {
    if (options.folder.empty()) options.folder = folder.path();
    return run_program(kProgram, arguments, options);
  }
  /// Succeeds without a word on stderr; returns stdout.
  std::string good(const Words& arguments, const ProgramOptions& options = {}) const {
    const ProgramResult r = run(arguments, options);
    EXPECT_EQ(r.status, 0) << join(arguments, " ") << "\n" << r.err;
    EXPECT_EQ(r.err, "") << join(arguments, " ");
    return r.out;
  }
  json good_json(Words arguments) const {
    arguments.emplace_back("--json");
    return json::parse(good(arguments));
  }
  /// Fails with this status and exactly this line, and prints no result.
  void bad(const Words& arguments, int status, const std::string& line, const ProgramOptions& options = {}) const {
    const ProgramResult r = run(arguments, options);
    EXPECT_EQ(r.err, "pellucid: " + line + "\n") << join(arguments, " ");
    EXPECT_EQ(r.status, status) << join(arguments, " ") << " signal " << r.signal;
    EXPECT_EQ(r.out, "") << join(arguments, " ");
  }
  std::set<std::string> names(const std::string& sub) const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder.file(sub))) found.insert(entry.path().filename().string());
    return found;
  }
  json result(const std::string& sub) const { return json::parse(file_text(folder.file(sub + "/result.json"))); }
  void picture(const std::string& name, int side = 32, int shift = 0) const {
    fs::create_directories(fs::path(folder.file(name)).parent_path());
    save_png(folder.file(name), gradient_picture(side, side, shift));
  }
  /// The shipped model's card with some fields changed, as a file.
  std::string card(const std::string& name, const json& changes) const {
    json c = json::parse(file_text(kCard));
    c.update(changes);
    folder.write(name, c.dump());
    return name;
  }

  TemporaryFolder folder;
};

}  // namespace pellucid::test
