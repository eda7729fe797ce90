#pragma once

#include <algorithm>
#include <string>

#include "pellucid/npy.h"
#include "pellucid/tensor.h"

namespace pellucid::test {

/// The array of a .npy file, widened to float64.
inline Tensor load_npy(const std::string& path) {
  const NpyArray array = read_npy(path);
  const std::vector<double> numbers = array.doubles();
  Tensor tensor = at::empty(array.shape, at::kDouble);
  std::copy(numbers.begin(), numbers.end(), tensor.data_ptr<double>());
  return tensor;
}

}  // namespace pellucid::test
