#include "pellucid/texture.h"

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/style.h"
#include "pellucid/text.h"
#include "tasks/picture_maker.h"
#include "tasks/texture_terms.h"

namespace pellucid {

namespace {

constexpr int64_t kSource = 256;
constexpr int64_t kScales = 3;
constexpr double kSmallest = 32;
/// Of histograms beside Gram matrices of rescaled activations; ours.
constexpr double kColorWeight = 1;
/// Sides of results that wavelets describe.
constexpr int64_t kWaveletUnit = 16;

class TextureJobs {
 public:
  TextureJobs(const TextureRequest& request, const LoadedModel& model, const PictureMaker& maker, Progress* progress)
      : request_(request), model_(model), chosen_(maker.choose("gatys2015", "texture")), progress_(progress) {
    const Graph& graph = model.network.graph();
    layers_ = chosen_layers(request.terms.layers, maker.layers(), graph);
    measured_ = layers_;
    unseen_ = unseen_layer(layers_, maker.layers(), graph);
    if (!unseen_.empty()) measured_.push_back(unseen_);
    wavelets_ = chosen_.recipe.name == "portilla-simoncelli";
  }

  const std::vector<std::string>& layers() const { return layers_; }
  bool uses_network() const { return !wavelets_; }

  PictureJob job(const Picture& picture) const {
    const Image photo = sized_photo(picture.photo, request_.source_size, kSource);
    const int64_t longer = std::max(photo.width, photo.height);
    const double factor = request_.make.size > 0 ? static_cast<double>(request_.make.size) / longer : 1;
    PictureJob job;
    job.recipe = chosen_.recipe;
    const double longest = factor * static_cast<double>(longer);
    set_scales(job.recipe, scales(longest), request_.make.steps);
    const auto doublings = static_cast<int64_t>(job.recipe.stages.size()) - 1;
    job.recipe.width = side(photo.width, factor, doublings);
    job.recipe.height = side(photo.height, factor, doublings);
    const double scale =
        static_cast<double>(longer) / static_cast<double>(std::max(job.recipe.width, job.recipe.height));
    if (job.recipe.objectives.empty()) job.recipe.objectives = objectives(scale);
    job.source = display_from_image(photo);
    job.pictures["style"] = job.source;
    job.files["style"] = picture.path;
    job.title = "more of " + picture.name;
    job.subtitle = picture.name;
    job.name = picture.name + "." + file_name_from(job.recipe.name);
    const Tensor source = job.source;
    job.measure = [this, source](const PictureJob&, MadePicture& made) { measure(source, made); };
    return job;
  }

 private:
  /// Small networks hardly see some colors, so that histograms are matched as well.
  std::vector<WeightedPart> objectives(double scale) const {
    const std::string more = scale == 1 ? "" : ",scale=" + number_text(scale);
    if (wavelets_) return {{chosen_.weight, "portilla-simoncelli:picture=style" + more}};
    std::vector<WeightedPart> parts = texture_objectives_of(request_.terms, layers_, chosen_.weight, more);
    parts.push_back({kColorWeight, "histogram:picture=style" + more});
    return parts;
  }

  int64_t scales(double longest) const {
    if (request_.scales > 0 || from_file(request_.make)) return request_.scales;
    int64_t count = 1;
    while (count < kScales && longest / std::pow(2, count) >= kSmallest) ++count;
    return count;
  }

  int64_t side(int64_t pixels, double factor, int64_t doublings) const {
    const auto wanted = std::max<int64_t>(1, std::llround(static_cast<double>(pixels) * factor));
    if (!wavelets_) return wanted;
    const int64_t unit = kWaveletUnit << doublings;
    return std::max<int64_t>(1, (wanted + unit / 2) / unit) * unit;
  }

  void measure(const Tensor& source, MadePicture& made) const {
    const Tensor image = made.image.clamp(0, 1).unsqueeze(0);
    const SynthesisContext context{model_.network, model_.card, {}, {}, progress_};
    const std::vector<double> errors = gram_errors(context, image, source, measured_);
    for (size_t i = 0; i < measured_.size(); ++i) {
      made.measures.push_back(
          {"Gram error " + measured_[i] + (measured_[i] == unseen_ ? " (not matched)" : ""), errors[i]});
    }
    for (const auto& [name, error] : wavelet_errors(image, source)) {
      made.measures.push_back({"wavelet error " + name, error});
    }
    made.measures.push_back({"correlation with the source", copy_correlation(image, source)});
  }

  const TextureRequest& request_;
  const LoadedModel& model_;
  WeightedRecipe chosen_;
  Progress* progress_;
  std::vector<std::string> layers_, measured_;
  std::string unseen_;
  bool wavelets_ = false;
};

}  // namespace

MakeResult texture(const TextureRequest& request, Progress* progress) {
  const LoadedModel model = load_texture_model(request.make.model, request.terms);
  PictureMaker maker("texture", request.make, model, progress);
  const TextureJobs all(request, model, maker, progress);
  if (all.uses_network()) maker.note("layers: " + join(all.layers(), ", "));
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) jobs.push_back(all.job(picture));
  return maker.run(jobs);
}

}  // namespace pellucid
