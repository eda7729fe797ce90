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
  const Image part = overlay(crop(drawn.overlay, seen), heatmap, *drawn.color_map, style.opacity);
  dim_outside(drawn.overlay, seen);
  paste(drawn.overlay, part, seen.x, seen.y);
  return drawn;
}

DrawnMap draw_map(const Image& photo, const Rect& seen, const Rect& content, const Tensor& map, const MapStyle& style) {
  return draw_map(photo, seen, content, map, map_range(map, style.heatmap), style);
}

}  // namespace pellucid
