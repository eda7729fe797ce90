#include "pellucid/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "pellucid/error.h"

namespace pellucid {
namespace {

using Dims = std::vector<int64_t>;

std::string file_of(const std::string& dictionary, const std::string& data, char version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += version;
  bytes += '\0';
  const size_t length = dictionary.size();
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes += static_cast<char>(length >> (8 * i) & 255);
  return bytes + dictionary + data;
}

std::string dictionary_of(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

std::string message_of(const std::string& bytes, const NpyLimits& limits = {}) {
  try {
    parse_npy(bytes, "a.npy", limits);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInvalidInput);
    return e.what();
  }
  return "accepted";
}

TEST(Npy, WrittenArraysReadBack) {
  const std::vector<float> values = {1.5f, -2, 0, 1e-30f, std::numeric_limits<float>::infinity(), 7};
  const std::string bytes = npy_bytes(values.data(), NpyType::kFloat32, {2, 3});
  EXPECT_EQ(bytes.size() % 64, 24u);  // the data starts at a multiple of 64 bytes
  const NpyArray array = parse_npy(bytes, "a.npy");
  EXPECT_EQ(array.shape, (Dims{2, 3}));
  EXPECT_EQ(array.type, NpyType::kFloat32);
  EXPECT_EQ(array.floats(), values);
}

TEST(Npy, EveryTypeWeWriteGoesThroughAFile) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("pellucid-npy-" + std::to_string(::getpid()) + ".npy")).string();
  const double pi = 3.141592653589793;
  write_npy(path, &pi, {});
  EXPECT_EQ(read_npy(path).doubles(), std::vector<double>{pi});
  EXPECT_TRUE(read_npy(path).shape.empty());
  const std::vector<int64_t> labels = {-5, std::numeric_limits<int64_t>::max()};
  write_npy(path, labels.data(), {2});
  EXPECT_EQ(read_npy(path).integers(), labels);
  const std::vector<uint8_t> mask = {0, 255};
  write_npy(path, mask.data(), {1, 2, 1});
  EXPECT_EQ(read_npy(path).integers(), (std::vector<int64_t>{0, 255}));
  write_npy(path, mask.data(), {0, 3});
  EXPECT_EQ(read_npy(path).num_elements(), 0);
  std::filesystem::remove(path);
}

TEST(Npy, FortranOrderBecomesCOrder) {
  // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]]) stores its columns one after the other.
  const NpyArray array = parse_npy(file_of(dictionary_of("|u1", "(2, 3)", "True"), "\1\4\2\5\3\6"), "a.npy");
  EXPECT_EQ(array.integers(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  const NpyArray cube = parse_npy(file_of(dictionary_of("|u1", "(2, 2, 2)", "True"), "\1\5\3\7\2\6\4\10"), "a.npy");
  EXPECT_EQ(cube.integers(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Npy, BothByteOrdersAndHalves) {
  EXPECT_EQ(parse_npy(file_of(dictionary_of(">i4", "(1,)"), std::string("\x01\x02\x03\x04", 4)), "a").integers()[0],
            0x01020304);
  EXPECT_EQ(parse_npy(file_of(dictionary_of("<i2", "(1,)"), std::string("\xFE\xFF", 2)), "a").integers()[0], -2);
  // 1.5, -2, the smallest subnormal, infinity.
  const std::string halves("\x00\x3E\x00\xC0\x01\x00\x00\x7C", 8);
  const std::vector<double> values = parse_npy(file_of(dictionary_of("<f2", "(4,)"), halves), "a").doubles();
  EXPECT_EQ(values, (std::vector<double>{1.5, -2, 0x1p-24, std::numeric_limits<double>::infinity()}));
}

TEST(Npy, VersionsTwoAndThree) {
  for (const char version : {2, 3}) {
    EXPECT_EQ(parse_npy(file_of(dictionary_of("|b1", "()"), "\1", version), "a").integers()[0], 1);
  }
  EXPECT_EQ(message_of(file_of(dictionary_of("|b1", "()"), "\1", 4)),
            "a.npy: .npy version 4.0 is unknown; 1.0, 2.0 and 3.0 are accepted");
}

TEST(Npy, DamagedAndHostileFilesAreRefused) {
  EXPECT_EQ(message_of(""), "a.npy: not a .npy file");
  EXPECT_EQ(message_of("\x89PNG"), "a.npy: not a .npy file");
  EXPECT_EQ(message_of("\x93NUMPY\x01"), "a.npy: .npy header is cut off");
  EXPECT_EQ(message_of(file_of(dictionary_of("<f4", "(2,)"), "1234567")),
            "a.npy: shape (2,) of float32 needs 8 bytes; the file holds 7");
  EXPECT_EQ(message_of(file_of(dictionary_of("<f4", "(4611686018427387904, 4)"), "")),
            "a.npy: shape (4611686018427387904, 4) of float32 needs more bytes than can be counted; the file holds 0");
  EXPECT_EQ(
      message_of(file_of(dictionary_of("<f4", "(0, 4611686018427387904, 4)"), "")),
      "a.npy: shape (0, 4611686018427387904, 4) of float32 needs more bytes than can be counted; the file holds 0");
  EXPECT_EQ(message_of(file_of(dictionary_of("<f4", "(99999999999999999999,)"), "")),
            "a.npy: .npy header: a dimension is not a number that fits (at byte 51)");
  EXPECT_EQ(message_of(file_of(dictionary_of("<f4", "(-1,)"), "")),
            "a.npy: .npy header: a dimension is not a number that fits (at byte 51)");
  EXPECT_EQ(
      message_of(file_of(dictionary_of("|O", "(1,)"), "12345678")),
      "a.npy: elements are '|O'; accepted are float16, float32, float64, int8, int16, int32, int64, uint8, uint16, "
      "uint32, uint64, bool");
  EXPECT_EQ(message_of(file_of("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234")),
            "a.npy: .npy header: arrays of records are not supported (at byte 10)");
  EXPECT_EQ(message_of(file_of(std::string(70000, ' '), "", 2)),
            "a.npy: .npy header of 70000 bytes; less than 65536 is accepted");
  EXPECT_EQ(message_of(file_of(std::string("{'descr': '<f4'}"), "")),
            "a.npy: .npy header: 'descr', 'fortran_order' and 'shape' are needed (at byte 16)");
  EXPECT_EQ(message_of(file_of("{'shape': (), 'shape': ()}", "")),
            "a.npy: .npy header: 'shape' appears twice (at byte 22)");
  EXPECT_EQ(message_of(file_of("__import__('os').system('true')", "")), "a.npy: .npy header: expected '{' (at byte 0)");
  EXPECT_EQ(message_of(file_of(dictionary_of("<f4", "(1,)"), "1234"), NpyLimits{20}),
            "a.npy: holds more than the 20 bytes accepted");
}

TEST(Npy, EveryPrefixAndEveryFlippedByteIsHandled) {
  const std::vector<float> values(6, 1.0f);
  const std::string whole = npy_bytes(values.data(), NpyType::kFloat32, {2, 3});
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_NE(message_of(whole.substr(0, n)), "accepted") << n;
  for (size_t i = 0; i < whole.size() - 24; ++i) {
    for (const int flip : {1, 0x80, 0xFF}) {
      std::string broken = whole;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      try {
        EXPECT_LE(parse_npy(broken, "a.npy").bytes.size(), broken.size());
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::kInvalidInput);
      }
    }
  }
}

TEST(Npy, IntegersRefuseWhatIsNone) {
  const double values[] = {1, 2.5};
  const NpyArray array = parse_npy(npy_bytes(values, NpyType::kFloat64, {2}), "a.npy");
  EXPECT_THROW(array.integers(), Error);
  const uint64_t large = ~uint64_t{0};
  EXPECT_THROW(parse_npy(npy_bytes(&large, NpyType::kUInt64, {1}), "a.npy").integers(), Error);
}

}  // namespace
}  // namespace pellucid
