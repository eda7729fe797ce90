#include <algorithm>
#include <cmath>

#include "image/check.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

constexpr int64_t kMaxSheetPixels = 256'000'000;
constexpr int kMaxTitleLines = 2;

struct Palette {
  Color background, frame, ink, soft_ink, well;
};

constexpr Palette kLightPalette{{255, 255, 255}, {208, 210, 214}, {24, 26, 30}, {92, 97, 105}, {244, 245, 247}};
constexpr Palette kDarkPalette{{22, 24, 28}, {64, 68, 76}, {240, 241, 244}, {165, 170, 180}, {32, 35, 40}};

/// Everything that follows from the cells before a pixel is drawn.
struct Layout {
  int columns = 1, rows = 1;
  int cell_width = 0, box_height = 0;
  int margin = 0, gap = 0;
  int header_height = 0, title_lines = 0, text_lines = 0, bar_height = 0, text_height = 0;
  TextStyle header, subtitle, title, line;
  std::vector<std::pair<int, int>> places;  ///< Of each cell: column, row.
  int cell_height() const { return box_height + text_height; }
};

/// Cells from left to right, a new row where one is full or a cell asks for it. Returns the number of rows.
int place_cells(const std::vector<SheetCell>& cells, int columns, std::vector<std::pair<int, int>>& places) {
  int column = 0, row = 0;
  places.clear();
  for (const SheetCell& cell : cells) {
    if (column == columns || (cell.new_row && column > 0)) {
      column = 0;
      ++row;
    }
    places.emplace_back(column++, row);
  }
  return row + 1;
}

/// The most cells between one that begins a row and the next.
int longest_group(const std::vector<SheetCell>& cells) {
  int longest = 0, length = 0;
  for (const SheetCell& cell : cells) {
    length = cell.new_row ? 1 : length + 1;
    longest = std::max(longest, length);
  }
  return longest;
}

/// The size a picture is drawn at: as wide as the cell unless that makes it too high.
void fitted_size(const Image& image, int cell_width, int box_height, int& width, int& height) {
  double scale =
      std::min(static_cast<double>(cell_width) / image.width, static_cast<double>(box_height) / image.height);
  // Few pixels are shown as the squares they are, all of one size.
  if (scale >= 3) scale = std::floor(scale);
  width = std::clamp(static_cast<int>(std::lround(image.width * scale)), 1, cell_width);
  height = std::clamp(static_cast<int>(std::lround(image.height * scale)), 1, box_height);
}

Image fitted(const Image& image, int cell_width, int box_height) {
  int width = 0, height = 0;
  fitted_size(image, cell_width, box_height, width, height);
  const bool whole = width % image.width == 0 && height % image.height == 0 && width / image.width >= 3;
  const Filter filter = whole                  ? Filter::kNearest
                        : width >= image.width ? Filter::kBicubicAntialias
                                               : Filter::kLanczosAntialias;
  return resize(rgb_from(image), width, height, filter);
}

Layout layout_of(const ContactSheet& sheet) {
  Layout layout;
  for (const SheetCell& cell : sheet.cells) {
    layout.cell_width = std::max(layout.cell_width, cell.image.width);
  }
  layout.cell_width = std::clamp(layout.cell_width, sheet.min_cell_px, sheet.max_cell_px);
  // One tall picture among wide ones must not blow up every cell: beyond square, the middle one decides.
  std::vector<int> heights;
  for (const SheetCell& cell : sheet.cells) {
    if (cell.image.width < 1) continue;
    int width = 0, height = 0;
    fitted_size(cell.image, layout.cell_width, 2 * layout.cell_width, width, height);
    heights.push_back(height);
  }
  layout.box_height = layout.cell_width;
  if (!heights.empty()) {
    std::sort(heights.begin(), heights.end());
    layout.box_height = std::min(heights.back(), std::max(layout.cell_width, heights[heights.size() / 2]));
  }

  const int size = std::clamp(layout.cell_width / 16, 13, 22);
  layout.title = {size, {}, true};
  layout.line = {std::max(12, size - 2), {}, false};
  layout.header = {size * 3 / 2, {}, true};
  layout.subtitle = {size, {}, false};
  layout.gap = std::max(10, layout.cell_width / 16);
  layout.margin = layout.gap * 3 / 2;
  for (const SheetCell& cell : sheet.cells) {
    const auto lines = wrap_text(cell.title, layout.cell_width, kMaxTitleLines, layout.title);
    layout.title_lines = std::max(layout.title_lines, static_cast<int>(lines.size()));
    layout.text_lines = std::max(layout.text_lines, static_cast<int>(cell.lines.size()));
    if (cell.color_map != nullptr) {
      layout.bar_height = color_bar(*cell.color_map, cell.range, layout.cell_width, std::max(6, size / 2)).height + 6;
    }
  }
  layout.text_height = layout.title_lines * layout.title.size_px * 5 / 4 +
                       layout.text_lines * layout.line.size_px * 5 / 4 + layout.bar_height;
  if (layout.title_lines + layout.text_lines > 0) layout.text_height += 6;
  if (!sheet.title.empty()) layout.header_height += layout.header.size_px * 4 / 3;
  if (!sheet.subtitle.empty()) layout.header_height += layout.subtitle.size_px * 4 / 3;
  if (layout.header_height > 0) layout.header_height += layout.gap / 2;

  const int count = static_cast<int>(sheet.cells.size());
  layout.columns = sheet.columns;
  if (layout.columns == 0) {
    constexpr double kProportion = 1.4;
    const double ratio = static_cast<double>(layout.cell_height() + layout.gap) / (layout.cell_width + layout.gap);
    layout.columns = static_cast<int>(std::lround(std::sqrt(kProportion * count * ratio)));
  }
  const int longest = longest_group(sheet.cells);
  layout.columns = std::clamp(layout.columns, 1, longest);
  layout.rows = (longest + layout.columns - 1) / layout.columns;
  // A chosen number of columns is evened out, so that the last row is not left with one cell where two rows could
  // share.
  if (sheet.columns == 0) layout.columns = (longest + layout.rows - 1) / layout.rows;
  layout.rows = place_cells(sheet.cells, layout.columns, layout.places);
  return layout;
}

void fill_rect(Image& image, const Rect& rect, const Color& color) {
  for (int y = rect.y; y < rect.y + rect.height; ++y) {
    for (int x = rect.x; x < rect.x + rect.width; ++x) std::copy(color.begin(), color.end(), image.at(x, y));
  }
}

void draw_cell(Image& canvas, const SheetCell& cell, const Layout& layout, const Palette& palette, int x, int y) {
  const Rect box{x, y, layout.cell_width, layout.box_height};
  fill_rect(canvas, box, palette.well);
  if (cell.image.width > 0) {
    const Image picture = fitted(cell.image, layout.cell_width, layout.box_height);
    const Rect place = center_rect(layout.cell_width, layout.box_height, picture.width, picture.height);
    paste(canvas, picture, x + place.x, y + place.y);
  }
  draw_rect(canvas, {box.x - 1, box.y - 1, box.width + 2, box.height + 2}, palette.frame, 1);

  int text_y = y + layout.box_height + 6;
  if (cell.color_map != nullptr) {
    const int bar_px = std::max(6, layout.title.size_px / 2);
    paste(canvas,
          color_bar(*cell.color_map, cell.range, layout.cell_width, bar_px, palette.background, palette.soft_ink), x,
          text_y);
  }
  text_y += layout.bar_height;
  TextStyle title = layout.title;
  title.color = palette.ink;
  for (const std::string& line : wrap_text(cell.title, layout.cell_width, kMaxTitleLines, title)) {
    draw_text(canvas, x, text_y, line, title);
    text_y += title.size_px * 5 / 4;
  }
  TextStyle small = layout.line;
  small.color = palette.soft_ink;
  for (const std::string& line : cell.lines) {
    draw_text(canvas, x, text_y, fit_text(line, layout.cell_width, small), small);
    text_y += small.size_px * 5 / 4;
  }
}

}  // namespace

Image draw_contact_sheet(const ContactSheet& sheet) {
  if (sheet.cells.empty()) throw_usage("contact sheet: no cells");
  if (sheet.min_cell_px < 48 || sheet.max_cell_px < sheet.min_cell_px || sheet.max_cell_px > 4096 ||
      sheet.columns < 0) {
    throw_usage("contact sheet: cells of " + std::to_string(sheet.min_cell_px) + " to " +
                std::to_string(sheet.max_cell_px) + " pixels in " + std::to_string(sheet.columns) +
                " columns; the limits must rise within 48 to 4096, columns must be >= 0");
  }
  for (const SheetCell& cell : sheet.cells) {
    if (!cell.image.pixels.empty() || cell.image.width != 0) check_image(cell.image, "contact sheet");
  }
  const Layout layout = layout_of(sheet);
  const int64_t width = 2 * layout.margin + int64_t{layout.columns} * (layout.cell_width + layout.gap) - layout.gap;
  const int64_t height = 2 * layout.margin + layout.header_height +
                         int64_t{layout.rows} * (layout.cell_height() + layout.gap) - layout.gap;
  if (width * height > kMaxSheetPixels) {
    throw_usage("contact sheet: " + std::to_string(sheet.cells.size()) + " cells make " + std::to_string(width) + "x" +
                std::to_string(height) + " pixels; at most " + std::to_string(kMaxSheetPixels) +
                " are drawn: use fewer or smaller cells");
  }
  const Palette& palette = sheet.theme == SheetTheme::kDark ? kDarkPalette : kLightPalette;
  Image canvas(static_cast<int>(width), static_cast<int>(height), 3);
  fill_rect(canvas, {0, 0, canvas.width, canvas.height}, palette.background);

  int y = layout.margin;
  const int text_room = canvas.width - 2 * layout.margin;
  const auto heading = [&](const std::string& text, TextStyle style, const Color& color) {
    if (text.empty()) return;
    style.color = color;
    draw_text(canvas, layout.margin, y, fit_text(text, text_room, style), style);
    y += style.size_px * 4 / 3;
  };
  heading(sheet.title, layout.header, palette.ink);
  heading(sheet.subtitle, layout.subtitle, palette.soft_ink);

  for (size_t i = 0; i < sheet.cells.size(); ++i) {
    const auto [column, row] = layout.places[i];
    draw_cell(canvas, sheet.cells[i], layout, palette, layout.margin + column * (layout.cell_width + layout.gap),
              layout.margin + layout.header_height + row * (layout.cell_height() + layout.gap));
  }
  return canvas;
}

}  // namespace pellucid
