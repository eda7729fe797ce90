// Zhang et al. "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation". CVPR 2025: a class
// activation map of what separates the class t from those most like it, the n classes u whose logits are nearest:
//   sum_u p_u (S_t - alpha S_u) / sum_u p_u
// The probabilities p_u are weights of the moment and are not differentiated; pytorch-grad-cam differentiates them too.

#include <algorithm>

#include "attribution/cam.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kZhang2025{"zhang2025", "Zhang, Gu, Chowdhury, Mai, Carlyn, Berger-Wolf, Su, Chao",
                           "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation", "CVPR",
                           2025};

struct FinerCamParams {
  double alpha = 1;
  int64_t classes = 3;
  std::string base = "grad-cam";
  bool differentiate_weights = false;
};

template <class V>
void describe(V& visit, FinerCamParams& p) {
  visit("alpha", p.alpha, between(0, 10), "How much of the similar classes is taken off; 0 gives the base method.");
  visit("classes", p.classes, at_least(1), "Similar classes compared with: those whose logits are nearest.");
  visit("base", p.base, one_of({"grad-cam", "hires-cam", "layer-cam", "grad-cam-elementwise"}),
        "The class activation map that is made of the difference.");
  visit("differentiate_weights", p.differentiate_weights, Flag{},
        "Let the gradient pass through the probabilities that weigh the classes, as pytorch-grad-cam does.");
}

/// The score of each row, [M], from the target's value.
Tensor finer_score(const FinerCamParams& p, const BoundTarget& target, const Tensor& value) {
  if (target.is_dense() || target.class_index(0) < 0 || value.flatten(1).size(1) != value.size(1)) {
    throw_usage("finer-cam: the target must be a class of a classifier, to be compared with other classes");
  }
  Tensor logits = value.flatten(1);
  if (logits.size(1) == 1) logits = at::cat({-logits, logits}, 1);
  const int64_t count = std::min(p.classes, logits.size(1) - 1);
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < target.size(); ++i) classes.push_back(target.class_index(i));
  const Tensor index = at::tensor(classes, at::kLong).to(value.device()).unsqueeze(1);
  const Tensor own = logits.gather(1, index);
  const Tensor distance = (logits - own).detach().abs().scatter(1, index, -1);  // the class itself comes first
  const Tensor order = std::get<1>(at::sort(distance, /*stable=*/true, 1, /*descending=*/false));
  const Tensor similar = order.narrow(1, 1, count);
  const Tensor others = logits.gather(1, similar);
  const Tensor differences = own - p.alpha * others;
  // Restricted to the similar classes, probabilities over their sum are a softmax of those alone.
  if (!p.differentiate_weights) return (at::softmax(others.detach(), 1) * differences).sum(1);
  const Tensor weights = at::softmax(logits, 1).gather(1, similar);
  return (weights * differences).sum(1) / (weights.sum(1) + 1e-9);
}

Attribution finer_cam(const Context& context, const FinerCamParams& p, const CamOptions& options) {
  CamCall call;
  call.score = [&](const BoundTarget& target, const Tensor& value) { return finer_score(p, target, value); };
  return run_cam(context, gradient_member(p.base), options, call);
}

}  // namespace

Method finer_cam_method() {
  return make_cam<FinerCamParams>("finer-cam", "Finer-CAM", "What separates the class from those most like it.",
                                  kZhang2025, kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative, finer_cam);
}

}  // namespace pellucid
