#include <algorithm>
#include <new>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "image/check.h"
#include "image/header.h"
#include "image/mat.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr size_t kMaxNameShown = 300;

/// OpenCV writes warnings to stderr, which belongs to the program and not to a library.
void silence_opencv() {
  static const bool done = [] {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    return true;
  }();
  static_cast<void>(done);
}

/// Grey with one sample value that means transparent, which OpenCV ignores -> grey with alpha as RGBA.
Image with_gray_key(const Image& image, const cv::Mat& decoded, const ImageHeader& header) {
  const int full = header.bits == 16 ? 65535 : 255;
  const int key = static_cast<int>(int64_t{header.gray_key} * full / ((1 << header.bits) - 1));
  Image rgba(image.width, image.height, 4);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const int sample = decoded.depth() == CV_16U ? decoded.at<uint16_t>(y, x) : decoded.at<uint8_t>(y, x);
      uint8_t* out = rgba.at(x, y);
      std::fill_n(out, 3, *image.at(x, y));
      out[3] = sample == key ? uint8_t{0} : uint8_t{255};
    }
  }
  return rgba;
}

/// 8 or 16 bits, 1, 3 or 4 channels in OpenCV's order -> ours, 8 bits.
Image image_from_mat(const cv::Mat& decoded, const ImageHeader& header, const std::string& where) {
  if ((decoded.depth() != CV_8U && decoded.depth() != CV_16U) || decoded.channels() == 2 || decoded.channels() > 4) {
    throw_invalid(where + ": samples are not 8 or 16 bit integers in 1, 3 or 4 channels");
  }
  if (decoded.cols != header.width || decoded.rows != header.height) {
    throw_invalid(where + ": the header says " + std::to_string(header.width) + "x" + std::to_string(header.height) +
                  " pixels, the data has " + std::to_string(decoded.cols) + "x" + std::to_string(decoded.rows));
  }
  const int channels = decoded.channels();
  Image image(decoded.cols, decoded.rows, channels);
  for (int y = 0; y < image.height; ++y) {
    uint8_t* out = image.at(0, y);
    const int row_samples = image.width * channels;
    if (decoded.depth() == CV_8U) {
      std::copy_n(decoded.ptr<uint8_t>(y), row_samples, out);
    } else {
      const uint16_t* in = decoded.ptr<uint16_t>(y);
      for (int i = 0; i < row_samples; ++i) out[i] = static_cast<uint8_t>((in[i] * 255u + 32767u) / 65535u);
    }
    if (channels >= 3) {
      for (int x = 0; x < image.width; ++x) std::swap(out[x * channels], out[x * channels + 2]);
    }
  }
  // Many programs leave the fourth byte of a 32-bit BMP at zero, and mean opaque.
  if (header.format == ImageFormat::kBmp && channels == 4) {
    bool all_clear = true;
    for (size_t i = 3; i < image.pixels.size(); i += 4) all_clear = all_clear && image.pixels[i] == 0;
    if (all_clear) {
      for (size_t i = 3; i < image.pixels.size(); i += 4) image.pixels[i] = 255;
    }
  }
  // libtiff's RGBA reader, which serves 8-bit pictures, has multiplied the colors by alpha.
  if (header.format == ImageFormat::kTiff && channels == 4 && decoded.depth() == CV_8U) {
    for (size_t i = 0; i < image.pixels.size(); i += 4) {
      const int alpha = image.pixels[i + 3];
      if (alpha == 0) continue;
      for (size_t c = i; c < i + 3; ++c) {
        image.pixels[c] = static_cast<uint8_t>(std::min(255, (image.pixels[c] * 255 + alpha / 2) / alpha));
      }
    }
  }
  if (header.gray_key >= 0 && channels == 1) return with_gray_key(image, decoded, header);
  return image;
}

Image decode_with_opencv(std::string_view bytes, const ImageHeader& header, const std::string& where) {
  silence_opencv();
  const std::string_view data = header.essential.empty() ? bytes : std::string_view(header.essential);
  try {
    const cv::Mat view(1, static_cast<int>(data.size()), CV_8U, const_cast<char*>(data.data()));
    const cv::Mat decoded = cv::imdecode(view, header.color ? cv::IMREAD_COLOR : cv::IMREAD_UNCHANGED);
    if (!decoded.empty()) return image_from_mat(decoded, header, where);
  } catch (const cv::Exception&) {
    // Its text names OpenCV's source lines; what the user can act on is said below.
  } catch (const std::bad_alloc&) {
    throw_failed(where + ": out of memory for " + std::to_string(header.width) + "x" + std::to_string(header.height) +
                 " pixels");
  }
  throw_invalid(where + ": the data is damaged, cut off or of an unusual kind");
}

/// EXIF 2.3, tag 274: how the stored picture must be turned to stand upright.
Image upright(const Image& stored, int orientation) {
  if (orientation == 1) return stored;
  const bool swaps = orientation >= 5;
  const int w = stored.width, h = stored.height, channels = stored.channels;
  Image image(swaps ? h : w, swaps ? w : h, channels);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      int from_x = x, from_y = y;
      switch (orientation) {
        case 2:
          from_x = w - 1 - x;
          break;
        case 3:
          from_x = w - 1 - x;
          from_y = h - 1 - y;
          break;
        case 4:
          from_y = h - 1 - y;
          break;
        case 5:
          from_x = y;
          from_y = x;
          break;
        case 6:
          from_x = y;
          from_y = h - 1 - x;
          break;
        case 7:
          from_x = w - 1 - y;
          from_y = h - 1 - x;
          break;
        case 8:
          from_x = w - 1 - y;
          from_y = x;
          break;
        default:
          break;
      }
      std::copy_n(stored.at(from_x, from_y), channels, image.at(x, y));
    }
  }
  return image;
}

Image decode_as_stored(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  const std::string where = printable(name, kMaxNameShown);
  if (static_cast<int64_t>(bytes.size()) > std::min<int64_t>(limits.max_bytes, INT32_MAX)) {
    throw_invalid(where + ": holds more than the " + std::to_string(limits.max_bytes) + " bytes accepted");
  }
  const ImageHeader header = parse_image_header(bytes, where, limits.max_pixels);
  switch (header.format) {
    case ImageFormat::kGif:
      return decode_gif(bytes, where);
    case ImageFormat::kPnm:
      return decode_pnm(bytes, where);
    default:
      break;
  }
  return upright(decode_with_opencv(bytes, header, where + ": " + header.format_name), header.orientation);
}

/// Channels that are RGB or RGBA as a BGR(A) matrix for the encoders.
cv::Mat encoder_mat(const Image& image) {
  cv::Mat mat;
  if (image.channels == 1) return mat_of(image);
  cv::cvtColor(mat_of(image), mat, image.channels == 3 ? cv::COLOR_RGB2BGR : cv::COLOR_RGBA2BGRA);
  return mat;
}

std::string encode(const Image& image, const char* extension, const std::vector<int>& parameters) {
  silence_opencv();
  std::vector<uchar> bytes;
  bool done = false;
  try {
    done = cv::imencode(extension, encoder_mat(image), bytes, parameters);
  } catch (const cv::Exception&) {
    done = false;
  }
  if (!done) {
    throw_failed(std::string("cannot encode a picture of ") + std::to_string(image.width) + "x" +
                 std::to_string(image.height) + " pixels as " + (extension + 1));
  }
  return std::string(bytes.begin(), bytes.end());
}

/// Integer a * color + (255 - a) * background, rounded.
uint8_t blended(int color, int background, int alpha) {
  return static_cast<uint8_t>((color * alpha + background * (255 - alpha) + 127) / 255);
}

}  // namespace

void check_image(const Image& image, const char* what) {
  const bool channels_known = image.channels == 1 || image.channels == 3 || image.channels == 4;
  if (image.width < 1 || image.height < 1 || !channels_known ||
      image.pixels.size() !=
          static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * static_cast<size_t>(image.channels)) {
    throw_usage(std::string(what) + ": the image is " + std::to_string(image.width) + "x" +
                std::to_string(image.height) + " with " + std::to_string(image.channels) + " channels and " +
                std::to_string(image.pixels.size()) + " bytes; it must not be empty and must have 1, 3 or 4 channels");
  }
}

Image decode_image_bytes(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  return rgb_from(decode_as_stored(bytes, name, limits));
}

Image decode_image(const std::string& path, const ImageLimits& limits) {
  return decode_image_bytes(read_file(path, limits.max_bytes), path, limits);
}

Image decode_mask(const std::string& path, const ImageLimits& limits) {
  Image mask = gray_from(decode_as_stored(read_file(path, limits.max_bytes), path, limits));
  const uint8_t highest = *std::max_element(mask.pixels.begin(), mask.pixels.end());
  if (highest == 1) {
    for (uint8_t& value : mask.pixels) value = value ? 255 : 0;
  }
  return mask;
}

std::string encode_png(const Image& image) {
  check_image(image, "PNG");
  return encode(image, ".png",
                {cv::IMWRITE_PNG_COMPRESSION, 6, cv::IMWRITE_PNG_STRATEGY, cv::IMWRITE_PNG_STRATEGY_DEFAULT});
}

std::string encode_jpeg(const Image& image, int quality) {
  check_image(image, "JPEG");
  if (quality < 1 || quality > 100) {
    throw_usage("JPEG: quality is " + std::to_string(quality) + "; it must be 1 to 100 (default 92)");
  }
  return encode(image.channels == 4 ? rgb_from(image) : image, ".jpg", {cv::IMWRITE_JPEG_QUALITY, quality});
}

void save_png(const std::string& path, const Image& image) { write_file_atomically(path, encode_png(image)); }

Image rgb_from(const Image& image, Color background) {
  check_image(image, "conversion to RGB");
  if (image.channels == 3) return image;
  Image rgb(image.width, image.height, 3);
  const size_t num_pixels = rgb.pixels.size() / 3;
  const size_t channels = static_cast<size_t>(image.channels);
  for (size_t i = 0; i < num_pixels; ++i) {
    const uint8_t* in = &image.pixels[i * channels];
    for (size_t c = 0; c < 3; ++c) {
      rgb.pixels[i * 3 + c] = channels == 1 ? in[0] : blended(in[c], background[c], in[3]);
    }
  }
  return rgb;
}

Image gray_from(const Image& image) {
  check_image(image, "conversion to grey");
  if (image.channels == 1) return image;
  const Image rgb = rgb_from(image, {0, 0, 0});
  Image gray(image.width, image.height, 1);
  for (size_t i = 0; i < gray.pixels.size(); ++i) {
    const uint8_t* in = &rgb.pixels[i * 3];
    gray.pixels[i] = byte_from(0.299 * in[0] + 0.587 * in[1] + 0.114 * in[2]);
  }
  return gray;
}

}  // namespace pellucid
