#include "pellucid/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pellucid {
namespace {

using Names = std::vector<std::string>;

TEST(EditDistance, CountsSingleCharacterChanges) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);  // k->s, e->i, +g
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3u);
  EXPECT_EQ(edit_distance("ab", "ba"), 2u);
}

TEST(NearestNames, NearestFirstAndUnrelatedLeftOut) {
  const Names layers = {"conv1", "fire9/concat", "fire8/concat", "pool10"};
  EXPECT_EQ(nearest_names("fire9/conv", layers), (Names{"fire9/concat"}));
  EXPECT_TRUE(nearest_names("zzzzzz", layers).empty());
}

TEST(NearestNames, IgnoresCaseAndFindsParts) {
  EXPECT_EQ(nearest_names("TABBY", {"tabby", "tiger"}), Names{"tabby"});
  EXPECT_EQ(nearest_names("cat", {"Egyptian cat", "dog"}), Names{"Egyptian cat"});
  EXPECT_EQ(nearest_names("Egyptian cat", {"cat", "dog"}), Names{"cat"});
}

TEST(NearestNames, EmptyAndHugeNamesHaveNoNeighbors) {
  EXPECT_TRUE(nearest_names("", {"a", "b"}).empty());
  EXPECT_TRUE(nearest_names(std::string(1 << 20, 'a'), {"a"}).empty());
  EXPECT_TRUE(nearest_names("a", {std::string(1 << 20, 'a'), ""}).empty());
}

TEST(NearestNames, GivesAtMostCountAndNoRepeats) {
  EXPECT_EQ(nearest_names("aa", {"ab", "ab", "ac", "ad", "ae"}, 2), (Names{"ab", "ac"}));
}

TEST(DidYouMean, ReadsAsTheEndOfASentence) {
  EXPECT_EQ(did_you_mean("fire9/conv", {"fire9/concat", "input"}), "; did you mean 'fire9/concat'?");
  EXPECT_EQ(did_you_mean("aa", {"ab", "ac"}), "; did you mean 'ab' or 'ac'?");
  EXPECT_EQ(did_you_mean("aa", {"ab", "ac", "ad"}), "; did you mean 'ab', 'ac' or 'ad'?");
  EXPECT_EQ(did_you_mean("zzz", {"input"}), "");
}

TEST(Printable, NeutralizesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("conv1"), "conv1");
  EXPECT_EQ(printable("a\x1b[2Jb\nc\x7f"), "a?[2Jb?c?");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(printable("\xE2\x80\xAE"
                      "evil"),
            "?evil");  // U+202E turns the rest of the line around
  EXPECT_EQ(printable("\xC2\x9B"
                      "1m"),
            "?1m");  // U+009B begins an escape sequence in 8-bit terminals
}

TEST(Printable, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(printable("\xC3\xA4 \xE7\x8C\xAB \xF0\x9F\x90\x88"), "\xC3\xA4 \xE7\x8C\xAB \xF0\x9F\x90\x88");
  EXPECT_EQ(printable("\xFFx"), "?x");
  EXPECT_EQ(printable("\xC0\x80"), "??");            // overlong
  EXPECT_EQ(printable("\xED\xA0\x80"), "???");       // surrogate
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "????");  // beyond U+10FFFF
  EXPECT_EQ(printable("a\xE7\x8C"), "a??");          // cut off
}

TEST(Printable, CutsLongNamesBetweenCharacters) {
  EXPECT_EQ(printable("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(printable("abcdefghi", 8), "abcde...");
  EXPECT_EQ(printable("abcd\xC3\xA4xyz", 8), "abcd...");  // the two bytes of the letter stay together
  EXPECT_EQ(printable("abcdef", 2), "..");
  EXPECT_EQ(printable(std::string(1 << 20, 'x')).size(), 120u);
}

TEST(FileName, OneSafeComponent) {
  EXPECT_EQ(file_name_from("Egyptian cat"), "Egyptian_cat");
  EXPECT_EQ(file_name_from("/layer3/layer3.2/Relu_1"), "_layer3_layer3.2_Relu_1");
  EXPECT_EQ(file_name_from("../../etc/passwd"), "_._.._etc_passwd");
  EXPECT_EQ(file_name_from(".."), "__");
  EXPECT_EQ(file_name_from("."), "_");
  EXPECT_EQ(file_name_from(""), "_");
  EXPECT_EQ(file_name_from("-rf"), "_rf");
  EXPECT_EQ(file_name_from("a:b*c?\n"), "a_b_c__");
  EXPECT_EQ(file_name_from("\xE7\x8C\xAB"), "\xE7\x8C\xAB");
  EXPECT_EQ(file_name_from("a\xFF\xE2\x80\xAE"), "a__");
  EXPECT_EQ(file_name_from(std::string_view("a\0b", 3)), "a_b");
}

TEST(FileName, AvoidsDeviceNamesAndLongNames) {
  EXPECT_EQ(file_name_from("CON"), "_CON");
  EXPECT_EQ(file_name_from("nul.txt"), "_nul.txt");
  EXPECT_EQ(file_name_from("com7"), "_com7");
  EXPECT_EQ(file_name_from("conv"), "conv");
  EXPECT_EQ(file_name_from(std::string(300, 'x')).size(), 100u);
  const std::string cats = file_name_from(std::string(99, 'x') + "\xE7\x8C\xAB");
  EXPECT_EQ(cats, std::string(99, 'x'));
}

TEST(Glob, MatchesTheWholeText) {
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("conv*", "conv1"));
  EXPECT_FALSE(glob_match("conv", "conv1"));
  EXPECT_TRUE(glob_match("*/conv?", "layer1/conv2"));
  EXPECT_FALSE(glob_match("*/conv?", "layer1/conv"));
  EXPECT_TRUE(glob_match("a*b*c", "a-b-b-c"));
  EXPECT_FALSE(glob_match("a*b*c", "a-b-b-d"));
  EXPECT_TRUE(glob_match("?", "\xE7\x8C\xAB"));  // one character of three bytes
}

TEST(Glob, DoesNotExplodeOnManyStars) {
  std::string pattern;
  for (int i = 0; i < 50; ++i) pattern += "a*";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(20000, 'a')));
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,b,,c,", ','), (Names{"a", "b", "", "c", ""}));
  EXPECT_EQ(split("", ','), Names{""});
  EXPECT_EQ(join({"a", "b", ""}, ", "), "a, b, ");
  EXPECT_EQ(join({}, ","), "");
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
}

TEST(ParseInt, AcceptsOnlyWholeDecimalNumbers) {
  int64_t value = 7;
  EXPECT_TRUE(parse_int("-42", value));
  EXPECT_EQ(value, -42);
  EXPECT_TRUE(parse_int("9223372036854775807", value));
  EXPECT_EQ(value, std::numeric_limits<int64_t>::max());
  value = 7;
  for (const char* bad : {"", "-", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "1,000", "9223372036854775808", "nan"}) {
    EXPECT_FALSE(parse_int(bad, value)) << bad;
  }
  EXPECT_EQ(value, 7);
}

TEST(ParseDouble, AcceptsOnlyWholeFiniteDecimalNumbers) {
  double value = 7;
  EXPECT_TRUE(parse_double("-1.5e-3", value));
  EXPECT_EQ(value, -0.0015);
  EXPECT_TRUE(parse_double("50", value));
  EXPECT_EQ(value, 50);
  value = 7;
  for (const char* bad :
       {"", "-", "+1", " 1", "1 ", "1,5", "0x10", "0x1p3", "1e400", "nan", "-nan", "inf", "-inf", "1e"}) {
    EXPECT_FALSE(parse_double(bad, value)) << bad;
  }
  EXPECT_EQ(value, 7);
}

TEST(NumberText, ShortestThatReadsBack) {
  EXPECT_EQ(number_text(0.15), "0.15");
  EXPECT_EQ(number_text(50), "50");
  EXPECT_EQ(number_text(100000), "100000");
  EXPECT_EQ(number_text(1e-6), "1e-06");
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(-2.5), "-2.5");
  EXPECT_EQ(number_text(1e300), "1e+300");
  for (const double x : {1.0 / 3, 1e15 - 1, 123456.789e-9, std::numeric_limits<double>::denorm_min(),
                         std::numeric_limits<double>::max()}) {
    double back = 0;
    ASSERT_TRUE(parse_double(number_text(x), back)) << number_text(x);
    EXPECT_EQ(back, x);
  }
}

}  // namespace
}  // namespace pellucid
