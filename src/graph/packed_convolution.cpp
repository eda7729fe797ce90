#include "graph/packed_convolution.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace pellucid {

namespace {

/// LibTorch's own operators over oneDNN; they are reached by name because no header declares them.
struct Kernels {
  c10::optional<c10::OperatorHandle> prepack, run;
  Kernels() {
    if (!at::hasMKLDNN()) return;
    prepack = c10::Dispatcher::singleton().findSchema({"mkldnn_prepacked::conv2d_prepack", ""});
    run = c10::Dispatcher::singleton().findSchema({"mkldnn_prepacked::conv2d_run", ""});
  }
  bool there() const { return prepack.has_value() && run.has_value(); }
};

const Kernels& kernels() {
  static const Kernels k;
  return k;
}

struct Key {
  const void* weight;
  const void* bias;
  std::vector<int64_t> geometry;  ///< input shape, strides, padding, dilations
  bool operator<(const Key& other) const {
    return std::tie(weight, bias, geometry) < std::tie(other.weight, other.bias, other.geometry);
  }
};

struct Packed {
  Tensor weight, bias;  ///< Kept, so that their addresses stay their own.
  c10::IValue context;
  int64_t used = 0;  ///< When.
};

/// Programs that keep changing the size of their pictures pack the weights for each of them.
constexpr int64_t kMostBytes = int64_t{512} << 20;

}  // namespace

struct PackedConvolutions::Impl {
  std::mutex mutex;
  std::map<Key, Packed> packed;
  int64_t bytes = 0, clock = 0;

  /// Forgets what was not used for the longest time.
  void make_room(int64_t wanted) {
    while (!packed.empty() && bytes + wanted > kMostBytes) {
      const auto oldest = std::min_element(packed.begin(), packed.end(),
                                           [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
      bytes -= static_cast<int64_t>(oldest->second.weight.nbytes());
      packed.erase(oldest);
    }
  }
};

PackedConvolutions::PackedConvolutions() : impl_(std::make_unique<Impl>()) {}
PackedConvolutions::~PackedConvolutions() = default;

Tensor PackedConvolutions::run(const Tensor& input, const Tensor& weight, const Tensor& bias, at::IntArrayRef strides,
                               at::IntArrayRef padding, at::IntArrayRef dilations, int64_t groups) const {
  // Grouped kernels read their weights as they are; very wide maps spend no time on reordering.
  if (groups != 1 || !kernels().there() || input.dim() != 4 || !input.device().is_cpu() ||
      input.scalar_type() != at::kFloat || weight.scalar_type() != at::kFloat ||
      !input.is_contiguous(at::MemoryFormat::ChannelsLast) || input.numel() == 0) {
    return {};
  }
  // The packed form holds the bias too: layers may share weights and not the bias.
  Key key{weight.data_ptr(), bias.defined() ? bias.data_ptr() : nullptr, input.sizes().vec()};
  for (const at::IntArrayRef list : {strides, padding, dilations})
    key.geometry.insert(key.geometry.end(), list.begin(), list.end());
  c10::IValue context;
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex);
    auto found = impl_->packed.find(key);
    if (found == impl_->packed.end()) {
      torch::jit::Stack stack{weight,
                              bias.defined() ? c10::IValue(bias) : c10::IValue(),
                              strides.vec(),
                              padding.vec(),
                              dilations.vec(),
                              groups,
                              input.sizes().vec(),
                              "none"};
      kernels().prepack->callBoxed(stack);
      const auto size = static_cast<int64_t>(weight.nbytes());
      impl_->make_room(size);
      impl_->bytes += size;
      found = impl_->packed.emplace(std::move(key), Packed{weight, bias, stack.back()}).first;
    }
    found->second.used = ++impl_->clock;
    context = found->second.context;
  }
  torch::jit::Stack stack{input, context};
  kernels().run->callBoxed(stack);
  return stack.back().toTensor();
}

}  // namespace pellucid
