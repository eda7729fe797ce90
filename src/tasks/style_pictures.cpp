#include "tasks/style_pictures.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace {

constexpr const char* kTexturePrefix = "texture:";

GroundTruthRequest square_request(int size, uint64_t seed, uint64_t index) {
  GroundTruthRequest request;
  request.size = size;
  request.seed = seed;
  request.index = index;
  request.supersampling = 2;
  request.noise_std = 0;
  return request;
}

Image drawn_texture(const std::string& name, int64_t size) {
  const std::vector<std::string> words = split(name.substr(std::string(kTexturePrefix).size()), ':');
  const GroundTruthSet& set = find_ground_truth_set("textures");
  const auto kind = std::find(set.classes.begin(), set.classes.end(), words.front());
  int64_t number = 0;
  if (kind == set.classes.end()) {
    throw_usage("no texture '" + printable(words.front()) + "'; the textures are " + join(set.classes, ", ") +
                did_you_mean(words.front(), set.classes));
  }
  if (words.size() > 2 || (words.size() == 2 && (!parse_int(words[1], number) || number < 0))) {
    throw_usage("style '" + printable(name) + "': texture:KIND or texture:KIND:NUMBER was expected");
  }
  GroundTruthRequest request = square_request(static_cast<int>(size), 1, static_cast<uint64_t>(number));
  request.label = static_cast<int>(kind - set.classes.begin());
  request.supersampling = 4;
  return draw_sample(set, request).picture;
}

/// A number in [0, 1) of a picture; `which` tells several apart.
double number_of(uint64_t seed, uint64_t index, uint64_t which) {
  uint64_t x = seed * 0x9e3779b97f4a7c15ULL + index * 0xbf58476d1ce4e5b9ULL + which * 0x94d049bb133111ebULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

/// uint8 [3,H,W] of [1,3,H,W] in display range.
Tensor bytes_from_display(const Tensor& display) { return (display[0] * 255).round().clamp(0, 255).to(at::kByte); }

}  // namespace

std::vector<StylePicture> read_styles(const std::vector<std::string>& names, int64_t size) {
  std::vector<StylePicture> styles;
  for (const std::string& name : names) {
    if (name.compare(0, 8, kTexturePrefix) == 0) {
      styles.push_back({name, display_from_image(drawn_texture(name, size))});
      continue;
    }
    for (const std::string& path : expand_inputs({name})) {
      const Image picture = resize_shorter_side(decode_image(path), static_cast<int>(size));
      styles.push_back({std::filesystem::u8path(path).stem().string(), display_from_image(picture)});
    }
  }
  return styles;
}

ContentPictures::ContentPictures(const std::vector<std::string>& names, int64_t size) : size_(static_cast<int>(size)) {
  std::vector<std::string> paths;
  for (const std::string& name : names) {
    const auto& all = ground_truth_sets();
    const auto set = std::find_if(all.begin(), all.end(), [&](const GroundTruthSet& s) { return s.name == name; });
    if (set == all.end()) {
      paths.push_back(name);
    } else {
      sets_.push_back(&*set);
    }
  }
  if (!paths.empty()) files_ = expand_inputs(paths);
  if (sets_.empty() == files_.empty()) {
    throw_usage("content pictures are either files or generated sets, and at least one is needed");
  }
}

Image ContentPictures::one(uint64_t seed, uint64_t index) const {
  if (!sets_.empty()) {
    const GroundTruthSet& set = *sets_[index % sets_.size()];
    GroundTruthRequest request = square_request(size_, seed, index);
    request.label = static_cast<int>(number_of(seed, index, 0) * static_cast<double>(set.classes.size()));
    return draw_sample(set, request).picture;
  }
  const auto chosen = static_cast<size_t>(number_of(seed, index, 0) * static_cast<double>(files_.size()));
  const Image whole = decode_image(files_[chosen]);
  const auto side = static_cast<int>(size_ * (1 + 0.5 * number_of(seed, index, 1)));
  const Image scaled = resize_shorter_side(whole, side);
  const auto offset = [&](int length, uint64_t which) {
    return static_cast<int>(number_of(seed, index, which) * (length - size_ + 1));
  };
  return crop(scaled, {offset(scaled.width, 2), offset(scaled.height, 3), size_, size_});
}

Tensor ContentPictures::draw(uint64_t seed, int64_t first, int64_t count) const {
  TensorList pictures(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    pictures[static_cast<size_t>(i)] = display_from_image(one(seed, static_cast<uint64_t>(first + i)));
  }
  return at::cat(pictures);
}

TensorList ContentPictures::bytes(uint64_t seed, int64_t count) const {
  TensorList pictures;
  for (int64_t i = 0; i < count; ++i) pictures.push_back(bytes_from_display(draw(seed, i, 1)));
  return pictures;
}

TensorList bytes_of(const std::vector<StylePicture>& pictures) {
  TensorList all;
  for (const StylePicture& one : pictures) all.push_back(bytes_from_display(one.display));
  return all;
}

Tensor VariedCrops::draw(int64_t count, const at::Generator& generator) const {
  const auto below = [&](int64_t end) {
    return at::randint(end, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
  };
  TensorList crops;
  for (int64_t i = 0; i < count; ++i) {
    const Tensor& whole = pictures_[static_cast<size_t>(below(static_cast<int64_t>(pictures_.size())))];
    const int64_t largest = std::min(whole.size(1), whole.size(2)), least = std::min(side_, largest);
    const int64_t side = least + below(largest - least + 1);
    Tensor one =
        whole.narrow(1, below(whole.size(1) - side + 1), side).narrow(2, below(whole.size(2) - side + 1), side);
    if (below(2) == 1) one = one.flip(2);
    one = one.index_select(0, at::randperm(3, generator, at::TensorOptions(at::kLong)));
    one = at::_upsample_bilinear2d_aa(one.unsqueeze(0).to(at::kFloat) / 255, {side_, side_}, /*align_corners=*/false);
    // Half of them with other contrasts and another lightness for each color.
    if (below(2) == 1) {
      const Tensor contrast = 1 - 0.6 * at::rand({1, 3, 1, 1}, generator, at::TensorOptions(at::kFloat));
      const Tensor share = at::rand({1, 3, 1, 1}, generator, at::TensorOptions(at::kFloat));
      one = one * contrast + (1 - contrast) * share;
    }
    crops.push_back(one);
  }
  return at::cat(crops);
}

}  // namespace pellucid
