// Parts with a second network that knows what pictures look like: a generator or a denoiser.

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "synthesis/papers.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

struct LatentParams {
  std::string network;
  std::string bound = "none";
  double deviations = 3;
  double low = -1e9, high = 1e9;
  std::string range;
  std::string output = "unit";
  double sd = 1;
  double decay = 0;
};
template <class V>
void describe(V& visit, LatentParams& p) {
  visit("network", p.network, TextLike{"an ONNX file"},
        "A generator with one input, the code, and one picture as output.");
  visit("bound", p.bound, one_of({"none", "sphere", "range", "principal", "clip"}),
        "Where codes are kept: on the sphere of radius sqrt(d), that of normal numbers; within so many deviations of "
        "the mean of codes, in the units of which they then move, number by number or (principal) along the principal "
        "directions of codes; or within low and high.");
  visit("deviations", p.deviations, between(0, 1000), "For bound=range and principal.");
  visit("low", p.low, between(-1e9, 1e9), "Smallest number of a code, for range, principal and clip; 0 after a ReLU.");
  visit("high", p.high, between(-1e9, 1e9), "Largest.");
  visit("range", p.range,
        TextLike{"the name of a tensor [2+K,...]: mean and deviation of codes, K principal directions"},
        "For bound=range and principal; empty: NAME.range.npy beside NAME.onnx.");
  visit("output", p.output, one_of({"unit", "signed", "bytes"}),
        "What black and white are: 0 and 1, -1 and 1, 0 and 255.");
  visit("sd", p.sd, between(0, 100), "Standard deviation of a random start, in the units of the bound.");
  visit("decay", p.decay, between(0, 1),
        "Share of the code (of its distance from the mean for range and principal) lost at each step.");
}

/// A code h that a generator makes the picture of.
class Latent final : public Parameterization {
 public:
  Latent(const PartScope& scope, const LatentParams& p)
      : p_(p), generator_(scope.network("latent", p.network).network) {
    const Graph& graph = generator_.graph();
    if (graph.inputs().size() != 1 || graph.outputs().size() != 1) {
      throw_usage("latent: " + p.network + " has " + std::to_string(graph.inputs().size()) + " inputs and " +
                  std::to_string(graph.outputs().size()) + " outputs; one code and one picture were expected");
    }
    shape_ = graph.inputs().front().shape;
    for (size_t i = 1; i < shape_.size(); ++i) {
      if (shape_[i] < 1) throw_usage("latent: " + p.network + " leaves the shape of its code open");
    }
    if (shape_.size() < 2) throw_usage("latent: the code of " + p.network + " is not [N,...]");
    shape_[0] = scope.batch;
    code_shape_ = shape_;
    if (p.bound == "range" || p.bound == "principal") read_range(scope);
  }

  TensorList begin(const PartScope& scope, const at::Generator& generator) const override {
    TensorList codes;  // picture by picture, so that the first ones do not depend on the size of the batch
    Shape one = code_shape_;
    one[0] = 1;
    for (int64_t b = 0; b < scope.batch; ++b) {
      codes.push_back(at::randn(one, generator, at::TensorOptions(at::kDouble)).to(options()) * p_.sd);
    }
    TensorList variables{at::cat(codes)};
    keep(variables.front());
    return variables;
  }
  TensorList encode(const PartScope&, const Tensor&) const override {
    throw_usage("latent: a code cannot be found from a picture; use one stage, and no picture to begin with");
  }
  bool starts_with_picture() const override { return false; }

  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    Tensor code = variables.front();
    if (directions_.defined()) code = at::matmul(code, directions_).view(shape_);
    if (deviation_.defined()) code = deviation_ * code;
    if (mean_.defined()) code = (mean_ + code).clamp(p_.low, p_.high);
    Request request;
    const ValueId output = generator_.graph().outputs().front();
    request.capture = {output};
    Tensor x = at::GradMode::is_enabled() ? generator_.run_with_autograd({code}, request).at(output)
                                          : generator_.run({code}, request, scope.context.progress).at(output);
    if (x.dim() != 4 || x.size(1) != 3) {
      throw_usage("latent: " + p_.network + " makes " + shape_text(x.sizes()) + "; pictures [N,3,H,W] were expected");
    }
    if (p_.output == "signed") x = (x + 1) / 2;
    if (p_.output == "bytes") x = x / 255;
    return resize_display(x.to(scope.context.network.dtype()), scope.height, scope.width);
  }

  void project(const PartScope&, TensorList& variables) const override {
    if (p_.decay > 0) variables.front().mul_(1 - p_.decay);
    keep(variables.front());
  }

 private:
  at::TensorOptions options() const { return at::TensorOptions(generator_.dtype()).device(generator_.device()); }

  void read_range(const PartScope& scope) {
    const Tensor range = scope.tensor("latent", p_.range.empty() ? p_.network + ".range" : p_.range).to(options());
    const bool principal = p_.bound == "principal";
    Shape expected = shape_;
    expected[0] = range.dim() > 0 ? std::max<int64_t>(principal ? 3 : 2, range.size(0)) : 2;
    if (range.sizes() != at::IntArrayRef(expected)) {
      throw_usage("latent: the range is " + shape_text(range.sizes()) + "; " + shape_text(expected) +
                  ", mean, deviation" + (principal ? " and principal directions, was expected" : ", was expected"));
    }
    mean_ = range.narrow(0, 0, 1);
    if (principal) {
      directions_ = range.slice(0, 2).flatten(1);
      code_shape_ = {shape_[0], directions_.size(0)};
    } else {
      deviation_ = range.narrow(0, 1, 1);
    }
  }

  void keep(Tensor& code) const {
    if (p_.bound == "sphere") {
      const Tensor flat = code.flatten(1);
      flat.mul_(std::sqrt(static_cast<double>(flat.size(1))) / flat.norm(2, 1, true).clamp_min(1e-12));
    } else if (mean_.defined()) {
      code.clamp_(-p_.deviations, p_.deviations);
    } else if (p_.bound == "clip") {
      code.clamp_(p_.low, p_.high);
    }
  }

  LatentParams p_;
  const Network& generator_;
  Shape shape_;       ///< Of what the generator takes.
  Shape code_shape_;  ///< Of the variable, [N,K] for directions.
  Tensor mean_, deviation_;
  Tensor directions_;  ///< [K,d], each as long as codes deviate along it.
};

// ---------------------------------------------------------------------------------------------------------------------

struct DenoiseParams {
  std::string network;
  double strength = 0.1;
  int64_t every = 1;
};
template <class V>
void describe(V& visit, DenoiseParams& p) {
  visit("network", p.network, TextLike{"an ONNX file"}, "A denoiser [N,3,H,W] of pictures in display range.");
  visit("strength", p.strength, between(0, 1), "Share of the way to the denoised picture.");
  visit("every", p.every, integer_between(1, 1000000), "Steps from one time to the next.");
}

/// x + strength (R(x) - x): for a denoiser R of noise with deviation s, (R(x) - x) / s^2 is the gradient of log p(x).
class Denoise final : public AfterStep {
 public:
  Denoise(const PartScope& scope, const DenoiseParams& p)
      : p_(p), denoiser_(scope.network("denoise", p.network).network), unit_(scope.unit) {}
  Tensor apply(const Tensor& pixels, const Tensor&, const StepInfo& step) const override {
    if (step.step % p_.every != 0) return pixels;
    const Tensor x = display_from_pixels(pixels, unit_);
    // Networks that go down and up again want sides that can be halved.
    constexpr int64_t kMultiple = 16;
    const auto missing = [](int64_t side) { return (kMultiple - side % kMultiple) % kMultiple; };
    const Tensor padded = at::replication_pad2d(x, {0, missing(x.size(3)), 0, missing(x.size(2))});
    const auto options = at::TensorOptions(denoiser_.dtype()).device(denoiser_.device());
    const Tensor denoised = denoiser_.run(padded.to(options).contiguous())[0];
    if (denoised.sizes() != padded.sizes()) {
      throw_usage("denoise: " + p_.network + " makes " + shape_text(denoised.sizes()) + " of " +
                  shape_text(padded.sizes()) + "; a picture of the same size was expected");
    }
    const Tensor cut = denoised.slice(2, 0, x.size(2)).slice(3, 0, x.size(3)).to(x.options());
    return pixels_from_display(x + p_.strength * (cut - x), unit_);
  }

 private:
  DenoiseParams p_;
  const Network& denoiser_;
  PixelUnit unit_;
};

}  // namespace

std::vector<PartEntry<Parameterization>> latent_parameterizations() {
  return {part_entry<Parameterization, Latent, LatentParams>("latent", "A generator's code.", kNguyen2016)};
}

std::vector<PartEntry<AfterStep>> learned_after_steps() {
  return {part_entry<AfterStep, Denoise, DenoiseParams>("denoise", "A share of the way to what a denoiser makes of it.",
                                                        kAlain2014)};
}

}  // namespace pellucid
