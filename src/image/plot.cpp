#include <algorithm>
#include <cmath>
#include <limits>
#include <opencv2/imgproc.hpp>

#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr Color kInk{32, 34, 38}, kSoftInk{92, 97, 105}, kGrid{228, 230, 234}, kAxis{120, 124, 132};
// M. Okabe and K. Ito, "Color Universal Design", 2008; black last.
constexpr Color kSeriesColors[] = {{0, 114, 178}, {213, 94, 0},   {0, 158, 115}, {204, 121, 167},
                                   {230, 159, 0}, {86, 180, 233}, {20, 20, 20}};
constexpr size_t kNumColors = std::size(kSeriesColors);
constexpr int kSubpixelBits = 4;

/// Round numbers (1, 2 or 5 times a power of ten) that cover `low` to `high` in about `wanted` steps.
struct Axis {
  double low = 0, high = 1, step = 0.2;

  Axis(double from, double to, int wanted) {
    if (!(to > from)) {
      const double room = from == 0 ? 1 : std::abs(from) * 0.1;
      from -= room;
      to += room;
    }
    const double rough = (to - from) / std::max(1, wanted);
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double digit = rough / power;
    step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    constexpr double kSlack = 1e-9;  // 0.3 / 0.1 must count as three steps.
    low = std::floor(from / step + kSlack) * step;
    high = std::ceil(to / step - kSlack) * step;
  }
  int num_ticks() const { return static_cast<int>(std::lround((high - low) / step)) + 1; }
  double tick(int i) const { return low + i * step; }
  std::string label(int i) const {
    const double value = std::abs(tick(i)) < step * 1e-6 ? 0 : tick(i);
    const double largest = std::max(std::abs(low), std::abs(high));
    char text[40];
    if (largest >= 1e6 || largest < 1e-4) {
      std::snprintf(text, sizeof(text), "%.3g", value);
    } else {
      std::snprintf(text, sizeof(text), "%.*f", std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9))),
                    value);
    }
    return text;
  }
  double place(double value) const { return (value - low) / (high - low); }
};

Image blank(int width, int height) { return Image(width, height, 3, 255); }

void draw_line(Image& image, double x0, double y0, double x1, double y1, const Color& color, int thickness) {
  cv::Mat mat = mat_of(image);
  constexpr double kUnit = 1 << kSubpixelBits;
  cv::line(mat, cv::Point(static_cast<int>(std::lround(x0 * kUnit)), static_cast<int>(std::lround(y0 * kUnit))),
           cv::Point(static_cast<int>(std::lround(x1 * kUnit)), static_cast<int>(std::lround(y1 * kUnit))),
           scalar_of(color), thickness, cv::LINE_AA, kSubpixelBits);
}

void fill_box(Image& image, int x0, int y0, int x1, int y1, const Color& color) {
  for (int y = std::max(0, y0); y < std::min(y1, image.height); ++y) {
    for (int x = std::max(0, x0); x < std::min(x1, image.width); ++x)
      std::copy(color.begin(), color.end(), image.at(x, y));
  }
}

/// Pieces of a line on and off, so that series beyond the number of colors still differ.
struct Dash {
  double on, off;
};
constexpr Dash kDashes[] = {{1e9, 0}, {9, 5}, {2, 4}};

void draw_dashed(Image& image, double x0, double y0, double x1, double y1, const Color& color, const Dash& dash,
                 double& phase) {
  const double length = std::hypot(x1 - x0, y1 - y0);
  const double period = dash.on + dash.off;
  for (double done = 0; done < length;) {
    const double in_period = std::fmod(phase + done, period);
    const bool on = in_period < dash.on;
    const double piece = std::min(length - done, std::max(1e-3, (on ? dash.on : period) - in_period));
    if (on) {
      const double a = done / length, b = (done + piece) / length;
      draw_line(image, x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + b * (x1 - x0), y0 + b * (y1 - y0), color, 2);
    }
    done += piece;
  }
  phase = std::fmod(phase + length, period);
}

/// A line of text that reads upwards, centered on (x, middle_y).
void draw_upwards(Image& image, int x, int middle_y, int room, const std::string& text, const TextStyle& style) {
  const std::string shown = fit_text(text, room, style);
  if (shown.empty()) return;
  const int width = text_width(shown, style) + 2;
  Image line = blank(width, style.size_px + 4);
  draw_text(line, 0, 0, shown, style);
  Image turned(line.height, line.width, 3);
  for (int ty = 0; ty < turned.height; ++ty) {
    for (int tx = 0; tx < turned.width; ++tx) std::copy_n(line.at(line.width - 1 - ty, tx), 3, turned.at(tx, ty));
  }
  paste(image, turned, x, middle_y - turned.height / 2);
}

struct Bounds {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

}  // namespace

Image draw_line_plot(const LinePlot& plot) {
  if (plot.width < 240 || plot.height < 180 || plot.width > 8192 || plot.height > 8192) {
    throw_usage("line plot: " + std::to_string(plot.width) + "x" + std::to_string(plot.height) +
                " pixels; 240x180 to 8192x8192 are accepted");
  }
  Bounds xs, ys;
  for (const PlotSeries& series : plot.series) {
    if (series.x.size() != series.y.size()) {
      throw_usage("line plot: series '" + printable(series.name, 40) + "' has " + std::to_string(series.x.size()) +
                  " x and " + std::to_string(series.y.size()) + " y");
    }
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!std::isfinite(series.x[i]) || !std::isfinite(series.y[i])) continue;
      xs.add(series.x[i]);
      ys.add(series.y[i]);
    }
  }
  if (xs.empty()) xs = {0, 1};
  if (ys.empty()) ys = {0, 1};
  if (plot.y_from_zero) ys.add(0);

  Image image = blank(plot.width, plot.height);
  const TextStyle title{19, kInk, true}, label{15, kSoftInk, false}, tick{13, kSoftInk, false}, key{14, kInk, false};
  const Axis x_axis(xs.low, xs.high, std::max(2, plot.width / 110));
  const Axis y_axis(ys.low, ys.high, std::max(2, plot.height / 70));
  int tick_room = 0;
  for (int i = 0; i < y_axis.num_ticks(); ++i) tick_room = std::max(tick_room, text_width(y_axis.label(i), tick));
  tick_room = std::min(tick_room, plot.width / 4);

  // The legend stands at the right, outside the frame: it hides no curve.
  const bool has_legend = plot.series.size() > 1;
  constexpr int kSwatch = 26;
  int legend_width = 0;
  if (has_legend) {
    for (const PlotSeries& series : plot.series) legend_width = std::max(legend_width, text_width(series.name, key));
    legend_width = std::min(legend_width, plot.width / 4) + kSwatch + 22;
  }
  const int left = 14 + (plot.y_label.empty() ? 0 : label.size_px + 10) + tick_room + 8;
  const int right = plot.width - 20 - legend_width;
  const int top = 14 + (plot.title.empty() ? 0 : title.size_px + 12);
  const int bottom = plot.height - 12 - tick.size_px - 6 - (plot.x_label.empty() ? 0 : label.size_px + 6);
  const auto pixel_x = [&](double value) { return left + x_axis.place(value) * (right - left); };
  const auto pixel_y = [&](double value) { return bottom - y_axis.place(value) * (bottom - top); };

  for (int i = 0; i < y_axis.num_ticks(); ++i) {
    const int y = static_cast<int>(std::lround(pixel_y(y_axis.tick(i))));
    fill_box(image, left, y, right + 1, y + 1, kGrid);
    const std::string text = fit_text(y_axis.label(i), tick_room, tick);
    draw_text(image, left - 8 - text_width(text, tick), y - tick.size_px / 2, text, tick);
  }
  for (int i = 0; i < x_axis.num_ticks(); ++i) {
    const int x = static_cast<int>(std::lround(pixel_x(x_axis.tick(i))));
    fill_box(image, x, top, x + 1, bottom + 1, kGrid);
    const std::string text = x_axis.label(i);
    draw_text(image, x - text_width(text, tick) / 2, bottom + 7, text, tick);
  }
  fill_box(image, left, top, left + 1, bottom + 1, kAxis);
  fill_box(image, left, bottom, right + 1, bottom + 1, kAxis);

  for (size_t s = 0; s < plot.series.size(); ++s) {
    const PlotSeries& series = plot.series[s];
    const Color& color = kSeriesColors[s % kNumColors];
    const Dash& dash = kDashes[s / kNumColors % std::size(kDashes)];
    double phase = 0;
    const auto finite = [&](size_t i) { return std::isfinite(series.x[i]) && std::isfinite(series.y[i]); };
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!finite(i)) continue;
      const double px = pixel_x(series.x[i]), py = pixel_y(series.y[i]);
      const bool joined_before = i > 0 && finite(i - 1);
      const bool joined_after = i + 1 < series.x.size() && finite(i + 1);
      if (joined_before) {
        draw_dashed(image, pixel_x(series.x[i - 1]), pixel_y(series.y[i - 1]), px, py, color, dash, phase);
      } else if (!joined_after) {
        fill_box(image, static_cast<int>(px) - 2, static_cast<int>(py) - 2, static_cast<int>(px) + 3,
                 static_cast<int>(py) + 3, color);
      }
    }
    if (has_legend) {
      const int y = top + 4 + static_cast<int>(s) * (key.size_px * 3 / 2);
      if (y + key.size_px > bottom) continue;
      double legend_phase = 0;
      draw_dashed(image, right + 18, y + key.size_px / 2.0, right + 18 + kSwatch - 6, y + key.size_px / 2.0, color,
                  dash, legend_phase);
      draw_text(image, right + 18 + kSwatch, y, fit_text(series.name, legend_width - kSwatch - 22, key), key);
    }
  }
  if (!plot.title.empty()) draw_text(image, left, 12, fit_text(plot.title, plot.width - left - 12, title), title);
  if (!plot.x_label.empty()) {
    const std::string text = fit_text(plot.x_label, right - left, label);
    draw_text(image, (left + right - text_width(text, label)) / 2, plot.height - label.size_px - 10, text, label);
  }
  if (!plot.y_label.empty()) draw_upwards(image, 10, (top + bottom) / 2, bottom - top, plot.y_label, label);
  return image;
}

Image draw_bar_chart(const BarChart& chart) {
  if (chart.bars.empty()) throw_usage("bar chart: no bars");
  if (chart.width < 240 || chart.width > 8192 || chart.bars.size() > 1000) {
    throw_usage("bar chart: " + std::to_string(chart.bars.size()) + " bars, " + std::to_string(chart.width) +
                " pixels wide; up to 1000 bars and 240 to 8192 pixels are accepted");
  }
  const TextStyle title{19, kInk, true}, label{15, kInk, false}, small{13, kSoftInk, false};
  Bounds values;
  values.add(0);
  int label_room = 0, value_room = 0;
  for (const Bar& bar : chart.bars) {
    if (!std::isfinite(bar.value) || !std::isfinite(bar.error)) {
      throw_usage("bar chart: the value of '" + printable(bar.label, 40) + "' is not finite");
    }
    values.add(bar.value + std::abs(bar.error));
    values.add(bar.value - std::abs(bar.error) < 0 && bar.value >= 0 ? 0 : bar.value - std::abs(bar.error));
    label_room = std::max(label_room, text_width(bar.label, label));
    value_room = std::max(value_room, text_width(short_number(bar.value), small));
  }
  label_room = std::min(label_room, chart.width * 2 / 5);
  constexpr int kRow = 28, kBarHeight = 18;
  const int left = 14 + label_room + 10;
  const int right = chart.width - 16 - value_room;
  const int top = 14 + (chart.title.empty() ? 0 : title.size_px + 12);
  const int bottom = top + kRow * static_cast<int>(chart.bars.size());
  Image image =
      blank(chart.width, bottom + 12 + small.size_px + 6 + (chart.value_label.empty() ? 0 : label.size_px + 6));

  const Axis axis(values.low, values.high, std::max(2, (right - left) / 60));
  const auto pixel_x = [&](double value) { return left + axis.place(value) * (right - left); };
  for (int i = 0; i < axis.num_ticks(); ++i) {
    const int x = static_cast<int>(std::lround(pixel_x(axis.tick(i))));
    fill_box(image, x, top, x + 1, bottom, kGrid);
    const std::string text = axis.label(i);
    draw_text(image, x - text_width(text, small) / 2, bottom + 6, text, small);
  }
  const int zero = static_cast<int>(std::lround(pixel_x(0)));
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const Bar& bar = chart.bars[i];
    const int row = top + kRow * static_cast<int>(i);
    const int y0 = row + (kRow - kBarHeight) / 2;
    const int end = static_cast<int>(std::lround(pixel_x(bar.value)));
    fill_box(image, std::min(zero, end), y0, std::max(zero, end) + 1, y0 + kBarHeight,
             kSeriesColors[bar.value < 0 ? 1 : 0]);
    double text_from = std::max(zero, end);
    if (bar.error != 0) {
      const double middle = y0 + kBarHeight / 2.0, reach = std::abs(bar.error);
      const double from = pixel_x(std::max(axis.low, bar.value - reach)), to = pixel_x(bar.value + reach);
      draw_line(image, from, middle, to, middle, kInk, 1);
      draw_line(image, from, middle - 4, from, middle + 4, kInk, 1);
      draw_line(image, to, middle - 4, to, middle + 4, kInk, 1);
      text_from = std::max(text_from, to);
    }
    const std::string name = fit_text(bar.label, label_room, label);
    draw_text(image, left - 10 - text_width(name, label), row + (kRow - label.size_px) / 2, name, label);
    draw_text(image, static_cast<int>(text_from) + 6, row + (kRow - small.size_px) / 2, short_number(bar.value), small);
  }
  fill_box(image, zero, top, zero + 1, bottom, kAxis);
  if (!chart.title.empty()) draw_text(image, 14, 12, fit_text(chart.title, chart.width - 28, title), title);
  if (!chart.value_label.empty()) {
    const std::string text = fit_text(chart.value_label, right - left, label);
    draw_text(image, (left + right - text_width(text, label)) / 2, image.height - label.size_px - 10, text, label);
  }
  return image;
}

}  // namespace pellucid
