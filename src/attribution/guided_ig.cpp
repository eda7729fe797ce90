// Guided Integrated Gradients: a path from the baseline to the picture that moves the pixels with the smallest gradient
// first, inside a band around the straight path, so that noise from saturated stretches is not collected.
//   Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi. "Guided Integrated Gradients: An Adaptive Path Method for
//   Removing Noise". CVPR 2021, algorithm 1; steps, fraction and band as in the authors' code (PAIR-code/saliency).
// The path is kept in float64 whatever the network computes in: the choice of pixels needs exact comparisons.

#include <algorithm>
#include <cmath>
#include <limits>

#include "attribution/baseline.h"
#include "attribution/path.h"

namespace pellucid {

namespace {

constexpr Paper kKapishnikov2021{"kapishnikov2021", "Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi",
                                 "Guided Integrated Gradients: An Adaptive Path Method for Removing Noise", "CVPR",
                                 2021};

struct GuidedIgParams {
  int64_t steps = 200;
  double fraction = 0.25;
  double max_dist = 0.02;
  std::string baseline = "black";
};

template <class V>
void describe(V& visit, GuidedIgParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Gradients taken on the path; they cannot go in one pass.");
  visit("fraction", p.fraction, between(0.01, 1),
        "Share of the pixels that moves at a time, smallest gradients first.");
  visit("max_dist", p.max_dist, between(0, 1),
        "How far a pixel may be from the straight path, as a share of its way; 0 is Integrated Gradients, left rule.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the path starts.");
}

/// The path of one image.
class GuidedPath {
 public:
  GuidedPath(const Tensor& from, const Tensor& to)
      : from_(numbers(from)), to_(numbers(to)), x_(from_), values_(from_.size(), 0.0), size_(from_.size()) {
    for (size_t i = 0; i < size_; ++i) total_ += std::abs(to_[i] - from_[i]);
  }

  const std::vector<double>& position() const { return x_; }
  const std::vector<double>& values() const { return values_; }

  /// From the gradient at the current position until the L1 distance to the picture is (1 - alpha) of the whole.
  void advance(const double* gradient, double alpha, const GuidedIgParams& p) {
    const double low = std::max(alpha - p.max_dist, 0.0), high = std::min(alpha + p.max_dist, 1.0);
    const double goal = total_ * (1 - alpha);
    const double tolerance = 1e-9 * std::max(1.0, total_);
    const auto quantile = static_cast<size_t>(p.fraction * static_cast<double>(size_ - 1));
    constexpr double kArrived = std::numeric_limits<double>::infinity();
    std::vector<double> size(size_), sorted;
    while (true) {
      double distance = 0;
      for (size_t i = 0; i < size_; ++i) {
        const double bound = at(i, low);
        if ((x_[i] - bound) * (to_[i] - from_[i]) < 0) move(i, bound, gradient[i]);
        distance += std::abs(x_[i] - to_[i]);
      }
      if (distance - goal <= tolerance) return;
      for (size_t i = 0; i < size_; ++i) size[i] = x_[i] == at(i, high) ? kArrived : std::abs(gradient[i]);
      sorted = size;
      std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(quantile), sorted.end());
      const double limit = sorted[quantile];
      const auto chosen = [&](size_t i) { return size[i] <= limit && size[i] != kArrived; };
      double give = 0;
      for (size_t i = 0; i < size_; ++i) {
        if (chosen(i)) give += std::abs(x_[i] - at(i, high));
      }
      if (give == 0) return;  // every pixel is at the end of its band: what is left is rounding
      const double share = (distance - goal) / give;
      for (size_t i = 0; i < size_; ++i) {
        if (chosen(i)) move(i, share > 1 ? at(i, high) : x_[i] + share * (at(i, high) - x_[i]), gradient[i]);
      }
      if (share <= 1) return;
    }
  }

  /// For gradients without meaning, so that the result says so.
  void spoil() { std::fill(values_.begin(), values_.end(), std::numeric_limits<double>::quiet_NaN()); }

 private:
  static std::vector<double> numbers(const Tensor& t) {
    const Tensor flat = t.to(at::kCPU).to(at::kDouble).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
  }
  /// The point of the straight path; exactly the picture at its end.
  double at(size_t i, double alpha) const { return alpha >= 1 ? to_[i] : from_[i] + (to_[i] - from_[i]) * alpha; }
  void move(size_t i, double where, double gradient) {
    values_[i] += (where - x_[i]) * gradient;
    x_[i] = where;
  }

  std::vector<double> from_, to_, x_, values_;
  size_t size_;
  double total_ = 0;
};

Tensor as_tensor(const std::vector<double>& numbers, const Tensor& like) {
  return at::tensor(numbers, at::TensorOptions(at::kDouble)).view(like.sizes());
}

/// Values [N,...] float64 of one baseline. The images go through the network together, step by step.
Tensor guided_values(const Context& context, const Tensor& start, const GuidedIgParams& p, double done, double total) {
  const int64_t images = num_images(context);
  const ValueId input = input_value(context);
  std::vector<GuidedPath> paths;
  for (int64_t i = 0; i < images; ++i) paths.emplace_back(start[i], context.input[i]);
  const auto positions = [&] {
    TensorList list;
    for (const GuidedPath& path : paths) list.push_back(as_tensor(path.position(), context.input[0]));
    return at::stack(list).to(context.input.options());
  };
  for (int64_t step = 1; step <= p.steps; ++step) {
    const Tensor g = gradients(context, {positions(), all_rows(context), {input}, {}})
                         .gradients.at(input)
                         .to(at::kCPU)
                         .to(at::kDouble)
                         .contiguous();
    for (int64_t i = 0; i < images; ++i) {
      GuidedPath& path = paths[static_cast<size_t>(i)];
      if (std::isfinite(g[i].sum().item<double>())) {
        path.advance(g[i].data_ptr<double>(), static_cast<double>(step) / static_cast<double>(p.steps), p);
      } else {
        path.spoil();
      }
    }
    if (context.progress) context.progress->report(done + static_cast<double>(step), total, "steps of the path");
  }
  TensorList values;
  for (const GuidedPath& path : paths) values.push_back(as_tensor(path.values(), context.input[0]));
  return at::stack(values);
}

Attribution guided_ig(const Context& context, const GuidedIgParams& p) {
  const std::vector<Tensor> starts = baselines(context, "guided-ig", p.baseline);
  const auto count = static_cast<double>(starts.size());
  Tensor values, at_start;
  for (size_t s = 0; s < starts.size(); ++s) {
    const Tensor found = guided_values(context, starts[s], p, static_cast<double>(s) * static_cast<double>(p.steps),
                                       count * static_cast<double>(p.steps));
    const Tensor score = scores_at(context, starts[s]);
    values = s == 0 ? found : values + found;
    at_start = s == 0 ? score : at_start + score;
  }
  values = values / count;
  const Tensor difference = scores_at(context, context.input) - at_start / count;
  Attribution a = input_attribution(context, values.to(context.network.dtype()), Reduction::kSum);
  a.diagnostics.resize(static_cast<size_t>(num_images(context)));
  for (int64_t i = 0; i < num_images(context); ++i) {
    const double change = difference[i].item<double>();
    auto& d = a.diagnostics[static_cast<size_t>(i)];
    write_completeness({values[i].sum().item<double>() - change, change}, d);
    d["passes"] = static_cast<double>(p.steps) * count;
  }
  return a;
}

}  // namespace

Method guided_ig_method() {
  return make_method<GuidedIgParams>(
      "guided-ig", "Guided Integrated Gradients", "gradient",
      "Integrated Gradients on a path that moves the pixels with the smallest gradient first.", kKapishnikov2021,
      kNeedsTarget | kNeedsBaseline | kNeedsGradient, kComplete | kScalesWithLogit, guided_ig);
}

}  // namespace pellucid
