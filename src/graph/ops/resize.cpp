// Resize and Upsample: every axis is a weighted sum over a few input positions, worked out once in double and applied
// axis by axis. Where LibTorch has a kernel for the same positions and weights it is used instead.

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "graph/ops/op_support.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

// Weighted sums of more positions than this are cheaper as a matrix product.
constexpr int64_t kMostTaps = 8;
constexpr int64_t kLongestAxis = int64_t{1} << 24;

struct ResizeMode {
  std::string interpolation;  ///< nearest, linear or cubic
  std::string coordinates;
  std::string rounding;  ///< nearest_mode; "opset10" rounds down when enlarging and up when shrinking
  double cubic_a = -0.75;
  bool exclude_outside = false;
  bool antialias = false;
  double extrapolation = 0;
};

struct AxisResize {
  int64_t in = 0;
  int64_t out = 0;
  double scale = 1;
  double roi_start = 0;
  double roi_end = 1;
};

/// output[o] = sum over k of weight[o,k] * input[index[o,k]].
struct AxisTable {
  int64_t out = 0;
  int64_t taps = 1;
  std::vector<int64_t> index;
  std::vector<double> weight;
  std::vector<double> outside;  ///< 1 where tf_crop_and_resize puts the extrapolation value; empty when nowhere.
  bool unchanged = false;       ///< The axis stays as it is; nothing else is filled in.
};

/// The position in the input that output position `o` looks at.
double source_position(const ResizeMode& mode, const AxisResize& axis, int64_t o) {
  const double x = static_cast<double>(o);
  const double in = static_cast<double>(axis.in);
  const double out = static_cast<double>(axis.out);
  const std::string& kind = mode.coordinates;
  if (kind == "asymmetric") return x / axis.scale;
  if (kind == "tf_half_pixel_for_nn") return (x + 0.5) / axis.scale;
  if (kind == "pytorch_half_pixel") return axis.out > 1 ? (x + 0.5) / axis.scale - 0.5 : 0;
  if (kind == "align_corners") {
    // The standard's own results use the length before it is cut to a whole number.
    const double length = axis.scale * in;
    return length == 1 || axis.out == 1 ? 0 : x * (in - 1) / (length - 1);
  }
  if (kind == "tf_crop_and_resize") {
    if (axis.out == 1) return 0.5 * (axis.roi_start + axis.roi_end) * (in - 1);
    return axis.roi_start * (in - 1) + x * (axis.roi_end - axis.roi_start) * (in - 1) / (out - 1);
  }
  const double half_pixel = (x + 0.5) / axis.scale - 0.5;
  if (kind == "half_pixel_symmetric") return half_pixel + in / 2 * (1 - out / (axis.scale * in));
  return half_pixel;
}

double nearest_position(const ResizeMode& mode, const AxisResize& axis, double x) {
  if (mode.rounding == "floor") return std::floor(x);
  if (mode.rounding == "ceil") return std::ceil(x);
  if (mode.rounding == "round_prefer_ceil") return std::floor(x + 0.5);
  if (mode.rounding == "opset10") return axis.scale < 1 ? std::ceil(x) : std::floor(x);
  return std::ceil(x - 0.5);
}

double linear_weight(double distance) { return std::max(0.0, 1 - std::abs(distance)); }

/// Keys. "Cubic convolution interpolation for digital image processing". IEEE TASSP 1981, eq. 4 with free parameter a.
double cubic_weight(double distance, double a) {
  const double t = std::abs(distance);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

struct Tap {
  int64_t index;
  double weight;
};

std::vector<Tap> taps_at(const ResizeMode& mode, const AxisResize& axis, double x) {
  const double last = static_cast<double>(axis.in - 1);
  if (mode.interpolation == "nearest") {
    return {{static_cast<int64_t>(std::clamp(nearest_position(mode, axis, x), 0.0, last)), 1.0}};
  }
  const bool cubic = mode.interpolation == "cubic";
  // Shrinking with antialias widens the kernel so that every input position counts.
  const double squeeze = mode.antialias ? std::min(axis.scale, 1.0) : 1.0;
  const double reach = (cubic ? 2 : 1) / squeeze;
  std::vector<Tap> taps;
  double sum = 0;
  for (double i = std::ceil(x - reach); i <= std::floor(x + reach); ++i) {
    const double distance = (i - x) * squeeze;
    const double weight = cubic ? cubic_weight(distance, mode.cubic_a) : linear_weight(distance);
    const bool outside = i < 0 || i > last;
    if (weight == 0 || (outside && mode.exclude_outside)) continue;
    const int64_t index = static_cast<int64_t>(std::clamp(i, 0.0, last));
    sum += weight;
    if (!taps.empty() && taps.back().index == index) {
      taps.back().weight += weight;
    } else {
      taps.push_back({index, weight});
    }
  }
  if (mode.antialias || mode.exclude_outside) {
    for (Tap& tap : taps) tap.weight /= sum != 0 ? sum : 1;
  }
  return taps;
}

AxisTable axis_table(const Node& node, const ResizeMode& mode, const AxisResize& axis) {
  const bool crops = mode.coordinates == "tf_crop_and_resize";
  AxisTable table;
  table.out = axis.out;
  table.unchanged = !crops && axis.in == axis.out && axis.scale == 1;
  if (table.unchanged) return table;
  if (std::max(axis.in, axis.out) > kLongestAxis) {
    op_error(node, "axis of " + std::to_string(axis.in) + " to " + std::to_string(axis.out) + " is longer than 2^24");
  }
  std::vector<std::vector<Tap>> rows;
  for (int64_t o = 0; o < axis.out; ++o) {
    const double x = source_position(mode, axis, o);
    const bool outside = x < 0 || x > static_cast<double>(axis.in - 1);
    if (crops) table.outside.push_back(outside ? 1 : 0);
    // Clamped well outside the axis, where positions only repeat the border, so that no box sends the loop astray.
    const double far = static_cast<double>(axis.in) + 4;
    rows.push_back(taps_at(mode, axis, std::clamp(x, -far, 2 * far)));
    table.taps = std::max(table.taps, static_cast<int64_t>(rows.back().size()));
  }
  for (const std::vector<Tap>& row : rows) {
    for (int64_t k = 0; k < table.taps; ++k) {
      const size_t i = static_cast<size_t>(k);
      table.index.push_back(i < row.size() ? row[i].index : 0);
      table.weight.push_back(i < row.size() ? row[i].weight : 0);
    }
  }
  return table;
}

/// Whether output position o is exactly input position o / factor.
bool repeats(const AxisTable& table, int64_t factor) {
  if (table.unchanged) return factor == 1;
  if (table.taps != 1) return false;
  for (int64_t o = 0; o < table.out; ++o) {
    const size_t i = static_cast<size_t>(o);
    if (table.index[i] != o / factor || table.weight[i] != 1) return false;
  }
  return true;
}

Tensor column(const std::vector<double>& values, const Tensor& like, int64_t axis, int64_t start, int64_t stride) {
  std::vector<double> picked;
  for (size_t i = static_cast<size_t>(start); i < values.size(); i += static_cast<size_t>(stride)) {
    picked.push_back(values[i]);
  }
  Shape shape(static_cast<size_t>(like.dim()), 1);
  shape[static_cast<size_t>(axis)] = static_cast<int64_t>(picked.size());
  return at::tensor(at::ArrayRef<double>(picked), at::TensorOptions(at::kDouble)).to(like.options()).view(shape);
}

Tensor resized_along(const Tensor& x, int64_t axis, const AxisTable& table) {
  const Tensor index = at::tensor(at::ArrayRef<int64_t>(table.index), at::TensorOptions(at::kLong))
                           .view({table.out, table.taps})
                           .to(x.device());
  if (table.taps > kMostTaps) {
    const Tensor weight = at::tensor(at::ArrayRef<double>(table.weight), at::TensorOptions(at::kDouble))
                              .view({table.out, table.taps})
                              .to(x.options());
    const Tensor matrix = at::zeros({table.out, x.size(axis)}, x.options()).scatter_add_(1, index, weight);
    return at::matmul(x.movedim(axis, -1), matrix.t()).movedim(-1, axis);
  }
  Tensor sum;
  for (int64_t k = 0; k < table.taps; ++k) {
    Tensor part = x.index_select(axis, index.select(1, k));
    if (x.is_floating_point()) part = part * column(table.weight, x, axis, k, table.taps);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

Tensor resized(const Node& node, const Tensor& input, const ResizeMode& mode, const std::vector<AxisResize>& axes) {
  std::vector<AxisTable> tables;
  for (const AxisResize& axis : axes) tables.push_back(axis_table(node, mode, axis));

  const bool is_picture = input.dim() == 4 && input.is_floating_point() && input.numel() > 0 &&
                          mode.coordinates != "tf_crop_and_resize" && tables[0].unchanged && tables[1].unchanged;
  if (is_picture) {
    const AxisResize& h = axes[2];
    const AxisResize& w = axes[3];
    const std::vector<int64_t> size{h.out, w.out};
    // LibTorch divides in float32; up to a factor of 8 that gives the same positions.
    const int64_t factor_h = h.out / h.in;
    const int64_t factor_w = w.out / w.in;
    const bool whole = h.out % h.in == 0 && w.out % w.in == 0 && factor_h <= 8 && factor_w <= 8;
    if (whole && repeats(tables[2], factor_h) && repeats(tables[3], factor_w)) {
      return at::upsample_nearest2d(input, size);
    }
    const bool half_pixel =
        mode.coordinates == "half_pixel" || (mode.coordinates == "pytorch_half_pixel" && h.out > 1 && w.out > 1);
    if (mode.interpolation == "linear" && !mode.antialias && !mode.exclude_outside) {
      if (half_pixel) return at::upsample_bilinear2d(input, size, /*align_corners=*/false, h.scale, w.scale);
      const bool exact = h.scale * static_cast<double>(h.in) == static_cast<double>(h.out) &&
                         w.scale * static_cast<double>(w.in) == static_cast<double>(w.out);
      if (mode.coordinates == "align_corners" && exact) {
        return at::upsample_bilinear2d(input, size, /*align_corners=*/true);
      }
    }
  }

  // Integers are interpolated in double and cut back; picking the nearest needs no arithmetic.
  const bool widen = !input.is_floating_point() && mode.interpolation != "nearest";
  Tensor x = widen ? input.to(at::kDouble) : input;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = static_cast<int64_t>(i);
    if (tables[i].unchanged) continue;
    x = resized_along(x, axis, tables[i]);
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const std::vector<double>& outside = tables[i].outside;
    if (std::find(outside.begin(), outside.end(), 1.0) == outside.end()) continue;
    const Tensor flags = column(outside, x, static_cast<int64_t>(i), 0, 1).to(at::kBool);
    x = x.masked_fill(flags, mode.extrapolation);
  }
  return x.to(input.scalar_type());
}

std::vector<double> numbers(const OpCall& call, size_t i) {
  const Tensor& tensor = call.at(i);
  if (tensor.dim() > 1 || tensor.numel() > 1024) {
    op_error(call.node, "input " + std::to_string(i) + " is " + tensor_text(tensor) + "; it must be a short list");
  }
  const Tensor list = tensor.to(at::kCPU, at::kDouble).contiguous();
  return std::vector<double>(list.data_ptr<double>(), list.data_ptr<double>() + list.numel());
}

std::string real_list_text(const std::vector<double>& list) {
  std::string text;
  for (const double value : list) text += (text.empty() ? "[" : ",") + number_text(value);
  return list.empty() ? "[]" : text + "]";
}

void check_scale(const Node& node, double scale, const std::vector<double>& scales, const Tensor& x) {
  if (!(scale > 0)) op_error(node, "scales " + real_list_text(scales) + " must be above 0");
  if (!(scale <= 1e9))
    op_error(node, "scales " + real_list_text(scales) + " are too large for input " + shape_text(x.sizes()));
}

/// Lengths and scales of the axes listed in `which`; the others stay as they are.
std::vector<AxisResize> with_scales(const Node& node, const Tensor& x, const std::vector<int64_t>& which,
                                    const std::vector<double>& scales) {
  if (scales.size() != which.size()) {
    op_error(node, "scales " + real_list_text(scales) + " do not fit input " + shape_text(x.sizes()));
  }
  std::vector<AxisResize> axes(static_cast<size_t>(x.dim()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i].in = axes[i].out = x.size(static_cast<int64_t>(i));
  for (size_t i = 0; i < which.size(); ++i) {
    AxisResize& axis = axes[static_cast<size_t>(which[i])];
    check_scale(node, scales[i], scales, x);
    axis.scale = scales[i];
    // The standard multiplies in float32: 0.7 of 10 is 7 there, and 6.99 in double.
    const double length = std::floor(static_cast<float>(axis.in) * static_cast<float>(scales[i]));
    if (!(length < 1e12)) op_error(node, "scales " + real_list_text(scales) + " make an axis too long");
    axis.out = static_cast<int64_t>(length);
  }
  return axes;
}

std::vector<AxisResize> with_sizes(const Node& node, const Tensor& x, const std::vector<int64_t>& which,
                                   const std::vector<int64_t>& sizes) {
  const std::string policy = node.text("keep_aspect_ratio_policy", "stretch");
  if (sizes.size() != which.size()) {
    op_error(node, "sizes " + list_text(sizes) + " do not fit input " + shape_text(x.sizes()));
  }
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller") {
    op_error(node, "keep_aspect_ratio_policy is '" + policy + "'; it must be stretch, not_larger or not_smaller");
  }
  std::vector<AxisResize> axes(static_cast<size_t>(x.dim()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i].in = axes[i].out = x.size(static_cast<int64_t>(i));
  double common = 0;
  for (size_t i = 0; i < which.size(); ++i) {
    AxisResize& axis = axes[static_cast<size_t>(which[i])];
    if (sizes[i] < 1 || axis.in < 1) {
      op_error(node, "sizes " + list_text(sizes) + " must be at least 1, and so must input " + shape_text(x.sizes()));
    }
    checked_numel(node, {sizes[i]});
    axis.out = sizes[i];
    axis.scale = static_cast<double>(sizes[i]) / static_cast<double>(axis.in);
    const bool better = policy == "not_larger" ? axis.scale < common : axis.scale > common;
    if (i == 0 || better) common = axis.scale;
  }
  if (policy == "stretch") return axes;
  for (const int64_t i : which) {
    AxisResize& axis = axes[static_cast<size_t>(i)];
    const double length = std::floor(common * static_cast<double>(axis.in) + 0.5);
    if (!(length < 1e12)) op_error(node, "sizes " + list_text(sizes) + " make an axis too long");
    axis.out = static_cast<int64_t>(length);
    axis.scale = common;
  }
  return axes;
}

void check_result(const Node& node, const Tensor& x, const std::vector<AxisResize>& axes) {
  Shape shape;
  for (const AxisResize& axis : axes) {
    if ((axis.out == 0) != (axis.in == 0)) {
      op_error(node, "nothing would be left of input " + shape_text(x.sizes()));
    }
    shape.push_back(axis.out);
  }
  checked_numel(node, shape);
}

void check_word(const Node& node, const char* attribute, const std::string& value,
                std::initializer_list<const char*> accepted) {
  std::string list;
  for (const char* word : accepted) {
    if (value == word) return;
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  op_error(node, std::string(attribute) + " is '" + value + "'; it must be one of " + list);
}

std::vector<int64_t> all_axes(const Tensor& x) {
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < x.dim(); ++i) axes.push_back(i);
  return axes;
}

TensorList resize_at(const Node& node, const Tensor& x, const ResizeMode& mode, const std::vector<AxisResize>& axes) {
  check_result(node, x, axes);
  if (x.dim() == 0 || x.numel() == 0) {
    Shape shape;
    for (const AxisResize& axis : axes) shape.push_back(axis.out);
    return {x.expand(shape)};
  }
  return {resized(node, x, mode, axes)};
}

/// Upsample, and Resize of opset 10: no choice of coordinates.
TensorList upsample(OpCall& call) {
  const Node& node = call.node;
  const Tensor& x = call.at(0);
  ResizeMode mode;
  mode.interpolation = node.text("mode", "nearest");
  if (mode.interpolation == "bilinear") mode.interpolation = "linear";
  check_word(node, "mode", mode.interpolation, {"nearest", "linear"});
  mode.coordinates = "asymmetric";
  mode.rounding = node.op == "Resize" ? "opset10" : "floor";
  const std::vector<double> scales = node.has("scales") ? node.reals("scales") : numbers(call, 1);
  return resize_at(node, x, mode, with_scales(node, x, all_axes(x), scales));
}

TensorList resize(OpCall& call) {
  const Node& node = call.node;
  const Tensor& x = call.at(0);
  ResizeMode mode;
  mode.interpolation = node.text("mode", "nearest");
  mode.coordinates = node.text("coordinate_transformation_mode", "half_pixel");
  mode.rounding = node.text("nearest_mode", "round_prefer_floor");
  mode.cubic_a = node.real("cubic_coeff_a", -0.75);
  mode.exclude_outside = node.integer("exclude_outside", 0) != 0 && mode.interpolation != "nearest";
  mode.antialias = node.integer("antialias", 0) != 0 && mode.interpolation != "nearest";
  mode.extrapolation = node.real("extrapolation_value", 0);
  check_word(node, "mode", mode.interpolation, {"nearest", "linear", "cubic"});
  check_word(node, "coordinate_transformation_mode", mode.coordinates,
             {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
              "tf_half_pixel_for_nn", "tf_crop_and_resize"});
  check_word(node, "nearest_mode", mode.rounding, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});

  const std::vector<int64_t> which = node.has("axes") ? normal_axes(node, node.integers("axes"), x.dim()) : all_axes(x);
  // Exporters leave an input out by giving an empty tensor.
  const bool has_scales = call.has(2) && call.in[2].numel() > 0;
  const bool has_sizes = call.has(3) && call.in[3].numel() > 0;
  if (has_scales == has_sizes) op_error(node, "one of scales and sizes must be given, and only one");
  std::vector<AxisResize> axes =
      has_scales ? with_scales(node, x, which, numbers(call, 2)) : with_sizes(node, x, which, call.integers(3));
  if (mode.coordinates == "tf_crop_and_resize") {
    const std::vector<double> roi = numbers(call, 1);
    if (roi.size() != 2 * which.size()) {
      op_error(node, "roi " + real_list_text(roi) + " does not fit input " + shape_text(x.sizes()));
    }
    for (size_t i = 0; i < which.size(); ++i) {
      AxisResize& axis = axes[static_cast<size_t>(which[i])];
      axis.roi_start = roi[i];
      axis.roi_end = roi[i + which.size()];
      if (!std::isfinite(axis.roi_start) || !std::isfinite(axis.roi_end)) {
        op_error(node, "roi " + real_list_text(roi) + " is not finite");
      }
    }
  }
  return resize_at(node, x, mode, axes);
}

}  // namespace

void add_resize_ops(std::vector<Op>& ops) {
  ops.push_back(onnx_op("Resize", upsample, nullptr, OpRole::kOther, 10, 10));
  ops.push_back(onnx_op("Resize", resize, nullptr, OpRole::kOther, 11));
  ops.push_back(onnx_op("Upsample", upsample, nullptr, OpRole::kOther, 7, 9));
}

}  // namespace pellucid
