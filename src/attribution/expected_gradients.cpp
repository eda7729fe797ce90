// Expected Gradients (GradientSHAP): Integrated Gradients averaged over a set of baselines,
//   E over x' and a of (x - x') dS/dx(x' + a (x - x')).
//   Erion, Janizek, Sturmfels, Lundberg, Lee. "Improving Performance of Deep Learning Models with Axiomatic Attribution
//   Priors and Expected Gradients". Nature Machine Intelligence 2021, eq. 2.
// Where the reference implementations draw both at random, the baselines take turns and the positions of each are
// stratified over its way: the same expectation with less variance.

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "attribution/baseline.h"
#include "attribution/path.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

constexpr Paper kErion2021{"erion2021", "Erion, Janizek, Sturmfels, Lundberg, Lee",
                           "Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and "
                           "Expected Gradients",
                           "Nature Machine Intelligence", 2021};

struct ExpectedGradientsParams {
  int64_t samples = 200;
  std::string baseline = "black+white+gray+blur";
};

template <class V>
void describe(V& visit, ExpectedGradientsParams& p) {
  visit("samples", p.samples, integer_between(1, 100000), "Points taken, over all baselines.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts},
        "The set of baselines when there are no background pictures.");
}

/// Where the gradients are taken; the same for every image.
struct Draws {
  std::vector<int64_t> baseline;
  std::vector<double> position, weight;  ///< The weights sum to 1.
};

template <class T>
std::vector<T> injected(const Context& context, const std::string& name, int64_t count, at::ScalarType type) {
  const Tensor t = context.injected.at(name);
  if (t.dim() != 1 || t.size(0) != count) {
    throw_usage("expected-gradients: injected " + name + " have shape " + shape_text(t.sizes()) + "; [" +
                std::to_string(count) + "] was expected");
  }
  const Tensor flat = t.to(at::kCPU).to(type).contiguous();
  return {flat.data_ptr<T>(), flat.data_ptr<T>() + count};
}

Draws injected_draws(const Context& context, int64_t samples, int64_t members) {
  Draws draws;
  draws.position = injected<double>(context, "positions", samples, at::kDouble);
  draws.baseline = injected<int64_t>(context, "baselines", samples, at::kLong);
  for (const int64_t member : draws.baseline) {
    if (member < 0 || member >= members) {
      throw_usage("expected-gradients: an injected baseline is " + std::to_string(member) + "; there are " +
                  std::to_string(members));
    }
  }
  draws.weight.assign(static_cast<size_t>(samples), 1.0 / static_cast<double>(samples));
  return draws;
}

Draws stratified_draws(const Context& context, int64_t samples, int64_t members) {
  at::Generator generator = at::detail::createCPUGenerator(context.seed);
  const Tensor within = at::rand({samples}, generator, at::TensorOptions().dtype(at::kDouble));
  const int64_t used = std::min(members, samples);
  Draws draws;
  for (int64_t b = 0; b < used; ++b) {
    // With fewer samples than baselines, those that are used lie evenly in the set.
    const int64_t member = b * members / used;
    const int64_t count = samples / used + (b < samples % used ? 1 : 0);
    for (int64_t k = 0; k < count; ++k) {
      const auto at = static_cast<int64_t>(draws.position.size());
      draws.baseline.push_back(member);
      draws.position.push_back((static_cast<double>(k) + within[at].item<double>()) / static_cast<double>(count));
      draws.weight.push_back(1 / (static_cast<double>(count) * static_cast<double>(used)));
    }
  }
  return draws;
}

/// The set of baselines of one image, [M,...].
class Background {
 public:
  Background(const Context& context, const ExpectedGradientsParams& p) : given_(context.background) {
    if (!given_.defined()) {
      own_ = baselines(context, "expected-gradients", p.baseline);
      return;
    }
    if (given_.dim() != context.input.dim() || given_.size(0) == 0 ||
        given_.sizes().slice(1) != context.input.sizes().slice(1)) {
      throw_usage("expected-gradients: the background has shape " + shape_text(given_.sizes()) +
                  "; pictures like the input " + shape_text(context.input.sizes()) + " were expected");
    }
    given_ = given_.to(context.input.options());
  }
  int64_t size() const { return given_.defined() ? given_.size(0) : static_cast<int64_t>(own_.size()); }
  Tensor member(int64_t image, int64_t m) const {
    return given_.defined() ? given_[m] : own_[static_cast<size_t>(m)][image];
  }

 private:
  Tensor given_;
  std::vector<Tensor> own_;
};

/// Scores of the baselines that were drawn, by member; one pass of them is held at a time.
std::map<int64_t, double> baseline_scores(const Context& context, const Background& background, const Draws& draws,
                                          int64_t image) {
  std::map<int64_t, double> found;
  for (const int64_t member : draws.baseline) found[member] = 0;
  std::vector<int64_t> members;
  for (const auto& entry : found) members.push_back(entry.first);
  const auto step = static_cast<size_t>(std::max<int64_t>(1, context.batch_size));
  for (size_t begin = 0; begin < members.size(); begin += step) {
    const size_t end = std::min(begin + step, members.size());
    TensorList rows;
    for (size_t k = begin; k < end; ++k) rows.push_back(background.member(image, members[k]));
    const Tensor s =
        scores(context, at::stack(rows), std::vector<int64_t>(end - begin, image)).to(at::kCPU).to(at::kDouble);
    for (size_t k = begin; k < end; ++k) found[members[k]] = s[static_cast<int64_t>(k - begin)].item<double>();
  }
  return found;
}

Attribution expected_gradients(const Context& context, const ExpectedGradientsParams& p) {
  const Background background(context, p);
  const bool given = context.injected.count("positions") && context.injected.count("baselines");
  const Draws draws = given ? injected_draws(context, p.samples, background.size())
                            : stratified_draws(context, p.samples, background.size());
  const ValueId input = input_value(context);
  const int64_t rows = gradient_rows(context, {input});
  const Tensor at_input = scores_at(context, context.input);
  std::vector<std::map<std::string, double>> diagnostics;
  TensorList values;
  for (int64_t i = 0; i < num_images(context); ++i) {
    const std::map<int64_t, double> at_baseline = baseline_scores(context, background, draws, i);
    Tensor sum = at::zeros(context.input.sizes().slice(1), at::kDouble);
    Completeness complete;
    std::vector<double> gaps;  // of each sample as an estimate by itself
    for (int64_t begin = 0; begin < p.samples; begin += rows) {
      const int64_t count = std::min(rows, p.samples - begin);
      TensorList points, differences;
      for (int64_t k = begin; k < begin + count; ++k) {
        const Tensor from = background.member(i, draws.baseline[static_cast<size_t>(k)]);
        differences.push_back(context.input[i] - from);
        points.push_back(from + differences.back() * draws.position[static_cast<size_t>(k)]);
      }
      const Tensor g =
          gradients(context, {at::stack(points), std::vector<int64_t>(static_cast<size_t>(count), i), {input}, {}})
              .gradients.at(input)
              .to(at::kCPU)
              .to(at::kDouble);
      for (int64_t k = 0; k < count; ++k) {
        const auto at = static_cast<size_t>(begin + k);
        const Tensor one = g[k] * differences[static_cast<size_t>(k)].to(at::kCPU).to(at::kDouble);
        const double change = at_input[i].item<double>() - at_baseline.at(draws.baseline[at]);
        sum.add_(one, draws.weight[at]);
        complete.difference += change * draws.weight[at];
        gaps.push_back(one.sum().item<double>() - change);
      }
      if (context.progress) {
        context.progress->report(static_cast<double>(i * p.samples + begin + count),
                                 static_cast<double>(num_images(context) * p.samples), "samples");
      }
    }
    complete.delta = sum.sum().item<double>() - complete.difference;
    const Tensor spread = at::tensor(gaps, at::TensorOptions(at::kDouble));
    diagnostics.emplace_back();
    write_completeness(complete, diagnostics.back());
    diagnostics.back()["gap_standard_error"] =
        spread.std(0, /*unbiased=*/false).item<double>() / std::sqrt(static_cast<double>(p.samples));
    diagnostics.back()["passes"] = static_cast<double>(p.samples);
    values.push_back(sum);
  }
  Attribution a = input_attribution(context, at::stack(values).to(context.network.dtype()), Reduction::kSum);
  a.diagnostics = std::move(diagnostics);
  return a;
}

}  // namespace

Method expected_gradients_method() {
  return make_method<ExpectedGradientsParams>(
      "expected-gradients", "Expected Gradients", "gradient",
      "Integrated Gradients averaged over background pictures (GradientSHAP), or over a set of plain baselines.",
      kErion2021, kNeedsTarget | kNeedsBaseline | kNeedsGradient, kComplete | kStochastic | kScalesWithLogit,
      expected_gradients);
}

}  // namespace pellucid
