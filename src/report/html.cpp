#include "pellucid/report.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

std::string base64(const std::string& bytes) {
  static const char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

const char* const kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1200px;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;margin:1em 0}th,td{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px "
    "solid #eee;"
    "overflow-wrap:anywhere}td:first-child,th:first-child{overflow-wrap:normal}.scroll{overflow-x:auto}.row{display:"
    "flex;flex-wrap:wrap;gap:"
    "1em}figure{margin:0;width:260px}"
    ".plots figure{width:590px;max-width:100%}figure img{width:100%;height:auto;border:1px solid "
    "#ddd}figcaption{font-size:13px;overflow-wrap:anywhere}"
    "figcaption b{display:block}";

}  // namespace

std::string html_escape(const std::string& text) {
  std::string result;
  for (const char c : printable(text, 4000)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

HtmlReport::HtmlReport(const std::string& title) : title_(html_escape(title)) {}

void HtmlReport::heading(const std::string& text) { body_ += "<h2>" + html_escape(text) + "</h2>\n"; }

void HtmlReport::paragraph(const std::string& text) { body_ += "<p>" + html_escape(text) + "</p>\n"; }

void HtmlReport::table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows,
                       const std::set<std::pair<size_t, size_t>>& strong) {
  body_ += "<div class=\"scroll\"><table><tr>";
  for (const std::string& c : columns) body_ += "<th>" + html_escape(c) + "</th>";
  body_ += "</tr>\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    body_ += "<tr>";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const std::string text = html_escape(rows[r][c]);
      body_ += strong.count({r, c}) ? "<td><b>" + text + "</b></td>" : "<td>" + text + "</td>";
    }
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void HtmlReport::figures(const std::vector<Figure>& figures) { row("row", figures); }

void HtmlReport::plots(const std::vector<Figure>& figures) { row("row plots", figures); }

void HtmlReport::row(const char* kind, const std::vector<Figure>& figures) {
  body_ += std::string("<div class=\"") + kind + "\">\n";
  for (const Figure& f : figures) {
    body_ += "<figure><img alt=\"" + html_escape(f.title) + "\" src=\"data:image/png;base64," +
             base64(encode_png(f.image)) + "\"><figcaption><b>" + html_escape(f.title) + "</b>";
    for (const std::string& line : f.lines) body_ += html_escape(line) + "<br>";
    body_ += "</figcaption></figure>\n";
  }
  body_ += "</div>\n";
}

std::string HtmlReport::html() const {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
         "'unsafe-inline'\">"
         "<meta name=\"viewport\" content=\"width=device-width\"><title>" +
         title_ + "</title><style>" + kStyle + "</style></head><body>\n<h1>" + title_ + "</h1>\n" + body_ +
         "</body></html>\n";
}

}  // namespace pellucid
