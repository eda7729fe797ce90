#pragma once

#include "pellucid/stylize.h"

namespace pellucid {

/// A style to learn.
struct StylePicture {
  std::string name;
  Tensor display;  ///< [1,3,H,W]
};
/// Pictures by path and "texture:KIND[:NUMBER]", the shorter side at `size` pixels.
std::vector<StylePicture> read_styles(const std::vector<std::string>& names, int64_t size);

/// Pictures to be repainted, [count,3,size,size] in display range: random crops of files, or generated. A pure function
/// of the seed and the number of the first.
class ContentPictures {
 public:
  /// Throws Error(kUsage) when files and names of generated sets are mixed.
  ContentPictures(const std::vector<std::string>& names, int64_t size);
  Tensor draw(uint64_t seed, int64_t first, int64_t count) const;
  /// As draw, but uint8 [3,size,size] each.
  TensorList bytes(uint64_t seed, int64_t count) const;

 private:
  Image one(uint64_t seed, uint64_t index) const;

  int size_;
  std::vector<const GroundTruthSet*> sets_;
  std::vector<std::string> files_;
};

/// Squares cut out of pictures that are drawn or read once: in another place, size, direction and other colors each
/// time, so that few pictures stand for many.
class VariedCrops {
 public:
  /// Of pictures uint8 [3,H,W]; crops are `side` squared.
  VariedCrops(TensorList pictures, int64_t side) : pictures_(std::move(pictures)), side_(side) {}
  /// Float32 [count,3,side,side] in display range.
  Tensor draw(int64_t count, const at::Generator& generator) const;

 private:
  TensorList pictures_;
  int64_t side_;
};
TensorList bytes_of(const std::vector<StylePicture>& pictures);

}  // namespace pellucid
