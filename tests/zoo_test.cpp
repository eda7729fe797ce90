// The networks people export, in miniature: torchvision's families and two files as other tools write them, against
// PyTorch's own float64 outputs and gradients. tests/tools/export_zoo.py makes them and describes the files.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "pellucid/error.h"
#include "pellucid/graph.h"
#include "pellucid/layers.h"
#include "pellucid/network.h"
#include "support/compare.h"
#include "support/npy_tensor.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

const char* const kPython = "/usr/bin/python3";
constexpr int64_t kFirstTarget = 3;  // as in export_zoo.py: picture n explains class n + 3

// Float32 against float64. The outputs carry rounding alone, a few 1e-6 through the deepest of these networks.
constexpr double kFloat32Output = 1e-4;
// A ReLU whose input is within rounding of 0 may switch, which moves the gradient of all it sees by a step of a few
// percent; no float32 arithmetic avoids that, and which network it hits is luck. Where none switches the gradient is as
// exact as the output, and a systematic loss would show in every network.
constexpr double kGradientWithSwitches = 0.1;
constexpr double kGradientWithout = 2e-5;
constexpr double kShareWithout = 0.5;

struct ZooModel {
  std::string name;
  double tolerance = 0;  ///< Relative, of outputs and gradients in float64.
  bool takes_batches = true;
};

std::string shell_word(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string text_of(const std::string& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

/// Whether the command ended with status 0; what it wrote goes to `log`.
bool succeeds(const std::string& command, const std::string& log) {
  const int status = std::system((command + " >" + shell_word(log) + " 2>&1").c_str());
  return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Zoo : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // Tests share their cores with other tests; threads that wait for one another are slower there than one alone.
    set_num_threads(1);
    if (const char* set = std::getenv("PELLUCID_ZOO")) {
      folder_ = set;
#ifdef PELLUCID_ZOO_DIR
    } else if (std::ifstream(std::string(PELLUCID_ZOO_DIR) + "/index.txt")) {
      folder_ = PELLUCID_ZOO_DIR;
#endif
    } else {
      export_zoo();
    }
    if (problem_.empty() && missing_.empty()) read_index();
  }

  static void TearDownTestSuite() {
    made_.reset();
    models_.clear();
  }

  void SetUp() override {
    if (!missing_.empty()) GTEST_SKIP() << missing_;
    ASSERT_TRUE(problem_.empty()) << problem_;
    ASSERT_FALSE(models_.empty()) << folder_ << "/index.txt lists no model";
  }

  static std::string file(const ZooModel& model, const std::string& ending) {
    return folder_ + "/" + model.name + ending;
  }
  static Tensor array(const ZooModel& model, const std::string& part) {
    return load_npy(file(model, "." + part + ".npy"));
  }
  static Network network(const ZooModel& model, Precision precision, bool optimize = true) {
    NetworkOptions options;
    options.precision = precision;
    options.optimize = optimize;
    return Network(load_onnx(file(model, ".onnx")), options);
  }

  static std::vector<ZooModel> models_;

 private:
  static void export_zoo() {
    made_ = std::make_unique<TemporaryFolder>();
    folder_ = made_->path();
    const std::string log = made_->file("log.txt");
    if (!succeeds(std::string(kPython) + " -c 'import numpy, onnx, torch, torchvision'", log)) {
      missing_ = std::string("no zoo: ") + kPython + " with torch, torchvision and onnx is needed to export it (" +
                 last_line(text_of(log)) + "); or PELLUCID_ZOO names a folder made by tests/tools/export_zoo.py";
      return;
    }
    const std::string script = std::string(PELLUCID_SOURCE_DIR) + "/tests/tools/export_zoo.py";
    if (!succeeds(std::string(kPython) + " " + shell_word(script) + " " + shell_word(folder_), log)) {
      problem_ = script + " failed:\n" + text_of(log);
    }
  }

  static void read_index() {
    std::ifstream index(folder_ + "/index.txt");
    if (!index) problem_ = folder_ + "/index.txt cannot be read";
    ZooModel model;
    std::string batch;
    while (index >> model.name >> model.tolerance >> batch) {
      model.takes_batches = batch == "batch";
      models_.push_back(model);
    }
  }

  static std::string folder_;
  static std::string missing_;  ///< Why there is no zoo to test with.
  static std::string problem_;  ///< What went wrong although there should be one.
  static std::unique_ptr<TemporaryFolder> made_;
};

std::vector<ZooModel> Zoo::models_;
std::string Zoo::folder_;
std::string Zoo::missing_;
std::string Zoo::problem_;
std::unique_ptr<TemporaryFolder> Zoo::made_;

/// The output before a final Softmax.
ValueId logits_of(const Graph& graph) {
  const ValueId output = graph.outputs().at(0);
  const Node* last = graph.producer_of(output);
  return last && last->op == "Softmax" ? last->inputs.at(0) : output;
}

/// d sum_n S[n, first + n] / d x, S the logits; summed over positions where the logits have any.
Tensor input_gradient(const Network& network, const Tensor& x, int64_t first) {
  const ValueId input = network.graph().inputs().at(0).value;
  const ValueId logits = logits_of(network.graph());
  Network::RecordRequest what;
  what.until = {logits};
  what.wrt = {input};
  const Tape tape = network.record({x}, what);
  const Tensor seed = at::zeros_like(tape.value(logits));
  for (int64_t n = 0; n < x.size(0); ++n) seed[n][first + n].fill_(1);
  return tape.backward({{logits, seed}}, {input}).values.at(input);
}

using PerPicture = std::function<Tensor(const Tensor& x, int64_t first)>;

Tensor one_by_one(const Tensor& x, const PerPicture& run) {
  TensorList results;
  for (int64_t n = 0; n < x.size(0); ++n) results.push_back(run(x.narrow(0, n, 1), n));
  return at::cat(results);
}

Tensor output_of(const Network& network, const Tensor& x) { return network.run(x).at(0); }

Tensor outputs(const ZooModel& model, const Network& network, const Tensor& x) {
  const PerPicture run = [&](const Tensor& part, int64_t) { return output_of(network, part); };
  return model.takes_batches ? run(x, 0) : one_by_one(x, run);
}

Tensor gradients(const ZooModel& model, const Network& network, const Tensor& x) {
  const PerPicture run = [&](const Tensor& part, int64_t n) { return input_gradient(network, part, kFirstTarget + n); };
  return model.takes_batches ? run(x, 0) : one_by_one(x, run);
}

TEST_F(Zoo, Float64AgreesWithPyTorch) {
  for (const ZooModel& model : models_) {
    SCOPED_TRACE(model.name);
    const Tensor x = array(model, "input");
    const Tolerance tolerance{model.tolerance, model.tolerance};
    for (const bool optimize : {true, false}) {
      SCOPED_TRACE(optimize ? "optimized" : "as in the file");
      const Network net = network(model, Precision::kFloat64, optimize);
      EXPECT_TRUE(within(outputs(model, net, x), array(model, "output"), tolerance));
      EXPECT_TRUE(within(gradients(model, net, x), array(model, "gradient"), tolerance));
    }
  }
}

/// Counts gradients that no switched unit has moved.
class GradientCheck {
 public:
  void compare(const Tensor& actual, const Tensor& expected) {
    ++checked_;
    if (within(actual, expected, {kGradientWithout, -1})) {
      ++exact_;
    } else {
      EXPECT_TRUE(within(actual, expected, {kGradientWithSwitches, -1}));
    }
  }
  void expect_most_exact() const { EXPECT_GE(exact_, kShareWithout * checked_) << "of " << checked_ << " networks"; }

 private:
  int checked_ = 0;
  int exact_ = 0;
};

TEST_F(Zoo, Float32AgreesWithPyTorch) {
  GradientCheck check;
  for (const ZooModel& model : models_) {
    SCOPED_TRACE(model.name);
    const Tensor x = array(model, "input").to(at::kFloat);
    const Network net = network(model, Precision::kFloat32);
    EXPECT_TRUE(within(outputs(model, net, x), array(model, "output"), {-1, kFloat32Output}));
    check.compare(gradients(model, net, x), array(model, "gradient"));
  }
  check.expect_most_exact();
}

TEST_F(Zoo, OptimizingChangesNothingBeyondRounding) {
  GradientCheck check;
  for (const ZooModel& model : models_) {
    SCOPED_TRACE(model.name);
    const Tensor x = array(model, "input").to(at::kFloat);
    const Network fast = network(model, Precision::kFloat32, true);
    const Network plain = network(model, Precision::kFloat32, false);
    EXPECT_TRUE(within(outputs(model, fast, x), outputs(model, plain, x), {-1, kFloat32Output}));
    check.compare(gradients(model, fast, x), gradients(model, plain, x));
  }
  check.expect_most_exact();
}

// In float64, where no rounding can hide that one picture leaks into another.
// The layer that `auto` means is the last map before pooling whatever gates, shuffles and layouts stand before it.
TEST_F(Zoo, AutoIsTheLastMapBeforePooling) {
  const std::map<std::string, std::string> expected{{"efficientnet_b0", "/features/features.8/features.8.2/Mul"},
                                                    {"mobilenet_v3_small", "/features/features.12/features.12.2/Mul"},
                                                    {"shufflenet_v2", "/conv5/conv5.2/Relu"},
                                                    {"convnext_tiny", "/features/features.7/features.7.2/Add"}};
  int64_t seen = 0;
  for (const ZooModel& model : models_) {
    const auto wanted = expected.find(model.name);
    if (wanted == expected.end()) continue;
    ++seen;
    const Network n = network(model, Precision::kFloat32);
    const LayerTable layers(n, {array(model, "input").narrow(0, 0, 1).sizes().vec()});
    EXPECT_EQ(layers.layer(layers.default_cam_layer()).node, wanted->second) << model.name;
  }
  EXPECT_GE(seen, 3);
}

TEST_F(Zoo, BatchEqualsItsPicturesOneByOne) {
  constexpr double kRounding = 1e-11;
  for (const ZooModel& model : models_) {
    SCOPED_TRACE(model.name);
    const Tensor x = array(model, "input");
    const Network net = network(model, Precision::kFloat64);
    EXPECT_EQ(net.batches_safely(), model.takes_batches);
    if (!model.takes_batches) continue;
    const PerPicture output = [&](const Tensor& part, int64_t) { return output_of(net, part); };
    EXPECT_TRUE(within(output(x, 0), one_by_one(x, output), {kRounding, kRounding}));
    const PerPicture gradient = [&](const Tensor& part, int64_t n) {
      return input_gradient(net, part, kFirstTarget + n);
    };
    EXPECT_TRUE(within(gradient(x, 0), one_by_one(x, gradient), {kRounding, kRounding}));
  }
}

}  // namespace
}  // namespace pellucid::test
