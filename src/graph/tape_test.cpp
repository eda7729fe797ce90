#include <gtest/gtest.h>

#include <memory>

#include "pellucid/network.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

Tensor pictures() { return Random(2).normal({2, 3, 12, 11}); }

struct Recorded {
  explicit Recorded(Family family)
      : network(random_network(family, 3), in_float64()),
        logits(network.graph().find("logits")),
        map(network.graph().find("map")),
        input(network.graph().inputs()[0].value),
        tape(network.record({pictures()}, {{logits}, {input, map}, {}, false})) {}
  Values seed(int64_t k) const {
    Tensor s = at::zeros_like(tape.value(logits));
    s.select(1, k).fill_(1);
    return {{logits, s}};
  }
  Network network;
  ValueId logits, map, input;
  Tape tape;
};

// A tape may be walked again and again: nothing of a walk stays in it, nor of its rules, nor in the seeds.
TEST(Tape, WalksLeaveNothingBehind) {
  for (const Family family : kFamilies) {
    const Recorded r(family);
    const Values seed = r.seed(1);
    const Tensor seed_before = seed.at(r.logits).clone();
    const Tensor value_before = r.tape.value(r.map).clone();
    const Tensor first = r.tape.backward(seed, {r.input}).values.at(r.input).clone();
    const RuleMap negate = {{"negate", [](const Node& node) { return node.op == "Conv"; },
                             [](const NodeBackward& b) {
                               TensorList grads = b.vjp(b.grads);
                               if (grads[0].defined()) grads[0] = -grads[0];
                               return grads;
                             }}};
    const Gradients ruled = r.tape.backward(seed, {r.input}, negate);
    EXPECT_GE(ruled.rule_uses.at("negate"), 3) << family_name(family);
    EXPECT_TRUE(r.tape.backward(seed, {r.input}).values.at(r.input).equal(first)) << family_name(family);
    EXPECT_TRUE(seed.at(r.logits).equal(seed_before)) << family_name(family);
    EXPECT_TRUE(r.tape.value(r.map).equal(value_before)) << family_name(family);
  }
}

TEST(Tape, OutlivesItsNetwork) {
  for (const Family family : kFamilies) {
    auto r = std::make_unique<Recorded>(family);
    const Values seed = r->seed(1);
    const Tensor before = r->tape.backward(seed, {r->input}).values.at(r->input).clone();
    const Tape tape = std::move(r->tape);
    const ValueId input = r->input;
    r.reset();
    EXPECT_TRUE(tape.backward(seed, {input}).values.at(input).equal(before)) << family_name(family);
  }
}

TEST(Tape, IsLinearInItsSeed) {
  for (const Family family : kFamilies) {
    const Recorded r(family);
    Values mixed = r.seed(1);
    mixed.begin()->second.mul_(2).add_(r.seed(3).begin()->second, -0.5);
    const Tensor expected = r.tape.backward(r.seed(1), {r.input}).values.at(r.input) * 2 -
                            r.tape.backward(r.seed(3), {r.input}).values.at(r.input) * 0.5;
    EXPECT_TRUE(within(r.tape.backward(mixed, {r.input}).values.at(r.input), expected, kExact)) << family_name(family);
  }
}

// Stopping at a layer gives the same gradient there as walking on; and chaining the two walks gives that of the input.
TEST(Tape, StopsWhereAsked) {
  for (const Family family : kFamilies) {
    const Recorded r(family);
    const Gradients both = r.tape.backward(r.seed(1), {r.input, r.map});
    const Tensor at_map = r.tape.backward(r.seed(1), {r.map}).values.at(r.map);
    EXPECT_TRUE(at_map.equal(both.values.at(r.map))) << family_name(family);
    const Tensor chained = r.tape.backward({{r.map, at_map}}, {r.input}).values.at(r.input);
    EXPECT_TRUE(within(chained, both.values.at(r.input), kExact)) << family_name(family);
  }
}

// A value without a path to the seed has no gradient, rather than zeros that look like an answer.
TEST(Tape, LeavesTheUnreachableUndefined) {
  LayerBuilder b(1);
  b.conv("c1", "x", 4);
  b.conv("side", "x", 4);
  b.graph.output("side");
  const Network n(b.head("c1", 3), in_float64());
  const ValueId logits = n.graph().find("logits"), side = n.graph().find("side"), input = n.graph().inputs()[0].value;
  const Tape tape = n.record({pictures()}, {{logits}, {side, input}, {}, false});
  const Gradients g = tape.backward({{logits, at::ones_like(tape.value(logits))}}, {side, input});
  EXPECT_FALSE(g.values.at(side).defined());
  EXPECT_TRUE(g.values.at(input).defined());
}

// x feeds an operator twice, and two operators: contributions add up. d/dx (x*x + relu(x) + x) = 2x + 1[x>0] + 1.
TEST(Tape, SumsOverAllUsesOfAValue) {
  LayerBuilder b(1, {-1, 3, 4, 4});
  b.node("Mul", "square", {"x", "x"});
  b.node("Relu", "r", {"x"});
  b.node("Add", "s", {"square", "r"});
  b.node("Add", "t", {"s", "x"});
  const Network n(b.finish("t"), in_float64());
  const ValueId input = n.graph().inputs()[0].value, t = n.graph().find("t");
  const Tensor x = Random(3).normal({2, 3, 4, 4});
  const Tape tape = n.record({x}, {{t}, {input}, {}, false});
  const Tensor expected = 2 * x + x.gt(0) + 1;
  EXPECT_TRUE(within(tape.backward({{t, at::ones_like(x)}}, {input}).values.at(input), expected, kExact));
}

TEST(Tape, RefusesEditsThatGradientsPass) {
  const Network n(random_network(Family::kPlain, 3), in_float64());
  const ValueId logits = n.graph().find("logits"), map = n.graph().find("map"), input = n.graph().inputs()[0].value;
  Request request;
  request.edit[map] = [](const Tensor& t) { return t * 0; };
  expect_error(ErrorKind::kUsage, "net: 'map' cannot be edited while gradients pass through it", [&] {
    n.record({pictures()}, {{logits}, {input}, request, false});
  });
  // Before the value that gradients stop at, an edit is part of the forward pass.
  Request before;
  before.edit[n.graph().find("c1")] = [](const Tensor& t) { return t * 0; };
  const Tape tape = n.record({pictures()}, {{logits}, {map}, before, false});
  EXPECT_FALSE(at::allclose(tape.value(map), n.record({pictures()}, {{logits}, {map}, {}, false}).value(map)));
}

TEST(Tape, KnowsOnlyWhatWasRecorded) {
  const Recorded r(Family::kPlain);
  const ValueId c1 = r.network.graph().find("c1");
  expect_error(ErrorKind::kUsage, "net: value " + std::to_string(c1) + " was not recorded", [&] { r.tape.value(c1); });
}

}  // namespace
}  // namespace pellucid::test
