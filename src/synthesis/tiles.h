#pragma once

// Pictures of any size in bounded memory: a network looks at them part by part.

#include <vector>

#include "synthesis/part.h"

namespace pellucid {

/// One part along one axis: what is its own, and what it sees of its neighbours. Pixels of the network's input.
struct TileRange {
  int64_t begin = 0, end = 0;
  int64_t seen_begin = 0, seen_end = 0;
};

/// Parts of `side` pixels that cover `length`, their borders at multiples of `step` after `offset` (which is one too);
/// parts of less than 32 pixels are joined to a neighbour. Each sees `margin` pixels beyond its border.
std::vector<TileRange> tile_ranges(int64_t length, int64_t side, int64_t margin, int64_t step, int64_t offset);

/// How the layers of a stage are computed for pictures that are too large for one pass.
struct TilePlan {
  enum class Kind {
    kWhole,     ///< One pass.
    kStitched,  ///< Maps are put together from those of the parts, and objectives see them whole. Exact where the
                ///< margin covers the receptive fields; the part of it beyond an eighth of a part is given up, and
                ///< borders that lie elsewhere in every step make up for it.
    kSeparate  ///< Layers without positions (logits): every part has objectives of its own, which are averaged by area.
  };
  Kind kind = Kind::kWhole;
  int64_t side = 0, margin = 0;
  int64_t step = 1;  ///< Offsets are multiples of it, so that strided layers fall on the same pixels.

  /// For pictures up to this size; `tile` is the recipe's.
  static TilePlan make(const LayerTable& table, const std::vector<ValueId>& layers, int64_t height, int64_t width,
                       int64_t tile);
  /// Where borders lie in a step.
  int64_t offset(const at::Generator& generator) const;
};

/// Passes of a network over an input [B,C,H,W] (or [B,H,W,C]) in parts.
class TiledNetwork {
 public:
  TiledNetwork(const SynthesisContext& context, const LayerTable& table, std::vector<ValueId> layers, TilePlan plan,
               int64_t offset_y, int64_t offset_x)
      : context_(context),
        table_(table),
        layers_(std::move(layers)),
        plan_(plan),
        offset_y_(offset_y),
        offset_x_(offset_x) {}

  /// The layers' maps put together (kStitched).
  Values run(const Tensor& input) const;
  /// The gradient at the input of the sum of seeds times maps; every part is computed again.
  Tensor gradient(const Tensor& input, const Values& seeds, const RuleMap& rules, bool keep_all) const;

  struct Part {
    TileRange rows, columns;
    double share = 1;  ///< Of the area.
  };
  std::vector<Part> parts(const Tensor& input) const;
  /// What a part sees of a tensor laid out as the input.
  Tensor seen(const Tensor& input, const Part& part) const;

 private:
  int64_t row_axis() const { return context_.card.channels_first ? 2 : 1; }
  /// Where a part's own positions of a layer lie along an axis: in the part's map, and in the whole one.
  struct Span {
    int64_t from = 0, to = 0, length = 0;
  };
  static Span span(const TileRange& range, double jump, int64_t positions, bool last);

  const SynthesisContext& context_;
  const LayerTable& table_;
  std::vector<ValueId> layers_;
  TilePlan plan_;
  int64_t offset_y_, offset_x_;
};

}  // namespace pellucid
