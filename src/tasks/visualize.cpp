#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "synthesis/learned_priors.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace {

/// What is made large, ready for a recipe.
struct Wish {
  std::string title, name;
  std::string objective;        ///< A part.
  std::string log_probability;  ///< Of a class: the part that samples are drawn by.
  int64_t class_index = -1;
};

class Wishes {
 public:
  Wishes(const VisualizeRequest& request, const PictureMaker& maker, int64_t num_directions)
      : request_(request), model_(maker.model()), maker_(maker), num_directions_(num_directions) {}

  std::vector<Wish> all() const {
    std::vector<Wish> wishes;
    for (const std::string& text : request_.targets) wishes.push_back(of_target(text));
    if (!request_.direction.empty()) {
      if (request_.layer.empty() || !request_.channels.empty()) {
        throw_usage("a direction is one of a layer (--layer NAME) and stands instead of channels");
      }
      for (int64_t k = 0; k < num_directions_; ++k) wishes.push_back(of_direction(k));
    } else if (!request_.layer.empty()) {
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
        wish.log_probability = "log-probability:target=" + std::to_string(wish.class_index);
        wish.objective = target.probability ? wish.log_probability : "class:target=" + std::to_string(wish.class_index);
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

  Wish of_direction(int64_t k) const {
    const std::string layer = maker_.layers().layer(maker_.layers().find(request_.layer)).name;
    Wish wish;
    wish.title = layer + " direction" + (num_directions_ > 1 ? " " + std::to_string(k) : "");
    wish.name = file_name_from(wish.title);
    wish.objective = "direction:layer=" + layer + ",direction=direction" + std::to_string(k);
    return wish;
  }

  /// "3,17", "0-7" and "all".
  std::vector<int64_t> channels() const {
    std::vector<int64_t> list;
    if (request_.channels == "all") {
      const Shape& shape = maker_.layers().layer(maker_.layers().find(request_.layer)).shape;
      for (int64_t c = 0; shape.size() > 1 && c < shape[1]; ++c) list.push_back(c);
      return list;
    }
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
  int64_t num_directions_;
};

/// The rows [K,C] of a .npy file of one direction or several.
Tensor directions_of(const std::string& path, const PictureMaker& maker, const std::string& layer) {
  const NpyArray array = read_npy(path);
  const Shape& shape = maker.layers().layer(maker.layers().find(layer)).shape;
  const int64_t channels = shape.size() > 1 ? shape[1] : 0;
  if (array.shape.empty() || array.shape.size() > 2 || array.shape.back() != channels) {
    throw_invalid(printable(path) + ": holds " + shape_text(array.shape) + "; the layer has " +
                  std::to_string(channels) + " channels");
  }
  const Tensor all = at::tensor(array.floats()).view({-1, channels});
  if (!at::isfinite(all).all().item<bool>()) throw_invalid(printable(path) + ": holds numbers that are not finite");
  return all;
}

/// The part "latent" of a recipe whose picture is what a generator makes of a code.
std::optional<PartCall> latent_of(const Recipe& recipe) {
  PartCall call = PartCall::parse(PartKind::kParameterization, recipe.parameterization);
  return call.info->id == "latent" ? std::optional<PartCall>(std::move(call)) : std::nullopt;
}

/// A recipe whose code is that of another generator.
Recipe with_generator(Recipe recipe, const std::string& generator) {
  std::optional<PartCall> latent = latent_of(recipe);
  if (generator.empty() || !latent) return recipe;
  latent->params["network"] = generator;
  recipe.parameterization = latent->text();
  return recipe;
}

/// How little the model sees in the pictures of a recipe's generator what their codes say.
double code_error_of(PictureMaker& maker, const Recipe& recipe) {
  PictureJob job;
  job.recipe = recipe;
  const SynthesisContext context = maker.context(job, nullptr);
  try {
    const PartScope scope{context, maker.layers(), recipe.unit, 1, recipe.height, recipe.width, 0};
    return code_error(scope, recipe.parameterization);
  } catch (const Error& e) {
    // A network without maps has no codes.
    if (e.kind() != ErrorKind::kUsage) throw;
    return std::numeric_limits<double>::infinity();
  }
}

/// Turns wishes into runs: each with a recipe, several in one batch where nothing speaks against it.
class Planner {
 public:
  Planner(const VisualizeRequest& request, PictureMaker& maker, Tensor directions)
      : request_(request), maker_(maker), directions_(std::move(directions)) {}

  std::vector<PictureJob> jobs(const std::vector<Wish>& wishes) {
    if (request_.ladder) {
      const std::vector<Rung> rungs = ladder();
      for (const Wish& wish : wishes) climb(wish, rungs);
      return std::move(jobs_);
    }
    WeightedRecipe chosen = maker_.choose("lucid", "visualize");
    chosen.recipe = with_generator(std::move(chosen.recipe), request_.generator);
    if (const auto latent = latent_of(chosen.recipe); latent && request_.generator.empty()) {
      maker_.note("pictures are those of the generator " + latent->params.at("network") +
                  ", which knows what it was trained on and nothing else; --generator takes another");
    }
    if (request_.diversity > 1) {
      for (const Wish& wish : wishes) diverse(wish, chosen);
      return std::move(jobs_);
    }
    if (request_.interpolate > 0) {
      between(wishes, chosen);
      return std::move(jobs_);
    }
    std::vector<Single> singles;
    for (const Wish& wish : wishes) {
      for (const double sign : signs()) {
        for (int64_t i = 0; i < request_.count; ++i) singles.push_back({wish, sign, i});
      }
    }
    const int64_t most = batch_size(chosen.recipe, static_cast<int64_t>(singles.size()));
    for (size_t at = 0; at < singles.size(); at += static_cast<size_t>(most)) {
      const size_t end = std::min(singles.size(), at + static_cast<size_t>(most));
      add(std::vector<Single>(singles.begin() + static_cast<ptrdiff_t>(at),
                              singles.begin() + static_cast<ptrdiff_t>(end)),
          chosen);
    }
    return std::move(jobs_);
  }

 private:
  struct Single {
    Wish wish;
    double sign = 1;
    int64_t index = 0;  ///< Of several with other seeds.
  };

  std::vector<double> signs() const { return request_.negative ? std::vector<double>{1, -1} : std::vector<double>{1}; }

  int64_t batch_size(const Recipe& recipe, int64_t wanted) const {
    // Pictures with seeds of their own are those of single runs; so are the large ones, which fill a pass alone.
    if (!maker_.model().network.batches_safely()) return 1;
    if (request_.count > 1 || PartCall::parse(PartKind::kOptimizer, recipe.optimizer).info->id == "lbfgs") return 1;
    int64_t most = request_.batch;
    if (most == 0) {
      const int64_t pixels = recipe.width * recipe.height;
      most = std::clamp<int64_t>(kPixelsOfABatch / std::max<int64_t>(1, pixels), 1, 16);
    }
    return std::max<int64_t>(1, std::min(most, wanted));
  }

  std::string unique(const std::string& wanted) {
    std::string name = wanted;
    for (int n = 2; !used_.insert(name).second; ++n) name = wanted + "-" + std::to_string(n);
    return name;
  }
  static std::string title(const Single& s) { return s.wish.title + (s.sign < 0 ? " negative" : ""); }
  std::string name(const Single& s, const Recipe& recipe) const {
    return s.wish.name + (s.sign < 0 ? ".negative" : "") + (request_.ladder ? "." + file_name_from(recipe.name) : "") +
           (request_.count > 1 ? ".seed" + std::to_string(recipe.seed) : "");
  }

  PictureJob job_for(const Recipe& recipe) const {
    PictureJob job;
    job.recipe = recipe;
    job.subtitle = recipe.name;
    if (directions_.defined()) {
      for (int64_t k = 0; k < directions_.size(0); ++k) job.tensors["direction" + std::to_string(k)] = directions_[k];
    }
    return job;
  }

  static const std::string& objective(const Wish& wish, const WeightedRecipe& chosen) {
    const bool sampled = chosen.objective == "log-probability" && !wish.log_probability.empty();
    return sampled ? wish.log_probability : wish.objective;
  }

  /// One run of several, or of one.
  PictureJob& add(const std::vector<Single>& singles, const WeightedRecipe& chosen) {
    PictureJob job = job_for(chosen.recipe);
    const Single& first = singles.front();
    job.recipe.seed += static_cast<uint64_t>(first.index);
    job.recipe.batch = static_cast<int64_t>(singles.size());
    job.recipe.objectives.clear();
    for (size_t b = 0; b < singles.size(); ++b) {
      const Single& s = singles[b];
      const int64_t picture = singles.size() > 1 ? static_cast<int64_t>(b) : -1;
      job.recipe.objectives.push_back({s.sign * chosen.weight, objective(s.wish, chosen), picture});
      // What makes a class smallest is not a picture of it, but its rank there is worth knowing.
      if (singles.size() > 1) job.batch.push_back({unique(name(s, job.recipe)), title(s), s.wish.class_index});
    }
    job.title = title(first);
    job.class_index = first.wish.class_index;
    job.name = singles.size() > 1 ? unique(job.batch.front().name + ".batch") : unique(name(first, job.recipe));
    jobs_.push_back(std::move(job));
    return jobs_.back();
  }

  /// A generator makes pictures of one kind only: the shipped one is for the network that it was trained with. One that
  /// was asked for may have codes of its own, unless the recipe compares them with the network's.
  bool suits(const Recipe& with_code) const {
    constexpr double kLargestError = 0.25;
    const double error = code_error_of(maker_, with_code);
    if (request_.generator.empty()) return error < kLargestError;
    const PartCall latent = *latent_of(with_code);
    return std::isfinite(error) || latent.info->complete(latent.params).at("reality") == "0";
  }

  struct Rung {
    WeightedRecipe chosen;
    std::string subtitle;
  };
  std::vector<Rung> ladder() const {
    std::vector<Rung> rungs;
    for (const NamedRecipe& named : recipes()) {
      if (named.family != "visualize") continue;
      const Recipe recipe = with_generator(maker_.recipe(named), request_.generator);
      if (!SecondModels::exist(recipe)) continue;
      if (latent_of(recipe) && !suits(recipe)) continue;
      rungs.push_back({{recipe, named.weight, named.objective}, named.id + ": " + named.summary});
    }
    return rungs;
  }

  void climb(const Wish& wish, const std::vector<Rung>& rungs) {
    bool new_row = true;
    for (const Rung& rung : rungs) {
      for (const double sign : signs()) {
        for (int64_t i = 0; i < request_.count; ++i) {
          PictureJob& job = add({Single{wish, sign, i}}, rung.chosen);
          job.subtitle = rung.subtitle;
          job.new_row = new_row;
          new_row = false;
        }
      }
    }
  }

  void diverse(const Wish& wish, const WeightedRecipe& chosen) {
    for (const double sign : signs()) {
      PictureJob& job =
          add(std::vector<Single>(static_cast<size_t>(request_.diversity), Single{wish, sign, 0}), chosen);
      job.recipe.objectives = {{sign * chosen.weight, objective(wish, chosen)}};
      const std::string layer = maker_.layers().layer(maker_.layers().find(request_.diversity_layer)).name;
      const WeightedPart term{request_.diversity_weight, "diversity:layer=" + layer};
      job.recipe.objectives.push_back(term);
      job.new_row = true;
      if (request_.diversity_weight == 0) job.recipe.objectives.back().weight = measured_weight(job, chosen.weight);
    }
  }

  /// One batch, each picture about a mixture of two wishes.
  void between(const std::vector<Wish>& wishes, const WeightedRecipe& chosen) {
    if (wishes.size() != 2) {
      throw_usage("interpolate goes from one target, channel or direction to another; " +
                  std::to_string(wishes.size()) + " are named");
    }
    PictureJob job = job_for(chosen.recipe);
    if (job.recipe.parameterization == "fourier") job.recipe.parameterization = "shared";
    const std::array<double, 2> weights = balanced_weights(job, wishes, chosen);
    job.recipe.batch = request_.interpolate;
    job.recipe.objectives.clear();
    for (int64_t b = 0; b < request_.interpolate; ++b) {
      const double share = static_cast<double>(b) / static_cast<double>(request_.interpolate - 1);
      const double shares[] = {1 - share, share};
      for (size_t w = 0; w < 2; ++w) {
        if (shares[w] > 0) {
          job.recipe.objectives.push_back({shares[w] * weights[w], objective(wishes[w], chosen), b});
        }
      }
      const std::string percent = std::to_string(std::lround(100 * share)) + " %";
      job.batch.push_back({unique(wishes[0].name + ".to." + wishes[1].name + "." + std::to_string(b)),
                           b == 0                          ? wishes[0].title
                           : b + 1 == request_.interpolate ? wishes[1].title
                                                           : percent + " of " + wishes[1].title,
                           share == 0   ? wishes[0].class_index
                           : share == 1 ? wishes[1].class_index
                                        : -1});
    }
    job.title = wishes[0].title + " to " + wishes[1].title;
    job.name = unique(wishes[0].name + ".to." + wishes[1].name + ".batch");
    jobs_.push_back(std::move(job));
  }

  /// The terms of a short run of a job.
  std::map<std::string, std::vector<double>> reached_in_short_run(const PictureJob& job) const {
    Recipe pilot = job.recipe;
    pilot.stages = {pilot.stages.front()};
    pilot.stages.front().steps = std::min<int64_t>(100, pilot.stages.front().steps);
    return synthesize(pilot, maker_.context(job, maker_.progress())).terms;
  }

  /// A fifth of what the objective reaches in a short run without, over what the pictures then have in common.
  double measured_weight(const PictureJob& job, double weight) const {
    PictureJob alone = job;
    alone.recipe.objectives.back().weight = 0;
    const auto terms = reached_in_short_run(alone);
    double reached = 0, common = 0;
    for (const double v : terms.at(job.recipe.objectives[0].part)) reached += std::abs(v * weight);
    for (const double v : terms.at(job.recipe.objectives[1].part)) common += std::abs(v);
    return common > 0 ? 0.2 * reached / common : 1;
  }

  /// With which two wishes count alike: each is divided by what it reaches alone in a short run, times their geometric
  /// mean. Logits of one class may be many times those of another, whose half of a mixture would be nothing.
  std::array<double, 2> balanced_weights(const PictureJob& job, const std::vector<Wish>& wishes,
                                         const WeightedRecipe& chosen) const {
    const double weight = chosen.weight;
    std::array<double, 2> reached{};
    for (size_t w = 0; w < 2; ++w) {
      PictureJob alone = job;
      alone.recipe.batch = 1;
      const std::string part = objective(wishes[w], chosen);
      alone.recipe.objectives = {{weight, part}};
      reached[w] = std::abs(reached_in_short_run(alone).at(part).front());
    }
    if (!(reached[0] > 0 && reached[1] > 0)) return {weight, weight};
    const double ratio = std::sqrt(reached[1] / reached[0]);
    return {weight * ratio, weight / ratio};
  }

  static constexpr int64_t kPixelsOfABatch = 16 * 128 * 128;

  const VisualizeRequest& request_;
  PictureMaker& maker_;
  Tensor directions_;
  std::set<std::string> used_;
  std::vector<PictureJob> jobs_;
};

}  // namespace

MakeResult visualize(const VisualizeRequest& request, Progress* progress) {
  if (request.count < 1) throw_usage("count must be an integer >= 1");
  if (request.diversity < 1) throw_usage("diversity must be an integer >= 1");
  if (request.diversity > 1 && (request.ladder || request.count > 1)) {
    throw_usage("diversity is a batch of its own; it does not go with the ladder or a count");
  }
  if (request.interpolate == 1 || request.interpolate < 0) throw_usage("interpolate must be an integer >= 2");
  if (request.interpolate > 1 && (request.ladder || request.count > 1 || request.diversity > 1 || request.negative)) {
    throw_usage("interpolate is a batch of its own; it does not go with ladder, count, diversity or negative");
  }
  const bool from_file =
      request.make.recipe.size() > 5 && request.make.recipe.compare(request.make.recipe.size() - 5, 5, ".json") == 0;
  if (!from_file && !request.make.recipe.empty()) find_recipe(request.make.recipe, "visualize");
  const bool named = !request.targets.empty() || !request.layer.empty() || !request.channels.empty();
  if (!named && !from_file) throw_usage("nothing to visualize; name a class (--target) or a layer and channels");
  std::vector<Recipe> stored;
  if (!named) stored = load_recipes(request.make.recipe);
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("visualize", request.make, model, progress);
  if (named) {
    Tensor directions;
    if (!request.direction.empty() && !request.layer.empty()) {
      directions = directions_of(request.direction, maker, request.layer);
    }
    const Wishes wishes(request, maker, directions.defined() ? directions.size(0) : 0);
    if (request.channels == "all") maker.set_atlas();
    return maker.run(Planner(request, maker, directions).jobs(wishes.all()));
  }
  std::vector<PictureJob> jobs;
  for (size_t i = 0; i < stored.size(); ++i) {
    if (stored[i].objectives.empty())
      throw_usage("the recipe names no objective; name a class or a layer and channels");
    PictureJob job;
    job.recipe = maker.stored(stored[i]);
    job.title = stored[i].objectives.front().part;
    job.subtitle = stored[i].name;
    job.name = file_name_from(job.title) + (stored.size() > 1 ? "." + std::to_string(i) : "");
    for (int64_t b = 0; stored[i].batch > 1 && b < stored[i].batch; ++b) {
      job.batch.push_back({job.name + "." + std::to_string(b), job.title, -1});
      for (const WeightedPart& part : stored[i].objectives) {
        if (part.picture == b) job.batch.back().title = part.part;
      }
    }
    jobs.push_back(std::move(job));
  }
  return maker.run(jobs);
}

}  // namespace pellucid
