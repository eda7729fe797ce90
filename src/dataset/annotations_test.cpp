#include "pellucid/annotations.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dataset/xml.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace pellucid {
namespace {

using test::expect_error;
using test::TemporaryFolder;

/// Rows of '#' and '.', one per line.
std::string drawing(const Image& mask) {
  std::string text;
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) text += *mask.at(x, y) > 127 ? '#' : '.';
    text += y + 1 < mask.height ? "/" : "";
  }
  return text;
}

std::string coco(const std::string& annotation, const std::string& images = "") {
  return "{\"info\":{\"year\":2017},\"images\":[" +
         (images.empty() ? R"({"id":7,"file_name":"a.jpg","width":4,"height":3})" : images) + R"(],"annotations":[)" +
         annotation + R"(],"categories":[{"id":18,"name":"dog"},{"id":3,"name":"car"}]})";
}

// ---------------------------------------------------------------------------------------------------------------------
// COCO

// 3 rows, 4 columns, read down the columns: 2 outside, 3 inside (the last of column 0 and the first two of column 1), 6
// outside, 1 inside (the last).
TEST(Annotations, PlainRunsGoDownTheColumns) {
  EXPECT_EQ(drawing(mask_from_runs({2, 3, 6, 1}, 3, 4, "here")), ".#../.#../#..#");
  EXPECT_EQ(drawing(mask_from_runs({0, 12}, 3, 4, "here")), "####/####/####");
  EXPECT_EQ(drawing(mask_from_runs({12}, 3, 4, "here")), "..../..../....");
}

// By hand: 6 is '0' + 6, 1 is '0' + 1; 40 = 8 + 1 * 32 is '0' + (8 | 32) = 'X' and '0' + 1; the fourth is 4 - 1 = 3;
// the fifth 5 - 40 = -35, whose low five bits are 29, then -2, whose low five bits are 30 and end it since bit 5 is
// set: '0' + (29 | 32) = 'm' and '0' + 30 = 'N'.
TEST(Annotations, CompressedRunsAreReadAsCocoWritesThem) {
  EXPECT_EQ(runs_from_text("61X13mN", 100, "here"), (std::vector<int64_t>{6, 1, 40, 4, 5}));
  // 20 has bit 5 set, so that a second character must say that it is positive: '0' + (20 | 32) = 'd' and '0'.
  EXPECT_EQ(runs_from_text("d0", 100, "here"), (std::vector<int64_t>{20}));
  EXPECT_EQ(runs_from_text("", 100, "here"), (std::vector<int64_t>{}));
}

// Reference: the encoder as the format describes it, written out the other way around.
std::string compressed(const std::vector<int64_t>& counts) {
  std::string text;
  for (size_t i = 0; i < counts.size(); ++i) {
    int64_t value = i > 2 ? counts[i] - counts[i - 2] : counts[i];
    for (bool more = true; more;) {
      const int64_t low = ((value % 32) + 32) % 32;
      value = (value - low) / 32;
      more = (low & 16) != 0 ? value != -1 : value != 0;
      text += static_cast<char>('0' + low + (more ? 32 : 0));
    }
  }
  return text;
}

TEST(Annotations, CompressedRunsSurviveTheRoundTrip) {
  uint64_t state = 1;
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> counts;
    for (int i = 0; i < 30; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      counts.push_back(static_cast<int64_t>((state >> 33) % (uint64_t{1} << (1 + i % 27))));
    }
    EXPECT_EQ(runs_from_text(compressed(counts), 100000, "here"), counts);
  }
}

TEST(Annotations, DamagedRunsAreRefused) {
  const auto bad = [](const std::string& message, const std::function<void()>& action) {
    expect_error(ErrorKind::kInvalidInput, message, action);
  };
  bad("x: the runs cover 11 of 4x3 pixels", [] { mask_from_runs({2, 9}, 3, 4, "x"); });
  bad("x: run 2 of 2 is 11; 10 of 4x3 pixels are left", [] { mask_from_runs({2, 11}, 3, 4, "x"); });
  bad("x: run 2 of 3 is -1; 10 of 4x3 pixels are left", [] { mask_from_runs({2, -1, 11}, 3, 4, "x"); });
  bad("x: run 1 of 1 is 9223372036854775807; 12 of 4x3 pixels are left",
      [] { mask_from_runs({INT64_MAX}, 3, 4, "x"); });
  bad("x: the compressed run lengths are damaged at character 2", [] { runs_from_text("6 ", 100, "x"); });
  bad("x: the compressed run lengths are damaged at character 3", [] { runs_from_text("6X", 100, "x"); });
  bad("x: the compressed run lengths are damaged at character 8", [] { runs_from_text("XXXXXXXXXX", 100, "x"); });
  bad("x: the compressed run lengths are damaged at character 1", [] { runs_from_text("N", 100, "x"); });  // -2
  // One character makes eight bytes: as many as a mask of 2 x 2 pixels may have, and one more.
  EXPECT_EQ(runs_from_text("01111", 4, "x").size(), 5u);
  bad("x: there are more run lengths than the 4 pixels need", [] { runs_from_text("011111", 4, "x"); });
  bad("x: there are more run lengths than the 4 pixels need",
      [] { runs_from_text(std::string(1 << 20, '0'), 4, "x"); });
}

TEST(Annotations, PolygonsFillThePixelsWhoseMiddleIsInside) {
  const auto filled = [](const std::vector<float>& polygon) {
    Image mask(5, 4, 1);
    fill_polygon(mask, polygon);
    return drawing(mask);
  };
  EXPECT_EQ(filled({1, 1, 4, 1, 4, 3, 1, 3}), "...../.###./.###./.....");
  EXPECT_EQ(filled({1, 3, 4, 3, 4, 1, 1, 1}), "...../.###./.###./.....");  // the other way around
  EXPECT_EQ(filled({0, 0, 5, 0, 5, 4, 0, 4}), "#####/#####/#####/#####");
  EXPECT_EQ(filled({-9, -9, 99, -9, 99, 99, -9, 99}), "#####/#####/#####/#####");  // clipped
  EXPECT_EQ(filled({0, 0, 4, 0, 0, 4}), "###../##.../#..../.....");  // middles on the diagonal's inner side
  EXPECT_EQ(filled({0.6F, 0, 1.4F, 0, 1.4F, 4, 0.6F, 4}), "...../...../...../.....");  // between two middles
  EXPECT_EQ(filled({0, 0, 5, 0, 5, 4, 0, 4, 0, 0, 1, 1, 1, 3, 4, 3, 4, 1, 1, 1}), "#####/#...#/#...#/#####");
}

TEST(Annotations, CocoKindsOfTruth) {
  const TemporaryFolder folder;
  const std::string path = folder.write(
      "truth.json",
      coco(
          R"({"id":1,"image_id":7,"category_id":18,"bbox":[1,0,2,2],"area":4,"iscrowd":0,"segmentation":[[1,0,3,0,3,2,1,2],[0,2,1,2,1,3,0,3]]},)"
          R"({"id":2,"image_id":7,"category_id":3,"bbox":[0.4,0.6,2.2,2.0]},)"
          R"({"id":3,"image_id":7,"category_id":3,"iscrowd":1,"segmentation":{"size":[3,4],"counts":[2,3,6,1]}},)"
          R"({"id":4,"image_id":7,"category_id":18,"bbox":[],"segmentation":{"size":[3,4],"counts":"236N"}})"));
  const Annotations truth = Annotations::open(path);
  EXPECT_EQ(truth.format(), AnnotationFormat::kCoco);
  EXPECT_EQ(truth.classes(), (std::vector<std::string>{"car", "dog"}));
  const std::vector<Annotation> all = truth.of("/somewhere/else/a.jpg", 4, 3);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(drawing(all[0].mask), ".##./.##./#...");
  EXPECT_EQ(all[0].label, "dog");
  EXPECT_EQ(all[0].category, 18);
  EXPECT_FALSE(all[0].from_box);
  EXPECT_EQ(drawing(all[1].mask), "..../###./###.");  // middles 0.5 to 2.5, rows 1.5 and 2.5
  EXPECT_TRUE(all[1].from_box);
  EXPECT_DOUBLE_EQ(all[1].box.x, 0.4);
  EXPECT_DOUBLE_EQ(all[1].box.height, 2.0);
  EXPECT_EQ(drawing(all[2].mask), ".#../.#../#..#");
  EXPECT_TRUE(all[2].crowd);
  EXPECT_DOUBLE_EQ(all[2].box.width, 4);                  // from the mask
  EXPECT_EQ(drawing(all[3].mask), drawing(all[2].mask));  // 2, 3, 6 and 1 - 3 = -2 in one character, 30
  EXPECT_EQ(drawing(union_of_masks(all, "dog")), ".##./.##./#..#");
  EXPECT_TRUE(union_of_masks(all, "cat").pixels.empty());
  EXPECT_TRUE(truth.of("b.jpg", 4, 3).empty());
}

TEST(Annotations, CocoFindsPhotosByTheLongestEndOfTheirPath) {
  const TemporaryFolder folder;
  const std::string path = folder.write(
      "truth.json",
      coco(R"({"image_id":2,"category_id":3,"bbox":[0,0,1,1]},{"image_id":1,"category_id":18,"bbox":[0,0,2,2]})",
           R"({"id":1,"file_name":"train\\1.jpg","width":4,"height":3},)"
           R"({"id":2,"file_name":"test/1.jpg","width":4,"height":3})"));
  const Annotations truth = Annotations::open(path);
  EXPECT_EQ(truth.of("/data/train/1.jpg", 4, 3).at(0).label, "dog");
  EXPECT_EQ(truth.of("/data/test/1.jpg", 4, 3).at(0).label, "car");
  expect_error(ErrorKind::kInvalidInput,
               "truth.json: several images are called '1.jpg' and the path of the photo does not tell which is meant",
               [&] { truth.of("/data/1.jpg", 4, 3); });
}

TEST(Annotations, BadCocoFilesAreRefusedByName) {
  const TemporaryFolder folder;
  const auto bad = [&](const std::string& message, const std::string& bytes) {
    const std::string path = folder.write("bad.json", bytes);
    expect_error(ErrorKind::kInvalidInput, "bad.json: " + message, [&] { Annotations::open(path); });
  };
  bad("not JSON: damaged at byte 1", "");
  bad("not JSON: damaged at byte 2", "{]");
  bad("not JSON: damaged at byte 13", R"({"images":[1)");
  const std::string shape = "not COCO: an object with \"images\", \"annotations\" and \"categories\" was expected";
  bad(shape, "[]");
  bad(shape, R"({"shapes":[],"imagePath":"a.jpg"})");
  bad("nested more than 32 deep", std::string(100000, '['));
  bad("nested more than 32 deep", R"({"images":)" + std::string(100000, '['));
  const auto one = [&](const std::string& what, const std::string& fields) {
    bad("annotation 5: " + what, coco(R"({"id":5,"image_id":7,"category_id":3,)" + fields + "}"));
  };
  bad("annotations: annotation 5 belongs to image 8, which is not listed",
      coco(R"({"id":5,"image_id":8,"category_id":3,"bbox":[0,0,1,1]})"));
  bad("annotations: annotation 5 has category 4, which is not listed",
      coco(R"({"id":5,"image_id":7,"category_id":4,"bbox":[0,0,1,1]})"));
  bad("annotation 1 of the list: id is not an integer", coco(R"({"id":"x"})"));
  bad("annotation 5: image_id is missing", coco(R"({"id":5})"));
  one("neither bbox nor segmentation", R"("area":1)");
  one("bbox is not a list of 4 numbers", R"("bbox":[1,2,3])");
  one("bbox holds something that is not a number", R"("bbox":[1,2,3,"4"])");
  one("bbox holds 1e+30", R"("bbox":[1,2,3,1e30])");
  one("bbox has a negative size", R"("bbox":[1,2,-3,4])");
  one("a polygon is not a list of at least 3 pairs of numbers", R"("segmentation":[[1,2,3,4]])");
  one("a polygon is not a list of at least 3 pairs of numbers", R"("segmentation":[1,2,3,4,5,6])");
  one("a polygon holds something that is not a number", R"("segmentation":[[1,2,3,4,5,null]])");
  one("run lengths need \"size\": [height, width]", R"("segmentation":{"counts":[1]})");
  one("run lengths for 4000000000x4000000000 pixels; at most 67108864 in all were expected",
      R"("segmentation":{"size":[4000000000,4000000000],"counts":[1]})");
  one("run lengths need \"counts\", a list or a text", R"("segmentation":{"size":[3,4]})");
  one("a run length is -1", R"("segmentation":{"size":[3,4],"counts":[-1]})");
  one("iscrowd is 2; 0 to 1 was expected", R"("bbox":[0,0,1,1],"iscrowd":2)");
  bad("image 1: 1048576x1048576 pixels are more than the limit of 67108864",
      coco("", R"({"id":7,"file_name":"a.jpg","width":1048576,"height":1048576})"));
  bad("image 1: width is 0; 1 to 1048576 was expected",
      coco("", R"({"id":7,"file_name":"a.jpg","width":0,"height":3})"));
  bad("image 1: file_name is missing or not a text", coco("", R"({"id":7,"width":4,"height":3})"));
  bad("images: id 7 occurs twice",
      coco("",
           R"({"id":7,"file_name":"a.jpg","width":4,"height":3},{"id":7,"file_name":"b.jpg","width":4,"height":3})"));
  std::string many = R"("segmentation":[[)";
  for (int i = 0; i < 1'000'001; ++i) many += "1,";
  bad("more than 1000000 values in one element of a list",
      coco(R"({"id":5,"image_id":7,"category_id":3,)" + many + "1]]}"));
  // Damage that shows only once the photo is known.
  const std::string path = folder.write(
      "late.json", coco(R"({"id":5,"image_id":7,"category_id":3,"segmentation":{"size":[3,5],"counts":[15]}})"));
  const Annotations truth = Annotations::open(path);
  expect_error(ErrorKind::kInvalidInput,
               "late.json: annotation 5: its run lengths are for 5x3 pixels, but the photo has 4x3",
               [&] { truth.of("a.jpg", 4, 3); });
  expect_error(ErrorKind::kInvalidInput, "late.json: image 'a.jpg' has 4x3 pixels, but the photo has 8x6",
               [&] { truth.of("a.jpg", 8, 6); });
}

TEST(Annotations, CocoKeepsLimits) {
  const TemporaryFolder folder;
  AnnotationLimits limits;
  limits.max_annotations = 1;
  const std::string box = R"({"image_id":7,"category_id":3,"bbox":[0,0,1,1]})";
  const std::string path = folder.write("two.json", coco(box + "," + box));
  expect_error(ErrorKind::kInvalidInput, "two.json: more than 1 annotations",
               [&] { Annotations::open(path, AnnotationFormat::kAuto, limits); });
  std::string boxes = box;
  for (int i = 0; i < 99; ++i) boxes += "," + box;
  const Annotations crowded = Annotations::open(
      folder.write("crowded.json", coco(boxes, R"({"id":7,"file_name":"a.jpg","width":8192,"height":8192})")));
  expect_error(ErrorKind::kInvalidInput,
               "crowded.json: image 'a.jpg': the masks of 100 annotations of 8192x8192 pixels are more than 4 GiB",
               [&] { crowded.of("a.jpg", 8192, 8192); });
  std::string polygon = "0,0";
  for (int i = 0; i < 4000; ++i) polygon += ",1,2";
  const Annotations jagged = Annotations::open(
      folder.write("jagged.json", coco(R"({"id":5,"image_id":7,"category_id":3,"segmentation":[[)" + polygon + "]]}",
                                       R"({"id":7,"file_name":"a.jpg","width":16,"height":1000000})")));
  expect_error(ErrorKind::kInvalidInput, "jagged.json: annotation 5: 4001 vertices over 1000000 rows are too many",
               [&] { jagged.of("a.jpg", 16, 1000000); });
  limits.max_file_bytes = 10;
  EXPECT_THROW(Annotations::open(path, AnnotationFormat::kAuto, limits), Error);
}

// ---------------------------------------------------------------------------------------------------------------------
// VOC

const char* const kVoc = R"(<?xml version="1.0"?>
<annotation verified="yes">
  <filename>a.jpg</filename>
  <size><width>6</width><height>4</height><depth>3</depth></size>
  <!-- boxes count from 1 and include both edges -->
  <object><name>dog</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>2</xmax><ymax>1</ymax></bndbox></part></object>
  <object><name>R&amp;D &#x3c;robot&#62;</name><difficult>1</difficult>
    <bndbox><xmax>6.0</xmax><xmin>6.0</xmin><ymin>4</ymin><ymax>4</ymax></bndbox></object>
</annotation>
)";

TEST(Annotations, VocBoxesCountFromOne) {
  const TemporaryFolder folder;
  folder.write("truth/a.xml", kVoc);
  const Annotations truth = Annotations::open(folder.file("truth"));
  EXPECT_EQ(truth.format(), AnnotationFormat::kVoc);
  const std::vector<Annotation> all = truth.of("photos/a.jpg", 6, 4);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].label, "dog");
  EXPECT_EQ(all[0].category, 12);
  EXPECT_FALSE(all[0].difficult);
  EXPECT_EQ(drawing(all[0].mask), ".##.../.##.../.##.../.##...");
  EXPECT_DOUBLE_EQ(all[0].box.x, 1);
  EXPECT_DOUBLE_EQ(all[0].box.width, 2);
  EXPECT_EQ(all[1].label, "R&D <robot>");
  EXPECT_EQ(all[1].category, -1);
  EXPECT_TRUE(all[1].difficult);
  EXPECT_EQ(drawing(all[1].mask), "....../....../....../.....#");
  EXPECT_TRUE(truth.of("photos/b.jpg", 6, 4).empty());
  EXPECT_TRUE(truth.of("..", 6, 4).empty());
  expect_error(ErrorKind::kInvalidInput, "a.xml: is about a photo of 6x4 pixels, but the photo has 4x6",
               [&] { truth.of("a.jpg", 4, 6); });
}

TEST(Annotations, BadXmlIsRefusedByLine) {
  const auto bad = [](const std::string& message, const std::string& bytes) {
    expect_error(ErrorKind::kInvalidInput, "x.xml:" + message, [&] { parse_xml(bytes, "x.xml"); });
  };
  const std::string type = "a document type is not accepted (entities could expand without end or fetch files)";
  bad("2: " + type, "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [<!ENTITY lol \"lol\">]><a>&lol;</a>");
  bad("1: " + type, "<a><!ENTITY x SYSTEM \"file:///etc/passwd\"></a>");
  bad("1: unknown entity 'lol'", "<a>&lol;</a>");
  bad("1: an entity does not end", "<a>& </a>");
  bad("1: no character is '#0'", "<a>&#0;</a>");
  bad("1: no character is '#xD800'", "<a>&#xD800;</a>");
  bad("1: no character is '#99999999'", "<a>&#99999999;</a>");
  bad("1: only elements, text and comments are accepted", "<a><![CDATA[x]]></a>");
  bad("1: only elements, text and comments are accepted", "<a><?php ?></a>");
  bad("1: an element was expected", "");
  bad("1: an element was expected", "a");
  bad("1: 'a' is not closed", "<a>");
  bad("3: 'b' is closed by 'a'", "<a>\n<b>\n</a>");
  bad("1: something follows the root element", "<a/><b/>");
  bad("1: a comment does not end", "<a><!-- </a>");
  bad("1: an attribute has no value", "<a b></a>");
  bad("1: the value of an attribute is not in quotes", "<a b=1></a>");
  bad("1: the value of an attribute does not end", "<a b=\"1></a>");
  bad("1: '<' in the value of an attribute", "<a b=\"<\"></a>");
  bad("1: a name of 1 to 200 characters was expected", "<a></ a>");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "<a>";
  bad("1: nested more than 32 deep", deep);
  std::string many = "<a>";
  for (int i = 0; i < 100001; ++i) many += "<b/>";
  bad("1: more than 100000 elements", many + "</a>");
  const XmlElement root = parse_xml("\xEF\xBB\xBF<r>\n a<x/> b&#228;\n</r>\n<!-- end -->", "x.xml");
  EXPECT_EQ(root.text, "a b\xC3\xA4");
  EXPECT_NE(root.child("x"), nullptr);
  EXPECT_EQ(root.child("y"), nullptr);
}

TEST(Annotations, BadVocFilesAreRefusedByName) {
  const TemporaryFolder folder;
  const auto bad = [&](const std::string& message, const std::string& bytes) {
    folder.write("truth/a.xml", bytes);
    const Annotations truth = Annotations::open(folder.file("truth"));
    expect_error(ErrorKind::kInvalidInput, "a.xml: " + message, [&] { truth.of("a.jpg", 6, 4); });
  };
  bad("the root is 'html'; 'annotation' was expected", "<html/>");
  bad("'object' has no 'name'", "<annotation><object/></annotation>");
  bad("'object' has no 'bndbox'", "<annotation><object><name>a</name></object></annotation>");
  const auto box = [&](const std::string& message, const std::string& fields) {
    bad(message, "<annotation><object><name>a</name><bndbox>" + fields + "</bndbox></object></annotation>");
  };
  box("'bndbox' has no 'ymin'", "<xmin>1</xmin>");
  box("'xmin' is 'nan'; a number was expected", "<xmin>nan</xmin>");
  box("'xmin' is '1e300'; a number was expected", "<xmin>1e300</xmin>");
  box("the box of 'a' ends before it begins", "<xmin>3</xmin><ymin>1</ymin><xmax>2</xmax><ymax>1</ymax>");
  folder.write("truth/a.xml", std::string((4 << 20) + 1, ' '));
  EXPECT_THROW(Annotations::open(folder.file("truth")).of("a.jpg", 6, 4), Error);
}

// ---------------------------------------------------------------------------------------------------------------------
// Masks

TEST(Annotations, MasksAreFoundByStem) {
  const TemporaryFolder folder;
  Image mask(4, 3, 1);
  *mask.at(1, 0) = 255;
  *mask.at(2, 2) = 128;
  *mask.at(3, 2) = 127;
  std::filesystem::create_directory(folder.file("masks"));
  save_png(folder.file("masks/a.png"), mask);
  save_png(folder.file("masks/empty.png"), Image(4, 3, 1));
  const Annotations truth = Annotations::open(folder.file("masks"));
  EXPECT_EQ(truth.format(), AnnotationFormat::kMasks);
  const std::vector<Annotation> all = truth.of("photos/a.jpeg", 4, 3);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(drawing(all[0].mask), ".#../..../..#.");
  EXPECT_DOUBLE_EQ(all[0].box.x, 1);
  EXPECT_DOUBLE_EQ(all[0].box.width, 2);
  EXPECT_DOUBLE_EQ(all[0].box.height, 3);
  EXPECT_TRUE(truth.of("empty.jpg", 4, 3).empty());
  EXPECT_TRUE(truth.of("nothing.jpg", 4, 3).empty());
  expect_error(ErrorKind::kInvalidInput, "a.png: the mask has 4x3 pixels, but the photo has 40x30",
               [&] { truth.of("a.jpg", 40, 30); });
  // A link would lead out of the folder.
  save_png(folder.file("outside.png"), mask);
  std::filesystem::create_symlink(folder.file("outside.png"), folder.file("masks/link.png"));
  EXPECT_TRUE(truth.of("link.jpg", 4, 3).empty());
}

TEST(Annotations, VocClassMasksAreReadByColor) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("SegmentationClass"));
  Image colors(4, 1, 3);
  const std::vector<std::array<uint8_t, 3>> row{{0, 0, 0}, {64, 0, 128}, {192, 128, 128}, {224, 224, 192}};
  for (int x = 0; x < 4; ++x) std::copy_n(row[static_cast<size_t>(x)].data(), 3, colors.at(x, 0));
  save_png(folder.file("SegmentationClass/a.png"), colors);
  const Annotations truth = Annotations::open(folder.file("SegmentationClass"), AnnotationFormat::kVocClassMasks);
  const std::vector<Annotation> all = truth.of("a.jpg", 4, 1);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].label, "dog");     // 12 = 1100b: bit 2 of the first three is blue 128; the next is red 64
  EXPECT_EQ(all[1].label, "person");  // 15 = 1111b
  EXPECT_EQ(drawing(all[0].mask), ".#..");
  EXPECT_EQ(drawing(all[1].mask), "..#.");
  *colors.at(0, 0) = 1;
  save_png(folder.file("SegmentationClass/a.png"), colors);
  expect_error(ErrorKind::kInvalidInput, "a.png: pixel (0, 0) has the color 1 0 0, which no VOC class has",
               [&] { truth.of("a.jpg", 4, 1); });
}

TEST(Annotations, WrongPathsAreRefused) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kInvalidInput, "nowhere.json: no such file or folder",
               [] { Annotations::open("nowhere.json"); });
  const std::string file = folder.write("a.json", "{}");
  expect_error(ErrorKind::kInvalidInput, file + ": a folder of annotations was expected, but this is a file",
               [&] { Annotations::open(file, AnnotationFormat::kVoc); });
  expect_error(ErrorKind::kInvalidInput, folder.path() + ": a COCO .json file was expected, but this is a folder",
               [&] { Annotations::open(folder.path(), AnnotationFormat::kCoco); });
  expect_error(ErrorKind::kUsage,
               "no annotation format 'cocoo'; the formats are auto, masks, coco, voc, voc-class-masks; did you mean "
               "'coco'?",
               [] { find_annotation_format("cocoo"); });
  EXPECT_EQ(find_annotation_format("voc"), AnnotationFormat::kVoc);
}

// ---------------------------------------------------------------------------------------------------------------------
// Into the model's view

TEST(Annotations, ViewOfACropAndOfALetterbox) {
  Image mask(8, 4, 1);
  for (int y = 0; y < 4; ++y)
    for (int x = 4; x < 8; ++x) *mask.at(x, y) = 255;
  // The middle 4 x 4 of the photo fills an input of 2 x 2: its right half is inside.
  const ModelView crop_view{{2, 0, 4, 4}, {0, 0, 2, 2}, 2, 2};
  EXPECT_EQ(drawing(mask_in_view(mask, crop_view)), ".#/.#");
  const AnnotationBox cut = box_in_view({4, 0, 4, 4}, crop_view);
  EXPECT_DOUBLE_EQ(cut.x, 1);
  EXPECT_DOUBLE_EQ(cut.width, 1);
  EXPECT_DOUBLE_EQ(cut.height, 2);
  EXPECT_DOUBLE_EQ(box_in_view({0, 0, 1, 4}, crop_view).width, 0);  // cut off
  // The whole photo in the middle rows of an input of 4 x 4.
  const ModelView letterbox_view{{0, 0, 8, 4}, {0, 1, 4, 2}, 4, 4};
  EXPECT_EQ(drawing(mask_in_view(mask, letterbox_view)), "..../..##/..##/....");
  const AnnotationBox boxed = box_in_view({4, 1, 2, 2}, letterbox_view);
  EXPECT_DOUBLE_EQ(boxed.x, 2);
  EXPECT_DOUBLE_EQ(boxed.y, 1.5);
  EXPECT_DOUBLE_EQ(boxed.width, 1);
  EXPECT_DOUBLE_EQ(boxed.height, 1);
  expect_error(ErrorKind::kUsage, "mask_in_view: the content leaves the model's input", [&] {
    mask_in_view(mask, {{0, 0, 8, 4}, {0, 1, 4, 4}, 4, 4});
  });
}

}  // namespace
}  // namespace pellucid
