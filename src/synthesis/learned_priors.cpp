// Parts with a second network that knows what pictures look like: a generator or a denoiser.

#include "synthesis/learned_priors.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/layer_objective.h"
#include "synthesis/papers.h"

namespace pellucid {

Tensor codes_from_display(const SynthesisContext& context, ValueId layer, const Tensor& display, int64_t rows,
                          int64_t columns) {
  Request request;
  request.capture = {layer};
  const Tensor input = network_input(context, display, /*fixed_size=*/true);
  const Tensor map = as_map(context.network.run({input}, request, context.progress).at(layer), "codes");
  return at::adaptive_avg_pool2d(map, {std::min(rows, map.size(2)), std::min(columns, map.size(3))});
}

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
  std::string encoder_layer = "auto";
  double reality = 0;
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
  visit("encoder_layer", p.encoder_layer, TextLike{"a layer by name, suffix, glob or #index"},
        "The layer of the network whose activations, averaged over a grid, the generator was trained to take.");
  visit("reality", p.reality, between(0, 1),
        "Share of the way from the code to that of its own picture, by encoder_layer, that is gone after each step.");
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
    if (p.reality > 0 && !encodes(scope)) {
      const LayerInfo& layer = scope.layers.layer(scope.layers.find(p.encoder_layer));
      throw_usage("latent: the code of " + p.network + " is " + shape_text(shape_) + ", which is no average of " +
                  printable(layer.name) + ", " + shape_text(layer.shape));
    }
  }

  TensorList begin(const PartScope&, const at::Generator& generator) const override {
    TensorList variables{drawn_normal(code_shape_, generator, options()) * p_.sd};
    keep(variables.front());
    return variables;
  }
  TensorList encode(const PartScope&, const Tensor&) const override {
    throw_usage("latent: a code cannot be found from a picture; use one stage, and no picture to begin with");
  }
  bool starts_with_picture() const override { return false; }

  Tensor decode(const PartScope& scope, const TensorList& variables) const override {
    return resize_display(picture_of(scope, variables), scope.height, scope.width);
  }

  void project(const PartScope& scope, TensorList& variables) const override {
    Tensor& variable = variables.front();
    if (p_.decay > 0) variable.mul_(1 - p_.decay);
    if (p_.reality > 0) variable.lerp_(variable_of(encoded(scope, variables)), p_.reality);
    keep(variable);
  }

  double code_error(const PartScope& scope) const {
    if (!encodes(scope)) return std::numeric_limits<double>::infinity();
    const TensorList variables = begin(scope, StepInfo{}.generator(0));
    const Tensor code = code_of(variables.front());
    return ((encoded(scope, variables) - code).square().sum(at::kDouble) / code.square().sum(at::kDouble))
        .item<double>();
  }

 private:
  /// What the generator makes, in display range, at its own size.
  Tensor picture_of(const PartScope& scope, const TensorList& variables) const {
    const Tensor code = code_of(variables.front());
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
    return x.to(scope.context.network.dtype());
  }

  /// Codes are [N,C] or [N,C,rows,columns].
  int64_t rows() const { return shape_.size() == 4 ? shape_[2] : 1; }
  int64_t columns() const { return shape_.size() == 4 ? shape_[3] : 1; }
  /// Whether the encoder's layer, averaged, has the shape of codes.
  bool encodes(const PartScope& scope) const {
    const Shape& map = scope.layers.shape(scope.layers.find(p_.encoder_layer));
    if ((shape_.size() != 2 && shape_.size() != 4) || (map.size() != 2 && map.size() != 4)) return false;
    const int64_t height = map.size() == 4 ? map[2] : 1, width = map.size() == 4 ? map[3] : 1;
    return map[1] == shape_[1] && rows() <= height && columns() <= width;
  }
  /// What the network makes of the picture of a code, E(G(h)).
  Tensor encoded(const PartScope& scope, const TensorList& variables) const {
    const at::NoGradGuard no_grad;
    const ValueId layer = scope.layers.find(p_.encoder_layer);
    return codes_from_display(scope.context, layer, picture_of(scope, variables), rows(), columns())
        .to(options())
        .view(shape_);
  }

  /// What the generator takes, and the nearest variable to it.
  Tensor code_of(const Tensor& variable) const {
    Tensor code = variable;
    if (directions_.defined()) code = at::matmul(code, directions_).view(shape_);
    if (deviation_.defined()) code = deviation_ * code;
    return mean_.defined() ? (mean_ + code).clamp(p_.low, p_.high) : code;
  }
  Tensor variable_of(const Tensor& code) const {
    if (directions_.defined()) return at::matmul((code - mean_).flatten(1), inverse_);
    // A number that never varies is its mean.
    if (deviation_.defined()) return at::where(deviation_ > 0, (code - mean_) / deviation_, at::zeros_like(code));
    return code;
  }

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
      inverse_ = at::linalg_pinv(directions_.to(at::kDouble), 1e-6).to(options());
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
  Tensor inverse_;     ///< [d,K]
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

double code_error(const PartScope& scope, const std::string& latent) {
  const PartCall call = PartCall::parse(PartKind::kParameterization, latent);
  LatentParams p = params_from<LatentParams>(call.info->id, call.params);
  p.reality = 0;  // which a code of another shape has no use for
  return Latent(scope, p).code_error(scope);
}

std::vector<PartEntry<Parameterization>> latent_parameterizations() {
  return {part_entry<Parameterization, Latent, LatentParams>("latent", "A generator's code.", kNguyen2016)};
}

std::vector<PartEntry<AfterStep>> learned_after_steps() {
  return {part_entry<AfterStep, Denoise, DenoiseParams>("denoise", "A share of the way to what a denoiser makes of it.",
                                                        kAlain2014)};
}

}  // namespace pellucid
