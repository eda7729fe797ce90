#include <gtest/gtest.h>

#include <filesystem>

#include "pellucid/tasks.h"
#include "support/expect_error.h"
#include "support/layer_builder.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

TEST(UniqueNames, StemsThatCollideKeepTheirExtensionOrGetANumber) {
  EXPECT_EQ(unique_names({"x/a.png", "x/b.png", "y/b.jpg", "y/b.png", "c"}),
            (Words{"a", "b.png", "b.jpg", "b.png-2", "c"}));
  EXPECT_EQ(unique_names({"A.png", "a.png"}), (Words{"A.png", "a.png-2"}));
  EXPECT_EQ(unique_names({"a?b.png", "a*b.png"}), (Words{"a_b.png", "a_b.png-2"}));
}

TEST(ExpandInputs, FoldersAreSearchedWithoutHiddenFilesAndLinks) {
  const test::TemporaryFolder folder;
  for (const char* name : {"b.png", "a.JPG", "sub/c.npy", "notes.txt", ".hidden.png", ".git/d.png"})
    folder.write(name, "x");
  fs::create_directory_symlink("..", folder.file("sub/loop"));
  EXPECT_EQ(expand_inputs({folder.path()}),
            (Words{folder.file("a.JPG"), folder.file("b.png"), folder.file("sub/c.npy")}));
  // Each once, however often it is named; a file named outright needs no known extension.
  EXPECT_EQ(expand_inputs({folder.file("notes.txt"), folder.file("b.png"), folder.file("*.png")}),
            (Words{folder.file("notes.txt"), folder.file("b.png")}));
  EXPECT_EQ(expand_inputs({folder.file("b.png"), folder.file("./b.png"), folder.file("sub/../b.png")}),
            Words{folder.file("b.png")});
  test::expect_error(ErrorKind::kUsage, "'*/x.png': only the last part of a path may hold '*' or '?'",
                     [] { expand_inputs({"*/x.png"}); });
}

class LoadPicture : public ::testing::Test {
 protected:
  LoadedModel model(const ModelCard& card) {
    test::LayerBuilder b(1, {1, 3, 4, 4});
    b.conv("c", "x", 2);
    return {"m.onnx", Network(b.head("c", 2)), card};
  }
  static ModelCard plain(int64_t side, ResizePolicy policy) {
    ModelCard card;
    card.width = card.height = side;
    card.resize = policy;
    card.mean = {0, 0, 0};
    card.std = {1, 1, 1};
    return card;
  }
  Picture load(const Image& image, const ModelCard& card) {
    save_png(folder.file("p.png"), image);
    return load_picture(folder.file("p.png"), "p", model(card));
  }
  test::TemporaryFolder folder;
};

// A pixel p enters as (p * scale - mean) / std, channels in the card's order.
TEST_F(LoadPicture, PixelsArePreprocessedAsTheCardSays) {
  Image image(4, 4, 3, 0);
  image.at(1, 2)[0] = 200;
  image.at(1, 2)[2] = 50;
  ModelCard card = plain(4, ResizePolicy::kStretch);
  card.scale = 0.5;
  card.mean = {1, 2, 3};
  card.std = {2, 4, 5};
  const Tensor rgb = load(image, card).input;
  ASSERT_EQ(rgb.sizes().vec(), (Shape{1, 3, 4, 4}));
  EXPECT_FLOAT_EQ(rgb[0][0][2][1].item<float>(), (200 * 0.5f - 1) / 2);
  EXPECT_FLOAT_EQ(rgb[0][1][2][1].item<float>(), -2.0f / 4);
  EXPECT_FLOAT_EQ(rgb[0][2][2][1].item<float>(), (50 * 0.5f - 3) / 5);
  card.order = ChannelOrder::kBgr;
  EXPECT_FLOAT_EQ(load(image, card).input[0][0][2][1].item<float>(), (50 * 0.5f - 1) / 2);
  card.channels_first = false;
  EXPECT_FLOAT_EQ(load(image, card).input[0][2][1][0].item<float>(), (50 * 0.5f - 1) / 2);
}

// 8 x 4 pixels cropped to 4 x 4 lose two columns on each side.
TEST_F(LoadPicture, CropSaysWhatTheModelSees) {
  const Picture p = load(Image(8, 4, 3, 9), plain(4, ResizePolicy::kCenterCrop));
  EXPECT_EQ(p.seen.x, 2);
  EXPECT_EQ(p.seen.y, 0);
  EXPECT_EQ(p.seen.width, 4);
  EXPECT_EQ(p.seen.height, 4);
  EXPECT_EQ(p.content.width, 4);
}

// 8 x 4 in a frame of 8 x 8 leaves two rows of filling above and below.
TEST_F(LoadPicture, LetterboxSaysWhereThePictureLies) {
  const Picture p = load(Image(8, 4, 3, 9), plain(8, ResizePolicy::kLetterbox));
  EXPECT_EQ(p.seen.width, 8);
  EXPECT_EQ(p.content.y, 2);
  EXPECT_EQ(p.content.height, 4);
  EXPECT_FLOAT_EQ(p.input[0][0][3][3].item<float>(), 9);
  EXPECT_FLOAT_EQ(p.input[0][0][0][0].item<float>(), 114);
}

// A mask goes the way of its photo: where the input is white, the mask of the white half is 255, and nowhere else.
TEST_F(LoadPicture, MasksFollowThePhotoIntoTheView) {
  Image photo(8, 4, 3, 0), mask(8, 4, 1, 0);
  for (int y = 0; y < 4; ++y) {
    for (int x = 4; x < 8; ++x) {
      *mask.at(x, y) = 255;
      std::fill_n(photo.at(x, y), 3, uint8_t{255});
    }
  }
  for (const ResizePolicy policy : {ResizePolicy::kStretch, ResizePolicy::kCenterCrop, ResizePolicy::kLetterbox}) {
    for (const bool channels_first : {true, false}) {
      ModelCard card = plain(policy == ResizePolicy::kCenterCrop ? 4 : 8, policy);
      card.channels_first = channels_first;
      const Picture p = load(photo, card);
      const Image seen = mask_in_view(mask, view_of(p, card));
      ASSERT_EQ(seen.width, card.width);
      ASSERT_EQ(seen.height, card.height);
      const Tensor plane = channels_first ? p.input[0][0] : p.input[0].select(2, 0);
      for (int y = 0; y < seen.height; ++y)
        for (int x = 0; x < seen.width; ++x)
          EXPECT_EQ(*seen.at(x, y) == 255, plane[y][x].item<float>() == 255) << x << ", " << y;
    }
  }
}

}  // namespace
}  // namespace pellucid
