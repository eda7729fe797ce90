#include "pellucid/tensor.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <thread>

namespace pellucid {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

namespace {

const char* type_text(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kShort:
      return "int16";
    case at::kChar:
      return "int8";
    case at::kByte:
      return "uint8";
    case at::kBool:
      return "bool";
    default:
      return at::toString(type);
  }
}

}  // namespace

std::string tensor_text(const Tensor& tensor) {
  if (!tensor.defined()) return "(absent)";
  return shape_text(tensor.sizes()) + " " + type_text(tensor.scalar_type());
}

void set_num_threads(int num_threads) {
  if (num_threads <= 0) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    num_threads = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask)
                                                                : static_cast<int>(std::thread::hardware_concurrency());
  }
  at::set_num_threads(std::max(1, num_threads));
}

}  // namespace pellucid
