#include "pellucid/video.h"

#include <gtest/gtest.h>

#include <fstream>

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

TEST(Video, IsToldByItsName) {
  EXPECT_TRUE(named_like_video("a/clip.MP4"));
  EXPECT_FALSE(named_like_video("clip.gif"));
  EXPECT_FALSE(named_like_video("mp4"));
}

}  // namespace
}  // namespace pellucid
