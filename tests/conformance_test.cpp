// The ONNX backend test data (Debian package libonnx-testdata): every case whose operators Pellucid has must give the
// published answer, with the graph as in the file and with the planner's optimizations; and every operator that brings
// its own vector-Jacobian product must agree with LibTorch's autograd on the same inputs.

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "graph/op.h"
#include "pellucid/error.h"
#include "pellucid/graph.h"
#include "pellucid/network.h"

#ifndef PELLUCID_ONNX_TESTDATA
#define PELLUCID_ONNX_TESTDATA "/usr/share/libonnx-testdata/data"
#endif

namespace pellucid {
namespace {

namespace fs = std::filesystem;

// The tolerances of ONNX's own runner.
constexpr double kRelative = 1e-3;
constexpr double kAbsolute = 1e-7;
// The published bfloat16 values are cut; LibTorch rounds to the nearest. That is one unit in the last of 8 bits.
constexpr double kRelativeBFloat16 = 1.0 / 128;

constexpr char kRandom[] = "the published numbers come from another random generator";
constexpr char kTrains[] = "asks for training; a network is explained as it predicts";
constexpr char kOldSlope[] = "one slope per channel without broadcasting, as up to opset 6";

// Cases that cannot have the published answer, and why.
const std::map<std::string, std::string> kExceptions = {
    {"test_batchnorm_epsilon_training_mode", kTrains},
    {"test_batchnorm_example_training_mode", kTrains},
    {"test_bernoulli", kRandom},
    {"test_bernoulli_double", kRandom},
    {"test_bernoulli_double_expanded", kRandom},
    {"test_bernoulli_expanded", kRandom},
    {"test_bernoulli_seed", kRandom},
    {"test_bernoulli_seed_expanded", kRandom},
    {"test_training_dropout", kTrains},
    {"test_training_dropout_default", kTrains},
    {"test_training_dropout_default_mask", kTrains},
    {"test_training_dropout_mask", kTrains},
    {"test_PReLU_1d_multiparam", kOldSlope},
    {"test_PReLU_2d_multiparam", kOldSlope},
    {"test_PReLU_3d_multiparam", kOldSlope},
};

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

// An own reader, so that the expected values do not pass through the importer under test.
template <typename Item, typename Field>
Tensor from_field(const Field& field, at::ScalarType type, const Shape& shape) {
  Tensor tensor = at::empty(shape, at::TensorOptions(type));
  if (tensor.numel() != field.size()) throw_invalid("a test tensor has the wrong number of elements");
  std::copy(field.begin(), field.end(), static_cast<Item*>(tensor.data_ptr()));
  return tensor;
}

std::optional<at::ScalarType> type_of(int32_t onnx_type) {
  using P = onnx::TensorProto;
  switch (onnx_type) {
    case P::FLOAT:
      return at::kFloat;
    case P::DOUBLE:
      return at::kDouble;
    case P::FLOAT16:
      return at::kHalf;
    case P::BFLOAT16:
      return at::kBFloat16;
    case P::INT8:
      return at::kChar;
    case P::INT16:
      return at::kShort;
    case P::INT32:
      return at::kInt;
    case P::INT64:
      return at::kLong;
    case P::UINT8:
      return at::kByte;
    case P::BOOL:
      return at::kBool;
    default:
      return std::nullopt;
  }
}

Tensor read_tensor(const fs::path& path) {
  onnx::TensorProto proto;
  if (!proto.ParseFromString(bytes_of(path))) throw_invalid("cannot read " + path.string());
  // The data set stores bfloat16 as its bits; models that declare uint16 are not run.
  const bool is_bits = proto.data_type() == onnx::TensorProto::UINT16;
  const std::optional<at::ScalarType> type = is_bits ? at::kBFloat16 : type_of(proto.data_type());
  if (!type) throw_invalid("element type of " + path.string());
  const Shape shape(proto.dims().begin(), proto.dims().end());
  if (proto.has_raw_data()) {
    Tensor tensor = at::empty(shape, at::TensorOptions(*type));
    if (tensor.nbytes() != proto.raw_data().size()) throw_invalid("size of " + path.string());
    std::memcpy(tensor.data_ptr(), proto.raw_data().data(), proto.raw_data().size());
    return tensor;
  }
  switch (*type) {
    case at::kFloat:
      return from_field<float>(proto.float_data(), *type, shape);
    case at::kDouble:
      return from_field<double>(proto.double_data(), *type, shape);
    case at::kLong:
      return from_field<int64_t>(proto.int64_data(), *type, shape);
    case at::kHalf:
    case at::kBFloat16:
      return from_field<int16_t>(proto.int32_data(), at::kShort, shape).view(*type);
    default:
      return from_field<int32_t>(proto.int32_data(), at::kInt, shape).to(*type);
  }
}

/// What keeps a model from being run at all; empty when nothing does.
std::set<std::string> unsupported_in(const onnx::ModelProto& model) {
  std::map<std::string, int64_t> opsets;
  for (const auto& import : model.opset_import()) {
    opsets[import.domain() == "ai.onnx" ? "" : import.domain()] = import.version();
  }
  std::set<std::string> problems;
  for (const onnx::NodeProto& node : model.graph().node()) {
    const std::string domain = node.domain() == "ai.onnx" ? "" : node.domain();
    if (find_op(domain, node.op_type(), opsets[domain]) == nullptr) problems.insert("operator " + node.op_type());
  }
  const auto check_type = [&](const onnx::ValueInfoProto& value) {
    if (!value.type().has_tensor_type()) {
      problems.insert("values that are not tensors");
    } else if (!type_of(value.type().tensor_type().elem_type())) {
      const auto type = static_cast<onnx::TensorProto_DataType>(value.type().tensor_type().elem_type());
      problems.insert("element type " + onnx::TensorProto_DataType_Name(type));
    }
  };
  for (const auto& value : model.graph().input()) check_type(value);
  for (const auto& value : model.graph().output()) check_type(value);
  return problems;
}

/// Pellucid reads opset 7 and later. The older models here use nothing that opset 7 changed, so they are read as such.
std::string read_model(const fs::path& folder, onnx::ModelProto& model) {
  if (!model.ParseFromString(bytes_of(folder / "model.onnx"))) throw_invalid("cannot read the test model");
  for (auto& import : *model.mutable_opset_import()) {
    const bool is_own = import.domain().empty() || import.domain() == "ai.onnx";
    if (is_own && import.version() < 7) import.set_version(7);
  }
  return model.SerializeAsString();
}

TensorList read_tensors(const fs::path& folder, const std::string& prefix) {
  TensorList tensors;
  for (size_t i = 0;; ++i) {
    const fs::path path = folder / (prefix + std::to_string(i) + ".pb");
    if (!fs::exists(path)) return tensors;
    tensors.push_back(read_tensor(path));
  }
}

/// Empty when equal as the ONNX runner sees it, otherwise where they differ most.
std::string difference(const Tensor& actual, const Tensor& expected) {
  if (!actual.defined()) return "nothing was computed";
  if (actual.sizes() != expected.sizes() || actual.scalar_type() != expected.scalar_type()) {
    return tensor_text(actual) + " instead of " + tensor_text(expected);
  }
  if (expected.numel() == 0) return {};
  if (!expected.is_floating_point()) {
    const int64_t wrong = at::ne(actual, expected).sum().item<int64_t>();
    return wrong == 0 ? std::string() : std::to_string(wrong) + " elements differ";
  }
  const Tensor a = actual.to(at::kDouble);
  const Tensor b = expected.to(at::kDouble);
  const double relative = expected.scalar_type() == at::kBFloat16 ? kRelativeBFloat16 : kRelative;
  const Tensor close = at::isclose(a, b, relative, kAbsolute, /*equal_nan=*/true);
  if (close.all().item<bool>()) return {};
  const Tensor error = (a - b).abs().masked_fill(close, 0).flatten().nan_to_num(1e30);
  const int64_t worst = error.argmax().item<int64_t>();
  std::ostringstream text;
  text << "element " << worst << " is " << a.flatten()[worst].item<double>() << " instead of "
       << b.flatten()[worst].item<double>();
  return text.str();
}

struct Tally {
  std::vector<std::string> passed;
  std::vector<std::string> failed;
  std::map<std::string, int> unsupported;
};

/// Real numbers as they come to a network on this device: integers are mostly shapes and positions, and stay.
TensorList on_device(TensorList tensors, const std::string& device) {
  for (Tensor& t : tensors) {
    if (t.is_floating_point()) t = t.to(at::Device(device));
  }
  return tensors;
}

void run_case(const fs::path& folder, bool optimize, const std::string& bytes, const std::string& device,
              Tally& tally) {
  const std::string name = folder.filename().string();
  try {
    NetworkOptions options;
    options.precision = Precision::kAsStored;
    options.optimize = optimize;
    options.device = device;
    const Network network(parse_onnx(bytes, name), options);
    Request request;
    request.capture = network.graph().outputs();
    int num_sets = 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (!entry.is_directory()) continue;
      ++num_sets;
      const TensorList expected = read_tensors(entry.path(), "output_");
      const Values values = network.run(on_device(read_tensors(entry.path(), "input_"), device), request);
      if (expected.size() != request.capture.size()) throw_invalid("another number of outputs");
      for (size_t i = 0; i < expected.size(); ++i) {
        const std::string problem = difference(values.at(request.capture[i]).cpu(), expected[i]);
        if (!problem.empty()) throw_invalid("output " + std::to_string(i) + ": " + problem);
      }
    }
    if (num_sets == 0) throw_invalid("no data");
    tally.passed.push_back(name);
  } catch (const std::exception& error) {
    tally.failed.push_back(name + (optimize ? " (optimized): " : ": ") + error.what());
  }
}

std::vector<fs::path> cases_of(const std::string& set) {
  std::vector<fs::path> folders;
  const fs::path root = fs::path(PELLUCID_ONNX_TESTDATA) / set;
  if (!fs::exists(root)) return folders;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / "model.onnx")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

void check_set(const std::string& set, size_t least_passing, const std::string& device = "cpu") {
  const std::vector<fs::path> folders = cases_of(set);
  if (folders.empty()) GTEST_SKIP() << "no ONNX test data in " << PELLUCID_ONNX_TESTDATA << "/" << set;
  Tally tally;
  for (const fs::path& folder : folders) {
    if (kExceptions.count(folder.filename().string()) != 0) continue;
    onnx::ModelProto model;
    const std::string bytes = read_model(folder, model);
    const std::set<std::string> problems = unsupported_in(model);
    for (const std::string& problem : problems) ++tally.unsupported[problem];
    if (!problems.empty()) continue;
    run_case(folder, false, bytes, device, tally);
    run_case(folder, true, bytes, device, tally);
  }
  std::cout << set << ": " << tally.passed.size() << " runs passed, " << tally.failed.size()
            << " failed; not supported:";
  for (const auto& [problem, count] : tally.unsupported) std::cout << " " << problem << " (" << count << ")";
  std::cout << "\n";
  std::string failures;
  for (const std::string& failure : tally.failed) failures += "\n  " + failure;
  EXPECT_TRUE(tally.failed.empty()) << tally.failed.size() << " failed:" << failures;
  // Each case runs twice.
  EXPECT_GE(tally.passed.size(), 2 * least_passing);
}

TEST(Conformance, Node) { check_set("node", 700); }
#ifdef PELLUCID_STRICT_DEVICE
// Every operator on a device that is not the CPU: nothing is made, or read, on the wrong one.
TEST(Conformance, NodeOnAnotherDevice) { check_set("node", 700, "privateuseone"); }
#endif
TEST(Conformance, Simple) { check_set("simple", 6); }
TEST(Conformance, PytorchConverted) { check_set("pytorch-converted", 75); }
TEST(Conformance, PytorchOperator) { check_set("pytorch-operator", 30); }

Tensor resized_to_0_6(const Tensor& x, int64_t opset, std::map<std::string, Attribute> attributes) {
  GraphBuilder builder(opset);
  builder.input("x", x.sizes().vec());
  builder.constant("scales", at::full({2}, 0.6, at::TensorOptions(at::kFloat)));
  attributes["axes"] = std::vector<int64_t>{2, 3};
  builder.node("Resize", {"x", "", "scales"}, {"y"}, std::move(attributes));
  builder.output("y");
  return Network(builder.finish()).run(x).at(0);
}

// Resize as opset 18 and 19 extend it, which the packaged data does not cover yet. 1..16 as a 4x4 picture, by 0.6: each
// output lies at 1/3 or 2 in the input, and the kernel is stretched to 1/0.6 of its reach. For the linear kernel the
// weights at 1/3 are 0.2, 0.8, 0.6, 0 over -1, 0, 1, 2, the border repeated: (1*1 + 0.6*2) / 1.6 = 1.375 along a row.
TEST(Conformance, ResizeAntialiasStretchesTheKernel) {
  const Tensor x = at::arange(1, 17, at::TensorOptions(at::kFloat)).view({1, 1, 4, 4});
  const Tensor linear = resized_to_0_6(x, 18, {{"mode", std::string("linear")}, {"antialias", int64_t{1}}});
  const Tensor expected = at::tensor({2.875f, 4.5f, 9.375f, 11.0f}).view({1, 1, 2, 2});
  EXPECT_EQ(difference(linear, expected), "");
}

// The picture keeps its center: of 4 positions by 0.6 two are left, at the centers 5/6 to either side of 1.5.
TEST(Conformance, ResizeHalfPixelSymmetricKeepsTheCenter) {
  const Tensor x = at::arange(1, 5, at::TensorOptions(at::kFloat)).view({1, 1, 1, 4}).repeat({1, 1, 4, 1});
  const Tensor y = resized_to_0_6(
      x, 19,
      {{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("half_pixel_symmetric")}});
  const Tensor row = at::tensor({5.0f / 3, 10.0f / 3});
  EXPECT_EQ(difference(y, at::stack({row, row}).view({1, 1, 2, 2})), "");
}

/// Compares an operator's own VJP with autograd through its forward function, for one model of a single node. Returns
/// what differs; `checked` says whether there was anything to compare.
std::string vjp_difference(const Graph& graph, const TensorList& data, bool& checked) {
  const Node& node = graph.nodes().front();
  const Op* op = find_op(node.domain, node.op, node.opset);
  checked = false;
  if (op == nullptr || op->vjp == nullptr) return {};
  std::map<ValueId, Tensor> known;
  for (size_t i = 0; i < graph.inputs().size() && i < data.size(); ++i) known[graph.inputs()[i].value] = data[i];
  TensorList leaves;
  std::vector<bool> needed;
  for (const ValueId id : node.inputs) {
    Tensor x = id == kNoValue ? Tensor() : known.count(id) != 0 ? known[id] : graph.value(id).constant;
    // LibTorch does not differentiate by running statistics.
    const bool is_statistic = op->role == OpRole::kNormalization && !leaves.empty();
    const bool is_float = x.defined() && x.is_floating_point();
    const bool is_real = is_float && !is_statistic;
    // In double, so that the comparison tells a wrong formula from rounding.
    if (is_float) x = x.to(at::kDouble).detach().clone().requires_grad_(is_real);
    leaves.push_back(x);
    needed.push_back(is_real);
  }
  TensorList inputs = leaves;
  TensorList saved;
  OpCall call{node, inputs, &saved};
  const TensorList outputs = op->forward(call);
  TensorList roots;
  TensorList seeds;
  TensorList grads(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
    grads[i] = at::linspace(-1, 2, outputs[i].numel(), at::TensorOptions(at::kDouble)).view(outputs[i].sizes());
    roots.push_back(outputs[i]);
    seeds.push_back(grads[i]);
  }
  TensorList wanted;
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (needed[i]) wanted.push_back(leaves[i]);
  }
  if (roots.empty() || wanted.empty()) return {};
  const TensorList expected = torch::autograd::grad(roots, wanted, seeds, true, false, /*allow_unused=*/true);
  TensorList in;
  TensorList out;
  TensorList kept;
  for (const Tensor& leaf : leaves) in.push_back(leaf.defined() ? leaf.detach() : leaf);
  for (const Tensor& output : outputs) out.push_back(output.defined() ? output.detach() : output);
  for (const Tensor& tensor : saved) kept.push_back(tensor.defined() ? tensor.detach() : tensor);
  std::vector<Shape> shapes;
  for (const Tensor& leaf : leaves) shapes.push_back(leaf.defined() ? leaf.sizes().vec() : Shape());
  // What the operator says it does not read is not given to it.
  const bool inputs_kept = op->reads == VjpReads::kInputs || op->reads == VjpReads::kBoth;
  const bool outputs_kept = op->reads == VjpReads::kOutputs || op->reads == VjpReads::kBoth;
  if (!inputs_kept) in.assign(in.size(), Tensor());
  if (!outputs_kept) out.assign(out.size(), Tensor());
  const TensorList actual = op->vjp({node, in, out, kept, grads, needed, shapes});
  if (actual.size() != leaves.size()) return "returns " + std::to_string(actual.size()) + " gradients";
  size_t next = 0;
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!needed[i]) continue;
    const Tensor& reference = expected[next++];
    if (!reference.defined() || !actual[i].defined()) continue;
    checked = true;
    const std::string problem = difference(actual[i], reference);
    if (!problem.empty()) return "input " + std::to_string(i) + ": " + problem;
  }
  return {};
}

TEST(Conformance, OwnGradientsAgreeWithAutograd) {
  const std::vector<fs::path> folders = cases_of("node");
  if (folders.empty()) GTEST_SKIP() << "no ONNX test data in " << PELLUCID_ONNX_TESTDATA;
  std::set<std::string> checked_ops;
  std::string failures;
  for (const fs::path& folder : folders) {
    onnx::ModelProto model;
    const std::string bytes = read_model(folder, model);
    if (!unsupported_in(model).empty() || model.graph().node_size() != 1) continue;
    // Straight-through by intent: autograd gives zero for a rounding.
    if (model.graph().node(0).op_type() == "QuantizeLinear") continue;
    bool checked = false;
    std::string problem;
    try {
      problem = vjp_difference(parse_onnx(bytes, "test"), read_tensors(folder / "test_data_set_0", "input_"), checked);
    } catch (const std::exception& error) {
      problem = error.what();
      problem.resize(std::min(problem.size(), problem.find('\n')));
    }
    if (checked) checked_ops.insert(model.graph().node(0).op_type());
    if (!problem.empty()) failures += "\n  " + folder.filename().string() + ": " + problem;
  }
  EXPECT_TRUE(failures.empty()) << failures;
  EXPECT_GE(checked_ops.size(), 20u);
}

}  // namespace
}  // namespace pellucid
