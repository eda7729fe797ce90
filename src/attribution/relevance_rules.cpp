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

Tensor positive_part(const Tensor& t) { return t.defined() ? t.clamp_min(0) : t; }
Tensor negative_part(const Tensor& t) { return t.defined() ? t.clamp_max(0) : t; }

/// The two signs of an input. Most inputs come from a rectifier and have no negative part, which halves the work.
struct SignParts {
  Tensor positive, negative;  ///< `negative` is undefined when nothing is.
  explicit SignParts(const Tensor& a) : positive(a) {
    if (!(a.min().item<double>() < 0)) return;
    positive = a.clamp_min(0);
    negative = a.clamp_max(0);
  }
};

/// r / z where z is not 0, elsewhere 0.
Tensor divided(const Tensor& r, const Tensor& z) {
  const Tensor dead = z.eq(0);
  return (r / z.masked_fill(dead, 1)).masked_fill_(dead, 0);
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
  const Tensor up = positive_part(node.weight());
  const Tensor down = a.negative.defined() ? negative_part(node.weight()) : Tensor();
  Tensor z = contributions(node, a, up, down, with_bias ? positive_part(node.bias()) : Tensor());
  return shares(node, a, up, down, with_bias ? relevance / z.add_(kStabilizer) : divided(relevance, z));
}

Tensor alpha_beta(const LinearNode& node, const Tensor& relevance, double alpha) {
  const double beta = alpha - 1;
  if (beta == 0) return z_plus(node, relevance, /*with_bias=*/true);
  const SignParts a(node.input());
  const Tensor up = positive_part(node.weight()), down = negative_part(node.weight());
  const Tensor helping = contributions(node, a, up, down, positive_part(node.bias()));
  const Tensor hindering = contributions(node, a, down, up, negative_part(node.bias()));
  const Tensor r = shares(node, a, up, down, relevance * alpha / stabilize(helping, kStabilizer));
  return r.sub_(shares(node, a, down, up, relevance * beta / stabilize(hindering, kStabilizer)));
}

/// Where z > 0 positive contributions count 1 + gamma times, where z < 0 negative ones do; z = 0 passes nothing on.
Tensor gamma(const LinearNode& node, const Tensor& relevance, double factor) {
  const SignParts a(node.input());
  const Tensor up = node.weight() + positive_part(node.weight()) * factor;
  const Tensor& z = node.output();
  // One further forward pass is enough: the negative contributions are what is missing to z.
  const Tensor helping =
      contributions(node, a, positive_part(node.weight()),
                    a.negative.defined() ? negative_part(node.weight()) : Tensor(), positive_part(node.bias()));
  const Tensor on = z.gt(0);
  const Tensor favoured = at::where(on, z + helping * factor, z + (z - helping) * factor);
  const Tensor s = (relevance / stabilize(favoured, kStabilizer)).masked_fill_(z.eq(0), 0);
  const Tensor s_off = s.masked_fill(on, 0);
  const bool some_off = s_off.any().item<bool>();  // never below a rectifier
  const Tensor down =
      some_off || a.negative.defined() ? node.weight() + negative_part(node.weight()) * factor : Tensor();
  Tensor r = shares(node, a, up, down, some_off ? s.masked_fill(on.logical_not(), 0) : s);
  if (some_off) r.add_(shares(node, a, down, up, s_off));
  return r;
}

/// One row of ones: the denominators of flat and w-square are the same for every picture.
Tensor ones_row(const LinearNode& node) { return at::ones_like(node.input().narrow(0, 0, 1)); }

Tensor flat(const LinearNode& node, const Tensor& relevance) {
  if (const Tensor single = node.single_channel_ones(); single.defined()) {
    // All output channels share alike, so that their relevance can be summed first.
    const Tensor z = node.forward(ones_row(node), single);
    return node.transposed(single, relevance.sum(LinearNode::kChannelAxis, true) / stabilize(z, kStabilizer));
  }
  const Tensor ones = at::ones_like(node.weight());
  return node.transposed(ones, relevance / stabilize(node.forward(ones_row(node), ones), kStabilizer));
}

Tensor w_square(const LinearNode& node, const Tensor& relevance) {
  const Tensor squares = node.weight().square();
  const Tensor bias = node.bias().defined() ? node.bias().square() : Tensor();
  return node.transposed(squares, relevance / stabilize(node.forward(ones_row(node), squares, bias), kStabilizer));
}

Tensor z_box(const LinearNode& node, const Tensor& relevance, const Bounds& bounds) {
  const auto& [low, high] = bounds;
  const Tensor up = positive_part(node.weight()), down = negative_part(node.weight());
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

Tensor stabilize(const Tensor& z, double epsilon) { return at::where(z.lt(0), z - epsilon, z + epsilon); }

TensorList pass_rule(const NodeBackward& b) {
  TensorList result(b.needed.size());
  result[0] = b.grads[0];
  return result;
}

TensorList epsilon_rule(const NodeBackward& b, double epsilon) {
  const Tensor z = b.outputs[0].detach();
  TensorList result = b.vjp({epsilon == 0 ? divided(b.grads[0], z) : b.grads[0] / stabilize(z, epsilon)});
  for (size_t i = 0; i < result.size(); ++i) {
    if (result[i].defined()) result[i] = b.inputs[i].detach() * result[i];
  }
  return result;
}

TensorList class_unit_rule(const NodeBackward& b, bool contrastive) {
  const LinearNode node(b);
  const SignParts a(node.input());
  const Tensor up = positive_part(node.weight()), down = negative_part(node.weight());
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
  if (!(r.min().item<double>() < 0)) return node.result(p);
  const Tensor against = -r.clamp_max(0);
  p = p + dual(against);
  return node.result(contrastive ? p - unit(against) : p);
}

TensorList apply_rule(const RuleChoice& choice, const NodeBackward& b, const Bounds* bounds) {
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
    const LinearNode node(b);
    return node.result(weighed(choice, node, b.grads[0], bounds));
  }
  if (choice.rule == RelevanceRule::kExcitation) return excitation_of_sum(b);
  throw_usage("node '" + printable(b.node.name) + "' (" + printable(b.node.op) +
              ") has no weights that a rule could look at; zero, epsilon, pass or gradient was expected for it");
}

}  // namespace pellucid
