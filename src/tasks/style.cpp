#include "pellucid/style.h"

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/colors.h"
#include "tasks/picture_maker.h"
#include "tasks/texture_terms.h"

namespace pellucid {

namespace {

constexpr int64_t kLargest = 512;
constexpr int64_t kTwoScales = 384;
/// Recipes measure pixels in gray levels, --tv in display range.
constexpr double kGrayLevels = 255;

/// The name of a style in recipes: "style", "style2", ...
std::string style_name(size_t i, const char* what = "style") {
  return what + (i == 0 ? std::string() : std::to_string(i + 1));
}

/// A picture as a mask [H,W] of 0..1 for a picture [1,3,H,W]: of another size if need be, but not of other proportions,
/// for it would lie elsewhere than it was drawn.
Tensor read_mask(const std::string& path, const Tensor& picture) {
  const Image mask = decode_mask(path);
  const int64_t height = picture.size(2), width = picture.size(3);
  // By more than rounding of the smaller one's sides.
  if (std::abs(mask.width * height - mask.height * width) >
      std::max({height, width, int64_t{mask.height}, int64_t{mask.width}})) {
    throw_usage(printable(path) + ": the mask is " + std::to_string(mask.width) + "x" + std::to_string(mask.height) +
                "; the picture is " + std::to_string(width) + "x" + std::to_string(height) +
                ", and the mask must have its proportions");
  }
  const Tensor t = at::empty({mask.height, mask.width}, at::kByte);
  std::copy(mask.pixels.begin(), mask.pixels.end(), t.data_ptr<uint8_t>());
  const Tensor values = t.to(at::kFloat) / 255;
  if (!(values.max().item<double>() > 0)) throw_invalid(printable(path) + ": the mask is black everywhere");
  return values;
}

void check(const StyleRequest& request) {
  const size_t count = request.styles.size();
  if (count == 0) throw_usage("no style; name a picture (--style PICTURE)");
  if (request.style_weights.size() > 1 && request.style_weights.size() != count) {
    throw_usage(std::to_string(request.style_weights.size()) + " style weights for " + std::to_string(count) +
                " styles");
  }
  const bool masked = !request.content_masks.empty() || !request.style_masks.empty();
  if (masked && (request.content_masks.size() != count || request.style_masks.size() != count)) {
    throw_usage("masks come in pairs, a --content-mask and a --style-mask for each of the " + std::to_string(count) +
                " styles");
  }
}

/// At an eighth of the resolution, but finer than the coarsest layer of the style: where both are the same layer, the
/// style's statistics leave little of the content.
std::string content_layer(const std::vector<std::string>& style_layers, const LayerTable& layers) {
  double coarsest = 1;
  for (const std::string& name : style_layers) {
    const Shape& shape = layers.layer(layers.find(name)).shape;
    coarsest = std::max(coarsest, static_cast<double>(layers.input_shape()[2]) / static_cast<double>(shape.at(2)));
  }
  return layer_with_jump(layers, std::max(1.0, std::min(8.0, coarsest / 2)));
}

class StyleJobs {
 public:
  StyleJobs(const StyleRequest& request, const LoadedModel& model, const PictureMaker& maker, Progress* progress)
      : request_(request), model_(model), chosen_(maker.choose("gatys2016", "style")), progress_(progress) {
    layers_ = chosen_layers(request.terms.layers, maker.layers(), model.network.graph());
    for (const std::string& name : request.content_layers) {
      content_layers_.push_back(maker.layers().layer(maker.layers().find(name)).name);
    }
    if (content_layers_.empty()) content_layers_.push_back(content_layer(layers_, maker.layers()));
    for (const std::string& path : request.styles) styles_.push_back(display_from_image(decode_image(path)));
    for (size_t i = 0; i < request.style_masks.size(); ++i) {
      style_masks_.push_back(read_mask(request.style_masks[i], styles_[i]));
    }
  }

  std::string layers_text() const {
    return "style layers: " + join(layers_, ", ") + "; content: " + join(content_layers_, ", ");
  }

  PictureJob job(const Picture& picture) const {
    const Image photo = sized_photo(picture.photo, request_.make.size, kLargest);
    PictureJob job;
    job.recipe = chosen_.recipe;
    job.recipe.width = photo.width;
    job.recipe.height = photo.height;
    const int64_t two = std::max(photo.width, photo.height) > kTwoScales ? 2 : 1;
    const bool given = request_.scales > 0 || from_file(request_.make);
    set_scales(job.recipe, given ? request_.scales : two, request_.make.steps);
    job.source = display_from_image(photo);
    job.pictures["content"] = job.source;
    job.files["content"] = picture.path;
    for (size_t i = 0; i < styles_.size(); ++i) add_style(i, job);
    if (job.recipe.objectives.empty()) job.recipe.objectives = objectives();
    if (request_.tv > 0) job.recipe.regularizers.push_back({request_.tv / kGrayLevels, "tv:kind=l1,mean=true"});
    if (request_.color == "luminance") {
      job.recipe.finish.insert(job.recipe.finish.begin(), {"keep-color:picture=content", "clip"});
    }
    if (request_.start == "content") job.pictures["start"] = job.source;
    if (request_.start == "style") job.pictures["start"] = job.pictures.at("style");
    if (request_.start == "histogram") {
      job.pictures["start"] = with_histogram_of(job.source, job.pictures.at("style"));
    }
    job.title = picture.name + " in style";
    job.subtitle = picture.name;
    job.name = picture.name + "." + file_name_from(job.recipe.name);
    job.measure = [this](const PictureJob& done, MadePicture& made) { measure(done, made); };
    return job;
  }

 private:
  void add_style(size_t i, PictureJob& job) const {
    const std::string name = style_name(i);
    Tensor picture = styles_[i];
    if (request_.color == "match") picture = with_color_moments_of(picture, job.source).clamp(0, 1);
    job.pictures[name] = picture;
    job.files[name] = request_.styles[i];
    job.beside.emplace_back(name, picture);
    if (style_masks_.empty()) return;
    job.tensors[style_name(i, "mask")] = read_mask(request_.content_masks[i], job.source);
    job.tensors[style_name(i, "style_mask")] = style_masks_[i];
  }

  double style_weight(size_t i) const {
    const auto& weights = request_.style_weights;
    if (weights.size() == styles_.size()) return weights[i];
    return (weights.empty() ? 1 : weights[0]) / static_cast<double>(styles_.size());
  }

  /// The content in its own unit or, with rescaled styles, relative to the content's activations.
  std::vector<WeightedPart> objectives() const {
    std::vector<WeightedPart> parts;
    if (request_.content_weight > 0) {
      const std::string kind = request_.terms.rescale == "none" ? "content" : "match";
      for (const std::string& layer : content_layers_) {
        parts.push_back({request_.content_weight / static_cast<double>(content_layers_.size()),
                         kind + ":layer=" + layer + ",picture=content"});
      }
    }
    for (size_t i = 0; i < styles_.size(); ++i) {
      std::string more = ",picture=" + style_name(i);
      if (request_.style_scale != 1) more += ",scale=" + number_text(request_.style_scale);
      if (!style_masks_.empty()) {
        more += ",mask=" + style_name(i, "mask") + ",style_mask=" + style_name(i, "style_mask");
      }
      const double weight = (request_.terms.rescale == "none" ? 1 : chosen_.weight) * style_weight(i);
      for (WeightedPart& part : texture_objectives_of(request_.terms, layers_, weight, more)) {
        parts.push_back(std::move(part));
      }
    }
    return parts;
  }

  static bool is_content(const std::string& part) {
    return part.rfind("content", 0) == 0 || part.rfind("match", 0) == 0;
  }

  SynthesisContext context(const PictureJob& job) const {
    return {model_.network, model_.card, job.pictures, job.tensors, progress_};
  }

  /// Weighted losses of a picture: of the content and of the styles.
  std::pair<double, double> losses(const PictureJob& job, const Tensor& picture) const {
    SynthesisContext at = context(job);
    at.pictures["start"] = picture;
    Recipe recipe = job.recipe;
    recipe.stages = {RecipeStage{}};
    recipe.stages[0].steps = 0;
    recipe.finish.clear();
    const SynthesisResult found = synthesize(recipe, at);
    double content = 0, styles = 0;
    for (const WeightedPart& part : recipe.objectives) {
      (is_content(part.part) ? content : styles) -= part.weight * found.terms.at(part.part)[0];
    }
    return {content, styles};
  }

  /// The norm of the gradient of some of the parts on noise.
  double gradient_norm(const PictureJob& job, bool of_content) const {
    SynthesisContext at = context(job);
    at.pictures.erase("start");
    Recipe recipe = job.recipe;
    recipe.stages = {RecipeStage{}};
    recipe.stages[0].steps = 1;
    recipe.parameterization = "pixels:mean=0.5,sd=0.1,clamp=false";
    recipe.optimizer = "ascent:rate=1";
    recipe.regularizers.clear();
    recipe.finish.clear();
    recipe.objectives.clear();
    for (const WeightedPart& part : job.recipe.objectives) {
      if (is_content(part.part) == of_content) recipe.objectives.push_back(part);
    }
    if (recipe.objectives.empty()) return 0;
    const SynthesisResult moved = synthesize(recipe, at);
    return (moved.image - moved.start).norm().item<double>();
  }

  void measure(const PictureJob& job, MadePicture& made) const {
    const auto [content_before, style_before] = losses(job, job.source);
    const auto [content, style] = losses(job, made.image.unsqueeze(0));
    made.measures.push_back({"content loss", content, content_before});
    made.measures.push_back({"style loss", style, style_before});
    const double content_norm = gradient_norm(job, true);
    if (content_norm > 0) {
      made.measures.push_back({"gradient of style over content on noise", gradient_norm(job, false) / content_norm});
    }
  }

  const StyleRequest& request_;
  const LoadedModel& model_;
  WeightedRecipe chosen_;
  Progress* progress_;
  std::vector<std::string> layers_, content_layers_;
  std::vector<Tensor> styles_, style_masks_;
};

}  // namespace

MakeResult style(const StyleRequest& request, Progress* progress) {
  check(request);
  const LoadedModel model = load_texture_model(request.make.model, request.terms);
  PictureMaker maker("style", request.make, model, progress);
  const StyleJobs all(request, model, maker, progress);
  maker.note(all.layers_text());
  std::vector<PictureJob> jobs;
  for (const Picture& picture : read_all_pictures(request.inputs, model)) jobs.push_back(all.job(picture));
  return maker.run(jobs);
}

}  // namespace pellucid
