// Any bytes as a picture.

#include "check.h"
#include "pellucid/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pellucid;
  return fuzz::only_errors([&] {
    ImageLimits limits;
    limits.max_pixels = 1 << 18;
    limits.max_bytes = 1 << 20;
    const Image image = decode_image_bytes({reinterpret_cast<const char*>(data), size}, "fuzz", limits);
    const auto pixels = static_cast<int64_t>(image.width) * image.height;
    if (pixels < 1 || pixels > limits.max_pixels || image.pixels.size() != static_cast<size_t>(pixels) * 3)
      std::abort();
  });
}
