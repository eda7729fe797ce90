// DeepLIFT with the rescale rule: contributions of differences from a baseline.
//   Shrikumar, Greenside, Kundaje. "Learning Important Features Through Propagating Activation Differences". ICML 2017,
//   section 3.5: multipliers m_a = m_y (y - y') / (a - a') at non-linearities, the weights at linear layers.
// Beyond the paper: maxima give each half of their difference to the place that wins in its run, products split their
// difference evenly (both exact), and what neither covers passes the mean of its gradients in the two runs. Captum
// overwrites where pooling windows overlap; here contributions add up.

#include <algorithm>

#include "attribution/baseline.h"
#include "attribution/path.h"
#include "attribution/relevance.h"
#include "graph/op.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

struct DeepLiftParams {
  std::string baseline = "black";
};

template <class V>
void describe(V& visit, DeepLiftParams& p) {
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "What the picture is compared with.");
}

constexpr double kTinyDifference64 = 1e-10;  // as Captum
constexpr double kTinyDifference32 = 1e-6;   // of the largest value: below that, differences are rounding

double tiny_difference(const Tensor& a) {
  if (a.scalar_type() == at::kDouble) return kTinyDifference64;
  return kTinyDifference32 * std::max(1.0, a.abs().max().item<double>());
}

bool is_maximum(const Node& node) {
  return node.op == "MaxPool" || node.op == "GlobalMaxPool" || node.op == "ReduceMax";
}
bool is_curve(const Node& node) {
  const OpRole role = role_of(node);
  return role == OpRole::kRectifier || role == OpRole::kActivation;
}
bool is_linear_in_data(const Node& node) {
  switch (role_of(node)) {
    case OpRole::kSum:
    case OpRole::kShape:
      return true;
    case OpRole::kLinear:
      return node.op != "MatMul" && node.op != "Gemm";
    default:
      break;
  }
  static const std::set<std::string> ops{
      "Sub",        "Neg",       "Mean",   "BatchNormalization", "AveragePool",
      "ReduceMean", "ReduceSum", "Resize", "Upsample",           "GlobalAveragePool"};
  return ops.count(node.op) != 0;
}
bool is_bilinear(const Node& node) {
  return node.op == "Mul" || node.op == "MatMul" || node.op == "Gemm" || node.op == "Einsum" || node.op == "Div";
}

TensorList mean_of(const TensorList& a, const TensorList& b) {
  TensorList result;
  for (size_t i = 0; i < a.size(); ++i) result.push_back(a[i].defined() && b[i].defined() ? (a[i] + b[i]) / 2 : a[i]);
  return result;
}

bool one_needed(const NodeBackward& b) { return std::count(b.needed.begin(), b.needed.end(), true) == 1; }

/// The change of the output over the change of the input; the gradient where nothing changes.
TensorList rescale(const NodeBackward& b) {
  const Tensor a = b.inputs[0].detach();
  const Tensor change = a - b.reference->inputs[0].detach();
  const Tensor ratio = (b.outputs[0].detach() - b.reference->outputs[0].detach()) / change;
  TensorList result = b.vjp(b.grads);
  result[0] = at::where(change.abs() > tiny_difference(a), b.grads[0] * ratio, result[0]);
  return result;
}

/// y - y' = (max(y,y') - y') + (y - max(y,y')): the first part happens where the input's maximum is, the second where
/// the baseline's is.
TensorList split_maximum(const NodeBackward& b) {
  const Tensor a = b.inputs[0].detach();
  const Tensor change = a - b.reference->inputs[0].detach();
  const Tensor y = b.outputs[0].detach(), from = b.reference->outputs[0].detach();
  const Tensor top = at::maximum(y, from);
  const Tensor contribution = b.vjp({b.grads[0] * (top - from)})[0] + b.reference->vjp({b.grads[0] * (y - top)})[0];
  TensorList result = b.vjp(b.grads);
  result[0] = at::where(change.abs() > tiny_difference(a), contribution / change, result[0]);
  return result;
}

/// u v - u' v' = (u - u')(v + v')/2 + (v - v')(u + u')/2, and a quotient as a product with the reciprocal.
TensorList split_product(const NodeBackward& b) {
  if (b.node.op != "Div" || !b.needed[1]) {
    return one_needed(b) ? b.vjp(b.grads) : mean_of(b.vjp(b.grads), b.reference->vjp(b.grads));
  }
  const Tensor u = b.inputs[0].detach(), v = b.inputs[1].detach();
  const Tensor u0 = b.reference->inputs[0].detach(), v0 = b.reference->inputs[1].detach();
  TensorList result(2);
  if (b.needed[0]) result[0] = at::sum_to(b.grads[0] * ((1 / v + 1 / v0) / 2), u.sizes());
  result[1] = at::sum_to(-b.grads[0] * ((u + u0) / 2) / (v * v0), v.sizes());
  return result;
}

RuleMap deeplift_rules(std::set<std::string>& uncovered) {
  const BackwardRule mean_gradient = [&uncovered](const NodeBackward& b) {
    uncovered.insert(b.node.op);
    return mean_of(b.vjp(b.grads), b.reference->vjp(b.grads));
  };
  return {{"rescale", is_curve, rescale},
          {"maximum", is_maximum, split_maximum},
          {"product", is_bilinear, split_product},
          {"mean-gradient", [](const Node& n) { return !is_linear_in_data(n); }, mean_gradient}};
}

struct Contributions {
  Tensor values;              ///< Like the input.
  Tensor score, start_score;  ///< [N] float64 on the CPU.
  std::map<std::string, int64_t> rule_uses;
};

/// One baseline for the images `begin` to `begin + count`.
Contributions compare(const Context& context, const Tensor& x, const Tensor& baseline, int64_t begin,
                      const RuleMap& rules) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < x.size(0); ++i) rows.push_back(begin + i);
  const BoundTarget target = context.target.rows(rows);
  const ValueId input = input_value(context), at = target.value();
  Network::RecordRequest record;
  record.wrt = {input};
  record.until = {at};
  record.keep_all = true;
  const Tape run = context.network.record({x}, record, context.progress);
  const Tape reference = context.network.record({baseline}, record, context.progress);
  const auto score = [&](const Tape& tape) { return target.score(tape.value(at)).to(at::kCPU).to(at::kDouble); };
  Contributions c;
  c.score = score(run);
  c.start_score = score(reference);
  const Gradients found = run.backward({{at, target.seed(run.value(at))}}, {input}, rules, &reference);
  const Tensor& multiplier = found.values.at(input);
  c.values = multiplier.defined() ? multiplier * (run.value(input) - reference.value(input)) : at::zeros_like(x);
  c.rule_uses = found.rule_uses;
  return c;
}

/// Images per pass: the records of picture and baseline are held together.
int64_t paired_rows(const Context& context) {
  return std::max<int64_t>(1, gradient_rows(context, {input_value(context)}) / 2);
}

Attribution deeplift(const Context& context, const DeepLiftParams& p) {
  const std::vector<Tensor> starts = baselines(context, "deeplift", p.baseline);
  const double share = 1.0 / static_cast<double>(starts.size());
  const int64_t images = num_images(context), step = paired_rows(context);
  std::set<std::string> uncovered;
  const RuleMap rules = deeplift_rules(uncovered);
  TensorList values, changes;
  std::map<std::string, int64_t> rule_uses;
  for (int64_t begin = 0; begin < images; begin += step) {
    const int64_t count = std::min(step, images - begin);
    const Tensor x = context.input.narrow(0, begin, count);
    Tensor sum = at::zeros(x.sizes(), at::kDouble), change = at::zeros({count}, at::kDouble);
    for (const Tensor& start : starts) {
      const Contributions c = compare(context, x, start.narrow(0, begin, count), begin, rules);
      sum.add_(c.values.to(at::kCPU).to(at::kDouble), share);
      change.add_(c.score - c.start_score, share);
      rule_uses = c.rule_uses;
    }
    values.push_back(sum);
    changes.push_back(change);
    if (context.progress) {
      context.progress->report(static_cast<double>(begin + count), static_cast<double>(images), "pictures");
    }
  }
  const Tensor all = at::cat(values), change = at::cat(changes);
  Attribution a = input_attribution(context, all.to(context.network.dtype()), Reduction::kSum);
  const Tensor explained = sum_per_image(all);
  a.diagnostics.resize(static_cast<size_t>(images));
  a.notes.resize(static_cast<size_t>(images));
  for (int64_t i = 0; i < images; ++i) {
    const double difference = change[i].item<double>(), delta = explained[i].item<double>() - difference;
    auto& d = a.diagnostics[static_cast<size_t>(i)];
    write_completeness({delta, difference}, d);
    if (!uncovered.empty()) {
      a.notes[static_cast<size_t>(i)].push_back(
          "deeplift: no rule is known for " + join(std::vector<std::string>(uncovered.begin(), uncovered.end()), ", ") +
          "; the mean of their gradients at the picture and at the baseline stood in, which leaves a gap");
    }
  }
  a.rule_uses = rule_uses;
  return a;
}

}  // namespace

Method deeplift_method() {
  return make_method<DeepLiftParams>("deeplift", "DeepLIFT (rescale)", "propagation",
                                     "Contributions of differences from a baseline, without saturation; one pass.",
                                     papers::kShrikumar2017, kNeedsTarget | kNeedsBaseline | kNeedsGradient,
                                     kComplete | kScalesWithLogit, deeplift);
}

}  // namespace pellucid
