#include <algorithm>
#include <cmath>
#include <utility>

#include "image/check.h"
#include "pellucid/error.h"

namespace pellucid {
namespace {

/// What one output pixel takes from one row or column of the input.
struct Taps {
  int first = 0;
  std::vector<double> weights;  ///< Sum to 1.
};

double sinc(double x) { return x == 0 ? 1.0 : std::sin(M_PI * x) / (M_PI * x); }

double kernel(Filter filter, double x) {
  x = std::abs(x);
  switch (filter) {
    case Filter::kLanczosAntialias:
      return x < 3 ? sinc(x) * sinc(x / 3) : 0;
    case Filter::kBicubicAntialias: {
      // Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 4 with a = -1/2.
      constexpr double a = -0.5;
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    }
    default:
      return std::max(0.0, 1 - x);
  }
}

double kernel_support(Filter filter) {
  return filter == Filter::kLanczosAntialias ? 3 : filter == Filter::kBicubicAntialias ? 2 : 1;
}

Taps normalized(int first, const std::vector<double>& weights) {
  double sum = 0;
  for (const double w : weights) sum += w;
  Taps taps;
  taps.first = first;
  for (const double w : weights) taps.weights.push_back(w / sum);
  return taps;
}

Taps taps_for(int out, int in_size, int out_size, Filter filter) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double center = (out + 0.5) * scale;
  std::vector<double> weights;
  if (filter == Filter::kNearest) {
    return normalized(std::min(static_cast<int>(center), in_size - 1), {1.0});
  }
  if (filter == Filter::kArea) {
    const double low = out * scale, high = (out + 1) * scale;
    const int first = std::min(static_cast<int>(low), in_size - 1);
    const int last = std::clamp(static_cast<int>(std::ceil(high)) - 1, first, in_size - 1);
    for (int i = first; i <= last; ++i)
      weights.push_back(std::max(1e-9, std::min(high, i + 1.0) - std::max(low, double(i))));
    return normalized(first, weights);
  }
  if (filter == Filter::kBilinear) {
    const double position = std::clamp(center - 0.5, 0.0, in_size - 1.0);
    const int first = std::min(static_cast<int>(position), std::max(in_size - 2, 0));
    if (in_size == 1) return normalized(0, {1.0});
    return normalized(first, {1 - (position - first), position - first});
  }
  const double stretch = std::max(scale, 1.0);
  const double support = kernel_support(filter) * stretch;
  const int first = std::max(static_cast<int>(center - support + 0.5), 0);
  const int end = std::min(static_cast<int>(center + support + 0.5), in_size);
  for (int i = first; i < end; ++i) weights.push_back(kernel(filter, (i - center + 0.5) / stretch));
  return normalized(first, weights);
}

std::vector<Taps> all_taps(int in_size, int out_size, Filter filter) {
  std::vector<Taps> taps;
  taps.reserve(static_cast<size_t>(out_size));
  for (int out = 0; out < out_size; ++out) taps.push_back(taps_for(out, in_size, out_size, filter));
  return taps;
}

// Pillow computes with weights of 22 fractional bits. With the same weights, sums that fall on a half round the same
// way, and pictures are equal to the last bit. Of very many weights each would be too small for that.
constexpr double kWeightUnit = 1 << 22;
constexpr size_t kMaxFixedPointTaps = 4096;

Taps fixed_point(Taps taps) {
  if (taps.weights.size() > kMaxFixedPointTaps) return taps;
  for (double& weight : taps.weights) weight = std::round(weight * kWeightUnit) / kWeightUnit;
  return taps;
}

uint8_t rounded(double value) { return static_cast<uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5); }

Image resize_columns(const Image& image, int width, Filter filter) {
  std::vector<Taps> taps = all_taps(image.width, width, filter);
  for (Taps& tap : taps) tap = fixed_point(std::move(tap));
  Image out(width, image.height, image.channels);
  const int channels = image.channels;
  for (int y = 0; y < image.height; ++y) {
    uint8_t* to = out.at(0, y);
    for (const Taps& tap : taps) {
      double sum[4] = {0, 0, 0, 0};
      const uint8_t* from = image.at(tap.first, y);
      for (const double weight : tap.weights) {
        for (int c = 0; c < channels; ++c) sum[c] += weight * *from++;
      }
      for (int c = 0; c < channels; ++c) *to++ = rounded(sum[c]);
    }
  }
  return out;
}

Image resize_rows(const Image& image, int height, Filter filter) {
  Image out(image.width, height, image.channels);
  const size_t row_samples = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  std::vector<double> sum(row_samples);
  for (int y = 0; y < height; ++y) {
    const Taps tap = fixed_point(taps_for(y, image.height, height, filter));
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t k = 0; k < tap.weights.size(); ++k) {
      const uint8_t* from = image.at(0, tap.first + static_cast<int>(k));
      const double weight = tap.weights[k];
      for (size_t i = 0; i < row_samples; ++i) sum[i] += weight * from[i];
    }
    std::transform(sum.begin(), sum.end(), out.at(0, y), rounded);
  }
  return out;
}

void check_size(const char* what, int width, int height) {
  if (width < 1 || height < 1) {
    throw_usage(std::string(what) + ": a size of " + std::to_string(width) + "x" + std::to_string(height) +
                "; both sides must be >= 1");
  }
}

}  // namespace

Image resize(const Image& image, int width, int height, Filter filter) {
  check_image(image, "resize");
  check_size("resize", width, height);
  if (width == image.width) return height == image.height ? image : resize_rows(image, height, filter);
  const Image columns = resize_columns(image, width, filter);
  return height == image.height ? columns : resize_rows(columns, height, filter);
}

Image resize_shorter_side(const Image& image, int side, Filter filter) {
  check_image(image, "resize");
  check_size("resize", side, side);
  const int64_t shorter = std::min(image.width, image.height);
  const auto scaled = [&](int64_t length) {
    return length == shorter ? side : static_cast<int>(std::min<int64_t>(length * side / shorter, INT32_MAX));
  };
  return resize(image, scaled(image.width), scaled(image.height), filter);
}

Image crop(const Image& image, const Rect& rect) {
  check_image(image, "crop");
  if (rect.width < 1 || rect.height < 1 || rect.x < 0 || rect.y < 0 || rect.x > image.width - rect.width ||
      rect.y > image.height - rect.height) {
    throw_usage("crop: " + std::to_string(rect.width) + "x" + std::to_string(rect.height) + " at (" +
                std::to_string(rect.x) + ", " + std::to_string(rect.y) + ") is empty or leaves the image of " +
                std::to_string(image.width) + "x" + std::to_string(image.height));
  }
  Image out(rect.width, rect.height, image.channels);
  for (int y = 0; y < rect.height; ++y) {
    std::copy_n(image.at(rect.x, rect.y + y), static_cast<size_t>(rect.width) * static_cast<size_t>(image.channels),
                out.at(0, y));
  }
  return out;
}

Rect center_rect(int image_width, int image_height, int width, int height) {
  const auto floor_half = [](int difference) { return (difference - (difference < 0 ? 1 : 0)) / 2; };
  return {floor_half(image_width - width), floor_half(image_height - height), width, height};
}

void paste(Image& canvas, const Image& image, int x, int y) {
  check_image(canvas, "paste: canvas");
  check_image(image, "paste");
  if (canvas.channels != 3 && canvas.channels != image.channels) {
    throw_usage("paste: an image of " + std::to_string(image.channels) + " channels on a canvas of " +
                std::to_string(canvas.channels));
  }
  for (int row = std::max(0, -y); row < image.height && row + y < canvas.height; ++row) {
    for (int column = std::max(0, -x); column < image.width && column + x < canvas.width; ++column) {
      const uint8_t* in = image.at(column, row);
      uint8_t* out = canvas.at(column + x, row + y);
      if (canvas.channels == image.channels) {
        std::copy_n(in, image.channels, out);
      } else if (image.channels == 1) {
        std::fill_n(out, 3, in[0]);
      } else {
        for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((in[c] * in[3] + out[c] * (255 - in[3]) + 127) / 255);
      }
    }
  }
}

Letterboxed letterbox(const Image& image, int width, int height, Color fill, Filter filter) {
  check_image(image, "letterbox");
  check_size("letterbox", width, height);
  const double scale = std::min(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
  const int w = std::clamp(static_cast<int>(std::lround(image.width * scale)), 1, width);
  const int h = std::clamp(static_cast<int>(std::lround(image.height * scale)), 1, height);
  Letterboxed boxed{Image(width, height, 3), center_rect(width, height, w, h)};
  for (size_t i = 0; i < boxed.image.pixels.size(); ++i) boxed.image.pixels[i] = fill[i % 3];
  paste(boxed.image, resize(rgb_from(image), w, h, filter), boxed.content.x, boxed.content.y);
  return boxed;
}

std::vector<float> resize_map(const float* map, int height, int width, int out_height, int out_width) {
  check_size("map", width, height);
  check_size("map", out_width, out_height);
  const std::vector<Taps> columns = all_taps(width, out_width, Filter::kBilinear);
  const auto interpolated = [](const Taps& tap, auto&& at) {
    const float first = at(tap.first);
    // Written so that equal neighbors give their own value exactly.
    return tap.weights.size() == 1 ? first : first + static_cast<float>(tap.weights[1]) * (at(tap.first + 1) - first);
  };
  std::vector<float> wide(static_cast<size_t>(height) * static_cast<size_t>(out_width));
  for (int y = 0; y < height; ++y) {
    const float* row = map + static_cast<size_t>(y) * static_cast<size_t>(width);
    for (int x = 0; x < out_width; ++x) {
      wide[static_cast<size_t>(y) * static_cast<size_t>(out_width) + static_cast<size_t>(x)] =
          interpolated(columns[static_cast<size_t>(x)], [&](int i) { return row[i]; });
    }
  }
  std::vector<float> out(static_cast<size_t>(out_height) * static_cast<size_t>(out_width));
  for (int y = 0; y < out_height; ++y) {
    const Taps tap = taps_for(y, height, out_height, Filter::kBilinear);
    for (int x = 0; x < out_width; ++x) {
      out[static_cast<size_t>(y) * static_cast<size_t>(out_width) + static_cast<size_t>(x)] =
          interpolated(tap, [&](int i) {
            return wide[static_cast<size_t>(i) * static_cast<size_t>(out_width) + static_cast<size_t>(x)];
          });
    }
  }
  return out;
}

}  // namespace pellucid
