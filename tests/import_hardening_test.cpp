// What a damaged or hostile model file gets: one clear line, in bounded time and memory, whatever its bytes are.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "pellucid/error.h"
#include "pellucid/graph.h"
#include "pellucid/network.h"
#include "pellucid/text.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/onnx_model.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

namespace fs = std::filesystem;
using P = onnx::TensorProto;

constexpr auto kInvalid = ErrorKind::kInvalidInput;
constexpr auto kUnsupported = ErrorKind::kUnsupported;
constexpr auto kFailed = ErrorKind::kFailed;
constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
constexpr int64_t kMemoryLimit = int64_t{1} << 30;
const char* const kDamaged = "bad.onnx: not an ONNX model: the file is damaged or of another format";

/// All cases run under a memory limit, so that a bomb fails the test instead of the machine.
class ImportHardening : public ::testing::Test {
 protected:
  void SetUp() override { set_memory_limit(kMemoryLimit); }
  void TearDown() override { set_memory_limit(0); }
};
class ModelBytes : public ImportHardening {};
class ModelPath : public ImportHardening {};
class WeightData : public ImportHardening {};
class ExternalData : public ImportHardening {};
class GraphStructure : public ImportHardening {};
class OperatorSets : public ImportHardening {};
class NodeAttributes : public ImportHardening {};
class AllocationBombs : public ImportHardening {};
class NetworkInputs : public ImportHardening {};

Graph parse(const OnnxModel& model) { return parse_onnx(model.bytes(), "bad.onnx"); }

void expect_rejected(const OnnxModel& model, ErrorKind kind, const std::string& message) {
  const std::string bytes = model.bytes();
  expect_error(kind, message, [&] { parse_onnx(bytes, "bad.onnx"); });
}

void expect_bytes_rejected(const std::string& bytes, const std::string& message = kDamaged) {
  expect_error(kInvalid, message, [&] { parse_onnx(bytes, "bad.onnx"); });
}

/// Whether the model is refused when read, when planned or when run is the engine's choice; the sentence is not.
void expect_run_rejected(const OnnxModel& model, const TensorList& inputs, ErrorKind kind, const std::string& message) {
  const std::string bytes = model.bytes();
  expect_error(kind, message, [&] {
    const Network network(parse_onnx(bytes, "bad.onnx"));
    Request request;
    request.capture = network.graph().outputs();
    network.run(inputs, request);
  });
}

Tensor run_model(const OnnxModel& model, const Tensor& input) { return Network(parse(model)).run(input).at(0); }

/// x [N,3,8,8] -> Relu -> y.
OnnxModel small_model() {
  OnnxModel m;
  m.input("x", {-1, 3, 8, 8}).output("y");
  m.node("Relu", {"x"}, {"y"}, "relu");
  return m;
}

/// x -> Add of the initializer 'w', which the caller writes -> y.
OnnxModel model_with_weight() {
  OnnxModel m;
  m.input("x", {-1, 4}).output("y");
  m.node("Add", {"x", "w"}, {"y"}, "add");
  return m;
}

std::string raw(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

double seconds_of(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// ---------------------------------------------------------------------------------------------------- model bytes

TEST_F(ModelBytes, EmptyFileSaysThatItIsEmpty) {
  expect_bytes_rejected("", "bad.onnx: the file is empty; an ONNX model was expected");
}

// A file that is cut while it is being read gives an error or the whole model, never a signal.
TEST_F(ModelPath, FilesThatShrinkWhileTheyAreReadNeverEndTheProcess) {
  const TemporaryFolder folder;
  OnnxModel m;
  m.input("x", {1, 1, 1, 1}).floats("w", {1 << 21}, std::vector<float>(1 << 21, 1.0f));
  m.node("Add", {"x", "w"}, {"y"}, "add").proto();
  m.output("y");
  const std::string bytes = m.bytes(), path = folder.write("m.onnx", bytes);
  std::atomic<bool> done{false};
  std::thread cutter([&] {
    while (!done) {
      if (::truncate(path.c_str(), 4096) != 0) break;
      std::ofstream(path, std::ios::binary | std::ios::in).write(bytes.data(), static_cast<int64_t>(bytes.size()));
    }
  });
  for (int i = 0; i < 60; ++i) {
    try {
      load_onnx(path);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInvalidInput) << e.what();
    }
  }
  done = true;
  cutter.join();
}

TEST_F(ModelBytes, SingleBytesAreDamaged) {
  for (int byte = 0; byte < 256; ++byte) expect_bytes_rejected(std::string(1, static_cast<char>(byte)));
}

TEST_F(ModelBytes, PngWithTheWrongNameIsDamaged) {
  expect_bytes_rejected(std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0", 29));
}

TEST_F(ModelBytes, EveryPrefixIsRejected) {
  OnnxModel m;
  m.input("x", {-1, 3, 8, 8}).ones("w", {4, 3, 3, 3}).output("y");
  m.node("Conv", {"x", "w"}, {"y"}, "conv").ints("pads", {1, 1, 1, 1});
  const std::string bytes = m.bytes();
  ASSERT_NO_THROW(parse_onnx(bytes, "bad.onnx"));
  for (size_t i = 0; i < 64; ++i) {
    const std::string prefix = bytes.substr(0, bytes.size() * i / 64);
    EXPECT_THROW(parse_onnx(prefix, "bad.onnx"), Error) << prefix.size() << " of " << bytes.size() << " bytes";
  }
}

TEST_F(ModelBytes, TrailingGarbageIsDamaged) { expect_bytes_rejected(small_model().bytes() + std::string(16, '\xff')); }

// A TensorProto is valid protobuf; read as a model its dims would be the IR version.
TEST_F(ModelBytes, AnotherSchemaHasNoGraph) {
  onnx::TensorProto tensor;
  tensor.add_dims(4);
  tensor.set_data_type(P::FLOAT);
  tensor.set_raw_data(std::string(16, 'a'));
  expect_bytes_rejected(tensor.SerializeAsString(), "bad.onnx: not an ONNX model: it has no graph");
}

TEST_F(ModelBytes, OverlongVarintIsDamaged) { expect_bytes_rejected("\x08" + std::string(11, '\xff') + "\x01"); }

TEST_F(ModelBytes, LengthBeyondTheFileIsDamaged) {
  expect_bytes_rejected("\x3a\x7f" + std::string(5, 'a'));
  expect_bytes_rejected("\x3a\xff\xff\xff\xff\x07" + std::string(5, 'a'));
}

// attribute -> graph -> node -> attribute, 10^4 times: a parser that recurses without limit overflows its stack.
TEST_F(ModelBytes, DeepNestingIsDamaged) {
  std::string reversed;  // innermost message first, each byte string back to front
  const auto wrap = [&](char tag) {
    std::string prefix(1, tag);
    for (size_t length = reversed.size();; length >>= 7) {
      prefix.push_back(static_cast<char>((length & 0x7f) | (length >= 0x80 ? 0x80 : 0)));
      if (length < 0x80) break;
    }
    reversed.append(prefix.rbegin(), prefix.rend());
  };
  for (int level = 0; level < 10000; ++level) {
    wrap('\x0a');  // GraphProto.node
    wrap('\x32');  // AttributeProto.g
    wrap('\x2a');  // NodeProto.attribute
  }
  wrap('\x0a');
  wrap('\x3a');  // ModelProto.graph
  expect_bytes_rejected(std::string(reversed.rbegin(), reversed.rend()));
}

TEST_F(ModelBytes, UnknownFieldsAreSkippedInTime) {
  std::string bytes = "\x9a\x3f";  // field 1011, length-delimited
  for (size_t length = 100'000'000; length > 0; length >>= 7) {
    bytes.push_back(static_cast<char>((length & 0x7f) | (length >= 0x80 ? 0x80 : 0)));
  }
  bytes.append(100'000'000, 'a');
  expect_bytes_rejected(bytes, "bad.onnx: not an ONNX model: it has no graph");
  std::string small;
  for (int i = 0; i < 1'000'000; ++i) small += "\x98\x3f\x01";  // the same number as a varint
  expect_bytes_rejected(small, "bad.onnx: not an ONNX model: it has no graph");
}

TEST_F(ModelBytes, RandomBytesGiveAnErrorAndNothingElse) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(1 + random() % 300, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_THROW(parse_onnx(bytes, "bad.onnx"), Error) << "round " << i;
  }
}

// Any outcome is right but a crash, a hang, or an exception that is not pellucid::Error.
TEST_F(ModelBytes, MutatedModelsLoadOrGiveAnError) {
  OnnxModel m;
  m.input("x", {-1, 3, 8, 8}).ones("w", {4, 3, 3, 3}).ones("fc", {4, 5}).integers("flat", {0, -1}).output("y");
  m.node("Conv", {"x", "w"}, {"a"}, "conv").ints("pads", {1, 1, 1, 1}).ints("strides", {2, 2});
  m.node("Relu", {"a"}, {"b"}, "relu");
  m.node("MaxPool", {"b"}, {"c"}, "pool").ints("kernel_shape", {2, 2}).ints("strides", {2, 2});
  m.node("GlobalAveragePool", {"c"}, {"d"}, "gap");
  m.node("Reshape", {"d", "flat"}, {"e"}, "reshape");
  m.node("Gemm", {"e", "fc"}, {"f"}, "gemm").real("alpha", 0.5f);
  m.node("Softmax", {"f"}, {"y"}, "softmax").integer("axis", 1);
  const std::string whole = m.bytes();
  const Tensor x = at::ones({2, 3, 8, 8});
  std::mt19937 random(2);
  int loaded = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = whole;
    for (unsigned change = 0; change < 1 + random() % 3; ++change) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
          break;
        case 2:
          bytes.erase(at, 1 + random() % 4);
          break;
        default:
          bytes.insert(at, 1, static_cast<char>(random()));
          break;
      }
      if (bytes.empty()) bytes = "a";
    }
    try {
      const Graph graph = parse_onnx(bytes, "bad.onnx");
      ++loaded;
      const Network network(graph);
      Request request;
      request.capture = graph.outputs();
      network.run(TensorList(graph.inputs().size(), x), request);
    } catch (const Error&) {
    } catch (const std::exception& other) {
      ADD_FAILURE() << "round " << round << ": not a pellucid::Error: " << other.what();
    }
  }
  // Otherwise the rounds would only have tried protobuf's own parser.
  EXPECT_GT(loaded, 400);
}

// ------------------------------------------------------------------------------------------------------ model path

TEST_F(ModelPath, WhatIsNotARegularFileIsRefused) {
  const TemporaryFolder folder;
  const std::string fifo = folder.file("fifo.onnx");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_error(kInvalid, fifo + ": is not a regular file", [&] { load_onnx(fifo); });
  expect_error(kInvalid, folder.path() + ": is not a regular file", [&] { load_onnx(folder.path()); });
  expect_error(kInvalid, "/dev/zero: is not a regular file", [] { load_onnx("/dev/zero"); });
  const std::string missing = folder.file("none.onnx");
  expect_error(kInvalid, missing + ": cannot be opened: No such file or directory", [&] { load_onnx(missing); });
  const std::string below = folder.write("file", "a") + "/model.onnx";
  expect_error(kInvalid, below + ": cannot be opened: Not a directory", [&] { load_onnx(below); });
  expect_error(kInvalid, ": cannot be opened: No such file or directory", [] { load_onnx(""); });
}

TEST_F(ModelPath, SparseGiantsAreRefusedWithoutBeingRead) {
  const TemporaryFolder folder;
  const std::string path = folder.write("giant.onnx", "");
  std::error_code problem;
  fs::resize_file(path, uintmax_t{3} << 30, problem);
  if (problem) GTEST_SKIP() << "this file system has no sparse files: " << problem.message();
  expect_error(kUnsupported,
               "giant.onnx: the file is larger than 2 GiB, the limit of the format; store the weights as external data",
               [&] { load_onnx(path); });
  fs::resize_file(path, uintmax_t{1} << 40, problem);
  if (problem) GTEST_SKIP() << "this file system has no files of 1 TiB: " << problem.message();
  expect_error(kInvalid, "giant.onnx: the file has 1048576 MiB; at most 16384 are accepted", [&] { load_onnx(path); });
}

TEST_F(ModelPath, ErrorsInsideTheFileBeginWithItsName) {
  const TemporaryFolder folder;
  const std::string path = folder.write("noise.onnx", "not a model");
  expect_error(kInvalid, "noise.onnx: not an ONNX model: the file is damaged or of another format",
               [&] { load_onnx(path); });
}

// ----------------------------------------------------------------------------------------------------- weight data

TEST_F(WeightData, NegativeDimension) {
  auto m = model_with_weight();
  m.weight("w", {-4});
  expect_rejected(m, kInvalid, "bad.onnx: initializer 'w': dimension -4 is negative");
}

TEST_F(WeightData, ProductThatOverflows) {
  auto m = model_with_weight();
  m.weight("w", {int64_t{1} << 40, int64_t{1} << 40});
  expect_rejected(m, kInvalid, "bad.onnx: initializer 'w': its dimensions [1099511627776,1099511627776] are too large");
}

// Strides of an empty tensor are products of its other dimensions.
TEST_F(WeightData, ProductThatOverflowsBesideAZero) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{0, kHuge, kHuge}, {kHuge, kHuge, 0}}) {
    auto m = model_with_weight();
    m.weight("w", shape);
    expect_rejected(m, kInvalid, "bad.onnx: initializer 'w': its dimensions " + shape_text(shape) + " are too large");
  }
}

TEST_F(WeightData, MoreThanTheLimitIsRefusedBeforeItIsAllocated) {
  auto m = model_with_weight();
  m.weight("w", {int64_t{1} << 33});
  expect_rejected(m, kInvalid, "bad.onnx: initializer 'w': the weights need more than 16384 MiB");
  auto small = model_with_weight();
  small.weight("w", {4}).set_raw_data(std::string(16, '\0'));
  LoadOptions options;
  options.max_bytes = 12;
  expect_error(kInvalid, "bad.onnx: the file has 0 MiB; at most 0 are accepted",
               [&] { parse_onnx(small.bytes(), "bad.onnx", options); });
}

// Many tensors, each acceptable, whose sum is not.
TEST_F(WeightData, SumOfWeightsIsLimited) {
  auto m = model_with_weight();
  for (int i = 0; i < 8; ++i) {
    m.weight("w" + std::to_string(i), {1000}).set_raw_data(std::string(4000, '\0'));
  }
  LoadOptions options;
  options.max_bytes = 33'000;  // the file itself has a little more than 32 000 bytes
  m.ones("w", {4});
  ASSERT_LT(m.bytes().size(), 33'000u);
  EXPECT_NO_THROW(parse_onnx(m.bytes(), "bad.onnx", options));
  // Attributes of nodes count as well.
  auto* value = m.node("Constant", {}, {"c"}, "constant").attribute("value", onnx::AttributeProto::TENSOR)->mutable_t();
  value->set_data_type(P::FLOAT);
  value->add_dims(1000);
  expect_error(kInvalid, "bad.onnx: node 'constant' (Constant): attribute 'value': the weights need more than 0 MiB",
               [&] { parse_onnx(m.bytes(), "bad.onnx", options); });
}

TEST_F(WeightData, RawDataOfTheWrongLength) {
  auto shorter = model_with_weight();
  shorter.weight("w", {4}).set_raw_data(std::string(12, '\0'));
  expect_rejected(shorter, kInvalid, "bad.onnx: initializer 'w': raw_data has 12 bytes but [4] needs 16");
  auto longer = model_with_weight();
  longer.weight("w", {4}).set_raw_data(std::string(20, '\0'));
  expect_rejected(longer, kInvalid, "bad.onnx: initializer 'w': raw_data has 20 bytes but [4] needs 16");
  auto odd = model_with_weight();
  odd.weight("w", {2}, P::FLOAT16).set_raw_data(std::string(3, '\0'));
  expect_rejected(odd, kInvalid, "bad.onnx: initializer 'w': raw_data has 3 bytes but [2] needs 4");
  auto nothing = model_with_weight();
  nothing.weight("w", {4}).set_raw_data(std::string());
  expect_rejected(nothing, kInvalid, "bad.onnx: initializer 'w': raw_data has 0 bytes but [4] needs 16");
}

TEST_F(WeightData, NumbersOfTheWrongCountOrType) {
  auto fewer = model_with_weight();
  fewer.floats("w", {4}, {1, 2, 3});
  expect_rejected(fewer, kInvalid, "bad.onnx: initializer 'w': has 3 numbers but [4] needs 4");
  auto none = model_with_weight();
  none.weight("w", {4});
  expect_rejected(none, kInvalid, "bad.onnx: initializer 'w': has 0 numbers but [4] needs 4");
  auto other = model_with_weight();
  for (int i = 0; i < 4; ++i) other.weight("w", {4}).add_int32_data(i);
  other.graph().mutable_initializer()->DeleteSubrange(1, 3);
  expect_rejected(other, kInvalid, "bad.onnx: initializer 'w': has 0 numbers but [4] needs 4");
}

TEST_F(WeightData, RawAndTypedDataTogether) {
  auto m = model_with_weight();
  m.floats("w", {4}, {1, 2, 3, 4});
  m.graph().mutable_initializer(0)->set_raw_data(raw({1, 2, 3, 4}));
  expect_rejected(
      m, kInvalid,
      "bad.onnx: initializer 'w': holds its data twice, as raw bytes and as numbers or as two types of numbers");
  auto two = model_with_weight();
  two.floats("w", {1}, {1});
  two.graph().mutable_initializer(0)->add_int64_data(1);
  expect_rejected(
      two, kInvalid,
      "bad.onnx: initializer 'w': holds its data twice, as raw bytes and as numbers or as two types of numbers");
}

TEST_F(WeightData, ElementTypesThatAreNotSupported) {
  constexpr int32_t kFloat8 = 17;  // newer than the ONNX headers Debian ships
  constexpr int32_t kInt4 = 22;
  const std::vector<std::pair<int32_t, std::string>> types{
      {P::COMPLEX64, "COMPLEX64"}, {P::COMPLEX128, "COMPLEX128"}, {P::STRING, "STRING"}, {P::UINT64, "UINT64"},
      {P::UNDEFINED, "UNDEFINED"}, {kFloat8, "number 17"},        {kInt4, "number 22"},  {-1, "number -1"}};
  for (const auto& [type, name] : types) {
    auto m = model_with_weight();
    m.weight("w", {4}, type).set_raw_data(std::string(16, '\0'));
    expect_rejected(m, kUnsupported,
                    "bad.onnx: initializer 'w': element type " + name +
                        " is not supported; float16/32/64, bfloat16, int8..int64, uint8..uint32 and bool are");
  }
}

// A bool is one byte; LibTorch must never see one that is neither 0 nor 1.
TEST_F(WeightData, BoolBytesAreNormalized) {
  for (const int64_t count : {4, 64}) {  // short strings are copied, long ones become the tensor's memory
    OnnxModel m;
    m.input("x", {count}).output("y");
    m.weight("flags", {count}, P::BOOL).set_raw_data(std::string(static_cast<size_t>(count), '\x07'));
    m.node("Cast", {"flags"}, {"c"}, "cast").integer("to", P::FLOAT);
    m.node("Add", {"x", "c"}, {"y"}, "add");
    EXPECT_TRUE(run_model(m, at::zeros({count})).eq(1).all().item<bool>());
  }
}

TEST_F(WeightData, NumbersThatDoNotFitTheirType) {
  for (const auto& [type, name] : {std::pair{P::INT8, "INT8"}, std::pair{P::UINT8, "UINT8"}}) {
    auto m = model_with_weight();
    m.weight("w", {1}, type).add_int32_data(300);
    expect_rejected(m, kInvalid, std::string("bad.onnx: initializer 'w': the number 300 does not fit ") + name);
  }
}

// Not a number is a number of the file: it loads, and whoever uses the result sees it.
TEST_F(WeightData, NanWeightsLoadAndReachTheOutput) {
  auto m = model_with_weight();
  m.floats("w", {4}, {0, std::nanf(""), std::numeric_limits<float>::infinity(), 1});
  const Tensor y = run_model(m, at::zeros({1, 4}));
  EXPECT_TRUE(std::isnan(y[0][1].item<float>()));
  EXPECT_TRUE(std::isinf(y[0][2].item<float>()));
  EXPECT_EQ(y[0][3].item<float>(), 1.0f);
}

TEST_F(WeightData, TensorsOfAttributesAreCheckedToo) {
  OnnxModel m;
  m.output("y");
  auto* value = m.node("Constant", {}, {"y"}, "constant").attribute("value", onnx::AttributeProto::TENSOR)->mutable_t();
  value->set_data_type(P::FLOAT);
  value->add_dims(4);
  value->set_raw_data(std::string(3, '\0'));
  expect_rejected(m, kInvalid,
                  "bad.onnx: node 'constant' (Constant): attribute 'value': raw_data has 3 bytes but [4] needs 16");
}

TEST_F(WeightData, SparseInitializersAreUnsupported) {
  auto m = small_model();
  m.graph().add_sparse_initializer()->add_dims(4);
  expect_rejected(m, kUnsupported, "bad.onnx: sparse initializers are not supported");
}

// --------------------------------------------------------------------------------------------------- external data

using Keys = std::vector<std::pair<std::string, std::string>>;

OnnxModel external_model(const Keys& keys) {
  auto m = model_with_weight();
  auto& w = m.weight("w", {4});
  w.set_data_location(P::EXTERNAL);
  for (const auto& [key, value] : keys) {
    auto* entry = w.add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  return m;
}

/// `problem` follows "model.onnx: initializer 'w': ".
void expect_external_rejected(const TemporaryFolder& folder, const Keys& keys, const std::string& problem) {
  const std::string path = folder.write("models/model.onnx", external_model(keys).bytes());
  expect_error(kInvalid, "model.onnx: initializer 'w': " + problem, [&] { load_onnx(path); });
}

TEST_F(ExternalData, IsReadFromBelowTheModelsFolder) {
  const TemporaryFolder folder;
  folder.write("models/weights/w.bin", "xyz" + raw({1, 2, 3, 4}) + "tail");  // an offset that is not aligned
  for (const char* location : {"weights/w.bin", "./weights/w.bin", "weights//w.bin"}) {
    const std::string path = folder.write(
        "models/model.onnx",
        external_model({{"location", location}, {"offset", "3"}, {"length", "16"}, {"checksum", "0"}}).bytes());
    const Tensor y = Network(load_onnx(path)).run(at::zeros({1, 4})).at(0);
    EXPECT_TRUE(at::equal(y, at::arange(1, 5).to(at::kFloat).unsqueeze(0))) << location;
  }
}

TEST_F(ExternalData, LocationsOutsideTheFolderAreRefused) {
  const TemporaryFolder folder;
  folder.write("secret.bin", raw({1, 2, 3, 4}));
  const std::string inside = " must be a path inside the model's folder";
  for (const std::string& location :
       {folder.file("secret.bin"), std::string("../secret.bin"), std::string("a/../../secret.bin"), std::string(".."),
        std::string("a\\..\\..\\secret.bin"), std::string("..\\secret.bin"), std::string("C:\\secret.bin"),
        std::string("C:secret.bin"), std::string("\\\\server\\share\\secret.bin"),
        std::string("//server/secret.bin")}) {
    expect_external_rejected(folder, {{"location", location}},
                             "external data location '" + printable(location) + "'" + inside);
  }
}

TEST_F(ExternalData, LocationsThatAreNoFileNameAreRefused) {
  const TemporaryFolder folder;
  expect_external_rejected(folder, {}, "external data has no location");
  expect_external_rejected(folder, {{"location", ""}}, "external data has no location");
  expect_external_rejected(folder, {{"location", "*/_ORT_MEM_ADDR_/*"}, {"offset", "140000000"}, {"length", "16"}},
                           "external data location '*/_ORT_MEM_ADDR_/*' is a marker for memory, not a file");
  expect_external_rejected(folder, {{"location", std::string("w.bin\0.png", 10)}},
                           "external data location 'w.bin?.png' contains a zero byte");
  expect_external_rejected(folder, {{"location", "none.bin"}},
                           "its external data 'none.bin' cannot be opened: No such file or directory");
  expect_external_rejected(folder, {{"location", "a\n\x1b[31mb"}},
                           "its external data 'a??[31mb' cannot be opened: No such file or directory");
  expect_external_rejected(folder, {{"location", std::string(100'000, 'a')}},
                           "its external data '" + std::string(117, 'a') + "...' cannot be opened: File name too long");
}

TEST_F(ExternalData, LinksAreRefused) {
  const TemporaryFolder folder;
  const std::string secret = folder.write("secret/w.bin", raw({1, 2, 3, 4}));
  folder.write("models/own.bin", raw({1, 2, 3, 4}));
  fs::create_symlink(secret, folder.file("models/link.bin"));
  fs::create_symlink("own.bin", folder.file("models/inner.bin"));
  fs::create_directory_symlink("../secret", folder.file("models/folder"));
  fs::create_symlink("nowhere", folder.file("models/dangling.bin"));
  fs::create_hard_link(secret, folder.file("models/hard.bin"));
  for (const char* location : {"link.bin", "inner.bin", "folder/w.bin", "dangling.bin"}) {
    expect_external_rejected(folder, {{"location", location}},
                             std::string("its external data '") + location + "' goes through a symbolic link");
  }
  expect_external_rejected(folder, {{"location", "hard.bin"}},
                           "its external data 'hard.bin' has more than one hard link");
}

TEST_F(ExternalData, WhatIsNotARegularFileIsRefused) {
  const TemporaryFolder folder;
  fs::create_directories(folder.file("models/folder"));
  ASSERT_EQ(::mkfifo(folder.file("models/fifo").c_str(), 0600), 0);
  for (const char* location : {"folder", "fifo", "."}) {
    expect_external_rejected(folder, {{"location", location}},
                             std::string("its external data '") + location + "' is not a regular file");
  }
}

TEST_F(ExternalData, RangesOutsideTheFileAreRefused) {
  const TemporaryFolder folder;
  folder.write("models/w.bin", std::string(20, '\0'));
  folder.write("models/empty.bin", "");
  const auto number = [](const std::string& key, const std::string& value) {
    return "external data " + key + " is '" + value + "'; it must be an integer >= 0";
  };
  for (const char* bad : {"-1", "99999999999999999999", "0x10", "1e1", " 4", "", "4 "}) {
    expect_external_rejected(folder, {{"location", "w.bin"}, {"offset", bad}}, number("offset", bad));
    expect_external_rejected(folder, {{"location", "w.bin"}, {"length", bad}}, number("length", bad));
  }
  expect_external_rejected(folder, {{"location", "w.bin"}, {"offset", "5"}},
                           "its external data 'w.bin' has 20 bytes; offset 5 and length 16 reach past its end");
  expect_external_rejected(
      folder, {{"location", "w.bin"}, {"offset", std::to_string(kHuge)}},
      "its external data 'w.bin' has 20 bytes; offset 9223372036854775807 and length 16 reach past "
      "its end");
  expect_external_rejected(folder, {{"location", "empty.bin"}},
                           "its external data 'empty.bin' has 0 bytes; offset 0 and length 16 reach past its end");
  for (const std::string& length : {std::string("15"), std::string("17"), std::string("0"), std::to_string(kHuge)}) {
    expect_external_rejected(folder, {{"location", "w.bin"}, {"length", length}},
                             "its external data 'w.bin' has length " + length + " but [4] needs 16");
  }
}

TEST_F(ExternalData, KeysThatAreRepeatedOrUnknownAreRefused) {
  const TemporaryFolder folder;
  folder.write("models/w.bin", std::string(16, '\0'));
  expect_external_rejected(folder, {{"location", "w.bin"}, {"location", "/etc/passwd"}},
                           "external data names 'location' twice");
  expect_external_rejected(folder, {{"location", "w.bin"}, {"basepath", "/etc"}},
                           "external data has an unknown key 'basepath'");
  Keys many{{"location", "w.bin"}};
  for (int i = 0; i < 1'000'000; ++i) many.push_back({std::to_string(i), ""});
  expect_external_rejected(folder, many, "external data has an unknown key '0'");
}

TEST_F(ExternalData, InlineDataBesideItIsRefused) {
  const TemporaryFolder folder;
  folder.write("models/w.bin", std::string(16, '\0'));
  auto m = external_model({{"location", "w.bin"}});
  m.graph().mutable_initializer(0)->set_raw_data(std::string(16, '\0'));
  const std::string path = folder.write("models/model.onnx", m.bytes());
  expect_error(kInvalid, "model.onnx: initializer 'w': has both external and inline data", [&] { load_onnx(path); });
}

TEST_F(ExternalData, IsRefusedForModelsInMemory) {
  expect_rejected(external_model({{"location", "w.bin"}}), kInvalid,
                  "bad.onnx: initializer 'w': external data is refused for a model that does not come from a file");
}

// -------------------------------------------------------------------------------------------------- graph structure

TEST_F(GraphStructure, CycleAndSelfEdge) {
  OnnxModel m;
  m.input("x", {4}).output("c");
  m.node("Relu", {"b"}, {"c"}, "after");
  m.node("Add", {"x", "b"}, {"a"}, "first");
  m.node("Relu", {"a"}, {"b"}, "second");
  expect_rejected(m, kInvalid, "bad.onnx: the graph has a cycle through node 'first' (Add)");
  OnnxModel self;
  self.input("x", {4}).output("y");
  self.node("Add", {"x", "y"}, {"y"}, "self");
  expect_rejected(self, kInvalid, "bad.onnx: the graph has a cycle through node 'self' (Add)");
}

TEST_F(GraphStructure, ValuesDefinedTwice) {
  auto node = small_model();
  node.node("Abs", {"x"}, {"y"}, "again");
  expect_rejected(node, kInvalid, "bad.onnx: node 'again' (Abs): its output 'y' is already defined");
  auto input = small_model();
  input.node("Abs", {"y"}, {"x"}, "over_input");
  expect_rejected(input, kInvalid, "bad.onnx: node 'over_input' (Abs): its output 'x' is already defined");
  auto weight = model_with_weight();
  weight.ones("w", {4});
  weight.node("Abs", {"x"}, {"w"}, "over_weight");
  expect_rejected(weight, kInvalid, "bad.onnx: node 'over_weight' (Abs): its output 'w' is already defined");
  auto weights = model_with_weight();
  weights.ones("w", {4}).ones("w", {4});
  expect_rejected(weights, kInvalid, "bad.onnx: initializer 'w' is defined twice");
  auto inputs = small_model();
  inputs.input("x", {4});
  expect_rejected(inputs, kInvalid, "bad.onnx: input 'x' is defined twice");
  OnnxModel twice;
  twice.input("x", {-1, 4}).output("y");
  twice.node("Split", {"x"}, {"y", "y"}, "split").integer("axis", 1);
  expect_rejected(twice, kInvalid, "bad.onnx: node 'split' (Split): its output 'y' is already defined");
}

TEST_F(GraphStructure, ValuesThatNothingProduces) {
  auto output = small_model();
  output.output("z");
  expect_rejected(output, kInvalid, "bad.onnx: output 'z' is not produced by any node");
  auto input = small_model();
  input.node("Abs", {"q"}, {"z"}, "abs");
  expect_rejected(input, kInvalid,
                  "bad.onnx: node 'abs' (Abs): its input 'q' is not produced by any node, input or initializer");
  auto none = small_model();
  none.graph().clear_output();
  expect_rejected(none, kInvalid, "bad.onnx: the graph has no outputs");
}

TEST_F(GraphStructure, NamesThatAreEmpty) {
  auto weight = small_model();
  weight.ones("", {4});
  expect_rejected(weight, kInvalid, "bad.onnx: an initializer has no name");
  auto input = small_model();
  input.input("", {4});
  expect_rejected(input, kInvalid, "bad.onnx: an input has no name");
  auto output = small_model();
  output.output("");
  expect_rejected(output, kInvalid, "bad.onnx: output '' is not produced by any node");
}

// expect_error itself refuses messages with control characters.
TEST_F(GraphStructure, NamesAreMadeSafeToPrint) {
  auto escape = small_model();
  escape.node("Abs", {"q\r\n"}, {"z"}, "a\n\x1b[31m<script>\x7f");
  expect_rejected(escape, kInvalid,
                  "bad.onnx: node 'a??[31m<script>?' (Abs): its input 'q?"
                  "?' is not produced by any node, input or "
                  "initializer");
  auto large = small_model();
  large.output(std::string(1'000'000, 'n'));
  expect_rejected(large, kInvalid, "bad.onnx: output '" + std::string(117, 'n') + "...' is not produced by any node");
  auto op = small_model();
  op.node("Bad\n" + std::string(1'000'000, 'x'), {"x"}, {"z"}, "../../etc");
  op.output("z");
  expect_rejected(
      op, kUnsupported,
      "bad.onnx: op Bad?" + std::string(53, 'x') +
          "... (opset 13) ('../../etc') is not supported, 1 of 2 nodes; 'pellucid info --ops' lists what is");
}

TEST_F(GraphStructure, UnusedValuesAreHarmless) {
  auto m = small_model();
  m.input("unused", {4}).ones("spare", {4});
  m.node("Abs", {"x"}, {"dead"}, "dead");
  const Graph graph = parse(m);
  EXPECT_EQ(graph.inputs().size(), 2u);
  EXPECT_NE(graph.find("spare"), kNoValue);
  EXPECT_NE(graph.find("dead"), kNoValue);
}

TEST_F(GraphStructure, NodesWithoutANameAreNamedByTheirPosition) {
  OnnxModel m;
  m.input("x", {4}).output("v3");
  for (int i = 0; i < 40; ++i) m.node("Relu", {i == 0 ? "x" : "v" + std::to_string(i - 1)}, {"v" + std::to_string(i)});
  const Graph graph = parse(m);
  for (size_t i = 0; i < graph.nodes().size(); ++i) EXPECT_EQ(graph.nodes()[i].name, "Relu_" + std::to_string(i));
}

// IR version 3 lists weights among the inputs.
TEST_F(GraphStructure, WeightsListedAsInputsAreNotInputs) {
  auto m = model_with_weight();
  m.input("w", {4}).ones("w", {4});
  EXPECT_EQ(parse(m).inputs().size(), 1u);
}

TEST_F(GraphStructure, NodeWithManyInputs) {
  constexpr int64_t kInputs = 100'000;
  OnnxModel m;
  m.input("x", {2}).output("y");
  m.node("Sum", OnnxModel::Names(kInputs, "x"), {"y"}, "sum");
  const std::string bytes = m.bytes();
  EXPECT_LT(seconds_of([&] {
              const Tensor y = Network(parse_onnx(bytes, "bad.onnx")).run(at::ones({2})).at(0);
              EXPECT_EQ(y[0].item<float>(), static_cast<float>(kInputs));
            }),
            kMaxSecondsToReject);
}

std::string chain_bytes(int num_nodes) {
  OnnxModel m;
  m.input("x", {2}).output("v" + std::to_string(num_nodes));
  for (int i = 0; i < num_nodes; ++i) {
    m.node("Relu", {i == 0 ? "x" : "v" + std::to_string(i)}, {"v" + std::to_string(i + 1)});
  }
  return m.bytes();
}

TEST_F(GraphStructure, LongChainsTakeLinearTime) {
  constexpr int kShort = 60'000;
  constexpr int kLong = 8 * kShort;
  const std::string small = chain_bytes(kShort);
  const std::string large = chain_bytes(kLong);
  const auto load = [](const std::string& bytes, size_t nodes) {
    return [&bytes, nodes] { EXPECT_EQ(parse_onnx(bytes, "bad.onnx").nodes().size(), nodes); };
  };
  const double short_time = std::min(seconds_of(load(small, kShort)), seconds_of(load(small, kShort)));
  const double long_time = std::min(seconds_of(load(large, kLong)), seconds_of(load(large, kLong)));
  // Linear time is 8 times as long, quadratic 64 times; caches and a machine short of memory explain a factor of 4.
  EXPECT_LT(long_time, 40 * short_time) << short_time << " s for " << kShort << " nodes";
}

TEST_F(GraphStructure, AMillionNodesLoad) {
  constexpr int kNodes = 1'000'000;
  const std::string bytes = chain_bytes(kNodes);
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_onnx(bytes, "bad.onnx").nodes().size(), size_t{kNodes}); }), 30.0);
}

// A chain in reverse order is the worst case for a sort that looks for the next ready node again and again.
TEST_F(GraphStructure, ReversedChainIsSorted) {
  constexpr int kNodes = 100'000;
  OnnxModel m;
  m.input("x", {2}).output("v0");
  for (int i = 0; i < kNodes; ++i) {
    m.node("Relu", {i + 1 == kNodes ? "x" : "v" + std::to_string(i + 1)}, {"v" + std::to_string(i)});
  }
  const std::string bytes = m.bytes();
  EXPECT_LT(seconds_of([&] {
              const Graph graph = parse_onnx(bytes, "bad.onnx");
              EXPECT_EQ(graph.value(graph.nodes().front().inputs.at(0)).name, "x");
              EXPECT_EQ(graph.value(graph.nodes().back().outputs.at(0)).name, "v0");
            }),
            2 * kMaxSecondsToReject);
}

// A pass over a deep graph must not recurse, forward or backward.
TEST_F(GraphStructure, LongChainRunsAndItsTapeWalks) {
  constexpr int kNodes = 20'000;
  const Network network(parse_onnx(chain_bytes(kNodes), "chain.onnx"));
  const Graph& graph = network.graph();
  const ValueId x = graph.inputs().at(0).value;
  const ValueId y = graph.outputs().at(0);
  const Tensor input = at::tensor({-1.0f, 2.0f});
  Network::RecordRequest what;
  what.until = {y};
  what.wrt = {x};
  const Tape tape = network.record({input}, what);
  EXPECT_TRUE(at::equal(tape.value(y), at::tensor({0.0f, 2.0f})));
  const Gradients gradients = tape.backward({{y, at::ones({2})}}, {x});
  EXPECT_TRUE(at::equal(gradients.values.at(x), at::tensor({0.0f, 1.0f})));
}

// Each node reads the one before twice: 2^60 paths, 60 nodes.
TEST_F(GraphStructure, ManyPathsAreWalkedOnce) {
  constexpr int kNodes = 60;
  OnnxModel m;
  m.input("v0", {1}).output("v" + std::to_string(kNodes));
  for (int i = 0; i < kNodes; ++i) {
    const std::string from = "v" + std::to_string(i);
    m.node("Add", {from, from}, {"v" + std::to_string(i + 1)});
  }
  const Network network(parse(m));
  const ValueId x = network.graph().inputs().at(0).value;
  const ValueId y = network.graph().outputs().at(0);
  Network::RecordRequest what;
  what.until = {y};
  what.wrt = {x};
  const Tape tape = network.record({at::ones({1})}, what);
  const Gradients gradients = tape.backward({{y, at::ones({1})}}, {x});
  EXPECT_EQ(gradients.values.at(x).item<float>(), std::ldexp(1.0f, kNodes));
}

TEST_F(GraphStructure, ControlFlowIsUnsupportedHoweverDeep) {
  OnnxModel m;
  m.input("x", {4}, P::BOOL).output("y").output("z");
  auto loop = m.node("Loop", {"trips", "x"}, {"z"}, "loop");
  loop.attribute("body", onnx::AttributeProto::GRAPH)->mutable_g();
  m.weight("trips", {}, P::INT64).add_int64_data(kHuge);
  auto outer = m.node("If", {"x"}, {"y"}, "if");
  onnx::GraphProto* body = outer.attribute("then_branch", onnx::AttributeProto::GRAPH)->mutable_g();
  for (int depth = 0; depth < 25; ++depth) {
    auto* inner = body->add_node();
    inner->set_op_type("If");
    auto* attribute = inner->add_attribute();
    attribute->set_type(onnx::AttributeProto::GRAPH);
    body = attribute->mutable_g();
  }
  expect_rejected(m, kUnsupported,
                  "bad.onnx: op If (opset 13) ('if'), op Loop (opset 13) ('loop') are not supported, 2 of 2 nodes; "
                  "'pellucid info --ops' lists what is");
}

TEST_F(GraphStructure, LocalFunctionsAreUnsupportedEvenWhenRecursive) {
  OnnxModel m;
  m.import("local", 1).input("x", {4}).output("y");
  m.node("f", {"x"}, {"y"}, "call").domain("local");
  auto* function = m.proto().add_functions();
  function->set_name("f");
  function->set_domain("local");
  function->add_input("a");
  function->add_output("b");
  auto* inner = function->add_node();
  inner->set_op_type("f");
  inner->set_domain("local");
  inner->add_input("a");
  inner->add_output("b");
  expect_rejected(
      m, kUnsupported,
      "bad.onnx: model-local function f ('call') is not supported, 1 of 1 nodes; 'pellucid info --ops' lists "
      "what is");
}

TEST_F(GraphStructure, InputsThatAreNotTensors) {
  auto none = small_model();
  none.graph().mutable_input(0)->clear_type();
  expect_rejected(none, kUnsupported, "bad.onnx: input 'x': is not a tensor");
  auto sequence = small_model();
  sequence.graph().mutable_input(0)->mutable_type()->mutable_sequence_type();
  expect_rejected(sequence, kUnsupported, "bad.onnx: input 'x': is not a tensor");
  OnnxModel text;
  text.input("x", {4}, P::STRING).output("y");
  text.node("Identity", {"x"}, {"y"});
  expect_rejected(text, kUnsupported,
                  "bad.onnx: input 'x': element type STRING is not supported; float16/32/64, bfloat16, int8..int64, "
                  "uint8..uint32 and bool are");
  OnnxModel negative;
  negative.input("x", {-5}).output("y");
  negative.node("Identity", {"x"}, {"y"});
  expect_rejected(negative, kInvalid, "bad.onnx: input 'x': dimension -5 is negative");
  OnnxModel huge;
  huge.input("x", {1, 3, int64_t{1} << 40, int64_t{1} << 40}).output("y");
  huge.node("Identity", {"x"}, {"y"});
  expect_rejected(
      huge, kInvalid,
      "bad.onnx: input 'x': its shape [1,3,1099511627776,1099511627776] has more numbers than a machine can "
      "hold");
}

// ---------------------------------------------------------------------------------------------------- operator sets

TEST_F(OperatorSets, EverythingUnsupportedIsListedAtOnce) {
  OnnxModel m;
  m.import("com.example", 2).input("x", {4});
  for (const char* name : {"y", "a", "b", "c", "d", "e"}) m.output(name);
  m.node("Relu", {"x"}, {"y"}, "fine");
  m.node("NonMaxSuppression", {"x"}, {"a"}, "nms");
  m.node("FancyOp", {"x"}, {"b"}, "fancy0");
  m.node("FancyOp", {"x"}, {"c"}, "fancy1");
  m.node("Relu", {"x"}, {"d"}, "foreign").domain("com.example");
  m.node("Relu", {"x"}, {"e"}, "undeclared").domain("nowhere");
  expect_rejected(
      m, kUnsupported,
      "bad.onnx: op FancyOp (opset 13) ('fancy0' and 1 more), op NonMaxSuppression (opset 13) ('nms'), op Relu "
      "of domain com.example (opset 2) ('foreign'), op Relu of domain nowhere (opset 0) ('undeclared') are not "
      "supported, 5 of 6 nodes; 'pellucid info --ops' lists what is");
}

// What no output needs may be anything, whatever it reads and whatever reads it.
TEST_F(OperatorSets, DeadCodeNeedsNoSupport) {
  const auto model = [] {
    OnnxModel m;
    m.input("x", {4}).output("y");
    m.node("Abs", {"odd"}, {"behind"}, "before its producer");
    m.node("Relu", {"x"}, {"y"}, "fine");
    m.node("Loop", {"nowhere"}, {"odd"}, "loop").attribute("body", onnx::AttributeProto::GRAPH)->mutable_g();
    return m;
  };
  const Graph graph = parse(model());
  EXPECT_EQ(graph.nodes().size(), 1u);
  EXPECT_EQ(graph.find("odd"), kNoValue);
  auto needed = model();
  needed.output("behind");
  expect_rejected(needed, kUnsupported,
                  "bad.onnx: op Loop (opset 13) ('loop') is not supported, 1 of 3 nodes; 'pellucid info --ops' lists "
                  "what is");
}

TEST_F(OperatorSets, TheListOfUnsupportedOpsHasAnEnd) {
  OnnxModel m;
  m.input("x", {4}).output("y");
  m.node("Relu", {"x"}, {"y"}, "fine");
  for (int i = 0; i < 10'000; ++i) {
    m.node("Op" + std::to_string(i), {"x"}, {"v" + std::to_string(i)});
    m.output("v" + std::to_string(i));
  }
  try {
    parse(m);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kUnsupported);
    EXPECT_LT(std::string(error.what()).size(), 1500u);
    EXPECT_NE(std::string(error.what()).find("10000 of 10001 nodes"), std::string::npos) << error.what();
  }
}

TEST_F(OperatorSets, OpsetsThatCannotBe) {
  for (const int64_t opset : {int64_t{0}, int64_t{-1}, int64_t{6}}) {
    OnnxModel m(opset);
    m.input("x", {4}).output("y");
    m.node("Relu", {"x"}, {"y"}, "relu");
    expect_rejected(m, kUnsupported, "bad.onnx: opset " + std::to_string(opset) + "; 7 and later are supported");
  }
  for (const int64_t opset : {int64_t{1'000'000'000}, kHuge}) {
    OnnxModel m(opset);
    m.input("x", {4}).output("y");
    m.node("Relu", {"x"}, {"y"}, "relu");
    expect_rejected(m, kUnsupported, "bad.onnx: opset " + std::to_string(opset) + " does not exist");
  }
  auto none = small_model();
  none.proto().clear_opset_import();
  expect_rejected(none, kInvalid, "bad.onnx: the model does not say which ONNX opset it uses");
}

TEST_F(OperatorSets, IrVersionsThatAreTooOld) {
  for (const int64_t version : {int64_t{0}, int64_t{2}, int64_t{-7}}) {
    auto m = small_model();
    m.proto().set_ir_version(version);
    expect_rejected(m, kUnsupported, "bad.onnx: IR version " + std::to_string(version) + "; 3 and later are supported");
  }
}

// --------------------------------------------------------------------------------------------------- node attributes

/// x [1,4,6,6], weight `w` of the given shape, and a Conv named 'conv' that the caller finishes.
struct ConvModel {
  explicit ConvModel(const std::vector<int64_t>& weight = {4, 4, 3, 3})
      : model(),
        conv(model.input("x", {-1, 4, 6, 6}).ones("w", weight).output("y").node("Conv", {"x", "w"}, {"y"}, "conv")) {}
  void expect(const std::string& problem) {
    expect_run_rejected(model, {at::ones({1, 4, 6, 6})}, kInvalid, "bad.onnx: node 'conv' (Conv): " + problem);
  }
  OnnxModel model;
  OnnxModel::NodeWriter conv;
};

TEST_F(NodeAttributes, ConvStridesDilationsAndPads) {
  ConvModel stride;
  stride.conv.ints("strides", {0, 1});
  stride.expect("strides [0,1] must be >= 1");
  ConvModel negative_stride;
  negative_stride.conv.ints("strides", {1, -2});
  negative_stride.expect("strides [1,-2] must be >= 1");
  ConvModel dilation;
  dilation.conv.ints("dilations", {0, 0});
  dilation.expect("dilations [0,0] must be >= 1");
  ConvModel pads;
  pads.conv.ints("pads", {-1, 0, 0, 0});
  pads.expect("pads [-1,0,0,0] must be >= 0");
  ConvModel few_pads;
  few_pads.conv.ints("pads", {1, 1});
  few_pads.expect("pads [1,1] must have 4 entries");
  ConvModel few_strides;
  few_strides.conv.ints("strides", {2});
  few_strides.expect("strides [2] must have 2 entries");
  ConvModel auto_pad;
  auto_pad.conv.text("auto_pad", "SAME\n\x1b[1m");
  auto_pad.expect("auto_pad is 'SAME??[1m'; NOTSET, VALID, SAME_UPPER and SAME_LOWER are accepted");
}

TEST_F(NodeAttributes, ConvShapesThatDoNotFit) {
  ConvModel zero;
  zero.conv.integer("group", 0);
  zero.expect("group is 0; it must be >= 1");
  const std::string channels = " do not fit: channels must be weight[1] * group and weight[0] a multiple of group";
  ConvModel group;
  group.conv.integer("group", 3);
  group.expect("input [1,4,6,6], weight [4,4,3,3] and group 3" + channels);
  ConvModel huge_group;
  huge_group.conv.integer("group", kHuge);
  huge_group.expect("input [1,4,6,6], weight [4,4,3,3] and group 9223372036854775807" + channels);
  ConvModel depth({4, 3, 3, 3});
  depth.expect("input [1,4,6,6], weight [4,3,3,3] and group 1" + channels);
  ConvModel outputs({3, 2, 3, 3});
  outputs.conv.integer("group", 2);
  outputs.expect("input [1,4,6,6], weight [3,2,3,3] and group 2" + channels);
  ConvModel rank({4, 4, 3});
  rank.expect("input [1,4,6,6] and weight [4,4,3] have different ranks");
  ConvModel scalar(std::vector<int64_t>{});
  scalar.expect("input [1,4,6,6] and weight [] have different ranks");
  ConvModel kernel({4, 4, 7, 7});
  kernel.expect("the kernel reaches over 7 positions but the padded input [1,4,6,6] has 6");
  ConvModel dilated;
  dilated.conv.ints("dilations", {1, 3});
  dilated.expect("the kernel reaches over 7 positions but the padded input [1,4,6,6] has 6");
  ConvModel declared;
  declared.conv.ints("kernel_shape", {5, 5});
  declared.expect("kernel_shape [5,5] does not fit weight [4,4,3,3]");
}

TEST_F(NodeAttributes, ConvWithoutWeightOrWithTheWrongType) {
  OnnxModel missing;
  missing.input("x", {-1, 4, 6, 6}).output("y");
  missing.node("Conv", {"x"}, {"y"}, "conv");
  expect_run_rejected(missing, {at::ones({1, 4, 6, 6})}, kInvalid, "bad.onnx: node 'conv' (Conv): input 1 is missing");
  ConvModel type;
  type.conv.real("strides", 2.0f);
  type.expect("attribute 'strides' must be a list of integers");
  ConvModel graph;
  graph.conv.attribute("body", onnx::AttributeProto::GRAPH)->mutable_g();
  expect_rejected(graph.model, kUnsupported,
                  "bad.onnx: node 'conv' (Conv): attribute 'body': subgraphs, types and empty attributes are not "
                  "supported");
}

/// A one-node graph over x [2,3,4] ('op') that must be rejected with "bad.onnx: node 'op' (...): problem".
struct OneNode {
  OneNode(const std::string& type, const OnnxModel::Names& more_inputs = {})
      : model(), op(writer(type, more_inputs)), where("bad.onnx: node 'op' (" + type + "): ") {}
  void expect(const std::string& problem, ErrorKind kind = kInvalid) {
    expect_run_rejected(model, {at::arange(24).to(at::kFloat).view({2, 3, 4})}, kind, where + problem);
  }
  OnnxModel::NodeWriter writer(const std::string& op_type, const OnnxModel::Names& more_inputs) {
    OnnxModel::Names inputs{"x"};
    inputs.insert(inputs.end(), more_inputs.begin(), more_inputs.end());
    return model.input("x", {2, 3, 4}).output("y").node(op_type, inputs, {"y"}, "op");
  }
  OnnxModel model;
  OnnxModel::NodeWriter op;
  std::string where;
};

TEST_F(NodeAttributes, AxesOutOfRange) {
  for (const char* type : {"Softmax", "LogSoftmax", "Concat"}) {
    for (const int64_t axis : {int64_t{3}, int64_t{-4}, kHuge, std::numeric_limits<int64_t>::min()}) {
      OneNode n(type);
      n.op.integer("axis", axis);
      n.expect("axis " + std::to_string(axis) + " is not in [-3, 2]");
    }
  }
  OneNode reduce("ReduceMean");
  reduce.op.ints("axes", {1, 7});
  reduce.expect("axis 7 is not in [-3, 2]");
  OneNode twice("ReduceMean");
  twice.op.ints("axes", {1, -2});
  twice.expect("axis 1 is given twice");
}

TEST_F(NodeAttributes, TransposePermutations) {
  OneNode repeated("Transpose");
  repeated.op.ints("perm", {0, 1, 1});
  repeated.expect("axis 1 is given twice");
  OneNode shorter("Transpose");
  shorter.op.ints("perm", {1, 0});
  shorter.expect("perm [1,0] does not fit an input of 3 dimensions");
  OneNode outside("Transpose");
  outside.op.ints("perm", {0, 1, 3});
  outside.expect("axis 3 is not in [-3, 2]");
}

TEST_F(NodeAttributes, ReshapeTargets) {
  const auto expect = [](const std::vector<int64_t>& shape, const std::string& problem) {
    OneNode n("Reshape", {"shape"});
    n.model.integers("shape", shape);
    n.expect(problem);
  };
  expect({-1, -1}, "input of shape [2,3,4] cannot take shape [-1,-1]: only one dimension may be -1");
  expect({5, 5}, "input of shape [2,3,4] cannot take shape [5,5]: it has 24 elements");
  expect({-1, 5}, "input of shape [2,3,4] cannot take shape [-1,5]: the -1 has no whole value");
  expect({-2, 12}, "input of shape [2,3,4] cannot take shape [-2,12]: a dimension is negative");
  expect({2, 3, 4, 0}, "input of shape [2,3,4] cannot take shape [2,3,4,0]: no dimension to copy");
  expect({kHuge, kHuge},
         "result of shape [9223372036854775807,9223372036854775807] is larger than any tensor Pellucid makes (2^40 "
         "elements)");
}

TEST_F(NodeAttributes, GatherIndicesOutOfRange) {
  for (const int64_t index : {int64_t{3}, int64_t{-4}, kHuge}) {
    OneNode n("Gather", {"indices"});
    n.op.integer("axis", 1);
    n.model.integers("indices", {0, index});
    n.expect("index " + std::to_string(index) + " is outside an axis of 3");
  }
  OneNode type("Gather", {"indices"});
  type.model.floats("indices", {1}, {0});
  type.expect("indices are [1] float32; they must be integers");
}

TEST_F(NodeAttributes, SliceWithAbsurdBoundsIsClamped) {
  OneNode n("Slice", {"starts", "ends", "axes"});
  n.model.integers("starts", {-kHuge}).integers("ends", {kHuge}).integers("axes", {1});
  EXPECT_TRUE(at::equal(run_model(n.model, at::ones({2, 3, 4})), at::ones({2, 3, 4})));
  OneNode step("Slice", {"starts", "ends", "axes", "steps"});
  step.model.integers("starts", {0}).integers("ends", {3}).integers("axes", {1}).integers("steps", {0});
  step.expect("steps [0] contain 0");
}

TEST_F(NodeAttributes, SplitThatDoesNotAddUp) {
  OneNode n("Split", {"sizes"});
  n.op.integer("axis", 2);
  n.op.proto().add_output("z");
  n.model.integers("sizes", {3, 3});
  n.expect("split [3,3] sums to 6, but the axis has 4");
}

TEST_F(NodeAttributes, ConcatOfShapesThatDoNotFit) {
  OneNode n("Concat", {"other"});
  n.model.ones("other", {2, 5, 5});
  n.op.integer("axis", 1);
  n.expect("inputs [2,3,4] and [2,5,5]; only axis 1 may differ");
}

TEST_F(NodeAttributes, PoolingWindows) {
  const auto pool = [](const std::vector<int64_t>& kernel, const std::string& problem) {
    OnnxModel m;
    m.input("x", {1, 1, 4, 4}).output("y");
    m.node("MaxPool", {"x"}, {"y"}, "pool").ints("kernel_shape", kernel);
    expect_run_rejected(m, {at::ones({1, 1, 4, 4})}, kInvalid, "bad.onnx: node 'pool' (MaxPool): " + problem);
  };
  pool({0, 2}, "kernel_shape [0,2] must be >= 1");
  pool({2}, "kernel_shape [2] must have 2 entries");
  pool({}, "kernel_shape [] must have 2 entries");
  pool({5, 5}, "the window reaches over 5 positions but the padded input [1,1,4,4] has 4");
  OnnxModel none;
  none.input("x", {1, 1, 4, 4}).output("y");
  none.node("AveragePool", {"x"}, {"y"}, "pool");
  expect_run_rejected(none, {at::ones({1, 1, 4, 4})}, kInvalid,
                      "bad.onnx: node 'pool' (AveragePool): the attribute kernel_shape is missing");
}

TEST_F(NodeAttributes, MatrixProductsThatDoNotFit) {
  OneNode matmul("MatMul", {"w"});
  matmul.model.ones("w", {5, 2});
  matmul.expect("inputs [2,3,4] and [5,2] cannot be multiplied");
  OneNode gemm("Gemm", {"w"});
  gemm.model.ones("w", {4, 2});
  gemm.expect("inputs [2,3,4] and [4,2] must both be matrices");
  OneNode add("Add", {"w"});
  add.model.ones("w", {5});
  add.expect("inputs [2,3,4] and [5] do not broadcast");
}

TEST_F(NodeAttributes, NormalizationParametersThatDoNotFit) {
  OneNode n("BatchNormalization", {"a", "a", "a", "b"});
  n.model.ones("a", {3}).ones("b", {2});
  n.expect("parameter 4 has shape [2] but the input has 3 channels");
}

// A negative variance is a number of the file, as a NaN weight is: the result is NaN, folded or not.
TEST_F(NodeAttributes, NegativeVarianceGivesNanWhetherFoldedOrNot) {
  OnnxModel m;
  m.input("x", {-1, 4, 6, 6}).ones("w", {4, 4, 1, 1}).ones("one", {4}).floats("var", {4}, {1, -1, 1, 0}).output("y");
  m.node("Conv", {"x", "w"}, {"c"}, "conv");
  m.node("BatchNormalization", {"c", "one", "one", "one", "var"}, {"y"}, "bn").real("epsilon", 0.0f);
  for (const bool optimize : {false, true}) {
    NetworkOptions options;
    options.optimize = optimize;
    const Tensor y = Network(parse(m), options).run(at::ones({1, 4, 6, 6})).at(0);
    EXPECT_EQ(y[0][0][0][0].item<float>(), 4.0f);
    EXPECT_TRUE(std::isnan(y[0][1][0][0].item<float>()));
    EXPECT_FALSE(std::isfinite(y[0][3][0][0].item<float>()));
  }
}

TEST_F(NodeAttributes, SoftmaxOverAnEmptyAxisIsEmpty) {
  OnnxModel m;
  m.input("x", {-1, -1}).output("y");
  m.node("Softmax", {"x"}, {"y"}, "softmax").integer("axis", 1);
  EXPECT_EQ(shape_text(run_model(m, at::ones({2, 0})).sizes()), "[2,0]");
}

TEST_F(NodeAttributes, RandomValuesDoNotVaryInSilence) {
  OnnxModel m;
  m.input("x", {8}).output("y");
  m.node("RandomNormalLike", {"x"}, {"noise"}, "noise");
  m.node("Add", {"x", "noise"}, {"y"}, "add");
  const Network network(parse(m));
  const Tensor x = at::zeros({8});
  EXPECT_TRUE(at::equal(network.run(x).at(0), network.run(x).at(0)));
}

// Dropout with training_mode = true is inference all the same: explanations explain what the model answers in use.
TEST_F(NodeAttributes, DropoutInTrainingModeDoesNotDrop) {
  OneNode n("Dropout", {"ratio", "training"});
  n.model.weight("ratio", {}).add_float_data(0.9f);
  n.model.weight("training", {}, P::BOOL).add_int32_data(1);
  EXPECT_TRUE(at::equal(run_model(n.model, at::ones({2, 3, 4})), at::ones({2, 3, 4})));
}

// ------------------------------------------------------------------------------------------------- allocation bombs

/// The message must begin with `where` and say what was asked for; how much is in use beside it varies.
void expect_out_of_memory(const OnnxModel& model, const TensorList& inputs, const std::string& where,
                          int64_t mebibytes) {
  try {
    const Network network(parse(model));
    Request request;
    request.capture = network.graph().outputs();
    network.run(inputs, request);
    FAIL() << "accepted";
  } catch (const Error& error) {
    const std::string text = error.what();
    const std::string begin = where + "out of memory: a tensor of " + std::to_string(mebibytes) + " MiB beside ";
    const std::string end = " MiB in use exceeds the limit of 1024 MiB (--max-memory)";
    EXPECT_EQ(error.kind(), kFailed) << text;
    EXPECT_EQ(text.substr(0, begin.size()), begin);
    EXPECT_EQ(text.substr(std::max(text.size(), end.size()) - end.size()), end);
  }
}

const char* const kTooLarge = " is larger than any tensor Pellucid makes (2^40 elements)";

TEST_F(AllocationBombs, ConstantOfShape) {
  const auto bomb = [](const std::vector<int64_t>& shape) {
    OnnxModel m;
    m.integers("shape", shape).output("y");
    m.node("ConstantOfShape", {"shape"}, {"y"}, "bomb");
    return m;
  };
  const std::string where = "bad.onnx: node 'bomb' (ConstantOfShape): ";
  expect_run_rejected(bomb({int64_t{1} << 41}), {}, kInvalid, where + "result of shape [2199023255552]" + kTooLarge);
  expect_run_rejected(bomb({kHuge, kHuge}), {}, kInvalid,
                      where + "result of shape [9223372036854775807,9223372036854775807]" + kTooLarge);
  expect_run_rejected(bomb({-1}), {}, kInvalid, where + "result of shape [-1] has a negative dimension");
  // Within what a tensor may hold, but not within this process's limit.
  expect_out_of_memory(bomb({int64_t{1} << 38}), {}, "bad.onnx: node 'bomb' (ConstantOfShape), inputs [1]: ", 1048576);
}

TEST_F(AllocationBombs, ExpandRangeTilePad) {
  OneNode expand("Expand", {"shape"});
  expand.model.integers("shape", {int64_t{1} << 41, 2, 3, 4});
  expand.expect("result of shape [2199023255552,2,3,4]" + std::string(kTooLarge));
  OneNode tile("Tile", {"repeats"});
  tile.model.integers("repeats", {int64_t{1} << 41, 1, 1});
  tile.expect("result of shape [2199023255552,1,1]" + std::string(kTooLarge));
  OneNode overflow("Tile", {"repeats"});
  overflow.model.integers("repeats", {kHuge, kHuge, kHuge});
  overflow.expect("result of shape [9223372036854775807,9223372036854775807,9223372036854775807]" +
                  std::string(kTooLarge));
  OneNode pad("Pad", {"pads"});
  pad.model.integers("pads", {0, 0, 0, int64_t{1} << 41, 0, 0});
  pad.expect("result of shape [2199023255552]" + std::string(kTooLarge));

  OnnxModel range;
  range.output("y").weight("start", {}, P::INT64).add_int64_data(0);
  range.weight("limit", {}, P::INT64).add_int64_data(kHuge);
  range.weight("delta", {}, P::INT64).add_int64_data(1);
  range.node("Range", {"start", "limit", "delta"}, {"y"}, "range");
  expect_run_rejected(range, {}, kInvalid, "bad.onnx: node 'range' (Range): range has 9.223372036854776e+18 elements");
}

TEST_F(AllocationBombs, Resize) {
  OnnxModel m;
  m.input("x", {1, 1, 2, 2}).output("y").integers("sizes", {1, 1, int64_t{1} << 25, int64_t{1} << 25});
  m.node("Resize", {"x", "", "", "sizes"}, {"y"}, "resize").text("mode", "nearest");
  expect_run_rejected(
      m, {at::ones({1, 1, 2, 2})}, kInvalid,
      "bad.onnx: node 'resize' (Resize): result of shape [1,1,33554432,33554432]" + std::string(kTooLarge));
  OnnxModel scales;
  scales.input("x", {1, 1, 2, 2}).output("y").floats("scales", {4}, {1, 1, 1e30f, 1});
  scales.node("Resize", {"x", "", "scales"}, {"y"}, "resize").text("mode", "nearest");
  expect_run_rejected(scales, {at::ones({1, 1, 2, 2})}, kInvalid,
                      "bad.onnx: node 'resize' (Resize): scales [1,1,1.0000000150474662e+30,1] are too large for input "
                      "[1,1,2,2]");
}

// A padded convolution of a few bytes whose output would not fit any memory.
TEST_F(AllocationBombs, ConvolutionAndPoolingPadding) {
  OnnxModel m;
  m.input("x", {1, 1, 2, 2}).ones("w", {1, 1, 1, 1}).output("y");
  m.node("Conv", {"x", "w"}, {"y"}, "conv").ints("pads", {1 << 30, 1 << 30, 1 << 30, 1 << 30});
  expect_run_rejected(
      m, {at::ones({1, 1, 2, 2})}, kInvalid,
      "bad.onnx: node 'conv' (Conv): result of shape [1,1,2147483650,2147483650]" + std::string(kTooLarge));
}

// Each step is modest; thirty of them are a gibi-fold.
TEST_F(AllocationBombs, ChainOfTilesRunsIntoTheMemoryLimit) {
  OnnxModel m;
  m.input("v0", {1, 1024}).integers("twice", {1, 2}).output("v30");
  for (int i = 0; i < 30; ++i) {
    m.node("Tile", {"v" + std::to_string(i), "twice"}, {"v" + std::to_string(i + 1)}, "tile" + std::to_string(i));
  }
  expect_out_of_memory(m, {at::ones({1, 1024})}, "bad.onnx: node 'tile17' (Tile), inputs [1,134217728], [2]: ", 1024);
  EXPECT_LE(memory_peak(), kMemoryLimit);
}

// ----------------------------------------------------------------------------------------------------- network inputs

TEST_F(NetworkInputs, WrongCountTypeOrShape) {
  const Network network(parse(small_model()));
  Request request;
  request.capture = network.graph().outputs();
  const std::string missing = "bad.onnx: node 'relu' (Relu) needs 'x', for which no value was given";
  expect_error(ErrorKind::kUsage, missing, [&] { network.run(TensorList{}, request); });
  expect_error(ErrorKind::kUsage, missing, [&] { network.run(TensorList(1), request); });
  expect_error(ErrorKind::kUsage, "bad.onnx: 2 inputs were given; the network has 1", [&] {
    network.run(TensorList(2, at::ones({1, 3, 8, 8})), request);
  });
}

// A fixed size in the file binds nobody: many networks work at other sizes than they were exported with. What does not
// fit fails at the first node that cares.
TEST_F(NetworkInputs, ShapesThatDoNotFitFailAtTheNode) {
  OnnxModel m;
  m.input("x", {1, 3, 8, 8}).ones("w", {4, 3, 3, 3}).output("y");
  m.node("Conv", {"x", "w"}, {"y"}, "conv");
  EXPECT_EQ(shape_text(run_model(m, at::ones({2, 3, 9, 5})).sizes()), "[2,4,7,3]");
  expect_run_rejected(
      m, {at::ones({1, 4, 8, 8})}, kInvalid,
      "bad.onnx: node 'conv' (Conv): input [1,4,8,8], weight [4,3,3,3] and group 1 do not fit: channels "
      "must be weight[1] * group and weight[0] a multiple of group");
  expect_run_rejected(m, {at::ones({3, 8, 8})}, kInvalid,
                      "bad.onnx: node 'conv' (Conv): input [3,8,8] and weight [4,3,3,3] have different ranks");
  expect_run_rejected(m, {at::ones({1, 3, 8, 8}, at::kLong)}, kInvalid,
                      "bad.onnx: input 'x' is [1,3,8,8] int64; the network takes float32");
}

TEST_F(NetworkInputs, ValuesThatDoNotExist) {
  const Network network(parse(small_model()));
  for (const ValueId id : {ValueId{-1}, ValueId{1000}}) {
    Request request;
    request.capture = {id};
    expect_error(ErrorKind::kUsage, "bad.onnx: value " + std::to_string(id) + " does not exist", [&] {
      network.run({at::ones({1, 3, 8, 8})}, request);
    });
  }
}

TEST_F(NetworkInputs, EmptyBatchesAndChannelsGiveEmptyResults) {
  EXPECT_EQ(shape_text(run_model(small_model(), at::ones({0, 3, 8, 8})).sizes()), "[0,3,8,8]");
  OnnxModel m;
  m.input("x", {-1, -1, -1, -1}).output("y");
  m.node("Relu", {"x"}, {"y"}, "relu");
  EXPECT_EQ(shape_text(run_model(m, at::ones({1, 0, 8, 8})).sizes()), "[1,0,8,8]");
}

TEST_F(NetworkInputs, SecondInputsAndIntegersWork) {
  OnnxModel m;
  m.input("x", {-1, 4}).input("index", {-1}, P::INT64).output("y");
  m.node("Gather", {"x", "index"}, {"y"}, "gather").integer("axis", 1);
  const Network network(parse(m));
  const ValueId y = network.graph().outputs().at(0);
  Request request;
  request.capture = {y};
  const Tensor x = at::arange(4).to(at::kFloat).unsqueeze(0);
  const Tensor picked = network.run({x, at::arange(2, 4)}, request).at(y);
  EXPECT_TRUE(at::equal(picked, at::arange(2, 4).to(at::kFloat).unsqueeze(0)));
  expect_error(kInvalid, "bad.onnx: node 'gather' (Gather): index 9 is outside an axis of 4", [&] {
    network.run({x, at::full({1}, 9, at::kLong)}, request);
  });
}

}  // namespace
}  // namespace pellucid::test
