#include "attribution/features.h"

#include <algorithm>
#include <cmath>

#include "attribution/baseline.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const char* const kSegmentsAccepts = "slic[:SIZE], seeds[:COUNT] or grid[:SIZE]";
const char* const kFeatureFillAccepts =
    "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED] or segments";

namespace {

// As many as LIME's superpixels of a photo have by custom.
constexpr int64_t kUsualFeatures = 50;

Tensor grid_labels(int64_t height, int64_t width, int64_t size) {
  const Tensor y = at::arange(height, at::kLong).div(size, "floor"),
               x = at::arange(width, at::kLong).div(size, "floor");
  return y.unsqueeze(1) * ((width - 1) / size + 1) + x.unsqueeze(0);
}

/// Labels 0..M-1 in the order of those given.
Features with_dense_labels(const std::string& owner, const Tensor& labels, const std::string& source) {
  const auto [unique, inverse] = at::_unique(labels.to(at::kCPU).to(at::kLong), /*sorted=*/true, true);
  if (unique.size(0) > kMaxFeatures) {
    throw_usage(owner + ": " + source + " gives " + std::to_string(unique.size(0)) + " features; at most " +
                std::to_string(kMaxFeatures) + " were expected");
  }
  return {inverse.contiguous(), unique.size(0), source};
}

struct Spec {
  std::string kind;
  int64_t number = 0;
};

Spec parse_segments(const std::string& owner, const std::string& text, int64_t height, int64_t width) {
  const size_t colon = text.find(':');
  Spec spec{text.substr(0, colon), 0};
  const bool known = spec.kind == "slic" || spec.kind == "seeds" || spec.kind == "grid";
  const bool number =
      colon == std::string::npos || (parse_int(text.substr(colon + 1), spec.number) && spec.number >= 1);
  if (!known || !number) {
    throw_usage(owner + ": segments is '" + printable(text) + "'; it must be " + kSegmentsAccepts + " (default slic)");
  }
  if (spec.number == 0) {
    const double side = std::sqrt(static_cast<double>(height * width) / static_cast<double>(kUsualFeatures));
    spec.number = spec.kind == "seeds" ? kUsualFeatures : std::max<int64_t>(1, std::llround(side));
  }
  return spec;
}

}  // namespace

Segmentation segment_picture(const Context& context, const std::string& kind, int64_t number, int64_t image) {
  const auto [height, width] = input_size(context);
  if (kind != "grid" && context.segmenter) {
    const std::string spec = kind + ":" + std::to_string(number);
    const Tensor planes = to_planes(context, context.input.narrow(0, image, 1));
    const Tensor display = context.card.display_from_model(planes)[0];
    const bool swapped = context.card.order == ChannelOrder::kBgr;  // segmenters compare colors, so they need RGB
    const Tensor labels = context.segmenter(swapped ? display.flip({0}) : display, spec);
    TORCH_INTERNAL_ASSERT(labels.dim() == 2 && labels.size(0) == height && labels.size(1) == width);
    return {labels.to(at::kCPU).to(at::kLong), spec};
  }
  const auto area = static_cast<double>(height * width);
  const int64_t size =
      kind == "seeds" ? std::max<int64_t>(1, std::llround(std::sqrt(area / static_cast<double>(number)))) : number;
  return {grid_labels(height, width, size), "grid:" + std::to_string(size)};
}

Features features_of(const Context& context, const std::string& owner, const std::string& segments, int64_t image) {
  const auto [height, width] = input_size(context);
  const Spec spec = parse_segments(owner, segments, height, width);
  if (context.regions.defined()) {
    const Tensor& r = context.regions;
    if (r.dim() != 3 || r.size(0) != num_images(context) || r.size(1) != height || r.size(2) != width) {
      throw_usage(owner + ": the regions have shape " + shape_text(r.sizes()) + "; " +
                  shape_text({num_images(context), height, width}) + " was expected");
    }
    return with_dense_labels(owner, r[image], "regions");
  }
  const Segmentation found = segment_picture(context, spec.kind, spec.number, image);
  return with_dense_labels(owner, found.labels, found.source);
}

Tensor paint(const Features& features, const Tensor& values) {
  return values.index_select(0, features.labels.flatten()).view(features.labels.sizes());
}

Tensor feature_fill(const Context& context, const std::string& owner, const std::string& fill, int64_t image,
                    const Features& features) {
  if (fill != "segments") return fill_for(context, owner, fill, image, kFeatureFillAccepts);
  const Tensor planes = to_planes(context, context.input.narrow(0, image, 1));
  const Tensor flat = planes.to(at::kCPU).to(at::kDouble).flatten(2)[0];  // [C,HW]
  const Tensor labels = features.labels.flatten();
  const Tensor sizes = at::zeros({features.count}, at::kDouble).index_add_(0, labels, at::ones_like(flat[0]));
  const Tensor sums = at::zeros({flat.size(0), features.count}, at::kDouble).index_add_(1, labels, flat);
  return from_planes(context, (sums / sizes).index_select(1, labels).view(planes.sizes()).to(planes.options()));
}

FeatureGame::FeatureGame(const Context& context, Features features, const std::string& owner, const std::string& fill,
                         int64_t image, Measure measure)
    : context_(context),
      features_(std::move(features)),
      fill_(feature_fill(context, owner, fill, image, features_)),
      image_(image),
      measure_(measure) {}

Tensor FeatureGame::values(int64_t count, const std::function<Tensor(int64_t, int64_t)>& coalitions, int64_t done,
                           int64_t total) const {
  Variants variants;
  variants.image = image_;
  variants.count = count;
  variants.measure = measure_;
  variants.what = "coalitions";
  variants.done = done;
  variants.total = total;
  const Tensor labels = features_.labels.flatten();
  variants.make = [&](int64_t begin, int64_t n) {
    const Tensor kept = coalitions(begin, n).to(context_.input.scalar_type()).index_select(1, labels);
    return blend(context_, image_, kept.view({n, features_.labels.size(0), features_.labels.size(1)}), fill_);
  };
  return measure_variants(context_, variants);
}

Tensor FeatureGame::values(const Tensor& coalitions, int64_t done, int64_t total) const {
  return values(
      coalitions.size(0), [&](int64_t begin, int64_t n) { return coalitions.narrow(0, begin, n); }, done, total);
}

Attribution explain_features(const Context& context, const std::string& owner, const std::string& segments,
                             const std::string& fill, Measure measure,
                             const std::function<FeatureScores(const FeatureGame&, int64_t)>& explain) {
  TensorList maps, labels, errors;
  std::vector<std::map<std::string, double>> diagnostics;
  std::vector<std::vector<std::string>> notes;
  for (int64_t i = 0; i < num_images(context); ++i) {
    const FeatureGame game(context, features_of(context, owner, segments, i), owner, fill, i, measure);
    const Features& features = game.features();
    FeatureScores found = explain(game, i);
    maps.push_back(paint(features, found.values));
    labels.push_back(features.labels);
    if (found.change) {
      found.diagnostics["score_difference"] = *found.change;
      found.diagnostics["attribution_sum"] = found.values.sum().item<double>();
    }
    found.diagnostics["features"] = static_cast<double>(features.count);
    if (found.standard_errors.defined()) {
      errors.push_back(paint(features, found.standard_errors));
      found.diagnostics["mean_standard_error"] = found.standard_errors.mean().item<double>();
      found.diagnostics["max_standard_error"] = found.standard_errors.max().item<double>();
    }
    found.notes.insert(found.notes.begin(), "features: " + std::to_string(features.count) + " of " + features.source);
    diagnostics.push_back(std::move(found.diagnostics));
    notes.push_back(std::move(found.notes));
  }
  const at::ScalarType type = context.network.dtype();
  Attribution a = map_attribution(at::stack(maps).to(type), /*is_signed=*/true);
  a.extra["features"] = at::stack(labels);
  if (errors.size() == maps.size()) a.extra["standard-error"] = at::stack(errors).to(type);
  a.diagnostics = std::move(diagnostics);
  a.notes = std::move(notes);
  return a;
}

Tensor injected_rows(const Context& context, const std::string& owner, const std::string& name, int64_t columns) {
  const auto found = context.injected.find(name);
  if (found == context.injected.end()) return {};
  const Tensor& t = found->second;
  if (t.dim() != 2 || t.size(0) < 1 || t.size(1) != columns) {
    throw_usage(owner + ": injected " + name + " have shape " + shape_text(t.sizes()) + "; [n," +
                std::to_string(columns) + "] was expected");
  }
  return t.to(at::kCPU).to(at::kDouble);
}

}  // namespace pellucid
