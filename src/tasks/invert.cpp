#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/make_pictures.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"
#include "tasks/run_model.h"

namespace pellucid {

namespace {

/// Whose activations are to be found again.
struct Goal {
  std::string name;
  Tensor source;                 ///< Display, or undefined.
  std::vector<Tensor> features;  ///< By layer, [1,...].
};

Tensor stored_code(const std::string& path, const Shape& shape) {
  const NpyArray array = read_npy(path);
  Shape wanted = shape;
  wanted[0] = 1;
  const Shape without(wanted.begin() + 1, wanted.end());
  if (array.shape != wanted && array.shape != without) {
    throw_invalid(printable(path) + ": holds " + shape_text(array.shape) + "; the layer holds " + shape_text(without));
  }
  const Tensor code = at::tensor(array.floats()).view(wanted);
  if (!at::isfinite(code).all().item<bool>()) throw_invalid(printable(path) + ": holds numbers that are not finite");
  return code;
}

/// Pixels between neighbouring positions of the layer, or of the last map before it.
double stride_before(const LayerTable& layers, const LayerInfo& layer) {
  double stride = 1;
  for (const LayerInfo& l : layers.layers()) {
    if (l.index <= layer.index && l.shape.size() == 4 && !l.rows.whole) stride = std::max(stride, l.rows.jump);
  }
  return stride;
}

/// Mahendran and Vedaldi's picture is larger than what the network sees by a quarter of the layer's stride, and a crop
/// at random is seen in each but the last steps.
void add_jitter(Recipe& recipe, double stride) {
  const int64_t pixels = std::max<int64_t>(std::llround(stride / 4), 1) - 1;
  if (pixels == 0) return;
  recipe.transformations = {"jitter:pixels=" + std::to_string(pixels) + ",inner=true,rest=50"};
  recipe.width += pixels;
  recipe.height += pixels;
}

}  // namespace

MakeResult invert(const InvertRequest& request, Progress* progress) {
  if (request.layers.empty()) throw_usage("nothing to invert; name a layer (--layer NAME)");
  if (request.code.empty() == request.inputs.empty())
    throw_usage("invert: a picture or a code (--code FILE) is needed");
  if (!request.code.empty() && request.layers.size() != 1) throw_usage("invert: a code is one of one layer");
  const LoadedModel model = load_model(request.make.model);
  PictureMaker maker("invert", request.make, model, progress);
  const WeightedRecipe chosen = maker.choose("invert-mahendran2016", "invert");
  std::vector<ValueId> ids;
  for (const std::string& layer : request.layers) ids.push_back(maker.layers().find(layer));
  std::vector<Goal> goals;
  if (!request.code.empty()) {
    goals.push_back({"code", {}, {stored_code(request.code, maker.layers().shape(ids[0]))}});
  } else {
    for (const Picture& picture : read_all_pictures(request.inputs, model)) {
      Goal goal{picture.name, display_from_picture(picture, model.card), {}};
      const Tensor input = batch_of({&picture}, model.network);
      for (const ValueId id : ids) goal.features.push_back(forward(model.network, input, id, progress));
      goals.push_back(std::move(goal));
    }
  }
  std::vector<PictureJob> jobs;
  for (const Goal& goal : goals) {
    for (size_t i = 0; i < ids.size(); ++i) {
      const LayerInfo& layer = maker.layers().layer(ids[i]);
      PictureJob job;
      job.recipe = chosen.recipe;
      // As many pixels as the features were seen in; a recipe of one's own may say otherwise.
      if (job.recipe.transformations.empty()) add_jitter(job.recipe, stride_before(maker.layers(), layer));
      job.recipe.objectives = {{chosen.weight, "match:layer=" + layer.name + ",picture=code"}};
      job.tensors["code"] = goal.features[i];
      if (i == 0 && goal.source.defined()) job.source = goal.source;
      job.new_row = i == 0;
      job.title = layer.name;
      job.subtitle = goal.name;
      job.name = goal.name + "." + file_name_from(layer.name);
      jobs.push_back(std::move(job));
    }
  }
  return maker.run(jobs);
}

}  // namespace pellucid
