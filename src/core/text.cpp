#include "pellucid/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

namespace pellucid {
namespace {

constexpr size_t kMaxFileNameBytes = 100;
// Beyond this length a name is not a typing mistake, and the quadratic distance is not worth its time.
constexpr size_t kMaxComparedBytes = 512;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = lower(c);
  return result;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// Bytes of the well-formed UTF-8 sequence that starts at `position` (RFC 3629: no overlong forms, no surrogates,
/// nothing beyond U+10FFFF) and its code point; 0 when there is none.
size_t decode_utf8(std::string_view text, size_t position, uint32_t& code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    code_point = first;
    return 1;
  }
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || position + length > text.size()) return 0;
  uint32_t value = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[position + i])) return 0;
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kSmallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
  code_point = value;
  return length;
}

/// Characters that move the cursor, change the direction of text or break lines, instead of showing something.
bool is_control(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
         (c >= 0xE0000 && c <= 0xE007F);
}

/// The longest prefix of at most `max_bytes` that does not split a UTF-8 sequence.
std::string_view prefix_of(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && is_continuation(text[max_bytes])) --max_bytes;
  return text.substr(0, max_bytes);
}

bool is_device_name(std::string_view name) {
  const std::string stem = lower(name.substr(0, name.find('.')));
  if (stem == "con" || stem == "prn" || stem == "aux" || stem == "nul") return true;
  return stem.size() == 4 && (stem.compare(0, 3, "com") == 0 || stem.compare(0, 3, "lpt") == 0) && stem[3] >= '0' &&
         stem[3] <= '9';
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& candidates,
                                       size_t count) {
  if (name.empty() || name.size() > kMaxComparedBytes) return {};
  const std::string wanted = lower(name);
  const size_t allowed = std::max<size_t>(wanted.size() > 2 ? 2 : 1, wanted.size() / 3);
  std::vector<std::pair<size_t, const std::string*>> found;
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || candidate.size() > kMaxComparedBytes) continue;
    const std::string folded = lower(candidate);
    const size_t gap = folded.size() > wanted.size() ? folded.size() - wanted.size() : wanted.size() - folded.size();
    const bool related = folded.find(wanted) != std::string::npos || wanted.find(folded) != std::string::npos;
    if (!related && gap > allowed) continue;
    const size_t distance = related ? gap : edit_distance(wanted, folded);
    if (related || distance <= allowed) found.emplace_back(distance, &candidate);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [distance, candidate] : found) {
    if (names.size() == count) break;
    if (std::find(names.begin(), names.end(), *candidate) == names.end()) names.push_back(*candidate);
  }
  return names;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  const std::vector<std::string> names = nearest_names(name, candidates);
  if (names.empty()) return {};
  std::string text = "; did you mean ";
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += "'" + printable(names[i]) + "'";
  }
  return text + "?";
}

std::string printable(std::string_view text, size_t max_length) {
  std::string clean;
  // Bounded before it is cleaned: names of hostile files may be megabytes long.
  for (size_t i = 0; i < text.size() && clean.size() <= max_length;) {
    uint32_t code_point = 0;
    const size_t length = decode_utf8(text, i, code_point);
    if (length == 0 || is_control(code_point)) {
      clean += '?';
    } else {
      clean.append(text.substr(i, length));
    }
    i += std::max<size_t>(length, 1);
  }
  if (clean.size() <= max_length) return clean;
  const std::string_view dots = std::string_view("...").substr(0, std::min<size_t>(3, max_length));
  return std::string(prefix_of(clean, max_length - dots.size())).append(dots);
}

std::string file_name_from(std::string_view text) {
  std::string name;
  for (size_t i = 0; i < text.size() && name.size() <= kMaxFileNameBytes;) {
    uint32_t code_point = 0;
    const size_t length = decode_utf8(text, i, code_point);
    const char c = text[i];
    const bool plain =
        (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '.' || c == '_' || c == '-' || c == '+';
    if (plain || (length > 1 && !is_control(code_point))) {
      name.append(text.substr(i, length));
    } else {
      name += '_';
    }
    i += std::max<size_t>(length, 1);
  }
  if (name.empty()) return "_";
  if (is_device_name(name)) name.insert(0, 1, '_');
  name = prefix_of(name, kMaxFileNameBytes);
  if (name.front() == '.' || name.front() == '-') name.front() = '_';
  // Some systems drop a final dot, which would make two names one.
  if (name.back() == '.') name.back() = '_';
  return name;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  constexpr size_t kNone = std::string_view::npos;
  size_t p = 0, t = 0;
  size_t star = kNone, resume = 0;  // The last '*', and where in the text its run would end next.
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == '?') {
      ++p;
      ++t;
      while (t < text.size() && is_continuation(text[t])) ++t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != kNone) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end; (end = text.find(separator, start)) != std::string_view::npos; start = end + 1) {
    parts.emplace_back(text.substr(start, end - start));
  }
  parts.emplace_back(text.substr(start));
  return parts;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

std::string trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kBlanks) - first + 1));
}

bool parse_int(std::string_view text, int64_t& value) {
  int64_t parsed = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc() || stop != end || text.empty()) return false;
  value = parsed;
  return true;
}

bool parse_double(std::string_view text, double& value) {
  double parsed = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc() || stop != end || text.empty() || !std::isfinite(parsed)) return false;
  value = parsed;
  return true;
}

std::string number_text(double value) {
  // Left to choose, to_chars writes 100000 as "1e+05"; counts and sizes read better in full.
  constexpr double kSmallestFixed = 1e-4, kLargestFixed = 1e15;
  const double magnitude = std::abs(value);
  const bool fixed = magnitude == 0 || (magnitude >= kSmallestFixed && magnitude < kLargestFixed);
  char buffer[64];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), value,
                                          fixed ? std::chars_format::fixed : std::chars_format::scientific);
  return error == std::errc() ? std::string(buffer, end) : std::string("0");
}

}  // namespace pellucid
