// The tables of parts: every file's entries, in the order in which lists print them. A part in a new file needs its
// function here and in part.h.

#include <set>

#include "pellucid/error.h"
#include "synthesis/part.h"

namespace pellucid {

namespace {

template <class T>
std::vector<PartEntry<T>> joined(std::initializer_list<std::vector<PartEntry<T>>> families) {
  std::vector<PartEntry<T>> table;
  std::set<std::string> ids;
  for (const auto& family : families) {
    for (const PartEntry<T>& entry : family) {
      if (!ids.insert(entry.info.id).second) throw_failed("two parts of a kind are called '" + entry.info.id + "'");
      table.push_back(entry);
    }
  }
  return table;
}

}  // namespace

const std::vector<PartEntry<Objective>>& objective_table() {
  static const auto table =
      joined<Objective>({unit_objectives(), picture_objectives(), texture_objectives(), batch_objectives()});
  return table;
}

const std::vector<PartEntry<Parameterization>>& parameterization_table() {
  static const auto table =
      joined<Parameterization>({picture_parameterizations(), phase_parameterizations(), network_parameterizations(),
                                delta_parameterizations(), latent_parameterizations()});
  return table;
}

const std::vector<PartEntry<Transformation>>& transformation_table() {
  static const auto table = joined<Transformation>({geometric_transformations(), background_transformations()});
  return table;
}

const std::vector<PartEntry<Regularizer>>& regularizer_table() {
  static const auto table = joined<Regularizer>({pixel_regularizers(), statistical_regularizers()});
  return table;
}

const std::vector<PartEntry<GradientStep>>& gradient_table() {
  static const auto table = joined<GradientStep>({gradient_steps()});
  return table;
}

const std::vector<PartEntry<Optimizer>>& optimizer_table() {
  static const auto table = joined<Optimizer>({gradient_optimizers(), boundary_optimizers()});
  return table;
}

const std::vector<PartEntry<AfterStep>>& after_step_table() {
  static const auto table = joined<AfterStep>({pixel_after_steps(), finishing_steps(), learned_after_steps()});
  return table;
}

}  // namespace pellucid
