// GIF89a Specification, CompuServe 1990; LZW as in its appendix F. Only the first frame is decoded.
#include <algorithm>
#include <vector>

#include "image/cursor.h"
#include "image/header.h"
#include "pellucid/image.h"

namespace pellucid {
namespace {

constexpr int kMaxCodes = 4096;

/// The data of a chain of sub-blocks, joined.
std::string join_blocks(Cursor& in) {
  std::string data;
  while (const uint8_t length = in.u8()) data.append(in.take(length));
  return data;
}

/// Exactly `count` palette indices.
std::vector<uint8_t> decompress_lzw(const std::string& data, int min_code_bits, size_t count, const Cursor& in) {
  const int clear = 1 << min_code_bits;
  const int end = clear + 1;
  std::vector<int> prefix(kMaxCodes, -1);
  std::vector<uint8_t> suffix(kMaxCodes, 0), first(kMaxCodes, 0);
  for (int i = 0; i < clear; ++i)
    suffix[static_cast<size_t>(i)] = first[static_cast<size_t>(i)] = static_cast<uint8_t>(i);

  std::vector<uint8_t> out, text;
  int num_codes = end + 1, code_bits = min_code_bits + 1, previous = -1;
  uint32_t bits = 0;
  int num_bits = 0;
  size_t at = 0;
  while (out.size() < count) {
    while (num_bits < code_bits) {
      if (at == data.size()) in.fail("the file ends early");
      bits |= uint32_t{static_cast<uint8_t>(data[at++])} << num_bits;
      num_bits += 8;
    }
    const int code = static_cast<int>(bits & ((1u << code_bits) - 1));
    bits >>= code_bits;
    num_bits -= code_bits;
    if (code == clear) {
      num_codes = end + 1;
      code_bits = min_code_bits + 1;
      previous = -1;
      continue;
    }
    if (code == end) in.fail("the picture ends early");
    if (code > num_codes || (previous < 0 && code >= clear) || (code == num_codes && previous < 0)) {
      in.fail("damaged compressed data");
    }
    text.clear();
    int walk = code;
    if (code == num_codes) {
      text.push_back(first[static_cast<size_t>(previous)]);
      walk = previous;
    }
    const uint8_t first_of_code = first[static_cast<size_t>(walk)];
    for (; walk >= 0; walk = prefix[static_cast<size_t>(walk)]) text.push_back(suffix[static_cast<size_t>(walk)]);
    out.insert(out.end(), text.rbegin(), text.rend());
    if (previous >= 0 && num_codes < kMaxCodes) {
      prefix[static_cast<size_t>(num_codes)] = previous;
      suffix[static_cast<size_t>(num_codes)] = first_of_code;
      first[static_cast<size_t>(num_codes)] = first[static_cast<size_t>(previous)];
      ++num_codes;
      if (num_codes == 1 << code_bits && code_bits < 12) ++code_bits;
    }
    previous = code;
  }
  out.resize(count);
  return out;
}

std::string_view color_table(Cursor& in, uint8_t flags) {
  return flags & 0x80 ? in.take(size_t{3} << ((flags & 7) + 1)) : std::string_view();
}

}  // namespace

Image decode_gif(std::string_view bytes, const std::string& name) {
  Cursor in(bytes, name + ": GIF");
  in.skip(6);
  const int width = static_cast<int>(in.little(2));
  const int height = static_cast<int>(in.little(2));
  const uint8_t screen_flags = in.u8();
  in.skip(2);
  const std::string_view global_table = color_table(in, screen_flags);

  int transparent = -1;
  for (;;) {
    const uint8_t block = in.u8();
    if (block == 0x2C) break;
    if (block != 0x21) in.fail("no picture in it");
    const uint8_t label = in.u8();
    const std::string data = join_blocks(in);
    if (label == 0xF9 && data.size() >= 4) transparent = data[0] & 1 ? static_cast<uint8_t>(data[3]) : -1;
  }
  const int left = static_cast<int>(in.little(2)), top = static_cast<int>(in.little(2));
  const int frame_width = static_cast<int>(in.little(2)), frame_height = static_cast<int>(in.little(2));
  const uint8_t flags = in.u8();
  const std::string_view local_table = color_table(in, flags);
  const std::string_view table = local_table.empty() ? global_table : local_table;
  const int min_code_bits = in.u8();
  if (min_code_bits < 2 || min_code_bits > 8) in.fail("damaged picture header");
  if (left + frame_width > width || top + frame_height > height || frame_width < 1 || frame_height < 1) {
    in.fail("the first frame leaves the picture");
  }
  const std::string data = join_blocks(in);
  const std::vector<uint8_t> indices =
      decompress_lzw(data, min_code_bits, static_cast<size_t>(frame_width) * static_cast<size_t>(frame_height), in);

  // Interlaced rows come in four passes: first row, step.
  constexpr int kPasses[4][2] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  std::vector<int> rows;
  if (flags & 0x40) {
    for (const auto& pass : kPasses) {
      for (int y = pass[0]; y < frame_height; y += pass[1]) rows.push_back(y);
    }
  } else {
    for (int y = 0; y < frame_height; ++y) rows.push_back(y);
  }
  Image image(width, height, 4);
  const uint8_t* index = indices.data();
  for (const int y : rows) {
    for (int x = 0; x < frame_width; ++x, ++index) {
      if (*index == transparent) continue;
      if (size_t{*index} * 3 + 2 >= table.size()) in.fail("a pixel has a color that the palette lacks");
      uint8_t* out = image.at(left + x, top + y);
      for (size_t c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(table[size_t{*index} * 3 + c]);
      out[3] = 255;
    }
  }
  return image;
}

}  // namespace pellucid
