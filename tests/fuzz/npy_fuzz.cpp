// Any bytes as a NumPy array; what was read is converted too.

#include "check.h"
#include "pellucid/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pellucid;
  return fuzz::only_errors([&] {
    NpyLimits limits;
    limits.max_bytes = 16 << 20;
    const NpyArray array = parse_npy({reinterpret_cast<const char*>(data), size}, "fuzz.npy", limits);
    if (static_cast<int64_t>(array.floats().size()) != array.num_elements()) std::abort();
    if (npy_bytes(array.bytes.data(), array.type, array.shape).size() < array.bytes.size()) std::abort();
    array.integers();
  });
}
