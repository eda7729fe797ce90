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

}  // namespace pellucid
