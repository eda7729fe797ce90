#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace {

constexpr int64_t kLargestDream = 1024;

}  // namespace

MakeResult dream(const DreamRequest& request, Progress* progress) {
  if (request.layer.empty()) throw_usage("nothing to dream of; name a layer (--layer NAME)");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("dream", request.make, model, progress);
  const WeightedRecipe chosen = maker.choose("deepdream", "dream");
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

}  // namespace pellucid
