// What every method keeps at once stays within Context::memory_budget.

#include <gtest/gtest.h>

#include "attribution/method.h"
#include "pellucid/tensor.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/quick_method.h"

namespace pellucid::test {
namespace {

/// Maps of 512 KiB, then 512, 128 and 64, in float64, for pictures of 96 KiB.
Explainer network() {
  LayerBuilder b(1);
  b.conv("c1", "x", 16);
  b.node("Relu", "r1", {"c1"});
  b.conv("c2", "r1", 16);
  b.node("Relu", "r2", {"c2"});
  b.pool("MaxPool", "p1", "r2", 2, 2);
  b.conv("c3", "p1", 16);
  b.node("Relu", "r3", {"c3"});
  b.conv("c4", "r3", 32, {3, 2});
  b.node("Relu", "map", {"c4"});
  return Explainer(b.head("map", 4), Random(2).normal({1, 3, 64, 64}), NetworkOptions{});
}

TEST(MemoryBudget, HoldsForEveryMethod) {
  const Explainer n = network();
  for (const Method& method : methods()) {
    const std::vector<std::string> layer =
        method.needs & kNeedsLayer ? std::vector<std::string>{"map"} : std::vector<std::string>{};
    MethodCall call = quick(method);
    for (const ParamSpec& spec : method.params) {
      if (spec.name == "samples" || spec.name == "steps") call.params[spec.name] = "40";
      if (spec.name == "iterations") call.params[spec.name] = "3";
    }
    if (method.id == "lime" || method.id == "kernel-shap") call.params["samples"] = "150";
    for (const int64_t budget : {int64_t{8} << 20, int64_t{16} << 20}) {
      Context context = n.context("1", layer);
      context.batch_size = 64;
      context.memory_budget = budget;
      set_memory_limit(int64_t{1} << 40);  // the peak counts from here
      const int64_t before = memory_in_use();
      attribute(call, context);
      EXPECT_LE(memory_peak() - before, budget) << call.text();
    }
  }
  set_memory_limit(0);
}

}  // namespace
}  // namespace pellucid::test
