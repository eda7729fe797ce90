#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pellucid {

struct Image;

enum class ImageFormat { kPng, kJpeg, kBmp, kGif, kWebp, kTiff, kPnm };

/// What the headers of a picture say, read without decoding it.
struct ImageHeader {
  ImageFormat format = ImageFormat::kPng;
  const char* format_name = "";
  int64_t width = 0;  ///< As stored, before orientation.
  int64_t height = 0;
  int orientation = 1;  ///< EXIF, 1..8.
  int bits = 8;         ///< Per sample; for PNG only.
  bool color =
      false;          ///< Red, green and blue without a palette in a BMP of the first kind, which OpenCV reads as grey.
  int gray_key = -1;  ///< The sample that stands for "transparent" in a grey PNG; -1 when there is none.
  /// For PNG and JPEG: the file without the parts that do not matter to its pixels, so that no decoder sees them;
  /// for TIFF: the file with its orientation set to upright. Empty: the file itself.
  std::string essential;
};

/// Throws Error(kInvalidInput), its message beginning with `name`, when the format is not in the table or the structure
/// is damaged: the file ends early, a checksum is wrong, a size is zero.
ImageHeader parse_image_header(std::string_view bytes, const std::string& name, int64_t max_pixels);

/// The first frame of a GIF on a canvas of the header's size; RGBA.
Image decode_gif(std::string_view bytes, const std::string& name);

/// The first picture of a PBM, PGM or PPM file, plain or raw; grey or RGB, scaled to 8 bits.
Image decode_pnm(std::string_view bytes, const std::string& name);

}  // namespace pellucid
