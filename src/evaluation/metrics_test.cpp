// Every metric on maps and networks whose score can be worked out by hand.

#include "pellucid/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "pellucid/similarity.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid {
namespace {

using test::doubles;
using test::Explainer;
using test::LayerBuilder;
using test::Random;

/// score_0 = w . x over a picture [1,H,W]; score_1 = 0.
Graph linear(const std::vector<double>& w, int64_t height, int64_t width) {
  LayerBuilder b(1, {-1, 1, height, width});
  b.node("Flatten", "flat", {"x"});
  std::vector<double> rows = w;
  rows.resize(2 * w.size(), 0.0);
  b.gemm_with("logits", "flat", doubles(rows, {2, static_cast<int64_t>(w.size())}));
  return b.finish("logits");
}

/// score_0 = (sum w x)^2.
Graph squared(const std::vector<double>& w, int64_t height, int64_t width) {
  LayerBuilder b(1, {-1, 1, height, width});
  b.node("Flatten", "flat", {"x"});
  std::vector<double> rows = w;
  rows.resize(2 * w.size(), 0.0);
  b.gemm_with("sum", "flat", doubles(rows, {2, static_cast<int64_t>(w.size())}));
  b.graph.node("Mul", {"sum", "sum"}, {"logits"});
  return b.finish("logits");
}

/// A network with a map to judge; `explain` is the method named.
class Judged {
 public:
  Judged(Graph graph, const Tensor& picture, const Tensor& map, ModelCard card = {})
      : net_(std::move(graph), picture, test::in_float64(), std::move(card)),
        context_(net_.context("0")),
        judged_{context_, map} {}

  MetricContext& with() { return judged_; }
  MetricContext& by(const std::string& method) {
    judged_.explain = [call = MethodCall::parse(method)](const Context& c) { return attribute(call, c); };
    judged_.map = judged_.explain(context_).map[0];
    return judged_;
  }
  MetricResult run(const std::string& metric) const { return evaluate(MetricCall::parse(metric), judged_); }
  double score(const std::string& metric, const std::string& name) const { return run(metric).scores.at(name); }

 private:
  Explainer net_;
  Context context_;
  MetricContext judged_;
};

/// Display range and model domain are the same.
ModelCard gray_card() {
  ModelCard card;
  card.scale = 1.0 / 255;
  card.order = ChannelOrder::kGray;
  return card;
}

/// F8: contributions 4, 3, 2, 1 of pixels that are 1.
Judged f8(const std::vector<double>& map) {
  return {linear({4, 3, 2, 1}, 2, 2), at::ones({1, 1, 2, 2}, at::kDouble), doubles(map, {2, 2}), gray_card()};
}

// A picture that no network has to look at.
Judged drawn(const Tensor& map, const Tensor& mask) {
  Judged judged(linear(std::vector<double>(static_cast<size_t>(map.numel()), 0.0), map.size(0), map.size(1)),
                at::zeros({1, 1, map.size(0), map.size(1)}, at::kDouble), map, gray_card());
  judged.with().mask = mask;
  return judged;
}

// --- the table ---------------------------------------------------------------------------------------------------

TEST(Metrics, EveryEntryIsCompleteAndItsTextParsesBack) {
  const std::set<std::string> families{"faithfulness", "localization",  "complexity",
                                       "robustness",   "randomization", "axiomatic"};
  for (const Metric& m : metrics()) {
    EXPECT_TRUE(families.count(m.family)) << m.id;
    EXPECT_GT(m.assumes.size(), 40u) << m.id;
    EXPECT_FALSE(m.cost.empty()) << m.id;
    ASSERT_FALSE(m.scores.empty()) << m.id;
    EXPECT_NE(m.better, Better::kNeither) << m.id;
    EXPECT_EQ(m.better, m.scores.front().better) << m.id;
    for (const ScoreSpec& s : m.scores) EXPECT_FALSE(s.meaning.empty()) << m.id;
    const MetricCall call = MetricCall::parse(call_text(m.id, m.params, m.complete({})));
    EXPECT_EQ(MetricCall::parse(call.text()).text(), call.text());
    EXPECT_EQ(call.params, m.complete({})) << m.id;
  }
}

TEST(Metrics, ListsSplitWhereANewMetricBegins) {
  const std::vector<MetricCall> calls = parse_metrics("iou,deletion:step=1,fill=blur:2,sparseness");
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].text(), "iou");
  EXPECT_EQ(calls[1].text(), "deletion:step=1,fill=blur:2");
  EXPECT_EQ(calls[2].text(), "sparseness");
  EXPECT_EQ(parse_metrics("all").size(), metrics().size());
}

TEST(Metrics, RefusesWhatDoesNotFit) {
  try {
    MetricCall::parse("deletio");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("no metric 'deletio'; did you mean 'deletion'? (there are: ", 0), 0u);
  }
  test::expect_error(ErrorKind::kUsage, "deletion: 'fast' is not NAME=VALUE",
                     [] { MetricCall::parse("deletion:fast"); });
  test::expect_error(ErrorKind::kUsage, "deletion: step is given twice",
                     [] { MetricCall::parse("deletion:step=1,step=2"); });
  test::expect_error(ErrorKind::kUsage, "iou: needs a mask or boxes of what is known to matter", [] {
    f8({1, 2, 3, 4}).run("iou");
  });
  test::expect_error(ErrorKind::kUsage, "max-sensitivity: needs the method that made the map", [] {
    f8({1, 2, 3, 4}).run("max-sensitivity");
  });
  test::expect_error(ErrorKind::kUsage, "label-randomization: needs a network trained on shuffled labels", [] {
    Judged judged = f8({1, 2, 3, 4});
    judged.by("gradient");
    judged.run("label-randomization");
  });
  test::expect_error(ErrorKind::kUsage, "sparseness: the map has shape [4]; [2,2], the size of the input, was expected",
                     [] {
                       Judged judged = f8({1, 2, 3, 4});
                       judged.with().map = judged.with().map.flatten();
                       judged.run("sparseness");
                     });
  test::expect_error(ErrorKind::kFailed, "sparseness: the map has NaN or infinity", [] {
    f8({1, 2, NAN, 4}).run("sparseness");
  });
}

// Blank, constant and negative maps: every metric either gives finite scores or leaves them out with a note.
TEST(Metrics, DegenerateMapsGiveNoNaN) {
  for (const Metric& m : metrics()) {
    if (m.needs & kMetricOtherNetwork) continue;
    for (const std::vector<double>& map :
         {std::vector<double>{0, 0, 0, 0}, std::vector<double>{2, 2, 2, 2}, std::vector<double>{-1, -2, -3, -4}}) {
      Judged judged = f8(map);
      judged.with().mask = doubles({1, 0, 0, 0}, {2, 2});
      judged.with().others = doubles({0, 1, 0, 0}, {2, 2});
      judged.with().parts = {{"a", judged.with().mask, 2, true}, {"b", judged.with().others, 1, false}};
      judged.with().explain = [&map](const Context& c) {
        Attribution a;
        a.map = doubles(map, {1, 2, 2}).expand({c.input.size(0), 2, 2});
        a.values = a.map;
        return a;
      };
      const MetricResult r = judged.run(m.id);
      if (r.scores.count(m.scores.front().name) == 0) {
        EXPECT_FALSE(r.notes.empty()) << m.id << ": " << map[0];
      }
      for (const auto& [name, value] : r.scores) {
        EXPECT_TRUE(
            std::any_of(m.scores.begin(), m.scores.end(), [&, n = name](const ScoreSpec& s) { return s.name == n; }))
            << m.id << " does not declare " << name << " " << value;
      }
    }
  }
}

// --- localization ------------------------------------------------------------------------------------------------

// Map 4 1 / 2 1, truth the upper row. {>= 2}: {a, c}, one of them inside, union 3.
TEST(IouMetric, ThresholdsOfTheMaximum) {
  const Judged judged = drawn(doubles({4, 1, 2, 1}, {2, 2}), doubles({1, 1, 0, 0}, {2, 2}));
  const MetricResult r = judged.run("iou:threshold=0.5");
  EXPECT_DOUBLE_EQ(r.scores.at("iou"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.scores.at("precision"), 0.5);
  EXPECT_DOUBLE_EQ(r.scores.at("recall"), 0.5);
  EXPECT_DOUBLE_EQ(r.scores.at("best_iou"), 0.5);
  EXPECT_EQ(r.curves.at(0).y.size(), 51u);
  EXPECT_DOUBLE_EQ(judged.score("iou:threshold=0.6", "iou"), 0.5);
}

// What is not known takes no part: without c and d the map agrees with the truth.
TEST(IouMetric, IgnoredPixelsTakeNoPart) {
  Judged judged = drawn(doubles({4, 2, 2, 1}, {2, 2}), doubles({1, 1, 0, 0}, {2, 2}));
  EXPECT_DOUBLE_EQ(judged.score("iou", "iou"), 2.0 / 3);
  judged.with().ignore = doubles({0, 0, 1, 1}, {2, 2});
  EXPECT_DOUBLE_EQ(judged.score("iou", "iou"), 1);
}

TEST(IouMetric, ConstantMapScoresTheShareOfTheTruthAndSaysSo) {
  const MetricResult r = drawn(at::ones({2, 2}), doubles({1, 0, 0, 0}, {2, 2})).run("iou");
  EXPECT_DOUBLE_EQ(r.scores.at("iou"), 0.25);
  EXPECT_TRUE(r.degenerate);
  ASSERT_EQ(r.notes.size(), 1u);
}

// Order a c b d with truth {a, b}: precision 1 at recall 1/2, then 2/3 at recall 1: 1/2 + 1/3.
TEST(AveragePrecisionMetric, SumsPrecisionOverRecallGained) {
  EXPECT_DOUBLE_EQ(drawn(doubles({4, 1, 2, 0}, {2, 2}), doubles({1, 1, 0, 0}, {2, 2}))
                       .score("average-precision", "average_precision"),
                   5.0 / 6);
}

// All tied: one group, precision |M| / HW.
TEST(AveragePrecisionMetric, TiedPixelsEnterTogether) {
  const Judged judged = drawn(at::ones({2, 2}), doubles({1, 0, 0, 0}, {2, 2}));
  EXPECT_DOUBLE_EQ(judged.score("average-precision", "average_precision"), 0.25);
  EXPECT_DOUBLE_EQ(judged.score("average-precision", "chance"), 0.25);
}

TEST(RelevanceMassMetric, PositivePartOrScaledMap) {
  const Judged judged = drawn(doubles({4, 1, 2, -1}, {2, 2}), doubles({1, 0, 0, 0}, {2, 2}));
  EXPECT_DOUBLE_EQ(judged.score("relevance-mass", "mass"), 4.0 / 7);
  // Less the minimum: 5 2 / 3 0.
  EXPECT_DOUBLE_EQ(judged.score("relevance-mass:normalization=min-max", "mass"), 0.5);
}

TEST(RelevanceMassMetric, CountsInsideTheBoxAroundTheMask) {
  // The mask is a diagonal; the box around it is everything.
  const Judged judged = drawn(doubles({4, 1, 2, 1}, {2, 2}), doubles({1, 0, 0, 1}, {2, 2}));
  EXPECT_DOUBLE_EQ(judged.score("relevance-mass", "mass"), 5.0 / 8);
  EXPECT_DOUBLE_EQ(judged.score("relevance-mass:region=box", "mass"), 1);
}

TEST(RelevanceRankMetric, ShareOfTheHighestPixelsInside) {
  EXPECT_DOUBLE_EQ(drawn(doubles({4, 1, 2, 0}, {2, 2}), doubles({1, 1, 0, 0}, {2, 2})).score("relevance-rank", "rank"),
                   0.5);
}

// Thresholds that are values of the map: its tie groups are inside as a whole. Divided by the maximum and multiplied
// again, one number in fifty comes out larger than it was.
TEST(IouMetric, LevelsOfTheMapAreNotLostToRounding) {
  Random random(5);
  for (int draw = 0; draw < 100; ++draw) {
    const Tensor values = random.uniform({4});
    const Tensor map = std::get<0>(values.sort()).view({4, 1}).expand({4, 4}).contiguous();
    Tensor mask = at::zeros({4, 4});
    mask.slice(0, 1).fill_(1);  // the three highest rows
    EXPECT_EQ(drawn(map, mask).score("iou", "area_iou"), 1) << draw;
    const Tensor two = at::cat({values[0].expand({8}), values[0].expand({8}) + values[1]}).view({4, 4});
    EXPECT_EQ(drawn(two, at::cat({at::zeros({2, 4}), at::ones({2, 4})})).score("iou", "otsu_iou"), 1) << draw;
  }
}

// A photo of twice the size of the map: 14 pixels of the map are 28 of the photo.
TEST(PointingGameMetric, ToleranceIsInPixelsOfThePhoto) {
  Tensor mask = at::zeros({5, 40}), map = at::zeros({5, 40});
  mask.slice(1, 0, 3).fill_(1);
  map[2][16] = 1;
  Judged judged = drawn(map, mask);
  judged.with().map_scale = 0.5;
  EXPECT_EQ(judged.score("pointing-game", "hit"), 0);
  EXPECT_EQ(judged.score("pointing-game", "distance"), 28);
}

// A peak 14 and 16 pixels to the right of the truth's last column.
TEST(PointingGameMetric, ToleranceIsFifteenPixels) {
  Tensor mask = at::zeros({5, 40}), near = at::zeros({5, 40}), far = at::zeros({5, 40});
  mask.slice(1, 0, 3).fill_(1);
  near[2][16] = 1;
  far[2][18] = 1;
  const MetricResult hit = drawn(near, mask).run("pointing-game"), miss = drawn(far, mask).run("pointing-game");
  EXPECT_EQ(hit.scores.at("hit"), 1);
  EXPECT_EQ(hit.scores.at("hit_without_tolerance"), 0);
  EXPECT_EQ(hit.scores.at("distance"), 14);
  EXPECT_EQ(miss.scores.at("hit"), 0);
  EXPECT_EQ(miss.scores.at("distance"), 16);
}

TEST(PointingGameMetric, BlankMapMisses) {
  const MetricResult r = drawn(at::zeros({3, 3}), at::ones({3, 3})).run("pointing-game");
  EXPECT_EQ(r.scores.at("hit"), 0);
  EXPECT_TRUE(r.degenerate);
}

// No pixel of a constant map is its maximum: a hit would be luck, and here it would be certain.
TEST(PointingGameMetric, ConstantMapMisses) {
  const MetricResult r = drawn(at::ones({3, 3}), at::ones({3, 3})).run("pointing-game");
  EXPECT_EQ(r.scores.at("hit"), 0);
  EXPECT_EQ(r.scores.at("hit_without_tolerance"), 0);
  EXPECT_TRUE(r.degenerate);
}

// The highest pixel lies where the truth is not known; of the others the one inside is the highest.
TEST(PointingGameMetric, PeakOfUnknownPixelsDoesNotCount) {
  Judged judged = drawn(doubles({9, 1, 5, 2}, {2, 2}), doubles({0, 0, 1, 0}, {2, 2}));
  EXPECT_EQ(judged.score("pointing-game", "hit_without_tolerance"), 0);
  judged.with().ignore = doubles({1, 0, 0, 0}, {2, 2});
  EXPECT_EQ(judged.score("pointing-game", "hit_without_tolerance"), 1);
}

TEST(LocalizationErrorMetric, UnknownPixelsBelongToNoBox) {
  Tensor map = at::zeros({6, 8}), unknown = at::zeros({6, 8});
  map.slice(0, 1, 4).slice(1, 0, 6).fill_(1);
  map.slice(1, 0, 2).fill_(10);
  unknown.slice(1, 0, 2).fill_(1);
  Judged judged = drawn(map, at::zeros({6, 8}));
  judged.with().mask = Tensor();
  judged.with().boxes = {{2, 1, 4, 3}};
  EXPECT_EQ(judged.score("localization-error", "iou"), 0);
  judged.with().ignore = unknown;
  EXPECT_EQ(judged.score("localization-error", "iou"), 1);
}

TEST(LocalizationErrorMetric, NothingToFindHasNoScore) {
  const MetricResult r = drawn(at::ones({3, 3}), at::zeros({3, 3})).run("localization-error");
  EXPECT_TRUE(r.scores.empty());
  EXPECT_EQ(r.notes.back(), "the mask is empty: there is no box to find");
}

TEST(LocalizationErrorMetric, RectangleGivesItsBox) {
  Tensor map = at::zeros({10, 12});
  map.slice(0, 2, 6).slice(1, 3, 8).fill_(1);
  Judged judged = drawn(map, at::zeros({10, 12}));
  judged.with().mask = Tensor();
  judged.with().boxes = {{0, 0, 2, 2}, {3, 2, 5, 4}};
  const MetricResult r = judged.run("localization-error");
  EXPECT_EQ(r.scores.at("error"), 0);
  EXPECT_EQ(r.scores.at("iou"), 1);
  // Shifted by one column: 16 of 24 pixels.
  judged.with().boxes = {{4, 2, 5, 4}};
  EXPECT_DOUBLE_EQ(judged.score("localization-error", "iou"), 16.0 / 24);
  EXPECT_EQ(judged.score("localization-error:iou=0.7", "error"), 1);
}

TEST(LocalizationErrorMetric, LargestComponentWinsAndDiagonalsConnect) {
  Tensor map = at::zeros({8, 8});
  map[0][0] = 5;  // the maximum, alone
  map[4][4] = map[5][5] = map[6][6] = 2;
  Judged judged = drawn(map, at::zeros({8, 8}));
  judged.with().mask = Tensor();
  judged.with().boxes = {{4, 4, 3, 3}};
  EXPECT_EQ(judged.score("localization-error", "iou"), 1);
  // Above half of the maximum only the peak is left.
  EXPECT_EQ(judged.score("localization-error:threshold=0.5", "iou"), 0);
  EXPECT_EQ(judged.score("localization-error:threshold=0.5", "best_iou"), 1);
}

// --- complexity --------------------------------------------------------------------------------------------------

TEST(SparsenessMetric, GiniOfKnownMaps) {
  EXPECT_DOUBLE_EQ(f8({0, 0, 0, 1}).score("sparseness", "gini"), 0.75);
  EXPECT_DOUBLE_EQ(f8({3, 3, 3, 3}).score("sparseness", "gini"), 0);
  EXPECT_DOUBLE_EQ(f8({1, -2, 3, -4}).score("sparseness", "gini"), 0.25);
}

TEST(ComplexityMetric, EntropyOfKnownMaps) {
  EXPECT_NEAR(f8({1, -1, 1, 1}).score("complexity", "entropy"), std::log(4.0), 1e-15);
  EXPECT_NEAR(f8({1, 2, -3, 4}).score("complexity", "entropy"), 1.2798542258336675, 1e-14);
  EXPECT_DOUBLE_EQ(f8({0, 0, 7, 0}).score("complexity", "entropy"), 0);
  EXPECT_NEAR(f8({2, 2, 2, 2}).score("complexity", "relative"), 1, 1e-15);
}

TEST(EffectiveComplexityMetric, CountsWhatIsNotNegligible) {
  const MetricResult r = f8({1, -0.5, 1e-6, 0}).run("effective-complexity");
  EXPECT_EQ(r.scores.at("pixels"), 2);
  EXPECT_EQ(r.scores.at("share"), 0.5);
}

// --- removal -----------------------------------------------------------------------------------------------------

// F8: scores 10, 6, 3, 1, 0 when the largest contribution goes first; area 3.75 of 10.
TEST(DeletionMetric, LinearModelInTheBestOrder) {
  const MetricResult r = f8({4, 3, 2, 1}).run("deletion:step=1,score=logit");
  EXPECT_EQ(r.curves.at(0).y, (std::vector<double>{10, 6, 3, 1, 0}));
  EXPECT_EQ(r.curves.at(0).x, (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_DOUBLE_EQ(r.scores.at("auc_of_clean"), 0.375);
  EXPECT_DOUBLE_EQ(r.scores.at("auc"), 3.75);
}

TEST(InsertionMetric, LinearModelInTheBestOrder) {
  const MetricResult r = f8({4, 3, 2, 1}).run("insertion:step=1,score=logit,fill=zero");
  EXPECT_EQ(r.curves.at(0).y, (std::vector<double>{0, 4, 7, 9, 10}));
  EXPECT_DOUBLE_EQ(r.scores.at("auc_of_clean"), 0.625);
}

// For a linear score and one fill, what is left and what is inserted make up the whole at every step.
TEST(DeletionMetric, AddsUpWithInsertionForALinearScore) {
  Random random(3);
  const Tensor x = random.normal({1, 1, 5, 4}), map = random.normal({5, 4});
  const Tensor w = random.normal({20});
  const std::vector<double> weights(w.data_ptr<double>(), w.data_ptr<double>() + 20);
  for (const std::string fill : {"zero", "mean", "blur:1", "rise-blur", "gray"}) {
    const Judged judged(linear(weights, 5, 4), x, map, gray_card());
    const MetricResult out = judged.run("deletion:step=3,score=logit,fill=" + fill);
    const MetricResult in = judged.run("insertion:step=3,score=logit,fill=" + fill);
    const Curve &d = out.curves.at(0), &i = in.curves.at(0);
    ASSERT_EQ(d.x.size(), 8u);  // 0, 3, ..., 18 and 20
    EXPECT_EQ(d.x.back(), 1);
    for (size_t k = 0; k < d.y.size(); ++k) EXPECT_NEAR(d.y[k] + i.y[k], d.y.front() + d.y.back(), 1e-12) << fill;
    EXPECT_NEAR(d.y.front(), (x.flatten() * w).sum().item<double>(), 1e-12);
  }
}

// The probability of two classes with scores s and 0 is the logistic function of s.
TEST(DeletionMetric, ProbabilityByDefault) {
  const MetricResult r = f8({4, 3, 2, 1}).run("deletion:step=2");
  ASSERT_EQ(r.curves.at(0).y.size(), 3u);
  EXPECT_NEAR(r.curves.at(0).y[0], 1 / (1 + std::exp(-10.0)), 1e-12);
  EXPECT_NEAR(r.curves.at(0).y[1], 1 / (1 + std::exp(-3.0)), 1e-12);
  EXPECT_NEAR(r.curves.at(0).y[2], 0.5, 1e-12);
}

TEST(DeletionMetric, TiesBreakByPositionOrBySeed) {
  const MetricResult raster = f8({0, 0, 0, 0}).run("deletion:step=1,score=logit,ties=raster");
  EXPECT_EQ(raster.curves.at(0).y, (std::vector<double>{10, 6, 3, 1, 0}));
  EXPECT_EQ(raster.scores.at("tied"), 1);
  EXPECT_TRUE(raster.degenerate);
  const MetricResult once = f8({0, 0, 0, 0}).run("deletion:step=1,score=logit");
  EXPECT_EQ(once.curves.at(0).y, f8({0, 0, 0, 0}).run("deletion:step=1,score=logit").curves.at(0).y);
}

// F8: falls 0, 4, 7, 9, 10; their mean is 6. The other way round 0, 1, 3, 6, 10: 4.
TEST(PixelFlippingMetric, MeanFallOfTheLinearModel) {
  EXPECT_DOUBLE_EQ(f8({4, 3, 2, 1}).score("pixel-flipping:step=1", "aopc"), 6);
  EXPECT_DOUBLE_EQ(f8({4, 3, 2, 1}).score("pixel-flipping:step=1,order=least-relevant-first", "aopc"), 4);
  EXPECT_DOUBLE_EQ(f8({1, 2, 3, 4}).score("pixel-flipping:step=1", "aopc"), 4);
}

// A constant picture is imputed perfectly but for the noise: nothing drops.
TEST(RoadMetric, ConstantPictureLosesNothing) {
  const MetricResult r = f8({4, 3, 2, 1}).run("road:step=25,noise=0,score=logit");
  ASSERT_EQ(r.curves.size(), 2u);
  for (const Curve& curve : r.curves) {
    for (const double y : curve.y) EXPECT_NEAR(y, 10, 1e-9);
  }
  EXPECT_NEAR(r.scores.at("road"), 0, 1e-9);
}

// One bright pixel on zeros, a score that is this pixel. Removing it leaves its imputation 0; removing others leaves
// it.
TEST(RoadMetric, TheOnlyPixelThatMatters) {
  Tensor x = at::zeros({1, 1, 5, 4}, at::kDouble), map = at::zeros({5, 4}, at::kDouble);
  std::vector<double> w(20, 0.0);
  w[9] = 3;
  x[0][0][2][1] = 2;
  map[2][1] = 1;
  const Judged judged(linear(w, 5, 4), x, map, gray_card());
  const MetricResult r = judged.run("road:step=20,noise=0,score=logit");
  for (const double y : r.curves.at(0).y) EXPECT_NEAR(y, 0, 1e-6);
  for (const double y : r.curves.at(1).y) EXPECT_NEAR(y, 6, 1e-6);
  EXPECT_NEAR(r.scores.at("road"), 3, 1e-6);
}

double logistic(double s) { return 1 / (1 + std::exp(-s)); }

TEST(AverageDropMetric, MaskedPictureOfTheLinearModel) {
  // Heatmap 1, 0.5, 0, 0: score 4 + 1.5.
  const MetricResult r = f8({2, 1, 0, -3}).run("average-drop");
  const double clean = logistic(10), seen = logistic(5.5);
  EXPECT_NEAR(r.scores.at("drop"), (clean - seen) / clean * 100, 1e-10);
  EXPECT_EQ(r.scores.at("increase"), 0);
  EXPECT_EQ(r.scores.at("gain"), 0);
  EXPECT_EQ(r.scores.at("mean_map"), 0.375);
  // Min-max: 1, 0.8, 0.6, 0.
  EXPECT_NEAR(f8({2, 1, 0, -3}).score("average-drop:normalization=min-max", "drop"),
              (clean - logistic(4 + 2.4 + 1.2)) / clean * 100, 1e-10);
}

TEST(AverageDropMetric, FullMapDropsNothingAndEmptyMapShowsNothing) {
  EXPECT_NEAR(f8({1, 1, 1, 1}).score("average-drop", "drop"), 0, 1e-12);
  const MetricResult empty = f8({0, 0, 0, 0}).run("average-drop");
  EXPECT_NEAR(empty.scores.at("drop"), (1 - 0.5 / logistic(10)) * 100, 1e-10);
  EXPECT_TRUE(empty.degenerate);
}

// Hiding the pixel that speaks against the class raises p from logistic(-2) to logistic(2).
TEST(AverageDropMetric, GainWhenTheMapLeavesOutCounterEvidence) {
  const Judged judged(linear({2, -4}, 1, 2), at::ones({1, 1, 1, 2}, at::kDouble), doubles({1, 0}, {1, 2}), gray_card());
  const MetricResult r = judged.run("average-drop");
  EXPECT_EQ(r.scores.at("increase"), 100);
  EXPECT_EQ(r.scores.at("drop"), 0);
  EXPECT_NEAR(r.scores.at("gain"), (logistic(2) - logistic(-2)) / (1 - logistic(-2)) * 100, 1e-10);
}

// --- subsets -----------------------------------------------------------------------------------------------------

/// A linear model of 6 x 6 pixels with the map of its true contributions.
Judged contributions(double factor, uint64_t seed = 7) {
  Random random(seed);
  const Tensor w = random.normal({36}), x = random.normal({1, 1, 6, 6});
  const std::vector<double> weights(w.data_ptr<double>(), w.data_ptr<double>() + 36);
  return {linear(weights, 6, 6), x, (x.flatten() * w).view({6, 6}) * factor, gray_card()};
}

TEST(FaithfulnessCorrelationMetric, ContributionsOfALinearModelAreOne) {
  EXPECT_NEAR(contributions(1).score("faithfulness-correlation:size=5", "pearson"), 1, 1e-12);
  EXPECT_NEAR(contributions(-2).score("faithfulness-correlation:size=5", "pearson"), -1, 1e-12);
}

TEST(FaithfulnessCorrelationMetric, ConstantMapIsUndefined) {
  const MetricResult r = f8({1, 1, 1, 1}).run("faithfulness-correlation:size=2");
  EXPECT_EQ(r.scores.count("pearson"), 0u);
  EXPECT_TRUE(r.degenerate);
}

TEST(MuFidelityMetric, ContributionsOfALinearModelAreOne) {
  EXPECT_NEAR(contributions(3).score("mu-fidelity:grid=3", "spearman"), 1, 1e-9);
  EXPECT_NEAR(contributions(-3).score("mu-fidelity:grid=3", "spearman"), -1, 1e-9);
}

TEST(SensitivityNMetric, ContributionsOfALinearModelAreOneForEverySize) {
  const MetricResult r = contributions(0.5).run("sensitivity-n:points=4,runs=10");
  for (const double y : r.curves.at(0).y) EXPECT_NEAR(y, 1, 1e-12);
  EXPECT_EQ(r.curves.at(0).x.front(), 1);
  EXPECT_EQ(r.curves.at(0).x.back(), 28);  // floor(0.8 * 36)
  EXPECT_NEAR(r.scores.at("mean_pearson"), 1, 1e-12);
}

TEST(InfidelityMetric, ContributionsOfALinearModelAreZero) {
  EXPECT_NEAR(contributions(1).score("infidelity:samples=50,side=0.5,normalize=false", "infidelity"), 0, 1e-20);
  const MetricResult scaled = contributions(4).run("infidelity:samples=50,side=0.5");
  EXPECT_NEAR(scaled.scores.at("infidelity"), 0, 1e-20);
  EXPECT_NEAR(scaled.scores.at("scale"), 0.25, 1e-12);
}

// A map of zeros predicts no change: the error is the whole mean squared change.
TEST(InfidelityMetric, BlankMapIsAsBadAsNone) {
  EXPECT_DOUBLE_EQ(contributions(0).score("infidelity:samples=50,side=0.5", "relative"), 1);
}

// Contributions twice too large: (2 d - d)^2 = d^2.
TEST(InfidelityMetric, WithoutScalingUnitsDecide) {
  EXPECT_NEAR(contributions(2).score("infidelity:samples=50,side=0.5,normalize=false", "relative"), 1, 1e-12);
}

// The gradient of a linear model predicts every perturbation exactly.
TEST(InfidelityMetric, GradientOfALinearModelPredictsNoise) {
  Judged judged = f8({0, 0, 0, 0});
  judged.with().values = doubles({4, 3, 2, 1}, {1, 2, 2});
  for (const std::string perturbation : {"square", "gaussian"}) {
    EXPECT_NEAR(
        judged.score("infidelity:samples=20,units=gradient,normalize=false,side=0.5,perturbation=" + perturbation,
                     "infidelity"),
        0, 1e-20);
  }
  test::expect_error(ErrorKind::kUsage,
                     "infidelity: perturbation=gaussian needs units=gradient, since an effect belongs "
                     "to a removal",
                     [&] { judged.run("infidelity:perturbation=gaussian"); });
}

// Added in the order of magnitude 1, 2, 3, 4 with true contributions 4, -3, 2, 1: up, down, up, up.
TEST(MonotonicityMetric, SharesOfRisingSteps) {
  const Judged judged(linear({4, -3, 2, 1}, 2, 2), at::ones({1, 1, 2, 2}, at::kDouble), doubles({1, 2, 3, 4}, {2, 2}),
                      gray_card());
  const MetricResult r = judged.run("monotonicity:step=1");
  EXPECT_EQ(r.curves.at(0).y, (std::vector<double>{0, 4, 1, 3, 4}));
  EXPECT_DOUBLE_EQ(r.scores.at("rising"), 0.75);
  EXPECT_EQ(r.scores.at("monotone"), 0);
  EXPECT_EQ(f8({4, -3, 2, 1}).score("monotonicity:step=1", "monotone"), 1);
}

// The change that noise in pixel i makes has mean square proportional to its weight's square when the picture is 0.
TEST(MonotonicityCorrelationMetric, OrderOfTheWeights) {
  const Judged judged(linear({8, 4, -2, 1}, 2, 2), at::zeros({1, 1, 2, 2}, at::kDouble), doubles({4, -3, 2, 1}, {2, 2}),
                      gray_card());
  EXPECT_NEAR(judged.score("monotonicity-correlation:grid=2,samples=40", "spearman"), 1, 1e-12);
}

TEST(CompletenessMetric, GapToTheDifferenceOfScores) {
  const MetricResult exact = f8({4, 3, 2, 1}).run("completeness:baseline=zero");
  EXPECT_NEAR(exact.scores.at("gap"), 0, 1e-12);
  const MetricResult half = f8({2, 1.5, 1, 0.5}).run("completeness");
  EXPECT_NEAR(half.scores.at("gap"), 5, 1e-12);
  EXPECT_NEAR(half.scores.at("relative_gap"), 0.5, 1e-12);
  // Gray, white and black average to 5 here; the picture scores 10.
  EXPECT_NEAR(f8({2, 1.5, 1, 0.5}).score("completeness:baseline=gray+white+black", "gap"), 0, 1e-12);
  Judged own = f8({2, 1.5, 1, 0.5});
  own.with().baseline = "gray";
  EXPECT_NEAR(own.score("completeness", "gap"), 0, 1e-12);
  EXPECT_NEAR(f8({1, 1, 1, 1}).score("completeness:baseline=white", "difference"), 0, 1e-12);
}

// A method that paints one value on each region: 2 and 3 on halves of two pixels are 10 when pixels are summed.
TEST(CompletenessMetric, RegionsCountOnceWhereTheMethodSaysSo) {
  Judged judged = f8({2, 2, 3, 3});
  const Method painted = *MethodCall::parse("kernel-shap").method;
  judged.with().method = &painted;
  const MetricResult unknown = judged.run("completeness");
  EXPECT_TRUE(unknown.scores.empty());
  EXPECT_EQ(unknown.notes.back(), "does not apply: kernel-shap does not say what its values add up to");
  judged.with().diagnostics = {{"attribution_sum", 5}, {"score_difference", 8}};
  const MetricResult said = judged.run("completeness");
  EXPECT_DOUBLE_EQ(said.scores.at("gap"), 3);
  EXPECT_DOUBLE_EQ(said.scores.at("relative_gap"), 3.0 / 8);
  EXPECT_TRUE(judged.run("completeness:baseline=white").scores.empty());
}

// --- robustness --------------------------------------------------------------------------------------------------

TEST(MaxSensitivityMetric, ConstantExplanationIsZero) {
  Judged judged = f8({0, 0, 0, 0});
  judged.by("gradient");
  EXPECT_EQ(judged.score("max-sensitivity:samples=5", "max_sensitivity"), 0);
}

// Gradient of (w.x)^2 is 2 w (w.x): the map's relative change is |w.d| / |w.x|, at most r |w|_1 / |w.x|.
TEST(MaxSensitivityMetric, QuadraticModelStaysBelowItsBoundAndNearsIt) {
  const std::vector<double> w{3, -1, 2, 0.5};
  const Tensor x = doubles({1, 0, 0.5, 1}, {1, 1, 2, 2});
  Judged judged(squared(w, 2, 2), x, at::zeros({2, 2}, at::kDouble), gray_card());
  judged.by("gradient");
  const double bound = 0.1 * 6.5 / 4.5;  // range 1
  const MetricResult r = judged.run("max-sensitivity:samples=200,radius=0.1");
  ASSERT_TRUE(r.scores.count("max_sensitivity")) << r.notes.front();
  EXPECT_LE(r.scores.at("max_sensitivity"), bound);
  EXPECT_GE(r.scores.at("max_sensitivity"), 0.7 * bound);
  EXPECT_LT(r.scores.at("mean_sensitivity"), r.scores.at("max_sensitivity"));
}

/// A method whose maps are those given, one after the other.
std::function<Attribution(const Context&)> one_after_the_other(std::vector<Tensor> maps, const Tensor& regions = {}) {
  return [maps, regions, next = std::make_shared<size_t>(0)](const Context&) {
    Attribution a;
    a.map = maps.at((*next)++ % maps.size()).unsqueeze(0);
    a.values = a.map;
    if (regions.defined()) a.extra["features"] = regions.unsqueeze(0);
    return a;
  };
}

// Orders 1 2 3 4, 1 3 2 4 and 4 3 2 1: of six pairs 5 - 1, 0 - 6 and 1 - 5 agree.
TEST(SeedStabilityMetric, MeanOfKendallsTauOverPairsOfSeeds) {
  Judged judged = f8({1, 2, 3, 4});
  judged.with().explain = one_after_the_other(
      {doubles({1, 2, 3, 4}, {2, 2}), doubles({1, 3, 2, 4}, {2, 2}), doubles({4, 3, 2, 1}, {2, 2})});
  const MetricResult r = judged.run("seed-stability:grid=2");
  EXPECT_NEAR(r.scores.at("kendall"), (4.0 - 6.0 - 4.0) / 6 / 3, 1e-15);
  EXPECT_NEAR(r.scores.at("lowest"), -1, 1e-15);
  judged.with().explain = one_after_the_other({doubles({1, 2, 3, 4}, {2, 2}), doubles({2, 4, 6, 8}, {2, 2})});
  EXPECT_EQ(judged.score("seed-stability:seeds=2,grid=2", "kendall"), 1);
}

// The left column and the right one: 4 and 6 against 7 and 3, though three of the six pairs of pixels agree.
TEST(SeedStabilityMetric, MethodsWithRegionsAreComparedOnThem) {
  Judged judged = f8({1, 2, 3, 4});
  judged.with().explain = one_after_the_other({doubles({1, 2, 3, 4}, {2, 2}), doubles({3, 1, 4, 2}, {2, 2})},
                                              doubles({0, 1, 0, 1}, {2, 2}));
  EXPECT_EQ(judged.score("seed-stability:seeds=2", "kendall"), -1);
}

TEST(SeedStabilityMetric, SeesWhatIsDrawnAndNotWhatIsComputed) {
  Judged judged = f8({1, 2, 3, 4});
  judged.by("gradient");
  EXPECT_EQ(judged.score("seed-stability:grid=2", "kendall"), 1);
  judged.with().explain = one_after_the_other({at::ones({2, 2}, at::kDouble)});
  EXPECT_TRUE(judged.run("seed-stability").degenerate);
  Judged noise(linear(std::vector<double>(256, 1.0), 16, 16), at::ones({1, 1, 16, 16}, at::kDouble),
               at::ones({16, 16}, at::kDouble));
  noise.by("random");
  // Independent orders of 196 values: the standard error of tau is 2/3 / sqrt(196) for each of three pairs.
  EXPECT_NEAR(noise.score("seed-stability", "kendall"), 0, 4 * (2.0 / 3) / 14);
}

// A map that is drawn does not pass for one that ignores the weights, nor for a stable one: independent orders of 256
// values correlate with a standard error of 1/16.
TEST(ParameterRandomizationMetric, DrawnMapsAreNotAlike) {
  Judged judged(linear(std::vector<double>(256, 1.0), 16, 16), Random(1).normal({1, 1, 16, 16}),
                at::zeros({16, 16}, at::kDouble));
  MetricContext& context = judged.by("random");
  const MethodCall random = MethodCall::parse("random");
  context.method = random.method;
  EXPECT_NEAR(judged.score("parameter-randomization", "spearman"), 0, 4.0 / 16);
  EXPECT_GT(judged.score("max-sensitivity", "max_sensitivity"), 0.5);
  // One that is computed, with random numbers on the way, keeps its seed and is compared with itself.
  const MethodCall smooth = MethodCall::parse("smoothgrad:samples=2");
  judged.by("smoothgrad:samples=2").method = smooth.method;
  EXPECT_NEAR(judged.score("max-sensitivity:radius=0", "max_sensitivity"), 0, 1e-12);
}

// What two different pictures score by a map that is the picture itself: no less is to be had by any network.
TEST(ParameterRandomizationMetric, FloorIsWhatAnotherPictureScores) {
  const Tensor x = Random(1).normal({1, 1, 16, 16}), other = Random(2).normal({1, 1, 16, 16}) + 0.5 * x;
  Judged judged(linear(std::vector<double>(256, 1.0), 16, 16), x, x[0][0]);
  judged.with().explain = [](const Context& c) {
    Attribution a;
    a.map = a.values = c.input.select(1, 0);
    return a;
  };
  EXPECT_EQ(judged.run("parameter-randomization").scores.count("spearman_floor"), 0u);
  judged.with().another = [&] { return other; };
  const MetricResult r = judged.run("parameter-randomization");
  EXPECT_NEAR(r.scores.at("spearman_floor"), *spearman_correlation(x, other), 1e-12);
  EXPECT_NEAR(r.scores.at("ssim_floor"), *structural_similarity(x[0][0], other[0][0]), 1e-12);
  EXPECT_NEAR(r.scores.at("spearman"), 1, 1e-12);  // and this map is above it at every step
}

// Gradient x input of a linear model on a picture that moves: the sum over the one patch is the score itself.
TEST(ContinuityMetric, SumOfContributionsFollowsTheScore) {
  Random random(11);
  const Tensor w = random.normal({36}), x = random.normal({1, 1, 6, 6});
  Judged judged(linear({w.data_ptr<double>(), w.data_ptr<double>() + 36}, 6, 6), x, at::zeros({6, 6}, at::kDouble),
                gray_card());
  judged.by("gradient-x-input");
  const MetricResult r = judged.run("continuity:patches=1,shifts=4");
  EXPECT_NEAR(r.scores.at("correlation"), 1, 1e-12);
  ASSERT_EQ(r.curves.at(0).y.size(), 5u);
  // The picture moved by two, with zeros coming in.
  const Tensor moved = at::cat({at::zeros({6, 2}, at::kDouble), x[0][0].slice(1, 0, 4)}, 1);
  EXPECT_NEAR(r.curves.at(0).y[2], (moved.flatten() * w).sum().item<double>(), 1e-12);
}

// One pixel of 1 moves from column to column under weights 1 2 3 4 (one row): maps 1, 2, 3, 4 at one place each. L1
// change from k to k + 1 is 2 k + 1, the picture's L2 change sqrt 2; relative to the first map's 1, at most 7 / sqrt 2.
TEST(ContinuityMetric, SteepestStepOfAMovingPixel) {
  Judged judged(linear({1, 2, 3, 4}, 1, 4), doubles({1, 0, 0, 0}, {1, 1, 1, 4}), at::zeros({1, 4}, at::kDouble),
                gray_card());
  judged.by("gradient-x-input");
  EXPECT_NEAR(judged.score("continuity:patches=1,shifts=3", "steepest"), 7 / std::sqrt(2.0), 1e-12);
}

// --- truth by construction --------------------------------------------------------------------------------------

Tensor cells(std::initializer_list<int64_t> set) {
  Tensor t = at::zeros({3, 3}, at::kBool);
  for (const int64_t i : set) t.view(-1)[i] = true;
  return t;
}

// Parts of 1, 2 and 3 pixels get 5, 2 + 2 and 1 + 1 + 1: in the order of importance 3, 2, 1.
TEST(PartRanks, SumsOverPartsInTheOrderOfImportance) {
  const Tensor map = at::tensor({5., 2., 2., 1., 1., 1., 0., 0., -1.}).view({3, 3});
  Judged f = drawn(map, cells({0}));
  f.with().parts = {{"a", cells({0}), 3, true}, {"b", cells({1, 2}), 2, false}, {"c", cells({3, 4, 5}), 1, false}};
  const MetricResult right = f.run("part-ranks");
  EXPECT_DOUBLE_EQ(right.scores.at("rank_correlation"), 1);
  EXPECT_DOUBLE_EQ(right.scores.at("top_part"), 1);
  EXPECT_DOUBLE_EQ(right.scores.at("discriminative_share"), 5.0 / 12);
  // With a and c exchanged: ranks (3,2,1) against (1,2,3).
  f.with().parts[0].importance = 1;
  f.with().parts[2].importance = 3;
  const MetricResult wrong = f.run("part-ranks");
  EXPECT_DOUBLE_EQ(wrong.scores.at("rank_correlation"), -1);
  EXPECT_DOUBLE_EQ(wrong.scores.at("top_part"), 0);
}

TEST(PartRanks, EqualImportanceHasNoRanks) {
  Judged f = drawn(at::ones({3, 3}, at::kDouble), cells({0}));
  f.with().parts = {{"a", cells({0}), 1, true}, {"b", cells({1, 2}), 1, false}, {"hidden", cells({}), 9, false}};
  const MetricResult r = f.run("part-ranks");
  EXPECT_EQ(r.scores.count("rank_correlation"), 0u);
  EXPECT_TRUE(r.degenerate);
}

// The own object has one pixel with 3, the other one two pixels with 1 each: 3/5 by mass, 3/(3 + 1) by density.
// The asked object covers half of the other one: 3 a pixel on two own pixels, 1 on the one that is the other's alone.
TEST(ClassDiscrimination, WhatTwoObjectsShareIsTheAskedOnes) {
  Judged f = drawn(doubles({3, 3, 1, 0}, {2, 2}), doubles({1, 1, 0, 0}, {2, 2}));
  f.with().others = doubles({0, 1, 1, 0}, {2, 2});
  EXPECT_DOUBLE_EQ(f.score("class-discrimination", "own_share"), 6.0 / 7);
  EXPECT_DOUBLE_EQ(f.score("class-discrimination", "own_density_share"), 3.0 / 4);
}

TEST(ClassDiscrimination, ShareOfTheAskedObject) {
  const Tensor map = at::tensor({3., 1., 1., -4., 7., 0., 0., 0., 0.}).view({3, 3});
  Judged f = drawn(map, cells({0}));
  f.with().mask = cells({0});
  f.with().others = cells({1, 2, 3});
  f.with().others.view(-1)[3] = false;
  const MetricResult r = f.run("class-discrimination");
  EXPECT_DOUBLE_EQ(r.scores.at("own_share"), 0.6);
  EXPECT_DOUBLE_EQ(r.scores.at("own_density_share"), 0.75);
}

// Map 4, 3, 2, 1 and truth {0, 2}: the mean 2.5 keeps {0, 1}: 1/3; the two highest are {0, 1} too. Otsu splits 4, 3
// from 2, 1, where the variance between is largest.
TEST(Iou, ThresholdsFromTheMapItself) {
  Tensor mask = at::zeros({2, 2}, at::kBool);
  mask[0][0] = mask[1][0] = true;
  const MetricResult r = drawn(doubles({4, 3, 2, 1}, {2, 2}), mask).run("iou");
  EXPECT_DOUBLE_EQ(r.scores.at("mean_iou"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.scores.at("area_iou"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.scores.at("otsu_iou"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(drawn(doubles({9, 1, 8, 1}, {2, 2}), mask).score("iou", "otsu_iou"), 1);
}

}  // namespace
}  // namespace pellucid
