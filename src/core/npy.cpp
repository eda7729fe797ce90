#include "pellucid/npy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxHeaderBytes = 64 * 1024;
constexpr size_t kMaxRank = 32;
constexpr size_t kAlignment = 64;

struct TypeEntry {
  NpyType type;
  const char* name;
  const char* code;  ///< Without the byte order.
  size_t bytes;
};

constexpr TypeEntry kTypes[] = {
    {NpyType::kFloat16, "float16", "f2", 2}, {NpyType::kFloat32, "float32", "f4", 4},
    {NpyType::kFloat64, "float64", "f8", 8}, {NpyType::kInt8, "int8", "i1", 1},
    {NpyType::kInt16, "int16", "i2", 2},     {NpyType::kInt32, "int32", "i4", 4},
    {NpyType::kInt64, "int64", "i8", 8},     {NpyType::kUInt8, "uint8", "u1", 1},
    {NpyType::kUInt16, "uint16", "u2", 2},   {NpyType::kUInt32, "uint32", "u4", 4},
    {NpyType::kUInt64, "uint64", "u8", 8},   {NpyType::kUInt8, "bool", "b1", 1},
};

const TypeEntry& entry_of(NpyType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeEntry& e) { return e.type == type; });
}

bool machine_is_little_endian() {
  const uint16_t one = 1;
  unsigned char first = 0;
  std::memcpy(&first, &one, 1);
  return first == 1;
}

float float_from_half(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  float value = 0;
  if (exponent == 31) {
    value = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

template <typename T, typename F>
void visit_as(const std::string& bytes, F&& f) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + i, sizeof(T));
    f(value);
  }
}

/// Calls `f` with each element in its own type; halves come as float.
template <typename F>
void visit(const NpyArray& array, F&& f) {
  switch (array.type) {
    case NpyType::kFloat16:
      visit_as<uint16_t>(array.bytes, [&](uint16_t h) { f(float_from_half(h)); });
      break;
    case NpyType::kFloat32:
      visit_as<float>(array.bytes, f);
      break;
    case NpyType::kFloat64:
      visit_as<double>(array.bytes, f);
      break;
    case NpyType::kInt8:
      visit_as<int8_t>(array.bytes, f);
      break;
    case NpyType::kInt16:
      visit_as<int16_t>(array.bytes, f);
      break;
    case NpyType::kInt32:
      visit_as<int32_t>(array.bytes, f);
      break;
    case NpyType::kInt64:
      visit_as<int64_t>(array.bytes, f);
      break;
    case NpyType::kUInt8:
      visit_as<uint8_t>(array.bytes, f);
      break;
    case NpyType::kUInt16:
      visit_as<uint16_t>(array.bytes, f);
      break;
    case NpyType::kUInt32:
      visit_as<uint32_t>(array.bytes, f);
      break;
    case NpyType::kUInt64:
      visit_as<uint64_t>(array.bytes, f);
      break;
  }
}

int64_t integer_from(double value) {
  // 2^63 is the first double that does not fit.
  if (!(value >= -0x1p63 && value < 0x1p63) || value != std::floor(value)) {
    throw_invalid("array: " + number_text(value) + " is not a 64-bit integer");
  }
  return static_cast<int64_t>(value);
}
int64_t integer_from(float value) { return integer_from(static_cast<double>(value)); }
int64_t integer_from(uint64_t value) {
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw_invalid("array: " + std::to_string(value) + " is not a 64-bit integer");
  }
  return static_cast<int64_t>(value);
}
template <typename T>
int64_t integer_from(T value) {
  return static_cast<int64_t>(value);
}

/// The part of Python's literals that NumPy writes: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}

  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      value_of(key);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    if (at_ != text_.size()) fail("something follows the dictionary");
    if (!has_descr_ || !has_order_ || !has_shape_) fail("'descr', 'fortran_order' and 'shape' are needed");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw_invalid(name_ + ": .npy header: " + what + " (at byte " + std::to_string(at_) + ")");
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(std::string("expected '") + c + "'");
  }
  std::string quoted() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail("expected a quoted string");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a string does not end");
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return std::string(inside);
  }
  void once(bool& seen, const char* key) {
    if (seen) fail(std::string("'") + key + "' appears twice");
    seen = true;
  }
  void value_of(const std::string& key) {
    if (key == "descr") {
      once(has_descr_, "descr");
      skip_blanks();
      if (at_ < text_.size() && text_[at_] == '[') fail("arrays of records are not supported");
      descr = quoted();
    } else if (key == "fortran_order") {
      once(has_order_, "fortran_order");
      skip_blanks();
      fortran_order = text_.compare(at_, 4, "True") == 0;
      if (!fortran_order && text_.compare(at_, 5, "False") != 0) fail("'fortran_order' is neither True nor False");
      at_ += fortran_order ? 4 : 5;
    } else if (key == "shape") {
      once(has_shape_, "shape");
      parse_shape();
    } else {
      fail("unknown key '" + printable(key, 40) + "'");
    }
  }
  void parse_shape() {
    expect('(');
    while (!accept(')')) {
      skip_blanks();
      size_t end = at_;
      while (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') ++end;
      int64_t dimension = 0;
      if (!parse_int(text_.substr(at_, end - at_), dimension)) fail("a dimension is not a number that fits");
      at_ = end;
      shape.push_back(dimension);
      if (shape.size() > kMaxRank) fail("more than 32 dimensions");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  std::string_view text_;
  std::string name_;
  size_t at_ = 0;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

/// Bytes the shape needs, or -1 when that overflows. Zero dimensions do not hide absurd ones.
int64_t bytes_of(const std::vector<int64_t>& shape, size_t element_size) {
  int64_t bytes = static_cast<int64_t>(element_size);
  bool empty = false;
  for (const int64_t dimension : shape) {
    empty = empty || dimension == 0;
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dimension, 1), &bytes)) return -1;
  }
  return empty ? 0 : bytes;
}

std::string tuple_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string c_order_from_fortran(std::string_view data, const std::vector<int64_t>& shape, size_t element_size) {
  std::string result(data.size(), '\0');
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<int64_t> stride(shape.size(), 1);
  for (size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * shape[d - 1];
  int64_t from = 0;
  for (size_t to = 0; to < data.size(); to += element_size) {
    std::memcpy(&result[to], &data[static_cast<size_t>(from) * element_size], element_size);
    for (size_t d = shape.size(); d-- > 0;) {
      from += stride[d];
      if (++index[d] < shape[d]) break;
      from -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
  return result;
}

void reverse_elements(std::string& bytes, size_t element_size) {
  for (size_t i = 0; i + element_size <= bytes.size(); i += element_size) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + element_size));
  }
}

}  // namespace

size_t element_bytes(NpyType type) { return entry_of(type).bytes; }

const char* npy_type_name(NpyType type) { return entry_of(type).name; }

int64_t NpyArray::num_elements() const {
  int64_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  return count;
}

std::vector<float> NpyArray::floats() const {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(num_elements()));
  visit(*this, [&](auto value) { values.push_back(static_cast<float>(value)); });
  return values;
}

std::vector<double> NpyArray::doubles() const {
  std::vector<double> values;
  values.reserve(static_cast<size_t>(num_elements()));
  visit(*this, [&](auto value) { values.push_back(static_cast<double>(value)); });
  return values;
}

std::vector<int64_t> NpyArray::integers() const {
  std::vector<int64_t> values;
  values.reserve(static_cast<size_t>(num_elements()));
  visit(*this, [&](auto value) { values.push_back(integer_from(value)); });
  return values;
}

NpyArray parse_npy(std::string_view bytes, const std::string& name, const NpyLimits& limits) {
  const std::string where = printable(name, 300);
  if (static_cast<int64_t>(bytes.size()) > limits.max_bytes) {
    throw_invalid(where + ": holds more than the " + std::to_string(limits.max_bytes) + " bytes accepted");
  }
  if (bytes.substr(0, kMagic.size()) != kMagic) throw_invalid(where + ": not a .npy file");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
  const size_t length_end = bytes.size() > 6 && byte(6) == 1 ? 10 : 12;
  if (bytes.size() < length_end) throw_invalid(where + ": .npy header is cut off");
  if (byte(6) < 1 || byte(6) > 3 || byte(7) != 0) {
    throw_invalid(where + ": .npy version " + std::to_string(byte(6)) + "." + std::to_string(byte(7)) +
                  " is unknown; 1.0, 2.0 and 3.0 are accepted");
  }
  size_t header_bytes = byte(8) | byte(9) << 8;
  if (length_end == 12) header_bytes |= byte(10) << 16 | byte(11) << 24;
  if (header_bytes >= kMaxHeaderBytes) {
    throw_invalid(where + ": .npy header of " + std::to_string(header_bytes) + " bytes; less than 65536 is accepted");
  }
  if (bytes.size() - length_end < header_bytes) throw_invalid(where + ": .npy header is cut off");

  HeaderParser header(bytes.substr(length_end, header_bytes), where);
  header.parse();
  const std::string& descr = header.descr;
  const char order = descr.empty() ? '\0' : descr[0];
  const TypeEntry* type = nullptr;
  for (const TypeEntry& entry : kTypes) {
    const bool order_known = order == '<' || order == '>' || order == '=' || (order == '|' && entry.bytes == 1);
    if (order_known && descr.compare(1, std::string::npos, entry.code) == 0) type = &entry;
  }
  if (type == nullptr) {
    std::string accepted;
    for (const TypeEntry& entry : kTypes) accepted += std::string(accepted.empty() ? "" : ", ") + entry.name;
    throw_invalid(where + ": elements are '" + printable(descr, 40) + "'; accepted are " + accepted);
  }

  const std::string_view data = bytes.substr(length_end + header_bytes);
  const int64_t needed = bytes_of(header.shape, type->bytes);
  if (needed < 0 || needed != static_cast<int64_t>(data.size())) {
    throw_invalid(where + ": shape " + tuple_text(header.shape) + " of " + type->name + " needs " +
                  (needed < 0 ? "more bytes than can be counted" : std::to_string(needed) + " bytes") +
                  "; the file holds " + std::to_string(data.size()));
  }
  NpyArray array;
  array.shape = header.shape;
  array.type = type->type;
  array.bytes = header.fortran_order ? c_order_from_fortran(data, header.shape, type->bytes) : std::string(data);
  const bool data_is_little = order == '<' || (order == '=' && machine_is_little_endian());
  if (data_is_little != machine_is_little_endian()) reverse_elements(array.bytes, type->bytes);
  return array;
}

NpyArray read_npy(const std::string& path, const NpyLimits& limits) {
  return parse_npy(read_file(path, limits.max_bytes), path, limits);
}

std::string npy_bytes(const void* data, NpyType type, const std::vector<int64_t>& shape) {
  const size_t element_size = element_bytes(type);
  const bool negative = std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 0; });
  const int64_t needed = negative ? -1 : bytes_of(shape, element_size);
  if (needed < 0 || shape.size() > kMaxRank) {
    throw_usage("array: shape " + tuple_text(shape) + " cannot be written; up to 32 dimensions >= 0 can");
  }
  std::string header = std::string("{'descr': '") + (element_size == 1 ? '|' : '<') + entry_of(type).code +
                       "', 'fortran_order': False, 'shape': " + tuple_text(shape) + ", }";
  const size_t before = kMagic.size() + 4;
  header.append(kAlignment - 1 - (before + header.size()) % kAlignment, ' ');
  header += '\n';

  std::string bytes(kMagic);
  bytes += '\x01';
  bytes += '\x00';
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  std::string body(static_cast<const char*>(data), static_cast<size_t>(needed));
  if (!machine_is_little_endian()) reverse_elements(body, element_size);
  return bytes + body;
}

void write_npy(const std::string& path, const float* data, const std::vector<int64_t>& shape) {
  write_file_atomically(path, npy_bytes(data, NpyType::kFloat32, shape));
}
void write_npy(const std::string& path, const double* data, const std::vector<int64_t>& shape) {
  write_file_atomically(path, npy_bytes(data, NpyType::kFloat64, shape));
}
void write_npy(const std::string& path, const int64_t* data, const std::vector<int64_t>& shape) {
  write_file_atomically(path, npy_bytes(data, NpyType::kInt64, shape));
}
void write_npy(const std::string& path, const uint8_t* data, const std::vector<int64_t>& shape) {
  write_file_atomically(path, npy_bytes(data, NpyType::kUInt8, shape));
}

}  // namespace pellucid
