#include <algorithm>
#include <cmath>

#include "image/check.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

// One entry per 8-bit level; diverging tables are odd, so that zero has an entry of its own.
constexpr int kSequentialColors = 256;
constexpr int kDivergingColors = 511;

struct Lab {
  double lightness, a, b;
};

double linear_from_srgb(double c) { return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4); }
double srgb_from_linear(double c) { return c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055; }

// OKLab: B. Ottosson, "A perceptual color space for image processing", 2020.
Lab oklab_from(uint32_t hex) {
  const double r = linear_from_srgb((hex >> 16 & 255) / 255.0);
  const double g = linear_from_srgb((hex >> 8 & 255) / 255.0);
  const double b = linear_from_srgb((hex & 255) / 255.0);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
          1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

Color color_from(const Lab& lab) {
  const double l = std::pow(lab.lightness + 0.3963377774 * lab.a + 0.2158037573 * lab.b, 3);
  const double m = std::pow(lab.lightness - 0.1055613458 * lab.a - 0.0638541728 * lab.b, 3);
  const double s = std::pow(lab.lightness - 0.0894841775 * lab.a - 1.2914855480 * lab.b, 3);
  const double r = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
  const double g = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
  const double b = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
  return {byte_from(255 * srgb_from_linear(std::max(r, 0.0))), byte_from(255 * srgb_from_linear(std::max(g, 0.0))),
          byte_from(255 * srgb_from_linear(std::max(b, 0.0)))};
}

/// Cubic Hermite between (x1, y1) and (x2, y2) with the slopes of the parabola-free Catmull-Rom spline on uneven knots.
double hermite(double x, double x0, double y0, double x1, double y1, double x2, double y2, double x3, double y3) {
  const double width = x2 - x1;
  const double slope1 = x2 > x0 ? (y2 - y0) / (x2 - x0) : 0;
  const double slope2 = x3 > x1 ? (y3 - y1) / (x3 - x1) : 0;
  const double t = (x - x1) / width;
  const double t2 = t * t, t3 = t2 * t;
  return (2 * t3 - 3 * t2 + 1) * y1 + (t3 - 2 * t2 + t) * width * slope1 + (3 * t2 - 2 * t3) * y2 +
         (t3 - t2) * width * slope2;
}

/// Through the control points, with lightness rising evenly from the first to the last: a point's place in the map
/// follows from its lightness.
std::vector<Color> even_lightness(const std::vector<uint32_t>& controls) {
  std::vector<Lab> labs;
  for (const uint32_t hex : controls) labs.push_back(oklab_from(hex));
  std::vector<Color> colors;
  for (int i = 0; i < kSequentialColors; ++i) {
    const double t = i / (kSequentialColors - 1.0);
    const double lightness = labs.front().lightness + t * (labs.back().lightness - labs.front().lightness);
    size_t k = 0;
    while (k + 2 < labs.size() && labs[k + 1].lightness <= lightness) ++k;
    const Lab& p0 = labs[k > 0 ? k - 1 : 0];
    const Lab& p1 = labs[k];
    const Lab& p2 = labs[k + 1];
    const Lab& p3 = labs[std::min(k + 2, labs.size() - 1)];
    const auto channel = [&](double Lab::*c) {
      return hermite(lightness, p0.lightness, p0.*c, p1.lightness, p1.*c, p2.lightness, p2.*c, p3.lightness, p3.*c);
    };
    colors.push_back(color_from({lightness, channel(&Lab::a), channel(&Lab::b)}));
  }
  return colors;
}

/// From the negative end over the neutral middle to the positive end; control points evenly spaced on each arm.
std::vector<Color> diverging(const std::vector<uint32_t>& negative, uint32_t middle,
                             const std::vector<uint32_t>& positive) {
  const auto arm_color = [&](const std::vector<uint32_t>& arm, double t) {  // t 0 at the middle, 1 at the end
    std::vector<Lab> labs = {oklab_from(middle)};
    for (const uint32_t hex : arm) labs.push_back(oklab_from(hex));
    const double place = t * static_cast<double>(labs.size() - 1);
    const size_t k = std::min(static_cast<size_t>(place), labs.size() - 2);
    const double f = place - static_cast<double>(k);
    const auto mix = [&](double Lab::*c) { return labs[k].*c + f * (labs[k + 1].*c - labs[k].*c); };
    return color_from({mix(&Lab::lightness), mix(&Lab::a), mix(&Lab::b)});
  };
  std::vector<Color> colors;
  constexpr int kHalf = kDivergingColors / 2;
  for (int i = -kHalf; i <= kHalf; ++i) {
    colors.push_back(arm_color(i < 0 ? negative : positive, std::abs(i) / static_cast<double>(kHalf)));
  }
  return colors;
}

template <typename F>
std::vector<Color> sampled(int count, F&& rgb_of) {
  std::vector<Color> colors;
  for (int i = 0; i < count; ++i) {
    const std::array<double, 3> rgb = rgb_of(i / (count - 1.0));
    colors.push_back({byte_from(255 * rgb[0]), byte_from(255 * rgb[1]), byte_from(255 * rgb[2])});
  }
  return colors;
}

double polynomial(double x, const std::array<double, 6>& coefficients) {
  double value = 0;
  for (size_t i = coefficients.size(); i-- > 0;) value = value * x + coefficients[i];
  return value;
}

// A. Mikhailov, "Turbo, an improved rainbow colormap for visualization", 2019; polynomial approximation by R. Du.
std::array<double, 3> turbo(double x) {
  return {polynomial(x, {0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943}),
          polynomial(x, {0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604}),
          polynomial(x, {0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973})};
}

std::array<double, 3> jet(double x) {
  const auto ramp = [&](double center) { return std::clamp(1.5 - std::abs(4 * x - center), 0.0, 1.0); };
  return {ramp(3), ramp(2), ramp(1)};
}

// Dark blue, blue, white, red, dark red; straight lines in sRGB, as the name is understood.
std::array<double, 3> seismic(double x) {
  const double v = 2 * x - 1;
  const double faded = 1 - std::min(1.0, 2 * std::abs(v));
  if (v < 0) return {faded, faded, v > -0.5 ? 1.0 : 1 + 0.7 * (2 * v + 1)};
  return {v < 0.5 ? 1.0 : 1 - 0.5 * (2 * v - 1), faded, faded};
}

std::vector<ColorMap> make_color_maps() {
  constexpr ColorMapKind kSequential = ColorMapKind::kSequential, kDiverging = ColorMapKind::kDiverging;
  return {
      {"turbo", kSequential, false, "rainbow with smooth steps; the most detail over a photo",
       sampled(kSequentialColors, turbo)},
      {"viridis", kSequential, true, "purple, green, yellow; even in lightness, safe for color-blind readers",
       even_lightness({0x440154, 0x414487, 0x2A788E, 0x22A884, 0x7AD151, 0xFDE725})},
      {"magma", kSequential, true, "black, purple, pale yellow; even in lightness",
       even_lightness({0x000004, 0x2C115F, 0x721F81, 0xB73779, 0xF1605D, 0xFEAF77, 0xFCFDBF})},
      {"inferno", kSequential, true, "black, red, pale yellow; even in lightness",
       even_lightness({0x000004, 0x320A5E, 0x781C6D, 0xBC3754, 0xED6925, 0xFBB41A, 0xFCFFA4})},
      {"plasma", kSequential, true, "blue, magenta, yellow; even in lightness",
       even_lightness({0x0D0887, 0x5B02A3, 0x9A179B, 0xCB4678, 0xEB7852, 0xFBB32F, 0xF0F921})},
      {"cividis", kSequential, true, "blue, grey, yellow; the same for readers who do not see red and green apart",
       even_lightness({0x00224E, 0x35456C, 0x666970, 0x948E77, 0xC8B866, 0xFEE838})},
      {"jet", kSequential, false, "the classic rainbow, for comparison with older pictures",
       sampled(kSequentialColors, jet)},
      {"gray", kSequential, true, "black to white",
       sampled(kSequentialColors,
               [](double x) {
                 return std::array<double, 3>{x, x, x};
               })},
      {"coolwarm", kDiverging, true, "blue, light grey, red; soft",
       diverging({0x9CB4EC, 0x6788DD, 0x3B4CC0}, 0xDDDDDD, {0xEBAA92, 0xD76A5A, 0xB40426})},
      {"rdbu", kDiverging, true, "blue, white, red; strong ends",
       diverging({0xC6DEED, 0x8BBEDA, 0x3F8CC0, 0x1E61A5, 0x08306B}, 0xF7F7F7,
                 {0xFBD5C0, 0xF1A07E, 0xD45D4B, 0xAE1A2D, 0x67001F})},
      {"seismic", kDiverging, false, "pure blue, white, pure red", sampled(kDivergingColors, seismic)},
      {"piyg", kDiverging, true, "pink, white, green",
       diverging({0xF3CFE5, 0xE39BCB, 0xC9509D, 0x8E0152}, 0xF7F7F7, {0xDBEFC0, 0xA8D672, 0x66A43A, 0x276419})},
  };
}

}  // namespace

Color ColorMap::color_of(double value) const {
  const double place = kind == ColorMapKind::kDiverging ? (value + 1) / 2 : value;
  const double last = static_cast<double>(colors.size() - 1);
  return colors[static_cast<size_t>(std::clamp(place, 0.0, 1.0) * last + 0.5)];
}

const std::vector<ColorMap>& color_maps() {
  static const std::vector<ColorMap> maps = make_color_maps();
  return maps;
}

const ColorMap& find_color_map(const std::string& name) {
  std::vector<std::string> names;
  for (const ColorMap& map : color_maps()) {
    if (name == map.name) return map;
    names.emplace_back(map.name);
  }
  throw_usage("no color map '" + printable(name, 40) + "'" + did_you_mean(name, names) + " (all: " + join(names, ", ") +
              ")");
}

}  // namespace pellucid
