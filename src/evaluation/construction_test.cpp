#include <gtest/gtest.h>

#include "evaluation/metric_test_support.h"

namespace pellucid {
namespace {

Tensor cells(std::initializer_list<int64_t> set) {
  Tensor t = at::zeros({3, 3}, at::kBool);
  for (const int64_t i : set) t.view(-1)[i] = true;
  return t;
}

// Parts of 1, 2 and 3 pixels get 5, 2 + 2 and 1 + 1 + 1: in the order of importance 3, 2, 1.
TEST(PartRanks, SumsOverPartsInTheOrderOfImportance) {
  const Tensor map = at::tensor({5., 2., 2., 1., 1., 1., 0., 0., -1.}).view({3, 3});
  MetricFixture f(map);
  f.context.parts = {{"a", cells({0}), 3, true}, {"b", cells({1, 2}), 2, false}, {"c", cells({3, 4, 5}), 1, false}};
  const MetricResult right = evaluate(MetricCall::parse("part-ranks"), f.context);
  EXPECT_DOUBLE_EQ(right.scores.at("rank_correlation"), 1);
  EXPECT_DOUBLE_EQ(right.scores.at("top_part"), 1);
  EXPECT_DOUBLE_EQ(right.scores.at("discriminative_share"), 5.0 / 12);
  // With a and c exchanged: ranks (3,2,1) against (1,2,3).
  f.context.parts[0].importance = 1;
  f.context.parts[2].importance = 3;
  const MetricResult wrong = evaluate(MetricCall::parse("part-ranks"), f.context);
  EXPECT_DOUBLE_EQ(wrong.scores.at("rank_correlation"), -1);
  EXPECT_DOUBLE_EQ(wrong.scores.at("top_part"), 0);
}

TEST(PartRanks, EqualImportanceHasNoRanks) {
  MetricFixture f(at::ones({3, 3}, at::kDouble));
  f.context.parts = {{"a", cells({0}), 1, true}, {"b", cells({1, 2}), 1, false}, {"hidden", cells({}), 9, false}};
  const MetricResult r = evaluate(MetricCall::parse("part-ranks"), f.context);
  EXPECT_EQ(r.scores.count("rank_correlation"), 0u);
  EXPECT_TRUE(r.degenerate);
}

// The own object has one pixel with 3, the other one two pixels with 1 each: 3/5 by mass, 3/(3 + 1) by density.
TEST(ClassDiscrimination, ShareOfTheAskedObject) {
  const Tensor map = at::tensor({3., 1., 1., -4., 7., 0., 0., 0., 0.}).view({3, 3});
  MetricFixture f(map);
  f.context.mask = cells({0});
  f.context.others = cells({1, 2, 3});
  f.context.others.view(-1)[3] = false;
  const MetricResult r = evaluate(MetricCall::parse("class-discrimination"), f.context);
  EXPECT_DOUBLE_EQ(r.scores.at("own_share"), 0.6);
  EXPECT_DOUBLE_EQ(r.scores.at("own_density_share"), 0.75);
}

}  // namespace
}  // namespace pellucid
