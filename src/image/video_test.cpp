#include "pellucid/video.h"

#include <gif_lib.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <memory>

#include "pellucid/error.h"
#include "support/expect_error.h"
#include "support/run_program.h"

namespace pellucid {
namespace {

/// Frame k is grey 40 * k + 20.
std::string write_clip(const test::TemporaryFolder& folder, int count) {
  const std::string path = folder.file("clip.avi");
  VideoWriter writer(path, 64, 48, 10);
  for (int k = 0; k < count; ++k) writer.add(Image(64, 48, 3, static_cast<uint8_t>(40 * k + 20)));
  writer.close();
  return path;
}

TEST(Video, FramesComeBackInOrder) {
  const test::TemporaryFolder folder;
  VideoReader reader(write_clip(folder, 5));
  EXPECT_NEAR(reader.frames_per_second(), 10, 1e-6);
  Image frame;
  ASSERT_TRUE(reader.next(frame));
  EXPECT_EQ(frame.width, 64);
  EXPECT_EQ(frame.height, 48);
  EXPECT_NEAR(frame.at(30, 20)[0], 20, 4);  // JPEG
  reader.skip(2);
  ASSERT_TRUE(reader.next(frame));
  EXPECT_NEAR(frame.at(30, 20)[2], 140, 4);
  EXPECT_EQ(reader.position(), 4);
  EXPECT_TRUE(reader.next(frame));
  EXPECT_FALSE(reader.next(frame));
}

TEST(Video, IsThereOnlyWhenClosed) {
  const test::TemporaryFolder folder;
  {
    VideoWriter writer(folder.file("clip.avi"), 16, 16, 5);
    writer.add(Image(16, 16, 3, 9));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Video, DamageAndDisguiseAreRefusedInOneLine) {
  const test::TemporaryFolder folder;
  const std::string whole = test::file_text(write_clip(folder, 3));
  const auto refused = [&](const std::string& name, const std::string& bytes, const std::string& reason) {
    const std::string path = folder.write(name, bytes);
    test::expect_error(ErrorKind::kInvalidInput, path + ": " + reason, [&] {
      VideoReader reader(path);
      Image frame;
      reader.next(frame);
    });
  };
  const std::string container =
      "not a video in an accepted container; accepted are AVI, MP4, QuickTime, Matroska, WebM, MPEG";
  refused("empty.mp4", "", container);
  refused("list.mp4", "#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n", container);
  refused("head.avi", whole.substr(0, 40),
          "cannot be read as a video: the file is damaged, or of a codec this OpenCV lacks");
  ImageLimits small;
  small.max_pixels = 100;
  test::expect_error(ErrorKind::kInvalidInput,
                     folder.file("clip.avi") + ": frames of 64x48 pixels; 1 to 100 pixels are accepted",
                     [&] { VideoReader(folder.file("clip.avi"), small); });
  test::expect_error(ErrorKind::kInvalidInput, "none.avi: is not a regular file", [] { VideoReader("none.avi"); });
}

/// Frame k: red rises to the right, green downwards, blue with k.
Image gradient_frame(int k) {
  Image image(64, 48, 3);
  for (int y = 0; y < 48; ++y) {
    for (int x = 0; x < 64; ++x) {
      uint8_t* pixel = image.at(x, y);
      pixel[0] = static_cast<uint8_t>(4 * x);
      pixel[1] = static_cast<uint8_t>(5 * y);
      pixel[2] = static_cast<uint8_t>(60 * k);
    }
  }
  return image;
}

struct GifDeleter {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

// 256 colors for 48 * 64 * 4: boxes about 28 wide in the two directions that change, so half of that from the mean.
TEST(AnimatedGif, FramesComeBackWithinThePalette) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("clip.GIF");
  VideoWriter writer(path, 64, 48, 12.5);
  for (int k = 0; k < 4; ++k) writer.add(gradient_frame(k));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.close();

  std::unique_ptr<GifFileType, GifDeleter> gif(DGifOpenFileName(path.c_str(), nullptr));
  ASSERT_TRUE(gif);
  ASSERT_EQ(DGifSlurp(gif.get()), GIF_OK);
  ASSERT_EQ(gif->ImageCount, 4);
  EXPECT_EQ(gif->SWidth, 64);
  EXPECT_EQ(gif->SHeight, 48);
  for (int k = 0; k < 4; ++k) {
    GraphicsControlBlock control;
    ASSERT_EQ(DGifSavedExtensionToGCB(gif.get(), k, &control), GIF_OK);
    EXPECT_EQ(control.DelayTime, 8);
    const Image wanted = gradient_frame(k);
    double squares = 0;
    for (size_t i = 0; i < 64 * 48; ++i) {
      const GifColorType& color = gif->SColorMap->Colors[gif->SavedImages[k].RasterBits[i]];
      const std::array<uint8_t, 3> seen{color.Red, color.Green, color.Blue};
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_LE(std::abs(seen[c] - wanted.pixels[3 * i + c]), 24) << "frame " << k << ", value " << 3 * i + c;
        squares += std::pow(seen[c] - wanted.pixels[3 * i + c], 2);
      }
    }
    EXPECT_LT(std::sqrt(squares / (3 * 64 * 48)), 8) << k;
  }
  const Image first = decode_image(path);  // ours reads it as well
  EXPECT_EQ(first.width, 64);
  EXPECT_NE(test::file_text(path).find("NETSCAPE2.0"), std::string::npos);
}

TEST(AnimatedGif, FewColorsStayAsTheyAre) {
  const test::TemporaryFolder folder;
  VideoWriter writer(folder.file("two.gif"), 9, 5, 10);
  Image image(9, 5, 3, 17);
  image.at(4, 2)[1] = 250;
  writer.add(image);
  writer.close();
  const Image read = decode_image(folder.file("two.gif"));
  EXPECT_EQ(rgb_from(read).pixels, image.pixels);
}

TEST(AnimatedGif, RefusesHostileSizesAndLeavesNothing) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a.gif");
  test::expect_error(ErrorKind::kUsage, path + ": frames of 40000x40000 pixels; 1 to 67108864 pixels are accepted",
                     [&] { VideoWriter(path, 40000, 40000, 5); });
  test::expect_error(ErrorKind::kUsage, path + ": frames of 0x3 pixels; 1 to 67108864 pixels are accepted",
                     [&] { VideoWriter(path, 0, 3, 5); });
  test::expect_error(ErrorKind::kUsage, path + ": frames of 70000x2 pixels; a GIF has sides up to 65535",
                     [&] { VideoWriter(path, 70000, 2, 5); });
  { VideoWriter(path, 16, 16, 5).add(Image(16, 16, 3, 9)); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  const std::string nowhere = folder.file("none/a.gif");
  VideoWriter writer(nowhere, 4, 4, 5);
  writer.add(Image(4, 4, 3));
  EXPECT_THROW(writer.close(), Error);
}

TEST(Video, IsToldByItsName) {
  EXPECT_TRUE(named_like_video("a/clip.MP4"));
  EXPECT_FALSE(named_like_video("clip.gif"));
  EXPECT_FALSE(named_like_video("mp4"));
}

}  // namespace
}  // namespace pellucid
