#pragma once

// The only public header that includes LibTorch, and the least of it: <torch/torch.h> costs eleven seconds a file.
#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pellucid {

/// A shared handle: copying it never copies data, and nobody writes in place to a tensor they were handed.
using Tensor = at::Tensor;
using TensorList = std::vector<Tensor>;
using Shape = std::vector<int64_t>;

/// "[1,3,224,224]".
std::string shape_text(at::IntArrayRef shape);

/// "[1,3,224,224] float32".
std::string tensor_text(const Tensor& tensor);

/// Sets the number of threads LibTorch computes with; 0 takes all cores this process may use (LibTorch as packaged by
/// Debian starts with one).
void set_num_threads(int num_threads = 0);

/// Lets the process keep freed memory for its next tensors instead of returning it to the system and paying a page
/// fault for every 4 KiB of the next one; halves the time of small networks. For the whole process; without effect
/// where the C library is not glibc.
void keep_freed_memory();

/// The most bytes of tensor memory LibTorch may hold on the CPU at one time; an allocation beyond it throws
/// Error(kFailed) instead of swapping or being killed. 0 removes the limit. Applies to the whole process.
void set_memory_limit(int64_t bytes);

/// Bytes of tensor memory held now, and the most ever held since the last reset. Counted only once a memory limit was
/// set.
int64_t memory_in_use();
int64_t memory_peak();

}  // namespace pellucid
