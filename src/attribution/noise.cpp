// Noise averaging around any method: its signed values are averaged (or their second moment or variance taken), then
// reduced to a map as the method does.
//   Smilkov, Thorat, Kim, Viegas, Wattenberg. "SmoothGrad: Removing Noise by Adding Noise". arXiv 2017.
//   Second moment: Hooker et al., NeurIPS 2019. Variance: Adebayo et al., NeurIPS 2018.
// Captum's NoiseTunnel is the same with an absolute deviation. The noisy pictures are not clipped.

#include "attribution/noise.h"

#include <ATen/CPUGeneratorImpl.h>

#include "pellucid/error.h"

namespace pellucid {

NoiseStream::NoiseStream(const Context& context, int64_t count)
    : injected_(context.injected_noise),
      image_(context.input.sizes().slice(1).vec()),
      options_(context.input.options()),
      generator_(at::detail::createCPUGenerator(context.seed)),
      rest_(at::empty({0}, at::kDouble)) {
  if (!injected_.defined()) return;
  if (injected_.dim() == 0 || injected_.size(0) < count || injected_.sizes().slice(1) != at::IntArrayRef(image_)) {
    throw_usage("injected noise has shape " + shape_text(injected_.sizes()) + "; [" + std::to_string(count) +
                ", shape of one image] was expected");
  }
}

Tensor NoiseStream::draw(int64_t n) {
  given_ += n;
  if (injected_.defined()) return injected_.narrow(0, given_ - n, n).to(options_);
  // The generator fills blocks of 16 numbers; whole blocks make the numbers independent of the portions.
  constexpr int64_t kBlock = 16;
  const int64_t wanted = n * c10::multiply_integers(image_);
  const int64_t missing = std::max<int64_t>(0, wanted - rest_.size(0));
  const int64_t fresh = (missing + kBlock - 1) / kBlock * kBlock;
  if (fresh > 0) rest_ = at::cat({rest_, at::randn({fresh}, generator_, at::TensorOptions().dtype(at::kDouble))});
  Shape shape{n};
  shape.insert(shape.end(), image_.begin(), image_.end());
  const Tensor numbers = rest_.narrow(0, 0, wanted).view(shape).to(options_);
  rest_ = rest_.narrow(0, wanted, rest_.size(0) - wanted).clone();
  return numbers;
}

Tensor noise_scale(const Context& context, double fraction) {
  const Tensor flat = context.input.flatten(1);
  return (flat.amax(1) - flat.amin(1)) * fraction;
}

void RunningMoments::add(const Tensor& value) {
  const Tensor x = value.to(at::kCPU).to(at::kDouble);
  if (count_++ == 0) {
    mean_ = x.clone();
    squares_ = at::zeros_like(x);
    return;
  }
  const Tensor delta = x - mean_;
  mean_.add_(delta, 1 / static_cast<double>(count_));
  squares_.add_(delta * (x - mean_));
}

namespace {

struct SmoothParams : NoiseParams {
  std::string moment = "mean";
};

template <class V>
void describe(V& visit, SmoothParams& p) {
  describe(visit, static_cast<NoiseParams&>(p));
  visit("moment", p.moment, one_of({"mean", "squared", "variance"}),
        "Mean of the copies' values, mean of their squares, or their population variance.");
}

/// One copy's share of the whole work.
class CopyProgress : public Progress {
 public:
  CopyProgress(Progress& whole, int64_t copy, int64_t copies)
      : whole_(whole), copy_(static_cast<double>(copy)), copies_(static_cast<double>(copies)) {}
  void report(double done, double total, const std::string&) override {
    whole_.report(copy_ + (total > 0 ? done / total : 0), copies_, "noisy copies");
  }
  void check() const override { whole_.check(); }

 private:
  Progress& whole_;
  double copy_, copies_;
};

class Average {
 public:
  /// `align` as the averaged method has it; empty when it has no such parameter.
  Average(std::string moment, std::string align) : moment_(std::move(moment)), align_(std::move(align)) {}

  void add(Attribution a) {
    values_.add(a.values);
    maps_.add(a.map);
    for (const auto& [layer, raw] : a.layer_values) layers_[layer].add(raw);
    ++count_;
    if (count_ == 1) {
      result_ = std::move(a);
      // Standard errors, features and the like are those of one copy and say nothing about the mean.
      result_.extra.clear();
      return;
    }
    for (size_t i = 0; i < a.diagnostics.size(); ++i) {
      for (const auto& [name, number] : a.diagnostics[i]) result_.diagnostics[i][name] += number;
    }
  }

  Attribution finish(const Context& context) {
    const auto chosen = [&](const RunningMoments& m) {
      const Tensor t = moment_ == "mean" ? m.mean() : moment_ == "squared" ? m.second_moment() : m.variance();
      return t.to(context.network.dtype());
    };
    if (moment_ != "mean") result_.is_signed = false;
    result_.values = chosen(values_);
    // Reduced after averaging where the reduction is known, so that what cancels in the values cancels in the map.
    const bool own_resampling = result_.reduction == "none" && result_.layers.empty();
    if (own_resampling) {
      result_.map = Tensor();
    } else if (!align_.empty() && layers_.empty() && result_.layers.size() == 1 && result_.values.dim() == 3) {
      const Tensor map = result_.is_signed ? result_.values : at::relu(result_.values);
      result_.map = layer_map_at_input(context, result_.layers.front(), map, align_);
    } else {
      result_.map = map_from_values(context, result_.values, result_.reduction, !result_.is_signed);
    }
    if (!result_.map.defined()) result_.map = chosen(maps_);
    for (const auto& [layer, raw] : layers_) result_.layer_values[layer] = chosen(raw);
    result_.diagnostics.resize(static_cast<size_t>(num_images(context)));
    for (auto& diagnostics : result_.diagnostics) {
      for (auto& [name, number] : diagnostics) {
        if (name != "passes") number /= static_cast<double>(count_);
      }
      diagnostics["samples"] = static_cast<double>(count_);
    }
    return std::move(result_);
  }

 private:
  std::string moment_, align_;
  RunningMoments values_, maps_;
  std::map<ValueId, RunningMoments> layers_;
  Attribution result_;
  int64_t count_ = 0;
};

Attribution smooth(const Context& context, const MethodCall& inner, const SmoothParams& p) {
  NoiseStream noise(context, p.samples);
  Shape each(context.input.dim(), 1);
  each[0] = -1;
  const Tensor scale = noise_scale(context, p.noise).view(each);
  const ParamMap params = inner.method->complete(inner.params);
  const auto align = params.find("align");
  Average average(p.moment, align == params.end() ? "" : align->second);
  for (int64_t k = 0; k < p.samples; ++k) {
    Context noisy = context;
    noisy.input = context.input + noise.draw(1) * scale;
    if (!context.progress) {
      average.add(inner.method->run(noisy, inner.params));
      continue;
    }
    CopyProgress progress(*context.progress, k, p.samples);
    noisy.progress = &progress;
    average.add(inner.method->run(noisy, inner.params));
    progress.report(1, 1, {});
  }
  return average.finish(context);
}

}  // namespace

Method smooth_method(const MethodCall& inner) {
  const std::string name = inner.text();
  // A mean is not complete for the clean picture, since the scores of the copies differ from its score.
  return make_method<SmoothParams>(
      "smooth(" + name + ")", inner.method->title + " over noisy copies", inner.method->family,
      "Mean of " + name + " over noisy copies of the picture.", papers::kSmilkov2017, inner.method->needs,
      (inner.method->properties & ~static_cast<unsigned>(kComplete)) | kStochastic,
      [inner](const Context& context, const SmoothParams& p) { return smooth(context, inner, p); });
}

std::vector<ParamSpec> smooth_params() { return param_specs<SmoothParams>(); }

}  // namespace pellucid
