#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "pellucid/report.h"

namespace pellucid {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HtmlReport, EveryTextIsEscaped) {
  const std::string evil = "<script>alert('1' & \"2\")</script>\x1b[31m";
  const std::string safe = "&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;?[31m";
  EXPECT_EQ(html_escape(evil), safe);
  HtmlReport report(evil);
  report.heading(evil);
  report.paragraph(evil);
  report.table({evil}, {{evil}});
  report.figures({{Image(1, 1, 3), evil, {evil}}});
  const std::string html = report.html();
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("\x1b")));
  size_t count = 0;
  for (size_t at = html.find(safe); at != std::string::npos; at = html.find(safe, at + 1)) ++count;
  EXPECT_EQ(count, 9u);  // twice the title, heading, paragraph, column, cell, and alt, title and line of the figure
}

// The shortest PNG data of each length modulo three exercises the padding of base64.
TEST(HtmlReport, PicturesAreEmbeddedWholeAndNothingIsFetched) {
  for (int width = 1; width <= 7; ++width) {
    const Image image(width, 1, 3, 9);
    HtmlReport report("t");
    report.figures({{image, "p", {}}});
    const std::string html = report.html();
    const size_t begin = html.find("base64,") + 7;
    const std::string text = html.substr(begin, html.find('"', begin) - begin);
    ASSERT_EQ(text.size() % 4, 0u);
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    uint32_t group = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const size_t digit = digits.find(text[i]);
      group = group << 6 | static_cast<uint32_t>(digit == std::string::npos ? 0 : digit);
      if (i % 4 == 3) {
        for (int shift = 16; shift >= 0; shift -= 8) bytes += static_cast<char>(group >> shift);
        group = 0;
      }
    }
    bytes.resize(bytes.size() - static_cast<size_t>(std::count(text.begin(), text.end(), '=')));
    EXPECT_EQ(bytes, encode_png(image));
    EXPECT_THAT(html, Not(HasSubstr("http://")));
    EXPECT_THAT(html, Not(HasSubstr("https://")));
    EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  }
}

}  // namespace
}  // namespace pellucid
