#include "graph/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>

#include "pellucid/error.h"
#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

std::vector<Tensor> constants_of(const Graph& graph) {
  std::vector<Tensor> constants;
  for (const Value& v : graph.values()) constants.push_back(v.constant);
  return constants;
}

Plan plan_of(const Graph& graph, const PlanKey& key) {
  FoldCache folded;
  return make_plan({std::shared_ptr<void>(), &graph}, constants_of(graph), key, folded, at::kDouble, at::kCPU);
}

PlanKey asking_for(const Graph& graph, std::vector<std::string> names) {
  PlanKey key;
  for (const std::string& name : names) key.keep.push_back(graph.find(name));
  std::sort(key.keep.begin(), key.keep.end());
  return key;
}

int64_t count(const Plan& plan, const std::string& op) {
  return std::count_if(plan.steps.begin(), plan.steps.end(), [&](const Step& s) { return s.node->op == op; });
}

TEST(Plan, FoldsBatchNormUnlessSomebodyLooks) {
  const Graph graph = random_network(Family::kResidual, 1);
  EXPECT_EQ(count(plan_of(graph, asking_for(graph, {"logits"})), "BatchNormalization"), 0);
  EXPECT_EQ(count(plan_of(graph, asking_for(graph, {"logits", "c1"})), "BatchNormalization"), 1);
  PlanKey edited = asking_for(graph, {"logits"});
  edited.edited = {graph.find("c2")};
  EXPECT_EQ(count(plan_of(graph, edited), "BatchNormalization"), 1);
  PlanKey wrt = asking_for(graph, {"logits"});
  wrt.wrt = {graph.find("c3")};
  EXPECT_EQ(count(plan_of(graph, wrt), "BatchNormalization"), 1);
  PlanKey plain = asking_for(graph, {"logits"});
  plain.plain = true;
  EXPECT_EQ(count(plan_of(graph, plain), "BatchNormalization"), 3);
}

TEST(Plan, LeavesOutWhatNobodyNeeds) {
  const Graph graph = random_network(Family::kPlain, 1);
  const Plan first = plan_of(graph, asking_for(graph, {"c1"}));
  ASSERT_EQ(first.steps.size(), 1u);
  EXPECT_EQ(first.steps[0].node->name, "c1_node");
  PlanKey behind = asking_for(graph, {"logits"});
  behind.known = {graph.find("map")};
  EXPECT_EQ(plan_of(graph, behind).steps.size(), 3u);  // pool, flatten, linear layer
}

TEST(Plan, RecordsOnlyBehindWhatIsDifferentiated) {
  const Graph graph = random_network(Family::kPlain, 1);
  PlanKey key = asking_for(graph, {"logits", "map"});
  key.wrt = {graph.find("map")};
  const Plan plan = plan_of(graph, key);
  for (const Step& step : plan.steps) {
    const bool behind = step.node->op == "GlobalAveragePool" || step.node->op == "Flatten" || step.node->op == "Gemm";
    EXPECT_EQ(step.recorded, behind) << step.node->name;
  }
}

TEST(Plan, WritesActivationsInOneWay) {
  const Graph silu = random_network(Family::kSilu, 1);
  const Plan plan = plan_of(silu, asking_for(silu, {"logits"}));
  EXPECT_EQ(count(plan, "Silu"), 3);
  EXPECT_EQ(count(plan, "Sigmoid"), 0);
  // A gate that is asked for stays.
  EXPECT_EQ(count(plan_of(silu, asking_for(silu, {"logits", "r1.gate"})), "Sigmoid"), 1);
  const Graph clip = random_network(Family::kClip, 1);
  EXPECT_EQ(count(plan_of(clip, asking_for(clip, {"logits"})), "Rectify"), 3);
}

// What operands do not fit is the file's fault; that memory or the device gives way is not.
TEST(Plan, TellsFailuresFromBadOperands) {
  const auto raised = [](Forward forward) {
    Op op;
    op.forward = forward;
    Node node;
    node.name = "n";
    node.op = "Add";
    TensorList in{at::ones({2})};
    OpCall call{node, in};
    try {
      call_op("net", op, call);
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).rfind("net: node 'n' (Add), inputs [2]: ", 0), 0u) << e.what();
      return e.kind();
    }
    return ErrorKind::kUsage;
  };
  EXPECT_EQ(raised([](OpCall&) -> TensorList {
              TORCH_CHECK(false, "sizes do not match");
              return {};
            }),
            ErrorKind::kInvalidInput);
  EXPECT_EQ(raised([](OpCall&) -> TensorList {
              TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory");
              return {};
            }),
            ErrorKind::kFailed);
  EXPECT_EQ(raised([](OpCall&) -> TensorList {
              TORCH_CHECK(false, "[enforce fail at alloc_cpu.cpp:66] . DefaultCPUAllocator: can't allocate memory");
              return {};
            }),
            ErrorKind::kFailed);
  EXPECT_EQ(raised([](OpCall&) -> TensorList { throw std::bad_alloc(); }), ErrorKind::kFailed);
}

// The second normalization is folded into what the first fold made, a node of no lasting address.
TEST(Plan, TwoNormalizationsInARowFoldIntoTheirOwnConvolution) {
  test::LayerBuilder b(3, {-1, 4, 6, 6});
  std::string from = "x";
  for (const std::string layer : {"1", "2", "3", "4"}) {
    b.conv("c" + layer, from, 4);
    b.norm("a" + layer, "c" + layer);
    from = b.norm("b" + layer, "a" + layer);
  }
  const Graph graph = b.finish(from);
  const Tensor x = test::Random(1).normal({2, 4, 6, 6});
  const Tensor expected = Network(graph, test::in_float64(false)).run(x).front();
  EXPECT_TRUE(test::within(Network(graph, test::in_float64()).run(x).front(), expected, {1e-12, 1e-12}));
}

// oneDNN's packed form holds the bias; two layers on one weight have a bias each.
TEST(Plan, LayersThatShareWeightsKeepTheirOwnBias) {
  test::LayerBuilder b(5, {-1, 4, 6, 6});
  b.graph.constant("w", test::Random(1).normal({4, 4, 3, 3}));
  for (const std::string layer : {"1", "2"}) {
    b.graph.constant("b" + layer, test::Random(layer == "1" ? 2 : 3).normal({4}));
    b.graph.node("Conv", {layer == "1" ? "x" : "c1", "w", "b" + layer}, {"c" + layer},
                 {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  }
  const Graph graph = b.finish("c2");
  const Tensor x = test::Random(4).normal({1, 4, 6, 6});
  NetworkOptions plain;
  plain.optimize = false;
  const Tensor expected = Network(graph, plain).run(x.to(at::kFloat)).front();
  EXPECT_TRUE(test::within(Network(graph).run(x.to(at::kFloat)).front(), expected, {1e-5, 1e-5}));
}

// A normalization behind another and overridden weights: nothing of the override stays for the next run.
TEST(Plan, OverriddenWeightsLeaveNothingBehind) {
  test::LayerBuilder b(3, {-1, 4, 6, 6});
  b.conv("c", "x", 4);
  b.norm("n1", "c");
  b.norm("n2", "n1");
  const Graph graph = b.finish("n2");
  const Network network(graph, test::in_float64()), fresh(graph, test::in_float64());
  const Tensor x = test::Random(1).normal({2, 4, 6, 6});
  Request changed;
  changed.capture = {graph.find("n2")};
  changed.constants[graph.find("c.w")] = test::Random(9).normal({4, 4, 3, 3});
  network.run({x}, changed);
  EXPECT_TRUE(test::within(network.run(x).front(), fresh.run(x).front(), {1e-12, 1e-12}));
}

}  // namespace
}  // namespace pellucid::test
