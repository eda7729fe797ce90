#include "pellucid/params.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace pellucid {
namespace {

using test::expect_error;
using Calls = std::vector<std::string>;

struct BlurParams {
  int64_t size = 3;
  std::string border = "reflect";
};
template <class V>
void describe(V& visit, BlurParams& p) {
  visit("size", p.size, at_least(1), "Pixels.");
  visit("border", p.border, TextLike{"anything"}, "What lies outside.");
}

TEST(Calls, AreAnIdAndItsParameters) {
  EXPECT_EQ(call_id(" blur "), "blur");
  EXPECT_TRUE(call_params("blur", "blur").empty());
  EXPECT_EQ(call_id("blur:size=5,border=a:b=c"), "blur");
  // Only the first equals sign divides, so that values may hold one.
  EXPECT_EQ(call_params("blur", "blur: size = 5 ,border=a:b=c"), (ParamMap{{"border", "a:b=c"}, {"size", "5"}}));
  EXPECT_EQ(call_id("smooth(blur:size=5):samples=2"), "smooth(blur:size=5)");
  EXPECT_EQ(call_params("smooth", "smooth(blur:size=5):samples=2"), (ParamMap{{"samples", "2"}}));
}

TEST(Calls, PrintInTheOrderOfDeclaration) {
  const std::vector<ParamSpec> specs = param_specs<BlurParams>();
  EXPECT_EQ(call_text("blur", specs, {}), "blur");
  EXPECT_EQ(call_text("blur", specs, {{"border", "zero"}, {"size", "5"}}), "blur:size=5,border=zero");
}

TEST(Calls, RefuseWhatIsNoParameter) {
  expect_error(ErrorKind::kUsage, "blur: 'fast' is not NAME=VALUE", [] { call_params("blur", "blur:fast"); });
  expect_error(ErrorKind::kUsage, "blur: '' is not NAME=VALUE", [] { call_params("blur", "blur:"); });
  expect_error(ErrorKind::kUsage, "blur: size is given twice", [] { call_params("blur", "blur:size=1,size=2"); });
}

TEST(Calls, ListsSplitWhereANewOneBegins) {
  EXPECT_EQ(split_calls("a,b:x=1,y=2:3,c"), (Calls{"a", "b:x=1,y=2:3", "c"}));
  EXPECT_EQ(split_calls("a,x=1,y=2"), (Calls{"a:x=1,y=2"}));
  EXPECT_EQ(split_calls("smooth(a:x=1,y=2):n=3,m=4,b"), (Calls{"smooth(a:x=1,y=2):n=3,m=4", "b"}));
  EXPECT_EQ(split_calls("a,b:x=c:1"), (Calls{"a", "b:x=c:1"}));
  EXPECT_EQ(split_calls(""), (Calls{""}));
}

}  // namespace
}  // namespace pellucid
