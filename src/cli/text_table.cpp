#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "cli/cli.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr size_t kNarrowest = 12;  // a column is not wrapped below this

/// Columns on a terminal: letters of UTF-8, each taken for one wide.
size_t columns(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Words, and the pieces of method strings, which have no blanks: broken after ',' and ':'.
std::vector<std::string> pieces_of(const std::string& word, size_t width) {
  if (columns(word) <= width) return {word};
  std::vector<std::string> pieces(1);
  for (const char c : word) {
    pieces.back() += c;
    if (c == ',' || c == ':') pieces.emplace_back();
  }
  if (pieces.back().empty()) pieces.pop_back();
  return pieces;
}

/// The widest column that can still be narrower, or the number of columns when none can.
size_t widest_column(const std::vector<size_t>& widths) {
  size_t best = widths.size();
  for (size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] > kNarrowest && (best == widths.size() || widths[i] > widths[best])) best = i;
  }
  return best;
}

/// As wide as the longest line after wrapping to `width`.
size_t needed_width(const std::vector<std::vector<std::string>>& rows, size_t column, size_t width) {
  size_t needed = 0;
  for (const auto& row : rows) {
    if (column >= row.size()) continue;
    for (const std::string& line : wrap_words(row[column], width)) needed = std::max(needed, columns(line));
  }
  return needed;
}

}  // namespace

size_t terminal_width() {
  int64_t columns = 0;
  if (const char* text = std::getenv("COLUMNS"); text && parse_int(text, columns) && columns > 0 && columns < 10000) {
    return static_cast<size_t>(columns);
  }
  winsize size{};
  if (isatty(STDOUT_FILENO) && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) return size.ws_col;
  return 0;
}

std::vector<std::string> wrap_words(const std::string& text, size_t width) {
  const size_t indent = std::min(text.find_first_not_of(' '), text.size());
  std::vector<std::string> lines{text.substr(0, indent)};
  bool empty = true;
  for (const std::string& word : split(text, ' ')) {
    if (word.empty()) continue;
    bool first = true;
    for (const std::string& piece : pieces_of(word, width)) {
      const std::string joined = (empty || !first ? "" : " ") + piece;
      if (!empty && columns(lines.back()) + columns(joined) > width) {
        lines.push_back(std::string(indent, ' ') + piece);
      } else {
        lines.back() += joined;
      }
      empty = first = false;
    }
  }
  return lines;
}

std::string text_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                       size_t width) {
  std::vector<std::vector<std::string>> all{header};
  all.insert(all.end(), rows.begin(), rows.end());
  std::vector<size_t> widths(header.size());
  for (const auto& row : all) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  const auto total = [&] {
    size_t sum = 2 * (widths.size() - 1);
    for (const size_t w : widths) sum += w;
    return sum;
  };
  std::vector<size_t> goal = widths;
  while (width > 0 && total() > width) {
    const size_t column = widest_column(goal);
    if (column == goal.size()) break;
    --goal[column];
    widths[column] = needed_width(all, column, goal[column]);
  }
  std::string text;
  for (const auto& row : all) {
    std::vector<std::vector<std::string>> cells;
    size_t height = 1;
    for (size_t i = 0; i < row.size(); ++i) {
      cells.push_back(columns(row[i]) > widths[i] ? wrap_words(row[i], widths[i]) : std::vector<std::string>{row[i]});
      height = std::max(height, cells.back().size());
    }
    for (size_t line = 0; line < height; ++line) {
      std::string written;
      for (size_t i = 0; i < cells.size(); ++i) {
        const std::string cell = line < cells[i].size() ? cells[i][line] : std::string();
        written += cell;
        if (i + 1 < cells.size()) written += std::string(widths[i] - std::min(widths[i], columns(cell)) + 2, ' ');
      }
      if (line > 0) written.erase(written.find_last_not_of(' ') + 1);
      text += written + '\n';
    }
  }
  return text;
}

}  // namespace pellucid
