// The gradient-free and second-order class activation maps and FullGrad against pytorch-grad-cam's arrays: every raw
// map and returned picture, at both layers, for all pictures and targets. Where that implementation departs from the
// definition, the parameter that reproduces it is in the table. Channel weights are what the raw maps are made of.

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "support/explainer.h"

namespace pellucid::test {
namespace {

const std::map<std::string, std::string>& method_of() {
  static const std::map<std::string, std::string> names = {{"pgc.scorecam", "score-cam:variant=pytorch-grad-cam"},
                                                           {"pgc.ablationcam", "ablation-cam:relative=true"},
                                                           {"pgc.ablationcam_zero", "ablation-cam:relative=true"},
                                                           {"pgc.kpcacam", "kpca-cam"},
                                                           {"pgc.fem", "fem"},
                                                           {"pgc.finercam", "finer-cam:differentiate_weights=true"},
                                                           {"pgc.shapleycam_rest", "shapley-cam"},
                                                           {"pgc.fullgrad", "fullgrad:scaling=channel"}};
  return names;
}

/// The method's name in "DIR/pgc.scorecam.last.raw.npy", and the last part.
std::pair<std::string, std::string> method_and_part(const std::string& path) {
  std::string file = path.substr(path.rfind('/') + 1);
  file.resize(file.size() - 4);
  if (file.rfind('.') == std::string::npos) return {file, ""};
  const std::string part = file.substr(file.rfind('.') + 1);
  file.resize(file.rfind('.'));
  for (const std::string layer : {".last", ".middle"}) {
    const size_t at = file.rfind(layer);
    if (at != std::string::npos) file.resize(at);
  }
  return {file, part};
}

void compare(const Golden& golden, const Explainer& net, const GoldenEntry& entry, const std::string& target, Run run,
             int& compared) {
  const auto [name, part] = method_and_part(entry.path);
  const auto found = method_of().find(name);
  if (found == method_of().end() || part == "weights") return;
  // Over a thousand whole passes each; one picture of MobileNet is enough, and its arrays are float32 inside anyway.
  const bool is_large = entry.path.rfind("mobilenet/", 0) == 0 && name == "pgc.scorecam";
  if (is_large && (run == Run::kFloat64 || entry.path.rfind("mobilenet/cat/t286/", 0) != 0)) return;
  static std::pair<std::string, Tensor> last;  // raw and returned come one after the other
  const std::string key = entry.path.substr(0, entry.path.rfind('.', entry.path.size() - 5));
  const std::string full_key = key + "|" + target + (run == Run::kFloat64 ? "|64" : "|32");
  if (last.first != full_key) {
    std::vector<std::string> layers;
    if (!entry.layer.empty() && entry.layer != "input") layers.push_back(entry.layer);
    last = {full_key, net.explain(found->second, target, layers).values};
  }
  const Tensor raw = last.second[0].to(at::kDouble);
  ++compared;
  if (part != "returned") {
    EXPECT_TRUE(golden.matches(raw.reshape(entry.shape), entry, run)) << found->second;
    return;
  }
  GoldenEntry exact = entry;
  exact.sign_arbitrary = false;
  Tensor picture = pytorch_grad_cam_picture(raw, entry.shape[0], entry.shape[1]);
  if (entry.sign_arbitrary) {  // the sign of the raw map decides what its ReLU leaves
    const Tensor other = pytorch_grad_cam_picture(-raw, entry.shape[0], entry.shape[1]);
    const Tensor expected = golden.load(entry.path);
    if ((other - expected).norm().item<double>() < (picture - expected).norm().item<double>()) picture = other;
  }
  EXPECT_TRUE(golden.matches(picture, exact, run)) << found->second;
}

void compare_model(const std::string& model, Run run, int least) {
  const auto golden = Golden::open();
  if (!golden) GTEST_SKIP() << Golden::absent();
  NetworkOptions options;
  if (run == Run::kFloat64) options = in_float64();
  int compared = 0;
  for (const auto& model_case : golden->manifest().at("cases")) {
    const std::string folder = model_case.at("folder").get<std::string>();
    if (folder.rfind(model + "/", 0) != 0) continue;
    const Explainer net(load_onnx(golden->shared() + "/models/" + model_case.at("model").get<std::string>()),
                        golden->load(folder + "/input.npy"), options);
    for (const GoldenEntry& entry : golden->entries_in(folder)) compare(*golden, net, entry, "top1", run, compared);
    for (const auto& target : model_case.at("targets")) {
      const std::string text = std::to_string(target.at("index").get<int64_t>());
      for (const GoldenEntry& entry : golden->entries_in(target.at("folder").get<std::string>())) {
        compare(*golden, net, entry, text, run, compared);
      }
    }
  }
  std::cout << compared << " arrays compared\n";
  EXPECT_GE(compared, least);
}

TEST(GoldenCams, ResNet20InFloat64) { compare_model("resnet20", Run::kFloat64, 50); }
TEST(GoldenCams, ResNet20InFloat32) { compare_model("resnet20", Run::kFloat32, 50); }
TEST(GoldenCams, MobileNetInFloat64) { compare_model("mobilenet", Run::kFloat64, 20); }
TEST(GoldenCams, MobileNetInFloat32) { compare_model("mobilenet", Run::kFloat32, 20); }

}  // namespace
}  // namespace pellucid::test
