// Pascal VOC: Everingham, Van Gool, Williams, Winn, Zisserman. "The Pascal Visual Object Classes (VOC) Challenge".
// International Journal of Computer Vision 2010; and masks of any kind, one picture per photo.

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "dataset/annotation_source.h"
#include "dataset/xml.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/ground_truth.h"
#include "pellucid/segment.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostXmlBytes = int64_t{4} << 20;

std::string size_text(int64_t width, int64_t height) { return std::to_string(width) + "x" + std::to_string(height); }

class Voc final : public Annotations::Source {
 public:
  explicit Voc(std::string folder) : folder_(std::move(folder)) {}

  std::vector<Annotation> of(const std::string& photo, int width, int height) const override {
    const std::string path = file_of(photo);
    if (path.empty()) return {};
    const std::string name = printable(fs::u8path(path).filename().string());
    const XmlElement root = parse_xml(read_file(path, kMostXmlBytes), name);
    if (root.name != "annotation") {
      throw_invalid(name + ": the root is '" + printable(root.name) + "'; 'annotation' was expected");
    }
    if (const XmlElement* size = root.child("size")) {
      const double stated_width = number(*size, "width", name), stated_height = number(*size, "height", name);
      // Some tools write zeros where they do not know.
      const bool unknown = stated_width == 0 && stated_height == 0;
      if (!unknown && (stated_width != width || stated_height != height)) {
        throw_invalid(name + ": is about a photo of " + number_text(stated_width) + "x" + number_text(stated_height) +
                      " pixels, but the photo has " + size_text(width, height));
      }
    }
    check_room_for_masks(name, root.children.size(), width, height);
    std::vector<Annotation> result;
    for (const XmlElement& child : root.children)
      if (child.name == "object") result.push_back(object(child, name, width, height));
    return result;
  }

  std::string file_of(const std::string& photo) const override { return file_of_stem(folder_, photo, {".xml"}); }

 private:
  static const XmlElement& needed(const XmlElement& parent, const char* key, const std::string& name) {
    const XmlElement* found = parent.child(key);
    if (!found) throw_invalid(name + ": '" + printable(parent.name) + "' has no '" + key + "'");
    return *found;
  }

  static double number(const XmlElement& parent, const char* key, const std::string& name) {
    const XmlElement& element = needed(parent, key, name);
    double value = 0;
    if (!parse_double(element.text, value) || std::abs(value) > 1e6) {
      throw_invalid(name + ": '" + key + "' is '" + printable(element.text, 40) + "'; a number was expected");
    }
    return value;
  }

  /// VOC counts pixels from 1 and both edges are inside.
  static Annotation object(const XmlElement& element, const std::string& name, int width, int height) {
    Annotation one;
    one.label = needed(element, "name", name).text;
    const XmlElement* difficult = element.child("difficult");
    one.difficult = difficult && difficult->text == "1";
    const XmlElement& box = needed(element, "bndbox", name);
    const double left = number(box, "xmin", name), top = number(box, "ymin", name);
    const double right = number(box, "xmax", name), bottom = number(box, "ymax", name);
    if (right < left || bottom < top) {
      throw_invalid(name + ": the box of '" + printable(one.label) + "' ends before it begins");
    }
    one.box = {left - 1, top - 1, right - left + 1, bottom - top + 1};
    const auto found = std::find(voc_classes().begin(), voc_classes().end(), one.label);
    if (found != voc_classes().end()) one.category = found - voc_classes().begin() + 1;
    one.mask = mask_from_box(one.box, width, height);
    one.from_box = true;
    return one;
  }

  std::string folder_;
};

/// VOC's color of a class number: its bits, three at a time, fill the channels from the highest bit down.
Color voc_color(int number) {
  Color color{};
  for (int shift = 7; number > 0; --shift, number >>= 3) {
    for (size_t channel = 0; channel < 3; ++channel)
      color[channel] = static_cast<uint8_t>(color[channel] | ((number >> channel) & 1) << shift);
  }
  return color;
}

class Masks final : public Annotations::Source {
 public:
  Masks(std::string folder, bool voc, const ImageLimits& limits)
      : folder_(std::move(folder)), voc_(voc), limits_(limits) {
    if (voc_) classes = voc_classes();
  }

  std::vector<Annotation> of(const std::string& photo, int width, int height) const override {
    const std::string path = file_of(photo);
    if (path.empty()) return {};
    const Image picture = read(path, width, height);
    return voc_ ? class_masks(picture, name_of(path)) : one_mask(picture);
  }

  Image unknown(const std::string& photo, int width, int height) const override {
    const std::string path = file_of(photo);
    if (path.empty()) return {};
    const Image picture = read(path, width, height);
    if (!voc_ && !is_trimap(picture)) return {};
    Image border(width, height, 1);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const uint8_t* p = picture.at(x, y);
        if (voc_ ? Color{p[0], p[1], p[2]} == kBorder : *p == kUnknown) *border.at(x, y) = 255;
      }
    }
    return border;
  }

  std::string file_of(const std::string& photo) const override {
    return file_of_stem(folder_, photo, {".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".jpg", ".jpeg"});
  }

 private:
  /// Of the border between things, which belongs to none.
  static constexpr Color kBorder{224, 224, 192};

  /// Of what is neither, in masks that are trimaps.
  static constexpr uint8_t kUnknown = 128;

  /// Whether a mask has 0, 128 and 255 and nothing else: smoothed outlines have more grays than that.
  static bool is_trimap(const Image& mask) {
    const auto known = [](uint8_t v) { return v == 0 || v == kUnknown || v == 255; };
    return std::all_of(mask.pixels.begin(), mask.pixels.end(), known) &&
           std::find(mask.pixels.begin(), mask.pixels.end(), kUnknown) != mask.pixels.end() &&
           std::find(mask.pixels.begin(), mask.pixels.end(), 255) != mask.pixels.end();
  }

  static std::string name_of(const std::string& path) { return printable(fs::u8path(path).filename().string()); }

  Image read(const std::string& path, int width, int height) const {
    Image picture = voc_ ? decode_image(path, limits_) : decode_mask(path, limits_);
    if (picture.width != width || picture.height != height) {
      throw_invalid(name_of(path) + ": the mask has " + size_text(picture.width, picture.height) +
                    " pixels, but the photo has " + size_text(width, height));
    }
    return picture;
  }

  static Annotation with_box(Annotation one) {
    const Rect box = bounding_box(one.mask);
    one.box = {static_cast<double>(box.x), static_cast<double>(box.y), static_cast<double>(box.width),
               static_cast<double>(box.height)};
    return one;
  }

  static std::vector<Annotation> one_mask(Image mask) {
    Annotation one;
    const int most_outside = is_trimap(mask) ? kUnknown : 127;
    for (uint8_t& value : mask.pixels) value = value > most_outside ? 255 : 0;
    if (std::find(mask.pixels.begin(), mask.pixels.end(), 255) == mask.pixels.end()) return {};
    one.mask = std::move(mask);
    return {with_box(std::move(one))};
  }

  static std::vector<Annotation> class_masks(const Image& picture, const std::string& name) {
    const int num_classes = static_cast<int>(voc_classes().size());
    std::map<Color, int> numbers{{kBorder, 0}};
    for (int number = 0; number <= num_classes; ++number) numbers[voc_color(number)] = number;
    std::map<int, Annotation> found;
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        const uint8_t* p = picture.at(x, y);
        const auto number = numbers.find(Color{p[0], p[1], p[2]});
        if (number == numbers.end()) {
          throw_invalid(name + ": pixel (" + std::to_string(x) + ", " + std::to_string(y) + ") has the color " +
                        std::to_string(p[0]) + " " + std::to_string(p[1]) + " " + std::to_string(p[2]) +
                        ", which no VOC class has");
        }
        if (number->second == 0) continue;
        Annotation& one = found[number->second];
        if (one.mask.pixels.empty()) one.mask = Image(picture.width, picture.height, 1);
        *one.mask.at(x, y) = 255;
      }
    }
    std::vector<Annotation> result;
    for (auto& [number, one] : found) {
      one.category = number;
      one.label = voc_classes()[static_cast<size_t>(number - 1)];
      result.push_back(with_box(std::move(one)));
    }
    return result;
  }

  std::string folder_;
  bool voc_;
  ImageLimits limits_;
};

}  // namespace

const std::vector<std::string>& voc_classes() {
  static const std::vector<std::string> names{
      "aeroplane",   "bicycle", "bird",  "boat",      "bottle", "bus",         "car",   "cat",  "chair", "cow",
      "diningtable", "dog",     "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"};
  return names;
}

std::shared_ptr<const Annotations::Source> open_voc(const std::string& folder, const AnnotationLimits&) {
  return std::make_shared<Voc>(folder);
}

std::shared_ptr<const Annotations::Source> open_masks(const std::string& folder, bool voc_classes,
                                                      const AnnotationLimits& limits) {
  return std::make_shared<Masks>(folder, voc_classes, limits.image);
}

}  // namespace pellucid
