#include "support/strict_device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

namespace pellucid::test {

namespace {

constexpr at::DeviceType kDeviceType = at::DeviceType::PrivateUse1;
const at::Device kDevice(kDeviceType, 0);

std::atomic<int64_t> operators{0};

/// The first half of a mapping cannot be touched and is what tensors point to; the second half holds the bytes.
struct Block {
  char* base;
  size_t half;
};

void release(void* context) {
  auto* const block = static_cast<Block*>(context);
  munmap(block->base, 2 * block->half);
  delete block;
}

class Memory final : public at::Allocator {
 public:
  at::DataPtr allocate(size_t bytes) const override {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t half = std::max<size_t>(1, (bytes + page - 1) / page) * page;
    void* const mapped = mmap(nullptr, 2 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(mapped != MAP_FAILED, "strict device: out of memory");
    auto* const base = static_cast<char*>(mapped);
    TORCH_CHECK(mprotect(base + half, half, PROT_READ | PROT_WRITE) == 0, "strict device: mprotect");
    return {base, new Block{base, half}, &release, kDevice};
  }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
};
Memory memory;

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return kDeviceType; }
  at::Device exchangeDevice(at::Device) const override { return kDevice; }
  at::Device getDevice() const override { return kDevice; }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  at::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const at::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const at::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

bool on_device(const at::Tensor& t) { return t.defined() && t.device().type() == kDeviceType; }

/// The same bytes as a CPU tensor.
at::Tensor bytes_of(const at::Tensor& t) {
  const auto* const block = static_cast<const Block*>(t.storage().data_ptr().get_context());
  char* const data = block->base + block->half + t.storage_offset() * static_cast<int64_t>(t.element_size());
  return at::from_blob(data, t.sizes(), t.strides(), at::TensorOptions(t.scalar_type()));
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, at::ScalarType type) {
  return at::detail::empty_strided_generic(sizes, strides, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type);
}

at::Tensor to_device(const at::Tensor& t) {
  if (!t.defined()) return t;
  at::Tensor result = empty_strided(t.sizes(), t.strides(), t.scalar_type());
  bytes_of(result).copy_(t);
  return result;
}

// --- any operator: on the CPU, with checked arguments
// -------------------------------------------------------------------

/// Operators that take tensors from the CPU together with the device's: copies and positions.
bool may_mix(const std::string& name) {
  static const std::array<const char*, 5> names{"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_",
                                                "aten::index_put", "aten::_copy_from"};
  return std::any_of(names.begin(), names.end(), [&](const char* n) { return name == n; });
}

struct Arguments {
  std::string name;
  std::vector<std::pair<at::Tensor, at::Tensor>> replaced;  ///< On the device, its bytes.

  at::Tensor local(const at::Tensor& t) {
    if (!t.defined()) return t;
    if (!on_device(t)) {
      // As on a GPU: numbers may come from the CPU, but where values are picked or joined.
      const bool joins =
          name.rfind("aten::where", 0) == 0 || name.rfind("aten::cat", 0) == 0 || name.rfind("aten::stack", 0) == 0;
      TORCH_CHECK((t.dim() == 0 && (!joins || t.unsafeGetTensorImpl()->is_wrapped_number())) || may_mix(name), name,
                  ": a tensor ", t.sizes(), " on ", t.device(), " meets tensors on ", kDevice);
      return t;
    }
    for (const auto& [device, bytes] : replaced) {
      if (device.is_same(t)) return bytes;
    }
    // What is empty may be an output that the operator gives its size.
    replaced.emplace_back(t, t.numel() == 0 ? at::empty(t.sizes(), at::TensorOptions(t.scalar_type())) : bytes_of(t));
    return replaced.back().second;
  }

  c10::IValue local(const c10::IValue& value) {
    if (value.isTensor()) return local(value.toTensor());
    if (value.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& t : value.toTensorVector()) list.push_back(local(t));
      return c10::IValue(c10::List<at::Tensor>(list));
    }
    if (value.isOptionalTensorList()) {
      c10::List<c10::optional<at::Tensor>> list;
      for (const c10::optional<at::Tensor>& t : value.toOptionalTensorVector()) {
        list.push_back(t ? c10::optional<at::Tensor>(local(*t)) : t);
      }
      return c10::IValue(std::move(list));
    }
    if (value.isDevice()) return c10::IValue(at::Device(at::kCPU));
    if (value.isGenerator()) {
      TORCH_CHECK(value.toGenerator().device().type() == kDeviceType, name, ": a generator of ",
                  value.toGenerator().device(), " is given to tensors on ", kDevice);
    }
    return value;
  }
};

/// What an operator wrote to is returned as the tensor that was given.
c10::IValue returned(const c10::IValue& value, const c10::Argument& argument, const Arguments& arguments) {
  if (value.isTensorList()) {
    std::vector<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorVector()) list.push_back(to_device(t));
    return c10::IValue(c10::List<at::Tensor>(list));
  }
  if (!value.isTensor() || !value.toTensor().defined()) return value;
  const at::Tensor& t = value.toTensor();
  if (argument.alias_info() == nullptr) return to_device(t);
  TORCH_CHECK(argument.alias_info()->isWrite(), arguments.name, ": the strict device lacks this view");
  for (const auto& [device, bytes] : arguments.replaced) {
    if (!bytes.is_same(t)) continue;
    if (device.sizes() != bytes.sizes()) {
      const at::Tensor grown = to_device(bytes);
      device.unsafeGetTensorImpl()->set_storage_keep_dtype(grown.storage());
      device.unsafeGetTensorImpl()->set_sizes_and_strides(grown.sizes(), grown.strides());
    }
    return device;
  }
  TORCH_CHECK(false, arguments.name, ": wrote to what was not given");
}

void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  ++operators;
  const c10::FunctionSchema& schema = op.schema();
  Arguments arguments{
      schema.operator_name().name +
          (schema.operator_name().overload_name.empty() ? "" : "." + schema.operator_name().overload_name),
      {}};
  const size_t count = schema.arguments().size();
  const size_t begin = stack->size() - count;
  for (size_t i = begin; i < stack->size(); ++i) (*stack)[i] = arguments.local((*stack)[i]);
  op.callBoxed(stack);
  const size_t first = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    (*stack)[first + i] = returned((*stack)[first + i], schema.returns()[i], arguments);
  }
}

// --- what has no kernel that every device shares
// ------------------------------------------------------------------------

at::Tensor empty(c10::IntArrayRef size, c10::optional<at::ScalarType> type, c10::optional<at::Layout>,
                 c10::optional<at::Device>, c10::optional<bool>, c10::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::get_default_dtype_as_scalartype()), format);
}

at::Tensor empty_like_strides(c10::IntArrayRef size, c10::IntArrayRef stride, c10::optional<at::ScalarType> type,
                              c10::optional<at::Layout>, c10::optional<at::Device>, c10::optional<bool>) {
  return empty_strided(size, stride, type.value_or(at::get_default_dtype_as_scalartype()));
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool) {
  at::Tensor to = on_device(self) ? bytes_of(self) : self;
  to.copy_(on_device(source) ? bytes_of(source) : source);
  return self;
}

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const c10::optional<at::Tensor>& bias,
                       c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
                       c10::IntArrayRef output_padding, int64_t groups) {
  ++operators;
  Arguments arguments{"aten::convolution", {}};
  const at::Tensor x = arguments.local(input), w = arguments.local(weight);
  const at::Tensor b = bias && bias->defined() ? arguments.local(*bias) : at::Tensor();
  return to_device(at::convolution(x, w, b, stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& grad, const at::Tensor& input,
                                                                    const at::Tensor& weight, c10::IntArrayRef stride,
                                                                    c10::IntArrayRef padding, c10::IntArrayRef dilation,
                                                                    bool transposed, c10::IntArrayRef output_padding,
                                                                    int64_t groups, std::array<bool, 3> wanted) {
  ++operators;
  Arguments arguments{"aten::convolution_backward", {}};
  const at::Tensor g = arguments.local(grad), x = arguments.local(input), w = arguments.local(weight);
  const std::vector<int64_t> bias{g.size(1)};
  const auto [gx, gw, gb] = at::convolution_backward(g, x, w, c10::IntArrayRef(bias), stride, padding, dilation,
                                                     transposed, output_padding, groups, wanted);
  return {to_device(gx), to_device(gw), to_device(gb)};
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_like_strides));
  m.impl("copy_", TORCH_FN(copy_));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
  m.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  m.impl("convolution_overrideable", TORCH_FN(convolution));
  m.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
}

}  // namespace

int64_t strict_device_operators() { return operators; }

}  // namespace pellucid::test
