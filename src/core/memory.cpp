#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <atomic>
#include <cstdint>
#include <new>

#include "pellucid/error.h"
#include "pellucid/tensor.h"

namespace pellucid {

namespace {

std::atomic<int64_t> g_limit{0};
std::atomic<int64_t> g_used{0};
std::atomic<int64_t> g_peak{0};

/// Stands before the data of every block. LibTorch wants the address of a block to be its context as well, so the
/// account cannot live beside it. A cache line long, to keep the data aligned as LibTorch promises.
struct alignas(64) Header {
  uintptr_t seal;  ///< Tells a block of ours from one that another allocator made.
  void* block;
  int64_t bytes;
};
uintptr_t seal_of(const Header* header) { return reinterpret_cast<uintptr_t>(header) ^ 0x50656c6c75636964ULL; }

/// LibTorch frees the weights that oneDNN packs through the allocator of that moment, whichever one made them: those
/// packed before there was an account come here too. In front of any block of LibTorch's lie 64 bytes that may be read.
[[gnu::no_sanitize_address]] void free_block(void* data) {
  if (!data) return;
  auto* const place = static_cast<Header*>(data) - 1;
  if (place->seal != seal_of(place)) return c10::GetDefaultCPUAllocator()->raw_deallocate(data);
  const Header header = *place;
  place->seal = 0;
  g_used.fetch_sub(header.bytes, std::memory_order_relaxed);
  c10::GetDefaultCPUAllocator()->raw_deallocate(header.block);
}

std::string mebibytes(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

/// LibTorch's CPU allocator with an account: hostile or oversized models fail with a sentence, not with the kernel's
/// out-of-memory killer.
class BudgetAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) const override {
    const auto bytes = static_cast<int64_t>(size);
    const int64_t limit = g_limit.load(std::memory_order_relaxed);
    const int64_t used = g_used.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (bytes < 0 || (limit > 0 && (bytes > limit || used > limit))) {
      g_used.fetch_sub(bytes, std::memory_order_relaxed);
      throw_failed("out of memory: a tensor of " + mebibytes(bytes) + " beside " + mebibytes(used - bytes) +
                   " in use exceeds the limit of " + mebibytes(limit) + " (--max-memory)");
    }
    if (size == 0) return {nullptr, nullptr, &free_block, c10::Device(c10::DeviceType::CPU)};
    void* block = nullptr;
    try {
      block = c10::GetDefaultCPUAllocator()->raw_allocate(size + sizeof(Header));
    } catch (...) {
      g_used.fetch_sub(bytes, std::memory_order_relaxed);
      throw_failed("out of memory: the system refused a tensor of " + mebibytes(bytes));
    }
    int64_t peak = g_peak.load(std::memory_order_relaxed);
    while (used > peak && !g_peak.compare_exchange_weak(peak, used, std::memory_order_relaxed)) {
    }
    auto* const header = new (block) Header{0, block, bytes};
    header->seal = seal_of(header);
    return {header + 1, header + 1, &free_block, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  void copy_data(void* dest, const void* src, std::size_t count) const override { default_copy_data(dest, src, count); }
#endif
};

}  // namespace

void set_memory_limit(int64_t bytes) {
  static BudgetAllocator allocator;
  static const bool installed = [] {
    c10::SetAllocator(c10::DeviceType::CPU, &allocator, /*priority=*/255);
    return true;
  }();
  (void)installed;
  g_peak.store(g_used.load(std::memory_order_relaxed), std::memory_order_relaxed);
  g_limit.store(bytes, std::memory_order_relaxed);
}

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 16 << 20);
#endif
}

int64_t memory_in_use() { return g_used.load(std::memory_order_relaxed); }
int64_t memory_peak() { return g_peak.load(std::memory_order_relaxed); }

}  // namespace pellucid
