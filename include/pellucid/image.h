#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pellucid {

/// An 8-bit picture: rows from the top, channels interleaved, 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied).
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;
  std::vector<uint8_t> pixels;  ///< height * width * channels

  Image() = default;
  Image(int width_px, int height_px, int num_channels, uint8_t fill = 0)
      : width(width_px),
        height(height_px),
        channels(num_channels),
        pixels(static_cast<size_t>(width_px) * height_px * num_channels, fill) {}
  uint8_t* at(int x, int y) { return pixels.data() + (static_cast<size_t>(y) * width + x) * channels; }
  const uint8_t* at(int x, int y) const { return pixels.data() + (static_cast<size_t>(y) * width + x) * channels; }
};

/// Red, green, blue, 0..255.
using Color = std::array<uint8_t, 3>;

// Every function below throws Error(kUsage) when an image it is given is empty, has a size that does not fit its
// pixels, or has other than 1, 3 or 4 channels, and works on copies: no function changes an image unless it takes it by
// non-const reference. All are safe to call from several threads at once.

// ---------------------------------------------------------------------------------------------------------------------
// Reading and writing pictures

/// What a picture may ask for before any of it is decoded.
struct ImageLimits {
  int64_t max_pixels = int64_t{64} << 20;  ///< Largest width * height.
  int64_t max_bytes = int64_t{256} << 20;  ///< Largest file.
};

/// "PNG, JPEG, BMP, GIF, WebP, TIFF, PNM": what decode_image accepts, from the table that accepts it.
std::string image_formats();

/// The picture as RGB, upright: EXIF orientation (JPEG, PNG, WebP, TIFF) is applied, grey and palette pictures become
/// RGB, 16-bit samples are rounded to 8, transparency is composited on white, CMYK JPEG is converted, animated GIF
/// and PNG files give their first frame; animated WebP is refused. Embedded color profiles are not applied.
/// The format is told by the file's first bytes, never by its name; the size in the header is held against `limits`
/// before anything is decoded. Throws Error(kInvalidInput), one line that begins with the file's name, for anything
/// else: other formats, truncated or damaged files, floating-point samples.
/// Damage inside a JPEG's compressed data that leaves its structure whole is not noticed: the picture then shows it.
/// The codecs behind OpenCV may write a line about damage to stderr.
Image decode_image(const std::string& path, const ImageLimits& limits = {});
/// The same from memory; `name` is for messages.
Image decode_image_bytes(std::string_view bytes, const std::string& name, const ImageLimits& limits = {});

/// A mask or label picture as one channel, upright: grey as stored; color as luma (Rec. 601); transparency composited
/// on black, so that what is transparent is outside the mask. A mask of 0 and 1 alone becomes one of 0 and 255. Throws
/// as decode_image.
Image decode_mask(const std::string& path, const ImageLimits& limits = {});

/// The image as a PNG file, same channels. Lossless; the same image always gives the same bytes.
std::string encode_png(const Image& image);
/// As a JPEG file, `quality` 1..100; RGBA is composited on white. Throws Error(kUsage) when out of range.
std::string encode_jpeg(const Image& image, int quality = 92);
/// Writes encode_png atomically. Throws Error(kFailed) as write_file_atomically does.
void save_png(const std::string& path, const Image& image);

/// Three channels: grey repeated, RGBA composited on `background`.
Image rgb_from(const Image& image, Color background = {255, 255, 255});
/// One channel: luma of Rec. 601, 0.299 R + 0.587 G + 0.114 B; RGBA is composited on black.
Image gray_from(const Image& image);

// ---------------------------------------------------------------------------------------------------------------------
// Geometry

/// How a picture is resampled. All use half-pixel centers: output x shows input (x + 0.5) * in / out - 0.5.
enum class Filter {
  kNearest,   ///< The input pixel under the center.
  kBilinear,  ///< Two neighbors per axis, whatever the scale: aliases when it shrinks much (OpenCV INTER_LINEAR).
  kBilinearAntialias,  ///< Triangle as wide as an output pixel when shrinking: Pillow's BILINEAR, torchvision's
                       ///< antialias.
  kBicubicAntialias,   ///< Keys' cubic, a = -0.5, widened likewise: Pillow's BICUBIC.
  kLanczosAntialias,   ///< Windowed sinc of three lobes, widened likewise: Pillow's LANCZOS.
  kArea                ///< Exact mean over the area of an output pixel (OpenCV INTER_AREA when shrinking).
};

/// Resamples columns, then rows, rounding to 8 bits after each as Pillow does; weights are normalized at the borders.
/// Throws Error(kUsage) when a side is < 1.
Image resize(const Image& image, int width, int height, Filter filter = Filter::kBilinearAntialias);

/// Scales so that the shorter side is `side`; the longer is floor(longer * side / shorter), as torchvision has it.
Image resize_shorter_side(const Image& image, int side, Filter filter = Filter::kBilinearAntialias);

/// Pixels x .. x + width - 1, y .. y + height - 1.
struct Rect {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

/// Throws Error(kUsage) when `rect` is empty or leaves the image.
Image crop(const Image& image, const Rect& rect);

/// The rectangle of this size in the middle, offset floor((side - size) / 2).
Rect center_rect(int image_width, int image_height, int width, int height);

/// Copies `image` onto `canvas` with its corner at (x, y); what falls outside is left out. RGBA is blended by its
/// alpha; grey becomes RGB on an RGB canvas. Throws Error(kUsage) when the canvas is not RGB or the image's own kind.
void paste(Image& canvas, const Image& image, int x, int y);

/// A picture scaled to fit into a frame with its proportions kept, centered, the rest filled.
struct Letterboxed {
  Image image;   ///< RGB, of the size asked for.
  Rect content;  ///< Where the picture lies in it.
};
Letterboxed letterbox(const Image& image, int width, int height, Color fill = {114, 114, 114},
                      Filter filter = Filter::kBilinearAntialias);

/// A float map [height,width] resampled to [out_height,out_width]: bilinear, half-pixel centers, edges repeated, no
/// antialiasing (OpenCV INTER_LINEAR, align_corners = false). Never overshoots the range of its input.
/// Throws Error(kUsage) when a side is < 1.
std::vector<float> resize_map(const float* map, int height, int width, int out_height, int out_width);

// ---------------------------------------------------------------------------------------------------------------------
// Superpixels

/// A partition of a picture into connected pieces.
struct Superpixels {
  int width = 0;
  int height = 0;
  int count = 0;            ///< M
  std::vector<int> labels;  ///< height * width, 0..M-1 in scan order of their first pixels; each 4-connected.
};

/// Clusters of color (CIELAB) and position about `size` pixels wide; the same picture always gives the same ones.
/// Larger `compactness` makes rounder ones. Pieces below an eighth of size * size pixels join a neighbour.
/// Achanta, Shaji, Smith, Lucchi, Fua, Susstrunk. "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods".
/// TPAMI 2012. Throws Error(kUsage) when a number is not positive.
Superpixels slic_superpixels(const Image& image, int size, double compactness = 10, int iterations = 10);

/// About `count` of them (seldom exactly), refined from a grid so that their color histograms are pure.
/// Van den Bergh, Boix, Roig, de Capitani, Van Gool. "SEEDS: Superpixels Extracted via Energy-Driven Sampling". ECCV
/// 2012. SLIC instead where a side is below 8 pixels. Throws Error(kUsage) when a number is not positive.
Superpixels seeds_superpixels(const Image& image, int count, int iterations = 10);

// ---------------------------------------------------------------------------------------------------------------------
// Color maps

enum class ColorMapKind {
  kSequential,  ///< For 0..1.
  kDiverging    ///< For -1..1: neutral at 0, in the exact middle.
};

/// One entry of the table of color maps.
struct ColorMap {
  const char* name;
  ColorMapKind kind;
  bool perceptual;  ///< Lightness never falls (sequential) or never rises on the way out from the middle (diverging).
  const char* summary;
  std::vector<Color> colors;  ///< Evenly spaced over the range; an odd number for diverging maps.

  /// The color of a value in 0..1 (sequential) or -1..1 (diverging); values outside are clamped.
  Color color_of(double value) const;
};

/// All color maps: turbo (default for unsigned maps), viridis, magma, inferno, plasma, cividis, jet, gray; coolwarm
/// (default for signed maps), rdbu, seismic, piyg. In the diverging ones positive values are red (piyg: green). Except
/// for jet, gray, seismic and turbo (polynomial of A. Mikhailov, "Turbo", Google AI blog 2019) they are drawn here, in
/// OKLab (B. Ottosson 2020), after the well-known maps of the same name, and are close to those, not equal.
const std::vector<ColorMap>& color_maps();

/// The map of this name. Throws Error(kUsage) that lists all names.
const ColorMap& find_color_map(const std::string& name);

// ---------------------------------------------------------------------------------------------------------------------
// From a map of numbers to a picture: map -> range -> heatmap -> colors -> overlay

/// How numbers become 0..1 or -1..1. With q the percentile:
enum class Normalization {
  kMax,         ///< m / max m, negative values 0: for maps whose zero means "no evidence". 0..1.
  kMinMax,      ///< (m - min) / (max - min). 0..1.
  kSymmetric,   ///< m / max |m|: zero stays in the middle. -1..1.
  kPercentile,  ///< m / q(m), clipped, 0..1, if no value is negative; else m / q(|m|), clipped, -1..1.
  kNone         ///< As it is, clipped to 0..1, or to -1..1 if a value is negative.
};

/// Names as users write them: "max", "min-max", "symmetric", "percentile", "none".
const char* normalization_name(Normalization normalization);
/// Throws Error(kUsage) that lists the names.
Normalization find_normalization(const std::string& name);

struct HeatmapOptions {
  Normalization normalization = Normalization::kMax;
  double percentile =
      99;  ///< For kPercentile, (0, 100], interpolated linearly. Falls back to the maximum where q is 0.
};

/// The numbers that the ends of the color scale stand for.
struct ValueRange {
  double low = 0;
  double high = 1;
  bool is_signed = false;   ///< low = -high, drawn with a diverging map.
  bool degenerate = false;  ///< Nothing to show: max - min <= 1e-12 * max(1, max|m|), or no positive value for kMax.
};

/// Throws Error(kFailed) naming the first value that is not finite, and Error(kUsage) for a bad percentile.
ValueRange range_of(const float* values, size_t count, const HeatmapOptions& options = {});

/// The range that covers all of `ranges`, to draw several maps on one scale; degenerate ones do not count.
ValueRange shared_range(const std::vector<ValueRange>& ranges);

/// Values ready to be colored.
struct Heatmap {
  int width = 0;
  int height = 0;
  std::vector<float> values;  ///< height * width, in 0..1, or -1..1 if range.is_signed; all zero if range.degenerate.
  ValueRange range;
};

/// A map [height,width] on the given scale. Throws Error(kFailed) when a value is not finite.
Heatmap heatmap_from_map(const float* map, int height, int width, const ValueRange& range);
/// The same on the scale that `options` finds in the map itself.
Heatmap heatmap_from_map(const float* map, int height, int width, const HeatmapOptions& options = {});

/// The name of the map to use when the user names none: "turbo", or "coolwarm" for a signed range.
const char* default_color_map(const ValueRange& range);

/// Each value as a color, RGB. An unsigned heatmap on a diverging map uses its positive half; a signed one on a
/// sequential map uses the whole of it, zero in the middle.
Image colorize(const Heatmap& heatmap, const ColorMap& color_map);

/// w * color + (1 - w) * photo, at the size of the photo; the heatmap is resampled to it with resize_map first. The
/// weight w is `opacity`; a signed heatmap v on a diverging map has w = min(1, |v| * opacity / (1 - opacity)), so that
/// where it says nothing the photo is seen as it is. `opacity` in 0..1, else Error(kUsage); 1 shows colors alone.
Image overlay(const Image& photo, const Heatmap& heatmap, const ColorMap& color_map, double opacity = 0.5);
/// The same for colors that are there already, of the size of the photo.
Image overlay(const Image& photo, const Image& colors, double opacity = 0.5);

/// A horizontal scale with its ends (and zero, when signed) written below: `width` pixels wide, `height` the bar alone.
Image color_bar(const ColorMap& color_map, const ValueRange& range, int width, int height = 12,
                Color background = {255, 255, 255}, Color ink = {32, 32, 32});

/// How a signed gradient image becomes a picture around mid-grey.
enum class GradientDisplay {
  kStandardized,  ///< (g - mean) / std * 0.1 + 0.5, clipped: the usual picture of guided backpropagation.
  kSymmetric      ///< 0.5 + 0.5 g / max |g|: zero is exactly mid-grey, nothing is clipped.
};

/// values [channels,height,width], 1 or 3 channels -> RGB. A constant image becomes mid-grey.
/// Throws Error(kFailed) when a value is not finite.
Image picture_of_gradient(const float* values, int channels, int height, int width,
                          GradientDisplay display = GradientDisplay::kStandardized);

/// Draws the border of the region where `mask` (1 channel, same size) is above 127, inside the region, `thickness_px`
/// wide.
void draw_mask_outline(Image& image, const Image& mask, Color color = {255, 255, 255}, int thickness_px = 2);

/// Draws the border of `rect`, clipped to the image.
void draw_rect(Image& image, const Rect& rect, Color color, int thickness_px = 1);

// ---------------------------------------------------------------------------------------------------------------------
// Text, sheets and plots

struct TextStyle {
  int size_px = 14;  ///< Height of a line of text, 6..400. Capital letters are about 0.6 of it.
  Color color = {32, 32, 32};
  bool bold = false;
};

/// Width in pixels that draw_text needs. Only ASCII can be drawn: every other character counts as, and is drawn as,
/// '?'.
int text_width(const std::string& text, const TextStyle& style = {});

/// `text`, or as much of its beginning as fits into `max_width` with "..." after it; empty when not even that fits.
std::string fit_text(const std::string& text, int max_width, const TextStyle& style = {});

/// Lines of at most `max_width`, broken at blanks, '/', '_', '-', '.', ',' or ':' where possible, anywhere else if not;
/// the last of at most `max_lines` ends in "..." when text is left over.
std::vector<std::string> wrap_text(const std::string& text, int max_width, int max_lines, const TextStyle& style = {});

/// Draws one line, antialiased, on an RGB or grey image; (x, y) is the upper left corner of the line; clipped.
void draw_text(Image& image, int x, int y, const std::string& text, const TextStyle& style = {});

/// One picture of a contact sheet with what is written about it.
struct SheetCell {
  Image image;                          ///< Empty: a blank cell.
  std::string title;                    ///< Up to two lines, bold.
  std::vector<std::string> lines;       ///< Scores and the like, one line each; cut with "..." when too long.
  const ColorMap* color_map = nullptr;  ///< A color bar for `range` under the picture when set.
  ValueRange range;
  bool new_row = false;  ///< Begins a row of its own, as the first of a group does.
};

enum class SheetTheme { kLight, kDark };

struct ContactSheet {
  std::string title;             ///< One line on top; left out when empty.
  std::string subtitle;          ///< A second, smaller one.
  std::vector<SheetCell> cells;  ///< In reading order.
  int columns = 0;               ///< 0: chosen so that the sheet is a little wider than high.
  int min_cell_px = 224;         ///< Pictures smaller than this are enlarged; small ones by whole pixels, unsmoothed.
  int max_cell_px = 512;         ///< Wider pictures are reduced.
  SheetTheme theme = SheetTheme::kLight;
};

/// All cells have one size: as wide as the widest picture within the two limits, as high as the tallest needs at that
/// width, but beyond square no higher than the median one needs. Pictures keep their proportions. No text leaves its
/// cell. Throws Error(kUsage) without cells or when the sheet would have more than 256 million pixels.
Image draw_contact_sheet(const ContactSheet& sheet);

struct PlotSeries {
  std::string name;
  std::vector<double> x;  ///< Same length as y; points that are not finite interrupt the line.
  std::vector<double> y;
};

struct LinePlot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
  int width = 640;           ///< >= 240
  int height = 420;          ///< >= 180
  bool y_from_zero = false;  ///< Include zero in the vertical range.
};

/// Axes with round ticks, a light grid, one color (and one dash pattern) per series, and a legend when there is more
/// than one. Colors are those of Okabe and Ito, "Color Universal Design" (2008), which color-blind readers can tell
/// apart.
Image draw_line_plot(const LinePlot& plot);

struct Bar {
  std::string label;
  double value = 0;
  double error = 0;  ///< Half-length of an error bar; none when 0.
};

struct BarChart {
  std::string title;
  std::string value_label;
  std::vector<Bar> bars;  ///< From the top; each is as wide as its value, negative ones to the left of zero.
  int width = 640;        ///< >= 240; the height follows from the number of bars.
};

/// Horizontal bars with their labels at the left and their values written beside them. Throws Error(kUsage) without
/// bars or when a value is not finite.
Image draw_bar_chart(const BarChart& chart);

}  // namespace pellucid
