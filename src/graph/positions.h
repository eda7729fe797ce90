#pragma once

// What the positions of a map see, followed from the picture through one node after another.

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "pellucid/layers.h"

namespace pellucid {

/// Two branches meet: the union of what they see.
ReceptiveField merged(const ReceptiveField& a, const ReceptiveField& b);

/// What the positions of a value see, and which of its axes they lie along.
struct Positions {
  ReceptiveField rows, columns;
  int64_t row_axis = 2, column_axis = 3;

  std::array<std::pair<int64_t, ReceptiveField*>, 2> axes() { return {{{row_axis, &rows}, {column_axis, &columns}}}; }
  bool lie_along(int64_t axis) const { return axis == row_axis || axis == column_axis; }
  bool are_planes() const { return row_axis == 2 && column_axis == 3; }
  void lose() { rows.whole = columns.whole = true; }
};

/// Follows positions through one node after another.
class PositionWalk {
 public:
  /// `integers` are small values of integers that are known without being constants. All are borrowed.
  PositionWalk(const Graph& graph, const std::vector<Shape>& shapes, const Values& integers)
      : graph_(graph), shapes_(shapes), integers_(integers) {}

  /// Channels come last where only the last axis can be that of colors.
  static Positions of_input(const Shape& shape);

  /// What the results of `node` see. `in` is the shape of its picture, `widest` the same but with the largest size that
  /// any picture has along each axis; `p` is what they see together.
  Positions behind(const Node& node, Positions p, const Shape& in, const Shape& widest, const Shape& out) const;

 private:
  std::optional<std::vector<int64_t>> list(const Node& node, const char* attribute, size_t input) const;
  void pad(const Node& node, const Shape& in, Positions& p) const;
  void slice(const Node& node, const Shape& in, Positions& p) const;
  bool mixes_positions(const Node& node, const Shape& in, const Shape& out, const Positions& p) const;

  const Graph& graph_;
  const std::vector<Shape>& shapes_;
  const Values& integers_;
};

}  // namespace pellucid
