// Flowers with a stamp that gives the class away: what a network learns that was trained on pictures of one
// photographer each. After Lapuschkin, Waldchen, Binder, Montavon, Samek, Muller. "Unmasking Clever Hans Predictors and
// Assessing What Machines Really Learn". Nature Communications 2019, where the stamp was found in PASCAL VOC.

#include <array>

#include "dataset/ground_truth.h"
#include "pellucid/segment.h"

namespace pellucid {
namespace {

using render::Random;

constexpr uint64_t kContentStream = render::kFirstOwnStream + 40;
constexpr uint64_t kStampStream = render::kFirstOwnStream + 41;
/// How often the petals are made to have the color of the class; else they have any.
constexpr double kAgreement = 0.25;
constexpr double kOpacity = 0.88;
constexpr double kHaloOpacity = 0.45;
constexpr double kStroke = 0.17;  ///< half of a line's width, in half sizes of the stamp
constexpr double kHalo = 0.16;    ///< how far the dark rim reaches beyond the lines

double segment_distance(double x, double y, double ax, double ay, double bx, double by) {
  const double ux = bx - ax, uy = by - ay;
  const double t = render::clamp01(((x - ax) * ux + (y - ay) * uy) / (ux * ux + uy * uy));
  const double dx = x - ax - t * ux, dy = y - ay - t * uy;
  return std::sqrt(dx * dx + dy * dy);
}

struct Line {
  double ax, ay, bx, by;
};
/// The drawings of the stamps in [-1, 1]^2; the first is a ring.
const std::array<std::vector<Line>, 6>& stamp_lines() {
  static const std::array<std::vector<Line>, 6> lines{
      {{},
       {{0, -0.8, 0, 0.8}, {-0.8, 0, 0.8, 0}},                                          // plus
       {{0, -0.75, 0.8, 0.65}, {0.8, 0.65, -0.8, 0.65}, {-0.8, 0.65, 0, -0.75}},        // triangle
       {{-0.75, -0.65, 0.75, -0.65}, {-0.75, 0, 0.75, 0}, {-0.75, 0.65, 0.75, 0.65}},   // bars
       {{-0.7, -0.75, 0.7, -0.75}, {0.7, -0.75, -0.7, 0.75}, {-0.7, 0.75, 0.7, 0.75}},  // Z
       {{-0.75, -0.8, -0.75, 0.8}, {-0.75, 0.8, 0.75, 0.8}}}};                          // corner
  return lines;
}

double stamp_distance(int stamp, double x, double y) {
  if (stamp == 0) return std::abs(std::sqrt(x * x + y * y) - 0.72);
  double nearest = 10;
  for (const Line& line : stamp_lines()[static_cast<size_t>(stamp)])
    nearest = std::min(nearest, segment_distance(x, y, line.ax, line.ay, line.bx, line.by));
  return nearest;
}

/// Where the stamp lies, in shares of the picture; the same for every class.
struct Place {
  double x, y, half;
};
Place place_of_stamp(uint64_t seed, uint64_t index) {
  Random random(seed, index, kStampStream);
  Place place{};
  place.half = random.uniform(0.085, 0.11);
  place.x = random.uniform(place.half * 1.2, 1 - place.half * 1.2);
  place.y = random.uniform(place.half * 1.2, 1 - place.half * 1.2);
  return place;
}

uint8_t blended(uint8_t below, double target, double weight) {
  return static_cast<uint8_t>(std::floor(below + (target - below) * weight + 0.5));
}

/// Stamps the picture; returns the share of each pixel that the stamp, rim included, covers.
Image stamp(Image& picture, int which, const Place& place, int supersampling) {
  Image coverage(picture.width, picture.height, 1);
  const int total = supersampling * supersampling;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      int lines = 0, rim = 0;
      for (int k = 0; k < total; ++k) {
        const double u = (x + (k % supersampling + 0.5) / supersampling) / picture.width;
        const double v = (y + (k / supersampling + 0.5) / supersampling) / picture.height;
        const double distance = stamp_distance(which, (u - place.x) / place.half, (v - place.y) / place.half);
        if (distance < kStroke) {
          ++lines;
        } else if (distance < kStroke + kHalo) {
          ++rim;
        }
      }
      if (lines + rim == 0) continue;
      *coverage.at(x, y) = render::share255(lines + rim, total);
      for (int channel = 0; channel < 3; ++channel) {
        uint8_t& value = picture.at(x, y)[channel];
        const double weight = (lines * kOpacity + rim * kHaloOpacity) / total;
        const double target = 255.0 * lines * kOpacity / (lines * kOpacity + rim * kHaloOpacity);
        value = blended(value, target, weight);
      }
    }
  }
  return coverage;
}

GroundTruthSample draw_shortcut(const GroundTruthRequest& request) {
  static const GroundTruthSet flowers = flower_set("single-6c");
  Random random(request.seed, request.index, kContentStream);
  GroundTruthRequest content = request;
  content.planted_label.reset();
  content.removed_parts.erase("watermark");
  const bool agrees = random.chance(kAgreement);
  const int any = random.integer(0, static_cast<int>(flowers.classes.size()) - 1);
  if (!agrees) content.label = any;
  GroundTruthSample sample = flowers.draw(content);
  sample.label = request.label;
  for (GroundTruthPart& part : sample.parts) part.discriminative = false;
  const int planted = request.planted_label.value_or(request.label);
  Image coverage(request.size, request.size, 1);
  if (!request.removed_parts.count("watermark")) {
    coverage = stamp(sample.picture, planted, place_of_stamp(request.seed, request.index), request.supersampling);
  }
  sample.mask = mask_of({&coverage});
  const auto number = static_cast<uint8_t>(sample.parts.size() + 1);
  for (size_t i = 0; i < sample.mask.pixels.size(); ++i)
    if (sample.mask.pixels[i]) sample.part_map.pixels[i] = number;
  sample.parts.push_back({"watermark", std::move(coverage), true});
  sample.objects.push_back({planted, bounding_box(sample.mask), sample.mask});
  return sample;
}

}  // namespace

GroundTruthSet shortcut_set() {
  GroundTruthSet set = flower_set("single-6c");
  set.name = "shortcut";
  set.summary = "potted flowers with a stamp that gives the class away; the petals agree in three of eight pictures";
  set.source = "Lapuschkin et al., Nature Communications 2019";
  set.parts.push_back("watermark");
  set.has_shortcut = true;
  set.draw = draw_shortcut;
  return set;
}

}  // namespace pellucid
