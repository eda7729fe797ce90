#include "pellucid/training.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/graph.h"
#include "pellucid/learner.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/temporary_folder.h"

namespace pellucid::test {
namespace {

constexpr int64_t kSteps = 12;

Graph small_network() {
  ResidualNetworkOptions options;
  options.num_classes = 2;
  options.input_size = 16;
  options.widths = {4, 8};
  options.seed = 3;
  return make_residual_network(options);
}

TrainingOptions quick() {
  TrainingOptions options;
  options.epochs = 4;
  options.batch_size = 16;
  return options;
}

/// Class 1 is brighter in its left half, class 0 in its right half.
TrainingBatch halves(int64_t epoch, int64_t step) {
  Random random(static_cast<uint64_t>(1000 * epoch + step));
  const Tensor labels = at::arange(16, at::TensorOptions(at::kLong)).remainder(2);
  Tensor x = random.normal({16, 3, 16, 16}).to(at::kFloat) * 0.5;
  for (int64_t i = 0; i < 16; ++i) x[i].narrow(2, labels[i].item<int64_t>() == 1 ? 0 : 8, 8).add_(1);
  return {x, labels};
}

bool same_weights(const Graph& a, const Graph& b) {
  for (const Value& v : a.values()) {
    if (v.constant.defined() && !v.constant.equal(b.value(b.find(v.name)).constant)) return false;
  }
  return true;
}

TEST(ResidualNetwork, IsWhatItsOptionsSay) {
  const Explainer n(small_network(), Random(1).normal({2, 3, 16, 16}));
  EXPECT_EQ(n.value("logits").sizes().vec(), (Shape{2, 2}));
  EXPECT_EQ(n.layers.layer(n.layers.find("auto")).name, "block2.relu");
  EXPECT_TRUE(same_weights(small_network(), small_network()));
  ResidualNetworkOptions bad;
  bad.widths = {};
  expect_error(ErrorKind::kUsage, "residual network: at least one block, one class and 8 pixels are needed",
               [&] { make_residual_network(bad); });
}

/// A vgg network whose normalizations have statistics of training behind them.
Graph used_vgg() {
  VggNetworkOptions options;
  options.widths = {4, 6};
  options.num_classes = 3;
  Graph graph = make_vgg_network(options);
  std::map<ValueId, Tensor> used;
  Random random(11);
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    if (value.name.find(".norm.") == std::string::npos || !value.constant.defined()) continue;
    used[static_cast<ValueId>(i)] = (random.uniform(value.constant.sizes().vec()) + 0.5).to(at::kFloat);
  }
  return graph.with_constants(used);
}

// Folding and rescaling leave the function as it is; afterwards every channel that fires has mean one.
TEST(VggNetwork, FoldsAndRescalesWithoutChangingItsAnswers) {
  const Graph trained = used_vgg();
  const Tensor x = Random(2).normal({4, 3, 12, 10}).to(at::kFloat);
  const Tensor before = Network(trained, in_float64()).run(x.to(at::kDouble))[0];
  const Graph folded = with_folded_batch_norms(trained);
  for (const Node& node : folded.nodes()) EXPECT_NE(node.op, "BatchNormalization");
  const auto worst = [&](const Graph& graph) {
    const Tensor now = Network(graph, in_float64()).run(x.to(at::kDouble))[0];
    return ((now - before).abs().max() / before.abs().max()).item<double>();
  };
  EXPECT_LT(worst(folded), 1e-5);  // weights are rounded to float32
  const Graph scaled = with_unit_mean_activations(
      folded, [&](int64_t i) { return x.narrow(0, 2 * i, 2); }, 2);
  EXPECT_LT(worst(scaled), 1e-4);
  int channels = 0;
  for (const char* name : {"conv1_1.relu", "conv1_2.relu", "conv2_1.relu", "conv2_2.relu"}) {
    Request request;
    request.capture = {scaled.find(name)};
    const Tensor mean = Network(scaled).run({x}, request).begin()->second.mean({0, 2, 3});
    for (int64_t c = 0; c < mean.size(0); ++c) {
      if (mean[c].item<double>() == 0) continue;  // never fires
      EXPECT_NEAR(mean[c].item<double>(), 1, 1e-3) << name << " " << c;
      ++channels;
    }
  }
  EXPECT_GT(channels, 15);
  expect_error(ErrorKind::kUsage, "conv1_1.norm: activations cannot be rescaled past BatchNormalization", [&] {
    with_unit_mean_activations(
        trained, [&](int64_t) { return x; }, 1);
  });
}

// Telling left from right is learned in a few steps; the network that predicts uses the running statistics.
TEST(Trainer, LearnsASimpleTask) {
  Trainer trainer(small_network(), quick());
  double first = 0, last = 0;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    const Trainer::EpochReport report = trainer.train_epoch(halves, kSteps);
    EXPECT_EQ(report.epoch, epoch + 1);
    (epoch == 0 ? first : last) = report.loss;
  }
  EXPECT_LT(last, first / 2);
  const BatchSource unseen = [](int64_t epoch, int64_t step) { return halves(epoch + 77, step); };
  const Graph trained = trainer.graph();
  EXPECT_GE(accuracy(Network(trained), unseen, 4), 0.95);
  // Running statistics moved, and the trained graph is independent of further training.
  EXPECT_FALSE(trained.value(trained.find("stem.norm.mean")).constant.equal(at::zeros({4})));
  const Tensor before = trained.value(trained.find("stem.weight")).constant.clone();
  trainer.train_epoch(halves, 1);
  EXPECT_TRUE(trained.value(trained.find("stem.weight")).constant.equal(before));
}

// One step without momentum or decay: w - rate * gradient. The first of one step's rate is the largest (warm-up ends at
// once).
TEST(Trainer, StepsAgainstTheGradient) {
  const auto single = [](const Tensor& t) { return t.to(at::kFloat); };  // the trainer keeps the type of the weights
  LayerBuilder b(1, {-1, 3, 4, 4});
  b.conv_with("c1", "x", single(b.random.normal({2, 3, 3, 3})), single(b.random.normal({2})));
  const Graph graph = b.head_with("c1", single(b.random.normal({2, 2})), single(b.random.normal({2})));
  TrainingOptions options;
  options.epochs = 1;
  options.momentum = 0;
  options.weight_decay = 0;
  options.learning_rate = 0.1;
  const Tensor x = Random(5).normal({6, 3, 4, 4}).to(at::kFloat);
  const Tensor labels = at::tensor({0, 1, 0, 1, 1, 0}, at::TensorOptions(at::kLong));
  Trainer trainer(graph, options);
  const auto report = trainer.train_epoch([&](int64_t, int64_t) { return TrainingBatch{x, labels}; }, 1);
  const auto loss = [&](const Graph& g) {
    return at::cross_entropy_loss(Network(g, in_float64()).run(x)[0], labels).item<double>();
  };
  EXPECT_NEAR(report.loss, loss(graph), 1e-5);  // the trainer works in float32
  // The derivative of the loss by one weight, by central differences, against what the step did.
  const ValueId id = graph.find("c1.w");
  const Tensor w = graph.value(id).constant;
  const Tensor moved = trainer.graph().value(id).constant.to(at::kDouble) - w.to(at::kDouble);
  for (const int64_t k : {0, 17, 40}) {
    constexpr double h = 1e-5;
    const auto at = [&](double step) {
      const Tensor other = w.to(at::kDouble);
      other.view({-1})[k] += step;
      return loss(graph.with_constants({{id, other}}));
    };
    const double slope = (at(h) - at(-h)) / (2 * h);
    EXPECT_NEAR(moved.view({-1})[k].item<double>(), -0.1 * slope, 1e-6) << k;
  }
}

// The same small network with float64 weights learns in float64, from float32 batches, and stays float64.
TEST(Trainer, TrainsFloat64GraphsInFloat64) {
  LayerBuilder b(1, {-1, 3, 4, 4});
  b.conv_with("c1", "x", b.random.normal({2, 3, 3, 3}), b.random.normal({2}));
  const Graph graph = b.head_with("c1", b.random.normal({2, 2}), b.random.normal({2}));
  ASSERT_EQ(graph.value(graph.find("c1.w")).constant.scalar_type(), at::kDouble);
  TrainingOptions options;
  options.epochs = 1;
  options.momentum = 0;
  options.weight_decay = 0;
  options.learning_rate = 0.1;
  const Tensor x = Random(5).normal({6, 3, 4, 4}).to(at::kFloat);
  const Tensor labels = at::tensor({0, 1, 0, 1, 1, 0}, at::TensorOptions(at::kLong));
  Trainer trainer(graph, options);
  const auto report = trainer.train_epoch([&](int64_t, int64_t) { return TrainingBatch{x, labels}; }, 1);
  const double loss =
      at::cross_entropy_loss(Network(graph, in_float64()).run(x.to(at::kDouble))[0], labels).item<double>();
  EXPECT_NEAR(report.loss, loss, 1e-12);
  const Tensor trained = trainer.graph().value(graph.find("c1.w")).constant;
  EXPECT_EQ(trained.scalar_type(), at::kDouble);
  EXPECT_GT((trained - graph.value(graph.find("c1.w")).constant).abs().max().item<double>(), 0);
}

// Interrupted and resumed equals uninterrupted, to the bit: momentum, statistics and the schedule are all kept.
TEST(Trainer, ResumesWhereItStopped) {
  const TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.onnx");
  Trainer whole(small_network(), quick());
  for (int epoch = 0; epoch < 3; ++epoch) whole.train_epoch(halves, 4);

  Trainer before(small_network(), quick());
  EXPECT_FALSE(before.resume(path));
  for (int epoch = 0; epoch < 2; ++epoch) before.train_epoch(halves, 4);
  before.save(path);
  Trainer after(small_network(), quick());
  ASSERT_TRUE(after.resume(path));
  EXPECT_EQ(after.epochs_done(), 2);
  after.train_epoch(halves, 4);
  EXPECT_TRUE(same_weights(after.graph(), whole.graph()));
}

TEST(Trainer, RefusesForeignCheckpoints) {
  const TemporaryFolder folder;
  const std::string path = folder.file("other.onnx");
  save_onnx(small_network(), path);
  Trainer trainer(small_network(), quick());
  expect_error(ErrorKind::kInvalidInput, path + ": not a training checkpoint", [&] { trainer.resume(path); });
  ResidualNetworkOptions wider;
  wider.num_classes = 2;
  wider.input_size = 16;
  wider.widths = {6, 8};
  Trainer other(make_residual_network(wider), quick());
  other.save(path);
  EXPECT_THROW(trainer.resume(path), Error);
}

TEST(Trainer, StopsWhenAsked) {
  Trainer trainer(small_network(), quick());
  Progress progress;
  progress.cancel();
  EXPECT_THROW(trainer.train_epoch(halves, kSteps, &progress), Error);
  EXPECT_EQ(trainer.epochs_done(), 0);
}

TEST(Trainer, SaysWhenTheLossDiverges) {
  TrainingOptions options = quick();
  options.learning_rate = 1e30;
  Trainer trainer(small_network(), options);
  EXPECT_THROW(
      {
        for (int i = 0; i < 4; ++i) trainer.train_epoch(halves, kSteps);
      },
      Error);
}

// f(x) = w x + v x with x = (3, 4): the gradient (3, 4, 3, 4), of length sqrt(50), is shortened as a whole.
TEST(Learner, ShortensLongGradients) {
  GraphBuilder b(13);
  b.input("x", {1, 2});
  b.constant("w", at::zeros({2, 1}));
  b.constant("v", at::zeros({2, 1}));
  b.node("MatMul", {"x", "w"}, {"first"});
  b.node("MatMul", {"x", "v"}, {"second"});
  b.node("Add", {"first", "second"}, {"y"});
  b.output("y", Shape{1, 1});
  LearnerOptions options;
  options.momentum = 0;
  options.longest_gradient = 1;
  const Graph graph = b.finish();
  const ValueId y = graph.outputs().front();
  const auto moved = [&](const Tensor& x) {
    Learner learner(graph, options);
    learner.step(learner.forward({x}, {y}).at(y).sum(), 1);
    const Graph now = learner.graph();
    return at::cat({now.value(now.find("w")).constant, now.value(now.find("v")).constant}).flatten();
  };
  const Tensor x = at::tensor({3.0F, 4.0F}).view({1, 2});
  const Tensor direction = at::cat({x, x}, 1).flatten() / std::sqrt(50.0);
  EXPECT_LT((moved(x) + direction).abs().max().item<double>(), 1e-6);
  // A short one stays.
  EXPECT_LT((moved(x / 100) + at::cat({x, x}, 1).flatten() / 100).abs().max().item<double>(), 1e-7);
  // The slope of a square root at 0.
  Learner learner(graph, options);
  EXPECT_THROW(learner.step(learner.forward({x}, {y}).at(y).sum().sqrt(), 1), Error);
}

// f(x) = w x with loss f: the gradient is x, and Adam's first step is the rate against its sign whatever its size.
TEST(Learner, TakesAdamsFirstStepOfTheRate) {
  GraphBuilder b(13);
  b.input("x", {1, 2});
  b.constant("w", at::tensor({0.5F, -1.0F}).view({2, 1}));
  b.constant("still", at::tensor({2.0F}));
  b.node("MatMul", {"x", "w"}, {"product"});
  b.node("Mul", {"product", "still"}, {"y"});
  b.output("y", Shape{1, 1});
  LearnerOptions options;
  options.optimizer = LearnerOptions::Optimizer::kAdam;
  options.frozen = [](const std::string& name) { return name == "still"; };
  Learner learner(b.finish(), options);
  const ValueId y = learner.network().graph().outputs().front();
  const Tensor x = at::tensor({3.0F, -0.01F}).view({1, 2});
  const auto step = [&](double rate) { learner.step(learner.forward({x}, {y}).at(y).sum(), rate); };
  step(0.1);
  const auto weights = [&](const char* name) {
    const Graph now = learner.graph();
    return now.value(now.find(name)).constant.view({-1});
  };
  EXPECT_LT((weights("w") - at::tensor({0.4F, -0.9F})).abs().max().item<double>(), 1e-6);
  // The gradient stays the same, so that both moments do once their bias is corrected: every step is the rate.
  step(0.2);
  EXPECT_LT((weights("w") - at::tensor({0.2F, -0.7F})).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(weights("still")[0].item<float>(), 2);
  EXPECT_EQ(learner.steps(), 2);

  const TemporaryFolder folder;
  learner.save(folder.file("c.onnx"), {{"note", "kept"}});
  Learner again(learner.graph(), options);
  EXPECT_EQ(again.resume(folder.file("c.onnx")).at("note"), "kept");
  step(0.3);
  again.step(again.forward({x}, {y}).at(y).sum(), 0.3);
  EXPECT_TRUE(same_weights(again.graph(), learner.graph()));
  EXPECT_THROW(learner.step(learner.forward({x / 0}, {y}).at(y).sum(), 0.1), Error);
}

}  // namespace
}  // namespace pellucid::test
