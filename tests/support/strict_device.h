#pragma once

// A device that is not the CPU, for tests on machines without one. It computes what the CPU computes, and refuses what
// a GPU would: operators whose tensors lie on two devices, random generators of another device, and, because its
// addresses are not mapped, any reading of its memory through data_ptr.
//
// It is LibTorch's "privateuseone", available in programs that link strict_device.cpp.

#include <cstdint>

namespace pellucid::test {

/// How many operators ran on the device so far.
int64_t strict_device_operators();

}  // namespace pellucid::test
