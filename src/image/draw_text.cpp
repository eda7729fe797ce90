#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

// Letters are drawn this much larger and averaged down: OpenCV's stroke fonts are ragged at small sizes.
constexpr int kSupersampling = 4;
// In units of the font at scale 1: capital letters are 21 high, descenders 7 deep.
constexpr double kCapHeight = 21;
constexpr double kCapShare = 0.58;       ///< Capital height over line height.
constexpr double kBaselineShare = 0.76;  ///< Baseline below the top of the line.
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;

struct Pen {
  double scale;
  int thickness;
};

Pen pen_for(const TextStyle& style) {
  const double size = style.size_px * kSupersampling;
  return {size * kCapShare / kCapHeight,
          std::max(1, static_cast<int>(std::lround(size * (style.bold ? 0.115 : 0.075))))};
}

void check_style(const TextStyle& style) {
  if (style.size_px < 6 || style.size_px > 400) {
    throw_usage("text: size is " + std::to_string(style.size_px) + " pixels; it must be 6 to 400");
  }
}

/// One character per UTF-8 sequence: printable ASCII as it is, anything else '?'.
std::string drawable(const std::string& text) {
  std::string ascii;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;
    ascii += byte >= 0x20 && byte < 0x7F ? c : c == '\t' ? ' ' : '?';
  }
  return ascii;
}

/// Characters that the stroke font draws badly: its hyphen is as long as a dash, its underscore touches the letters,
/// its blank is as wide as a letter. In font units; a stroke of no length is not drawn.
struct OwnGlyph {
  char character;
  double advance, from, to, height;
};
constexpr OwnGlyph kOwnGlyphs[] = {{'-', 15, 3, 12, 9}, {'_', 16, 1, 15, -4}, {' ', 11, 0, 0, 0}};

const OwnGlyph* own_glyph(char c) {
  const auto* found =
      std::find_if(std::begin(kOwnGlyphs), std::end(kOwnGlyphs), [&](const OwnGlyph& g) { return g.character == c; });
  return found == std::end(kOwnGlyphs) ? nullptr : found;
}

/// Draws on `mat` from `origin` when there is one; returns the width in its pixels either way.
double lay_out(const std::string& ascii, const Pen& pen, cv::Mat* mat, cv::Point origin) {
  double x = 0;
  for (size_t start = 0; start < ascii.size();) {
    const auto at = [&](double dx, double units_up) {
      return cv::Point(origin.x + static_cast<int>(std::lround(x + dx)),
                       origin.y - static_cast<int>(std::lround(units_up * pen.scale)));
    };
    if (const OwnGlyph* glyph = own_glyph(ascii[start])) {
      if (mat != nullptr && glyph->to > glyph->from) {
        cv::line(*mat, at(glyph->from * pen.scale, glyph->height), at(glyph->to * pen.scale, glyph->height),
                 cv::Scalar(255), pen.thickness, cv::LINE_AA);
      }
      x += glyph->advance * pen.scale;
      ++start;
      continue;
    }
    size_t end = start;
    while (end < ascii.size() && own_glyph(ascii[end]) == nullptr) ++end;
    const std::string run = ascii.substr(start, end - start);
    if (mat != nullptr) cv::putText(*mat, run, at(0, 0), kFont, pen.scale, cv::Scalar(255), pen.thickness, cv::LINE_AA);
    int baseline = 0;
    x += cv::getTextSize(run, kFont, pen.scale, 0, &baseline).width;
    start = end;
  }
  return x;
}

int ascii_width(const std::string& ascii, const TextStyle& style) {
  if (ascii.empty()) return 0;
  const Pen pen = pen_for(style);
  return static_cast<int>(std::ceil((lay_out(ascii, pen, nullptr, {}) + pen.thickness) / kSupersampling));
}

/// The longest prefix that fits, in characters.
size_t fitting_length(const std::string& ascii, int max_width, const TextStyle& style, const std::string& tail) {
  size_t low = 0, high = ascii.size();
  while (low < high) {
    const size_t middle = (low + high + 1) / 2;
    if (ascii_width(ascii.substr(0, middle) + tail, style) <= max_width) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace

int text_width(const std::string& text, const TextStyle& style) {
  check_style(style);
  return ascii_width(drawable(text), style);
}

std::string fit_text(const std::string& text, int max_width, const TextStyle& style) {
  check_style(style);
  const std::string ascii = drawable(text);
  if (ascii_width(ascii, style) <= max_width) return ascii;
  if (ascii_width("...", style) > max_width) return {};
  std::string kept = ascii.substr(0, fitting_length(ascii, max_width, style, "..."));
  while (!kept.empty() && kept.back() == ' ') kept.pop_back();
  return kept + "...";
}

std::vector<std::string> wrap_text(const std::string& text, int max_width, int max_lines, const TextStyle& style) {
  check_style(style);
  std::vector<std::string> lines;
  std::string rest = drawable(text);
  while (!rest.empty() && static_cast<int>(lines.size()) < max_lines) {
    if (static_cast<int>(lines.size()) + 1 == max_lines) {
      lines.push_back(fit_text(rest, max_width, style));
      break;
    }
    size_t length = fitting_length(rest, max_width, style, "");
    if (length == 0) break;
    if (length < rest.size() && rest[length] != ' ') {
      // A blank is dropped, other separators stay at the end of their line.
      const size_t separator = rest.find_last_of(" /_-.,:", length - 1);
      if (separator != std::string::npos && separator > 0) length = separator + 1;
    }
    std::string line = rest.substr(0, length);
    while (!line.empty() && line.back() == ' ') line.pop_back();
    lines.push_back(line);
    rest.erase(0, length);
    rest.erase(0, rest.find_first_not_of(' ') == std::string::npos ? rest.size() : rest.find_first_not_of(' '));
  }
  return lines;
}

void draw_text(Image& image, int x, int y, const std::string& text, const TextStyle& style) {
  check_image(image, "text");
  check_style(style);
  std::string ascii = drawable(text);
  const int visible = std::max(0, image.width - x);
  // No more letters than the image can show, so that a long text costs no memory.
  ascii.resize(std::min(ascii.size(), fitting_length(ascii, visible, style, "") + 2));
  const int width = ascii_width(ascii, style) + style.size_px;
  if (ascii.empty() || visible == 0) return;

  const int margin = style.size_px / 2;
  const int line_height = style.size_px + 2 * margin;
  const Pen pen = pen_for(style);
  cv::Mat large(line_height * kSupersampling, (width + 2 * margin) * kSupersampling, CV_8UC1, cv::Scalar(0));
  const int baseline = static_cast<int>((margin + style.size_px * kBaselineShare) * kSupersampling);
  lay_out(ascii, pen, &large, cv::Point(margin * kSupersampling, baseline));
  cv::Mat coverage;
  cv::resize(large, coverage, cv::Size(width + 2 * margin, line_height), 0, 0, cv::INTER_AREA);

  for (int row = 0; row < coverage.rows; ++row) {
    const int to_y = y - margin + row;
    if (to_y < 0 || to_y >= image.height) continue;
    for (int column = 0; column < coverage.cols; ++column) {
      const int to_x = x - margin + column;
      const int alpha = coverage.at<uint8_t>(row, column);
      if (to_x < 0 || to_x >= image.width || alpha == 0) continue;
      uint8_t* pixel = image.at(to_x, to_y);
      for (int c = 0; c < image.channels; ++c) {
        const int ink = c < 3 ? style.color[static_cast<size_t>(c)] : 255;
        pixel[c] = static_cast<uint8_t>((ink * alpha + pixel[c] * (255 - alpha) + 127) / 255);
      }
    }
  }
}

}  // namespace pellucid
