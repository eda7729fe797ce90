#include "dataset/xml.h"

#include <algorithm>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr int kDeepest = 32;
constexpr int kMostElements = 100000;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':' || static_cast<unsigned char>(c) >= 0x80;
}

void append_utf8(std::string& text, uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | (code >> 6));
    text += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | (code >> 12));
    text += static_cast<char>(0x80 | ((code >> 6) & 63));
    text += static_cast<char>(0x80 | (code & 63));
  } else {
    text += static_cast<char>(0xF0 | (code >> 18));
    text += static_cast<char>(0x80 | ((code >> 12) & 63));
    text += static_cast<char>(0x80 | ((code >> 6) & 63));
    text += static_cast<char>(0x80 | (code & 63));
  }
}

class Parser {
 public:
  Parser(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  XmlElement document() {
    if (starts("\xEF\xBB\xBF")) at_ += 3;
    if (starts("<?xml") && at_ + 5 < bytes_.size() && is_blank(bytes_[at_ + 5])) skip_past("?>", "the XML declaration");
    skip_between();
    if (!starts("<")) fail("an element was expected");
    XmlElement root = element(1);
    skip_between();
    if (at_ < bytes_.size()) fail("something follows the root element");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const auto line = 1 + std::count(bytes_.begin(),
                                     bytes_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, bytes_.size())), '\n');
    throw_invalid(name_ + ":" + std::to_string(line) + ": " + what);
  }

  bool starts(std::string_view text) const { return bytes_.substr(at_, text.size()) == text; }

  void skip_past(std::string_view end, const std::string& what) {
    const size_t found = bytes_.find(end, at_);
    if (found == std::string_view::npos) fail(what + " does not end");
    at_ = found + end.size();
  }

  void skip_blanks() {
    while (at_ < bytes_.size() && is_blank(bytes_[at_])) ++at_;
  }

  /// Blanks and comments outside the root.
  void skip_between() {
    for (skip_blanks(); starts("<!") || starts("<?"); skip_blanks()) special();
  }

  /// What begins with "<!" or "<?": comments are skipped, all else is refused.
  void special() {
    if (starts("<!--")) {
      at_ += 4;
      skip_past("-->", "a comment");
    } else if (starts("<!DOCTYPE") || starts("<!ENTITY")) {
      fail("a document type is not accepted (entities could expand without end or fetch files)");
    } else {
      fail("only elements, text and comments are accepted");
    }
  }

  std::string name() {
    const size_t begin = at_;
    while (at_ < bytes_.size() && is_name_char(bytes_[at_])) ++at_;
    if (at_ == begin || at_ - begin > 200) fail("a name of 1 to 200 characters was expected");
    return std::string(bytes_.substr(begin, at_ - begin));
  }

  void attributes() {
    for (skip_blanks(); at_ < bytes_.size() && is_name_char(bytes_[at_]); skip_blanks()) {
      name();
      skip_blanks();
      if (!starts("=")) fail("an attribute has no value");
      ++at_;
      skip_blanks();
      if (!starts("\"") && !starts("'")) fail("the value of an attribute is not in quotes");
      const char quote = bytes_[at_++];
      const size_t end = bytes_.find(quote, at_);
      if (end == std::string_view::npos) fail("the value of an attribute does not end");
      if (bytes_.substr(at_, end - at_).find('<') != std::string_view::npos) fail("'<' in the value of an attribute");
      at_ = end + 1;
    }
  }

  void reference(std::string& text) {
    const size_t end = bytes_.find(';', at_);
    if (end == std::string_view::npos || end - at_ > 12) fail("an entity does not end");
    const std::string_view entity = bytes_.substr(at_ + 1, end - at_ - 1);
    if (!entity.empty() && entity[0] == '#') {
      text_of_code(entity, text);
    } else if (entity == "lt") {
      text += '<';
    } else if (entity == "gt") {
      text += '>';
    } else if (entity == "amp") {
      text += '&';
    } else if (entity == "quot") {
      text += '"';
    } else if (entity == "apos") {
      text += '\'';
    } else {
      fail("unknown entity '" + printable(entity) + "'");
    }
    at_ = end + 1;
  }

  void text_of_code(std::string_view entity, std::string& text) {
    const bool hex = entity.size() > 1 && entity[1] == 'x';
    uint32_t code = 0;
    const std::string_view digits = entity.substr(hex ? 2 : 1);
    for (const char c : digits) {
      const uint32_t digit = c >= '0' && c <= '9'          ? static_cast<uint32_t>(c - '0')
                             : hex && c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                             : hex && c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                           : 99;
      code = code * (hex ? 16 : 10) + digit;
      if (digit == 99 || code > 0x10FFFF) code = 0x110000;
      if (code == 0x110000) break;
    }
    if (digits.empty() || code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      fail("no character is '" + printable(entity) + "'");
    }
    append_utf8(text, code);
  }

  XmlElement element(int depth) {
    if (depth > kDeepest) fail("nested more than " + std::to_string(kDeepest) + " deep");
    if (++num_elements_ > kMostElements) fail("more than " + std::to_string(kMostElements) + " elements");
    ++at_;
    XmlElement result;
    result.name = name();
    attributes();
    if (starts("/>")) {
      at_ += 2;
      return result;
    }
    if (!starts(">")) fail("'<" + printable(result.name) + "' does not end");
    ++at_;
    while (!starts("</")) {
      if (at_ >= bytes_.size()) fail("'" + printable(result.name) + "' is not closed");
      if (starts("<!") || starts("<?")) {
        special();
      } else if (bytes_[at_] == '<') {
        result.children.push_back(element(depth + 1));
      } else if (bytes_[at_] == '&') {
        reference(result.text);
      } else {
        result.text += bytes_[at_++];
      }
    }
    at_ += 2;
    const std::string closed = name();
    if (closed != result.name) fail("'" + printable(result.name) + "' is closed by '" + printable(closed) + "'");
    skip_blanks();
    if (!starts(">")) fail("'</" + printable(closed) + "' does not end");
    ++at_;
    result.text = trim(result.text);
    return result;
  }

  std::string_view bytes_;
  const std::string& name_;
  size_t at_ = 0;
  int num_elements_ = 0;
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
  for (const XmlElement& one : children)
    if (one.name == child_name) return &one;
  return nullptr;
}

XmlElement parse_xml(std::string_view bytes, const std::string& name) { return Parser(bytes, name).document(); }

}  // namespace pellucid
