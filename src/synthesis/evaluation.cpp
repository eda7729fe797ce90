#include "synthesis/evaluation.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "graph/op.h"
#include "pellucid/error.h"

namespace pellucid {

namespace {

ValueId graph_input(const Network& network) { return network.graph().inputs().front().value; }

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

/// What the objectives say of activations, and the gradients of their sum.
struct Judgement {
  Tensor objective;
  std::map<std::string, Tensor> terms;
  Values seeds;
  Tensor at_image;
};

class Look {
 public:
  Look(const SynthesisContext& context, const LayerTable& table, const Stage& stage, const StepInfo& info,
       bool with_gradients, bool redirect)
      : context_(context),
        table_(table),
        stage_(stage),
        info_(info),
        with_gradients_(with_gradients),
        redirect_(redirect) {}

  /// `input` is what the network sees of `image`.
  void at(const Tensor& input, const Tensor& image) {
    if (stage_.layers.empty()) return take(judge({}, image), 1);
    switch (stage_.tiles.kind) {
      case TilePlan::Kind::kWhole:
        return whole(input, image, 1);
      case TilePlan::Kind::kStitched:
        return stitched(input, image);
      default:
        return separate(input, image);
    }
  }

  Tensor objective;
  std::map<std::string, Tensor> terms;
  Tensor at_input, at_image;  ///< Gradients of the sum of the objectives; undefined where nothing flows.

 private:
  static void add(Tensor& sum, const Tensor& t) {
    if (t.defined()) sum = sum.defined() ? sum + t : t;
  }

  void take(const Judgement& judged, double share) {
    add(objective, judged.objective * share);
    for (const auto& [text, value] : judged.terms) add(terms[text], value * share);
    if (judged.at_image.defined()) add(at_image, judged.at_image * share);
  }

  Judgement judge(const Values& values, const Tensor& image) const {
    const at::AutoGradMode record(with_gradients_);
    Values leaves;
    for (const auto& [id, value] : values) leaves[id] = value.detach().requires_grad_(with_gradients_);
    const Tensor still = image.detach().requires_grad_(with_gradients_);
    Judgement judged;
    Tensor sum;
    for (const Stage::Term& term : stage_.objectives) {
      Tensor score = term.part->score({leaves, still, info_});
      if (term.picture >= 0) {
        Tensor only = at::zeros_like(score);
        only[term.picture] = 1;
        score = score * only;
      }
      add(judged.terms[term.text], score.detach());
      add(sum, score * term.weight);
    }
    if (stage_.parameterization->has_alpha()) sum = sum * (1 - alpha_of(still).flatten(1).mean(1));
    judged.objective = sum.detach();
    if (!with_gradients_) return judged;
    TensorList wrt;
    for (const auto& [id, t] : leaves) wrt.push_back(t);
    wrt.push_back(still);
    const TensorList direct = torch::autograd::grad({sum.sum()}, wrt, {}, c10::nullopt, false, true);
    size_t i = 0;
    for (const auto& [id, t] : leaves) {
      if (direct[i].defined()) judged.seeds[id] = direct[i];
      ++i;
    }
    judged.at_image = direct.back();
    return judged;
  }

  RuleMap rules() const { return redirect_ ? redirect_rules() : RuleMap{}; }

  /// One pass; returns the gradient at the input through `at_input`, or adds it to a part of it.
  Tensor pass(const Tensor& input, const Tensor& image, double share) {
    if (!with_gradients_) {
      Request request;
      request.capture = stage_.layers;
      take(judge(context_.network.run({input}, request, context_.progress), image), share);
      return {};
    }
    Network::RecordRequest what;
    what.until = stage_.layers;
    what.wrt = {graph_input(context_.network)};
    what.keep_all = redirect_;  // the rule looks at what enters rectifiers
    const Tape tape = context_.network.record({input.detach()}, what, context_.progress);
    Values values;
    for (const ValueId id : stage_.layers) values[id] = tape.value(id);
    const Judgement judged = judge(values, image);
    take(judged, share);
    return tape.backward(judged.seeds, what.wrt, rules()).values.at(what.wrt.front());
  }

  void whole(const Tensor& input, const Tensor& image, double share) { at_input = pass(input, image, share); }

  TiledNetwork tiled() const {
    const at::Generator generator = info_.generator(0x711e);
    const int64_t y = stage_.tiles.offset(generator), x = stage_.tiles.offset(generator);
    return {context_, table_, stage_.layers, stage_.tiles, y, x};
  }

  void stitched(const Tensor& input, const Tensor& image) {
    const TiledNetwork network = tiled();
    const Tensor still = input.detach();
    const Judgement judged = judge(network.run(still), image);
    take(judged, 1);
    if (with_gradients_) at_input = network.gradient(still, judged.seeds, rules(), redirect_);
  }

  void separate(const Tensor& input, const Tensor& image) {
    const TiledNetwork network = tiled();
    const Tensor still = input.detach();
    if (with_gradients_) at_input = at::zeros_like(still);
    for (const TiledNetwork::Part& part : network.parts(still)) {
      const Tensor g = pass(network.seen(still, part).contiguous(), image, part.share);
      if (g.defined()) network.seen(at_input, part).add_(g, part.share);
    }
  }

  const SynthesisContext& context_;
  const LayerTable& table_;
  const Stage& stage_;
  const StepInfo& info_;
  bool with_gradients_, redirect_;
};

/// The picture as the network is to see it.
Tensor transformed(const Stage& stage, const Tensor& image, const StepInfo& info, Wanted wanted, int64_t view) {
  Tensor shown = image;
  for (size_t i = 0; i < stage.transformations.size(); ++i) {
    const Transformation& part = *stage.transformations[i];
    const bool resting = part.rest() > 0 && info.stage_step >= info.stage_steps - part.rest();
    const uint64_t purpose = i + 1 + static_cast<uint64_t>(view) * 1024;
    shown = wanted == Wanted::kPlain || resting ? part.still(shown) : part.apply(shown, info.generator(purpose));
  }
  return shown;
}

/// Parts that know opacity go with pictures that have it, and only those do.
void check_alpha(const Recipe& recipe, const Stage& stage) {
  const std::string& picture = recipe.parameterization;
  const bool alpha = stage.parameterization->has_alpha();
  for (size_t i = 0; i < stage.transformations.size(); ++i) {
    const bool first = alpha && i == 0;
    if (stage.transformations[i]->takes_alpha() && !first) {
      throw_usage("recipe: " + recipe.transformations[i] +
                  " comes first, and goes with pictures that have opacity (fourier-alpha)");
    }
  }
  for (const Stage::Penalty& term : stage.regularizers) {
    if (term.part->of_alpha() && !alpha) throw_usage("recipe: " + term.text + ": '" + picture + "' has no opacity");
  }
  if (!alpha) return;
  if (stage.transformations.empty() || !stage.transformations.front()->takes_alpha()) {
    throw_usage("recipe: '" + picture + "' has opacity; the first transformation must be background");
  }
  if (recipe.unit != PixelUnit::kDisplay) {
    throw_usage("recipe: '" + picture + "' has opacity, which goes with the unit display only");
  }
  if (stage.scope->context.pictures.count("start") != 0) {
    throw_usage("recipe: '" + picture + "' has opacity and begins at random, not with a picture");
  }
  for (const Stage::Term& term : stage.objectives) {
    if (term.part->layers().empty()) {
      throw_usage("recipe: " + term.text + " is about colors alone; '" + picture + "' has opacity");
    }
  }
}

void check_stage(const Recipe& recipe, const Stage& stage) {
  if (!stage.parameterization->is_pixels() && !(stage.after_step.empty() && stage.finish.empty())) {
    throw_usage("recipe: after-steps work on pixels; the parameterization must be pixels, not '" +
                recipe.parameterization + "'");
  }
  check_alpha(recipe, stage);
  if (stage.optimizer->looks_ahead() && (recipe.batch > 1 || !recipe.gradient.empty())) {
    throw_usage("recipe: lbfgs optimizes one picture by its own gradient; batch must be 1 and gradient steps none");
  }
}

}  // namespace

Shape network_input_shape(const ModelCard& card, int64_t batch, int64_t height, int64_t width) {
  return card.channels_first ? Shape{batch, card.channels(), height, width}
                             : Shape{batch, height, width, card.channels()};
}

Stage make_stage(const Recipe& recipe, const RecipeStage& spec, const SynthesisContext& context,
                 const LayerTable& table, int64_t height, int64_t width) {
  Stage stage;
  stage.scope =
      std::make_unique<PartScope>(PartScope{context, table, recipe.unit, recipe.batch, height, width, recipe.tile});
  const PartScope& scope = *stage.scope;
  for (const WeightedPart& part : spec.objectives.empty() ? recipe.objectives : spec.objectives) {
    stage.objectives.push_back(
        {part.weight, part.part, part.picture, make_part(objective_table(), PartKind::kObjective, part.part, scope)});
    for (const ValueId id : stage.objectives.back().part->layers()) {
      if (std::find(stage.layers.begin(), stage.layers.end(), id) == stage.layers.end()) stage.layers.push_back(id);
    }
  }
  for (const WeightedPart& part : recipe.regularizers) {
    stage.regularizers.push_back(
        {part.weight, part.part, make_part(regularizer_table(), PartKind::kRegularizer, part.part, scope)});
  }
  stage.parameterization =
      make_part(parameterization_table(), PartKind::kParameterization, recipe.parameterization, scope);
  for (const std::string& text : recipe.transformations) {
    stage.transformations.push_back(make_part(transformation_table(), PartKind::kTransformation, text, scope));
  }
  for (const std::string& text : recipe.gradient) {
    stage.gradient.push_back(make_part(gradient_table(), PartKind::kGradient, text, scope));
  }
  stage.optimizer = make_part(optimizer_table(), PartKind::kOptimizer,
                              spec.optimizer.empty() ? recipe.optimizer : spec.optimizer, scope);
  stage.optimizer->keep_within(stage.parameterization->bounds(scope));
  for (const std::string& text : spec.after_step.empty() ? recipe.after_step : spec.after_step) {
    stage.after_step.push_back(make_part(after_step_table(), PartKind::kAfterStep, text, scope));
  }
  for (const std::string& text : recipe.finish) {
    stage.finish.push_back(make_part(after_step_table(), PartKind::kAfterStep, text, scope));
  }
  check_stage(recipe, stage);
  if (stage.layers.empty()) return stage;  // the network is not asked
  stage.tiles = TilePlan::make(table, stage.layers, height, width, recipe.tile);
  const int64_t seen = stage.tiles.side + 2 * stage.tiles.margin;
  const bool tiled = stage.tiles.kind != TilePlan::Kind::kWhole;
  stage.fixed_size = has_fixed_size(context, stage.layers, tiled ? std::min(height, seen) : height,
                                    tiled ? std::min(width, seen) : width, !stage.transformations.empty());
  // What is shrunk to the one size of a network fits into one pass.
  if (stage.fixed_size) stage.tiles = {};
  if (stage.parameterization->has_alpha() && stage.tiles.kind != TilePlan::Kind::kWhole) {
    throw_usage("recipe: a picture with opacity is not looked at in parts; " + std::to_string(width) + "x" +
                std::to_string(height) + " is too large, or the tile too small");
  }
  return stage;
}

Evaluation evaluate(const Recipe& recipe, const SynthesisContext& context, const LayerTable& table, const Stage& stage,
                    const TensorList& variables, const StepInfo& info, Wanted wanted, bool redirect) {
  const bool with_gradients = wanted == Wanted::kGradients;
  TensorList leaves;
  for (const Tensor& v : variables) leaves.push_back(v.detach().requires_grad_(with_gradients));
  Evaluation result;
  Tensor image, penalty;
  {
    const at::AutoGradMode record(with_gradients);
    image = stage.parameterization->decode(*stage.scope, leaves);
    const Tensor color = stage.parameterization->has_alpha() ? color_of(image) : image;
    for (const Stage::Penalty& term : stage.regularizers) {
      const Tensor value =
          term.part->penalty(term.part->of_alpha() ? alpha_of(image) : pixels_from_display(color, recipe.unit));
      result.terms[term.text] = value.detach();
      const Tensor weighted = value.sum() * term.weight;
      penalty = penalty.defined() ? penalty + weighted : weighted;
    }
  }
  result.image = image.detach();

  TensorList ends, seeds;
  const auto add = [&](const Tensor& end, const Tensor& seed) {
    if (end.defined() && seed.defined() && end.requires_grad()) {
      ends.push_back(end);
      seeds.push_back(seed);
    }
  };
  const int64_t views = wanted == Wanted::kGradients && !stage.transformations.empty() ? recipe.views : 1;
  const double share = 1 / static_cast<double>(views);
  for (int64_t view = 0; view < views; ++view) {
    Tensor input;
    {
      const at::AutoGradMode record(with_gradients);
      input = network_input(context, transformed(stage, image, info, wanted, view), stage.fixed_size);
    }
    Look look(context, table, stage, info, with_gradients, redirect);
    look.at(input, image);
    result.objective = view == 0 ? look.objective * share : result.objective + look.objective * share;
    for (const auto& [text, value] : look.terms) {
      Tensor& term = result.terms[text];
      term = term.defined() ? term + value * share : value * share;
    }
    if (look.at_input.defined()) add(input, look.at_input * -share);
    if (look.at_image.defined()) add(image, look.at_image * -share);
  }
  result.loss = -result.objective.sum(at::kDouble).item<double>() + (penalty.defined() ? penalty.item<double>() : 0);
  if (!with_gradients) return result;

  if (penalty.defined()) add(penalty, at::ones_like(penalty));
  const TensorList found = torch::autograd::grad(ends, leaves, seeds, c10::nullopt, false, true);
  for (size_t k = 0; k < leaves.size(); ++k) {
    result.gradients.push_back(found[k].defined() ? found[k].detach() : at::zeros_like(leaves[k]));
  }
  return result;
}

bool has_fixed_size(const SynthesisContext& context, const std::vector<ValueId>& layers, int64_t height, int64_t width,
                    bool changing) {
  const ModelCard& card = context.card;
  if (context.by_card && card.height > 0) return false;
  Request request;
  request.capture = layers;
  const auto works = [&](int64_t h, int64_t w) {
    if (h == card.height && w == card.width) return true;
    const Tensor zeros = at::zeros(network_input_shape(card, 1, h, w),
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
  const TilePlan plan = TilePlan::make(layers, wanted, image.size(2), image.size(3), tile);
  if (plan.kind == TilePlan::Kind::kStitched) {
    const int64_t seen = plan.side + 2 * plan.margin;
    if (!has_fixed_size(context, wanted, std::min(image.size(2), seen), std::min(image.size(3), seen))) {
      return TiledNetwork(context, layers, wanted, plan, 0, 0).run(network_input(context, image, false));
    }
  }
  // Layers without positions are those of the picture shrunk to what is seen at once.
  Tensor small = image;
  if (plan.kind == TilePlan::Kind::kSeparate) {
    const double factor = static_cast<double>(plan.side) / static_cast<double>(std::max(image.size(2), image.size(3)));
    const auto side = [&](int64_t n) {
      return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(n) * factor));
    };
    small = resize_display(image, side(image.size(2)), side(image.size(3)));
  }
  Request request;
  request.capture = wanted;
  const bool fixed = has_fixed_size(context, wanted, small.size(2), small.size(3));
  return context.network.run({network_input(context, small, fixed)}, request, context.progress);
}

}  // namespace pellucid
