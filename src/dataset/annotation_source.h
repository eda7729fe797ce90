#pragma once

#include "pellucid/annotations.h"

namespace pellucid {

/// What each format provides behind Annotations.
struct Annotations::Source {
  virtual ~Source() = default;
  virtual std::vector<Annotation> of(const std::string& photo, int width, int height) const = 0;
  virtual Image unknown(const std::string&, int, int) const { return {}; }
  virtual std::string file_of(const std::string&) const { return {}; }
  std::vector<std::string> classes;
};

std::shared_ptr<const Annotations::Source> open_coco(const std::string& path, const AnnotationLimits& limits);
std::shared_ptr<const Annotations::Source> open_voc(const std::string& folder, const AnnotationLimits& limits);
std::shared_ptr<const Annotations::Source> open_masks(const std::string& folder, bool voc_classes,
                                                      const AnnotationLimits& limits);

/// A mask with the pixels whose middle lies in the box, which is clipped to the picture.
Image mask_from_box(const AnnotationBox& box, int width, int height);

/// Throws Error(kInvalidInput) when so many masks would not fit into 4 GiB.
void check_room_for_masks(const std::string& where, size_t count, int width, int height);

/// VOC's class names, number 1 first.
const std::vector<std::string>& voc_classes();

/// The file in `folder` with the stem of `photo` and one of the extensions (lower case, with the dot); empty when there
/// is none. Links are not followed out of the folder.
std::string file_of_stem(const std::string& folder, const std::string& photo,
                         const std::vector<std::string>& extensions);

}  // namespace pellucid
