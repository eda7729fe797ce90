#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/image.h"
#include "pellucid/tensor.h"

namespace pellucid {

/// How a map becomes a picture over its photo.
struct MapStyle {
  std::string color_map;  ///< Empty: turbo, or coolwarm when the map is signed.
  HeatmapOptions heatmap;
  double opacity = 0.5;
  /// The map has a number of its own for each pixel, as gradients have. Where it is signed, most of them are small and
  /// neighbours differ in sign: drawn over a photo that is pale and without color, and less transparent.
  bool per_pixel = false;
};

/// A map in the frame of the photo it explains: `map` [H,W] at input resolution covers `content` of the model's input,
/// which shows `seen` of the photo. The rest of the photo, which the model did not see, is dimmed.
struct DrawnMap {
  Image overlay;
  ValueRange range;
  const ColorMap* color_map = nullptr;
};
DrawnMap draw_map(const Image& photo, const Rect& seen, const Rect& content, const Tensor& map, const MapStyle& style);
/// The same on a given scale.
DrawnMap draw_map(const Image& photo, const Rect& seen, const Rect& content, const Tensor& map, const ValueRange& range,
                  const MapStyle& style);
ValueRange map_range(const Tensor& map, const HeatmapOptions& options);

/// A page of figures that needs nothing but itself: pictures are embedded, there are no scripts, every text is escaped.
class HtmlReport {
 public:
  explicit HtmlReport(const std::string& title);
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  /// `strong` marks cells (row, column) to stand out.
  void table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows,
             const std::set<std::pair<size_t, size_t>>& strong = {});
  /// Figures side by side; each caption line below its picture.
  struct Figure {
    Image image;
    std::string title;
    std::vector<std::string> lines;
  };
  void figures(const std::vector<Figure>& figures);
  /// The same for plots, which have text in them: wide enough to read it.
  void plots(const std::vector<Figure>& figures);
  std::string html() const;

 private:
  void row(const char* kind, const std::vector<Figure>& figures);
  std::string title_;
  std::string body_;
};

/// &, <, >, " and ' replaced; control characters shown as '?'.
std::string html_escape(const std::string& text);

}  // namespace pellucid
