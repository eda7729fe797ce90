#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "core/lower_case.h"
#include "pellucid/error.h"
#include "pellucid/npy.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "pellucid/video.h"
#include "tasks/picture_reader.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

std::string lower_extension(const fs::path& path) { return lower_case(path.extension().string()); }

bool hidden(const fs::path& path) {
  const std::string name = path.filename().string();
  return !name.empty() && name[0] == '.';
}

void add_folder(const fs::path& folder, std::set<std::string>& found) {
  std::error_code ec;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, ec);
  if (ec) throw_invalid(printable(folder.string()) + ": cannot be read: " + ec.message());
  for (; it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (ec) break;
    if (hidden(it->path())) {
      if (it->is_directory(ec)) it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file(ec) && named_like_input(it->path().string())) found.insert(it->path().string());
  }
}

void add_glob(const std::string& pattern, std::set<std::string>& found) {
  const fs::path p = fs::u8path(pattern);
  const fs::path folder = p.has_parent_path() ? p.parent_path() : fs::path(".");
  if (folder.string().find_first_of("*?") != std::string::npos) {
    throw_usage("'" + printable(pattern) + "': only the last part of a path may hold '*' or '?'");
  }
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec); !ec && it != fs::directory_iterator(); it.increment(ec)) {
    if (!hidden(it->path()) && glob_match(p.filename().string(), it->path().filename().string()) &&
        it->is_regular_file(ec)) {
      found.insert(p.has_parent_path() ? it->path().string() : it->path().filename().string());
    }
  }
}

Tensor tensor_from_image(const Image& image, const ModelCard& card) {
  const Image pixels = card.channels() == 1 ? gray_from(image) : image;
  Tensor t = at::empty({1, pixels.height, pixels.width, pixels.channels}, at::kByte);
  std::copy(pixels.pixels.begin(), pixels.pixels.end(), t.data_ptr<uint8_t>());
  t = t.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0;
  if (card.order == ChannelOrder::kBgr) t = t.flip(1);
  t = card.model_from_display(t);
  return (card.channels_first ? t : t.permute({0, 2, 3, 1})).contiguous();
}

/// A preprocessed input made visible.
Image image_from_tensor(const Tensor& input, const ModelCard& card) {
  Tensor planes = card.channels_first ? input : input.permute({0, 3, 1, 2});
  Tensor display = card.display_from_model(planes.to(at::kDouble)).clamp(0, 1);
  if (card.order == ChannelOrder::kBgr) display = display.flip(1);
  const Tensor bytes = (display * 255).round().to(at::kByte).squeeze(0).permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(2)));
  std::copy_n(bytes.data_ptr<uint8_t>(), image.pixels.size(), image.pixels.begin());
  return rgb_from(image);
}

}  // namespace

// A file named outright is tried whatever it is called.
bool named_like_input(const std::string& path) {
  static const std::set<std::string> known{".png",  ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif",
                                           ".tiff", ".ppm", ".pgm",  ".pbm", ".pnm", ".npy"};
  return known.count(lower_extension(fs::u8path(path))) > 0 || named_like_video(path);
}

std::vector<std::string> expand_inputs(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    std::set<std::string> found;
    std::error_code ec;
    const fs::path path = fs::u8path(name);
    if (fs::is_directory(path, ec)) {
      add_folder(path, found);
      if (found.empty())
        throw_invalid(printable(name) + ": the folder holds no pictures (" + image_formats() +
                      "), videos or .npy files");
    } else if (fs::exists(path, ec)) {
      found.insert(name);
    } else if (name.find_first_of("*?") != std::string::npos) {
      add_glob(name, found);
      if (found.empty()) throw_invalid(printable(name) + ": no file fits");
    } else {
      throw_invalid(printable(name) + ": no such file or folder");
    }
    for (const std::string& file : found) {
      // "a.png" and "./a.png" are one file; a link is one of its own.
      if (seen.insert(fs::absolute(fs::u8path(file), ec).lexically_normal().string()).second) result.push_back(file);
    }
  }
  return result;
}

std::vector<std::string> unique_names(const std::vector<std::string>& paths) {
  // The stem alone when nothing else has it, else the whole file name, else a number behind it. File systems may ignore
  // case, so names that differ only in it count as equal.
  std::map<std::string, int> stems;
  for (const std::string& path : paths) ++stems[lower_case(file_name_from(fs::u8path(path).stem().string()))];
  std::set<std::string> used;
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    const fs::path p = fs::u8path(path);
    std::string name = file_name_from(p.stem().string());
    if (stems[lower_case(name)] > 1) name = file_name_from(p.filename().string());
    std::string unique = name;
    for (int n = 2; !used.insert(lower_case(unique)).second; ++n) unique = name + "-" + std::to_string(n);
    names.push_back(unique);
  }
  return names;
}

Picture load_picture(const std::string& path, const std::string& name, const LoadedModel& model,
                     const ImageLimits& limits) {
  return picture_from_image(decode_image(path, limits), path, name, model);
}

Picture picture_from_image(Image photo, const std::string& path, const std::string& name, const LoadedModel& model) {
  const ModelCard& card = model.card;
  Picture p;
  p.path = path;
  p.name = name;
  p.photo = std::move(photo);
  const int width = card.width > 0 ? static_cast<int>(card.width) : p.photo.width;
  const int height = card.height > 0 ? static_cast<int>(card.height) : p.photo.height;
  p.seen = {0, 0, p.photo.width, p.photo.height};
  p.content = {0, 0, width, height};
  Image prepared;
  switch (card.resize) {
    case ResizePolicy::kStretch:
      prepared = resize(p.photo, width, height);
      break;
    case ResizePolicy::kLetterbox: {
      Letterboxed boxed = letterbox(p.photo, width, height);
      p.content = boxed.content;
      prepared = std::move(boxed.image);
      break;
    }
    case ResizePolicy::kCenterCrop: {
      const int shorter = std::max<int>(static_cast<int>(card.resize_to), std::min(width, height));
      Image scaled = resize_shorter_side(p.photo, shorter);
      if (scaled.width < width || scaled.height < height) {
        throw_invalid(printable(path) + ": " + std::to_string(p.photo.width) + "x" + std::to_string(p.photo.height) +
                      " is too narrow for a crop of " + std::to_string(width) + "x" + std::to_string(height));
      }
      const Rect rect = center_rect(scaled.width, scaled.height, width, height);
      prepared = crop(scaled, rect);
      const double sx = static_cast<double>(p.photo.width) / scaled.width;
      const double sy = static_cast<double>(p.photo.height) / scaled.height;
      p.seen.x = static_cast<int>(std::lround(rect.x * sx));
      p.seen.y = static_cast<int>(std::lround(rect.y * sy));
      p.seen.width = std::clamp(static_cast<int>(std::lround(rect.width * sx)), 1, p.photo.width - p.seen.x);
      p.seen.height = std::clamp(static_cast<int>(std::lround(rect.height * sy)), 1, p.photo.height - p.seen.y);
      break;
    }
  }
  p.input = tensor_from_image(prepared, card);
  return p;
}

ModelView view_of(const Picture& picture, const ModelCard& card) {
  const int64_t row_axis = card.channels_first ? 2 : 1;
  return {picture.seen, picture.content, static_cast<int>(picture.input.size(row_axis + 1)),
          static_cast<int>(picture.input.size(row_axis))};
}

std::vector<Picture> load_pictures(const std::string& path, const std::string& name, const LoadedModel& model,
                                   const ImageLimits& limits) {
  std::vector<Picture> pictures;
  for (ReadPicture& one : read_pictures(path, name, model, limits)) {
    if (!one.error.empty()) throw_invalid(one.error);
    pictures.push_back(std::move(one.picture));
  }
  return pictures;
}

std::vector<ReadPicture> read_pictures(const std::string& path, const std::string& name, const LoadedModel& model,
                                       const ImageLimits& limits) {
  if (lower_extension(fs::u8path(path)) != ".npy") return {{load_picture(path, name, model, limits), {}}};
  const ModelCard& card = model.card;
  NpyLimits npy_limits;
  npy_limits.max_bytes = std::max<int64_t>(limits.max_bytes, limits.max_pixels * 16);
  const NpyArray array = read_npy(path, npy_limits);
  Shape shape(array.shape.begin(), array.shape.end());
  if (shape.size() == 3) shape.insert(shape.begin(), 1);
  const std::string file = printable(fs::u8path(path).filename().string());
  const int64_t channels = shape.size() == 4 ? shape[card.channels_first ? 1 : 3] : -1;
  if (channels != card.channels() || array.num_elements() == 0) {
    throw_invalid(file + ": holds " + shape_text(Shape(array.shape.begin(), array.shape.end())) + "; " +
                  (card.channels_first ? "[C,H,W] or [N,C,H,W]" : "[H,W,C] or [N,H,W,C]") + " with " +
                  std::to_string(card.channels()) + " channels was expected");
  }
  const std::vector<float> numbers = array.floats();
  const Tensor all = at::tensor(numbers, at::kFloat).view(shape);
  std::vector<ReadPicture> pictures;
  for (int64_t i = 0; i < shape[0]; ++i) {
    ReadPicture one;
    Picture& p = one.picture;
    p.path = path;
    p.name = shape[0] == 1 ? name : name + "." + std::to_string(i);
    p.input = all.narrow(0, i, 1).clone();
    if (at::isfinite(p.input).all().item<bool>()) {
      p.photo = image_from_tensor(p.input, card);
      p.seen = p.content = {0, 0, p.photo.width, p.photo.height};
    } else {
      one.error =
          file + ": holds numbers that are not finite" + (shape[0] == 1 ? "" : ", in array " + std::to_string(i));
    }
    pictures.push_back(std::move(one));
  }
  return pictures;
}

}  // namespace pellucid
