#include "image/header.h"

#include <algorithm>
#include <array>

#include "image/cursor.h"
#include "pellucid/image.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

// Enough for every progressive JPEG in honest use (about ten); thousands of scans only cost time.
constexpr int kMaxJpegScans = 200;
constexpr int64_t kMaxTiffEntries = 4096;

/// The tags of a TIFF folder that matter here. EXIF has the same structure.
struct TiffTags {
  int64_t width = 0, height = 0, tile_width = 0, tile_height = 0;
  int64_t bits = 1, samples = 1, sample_format = 1;
  int orientation = 1;
  size_t orientation_at = 0;  ///< Where its value lies in the bytes; 0 when there is none.
};

TiffTags parse_tiff_tags(std::string_view bytes, const std::string& where) {
  Cursor in(bytes, where);
  const std::string_view order = in.take(2);
  const bool little = order == "II";
  if (!little && order != "MM") in.fail("neither 'II' nor 'MM' begins the TIFF structure");
  const auto number = [&](int num_bytes) -> uint64_t {
    if (num_bytes <= 4) return little ? in.little(num_bytes) : in.big(num_bytes);
    const uint64_t first = little ? in.little(4) : in.big(4);
    const uint64_t second = little ? in.little(4) : in.big(4);
    return little ? first | second << 32 : first << 32 | second;
  };
  const uint64_t version = number(2);
  const bool big_tiff = version == 43;
  if (version != 42 && !big_tiff) in.fail("TIFF version " + std::to_string(version) + "; 42 and 43 are accepted");
  const int word = big_tiff ? 8 : 4;
  if (big_tiff) in.skip(4);
  in.seek(static_cast<size_t>(number(word)));
  const uint64_t num_entries = number(big_tiff ? 8 : 2);
  if (num_entries > kMaxTiffEntries) in.fail("a TIFF folder of " + std::to_string(num_entries) + " entries");

  TiffTags tags;
  for (uint64_t i = 0; i < num_entries; ++i) {
    const uint64_t tag = number(2);
    const uint64_t type = number(2);
    const uint64_t count = number(word);
    const size_t value_at = in.position();
    const int size = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : type == 16 ? 8 : 0;
    int64_t* wanted = tag == 256   ? &tags.width
                      : tag == 257 ? &tags.height
                      : tag == 258 ? &tags.bits
                      : tag == 277 ? &tags.samples
                      : tag == 322 ? &tags.tile_width
                      : tag == 323 ? &tags.tile_height
                      : tag == 339 ? &tags.sample_format
                                   : nullptr;
    if ((wanted != nullptr || tag == 274) && size > 0 && count > 0) {
      if (count > static_cast<uint64_t>(word / size)) in.seek(static_cast<size_t>(number(word)));
      const int64_t value = static_cast<int64_t>(number(size));
      if (wanted != nullptr) *wanted = value;
      if (tag == 274 && type == 3 && value >= 1 && value <= 8) {
        tags.orientation = static_cast<int>(value);
        tags.orientation_at = in.position() - 2;
      }
    }
    in.seek(value_at);
    in.skip(static_cast<size_t>(word));
  }
  return tags;
}

/// Orientation is an extra: a damaged EXIF block leaves the picture as it is stored.
int exif_orientation(std::string_view exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (exif.substr(0, kPrefix.size()) == kPrefix) exif.remove_prefix(kPrefix.size());
  try {
    return parse_tiff_tags(exif, "EXIF").orientation;
  } catch (const Error&) {
    return 1;
  }
}

std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  return table;
}

/// The checksum of PNG chunks (ISO 3309, reflected polynomial 0xEDB88320).
uint32_t crc32_of(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = make_crc_table();
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = table[(crc ^ static_cast<uint8_t>(c)) & 255] ^ (crc >> 8);
  return ~crc;
}

void parse_png(Cursor& in, std::string_view bytes, ImageHeader& header) {
  in.skip(8);
  header.essential.assign(bytes.substr(0, 8));
  bool has_data = false;
  int color_type = 0;
  for (bool first = true;; first = false) {
    const size_t start = in.position();
    const uint32_t length = in.big(4);
    const std::string_view type = in.take(4);
    if (first && (type != "IHDR" || length != 13)) in.fail("the first chunk is not IHDR");
    const std::string_view data = in.take(length);
    const uint32_t crc = in.big(4);
    if (first) {
      Cursor ihdr(data, in.where());
      header.width = ihdr.big(4);
      header.height = ihdr.big(4);
      header.bits = ihdr.u8();
      color_type = ihdr.u8();
    } else if (type == "IHDR") {
      in.fail("a second IHDR chunk");
    }
    if (type == "eXIf") header.orientation = exif_orientation(data);
    if (type == "tRNS" && color_type == 0) {
      Cursor key(data, in.where());
      header.gray_key = static_cast<int>(key.big(2));
    }
    const bool is_end = type == "IEND";
    has_data = has_data || type == "IDAT";
    if (first || is_end || type == "PLTE" || type == "tRNS" || type == "IDAT") {
      if (crc32_of(bytes.substr(start + 4, size_t{length} + 4)) != crc) {
        in.fail("the checksum of chunk " + std::string(type) + " at byte " + std::to_string(start) + " is wrong");
      }
      header.essential.append(bytes.substr(start, size_t{length} + 12));
    }
    if (is_end) break;
  }
  if (!has_data) in.fail("no IDAT chunk");
}

void parse_jpeg(Cursor& in, std::string_view bytes, ImageHeader& header) {
  in.skip(2);
  header.essential = "\xFF\xD8";
  int num_scans = 0;
  for (;;) {
    const size_t start = in.position();
    if (in.u8() != 0xFF) in.fail("no marker at byte " + std::to_string(in.position() - 1) + " where one must be");
    uint8_t marker = in.u8();
    while (marker == 0xFF) marker = in.u8();
    if (marker == 0xD9) {
      header.essential += "\xFF\xD9";
      break;
    }
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;
    const uint32_t length = in.big(2);
    if (length < 2) in.fail("a segment of length " + std::to_string(length));
    const std::string_view data = in.take(length - 2);
    if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
      if (header.width != 0) in.fail("a second frame header");
      Cursor frame(data, in.where());
      const int precision = frame.u8();
      header.height = frame.big(2);
      header.width = frame.big(2);
      if (header.width == 0 || header.height == 0) in.fail("a side of 0 pixels");
      if (precision != 8) in.fail(std::to_string(precision) + " bits per sample; 8 are accepted");
    } else if (marker == 0xE1 && data.substr(0, 4) == "Exif") {
      header.orientation = exif_orientation(data);
    } else if (marker == 0xDA) {
      if (header.width == 0) in.fail("a scan before the frame header");
      if (++num_scans > kMaxJpegScans) in.fail("more than " + std::to_string(kMaxJpegScans) + " scans");
      // Entropy-coded data: runs to the next marker that is neither a stuffed zero nor a restart.
      for (;;) {
        if (in.u8() != 0xFF) continue;
        uint8_t next = in.u8();
        while (next == 0xFF) next = in.u8();
        if (next == 0 || (next >= 0xD0 && next <= 0xD7)) continue;
        in.seek(in.position() - 2);
        break;
      }
    }
    // Application data and comments stay behind, but for the two blocks that tell how colors are stored.
    const bool is_jfif = marker == 0xE0 && data.substr(0, 4) == "JFIF";
    const bool is_application = marker >= 0xE0 && marker <= 0xEF && marker != 0xEE;
    if (is_jfif) header.essential.append("\xFF\xE0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00", 18);
    if (!is_application && marker != 0xFE) header.essential.append(bytes.substr(start, in.position() - start));
  }
  if (num_scans == 0) in.fail("no scan");
}

void parse_bmp(Cursor& in, ImageHeader& header) {
  in.skip(14);
  const uint32_t size = in.little(4);
  if (size == 12) {
    header.width = in.little(2);
    header.height = in.little(2);
    in.skip(2);
    header.color = in.little(2) > 8;
  } else if (size >= 40) {
    header.width = static_cast<int32_t>(in.little(4));
    // Negative heights are rows from the top.
    header.height = std::abs(static_cast<int64_t>(static_cast<int32_t>(in.little(4))));
  } else {
    in.fail("a header of " + std::to_string(size) + " bytes; 12 or at least 40 are accepted");
  }
}

void parse_gif(Cursor& in, ImageHeader& header) {
  in.skip(6);
  header.width = in.little(2);
  header.height = in.little(2);
}

void parse_webp(Cursor& in, ImageHeader& header) {
  in.skip(4);
  const size_t riff_end = size_t{in.little(4)} + 8;
  if (riff_end > in.size()) in.fail("the file ends early");
  in.skip(4);
  bool has_pixels = false;
  while (in.position() + 8 <= riff_end) {
    const std::string type(in.take(4));
    const uint32_t length = in.little(4);
    Cursor chunk(in.take(length), in.where());
    if (length % 2 == 1 && in.position() < in.size()) in.skip(1);
    if (type == "VP8X") {
      if (chunk.little(4) & 0x02) in.fail("an animation; single pictures are accepted");
      header.width = int64_t{chunk.little(3)} + 1;
      header.height = int64_t{chunk.little(3)} + 1;
    } else if (type == "VP8L") {
      if (chunk.u8() != 0x2F) in.fail("damaged VP8L header");
      const uint32_t packed = chunk.little(4);
      const int64_t width = (packed & 0x3FFF) + 1, height = (packed >> 14 & 0x3FFF) + 1;
      header.width = std::max(header.width, width);
      header.height = std::max(header.height, height);
      has_pixels = true;
    } else if (type == "VP8 ") {
      chunk.skip(3);
      if (chunk.big(3) != 0x9D012A) in.fail("damaged VP8 header");
      header.width = std::max(header.width, int64_t{chunk.little(2) & 0x3FFF});
      header.height = std::max(header.height, int64_t{chunk.little(2) & 0x3FFF});
      has_pixels = true;
    } else if (type == "EXIF") {
      chunk.seek(0);
      header.orientation = exif_orientation(chunk.take(length));
    }
  }
  if (!has_pixels) in.fail("no picture in it");
}

void parse_tiff(Cursor& in, std::string_view bytes, int64_t max_pixels, ImageHeader& header) {
  const TiffTags tags = parse_tiff_tags(bytes, in.where());
  header.width = tags.width;
  header.height = tags.height;
  header.orientation = tags.orientation;
  if (tags.orientation != 1) {
    // OpenCV turns some of the eight cases and not others; with the tag set to "upright" it leaves all of them to us.
    header.essential.assign(bytes);
    const bool little = bytes[0] == 'I';
    header.essential[tags.orientation_at] = little ? '\x01' : '\x00';
    header.essential[tags.orientation_at + 1] = little ? '\x00' : '\x01';
  }
  if (tags.sample_format != 1)
    in.fail("samples are not unsigned integers; convert the picture, or use .npy for tensors");
  if (tags.bits < 1 || tags.bits > 16) in.fail(std::to_string(tags.bits) + " bits per sample; up to 16 are accepted");
  if (tags.samples < 1 || tags.samples > 4) {
    in.fail(std::to_string(tags.samples) + " samples per pixel; 1 to 4 are accepted");
  }
  if (tags.tile_width < 0 || tags.tile_height < 0 || tags.tile_width > INT32_MAX || tags.tile_height > INT32_MAX ||
      tags.tile_width * tags.tile_height > max_pixels) {
    in.fail("tiles of " + std::to_string(tags.tile_width) + "x" + std::to_string(tags.tile_height) +
            " pixels; at most " + std::to_string(max_pixels) + " pixels are accepted");
  }
}

/// One number of a PNM header; '#' begins a comment.
int64_t pnm_number(Cursor& in) {
  uint8_t c = in.u8();
  while (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '#') {
    if (c == '#') {
      while (c != '\n' && c != '\r') c = in.u8();
    }
    c = in.u8();
  }
  int64_t value = 0;
  int num_digits = 0;
  for (; c >= '0' && c <= '9'; ++num_digits) {
    value = value * 10 + (c - '0');
    if (value > INT32_MAX) in.fail("a number in the header is too large");
    if (in.at_end()) {
      ++num_digits;
      break;
    }
    c = in.u8();
  }
  if (num_digits == 0) in.fail("a number is missing at byte " + std::to_string(in.position() - 1));
  return value;
}

void parse_pnm(Cursor& in, ImageHeader& header) {
  in.skip(2);
  header.width = pnm_number(in);
  header.height = pnm_number(in);
}

bool starts_with(std::string_view bytes, std::string_view prefix) { return bytes.substr(0, prefix.size()) == prefix; }

struct FormatEntry {
  ImageFormat format;
  const char* name;
  bool (*matches)(std::string_view);
};

constexpr FormatEntry kFormats[] = {
    {ImageFormat::kPng, "PNG", [](std::string_view b) { return starts_with(b, "\x89PNG\r\n\x1a\n"); }},
    {ImageFormat::kJpeg, "JPEG", [](std::string_view b) { return starts_with(b, "\xFF\xD8\xFF"); }},
    {ImageFormat::kBmp, "BMP",
     [](std::string_view b) {
       // "BM" alone begins many a text; the reserved words behind the size are zero in every BMP.
       return starts_with(b, "BM") && (b.size() < 10 || b.substr(6, 4) == std::string_view("\0\0\0\0", 4));
     }},
    {ImageFormat::kGif, "GIF", [](std::string_view b) { return starts_with(b, "GIF87a") || starts_with(b, "GIF89a"); }},
    {ImageFormat::kWebp, "WebP", [](std::string_view b) { return starts_with(b, "RIFF") && b.substr(8, 4) == "WEBP"; }},
    {ImageFormat::kTiff, "TIFF",
     [](std::string_view b) {
       using namespace std::string_view_literals;
       return starts_with(b, "II*\0"sv) || starts_with(b, "MM\0*"sv) || starts_with(b, "II+\0"sv) ||
              starts_with(b, "MM\0+"sv);
     }},
    {ImageFormat::kPnm, "PNM",
     [](std::string_view b) {
       return b.size() >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' &&
              (b[2] == ' ' || b[2] == '\t' || b[2] == '\n' || b[2] == '\r' || b[2] == '#');
     }},
};

}  // namespace

std::string image_formats() {
  std::string names;
  for (const FormatEntry& entry : kFormats) names += std::string(names.empty() ? "" : ", ") + entry.name;
  return names;
}

ImageHeader parse_image_header(std::string_view bytes, const std::string& name, int64_t max_pixels) {
  if (bytes.empty()) throw_invalid(name + ": the file is empty");
  // A prefix, because string_view::substr would throw on files shorter than the signatures looked for.
  const std::string head =
      std::string(bytes.substr(0, 16)) + std::string(bytes.size() < 16 ? 16 - bytes.size() : 0, '\x01');
  const auto* entry =
      std::find_if(std::begin(kFormats), std::end(kFormats), [&](const FormatEntry& e) { return e.matches(head); });
  if (entry == std::end(kFormats)) {
    throw_invalid(name + ": not a picture in an accepted format; accepted are " + image_formats());
  }
  ImageHeader header;
  header.format = entry->format;
  header.format_name = entry->name;
  Cursor in(bytes, name + ": " + entry->name);
  switch (entry->format) {
    case ImageFormat::kPng:
      parse_png(in, bytes, header);
      break;
    case ImageFormat::kJpeg:
      parse_jpeg(in, bytes, header);
      break;
    case ImageFormat::kBmp:
      parse_bmp(in, header);
      break;
    case ImageFormat::kGif:
      parse_gif(in, header);
      break;
    case ImageFormat::kWebp:
      parse_webp(in, header);
      break;
    case ImageFormat::kTiff:
      parse_tiff(in, bytes, max_pixels, header);
      break;
    case ImageFormat::kPnm:
      parse_pnm(in, header);
      break;
  }
  int64_t num_pixels = 0;
  const bool overflow = __builtin_mul_overflow(header.width, header.height, &num_pixels);
  if (header.width < 1 || header.height < 1 || header.width > INT32_MAX || header.height > INT32_MAX || overflow ||
      num_pixels > max_pixels) {
    in.fail(std::to_string(header.width) + "x" + std::to_string(header.height) + " pixels; 1 to " +
            std::to_string(max_pixels) + " pixels are accepted");
  }
  return header;
}

namespace {

uint8_t scaled_sample(int64_t sample, int64_t max_value) {
  return static_cast<uint8_t>((std::min(sample, max_value) * 255 + max_value / 2) / max_value);
}

}  // namespace

Image decode_pnm(std::string_view bytes, const std::string& name) {
  Cursor in(bytes, name + ": PNM");
  in.skip(1);
  const int kind = in.u8() - '0';
  const int width = static_cast<int>(pnm_number(in));
  const int height = static_cast<int>(pnm_number(in));
  const bool is_bitmap = kind == 1 || kind == 4;
  const bool is_plain = kind <= 3;
  const int64_t max_value = is_bitmap ? 1 : pnm_number(in);
  if (max_value < 1 || max_value > 65535)
    in.fail("a maximum of " + std::to_string(max_value) + "; 1 to 65535 are accepted");
  const int channels = kind == 3 || kind == 6 ? 3 : 1;

  // Held against the file before memory is taken: a sample needs at least a bit when raw, a digit when plain.
  const size_t samples_per_row = static_cast<size_t>(width) * static_cast<size_t>(channels);
  const size_t row_bytes =
      is_bitmap && !is_plain ? (samples_per_row + 7) / 8 : samples_per_row * (max_value > 255 && !is_plain ? 2 : 1);
  if (row_bytes * static_cast<size_t>(height) > in.size() - in.position()) in.fail("the file ends early");
  Image image(width, height, channels);
  uint8_t* out = image.pixels.data();
  for (int y = 0; y < height; ++y) {
    uint8_t packed = 0;
    for (size_t i = 0; i < samples_per_row; ++i) {
      if (is_bitmap) {
        bool black = false;
        if (is_plain) {
          // Digits of plain bitmaps need no blanks between them.
          uint8_t c = in.u8();
          while (c == ' ' || c == '\t' || c == '\n' || c == '\r') c = in.u8();
          if (c != '0' && c != '1') in.fail("a pixel is neither 0 nor 1");
          black = c == '1';
        } else {
          if (i % 8 == 0) packed = in.u8();
          black = packed >> (7 - i % 8) & 1;
        }
        *out++ = black ? 0 : 255;
      } else {
        const int64_t sample = is_plain ? pnm_number(in) : in.big(max_value > 255 ? 2 : 1);
        *out++ = scaled_sample(sample, max_value);
      }
    }
  }
  return image;
}

}  // namespace pellucid
