#include "pellucid/segment.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pellucid/error.h"

namespace pellucid {
namespace {

struct Scene {
  Image photo, truth;
  std::vector<float> map;  ///< Sure of the middle of the disc only.
};

/// A red textured disc on a blue-green texture; the map is a bump much smaller than the disc.
Scene disc_scene(int side) {
  Scene s{Image(side, side, 3), Image(side, side, 1, 0), {}};
  const double center = side * 0.55, radius = side * 0.25;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const double d = std::hypot(x - center, y - center);
      const int texture = (x * 7 + y * 13) % 40;
      uint8_t* p = s.photo.at(x, y);
      if (d < radius) {
        p[0] = static_cast<uint8_t>(190 + texture);
        p[1] = static_cast<uint8_t>(40 + texture / 2);
        p[2] = 50;
        *s.truth.at(x, y) = 255;
      } else {
        p[0] = static_cast<uint8_t>(20 + texture / 2);
        p[1] = static_cast<uint8_t>(90 + texture);
        p[2] = static_cast<uint8_t>(120 + texture);
      }
      s.map.push_back(static_cast<float>(std::exp(-d * d / (0.3 * radius * radius))));
    }
  }
  return s;
}

TEST(SegmentGrabCut, FindsTheWholeObjectFromAMapOfItsMiddle) {
  const Scene s = disc_scene(160);
  const Segment found = segment_grabcut(s.photo, s.map);
  EXPECT_GT(mask_iou(found.mask, s.truth), 0.95);
  EXPECT_GT(box_iou(found.box, bounding_box(s.truth)), 0.95);
  EXPECT_EQ(found.note, "");
  // The same again, bit by bit: k-means inside draws from a fixed state.
  EXPECT_EQ(segment_grabcut(s.photo, s.map).mask.pixels, found.mask.pixels);
  // Negative values are no evidence, however large.
  std::vector<float> negative = s.map;
  for (size_t i = 0; i < negative.size(); ++i) {
    if (s.truth.pixels[i] == 0) negative[i] = -1000;
  }
  EXPECT_GT(mask_iou(segment_grabcut(s.photo, negative).mask, s.truth), 0.95);
}

TEST(SegmentGrabCut, LargePicturesAreCutSmallerAndSaySo) {
  const Scene s = disc_scene(160);
  GrabCutOptions small;
  small.max_pixels = 80 * 80;
  const Segment found = segment_grabcut(s.photo, s.map, small);
  EXPECT_EQ(found.mask.width, 160);
  // The outline of 2 pi 40 pixels may be off by one pixel of the smaller cut, two of these: at most a tenth.
  EXPECT_GT(mask_iou(found.mask, s.truth), 0.9);
  EXPECT_EQ(found.note, "the segment was cut at 80x80 and enlarged");
}

TEST(SegmentGrabCut, DegenerateMapsAreNotedAndNeverFail) {
  const Scene s = disc_scene(40);
  for (const float value : {0.0f, 1.0f, -1.0f}) {
    const Segment none = segment_grabcut(s.photo, std::vector<float>(s.map.size(), value));
    EXPECT_EQ(none.num_pixels, 0);
    EXPECT_EQ(none.box.width, 0);
    EXPECT_EQ(none.note, "no segment: the map has no contrast");
  }
  // One hot pixel: too little to learn colors from.
  std::vector<float> dot(s.map.size(), 0.0f);
  dot[820] = 1;
  EXPECT_EQ(segment_grabcut(s.photo, dot).note,
            "no segment: 1 pixels stand out of the map and 1599 lie low; GrabCut needs 10 of each");
  // A plateau that fills more than the upper 5 %: nothing lies above the quantile, so the plateau itself teaches.
  std::vector<float> plateau;
  for (const uint8_t inside : s.truth.pixels) plateau.push_back(inside ? 1.0f : 0.0f);
  EXPECT_GT(mask_iou(segment_grabcut(s.photo, plateau).mask, s.truth), 0.95);
  // Noise, a photo of one color, one row, one pixel.
  std::vector<float> noise;
  for (size_t i = 0; i < s.map.size(); ++i) noise.push_back(static_cast<float>((i * 2654435761u) % 1000));
  EXPECT_NO_THROW(segment_grabcut(s.photo, noise));
  EXPECT_NO_THROW(segment_grabcut(Image(40, 40, 3, 77), s.map));
  EXPECT_NO_THROW(segment_grabcut(Image(1600, 1, 3, 77), noise));
  EXPECT_EQ(segment_grabcut(Image(1, 1, 1, 9), {3}).num_pixels, 0);
  EXPECT_THROW(segment_grabcut(s.photo, {1, 2, 3}), Error);
  EXPECT_THROW(segment_grabcut(Image(1, 1, 3), {std::nanf("")}), Error);
}

// Two blobs of 2 x 2 and 3 x 2 by hand; the smaller holds the maximum. Touching corners connect.
TEST(SegmentBox, IsAroundTheLargestComponentAboveTheThreshold) {
  const std::vector<float> map{
      9, 9, 0, 0, 0, 0, 0,  //
      9, 9, 0, 0, 5, 5, 5,  //
      0, 0, 0, 0, 5, 5, 5,  //
      0, 0, 0, 1, 0, 0, 0,  //
  };
  const Segment strict = segment_box(map, 7, 4, 0.5);
  EXPECT_EQ(strict.num_pixels, 6);
  EXPECT_EQ(strict.box.x, 4);
  EXPECT_EQ(strict.box.y, 1);
  EXPECT_EQ(strict.box.width, 3);
  EXPECT_EQ(strict.box.height, 2);
  // 1 >= 0.1 * 9, and it touches the larger blob at a corner.
  const Segment loose = segment_box(map, 7, 4, 0.1);
  EXPECT_EQ(loose.num_pixels, 7);
  EXPECT_EQ(loose.box.x, 3);
  EXPECT_EQ(loose.box.height, 3);
  EXPECT_EQ(segment_box(map, 7, 4, 0.6).num_pixels, 4);
  EXPECT_EQ(segment_box({-1, -2}, 2, 1, 0.5).note, "no box: the map has no contrast");
  EXPECT_THROW(segment_box(map, 7, 4, 0), Error);
}

// 4 x 2 and 4 x 2 shifted by 2: 4 of 12 pixels.
TEST(SegmentScores, AreTheSharesOfTheUnion) {
  EXPECT_DOUBLE_EQ(box_iou({0, 0, 4, 2}, {2, 0, 4, 2}), 4.0 / 12);
  EXPECT_DOUBLE_EQ(box_iou({0, 0, 4, 2}, {}), 0);
  Image a(6, 2, 1, 0), b(6, 2, 1, 0);
  paste(a, Image(4, 2, 1, 255), 0, 0);
  paste(b, Image(4, 2, 1, 255), 2, 0);
  EXPECT_DOUBLE_EQ(mask_iou(a, b), 4.0 / 12);
  EXPECT_EQ(bounding_box(b).x, 2);
  EXPECT_EQ(bounding_box(b).width, 4);
  const Image cut = cut_out(Image(6, 2, 3, 50), b);
  EXPECT_EQ(cut.at(0, 0)[3], 0);
  EXPECT_EQ(cut.at(3, 1)[3], 255);
  EXPECT_EQ(cut.at(3, 1)[0], 50);
}

}  // namespace
}  // namespace pellucid
