#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pellucid/image.h"

namespace pellucid {

/// Where the truth about pictures of the user's own comes from.
enum class AnnotationFormat {
  kAuto,          ///< Told by the path: a .json file is kCoco; a folder with .xml files kVoc, one that is called
                  ///< SegmentationClass kVocClassMasks, else kMasks.
  kMasks,         ///< Folder of pictures, one per photo with its stem: above 127 is inside. No classes.
  kCoco,          ///< COCO instances: categories, boxes, polygons, run lengths (plain or compressed).
  kVoc,           ///< Folder of Pascal VOC annotations (XML), one per photo with its stem: boxes.
  kVocClassMasks  ///< Folder of Pascal VOC SegmentationClass pictures: the 20 classes by VOC's colors.
};

/// Names as users write them: auto, masks, coco, voc, voc-class-masks. Throws Error(kUsage) that lists them.
AnnotationFormat find_annotation_format(const std::string& name);

/// Left upper corner and size in pixels of the photo, whose left upper corner is (0, 0); pixel (x, y) covers
/// x .. x + 1. Not rounded: COCO's boxes are not whole.
struct AnnotationBox {
  double x = 0, y = 0, width = 0, height = 0;
};

/// One thing in a photo.
struct Annotation {
  std::string label;      ///< Class name; empty where the format has none.
  int64_t category = -1;  ///< COCO's category id or VOC's class number (1 to 20); -1 where there is none.
  AnnotationBox box;
  /// [H,W] of the photo, 1 channel, 255 inside. Where only a box is known, the pixels whose middle lies in it.
  Image mask;
  bool from_box = false;   ///< The mask is no more than the box.
  bool crowd = false;      ///< COCO: a group that was not told apart.
  bool difficult = false;  ///< VOC: usually left out of scores.
};

struct AnnotationLimits {
  int64_t max_file_bytes = int64_t{1} << 30;  ///< JSON; XML files may have 4 MiB.
  int64_t max_annotations = 20'000'000;       ///< In a JSON file.
  ImageLimits image;                          ///< Mask pictures, and the size of a photo that a file claims.
};

/// The annotations of a data set, opened once and asked per photo. Hostile files give one clear line: sizes are held
/// against the limits before anything is allocated, documents nest 32 deep at most, XML with a document type or
/// undeclared entities is refused, no file outside the folder named is opened.
class Annotations {
 public:
  /// Throws Error(kInvalidInput) naming the file, what is wrong and where.
  static Annotations open(const std::string& path, AnnotationFormat format = AnnotationFormat::kAuto,
                          const AnnotationLimits& limits = {});

  AnnotationFormat format() const { return format_; }
  /// Class names of a COCO file in the order of their id, or VOC's 20; empty for masks and for VOC boxes.
  const std::vector<std::string>& classes() const;

  /// The annotations of a photo of this size (of the photo as shown: upright). Photos are found by their stem, in COCO
  /// by the file name; when several photos of the file share it, by the longest end of the path. Empty when the file or
  /// folder says nothing about the photo. Throws Error(kInvalidInput) when what it says does not fit the size.
  std::vector<Annotation> of(const std::string& photo, int width, int height) const;
  /// 255 where the data set does not say what a pixel is (the borders in VOC's class masks, 128 in masks of 0, 128 and
  /// 255), 1 channel, of the photo's
  /// size; empty image when it says something about all of them. Throws likewise.
  Image unknown(const std::string& photo, int width, int height) const;
  /// The file that `of` reads for this photo, of folders with one for each; else empty.
  std::string file_of(const std::string& photo) const;

  struct Source;

 private:
  AnnotationFormat format_ = AnnotationFormat::kAuto;
  std::shared_ptr<const Source> source_;
};

/// All masks of one class together (every class when `label` is empty); crowds and difficult ones count. Empty image
/// when there is none.
Image union_of_masks(const std::vector<Annotation>& annotations, const std::string& label = {});

/// How a photo lies in a model's input: the part of it that is seen, and where that part lies in the input (Picture
/// has both).
struct ModelView {
  Rect seen;
  Rect content;
  int width = 0;  ///< of the input
  int height = 0;
};
/// A mask of the photo as the model sees it, of the size of its input: cut out and resampled to the nearest pixel (a
/// mask has nothing between inside and outside); letterbox filling is outside.
Image mask_in_view(const Image& mask, const ModelView& view);
/// A box of the photo in pixels of the model's input, clipped to what is seen; width and height 0 when nothing is.
AnnotationBox box_in_view(const AnnotationBox& box, const ModelView& view);

/// COCO's run lengths, numbers of pixels outside and inside in turn down the columns, as a mask. They must add up to
/// height * width. Throws Error(kInvalidInput), beginning with `where`.
Image mask_from_runs(const std::vector<int64_t>& counts, int height, int width, const std::string& where);
/// The numbers in COCO's compressed string: 5 bits a character from '0', low bits first, bit 6 continues, two's
/// complement, and from the fourth number on the difference to the one two before. Throws likewise, also when there are
/// more numbers than `pixels` + 1, which no mask of so many pixels needs.
std::vector<int64_t> runs_from_text(std::string_view text, int64_t pixels, const std::string& where);
/// Adds to the mask the pixels whose middle lies within the polygon x0, y0, x1, y1, ... (even-odd rule).
void fill_polygon(Image& mask, const std::vector<float>& polygon);

}  // namespace pellucid
