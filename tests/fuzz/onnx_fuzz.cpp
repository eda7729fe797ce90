// Any bytes as a model: import, and when that succeeds describe it and run it forward and back on a small input.

#include <algorithm>
#include <chrono>
#include <string_view>

#include "check.h"
#include "pellucid/layers.h"

namespace {

using namespace pellucid;

constexpr int64_t kMemory = int64_t{128} << 20;
constexpr int64_t kLargestInput = 1 << 16;
constexpr auto kTimeLimit = std::chrono::seconds(2);

void explore(std::string_view bytes) {
  LoadOptions load;
  load.max_bytes = 16 << 20;
  const Network network(parse_onnx(bytes, "fuzz.onnx", load));
  TensorList inputs;
  std::vector<Shape> shapes;
  for (const GraphInput& input : network.graph().inputs()) {
    Shape shape = input.shape;
    int64_t count = 1;
    for (int64_t& size : shape) {
      if (size < 0) size = 2;
      if (size > kLargestInput) return;
      count *= std::max<int64_t>(size, 1);
      if (count > kLargestInput) return;
    }
    inputs.push_back(at::ones(shape, at::TensorOptions(input.type)));
    shapes.push_back(shape);
  }
  Progress progress;
  progress.set_deadline(std::chrono::steady_clock::now() + kTimeLimit);
  Request request;
  request.capture = network.graph().outputs();
  const Values values = network.run(inputs, request, &progress);

  const LayerTable layers(network, shapes);
  if (inputs.empty() || !inputs[0].is_floating_point()) return;
  const ValueId from = network.graph().inputs()[0].value;
  const Tape tape = network.record(inputs, {{layers.logits()}, {from}, {}, false}, &progress);
  const Tensor& score = tape.value(layers.logits());
  if (score.defined() && score.is_floating_point()) tape.backward({{layers.logits(), at::ones_like(score)}}, {from});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  set_memory_limit(kMemory);
  return fuzz::only_errors([&] { explore({reinterpret_cast<const char*>(data), size}); });
}
