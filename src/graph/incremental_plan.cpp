#include "graph/incremental_plan.h"

#include <algorithm>
#include <limits>
#include <set>

namespace pellucid {

namespace {

/// Dense layers take differences only while these touch less than this share of the map: they use the weights once per
/// position instead of once per batch.
constexpr double kDenseShare = 0.5;
/// Bringing a weight into a convolution's layout costs about as much as this many multiplications.
constexpr double kReorderCost = 100;

/// Ranges of `count` things in pieces of at most `most`, as equal as can be.
std::vector<std::pair<size_t, size_t>> pieces(size_t count, size_t most) {
  const size_t number = (count + most - 1) / most;
  std::vector<std::pair<size_t, size_t>> result;
  for (size_t begin = 0; begin < count; begin += most) result.emplace_back(begin, std::min(count, begin + most));
  TORCH_INTERNAL_ASSERT(result.size() == number);
  return result;
}

}  // namespace

IncrementalPasses::CleanPass::CleanPass(const Network& network, ValueId until)
    : net(*network.impl_), target(until), plan(net.plan_for(net.key_for({}, {until}, {}, false))) {
  rules.resize(plan->steps.size());
}

TensorList IncrementalPasses::CleanPass::call(const Step& step, const Node& node, TensorList& in,
                                              const PackedConvolutions* packed) const {
  OpCall c{node, in};
  c.promote = net.promote;
  c.device = net.device;
  const bool weights_stay =
      node.inputs.size() > 1 && node.inputs[1] != kNoValue && constant(node.inputs[1]).defined() &&
      (node.inputs.size() < 3 || node.inputs[2] == kNoValue || constant(node.inputs[2]).defined());
  if (net.channels_last && weights_stay) c.packed = packed;
  const at::NoGradGuard no_grad;
  return call_op(net.graph.name, *step.op, c);
}

bool IncrementalPasses::CleanPass::run(const Tensor& picture, int64_t budget) {
  kept.resize(plan->num_values);
  shapes.resize(plan->num_values);
  input = net.graph.inputs()[0].value;
  kept[static_cast<size_t>(input)] = net.prepared(picture);
  shapes[static_cast<size_t>(input)] = picture.sizes().vec();
  int64_t bytes = 0;
  for (size_t s = 0; s < plan->steps.size(); ++s) {
    const Step& step = plan->steps[s];
    const Node& node = *step.node;
    if (node.op == "Transpose" && node.inputs[0] == input) {
      if (s != 0 || !step.last_use[0] || node.integers("perm") != std::vector<int64_t>{0, 3, 1, 2}) return false;
      first_step = 1;  // the passes begin with its result
    }
    TensorList in;
    for (const ValueId id : node.inputs)
      in.push_back(id == kNoValue ? Tensor() : is_computed(id) ? clean(id) : constant(id));
    const TensorList inputs = in;
    TensorList out = call(step, node, in, &net.caches.packed);
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      const ValueId id = node.outputs[j];
      if (id == kNoValue) continue;
      kept[static_cast<size_t>(id)] = prepared_map(out[j]);
      shapes[static_cast<size_t>(id)] = out[j].sizes().vec();
      bytes += bytes_of(out[j]);
    }
    rules[s] = change_rule(node, inputs, out[0], [this](ValueId id) { return is_computed(id); });
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      // What only an element-wise step reads is never read again.
      if (step.last_use[j] && rules[s].kind == ChangeKind::kPointwise && num_computed(node) == 1 &&
          node.inputs[j] != input && is_computed(node.inputs[j]) && readers(node.inputs[j]) == 1) {
        bytes -= bytes_of(clean(node.inputs[j]));
        kept[static_cast<size_t>(node.inputs[j])] = Tensor();
      }
    }
    for (const ValueId id : step.unused) kept[static_cast<size_t>(id)] = Tensor();
    if (bytes > budget) return false;
  }
  if (first_step == 1) input = plan->steps[0].node->outputs[0];
  return clean(input).dim() == 4;
}

int64_t IncrementalPasses::CleanPass::num_computed(const Node& node) const {
  return std::count_if(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return is_computed(id); });
}

int64_t IncrementalPasses::CleanPass::readers(ValueId id) const {
  int64_t count = 0;
  for (const Step& step : plan->steps) count += std::count(step.node->inputs.begin(), step.node->inputs.end(), id);
  return count;
}

int64_t IncrementalPasses::CleanPass::kept_bytes() const {
  int64_t bytes = 0;
  std::set<const void*> seen;
  for (const Tensor& t : kept) {
    if (t.defined() && seen.insert(t.data_ptr()).second) bytes += bytes_of(t);
  }
  return bytes;
}

double IncrementalPasses::CleanPass::multiplications() const {
  double sum = 0;
  for (const ChangeRule& rule : rules) sum += rule.multiplications;
  return sum;
}

IncrementalPasses::BlockPlan::BlockPlan(const CleanPass& clean, const std::vector<Window>& changed,
                                        const Options& options)
    : c_(clean), options_(options) {
  choose(changed);
}

// Ways to cut the grid of windows are compared by memory and predicted time.
void IncrementalPasses::BlockPlan::choose(const std::vector<Window>& changed) {
  std::set<std::pair<int64_t, int64_t>> ys, xs;
  for (const Window& w : changed) {
    ys.emplace(w.top, w.top + w.height);
    xs.emplace(w.left, w.left + w.width);
  }
  const std::vector<std::pair<int64_t, int64_t>> y(ys.begin(), ys.end()), x(xs.begin(), xs.end());
  double best = std::numeric_limits<double>::infinity();
  for (const auto& [edge_y, edge_x] : std::vector<std::pair<size_t, size_t>>{
           {6, 6}, {5, 5}, {4, 8}, {4, 6}, {4, 5}, {4, 4}, {3, 4}, {3, 3}, {2, 4}, {2, 2}, {1, 2}, {1, 1}}) {
    if (static_cast<int64_t>(edge_y * edge_x) > options_.most_rows) continue;
    // Smaller cuts only when larger ones do not fit: a batch of few rows wastes the processor.
    if (best < std::numeric_limits<double>::infinity() && edge_y * edge_x < 16) break;
    std::vector<Block> made = cut(changed, y, x, edge_y, edge_x);
    double cost = 0;
    std::set<std::vector<int64_t>> signatures;
    int64_t most = 0;
    for (const Block& b : made) {
      cost += b.multiplications;
      most = std::max(most, b.bytes);
      signatures.insert(b.signature);
    }
    cost += static_cast<double>(signatures.size()) * kReorderCost * static_cast<double>(num_weights());
    const int64_t bytes = most + c_.kept_bytes() + packed_bytes();
    if (bytes > options_.memory_budget || cost >= best) continue;
    best = cost;
    planned_ = bytes;
    blocks_ = std::move(made);
  }
  std::stable_sort(blocks_.begin(), blocks_.end(),
                   [](const Block& a, const Block& b) { return a.signature < b.signature; });
}

int64_t IncrementalPasses::BlockPlan::num_weights() const {
  int64_t count = 0;
  for (const Step& step : c_.plan->steps) {
    if (step.node->op == "Conv" && !c_.is_computed(step.node->inputs[1]))
      count += c_.constant(step.node->inputs[1]).numel();
  }
  return count;
}

/// Weights in the layout of one block's shapes.
int64_t IncrementalPasses::BlockPlan::packed_bytes() const {
  return c_.net.channels_last ? num_weights() * static_cast<int64_t>(c10::elementSize(c_.net.promote)) : 0;
}

std::vector<Block> IncrementalPasses::BlockPlan::cut(const std::vector<Window>& changed, const Places& y,
                                                     const Places& x, size_t edge_y, size_t edge_x) {
  std::map<std::pair<int64_t, int64_t>, size_t> index_y, index_x;
  for (size_t i = 0; i < y.size(); ++i) index_y[y[i]] = i;
  for (size_t i = 0; i < x.size(); ++i) index_x[x[i]] = i;
  const auto pieces_y = pieces(y.size(), edge_y), pieces_x = pieces(x.size(), edge_x);
  std::vector<Block> all(pieces_y.size() * pieces_x.size());
  for (size_t v = 0; v < changed.size(); ++v) {
    const Window& w = changed[v];
    const size_t i = index_y.at({w.top, w.top + w.height}), j = index_x.at({w.left, w.left + w.width});
    const size_t most = edge_y * edge_x;
    Block& block = all[i / edge_y * pieces_x.size() + j / edge_x];
    TORCH_CHECK(block.variants.size() < most, "the same window is given twice");
    block.variants.push_back(v);
    block.at_y.push_back(i % edge_y);
    block.at_x.push_back(j % edge_x);
  }
  std::vector<Block> result;
  for (size_t b = 0; b < all.size(); ++b) {
    if (all[b].variants.empty()) continue;
    const auto range_y = pieces_y[b / pieces_x.size()], range_x = pieces_x[b % pieces_x.size()];
    follow(all[b], Places(y.begin() + static_cast<long>(range_y.first), y.begin() + static_cast<long>(range_y.second)),
           Places(x.begin() + static_cast<long>(range_x.first), x.begin() + static_cast<long>(range_x.second)));
    result.push_back(std::move(all[b]));
  }
  return result;
}

/// How far the block's windows reach at every value, and what that costs.
void IncrementalPasses::BlockPlan::follow(Block& block, const Places& y, const Places& x) {
  block.reach.assign(c_.plan->num_values, {});
  Reach& first = block.reach[static_cast<size_t>(c_.input)];
  first.what = Reach::kPart;
  for (size_t a = 0; a < 2; ++a) {
    std::vector<int64_t> low, high;
    for (const auto& place : a == 0 ? y : x) {
      low.push_back(place.first);
      high.push_back(place.second);
    }
    first.span[a] = Span::of(std::move(low), std::move(high), c_.axis_size(c_.input, a));
  }
  const auto rows = static_cast<int64_t>(block.variants.size());
  block.signature = {rows, first.span[0].length, first.span[1].length};
  int64_t alive = value_bytes(block, c_.input);
  for (size_t s = c_.first_step; s < c_.plan->steps.size(); ++s) {
    const Step& step = c_.plan->steps[s];
    const Reach reach = reach_of(block, s);
    if (reach.what == Reach::kNothing) continue;
    double share = 1;
    int64_t made = 0;
    for (const ValueId out : step.node->outputs) {
      if (out == kNoValue) continue;
      block.reach[static_cast<size_t>(out)] = reach;
      made += value_bytes(block, out);
    }
    if (reach.what == Reach::kPart) {
      const ValueId out = step.node->outputs[0];
      share = static_cast<double>(reach.span[0].length * reach.span[1].length) /
              static_cast<double>(c_.axis_size(out, 0) * c_.axis_size(out, 1));
      block.signature.insert(block.signature.end(), {reach.span[0].length, reach.span[1].length});
    } else if (c_.rules[s].kind == ChangeKind::kDense) {
      share = dense_share(block, step);
    }
    block.multiplications += c_.rules[s].multiplications * share * static_cast<double>(rows);
    // Windows gathered for this step, and its result, live beside what waits for later.
    int64_t gathered = 0;
    for (size_t j = 0; j < step.node->inputs.size(); ++j) {
      const ValueId in = step.node->inputs[j];
      if (c_.is_computed(in)) gathered += std::max(read_bytes(block, s, in, reach), value_bytes(block, in));
    }
    block.bytes = std::max(block.bytes, alive + gathered + made);
    alive += made;
    for (size_t j = 0; j < step.node->inputs.size(); ++j) {
      if (step.last_use[j] && c_.is_computed(step.node->inputs[j])) alive -= value_bytes(block, step.node->inputs[j]);
    }
  }
}

double IncrementalPasses::BlockPlan::dense_share(const Block& block, const Step& step) const {
  const Reach& in = block.reach[static_cast<size_t>(step.node->inputs[0])];
  if (in.what != Reach::kFlat) return 1;
  const ValueId map = flat_source_.at(step.node->inputs[0]);
  return static_cast<double>(in.span[0].length * in.span[1].length) /
         static_cast<double>(c_.axis_size(map, 0) * c_.axis_size(map, 1));
}

int64_t IncrementalPasses::BlockPlan::whole_bytes(const Block& block, ValueId id) const {
  const int64_t numel = c10::multiply_integers(c_.shapes[static_cast<size_t>(id)]);
  return numel * static_cast<int64_t>(block.variants.size()) *
         static_cast<int64_t>(
             c10::elementSize(c_.net.promote == at::ScalarType::Undefined ? at::kFloat : c_.net.promote));
}

int64_t IncrementalPasses::BlockPlan::value_bytes(const Block& block, ValueId id) const {
  const Reach& r = block.reach[static_cast<size_t>(id)];
  if (r.what == Reach::kNothing || r.what == Reach::kFlat) return 0;
  if (r.what == Reach::kAll) return whole_bytes(block, id);
  return whole_bytes(block, id) / (c_.axis_size(id, 0) * c_.axis_size(id, 1)) * r.span[0].length * r.span[1].length;
}

int64_t IncrementalPasses::BlockPlan::read_bytes(const Block& block, size_t s, ValueId in, const Reach& out) const {
  const Reach& r = block.reach[static_cast<size_t>(in)];
  if (r.what != Reach::kPart) return 0;
  if (out.what == Reach::kAll)
    return c_.rules[s].kind == ChangeKind::kGlobalMean ? value_bytes(block, in) : whole_bytes(block, in);
  if (out.what != Reach::kPart || c_.rules[s].kind != ChangeKind::kSliding) return 0;
  return whole_bytes(block, in) / (c_.axis_size(in, 0) * c_.axis_size(in, 1)) *
         c_.rules[s].sliding[0].read_length(out.span[0]) * c_.rules[s].sliding[1].read_length(out.span[1]);
}

bool IncrementalPasses::BlockPlan::is_most(const std::array<Span, 2>& span, ValueId id) const {
  return static_cast<double>(span[0].length * span[1].length) >=
         options_.whole_share * static_cast<double>(c_.axis_size(id, 0) * c_.axis_size(id, 1));
}

Reach IncrementalPasses::BlockPlan::reach_of(const Block& block, size_t s) {
  const Step& step = c_.plan->steps[s];
  const ValueId out = step.node->outputs[0];
  Reach result;
  bool all = false, flat = false;
  const Reach* part = nullptr;
  bool several = false;
  for (const ValueId id : step.node->inputs) {
    if (!c_.is_computed(id)) continue;
    const Reach& r = block.reach[static_cast<size_t>(id)];
    all = all || r.what == Reach::kAll;
    flat = flat || r.what == Reach::kFlat;
    if (r.what != Reach::kPart && r.what != Reach::kFlat) continue;
    several = several || part != nullptr;
    if (!part)
      result.span = r.span;
    else if (r.what == Reach::kPart && c_.rules[s].kind == ChangeKind::kPointwise) {
      for (size_t a = 0; a < 2; ++a) result.span[a] = united(result.span[a], r.span[a], c_.axis_size(id, a));
    }
    part = &r;
  }
  if (!all && !part) return {};
  result.what = Reach::kAll;
  if (all) return result;
  switch (c_.rules[s].kind) {
    case ChangeKind::kPointwise:
      if (!flat && !(several && is_most(result.span, out))) result.what = Reach::kPart;
      break;
    case ChangeKind::kSliding:
      for (size_t a = 0; a < 2; ++a) result.span[a] = c_.rules[s].sliding[a].through(part->span[a]);
      if (!is_most(result.span, out)) result.what = Reach::kPart;
      break;
    case ChangeKind::kFlatten:
      flat_source_[out] = step.node->inputs[0];
      result.what = Reach::kFlat;
      break;
    default:
      break;  // kGlobalMean and kDense change all of their result
  }
  return result;
}

bool IncrementalPasses::BlockPlan::takes_difference(const Block& block, const Step& step) const {
  return dense_share(block, step) < kDenseShare &&
         bytes_of(c_.constant(step.node->inputs[1])) <= options_.memory_budget / 8;
}

std::vector<char> IncrementalPasses::BlockPlan::read_values() const {
  std::vector<char> read(c_.plan->num_values, 0);
  const auto mark = [&](ValueId id) {
    if (c_.is_computed(id)) read[static_cast<size_t>(id)] = 1;
  };
  mark(c_.input);
  for (const Block& block : blocks_) {
    for (size_t s = c_.first_step; s < c_.plan->steps.size(); ++s) {
      const Node& node = *c_.plan->steps[s].node;
      const Reach::What out = block.reach[static_cast<size_t>(node.outputs[0])].what;
      if (out == Reach::kNothing) continue;
      if (c_.rules[s].kind == ChangeKind::kGlobalMean || c_.rules[s].kind == ChangeKind::kDense) mark(node.outputs[0]);
      for (const ValueId id : node.inputs) {
        if (!c_.is_computed(id) || block.reach[static_cast<size_t>(id)].what == Reach::kAll) continue;
        mark(id);
        const auto source = flat_source_.find(id);
        if (source != flat_source_.end()) mark(source->second);
      }
    }
  }
  return read;
}

double IncrementalPasses::BlockPlan::multiplications() const {
  double sum = 0;
  for (const Block& block : blocks_) sum += block.multiplications;
  return sum;
}

ValueId IncrementalPasses::BlockPlan::flat_source(ValueId id) const {
  const auto found = flat_source_.find(id);
  return found == flat_source_.end() ? kNoValue : found->second;
}

}  // namespace pellucid
