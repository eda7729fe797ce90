#include "tasks/attacker.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/part.h"
#include "tasks/picture_maker.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

/// The part with numbers multiplied, where it has them.
std::string scaled_part(PartKind kind, const std::string& text, const std::vector<std::string>& names, double factor) {
  PartCall call = PartCall::parse(kind, text);
  for (const std::string& name : names) {
    const auto found = call.params.find(name);
    double value = 0;
    if (found != call.params.end() && parse_double(found->second, value)) found->second = number_text(value * factor);
  }
  return call.text();
}

double size_in(const Tensor& change, const std::string& norm) {
  const Tensor d = change.to(at::kDouble);
  if (norm == "l0") return d.abs().amax(1).gt(1e-9).sum().item<double>();
  return 255 * (norm == "l2" ? d.norm() : d.abs().max()).item<double>();
}

}  // namespace

AttackBound bound_of(const Recipe& recipe) {
  const PartCall delta = PartCall::parse(PartKind::kParameterization, recipe.parameterization);
  const ParamMap params = delta.info->complete(delta.params);
  AttackBound bound;
  if (delta.info->id != "delta" || !parse_double(params.at("size"), bound.size) || bound.size <= 0) {
    throw_usage("attack: the recipe bounds no change; its parameterization must be delta");
  }
  bound.norm = params.at("norm");
  return bound;
}

void set_epsilon(Recipe& recipe, double epsilon) {
  const AttackBound bound = bound_of(recipe);
  recipe.parameterization =
      scaled_part(PartKind::kParameterization, recipe.parameterization, {"size"}, epsilon / bound.size);
  if (bound.norm == "l0") return;  // more pixels need no longer steps
  recipe.optimizer = scaled_part(PartKind::kOptimizer, recipe.optimizer, {"rate", "rate_end"}, epsilon / bound.size);
}

void fit_epsilon(Recipe& recipe, int64_t width, int64_t height) {
  const double area = static_cast<double>(width * height);
  if (recipe.name == "pgd-l2") {
    // At least a tenth, where the line between the two published sizes would end below zero.
    set_epsilon(recipe, 255 * std::max(0.1, 0.5 + (3 - 0.5) * (std::sqrt(area) - 32) / (224 - 32)));
  } else if (recipe.name == "pgd-l0") {
    set_epsilon(recipe, std::max(1.0, std::round(500 * area / (224 * 224))));
  }
}

std::vector<Prediction> best_of(const std::vector<Prediction>& classes, size_t count) {
  return {classes.begin(), classes.begin() + static_cast<ptrdiff_t>(std::min(count, classes.size()))};
}

int64_t attack_goal(const std::string& target, const Attacker::Victim& victim, const LoadedModel& model) {
  if (target.empty()) return -1;
  if (target == "least-likely") return victim.classes.back().index;
  return class_from_name(target, model.card, static_cast<int64_t>(victim.classes.size()));
}

Tensor attack_control(const Attacker::Victim& victim, double norm, uint64_t seed) {
  return Attacker::with_random_signs(victim, norm / std::sqrt(static_cast<double>(victim.display.numel())), seed);
}

Attacker::Attacker(const LoadedModel& model, const LayerTable& layers, bool own_size, Progress* progress)
    : model_(model), layers_(layers), own_size_(own_size), progress_(progress) {
  const Shape& shape = layers.shape(layers.logits());
  if (shape.size() != 2) throw_usage("attack: the model's output is not one score per class");
}

Attacker::Victim Attacker::victim(const Picture& picture) const {
  Victim victim;
  victim.name = picture.name;
  victim.path = picture.path;
  victim.picture =
      own_size_ ? rgb_from(picture.photo) : image_from_display(display_from_picture(picture, model_.card)[0]);
  victim.display = display_from_image(victim.picture);
  victim.classes = classes(victim.picture);
  return victim;
}

std::vector<Attacker::Victim> Attacker::victims(const std::vector<std::string>& inputs) const {
  std::vector<Victim> list;
  for (const Picture& picture : read_all_pictures(inputs, model_)) {
    if (progress_) progress_->check();
    list.push_back(victim(picture));
  }
  return list;
}

std::vector<Prediction> Attacker::classes(const Image& picture) const {
  if (!own_size_) return classes(display_from_image(picture));
  const Picture read = picture_from_image(picture, "", "", model_);
  const Tensor logits = forward(model_.network, batch_of({&read}, model_.network), layers_.logits(), progress_);
  return top_classes(logits, model_, layers_, logits.size(1)).front();
}

std::vector<Prediction> Attacker::classes(const Tensor& display) const {
  SynthesisContext context{model_.network, model_.card};
  context.by_card = own_size_;
  const Network& network = model_.network;
  const Tensor x = display.to(at::TensorOptions().device(network.device()).dtype(network.dtype()));
  const Tensor logits = forward(network, network_input(context, x, false), layers_.logits(), progress_);
  return top_classes(logits, model_, layers_, logits.size(1)).front();
}

bool Attacker::fools(const std::vector<Prediction>& classes, const Victim& victim, int64_t goal) {
  const int64_t before = victim.classes.front().index, now = classes.front().index;
  return now != before && (goal < 0 || now == goal);
}

Tensor Attacker::with_random_signs(const Victim& victim, double size, uint64_t seed) {
  const Tensor signs =
      at::randint(2, victim.display.sizes(), at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat)) * 2 -
      1;
  return (victim.display + size * signs).clamp(0, 1);
}

Tensor Attacker::rounded(const Tensor& display, const Victim& victim, const AttackBound& bound) {
  const Tensor change = 255 * (display.to(at::kDouble) - victim.display.to(at::kDouble));
  Tensor whole = change.round();
  constexpr double kSlack = 1e-6;  // of sums of squares in float
  if (size_in(whole / 255, bound.norm) > bound.size * (1 + kSlack) + kSlack) whole = change.trunc();
  return ((victim.display.to(at::kDouble) * 255 + whole) / 255).clamp(0, 1).to(at::kFloat);
}

Attacker::Outcome Attacker::attack_once(const Recipe& recipe, const Victim& victim, const Settings& settings) const {
  Outcome outcome;
  outcome.recipe = recipe;
  const AttackBound bound = bound_of(recipe);
  SynthesisContext context{model_.network, model_.card};
  context.pictures["start"] = victim.display;
  context.by_card = own_size_;
  context.progress = progress_;
  context.enough = [&](int64_t, const Tensor& image) {
    const Tensor display = image.to(at::kCPU).to(at::kFloat);
    if (outcome.unrounded_norm == 0 && fools(classes(display), victim, settings.goal)) {
      outcome.unrounded_norm = size_in(display - victim.display, "l2") / 255;
    }
    if (settings.all_steps) return false;
    if (!settings.rounded) return outcome.unrounded_norm > 0;
    return fools(classes(image_from_display(rounded(display, victim, bound)[0])), victim, settings.goal);
  };
  const SynthesisResult result = synthesize(recipe, context);
  outcome.display = result.image;
  outcome.steps = result.steps;
  outcome.objective_start = result.objective_start[0];
  outcome.objective = result.objective[0];
  outcome.interrupted = result.interrupted;
  outcome.problem = result.problem;
  outcome.picture = image_from_display(rounded(result.image, victim, bound)[0]);
  if (result.interrupted) return outcome;
  outcome.classes = classes(outcome.picture);
  outcome.fooled = fools(outcome.classes, victim, settings.goal);
  outcome.fooled_unrounded = outcome.unrounded_norm > 0 && fools(classes(result.image), victim, settings.goal);
  return outcome;
}

Attacker::Outcome Attacker::attack(Recipe recipe, const Victim& victim, const Settings& settings) const {
  const bool targeted = settings.goal >= 0;
  recipe.width = victim.display.size(3);
  recipe.height = victim.display.size(2);
  constexpr int64_t kLeastTile = 32;
  recipe.tile = std::max({recipe.width, recipe.height, kLeastTile});  // the answer is one to the whole picture
  recipe.objectives = {
      {targeted ? 1.0 : -1.0,
       "log-probability:target=" + std::to_string(targeted ? settings.goal : victim.classes.front().index)}};
  Outcome best;
  const uint64_t first = recipe.seed;
  for (int64_t i = 0; i < settings.restarts; ++i) {
    recipe.seed = first + static_cast<uint64_t>(i);
    Outcome outcome = attack_once(recipe, victim, settings);
    const bool stop = outcome.fooled || outcome.interrupted;
    if (i == 0 || stop || outcome.objective > best.objective) best = std::move(outcome);
    best.starts = i + 1;
    if (stop) break;
  }
  return best;
}

}  // namespace pellucid
