#include "pellucid/image.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"

#ifndef PELLUCID_SOURCE_DIR
#define PELLUCID_SOURCE_DIR "."
#endif

namespace pellucid {
namespace {

namespace fs = std::filesystem;
using std::string;
using namespace std::string_literals;

template <typename F>
string message_of(F&& call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "nothing was thrown";
}

string refusal(const string& bytes, const ImageLimits& limits = {}) {
  return message_of([&] { decode_image_bytes(bytes, "x", limits); }, ErrorKind::kInvalidInput);
}

/// A picture in which every pixel differs, so that any exchange of places shows.
Image numbered(int width, int height, int channels = 3) {
  Image image(width, height, channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 37 + 11);
  return image;
}

string big(uint32_t value, int num_bytes = 4) {
  string bytes;
  for (int i = num_bytes - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 255);
  return bytes;
}
string little(uint32_t value, int num_bytes = 4) {
  const string bytes = big(value, num_bytes);
  return string(bytes.rbegin(), bytes.rend());
}

uint32_t crc32_of(const string& bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int k = 0; k < 8; ++k) crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
  }
  return ~crc;
}
string png_chunk(const string& type, const string& data) {
  return big(static_cast<uint32_t>(data.size())) + type + data + big(crc32_of(type + data));
}
const string kPngMagic = "\x89PNG\r\n\x1a\n";

/// A PNG whose pixel data is stored without compression (deflate block type 0).
string png_of(uint32_t width, uint32_t height, int bits, int color_type, const string& rows, const string& extra = "") {
  uint32_t a = 1, b = 0;
  for (const char c : rows) {
    a = (a + static_cast<uint8_t>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const auto length = static_cast<uint32_t>(rows.size());
  const string zlib = "\x78\x01\x01" + little(length, 2) + little(~length & 0xFFFF, 2) + rows + big(b << 16 | a);
  return kPngMagic +
         png_chunk("IHDR", big(width) + big(height) + static_cast<char>(bits) + static_cast<char>(color_type) +
                               string(3, '\0')) +
         extra + png_chunk("IDAT", zlib) + png_chunk("IEND", "");
}

string exif_with_orientation(int orientation) {
  return "MM\0*\0\0\0\x08\0\x01"s + big(274, 2) + big(3, 2) + big(1) + big(static_cast<uint32_t>(orientation), 2) +
         big(0, 2) + big(0);
}

TEST(Png, RoundTripIsExactForEveryKindOfImage) {
  for (const int channels : {1, 3, 4}) {
    const Image image = numbered(7, 5, channels);
    const string bytes = encode_png(image);
    const Image back = decode_image_bytes(bytes, "x");
    EXPECT_EQ(back.pixels, rgb_from(image).pixels);
    EXPECT_EQ(encode_png(image), bytes);
  }
}

TEST(Png, SixteenBitPaletteAndTransparency) {
  // Grey 0x8080 of 0xFFFF is 128.5 of 257ths: 0x80.
  EXPECT_EQ(decode_image_bytes(png_of(2, 1, 16, 0, "\0\x80\x80\xFF\xFF"s), "x").pixels,
            (std::vector<uint8_t>{128, 128, 128, 255, 255, 255}));
  // Two palette colors, the second fully transparent: white shows.
  const string palette = png_chunk("PLTE", "\x10\x20\x30\x40\x50\x60"s) + png_chunk("tRNS", "\xFF\x00"s);
  EXPECT_EQ(decode_image_bytes(png_of(2, 1, 8, 3, "\0\0\x01"s, palette), "x").pixels,
            (std::vector<uint8_t>{0x10, 0x20, 0x30, 255, 255, 255}));
  // RGBA, red at alpha 51 of 255: 0.2 * red + 0.8 * white.
  EXPECT_EQ(decode_image_bytes(png_of(1, 1, 8, 6, "\0\xFF\0\0\x33"s), "x").pixels,
            (std::vector<uint8_t>{255, 204, 204}));
  // Grey with alpha 0, and one bit per pixel.
  EXPECT_EQ(decode_image_bytes(png_of(1, 1, 8, 4, "\0\x10\0"s), "x").pixels, (std::vector<uint8_t>{255, 255, 255}));
  EXPECT_EQ(decode_image_bytes(png_of(2, 1, 1, 0, "\0\x40"s), "x").pixels,
            (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
  // Grey where the sample 7 stands for transparent.
  EXPECT_EQ(decode_image_bytes(png_of(2, 1, 8, 0, "\0\x06\x07"s, png_chunk("tRNS", "\0\x07"s)), "x").pixels,
            (std::vector<uint8_t>{6, 6, 6, 255, 255, 255}));
}

TEST(Png, EightOrientations) {
  // Stored as  A B C   Upright, by definition of the EXIF tag:
  //            D E F
  const string rows = "\0ABC\0DEF"s;
  const char* upright[] = {"ABC/DEF", "CBA/FED", "FED/CBA", "DEF/ABC", "AD/BE/CF", "DA/EB/FC", "FC/EB/DA", "CF/BE/AD"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image image =
        decode_image_bytes(png_of(3, 2, 8, 0, rows, png_chunk("eXIf", exif_with_orientation(orientation))), "x");
    string text;
    for (int y = 0; y < image.height; ++y) {
      if (y > 0) text += '/';
      for (int x = 0; x < image.width; ++x) text += static_cast<char>(image.at(x, y)[0]);
    }
    EXPECT_EQ(text, upright[orientation - 1]) << orientation;
  }
}

TEST(Jpeg, ExifOrientationTurnsThePicture) {
  Image image(32, 16, 3, 0);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) image.at(x, y)[0] = 255;  // the left half is red
  }
  const string bytes = encode_jpeg(image, 95);
  const string exif = "Exif\0\0"s + exif_with_orientation(6);
  const string turned =
      bytes.substr(0, 2) + "\xFF\xE1" + big(static_cast<uint32_t>(exif.size()) + 2, 2) + exif + bytes.substr(2);
  const Image upright = decode_image_bytes(turned, "x");  // a quarter turn clockwise: left becomes top
  ASSERT_EQ(upright.width, 16);
  ASSERT_EQ(upright.height, 32);
  EXPECT_GT(upright.at(8, 2)[0], 240);
  EXPECT_LT(upright.at(8, 29)[0], 15);
  // A damaged EXIF block costs the orientation, not the picture.
  const string broken = bytes.substr(0, 2) + "\xFF\xE1" + big(12, 2) + "Exif\0\0MM\xFF\xFF"s + bytes.substr(2);
  EXPECT_EQ(decode_image_bytes(broken, "x").width, 32);
}

TEST(Jpeg, QualityIsChecked) {
  EXPECT_EQ(message_of([] { encode_jpeg(Image(1, 1, 3), 0); }, ErrorKind::kUsage),
            "JPEG: quality is 0; it must be 1 to 100 (default 92)");
  EXPECT_LT(encode_jpeg(numbered(64, 64), 10).size(), encode_jpeg(numbered(64, 64), 95).size());
}

TEST(Gif, FirstFrameOnWhite) {
  // 2x2 pixels of palette entries 0 1 / 1 2 where 2 is transparent; codes 4(clear) 0 1 1 2 5(end), three bits each.
  const string head = "GIF89a"s + little(2, 2) + little(2, 2) + "\x91\0\0"s +
                      "\x0A\x0B\x0C\x14\x15\x16\x1E\x1F\x20\x28\x29\x2A"s + "\x21\xF9\x04\x01\0\0\x02\0"s + "\x2C"s +
                      little(0) + little(2, 2) + little(2, 2) + "\0"s;
  // Bits from the lowest: 100 000 001 001 010 then, the table having grown to 8, 0101 -> 0x44 0x22 0x05... written out:
  const uint32_t bits = 4u | 0u << 3 | 1u << 6 | 1u << 9 | 2u << 12 | 5u << 16;
  const string gif = head + "\x02\x03"s + little(bits, 3) + "\0\x3B"s;
  EXPECT_EQ(decode_image_bytes(gif, "x").pixels,
            (std::vector<uint8_t>{10, 11, 12, 20, 21, 22, 20, 21, 22, 255, 255, 255}));
  for (size_t n = 0; n + 2 < gif.size(); ++n) EXPECT_NE(refusal(gif.substr(0, n)), "nothing was thrown") << n;
}

TEST(Pnm, AllSixKinds) {
  EXPECT_EQ(decode_image_bytes("P1 # comment\n3 1\n101", "x").pixels,
            (std::vector<uint8_t>{0, 0, 0, 255, 255, 255, 0, 0, 0}));
  EXPECT_EQ(decode_image_bytes("P2 2 1 100\n50 100\n", "x").pixels,
            (std::vector<uint8_t>{128, 128, 128, 255, 255, 255}));
  EXPECT_EQ(decode_image_bytes("P3 1 1 255 1 2 3", "x").pixels, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(decode_image_bytes("P4 2 1\n\x40"s, "x").pixels, (std::vector<uint8_t>{255, 255, 255, 0, 0, 0}));
  EXPECT_EQ(decode_image_bytes("P5 1 1 65535\n\x80\x80"s, "x").pixels, (std::vector<uint8_t>{128, 128, 128}));
  EXPECT_EQ(decode_image_bytes("P6 1 1 255\n\x01\x02\x03"s, "x").pixels, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(refusal("P6 1 2 255\n\x01\x02\x03"s), "x: PNM: the file ends early");
  EXPECT_EQ(refusal("P2 1 1 0 0"), "x: PNM: a maximum of 0; 1 to 65535 are accepted");
}

TEST(Tiff, OrientationIsAppliedOnce) {
  // One strip of 3x2 grey bytes behind the folder: A B C / D E F.
  const auto tiff = [](uint32_t orientation) {
    string entries;
    const auto add = [&](uint32_t tag, uint32_t type, uint32_t value) {
      entries += little(tag, 2) + little(type, 2) + little(1) + little(value);
    };
    add(256, 4, 3);  // width
    add(257, 4, 2);  // height
    add(258, 3, 8);  // bits
    add(259, 3, 1);  // not compressed
    add(262, 3, 1);  // 0 is black
    add(273, 4, 8 + 2 + 10 * 12 + 4);
    add(274, 3, orientation);
    add(277, 3, 1);  // samples
    add(278, 4, 2);  // rows per strip
    add(279, 4, 6);  // bytes in the strip
    return "II*\0"s + little(8) + little(10, 2) + entries + little(0) + "ABCDEF";
  };
  const char* upright[] = {"ABCDEF", "CBAFED", "FEDCBA", "DEFABC", "ADBECF", "DAEBFC", "FCEBDA", "CFBEAD"};
  for (uint32_t orientation = 1; orientation <= 8; ++orientation) {
    const Image image = decode_image_bytes(tiff(orientation), "x");
    EXPECT_EQ(image.width, orientation <= 4 ? 3 : 2);
    string text;
    for (size_t i = 0; i < image.pixels.size(); i += 3) text += static_cast<char>(image.pixels[i]);
    EXPECT_EQ(text, upright[orientation - 1]) << orientation;
  }
  for (size_t n = 0; n < 140; ++n) EXPECT_NE(refusal(tiff(1).substr(0, n)), "nothing was thrown") << n;
}

TEST(Bmp, RowsFromEitherEndAndUnusedAlpha) {
  const auto bmp = [](int32_t height, int bits, const string& rows) {
    return "BM"s + little(54 + static_cast<uint32_t>(rows.size())) + little(0) + little(54) + little(40) + little(1) +
           little(static_cast<uint32_t>(height)) + little(1, 2) + little(static_cast<uint32_t>(bits), 2) + little(0) +
           little(static_cast<uint32_t>(rows.size())) + little(2835) + little(2835) + little(0) + little(0) + rows;
  };
  const string rows = "\x01\x02\x03\0\x04\x05\x06\0"s;  // blue, green, red, and padding or unused alpha
  EXPECT_EQ(decode_image_bytes(bmp(2, 24, rows), "x").pixels, (std::vector<uint8_t>{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(decode_image_bytes(bmp(-2, 24, rows), "x").pixels, (std::vector<uint8_t>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(decode_image_bytes(bmp(2, 32, rows), "x").pixels, (std::vector<uint8_t>{6, 5, 4, 3, 2, 1}));
}

TEST(Decode, SizesAreRefusedFromTheHeader) {
  const string row(1, '\0');
  EXPECT_EQ(refusal(png_of(65535, 65535, 8, 2, row)), "x: PNG: 65535x65535 pixels; 1 to 67108864 pixels are accepted");
  EXPECT_EQ(refusal(png_of(0, 5, 8, 2, row)), "x: PNG: 0x5 pixels; 1 to 67108864 pixels are accepted");
  EXPECT_EQ(refusal("GIF89a\xFF\xFF\xFF\xFF\0\0\0"s), "x: GIF: 65535x65535 pixels; 1 to 67108864 pixels are accepted");
  EXPECT_EQ(refusal("P6 100000 100000 255\n"), "x: PNM: 100000x100000 pixels; 1 to 67108864 pixels are accepted");
  EXPECT_EQ(refusal("BM"s + string(12, '\0') + little(40) + little(0x7FFFFFFF) + little(0x80000000)),
            "x: BMP: 2147483647x2147483648 pixels; 1 to 67108864 pixels are accepted");
  const string webp = "VP8X"s + little(10) + little(0) + little(0xFFFFFF, 3) + little(0xFFFFFF, 3) + "VP8L" +
                      little(5) + "\x2F" + little(0) + "\0"s;
  EXPECT_EQ(refusal("RIFF" + little(static_cast<uint32_t>(webp.size()) + 4) + "WEBP" + webp),
            "x: WebP: 16777216x16777216 pixels; 1 to 67108864 pixels are accepted");
  string jpeg = encode_jpeg(Image(8, 8, 3));
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, string::npos);
  jpeg.replace(frame + 5, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(refusal(jpeg), "x: JPEG: 65535x65535 pixels; 1 to 67108864 pixels are accepted");
  const string tiff = "II*\0"s + little(8) + little(2, 2) + little(256, 2) + little(4, 2) + little(1) +
                      little(1 << 20) + little(257, 2) + little(4, 2) + little(1) + little(1 << 20) + little(0);
  EXPECT_EQ(refusal(tiff), "x: TIFF: 1048576x1048576 pixels; 1 to 67108864 pixels are accepted");
}

TEST(Decode, LongThinPicturesAreFine) {
  const Image image = numbered(1, 100000);
  EXPECT_EQ(decode_image_bytes(encode_png(image), "x").pixels, image.pixels);
  EXPECT_EQ(refusal(encode_png(image), {99999, 1 << 20}), "x: PNG: 1x100000 pixels; 1 to 99999 pixels are accepted");
}

TEST(Decode, OtherFormatsAreRefusedWhateverTheirName) {
  const string accepted = "not a picture in an accepted format; accepted are PNG, JPEG, BMP, GIF, WebP, TIFF, PNM";
  EXPECT_EQ(refusal("<svg xmlns='http://www.w3.org/2000/svg'/>"), "x: " + accepted);
  EXPECT_EQ(refusal("BMX is not a bitmap"), "x: " + accepted);
  EXPECT_EQ(refusal("B"), "x: " + accepted);
  EXPECT_EQ(refusal("RIFF"), "x: " + accepted);
  EXPECT_EQ(refusal(""), "x: the file is empty");
  EXPECT_EQ(message_of([] { decode_image("/nowhere/a\nb.png"); }, ErrorKind::kInvalidInput),
            "/nowhere/a?b.png: cannot open: No such file or directory");
}

TEST(Decode, NoPrefixOfAPictureIsAccepted) {
  const Image image = numbered(9, 9);
  for (const string& whole : {encode_png(image), encode_jpeg(image)}) {
    for (size_t n = 0; n < whole.size(); ++n) {
      const string message = refusal(whole.substr(0, n));
      EXPECT_NE(message, "nothing was thrown") << n;
      EXPECT_EQ(message.find('\n'), string::npos);
    }
  }
}

TEST(Decode, DamageNeverEscapesAsAnythingButAnError) {
  const Image image = numbered(9, 9);
  const string png = encode_png(image), jpeg = encode_jpeg(image);
  uint32_t random = 1;
  for (int round = 0; round < 2000; ++round) {
    string bytes = round % 2 ? png : jpeg;
    for (int flips = 0; flips < 3; ++flips) {
      random = random * 1664525u + 1013904223u;
      // Header bytes only: what the entropy decoders say about noise goes to stderr and is not ours.
      bytes[(random >> 8) % std::min<size_t>(bytes.size(), round % 2 ? 40 : 20)] = static_cast<char>(random >> 24);
    }
    try {
      const Image decoded = decode_image_bytes(bytes, "x", {1 << 16, 1 << 20});
      EXPECT_EQ(decoded.pixels.size(), static_cast<size_t>(decoded.width) * static_cast<size_t>(decoded.height) * 3);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInvalidInput) << e.what();
    }
  }
}

TEST(Decode, MasksTakeTransparentAsOutside) {
  const string path = (fs::temp_directory_path() / ("pellucid-mask-" + std::to_string(::getpid()) + ".png")).string();
  Image mask(2, 1, 4, 255);
  mask.at(1, 0)[3] = 0;
  save_png(path, mask);
  EXPECT_EQ(decode_mask(path).pixels, (std::vector<uint8_t>{255, 0}));
  EXPECT_EQ(decode_mask(path).channels, 1);
  EXPECT_EQ(decode_image(path).pixels, std::vector<uint8_t>(6, 255));
  fs::remove(path);
}

// The first kind of BMP header, 24 bits: blue, green and red of two pixels, rows padded to four bytes.
TEST(Decode, BmpOfTheFirstKindKeepsItsColors) {
  const std::vector<uint8_t> bytes{'B', 'M', 34, 0, 0, 0, 0, 0,  0, 0, 26, 0, 0,  0, 12,  0, 0,
                                   0,   2,   0,  1, 0, 1, 0, 24, 0, 9, 80, 7, 30, 1, 200, 0, 0};
  const Image image = decode_image_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "os2.bmp");
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{7, 80, 9, 200, 1, 30}));
}

TEST(Decode, MasksOfZeroAndOneAreMasks) {
  const string path = (fs::temp_directory_path() / ("pellucid-ones-" + std::to_string(::getpid()) + ".png")).string();
  Image mask(3, 1, 1, 0);
  *mask.at(1, 0) = 1;
  save_png(path, mask);
  EXPECT_EQ(decode_mask(path).pixels, (std::vector<uint8_t>{0, 255, 0}));
  *mask.at(2, 0) = 2;  // numbers of classes, perhaps
  save_png(path, mask);
  EXPECT_EQ(decode_mask(path).pixels, (std::vector<uint8_t>{0, 1, 2}));
  fs::remove(path);
}

TEST(Resize, BoxAndTriangleByHand) {
  Image row(4, 1, 1);
  row.pixels = {0, 100, 200, 40};
  EXPECT_EQ(resize(row, 2, 1, Filter::kArea).pixels, (std::vector<uint8_t>{50, 120}));
  EXPECT_EQ(resize(row, 2, 1, Filter::kNearest).pixels, (std::vector<uint8_t>{100, 40}));
  EXPECT_EQ(resize(row, 2, 1, Filter::kBilinear).pixels, (std::vector<uint8_t>{50, 120}));
  // Halving: the triangle around 1 has weights 3/8 3/8 1/8 of pixels 0 1 2, over their sum 7/8: (300 + 200) / 7 = 71.4;
  // around 3, mirrored: (100 + 3 * 200 + 3 * 40) / 7 = 117.1.
  EXPECT_EQ(resize(row, 2, 1, Filter::kBilinearAntialias).pixels, (std::vector<uint8_t>{71, 117}));
  // Doubling: half-pixel centers fall at quarters.
  Image pair(2, 1, 1);
  pair.pixels = {0, 100};
  EXPECT_EQ(resize(pair, 4, 1, Filter::kBilinearAntialias).pixels, (std::vector<uint8_t>{0, 25, 75, 100}));
}

TEST(Resize, ConstantsStayAndSizeIsKept) {
  const Image flat(13, 7, 3, 201);
  for (const Filter filter : {Filter::kNearest, Filter::kBilinear, Filter::kBilinearAntialias,
                              Filter::kBicubicAntialias, Filter::kLanczosAntialias, Filter::kArea}) {
    for (const auto& [w, h] : {std::pair{1, 1}, {5, 3}, {13, 7}, {40, 29}}) {
      EXPECT_EQ(resize(flat, w, h, filter).pixels, Image(w, h, 3, 201).pixels) << static_cast<int>(filter) << " " << w;
    }
  }
  EXPECT_EQ(message_of([&] { resize(flat, 0, 5); }, ErrorKind::kUsage),
            "resize: a size of 0x5; both sides must be >= 1");
}

TEST(Resize, MapCentroidStaysWhereTheCellIs) {
  // Cell (1,1) of a 7x7 grid covers pixels 32..63 of 224: its center of mass is 47.5, not 37 as with aligned corners.
  std::vector<float> map(49, 0.0f);
  map[8] = 1;
  const std::vector<float> large = resize_map(map.data(), 7, 7, 224, 224);
  double mass = 0, moment = 0, largest = 0;
  for (size_t i = 0; i < large.size(); ++i) {
    mass += large[i];
    moment += large[i] * static_cast<double>(i % 224);
    largest = std::max<double>(largest, large[i]);
    EXPECT_GE(large[i], 0);
  }
  EXPECT_NEAR(moment / mass, 47.5, 1e-4);
  EXPECT_NEAR(largest, 63.0 / 64 * 63 / 64, 1e-6);
  EXPECT_EQ(resize_map(map.data(), 7, 7, 7, 7), map);
}

TEST(Geometry, CropPasteLetterbox) {
  const Image image = numbered(5, 4);
  const Image part = crop(image, {1, 2, 3, 2});
  EXPECT_EQ(part.at(0, 0)[1], image.at(1, 2)[1]);
  EXPECT_EQ(part.at(2, 1)[2], image.at(3, 3)[2]);
  EXPECT_EQ(message_of(
                [&] {
                  crop(image, {3, 0, 3, 1});
                },
                ErrorKind::kUsage),
            "crop: 3x1 at (3, 0) is empty or leaves the image of 5x4");
  Image canvas(6, 6, 3, 9);
  paste(canvas, image, -2, 4);
  EXPECT_EQ(canvas.at(0, 4)[0], image.at(2, 0)[0]);
  EXPECT_EQ(canvas.at(3, 4)[0], 9);
  const Letterboxed boxed = letterbox(Image(100, 50, 3, 200), 64, 64, {1, 2, 3});
  EXPECT_EQ(boxed.content.y, 16);
  EXPECT_EQ(boxed.content.height, 32);
  EXPECT_EQ(boxed.image.at(0, 15)[2], 3);
  EXPECT_EQ(boxed.image.at(0, 16)[2], 200);
  EXPECT_EQ(center_rect(455, 256, 224, 224).x, 115);
}

double cielab_lightness(const Color& color) {
  double y = 0;
  const double share[] = {0.2126, 0.7152, 0.0722};
  for (size_t c = 0; c < 3; ++c) {
    const double v = color[c] / 255.0;
    y += share[c] * (v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
  }
  return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : y * 24389.0 / 27;
}

TEST(ColorMaps, PerceptualOnesAreMonotonicInLightness) {
  // CIELAB, another measure than the one they are drawn in; rounding to 8 bits moves it by up to 0.3.
  constexpr double kRounding = 0.35;
  for (const ColorMap& map : color_maps()) {
    if (!map.perceptual) continue;
    const size_t middle = map.kind == ColorMapKind::kDiverging ? map.colors.size() / 2 : 0;
    double highest = -1;
    for (size_t i = middle; i < map.colors.size(); ++i) {
      const double l = cielab_lightness(map.colors[i]);
      const double rising = map.kind == ColorMapKind::kDiverging ? 100 - l : l;
      EXPECT_GE(rising, highest - kRounding) << map.name << " " << i;
      highest = std::max(highest, rising);
    }
    double lowest = -1;
    for (size_t i = middle; i-- > 0;) {
      const double darkness = 100 - cielab_lightness(map.colors[i]);
      EXPECT_GE(darkness, lowest - kRounding) << map.name << " " << i;
      lowest = std::max(lowest, darkness);
    }
  }
}

TEST(ColorMaps, DivergingOnesAreNeutralInTheMiddleAndDarkAtBothEnds) {
  for (const ColorMap& map : color_maps()) {
    if (map.kind != ColorMapKind::kDiverging) continue;
    const Color zero = map.color_of(0);
    EXPECT_EQ(zero[0], zero[1]) << map.name;
    EXPECT_EQ(zero[1], zero[2]) << map.name;
    EXPECT_GT(zero[0], 200) << map.name;
    EXPECT_GT(cielab_lightness(zero), cielab_lightness(map.color_of(1)) + 30) << map.name;
    if (!map.perceptual) continue;
    EXPECT_NEAR(cielab_lightness(map.color_of(1)), cielab_lightness(map.color_of(-1)), 12) << map.name;
  }
  EXPECT_EQ(find_color_map("seismic").color_of(0.5), (Color{255, 0, 0}));
  EXPECT_EQ(find_color_map("seismic").color_of(-0.5)[2], 255);
}

TEST(ColorMaps, KnownColorsAndUnknownNames) {
  EXPECT_EQ(find_color_map("jet").color_of(0), (Color{0, 0, 128}));
  EXPECT_EQ(find_color_map("jet").color_of(1), (Color{128, 0, 0}));
  EXPECT_EQ(find_color_map("gray").color_of(2.0), (Color{255, 255, 255}));
  EXPECT_EQ(find_color_map("viridis").color_of(0), (Color{0x44, 0x01, 0x54}));
  EXPECT_EQ(find_color_map("viridis").color_of(1), (Color{0xFD, 0xE7, 0x25}));
  EXPECT_EQ(message_of([] { find_color_map("virids"); }, ErrorKind::kUsage),
            "no color map 'virids'; did you mean 'viridis'? (all: turbo, viridis, magma, inferno, plasma, cividis, "
            "jet, gray, "
            "coolwarm, rdbu, seismic, piyg)");
}

Heatmap heatmap_of(const std::vector<float>& map, Normalization normalization, double percentile = 99) {
  return heatmap_from_map(map.data(), 1, static_cast<int>(map.size()), {normalization, percentile});
}

TEST(Heatmap, EachNormalizationByHand) {
  const std::vector<float> map = {-2, 0, 1, 4};
  EXPECT_EQ(heatmap_of(map, Normalization::kMax).values, (std::vector<float>{0, 0, 0.25f, 1}));
  EXPECT_EQ(heatmap_of({-2, 0, 1, 6}, Normalization::kMinMax).values, (std::vector<float>{0, 0.25f, 0.375f, 1}));
  EXPECT_EQ(heatmap_of(map, Normalization::kSymmetric).values, (std::vector<float>{-0.5f, 0, 0.25f, 1}));
  EXPECT_EQ(heatmap_of({-2, 0, 0.5f, 1}, Normalization::kNone).values, (std::vector<float>{-1, 0, 0.5f, 1}));
  // The 50th percentile of 0 1 2 3 4 is 2; above it everything is 1.
  EXPECT_EQ(heatmap_of({4, 1, 0, 3, 2}, Normalization::kPercentile, 50).values, (std::vector<float>{1, 0.5f, 0, 1, 1}));
  // Signed: the percentile of the magnitudes, interpolated: 0 1 3 4 -> 2 at 50.
  EXPECT_EQ(heatmap_of({-4, 1, 0, 3}, Normalization::kPercentile, 50).values, (std::vector<float>{-1, 0.5f, 0, 1}));
  EXPECT_TRUE(heatmap_of(map, Normalization::kSymmetric).range.is_signed);
}

TEST(Heatmap, PercentileOfASparseMapFallsBackToTheMaximum) {
  std::vector<float> sparse(1000, 0.0f);
  sparse[7] = 8;
  sparse[8] = 4;
  const Heatmap heatmap = heatmap_of(sparse, Normalization::kPercentile, 90);
  EXPECT_EQ(heatmap.values[7], 1);
  EXPECT_EQ(heatmap.values[8], 0.5f);
}

TEST(Heatmap, NothingToShowIsZerosAndSaidSo) {
  const float noise = 1.0f;
  for (const auto normalization :
       {Normalization::kMax, Normalization::kMinMax, Normalization::kSymmetric, Normalization::kPercentile}) {
    for (const std::vector<float>& map :
         {std::vector<float>{noise, noise, noise}, {0, 0, 0}, {-3, -3, -3}, {1e-14f, 2e-14f, 0}}) {
      const Heatmap heatmap = heatmap_of(map, normalization);
      EXPECT_TRUE(heatmap.range.degenerate);
      EXPECT_EQ(heatmap.values, (std::vector<float>{0, 0, 0}));
    }
  }
  EXPECT_TRUE(heatmap_of({-3, -1, -2}, Normalization::kMax).range.degenerate);
  EXPECT_FALSE(heatmap_of({-3, -1, -2}, Normalization::kMinMax).range.degenerate);
}

TEST(Heatmap, NonFiniteValuesAndBadPercentilesAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message_of(
                [&] {
                  heatmap_of({0, nan}, Normalization::kMax);
                },
                ErrorKind::kFailed),
            "heatmap: value 1 of 2 is NaN; nothing can be drawn from it");
  EXPECT_EQ(message_of([&] { heatmap_of({inf}, Normalization::kNone); }, ErrorKind::kFailed),
            "heatmap: value 0 of 1 is infinite; nothing can be drawn from it");
  EXPECT_EQ(message_of([&] { heatmap_of({1}, Normalization::kPercentile, 0); }, ErrorKind::kUsage),
            "heatmap: percentile is 0; it must be > 0 and <= 100 (default 99)");
  EXPECT_EQ(find_normalization("min-max"), Normalization::kMinMax);
  EXPECT_EQ(message_of([] { find_normalization("minmax"); }, ErrorKind::kUsage),
            "no normalization 'minmax'; accepted are max, min-max, symmetric, percentile, none");
}

TEST(Heatmap, SharedRangeCoversAllButTheDegenerate) {
  ValueRange a{0, 2, false, false}, b{-3, 3, true, false}, c{0, 99, false, true};
  const ValueRange shared = shared_range({a, b, c});
  EXPECT_EQ(shared.low, -3);
  EXPECT_EQ(shared.high, 3);
  EXPECT_TRUE(shared.is_signed);
  EXPECT_TRUE(shared_range({c}).degenerate);
  const float map[] = {1, 4};
  EXPECT_EQ(heatmap_from_map(map, 1, 2, a).values, (std::vector<float>{0.5f, 1}));
}

TEST(Overlay, BlendsByOpacity) {
  Image photo(2, 1, 3, 100);
  const Heatmap heatmap = heatmap_of({0, 1}, Normalization::kMax);
  EXPECT_EQ(overlay(photo, heatmap, find_color_map("gray"), 0.25).pixels,
            (std::vector<uint8_t>{75, 75, 75, 139, 139, 139}));
  EXPECT_EQ(overlay(photo, heatmap, find_color_map("gray"), 0).pixels, photo.pixels);
  EXPECT_EQ(overlay(photo, heatmap, find_color_map("gray"), 1).pixels, (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
  EXPECT_EQ(overlay(Image(20, 10, 1, 100), heatmap, find_color_map("gray")).width, 20);
  EXPECT_EQ(message_of([&] { overlay(photo, heatmap, find_color_map("gray"), 1.5); }, ErrorKind::kUsage),
            "overlay: opacity is 1.5; it must be 0 to 1 (default 0.5)");
}

TEST(GradientPicture, ZeroIsMidGreyAndDeviationIsATenth) {
  const float signs[] = {-1, 1, -1, 1};
  // Mean 0, deviation 1: 0.5 -+ 0.1 of 255.
  EXPECT_EQ(picture_of_gradient(signs, 1, 2, 2).at(0, 0)[0], 102);
  EXPECT_EQ(picture_of_gradient(signs, 1, 2, 2).at(1, 0)[2], 153);
  const float uneven[] = {0, -1, 4};
  const Image symmetric = picture_of_gradient(uneven, 3, 1, 1, GradientDisplay::kSymmetric);
  EXPECT_EQ(symmetric.pixels, (std::vector<uint8_t>{128, 96, 255}));
  const float flat[] = {5, 5};
  EXPECT_EQ(picture_of_gradient(flat, 1, 1, 2).pixels, std::vector<uint8_t>(6, 128));
}

TEST(Mask, OutlineLiesInsideTheRegion) {
  Image picture(7, 7, 3, 0), mask(7, 7, 1, 0);
  for (int y = 1; y < 6; ++y) {
    for (int x = 1; x < 6; ++x) *mask.at(x, y) = 255;
  }
  draw_mask_outline(picture, mask, {255, 0, 0}, 1);
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 7; ++x) {
      const bool inside = x >= 1 && x <= 5 && y >= 1 && y <= 5;
      const bool deep = x >= 2 && x <= 4 && y >= 2 && y <= 4;
      EXPECT_EQ(picture.at(x, y)[0], inside && !deep ? 255 : 0) << x << "," << y;
    }
  }
}

TEST(Text, FitsWrapsAndReplaces) {
  const TextStyle style{16, {0, 0, 0}, false};
  EXPECT_EQ(fit_text("short", 500, style), "short");
  const string cut = fit_text("a title that is much too long for its place", 120, style);
  EXPECT_EQ(cut.substr(cut.size() - 3), "...");
  EXPECT_LE(text_width(cut, style), 120);
  EXPECT_EQ(fit_text("anything", 2, style), "");
  EXPECT_EQ(text_width("\xC3\xA4\xE7\x8C\xAB", style), text_width("??", style));
  const auto lines = wrap_text("integrated-gradients:steps=100 and more and more and more", 130, 3, style);
  ASSERT_EQ(lines.size(), 3u);
  for (const string& line : lines) EXPECT_LE(text_width(line, style), 130) << line;
  EXPECT_EQ(wrap_text("one two", 500, 2, style), std::vector<string>{"one two"});
  EXPECT_TRUE(wrap_text("", 100, 2, style).empty());
}

/// Smallest rectangle with ink in it, as x0 y0 x1 y1; all -1 when blank.
std::array<int, 4> ink_of(const Image& image) {
  std::array<int, 4> box{image.width, image.height, -1, -1};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (image.at(x, y)[0] > 200) continue;
      box = {std::min(box[0], x), std::min(box[1], y), std::max(box[2], x), std::max(box[3], y)};
    }
  }
  return box;
}

TEST(Text, InkStaysWhereTheWidthSays) {
  for (const int size : {8, 14, 40}) {
    for (const bool bold : {false, true}) {
      const TextStyle style{size, {0, 0, 0}, bold};
      Image canvas(800, 100, 3, 255);
      draw_text(canvas, 10, 20, "Agjpy_-|W(0)", style);
      const auto [x0, y0, x1, y1] = ink_of(canvas);
      EXPECT_GE(x0, 9);
      EXPECT_LE(x1, 10 + text_width("Agjpy_-|W(0)", style));
      EXPECT_GE(y0, 20);
      EXPECT_LE(y1, 20 + size + 1);
      EXPECT_GT(y1 - y0, size / 2);
    }
  }
  Image tiny(3, 3, 1, 255);
  draw_text(tiny, -5, -5, string(100000, 'W'), {});  // clipped on every side
  EXPECT_EQ(tiny.pixels.size(), 9u);
}

TEST(ContactSheet, TextStaysInsideItsCell) {
  ContactSheet sheet;
  sheet.columns = 2;
  for (int i = 0; i < 3; ++i) {
    SheetCell cell;
    cell.image = Image(32, 32, 3, 255);
    cell.title = string(300, 'W');
    cell.lines = {string(300, 'M')};
    sheet.cells.push_back(cell);
  }
  const Image drawn = draw_contact_sheet(sheet);
  // Two cells of 224: the gap between them and the margins carry no ink.
  const int gap = 14, margin = 21;
  ASSERT_EQ(drawn.width, 2 * 224 + gap + 2 * margin);
  for (int y = 0; y < drawn.height; ++y) {
    for (int x = margin + 224 + 2; x < margin + 224 + gap - 2; ++x) ASSERT_GT(drawn.at(x, y)[0], 250) << x << "," << y;
    for (int x = 0; x < margin - 2; ++x) ASSERT_GT(drawn.at(x, y)[0], 250) << x << "," << y;
  }
}

TEST(ContactSheet, SmallPicturesBecomeSquaresAndLargeOnesShrink) {
  ContactSheet sheet;
  sheet.cells.resize(1);
  sheet.cells[0].image = numbered(32, 32);
  const Image small = draw_contact_sheet(sheet);
  const int margin = 21;
  for (const int i : {0, 5, 31}) {  // 224 / 32 = 7
    for (const int inside : {0, 6}) {
      EXPECT_EQ(small.at(margin + 7 * i + inside, margin + inside)[0], sheet.cells[0].image.at(i, 0)[0]);
    }
  }
  sheet.cells[0].image = Image(4000, 3000, 3, 7);
  const Image large = draw_contact_sheet(sheet);
  EXPECT_EQ(large.width, 512 + 2 * 48);
  EXPECT_EQ(large.height, 384 + 2 * 48);
  sheet.cells.clear();
  EXPECT_EQ(message_of([&] { draw_contact_sheet(sheet); }, ErrorKind::kUsage), "contact sheet: no cells");
}

TEST(Plots, DrawDegenerateData) {
  LinePlot plot;
  plot.series = {{"a", {}, {}}, {"b", {1}, {2}}, {"c", {0, 1, 2}, {5, std::nan(""), 5}}};
  EXPECT_EQ(draw_line_plot(plot).width, 640);
  plot.series[0].x = {1};
  EXPECT_EQ(message_of([&] { draw_line_plot(plot); }, ErrorKind::kUsage), "line plot: series 'a' has 1 x and 0 y");
  BarChart chart;
  EXPECT_EQ(message_of([&] { draw_bar_chart(chart); }, ErrorKind::kUsage), "bar chart: no bars");
  chart.bars = {{"zero", 0, 0}, {"same", 0, 0}};
  EXPECT_EQ(draw_bar_chart(chart).width, 640);
  chart.bars[0].value = std::nan("");
  EXPECT_EQ(message_of([&] { draw_bar_chart(chart); }, ErrorKind::kUsage),
            "bar chart: the value of 'zero' is not finite");
}

TEST(Plots, ALineIsWhereItsValuesAre) {
  LinePlot plot;
  plot.series = {{"a", {0, 1}, {1, 1}}, {"b", {0, 1}, {0, 0}}};
  const Image drawn = draw_line_plot(plot);
  // The first series' blue runs along the top of the frame, the second one's orange along the bottom.
  int blue = 0, orange = 0;
  for (int x = 100; x < 400; ++x) {
    for (int y = 0; y < 60; ++y) blue += drawn.at(x, y)[2] > 150 && drawn.at(x, y)[0] < 60;
    for (int y = 360; y < 420; ++y) orange += drawn.at(x, y)[0] > 180 && drawn.at(x, y)[2] < 60;
  }
  EXPECT_GT(blue, 290);
  EXPECT_GT(orange, 290);
}

// Made with Pillow's BILINEAR, shorter side 256, center crop 224, x / 127.5 - 1.
TEST(Golden, PreprocessingOfTheCatEqualsPillow) {
  const char* set = std::getenv("PELLUCID_SHARED");
  const string shared = set != nullptr ? set : string(PELLUCID_SOURCE_DIR) + "/../shared";
  const string golden = shared + "/golden/mobilenet/cat/input.npy";
  if (!fs::exists(golden)) GTEST_SKIP() << golden << " is not there; set PELLUCID_SHARED to the folder of references";
  const NpyArray reference = read_npy(golden);
  ASSERT_EQ(reference.shape, (std::vector<int64_t>{1, 3, 224, 224}));
  const Image small = resize_shorter_side(decode_image(shared + "/images/cat.jpg"), 256);
  const Image image = crop(small, center_rect(small.width, small.height, 224, 224));
  const std::vector<float> expected = reference.floats();
  int largest = 0, num_different = 0;
  for (int y = 0; y < 224; ++y) {
    for (int x = 0; x < 224; ++x) {
      for (int c = 0; c < 3; ++c) {
        const float value = expected[static_cast<size_t>((c * 224 + y) * 224 + x)];
        const int difference = std::abs(static_cast<int>(std::lround((value + 1) * 127.5f)) - image.at(x, y)[c]);
        largest = std::max(largest, difference);
        num_different += difference != 0;
      }
    }
  }
  EXPECT_EQ(num_different, 0) << "of 150528 values; the largest difference is " << largest;
}

}  // namespace
}  // namespace pellucid
