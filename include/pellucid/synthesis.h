#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pellucid/attribution.h"
#include "pellucid/params.h"

namespace pellucid {

/// Pictures made with a network: one optimizer for visualization, inversion, dreams, texture, style and attacks. What
/// differs between them is a Recipe, which is data: every part is named by a text "name:param=value,...", as methods
/// are, and can be printed, stored and edited.
///
/// Pictures are [B,3,H,W] in display range 0..1, RGB. Objectives are made large, regularizers small; each gives one
/// number per picture, and a batch is independent pictures unless an objective says otherwise.

/// One entry in a table of parts.
struct PartInfo {
  std::string id;
  std::string summary;
  Paper paper;  ///< `key` is empty where a part is common knowledge.
  std::vector<ParamSpec> params;
  std::function<ParamMap(const ParamMap&)> complete;  ///< Defaults filled in; throws Error(kUsage).
  bool is_loss = false;  ///< Of an objective: never above 0, which is reached when nothing is left to be done.
};

enum class PartKind {
  kObjective,         ///< What is made large.
  kParameterization,  ///< How the picture is stored.
  kTransformation,    ///< What happens to the picture before the network sees it.
  kRegularizer,       ///< What is made small.
  kGradient,          ///< What happens to the gradient before the step.
  kOptimizer,
  kAfterStep  ///< What happens to the picture after the step.
};
const char* part_kind_name(PartKind kind);
/// Every part of a kind, in the order of its table.
const std::vector<PartInfo>& synthesis_parts(PartKind kind);

/// A part and its parameters; parses "name:param=value,..." and prints back. A value may hold ':' but no ','.
struct PartCall {
  const PartInfo* info = nullptr;
  ParamMap params;  ///< Only those that were given.
  /// Throws Error(kUsage) that lists the parts of this kind, or names the bad parameter.
  static PartCall parse(PartKind kind, const std::string& text);
  std::string text() const;
};

struct WeightedPart {
  double weight = 1;
  std::string part;
  int64_t picture = -1;  ///< Of an objective: the picture of the batch that it is about; -1: all of them.
};

/// A stretch of the run. What is empty or negative is as the recipe has it.
struct RecipeStage {
  int64_t steps = 512;
  double scale = 1;  ///< Size relative to the stage before, to which the picture so far is resampled; of the first
                     ///< stage without meaning.
  std::string optimizer;
  std::vector<std::string> after_step;
  std::vector<WeightedPart> objectives;
};

/// Units in which pixels are stored and regularizers measure: published step sizes and weights mean nothing without.
enum class PixelUnit {
  kDisplay,  ///< RGB in 0..1.
  kCaffe     ///< 0..255 less the mean color of ImageNet, as in code written for Caffe.
};

/// Everything about a run but the network and the pictures it refers to.
struct Recipe {
  std::string name = "custom";
  std::vector<WeightedPart> objectives;
  std::string parameterization = "fourier";
  std::vector<std::string> transformations;
  std::vector<WeightedPart> regularizers;
  std::vector<std::string> gradient;
  std::string optimizer = "adam:rate=0.05";
  std::vector<std::string> after_step;
  /// After-steps that happen once, to the finished picture: colors, cutting off.
  std::vector<std::string> finish;
  std::vector<RecipeStage> stages{RecipeStage{}};
  PixelUnit unit = PixelUnit::kDisplay;
  int64_t width = 224, height = 224;  ///< Of the result, which is the last stage's.
  int64_t batch = 1;
  int64_t views = 1;  ///< Draws of the transformations whose gradients are averaged in each step.
  uint64_t seed = 0;
  /// Until this step ReLUs that block the whole gradient of a picture let it through, so that a start at which the unit
  /// is off does not stay there. Olah, Mordvintsev, Schubert. "Feature Visualization". Distill 2017 (its code).
  int64_t redirect_until = 16;
  /// Between stages: "image" resamples the picture; "detail" keeps what was added and puts it on the reference picture
  /// "start" at the next size, as DeepDream does.
  std::string carry = "image";
  /// The network looks at larger pictures in parts of this side, so that memory is bounded whatever their size; 0 is
  /// 512 for pictures over 1024 pixels. Objectives about maps see these put together; those about logits count for each
  /// part.
  int64_t tile = 0;
  /// Evaluate the untransformed objective every so many steps, and keep the picture that is best by it.
  int64_t judge_every = 50;
};

/// Throws Error(kUsage) naming the first part that is wrong.
void check_recipe(const Recipe& recipe);
/// The networks that parts refer to, each once: every value of a parameter called `network`, in the order of the
/// recipe. Verbs take them for model files.
std::vector<std::string> networks_of(const Recipe& recipe);

/// A published way to make pictures. What it is to be made large is added for each use: `objective` with the layer,
/// channel, class or picture that the user names, in this weight.
struct NamedRecipe {
  std::string id;
  std::string family;   ///< "visualize", "invert", "dream", "texture", "style" or "attack".
  std::string summary;  ///< One line: which prior, or what is bounded.
  Paper paper;
  std::string objective;  ///< Its id; empty where any will do.
  double weight = 1;
  Recipe recipe;
};
/// All of them, those for visualization in the order of their priors, from none to strong. Duplicate ids are refused
/// when the table is first built.
const std::vector<NamedRecipe>& recipes();
/// Throws Error(kUsage) that lists the recipes of the family ("": all).
const NamedRecipe& find_recipe(const std::string& id, const std::string& family = "");

/// The course of one number over the run: per logged step, one value per picture.
struct SynthesisTrace {
  std::vector<int64_t> steps;
  std::map<std::string, std::vector<std::vector<double>>> terms;  ///< By part text; "objective" is their sum.
};

/// Where a run was: with the same recipe, network and pictures it goes on from here to the same bits.
struct SynthesisCheckpoint {
  int64_t stage = 0, stage_step = 0, step = 0;  ///< The next step, within the stage and in all.
  TensorList variables, optimizer;
  Tensor start, best;  ///< As in SynthesisResult; `best` may be undefined.
  std::vector<double> best_objective, objective_start;
  SynthesisTrace trace;
};

/// A network besides the one that is looked into: a generator whose latent code is optimized, a denoiser, another
/// classifier. Borrowed: it outlives the run.
struct SecondNetwork {
  const Network& network;
  const ModelCard& card;
};

/// The network and the pictures that a recipe refers to by name.
struct SynthesisContext {
  const Network& network;
  const ModelCard& card;
  /// Pictures [1 or B,3,H,W] in display range: "start" begins the run, "content", "style", ... are asked for by
  /// objectives. Resampled to the size of the stage.
  std::map<std::string, Tensor> pictures = {};
  /// Other tensors by name: directions [C], activations, masks [H,W], as objectives ask for them.
  std::map<std::string, Tensor> tensors = {};
  Progress* progress = nullptr;
  /// Called after every step with the picture so far, when set; for snapshots and films.
  std::function<void(int64_t step, const Tensor& image)> on_step = {};
  /// Ends the run after a step when it returns true; the result is as of a recipe with that many steps.
  std::function<bool(int64_t step, const Tensor& image)> enough = {};
  /// Pictures reach the network as photos do, by the resize policy of the card, instead of stretched where it has one
  /// size.
  bool by_card = false;
  /// Second networks by the name that parts give in their parameter `network`.
  std::map<std::string, SecondNetwork> networks = {};
  /// Goes on from here. Throws Error(kUsage) when it does not fit the recipe.
  const SynthesisCheckpoint* resume = nullptr;
  /// Called every so many steps (0: not) and when the run is cancelled.
  int64_t checkpoint_every = 0;
  std::function<void(const SynthesisCheckpoint&)> on_checkpoint = {};
};

struct SynthesisResult {
  Tensor image;       ///< [B,3,H,W] float32 in display range, not stretched; values may leave 0..1 where the
                      ///< parameterization allows it. [B,4,H,W] with opacity last where it has that.
  Tensor best;        ///< The one with the best untransformed objective, likewise.
  Tensor start;       ///< What the run began with.
  Tensor unfinished;  ///< What the optimizer reached: `image` before the recipe's `finish`.
  SynthesisTrace trace;
  std::vector<double> objective_start, objective;    ///< Untransformed, per picture: of `start` and `unfinished`.
  std::vector<double> finished_objective;            ///< Of `image`; as `objective` where nothing is finished.
  std::map<std::string, std::vector<double>> terms;  ///< Of `unfinished` by part text, without weights, likewise.
  std::vector<double> robust_objective;  ///< Of `unfinished`: mean over 16 fixed draws of the transformations.
  int64_t steps = 0;
  bool interrupted = false;  ///< Cancelled; `image` is the last one.
  std::string problem;       ///< Why it stopped early: a NaN, with step and term. `image` is the last good one.
};

/// Runs a recipe. Throws Error(kUsage) for a recipe that does not fit the network; a NaN or a cancel end the run with
/// what is there.
SynthesisResult synthesize(const Recipe& recipe, const SynthesisContext& context);

}  // namespace pellucid
