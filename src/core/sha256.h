#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace pellucid {

/// Secure Hash Standard, FIPS PUB 180-4, section 6.2: SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  void update(const void* data, size_t size);
  /// 64 lower-case hex digits. Ends the computation; the object is not used again.
  std::string hex_digest();

 private:
  void compress(const uint8_t* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t filled_ = 0;       ///< Bytes waiting in block_.
  uint64_t num_bytes_ = 0;  ///< Bytes seen in all.
};

}  // namespace pellucid
