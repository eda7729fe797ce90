#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/report.h"

namespace pellucid {

namespace {

Tensor plain(const Tensor& map) { return map.detach().to(at::kCPU).to(at::kFloat).contiguous(); }

/// Half as bright and without color: the model did not see this.
void dim_outside(Image& image, const Rect& seen) {
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (x >= seen.x && x < seen.x + seen.width && y >= seen.y && y < seen.y + seen.height) continue;
      uint8_t* p = image.at(x, y);
      const int luma = (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000;
      p[0] = p[1] = p[2] = static_cast<uint8_t>(luma / 2 + 40);
    }
  }
}

/// The photo in shades of light grey, on which single pixels of color stand out; the less opaque the map, the less so.
Image paled(const Image& photo, double amount) {
  constexpr double kDarkest = 120;
  Image pale = photo;
  for (size_t i = 0; i < pale.pixels.size(); i += 3) {
    const uint8_t* p = photo.pixels.data() + i;
    const double luma = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    const double grey = kDarkest + (255 - kDarkest) * luma / 255;
    for (size_t c = 0; c < 3; ++c)
      pale.pixels[i + c] = static_cast<uint8_t>(std::lround(p[c] + amount * (grey - p[c])));
  }
  return pale;
}

/// As overlay() for signed heatmaps, but on the paled photo and with the weight min(1, sqrt|v| * opacity / (1 -
/// opacity)): of a map that is scaled by its few largest pixels, overlay() would show only those.
Image pixel_overlay(const Image& photo, const Heatmap& heatmap, const ColorMap& color_map, double opacity) {
  const std::vector<float> values =
      resize_map(heatmap.values.data(), heatmap.height, heatmap.width, photo.height, photo.width);
  Image blend = paled(photo, std::min(1.0, 2 * opacity));
  for (size_t i = 0; i < values.size(); ++i) {
    const double weight = std::min(1.0, std::sqrt(std::abs(values[i])) * opacity / (1 - opacity));
    const Color color = color_map.color_of(values[i]);
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& p = blend.pixels[3 * i + c];
      p = static_cast<uint8_t>(std::lround(p + weight * (color[c] - p)));
    }
  }
  return blend;
}

}  // namespace

ValueRange map_range(const Tensor& map, const HeatmapOptions& options) {
  const Tensor m = plain(map);
  return range_of(m.data_ptr<float>(), static_cast<size_t>(m.numel()), options);
}

DrawnMap draw_map(const Image& photo, const Rect& seen, const Rect& content, const Tensor& map, const ValueRange& range,
                  const MapStyle& style) {
  DrawnMap drawn;
  drawn.range = range;
  drawn.color_map = &find_color_map(style.color_map.empty() ? default_color_map(range) : style.color_map);
  const Tensor m = plain(map.narrow(0, content.y, content.height).narrow(1, content.x, content.width));
  const Heatmap heatmap =
      heatmap_from_map(m.data_ptr<float>(), static_cast<int>(m.size(0)), static_cast<int>(m.size(1)), range);
  drawn.overlay = rgb_from(photo);
  const bool by_pixel = style.per_pixel && range.is_signed && drawn.color_map->kind == ColorMapKind::kDiverging &&
                        style.opacity > 0 && style.opacity < 1;
  const Image under = crop(drawn.overlay, seen);
  const Image part = by_pixel ? pixel_overlay(under, heatmap, *drawn.color_map, style.opacity)
                              : overlay(under, heatmap, *drawn.color_map, style.opacity);
  dim_outside(drawn.overlay, seen);
  paste(drawn.overlay, part, seen.x, seen.y);
  return drawn;
}

DrawnMap draw_map(const Image& photo, const Rect& seen, const Rect& content, const Tensor& map, const MapStyle& style) {
  return draw_map(photo, seen, content, map, map_range(map, style.heatmap), style);
}

}  // namespace pellucid
