// Zeiler, Fergus. "Visualizing and Understanding Convolutional Networks". ECCV 2014, section 4.2: slide a patch over
// the picture and look at the score. With f_i the score under patch i: the probability map shows f_i at the patch's
// centre (low where the picture matters); the drop map gives each pixel the mean of f - f_i over the patches that cover
// it (high where it matters). Windows whose effect can be bounded are recomputed alone, after Nakandala, Kumar,
// Papakonstantinou. "Incremental and Approximate Inference for Faster Occlusion-based Deep CNN Explanations". SIGMOD
// 2019 (graph/incremental.h).

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/imputation.h"
#include "attribution/perturbation.h"
#include "graph/incremental.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

const char* const kAccepts = "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED] or inpaint";

struct OcclusionParams {
  int64_t patch = 0;
  int64_t stride = 0;
  std::string fill = "gray";
  std::string map = "drop";
  std::string score = "probability";
  std::string edges = "inside";
  bool incremental = true;
};

template <class V>
void describe(V& v, OcclusionParams& p) {
  v("patch", p.patch, at_least(0), "Side of the square patch in pixels; 0: an eighth of the picture's height.");
  v("stride", p.stride, at_least(0), "Pixels from one patch to the next; 0: half the patch.");
  v("fill", p.fill, TextLike{kAccepts}, "What the patch shows.");
  v("map", p.map, one_of({"drop", "probability"}),
    "drop: mean loss of score over the patches on a pixel. probability: the score left, at each patch's centre.");
  v("score", p.score, one_of({"probability", "logit"}), "What is measured.");
  v("edges", p.edges, one_of({"inside", "clip"}),
    "The last patch of a row is moved inside the picture, or cut off at its edge.");
  v("incremental", p.incremental, Flag{}, "Recompute only what a patch can reach; the numbers are the same.");
}

/// Where patches begin and end along one axis.
struct Axis {
  std::vector<int64_t> begin, end;
  size_t count() const { return begin.size(); }
};

Axis patch_axis(int64_t size, int64_t patch, int64_t stride, bool clip) {
  Axis axis;
  stride = std::min(stride, size);  // farther is outside already
  const int64_t count = (size - patch + stride - 1) / stride + 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = clip ? i * stride : std::min(i * stride, size - patch);
    if (begin >= size) break;  // a stride beyond the patch may leave nothing to cut off
    axis.begin.push_back(begin);
    axis.end.push_back(std::min(begin + patch, size));
  }
  return axis;
}

std::vector<Window> windows_of(const Axis& y, const Axis& x) {
  std::vector<Window> windows;
  for (size_t i = 0; i < y.count(); ++i) {
    for (size_t j = 0; j < x.count(); ++j)
      windows.push_back({y.begin[i], x.begin[j], y.end[i] - y.begin[i], x.end[j] - x.begin[j]});
  }
  return windows;
}

Tensor part(const Tensor& planes, const Window& w) {
  return planes.narrow(-2, w.top, w.height).narrow(-1, w.left, w.width);
}

/// One picture and what is put in place of its patches.
class Occluder {
 public:
  Occluder(const Context& context, int64_t image, const std::string& fill)
      : picture_(to_planes(context, context.input.narrow(0, image, 1))[0]) {
    if (fill != "inpaint") fill_ = to_planes(context, fill_for(context, "occlusion", fill, image, kAccepts))[0];
  }

  /// The part of the picture that `region` shows while `patch` is covered, [C,h,w].
  Tensor painted(const Window& patch, const Window& region) const {
    Tensor result = part(picture_, region).clone();
    const Window inside{patch.top - region.top, patch.left - region.left, patch.height, patch.width};
    part(result, inside).copy_(content(patch));
    return result;
  }

  /// Whole pictures [n,C,H,W].
  Tensor pictures(const std::vector<Window>& windows, int64_t begin, int64_t n) const {
    Tensor result = picture_.unsqueeze(0).repeat({n, 1, 1, 1});
    for (int64_t i = 0; i < n; ++i) {
      const Window& patch = windows[static_cast<size_t>(begin + i)];
      part(result[i], patch).copy_(content(patch));
    }
    return result;
  }

 private:
  Tensor content(const Window& patch) const {
    if (fill_.defined()) return part(fill_, patch);
    // What is missing depends on its neighbours alone.
    const int64_t top = std::max<int64_t>(0, patch.top - 1), left = std::max<int64_t>(0, patch.left - 1);
    const Window around{top, left, std::min(picture_.size(1), patch.top + patch.height + 1) - top,
                        std::min(picture_.size(2), patch.left + patch.width + 1) - left};
    const Window inside{patch.top - top, patch.left - left, patch.height, patch.width};
    Tensor missing = at::zeros({1, around.height, around.width}, picture_.options().dtype(at::kBool));
    part(missing, inside).fill_(true);
    return part(linear_imputation(part(picture_, around), missing)[0], inside);
  }

  Tensor picture_, fill_;
};

/// The measure under each patch, float64 [count], by whole passes.
Tensor scores_by_passes(const Context& context, int64_t image, const std::vector<Window>& windows,
                        const Occluder& occluder, Measure measure) {
  Variants variants;
  variants.image = image;
  variants.count = static_cast<int64_t>(windows.size());
  variants.measure = measure;
  variants.what = "patches";
  variants.done = image * variants.count;
  variants.total = num_images(context) * variants.count;
  variants.make = [&](int64_t begin, int64_t n) { return from_planes(context, occluder.pictures(windows, begin, n)); };
  return measure_variants(context, variants);
}

/// The same by passes that recompute only what a patch can reach; undefined where whole passes are called for.
/// `work_share` receives the multiplications over those of whole passes.
Tensor scores_by_reach(const Context& context, int64_t image, const std::vector<Window>& windows,
                       const Occluder& occluder, Measure measure, double& work_share) {
  IncrementalPasses::Options options;
  options.memory_budget = context.memory_budget;
  const IncrementalPasses passes(context.network, context.input.narrow(0, image, 1), context.target.value(), windows,
                                 options);
  if (!passes.worthwhile()) return {};
  work_share = passes.work_share();
  Tensor result = at::empty({static_cast<int64_t>(windows.size())}, at::kDouble);
  auto* const scores = result.data_ptr<double>();
  int64_t done = image * static_cast<int64_t>(windows.size());
  const auto total = static_cast<double>(num_images(context)) * static_cast<double>(windows.size());
  const auto use = [&](const std::vector<size_t>& indices, const Tensor& value) {
    const Tensor found = measured(context.target.rows(std::vector<int64_t>(indices.size(), image)), measure, value);
    for (size_t row = 0; row < indices.size(); ++row)
      scores[indices[row]] = found[static_cast<int64_t>(row)].item<double>();
    done += static_cast<int64_t>(indices.size());
    if (context.progress) context.progress->report(static_cast<double>(done), total, "patches");
  };
  passes.run([&](size_t i, const Window& region) { return occluder.painted(windows[i], region); }, use,
             context.progress);
  return result;
}

/// sum over patches on a pixel of `drops` over their number; 0 where there is none. [H,W].
Tensor averaged(const Tensor& drops, const std::vector<Window>& windows, int64_t height, int64_t width) {
  const Tensor sum = at::zeros({height, width}, at::kDouble);
  const Tensor cover = at::zeros({height, width}, at::kDouble);
  const auto* const drop = drops.data_ptr<double>();
  for (size_t i = 0; i < windows.size(); ++i) {
    part(sum, windows[i]).add_(drop[i]);
    part(cover, windows[i]).add_(1);
  }
  return sum / cover.clamp_min(1);
}

/// Weights [size, count] that interpolate linearly between the centres of an axis' patches and continue flat outside.
Tensor centre_weights(const Axis& axis, int64_t size) {
  Tensor weights = at::zeros({size, static_cast<int64_t>(axis.count())}, at::kDouble);
  auto w = weights.accessor<double, 2>();
  const auto centre = [&](size_t i) { return 0.5 * static_cast<double>(axis.begin[i] + axis.end[i] - 1); };
  size_t left = 0;
  for (int64_t p = 0; p < size; ++p) {
    const auto at = static_cast<double>(p);
    while (left + 1 < axis.count() && centre(left + 1) <= at) ++left;
    double share = 0;
    if (left + 1 < axis.count() && at > centre(left)) share = (at - centre(left)) / (centre(left + 1) - centre(left));
    w[p][static_cast<int64_t>(left)] += 1 - share;
    if (share > 0) w[p][static_cast<int64_t>(left) + 1] += share;
  }
  return weights;
}

Attribution occlusion(const Context& context, const OcclusionParams& params) {
  const auto [height, width] = input_size(context);
  const int64_t wanted = params.patch > 0 ? params.patch : std::max<int64_t>(1, (height + 4) / 8);
  if (wanted > std::min(height, width)) {
    throw_usage("occlusion: patch is " + std::to_string(wanted) + "; it must fit the picture of " +
                std::to_string(height) + " x " + std::to_string(width) + " pixels");
  }
  const int64_t stride = params.stride > 0 ? params.stride : std::max<int64_t>(1, wanted / 2);
  const bool clip = params.edges == "clip";
  const Axis rows = patch_axis(height, wanted, stride, clip);
  const Axis columns = patch_axis(width, wanted, stride, clip);
  const std::vector<Window> windows = windows_of(rows, columns);
  const Measure measure = measure_from(params.score);
  const Tensor clean = clean_measure(context, measure);

  TensorList values, maps;
  Attribution result;
  for (int64_t image = 0; image < num_images(context); ++image) {
    const Occluder occluder(context, image, params.fill);
    double work_share = 1;
    Tensor scores;
    if (params.incremental) scores = scores_by_reach(context, image, windows, occluder, measure, work_share);
    if (!scores.defined()) scores = scores_by_passes(context, image, windows, occluder, measure);
    if (params.map == "drop") {
      maps.push_back(averaged(clean[image] - scores, windows, height, width));
    } else {
      const Tensor grid = scores.view({static_cast<int64_t>(rows.count()), static_cast<int64_t>(columns.count())});
      values.push_back(grid);
      maps.push_back(at::matmul(at::matmul(centre_weights(rows, height), grid), centre_weights(columns, width).t()));
    }
    result.diagnostics.push_back({{"patches", static_cast<double>(windows.size())},
                                  {"patch", static_cast<double>(wanted)},
                                  {"stride", static_cast<double>(stride)},
                                  {"work_share", work_share},
                                  {"clean_score", clean[image].item<double>()}});
  }
  result.map = at::stack(maps).to(context.input.scalar_type());
  result.values = values.empty() ? result.map : at::stack(values).to(context.input.scalar_type());
  result.reduction = "none";
  if (params.map == "probability") {
    result.is_signed = !is_probability(context.target, measure);
    result.zero_is_neutral = false;
    result.notes.assign(maps.size(),
                        {"occlusion: the map shows the score that is left, so it is low where the picture matters"});
  }
  return result;
}

}  // namespace

Method occlusion_method() {
  return make_method<OcclusionParams>("occlusion", "Occlusion", "perturbation",
                                      "Loss of score when a patch covers a part of the picture", papers::kZeiler2014,
                                      kNeedsTarget, 0, occlusion);
}

}  // namespace pellucid
