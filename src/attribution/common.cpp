// What the methods share: passes, reductions, noise.

#include <ATen/CPUGeneratorImpl.h>

#include <numeric>
#include <set>

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

ValueId input_value(const Context& context) { return context.network.graph().inputs().front().value; }

int64_t num_images(const Context& context) { return context.input.size(0); }

std::vector<int64_t> all_rows(const Context& context) {
  std::vector<int64_t> rows(static_cast<size_t>(num_images(context)));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::pair<int64_t, int64_t> input_size(const Context& context) {
  const int64_t first = context.card.channels_first ? 2 : 1;
  return {context.input.size(first), context.input.size(first + 1)};
}

Tensor to_planes(const Context& context, const Tensor& pictures) {
  return context.card.channels_first ? pictures : pictures.permute({0, 3, 1, 2});
}
Tensor from_planes(const Context& context, const Tensor& planes) {
  return context.card.channels_first ? planes : planes.permute({0, 2, 3, 1});
}

int64_t rows_within_budget(const Context& context, ValueId at) {
  if (!context.network.batches_safely()) return 1;
  // What a row keeps alive is at its peak about twice the largest pair of values a node reads and writes.
  const Graph& graph = context.network.graph();
  const auto num_elements = [&](ValueId id) {
    return std::max<int64_t>(0, c10::multiply_integers(context.layers.shape(id)));  // {-1}: never run
  };
  std::set<ValueId> downstream{at};
  int64_t peak = 1;
  for (const Node& node : graph.nodes()) {
    int64_t touched = 0;
    bool reached = false;
    for (const ValueId id : node.inputs) {
      if (downstream.count(id) == 0) continue;
      reached = true;
      touched += num_elements(id);
    }
    if (!reached) continue;
    for (const ValueId id : node.outputs) {
      downstream.insert(id);
      touched += num_elements(id);
    }
    peak = std::max(peak, touched);
  }
  const auto bytes = static_cast<double>(at::elementSize(context.network.dtype()));
  const auto batch = static_cast<double>(std::max<int64_t>(1, context.layers.shape(input_value(context)).at(0)));
  const double rows = batch * static_cast<double>(context.memory_budget) / (2 * bytes * static_cast<double>(peak));
  return static_cast<int64_t>(std::clamp(rows, 1.0, 64.0));
}

int64_t rows_per_pass(const Context& context) {
  return context.network.batches_safely() ? std::max<int64_t>(1, context.batch_size) : 1;
}

GradientResult gradients(const Context& context, const GradientRequest& request) {
  const int64_t total = request.input.size(0);
  const int64_t step = rows_per_pass(context);
  GradientResult result;
  TensorList score_parts, start_parts;
  std::map<ValueId, TensorList> value_parts, gradient_parts;
  for (int64_t begin = 0; begin < total; begin += step) {
    const int64_t count = std::min(step, total - begin);
    const BoundTarget target =
        context.target.rows(std::vector<int64_t>(request.rows.begin() + begin, request.rows.begin() + begin + count));
    Network::RecordRequest record;
    record.wrt = request.wrt;
    record.until = {target.value()};
    record.keep_all = request.keep_all;
    const Tape tape = context.network.record({request.input.narrow(0, begin, count)}, record, context.progress);
    const Tensor& value = tape.value(target.value());
    score_parts.push_back(target.score(value));
    Tensor seed = target.seed(value);
    if (request.from_score) seed = seed * value;
    start_parts.push_back(seed.reshape({count, -1}).sum(1, false, at::kDouble));
    Gradients found = tape.backward({{target.value(), seed}}, request.wrt, request.rules);
    for (const ValueId id : request.wrt) {
      value_parts[id].push_back(tape.value(id));
      Tensor gradient = found.values.at(id);
      if (!gradient.defined()) {
        if (id != input_value(context)) {
          throw_usage("layer '" + printable(context.layers.layer(id).name) + "' does not influence the target");
        }
        gradient = at::zeros_like(tape.value(id));
      }
      gradient_parts[id].push_back(gradient);
    }
    result.rule_uses = found.rule_uses;
  }
  const auto join = [](const TensorList& parts) { return parts.size() == 1 ? parts.front() : at::cat(parts, 0); };
  result.score = join(score_parts);
  result.start = join(start_parts);
  for (const ValueId id : request.wrt) {
    result.values[id] = join(value_parts[id]);
    result.gradients[id] = join(gradient_parts[id]);
  }
  return result;
}

Tensor scores(const Context& context, const Tensor& input, const std::vector<int64_t>& rows) {
  const int64_t step = rows_per_pass(context);
  TensorList parts;
  for (int64_t begin = 0; begin < input.size(0); begin += step) {
    const int64_t count = std::min(step, input.size(0) - begin);
    const BoundTarget target =
        context.target.rows(std::vector<int64_t>(rows.begin() + begin, rows.begin() + begin + count));
    Request request;
    request.capture = {target.value()};
    parts.push_back(target.score(
        context.network.run({input.narrow(0, begin, count)}, request, context.progress).at(target.value())));
  }
  return at::cat(parts, 0);
}

Attribution input_attribution(const Context& context, const Tensor& values, Reduction reduction) {
  Attribution a;
  a.values = values;
  const int64_t channel_axis = context.card.channels_first ? 1 : 3;
  switch (reduction) {
    case Reduction::kSum:
    case Reduction::kSumPositive:
      a.map = values.to(at::kDouble).sum(channel_axis).to(values.scalar_type());
      a.reduction = "sum";
      a.is_signed = reduction == Reduction::kSum;
      break;
    case Reduction::kMaxAbs:
      a.map = values.abs().amax(channel_axis);
      a.reduction = "max-abs";
      a.is_signed = false;
      break;
  }
  return a;
}

Tensor noise_samples(const Context& context, int64_t count) {
  const Shape image = context.input.sizes().slice(1).vec();
  if (context.injected_noise.defined()) {
    if (context.injected_noise.size(0) < count || context.injected_noise.sizes().slice(1) != at::IntArrayRef(image)) {
      throw_usage("injected noise has shape " + shape_text(context.injected_noise.sizes()) + "; [" +
                  std::to_string(count) + ", shape of one image] was expected");
    }
    return context.injected_noise.narrow(0, 0, count).to(context.input.options());
  }
  at::Generator generator = at::detail::createCPUGenerator(context.seed);
  Shape shape{count};
  shape.insert(shape.end(), image.begin(), image.end());
  return at::randn(shape, generator, at::TensorOptions().dtype(at::kDouble)).to(context.input.options());
}

Tensor noise_scale(const Context& context, double fraction) {
  const Tensor flat = context.input.flatten(1);
  return (flat.amax(1) - flat.amin(1)) * fraction;
}

}  // namespace pellucid
