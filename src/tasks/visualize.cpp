#include <set>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace {

/// What is made large, ready for a recipe.
struct Wish {
  std::string title, name;
  std::string objective;  ///< A part.
  int64_t class_index = -1;
};

class Wishes {
 public:
  Wishes(const VisualizeRequest& request, const LoadedModel& model, const PictureMaker& maker)
      : request_(request), model_(model), maker_(maker) {}

  std::vector<Wish> all() const {
    std::vector<Wish> wishes;
    for (const std::string& text : request_.targets) wishes.push_back(of_target(text));
    if (!request_.layer.empty()) {
      if (request_.channels.empty()) throw_usage("layer needs channels (--channels 3,17 or 0-7)");
      for (const int64_t channel : channels())
        wishes.push_back(of_channel(request_.layer, channel, request_.neuron, ""));
    } else if (!request_.channels.empty()) {
      throw_usage("channels need a layer (--layer NAME)");
    }
    return wishes;
  }

 private:
  Wish of_target(const std::string& text) const {
    const Target target = Target::parse(text);
    Wish wish;
    wish.title = text;
    wish.name = file_name_from(text);
    switch (target.kind) {
      case Target::Kind::kClass:
        wish.class_index = class_of(target.name);
        wish.title = std::to_string(wish.class_index) + " " + model_.card.label(wish.class_index);
        wish.name = file_name_from(wish.title);
        wish.objective = target.probability ? "log-probability:target=" + std::to_string(wish.class_index)
                                            : "class:target=" + std::to_string(wish.class_index);
        return wish;
      case Target::Kind::kDifference:
        wish.class_index = class_of(target.name);
        wish.objective =
            "class:target=" + std::to_string(wish.class_index) + " vs " + std::to_string(class_of(target.other));
        return wish;
      case Target::Kind::kMeanDifference:
        wish.class_index = class_of(target.name);
        wish.objective = "class:target=mean:" + std::to_string(wish.class_index);
        return wish;
      case Target::Kind::kChannel:
        return of_channel(target.layer, target.position.at(0), false, "");
      case Target::Kind::kUnit:
        return of_channel(
            target.layer, target.position.at(0), true,
            ",y=" + std::to_string(target.position.at(1)) + ",x=" + std::to_string(target.position.at(2)));
      default:
        throw_usage("target '" + printable(text) +
                    "' needs a picture; a class, a difference of classes, channel:LAYER:K or unit:LAYER:K,Y,X was "
                    "expected");
    }
  }

  int64_t class_of(const std::string& name) const { return class_from_name(name, model_.card, maker_.num_classes()); }

  Wish of_channel(const std::string& layer, int64_t channel, bool neuron, const std::string& where) const {
    const LayerInfo& info = maker_.layers().layer(maker_.layers().find(layer));
    const int64_t count = info.shape.size() == 4 || info.shape.size() == 2 ? info.shape[1] : 0;
    if (channel >= count) {
      throw_usage(printable(info.name) + " has " + std::to_string(count) + " channels; there is no channel " +
                  std::to_string(channel));
    }
    Wish wish;
    wish.title = info.name + (neuron ? " neuron " : " channel ") + std::to_string(channel);
    wish.name = file_name_from(wish.title + where);
    wish.objective = std::string(neuron ? "neuron" : "channel") + ":layer=" + info.name +
                     ",channel=" + std::to_string(channel) + where;
    return wish;
  }

  /// "3,17" and "0-7".
  std::vector<int64_t> channels() const {
    std::vector<int64_t> list;
    for (const std::string& piece : split(request_.channels, ',')) {
      const std::string part = trim(piece);
      const size_t dash = part.find('-');
      int64_t first = 0, last = 0;
      const bool ok = parse_int(trim(part.substr(0, dash)), first) &&
                      parse_int(dash == std::string::npos ? part : trim(part.substr(dash + 1)), last) && first >= 0 &&
                      last >= first && last - first < 10000;
      if (!ok) {
        throw_usage("channels is '" + printable(request_.channels) + "'; numbers as 12, 3,17 or 0-7 were expected");
      }
      for (int64_t c = first; c <= last; ++c) list.push_back(c);
    }
    return list;
  }

  const VisualizeRequest& request_;
  const LoadedModel& model_;
  const PictureMaker& maker_;
};

std::vector<PictureJob> jobs_of(const VisualizeRequest& request, const PictureMaker& maker,
                                const std::vector<Wish>& wishes) {
  std::vector<PictureJob> jobs;
  std::set<std::string> used;
  const auto add = [&](const Wish& wish, Recipe recipe, double weight, const std::string& about, bool new_row) {
    const uint64_t first = recipe.seed;
    for (int64_t i = 0; i < request.count; ++i) {
      PictureJob job;
      job.recipe = recipe;
      job.recipe.objectives = {{weight, wish.objective}};
      job.recipe.seed = first + static_cast<uint64_t>(i);
      job.title = wish.title;
      job.subtitle = about;
      job.class_index = wish.class_index;
      job.new_row = new_row && i == 0;
      std::string name = wish.name;
      if (request.ladder) name += "." + file_name_from(recipe.name);
      if (request.count > 1) name += ".seed" + std::to_string(job.recipe.seed);
      job.name = name;
      for (int n = 2; !used.insert(job.name).second; ++n) job.name = name + "-" + std::to_string(n);
      jobs.push_back(std::move(job));
    }
  };
  for (const Wish& wish : wishes) {
    if (!request.ladder) {
      const Recipe recipe = maker.recipe("lucid", "visualize");
      add(wish, recipe, 1, recipe.name, false);
      continue;
    }
    bool first = true;
    for (const NamedRecipe& named : recipes()) {
      if (named.family != "visualize") continue;
      add(wish, maker.recipe(named), named.weight, named.id + ": " + named.summary, first);
      first = false;
    }
  }
  return jobs;
}

}  // namespace

MakeResult visualize(const VisualizeRequest& request, Progress* progress) {
  if (request.count < 1) throw_usage("count must be an integer >= 1");
  const bool from_file =
      request.make.recipe.size() > 5 && request.make.recipe.compare(request.make.recipe.size() - 5, 5, ".json") == 0;
  if (!from_file && !request.make.recipe.empty()) find_recipe(request.make.recipe, "visualize");
  const bool named = !request.targets.empty() || !request.layer.empty() || !request.channels.empty();
  if (!named && !from_file) throw_usage("nothing to visualize; name a class (--target) or a layer and channels");
  std::vector<Recipe> stored;
  if (!named) stored = load_recipes(request.make.recipe);
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("visualize", request.make, model, progress);
  if (named) return maker.run(jobs_of(request, maker, Wishes(request, model, maker).all()));
  std::vector<PictureJob> jobs;
  for (size_t i = 0; i < stored.size(); ++i) {
    if (stored[i].objectives.empty())
      throw_usage("the recipe names no objective; name a class or a layer and channels");
    PictureJob job;
    job.recipe = maker.stored(stored[i]);
    job.title = stored[i].objectives.front().part;
    job.subtitle = stored[i].name;
    job.name = file_name_from(job.title) + (stored.size() > 1 ? "." + std::to_string(i) : "");
    jobs.push_back(std::move(job));
  }
  return maker.run(jobs);
}

}  // namespace pellucid
