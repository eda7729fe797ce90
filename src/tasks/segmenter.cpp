#include "tasks/segmenter.h"

#include <algorithm>

#include "pellucid/error.h"
#include "pellucid/image.h"
#include "pellucid/text.h"

namespace pellucid {

Tensor superpixels_of(const Tensor& picture, const std::string& spec) {
  const bool is_color = picture.size(0) == 3 || picture.size(0) == 1;
  const Tensor display = is_color ? picture : picture.mean(0, /*keepdim=*/true);
  const Tensor bytes = (display.detach().to(at::kCPU).to(at::kDouble).clamp(0, 1) * 255).round().to(at::kByte);
  const Tensor rows = bytes.permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(rows.size(1)), static_cast<int>(rows.size(0)), static_cast<int>(rows.size(2)));
  std::copy_n(rows.data_ptr<uint8_t>(), image.pixels.size(), image.pixels.begin());
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  int64_t number = 0;
  if (colon == std::string::npos || !parse_int(spec.substr(colon + 1), number) || number < 1) {
    throw_usage("segments is '" + printable(spec) + "'; slic:SIZE or seeds:COUNT was expected");
  }
  // Larger than the picture is the whole picture, and more than its pixels cannot be.
  const int64_t most = kind == "seeds" ? int64_t{image.width} * image.height : std::max(image.width, image.height);
  const int size = static_cast<int>(std::min(number, most));
  const Superpixels found = kind == "seeds" ? seeds_superpixels(image, size) : slic_superpixels(image, size);
  return at::tensor(at::ArrayRef<int>(found.labels), at::TensorOptions(at::kLong)).view({found.height, found.width});
}

}  // namespace pellucid
