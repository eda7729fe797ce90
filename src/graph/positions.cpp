#include "graph/positions.h"

#include <algorithm>

#include "graph/node_kinds.h"
#include "graph/op.h"
#include "graph/ops/window.h"

namespace pellucid {

namespace {

/// What a node with windows does to the receptive field along one axis.
void widen(ReceptiveField& field, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad) {
  const double reach = static_cast<double>((kernel - 1) * dilation);
  field.center += (reach / 2 - static_cast<double>(pad)) * field.jump;
  field.size += reach * field.jump;
  field.jump *= static_cast<double>(stride);
}

int64_t rank_of(const Shape& shape) { return static_cast<int64_t>(shape.size()); }
int64_t extent(const Shape& shape, int64_t axis) {
  return axis >= 0 && axis < rank_of(shape) ? shape[static_cast<size_t>(axis)] : 1;
}

void transpose(const Node& node, Positions& p) {
  const std::vector<int64_t> perm = node.integers("perm");
  const auto place = [&](int64_t axis) { return std::find(perm.begin(), perm.end(), axis) - perm.begin(); };
  if (perm.empty()) return p.lose();
  p.row_axis = place(p.row_axis);
  p.column_axis = place(p.column_axis);
}

/// Finds the axes of positions again where they came through side by side: a channel shuffle, one more axis.
bool reshape(const Shape& in, const Shape& out, Positions& p) {
  const int64_t height = extent(in, p.row_axis), width = extent(in, p.column_axis);
  const bool beside = p.row_axis >= 0 && p.column_axis == p.row_axis + 1 && p.column_axis < rank_of(in);
  if (!beside || height * width == 1) return false;
  const int64_t before = c10::multiply_integers(in.begin(), in.begin() + p.row_axis);
  int64_t product = 1;
  for (int64_t axis = 0; axis + 1 < rank_of(out); ++axis) {
    if (product == before && extent(out, axis) == height && extent(out, axis + 1) == width) {
      p.row_axis = axis;
      p.column_axis = axis + 1;
      return true;
    }
    product *= extent(out, axis);
  }
  return false;
}

}  // namespace

ReceptiveField merged(const ReceptiveField& a, const ReceptiveField& b) {
  ReceptiveField field;
  field.whole = a.whole || b.whole;
  field.jump = std::max(a.jump, b.jump);
  const double low = std::min(a.center - a.size / 2, b.center - b.size / 2);
  const double high = std::max(a.center + a.size / 2, b.center + b.size / 2);
  field.size = high - low;
  field.center = (low + high) / 2;
  return field;
}

Positions PositionWalk::of_input(const Shape& shape) {
  const auto colors = [](int64_t n) { return n == 1 || n == 3; };
  Positions p;
  p.row_axis = rank_of(shape) - 2;
  p.column_axis = rank_of(shape) - 1;
  if (rank_of(shape) == 4 && colors(shape[3]) && !colors(shape[1])) {
    --p.row_axis;
    --p.column_axis;
  }
  return p;
}

Positions PositionWalk::behind(const Node& node, Positions p, const Shape& in, const Shape& widest,
                               const Shape& out) const {
  const bool same_rank = in.size() == out.size();
  const bool one_position = rank_of(in) == 4 && extent(in, p.row_axis) * extent(in, p.column_axis) == 1;
  if (is_any(node.op, {"Conv", "MaxPool", "AveragePool", "LpPool"}) && rank_of(in) == 4 && p.are_planes()) {
    std::vector<int64_t> kernel = node.integers("kernel_shape");
    if (kernel.empty() && node.inputs.size() > 1) {
      const Shape& w = shapes_[static_cast<size_t>(node.inputs[1])];
      if (w.size() == 4) kernel = {w[2], w[3]};
    }
    const WindowGeometry g = window_geometry(node, at::IntArrayRef(in).slice(2), kernel);
    widen(p.rows, kernel[0], g.strides[0], g.dilations[0], g.begin[0]);
    widen(p.columns, kernel[1], g.strides[1], g.dilations[1], g.begin[1]);
  } else if (node.op == "SpaceToDepth" && p.are_planes()) {
    const int64_t block = node.integer("blocksize", 1);
    widen(p.rows, block, block, 1, 0);
    widen(p.columns, block, block, 1, 0);
  } else if (node.op == "Pad") {
    pad(node, in, p);
  } else if (node.op == "Slice") {
    slice(node, in, p);
  } else if (node.op == "Transpose" && same_rank) {
    transpose(node, p);
  } else if (is_any(node.op, {"ConvTranspose", "Resize", "Upsample", "DepthToSpace"}) && same_rank &&
             extent(in, p.row_axis) * extent(in, p.column_axis) > 1) {
    for (auto [axis, f] : p.axes()) {
      const double scale = static_cast<double>(extent(out, axis)) / static_cast<double>(extent(in, axis));
      f->size += f->jump;  // interpolation may look at the neighbour
      f->center -= f->jump * (1 - 1 / scale) / 2;
      f->jump /= scale;
    }
  } else if (is_any(node.op, {"Reshape", "Flatten", "Squeeze", "Unsqueeze"})) {
    if (!reshape(in, out, p) && (!one_position || p.rows.whole)) p.lose();
  } else if (mixes_positions(node, in, out, p)) {
    if (!one_position || p.rows.whole) p.lose();
  } else if (!same_rank) {
    if (!reshape(in, out, p)) p.lose();
  } else {
    for (auto [axis, f] : p.axes()) f->whole = f->whole || extent(out, axis) != extent(widest, axis);
  }
  return p;
}

/// The integers of an attribute (older opsets) or an input (newer ones); empty when the node has neither.
std::optional<std::vector<int64_t>> PositionWalk::list(const Node& node, const char* attribute, size_t input) const {
  if (node.has(attribute)) return node.integers(attribute);
  if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return std::vector<int64_t>();
  const auto found = integers_.find(node.inputs[input]);
  const Tensor& known = found == integers_.end() ? graph_.value(node.inputs[input]).constant : found->second;
  if (!known.defined() || known.is_floating_point()) return std::nullopt;
  const Tensor t = known.to(at::kCPU, at::kLong).contiguous();
  return std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
}

/// What is padded moves the first position to the left by as many.
void PositionWalk::pad(const Node& node, const Shape& in, Positions& p) const {
  const auto pads = list(node, "pads", 1);
  const auto axes = list(node, "axes", 3);
  if (!pads || !axes || pads->size() != 2 * (axes->empty() ? in.size() : axes->size())) return p.lose();
  for (size_t i = 0; 2 * i < pads->size(); ++i) {
    const int64_t given = axes->empty() ? static_cast<int64_t>(i) : (*axes)[i];
    for (auto [axis, f] : p.axes()) {
      if (axis == (given < 0 ? given + rank_of(in) : given)) f->center -= static_cast<double>((*pads)[i]) * f->jump;
    }
  }
}

void PositionWalk::slice(const Node& node, const Shape& in, Positions& p) const {
  const auto starts = list(node, "starts", 1), axes = list(node, "axes", 3), steps = list(node, "steps", 4);
  if (!starts || !axes || !steps) return p.lose();
  for (size_t i = 0; i < starts->size(); ++i) {
    const int64_t given = i < axes->size() ? (*axes)[i] : static_cast<int64_t>(i);
    const int64_t step = i < steps->size() ? (*steps)[i] : 1;
    for (auto [axis, f] : p.axes()) {
      if (axis != (given < 0 ? given + rank_of(in) : given)) continue;
      const int64_t size = extent(in, axis);
      const int64_t start = (*starts)[i] < 0 ? (*starts)[i] + size : (*starts)[i];
      f->center += static_cast<double>(std::clamp<int64_t>(start, 0, size)) * f->jump;
      f->jump *= static_cast<double>(step);
      f->whole = f->whole || step < 0;  // mirrored
    }
  }
}

/// Whether a result at one position depends on others.
bool PositionWalk::mixes_positions(const Node& node, const Shape& in, const Shape& out, const Positions& p) const {
  const auto axis_of = [&](int64_t otherwise) {
    const int64_t axis = node.integer("axis", otherwise);
    return axis < 0 ? axis + rank_of(in) : axis;
  };
  if (is_any(node.op, {"Concat", "Gather"})) return p.lie_along(axis_of(0));
  const bool flattens = node.opset < 13;  // the axis and all behind it
  if (is_any(node.op, {"Softmax", "LogSoftmax", "Hardmax"})) {
    const int64_t axis = axis_of(flattens ? 1 : -1);
    return rank_of(in) < 4 || p.lie_along(axis) || (flattens && axis <= p.column_axis);
  }
  if (node.op == "LayerNormalization") return axis_of(-1) <= p.column_axis;
  if (node.op.rfind("Reduce", 0) == 0) {
    return rank_of(in) < 4 || in.size() != out.size() || extent(in, p.row_axis) != extent(out, p.row_axis) ||
           extent(in, p.column_axis) != extent(out, p.column_axis);
  }
  // A matrix product of the last axis alone is a convolution of 1x1, channels last.
  if (node.op == "MatMul") {
    return rank_of(in) < 4 || in.size() != out.size() || p.column_axis + 1 >= rank_of(in) ||
           !graph_.value(node.inputs.at(1)).constant.defined();
  }
  return is_any(node.op, {"Conv",
                          "MaxPool",
                          "AveragePool",
                          "LpPool",
                          "SpaceToDepth",
                          "Gemm",
                          "Einsum",
                          "GlobalAveragePool",
                          "GlobalMaxPool",
                          "GlobalLpPool",
                          "InstanceNormalization",
                          "GroupNormalization",
                          "GatherElements",
                          "GatherND",
                          "GridSample",
                          "RoiAlign",
                          "ScatterElements",
                          "ScatterND",
                          "CumSum",
                          "ReverseSequence"});
}

}  // namespace pellucid
