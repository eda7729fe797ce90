// The one loop that makes pictures.

#include <algorithm>
#include <cmath>
#include <optional>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/evaluation.h"

namespace pellucid {

namespace {

std::vector<double> doubles(const Tensor& t) {
  const Tensor d = t.detach().to(at::kCPU).to(at::kDouble).contiguous();
  return std::vector<double>(d.data_ptr<double>(), d.data_ptr<double>() + d.numel());
}

TensorList copies(const TensorList& tensors) {
  TensorList list;
  for (const Tensor& t : tensors) list.push_back(t.clone());
  return list;
}

class Synthesizer {
 public:
  Synthesizer(const Recipe& recipe, const SynthesisContext& context) : recipe_(recipe), context_(context) {
    check_recipe(recipe);
    const ModelCard& card = context.card;
    const int64_t height = card.height > 0 ? card.height : recipe.height;
    const int64_t width = card.width > 0 ? card.width : recipe.width;
    table_ = std::make_unique<LayerTable>(context.network,
                                          std::vector<Shape>{network_input_shape(card, recipe.batch, height, width)});
  }

  SynthesisResult run() {
    const at::NoGradGuard no_grad;
    const SynthesisCheckpoint* from = context_.resume;
    for (const RecipeStage& spec : recipe_.stages) total_ += spec.steps;
    size_t s = 0;
    if (from) {
      s = static_cast<size_t>(from->stage);
      if (from->stage < 0 || s >= recipe_.stages.size()) throw_usage("the checkpoint is not one of this recipe");
      restore_run(*from);
    }
    for (; s < recipe_.stages.size() && !done(); ++s) {
      const RecipeStage& spec = recipe_.stages[s];
      double factor = 1;
      for (size_t later = s + 1; later < recipe_.stages.size(); ++later) factor *= recipe_.stages[later].scale;
      const auto scaled = [&](int64_t n) {
        return std::max<int64_t>(1, std::llround(static_cast<double>(n) / factor));
      };
      Stage stage = make_stage(recipe_, spec, context_, *table_, scaled(recipe_.height), scaled(recipe_.width));
      stage_ = static_cast<int64_t>(s);
      int64_t first = 0;
      TensorList variables;
      if (from) {
        if (recipe_.carry == "detail" && context_.pictures.count("start") != 0) base_ = source(*stage.scope);
        variables = copies(from->variables);
        check_shapes(variables, first_variables(stage, 0));
        stage.optimizer->restore(copies(from->optimizer));
        first = from->stage_step;
        from = nullptr;
      } else {
        variables = first_variables(stage, s);
      }
      if (!result_.start.defined()) {
        result_.start = stage.parameterization->decode(*stage.scope, variables).clone();
        result_.objective_start = doubles(at(stage, variables, {}, Wanted::kPlain).objective);
      }
      steps_of(stage, spec, variables, first);
      image_ = stage.parameterization->decode(*stage.scope, variables);
      if (s + 1 == recipe_.stages.size() || done()) finish(stage, variables);
    }
    return std::move(result_);
  }

 private:
  bool done() const { return enough_ || result_.interrupted || !result_.problem.empty(); }

  Evaluation at(const Stage& stage, const TensorList& variables, const StepInfo& info, Wanted wanted,
                bool redirect = false) const {
    return evaluate(recipe_, context_, *table_, stage, variables, info, wanted, redirect);
  }

  /// The picture "start" for every picture of the batch, at the size of a stage.
  Tensor source(const PartScope& scope) const {
    return scope.picture("recipe", "start").expand({recipe_.batch, 3, scope.height, scope.width});
  }

  TensorList first_variables(const Stage& stage, size_t s) {
    const PartScope& scope = *stage.scope;
    const bool started = context_.pictures.count("start") != 0;
    if (started && recipe_.carry == "detail") {
      Tensor begin = source(scope);
      const Tensor base = begin;
      if (s > 0) begin = base + resize_display(image_ - base_, scope.height, scope.width);
      base_ = base;
      return stage.parameterization->encode(scope, begin);
    }
    if (s > 0) return stage.parameterization->encode(scope, resize_display(image_, scope.height, scope.width));
    if (started && stage.parameterization->starts_with_picture()) {
      return stage.parameterization->encode(scope, source(scope));
    }
    return stage.parameterization->begin(scope, StepInfo{0, 0, 1, recipe_.seed}.generator(0x5747));
  }

  void steps_of(Stage& stage, const RecipeStage& spec, TensorList& variables, int64_t first) {
    last_good_.clear();
    ahead_.reset();
    for (int64_t t = first; t < spec.steps && !done(); ++t, ++step_) {
      try {
        if (context_.progress) {
          context_.progress->check();
          context_.progress->report(static_cast<double>(step_), static_cast<double>(total_), what_);
        }
        step(stage, StepInfo{step_, t, spec.steps, recipe_.seed}, variables);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::kInterrupted) throw;
        result_.interrupted = true;
        context_.progress = nullptr;  // what is left to do is little, and would be refused
      }
      const bool due =
          context_.checkpoint_every > 0 && ((step_ + 1) % context_.checkpoint_every == 0 || step_ + 1 == total_);
      if (context_.on_checkpoint && (result_.interrupted || due) && result_.problem.empty()) {
        context_.on_checkpoint(checkpoint(stage, variables, result_.interrupted ? t : t + 1));
      }
    }
  }

  void step(Stage& stage, const StepInfo& info, TensorList& variables) {
    const bool redirect = step_ <= recipe_.redirect_until && !stage.optimizer->looks_ahead();
    // An optimizer that looks ahead needs one function all the time.
    const StepInfo draws = stage.optimizer->looks_ahead() ? StepInfo{0, 0, 1, recipe_.seed} : info;
    const Evaluation now = ahead_ && same_values(ahead_variables_, variables)
                               ? std::move(*ahead_)
                               : at(stage, variables, draws, Wanted::kGradients, redirect);
    ahead_.reset();
    if (!std::isfinite(now.loss) || !all_finite(now.gradients)) {
      result_.problem = problem(now);
      restore(variables);
      return;
    }
    last_good_ = copies(variables);
    LossAndGradients here{now.loss, now.gradients};
    for (const auto& part : stage.gradient) {
      for (Tensor& g : here.gradients) g = part->process(g, info);
    }
    stage.optimizer->step(variables, here, info, [&](const TensorList& elsewhere) {
      ahead_ = at(stage, elsewhere, draws, Wanted::kGradients);
      ahead_variables_ = elsewhere;
      return LossAndGradients{ahead_->loss, ahead_->gradients};
    });
    stage.parameterization->project(*stage.scope, variables);
    for (const auto& part : stage.after_step) {
      variables.front().copy_(part->apply(variables.front(), now.gradients.front(), info));
    }
    log(stage, now, variables, info);
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
      what_ = "steps, loss " + number_text(std::round(now.loss * 1000) / 1000);
    }
    if (context_.on_step) {
      context_.on_step(step_, stage.parameterization->decode(*stage.scope, variables));
    }
    if (context_.enough) enough_ = context_.enough(step_, stage.parameterization->decode(*stage.scope, variables));
    if (recipe_.judge_every > 0 && (step_ + 1) % recipe_.judge_every == 0) {
      judge(at(stage, variables, {}, Wanted::kPlain));
    }
  }

  /// Keeps, picture by picture, the one that is best without transformations.
  void judge(const Evaluation& plain) {
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
    Evaluation reached = at(stage, variables, {}, Wanted::kPlain);
    if (!is_finite(reached)) {
      note_problem(reached);
      restore(variables);
      reached = at(stage, variables, {}, Wanted::kPlain);
    }
    result_.objective = doubles(reached.objective);
    for (const auto& [text, value] : reached.terms) result_.terms[text] = doubles(value);
    result_.robust_objective = robust_objective(stage, variables);
    result_.unfinished = reached.image.to(at::kCPU).to(at::kFloat);
    Evaluation finished = reached;
    if (!stage.finish.empty()) {
      last_good_ = copies(variables);
      for (const auto& part : stage.finish) {
        variables.front().copy_(part->apply(variables.front(), at::zeros_like(variables.front()), {}));
      }
      finished = at(stage, variables, {}, Wanted::kPlain);
      if (!is_finite(finished)) {
        note_problem(finished);
        restore(variables);
        finished = reached;
      }
    }
    judge(finished);
    result_.image = finished.image.to(at::kCPU).to(at::kFloat);
    result_.finished_objective = doubles(finished.objective);
    result_.best = result_.best.to(at::kCPU).to(at::kFloat);
    result_.start = result_.start.to(at::kCPU).to(at::kFloat);
  }

  static bool is_finite(const Evaluation& e) { return std::isfinite(e.loss) && all_finite({e.image}); }

  void note_problem(const Evaluation& e) {
    if (result_.problem.empty() && !result_.interrupted) result_.problem = problem(e);
  }

  std::vector<double> robust_objective(const Stage& stage, const TensorList& variables) const {
    if (stage.transformations.empty() || result_.interrupted || !result_.problem.empty()) return result_.objective;
    constexpr int kDraws = 16;
    std::vector<double> sum(result_.objective.size(), 0.0);
    for (int draw = 0; draw < kDraws; ++draw) {
      const StepInfo info{draw, 0, 1, 0x0b5e};
      const std::vector<double> seen = doubles(at(stage, variables, info, Wanted::kTransformed).objective);
      for (size_t b = 0; b < seen.size(); ++b) sum[b] += seen[b] / kDraws;
    }
    return sum;
  }

  SynthesisCheckpoint checkpoint(const Stage& stage, const TensorList& variables, int64_t next) const {
    SynthesisCheckpoint c;
    c.stage = stage_;
    c.stage_step = next;
    c.step = step_ + (result_.interrupted ? 0 : 1);
    c.variables = copies(variables);
    c.optimizer = copies(stage.optimizer->state());
    c.start = result_.start.clone();
    if (result_.best.defined()) c.best = result_.best.clone();
    c.best_objective = best_objective_;
    c.objective_start = result_.objective_start;
    c.trace = result_.trace;
    return c;
  }

  void restore_run(const SynthesisCheckpoint& from) {
    step_ = result_.steps = from.step;
    result_.start = from.start;
    if (from.best.defined()) result_.best = from.best.clone();
    best_objective_ = from.best_objective;
    result_.objective_start = from.objective_start;
    result_.trace = from.trace;
  }

  static void check_shapes(const TensorList& given, const TensorList& wanted) {
    const bool fit = given.size() == wanted.size() &&
                     std::equal(given.begin(), given.end(), wanted.begin(), [](const Tensor& a, const Tensor& b) {
                       return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type();
                     });
    if (!fit) throw_usage("the checkpoint is not one of this recipe");
  }

  const Recipe& recipe_;
  SynthesisContext context_;
  std::unique_ptr<LayerTable> table_;
  SynthesisResult result_;
  bool enough_ = false;
  Tensor image_, base_;  ///< Of the stage before; with carry=detail what it began from.
  TensorList last_good_;
  std::vector<double> best_objective_;
  std::optional<Evaluation> ahead_;  ///< The last one that an optimizer asked for, and where that was.
  TensorList ahead_variables_;
  std::string what_ = "steps";
  int64_t step_ = 0, total_ = 0, stage_ = 0;
};

}  // namespace

SynthesisResult synthesize(const Recipe& recipe, const SynthesisContext& context) {
  return Synthesizer(recipe, context).run();
}

}  // namespace pellucid
