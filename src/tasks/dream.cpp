#include <algorithm>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/text.h"
#include "pellucid/video.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace {

constexpr int64_t kLargestDream = 1024;
constexpr double kFramesPerSecond = 12;
/// A later frame begins with the dream of the one before and needs detail for the zoom alone: one step in so many.
constexpr int64_t kFewerSteps = 4;

std::string frame_name(const std::string& name, int64_t frame) {
  std::string number = std::to_string(frame);
  return name + ".frame" + std::string(number.size() < 4 ? 4 - number.size() : 0, '0') + number;
}

/// The frames of one picture's film, in their order.
void write_film(const std::string& path, const std::vector<const MadePicture*>& frames) {
  const Image first = image_from_display(frames.front()->image);
  VideoWriter film(path, first.width, first.height, kFramesPerSecond);
  for (const MadePicture* frame : frames) film.add(image_from_display(frame->image));
  film.close();
}

}  // namespace

MakeResult dream(const DreamRequest& request, Progress* progress) {
  if (request.layer.empty()) throw_usage("nothing to dream of; name a layer (--layer NAME)");
  if (!request.guide.empty() && request.channel >= 0) throw_usage("dream: a guide or a channel, not both");
  if (!(request.zoom >= 1 && request.zoom <= 4)) throw_usage("dream: zoom must be between 1 and 4");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("dream", request.make, model, progress);
  const WeightedRecipe chosen = maker.choose("deepdream", "dream");
  const std::string layer = maker.layers().layer(maker.layers().find(request.layer)).name;
  std::string objective = "energy:layer=" + layer;
  if (request.channel >= 0) objective = "channel:layer=" + layer + ",channel=" + std::to_string(request.channel);
  if (!request.guide.empty()) objective = "guide:layer=" + layer + ",picture=guide";
  Tensor guide;
  if (!request.guide.empty()) guide = display_from_image(decode_image(request.guide));
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) {
    const Image photo = sized_photo(picture.photo, request.make.size, kLargestDream);
    PictureJob job;
    job.recipe = chosen.recipe;
    job.recipe.width = photo.width;
    job.recipe.height = photo.height;
    job.recipe.objectives = {{chosen.weight, objective}};
    job.pictures["start"] = display_from_image(photo);
    if (guide.defined()) job.pictures["guide"] = guide;
    job.source = job.pictures["start"];
    job.title = layer + (request.channel >= 0 ? " channel " + std::to_string(request.channel) : "") +
                (guide.defined() ? " guided" : "");
    job.subtitle = picture.name;
    job.name = picture.name + "." + file_name_from(job.title);
    const std::string name = job.name;
    for (int64_t frame = 0; frame < std::max<int64_t>(1, request.zoom_frames); ++frame) {
      if (request.zoom_frames > 0) job.name = frame_name(name, frame);
      jobs.push_back(job);
      job.source = Tensor();
      job.zoom = request.zoom;
      if (frame == 0) {
        for (RecipeStage& stage : job.recipe.stages) stage.steps = (stage.steps + kFewerSteps - 1) / kFewerSteps;
      }
      job.recipe.seed += 1;
    }
  }
  MakeResult result = maker.run(jobs);
  if (request.zoom_frames == 0 || request.make.output.empty()) return result;
  const auto frames = static_cast<size_t>(request.zoom_frames);
  for (size_t at = 0; at < result.pictures.size(); at += frames) {
    std::vector<const MadePicture*> list;
    for (size_t i = at; i < std::min(result.pictures.size(), at + frames); ++i) list.push_back(&result.pictures[i]);
    const std::string& first = result.pictures[at].name;
    const std::string name = first.substr(0, first.rfind(".frame")) + "." + request.make.animation;
    write_film((std::filesystem::u8path(request.make.output) / std::filesystem::u8path(name)).string(), list);
    result.film_files.push_back(name);
  }
  return result;
}

}  // namespace pellucid
