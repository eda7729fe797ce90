#include "synthesis/tiles.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr int64_t kLeastTile = 32;
/// Layers further apart than this do not divide a picture into useful parts.
constexpr int64_t kMostStep = 128;
/// Without a wish of the recipe: the largest picture that is seen whole, and the parts of larger ones.
constexpr int64_t kLargestWhole = 1024, kUsualTile = 512;

bool is_local(const LayerInfo& layer) {
  return layer.shape.size() == 4 && !layer.rows.whole && !layer.columns.whole && layer.rows.jump >= 1 &&
         layer.rows.jump == std::floor(layer.rows.jump) && layer.columns.jump == layer.rows.jump;
}

int64_t rounded_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

std::vector<TileRange> tile_ranges(int64_t length, int64_t side, int64_t margin, int64_t step, int64_t offset) {
  std::vector<int64_t> borders{0};
  for (int64_t at = offset > 0 ? offset : side; at < length; at += side) {
    if (at - borders.back() >= kLeastTile && length - at >= kLeastTile) borders.push_back(at);
  }
  borders.push_back(length);
  std::vector<TileRange> ranges;
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    TileRange r{borders[i], borders[i + 1], 0, 0};
    r.seen_begin = std::max<int64_t>(0, r.begin - rounded_up(margin, step));
    r.seen_end = std::min(length, r.end + margin);
    ranges.push_back(r);
  }
  return ranges;
}

TilePlan TilePlan::make(const LayerTable& table, const std::vector<ValueId>& layers, int64_t height, int64_t width,
                        int64_t tile) {
  TilePlan plan;
  const int64_t longer = std::max(height, width);
  if (tile > 0 ? longer <= tile : longer <= kLargestWhole) return plan;
  plan.side = tile > 0 ? tile : kUsualTile;
  int64_t deepest = 0;
  double field = 1;
  plan.kind = Kind::kStitched;
  for (const ValueId id : layers) {
    const LayerInfo& layer = table.layer(id);
    deepest = std::max(deepest, layer.index);
    if (!is_local(layer)) {
      plan.kind = Kind::kSeparate;
    } else {
      field = std::max({field, layer.rows.size, layer.columns.size});
    }
  }
  for (const LayerInfo& layer : table.layers()) {
    if (layer.index > deepest || !is_local(layer)) continue;
    const int64_t step = std::lcm(plan.step, static_cast<int64_t>(layer.rows.jump));
    if (step <= kMostStep) plan.step = step;
  }
  plan.side = rounded_up(std::max(plan.side, kLeastTile), plan.step);
  if (plan.kind == Kind::kStitched) {
    const int64_t covering = static_cast<int64_t>(std::ceil(field / 2)) + plan.step;
    plan.margin = rounded_up(std::min(covering, std::max(plan.side / 8, plan.step)), plan.step);
  }
  return plan;
}

int64_t TilePlan::offset(const at::Generator& generator) const {
  const int64_t places = side / step;
  const double draw = at::rand({1}, generator, at::TensorOptions(at::kDouble)).item<double>();
  return std::min(places - 1, static_cast<int64_t>(draw * static_cast<double>(places))) * step;
}

std::vector<TiledNetwork::Part> TiledNetwork::parts(const Tensor& input) const {
  const int64_t height = input.size(row_axis()), width = input.size(row_axis() + 1);
  const auto all = static_cast<double>(height * width);
  std::vector<Part> list;
  for (const TileRange& rows : tile_ranges(height, plan_.side, plan_.margin, plan_.step, offset_y_)) {
    for (const TileRange& columns : tile_ranges(width, plan_.side, plan_.margin, plan_.step, offset_x_)) {
      const auto area = static_cast<double>((rows.end - rows.begin) * (columns.end - columns.begin));
      list.push_back({rows, columns, area / all});
    }
  }
  return list;
}

Tensor TiledNetwork::seen(const Tensor& input, const Part& part) const {
  const int64_t axis = row_axis();
  return input.narrow(axis, part.rows.seen_begin, part.rows.seen_end - part.rows.seen_begin)
      .narrow(axis + 1, part.columns.seen_begin, part.columns.seen_end - part.columns.seen_begin);
}

TiledNetwork::Span TiledNetwork::span(const TileRange& range, double jump, int64_t positions, bool last) {
  const auto j = static_cast<int64_t>(jump);
  Span s;
  s.from = (range.begin - range.seen_begin) / j;
  s.to = range.begin / j;
  s.length = last ? positions - s.from : (range.end - range.begin) / j;
  if (s.length < 0 || s.from + s.length > positions) {
    throw_usage("the layers cannot be put together from parts of the picture; choose a larger tile");
  }
  return s;
}

Values TiledNetwork::run(const Tensor& input) const {
  const int64_t height = input.size(row_axis()), width = input.size(row_axis() + 1);
  Request request;
  request.capture = layers_;
  std::map<ValueId, std::vector<TensorList>> rows;  // one list of pieces for each row of parts
  int64_t row_begin = -1;
  for (const Part& part : parts(input)) {
    const Values values = context_.network.run({seen(input, part).contiguous()}, request, context_.progress);
    for (const ValueId id : layers_) {
      const LayerInfo& layer = table_.layer(id);
      const Tensor& map = values.at(id);
      const Span y = span(part.rows, layer.rows.jump, map.size(2), part.rows.end == height);
      const Span x = span(part.columns, layer.columns.jump, map.size(3), part.columns.end == width);
      if (part.rows.begin != row_begin) rows[id].emplace_back();
      rows[id].back().push_back(map.narrow(2, y.from, y.length).narrow(3, x.from, x.length).clone());
    }
    row_begin = part.rows.begin;
  }
  Values whole;
  for (auto& [id, lists] : rows) {
    TensorList strips;
    for (TensorList& pieces : lists) {
      strips.push_back(at::cat(pieces, 3));
      pieces.clear();
    }
    whole[id] = at::cat(strips, 2);
  }
  return whole;
}

Tensor TiledNetwork::gradient(const Tensor& input, const Values& seeds, const RuleMap& rules, bool keep_all) const {
  const int64_t height = input.size(row_axis()), width = input.size(row_axis() + 1);
  const ValueId in = context_.network.graph().inputs().front().value;
  Tensor sum = at::zeros_like(input);
  for (const Part& part : parts(input)) {
    Network::RecordRequest what;
    what.until = layers_;
    what.wrt = {in};
    what.keep_all = keep_all;
    const Tape tape = context_.network.record({seen(input, part).contiguous()}, what, context_.progress);
    Values own;
    for (const auto& [id, seed] : seeds) {
      const LayerInfo& layer = table_.layer(id);
      Tensor piece = at::zeros_like(tape.value(id));
      const Span y = span(part.rows, layer.rows.jump, piece.size(2), part.rows.end == height);
      const Span x = span(part.columns, layer.columns.jump, piece.size(3), part.columns.end == width);
      piece.narrow(2, y.from, y.length)
          .narrow(3, x.from, x.length)
          .copy_(seed.narrow(2, y.to, y.length).narrow(3, x.to, x.length));
      own[id] = piece;
    }
    const Tensor g = tape.backward(own, {in}, rules).values.at(in);
    if (g.defined()) seen(sum, part).add_(g);
  }
  return sum;
}

}  // namespace pellucid
