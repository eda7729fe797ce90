#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-12, 1e-12};

/// The logits are the input itself, so that every score can be read off.
Explainer readout(const std::vector<double>& logits, int64_t images, const std::string& squashing = {}) {
  const int64_t classes = static_cast<int64_t>(logits.size()) / images;
  LayerBuilder b(1, {-1, classes, 1, 1});
  b.node("Flatten", "scores", {"x"});
  if (!squashing.empty()) b.graph.node(squashing, {"scores"}, {"squashed"});
  ModelCard card;
  card.labels = {"tabby cat", "Persian cat", "dog", "dog kennel"};
  return Explainer(b.finish(squashing.empty() ? "scores" : "squashed"), doubles(logits, {images, classes, 1, 1}),
                   in_float64(), card);
}

Tensor score(const Explainer& n, const std::string& target) {
  const BoundTarget bound = n.context(target).target;
  return bound.score(n.value(bound.value()));
}

// Two images of four classes.
const std::vector<double> kLogits = {1, 4, -2, 3, /**/ 0, -1, 5, 2};

TEST(Target, RanksAreFixedPerImage) {
  const Explainer n = readout(kLogits, 2);
  EXPECT_TRUE(within(score(n, "top1"), doubles({4, 5}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "top2"), doubles({3, 2}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "top4"), doubles({-2, -1}, {2}), kExact));
  const BoundTarget top = n.context("top1").target;
  EXPECT_EQ(top.class_index(0), 1);
  EXPECT_EQ(top.class_index(1), 2);
  EXPECT_EQ(top.description(0), "Persian cat");
  // The class stays when the logits change.
  EXPECT_TRUE(within(top.score(doubles({9, 0, 9, 9, 9, 9, 0, 9}, {2, 4})), doubles({0, 0}, {2}), kExact));
  // Rows of a larger batch belong to images.
  const BoundTarget rows = top.rows({1, 1, 0});
  EXPECT_TRUE(
      within(rows.score(doubles({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4})), doubles({2, 6, 9}, {3}), kExact));
  EXPECT_EQ(rows.description(2), "Persian cat");
}

TEST(Target, ClassesByIndexAndLabel) {
  const Explainer n = readout(kLogits, 2);
  EXPECT_TRUE(within(score(n, "3"), doubles({3, 2}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "TABBY"), doubles({1, 0}, {2}), kExact));  // a part that one label has
  EXPECT_TRUE(within(score(n, "dog"), doubles({-2, 5}, {2}), kExact));   // the whole of one, a part of another
  EXPECT_TRUE(within(score(n, "kennel"), doubles({3, 2}, {2}), kExact));
}

TEST(Target, DifferencesAndProbabilities) {
  const Explainer n = readout(kLogits, 2);
  EXPECT_TRUE(within(score(n, "tabby vs dog"), doubles({3, -5}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "top1 vs top2"), doubles({1, 3}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "mean:0"), doubles({1 - 1.5, 0 - 1.5}, {2}), kExact));
  const Tensor p = at::softmax(doubles(kLogits, {2, 4}), 1);
  EXPECT_TRUE(within(score(n, "probability:2"), p.select(1, 2), kExact));
  EXPECT_TRUE(within(n.context("2").target.probability(doubles(kLogits, {2, 4})), p.select(1, 2), kExact));
  // What is shown and written tells a target from its class.
  EXPECT_EQ(n.context("tabby vs dog").target.description(0), "tabby cat vs dog");
  EXPECT_EQ(n.context("mean:tabby").target.description(0), "tabby cat vs mean");
  EXPECT_EQ(n.context("probability:top1").target.description(1), "p(dog)");
}

// In float32, where 1 - p is rounding alone: each gradient is right to its last digits, not only against the largest.
TEST(Target, LogProbabilityOfASureClassHasAGradient) {
  const std::vector<double> logits{30, 4, -2, 3};
  const Explainer n = readout(logits, 1);
  const Tensor leaf = doubles(logits, {1, 4}).to(at::kFloat).requires_grad_(true);
  {
    const at::AutoGradMode enabled(true);
    n.context("0").target.log_probability(leaf).sum().backward();
  }
  const Tensor others = doubles({4, -2, 3}, {3});
  const double rest = (others - 30).exp().sum().item<double>();
  const Tensor expected = at::cat({doubles({rest}, {1}), -(others - 30).exp()}) / (1 + rest);
  EXPECT_LT((leaf.grad()[0].to(at::kDouble) / expected - 1).abs().max().item<double>(), 1e-5);
  // Where nothing is left of the difference in float32, the direction is.
  const Tensor far = (doubles(logits, {1, 4}).to(at::kFloat) * 100).requires_grad_(true);
  {
    const at::AutoGradMode enabled(true);
    n.context("0").target.log_probability(far).sum().backward();
  }
  EXPECT_GT(far.grad()[0][0].item<double>(), 0);
  EXPECT_LT(far.grad()[0][1].item<double>(), 0);
}

TEST(Target, SquashedModelsAreReadBefore) {
  for (const char* op : {"Softmax", "LogSoftmax", "Sigmoid"}) {
    EXPECT_TRUE(within(score(readout(kLogits, 2, op), "1"), doubles({4, -1}, {2}), kExact)) << op;
  }
  // Where the model squashes each logit alone, that is its probability.
  EXPECT_TRUE(
      within(score(readout(kLogits, 2, "Sigmoid"), "probability:1"), at::sigmoid(doubles({4, -1}, {2})), kExact));
}

TEST(Target, OneLogitStandsForTwoClasses) {
  const Explainer n = readout({2, -3}, 2);
  EXPECT_TRUE(within(score(n, "1"), doubles({2, -3}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "0"), doubles({-2, 3}, {2}), kExact));
  EXPECT_TRUE(within(score(n, "top1"), doubles({2, 3}, {2}), kExact));
  EXPECT_EQ(n.context("top1").target.class_index(0), 1);
  EXPECT_EQ(n.context("top1").target.class_index(1), 0);
  const Tensor p = at::sigmoid(doubles({2, -3}, {2}));
  EXPECT_TRUE(within(score(n, "probability:1"), p, kExact));
  EXPECT_TRUE(within(score(n, "probability:0"), 1 - p, kExact));
}

TEST(Target, ChannelsUnitsAndElements) {
  LayerBuilder b(1, {-1, 3, 5, 6});
  b.conv("c1", "x", 4);
  const Explainer n(b.head("c1", 2), Random(1).normal({2, 3, 5, 6}));
  const Tensor a = n.value("c1");
  EXPECT_TRUE(within(score(n, "channel:c1:3"), a.select(1, 3).sum({1, 2}), kExact));
  EXPECT_TRUE(within(score(n, "unit:c1:2,4,5"), a.select(1, 2).select(1, 4).select(1, 5), kExact));
  EXPECT_TRUE(within(score(n, "element:logits:1"), n.value("logits").select(1, 1), kExact));
  // A value without positions has channels as well.
  EXPECT_TRUE(within(score(n, "channel:logits:1"), n.value("logits").select(1, 1), kExact));
  EXPECT_EQ(n.context("channel:c1:3").target.description(0), "channel:c1:3");
  EXPECT_EQ(n.context("channel:c1:3").target.class_index(0), -1);
  EXPECT_FALSE(n.context("channel:c1:3").target.probability(a).defined());
}

TEST(Target, SimilarityIsTheCosine) {
  const Explainer n = readout(kLogits, 2);
  Target target = Target::parse("similarity");
  target.reference = doubles({1, 0, 2, 0}, {4});
  const BoundTarget bound = n.context(target).target;
  const double norm = std::sqrt(5.0);
  const Tensor expected = doubles({(1 - 4) / (norm * std::sqrt(30.0)), 10 / (norm * std::sqrt(30.0))}, {2});
  EXPECT_TRUE(within(bound.score(doubles(kLogits, {2, 4})), expected, kExact));
  expect_error(ErrorKind::kUsage, "target 'similarity' needs a reference picture", [&] { n.context("similarity"); });
}

// Logits [1,2,2,2]: class 1 wins on the top row.
TEST(Target, DenseOutputsAreSummedOverAMask) {
  LayerBuilder b(1, {-1, 2, 2, 2});
  b.node("Identity", "dense", {"x"});
  const Explainer n(b.finish("dense"), doubles({1, 2, 7, 8, /**/ 3, 4, 5, 6}, {1, 2, 2, 2}));
  EXPECT_TRUE(within(score(n, "1"), doubles({7}, {1}), kExact));       // 3 + 4, where it wins
  EXPECT_TRUE(within(score(n, "0"), doubles({15}, {1}), kExact));      // 7 + 8
  EXPECT_TRUE(within(score(n, "1 vs 0"), doubles({4}, {1}), kExact));  // both over the mask of the first
  Target target = Target::parse("1");
  target.mask = at::zeros({4, 4});  // resized to the output by its nearest pixels
  target.mask.slice(0, 2).slice(1, 0, 2).fill_(1);
  const BoundTarget masked = n.context(target).target;
  EXPECT_TRUE(masked.is_dense());
  EXPECT_TRUE(within(masked.score(n.input), doubles({5}, {1}), kExact));
  const Tensor mask = target.mask;
  target.mask = mask.unsqueeze(0);  // one for each image
  EXPECT_TRUE(within(n.context(target).target.score(n.input), doubles({5}, {1}), kExact));
  // All zero means that this image has none: the area where the class wins, as above without a mask.
  target.mask = at::zeros({1, 4, 4});
  Target plain = target;
  plain.mask = Tensor();
  EXPECT_TRUE(within(n.context(target).target.score(n.input), n.context(plain).target.score(n.input), kExact));
  target.mask = mask;
  const double p = 1 / (1 + std::exp(7.0 - 5.0));
  EXPECT_TRUE(within(masked.probability(n.input), doubles({p}, {1}), kExact));
  const Explainer all_zero(n.network.graph(), doubles({1, 1, 1, 1, 0, 0, 0, 0}, {1, 2, 2, 2}));
  expect_error(ErrorKind::kUsage,
               "target '1': class 1 wins nowhere in this picture, so its mask is empty; give one with --mask",
               [&] { all_zero.context("1"); });
}

// The same scores with the classes last have the same answers.
TEST(Target, DenseClassesMayLieLast) {
  const Tensor x = doubles({1, 2, 7, 8, 0, 9, /**/ 3, 4, 5, 6, 1, 1}, {1, 2, 3, 2});
  const auto network = [&](bool last) {
    LayerBuilder b(1, {-1, 2, 3, 2});
    b.node("Identity", "dense", {"x"});
    if (last) b.graph.node("Transpose", {"dense"}, {"last"}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    return Explainer(b.finish(last ? "last" : "dense"), x);
  };
  const Explainer first = network(false), last = network(true);
  for (const std::string text : {"top1", "0", "1", "1 vs 0", "mean:1", "probability:1", "0 in 0,1,2,2"}) {
    EXPECT_TRUE(within(score(last, text), score(first, text), kExact)) << text;
    const BoundTarget a = first.context(text).target, b = last.context(text).target;
    EXPECT_EQ(b.class_index(0), a.class_index(0));
    EXPECT_TRUE(within(b.probability(last.value(b.value())), a.probability(x), kExact)) << text;
    EXPECT_TRUE(within(b.seed(last.value(b.value())).permute({0, 3, 1, 2}), a.seed(x), kExact)) << text;
  }
  expect_error(ErrorKind::kUsage, "target: class 2 does not exist; the model has classes 0 to 1",
               [&] { last.context("2"); });
}

TEST(Target, RefusesWholeNumbers) {
  LayerBuilder b(1, {-1, 2, 1, 1});
  b.node("Flatten", "flat", {"x"});
  b.graph.node("ArgMax", {"flat"}, {"label"}, {{"axis", int64_t{1}}});
  const Explainer n(b.finish("label"), doubles({1, 2}, {1, 2, 1, 1}));
  expect_error(ErrorKind::kUnsupported,
               "target 'top1': the output holds whole numbers, not a score per class that could be explained",
               [&] { n.context("top1"); });
}

// Output 4x4 over an input of 4x4, so that positions are pixels.
TEST(Target, BoxesSumADenseClass) {
  LayerBuilder b(1, {-1, 2, 4, 4});
  b.node("Identity", "scores", {"x"});
  const Tensor x = at::arange(32, at::TensorOptions(at::kDouble)).view({1, 2, 4, 4});
  const Explainer n(b.finish("scores"), x);
  // Columns 1 and 2 of row 3 of class 1: 16 + 12 + (1, 2).
  EXPECT_TRUE(within(score(n, "1 in 1,3,2,1"), doubles({29 + 30}, {1}), kExact));
  // Centres 0.5 .. 3.5: [0.6, 2.6) holds 1.5 and 2.5.
  EXPECT_TRUE(within(score(n, "0 in 0.6,0,2,1"), doubles({1 + 2}, {1}), kExact));
  // Between the centres: the position that the box lies in.
  EXPECT_TRUE(within(score(n, "0 in 2.1,1.1,0.2,0.2"), doubles({6}, {1}), kExact));
  // Partly outside; wholly outside.
  EXPECT_TRUE(within(score(n, "0 in -2,-2,3,3"), doubles({0}, {1}), kExact));
  expect_error(ErrorKind::kUsage, "target '0 in 9,0,2,2': the box lies outside the model's input of 4x4 pixels",
               [&] { score(n, "0 in 9,0,2,2"); });
  // With a mask: what both hold.
  Target both = Target::parse("1 in 0,0,2,1");
  both.mask = at::zeros({4, 4});
  both.mask[0][1] = 1;
  const BoundTarget bound = n.context(both).target;
  EXPECT_TRUE(within(bound.score(x), doubles({17}, {1}), kExact));
  // Mirrored: columns 2 and 3 of the first row.
  EXPECT_TRUE(within(n.context("0 in 0,0,2,1").target.mirrored().score(x), doubles({2 + 3}, {1}), kExact));
}

TEST(Target, BoxesNeedADenseOutput) {
  const Explainer n = readout(kLogits, 2);
  expect_error(ErrorKind::kUsage,
               "target '1 in 0,0,2,2': the output has shape [2,4], one score per picture; a box needs a dense output "
               "[N,classes,H,W] (for one box of a detector: element:OUTPUT:INDICES)",
               [&] { score(n, "1 in 0,0,2,2"); });
  expect_error(ErrorKind::kUsage,
               "target '1 in 0,0,2': the box is '0,0,2'; X,Y,W,H in pixels with W and H above 0 was expected",
               [] { Target::parse("1 in 0,0,2"); });
  // " in " before anything else belongs to a label.
  EXPECT_EQ(Target::parse("cat in hat").name, "cat in hat");
}

TEST(Target, LogProbabilityDoesNotUnderflow) {
  const std::vector<double> logits = {1000, 0, -1000, 5};
  const auto log_p = [&](const Explainer& n, const std::string& target) {
    const BoundTarget bound = n.context(target).target;
    return bound.log_probability(n.value(bound.value()));
  };
  EXPECT_TRUE(within(log_p(readout(logits, 1), "2"), doubles({-2000}, {1}), kExact));
  EXPECT_TRUE(within(log_p(readout(logits, 1, "Sigmoid"), "2"), doubles({-1000}, {1}), kExact));
  EXPECT_TRUE(within(log_p(readout({-900}, 1), "1"), doubles({-900}, {1}), kExact));
}

// d score / d logits by central differences, for every kind.
TEST(Target, SeedIsTheDerivativeOfTheScore) {
  const Explainer n = readout(kLogits, 2);
  for (const char* text : {"top1", "2", "probability:1", "0 vs 2", "mean:3", "element:scores:1"}) {
    const BoundTarget bound = n.context(text).target;
    const Tensor x = doubles(kLogits, {2, 4});
    Tensor expected = at::zeros_like(x);
    constexpr double h = 1e-6;
    for (int64_t k = 0; k < 4; ++k) {
      Tensor step = at::zeros_like(x);
      step.select(1, k).fill_(h);
      expected.select(1, k).copy_((bound.score(x + step) - bound.score(x - step)) / (2 * h));
    }
    // Rounding of the quotient: 1e-16 / h.
    EXPECT_TRUE(within(bound.seed(x), expected, {1e-8, 1e-8})) << text;
  }
}

TEST(Target, RefusesWithReasons) {
  const Explainer n = readout(kLogits, 2);
  const auto refused = [&](const std::string& text, const std::string& message) {
    expect_error(ErrorKind::kUsage, message, [&] { n.context(text); });
  };
  refused("", "target is empty; top1, a class index or a label was expected");
  refused("top0", "target 'top0': ranks count from 1");
  refused("top5", "target 'top5': the model has 4 classes");
  refused("4", "target: class 4 does not exist; the model has classes 0 to 3");
  refused("-1", "target: class -1 does not exist; the model has classes 0 to 3");
  refused("cat", "target: 'cat' fits 2 classes (0 tabby cat, 1 Persian cat); use an index");
  refused("zebra", "target: no class 'zebra'");
  refused("tabby kat", "target: no class 'tabby kat'; did you mean 'tabby cat'?");
  refused("channel:scores", "target 'channel:scores': 'channel:NAME:INDICES' was expected");
  refused("unit:scores:1,2", "target 'unit:scores:1,2': 3 indices were expected after the layer");
  refused("channel:scores:x", "target 'channel:scores:x': 'x' is not an index >= 0");
  refused("channel:scores:1,2", "target 'channel:scores:1,2': 1 index was expected after the layer");
  refused("channel:scores:9", "target 'channel:scores:9': index 9 is beyond the value's shape [2,4]");
  refused("unit:scores:1,2,3", "target 'unit:scores:1,2,3' does not fit a value of shape [2,4]");
  refused("probability:0 vs 1", "target 'probability:0 vs 1': probability goes with one class; '0 vs 1' is none");
  refused("probability:mean:0", "target 'probability:mean:0': probability goes with one class; 'mean:0' is none");
  refused("probability:channel:scores:1",
          "target 'probability:channel:scores:1': probability goes with one class; 'channel:scores:1' is none");
  refused("0 vs 1 vs 2", "target '0 vs 1 vs 2': a class was expected after 'vs', not '1 vs 2'");
  refused("0 vs channel:scores:1",
          "target '0 vs channel:scores:1': a class was expected after 'vs', not 'channel:scores:1'");
  refused("0 vs probability:1", "target '0 vs probability:1': a class was expected after 'vs', not 'probability:1'");
  refused("element:other:0", "net: no output 'other'; the outputs are scores");
  const Explainer unlabelled(n.network.graph(), n.input);
  expect_error(ErrorKind::kUsage, "target: 'tabby' is not a class index, and the model has no labels (--labels FILE)",
               [&] { unlabelled.context("tabby"); });
}

TEST(Target, RefusesOutputsThatAreNoClasses) {
  LayerBuilder b(1, {-1, 3, 4, 2});
  b.graph.constant("shape", at::tensor({0, 3, 8}, at::TensorOptions(at::kLong)));
  b.graph.node("Reshape", {"x", "shape"}, {"boxes"});
  const Explainer n(b.finish("boxes"), Random(1).normal({1, 3, 4, 2}));
  expect_error(ErrorKind::kUsage,
               "target 'top1': the output has shape [1,3,8], not one score per class; use element:OUTPUT:INDICES",
               [&] { n.context("top1"); });
  EXPECT_TRUE(within(score(n, "element:boxes:2,5"), n.value("boxes").select(1, 2).select(1, 5), kExact));
}

TEST(Target, TellsOneClassFromComparisons) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 8, 8}));
  for (const std::string one : {"top1", "2", "probability:2"}) EXPECT_TRUE(n.context(one).target.names_one_class());
  for (const std::string other : {"2 vs 1", "mean:2", "channel:c1:0", "element:logits:1"}) {
    EXPECT_FALSE(n.context(other).target.names_one_class()) << other;
  }
}

}  // namespace
}  // namespace pellucid::test
