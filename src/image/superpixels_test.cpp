#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "pellucid/error.h"
#include "pellucid/image.h"
#include "support/expect_error.h"

namespace pellucid::test {
namespace {

/// Four flat quarters of different colors, with a little noise.
Image quarters(int width, int height) {
  Image image(width, height, 3);
  const Color colors[] = {{200, 40, 40}, {40, 200, 40}, {40, 40, 200}, {200, 200, 40}};
  unsigned state = 1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        state = state * 1664525u + 1013904223u;
        image.at(x, y)[c] = static_cast<uint8_t>(
            colors[(y >= height / 2) * 2 + (x >= width / 2)][static_cast<size_t>(c)] + (state >> 28));
      }
    }
  }
  return image;
}

/// Labels 0..count-1, all used, each one 4-connected piece.
void expect_partition(const Superpixels& s) {
  ASSERT_EQ(s.labels.size(), static_cast<size_t>(s.width) * s.height);
  std::vector<bool> seen(s.labels.size(), false);
  std::set<int> done;
  for (size_t start = 0; start < seen.size(); ++start) {
    if (seen[start]) continue;
    const int label = s.labels[start];
    // Labels appear in scan order, and a second piece of a label would be met here again.
    EXPECT_EQ(label, static_cast<int>(done.size())) << start;
    EXPECT_TRUE(done.insert(label).second) << "label " << label << " is not connected";
    std::vector<size_t> stack{start};
    seen[start] = true;
    while (!stack.empty()) {
      const size_t at = stack.back();
      stack.pop_back();
      const int x = static_cast<int>(at) % s.width, y = static_cast<int>(at) / s.width;
      for (const auto& [dx, dy] : {std::pair{1, 0}, {-1, 0}, {0, 1}, {0, -1}}) {
        if (x + dx < 0 || x + dx >= s.width || y + dy < 0 || y + dy >= s.height) continue;
        const size_t next = static_cast<size_t>(y + dy) * s.width + static_cast<size_t>(x + dx);
        if (seen[next] || s.labels[next] != label) continue;
        seen[next] = true;
        stack.push_back(next);
      }
    }
  }
  EXPECT_EQ(static_cast<int>(done.size()), s.count);
}

/// The share of pixels that lie in the quarter that most of their superpixel lies in.
double purity(const Superpixels& s) {
  std::vector<std::array<int, 4>> counts(static_cast<size_t>(s.count), {0, 0, 0, 0});
  for (int y = 0; y < s.height; ++y) {
    for (int x = 0; x < s.width; ++x) {
      const int quarter = (y >= s.height / 2) * 2 + (x >= s.width / 2);
      ++counts[static_cast<size_t>(s.labels[static_cast<size_t>(y) * s.width + x])][static_cast<size_t>(quarter)];
    }
  }
  int pure = 0;
  for (const auto& c : counts) pure += *std::max_element(c.begin(), c.end());
  return static_cast<double>(pure) / static_cast<double>(s.labels.size());
}

TEST(Superpixels, SlicPartitionsAlongColors) {
  const Image image = quarters(90, 70);
  const Superpixels s = slic_superpixels(image, 12);
  expect_partition(s);
  EXPECT_NEAR(s.count, 90 * 70 / 144, 20);
  EXPECT_GT(purity(s), 0.97);
  EXPECT_EQ(slic_superpixels(image, 12).labels, s.labels);
}

TEST(Superpixels, SeedsPartitionAlongColors) {
  const Image image = quarters(96, 80);
  const Superpixels s = seeds_superpixels(image, 40);
  expect_partition(s);
  EXPECT_NEAR(s.count, 40, 20);
  EXPECT_GT(purity(s), 0.95);
  EXPECT_EQ(seeds_superpixels(image, 40).labels, s.labels);
}

TEST(Superpixels, SmallAndOddPicturesWork) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 9}, {7, 5}, {32, 32}, {33, 3}}) {
    const Image image = quarters(width, height);
    for (const int size : {1, 2, 5, 40}) expect_partition(slic_superpixels(image, size));
    for (const int count : {1, 2, 9, 50, 2000}) expect_partition(seeds_superpixels(image, count));
  }
  expect_partition(slic_superpixels(gray_from(quarters(20, 20)), 5));
  EXPECT_EQ(slic_superpixels(quarters(7, 5), 1).count, 35);
  EXPECT_EQ(seeds_superpixels(quarters(7, 5), 1).count, 1);
}

TEST(Superpixels, RefuseNumbersThatAreNotPositive) {
  expect_error(ErrorKind::kUsage,
               "slic_superpixels: size 0, 10 iterations; size and iterations must be >= 1 and compactness above 0",
               [] { slic_superpixels(quarters(8, 8), 0); });
  expect_error(ErrorKind::kUsage, "seeds_superpixels: 0 superpixels, 10 iterations; both must be >= 1",
               [] { seeds_superpixels(quarters(8, 8), 0); });
}

}  // namespace
}  // namespace pellucid::test
