#include <algorithm>
#include <cmath>
#include <filesystem>

#include "dataset/annotation_source.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;

struct FormatName {
  AnnotationFormat format;
  const char* name;
};
constexpr FormatName kFormats[] = {{AnnotationFormat::kAuto, "auto"},
                                   {AnnotationFormat::kMasks, "masks"},
                                   {AnnotationFormat::kCoco, "coco"},
                                   {AnnotationFormat::kVoc, "voc"},
                                   {AnnotationFormat::kVocClassMasks, "voc-class-masks"}};

AnnotationFormat told_by_path(const std::string& path) {
  const fs::path p = fs::u8path(path);
  std::error_code ec;
  if (!fs::is_directory(p, ec)) return AnnotationFormat::kCoco;
  for (fs::directory_iterator it(p, ec); !ec && it != fs::directory_iterator(); it.increment(ec))
    if (it->path().extension() == ".xml") return AnnotationFormat::kVoc;
  const fs::path name = p.has_filename() ? p.filename() : p.parent_path().filename();
  if (name == "SegmentationClass") return AnnotationFormat::kVocClassMasks;
  return AnnotationFormat::kMasks;
}

}  // namespace

AnnotationFormat find_annotation_format(const std::string& name) {
  std::vector<std::string> names;
  for (const FormatName& known : kFormats) {
    if (name == known.name) return known.format;
    names.emplace_back(known.name);
  }
  throw_usage("no annotation format '" + printable(name) + "'; the formats are " + join(names, ", ") +
              did_you_mean(name, names));
}

Annotations Annotations::open(const std::string& path, AnnotationFormat format, const AnnotationLimits& limits) {
  const fs::path p = fs::u8path(path);
  std::error_code ec;
  if (!fs::exists(p, ec)) throw_invalid(printable(path) + ": no such file or folder");
  Annotations result;
  result.format_ = format == AnnotationFormat::kAuto ? told_by_path(path) : format;
  const bool wants_folder = result.format_ != AnnotationFormat::kCoco;
  if (fs::is_directory(p, ec) != wants_folder) {
    throw_invalid(printable(path) + (wants_folder ? ": a folder of annotations was expected, but this is a file"
                                                  : ": a COCO .json file was expected, but this is a folder"));
  }
  switch (result.format_) {
    case AnnotationFormat::kCoco:
      result.source_ = open_coco(path, limits);
      break;
    case AnnotationFormat::kVoc:
      result.source_ = open_voc(path, limits);
      break;
    default:
      result.source_ = open_masks(path, result.format_ == AnnotationFormat::kVocClassMasks, limits);
  }
  return result;
}

const std::vector<std::string>& Annotations::classes() const { return source_->classes; }

std::vector<Annotation> Annotations::of(const std::string& photo, int width, int height) const {
  if (width < 1 || height < 1) throw_usage("annotations: the size of the photo must be positive");
  return source_->of(photo, width, height);
}

Image Annotations::unknown(const std::string& photo, int width, int height) const {
  return source_->unknown(photo, width, height);
}

std::string Annotations::file_of(const std::string& photo) const { return source_->file_of(photo); }

void check_room_for_masks(const std::string& where, size_t count, int width, int height) {
  constexpr uint64_t kMostBytes = uint64_t{4} << 30;
  if (count <= kMostBytes / (static_cast<uint64_t>(width) * static_cast<uint64_t>(height))) return;
  throw_invalid(where + ": the masks of " + std::to_string(count) + " annotations of " + std::to_string(width) + "x" +
                std::to_string(height) + " pixels are more than 4 GiB");
}

std::string file_of_stem(const std::string& folder, const std::string& photo,
                         const std::vector<std::string>& extensions) {
  const std::string stem = fs::u8path(photo).stem().string();
  if (stem.empty() || stem == "..") return {};
  for (const std::string& extension : extensions) {
    const fs::path path = fs::u8path(folder) / (stem + extension);
    std::error_code ec;
    if (!fs::is_regular_file(fs::symlink_status(path, ec))) continue;
    return path.string();
  }
  return {};
}

Image mask_from_box(const AnnotationBox& box, int width, int height) {
  Image mask(width, height, 1);
  // Pixel x has its middle at x + 0.5; the first one inside is ceil(left - 0.5).
  const auto first = [](double edge, int side) {
    return static_cast<int>(std::clamp(std::ceil(edge - 0.5), 0.0, static_cast<double>(side)));
  };
  const int x0 = first(box.x, width), x1 = first(box.x + box.width, width);
  const int y0 = first(box.y, height), y1 = first(box.y + box.height, height);
  for (int y = y0; y < y1; ++y)
    for (int x = x0; x < x1; ++x) *mask.at(x, y) = 255;
  return mask;
}

Image union_of_masks(const std::vector<Annotation>& annotations, const std::string& label) {
  Image all;
  for (const Annotation& one : annotations) {
    if (!label.empty() && one.label != label) continue;
    if (all.pixels.empty()) all = Image(one.mask.width, one.mask.height, 1);
    for (size_t i = 0; i < all.pixels.size(); ++i) all.pixels[i] = std::max(all.pixels[i], one.mask.pixels[i]);
  }
  return all;
}

Image mask_in_view(const Image& mask, const ModelView& view) {
  if (view.content.x < 0 || view.content.y < 0 || view.content.width < 1 || view.content.height < 1 ||
      view.content.x + view.content.width > view.width || view.content.y + view.content.height > view.height) {
    throw_usage("mask_in_view: the content leaves the model's input");
  }
  Image result(view.width, view.height, 1);
  paste(result, resize(crop(mask, view.seen), view.content.width, view.content.height, Filter::kNearest),
        view.content.x, view.content.y);
  return result;
}

AnnotationBox box_in_view(const AnnotationBox& box, const ModelView& view) {
  const auto clipped = [](double low, double high, int from, int length, int to, int to_length) {
    const double scale = static_cast<double>(to_length) / length;
    const auto place = [&](double v) { return to + (std::clamp<double>(v, from, from + length) - from) * scale; };
    return std::pair<double, double>{place(low), std::max(0.0, place(high) - place(low))};
  };
  const auto [x, width] =
      clipped(box.x, box.x + box.width, view.seen.x, view.seen.width, view.content.x, view.content.width);
  const auto [y, height] =
      clipped(box.y, box.y + box.height, view.seen.y, view.seen.height, view.content.y, view.content.height);
  if (width <= 0 || height <= 0) return {x, y, 0, 0};
  return {x, y, width, height};
}

Image mask_from_runs(const std::vector<int64_t>& counts, int height, int width, const std::string& where) {
  const int64_t total = static_cast<int64_t>(height) * width;
  int64_t sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0 || counts[i] > total - sum) {
      throw_invalid(where + ": run " + std::to_string(i + 1) + " of " + std::to_string(counts.size()) + " is " +
                    std::to_string(counts[i]) + "; " + std::to_string(total - sum) + " of " + std::to_string(width) +
                    "x" + std::to_string(height) + " pixels are left");
    }
    sum += counts[i];
  }
  if (sum != total) {
    throw_invalid(where + ": the runs cover " + std::to_string(sum) + " of " + std::to_string(width) + "x" +
                  std::to_string(height) + " pixels");
  }
  Image mask(width, height, 1);
  int64_t at = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    for (int64_t k = 0; k < counts[i]; ++k, ++at) {
      if (i % 2 == 1) *mask.at(static_cast<int>(at / height), static_cast<int>(at % height)) = 255;
    }
  }
  return mask;
}

std::vector<int64_t> runs_from_text(std::string_view text, int64_t pixels, const std::string& where) {
  constexpr int kBits = 5, kMost = 7;  // 35 bits: more pixels than any picture has
  std::vector<int64_t> counts;
  for (size_t i = 0; i < text.size();) {
    int64_t value = 0;
    int digits = 0;
    for (bool more = true; more; ++digits, ++i) {
      const int code = i < text.size() ? static_cast<unsigned char>(text[i]) - '0' : -1;
      if (code < 0 || code > 63 || digits == kMost) {
        throw_invalid(where + ": the compressed run lengths are damaged at character " + std::to_string(i + 1));
      }
      value |= static_cast<int64_t>(code & 31) << (kBits * digits);
      more = (code & 32) != 0;
      if (!more && (code & 16) != 0) value -= int64_t{1} << (kBits * (digits + 1));
    }
    if (counts.size() > 2) value += counts[counts.size() - 2];
    if (value < 0 || value > int64_t{1} << (kBits * kMost)) {
      throw_invalid(where + ": the compressed run lengths are damaged at character " + std::to_string(i));
    }
    // A run covers a pixel or more, but for the first, which is 0 when the mask begins inside.
    if (static_cast<int64_t>(counts.size()) > pixels) {
      throw_invalid(where + ": there are more run lengths than the " + std::to_string(pixels) + " pixels need");
    }
    counts.push_back(value);
  }
  return counts;
}

void fill_polygon(Image& mask, const std::vector<float>& polygon) {
  const size_t count = polygon.size() / 2;
  std::vector<double> crossings;
  for (int y = 0; y < mask.height; ++y) {
    const double middle = y + 0.5;
    crossings.clear();
    for (size_t i = 0; i < count; ++i) {
      const size_t j = (i + 1) % count;
      const double ax = polygon[2 * i], ay = polygon[2 * i + 1], bx = polygon[2 * j], by = polygon[2 * j + 1];
      if ((ay <= middle) == (by <= middle)) continue;
      crossings.push_back(ax + (middle - ay) / (by - ay) * (bx - ax));
    }
    std::sort(crossings.begin(), crossings.end());
    for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const auto pixel = [&](double edge) {
        return static_cast<int>(std::clamp(std::ceil(edge - 0.5), 0.0, static_cast<double>(mask.width)));
      };
      for (int x = pixel(crossings[i]); x < pixel(crossings[i + 1]); ++x) *mask.at(x, y) = 255;
    }
  }
}

}  // namespace pellucid
