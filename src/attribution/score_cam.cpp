// Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu. "Score-CAM: Score-Weighted Visual Explanations for Convolutional
// Neural Networks". CVPR Workshops 2020: the weight of a channel is the score of the picture masked by the channel's
// activation, L = relu(sum_k w_k A_k), H_k = minmax(upsample(A_k)), score of x * H_k. The picture is masked in the
// model domain, where zero is often the mean color. Implementations differ in what becomes of the scores:
//   official           probabilities are the weights, channels of one value are left out
//   paper              softmax over the channels of the scores' increase over a black picture's, which cancels
//   torch-cam          the same, but scaled to [0,1] before the resampling
//   pytorch-grad-cam   the same as paper, resampled with aligned corners and 1e-8 in the denominator

#include <algorithm>
#include <limits>

#include "attribution/cam.h"
#include "attribution/perturbation.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kWang2020{"wang2020", "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
                          "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
                          "CVPR Workshops", 2020};

struct ScoreCamParams {
  std::string variant = "official";
  std::string channels = "all";
};

template <class V>
void describe(V& visit, ScoreCamParams& p) {
  visit("variant", p.variant, one_of({"official", "paper", "torch-cam", "pytorch-grad-cam"}),
        "official: class probabilities are the weights. The others: softmax over the channels of their scores.");
  visit("channels", p.channels, TextLike{"all, or how many"},
        "Channels that are tried, those with the largest variance first; the others weigh nothing. One forward pass "
        "each.");
}

/// Scaled to [0,1] per map; 0 where a map has one value. maps [n,h,w]
Tensor min_max(const Tensor& maps, double epsilon) {
  const Tensor low = maps.flatten(1).amin(1).view({-1, 1, 1});
  const Tensor range = maps.flatten(1).amax(1).view({-1, 1, 1}) - low;
  return safe_ratio(maps - low, (range + epsilon).expand_as(maps));
}

/// Masks [n,H,W] at input size from channels [n,h,w].
Tensor channel_masks(const Context& context, const std::string& variant, const Tensor& channels) {
  const auto [height, width] = input_size(context);
  if (variant == "torch-cam") return upsample_map(min_max(channels, 0), height, width);
  if (variant == "pytorch-grad-cam") {
    return min_max(at::upsample_bilinear2d(channels.unsqueeze(1), {height, width}, true).squeeze(1), 1e-8);
  }
  return min_max(upsample_map(channels, height, width), 0);
}

int64_t channel_limit(const ScoreCamParams& p, int64_t all) {
  if (p.channels == "all") return all;
  int64_t limit = 0;
  if (!parse_int(p.channels, limit) || limit < 1) {
    throw_usage("score-cam: channels is '" + printable(p.channels) + "'; all or a number >= 1 was expected");
  }
  return std::min(limit, all);
}

/// The channels of one image [K,h,w] to try, and whether each has more than one value.
struct Candidates {
  Tensor tried;  ///< int64, ascending
  Tensor alive;  ///< bool [K]
};
Candidates candidates(const Tensor& channels, int64_t limit) {
  const Tensor flat = channels.flatten(1);
  const Tensor high = flat.amax(1), low = flat.amin(1);
  const Tensor scale = at::max(high.abs(), low.abs()).clamp_min(1);
  const Tensor alive = (high - low).gt(scale * 1e-12);
  Tensor tried = alive.nonzero().flatten();
  if (tried.size(0) > limit) {
    const Tensor variance = flat.var(1, false).index_select(0, tried);
    const Tensor order = std::get<1>(at::sort(variance, /*stable=*/true, 0, /*descending=*/true));
    tried = std::get<0>(tried.index_select(0, order.narrow(0, 0, limit)).sort());
  }
  return {tried, alive};
}

/// Weights [K] of one image's channels. What all channels of one value show is the same blank picture: official leaves
/// them out, the others measure it once.
Tensor channel_weights(const Context& context, const ScoreCamParams& p, const Tensor& channels, int64_t image) {
  const bool official = p.variant == "official";
  const int64_t limit = channel_limit(p, channels.size(0));
  const auto [tried, alive] = candidates(channels, limit);
  const bool blank = !official && limit == channels.size(0) && !alive.all().item<bool>();
  const Tensor chosen = channels.index_select(0, tried);
  const int64_t masked = tried.size(0);
  Variants variants;
  variants.image = image;
  variants.count = masked + (blank ? 1 : 0);
  variants.measure = official ? Measure::kProbability : Measure::kScore;
  variants.what = "masked pictures";
  variants.done = image * channels.size(0);
  variants.total = num_images(context) * channels.size(0);
  variants.make = [&](int64_t begin, int64_t n) {
    const int64_t here = std::min(n, masked - begin);
    TensorList parts;
    const Tensor x = context.input.narrow(0, image, 1);
    if (here > 0) {
      const Tensor masks = channel_masks(context, p.variant, chosen.narrow(0, begin, here));
      parts.push_back(x * masks.to(x.options()).unsqueeze(context.card.channels_first ? 1 : 3));
    }
    if (here < n) parts.push_back(at::zeros_like(x));
    return at::cat(parts);
  };
  Tensor weights = at::zeros({channels.size(0)}, at::kDouble);
  if (variants.count == 0) return weights;
  const Tensor found = measure_variants(context, variants);
  if (official) return weights.index_copy_(0, tried, found);
  Tensor scores = at::full({channels.size(0)}, -std::numeric_limits<double>::infinity(), at::kDouble);
  if (blank) scores.masked_fill_(alive.logical_not(), found[masked].item<double>());
  scores.index_copy_(0, tried, found.narrow(0, 0, masked));
  return at::softmax(scores, 0);
}

Attribution score_cam(const Context& context, const ScoreCamParams& p, const CamOptions& options) {
  CamCall call;
  call.gradients = false;
  return run_cam(
      context,
      [&](const CamInput& in) {
        TensorList weights;
        for (int64_t i = 0; i < num_images(context); ++i) {
          weights.push_back(channel_weights(context, p, in.activations[i], i));
        }
        return weigh(at::stack(weights));
      },
      options, call);
}

}  // namespace

Method score_cam_method() {
  return make_cam<ScoreCamParams>("score-cam", "Score-CAM",
                                  "Channels weighted by the score of the picture masked with them; no gradient.",
                                  kWang2020, kNeedsTarget | kNeedsLayer, kNonNegative, score_cam);
}

}  // namespace pellucid
