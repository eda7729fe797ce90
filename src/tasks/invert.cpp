#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"

namespace pellucid {

MakeResult invert(const InvertRequest& request, Progress* progress) {
  if (request.layers.empty()) throw_usage("nothing to invert; name a layer (--layer NAME)");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("invert", request.make, model, progress);
  const WeightedRecipe chosen = maker.choose("invert-mahendran2016", "invert");
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

}  // namespace pellucid
