#pragma once

#include "pellucid/image.h"

namespace pellucid {

/// Throws Error(kUsage) unless `image` has pixels, as many as its size says, in 1, 3 or 4 channels. `what` begins the
/// message: "overlay: photo".
void check_image(const Image& image, const char* what);

inline uint8_t byte_from(double value) {
  return value <= 0 ? uint8_t{0} : value >= 255 ? uint8_t{255} : static_cast<uint8_t>(value + 0.5);
}

}  // namespace pellucid
