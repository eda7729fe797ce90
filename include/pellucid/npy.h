#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pellucid {

/// Element types of .npy files that we read and write. Booleans are read as kUInt8.
enum class NpyType { kFloat16, kFloat32, kFloat64, kInt8, kInt16, kInt32, kInt64, kUInt8, kUInt16, kUInt32, kUInt64 };

/// Bytes of one element.
size_t element_bytes(NpyType type);

/// "float32", as NumPy calls it.
const char* npy_type_name(NpyType type);

/// What a .npy file holds: a dense array in C order and the machine's byte order.
struct NpyArray {
  std::vector<int64_t> shape;  ///< Empty for a scalar.
  NpyType type = NpyType::kFloat32;
  std::string bytes;  ///< num_elements() * element_bytes(type)

  int64_t num_elements() const;
  /// The elements converted to float or double; large integers are rounded.
  std::vector<float> floats() const;
  std::vector<double> doubles() const;
  /// The elements as integers. Throws Error(kInvalidInput) when one is not an integer or does not fit.
  std::vector<int64_t> integers() const;
};

struct NpyLimits {
  int64_t max_bytes = int64_t{4} << 30;  ///< Largest file accepted.
};

/// Reads NumPy's array format, versions 1 to 3 (numpy.lib.format: magic, version, a Python dict as header, raw data),
/// of either byte order; Fortran order is turned into C order. Arrays of objects, strings, records, complex numbers and
/// dates are refused, as are headers of 64 KiB and more, shapes that overflow, and files whose size is not exactly what
/// the shape needs. Throws Error(kInvalidInput) naming the file.
NpyArray read_npy(const std::string& path, const NpyLimits& limits = {});
/// The same from memory; `name` is for messages.
NpyArray parse_npy(std::string_view bytes, const std::string& name, const NpyLimits& limits = {});

/// The array as a version 1.0 file: little-endian, C order, data aligned to 64 bytes. `data` holds the product of
/// `shape` elements. Throws Error(kUsage) for a negative dimension or more than 32 of them.
std::string npy_bytes(const void* data, NpyType type, const std::vector<int64_t>& shape);

/// Writes the array atomically. Throws Error(kFailed) as write_file_atomically does.
void write_npy(const std::string& path, const float* data, const std::vector<int64_t>& shape);
void write_npy(const std::string& path, const double* data, const std::vector<int64_t>& shape);
void write_npy(const std::string& path, const int64_t* data, const std::vector<int64_t>& shape);
void write_npy(const std::string& path, const uint8_t* data, const std::vector<int64_t>& shape);

}  // namespace pellucid
