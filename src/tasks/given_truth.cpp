#include "tasks/given_truth.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// More colors than this are a photo or the noise of a JPEG, not labels.
constexpr size_t kMaxRegions = 4096;

void check_path(const std::string& path, const char* what) {
  std::error_code ec;
  if (path.empty() || fs::exists(fs::u8path(path), ec)) return;
  throw_invalid(std::string(what) + " '" + printable(path) + "': no such file or folder");
}

/// The file itself, or the one in the folder that is called like the picture; empty when there is none.
std::string companion(const std::string& given, const Picture& picture) {
  const fs::path path = fs::u8path(given);
  std::error_code ec;
  if (!fs::is_directory(path, ec)) return given;
  const std::array<fs::path, 2> stems{fs::u8path(picture.name), fs::u8path(picture.path).stem()};
  for (const fs::path& stem : stems) {
    for (const char* extension : {".png", ".bmp", ".pgm", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg"}) {
      fs::path candidate = path / stem;
      candidate += extension;
      if (fs::is_regular_file(candidate, ec)) return candidate.string();
    }
  }
  return {};
}

void check_size(const std::string& file, const char* what, const Image& image, const Image& photo) {
  if (image.width == photo.width && image.height == photo.height) return;
  throw_invalid(printable(fs::u8path(file).filename().string()) + ": the " + what + " has " +
                std::to_string(image.width) + "x" + std::to_string(image.height) + " pixels but its picture " +
                std::to_string(photo.width) + "x" + std::to_string(photo.height));
}

/// What the model sees of an image of the photo's size, as it sees it. Nearest neighbour: there is nothing between two
/// labels.
Image in_content(const Image& image, const Picture& picture) {
  return resize(crop(image, picture.seen), picture.content.width, picture.content.height, Filter::kNearest);
}

Image box_mask(const Rect& box, const Image& photo) {
  if (box.x < 0 || box.y < 0 || int64_t{box.x} + box.width > photo.width ||
      int64_t{box.y} + box.height > photo.height) {
    throw_invalid("box " + std::to_string(box.x) + "," + std::to_string(box.y) + "," + std::to_string(box.width) + "," +
                  std::to_string(box.height) + " leaves the picture of " + std::to_string(photo.width) + "x" +
                  std::to_string(photo.height));
  }
  Image mask(photo.width, photo.height, 1, 0);
  paste(mask, Image(box.width, box.height, 1, 255), box.x, box.y);
  return mask;
}

}  // namespace

GivenTruthReader::GivenTruthReader(const ExplainRequest& request, const ModelCard& card)
    : request_(request), card_(card) {
  if (!request.mask.empty() && request.box) throw_usage("a mask and a box are both given; one of them was expected");
  if (request.box && (request.box->width < 1 || request.box->height < 1)) {
    throw_usage("box: width and height must be >= 1");
  }
  check_path(request.mask, "mask");
  std::error_code ec;
  const fs::path mask = fs::u8path(request.mask);
  if (mask.extension() == ".json" || fs::is_directory(mask, ec)) {
    AnnotationLimits limits;
    limits.image = request.run.image_limits;
    Annotations found = Annotations::open(request.mask, AnnotationFormat::kAuto, limits);
    // Masks of pictures' names are read here, with a clear word for those that do not fit.
    if (found.format() != AnnotationFormat::kMasks) data_set_ = std::move(found);
    if (data_set_ && fs::is_regular_file(mask, ec)) data_set_hash_ = sha256_file(request.mask);
  }
  check_path(request.regions, "regions");
}

GivenTruth GivenTruthReader::read(const Picture& picture) const {
  GivenTruth annotations;
  read_mask(picture, annotations);
  read_regions(picture, annotations);
  return annotations;
}

void GivenTruthReader::read_mask(const Picture& picture, GivenTruth& annotations) const {
  if (request_.box) {
    annotations.photo_mask = box_mask(*request_.box, picture.photo);
  } else if (data_set_) {
    const std::vector<Annotation> found = data_set_->of(picture.path, picture.photo.width, picture.photo.height);
    if (found.empty()) {
      annotations.notes.push_back("nothing is annotated for it in " + printable(request_.mask));
      return;
    }
    annotations.photo_mask = union_of_masks(found);
    annotations.mask_file = {request_.mask, data_set_hash_};
  } else if (!request_.mask.empty()) {
    const std::string file = companion(request_.mask, picture);
    if (file.empty()) {
      annotations.notes.push_back("no mask for it in " + printable(request_.mask));
      return;
    }
    annotations.photo_mask = decode_mask(file, request_.run.image_limits);
    check_size(file, "mask", annotations.photo_mask, picture.photo);
    annotations.mask_file = {file, sha256_file(file)};
  } else {
    return;
  }
  const Tensor inside = mask_tensor(mask_in_view(annotations.photo_mask, view_of(picture, card_)));
  if (!inside.any().item<bool>()) {
    const auto& pixels = annotations.photo_mask.pixels;
    const bool empty = std::none_of(pixels.begin(), pixels.end(), [](uint8_t v) { return v > 127; });
    annotations.notes.push_back(empty ? "its mask is empty and was not used"
                                      : "its mask lies outside of what the model sees and was not used");
    annotations.photo_mask = {};
    return;
  }
  annotations.mask = inside;
}

void GivenTruthReader::read_regions(const Picture& picture, GivenTruth& annotations) const {
  if (request_.regions.empty()) return;
  const std::string file = companion(request_.regions, picture);
  if (file.empty()) {
    throw_invalid(printable(picture.path) + ": no regions for it in " + printable(request_.regions));
  }
  const Image labels = decode_image(file, request_.run.image_limits);
  check_size(file, "label picture", labels, picture.photo);
  annotations.regions_file = {file, sha256_file(file)};
  const Image fitted = in_content(labels, picture);
  std::map<Color, int64_t> numbers;
  const auto color_at = [&](size_t i) {
    return Color{fitted.pixels[3 * i], fitted.pixels[3 * i + 1], fitted.pixels[3 * i + 2]};
  };
  const size_t count = fitted.pixels.size() / 3;
  for (size_t i = 0; i < count && numbers.size() <= kMaxRegions; ++i) numbers.emplace(color_at(i), 0);
  if (numbers.size() > kMaxRegions) {
    throw_invalid(printable(fs::u8path(file).filename().string()) + ": more than " + std::to_string(kMaxRegions) +
                  " colors; a label picture has one color for each region");
  }
  int64_t next = 0;
  for (auto& [color, number] : numbers) number = next++;
  const Tensor content = at::empty({fitted.height, fitted.width}, at::kLong);
  for (size_t i = 0; i < count; ++i) content.data_ptr<int64_t>()[i] = numbers.at(color_at(i));
  const int64_t first = card_.channels_first ? 2 : 1;
  annotations.regions = at::full({picture.input.size(first), picture.input.size(first + 1)}, next, at::kLong);
  annotations.regions.narrow(0, picture.content.y, fitted.height)
      .narrow(1, picture.content.x, fitted.width)
      .copy_(content);
}

Tensor load_background(const std::string& folder, int64_t count, const LoadedModel& model, const ImageLimits& limits,
                       const Shape& input_shape, std::vector<UsedFile>& used) {
  const std::vector<std::string> all = expand_inputs({folder});
  const auto available = static_cast<int64_t>(all.size());
  TensorList inputs;
  for (int64_t i = 0; i < std::min(count, available); ++i) {
    // Evenly spread: sorted names often mean one class after the other.
    const std::string& path = all[static_cast<size_t>(i * available / std::min(count, available))];
    for (const Picture& picture : load_pictures(path, "background", model, limits)) {
      if (static_cast<int64_t>(inputs.size()) == count) break;
      if (!std::equal(input_shape.begin() + 1, input_shape.end(), picture.input.sizes().begin() + 1)) {
        throw_usage("background: " + printable(path) + " becomes " + shape_text(picture.input.sizes()) +
                    " but the pictures " + shape_text(input_shape) + "; --size gives all of them one size");
      }
      inputs.push_back(picture.input);
    }
    used.push_back({path, sha256_file(path)});
  }
  return at::cat(inputs);
}

}  // namespace pellucid
