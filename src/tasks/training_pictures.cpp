#include "tasks/training_pictures.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/ground_truth.h"
#include "pellucid/image.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr uint64_t kTestSeed = 0x7e57;  // as in train: never used for training

Tensor empty_pictures(int64_t count, int64_t size) { return at::empty({count, size, size, 3}, at::kByte); }
void put(const Image& image, const Tensor& pictures, int64_t i) {
  const auto bytes = static_cast<int64_t>(image.pixels.size());
  std::copy(image.pixels.begin(), image.pixels.end(), pictures.data_ptr<uint8_t>() + i * bytes);
}
Tensor channels_first(const Tensor& pictures) { return pictures.permute({0, 3, 1, 2}).contiguous(); }

Tensor drawn(const PictureSource& source, Progress* progress) {
  std::vector<const GroundTruthSet*> sets;
  for (const std::string& name : split(source.data, ',')) sets.push_back(&find_ground_truth_set(trim(name)));
  Tensor pictures = empty_pictures(source.count, source.size);
  constexpr int64_t kPiece = 16;
  for (int64_t first = 0; first < source.count; first += kPiece) {
    if (progress) {
      progress->check();
      progress->report(static_cast<double>(first), static_cast<double>(source.count), "drawing pictures");
    }
    at::parallel_for(first, std::min(first + kPiece, source.count), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto turn = static_cast<size_t>(i);
        const GroundTruthSet& set = *sets[turn % sets.size()];
        GroundTruthRequest request;
        request.label = static_cast<int>(turn / sets.size() % set.classes.size());
        request.seed = source.seed;
        request.index = turn;
        request.size = static_cast<int>(source.size);
        request.supersampling = 2;
        put(draw_sample(set, request).picture, pictures, i);
      }
    });
  }
  return channels_first(pictures);
}

Tensor read(const PictureSource& source, Progress* progress) {
  const std::vector<std::string> paths = expand_inputs(source.inputs);
  const auto side = static_cast<int>(source.size);
  Tensor pictures = empty_pictures(static_cast<int64_t>(paths.size()), source.size);
  for (size_t i = 0; i < paths.size(); ++i) {
    if (progress) {
      progress->check();
      progress->report(static_cast<double>(i), static_cast<double>(paths.size()), "reading pictures");
    }
    const Image image = resize_shorter_side(rgb_from(decode_image(paths[i])), side);
    put(crop(image, center_rect(image.width, image.height, side, side)), pictures, static_cast<int64_t>(i));
  }
  return channels_first(pictures);
}

}  // namespace

Tensor gather_pictures(const PictureSource& source, Progress* progress) {
  return source.inputs.empty() ? drawn(source, progress) : read(source, progress);
}

TrainingPictures gather_training_pictures(PictureSource source, int64_t test_count, Progress* progress) {
  TrainingPictures result;
  if (source.inputs.empty()) {
    result.training = gather_pictures(source, progress);
    source.seed = kTestSeed;
    source.count = test_count;
    result.test = gather_pictures(source, progress);
    return result;
  }
  const Tensor all = gather_pictures(source, progress);
  if (all.size(0) < 2) throw_usage("one picture is not enough: at least one is kept for the test");
  const Tensor numbers = at::arange(all.size(0), at::kLong);
  const Tensor kept = numbers.remainder(10).eq(1);
  result.test = all.index_select(0, numbers.masked_select(kept)).slice(0, 0, test_count);
  result.training = all.index_select(0, numbers.masked_select(kept.logical_not()));
  return result;
}

Tensor display_from_bytes(const Tensor& bytes) { return bytes.to(at::kFloat) / 255.0; }

Tensor random_crops(const Tensor& pictures, int64_t count, int64_t side, const at::Generator& generator) {
  if (pictures.size(2) < side || pictures.size(3) < side) {
    throw_usage("crops of " + std::to_string(side) + " pixels do not fit into pictures of " +
                std::to_string(pictures.size(3)));
  }
  const auto draw = [&](int64_t below) {
    return at::randint(below, {1}, generator, at::TensorOptions(at::kLong)).item<int64_t>();
  };
  TensorList crops;
  for (int64_t i = 0; i < count; ++i) {
    Tensor one = pictures[draw(pictures.size(0))];
    one = one.narrow(1, draw(one.size(1) - side + 1), side).narrow(2, draw(one.size(2) - side + 1), side);
    crops.push_back(draw(2) == 0 ? one : one.flip(2));
  }
  return display_from_bytes(at::stack(crops));
}

std::string beside_onnx(const std::string& verb, const std::string& path, const std::string& ending) {
  constexpr size_t kLength = 5;
  if (path.size() <= kLength || path.compare(path.size() - kLength, kLength, ".onnx") != 0) {
    throw_usage(verb + ": the output '" + printable(path) + "' must end in .onnx");
  }
  return path.substr(0, path.size() - kLength) + ending;
}

std::vector<int64_t> widths_from(const std::string& text) {
  std::vector<int64_t> widths;
  for (const std::string& part : split(text, ',')) {
    int64_t width = 0;
    if (!parse_int(trim(part), width) || width < 1 || width > 4096) {
      throw_usage("widths is '" + printable(text) +
                  "'; integers between 1 and 4096, separated by commas, were expected");
    }
    widths.push_back(width);
  }
  return widths;
}

}  // namespace pellucid
