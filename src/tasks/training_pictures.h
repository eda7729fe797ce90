#pragma once

#include <string>
#include <vector>

#include "pellucid/progress.h"
#include "pellucid/tensor.h"

namespace pellucid {

/// Where a network that is trained gets pictures without labels from.
struct PictureSource {
  std::string data;                 ///< Names of generated sets, separated by commas.
  std::vector<std::string> inputs;  ///< Picture files, folders and globs, instead of them.
  int64_t count = 1500;             ///< Of generated pictures; classes and sets take turns.
  int64_t size = 96;                ///< Side in pixels; files are resized by their shorter side and cut in the middle.
  uint64_t seed = 1;                ///< Of generated pictures.
};

/// uint8 [N,3,size,size]. Throws Error(kUsage) for a set that does not exist.
Tensor gather_pictures(const PictureSource& source, Progress* progress);

/// Pictures for training and others for a test: generated ones from a seed of their own, of files every tenth, at least
/// one.
struct TrainingPictures {
  Tensor training, test;
};
TrainingPictures gather_training_pictures(PictureSource source, int64_t test_count, Progress* progress);

/// Float32 [count,3,side,side] in display range: squares cut at random out of pictures chosen at random, half of them
/// mirrored.
Tensor random_crops(const Tensor& pictures, int64_t count, int64_t side, const at::Generator& generator);
/// Float32 in display range from uint8.
Tensor display_from_bytes(const Tensor& bytes);

/// The name of a file beside an .onnx file: "x.onnx" and ".json" give "x.json". Throws Error(kUsage) naming the verb
/// when `path` does not end in .onnx.
std::string beside_onnx(const std::string& verb, const std::string& path, const std::string& ending);

/// "16,32,64" as positive integers. Throws Error(kUsage) naming the flag.
std::vector<int64_t> widths_from(const std::string& text);

}  // namespace pellucid
