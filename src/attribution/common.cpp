// What the methods share: passes and reductions.

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "attribution/method.h"
#include "graph/map_layers.h"
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

namespace {

/// Of one batch as the layer table was made for; 0 for what never ran.
double num_elements(const Context& context, ValueId id) {
  return static_cast<double>(std::max<int64_t>(0, c10::multiply_integers(context.layers.shape(id))));
}

/// What LibTorch puts beside a convolution in float64 on the CPU: every window, unfolded.
double num_unfolded(const Context& context, const Node& node) {
  if (node.op != "Conv" || context.network.dtype() != at::kDouble || node.inputs.size() < 2) return 0;
  const Shape& w = context.layers.shape(node.inputs[1]);
  const Shape& out = context.layers.shape(node.outputs[0]);
  if (w.size() != 4 || out.size() != 4) return 0;
  const double positions = static_cast<double>(out[0] * out[2] * out[3]);
  return positions * static_cast<double>(w[1] * w[2] * w[3] * node.integer("group", 1));
}

struct Numbers {
  double peak = 1;  ///< Alive at most while a pass goes forward and keeps nothing.
  double kept = 1;  ///< By a record.
};

/// Of a pass from some values on, whose nodes behind `wrt` are recorded.
Numbers numbers_of_pass(const Context& context, const std::vector<ValueId>& from, const std::vector<ValueId>& wrt) {
  // These are fused into the node before them or share its memory.
  static const std::set<std::string> kept_by_others = {"BatchNormalization", "Clip", "Dropout", "Flatten", "Identity",
                                                       "LeakyRelu",          "Relu", "Reshape", "Squeeze", "Unsqueeze"};
  std::set<ValueId> reached(from.begin(), from.end()), recorded(wrt.begin(), wrt.end());
  Numbers numbers;
  for (const Node& node : context.network.graph().nodes()) {
    double touched = 0;
    bool runs = false, keeps = false;
    for (const ValueId id : node.inputs) {
      keeps = keeps || recorded.count(id) != 0;
      if (reached.count(id) == 0) continue;
      runs = true;
      touched += num_elements(context, id);
    }
    if (!runs) continue;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      reached.insert(id);
      touched += num_elements(context, id);
      if (!keeps) continue;
      recorded.insert(id);
      if (!kept_by_others.count(node.op)) numbers.kept += num_elements(context, id);
    }
    // A second pair: what a node makes on the way, or the two that wait for a sum.
    numbers.peak = std::max(numbers.peak, 2 * touched + num_unfolded(context, node));
  }
  return numbers;
}

/// How many rows of so many numbers per batch of the layer table fit into the budget, at most `limit`.
int64_t rows_that_fit(const Context& context, double numbers, int64_t limit) {
  const auto bytes = static_cast<double>(at::elementSize(context.network.dtype()));
  const auto batch = static_cast<double>(std::max<int64_t>(1, context.layers.shape(input_value(context)).at(0)));
  const double rows = batch * static_cast<double>(context.memory_budget) / (bytes * numbers);
  return static_cast<int64_t>(std::clamp(rows, 1.0, static_cast<double>(limit)));
}

}  // namespace

int64_t rows_within_budget(const Context& context, ValueId at) {
  if (!context.network.batches_safely(context.progress)) return 1;
  return rows_that_fit(context, numbers_of_pass(context, {at}, {}).peak, 64);
}

int64_t rows_per_pass(const Context& context) {
  return context.network.batches_safely(context.progress) ? std::max<int64_t>(1, context.batch_size) : 1;
}

namespace {

/// The score of a request and its derivative with respect to the target's value.
std::pair<Tensor, Tensor> score_and_seed(const GradientRequest& request, const BoundTarget& target,
                                         const Tensor& value) {
  if (!request.score) return {target.score(value), target.seed(value)};
  at::AutoGradMode enabled(true);
  const Tensor leaf = value.detach().requires_grad_(true);
  const Tensor score = request.score(target, leaf);
  return {score.detach(), torch::autograd::grad({score.sum()}, {leaf})[0]};
}

}  // namespace

int64_t gradient_rows(const Context& context, const std::vector<ValueId>& wrt) {
  // Backward, gradients take the place of what a forward pass has alive beside its record. Pictures are there as they
  // were given, stacked, prepared, and as their gradients and what is made of them.
  constexpr double kCopies = 6;
  const Numbers numbers = numbers_of_pass(context, {input_value(context)}, wrt);
  const double total = numbers.kept + numbers.peak + kCopies * num_elements(context, input_value(context));
  return rows_that_fit(context, total, rows_per_pass(context));
}

GradientResult gradients(const Context& context, const GradientRequest& request) {
  const int64_t total = request.input.size(0);
  const int64_t step = gradient_rows(context, request.wrt);
  const bool inside = request.at != kNoValue && request.at != input_value(context);
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
    const Tensor rows = request.input.narrow(0, begin, count);
    if (inside) record.request.from = {{request.at, rows}};
    const Tensor beside = request.beside.defined() ? request.beside.narrow(0, begin, count) : Tensor();
    const Tape tape = context.network.record({inside ? beside : rows}, record, context.progress);
    const Tensor& value = tape.value(target.value());
    auto [score, seed] = score_and_seed(request, target, value);
    score_parts.push_back(score);
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

Tensor map_from_values(const Context& context, const Tensor& values, const std::string& reduction, bool rectify) {
  const auto [height, width] = input_size(context);
  if (values.dim() == 3) {
    if (reduction != "none") return {};
    return upsample_map(rectify ? at::relu(values) : values, height, width);
  }
  const int64_t channel_axis = values.sizes() == context.input.sizes() && !context.card.channels_first ? 3 : 1;
  if (reduction == "max-abs") return upsample_map(values.abs().amax(channel_axis), height, width);
  if (reduction != "sum") return {};
  return upsample_map(values.to(at::kDouble).sum(channel_axis).to(values.scalar_type()), height, width);
}

Attribution input_attribution(const Context& context, const Tensor& values, Reduction reduction) {
  Attribution a;
  a.values = values;
  a.reduction = reduction == Reduction::kMaxAbs ? "max-abs" : "sum";
  a.is_signed = reduction == Reduction::kSum;
  a.map = map_from_values(context, values, a.reduction, false);
  return a;
}

Tensor layer_planes(const Context& context, ValueId layer, const Tensor& t) {
  if (t.dim() == 4) return t;
  const TokenGrid grid = grid_of_tokens(context.network.graph(), context.layers, layer);
  if (grid.rows == 0) {
    throw_usage("layer '" + printable(context.layers.layer(layer).name) + "' has shape " + shape_text(t.sizes()) +
                "; a map needs [N,K,h,w] or tokens [N,T,D] that form a grid");
  }
  return t.narrow(1, grid.leading, grid.rows * grid.columns)
      .transpose(1, 2)
      .reshape({t.size(0), t.size(2), grid.rows, grid.columns});
}

}  // namespace pellucid
