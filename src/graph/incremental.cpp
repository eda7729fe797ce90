#include "graph/incremental.h"

#include <array>
#include <map>
#include <utility>

#include "graph/incremental_plan.h"

namespace pellucid {

struct IncrementalPasses::Impl {
  Impl(const Network& network, const Tensor& picture, ValueId until, const std::vector<Window>& changed,
       const Options& options)
      : c(network, until), num_variants(changed.size()) {
    if (!c.run(picture, options.memory_budget / 2)) return;
    plan = std::make_unique<BlockPlan>(c, changed, options);
    if (plan->blocks().empty()) return;
    const std::vector<char> read = plan->read_values();
    for (size_t id = 0; id < c.kept.size(); ++id) {
      if (!read[id] && static_cast<ValueId>(id) != until) c.kept[id] = Tensor();
    }
    worthwhile = work_share() < 0.9;
  }

  double work_share() const {
    const double plain = c.multiplications() * static_cast<double>(num_variants);
    return (c.multiplications() + plan->multiplications()) / plain;
  }

  struct Pass {
    const Block& block;
    TensorList current;  ///< By value id: crops [n,C,h,w] or whole values [n,...].
    const PackedConvolutions* packed;
  };

  static std::vector<int64_t> by_variant(const std::vector<int64_t>& places, const std::vector<size_t>& at) {
    std::vector<int64_t> result;
    for (const size_t i : at) result.push_back(places[i]);
    return result;
  }

  /// Windows of a value, with the block's own crops in place.
  Tensor windows(const Pass& pass, ValueId id, const std::vector<int64_t>& y, const std::vector<int64_t>& x,
                 int64_t height, int64_t width, double padding) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    const Tensor& now = pass.current[static_cast<size_t>(id)];
    const Tensor crops = now.defined() ? prepared_map(now) : now;
    const Tensor map = prepared_map(c.clean(id));
    WindowRead read{map,    crops, {},     {}, by_variant(y, pass.block.at_y), by_variant(x, pass.block.at_x),
                    height, width, padding};
    if (r.what == Reach::kPart) {
      read.crop_y = by_variant(r.span[0].start, pass.block.at_y);
      read.crop_x = by_variant(r.span[1].start, pass.block.at_x);
    }
    return read_windows(read);
  }

  /// A value over the spans of `wanted`; the crops themselves when they are there.
  Tensor over(const Pass& pass, ValueId id, const std::array<Span, 2>& wanted) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    if (r.what == Reach::kPart && r.span[0].same_place(wanted[0]) && r.span[1].same_place(wanted[1]))
      return pass.current[static_cast<size_t>(id)];
    return windows(pass, id, wanted[0].start, wanted[1].start, wanted[0].length, wanted[1].length, 0);
  }

  Tensor whole(const Pass& pass, ValueId id) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    if (r.what == Reach::kAll) return pass.current[static_cast<size_t>(id)];
    if (r.what == Reach::kNothing) return c.clean(id);
    if (r.what == Reach::kFlat) return whole(pass, plan->flat_source(id)).contiguous().flatten(1);
    const std::vector<int64_t> zeros_y(r.span[0].start.size(), 0), zeros_x(r.span[1].start.size(), 0);
    return windows(pass, id, zeros_y, zeros_x, c.axis_size(id, 0), c.axis_size(id, 1), 0);
  }

  /// What the crops change: crop - clean, [n,C,h,w].
  Tensor difference(const Pass& pass, ValueId id) const {
    const Reach& r = pass.block.reach[static_cast<size_t>(id)];
    const Tensor map = prepared_map(c.clean(id));
    const Tensor none;
    const WindowRead read{map,
                          none,
                          {},
                          {},
                          by_variant(r.span[0].start, pass.block.at_y),
                          by_variant(r.span[1].start, pass.block.at_x),
                          r.span[0].length,
                          r.span[1].length,
                          0};
    return pass.current[static_cast<size_t>(id)] - read_windows(read);
  }

  /// Clean mean + sum of differences / positions.
  Tensor global_mean(const Pass& pass, const Node& node) const {
    const ValueId id = node.inputs[0];
    const auto positions = static_cast<double>(c.axis_size(id, 0) * c.axis_size(id, 1));
    const Tensor change = difference(pass, id).sum({2, 3}, false, at::kDouble) / positions;
    const Tensor& before = c.clean(node.outputs[0]);
    Shape shape = before.sizes().vec();
    const Tensor after = before.to(at::kDouble).flatten().unsqueeze(0) + change;
    shape[0] = after.size(0);
    return after.view(shape).to(before.scalar_type());
  }

  /// Clean result + weight * difference, position by position of the map that was flattened.
  Tensor dense(const Pass& pass, const Node& node) const {
    const ValueId map = plan->flat_source(node.inputs[0]);
    const Reach& r = pass.block.reach[static_cast<size_t>(map)];
    const Shape& shape = c.shapes[static_cast<size_t>(map)];
    const Tensor& given = c.constant(node.inputs[1]);
    const bool transposed = node.op == "Gemm" && node.integer("transB", 0) != 0;
    const Tensor weight = (transposed ? given.t() : given).view_as(transposed ? given.t() : given);
    const Tensor by_channel = weight.unflatten(0, {shape[1], shape[2] * shape[3]});  // [C,H*W,K]
    const Tensor change = difference(pass, map).permute({2, 3, 0, 1}).contiguous();  // [h,w,n,C]
    const auto rows = static_cast<int64_t>(pass.block.variants.size());
    Tensor sum = at::zeros({rows, weight.size(1)}, at::kDouble);
    // By position of the map: which variants cover it, and which element of their crop that is.
    std::map<int64_t, std::pair<std::vector<int64_t>, std::vector<int64_t>>> covers;
    for (int64_t n = 0; n < rows; ++n) {
      const auto v = static_cast<size_t>(n);
      const int64_t top = r.span[0].start[pass.block.at_y[v]], left = r.span[1].start[pass.block.at_x[v]];
      for (int64_t y = 0; y < r.span[0].length; ++y) {
        for (int64_t x = 0; x < r.span[1].length; ++x) {
          auto& [who, element] = covers[(top + y) * shape[3] + left + x];
          who.push_back(n);
          element.push_back((y * r.span[1].length + x) * rows + n);
        }
      }
    }
    const Tensor elements = change.flatten(0, 2);
    for (const auto& [position, cover] : covers) {
      const Tensor product =
          at::matmul(elements.index_select(0, at::tensor(cover.second, at::kLong)), by_channel.select(1, position));
      sum.index_add_(0, at::tensor(cover.first, at::kLong), product.to(at::kDouble));
    }
    const double alpha = node.op == "Gemm" ? node.real("alpha", 1) : 1;
    const Tensor& before = c.clean(node.outputs[0]);
    return (before.to(at::kDouble) + sum * alpha).to(before.scalar_type());
  }

  Tensor slide(Pass& pass, const Step& step, const ChangeRule& how, const Reach& out) const {
    const Node& node = *step.node;
    const std::vector<int64_t> y = how.sliding[0].read_start(out.span[0]), x = how.sliding[1].read_start(out.span[1]);
    const int64_t height = how.sliding[0].read_length(out.span[0]), width = how.sliding[1].read_length(out.span[1]);
    const Reach& r = pass.block.reach[static_cast<size_t>(node.inputs[0])];
    const bool same =
        r.span[0].start == y && r.span[1].start == x && r.span[0].length == height && r.span[1].length == width;
    Tensor read = same ? pass.current[static_cast<size_t>(node.inputs[0])]
                       : windows(pass, node.inputs[0], y, x, height, width, how.padding);
    if (node.op == "Pad") return read;
    TensorList in{std::move(read)};
    for (size_t j = 1; j < node.inputs.size(); ++j)
      in.push_back(node.inputs[j] == kNoValue ? Tensor() : c.constant(node.inputs[j]));
    Tensor result = c.call(step, *how.node, in, pass.packed)[0];
    if (how.scale[0].empty()) return result;
    std::array<Tensor, 2> scale;
    for (size_t a = 0; a < 2; ++a) {
      std::vector<double> factors;
      for (const size_t place : a == 0 ? pass.block.at_y : pass.block.at_x) {
        for (int64_t i = 0; i < out.span[a].length; ++i)
          factors.push_back(how.scale[a][static_cast<size_t>(out.span[a].start[place] + i)]);
      }
      const auto rows = static_cast<int64_t>(pass.block.variants.size());
      scale[a] = at::tensor(factors, result.options()).view(a == 0 ? Shape{rows, 1, -1, 1} : Shape{rows, 1, 1, -1});
    }
    return result * (scale[0] * scale[1]);
  }

  TensorList step_outputs(Pass& pass, size_t s, const Reach& out) const {
    const Step& step = c.plan->steps[s];
    const Node& node = *step.node;
    const auto what = [&](size_t j) { return pass.block.reach[static_cast<size_t>(node.inputs[j])].what; };
    if (out.what == Reach::kPart && c.rules[s].kind == ChangeKind::kSliding)
      return {slide(pass, step, c.rules[s], out)};
    if (c.rules[s].kind == ChangeKind::kGlobalMean && what(0) == Reach::kPart) return {global_mean(pass, node)};
    if (c.rules[s].kind == ChangeKind::kDense && what(0) == Reach::kFlat && plan->takes_difference(pass.block, step))
      return {dense(pass, node)};
    TensorList in;
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      const ValueId id = node.inputs[j];
      if (id == kNoValue || c.constant(id).defined()) {
        in.push_back(id == kNoValue ? Tensor() : c.constant(id));
      } else {
        in.push_back(out.what == Reach::kPart ? over(pass, id, out.span) : whole(pass, id));
        if (node.op == "Concat" && what(j) == Reach::kNothing && out.what == Reach::kAll) {
          Shape shape = in[j].sizes().vec();
          shape[0] = static_cast<int64_t>(pass.block.variants.size());
          in[j] = in[j].expand(shape);
        }
      }
    }
    release(pass, step);
    return c.call(step, node, in, pass.packed);
  }

  /// Lets go of what nobody reads after this step, so that it may be overwritten in place.
  void release(Pass& pass, const Step& step) const {
    for (size_t j = 0; j < step.node->inputs.size(); ++j) {
      const ValueId id = step.node->inputs[j];
      if (!step.last_use[j] || !c.is_computed(id)) continue;
      const ValueId source = plan->flat_source(id);
      pass.current[static_cast<size_t>(id)] = Tensor();
      if (source != kNoValue) pass.current[static_cast<size_t>(source)] = Tensor();
    }
  }

  Tensor run_block(const Block& block, const Paint& paint, const PackedConvolutions* packed,
                   const Progress* progress) const {
    Pass pass{block, TensorList(c.plan->num_values), packed};
    const Reach& first = block.reach[static_cast<size_t>(c.input)];
    TensorList crops;
    for (size_t i = 0; i < block.variants.size(); ++i) {
      crops.push_back(paint(block.variants[i], {first.span[0].start[block.at_y[i]], first.span[1].start[block.at_x[i]],
                                                first.span[0].length, first.span[1].length}));
    }
    pass.current[static_cast<size_t>(c.input)] = prepared_map(c.net.prepared(at::stack(crops)));
    for (size_t s = c.first_step; s < c.plan->steps.size(); ++s) {
      if (progress) progress->check();
      const Step& step = c.plan->steps[s];
      const Reach& out = block.reach[static_cast<size_t>(step.node->outputs[0])];
      if (out.what == Reach::kNothing) continue;
      if (out.what == Reach::kFlat) continue;  // its map stays alive in its place
      TensorList made = step_outputs(pass, s, out);
      for (size_t j = 0; j < step.node->outputs.size(); ++j) {
        if (step.node->outputs[j] != kNoValue)
          pass.current[static_cast<size_t>(step.node->outputs[j])] = std::move(made[j]);
      }
      for (const ValueId id : step.unused) pass.current[static_cast<size_t>(id)] = Tensor();
      release(pass, step);
    }
    const Reach& last = block.reach[static_cast<size_t>(c.target)];
    if (last.what == Reach::kNothing) {
      Shape shape = c.clean(c.target).sizes().vec();
      shape[0] = static_cast<int64_t>(block.variants.size());
      return c.clean(c.target).expand(shape);
    }
    return whole(pass, c.target);
  }

  CleanPass c;
  std::unique_ptr<BlockPlan> plan;
  size_t num_variants;
  bool worthwhile = false;
};

IncrementalPasses::IncrementalPasses(const Network& network, const Tensor& clean, ValueId until,
                                     const std::vector<Window>& changed, const Options& options) {
  const std::vector<GraphInput>& inputs = network.graph().inputs();
  if (!network.device().is_cpu() || !network.batches_safely() || clean.dim() != 4 || changed.empty() ||
      inputs.size() != 1 || until == inputs[0].value || !at::isFloatingType(inputs[0].type)) {
    return;
  }
  impl_ = std::make_unique<Impl>(network, clean, until, changed, options);
  if (!impl_->worthwhile) impl_.reset();
}

const NodeCaches& IncrementalPasses::caches_of(const Network& network) { return network.impl_->caches; }

IncrementalPasses::~IncrementalPasses() = default;

bool IncrementalPasses::worthwhile() const { return impl_ != nullptr; }

double IncrementalPasses::work_share() const { return impl_ ? impl_->work_share() : 1; }

int64_t IncrementalPasses::planned_bytes() const { return impl_ ? impl_->plan->planned_bytes() : 0; }

void IncrementalPasses::run(const Paint& paint, const Use& use, const Progress* progress) const {
  TORCH_CHECK(impl_, "IncrementalPasses::run where it is not worthwhile");
  // One copy of the weights in the layout of the current shapes.
  auto packed = std::make_unique<PackedConvolutions>();
  const std::vector<int64_t>* shape = nullptr;
  for (const Block& block : impl_->plan->blocks()) {
    if (shape && *shape != block.signature) packed = std::make_unique<PackedConvolutions>();
    shape = &block.signature;
    use(block.variants, impl_->run_block(block, paint, packed.get(), progress));
  }
}

}  // namespace pellucid
