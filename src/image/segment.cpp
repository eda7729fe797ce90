#include "pellucid/segment.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr int kMinSeeds = 10;      // GrabCut's k-means needs one sample for each of its 5 Gaussians; twice that is safe
constexpr int kMaxSeeds = 50'000;  // a side; more do not change 5 Gaussians, but k-means takes their time
constexpr uint64_t kKmeansSeed = 1;

void check_map(const std::vector<float>& map, int width, int height) {
  if (width < 1 || height < 1 || map.size() != static_cast<size_t>(width) * static_cast<size_t>(height)) {
    throw_usage("segment: a map of " + std::to_string(map.size()) + " values for " + std::to_string(width) + "x" +
                std::to_string(height) + " pixels");
  }
  for (const float v : map) {
    if (!std::isfinite(v)) throw_failed("segment: the map holds a value that is not finite");
  }
}

/// Nothing to segment: no positive value, or the same everywhere.
bool without_contrast(const std::vector<float>& map) {
  const auto [low, high] = std::minmax_element(map.begin(), map.end());
  return *high <= 0 || *high - *low <= 1e-12 * std::max(1.0f, std::abs(*high));
}

Segment none(int width, int height, const std::string& note) {
  Segment segment;
  segment.mask = Image(width, height, 1, 0);
  segment.note = note;
  return segment;
}

/// The largest 8-connected component of what is not 0 in `region`.
Segment largest_component(const cv::Mat& region) {
  cv::Mat labels, stats, centers;
  const int count = cv::connectedComponentsWithStats(region, labels, stats, centers, 8, CV_32S);
  Segment segment;
  segment.mask = Image(region.cols, region.rows, 1, 0);
  int best = 0;
  for (int i = 1; i < count; ++i) {
    if (best == 0 || stats.at<int>(i, cv::CC_STAT_AREA) > stats.at<int>(best, cv::CC_STAT_AREA)) best = i;
  }
  if (best == 0) return segment;
  segment.num_pixels = stats.at<int>(best, cv::CC_STAT_AREA);
  segment.box = {stats.at<int>(best, cv::CC_STAT_LEFT), stats.at<int>(best, cv::CC_STAT_TOP),
                 stats.at<int>(best, cv::CC_STAT_WIDTH), stats.at<int>(best, cv::CC_STAT_HEIGHT)};
  mat_of(segment.mask).setTo(255, labels == best);
  return segment;
}

/// The value that a share `q` of all values does not exceed.
float quantile(std::vector<float> values, double q) {
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

struct Seeds {
  std::vector<int> foreground, background;  ///< Pixel indices.
};

/// By value where that selects enough, else the highest by rank: with many equal values nothing lies above a quantile.
Seeds find_seeds(const std::vector<float>& map, const GrabCutOptions& options) {
  const float high = quantile(map, options.foreground_quantile), low = quantile(map, options.background_quantile);
  Seeds seeds;
  for (size_t i = 0; i < map.size(); ++i) {
    if (map[i] > high) {
      seeds.foreground.push_back(static_cast<int>(i));
    } else if (map[i] <= low) {
      seeds.background.push_back(static_cast<int>(i));
    }
  }
  if (seeds.foreground.size() < kMinSeeds && high > low) {
    seeds.foreground.clear();
    for (size_t i = 0; i < map.size(); ++i) {
      if (map[i] >= high) seeds.foreground.push_back(static_cast<int>(i));
    }
  }
  return seeds;
}

std::vector<int> thinned(const std::vector<int>& all) {
  if (all.size() <= kMaxSeeds) return all;
  std::vector<int> some;
  for (size_t i = 0; i < kMaxSeeds; ++i) some.push_back(all[i * all.size() / kMaxSeeds]);
  return some;
}

/// One row of seed pixels with sure labels, from which no cut is made: only the two color models are fitted.
void fit_color_models(const cv::Mat& picture, const Seeds& seeds, cv::Mat& background, cv::Mat& foreground) {
  const std::vector<int> inside = thinned(seeds.foreground), outside = thinned(seeds.background);
  cv::Mat row(1, static_cast<int>(inside.size() + outside.size()), CV_8UC3), labels(row.size(), CV_8UC1);
  int column = 0;
  const auto add = [&](const std::vector<int>& pixels, uint8_t label) {
    for (const int i : pixels) {
      row.at<cv::Vec3b>(0, column) = picture.at<cv::Vec3b>(i / picture.cols, i % picture.cols);
      labels.at<uint8_t>(0, column++) = label;
    }
  };
  add(inside, cv::GC_FGD);
  add(outside, cv::GC_BGD);
  cv::setRNGSeed(static_cast<int>(kKmeansSeed));
  cv::grabCut(row, labels, cv::Rect(), background, foreground, 0, cv::GC_INIT_WITH_MASK);
}

}  // namespace

Segment segment_grabcut(const Image& photo, const std::vector<float>& map, const GrabCutOptions& options) {
  check_image(photo, "segment: photo");
  check_map(map, photo.width, photo.height);
  if (!(options.background_quantile > 0 && options.background_quantile < options.foreground_quantile &&
        options.foreground_quantile < 1)) {
    throw_usage("segment: quantiles " + number_text(options.background_quantile) + " and " +
                number_text(options.foreground_quantile) + "; 0 < background < foreground < 1 was expected");
  }
  std::vector<float> positive = map;
  for (float& v : positive) v = std::max(v, 0.0f);
  if (without_contrast(positive)) return none(photo.width, photo.height, "no segment: the map has no contrast");

  const double area = static_cast<double>(photo.width) * photo.height;
  const double scale = std::min(1.0, std::sqrt(static_cast<double>(options.max_pixels) / area));
  const int width = std::max(1, static_cast<int>(photo.width * scale));
  const int height = std::max(1, static_cast<int>(photo.height * scale));
  Image picture = rgb_from(photo);
  if (scale < 1) {
    picture = resize(picture, width, height);
    positive = resize_map(positive.data(), photo.height, photo.width, height, width);
  }
  const Seeds seeds = find_seeds(positive, options);
  if (seeds.foreground.size() < kMinSeeds || seeds.background.size() < kMinSeeds) {
    return none(photo.width, photo.height,
                "no segment: " + std::to_string(seeds.foreground.size()) + " pixels stand out of the map and " +
                    std::to_string(seeds.background.size()) + " lie low; GrabCut needs 10 of each");
  }
  cv::Mat background, foreground;
  const cv::Mat pixels = mat_of(picture);
  fit_color_models(pixels, seeds, background, foreground);
  // Every pixel is free: the seeds have done their part in the color models.
  cv::Mat labels(pixels.size(), CV_8UC1, cv::Scalar(cv::GC_PR_BGD));
  cv::grabCut(pixels, labels, cv::Rect(), background, foreground, 1, cv::GC_EVAL_FREEZE_MODEL);
  Segment segment = largest_component(labels == cv::GC_PR_FGD);
  if (segment.num_pixels == 0) {
    return none(photo.width, photo.height, "no segment: what the map marks has the colors of the rest");
  }
  if (scale < 1) {
    const Image enlarged = resize(segment.mask, photo.width, photo.height, Filter::kBilinear);
    segment = largest_component(mat_of(enlarged) > 127);
    segment.note = "the segment was cut at " + std::to_string(width) + "x" + std::to_string(height) + " and enlarged";
  }
  return segment;
}

Segment segment_box(const std::vector<float>& map, int width, int height, double threshold) {
  check_map(map, width, height);
  if (!(threshold > 0 && threshold <= 1)) {
    throw_usage("segment: threshold is " + number_text(threshold) + "; it must be above 0 and at most 1");
  }
  std::vector<float> positive = map;
  for (float& v : positive) v = std::max(v, 0.0f);
  if (without_contrast(positive)) return none(width, height, "no box: the map has no contrast");
  const double limit = threshold * *std::max_element(positive.begin(), positive.end());
  cv::Mat region(height, width, CV_8UC1);
  for (size_t i = 0; i < positive.size(); ++i) {
    region.data[i] = positive[i] > 0 && positive[i] >= limit ? uint8_t{255} : uint8_t{0};
  }
  return largest_component(region);
}

Image cut_out(const Image& photo, const Image& mask) {
  check_image(photo, "cutout: photo");
  check_image(mask, "cutout: mask");
  if (mask.channels != 1 || mask.width != photo.width || mask.height != photo.height) {
    throw_usage("cutout: the mask must have one channel and the photo's size");
  }
  const Image rgb = rgb_from(photo);
  Image result(photo.width, photo.height, 4);
  for (int y = 0; y < photo.height; ++y) {
    for (int x = 0; x < photo.width; ++x) {
      if (*mask.at(x, y) <= 127) continue;
      uint8_t* p = std::copy_n(rgb.at(x, y), 3, result.at(x, y));
      *p = 255;
    }
  }
  return result;
}

Rect bounding_box(const Image& mask) {
  check_image(mask, "mask");
  int left = mask.width, top = mask.height, right = -1, bottom = -1;
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      if (*mask.at(x, y) <= 127) continue;
      left = std::min(left, x);
      right = std::max(right, x);
      top = std::min(top, y);
      bottom = std::max(bottom, y);
    }
  }
  return right < 0 ? Rect{} : Rect{left, top, right - left + 1, bottom - top + 1};
}

double box_iou(const Rect& a, const Rect& b) {
  const auto overlap = [](int a0, int an, int b0, int bn) {
    return static_cast<double>(std::max(0, std::min(a0 + an, b0 + bn) - std::max(a0, b0)));
  };
  const double both = overlap(a.x, a.width, b.x, b.width) * overlap(a.y, a.height, b.y, b.height);
  const double all = static_cast<double>(a.width) * a.height + static_cast<double>(b.width) * b.height - both;
  return all > 0 ? both / all : 0;
}

double mask_iou(const Image& a, const Image& b) {
  if (a.channels != 1 || b.channels != 1 || a.width != b.width || a.height != b.height) {
    throw_usage("mask IoU: two masks of one channel and one size were expected");
  }
  int64_t both = 0, either = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const bool in_a = a.pixels[i] > 127, in_b = b.pixels[i] > 127;
    both += in_a && in_b;
    either += in_a || in_b;
  }
  return either ? static_cast<double>(both) / static_cast<double>(either) : 0;
}

}  // namespace pellucid
