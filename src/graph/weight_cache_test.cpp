#include "graph/weight_cache.h"

#include <gtest/gtest.h>

namespace pellucid {
namespace {

TEST(WeightCache, MakesOnceForEachNameUntilTheWeightIsWrittenTo) {
  const WeightCache cache;
  Tensor weight = at::ones({2, 3});
  int made = 0;
  const auto twice = [&](const Tensor& t) {
    ++made;
    return t * 2;
  };
  const Tensor first = cache.get(weight, "twice", twice);
  EXPECT_TRUE(cache.get(weight, "twice", twice).is_same(first));
  EXPECT_TRUE(cache.get(weight.detach(), "twice", twice).is_same(first));  // the same memory
  EXPECT_EQ(made, 1);
  cache.get(weight, "two times", twice);
  EXPECT_EQ(made, 2);
  // As memory is transposed, or another weight altogether.
  EXPECT_EQ(cache.get(weight.t(), "twice", twice).sizes(), (Shape{3, 2}));
  EXPECT_FALSE(cache.get(weight.clone(), "twice", twice).is_same(first));
  cache.get(weight, "twice", twice);
  made = 0;
  weight.add_(1);
  EXPECT_TRUE(cache.get(weight, "twice", twice).equal(at::full({2, 3}, 4.0)));
  EXPECT_EQ(made, 1);
}

TEST(WeightCache, ForgetsTheOldestWhenThereIsNoRoom) {
  const WeightCache cache;
  const Tensor megabytes = at::empty({100, 1 << 18});  // 100 MB
  const auto copy = [](const Tensor& t) { return at::empty_like(t); };
  int made = 0;
  const auto counted = [&](const Tensor& t) {
    ++made;
    return copy(t);
  };
  cache.get(megabytes, "0", counted);
  for (const char* name : {"1", "2", "3", "4"}) cache.get(megabytes, name, copy);
  cache.get(megabytes, "4", counted);
  EXPECT_EQ(made, 1);
  cache.get(megabytes, "5", copy);
  cache.get(megabytes, "0", counted);
  EXPECT_EQ(made, 2);
}

}  // namespace
}  // namespace pellucid
