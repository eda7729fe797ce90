#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

// A map that varies less than this, relative to its size, holds rounding noise; stretching it would invent a picture.
constexpr double kDegenerateSpread = 1e-12;

struct NormalizationEntry {
  Normalization normalization;
  const char* name;
};

constexpr NormalizationEntry kNormalizations[] = {
    {Normalization::kMax, "max"},
    {Normalization::kMinMax, "min-max"},
    {Normalization::kSymmetric, "symmetric"},
    {Normalization::kPercentile, "percentile"},
    {Normalization::kNone, "none"},
};

void check_finite(const float* values, size_t count, const char* what) {
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      throw_failed(std::string(what) + ": value " + std::to_string(i) + " of " + std::to_string(count) + " is " +
                   (std::isnan(values[i]) ? "NaN" : "infinite") + "; nothing can be drawn from it");
    }
  }
}

/// The p-th percentile, interpolated linearly between ranks.
double percentile_of(std::vector<float> values, double p) {
  const double rank = p / 100 * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), below, values.end());
  const double low = *below;
  if (below + 1 == values.end()) return low;
  const double high = *std::min_element(below + 1, values.end());
  return low + (rank - std::floor(rank)) * (high - low);
}

void check_same_size(const char* what, const Image& photo, int width, int height) {
  if (photo.width != width || photo.height != height) {
    throw_usage(std::string(what) + ": sizes " + std::to_string(photo.width) + "x" + std::to_string(photo.height) +
                " and " + std::to_string(width) + "x" + std::to_string(height) + " differ");
  }
}

/// Where a heatmap value lies on a color map's own scale.
double place_on(const ColorMap& color_map, bool is_signed, double value) {
  return is_signed && color_map.kind == ColorMapKind::kSequential ? (value + 1) / 2 : value;
}

}  // namespace

const char* normalization_name(Normalization normalization) {
  for (const auto& entry : kNormalizations) {
    if (entry.normalization == normalization) return entry.name;
  }
  return "";
}

Normalization find_normalization(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : kNormalizations) {
    if (name == entry.name) return entry.normalization;
    names.emplace_back(entry.name);
  }
  throw_usage("no normalization '" + printable(name, 40) + "'; accepted are " + join(names, ", "));
}

ValueRange range_of(const float* values, size_t count, const HeatmapOptions& options) {
  if (!(options.percentile > 0 && options.percentile <= 100)) {
    throw_usage("heatmap: percentile is " + number_text(options.percentile) +
                "; it must be > 0 and <= 100 (default 99)");
  }
  if (count == 0) throw_usage("heatmap: the map is empty");
  check_finite(values, count, "heatmap");
  const auto [lowest, highest] = std::minmax_element(values, values + count);
  const double low = *lowest, high = *highest;
  const double magnitude = std::max(std::abs(low), std::abs(high));
  ValueRange range;
  if (options.normalization == Normalization::kNone) {
    range.is_signed = low < 0;
    range.low = range.is_signed ? -1 : 0;
    return range;
  }
  range.degenerate = high - low <= kDegenerateSpread * std::max(1.0, magnitude);
  switch (options.normalization) {
    case Normalization::kMinMax:
      range.low = low;
      range.high = high;
      return range;
    case Normalization::kSymmetric:
      range.is_signed = true;
      break;
    case Normalization::kPercentile:
      range.is_signed = low < 0;
      break;
    default:
      break;
  }
  range.high = range.is_signed ? magnitude : high;
  if (options.normalization == Normalization::kPercentile && !range.degenerate) {
    std::vector<float> magnitudes(values, values + count);
    for (float& v : magnitudes) v = std::abs(v);
    const double q = percentile_of(std::move(magnitudes), options.percentile);
    if (q > 0) range.high = q;
  }
  range.low = range.is_signed ? -range.high : 0;
  range.degenerate = range.degenerate || range.high <= 0;
  return range;
}

ValueRange shared_range(const std::vector<ValueRange>& ranges) {
  ValueRange shared;
  shared.degenerate = true;
  for (const ValueRange& range : ranges) {
    if (range.degenerate) continue;
    shared.low = shared.degenerate ? range.low : std::min(shared.low, range.low);
    shared.high = shared.degenerate ? range.high : std::max(shared.high, range.high);
    shared.is_signed = shared.is_signed || range.is_signed;
    shared.degenerate = false;
  }
  if (shared.is_signed) {
    shared.high = std::max(shared.high, -shared.low);
    shared.low = -shared.high;
  }
  return shared;
}

Heatmap heatmap_from_map(const float* map, int height, int width, const ValueRange& range) {
  if (width < 1 || height < 1) {
    throw_usage("heatmap: a map of " + std::to_string(width) + "x" + std::to_string(height) + " values");
  }
  const size_t count = static_cast<size_t>(width) * static_cast<size_t>(height);
  check_finite(map, count, "heatmap");
  Heatmap heatmap{width, height, std::vector<float>(count, 0.0f), range};
  const double low = range.is_signed ? 0 : range.low;
  const double extent = range.high - low;
  if (range.degenerate || !(extent > 0)) {
    heatmap.range.degenerate = true;
    return heatmap;
  }
  for (size_t i = 0; i < count; ++i) {
    heatmap.values[i] = static_cast<float>(std::clamp((map[i] - low) / extent, range.is_signed ? -1.0 : 0.0, 1.0));
  }
  return heatmap;
}

Heatmap heatmap_from_map(const float* map, int height, int width, const HeatmapOptions& options) {
  const size_t count = width < 1 || height < 1 ? 0 : static_cast<size_t>(width) * static_cast<size_t>(height);
  return heatmap_from_map(map, height, width, range_of(map, count, options));
}

const char* default_color_map(const ValueRange& range) { return range.is_signed ? "coolwarm" : "turbo"; }

Image colorize(const Heatmap& heatmap, const ColorMap& color_map) {
  Image image(heatmap.width, heatmap.height, 3);
  uint8_t* out = image.pixels.data();
  for (const float value : heatmap.values) {
    const Color color = color_map.color_of(place_on(color_map, heatmap.range.is_signed, value));
    out = std::copy(color.begin(), color.end(), out);
  }
  return image;
}

Image overlay(const Image& photo, const Image& colors, double opacity) {
  check_image(photo, "overlay: photo");
  check_image(colors, "overlay: colors");
  check_same_size("overlay", photo, colors.width, colors.height);
  if (!(opacity >= 0 && opacity <= 1)) {
    throw_usage("overlay: opacity is " + number_text(opacity) + "; it must be 0 to 1 (default 0.5)");
  }
  Image blend = rgb_from(photo);
  const Image top = rgb_from(colors);
  for (size_t i = 0; i < blend.pixels.size(); ++i) {
    blend.pixels[i] = byte_from(opacity * top.pixels[i] + (1 - opacity) * blend.pixels[i]);
  }
  return blend;
}

Image overlay(const Image& photo, const Heatmap& heatmap, const ColorMap& color_map, double opacity) {
  check_image(photo, "overlay: photo");
  Heatmap fitted = heatmap;
  if (photo.width != heatmap.width || photo.height != heatmap.height) {
    fitted = {photo.width, photo.height,
              resize_map(heatmap.values.data(), heatmap.height, heatmap.width, photo.height, photo.width),
              heatmap.range};
  }
  const Image colors = colorize(fitted, color_map);
  const bool graded =
      fitted.range.is_signed && color_map.kind == ColorMapKind::kDiverging && opacity > 0 && opacity < 1;
  if (!graded) return overlay(photo, colors, opacity);
  Image blend = rgb_from(photo);
  const double gain = opacity / (1 - opacity);
  for (size_t i = 0; i < fitted.values.size(); ++i) {
    const double weight = std::min(1.0, std::abs(fitted.values[i]) * gain);
    for (size_t c = 3 * i; c < 3 * i + 3; ++c) {
      blend.pixels[c] = byte_from(weight * colors.pixels[c] + (1 - weight) * blend.pixels[c]);
    }
  }
  return blend;
}

Image color_bar(const ColorMap& color_map, const ValueRange& range, int width, int height, Color background,
                Color ink) {
  if (width < 24 || height < 4) {
    throw_usage("color bar: a size of " + std::to_string(width) + "x" + std::to_string(height) + "; at least 24x4");
  }
  TextStyle style;
  style.size_px = std::clamp(width / 14, 11, 18);
  style.color = ink;
  Image bar(width, height + 3 + style.size_px, 3);
  for (size_t i = 0; i < bar.pixels.size(); ++i) bar.pixels[i] = background[i % 3];
  for (int x = 0; x < width; ++x) {
    const double t = width > 1 ? x / (width - 1.0) : 0;
    const double value = range.is_signed ? 2 * t - 1 : t;
    const Color color = range.degenerate ? color_map.color_of(place_on(color_map, range.is_signed, 0))
                                         : color_map.color_of(place_on(color_map, range.is_signed, value));
    for (int y = 0; y < height; ++y) std::copy(color.begin(), color.end(), bar.at(x, y));
  }
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.3g", value);
    return std::string(text);
  };
  const int text_y = height + 3;
  if (range.degenerate) {
    draw_text(bar, 0, text_y, fit_text("nothing to show", width, style), style);
    return bar;
  }
  const std::string low = number(range.low), high = number(range.high);
  const int low_width = text_width(low, style), high_width = text_width(high, style),
            zero_width = text_width("0", style);
  draw_text(bar, 0, text_y, fit_text(low, width, style), style);
  if (low_width + high_width + style.size_px <= width) draw_text(bar, width - high_width, text_y, high, style);
  if (range.is_signed && low_width + high_width + zero_width + 2 * style.size_px <= width) {
    draw_text(bar, (width - zero_width) / 2, text_y, "0", style);
  }
  return bar;
}

Image picture_of_gradient(const float* values, int channels, int height, int width, GradientDisplay display) {
  if ((channels != 1 && channels != 3) || width < 1 || height < 1) {
    throw_usage("gradient picture: shape [" + std::to_string(channels) + "," + std::to_string(height) + "," +
                std::to_string(width) + "]; it must be [1,H,W] or [3,H,W]");
  }
  const size_t plane = static_cast<size_t>(width) * static_cast<size_t>(height);
  const size_t count = plane * static_cast<size_t>(channels);
  check_finite(values, count, "gradient picture");
  double sum = 0, magnitude = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += values[i];
    magnitude = std::max(magnitude, std::abs(static_cast<double>(values[i])));
  }
  const double mean = sum / static_cast<double>(count);
  double variance = 0;
  for (size_t i = 0; i < count; ++i) variance += (values[i] - mean) * (values[i] - mean);
  const double deviation = std::sqrt(variance / static_cast<double>(count));

  constexpr double kShownDeviation = 0.1;
  const bool standardized = display == GradientDisplay::kStandardized;
  const double center = standardized ? mean : 0;
  const double gain = standardized ? (deviation > kDegenerateSpread * magnitude ? kShownDeviation / deviation : 0)
                                   : (magnitude > 0 ? 0.5 / magnitude : 0);
  Image image(width, height, 3);
  for (size_t i = 0; i < plane; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const double value = values[(channels == 3 ? c : 0) * plane + i];
      image.pixels[i * 3 + c] = byte_from(255 * (0.5 + gain * (value - center)));
    }
  }
  return image;
}

void draw_mask_outline(Image& image, const Image& mask, Color color, int thickness_px) {
  check_image(image, "outline");
  check_image(mask, "outline: mask");
  check_same_size("outline", image, mask.width, mask.height);
  if (mask.channels != 1)
    throw_usage("outline: the mask has " + std::to_string(mask.channels) + " channels; it must have 1");
  if (thickness_px < 1 || thickness_px > 100) {
    throw_usage("outline: thickness is " + std::to_string(thickness_px) + "; it must be 1 to 100 (default 2)");
  }
  if (image.channels != 3) image = rgb_from(image);
  constexpr double kInside = 127;
  // A frame of "outside" closes regions that touch the border of the picture.
  cv::Mat region, inner;
  cv::copyMakeBorder(mat_of(mask) > kInside, region, 1, 1, 1, 1, cv::BORDER_CONSTANT, cv::Scalar(0));
  const cv::Mat cross = cv::getStructuringElement(cv::MORPH_CROSS, cv::Size(3, 3));
  cv::erode(region, inner, cross, cv::Point(-1, -1), thickness_px, cv::BORDER_CONSTANT, cv::Scalar(0));
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (region.at<uint8_t>(y + 1, x + 1) && !inner.at<uint8_t>(y + 1, x + 1)) {
        std::copy(color.begin(), color.end(), image.at(x, y));
      }
    }
  }
}

void draw_rect(Image& image, const Rect& rect, Color color, int thickness_px) {
  check_image(image, "rectangle");
  for (int y = std::max(rect.y, 0); y < std::min(rect.y + rect.height, image.height); ++y) {
    for (int x = std::max(rect.x, 0); x < std::min(rect.x + rect.width, image.width); ++x) {
      const int to_border =
          std::min({x - rect.x, y - rect.y, rect.x + rect.width - 1 - x, rect.y + rect.height - 1 - y});
      if (to_border >= thickness_px) continue;
      for (int c = 0; c < image.channels; ++c) image.at(x, y)[c] = c < 3 ? color[static_cast<size_t>(c)] : uint8_t{255};
    }
  }
}

}  // namespace pellucid
