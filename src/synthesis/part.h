#pragma once

// What the parts of a recipe are to the optimizer. To add one: write its parameters, `describe`, the class and its
// entry in the function at the end of a file of its kind; a new file's function is declared below and joined in
// tables.cpp. Test it against numbers.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pellucid/synthesis.h"

namespace pellucid {

/// Where a run is.
struct StepInfo {
  int64_t step = 0;         ///< From the start of the run.
  int64_t stage_step = 0;   ///< Of the stage.
  int64_t stage_steps = 1;  ///< Its length.
  uint64_t seed = 0;
  /// Random numbers for this step and purpose; the same whenever the run comes here again.
  at::Generator generator(uint64_t purpose) const;
  /// 0 at the first step of the stage, 1 at its last.
  double fraction() const;
};

/// What parts are made for.
struct PartScope {
  const SynthesisContext& context;
  const LayerTable& layers;
  PixelUnit unit = PixelUnit::kDisplay;
  int64_t batch = 1, height = 0, width = 0;  ///< Of the stage.
  int64_t tile = 0;                          ///< Of the recipe.

  /// Of what the network computes with.
  at::TensorOptions options() const;
  /// A picture that the recipe refers to, at the size of the stage, [1 or batch,3,H,W]. Throws Error(kUsage) naming the
  /// owner when there is none of that name.
  Tensor picture(const std::string& owner, const std::string& name) const;
  /// The same in its own proportions, its longer side `factor` times that of the stage.
  Tensor scaled_picture(const std::string& owner, const std::string& name, double factor) const;
  Tensor tensor(const std::string& owner, const std::string& name) const;
  /// A second network that the recipe refers to (a generator, a denoiser, another classifier). Throws Error(kUsage)
  /// naming the owner when there is none of that name.
  const SecondNetwork& network(const std::string& owner, const std::string& name) const;
  /// Mid-gray [1,3,H,W].
  Tensor gray() const;
  /// Activations of a picture, without transformations; of a large one put together from parts.
  Values activations(const Tensor& image, const std::vector<ValueId>& layers) const;
};

/// The input of the network for pictures in display range: resized only where the network has one size, in the layout
/// and normalization of its card. Differentiable.
Tensor network_input(const SynthesisContext& context, const Tensor& image, bool fixed_size);

/// Whether the network, as far as these layers, cannot work on pictures of this size, so that they have to be brought
/// to the size of its card. With `changing`, transformations make them a little larger and smaller than that.
bool has_fixed_size(const SynthesisContext& context, const std::vector<ValueId>& layers, int64_t height, int64_t width,
                    bool changing = false);

/// The color and the opacity of pictures that have a fourth channel, [B,3,H,W] and [B,1,H,W].
inline Tensor color_of(const Tensor& image) { return image.narrow(1, 0, 3); }
inline Tensor alpha_of(const Tensor& image) { return image.narrow(1, 3, 1); }

struct ObjectiveInput {
  const Values& values;  ///< Activations of the transformed pictures.
  const Tensor& image;   ///< Before the transformations.
  const StepInfo& step;
};
class Objective {
 public:
  virtual ~Objective() = default;
  virtual std::vector<ValueId> layers() const = 0;
  /// [B], differentiable; to be made large.
  virtual Tensor score(const ObjectiveInput& input) const = 0;
};

/// Whether two lists hold the same values.
bool same_values(const TensorList& a, const TensorList& b);

/// Smallest and largest values of each variable, broadcast over it; empty where there are none.
struct Bounds {
  TensorList low, high;
};

class Parameterization {
 public:
  virtual ~Parameterization() = default;
  /// Variables for pictures of the scope's size at random, or for given ones [B,3,H,W].
  virtual TensorList begin(const PartScope& scope, const at::Generator& generator) const = 0;
  virtual TensorList encode(const PartScope& scope, const Tensor& image) const = 0;
  /// [B,3,H,W] in display range, or [B,4,H,W] with opacity last; differentiable.
  virtual Tensor decode(const PartScope& scope, const TensorList& variables) const = 0;
  /// Keeps variables where they are allowed to be; in place.
  virtual void project(const PartScope&, TensorList&) const {}
  /// The same for optimizers that look for the best within bounds.
  virtual Bounds bounds(const PartScope&) const { return {}; }
  /// Whether a picture "start" is what the variables begin as; otherwise `begin` makes of it what it likes.
  virtual bool starts_with_picture() const { return true; }
  /// Whether the variable is the picture itself, in the unit of the recipe, so that parts may work on its pixels.
  virtual bool is_pixels() const { return false; }
  /// Whether pictures have opacity: [B,4,H,W]. Then the first transformation puts them on something, and objectives
  /// count times the transparent share.
  virtual bool has_alpha() const { return false; }
};

class Transformation {
 public:
  virtual ~Transformation() = default;
  /// One draw for the whole batch. Differentiable.
  virtual Tensor apply(const Tensor& image, const at::Generator& generator) const = 0;
  /// What is left of it where nothing is to be random: nothing, unless the picture is made larger for it.
  virtual Tensor still(const Tensor& image) const { return image; }
  /// How many of the last steps of a stage are to be without randomness.
  virtual int64_t rest() const { return 0; }
  /// Whether it makes [B,3,H,W] of [B,4,H,W].
  virtual bool takes_alpha() const { return false; }
};

class Regularizer {
 public:
  virtual ~Regularizer() = default;
  /// [B], differentiable; `pixels` in the unit of the recipe.
  virtual Tensor penalty(const Tensor& pixels) const = 0;
  /// Whether it is about opacity, which it then gets instead of pixels, [B,1,H,W].
  virtual bool of_alpha() const { return false; }
};

class GradientStep {
 public:
  virtual ~GradientStep() = default;
  /// Per variable [B,...], the gradient of what is made small.
  virtual Tensor process(const Tensor& gradient, const StepInfo& step) const = 0;
};

/// A point's loss and its gradients by variable.
struct LossAndGradients {
  double loss = 0;
  TensorList gradients;
};
/// The same elsewhere: what an optimizer that looks ahead asks for.
using LossClosure = std::function<LossAndGradients(const TensorList& variables)>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step on the variables, in place. `here` is the function at the variables; `closure` evaluates it elsewhere.
  virtual void step(TensorList& variables, const LossAndGradients& here, const StepInfo& step,
                    const LossClosure& closure) = 0;
  /// Called once, before the first step, by those that use them.
  virtual void keep_within(Bounds) {}
  /// Whether `closure` is called: then there is one picture and transformations are held still.
  virtual bool looks_ahead() const { return false; }
  /// All that it remembers, to go on later as if nothing had happened; empty before the first step. `restore` takes
  /// what `state` gave, for variables of the same shapes.
  virtual TensorList state() const { return {}; }
  virtual void restore(const TensorList&) {}
};

class AfterStep {
 public:
  virtual ~AfterStep() = default;
  /// The new pixels, in the unit of the recipe. `gradient` is the unprocessed one of what is made small.
  virtual Tensor apply(const Tensor& pixels, const Tensor& gradient, const StepInfo& step) const = 0;
};

/// An entry of a table: what is public, and what makes the part.
template <class T>
struct PartEntry {
  PartInfo info;
  std::function<std::unique_ptr<T>(const PartScope&, const ParamMap&)> make;
};

/// Builds an entry from a parameter struct P with `describe` and a class that is made from (scope, P).
template <class T, class Part, class P>
PartEntry<T> part_entry(const char* id, const char* summary, const Paper& paper = {"", "", "", "", 0}) {
  PartEntry<T> entry;
  const std::string owner = id;
  entry.info = {id, summary, paper, param_specs<P>(),
                [owner](const ParamMap& given) { return params_text(params_from<P>(owner, given)); }};
  entry.make = [owner](const PartScope& scope, const ParamMap& given) {
    return std::unique_ptr<T>(std::make_unique<Part>(scope, params_from<P>(owner, given)));
  };
  return entry;
}

/// The same for an objective that is minus a distance.
template <class Part, class P>
PartEntry<Objective> loss_entry(const char* id, const char* summary, const Paper& paper) {
  PartEntry<Objective> entry = part_entry<Objective, Part, P>(id, summary, paper);
  entry.info.is_loss = true;
  return entry;
}

// One function for each file of parts.
std::vector<PartEntry<Objective>> unit_objectives();
std::vector<PartEntry<Objective>> picture_objectives();
std::vector<PartEntry<Objective>> texture_objectives();
std::vector<PartEntry<Objective>> batch_objectives();
std::vector<PartEntry<Parameterization>> picture_parameterizations();
std::vector<PartEntry<Parameterization>> network_parameterizations();
std::vector<PartEntry<Parameterization>> delta_parameterizations();
std::vector<PartEntry<Parameterization>> latent_parameterizations();
std::vector<PartEntry<Transformation>> geometric_transformations();
std::vector<PartEntry<Transformation>> background_transformations();
std::vector<PartEntry<Parameterization>> phase_parameterizations();
std::vector<PartEntry<Regularizer>> pixel_regularizers();
std::vector<PartEntry<Regularizer>> statistical_regularizers();
std::vector<PartEntry<GradientStep>> gradient_steps();
std::vector<PartEntry<Optimizer>> gradient_optimizers();
std::vector<PartEntry<Optimizer>> boundary_optimizers();
std::vector<PartEntry<AfterStep>> pixel_after_steps();
std::vector<PartEntry<AfterStep>> finishing_steps();
std::vector<PartEntry<AfterStep>> learned_after_steps();

const std::vector<PartEntry<Objective>>& objective_table();
const std::vector<PartEntry<Parameterization>>& parameterization_table();
const std::vector<PartEntry<Transformation>>& transformation_table();
const std::vector<PartEntry<Regularizer>>& regularizer_table();
const std::vector<PartEntry<GradientStep>>& gradient_table();
const std::vector<PartEntry<Optimizer>>& optimizer_table();
const std::vector<PartEntry<AfterStep>>& after_step_table();

/// The part that a text names, from its table.
template <class T>
std::unique_ptr<T> make_part(const std::vector<PartEntry<T>>& table, PartKind kind, const std::string& text,
                             const PartScope& scope) {
  const PartCall call = PartCall::parse(kind, text);
  for (const PartEntry<T>& entry : table) {
    if (entry.info.id == call.info->id) return entry.make(scope, call.params);
  }
  TORCH_INTERNAL_ASSERT(false, "no part ", text);
}

/// Pixels of a unit from display range and back, [B,3,H,W].
Tensor pixels_from_display(const Tensor& image, PixelUnit unit);
Tensor display_from_pixels(const Tensor& pixels, PixelUnit unit);

/// What parameterizations store of display range, and back: the logarithm of odds (range "sigmoid"), or values around
/// zero that are kept in range by division ("clip"); in planes that are uncorrelated in photographs, or in RGB.
Tensor stored_from_display(const Tensor& image, bool decorrelate, const std::string& range);
Tensor display_from_stored(const Tensor& z, bool decorrelate, const std::string& range);
/// Normal numbers, drawn picture by picture, so that the first ones are the same whatever the size of the batch.
Tensor drawn_normal(Shape shape, const at::Generator& generator, const at::TensorOptions& options);

/// Bilinear with half-pixel centres, antialiased when it shrinks; differentiable.
Tensor resize_display(const Tensor& image, int64_t height, int64_t width);

}  // namespace pellucid
