#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pellucid/error.h"

namespace pellucid {

/// Bounds-checked reading of a picture's bytes. Whatever would leave them throws Error(kInvalidInput).
class Cursor {
 public:
  Cursor(std::string_view bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& what) const { throw_invalid(where_ + ": " + what); }
  size_t size() const { return bytes_.size(); }
  size_t position() const { return at_; }
  bool at_end() const { return at_ >= bytes_.size(); }
  void seek(size_t position) {
    if (position > bytes_.size()) fail("the file ends early");
    at_ = position;
  }
  void skip(size_t count) { take(count); }
  std::string_view take(size_t count) {
    if (count > bytes_.size() - at_) fail("the file ends early");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  uint8_t u8() { return static_cast<uint8_t>(take(1)[0]); }
  uint32_t big(int num_bytes) {
    uint32_t value = 0;
    for (int i = 0; i < num_bytes; ++i) value = value << 8 | u8();
    return value;
  }
  uint32_t little(int num_bytes) {
    uint32_t value = 0;
    for (int i = 0; i < num_bytes; ++i) value |= uint32_t{u8()} << (8 * i);
    return value;
  }
  const std::string& where() const { return where_; }

 private:
  std::string_view bytes_;
  std::string where_;
  size_t at_ = 0;
};

}  // namespace pellucid
