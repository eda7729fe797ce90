#include <algorithm>
#include <cmath>
#include <map>
#include <opencv2/imgproc.hpp>
#include <opencv2/ximgproc/seeds.hpp>
#include <opencv2/ximgproc/slic.hpp>

#include "image/check.h"
#include "image/mat.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

/// Labels of the 4-connected pieces of equal value, in scan order, and their sizes.
std::vector<int> connected_pieces(const std::vector<int>& values, int width, int height, std::vector<int>& sizes) {
  std::vector<int> pieces(values.size(), -1), stack;
  sizes.clear();
  for (size_t start = 0; start < values.size(); ++start) {
    if (pieces[start] >= 0) continue;
    const int piece = static_cast<int>(sizes.size());
    sizes.push_back(0);
    stack.assign(1, static_cast<int>(start));
    pieces[start] = piece;
    while (!stack.empty()) {
      const int at = stack.back(), x = at % width, y = at / width;
      stack.pop_back();
      ++sizes.back();
      const auto visit = [&](int next) {
        const auto n = static_cast<size_t>(next);
        if (pieces[n] >= 0 || values[n] != values[static_cast<size_t>(at)]) return;
        pieces[n] = piece;
        stack.push_back(next);
      };
      if (x > 0) visit(at - 1);
      if (x + 1 < width) visit(at + 1);
      if (y > 0) visit(at - width);
      if (y + 1 < height) visit(at + width);
    }
  }
  return pieces;
}

/// Gives every piece smaller than `smallest` to the neighbour that it shares the longest border with.
std::vector<int> without_crumbs(std::vector<int> labels, int width, int height, int smallest) {
  std::vector<int> sizes;
  while (true) {
    labels = connected_pieces(labels, width, height, sizes);
    if (sizes.size() == 1) return labels;
    // Borders of the small pieces only.
    std::map<int, std::map<int, int>> borders;
    const auto meet = [&](size_t a, size_t b) {
      if (labels[a] == labels[b]) return;
      if (sizes[static_cast<size_t>(labels[a])] < smallest) ++borders[labels[a]][labels[b]];
      if (sizes[static_cast<size_t>(labels[b])] < smallest) ++borders[labels[b]][labels[a]];
    };
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const size_t at = static_cast<size_t>(y) * width + x;
        if (x + 1 < width) meet(at, at + 1);
        if (y + 1 < height) meet(at, at + static_cast<size_t>(width));
      }
    }
    if (borders.empty()) return labels;
    // Smaller pieces go first; one that something was given to in this round waits for the next.
    std::vector<int> target(sizes.size());
    for (size_t i = 0; i < target.size(); ++i) target[i] = static_cast<int>(i);
    std::vector<bool> settled(sizes.size(), false);
    std::vector<int> order;
    for (const auto& entry : borders) order.push_back(entry.first);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return sizes[static_cast<size_t>(a)] < sizes[static_cast<size_t>(b)]; });
    for (const int piece : order) {
      if (settled[static_cast<size_t>(piece)]) continue;
      const auto& neighbors = borders[piece];
      const auto best = std::max_element(neighbors.begin(), neighbors.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
      if (target[static_cast<size_t>(best->first)] != best->first) continue;
      target[static_cast<size_t>(piece)] = best->first;
      settled[static_cast<size_t>(best->first)] = true;
    }
    for (int& label : labels) label = target[static_cast<size_t>(label)];
  }
}

std::vector<int> vector_from(const cv::Mat& labels) {
  std::vector<int> result(labels.total());
  for (int y = 0; y < labels.rows; ++y) {
    std::copy(labels.ptr<int>(y), labels.ptr<int>(y) + labels.cols,
              result.begin() + static_cast<ptrdiff_t>(y) * labels.cols);
  }
  return result;
}

cv::Mat lab_of(const Image& image) {
  const Image rgb = rgb_from(image);
  cv::Mat lab;
  cv::cvtColor(mat_of(rgb), lab, cv::COLOR_RGB2Lab);
  return lab;
}

/// Crumbs are what is smaller than this share of the mean superpixel.
constexpr int kCrumbShare = 8;

Superpixels finished(const cv::Mat& labels, int64_t typical_size) {
  Superpixels result;
  result.width = labels.cols;
  result.height = labels.rows;
  const int smallest = static_cast<int>(std::max<int64_t>(1, typical_size / kCrumbShare));
  result.labels = without_crumbs(vector_from(labels), labels.cols, labels.rows, smallest);
  result.count = *std::max_element(result.labels.begin(), result.labels.end()) + 1;
  return result;
}

/// One label each where a superpixel is a pixel.
Superpixels single_pixels(const Image& image) {
  Superpixels result{image.width, image.height, image.width * image.height, {}};
  result.labels.resize(static_cast<size_t>(result.count));
  for (size_t i = 0; i < result.labels.size(); ++i) result.labels[i] = static_cast<int>(i);
  return result;
}

}  // namespace

Superpixels slic_superpixels(const Image& image, int size, double compactness, int iterations) {
  check_image(image, "slic_superpixels");
  if (size < 1 || iterations < 1 || !(compactness > 0)) {
    throw_usage("slic_superpixels: size " + std::to_string(size) + ", " + std::to_string(iterations) +
                " iterations; size and iterations must be >= 1 and compactness above 0");
  }
  if (size == 1) return single_pixels(image);
  cv::Mat lab = lab_of(image);
  cv::GaussianBlur(lab, lab, {3, 3}, 0);  // less ragged borders, as OpenCV's documentation advises
  // OpenCV wants at least one whole seed.
  size = std::min({size, image.width, image.height});
  if (size == 1) return single_pixels(image);
  const auto slic = cv::ximgproc::createSuperpixelSLIC(lab, cv::ximgproc::SLIC, size, static_cast<float>(compactness));
  slic->iterate(iterations);
  slic->enforceLabelConnectivity();
  cv::Mat labels;
  slic->getLabels(labels);
  return finished(labels, static_cast<int64_t>(size) * size);
}

Superpixels seeds_superpixels(const Image& image, int count, int iterations) {
  check_image(image, "seeds_superpixels");
  if (count < 1 || iterations < 1) {
    throw_usage("seeds_superpixels: " + std::to_string(count) + " superpixels, " + std::to_string(iterations) +
                " iterations; both must be >= 1");
  }
  const int64_t pixels = static_cast<int64_t>(image.width) * image.height;
  if (count == 1) return {image.width, image.height, 1, std::vector<int>(static_cast<size_t>(pixels), 0)};
  if (count >= pixels) return single_pixels(image);
  // OpenCV's SEEDS crashes on pictures one pixel wide; on other slivers its blocks mean little.
  constexpr int kSmallestSide = 8;
  if (std::min(image.width, image.height) < kSmallestSide) {
    const double side = std::sqrt(static_cast<double>(pixels) / static_cast<double>(count));
    return slic_superpixels(image, std::max(1, static_cast<int>(std::lround(side))), 10, iterations);
  }
  // Four levels of blocks, the custom, need superpixels of at least 8 pixels along each side.
  int levels = 1;
  while (levels < 4 && pixels / count >= (int64_t{4} << (2 * levels))) ++levels;
  const cv::Mat lab = lab_of(image);
  const auto seeds = cv::ximgproc::createSuperpixelSEEDS(image.width, image.height, 3, count, levels);
  seeds->iterate(lab, iterations);
  cv::Mat labels;
  seeds->getLabels(labels);
  return finished(labels, pixels / count);
}

}  // namespace pellucid
