// Cai. "CAMs as Shapley Value-based Explainers". arXiv 2025: the Shapley value of a channel to second order,
//   w_k = mean over the positions of G - H A / 2,
// with H the Hessian of the score in the layer. The score is ReST, the logit less the cross-entropy, S + log p: on a
// plain logit the Hessian of a piecewise linear network is zero and the method equals Grad-CAM.

#include <torch/csrc/autograd/autograd.h>

#include "attribution/cam.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kCai2025{"cai2025", "Cai", "CAMs as Shapley Value-based Explainers", "arXiv", 2025};

struct ShapleyCamParams {
  std::string score = "rest";
};

template <class V>
void describe(V& visit, ShapleyCamParams& p) {
  visit("score", p.score, one_of({"rest", "target"}),
        "rest: the score plus the logarithm of the class probability. target: the score alone.");
}

/// G - H A / 2 at the layer for rows [begin, begin + n), like the layer's value.
Tensor second_order_gradient(const Context& context, const ShapleyCamParams& p, const CamInput& in,
                             const std::vector<int64_t>& rows) {
  const at::AutoGradMode enabled(true);
  const BoundTarget target = context.target.rows(rows);
  const Tensor a = in.value.narrow(0, rows.front(), static_cast<int64_t>(rows.size())).detach();
  const Tensor leaf = a.clone().requires_grad_(true);
  Request request;
  request.capture = {target.value()};
  request.from = {{in.layer, leaf}};
  // The pictures are for paths around the layer.
  const Tensor input = context.input.narrow(0, rows.front(), static_cast<int64_t>(rows.size()));
  const Tensor value = context.network.run_with_autograd({input}, request).at(target.value());
  Tensor score = target.score(value);
  if (p.score == "rest") {
    const Tensor log_probability = target.log_probability(value);
    if (log_probability.defined()) score = score + log_probability;
  }
  if (!score.requires_grad()) {
    throw_usage("layer '" + printable(context.layers.layer(in.layer).name) + "' does not influence the target");
  }
  const Tensor g = torch::autograd::grad({score.sum()}, {leaf}, {}, true, /*create_graph=*/true, true)[0];
  if (!g.defined()) {
    throw_usage("layer '" + printable(context.layers.layer(in.layer).name) + "' does not influence the target");
  }
  if (!g.requires_grad()) return g;  // linear in the layer
  const Tensor h_a = torch::autograd::grad({g}, {leaf}, {a}, false, false, true)[0];
  return h_a.defined() ? (g - h_a / 2).detach() : g.detach();
}

Attribution shapley_cam(const Context& context, const ShapleyCamParams& p, const CamOptions& options) {
  CamCall call;
  call.gradients = false;
  return run_cam(
      context,
      [&](const CamInput& in) {
        const int64_t images = num_images(context);
        const int64_t step = std::min(std::max<int64_t>(1, context.batch_size), rows_within_budget(context, in.layer));
        TensorList weights;
        for (int64_t begin = 0; begin < images; begin += step) {
          if (context.progress) {
            context.progress->report(static_cast<double>(begin), static_cast<double>(images), "second derivatives");
          }
          const std::vector<int64_t> all = all_rows(context);
          const std::vector<int64_t> rows(all.begin() + begin, all.begin() + std::min(images, begin + step));
          const Tensor g = second_order_gradient(context, p, in, rows);
          weights.push_back(as_map(context, in.layer, g).to(at::kCPU).mean({2, 3}, false, at::kDouble));
        }
        return weigh(at::cat(weights));
      },
      options, call);
}

}  // namespace

Method shapley_cam_method() {
  return make_cam<ShapleyCamParams>("shapley-cam", "Shapley-CAM",
                                    "Channels weighted by a second-order estimate of their Shapley value.", kCai2025,
                                    kNeedsTarget | kNeedsLayer | kNeedsGradient, kNonNegative, shapley_cam);
}

}  // namespace pellucid
