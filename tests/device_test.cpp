// Everything that computes on a network's device, on one that is not the CPU (support/strict_device.h): same numbers,
// and nothing that a GPU would refuse.

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "pellucid/attribution.h"
#include "pellucid/learner.h"
#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/quick_method.h"
#include "support/strict_device.h"

namespace pellucid::test {
namespace {

NetworkOptions strict(NetworkOptions options = in_float64()) {
  options.device = "privateuseone";
  return options;
}

Tensor pictures() { return Random(8).normal({2, 3, 13, 12}); }

TEST(Device, RefusesWhatAGpuWouldRefuse) {
  const at::Device device("privateuseone:0");
  const Tensor there = at::ones({2, 3}, at::TensorOptions(device));
  EXPECT_EQ((there + 1).sum().item<double>(), 12);
  EXPECT_ANY_THROW(there + at::ones({2, 3}));
  EXPECT_ANY_THROW(at::normal(there, 1, at::detail::createCPUGenerator(1)));
  EXPECT_DEATH(std::cerr << there.data_ptr<float>()[0], "");
}

TEST(Device, NetworksGiveTheSameValues) {
  const int64_t before = strict_device_operators();
  for (const Family family : kFamilies) {
    const Explainer cpu(random_network(family, 4), pictures());
    const Explainer other(random_network(family, 4), pictures().to(at::Device("privateuseone:0")), strict());
    EXPECT_TRUE(within(other.value("logits").cpu(), cpu.value("logits"), {1e-12, 1e-12}));
  }
  EXPECT_GT(strict_device_operators(), before + 10);
}

class EveryMethodOnADevice : public ::testing::TestWithParam<std::string> {};

std::vector<std::string> method_ids() {
  std::vector<std::string> list;
  for (const Method& m : methods()) list.push_back(m.id);
  return list;
}
INSTANTIATE_TEST_SUITE_P(Methods, EveryMethodOnADevice, ::testing::ValuesIn(method_ids()), [](const auto& method) {
  std::string name = method.param;
  std::replace(name.begin(), name.end(), '-', '_');
  std::replace(name.begin(), name.end(), '+', 'p');
  return name;
});

TEST_P(EveryMethodOnADevice, GivesTheSameMap) {
  const Explainer cpu(random_network(Family::kResidual, 4), pictures());
  const Explainer other(random_network(Family::kResidual, 4), pictures().to(at::Device("privateuseone:0")), strict());
  const std::string call = quick(*MethodCall::parse(GetParam()).method).text();
  const Attribution expected = cpu.explain(call, "1");
  const Attribution there = other.explain(call, "1");
  EXPECT_TRUE(within(there.values.cpu(), expected.values, {1e-6, 1e-6}));
  EXPECT_TRUE(within(there.map.cpu(), expected.map, {1e-6, 1e-6}));
}

}  // namespace
}  // namespace pellucid::test
