#include "graph/packed_convolution.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <optional>

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
  std::vector<int64_t> geometry;  ///< input shape, strides, padding, dilations
  bool operator<(const Key& other) const {
    return weight != other.weight ? weight < other.weight : geometry < other.geometry;
  }
};

struct Packed {
  Tensor weight;  ///< Kept, so that its address stays its own.
  c10::IValue context;
};

}  // namespace

struct PackedConvolutions::Impl {
  std::mutex mutex;
  std::map<Key, Packed> packed;
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
  Key key{weight.data_ptr(), input.sizes().vec()};
  for (const at::IntArrayRef list : {strides, padding, dilations})
    key.geometry.insert(key.geometry.end(), list.begin(), list.end());
  c10::IValue context;
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex);
    // One copy of the weights per shape of input: a program that keeps changing shapes starts afresh.
    if (impl_->packed.size() > 1024) impl_->packed.clear();
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
      found = impl_->packed.emplace(std::move(key), Packed{weight, stack.back()}).first;
    }
    context = found->second.context;
  }
  torch::jit::Stack stack{input, context};
  kernels().run->callBoxed(stack);
  return stack.back().toTensor();
}

}  // namespace pellucid
