// COCO instances: Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollar, Zitnick. "Microsoft COCO: Common Objects in
// Context". ECCV 2014; format at cocodataset.org.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dataset/annotation_source.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/segment.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kDeepest = 32;
constexpr size_t kMostVertices = 100000;
constexpr size_t kMostCrossings = 1'000'000'000;  ///< vertices times rows: a second or two
constexpr int64_t kMostValues = 1'000'000;        ///< of one element of a list

/// A mask before it is drawn, as small as the file has it.
struct Shape {
  int64_t id = 0, category = 0;
  AnnotationBox box;
  bool has_box = false;
  bool crowd = false;
  std::vector<std::vector<float>> polygons;
  std::string compressed;
  std::vector<int64_t> runs;
  int run_height = 0, run_width = 0;  ///< 0 when there are no run lengths
};

struct Photo {
  int64_t id = 0;
  std::string file;
  int width = 0, height = 0;
};

class Coco final : public Annotations::Source {
 public:
  Coco(const std::string& path, const AnnotationLimits& limits)
      : name_(printable(fs::u8path(path).filename().string())), limits_(limits) {
    read(path);
    for (size_t i = 0; i < photos_.size(); ++i) {
      if (!by_id_.emplace(photos_[i].id, i).second)
        fail("images", "id " + std::to_string(photos_[i].id) + " occurs twice");
      by_file_[fs::u8path(photos_[i].file).filename().string()].push_back(i);
    }
    for (const auto& [id, label] : labels_) classes.push_back(label);
    for (const auto& [photo, shapes] : shapes_) {
      if (!by_id_.count(photo)) {
        fail("annotations", "annotation " + std::to_string(shapes.front().id) + " belongs to image " +
                                std::to_string(photo) + ", which is not listed");
      }
      for (const Shape& shape : shapes) {
        if (labels_.count(shape.category)) continue;
        fail("annotations", "annotation " + std::to_string(shape.id) + " has category " +
                                std::to_string(shape.category) + ", which is not listed");
      }
    }
  }

  std::vector<Annotation> of(const std::string& photo, int width, int height) const override {
    const Photo* found = find(photo);
    if (!found) return {};
    if (found->width != width || found->height != height) {
      throw_invalid(name_ + ": image '" + printable(found->file) + "' has " + size_text(found->width, found->height) +
                    " pixels, but the photo has " + size_text(width, height));
    }
    std::vector<Annotation> result;
    const auto shapes = shapes_.find(found->id);
    if (shapes == shapes_.end()) return result;
    check_room_for_masks(name_ + ": image '" + printable(found->file) + "'", shapes->second.size(), width, height);
    for (const Shape& shape : shapes->second) result.push_back(drawn(shape, width, height));
    return result;
  }

 private:
  static std::string size_text(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

  [[noreturn]] void fail(const std::string& section, const std::string& what) const {
    throw_invalid(name_ + ": " + section + ": " + what);
  }

  Annotation drawn(const Shape& shape, int width, int height) const {
    Annotation one;
    one.category = shape.category;
    one.label = labels_.at(shape.category);
    one.crowd = shape.crowd;
    one.box = shape.box;
    const std::string where = name_ + ": annotation " + std::to_string(shape.id);
    if (shape.run_height > 0) {
      if (shape.run_height != height || shape.run_width != width) {
        throw_invalid(where + ": its run lengths are for " + size_text(shape.run_width, shape.run_height) +
                      " pixels, but the photo has " + size_text(width, height));
      }
      const int64_t pixels = int64_t{width} * height;
      one.mask = mask_from_runs(shape.compressed.empty() ? shape.runs : runs_from_text(shape.compressed, pixels, where),
                                height, width, where);
    } else if (!shape.polygons.empty()) {
      one.mask = Image(width, height, 1);
      size_t vertices = 0;
      for (const auto& polygon : shape.polygons) vertices += polygon.size() / 2;
      if (vertices * static_cast<size_t>(height) > kMostCrossings) {
        throw_invalid(where + ": " + std::to_string(vertices) + " vertices over " + std::to_string(height) +
                      " rows are too many");
      }
      for (const auto& polygon : shape.polygons) fill_polygon(one.mask, polygon);
    } else {
      one.mask = mask_from_box(shape.box, width, height);
      one.from_box = true;
    }
    if (!shape.has_box) one.box = box_around(one.mask);
    return one;
  }

  static AnnotationBox box_around(const Image& mask) {
    const Rect box = bounding_box(mask);
    return {static_cast<double>(box.x), static_cast<double>(box.y), static_cast<double>(box.width),
            static_cast<double>(box.height)};
  }

  /// Longest common end of two paths, in components.
  static int common_end(const fs::path& a, const fs::path& b) {
    auto i = a.end(), j = b.end();
    int count = 0;
    while (i != a.begin() && j != b.begin() && *--i == *--j) ++count;
    return count;
  }

  const Photo* find(const std::string& photo) const {
    const fs::path path = fs::u8path(photo);
    const auto candidates = by_file_.find(path.filename().string());
    if (candidates == by_file_.end()) return nullptr;
    const Photo* best = nullptr;
    int longest = 0;
    bool tied = false;
    for (const size_t i : candidates->second) {
      const int length = common_end(path, fs::u8path(photos_[i].file));
      if (length == longest) tied = true;
      if (length <= longest) continue;
      tied = false;
      longest = length;
      best = &photos_[i];
    }
    if (tied) {
      throw_invalid(name_ + ": several images are called '" + printable(path.filename().string()) +
                    "' and the path of the photo does not tell which is meant");
    }
    return best;
  }

  // Reading. The document is never held whole: each element of a top-level list is taken over and dropped.

  void read(const std::string& path) {
    const std::string bytes = read_file(path, limits_.max_file_bytes);
    std::string section;
    bool any_section = false;
    int64_t num_values = 0;
    const json::parser_callback_t take = [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth <= 2 && event != json::parse_event_t::value) num_values = 0;
      if (++num_values > kMostValues) {
        throw_invalid(name_ + ": more than " + std::to_string(kMostValues) + " values in one element of a list");
      }
      if (depth > kDeepest) throw_invalid(name_ + ": nested more than " + std::to_string(kDeepest) + " deep");
      if (depth == 1 && event == json::parse_event_t::key) {
        section = parsed.get<std::string>();
        any_section = any_section || section == "images" || section == "annotations";
      }
      if (depth != 2 || event != json::parse_event_t::object_end) return true;
      if (section == "images") {
        take_photo(parsed);
      } else if (section == "categories") {
        take_category(parsed);
      } else if (section == "annotations") {
        take_annotation(parsed);
      }
      return false;
    };
    json rest;
    try {
      rest = json::parse(bytes, take);
    } catch (const json::parse_error& error) {
      throw_invalid(name_ + ": not JSON: damaged at byte " + std::to_string(error.byte));
    } catch (const json::exception&) {
      throw_invalid(name_ + ": not COCO: a number or text is out of range");
    }
    if (!rest.is_object() || !any_section) {
      throw_invalid(name_ + ": not COCO: an object with \"images\", \"annotations\" and \"categories\" was expected");
    }
  }

  int64_t integer(const json& object, const char* key, const std::string& where, int64_t low, int64_t high) const {
    const auto it = object.find(key);
    if (it == object.end()) fail(where, std::string(key) + " is missing");
    if (!it->is_number_integer()) fail(where, std::string(key) + " is not an integer");
    const bool huge = it->is_number_unsigned() && it->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    const int64_t value = huge ? high : it->get<int64_t>();
    if (huge || value < low || value > high) {
      fail(where, std::string(key) + " is " + it->dump() + "; " + std::to_string(low) + " to " + std::to_string(high) +
                      " was expected");
    }
    return value;
  }

  double real(const json& value, const std::string& where, const char* what) const {
    // Far outside every picture, and exact in the floats that polygons are kept in.
    constexpr double kFarthest = 1e6;
    if (!value.is_number()) fail(where, std::string(what) + " holds something that is not a number");
    const auto number = value.get<double>();
    if (!(std::abs(number) <= kFarthest)) fail(where, std::string(what) + " holds " + number_text(number));
    return number;
  }

  std::string text(const json& object, const char* key, const std::string& where) const {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_string()) fail(where, std::string(key) + " is missing or not a text");
    return it->get<std::string>();
  }

  void take_photo(const json& object) {
    const std::string where = "image " + std::to_string(photos_.size() + 1);
    Photo photo;
    photo.id = integer(object, "id", where, INT64_MIN, INT64_MAX);
    photo.file = text(object, "file_name", where);
    std::replace(photo.file.begin(), photo.file.end(), '\\', '/');  // as written on Windows
    photo.width = static_cast<int>(integer(object, "width", where, 1, 1 << 20));
    photo.height = static_cast<int>(integer(object, "height", where, 1, 1 << 20));
    if (static_cast<int64_t>(photo.width) * photo.height > limits_.image.max_pixels) {
      fail(where, size_text(photo.width, photo.height) + " pixels are more than the limit of " +
                      std::to_string(limits_.image.max_pixels));
    }
    photos_.push_back(std::move(photo));
  }

  void take_category(const json& object) {
    const std::string where = "category " + std::to_string(labels_.size() + 1);
    const int64_t id = integer(object, "id", where, INT64_MIN, INT64_MAX);
    if (!labels_.emplace(id, text(object, "name", where)).second)
      fail(where, "id " + std::to_string(id) + " occurs twice");
  }

  void take_annotation(const json& object) {
    if (++num_annotations_ > limits_.max_annotations) {
      throw_invalid(name_ + ": more than " + std::to_string(limits_.max_annotations) + " annotations");
    }
    std::string where = "annotation " + std::to_string(num_annotations_) + " of the list";
    Shape shape;
    shape.id = object.contains("id") ? integer(object, "id", where, INT64_MIN, INT64_MAX) : num_annotations_;
    where = "annotation " + std::to_string(shape.id);
    const int64_t photo = integer(object, "image_id", where, INT64_MIN, INT64_MAX);
    shape.category = integer(object, "category_id", where, INT64_MIN, INT64_MAX);
    shape.crowd = object.contains("iscrowd") && integer(object, "iscrowd", where, 0, 1) == 1;
    take_box(object, shape, where);
    take_segmentation(object, shape, where);
    if (!shape.has_box && shape.polygons.empty() && shape.run_height == 0) {
      fail(where, "neither bbox nor segmentation");
    }
    shapes_[photo].push_back(std::move(shape));
  }

  void take_box(const json& object, Shape& shape, const std::string& where) const {
    const auto box = object.find("bbox");
    if (box == object.end() || (box->is_array() && box->empty())) return;
    if (!box->is_array() || box->size() != 4) fail(where, "bbox is not a list of 4 numbers");
    shape.box = {real((*box)[0], where, "bbox"), real((*box)[1], where, "bbox"), real((*box)[2], where, "bbox"),
                 real((*box)[3], where, "bbox")};
    if (shape.box.width < 0 || shape.box.height < 0) fail(where, "bbox has a negative size");
    shape.has_box = true;
  }

  void take_segmentation(const json& object, Shape& shape, const std::string& where) const {
    const auto segmentation = object.find("segmentation");
    if (segmentation == object.end() || segmentation->empty()) return;
    if (segmentation->is_object()) return take_runs(*segmentation, shape, where);
    if (!segmentation->is_array()) fail(where, "segmentation is neither polygons nor run lengths");
    size_t vertices = 0;
    for (const json& list : *segmentation) {
      if (!list.is_array() || list.size() < 6 || list.size() % 2 != 0) {
        fail(where, "a polygon is not a list of at least 3 pairs of numbers");
      }
      vertices += list.size() / 2;
      if (vertices > kMostVertices) fail(where, "more than " + std::to_string(kMostVertices) + " vertices");
      std::vector<float> polygon;
      polygon.reserve(list.size());
      for (const json& value : list) polygon.push_back(static_cast<float>(real(value, where, "a polygon")));
      shape.polygons.push_back(std::move(polygon));
    }
  }

  void take_runs(const json& object, Shape& shape, const std::string& where) const {
    const auto size = object.find("size");
    const auto counts = object.find("counts");
    if (size == object.end() || !size->is_array() || size->size() != 2 || !(*size)[0].is_number_unsigned() ||
        !(*size)[1].is_number_unsigned()) {
      fail(where, "run lengths need \"size\": [height, width]");
    }
    const uint64_t height = (*size)[0].get<uint64_t>(), width = (*size)[1].get<uint64_t>();
    const auto most = static_cast<uint64_t>(limits_.image.max_pixels);
    if (height == 0 || width == 0 || height > most || width > most / height) {
      fail(where, "run lengths for " + std::to_string(width) + "x" + std::to_string(height) + " pixels; at most " +
                      std::to_string(most) + " in all were expected");
    }
    shape.run_height = static_cast<int>(height);
    shape.run_width = static_cast<int>(width);
    if (counts != object.end() && counts->is_string()) {
      shape.compressed = counts->get<std::string>();
      if (shape.compressed.empty()) fail(where, "its run lengths are empty");
    } else if (counts != object.end() && counts->is_array()) {
      shape.runs.reserve(counts->size());
      for (const json& run : *counts) {
        if (!run.is_number_unsigned() || run.get<uint64_t>() > most)
          fail(where, "a run length is " + run.dump().substr(0, 24));
        shape.runs.push_back(run.get<int64_t>());
      }
    } else {
      fail(where, "run lengths need \"counts\", a list or a text");
    }
  }

  std::string name_;
  AnnotationLimits limits_;
  std::vector<Photo> photos_;
  std::map<int64_t, size_t> by_id_;
  std::map<std::string, std::vector<size_t>> by_file_;
  std::map<int64_t, std::string> labels_;
  std::map<int64_t, std::vector<Shape>> shapes_;
  int64_t num_annotations_ = 0;
};

}  // namespace

std::shared_ptr<const Annotations::Source> open_coco(const std::string& path, const AnnotationLimits& limits) {
  return std::make_shared<Coco>(path, limits);
}

}  // namespace pellucid
