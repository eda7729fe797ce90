#pragma once

#include <opencv2/core.hpp>

#include "pellucid/image.h"

namespace pellucid {

/// OpenCV's view of an image's own memory; valid while the image lives and keeps its size.
inline cv::Mat mat_of(Image& image) {
  return cv::Mat(image.height, image.width, CV_8UC(image.channels), image.pixels.data());
}
/// For functions that only read.
inline cv::Mat mat_of(const Image& image) {
  return cv::Mat(image.height, image.width, CV_8UC(image.channels), const_cast<uint8_t*>(image.pixels.data()));
}

inline cv::Scalar scalar_of(const Color& color) { return cv::Scalar(color[0], color[1], color[2]); }

}  // namespace pellucid
