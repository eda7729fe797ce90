#include "attribution/perturbation.h"

#include <algorithm>

#include "attribution/baseline.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const char* const kFillAccepts = "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA] or noise[:SEED]";

bool is_probability(const BoundTarget& target, Measure measure) {
  return measure == Measure::kProbability && target.names_one_class();
}

Tensor measured(const BoundTarget& target, Measure measure, const Tensor& value) {
  return is_probability(target, measure) ? target.probability(value) : target.score(value);
}

Measure measure_from(const std::string& name) {
  return name == "probability" ? Measure::kProbability : Measure::kScore;
}

Tensor measure_variants(const Context& context, const Variants& variants) {
  const ValueId at = variants.at == kNoValue ? input_value(context) : variants.at;
  const int64_t step = rows_within_budget(context, at);
  const int64_t total = variants.total > 0 ? variants.total : variants.count;
  Tensor result = at::empty({variants.count}, at::kDouble);
  for (int64_t begin = 0; begin < variants.count; begin += step) {
    const int64_t n = std::min(step, variants.count - begin);
    const BoundTarget target = context.target.rows(std::vector<int64_t>(static_cast<size_t>(n), variants.image));
    const Tensor batch = variants.make(begin, n);
    Request request;
    request.capture = {target.value()};
    TensorList inputs{batch};
    if (at != input_value(context)) {
      request.from = {{at, batch}};
      // For paths around the layer (skip connections, branches); where there are none, nothing before it runs.
      Shape shape = context.input.sizes().vec();
      shape[0] = n;
      inputs = {context.input.narrow(0, variants.image, 1).expand(shape)};
    }
    const Values values = context.network.run(inputs, request, context.progress);
    result.narrow(0, begin, n).copy_(measured(target, variants.measure, values.at(target.value())));
    if (context.progress) {
      context.progress->report(static_cast<double>(variants.done + begin + n), static_cast<double>(total),
                               variants.what);
    }
  }
  return result;
}

Tensor clean_measure(const Context& context, Measure measure) {
  TensorList parts;
  for (int64_t i = 0; i < num_images(context); ++i) {
    Variants clean;
    clean.image = i;
    clean.count = 1;
    clean.measure = measure;
    clean.make = [&](int64_t, int64_t) { return context.input.narrow(0, i, 1); };
    parts.push_back(measure_variants(context, clean));
  }
  return at::cat(parts);
}

Tensor blend(const Context& context, int64_t image, const Tensor& masks, const Tensor& fill) {
  const Tensor m = masks.to(context.input.options()).unsqueeze(context.card.channels_first ? 1 : 3);
  return fill + (context.input.narrow(0, image, 1) - fill) * m;
}

Tensor fill_for(const Context& context, const std::string& owner, const std::string& name, int64_t image,
                const std::string& accepts) {
  if (name.find('+') != std::string::npos) {
    throw_usage(owner + ": fill is '" + printable(name) + "'; one fill alone was expected");
  }
  try {
    return baselines(context, owner, name).front().narrow(0, image, 1);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kUsage) throw;
    throw_usage(owner + ": fill is '" + printable(name) + "'; it must be " + accepts);
  }
}

CellGrid::CellGrid(int64_t h, int64_t w, int64_t cells_along_a_side)
    : rows(std::min(cells_along_a_side, h)), columns(std::min(cells_along_a_side, w)), height(h), width(w) {}

Tensor CellGrid::labels() const {
  const Tensor y = (at::arange(height, at::kLong) * rows).div(height, "floor");
  const Tensor x = (at::arange(width, at::kLong) * columns).div(width, "floor");
  return y.unsqueeze(1) * columns + x.unsqueeze(0);
}

Tensor CellGrid::spread(const Tensor& values) const {
  return values.index_select(1, labels().flatten()).view({-1, height, width});
}

Attribution map_attribution(const Tensor& map, bool is_signed) {
  Attribution a;
  a.values = map;
  a.map = is_signed ? map : at::relu(map);
  a.is_signed = is_signed;
  a.reduction = "none";
  return a;
}

}  // namespace pellucid
