#include "tasks/style_runner.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "pellucid/error.h"
#include "pellucid/style_networks.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// Which values depend on an input.
std::set<ValueId> dependents(const Graph& graph, const std::vector<ValueId>& inputs) {
  std::set<ValueId> reached(inputs.begin(), inputs.end());
  for (const Node& node : graph.nodes()) {
    const bool depends =
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return reached.count(id) != 0; });
    if (depends) reached.insert(node.outputs.begin(), node.outputs.end());
  }
  return reached;
}

/// A graph written anew: `replace` may write other nodes in place of one and says whether it did; `constants` become
/// initializers, and what only they needed is left out.
Graph rewritten(const Graph& graph, const Values& constants,
                const std::function<bool(GraphBuilder&, const Node&)>& replace = {}) {
  std::set<ValueId> wanted(graph.outputs().begin(), graph.outputs().end());
  std::vector<bool> kept(graph.nodes().size());
  for (size_t i = graph.nodes().size(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    kept[i] = std::any_of(node.outputs.begin(), node.outputs.end(),
                          [&](ValueId id) { return wanted.count(id) != 0 && constants.count(id) == 0; });
    if (kept[i]) wanted.insert(node.inputs.begin(), node.inputs.end());
  }
  GraphBuilder b(graph.opsets.at(""));
  for (const auto& [domain, version] : graph.opsets) b.set_opset(domain, version);
  b.set_name(graph.name);
  b.properties().metadata = graph.metadata;
  for (const GraphInput& input : graph.inputs()) {
    if (constants.count(input.value)) continue;
    input.has_shape ? b.input(graph.value(input.value).name, input.shape, input.type)
                    : b.input_of_unknown_shape(graph.value(input.value).name, input.type);
  }
  const auto name_of = [&](ValueId id) { return id == kNoValue ? std::string() : graph.value(id).name; };
  for (const ValueId id : wanted) {
    if (id == kNoValue) continue;
    if (constants.count(id)) {
      b.constant(name_of(id), constants.at(id));
    } else if (graph.value(id).constant.defined()) {
      b.constant(name_of(id), graph.value(id).constant);
    }
  }
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!kept[i] || (replace && replace(b, node))) continue;
    std::vector<std::string> inputs, outputs;
    for (const ValueId id : node.inputs) inputs.push_back(name_of(id));
    for (const ValueId id : node.outputs) outputs.push_back(name_of(id));
    b.node(node.op, inputs, outputs, node.attributes, node.name, node.domain);
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) b.output(name_of(graph.outputs()[i]), graph.output_shapes()[i]);
  return b.finish();
}

/// A stretch of one axis: what is made, and what has to be read for it.
struct Stretch {
  int64_t begin, end, read_begin, read_end;
};
std::vector<Stretch> stretches(int64_t length, int64_t tile, int64_t margin, int64_t step) {
  const int64_t inner = std::max(step, (tile - 2 * margin) / step * step);
  std::vector<Stretch> all;
  for (int64_t begin = 0; begin < length; begin += inner) {
    const int64_t end = std::min(length, begin + inner);
    all.push_back({begin, end, std::max<int64_t>(0, begin - margin), std::min(length, end + margin)});
  }
  return all;
}

int64_t up_to_multiple(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/// Reflected at the right and bottom until both sides are multiples; a few pixels, repeated where the picture is less.
Tensor padded(const Tensor& picture, int64_t step) {
  Tensor x = picture;
  const int64_t down = up_to_multiple(x.size(2), step) - x.size(2), right = up_to_multiple(x.size(3), step) - x.size(3);
  if (down == 0 && right == 0) return x;
  if (down < x.size(2) && right < x.size(3)) return at::reflection_pad2d(x, {0, right, 0, down});
  return at::replication_pad2d(x, {0, right, 0, down});
}

}  // namespace

std::string PixelRange::text() const { return number_text(low) + ".." + number_text(high); }

PixelRange PixelRange::parse(const std::string& text) {
  for (const PixelRange& range : {PixelRange{0, 1}, PixelRange{0, 255}, PixelRange{-1, 1}}) {
    if (range.text() == text) return range;
  }
  throw_usage("range is '" + printable(text) + "'; one of 0..1, 0..255, -1..1 was expected");
}

Values meeting_values(const Network& network, const TensorList& inputs) {
  const Graph& graph = network.graph();
  std::vector<ValueId> others;
  for (size_t i = 1; i < graph.inputs().size(); ++i) others.push_back(graph.inputs()[i].value);
  const std::set<ValueId> of_picture = dependents(graph, {graph.inputs().at(0).value});
  const std::set<ValueId> of_others = dependents(graph, others);
  std::set<ValueId> meeting;
  for (const Node& node : graph.nodes()) {
    const bool reads_picture =
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return of_picture.count(id) != 0; });
    if (!reads_picture) continue;
    for (const ValueId id : node.inputs) {
      if (of_others.count(id) && !of_picture.count(id)) meeting.insert(id);
    }
  }
  Values values;
  Request request;
  for (const ValueId id : meeting) {
    const auto input = std::find(others.begin(), others.end(), id);
    if (input == others.end()) {
      request.capture.push_back(id);
    } else {
      values[id] = inputs[static_cast<size_t>(input - others.begin()) + 1];
    }
  }
  if (!request.capture.empty()) {
    for (const auto& [id, value] : network.run(inputs, request)) values[id] = value;
  }
  return values;
}

size_t num_adain_levels(const Graph& graph) {
  size_t count = 0;
  const auto has = [&](const char* what) { return graph.find(what + std::to_string(count + 1)) != kNoValue; };
  while (has("content") && has("mixed")) ++count;
  return count;
}

Graph with_given_inputs(const Graph& graph, const Values& given) {
  Values all = given;
  for (size_t i = 1; i < graph.inputs().size(); ++i) {
    const ValueId id = graph.inputs()[i].value;
    if (!all.count(id)) all[id] = at::zeros({1});  // read by nothing that is left
  }
  return rewritten(graph, all);
}

FixedStatistics with_fixed_statistics(const Graph& graph) {
  struct Names {
    std::string input, mean, variance;
  };
  std::vector<Names> names;
  const auto replace = [&](GraphBuilder& b, const Node& node) {
    if (node.op != "InstanceNormalization") return false;
    const std::string out = graph.value(node.outputs[0]).name, in = graph.value(node.inputs[0]).name;
    const Tensor& scale = graph.value(node.inputs[1]).constant;
    if (!scale.defined()) throw_unsupported(printable(node.name) + ": its scale is no initializer");
    names.push_back({in, out + "/mean", out + "/variance"});
    b.constant(names.back().mean, at::zeros_like(scale));
    b.constant(names.back().variance, at::ones_like(scale));
    b.node("BatchNormalization",
           {in, graph.value(node.inputs[1]).name, graph.value(node.inputs[2]).name, names.back().mean,
            names.back().variance},
           {out}, {{"epsilon", node.real("epsilon", 1e-5)}}, node.name);
    return true;
  };
  FixedStatistics fixed{rewritten(graph, {}, replace), {}};
  for (const Names& site : names) {
    fixed.sites.push_back({fixed.graph.find(site.input), fixed.graph.find(site.mean), fixed.graph.find(site.variance)});
  }
  return fixed;
}

struct StyleRunner::Impl {
  Impl(Graph g, Options o)
      : network(std::move(g)), options(o), fixed(with_fixed_statistics(network.graph())), local(fixed.graph) {
    const LayerTable table(local, {{1, 3, kProbe, kProbe}});
    for (const LayerInfo& layer : table.layers()) {
      for (const ReceptiveField* field : {&layer.rows, &layer.columns}) {
        if (!field->whole) step = std::max(step, static_cast<int64_t>(std::ceil(field->jump)));
      }
      if (layer.rows.whole || layer.columns.whole) {
        if (whole_layer.empty()) whole_layer = layer.name;
      } else if (layer.value == table.output()) {
        margin = static_cast<int64_t>(std::ceil(std::max(layer.rows.size, layer.columns.size) / 2));
      }
    }
    if (table.shape(table.output()).size() != 4 || table.shape(table.output())[1] != 3) {
      throw_unsupported(printable(network.graph().name) + ": its output " + shape_text(table.shape(table.output())) +
                        " is no picture [N,3,H,W]");
    }
    margin = up_to_multiple(margin, step) + step;  // fields need not be centered to the pixel
  }

  /// In the range of the network, and back.
  Tensor entered(const Tensor& display) const {
    return (display * (options.range.high - options.range.low) + options.range.low).contiguous();
  }
  Tensor left(const Tensor& out) const {
    return ((out - options.range.low) / (options.range.high - options.range.low)).clamp(0, 1);
  }
  /// Without what was padded.
  Tensor finished(const Tensor& out, int64_t height, int64_t width) const {
    if (out.size(2) < height || out.size(3) < width) {
      throw_unsupported(printable(network.graph().name) + ": a picture of " + std::to_string(width) + "x" +
                        std::to_string(height) + " became one of " + std::to_string(out.size(3)) + "x" +
                        std::to_string(out.size(2)));
    }
    return left(out.narrow(2, 0, height).narrow(3, 0, width)).contiguous();
  }

  struct Tile {
    Stretch rows, columns;
  };
  std::vector<Tile> tiles(const Tensor& x) const {
    if (x.size(2) * x.size(3) <= options.tile * options.tile) return {};
    if (!whole_layer.empty()) {
      throw_unsupported("a picture of " + std::to_string(x.size(3)) + "x" + std::to_string(x.size(2)) +
                        " needs tiles, but " + printable(whole_layer) +
                        " sees the whole picture; a larger --tile helps");
    }
    std::vector<Tile> all;
    for (const Stretch& rows : stretches(x.size(2), options.tile, margin, step)) {
      for (const Stretch& columns : stretches(x.size(3), options.tile, margin, step)) all.push_back({rows, columns});
    }
    return all;
  }
  static Tensor read(const Tensor& x, const Tile& tile) {
    return x.narrow(2, tile.rows.read_begin, tile.rows.read_end - tile.rows.read_begin)
        .narrow(3, tile.columns.read_begin, tile.columns.read_end - tile.columns.read_begin)
        .contiguous();
  }
  /// The part of a tile's map that is the tile's own.
  static Tensor own(const Tensor& map, const Tile& tile) {
    const auto part = [&](int64_t axis, const Stretch& s) {
      const int64_t read = s.read_end - s.read_begin, size = map.size(axis);
      const int64_t begin = (s.begin - s.read_begin) * size / read, end = (s.end - s.read_begin) * size / read;
      return std::pair<int64_t, int64_t>{begin, end - begin};
    };
    const auto [y, height] = part(2, tile.rows);
    const auto [x, width] = part(3, tile.columns);
    return map.narrow(2, y, height).narrow(3, x, width);
  }

  /// Statistics of one normalization after another, each over all tiles with those before it known.
  Values exact_statistics(const Tensor& x, const std::vector<Tile>& all, const Progress* progress) const {
    Values statistics;
    for (const FixedStatistics::Site& site : fixed.sites) {
      const Network now(fixed.graph.with_constants(statistics));
      Tensor sum, squares;
      double count = 0;
      for (const Tile& tile : all) {
        if (progress) progress->check();
        Request request;
        request.capture = {site.input};
        const Tensor map = own(now.run({read(x, tile)}, request).begin()->second, tile).to(at::kDouble);
        const Tensor one = map.sum({0, 2, 3}), two = map.square().sum({0, 2, 3});
        sum = sum.defined() ? sum + one : one;
        squares = squares.defined() ? squares + two : two;
        count += static_cast<double>(map.size(2) * map.size(3));
      }
      const Tensor mean = sum / count;
      statistics[site.mean] = mean.to(at::kFloat);
      statistics[site.variance] = (squares / count - mean.square()).clamp_min(0).to(at::kFloat);
    }
    return statistics;
  }

  /// Those of the picture reduced to one tile.
  Values reduced_statistics(const Tensor& x) const {
    const double shrink =
        std::sqrt(static_cast<double>(options.tile * options.tile) / static_cast<double>(x.size(2) * x.size(3)));
    const auto side = [&](int64_t length) {
      return std::max(step, static_cast<int64_t>(static_cast<double>(length) * shrink) / step * step);
    };
    const Tensor small = at::_upsample_bilinear2d_aa(x, {side(x.size(2)), side(x.size(3))}, false);
    Values statistics;
    std::vector<ValueId> inputs;
    for (const FixedStatistics::Site& site : fixed.sites) {
      inputs.push_back(network.graph().find(fixed.graph.value(site.input).name));
    }
    Request request;
    request.capture = inputs;
    const Values maps = network.run({small}, request);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto [variance, mean] = at::var_mean(maps.at(inputs[i]), {0, 2, 3}, /*unbiased=*/false);
      statistics[fixed.sites[i].mean] = mean;
      statistics[fixed.sites[i].variance] = variance;
    }
    return statistics;
  }

  static constexpr int64_t kProbe = 256;
  Network network;
  Options options;
  FixedStatistics fixed;
  Network local;
  int64_t step = 1, margin = 0;
  std::string whole_layer;
};

StyleRunner::StyleRunner(Graph graph, Options options) : impl_(std::make_unique<Impl>(std::move(graph), options)) {}
StyleRunner::~StyleRunner() = default;

StyleRunner::Repainted StyleRunner::repaint(const Tensor& display, const Progress* progress) const {
  const Impl& s = *impl_;
  const int64_t height = display.size(2), width = display.size(3);
  const Tensor x = s.entered(padded(display, s.step));
  const std::vector<Impl::Tile> tiles = s.tiles(x);
  if (tiles.empty()) return {s.finished(s.network.run(x)[0], height, width), 1};
  const Values statistics = s.options.exact ? s.exact_statistics(x, tiles, progress) : s.reduced_statistics(x);
  const Network now(s.fixed.graph.with_constants(statistics));
  const Tensor whole = at::empty_like(x);
  for (const Impl::Tile& tile : tiles) {
    if (progress) progress->check();
    const Tensor made = Impl::own(now.run(Impl::read(x, tile))[0], tile);
    whole.narrow(2, tile.rows.begin, made.size(2)).narrow(3, tile.columns.begin, made.size(3)).copy_(made);
  }
  return {s.finished(whole, height, width), static_cast<int64_t>(tiles.size())};
}

StyleRunner::Repainted StyleRunner::repaint(const Tensor& display, const std::vector<Region>& regions,
                                            const Progress* progress) const {
  const Impl& s = *impl_;
  const int64_t height = display.size(2), width = display.size(3);
  const Tensor x = s.entered(padded(display, s.step));
  std::vector<Impl::Tile> tiles = s.tiles(x);
  const auto count = static_cast<int64_t>(std::max<size_t>(1, tiles.size()));
  if (tiles.empty()) tiles.push_back({{0, x.size(2), 0, x.size(2)}, {0, x.size(3), 0, x.size(3)}});
  TensorList masks;
  for (const Region& region : regions) masks.push_back(padded(region.mask, s.step));
  const Tensor shares = at::cat(masks) / at::cat(masks).sum(0, /*keepdim=*/true).clamp_min(1);  // [R,1,H,W]

  const Graph& graph = s.network.graph();
  Request features;
  std::vector<ValueId> mixed;
  for (size_t level = 1; level <= num_adain_levels(graph); ++level) {
    features.capture.push_back(graph.find("content" + std::to_string(level)));
    mixed.push_back(graph.find("mixed" + std::to_string(level)));
  }
  const auto share_of = [&](const Tensor& part, const Tensor& map) {
    return at::adaptive_avg_pool2d(part, {map.size(2), map.size(3)});
  };
  // What every region is like now, over all tiles.
  struct Sums {
    Tensor count, one, two;  // [R,1,1,1], [R,C,1,1]
  };
  std::vector<Sums> sums(mixed.size());
  for (const Impl::Tile& tile : tiles) {
    if (progress) progress->check();
    const Values maps = s.network.run({Impl::read(x, tile)}, features);
    for (size_t level = 0; level < mixed.size(); ++level) {
      const Tensor& whole = maps.at(features.capture[level]);
      const Tensor share = Impl::own(share_of(Impl::read(shares, tile), whole), tile).to(at::kDouble);
      const Tensor map = Impl::own(whole, tile).to(at::kDouble);
      const auto add = [&](Tensor& sum, const Tensor& part) {
        const Tensor more = part.sum({2, 3}, /*keepdim=*/true);
        sum = sum.defined() ? sum + more : more;
      };
      add(sums[level].count, share);
      add(sums[level].one, share * map);
      add(sums[level].two, share * map.square());
    }
  }
  std::vector<Tensor> factor(mixed.size()), offset(mixed.size());  // [R,C,1,1], of the change
  for (size_t level = 0; level < mixed.size(); ++level) {
    const Tensor positions = sums[level].count.clamp_min(1e-6), mean = sums[level].one / positions;
    const Tensor deviation = ((sums[level].two / positions - mean.square()).clamp_min(0) + kAdainEpsilon).sqrt();
    TensorList factors, offsets;
    for (size_t r = 0; r < regions.size(); ++r) {
      const auto i = static_cast<int64_t>(r);
      const Tensor scale = regions[r].deviation[level][0] / deviation[i];
      factors.push_back((scale - 1) * regions[r].alpha);
      offsets.push_back((regions[r].mean[level][0] - scale * mean[i]) * regions[r].alpha);
    }
    factor[level] = at::stack(factors).to(at::kFloat);
    offset[level] = at::stack(offsets).to(at::kFloat);
  }
  const Tensor whole = at::empty_like(x);
  for (const Impl::Tile& tile : tiles) {
    if (progress) progress->check();
    const Tensor part = Impl::read(x, tile);
    const Values maps = s.network.run({part}, features);
    Request request;
    request.capture.push_back(graph.outputs().front());
    for (size_t level = 0; level < mixed.size(); ++level) {
      const Tensor& map = maps.at(features.capture[level]);
      const Tensor change = share_of(Impl::read(shares, tile), map) * (factor[level] * map + offset[level]);
      request.from[mixed[level]] = map + change.sum(0, /*keepdim=*/true);
    }
    const Tensor made = Impl::own(s.network.run({part}, request).begin()->second, tile);
    whole.narrow(2, tile.rows.begin, made.size(2)).narrow(3, tile.columns.begin, made.size(3)).copy_(made);
  }
  return {s.finished(whole, height, width), count};
}

}  // namespace pellucid
