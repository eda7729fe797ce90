#pragma once

// One look of the network at a picture: what the objectives say, and where it goes uphill.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "synthesis/part.h"
#include "synthesis/tiles.h"

namespace pellucid {

/// Everything made for one stage: parts may depend on the size of the picture.
struct Stage {
  struct Term {
    double weight = 1;
    std::string text;
    int64_t picture = -1;  ///< Of the batch that it is about; -1: all.
    std::unique_ptr<Objective> part;
  };
  struct Penalty {
    double weight = 1;
    std::string text;
    std::unique_ptr<Regularizer> part;
  };

  std::unique_ptr<PartScope> scope;
  std::vector<Term> objectives;
  std::vector<Penalty> regularizers;
  std::unique_ptr<Parameterization> parameterization;
  std::vector<std::unique_ptr<Transformation>> transformations;
  std::vector<std::unique_ptr<GradientStep>> gradient;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<std::unique_ptr<AfterStep>> after_step, finish;
  std::vector<ValueId> layers;
  bool fixed_size = false;  ///< The network has one input size up to the deepest layer.
  TilePlan tiles;
};

/// Throws Error(kUsage) for parts that do not go together.
Stage make_stage(const Recipe& recipe, const RecipeStage& spec, const SynthesisContext& context,
                 const LayerTable& table, int64_t height, int64_t width);

/// The value of everything at one point, with gradients when they were asked for.
struct Evaluation {
  double loss = 0;
  Tensor objective;                     ///< [B]
  std::map<std::string, Tensor> terms;  ///< [B] by part
  TensorList gradients;
  Tensor image;
};

enum class Wanted { kPlain, kTransformed, kGradients };

/// Evaluates a stage at its variables. With `redirect`, rectifiers that block the whole gradient of a picture let it
/// through.
Evaluation evaluate(const Recipe& recipe, const SynthesisContext& context, const LayerTable& table, const Stage& stage,
                    const TensorList& variables, const StepInfo& info, Wanted wanted, bool redirect = false);

/// The shape of an input of the network for pictures of a size.
Shape network_input_shape(const ModelCard& card, int64_t batch, int64_t height, int64_t width);

}  // namespace pellucid
