// Score-CAM, Ablation-CAM, ReciproCAM, KPCA-CAM, FEM, Finer-CAM, Shapley-CAM and FullGrad, and what every class
// activation map has: eigen and augmentation smoothing, fusion. Numbers by hand, or slow second implementations.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"
#include "support/two_maps.h"

namespace pellucid::test {
namespace {

constexpr Tolerance kExact{1e-10, 1e-10};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class CamVariantsOfEveryFamily : public ::testing::TestWithParam<Family> {
 protected:
  Explainer net(uint64_t seed) const {
    return Explainer(random_network(GetParam(), seed), Random(seed + 100).normal({2, 3, 11, 13}));
  }
};
INSTANTIATE_TEST_SUITE_P(Families, CamVariantsOfEveryFamily, ::testing::ValuesIn(kFamilies));

// The masks are A_1 / 2 and A_2 / 3. Masked by the first, the means become (0.75, 0.25), the logits (1.75, 0.75); by
// the second (1/6, 5/6), the logits (0, 0.75).
TEST(ScoreCam, OfficialWeightsAreProbabilities) {
  const double w1 = sigmoid(1.75 - 0.75), w2 = sigmoid(0 - 0.75);
  EXPECT_TRUE(within(two_maps().explain("score-cam", "0", {"A"}).values, map2x2(w1, 3 * w2, 2 * w1 + w2, w1), kExact));
}

TEST(ScoreCam, OtherVariantsAreSoftmaxOverChannels) {
  const double w1 = sigmoid(1.75), w2 = 1 - w1;
  const Tensor expected = map2x2(w1, 3 * w2, 2 * w1 + w2, w1);
  for (const char* variant : {"paper", "torch-cam"}) {
    EXPECT_TRUE(
        within(two_maps().explain(std::string("score-cam:variant=") + variant, "0", {"A"}).values, expected, kExact))
        << variant;
  }
  // 1e-8 in the denominators.
  EXPECT_TRUE(
      within(two_maps().explain("score-cam:variant=pytorch-grad-cam", "0", {"A"}).values, expected, {1e-7, 1e-7}));
}

// One whole pass per channel, written out; dead channels have no weight, in the softmax that of a blank picture.
TEST_P(CamVariantsOfEveryFamily, ScoreCamIsOnePassPerChannel) {
  const Explainer n = net(2);
  const Tensor a = n.value("map");
  const Tensor official = n.explain("score-cam", "1", {"map"}).values;
  const Tensor paper = n.explain("score-cam:variant=paper", "1", {"map"}).values;
  for (int64_t i = 0; i < 2; ++i) {
    Tensor sum = at::zeros({a.size(2), a.size(3)}, at::kDouble);
    Tensor scores = at::zeros({a.size(1)}, at::kDouble);
    for (int64_t k = 0; k < a.size(1); ++k) {
      const Tensor up = upsample_map(a[i][k].unsqueeze(0), 11, 13);
      const bool dead = up.max().item<double>() == up.min().item<double>();
      const Tensor mask = dead ? at::zeros_like(up) : (up - up.min()) / (up.max() - up.min());
      const Tensor logits = n.logits(n.input.narrow(0, i, 1) * mask)[0];
      if (!dead) sum += at::softmax(logits, 0)[1] * a[i][k];
      scores[k] = logits[1];
    }
    EXPECT_TRUE(within(official[i], sum, kExact)) << i;
    EXPECT_TRUE(within(paper[i], (at::softmax(scores, 0).view({-1, 1, 1}) * a[i]).sum(0), kExact)) << i;
  }
}

TEST(ScoreCam, TriesTheChannelsOfLargestVariance) {
  // Variances of A_1 and A_2 are 0.5 and 1.5: the second alone is left.
  const double w2 = sigmoid(-0.75);
  EXPECT_TRUE(within(two_maps().explain("score-cam:channels=1", "0", {"A"}).values, map2x2(0, 3 * w2, w2, 0), kExact));
  expect_error(ErrorKind::kUsage, "score-cam: channels is 'few'; all or a number >= 1 was expected",
               [] { two_maps().explain("score-cam:channels=few", "0", {"A"}); });
}

// CAM weighs (2, -1), the means are (1, 1): y - y_k = w_k F_k.
TEST(AblationCam, DropOfTheScore) {
  EXPECT_TRUE(within(two_maps().explain("ablation-cam", "0", {"A"}).values, map2x2(2, -3, 3, 2), kExact));
  EXPECT_TRUE(
      within(two_maps().explain("ablation-cam:relative=true", "0", {"A"}).values, map2x2(2, -3, 3, 2) / 1.5, kExact));
}

// Whole passes with the channel edited to zero.
TEST_P(CamVariantsOfEveryFamily, AblationCamIsOneWholePassPerChannel) {
  const Explainer n = net(3);
  for (const char* layer : {"map", "c1"}) {
    const ValueId id = n.layers.find(layer);
    const Tensor a = n.value(id);
    const Tensor clean = n.logits(n.input).select(1, 2);
    Tensor raw = at::zeros({2, a.size(2), a.size(3)}, at::kDouble);
    for (int64_t k = 0; k < a.size(1); ++k) {
      Request request;
      request.capture = {n.layers.logits()};
      request.edit[id] = [k](const Tensor& t) {
        Tensor edited = t.clone();
        edited.select(1, k).zero_();
        return edited;
      };
      const Tensor score = n.network.run({n.input}, request).at(n.layers.logits()).select(1, 2);
      raw += (clean - score).view({-1, 1, 1}) * a.select(1, k);
    }
    EXPECT_TRUE(within(n.explain("ablation-cam", "2", {layer}).values, raw, kExact)) << layer;
  }
}

// With global average pooling one position alone has the logit CAM / 4 + b; the map starts at its minimum.
TEST(ReciproCam, PointMasksGiveTheCamLessItsMinimum) {
  EXPECT_TRUE(within(two_maps().explain("recipro-cam:window=point,score=logit", "0", {"A"}).values,
                     map2x2(5, 0, 6, 5) / 4, kExact));
}

TEST_P(CamVariantsOfEveryFamily, ReciproCamGaussianSmoothsTheCam) {
  const Explainer n = net(4);
  const Tensor cam = n.explain("cam", "1").values;
  const Tensor kernel = doubles({1, 2, 1, 2, 4, 2, 1, 2, 1}, {1, 1, 3, 3}) / 16;
  const double positions = static_cast<double>(cam.size(1) * cam.size(2));
  const Tensor smooth = at::conv2d(cam.unsqueeze(1), kernel, {}, 1, 1).squeeze(1) / positions;
  const Tensor expected = smooth - smooth.flatten(1).amin(1).view({-1, 1, 1});
  EXPECT_TRUE(within(n.explain("recipro-cam:score=logit", "1", {"map"}).values, expected, kExact));
}

// S_0 - S_1 has gradients (2 - 1, -1 - 1) / 4.
TEST(FinerCam, TwoClassesGiveTheirDifference) {
  EXPECT_TRUE(within(two_maps().explain("finer-cam", "0", {"A"}).values, map2x2(0.25, -1.5, 0, 0.25), kExact));
}

TEST_P(CamVariantsOfEveryFamily, FinerCamWithoutOthersIsItsBase) {
  const Explainer n = net(5);
  for (const char* base : {"grad-cam", "hires-cam", "layer-cam", "grad-cam-elementwise"}) {
    EXPECT_TRUE(within(n.explain(std::string("finer-cam:alpha=0,base=") + base, "1", {"c1"}).values,
                       n.explain(base, "1", {"c1"}).values, kExact))
        << base;
  }
}

// Grad-CAM is linear in the target: the map is the weighted sum of maps, weights by the two nearest logits.
TEST_P(CamVariantsOfEveryFamily, FinerCamIsASumOfGradCams) {
  const Explainer n = net(6);
  const Tensor logits = n.logits(n.input);
  std::vector<Tensor> cams;
  for (int64_t c = 0; c < 4; ++c) cams.push_back(n.explain("grad-cam", std::to_string(c), {"map"}).values);
  const Tensor actual = n.explain("finer-cam:classes=2,alpha=0.7", "1", {"map"}).values;
  for (int64_t i = 0; i < 2; ++i) {
    std::vector<std::pair<double, int64_t>> near;
    for (const int64_t c : {0, 2, 3}) {
      near.emplace_back(std::abs((logits[i][c] - logits[i][1]).item<double>()), c);
    }
    std::sort(near.begin(), near.end());
    Tensor sum = at::zeros_like(actual[i]);
    double weights = 0;
    for (int64_t j = 0; j < 2; ++j) {
      const int64_t u = near[static_cast<size_t>(j)].second;
      const double p = std::exp(logits[i][u].item<double>());
      sum += p * (cams[1][i] - 0.7 * cams[static_cast<size_t>(u)][i]);
      weights += p;
    }
    EXPECT_TRUE(within(actual[i], sum / weights, kExact)) << i;
  }
}

TEST(FinerCam, RefusesTargetsThatAreNoClass) {
  expect_error(ErrorKind::kUsage,
               "finer-cam: the target must be a class of a classifier, to be compared with other classes",
               [] { two_maps().explain("finer-cam", "channel:A:0", {"A"}); });
}

TEST(ShapleyCam, LogitHasNoCurvature) {
  EXPECT_TRUE(within(two_maps().explain("shapley-cam:score=target", "0", {"A"}).values,
                     two_maps().explain("grad-cam", "0", {"A"}).values, kExact));
}

// S_0 + log p_0 has the gradient (W_0 + W_0 - sum_j p_j W_j) / 4 at every position and the Hessian - C / 16 between any
// two, C = sum_j p_j W_j W_j^T - m m^T. A sums to 4 per channel: H A = - C (1, 1) / 4.
TEST(ShapleyCam, ReStHasTheCovarianceOfTheWeights) {
  const double p = sigmoid(1.5 - 1.75), q = 1 - p;
  const double m1 = 2 * p + q, m2 = -p + q;
  const double c11 = 4 * p + q - m1 * m1, c12 = -2 * p + q - m1 * m2, c22 = p + q - m2 * m2;
  const double w1 = (4 - m1) / 4 + (c11 + c12) / 8, w2 = (-2 - m2) / 4 + (c12 + c22) / 8;
  ASSERT_NEAR(w1, 0.60978, 5e-5);
  ASSERT_NEAR(w2, -0.46955, 5e-5);
  EXPECT_TRUE(
      within(two_maps().explain("shapley-cam", "0", {"A"}).values, map2x2(w1, 3 * w2, 2 * w1 + w2, w1), kExact));
}

// The Hessian times A as the central difference of the gradient along A.
TEST(ShapleyCam, CurvatureIsTheChangeOfTheGradient) {
  const Explainer n(random_network(Family::kSilu, 7), Random(8).normal({2, 3, 11, 13}));
  const ValueId id = n.layers.find("c1");
  const Tensor a = n.value(id);
  const Context context = n.context("1");
  const auto gradient_at = [&](double scale) {
    Network::RecordRequest record;
    record.wrt = {id};
    record.until = {n.layers.logits()};
    record.request.from[id] = a * scale;
    const Tape tape = n.network.record({n.input}, record);
    return tape.backward({{n.layers.logits(), context.target.seed(tape.value(n.layers.logits()))}}, {id}).values.at(id);
  };
  constexpr double h = 1e-5;
  const Tensor h_a = (gradient_at(1 + h) - gradient_at(1 - h)) / (2 * h);
  const Tensor weights = (gradient_at(1) - h_a / 2).mean({2, 3}, true);
  EXPECT_TRUE(within(n.explain("shapley-cam:score=target", "1", {"c1"}).values, (weights * a).sum(1), {1e-6, 1e-6}));
}

TEST_P(CamVariantsOfEveryFamily, LinearKernelIsCenteredEigenCam) {
  const Explainer n = net(8);
  const Tensor kernel = n.explain("kpca-cam:kernel=linear", "0", {"map"}).values;
  const Tensor eigen = n.explain("eigen-cam:centered=true", "0", {"map"}).values;
  EXPECT_TRUE(within(kernel, eigen, {1e-8, 1e-8}));
}

// The definition with loops; the leading eigenvector by 5000 power steps.
TEST(KpcaCam, KernelsAreAsDefined) {
  const Explainer n(random_network(Family::kPlain, 9), Random(10).normal({1, 3, 8, 8}));
  const Tensor a = n.value("map")[0].flatten(1).t();
  const Tensor rows = a - a.mean(0, true);
  const int64_t count = rows.size(0);
  const double gamma = 1.0 / static_cast<double>(rows.size(1));
  const auto kernel = [&](const std::string& name, const Tensor& x, const Tensor& y) {
    const double product = x.dot(y).item<double>();
    if (name == "sigmoid") return std::tanh(gamma * product + 1);
    if (name == "poly") return std::pow(gamma * product + 1, 3.0);
    if (name == "cosine") return product / (x.norm().item<double>() * y.norm().item<double>());
    return std::exp(-gamma * (x - y).square().sum().item<double>());
  };
  for (const std::string name : {"sigmoid", "rbf", "poly", "cosine"}) {
    Tensor k = at::zeros({count, count}, at::kDouble);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < count; ++j) k[i][j] = kernel(name, rows[i], rows[j]);
    }
    const Tensor center = at::eye(count, at::kDouble) - 1.0 / static_cast<double>(count);
    k = center.mm(k).mm(center);
    Tensor u = Random(1).normal({count});
    for (int step = 0; step < 5000; ++step) {
      u = k.mv(u) + u;  // the shift keeps negative eigenvalues small
      u = u / u.norm();
    }
    const Tensor expected = u * std::sqrt(u.dot(k.mv(u)).item<double>());
    EXPECT_TRUE(
        within_up_to_sign(n.explain("kpca-cam:kernel=" + name, "0", {"map"}).values.flatten(), expected, {1e-6, 1e-6}))
        << name;
  }
}

TEST(KpcaCam, SaturatedKernelIsBlankNotNoise) {
  const Explainer n(random_network(Family::kPlain, 9), Random(10).normal({1, 3, 8, 8}));
  const Attribution a = n.explain("kpca-cam:centered=false,offset=1000", "0", {"map"});
  EXPECT_EQ(a.values.abs().max().item<double>(), 0);
  EXPECT_EQ(a.notes[0][0].substr(0, 21), "kpca-cam: the kernel ");
}

TEST(KpcaCam, RefusesMoreThanTheBudget) {
  const Explainer n(random_network(Family::kPlain, 9), Random(10).normal({1, 3, 8, 8}));
  Context context = n.context("0", {"c1"});
  context.memory_budget = 1 << 16;
  expect_error(
      ErrorKind::kUsage,
      "kpca-cam: the layer has 64 positions, whose kernel matrix needs 0 MiB of the 0 that are allowed; choose "
      "a deeper layer or eigen-cam",
      [&] { attribute(MethodCall::parse("kpca-cam"), context); });
}

// Channel 1: mean 1, deviation sqrt(0.5): (2) alone is above 1.7071 = mean + 1 deviation. Channel 2: mean 1, deviation
// sqrt(1.5): (3) alone. Both weigh 1/4; with two deviations nothing is above 2.41 in the first and 3.45 in the second.
TEST(Fem, WeightIsTheShareOfStrongPositions) {
  EXPECT_TRUE(within(two_maps().explain("fem:deviations=1", "0", {"A"}).values, map2x2(1, 3, 3, 1) / 4, kExact));
  EXPECT_TRUE(within(two_maps().explain("fem", "0", {"A"}).values, map2x2(0, 0, 0, 0), kExact));
}

// Inputs and biases account for the whole score of a piecewise linear network; bounds (Clip) are not seen, and said.
TEST_P(CamVariantsOfEveryFamily, FullGradIsComplete) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Attribution a = net(seed).explain("fullgrad", "1");
    for (size_t i = 0; i < 2; ++i) {
      if (GetParam() == Family::kSilu) {
        EXPECT_GT(std::abs(a.diagnostics[i].at("convergence_delta")), 1e-6);
      } else if (GetParam() != Family::kClip) {
        EXPECT_NEAR(a.diagnostics[i].at("convergence_delta"), 0, 1e-10) << seed;
        EXPECT_TRUE(a.notes[i].empty());
      }
    }
  }
}

TEST(FullGrad, WithoutBiasesIsTheInputPart) {
  const Explainer n(random_network(Family::kNoBias, 3), Random(4).normal({2, 3, 11, 13}));
  const Tensor m = n.explain("gradient-x-input", "1").values.abs();
  const Tensor low = m.amin({1, 2, 3}, true);
  const Tensor expected = ((m - low) / (m.amax({1, 2, 3}, true) - low)).sum(1);
  EXPECT_TRUE(within(n.explain("fullgrad", "1").map, expected, kExact));
}

TEST_P(CamVariantsOfEveryFamily, EigenSmoothingOfHiResCamIsEigenGradCam) {
  const Explainer n = net(5);
  EXPECT_TRUE(within(n.explain("hires-cam:smooth=eigen", "1", {"c1"}).values,
                     n.explain("eigen-grad-cam", "1", {"c1"}).values, kExact));
}

// Grad-CAM's weights (0.5, -0.25) times A: rows (0.5,0), (0,-0.75), (1,-0.25), (0.5,0), whose component is that of
// Eigen-Grad-CAM, the gradients being constant.
TEST(Smooth, EigenWorksOnChannelWeights) {
  EXPECT_TRUE(within(two_maps().explain("grad-cam:smooth=eigen", "0", {"A"}).values,
                     two_maps().explain("eigen-grad-cam", "0", {"A"}).values, kExact));
}

TEST(Smooth, EigenSaysWhereItChangesNothing) {
  const Attribution a = two_maps().explain("eigen-cam:smooth=eigen", "0", {"A"});
  EXPECT_TRUE(within(a.values, two_maps().explain("eigen-cam", "0", {"A"}).values, {0, 0}));
  EXPECT_EQ(a.notes[0][0], "smooth=eigen changes nothing: the method does not sum over channels");
}

TEST_P(CamVariantsOfEveryFamily, AugmentIsTheMeanOfSixMaps) {
  const Graph graph = random_network(GetParam(), 6);
  const Tensor x = Random(7).normal({2, 3, 11, 13});
  for (const std::string method : {"grad-cam", "layer-cam", "score-cam", "kpca-cam", "guided-grad-cam"}) {
    const Explainer n(graph, x);
    const Attribution actual = n.explain(method + ":smooth=augment", "1", {"map"});
    Tensor map = at::zeros_like(actual.map), values = at::zeros_like(actual.values);
    for (const double factor : {0.9, 1.0, 1.1}) {
      const Attribution straight = Explainer(graph, x * factor).explain(method, "1", {"map"});
      const Attribution mirrored = Explainer(graph, (x * factor).flip({3})).explain(method, "1", {"map"});
      map += (straight.map + mirrored.map.flip({2})) / 6;
      values += (straight.values + mirrored.values.flip({mirrored.values.dim() - 1})) / 6;
    }
    EXPECT_TRUE(within(actual.map, map, kExact)) << method;
    EXPECT_TRUE(within(actual.values, values, kExact)) << method;
  }
}

// A segmenter of 1x1 convolutions explained inside a box at the left: mirrored with the picture, or the map would move.
TEST(Smooth, AugmentMirrorsTheMaskOfATarget) {
  LayerBuilder b(2);
  b.conv("c1", "x", 4, {1, 1, 1, true});
  b.node("Relu", "r1", {"c1"});
  b.conv("classes", "r1", 3, {1, 1, 1, true});
  const Explainer n(b.finish("classes"), Random(1).normal({1, 3, 6, 8}));
  const Attribution a = n.explain("hires-cam:smooth=augment", "2 in 0,0,3,6", {"r1"});
  EXPECT_GT(a.values.slice(2, 0, 3).abs().max().item<double>(), 0);
  EXPECT_EQ(a.values.slice(2, 3).abs().max().item<double>(), 0);
}

TEST(Smooth, AugmentRefusesTargetsWithAPosition) {
  const Explainer n(random_network(Family::kPlain, 1), Random(1).normal({1, 3, 8, 8}));
  expect_error(ErrorKind::kUsage,
               "target 'unit:map:1,0,0' names a position, which mirroring the picture moves; a class or a channel was "
               "expected",
               [&] { n.explain("grad-cam:smooth=augment", "unit:map:1,0,0", {"r1"}); });
}

TEST(Fusion, RulesAreAsDefined) {
  const Explainer n(random_network(Family::kPlain, 5), Random(6).normal({1, 3, 12, 12}));
  TensorList scaled;
  for (const char* layer : {"r1", "map"}) {
    const Tensor raw = at::relu(n.explain("hires-cam", "1", {layer}).values);
    scaled.push_back(raw / raw.max());
  }
  const auto up = [](const Tensor& m) { return upsample_map(m, 12, 12); };
  const auto fused = [&](const std::string& rule) {
    return n.explain("hires-cam:fusion=" + rule, "1", {"r1", "map"}).map;
  };
  EXPECT_TRUE(within(fused("mean"), (up(scaled[0]) + up(scaled[1])) / 2, kExact));
  EXPECT_TRUE(within(fused("max"), at::max(up(scaled[0]), up(scaled[1])), kExact));
  EXPECT_TRUE(within(fused("tanh-max"), at::max(up(at::tanh(2 * scaled[0])), up(at::tanh(2 * scaled[1]))), kExact));
}

const char* const kNew[] = {"score-cam", "ablation-cam", "recipro-cam", "kpca-cam",
                            "fem",       "finer-cam",    "shapley-cam", "fullgrad"};

// What a pass may hold decides how many variants go together, not what comes out.
TEST(CamVariants, BudgetDoesNotChangeTheResult) {
  const Explainer n(random_network(Family::kResidual, 3), Random(4).normal({3, 3, 11, 13}));
  for (const char* method : kNew) {
    Context context = n.context("1", {"map"});
    const Attribution large = attribute(MethodCall::parse(method), context);
    context.memory_budget = 1 << 18;
    EXPECT_TRUE(within(attribute(MethodCall::parse(method), context).values, large.values, kExact)) << method;
  }
}

TEST(CamVariants, DeadLayersAreBlank) {
  LayerBuilder b(1);
  b.conv_with("c1", "x", b.random.normal({4, 3, 3, 3}), at::full({4}, -1000.0, at::TensorOptions(at::kDouble)));
  b.node("Relu", "r1", {"c1"});
  const Explainer n(b.head("r1", 3), Random(1).normal({1, 3, 8, 8}));
  for (const char* method : kNew) {
    const Attribution a = n.explain(method, "0", {"r1"});
    EXPECT_EQ(a.map.abs().max().item<double>(), 0) << method;
    EXPECT_EQ(a.notes[0].back().substr(0, 7), "blank: ") << method;
  }
}

// F11: a blank picture in the batch leaves the others alone.
TEST(CamVariants, OneDegenerateMemberLeavesTheBatchAlone) {
  const Graph graph = random_network(Family::kPlain, 11);
  Tensor x = Random(12).normal({3, 3, 12, 12});
  x[1].zero_();
  const Explainer all(graph, x);
  for (const char* method : kNew) {
    const Attribution batch = all.explain(method, "1", {"map"});
    for (const int64_t i : {0, 2}) {
      const Explainer alone(graph, x.narrow(0, i, 1));
      EXPECT_TRUE(within(batch.map[i], alone.explain(method, "1", {"map"}).map[0], {1e-9, 1e-9})) << method << " " << i;
    }
  }
}

}  // namespace
}  // namespace pellucid::test
