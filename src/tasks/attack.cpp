#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
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

/// Bound and steps of an attack for another bound.
void set_epsilon(Recipe& recipe, double epsilon) {
  const PartCall delta = PartCall::parse(PartKind::kParameterization, recipe.parameterization);
  double size = 0;
  if (delta.info->id != "delta" || !parse_double(delta.info->complete(delta.params).at("size"), size) || size <= 0) {
    throw_usage("epsilon: the recipe bounds no change; its parameterization must be delta");
  }
  recipe.parameterization = scaled_part(PartKind::kParameterization, recipe.parameterization, {"size"}, epsilon / size);
  recipe.optimizer = scaled_part(PartKind::kOptimizer, recipe.optimizer, {"rate", "rate_end"}, epsilon / size);
}

}  // namespace

MakeResult attack(const AttackRequest& request, Progress* progress) {
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("attack", request.make, model, progress);
  WeightedRecipe chosen = maker.choose("pgd", "attack");
  if (request.epsilon >= 0) set_epsilon(chosen.recipe, request.epsilon);
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) {
    const Tensor logits =
        forward(model.network, batch_of({&picture}, model.network), maker.layers().logits(), progress);
    const auto classes = top_classes(logits, model, maker.layers(), 1).front();
    if (classes.empty()) throw_usage("attack: the model's output is not one score per class");
    const bool targeted = !request.target.empty();
    const int64_t index =
        targeted ? class_from_name(request.target, model.card, maker.num_classes()) : classes.front().index;
    PictureJob job;
    job.recipe = chosen.recipe;
    job.source = display_from_picture(picture, model.card);
    job.recipe.width = job.source.size(3);
    job.recipe.height = job.source.size(2);
    job.recipe.objectives = {{targeted ? 1.0 : -1.0, "log-probability:target=" + std::to_string(index)}};
    job.pictures["start"] = job.source;
    job.is_attack = true;
    job.class_index = index;
    job.title = job.recipe.name + (targeted ? " towards " : " away from ") + model.card.label(index);
    job.subtitle = picture.name;
    job.name = picture.name + "." + file_name_from(job.recipe.name);
    jobs.push_back(std::move(job));
  }
  return maker.run(jobs);
}

}  // namespace pellucid
