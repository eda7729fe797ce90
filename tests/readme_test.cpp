// The C++ snippet of the README, compiled and run; and a check that it is the README's.

#include <gtest/gtest.h>
#include <pellucid/attribution.h>

#include <algorithm>
#include <sstream>

#include "pellucid/files.h"
#include "pellucid/text.h"

using namespace pellucid;

namespace {

Attribution explain_as_the_readme_does(const std::string& path, const Tensor& input, const Shape& shape) {
  // clang-format off
Network network(load_onnx(path));
LayerTable layers(network, {shape});
ModelCard card = guess_card(network.graph());
Tensor logits = network.run(input)[0];
BoundTarget target(Target::parse("top1"), layers, card, layers.logits(), logits);
Attribution map = attribute(MethodCall::parse("grad-cam"),
                            {network, layers, card, input, target, {layers.default_cam_layer()}});
  // clang-format on
  return map;
}

std::string without_blanks(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c); }), text.end());
  return text;
}

}  // namespace

TEST(Readme, SnippetRunsOnTheShippedModel) {
  const std::string model = std::string(PELLUCID_SOURCE_DIR) + "/models/flower_single_6c.onnx";
  const Tensor input = at::linspace(-1, 1, 3 * 128 * 128).view({1, 3, 128, 128});
  const Attribution map = explain_as_the_readme_does(model, input, {1, 3, 128, 128});
  EXPECT_EQ(map.values.sizes(), at::IntArrayRef({1, 16, 16}));
  EXPECT_EQ(map.map.sizes(), at::IntArrayRef({1, 128, 128}));
  EXPECT_GE(map.map.min().item<double>(), 0);
}

TEST(Readme, SnippetIsTheOneInTheReadme) {
  const std::string folder = PELLUCID_SOURCE_DIR;
  const std::string readme = read_file(folder + "/README.md", 1 << 20);
  const std::string source = read_file(folder + "/tests/readme_test.cpp", 1 << 20);
  const size_t begin = readme.find("```cpp\n");
  ASSERT_NE(begin, std::string::npos);
  std::string snippet = readme.substr(begin + 7, readme.find("```", begin + 7) - begin - 7);
  // Path and shape are the reader's own.
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"\"model.onnx\"", "path"}, {"{{1, 3, 224, 224}}", "{shape}"}}) {
    const size_t at = snippet.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    snippet.replace(at, from.size(), to);
  }
  snippet = snippet.substr(snippet.find("Network network"));
  EXPECT_NE(without_blanks(source).find(without_blanks(snippet)), std::string::npos) << snippet;
}
