// Srinivas, Fleuret. "Full-Gradient Representation for Neural Network Visualization". NeurIPS 2019. A piecewise linear
// network's score is the sum of input times gradient and of every bias times the gradient where it is added:
//   S(x) = sum x * g + sum_l sum_c b_lc sum_positions dS/dz_lc
// The map adds psi(x * g) and psi(b_lc dS/dz_lc) over all channels of convolutions and normalizations, psi = absolute
// value, scaled to [0,1], resampled. Biases of linear layers have no place in the picture and belong to the sum only.

#include <algorithm>
#include <cmath>

#include "attribution/cam.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kSrinivas2019{"srinivas2019", "Srinivas, Fleuret",
                              "Full-Gradient Representation for Neural Network Visualization", "NeurIPS", 2019};

struct FullGradParams {
  std::string scaling = "layer";
};

template <class V>
void describe(V& visit, FullGradParams& p) {
  visit("scaling", p.scaling, one_of({"layer", "channel"}),
        "What is scaled to [0,1] together: all channels of a layer, as the authors do, or each channel, as "
        "pytorch-grad-cam does.");
}

/// A value to which a constant is added: z = linear(x) + bias.
struct BiasSite {
  ValueId value;
  Tensor bias;      ///< Broadcasts to the value.
  bool in_picture;  ///< A convolution or normalization with a map.
};

/// Shaped to be added to [N,C,...] of so many dimensions.
Tensor per_channel(const Tensor& bias, size_t dimensions) {
  Shape shape(dimensions, 1);
  shape[1] = bias.numel();
  return bias.reshape(shape);
}

std::vector<BiasSite> bias_sites(const Context& context) {
  const Graph& graph = context.network.graph();
  std::vector<BiasSite> sites;
  for (const Node& node : graph.nodes()) {
    const auto constant = [&](size_t i) {
      return i < node.inputs.size() && node.inputs[i] != kNoValue ? graph.value(node.inputs[i]).constant : Tensor();
    };
    const ValueId out = node.outputs.empty() ? kNoValue : node.outputs[0];
    if (out == kNoValue) continue;
    const Shape& shape = context.layers.shape(out);
    if (shape.empty() || shape[0] < 0) continue;  // not needed for the outputs
    const auto as_double = [&](const Tensor& t) { return t.to(context.network.device()).to(at::kDouble); };
    if ((node.op == "Conv" || node.op == "ConvTranspose") && constant(2).defined()) {
      sites.push_back({out, per_channel(as_double(constant(2)), shape.size()), true});
    } else if (node.op == "BatchNormalization" && constant(1).defined() && constant(4).defined()) {
      const Tensor deviation = at::sqrt(as_double(constant(4)) + node.real("epsilon", 1e-5));
      const Tensor bias = as_double(constant(2)) - as_double(constant(3)) * as_double(constant(1)) / deviation;
      sites.push_back({out, per_channel(bias, shape.size()), true});
    } else if (node.op == "Gemm" && constant(2).defined()) {
      sites.push_back({out, as_double(constant(2)) * node.real("beta", 1.0), false});
    } else if (node.op == "Add" || node.op == "Sub") {
      const Tensor right = constant(1), left = constant(0);
      if (right.defined() == left.defined()) continue;
      const bool negative = node.op == "Sub" && right.defined();
      sites.push_back({out, as_double(right.defined() ? right : left) * (negative ? -1 : 1), false});
    }
  }
  return sites;
}

/// Only sites that the target's value depends on.
std::vector<BiasSite> sites_before(const Context& context, ValueId target) {
  const Graph& graph = context.network.graph();
  std::vector<bool> needed(graph.values().size(), false);
  needed[static_cast<size_t>(target)] = true;
  for (auto node = graph.nodes().rbegin(); node != graph.nodes().rend(); ++node) {
    bool used = false;
    for (const ValueId id : node->outputs) used = used || (id != kNoValue && needed[static_cast<size_t>(id)]);
    if (!used) continue;
    for (const ValueId id : node->inputs) {
      if (id != kNoValue) needed[static_cast<size_t>(id)] = true;
    }
  }
  std::vector<BiasSite> sites = bias_sites(context);
  sites.erase(std::remove_if(sites.begin(), sites.end(),
                             [&](const BiasSite& s) { return !needed[static_cast<size_t>(s.value)]; }),
              sites.end());
  return sites;
}

/// Absolute values [N,C,h,w] scaled to [0,1], summed over the channels, at input size: [N,H,W]. Resampling is linear
/// and comes after the sum.
Tensor psi(const Context& context, const FullGradParams& p, const Tensor& contribution) {
  const bool by_channel = p.scaling == "channel";
  const Tensor m = contribution.abs();
  const std::vector<int64_t> axes = by_channel ? std::vector<int64_t>{2, 3} : std::vector<int64_t>{1, 2, 3};
  const Tensor low = m.amin(axes, true);
  const Tensor range = m.amax(axes, true) - low;
  // pytorch-grad-cam adds 1e-7, which keeps channels of the smallest contributions dark.
  const Tensor scaled = by_channel ? (m - low) / (range + 1e-7) : safe_ratio(m - low, range.expand_as(m));
  const auto [height, width] = input_size(context);
  return upsample_map(scaled.sum(1), height, width);
}

int64_t images_per_pass(const Context& context, const std::vector<BiasSite>& sites) {
  if (!context.network.batches_safely(context.progress)) return 1;
  double elements = 0;
  for (const BiasSite& site : sites) {
    elements += static_cast<double>(c10::multiply_integers(context.layers.shape(site.value)));
  }
  // Values and gradients of every site, and the record itself.
  const double bytes = 3 * elements * static_cast<double>(at::elementSize(context.network.dtype()));
  const double images = static_cast<double>(context.memory_budget) / std::max(1.0, bytes);
  return static_cast<int64_t>(std::clamp(images, 1.0, static_cast<double>(std::max<int64_t>(1, context.batch_size))));
}

struct Decomposition {
  Tensor map;  ///< [n,H,W] float64
  Tensor gap;  ///< [n] float64: the score less the sum of all contributions
  Tensor score;
};

Decomposition decompose(const Context& context, const FullGradParams& p, const std::vector<BiasSite>& sites,
                        const std::vector<int64_t>& rows) {
  const ValueId input = input_value(context);
  GradientRequest request;
  request.input = context.input.narrow(0, rows.front(), static_cast<int64_t>(rows.size()));
  request.rows = rows;
  request.wrt = {input};
  for (const BiasSite& site : sites) {
    if (site.value != context.target.value()) request.wrt.push_back(site.value);
  }
  const GradientResult r = gradients(context, request);
  const auto total = [](const Tensor& t) { return t.flatten(1).sum(1).to(at::kCPU); };
  const Tensor from_input = request.input.to(at::kDouble) * r.gradients.at(input).to(at::kDouble);
  Tensor map = psi(context, p, to_planes(context, from_input)).to(at::kCPU);
  Tensor sum = total(from_input);
  for (const BiasSite& site : sites) {
    Tensor g;
    if (site.value == context.target.value()) {
      Request forward;
      forward.capture = {site.value};
      const Tensor value = context.network.run({request.input}, forward).at(site.value);
      g = context.target.rows(rows).seed(value);
    } else {
      g = r.gradients.at(site.value);
    }
    const Tensor contribution = g.to(at::kDouble) * site.bias;
    sum = sum + total(contribution);
    if (site.in_picture && contribution.dim() == 4 && contribution.size(2) * contribution.size(3) > 1) {
      map = map + psi(context, p, contribution).to(at::kCPU);
    }
  }
  const Tensor score = r.score.to(at::kCPU).to(at::kDouble);
  return {map, score - sum, score};
}

Attribution full_grad(const Context& context, const FullGradParams& p) {
  const std::vector<BiasSite> sites = sites_before(context, context.target.value());
  const int64_t step = images_per_pass(context, sites);
  const std::vector<int64_t> all = all_rows(context);
  TensorList maps;
  Attribution a;
  a.diagnostics.resize(all.size());
  a.notes.resize(all.size());
  for (int64_t begin = 0; begin < num_images(context); begin += step) {
    const int64_t end = std::min(num_images(context), begin + step);
    const Decomposition d = decompose(context, p, sites, {all.begin() + begin, all.begin() + end});
    maps.push_back(d.map);
    for (int64_t i = begin; i < end; ++i) {
      const double gap = d.gap[i - begin].item<double>(), score = d.score[i - begin].item<double>();
      a.diagnostics[static_cast<size_t>(i)]["convergence_delta"] = -gap;
      if (std::abs(gap) > 1e-2 * std::max(1e-3, std::abs(score))) {
        a.notes[static_cast<size_t>(i)].push_back(
            "full-grad: inputs and biases account for " + number_text(score - gap) + " of the score " +
            number_text(score) + "; the rest passes through bounds or smooth activations, which it does not see");
      }
    }
  }
  a.values = at::cat(maps).to(context.network.dtype());
  a.map = a.values;
  a.is_signed = false;
  a.reduction = "none";
  return a;
}

}  // namespace

Method full_grad_method() {
  return make_cam<FullGradParams>("fullgrad", "FullGrad",
                                  "Gradients of the input and of every bias, added up over all layers.", kSrinivas2019,
                                  kNeedsTarget | kNeedsGradient, kNonNegative,
                                  [](const Context& context, const FullGradParams& p, const CamOptions& options) {
                                    Attribution a = full_grad(context, p);
                                    if (options.eigen()) {
                                      for (auto& notes : a.notes) {
                                        notes.push_back("smooth=eigen changes nothing: the method weighs no channels");
                                      }
                                    }
                                    return a;
                                  });
}

}  // namespace pellucid
