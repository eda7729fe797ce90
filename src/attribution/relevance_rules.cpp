// The rules of layer-wise relevance propagation, for one node each. With a the input, z = W a + b the output, R the
// relevance of z, u+ = max(u, 0), u- = min(u, 0) and V_W(r) = W^T r:
//   epsilon    a V_W(R / (z + epsilon sign z))
//              Bach, Binder, Montavon, Klauschen, Müller, Samek. "On Pixel-Wise Explanations for Non-Linear Classifier
//              Decisions by Layer-Wise Relevance Propagation". PLoS ONE 2015, eq. 58
//   alpha-beta the same for positive and negative contributions apart, weighed by alpha and -beta; ibid., eq. 60
//   z-plus     alpha 1, beta 0; w-square, z-box: input layers of deep Taylor decomposition
//              Montavon, Lapuschkin, Binder, Samek, Müller. "Explaining NonLinear Classification Decisions with Deep
//              Taylor Decomposition". Pattern Recognition 2017, eq. 12 to 17
//   gamma      Montavon, Binder, Lapuschkin, Samek, Müller. "Layer-Wise Relevance Propagation: An Overview". LNCS
//              11700, 2019, section 10.2.3; for inputs of both signs as in Zennit (Anders et al., arXiv 2021)
//   flat       equal shares; Lapuschkin, Binder, Müller, Samek, ICCV Workshop 2017
//   excitation Zhang, Lin, Brandt, Shen, Sclaroff. "Top-down Neural Attention by Excitation Backprop". ECCV
//              2016, eq. 5
// Biases as in Zennit: their positive part joins the positive contributions, their negative part the negative ones.

#include "attribution/relevance_rules.h"

#include "attribution/linear_node.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// Keeps the denominators of all rules but epsilon away from zero; Zennit's default.
constexpr double kStabilizer = 1e-6;

Tensor positive_part(const Tensor& t) { return t.clamp_min(0); }
Tensor negative_part(const Tensor& t) { return t.clamp_max(0); }

Tensor positive_weight(const LinearNode& node) { return node.of_weight("positive", positive_part); }
Tensor negative_weight(const LinearNode& node) { return node.of_weight("negative", negative_part); }
Tensor positive_bias(const LinearNode& node) { return node.of_bias("positive", positive_part); }

// On the CPU at::where and masked_fill take 30 times as long as a product, and the latter loses the memory format.
// Signs as numbers do the same in a few vectorized passes: a product with 0 or 1 is exact.

/// The two signs of an input. Most inputs come from a rectifier and have no negative part, which halves the work.
struct SignParts {
  Tensor positive, negative;  ///< `negative` is undefined when nothing is.
  explicit SignParts(const Tensor& a) : positive(a) {
    if (!has_negative(a)) return;
    positive = a.clamp_min(0);
    negative = a.clamp_max(0);
  }
};

/// r / z where z is not 0, elsewhere 0.
Tensor divided(const Tensor& r, const Tensor& z) {
  const Tensor alive = z.sign().abs_();
  return (r / (1 - alive).add_(z)).mul_(alive);
}

/// p * V_{W}(s) + n * V_{V}(s) for the two sign parts of the input.
Tensor shares(const LinearNode& node, const SignParts& a, const Tensor& for_positive, const Tensor& for_negative,
              const Tensor& s) {
  Tensor r = node.transposed(for_positive, s).mul_(a.positive);
  if (a.negative.defined()) r.addcmul_(a.negative, node.transposed(for_negative, s));
  return r;
}

/// The contributions of one sign, summed: W+ a+ + W- a- + b+ for the positive ones.
Tensor contributions(const LinearNode& node, const SignParts& a, const Tensor& for_positive, const Tensor& for_negative,
                     const Tensor& bias) {
  Tensor z = node.forward(a.positive, for_positive, bias);
  if (a.negative.defined()) z.add_(node.forward(a.negative, for_negative));
  return z;
}

Tensor z_plus(const LinearNode& node, const Tensor& relevance, bool with_bias) {
  const SignParts a(node.input());
  const Tensor up = positive_weight(node);
  const Tensor down = a.negative.defined() ? negative_weight(node) : Tensor();
  Tensor z = contributions(node, a, up, down, with_bias ? positive_bias(node) : Tensor());
  return shares(node, a, up, down, with_bias ? relevance / z.add_(kStabilizer) : divided(relevance, z));
}

/// Positive contributions W+ a+ + W- a- + b+, at least 0; the negative ones are what is missing to z. One pass for
/// inputs of both signs too: |W| |a| + |b| is the difference of the two as z is their sum.
Tensor helping_contributions(const LinearNode& node, const SignParts& a) {
  if (!a.negative.defined()) return node.forward(a.positive, positive_weight(node), positive_bias(node));
  const auto magnitude = [](const Tensor& t) { return t.abs(); };
  const Tensor both =
      node.forward(node.input().abs(), node.of_weight("magnitude", magnitude), node.of_bias("magnitude", magnitude));
  return at::add(both, node.output()).mul_(0.5).clamp_min_(0);
}

Tensor alpha_beta(const LinearNode& node, const Tensor& relevance, double alpha) {
  const double beta = alpha - 1;
  if (beta == 0) return z_plus(node, relevance, /*with_bias=*/true);
  const SignParts a(node.input());
  const Tensor up = positive_weight(node), down = negative_weight(node);
  Tensor helping = helping_contributions(node, a);
  Tensor hindering = (node.output() - helping).clamp_max_(0);
  // One is nowhere negative, the other nowhere positive.
  Tensor r = shares(node, a, up, down, (relevance / helping.add_(kStabilizer)).mul_(alpha));
  return r.sub_(shares(node, a, down, up, (relevance / hindering.sub_(kStabilizer)).mul_(beta)));
}

/// Where z > 0 positive contributions count 1 + gamma times, where z < 0 negative ones do; z = 0 passes nothing on.
Tensor gamma(const LinearNode& node, const Tensor& relevance, double factor) {
  const SignParts a(node.input());
  const std::string name = number_text(factor);
  const auto favoured = [&](const char* sign, Tensor (*part)(const Tensor&)) {
    return node.of_weight(std::string(sign) + " by " + name, [&](const Tensor& w) { return w + part(w) * factor; });
  };
  const Tensor up = favoured("positive", positive_part);
  const Tensor& z = node.output();
  const Tensor helping = helping_contributions(node, a);
  const Tensor on = z.sign().clamp_min_(0);  // 1 where z > 0
  const Tensor relevance_off = relevance - relevance * on;
  // Below a rectifier relevance arrives only where z > 0.
  if (relevance_off.abs().sum().item<double>() == 0) {
    const Tensor s = relevance / stabilize(at::add(z, helping, factor), kStabilizer);
    const Tensor down = a.negative.defined() ? favoured("negative", negative_part) : Tensor();
    return shares(node, a, up, down, s);
  }
  const Tensor down = favoured("negative", negative_part);
  const Tensor share = (z - helping).mul_(1 - on).addcmul_(helping, on);
  const Tensor s = (relevance / stabilize(share.mul_(factor).add_(z), kStabilizer)).mul_(z.sign().abs_());
  const Tensor s_on = s * on;
  Tensor r = shares(node, a, up, down, s_on);
  return r.add_(shares(node, a, down, up, s - s_on));
}

/// One row of ones: the denominators of flat and w-square are the same for every picture.
Tensor ones_row(const LinearNode& node) { return at::ones_like(node.input().narrow(0, 0, 1)); }

Tensor flat(const LinearNode& node, const Tensor& relevance) {
  if (const Tensor single = node.single_channel_ones(); single.defined()) {
    // All output channels share alike, so that their relevance can be summed first.
    const Tensor z = node.forward(ones_row(node), single);
    return node.transposed(single, relevance.sum(LinearNode::kChannelAxis, true) / stabilize(z, kStabilizer));
  }
  const Tensor ones = node.of_weight("ones", [](const Tensor& w) { return at::ones_like(w); });
  return node.transposed(ones, relevance / stabilize(node.forward(ones_row(node), ones), kStabilizer));
}

Tensor w_square(const LinearNode& node, const Tensor& relevance) {
  const auto square = [](const Tensor& t) { return t.square(); };
  const Tensor squares = node.of_weight("square", square), bias = node.of_bias("square", square);
  return node.transposed(squares, relevance / stabilize(node.forward(ones_row(node), squares, bias), kStabilizer));
}

Tensor z_box(const LinearNode& node, const Tensor& relevance, const Bounds& bounds) {
  const auto& [low, high] = bounds;
  const Tensor up = positive_weight(node), down = negative_weight(node);
  if (node.adds_channels()) {
    // z = W a - W+ low - W- high is one map over three times the channels, both ways.
    const Tensor a = at::cat({node.input(), low.expand_as(node.input()), high.expand_as(node.input())}, 1);
    const Tensor w = node.of_weight("z-box", [&](const Tensor& t) { return at::cat({t, -up, -down}, 1); });
    const Tensor each = node.transposed(w, relevance / stabilize(node.forward(a, w), kStabilizer), a).mul_(a);
    const TensorList parts = each.chunk(3, 1);
    return (parts[0] + parts[1]).add_(parts[2]);
  }
  const Tensor floor = node.forward(low, up).add_(node.forward(high, down));
  const Tensor z = node.forward(node.input(), node.weight()).sub_(floor);
  const Tensor s = relevance / stabilize(z, kStabilizer);
  return (node.input() * node.transposed(node.weight(), s))
      .sub_(low * node.transposed(up, s))
      .sub_(high * node.transposed(down, s));
}

/// Sums and averages: a+ * VJP(R / f(a+)).
TensorList excitation_of_sum(const NodeBackward& b) {
  TensorList raised;
  for (const Tensor& t : b.inputs) {
    raised.push_back(t.defined() && t.is_floating_point() ? t.detach().clamp_min(0) : t);
  }
  TensorList in = raised;
  OpCall call{b.node, in};
  const Tensor z = find_op(b.node.domain, b.node.op, b.node.opset)->forward(call).front();
  TensorList result = b.vjp({divided(b.grads[0], z)});
  for (size_t i = 0; i < result.size(); ++i) {
    if (result[i].defined()) result[i] = raised[i] * result[i];
  }
  return result;
}

Tensor weighed(const RuleChoice& choice, const LinearNode& node, const Tensor& relevance, const Bounds* bounds) {
  switch (choice.rule) {
    case RelevanceRule::kGamma:
      return gamma(node, relevance, choice.value);
    case RelevanceRule::kAlphaBeta:
      return alpha_beta(node, relevance, choice.value);
    case RelevanceRule::kZPlus:
      return z_plus(node, relevance, true);
    case RelevanceRule::kExcitation:
      return z_plus(node, relevance, false);
    case RelevanceRule::kFlat:
      return flat(node, relevance);
    case RelevanceRule::kWSquare:
      return w_square(node, relevance);
    default:
      return z_box(node, relevance, *bounds);
  }
}

bool is_weighed(const Node& node) { return role_of(node) == OpRole::kLinear; }

}  // namespace

bool has_negative(const Tensor& t) {
  // Nothing cancels, and this is several times faster than a minimum.
  return t.clamp_max(0).sum().item<double>() < 0;
}

Tensor stabilize(const Tensor& z, double epsilon) {
  // sign(sign(z) + 1/2) is 1 at 0 too.
  return z.sign().add_(0.5).sign_().mul_(epsilon).add_(z);
}

TensorList pass_rule(const NodeBackward& b) {
  TensorList result(b.needed.size());
  result[0] = b.grads[0];
  return result;
}

TensorList epsilon_rule(const NodeBackward& b, double epsilon) {
  const Tensor z = b.outputs[0].detach();
  TensorList result = b.vjp({epsilon == 0 ? divided(b.grads[0], z) : b.grads[0] / stabilize(z, epsilon)});
  // A convolution's product is its own; others may hand the same tensor to several inputs.
  const bool fresh = b.node.op == "Conv";
  for (size_t i = 0; i < result.size(); ++i) {
    if (!result[i].defined()) continue;
    result[i] = fresh ? result[i].mul_(b.inputs[i].detach()) : b.inputs[i].detach() * result[i];
  }
  return result;
}

TensorList class_unit_rule(const NodeBackward& b, bool contrastive, const NodeCaches& caches) {
  const LinearNode node(b, caches);
  const SignParts a(node.input());
  const Tensor up = positive_weight(node), down = negative_weight(node);
  const auto winner = [&](const Tensor& for_positive, const Tensor& for_negative, const Tensor& prior) {
    return shares(node, a, for_positive, for_negative,
                  divided(prior, contributions(node, a, for_positive, for_negative, {})));
  };
  // The dual unit's positive weights are the unit's negative ones; their sign cancels in the quotient.
  const auto unit = [&](const Tensor& prior) { return winner(up, down, prior); };
  const auto dual = [&](const Tensor& prior) { return winner(down, up, prior); };
  const Tensor& r = b.grads[0];
  Tensor p = unit(r.clamp_min(0));
  if (contrastive) p = p - dual(r.clamp_min(0));
  if (!has_negative(r)) return node.result(p);
  const Tensor against = -r.clamp_max(0);
  p = p + dual(against);
  return node.result(contrastive ? p - unit(against) : p);
}

TensorList apply_rule(const RuleChoice& choice, const NodeBackward& b, const Bounds* bounds, const NodeCaches& caches) {
  switch (choice.rule) {
    case RelevanceRule::kPass:
      return pass_rule(b);
    case RelevanceRule::kGradient:
      return b.vjp(b.grads);
    case RelevanceRule::kZero:
      return epsilon_rule(b, 0);
    case RelevanceRule::kEpsilon:
      return epsilon_rule(b, choice.value);
    default:
      break;
  }
  if (is_weighed(b.node)) {
    const LinearNode node(b, caches);
    return node.result(weighed(choice, node, b.grads[0], bounds));
  }
  if (choice.rule == RelevanceRule::kExcitation) return excitation_of_sum(b);
  throw_usage("node '" + printable(b.node.name) + "' (" + printable(b.node.op) +
              ") has no weights that a rule could look at; zero, epsilon, pass or gradient was expected for it");
}

}  // namespace pellucid
