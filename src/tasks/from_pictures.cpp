// The verbs that begin with pictures: invert, dream, attack.

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

constexpr int64_t kLargestDream = 1024;

/// A recipe of the family, its weight and objective.
struct Chosen {
  Recipe recipe;
  double weight = 1;
};
Chosen choose(const PictureMaker& maker, const MakeOptions& make, const std::string& fallback,
              const std::string& family) {
  const std::string name = make.recipe.empty() ? fallback : make.recipe;
  const bool from_file = name.size() > 5 && name.compare(name.size() - 5, 5, ".json") == 0;
  return {maker.recipe(fallback, family), from_file ? 1 : find_recipe(name, family).weight};
}

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

MakeResult invert(const InvertRequest& request, Progress* progress) {
  if (request.layers.empty()) throw_usage("nothing to invert; name a layer (--layer NAME)");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("invert", request.make, model, progress);
  const Chosen chosen = choose(maker, request.make, "invert-mahendran2016", "invert");
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) {
    const Tensor display = display_from_picture(picture, model.card);
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const std::string layer = maker.layers().layer(maker.layers().find(request.layers[i])).name;
      PictureJob job;
      job.recipe = chosen.recipe;
      job.recipe.objectives = {{chosen.weight, "match:layer=" + layer}};
      job.pictures["content"] = display;
      if (i == 0) job.source = display;
      job.title = layer;
      job.subtitle = picture.name;
      job.name = picture.name + "." + file_name_from(layer);
      jobs.push_back(std::move(job));
    }
  }
  return maker.run(jobs);
}

MakeResult dream(const DreamRequest& request, Progress* progress) {
  if (request.layer.empty()) throw_usage("nothing to dream of; name a layer (--layer NAME)");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("dream", request.make, model, progress);
  const Chosen chosen = choose(maker, request.make, "deepdream", "dream");
  const std::string layer = maker.layers().layer(maker.layers().find(request.layer)).name;
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) {
    Image photo = picture.photo;
    const int longer = std::max(photo.width, photo.height);
    const auto wanted =
        static_cast<int>(request.make.size > 0 ? request.make.size : std::min<int64_t>(longer, kLargestDream));
    if (wanted != longer) {
      const double factor = static_cast<double>(wanted) / longer;
      photo = resize(photo, std::max(1, static_cast<int>(std::lround(photo.width * factor))),
                     std::max(1, static_cast<int>(std::lround(photo.height * factor))));
    }
    PictureJob job;
    job.recipe = chosen.recipe;
    job.recipe.width = photo.width;
    job.recipe.height = photo.height;
    job.recipe.objectives = {
        {chosen.weight, request.channel >= 0 ? "channel:layer=" + layer + ",channel=" + std::to_string(request.channel)
                                             : "energy:layer=" + layer}};
    job.pictures["start"] = display_from_image(photo);
    job.source = job.pictures["start"];
    job.title = layer + (request.channel >= 0 ? " channel " + std::to_string(request.channel) : "");
    job.subtitle = picture.name;
    job.name = picture.name + "." + file_name_from(job.title);
    jobs.push_back(std::move(job));
  }
  return maker.run(jobs);
}

MakeResult attack(const AttackRequest& request, Progress* progress) {
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("attack", request.make, model, progress);
  Chosen chosen = choose(maker, request.make, "pgd", "attack");
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
