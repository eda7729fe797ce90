#include "pellucid/network.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

// Float64: what differs is the order of sums and the folding of BatchNorm.
constexpr Tolerance kExact{1e-10, 1e-10};

Tensor pictures(int64_t count = 2) { return Random(2).normal({count, 3, 12, 11}); }

Values run(const Network& network, const Tensor& x, const std::vector<std::string>& names, Request request = {}) {
  for (const std::string& name : names) request.capture.push_back(network.graph().find(name));
  return network.run({x}, request);
}
Tensor run_one(const Network& network, const Tensor& x, const std::string& name, const Request& request = {}) {
  return run(network, x, {name}, request).at(network.graph().find(name));
}

class NetworkOf : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(Families, NetworkOf, ::testing::ValuesIn(kFamilies));

TEST_P(NetworkOf, OptimizedValuesEqualThePlainOnes) {
  const Graph graph = random_network(GetParam(), 3);
  const Network plain(graph, in_float64(false)), optimized(graph, in_float64(true));
  NetworkOptions single;
  const Network single_precision(graph, single);
  std::vector<std::string> names;
  for (const Value& v : graph.values()) {
    if (v.producer >= 0) names.push_back(v.name);
  }
  const Values all = run(plain, pictures(), names);
  for (const std::string& name : names) {
    const Tensor& expected = all.at(graph.find(name));
    // Asked for alone, the value is the end of the plan; asked for with the rest, it stands in the middle.
    EXPECT_TRUE(within(run_one(optimized, pictures(), name), expected, kExact)) << name;
    // Float32: 1e-7 for each of some hundred sums.
    EXPECT_TRUE(within(run_one(single_precision, pictures(), name), expected, {1e-5, 1e-5})) << name;
  }
  const Values together = run(optimized, pictures(), names);
  for (const auto& [id, t] : together) EXPECT_TRUE(within(t, all.at(id), kExact)) << graph.value(id).name;
}

TEST_P(NetworkOf, StartedFromALayerEqualsTheWholeRun) {
  const Network n(random_network(GetParam(), 3), in_float64());
  const Tensor whole = run_one(n, pictures(), "logits");
  for (const std::string name : {"map", "pool", "c1"}) {
    Request request;
    request.from[n.graph().find(name)] = run_one(n, pictures(), name);
    EXPECT_TRUE(within(run_one(n, Tensor(), "logits", request), whole, kExact)) << name;
  }
}

TEST_P(NetworkOf, EditEqualsARunFromTheEditedValue) {
  const Network n(random_network(GetParam(), 3), in_float64());
  const Edit silence = [](const Tensor& t) {
    Tensor edited = t.clone();
    edited.select(1, 1).zero_();
    return edited;
  };
  const Tensor before = run_one(n, pictures(), "logits");
  for (const std::string name : {"c1", "map"}) {
    const ValueId id = n.graph().find(name);
    Request from, edit;
    from.from[id] = silence(run_one(n, pictures(), name));
    edit.edit[id] = silence;
    const Tensor expected = run_one(n, pictures(), "logits", from);
    EXPECT_TRUE(within(run_one(n, pictures(), "logits", edit), expected, kExact)) << name;
    EXPECT_FALSE(at::allclose(expected, before)) << name;
    // What is captured is what later nodes see.
    EXPECT_EQ(run_one(n, pictures(), name, edit).select(1, 1).abs().max().item<double>(), 0);
    // The plan of an edited run must not serve one without.
    EXPECT_TRUE(run_one(n, pictures(), "logits").equal(before)) << name;
  }
}

TEST_P(NetworkOf, OverriddenWeightsEqualAGraphThatHasThem) {
  const Graph graph = random_network(GetParam(), 3);
  const Network n(graph, in_float64());
  const Tensor before = run_one(n, pictures(), "logits");
  for (const std::string name : {"c1.w", "logits.w"}) {
    const ValueId id = graph.find(name);
    const Tensor other = Random(50).normal(graph.value(id).constant.sizes().vec());
    Request request;
    request.constants[id] = other;
    const Network changed(graph.with_constants({{id, other}}), in_float64());
    EXPECT_TRUE(within(run_one(n, pictures(), "logits", request), run_one(changed, pictures(), "logits"), kExact))
        << name;
    // Other weights by the same plan, and none.
    request.constants[id] = other * 2;
    const Network doubled(graph.with_constants({{id, other * 2}}), in_float64());
    EXPECT_TRUE(within(run_one(n, pictures(), "logits", request), run_one(doubled, pictures(), "logits"), kExact))
        << name;
    EXPECT_TRUE(run_one(n, pictures(), "logits").equal(before)) << name;
  }
}

TEST_P(NetworkOf, BatchesAreIndependent) {
  const Network n(random_network(GetParam(), 3), in_float64());
  const Tensor x = pictures(4);
  const Tensor all = run_one(n, x, "logits");
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(within(run_one(n, x.narrow(0, i, 1), "logits")[0], all[i], kExact)) << i;
  EXPECT_TRUE(n.batches_safely());
}

TEST_P(NetworkOf, AutogradAgreesWithTheTape) {
  const Network n(random_network(GetParam(), 3), in_float64());
  const ValueId logits = n.graph().find("logits");
  const ValueId input = n.graph().inputs()[0].value;
  Tensor leaf = pictures().requires_grad_(true);
  Request request;
  request.capture = {logits};
  n.run_with_autograd({leaf}, request).at(logits).select(1, 2).sum().backward();
  const Tape tape = n.record({pictures()}, {{logits}, {input}, {}, false});
  Tensor seed = at::zeros_like(tape.value(logits));
  seed.select(1, 2).fill_(1);
  EXPECT_TRUE(within(tape.backward({{logits, seed}}, {input}).values.at(input), leaf.grad(), kExact));
}

// The value between a convolution and its BatchNormalization is the convolution's own, whatever is folded.
TEST(Network, FoldedBatchNormStillShowsTheConvolution) {
  const Graph graph = random_network(Family::kResidual, 3);
  const Network n(graph, in_float64());
  const Tensor x = pictures();
  const auto weight = [&](const char* name) { return graph.value(graph.find(name)).constant; };
  const Tensor conv = at::conv2d(x, weight("c1.w"), weight("c1.b"), 1, 1);
  EXPECT_TRUE(within(run_one(n, x, "c1"), conv, kExact));
  const Tensor norm = at::batch_norm(conv, weight("n1.scale"), weight("n1.shift"), weight("n1.mean"), weight("n1.var"),
                                     false, 0, 1e-5, false);
  EXPECT_TRUE(within(run_one(n, x, "n1"), norm, kExact));
  // Both at once, so that nothing can be folded, and with an edit of the inner value.
  const Values both = run(n, x, {"c1", "n1"});
  EXPECT_TRUE(within(both.at(graph.find("c1")), conv, kExact));
  EXPECT_TRUE(within(both.at(graph.find("n1")), norm, kExact));
  Request request;
  request.edit[graph.find("c1")] = [](const Tensor& t) { return t * 0; };
  const Tensor of_zero = at::batch_norm(conv * 0, weight("n1.scale"), weight("n1.shift"), weight("n1.mean"),
                                        weight("n1.var"), false, 0, 1e-5, false);
  EXPECT_TRUE(within(run_one(n, x, "n1", request), of_zero, kExact));
}

// A Relu that works in place must not reach a value that was asked for: not by its name, not through a Reshape that
// shares its memory, not through what the caller handed in.
TEST(Network, CapturedValuesAreNeverOverwritten) {
  LayerBuilder b(1, {-1, 3, 6, 6});
  b.conv("c1", "x", 4);
  b.graph.constant("shape", at::tensor({0, 4, 36, 1}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"c1", "shape"}, {"view"});
  b.graph.node("Relu", {"view"}, {"r"});
  b.graph.node("Flatten", {"x"}, {"input_view"});
  b.graph.node("Relu", {"input_view"}, {"input_rectified"});
  b.graph.output("r");
  b.graph.output("input_rectified");
  const Graph graph = b.graph.finish();
  for (const bool optimize : {true, false}) {
    const Network n(graph, in_float64(optimize));
    const Tensor x = Random(1).normal({2, 3, 6, 6});
    const Tensor kept = x.clone();
    const Tensor c1 = run_one(n, x, "c1").clone();
    ASSERT_LT(c1.min().item<double>(), 0);
    const Values values = run(n, x, {"c1", "r", "input_rectified"});
    EXPECT_TRUE(values.at(graph.find("c1")).equal(c1));
    EXPECT_GE(values.at(graph.find("r")).min().item<double>(), 0);
    EXPECT_TRUE(x.equal(kept));
    // Started from a value of the caller's.
    Request request;
    request.from[graph.find("view")] = c1.view({2, 4, 36, 1});
    const Tensor before = c1.clone();
    run_one(n, x, "r", request);
    EXPECT_TRUE(c1.equal(before));
    // And on a tape.
    const Tape tape = n.record({x}, {{graph.find("r")}, {graph.find("c1")}, {}, false});
    EXPECT_TRUE(tape.value(graph.find("c1")).equal(before));
  }
}

TEST(Network, RunsFromTwoThreadsAtOnce) {
  const Network n(random_network(Family::kResidual, 3), in_float64());
  const Tensor x = pictures();
  const Tensor expected = run_one(Network(random_network(Family::kResidual, 3), in_float64()), x, "logits");
  const ValueId logits = n.graph().find("logits"), map = n.graph().find("map"), input = n.graph().inputs()[0].value;
  std::atomic<int> wrong{0};
  const auto work = [&](int which) {
    at::NoGradGuard no_grad;
    for (int i = 0; i < 20; ++i) {
      // Different requests, so that plans are made while others run.
      const ValueId wrt = (i + which) % 2 ? map : input;
      const Tape tape = n.record({x}, {{logits}, {wrt}, {}, false});
      if (!at::allclose(tape.value(logits), expected)) ++wrong;
      if (!tape.backward({{logits, at::ones_like(expected)}}, {wrt}).values.at(wrt).defined()) ++wrong;
      if (!at::allclose(run_one(n, x, i % 3 ? "logits" : "flat").sum(),
                        i % 3 ? expected.sum() : run_one(n, x, "flat").sum()))
        ++wrong;
    }
  };
  std::thread first(work, 0), second(work, 1);
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Network, FixedBatchOfOneIsFoundOut) {
  LayerBuilder b(1, {1, 3, 6, 6});
  b.conv("c1", "x", 4);
  b.graph.constant("shape", at::tensor({1, -1}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"c1", "shape"}, {"flat"});
  EXPECT_FALSE(Network(b.finish("flat")).batches_safely());
  LayerBuilder fine(1, {1, 3, 6, 6});
  fine.conv("c1", "x", 4);
  EXPECT_TRUE(Network(fine.head("c1", 3)).batches_safely());
}

// An open batch is believed, unless a node puts a number in its place.
TEST(Network, OpenBatchThatANodeFixesIsFoundOut) {
  const auto longs = [](std::vector<int64_t> numbers) { return at::tensor(numbers, at::TensorOptions(at::kLong)); };
  const auto with = [&](const std::function<void(LayerBuilder&)>& last) {
    LayerBuilder b(1, {-1, 3, 6, 6});
    b.conv("c1", "x", 4);
    b.node("GlobalAveragePool", "pool", {"c1"});
    last(b);
    return Network(b.finish("flat")).batches_safely();
  };
  EXPECT_FALSE(with([&](LayerBuilder& b) {
    b.graph.constant("shape", longs({1, 4}));
    b.graph.node("Reshape", {"pool", "shape"}, {"flat"});
  }));
  // Its shape put together by nodes.
  EXPECT_FALSE(with([&](LayerBuilder& b) {
    b.graph.node("Constant", {}, {"one"}, {{"value", longs({1})}});
    b.graph.node("Constant", {}, {"four"}, {{"value", longs({4})}});
    b.graph.node("Concat", {"one", "four"}, {"shape"}, {{"axis", int64_t{0}}});
    b.graph.node("Reshape", {"pool", "shape"}, {"flat"});
  }));
  // A class token of one image.
  EXPECT_FALSE(with([&](LayerBuilder& b) {
    b.graph.constant("token", b.random.normal({1, 1, 1, 1}));
    b.graph.node("Concat", {"token", "pool"}, {"flat"}, {{"axis", int64_t{1}}});
  }));
  EXPECT_TRUE(with([&](LayerBuilder& b) {
    b.graph.constant("shape", longs({-1, 4}));
    b.graph.node("Reshape", {"pool", "shape"}, {"flat"});
  }));
  // A number in front that means nothing: [2,2,...] back to the batch.
  EXPECT_TRUE(with([&](LayerBuilder& b) {
    b.graph.constant("halves", longs({2, -1, 1, 1}));
    b.graph.constant("shape", longs({-1, 4}));
    b.graph.node("Reshape", {"pool", "halves"}, {"half"});
    b.graph.node("Reshape", {"half", "shape"}, {"flat"});
  }));
}

TEST(Network, ProofOfItsBatchesEndsWhenTimeIsUp) {
  LayerBuilder b(1, {1, 3, 6, 6});
  b.conv("c1", "x", 4);
  const Network n(b.head("c1", 3));
  Progress progress;
  progress.cancel();
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] { n.batches_safely(&progress); });
  EXPECT_TRUE(n.batches_safely());
}

// Pictures of real numbers are rounded into the range of the type; gradients end in front of it.
TEST(Network, InputOfIntegersTakesRoundedPictures) {
  GraphBuilder b;
  b.set_name("net");
  b.input("x", {-1, 1, 1, 4}, at::kByte);
  b.node("Cast", {"x"}, {"real"}, {{"to", int64_t{1}}});
  b.constant("two", at::full({}, 2.f));
  b.node("Mul", {"real", "two"}, {"y"});
  b.output("y");
  const Network n(b.finish(), in_float64());
  const Tensor x = doubles({-3, 1.4, 1.6, 300}, {1, 1, 1, 4});
  EXPECT_TRUE(n.run(x).front().equal(doubles({0, 2, 4, 510}, {1, 1, 1, 4})));
  EXPECT_TRUE(n.run(at::tensor({7, 8, 9, 10}, at::kByte).view({1, 1, 1, 4}))
                  .front()
                  .equal(doubles({14, 16, 18, 20}, {1, 1, 1, 4})));
  const ValueId input = n.graph().find("x"), real = n.graph().find("real"), y = n.graph().find("y");
  const Tape tape = n.record({x}, {{y}, {real}, {}});
  EXPECT_TRUE(tape.backward({{y, at::ones_like(x)}}, {real}).values.at(real).equal(at::full_like(x, 2)));
  const char* const refused = "net: its input 'x' is not floating point, so no gradient reaches it";
  expect_error(ErrorKind::kUnsupported, refused, [&] { n.record({x}, {{y}, {input}, {}}); });
  expect_error(ErrorKind::kUnsupported, refused, [&] {
    Request request;
    request.capture = {y};
    n.run_with_autograd({x.clone().requires_grad_(true)}, request);
  });
}

TEST(Network, RefusesDevicesThatAreNone) {
  for (const std::string device : {"quantum", "cuda:", "cuda:-1", "cuda:x", "cuda:1.5", "cuda:99999999999999999999"}) {
    expect_error(ErrorKind::kUsage, "device is '" + device + "'; cpu, cuda or cuda:N was expected", [&] {
      Network(random_network(Family::kPlain, 3), {device, Precision::kFloat32, true});
    });
  }
  // Not card 44: indices of LibTorch have eight bits.
  EXPECT_THROW(Network(random_network(Family::kPlain, 3), {"cuda:300", Precision::kFloat32, true}), Error);
}

TEST(Network, RefusesRequestsThatCannotBe) {
  const Network n(random_network(Family::kPlain, 3), in_float64());
  const ValueId map = n.graph().find("map");
  Request edit;
  edit.edit[map] = [](const Tensor& t) { return t.sum(); };
  expect_error(ErrorKind::kUsage, "an edit of 'map' must keep its shape [2,8,4,4]",
               [&] { run_one(n, pictures(), "logits", edit); });
  Request nothing;
  nothing.capture = {9999};
  expect_error(ErrorKind::kUsage, "net: value 9999 does not exist", [&] { n.run({pictures()}, nothing); });
  expect_error(ErrorKind::kUsage, "net: node 'c1_node' (Conv) needs 'x', for which no value was given",
               [&] { run_one(n, Tensor(), "logits"); });
}

// Weights, names, attributes: what was written reads back as the same function.
TEST(Network, SurvivesExportAndImport) {
  for (const Family family : kFamilies) {
    const Graph graph = random_network(family, 6);
    const Graph again = parse_onnx(onnx_bytes(graph), "net");
    const Network before(graph, in_float64()), after(again, in_float64());
    EXPECT_TRUE(within(run_one(after, pictures(), "logits"), run_one(before, pictures(), "logits"), kExact))
        << family_name(family);
    ASSERT_EQ(again.nodes().size(), graph.nodes().size());
    for (size_t i = 0; i < graph.nodes().size(); ++i) {
      EXPECT_EQ(again.nodes()[i].name, graph.nodes()[i].name);
      EXPECT_EQ(again.nodes()[i].op, graph.nodes()[i].op);
    }
    EXPECT_EQ(onnx_bytes(again), onnx_bytes(graph)) << family_name(family);
  }
}

// Weights that oneDNN packed before there was a limit are freed after. In a process of its own, where none was set.
TEST(NetworkDeathTest, OutlivesTheFirstMemoryLimit) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto live = [] {
    LayerBuilder b(1);
    b.conv("c1", "x", 16);
    b.conv("c2", "c1", 16);
    auto network = std::make_unique<Network>(b.head("c2", 4));
    network->run(at::ones({1, 3, 32, 32}));
    set_memory_limit(int64_t{1} << 30);
    network->run(at::ones({1, 3, 32, 32}));
    network.reset();
    std::exit(memory_peak() > 0 ? 0 : 1);
  };
  EXPECT_EXIT(live(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace pellucid::test
