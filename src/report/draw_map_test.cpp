#include <gtest/gtest.h>

#include "pellucid/report.h"

namespace pellucid {
namespace {

Color color_at(const Image& image, int x, int y) {
  const uint8_t* p = image.at(x, y);
  return {p[0], p[1], p[2]};
}

MapStyle opaque(const char* colors) {
  MapStyle style;
  style.color_map = colors;
  style.opacity = 1;
  return style;
}

// One number per pixel at full opacity: each pixel is the color of its share of the maximum.
TEST(DrawMap, OpaqueOverlayIsTheColorOfEachNumber) {
  const Rect whole{0, 0, 2, 2};
  const Tensor map = at::tensor(std::vector<float>{0, 1, 2, 4}).view({2, 2});
  const DrawnMap drawn = draw_map(Image(2, 2, 3, 100), whole, whole, map, opaque("viridis"));
  EXPECT_EQ(drawn.range.high, 4);
  const ColorMap& colors = find_color_map("viridis");
  EXPECT_EQ(color_at(drawn.overlay, 0, 0), colors.color_of(0));
  EXPECT_EQ(color_at(drawn.overlay, 1, 0), colors.color_of(0.25));
  EXPECT_EQ(color_at(drawn.overlay, 0, 1), colors.color_of(0.5));
  EXPECT_EQ(color_at(drawn.overlay, 1, 1), colors.color_of(1));
}

// The model saw the middle two columns of four. The others are grey: luma 100 becomes 100 / 2 + 40.
TEST(DrawMap, WhatTheModelDidNotSeeIsDimmed) {
  const Tensor map = at::ones({2, 2});
  const DrawnMap drawn = draw_map(Image(4, 2, 3, 100), {1, 0, 2, 2}, {0, 0, 2, 2}, map, opaque("gray"));
  for (int y = 0; y < 2; ++y) {
    EXPECT_EQ(color_at(drawn.overlay, 0, y), (Color{90, 90, 90}));
    EXPECT_EQ(color_at(drawn.overlay, 3, y), (Color{90, 90, 90}));
  }
  EXPECT_NE(color_at(drawn.overlay, 1, 0), (Color{90, 90, 90}));
}

// Letterbox filling of the input belongs to no pixel of the photo, however hot the map is there.
TEST(DrawMap, LetterboxFillingIsCutOff) {
  Tensor map = at::zeros({4, 2});
  map[0] = 8;
  map[1] = 1;
  map[2] = 1;
  MapStyle style = opaque("viridis");
  const DrawnMap drawn =
      draw_map(Image(2, 2, 3), {0, 0, 2, 2}, {0, 1, 2, 2}, map, ValueRange{0, 1, false, false}, style);
  for (int y = 0; y < 2; ++y) EXPECT_EQ(color_at(drawn.overlay, 0, y), find_color_map("viridis").color_of(1));
}

TEST(DrawMap, SignedMapsPutZeroInTheMiddleOfADivergingColorMap) {
  const Rect whole{0, 0, 3, 1};
  MapStyle style = opaque("");
  style.heatmap.normalization = Normalization::kSymmetric;
  const Tensor map = at::tensor(std::vector<float>{-1, 0, 4}).view({1, 3});
  const DrawnMap drawn = draw_map(Image(3, 1, 3), whole, whole, map, style);
  EXPECT_STREQ(drawn.color_map->name, "coolwarm");
  EXPECT_EQ(color_at(drawn.overlay, 0, 0), drawn.color_map->color_of(-0.25));
  EXPECT_EQ(color_at(drawn.overlay, 1, 0), drawn.color_map->color_of(0));
  EXPECT_EQ(color_at(drawn.overlay, 2, 0), drawn.color_map->color_of(1));
}

// A signed number per pixel at half opacity: sqrt|v| of its color over the photo's luma 124.2, brought to 120..255.
TEST(DrawMap, SignedPixelMapsLieOnAPaleGreyPhoto) {
  const Rect whole{0, 0, 4, 1};
  Image photo(4, 1, 3);
  for (int x = 0; x < 4; ++x) std::copy_n(Color{200, 100, 50}.begin(), 3, photo.at(x, 0));
  MapStyle style;
  style.per_pixel = true;
  const Tensor map = at::tensor(std::vector<float>{-4, 0, 1, 4}).view({1, 4});
  const ValueRange range{-4, 4, true, false};
  const DrawnMap drawn = draw_map(photo, whole, whole, map, range, style);
  const int grey = 186;  // 120 + 135 * 124.2 / 255
  EXPECT_EQ(color_at(drawn.overlay, 0, 0), drawn.color_map->color_of(-1));
  EXPECT_EQ(color_at(drawn.overlay, 1, 0), (Color{grey, grey, grey}));
  EXPECT_EQ(color_at(drawn.overlay, 3, 0), drawn.color_map->color_of(1));
  const Color quarter = drawn.color_map->color_of(0.25), seen = color_at(drawn.overlay, 2, 0);
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(seen[c], (grey + quarter[c]) / 2.0, 0.5);
  // Other maps, and unsigned ones, leave the photo its colors where they say nothing.
  style.per_pixel = false;
  EXPECT_EQ(color_at(draw_map(photo, whole, whole, map, range, style).overlay, 1, 0), (Color{200, 100, 50}));
  style.per_pixel = true;
  style.opacity = 0;
  EXPECT_EQ(draw_map(photo, whole, whole, map, range, style).overlay.pixels, photo.pixels);
}

}  // namespace
}  // namespace pellucid
