#include "pellucid/error.h"
#include "pellucid/evaluation.h"

namespace pellucid {

Localization localization(const Tensor& map, const Tensor& mask) {
  if (map.dim() != 2 || map.sizes() != mask.sizes()) {
    throw_usage("localization: map " + shape_text(map.sizes()) + " and mask " + shape_text(mask.sizes()) +
                " must have one size");
  }
  const Tensor inside = mask.to(at::kBool).flatten();
  const int64_t area = inside.sum().item<int64_t>();
  if (area == 0) throw_usage("localization: the mask is empty");
  const Tensor m = at::relu(map.to(at::kCPU).to(at::kDouble)).flatten();
  Localization result;
  const double top = m.max().item<double>();
  if (!(top > 0)) return result;
  for (int64_t step = 0; step <= 50; ++step) {
    const double threshold = static_cast<double>(step) / 50;
    // At threshold zero everything would count; only what is positive does.
    const Tensor chosen = step == 0 ? m.gt(0) : m.ge(threshold * top);
    const double both = chosen.logical_and(inside).sum().item<double>();
    const double either = chosen.logical_or(inside).sum().item<double>();
    const double iou = both / either;
    if (step == 25) result.iou_half = iou;
    if (iou > result.iou_best) {
      result.iou_best = iou;
      result.best_threshold = threshold;
    }
  }
  result.mass = m.masked_select(inside).sum().item<double>() / m.sum().item<double>();
  const Tensor highest = std::get<1>(m.topk(area));
  result.rank = inside.index_select(0, highest).sum().item<double>() / static_cast<double>(area);
  result.hit = inside[m.argmax().item<int64_t>()].item<bool>();
  return result;
}

}  // namespace pellucid
