// Methods that change the layer itself and look at the score. What comes before the layer runs once.
//   Desai, Ramaswamy. "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
//   Localization". WACV 2020, eq. 3: w_k = (y - y_k) / y, y_k the score with channel k set to zero.
//   Byun, Lee. "ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc Explanations". CVPR Workshops
//   2024 (arXiv 2209.14074): the map is the score when all but one position of the layer is set to zero.

#include "attribution/cam.h"
#include "attribution/perturbation.h"
#include "graph/map_layers.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kDesai2020{
    "desai2020", "Desai, Ramaswamy",
    "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization", "WACV", 2020};
constexpr Paper kByun2024{"byun2024", "Byun, Lee",
                          "ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc Explanations",
                          "CVPR Workshops", 2024};

/// The measure of variants of image i's layer value; `make` turns copies of it, [n,...], into variants begin, begin+1,
/// ...
Tensor measure_layer(const Context& context, const CamInput& in, int64_t image, int64_t count, Measure measure,
                     const char* what, const std::function<void(Tensor& copies, int64_t begin)>& change) {
  Variants variants;
  variants.image = image;
  variants.count = count;
  variants.at = in.layer;
  variants.measure = measure;
  variants.what = what;
  variants.done = image * count;
  variants.total = num_images(context) * count;
  const Tensor clean = in.value.narrow(0, image, 1);
  variants.make = [&](int64_t begin, int64_t n) {
    Shape shape = clean.sizes().vec();
    shape[0] = n;
    Tensor copies = clean.expand(shape).clone(clean.suggest_memory_format());
    change(copies, begin);
    return copies;
  };
  return measure_variants(context, variants);
}

struct AblationCamParams {
  bool relative = false;
};

template <class V>
void describe(V& visit, AblationCamParams& p) {
  visit("relative", p.relative, Flag{},
        "Divide the drop by the score, as the paper does: a negative score then turns every sign.");
}

/// Weights [K] of one image. A channel that is zero already is not run: its drop is zero.
Tensor ablation_weights(const Context& context, const AblationCamParams& p, const CamInput& in, int64_t image) {
  const int64_t axis = in.value.dim() == 4 ? 1 : 2;  // tokens [N,T,D] hold their channels last
  const Tensor clean = in.value.narrow(0, image, 1);
  std::vector<int64_t> others{0, 1, 2, 3};
  others.resize(static_cast<size_t>(clean.dim()));
  others.erase(others.begin() + axis);
  const Tensor channels = clean.abs().amax(others).ne(0).nonzero().flatten().to(at::kCPU).contiguous();
  const auto* const channel = channels.data_ptr<int64_t>();
  // Variant 0 is the layer as it is, so that rounding is the same in both.
  const Tensor scores = measure_layer(context, in, image, channels.size(0) + 1, Measure::kScore, "ablated channels",
                                      [&](Tensor& copies, int64_t begin) {
                                        for (int64_t row = begin == 0 ? 1 : 0; row < copies.size(0); ++row) {
                                          copies[row].select(axis - 1, channel[begin + row - 1]).zero_();
                                        }
                                      });
  const Tensor drops = scores[0] - scores.narrow(0, 1, channels.size(0));
  Tensor weights = at::zeros({clean.size(axis)}, at::kDouble);
  weights.index_copy_(0, channels, p.relative ? safe_ratio(drops, scores[0].expand_as(drops)) : drops);
  return weights;
}

CamCall without_gradients() {
  CamCall call;
  call.gradients = false;
  return call;
}

Attribution ablation_cam(const Context& context, const AblationCamParams& p, const CamOptions& options) {
  return run_cam(
      context,
      [&](const CamInput& in) {
        TensorList weights;
        for (int64_t i = 0; i < num_images(context); ++i) weights.push_back(ablation_weights(context, p, in, i));
        return weigh(at::stack(weights));
      },
      options, without_gradients());
}

struct ReciproCamParams {
  std::string window = "gaussian";
  std::string score = "probability";
};

template <class V>
void describe(V& visit, ReciproCamParams& p) {
  visit(
      "window", p.window, one_of({"gaussian", "point"}),
      "gaussian: the eight neighbours are kept as well, with weights 1/8 and 1/16 beside 1/4 for the position itself.");
  visit("score", p.score, one_of({"probability", "logit"}), "Which score is measured.");
}

/// Masks [n,h,w] of the positions begin, begin + 1, ... in scan order.
Tensor position_masks(bool gaussian, int64_t begin, int64_t n, int64_t height, int64_t width) {
  Tensor masks = at::zeros({n, height, width}, at::kDouble);
  auto mask = masks.accessor<double, 3>();
  constexpr double kWeights[] = {0.25, 0.5, 0.25};
  for (int64_t i = 0; i < n; ++i) {
    const int64_t y = (begin + i) / width, x = (begin + i) % width;
    if (!gaussian) mask[i][y][x] = 1;
    for (int64_t dy = -1; gaussian && dy <= 1; ++dy) {
      for (int64_t dx = -1; dx <= 1; ++dx) {
        if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
        mask[i][y + dy][x + dx] = kWeights[dy + 1] * kWeights[dx + 1];
      }
    }
  }
  return masks;
}

/// The map of one image [h,w], less its minimum: what every position shows is no evidence for any.
Tensor recipro_map(const Context& context, const ReciproCamParams& p, const CamInput& in, int64_t image) {
  const int64_t height = in.activations.size(2), width = in.activations.size(3);
  const TokenGrid grid = grid_of_tokens(context.network.graph(), context.layers, in.layer);
  const Tensor scores = measure_layer(
      context, in, image, height * width, measure_from(p.score), "masked positions",
      [&](Tensor& copies, int64_t begin) {
        Tensor masks =
            position_masks(p.window == "gaussian", begin, copies.size(0), height, width).to(copies.options());
        if (copies.dim() == 4) {
          copies.mul_(masks.unsqueeze(1));
        } else {  // class and register tokens stay
          copies.narrow(1, grid.leading, height * width).mul_(masks.flatten(1).unsqueeze(2));
        }
      });
  return (scores - scores.min()).view({height, width});
}

Attribution recipro_cam(const Context& context, const ReciproCamParams& p, const CamOptions& options) {
  return run_cam(
      context,
      [&](const CamInput& in) {
        TensorList maps;
        for (int64_t i = 0; i < num_images(context); ++i) maps.push_back(recipro_map(context, p, in, i));
        return whole_map(at::stack(maps));
      },
      options, without_gradients());
}

}  // namespace

Method ablation_cam_method() {
  return make_cam<AblationCamParams>(
      "ablation-cam", "Ablation-CAM", "Channels weighted by how much the score drops without them; no gradient.",
      kDesai2020, kNeedsTarget | kNeedsLayer, kNonNegative | kScalesWithLogit, ablation_cam);
}

Method recipro_cam_method() {
  return make_cam<ReciproCamParams>(
      "recipro-cam", "ReciproCAM",
      "The score that each position of the layer reaches alone, less the smallest; no gradient.", kByun2024,
      kNeedsTarget | kNeedsLayer, kNonNegative, recipro_cam);
}

}  // namespace pellucid
