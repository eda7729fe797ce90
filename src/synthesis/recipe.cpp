// Recipes as data: parts by name, checking, units.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "pellucid/error.h"
#include "pellucid/text.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

template <class T>
std::vector<PartInfo> infos(const std::vector<PartEntry<T>>& table) {
  std::vector<PartInfo> list;
  for (const PartEntry<T>& entry : table) list.push_back(entry.info);
  return list;
}

/// Calls `visit(kind, text)` for every part of a recipe, in its order.
template <class Visit>
void for_each_part(const Recipe& recipe, const Visit& visit) {
  const auto all = [&](PartKind kind, const std::vector<std::string>& parts) {
    for (const std::string& part : parts) visit(kind, part);
  };
  const auto weighted = [&](PartKind kind, const std::vector<WeightedPart>& parts) {
    for (const WeightedPart& part : parts) visit(kind, part.part);
  };
  weighted(PartKind::kObjective, recipe.objectives);
  weighted(PartKind::kRegularizer, recipe.regularizers);
  visit(PartKind::kParameterization, recipe.parameterization);
  all(PartKind::kTransformation, recipe.transformations);
  all(PartKind::kGradient, recipe.gradient);
  visit(PartKind::kOptimizer, recipe.optimizer);
  all(PartKind::kAfterStep, recipe.after_step);
  all(PartKind::kAfterStep, recipe.finish);
  for (const RecipeStage& stage : recipe.stages) {
    if (!stage.optimizer.empty()) visit(PartKind::kOptimizer, stage.optimizer);
    all(PartKind::kAfterStep, stage.after_step);
    weighted(PartKind::kObjective, stage.objectives);
  }
}

/// Mean color of ImageNet in RGB, 0..255.
Tensor caffe_mean(const Tensor& like) {
  return at::tensor({123.68, 116.779, 103.939}, like.options()).view({1, 3, 1, 1});
}

uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

const char* part_kind_name(PartKind kind) {
  switch (kind) {
    case PartKind::kObjective:
      return "objective";
    case PartKind::kParameterization:
      return "parameterization";
    case PartKind::kTransformation:
      return "transformation";
    case PartKind::kRegularizer:
      return "regularizer";
    case PartKind::kGradient:
      return "gradient step";
    case PartKind::kOptimizer:
      return "optimizer";
    default:
      return "after-step";
  }
}

const std::vector<PartInfo>& synthesis_parts(PartKind kind) {
  static const std::map<PartKind, std::vector<PartInfo>> all{
      {PartKind::kObjective, infos(objective_table())},
      {PartKind::kParameterization, infos(parameterization_table())},
      {PartKind::kTransformation, infos(transformation_table())},
      {PartKind::kRegularizer, infos(regularizer_table())},
      {PartKind::kGradient, infos(gradient_table())},
      {PartKind::kOptimizer, infos(optimizer_table())},
      {PartKind::kAfterStep, infos(after_step_table())}};
  return all.at(kind);
}

PartCall PartCall::parse(PartKind kind, const std::string& text) {
  const std::string id = call_id(text);
  PartCall call;
  std::vector<std::string> ids;
  for (const PartInfo& info : synthesis_parts(kind)) {
    if (info.id == id) call.info = &info;
    ids.push_back(info.id);
  }
  if (!call.info) {
    throw_usage(std::string("no ") + part_kind_name(kind) + " '" + printable(id) + "'" + did_you_mean(id, ids) +
                "; there are " + join(ids, ", "));
  }
  call.params = call_params(id, text);
  call.info->complete(call.params);
  return call;
}

std::string PartCall::text() const { return call_text(info->id, info->params, params); }

void check_recipe(const Recipe& recipe) {
  const auto check_weights = [](const std::vector<WeightedPart>& parts) {
    for (const WeightedPart& part : parts) {
      if (!std::isfinite(part.weight)) throw_usage(part.part + ": the weight is not finite");
    }
  };
  const auto check_pictures = [&](const std::vector<WeightedPart>& parts) {
    for (const WeightedPart& part : parts) {
      if (part.picture < -1 || part.picture >= recipe.batch) {
        throw_usage(part.part + ": there is no picture " + std::to_string(part.picture) + " in a batch of " +
                    std::to_string(recipe.batch));
      }
    }
  };
  if (recipe.objectives.empty()) throw_usage("recipe: at least one objective is needed");
  if (recipe.stages.empty()) throw_usage("recipe: at least one stage is needed");
  for_each_part(recipe, [](PartKind kind, const std::string& part) { PartCall::parse(kind, part); });
  check_weights(recipe.objectives);
  check_pictures(recipe.objectives);
  check_weights(recipe.regularizers);
  for (const RecipeStage& stage : recipe.stages) {
    if (stage.steps < 0) throw_usage("recipe: steps is " + std::to_string(stage.steps) + "; it must be >= 0");
    if (!(stage.scale > 0.01 && stage.scale < 100)) {
      throw_usage("recipe: scale is " + number_text(stage.scale) + "; it must be between 0.01 and 100");
    }
    check_weights(stage.objectives);
    check_pictures(stage.objectives);
  }
  if (recipe.batch < 1 || recipe.batch > 4096) throw_usage("recipe: batch must be between 1 and 4096");
  if (recipe.views < 1 || recipe.views > 4096) throw_usage("recipe: views must be between 1 and 4096");
  if (recipe.tile != 0 && (recipe.tile < 32 || recipe.tile > 16384)) {
    throw_usage("recipe: tile is " + std::to_string(recipe.tile) + "; it must be 0 or between 32 and 16384");
  }
  if (recipe.width < 1 || recipe.height < 1 || recipe.width > 16384 || recipe.height > 16384) {
    throw_usage("recipe: width and height must be between 1 and 16384");
  }
  if (recipe.carry != "image" && recipe.carry != "detail") {
    throw_usage("recipe: carry is '" + printable(recipe.carry) + "'; image or detail was expected");
  }
}

std::vector<std::string> networks_of(const Recipe& recipe) {
  std::vector<std::string> names;
  const auto look = [&](PartKind kind, const std::string& part) {
    const PartCall call = PartCall::parse(kind, part);
    const ParamMap params = call.info->complete(call.params);
    const auto found = params.find("network");
    if (found == params.end() || found->second.empty()) return;
    if (std::find(names.begin(), names.end(), found->second) == names.end()) names.push_back(found->second);
  };
  for_each_part(recipe, look);
  return names;
}

at::Generator StepInfo::generator(uint64_t purpose) const {
  return at::detail::createCPUGenerator(
      mixed(seed * 0x9e3779b97f4a7c15ULL + mixed(static_cast<uint64_t>(step) * 0xd1342543de82ef95ULL + purpose)));
}

double StepInfo::fraction() const {
  return stage_steps > 1 ? static_cast<double>(stage_step) / static_cast<double>(stage_steps - 1) : 0;
}

Tensor pixels_from_display(const Tensor& image, PixelUnit unit) {
  return unit == PixelUnit::kDisplay ? image : image * 255 - caffe_mean(image);
}
Tensor display_from_pixels(const Tensor& pixels, PixelUnit unit) {
  return unit == PixelUnit::kDisplay ? pixels : (pixels + caffe_mean(pixels)) / 255;
}

Tensor resize_display(const Tensor& image, int64_t height, int64_t width) {
  if (image.size(2) == height && image.size(3) == width) return image;
  if (height < image.size(2) || width < image.size(3)) {
    return at::_upsample_bilinear2d_aa(image, {height, width}, /*align_corners=*/false);
  }
  return at::upsample_bilinear2d(image, {height, width}, /*align_corners=*/false);
}

at::TensorOptions PartScope::options() const {
  return at::TensorOptions(context.network.dtype()).device(context.network.device());
}

Tensor PartScope::picture(const std::string& owner, const std::string& name) const {
  const auto found = context.pictures.find(name);
  if (found == context.pictures.end()) throw_usage(owner + ": no picture '" + printable(name) + "' was given");
  return resize_display(found->second.to(options()), height, width);
}

Tensor PartScope::scaled_picture(const std::string& owner, const std::string& name, double factor) const {
  const auto found = context.pictures.find(name);
  if (found == context.pictures.end()) throw_usage(owner + ": no picture '" + printable(name) + "' was given");
  const Tensor& picture = found->second;
  const double longer = static_cast<double>(std::max(picture.size(2), picture.size(3)));
  const double share = factor * static_cast<double>(std::max(height, width)) / longer;
  const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::llround(static_cast<double>(n) * share)); };
  return resize_display(picture.to(options()), side(picture.size(2)), side(picture.size(3)));
}

Tensor PartScope::tensor(const std::string& owner, const std::string& name) const {
  const auto found = context.tensors.find(name);
  if (found == context.tensors.end()) throw_usage(owner + ": no tensor '" + printable(name) + "' was given");
  return found->second.to(options());
}

const SecondNetwork& PartScope::network(const std::string& owner, const std::string& name) const {
  if (name.empty()) throw_usage(owner + ": network is missing (network=FILE)");
  const auto found = context.networks.find(name);
  if (found == context.networks.end()) throw_usage(owner + ": no network '" + printable(name) + "' was given");
  return found->second;
}

Tensor PartScope::gray() const { return at::full({1, 3, height, width}, 0.5, options()); }

/// What the loader of photos makes of pictures, differentiable.
Tensor by_policy(const Tensor& image, const ModelCard& card) {
  const int64_t height = image.size(2), width = image.size(3);
  const auto middle = [](const Tensor& x, int64_t axis, int64_t length) {
    return x.narrow(axis, (x.size(axis) - length) / 2, length);
  };
  switch (card.resize) {
    case ResizePolicy::kCenterCrop: {
      const int64_t side = std::max(card.resize_to, std::min(card.width, card.height));
      const int64_t shorter = std::min(height, width);
      const auto scaled = [&](int64_t length) { return length == shorter ? side : length * side / shorter; };
      const Tensor x = resize_display(image, scaled(height), scaled(width));
      if (x.size(2) < card.height || x.size(3) < card.width) {
        throw_usage("a picture of " + std::to_string(width) + "x" + std::to_string(height) +
                    " is too narrow for a crop of " + std::to_string(card.width) + "x" + std::to_string(card.height));
      }
      return middle(middle(x, 2, card.height), 3, card.width);
    }
    case ResizePolicy::kLetterbox: {
      const double scale = std::min(static_cast<double>(card.width) / static_cast<double>(width),
                                    static_cast<double>(card.height) / static_cast<double>(height));
      const auto fitted = [&](int64_t length, int64_t most) {
        return std::clamp<int64_t>(std::lround(static_cast<double>(length) * scale), 1, most);
      };
      const Tensor x = resize_display(image, fitted(height, card.height), fitted(width, card.width));
      const int64_t top = (card.height - x.size(2)) / 2, left = (card.width - x.size(3)) / 2;
      constexpr double kFill = 114.0 / 255;  // as image.h fills
      return at::constant_pad_nd(x, {left, card.width - left - x.size(3), top, card.height - top - x.size(2)}, kFill);
    }
    default:
      return resize_display(image, card.height, card.width);
  }
}

Tensor network_input(const SynthesisContext& context, const Tensor& image, bool fixed_size) {
  const ModelCard& card = context.card;
  Tensor x = image;
  if (context.by_card && card.height > 0) x = by_policy(x, card);
  if (!context.by_card && fixed_size && card.height > 0) x = resize_display(x, card.height, card.width);
  if (card.channels() == 1) {
    x = (x * at::tensor({0.299, 0.587, 0.114}, x.options()).view({1, 3, 1, 1})).sum(1, true);
  } else if (card.order == ChannelOrder::kBgr) {
    x = x.flip(1);
  }
  x = card.model_from_display(x);
  return card.channels_first ? x : x.permute({0, 2, 3, 1});
}

}  // namespace pellucid
