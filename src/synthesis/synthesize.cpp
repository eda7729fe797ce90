// The one loop that makes pictures.

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/op.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

ValueId graph_input(const Network& network) { return network.graph().inputs().front().value; }

Shape input_shape(const ModelCard& card, int64_t batch, int64_t height, int64_t width) {
  return card.channels_first ? Shape{batch, card.channels(), height, width}
                             : Shape{batch, height, width, card.channels()};
}

/// A rectifier that would block the whole gradient of a picture lets it through, but for what would push inputs further
/// below zero, or above the upper bound. Gradients are those of the objective, which is made large.
RuleMap redirect_rules() {
  return {{"redirect", [](const Node& node) { return role_of(node) == OpRole::kRectifier; },
           [](const NodeBackward& b) {
             TensorList own = b.vjp(b.grads);
             if (!own[0].defined() || own[0].dim() < 2) return own;
             const Tensor blocked = own[0].flatten(1).abs().amax(1).eq(0);
             if (!blocked.any().item<bool>()) return own;
             const Tensor& x = b.inputs[0];
             const Tensor& g = b.grads[0];
             Tensor worse = x.lt(0).logical_and(g.lt(0));
             if (b.node.has("max")) worse = worse.logical_or(x.gt(b.node.real("max", 0)).logical_and(g.gt(0)));
             const Tensor through = at::where(worse, at::zeros_like(g), g);
             Shape shape(static_cast<size_t>(g.dim()), 1);
             shape[0] = g.size(0);
             own[0] = at::where(blocked.view(shape), through, own[0]);
             return own;
           }}};
}

std::vector<double> doubles(const Tensor& t) {
  const Tensor d = t.detach().to(at::kCPU).to(at::kDouble).contiguous();
  return std::vector<double>(d.data_ptr<double>(), d.data_ptr<double>() + d.numel());
}

struct WeightedObjective {
  double weight = 1;
  std::string text;
  std::unique_ptr<Objective> part;
};
struct WeightedRegularizer {
  double weight = 1;
  std::string text;
  std::unique_ptr<Regularizer> part;
};

/// Everything made for one stage: parts may depend on the size of the picture.
struct Stage {
  std::unique_ptr<PartScope> scope;
  std::vector<WeightedObjective> objectives;
  std::vector<WeightedRegularizer> regularizers;
  std::unique_ptr<Parameterization> parameterization;
  std::vector<std::unique_ptr<Transformation>> transformations;
  std::vector<std::unique_ptr<GradientStep>> gradient;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<std::unique_ptr<AfterStep>> after_step;
  std::vector<ValueId> layers;
  bool fixed_size = false;  ///< The network has one input size up to the deepest layer.
};

/// The value of everything at one point, with gradients when they were asked for.
struct Evaluation {
  double loss = 0;
  Tensor objective;                     ///< [B]
  std::map<std::string, Tensor> terms;  ///< [B] by part
  TensorList gradients;
  Tensor image;
};

class Synthesizer {
 public:
  Synthesizer(const Recipe& recipe, const SynthesisContext& context)
      : recipe_(recipe), context_(context), progress_(context.progress) {
    check_recipe(recipe);
    const ModelCard& card = context.card;
    const int64_t height = card.height > 0 ? card.height : recipe.height;
    const int64_t width = card.width > 0 ? card.width : recipe.width;
    table_ = std::make_unique<LayerTable>(context.network,
                                          std::vector<Shape>{input_shape(card, recipe.batch, height, width)});
  }

  SynthesisResult run() {
    const at::NoGradGuard no_grad;
    Tensor image, base;  // of the stage before, with carry=detail what it began from
    for (size_t s = 0; s < recipe_.stages.size(); ++s) total_ += recipe_.stages[s].steps;
    for (size_t s = 0; s < recipe_.stages.size() && !done(); ++s) {
      const RecipeStage& spec = recipe_.stages[s];
      double factor = 1;
      for (size_t later = s + 1; later < recipe_.stages.size(); ++later) factor *= recipe_.stages[later].scale;
      const auto scaled = [&](int64_t n) {
        return std::max<int64_t>(1, std::llround(static_cast<double>(n) / factor));
      };
      Stage stage = make_stage(spec, scaled(recipe_.height), scaled(recipe_.width));
      TensorList variables = first_variables(stage, s, image, base);
      if (s == 0) {
        result_.start = stage.parameterization->decode(*stage.scope, variables).clone();
        const Evaluation first = evaluate(stage, variables, {}, Wanted::kPlain);
        result_.objective_start = doubles(first.objective);
      }
      steps_of(stage, spec, variables);
      image = stage.parameterization->decode(*stage.scope, variables);
      if (s + 1 == recipe_.stages.size() || done()) finish(stage, variables);
    }
    return std::move(result_);
  }

 private:
  enum class Wanted { kPlain, kTransformed, kGradients };

  bool done() const { return result_.interrupted || !result_.problem.empty(); }

  Stage make_stage(const RecipeStage& spec, int64_t height, int64_t width) {
    Stage stage;
    stage.scope = std::make_unique<PartScope>(PartScope{context_, *table_, recipe_.unit, recipe_.batch, height, width});
    const PartScope& scope = *stage.scope;
    for (const WeightedPart& part : spec.objectives.empty() ? recipe_.objectives : spec.objectives) {
      stage.objectives.push_back(
          {part.weight, part.part, make_part(objective_table(), PartKind::kObjective, part.part, scope)});
      for (const ValueId id : stage.objectives.back().part->layers()) {
        if (std::find(stage.layers.begin(), stage.layers.end(), id) == stage.layers.end()) stage.layers.push_back(id);
      }
    }
    for (const WeightedPart& part : recipe_.regularizers) {
      stage.regularizers.push_back(
          {part.weight, part.part, make_part(regularizer_table(), PartKind::kRegularizer, part.part, scope)});
    }
    stage.parameterization =
        make_part(parameterization_table(), PartKind::kParameterization, recipe_.parameterization, scope);
    for (const std::string& text : recipe_.transformations) {
      stage.transformations.push_back(make_part(transformation_table(), PartKind::kTransformation, text, scope));
    }
    for (const std::string& text : recipe_.gradient) {
      stage.gradient.push_back(make_part(gradient_table(), PartKind::kGradient, text, scope));
    }
    stage.optimizer = make_part(optimizer_table(), PartKind::kOptimizer,
                                spec.optimizer.empty() ? recipe_.optimizer : spec.optimizer, scope);
    for (const std::string& text : spec.after_step.empty() ? recipe_.after_step : spec.after_step) {
      stage.after_step.push_back(make_part(after_step_table(), PartKind::kAfterStep, text, scope));
    }
    check_stage(stage);
    stage.fixed_size = has_fixed_size(context_, stage.layers, height, width, !stage.transformations.empty());
    return stage;
  }

  void check_stage(const Stage& stage) const {
    if (!stage.parameterization->is_pixels()) {
      if (!stage.after_step.empty()) {
        throw_usage("recipe: after-steps work on pixels; the parameterization must be pixels, not '" +
                    recipe_.parameterization + "'");
      }
    }
    if (stage.optimizer->looks_ahead() && (recipe_.batch > 1 || !recipe_.gradient.empty())) {
      throw_usage("recipe: lbfgs optimizes one picture by its own gradient; batch must be 1 and gradient steps none");
    }
  }

  TensorList first_variables(const Stage& stage, size_t s, const Tensor& image, Tensor& base) {
    const PartScope& scope = *stage.scope;
    const auto spread = [&](const Tensor& t) { return t.expand({recipe_.batch, 3, scope.height, scope.width}); };
    const bool detail = recipe_.carry == "detail" && context_.pictures.count("start") != 0;
    if (detail) {
      const Tensor source = spread(scope.picture("recipe", "start"));
      Tensor begin = source;
      if (s > 0) begin = source + resize_display(image - base, scope.height, scope.width);
      base = source;
      return stage.parameterization->encode(scope, begin);
    }
    if (s > 0) return stage.parameterization->encode(scope, resize_display(image, scope.height, scope.width));
    if (context_.pictures.count("start") != 0) {
      if (recipe_.parameterization.rfind("delta", 0) != 0) {
        return stage.parameterization->encode(scope, spread(scope.picture("recipe", "start")));
      }
    }
    return stage.parameterization->begin(scope, StepInfo{0, 0, 1, recipe_.seed}.generator(0x5747));
  }

  Evaluation evaluate(const Stage& stage, const TensorList& variables, const StepInfo& info, Wanted wanted,
                      bool redirect = false) const {
    const bool with_gradients = wanted == Wanted::kGradients;
    TensorList leaves;
    for (const Tensor& v : variables) leaves.push_back(v.detach().requires_grad_(with_gradients));
    Evaluation result;
    Tensor image, input;
    {
      const at::AutoGradMode record(with_gradients);
      image = stage.parameterization->decode(*stage.scope, leaves);
      Tensor shown = image;
      if (wanted != Wanted::kPlain) {
        for (size_t i = 0; i < stage.transformations.size(); ++i) {
          shown = stage.transformations[i]->apply(shown, info.generator(i + 1));
        }
      }
      input = network_input(context_, shown, stage.fixed_size);
    }
    result.image = image.detach();

    std::unique_ptr<Tape> tape;
    Values leaf_values;
    if (with_gradients) {
      Network::RecordRequest what;
      what.until = stage.layers;
      what.wrt = {graph_input(context_.network)};
      what.keep_all = redirect;  // the rule looks at what enters rectifiers
      tape = std::make_unique<Tape>(context_.network.record({input.detach()}, what, progress_));
      for (const ValueId id : stage.layers) leaf_values[id] = tape->value(id).detach().requires_grad_(true);
    } else {
      Request request;
      request.capture = stage.layers;
      leaf_values = context_.network.run({input}, request, progress_);
    }

    const at::AutoGradMode record(with_gradients);
    const Tensor still = image.detach().requires_grad_(with_gradients);
    Tensor objective;
    for (const WeightedObjective& term : stage.objectives) {
      const Tensor score = term.part->score({leaf_values, still, info});
      result.terms[term.text] = score.detach();
      const Tensor weighted = score * term.weight;
      objective = objective.defined() ? objective + weighted : weighted;
    }
    result.objective = objective.detach();
    Tensor penalty;
    for (const WeightedRegularizer& term : stage.regularizers) {
      const Tensor value = term.part->penalty(pixels_from_display(image, recipe_.unit));
      result.terms[term.text] = value.detach();
      const Tensor weighted = value.sum() * term.weight;
      penalty = penalty.defined() ? penalty + weighted : weighted;
    }
    result.loss = -objective.sum(at::kDouble).item<double>() + (penalty.defined() ? penalty.item<double>() : 0);
    if (with_gradients) {
      walk_back(*tape, leaf_values, still, objective, {image, input, penalty}, leaves, redirect, result);
    }
    return result;
  }

  struct Outputs {
    Tensor image, input, penalty;
  };

  void walk_back(const Tape& tape, const Values& values, const Tensor& still, const Tensor& objective,
                 const Outputs& outputs, const TensorList& leaves, bool redirect, Evaluation& result) const {
    TensorList wrt;
    for (const auto& [id, t] : values) wrt.push_back(t);
    wrt.push_back(still);
    const TensorList direct = torch::autograd::grad({objective.sum()}, wrt, {}, c10::nullopt, false, true);
    Values seeds;
    size_t i = 0;
    for (const auto& [id, t] : values) {
      if (direct[i].defined()) seeds[id] = direct[i];
      ++i;
    }
    const ValueId in = graph_input(context_.network);
    const Tensor at_input = tape.backward(seeds, {in}, redirect ? redirect_rules() : RuleMap{}).values.at(in);
    TensorList ends, seeds_of_ends;
    const auto add = [&](const Tensor& end, const Tensor& seed) {
      if (end.defined() && seed.defined() && end.requires_grad()) {
        ends.push_back(end);
        seeds_of_ends.push_back(seed);
      }
    };
    add(outputs.input, at_input.defined() ? -at_input : at_input);
    add(outputs.image, direct.back().defined() ? -direct.back() : direct.back());
    if (outputs.penalty.defined()) add(outputs.penalty, at::ones_like(outputs.penalty));
    const TensorList found = torch::autograd::grad(ends, leaves, seeds_of_ends, c10::nullopt, false, true);
    for (size_t k = 0; k < leaves.size(); ++k) {
      result.gradients.push_back(found[k].defined() ? found[k].detach() : at::zeros_like(leaves[k]));
    }
  }

  void steps_of(Stage& stage, const RecipeStage& spec, TensorList& variables) {
    last_good_.clear();
    ahead_.reset();
    for (int64_t t = 0; t < spec.steps && !done(); ++t, ++step_) {
      try {
        if (progress_) {
          progress_->check();
          progress_->report(static_cast<double>(step_), static_cast<double>(total_), "steps");
        }
        step(stage, StepInfo{step_, t, spec.steps, recipe_.seed}, variables);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::kInterrupted) throw;
        result_.interrupted = true;
        progress_ = nullptr;  // what is left to do is little, and would be refused
      }
    }
  }

  void step(Stage& stage, const StepInfo& info, TensorList& variables) {
    const bool redirect = step_ <= recipe_.redirect_until && !stage.optimizer->looks_ahead();
    // An optimizer that looks ahead needs one function all the time.
    const StepInfo draws = stage.optimizer->looks_ahead() ? StepInfo{0, 0, 1, recipe_.seed} : info;
    const Evaluation now = ahead_ && same(ahead_variables_, variables)
                               ? std::move(*ahead_)
                               : evaluate(stage, variables, draws, Wanted::kGradients, redirect);
    ahead_.reset();
    if (!std::isfinite(now.loss) || !all_finite(now.gradients)) {
      result_.problem = problem(now);
      restore(variables);
      return;
    }
    last_good_.clear();
    for (const Tensor& v : variables) last_good_.push_back(v.clone());
    LossAndGradients here{now.loss, now.gradients};
    for (const auto& part : stage.gradient) {
      for (Tensor& g : here.gradients) g = part->process(g, info);
    }
    stage.optimizer->step(variables, here, info, [&](const TensorList& elsewhere) {
      ahead_ = evaluate(stage, elsewhere, draws, Wanted::kGradients);
      ahead_variables_ = elsewhere;
      return LossAndGradients{ahead_->loss, ahead_->gradients};
    });
    stage.parameterization->project(*stage.scope, variables);
    for (const auto& part : stage.after_step) {
      variables.front().copy_(part->apply(variables.front(), now.gradients.front(), info));
    }
    log(stage, now, variables, info);
  }

  static bool same(const TensorList& a, const TensorList& b) {
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(), [](const Tensor& x, const Tensor& y) { return at::equal(x, y); });
  }

  static bool all_finite(const TensorList& tensors) {
    return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& t) {
      return std::isfinite(t.sum(at::kDouble).item<double>()) || at::isfinite(t).all().item<bool>();
    });
  }

  std::string problem(const Evaluation& now) const {
    for (const auto& [name, value] : now.terms) {
      if (!at::isfinite(value).all().item<bool>()) {
        return "step " + std::to_string(step_) + ": " + name + " is not finite";
      }
    }
    return "step " + std::to_string(step_) + ": the gradient or the picture is not finite";
  }

  void restore(TensorList& variables) const {
    if (last_good_.size() != variables.size()) return;
    for (size_t i = 0; i < last_good_.size(); ++i) variables[i].copy_(last_good_[i]);
  }

  void log(const Stage& stage, const Evaluation& now, const TensorList& variables, const StepInfo& info) {
    ++result_.steps;
    const bool last = info.stage_step + 1 == info.stage_steps;
    if (step_ % 10 == 0 || last) {
      result_.trace.steps.push_back(step_);
      result_.trace.terms["objective"].push_back(doubles(now.objective));
      for (const auto& [name, value] : now.terms) result_.trace.terms[name].push_back(doubles(value));
    }
    if (context_.on_step) {
      context_.on_step(step_, stage.parameterization->decode(*stage.scope, variables));
    }
    if (recipe_.judge_every > 0 && (step_ + 1) % recipe_.judge_every == 0) judge(stage, variables);
  }

  /// Keeps, picture by picture, the one that is best without transformations.
  void judge(const Stage& stage, const TensorList& variables) {
    const Evaluation plain = evaluate(stage, variables, {}, Wanted::kPlain);
    const std::vector<double> objective = doubles(plain.objective);
    if (!result_.best.defined() || result_.best.sizes() != plain.image.sizes()) {
      result_.best = plain.image.clone();
      best_objective_ = objective;
      return;
    }
    for (size_t b = 0; b < objective.size(); ++b) {
      if (!(objective[b] > best_objective_[b])) continue;
      best_objective_[b] = objective[b];
      result_.best[static_cast<int64_t>(b)].copy_(plain.image[static_cast<int64_t>(b)]);
    }
  }

  void finish(const Stage& stage, TensorList& variables) {
    Evaluation plain = evaluate(stage, variables, {}, Wanted::kPlain);
    if (!std::isfinite(plain.loss) || !all_finite({plain.image})) {
      if (!done()) result_.problem = problem(plain);
      restore(variables);
      plain = evaluate(stage, variables, {}, Wanted::kPlain);
    }
    judge(stage, variables);
    result_.image = plain.image.to(at::kCPU).to(at::kFloat);
    result_.best = result_.best.to(at::kCPU).to(at::kFloat);
    result_.start = result_.start.to(at::kCPU).to(at::kFloat);
    result_.objective = doubles(plain.objective);
    result_.robust_objective = result_.objective;
    if (stage.transformations.empty() || done()) return;
    constexpr int kDraws = 16;
    std::fill(result_.robust_objective.begin(), result_.robust_objective.end(), 0.0);
    for (int draw = 0; draw < kDraws; ++draw) {
      const StepInfo info{draw, 0, 1, 0x0b5e};
      const std::vector<double> seen = doubles(evaluate(stage, variables, info, Wanted::kTransformed).objective);
      for (size_t b = 0; b < seen.size(); ++b) result_.robust_objective[b] += seen[b] / kDraws;
    }
  }

  const Recipe& recipe_;
  const SynthesisContext& context_;
  std::unique_ptr<LayerTable> table_;
  SynthesisResult result_;
  TensorList last_good_;
  std::vector<double> best_objective_;
  Progress* progress_ = nullptr;
  std::optional<Evaluation> ahead_;  ///< The last one that an optimizer asked for, and where that was.
  TensorList ahead_variables_;
  int64_t step_ = 0, total_ = 0;
};

}  // namespace

bool has_fixed_size(const SynthesisContext& context, const std::vector<ValueId>& layers, int64_t height, int64_t width,
                    bool changing) {
  const ModelCard& card = context.card;
  Request request;
  request.capture = layers;
  const auto works = [&](int64_t h, int64_t w) {
    if (h == card.height && w == card.width) return true;
    const Tensor zeros = at::zeros(input_shape(card, 1, h, w),
                                   at::TensorOptions(context.network.dtype()).device(context.network.device()));
    try {
      context.network.run({zeros}, request, context.progress);
      return true;
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kInterrupted || card.height == 0) throw;
      return false;
    }
  };
  if (!works(height, width)) return true;
  // Far enough away that no rounding in a strided layer hides the difference.
  return changing && !(works(height * 3 / 4 + 1, width * 3 / 4 + 1) && works(height * 5 / 4 + 1, width * 5 / 4 + 1));
}

Values PartScope::activations(const Tensor& image, const std::vector<ValueId>& wanted) const {
  Request request;
  request.capture = wanted;
  const bool fixed = has_fixed_size(context, wanted, image.size(2), image.size(3));
  return context.network.run({network_input(context, image, fixed)}, request, context.progress);
}

SynthesisResult synthesize(const Recipe& recipe, const SynthesisContext& context) {
  return Synthesizer(recipe, context).run();
}

}  // namespace pellucid
