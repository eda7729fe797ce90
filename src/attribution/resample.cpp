// Maps of layers at the resolution of the picture.

#include <algorithm>

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// [out,in]: row o holds the weights of the two inputs around position `first + o * step`; edges repeated.
Tensor interpolation_matrix(int64_t in, int64_t out, double first, double step) {
  Tensor matrix = at::zeros({out, in}, at::kDouble);
  auto* const row = matrix.data_ptr<double>();
  for (int64_t o = 0; o < out; ++o) {
    const double source = std::clamp(first + static_cast<double>(o) * step, 0.0, static_cast<double>(in - 1));
    const auto low = static_cast<int64_t>(source);
    const int64_t high = std::min(low + 1, in - 1);
    row[o * in + low] += 1 - (source - static_cast<double>(low));
    row[o * in + high] += source - static_cast<double>(low);
  }
  return matrix;
}

Tensor half_pixel_matrix(int64_t in, int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  return interpolation_matrix(in, out, 0.5 * step - 0.5, step);
}

Tensor receptive_field_matrix(const ReceptiveField& field, int64_t in, int64_t out) {
  return interpolation_matrix(in, out, (0.5 - field.center) / field.jump, 1 / field.jump);
}

Tensor apply(const Tensor& rows, const Tensor& map, const Tensor& columns) {
  return at::matmul(at::matmul(rows.to(map.options()), map), columns.to(map.options()).t());
}

}  // namespace

Tensor upsample_map(const Tensor& map, int64_t height, int64_t width) {
  if (map.size(1) == height && map.size(2) == width) return map;
  // Class activation maps are tiny beside the picture; two small matrix products are then several times faster than
  // LibTorch's kernel, which has no parallelism for one channel.
  if (map.device().is_cpu() && map.size(1) * 4 <= height && map.size(2) * 4 <= width) {
    return apply(half_pixel_matrix(map.size(1), height), map, half_pixel_matrix(map.size(2), width));
  }
  return at::upsample_bilinear2d(map.unsqueeze(1), {height, width}, /*align_corners=*/false).squeeze(1);
}

Tensor layer_map_at_input(const Context& context, ValueId layer, const Tensor& map, const std::string& align) {
  const auto [height, width] = input_size(context);
  if (align != "receptive-field") return upsample_map(map, height, width);
  const LayerInfo& info = context.layers.layer(layer);
  if (info.rows.whole || info.columns.whole || info.rows.jump <= 0 || info.columns.jump <= 0) {
    throw_usage("align=receptive-field: what a position of layer '" + printable(info.name) +
                "' sees is not known, or is the whole picture; align=half-pixel works for any layer");
  }
  return apply(receptive_field_matrix(info.rows, map.size(1), height), map,
               receptive_field_matrix(info.columns, map.size(2), width));
}

}  // namespace pellucid
