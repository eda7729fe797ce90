#pragma once

// What the methods share that explain by changing the picture and looking at the score.

#include <functional>
#include <string>

#include "attribution/method.h"

namespace pellucid {

/// Which number a perturbation method looks at.
enum class Measure {
  kScore,       ///< The target's score: a logit unless the target says otherwise.
  kProbability  ///< The class probability; the score where the target is no class, or sets classes against each other.
};
/// From a method's `score` parameter, "probability" or "logit".
Measure measure_from(const std::string& name);

/// Whether it is a probability, hence never negative, that this measure gives for this target.
bool is_probability(const BoundTarget& target, Measure measure);

/// The measure of each row, [n] from the target's value; differentiable.
Tensor measured(const BoundTarget& target, Measure measure, const Tensor& value);

/// A stream of variants of one image, or of one inner activation of it (what comes before is then not run again).
struct Variants {
  int64_t image = 0;  ///< Whose target is measured.
  int64_t count = 0;
  /// Variants [begin, begin + n) of the value `at`, [n, ...]. Called in order; only one batch is alive at a time.
  std::function<Tensor(int64_t begin, int64_t n)> make;
  ValueId at = kNoValue;  ///< The input when left out.
  Measure measure = Measure::kScore;
  const char* what = "perturbed pictures";  ///< For the progress line.
  int64_t done = 0, total = 0;              ///< Progress when these are part of more work; total 0: just these.
};
/// The measure of every variant, float64 [count] on the CPU, in passes of `rows_within_budget`. Reports progress and
/// stops when asked to.
Tensor measure_variants(const Context& context, const Variants& variants);

/// The measure of the clean images, float64 [N] on the CPU.
Tensor clean_measure(const Context& context, Measure measure);

/// One image [1,...] of the context's batch where masks [m,H,W] are 1 and `fill` [1,...] where they are 0: [m,...].
Tensor blend(const Context& context, int64_t image, const Tensor& masks, const Tensor& fill);

/// What a `fill` parameter accepts at least.
extern const char* const kFillAccepts;

/// Pictures [1,...] to put in place of what is removed from `image`; `name` as `baselines` takes it, one alone. Throws
/// Error(kUsage) for several joined by '+', and with what the method `accepts` for what is no fill.
Tensor fill_for(const Context& context, const std::string& owner, const std::string& name, int64_t image,
                const std::string& accepts = kFillAccepts);

/// Cells of a grid over a picture of H x W pixels, no more along a side than it has pixels.
struct CellGrid {
  int64_t rows, columns, height, width;

  CellGrid(int64_t height, int64_t width, int64_t cells_along_a_side);
  int64_t cells() const { return rows * columns; }
  /// The cell of every pixel, 0..cells-1 row by row, int64 [H,W].
  Tensor labels() const;
  /// Values of cells [n,cells] as pixels [n,H,W], nearest neighbour.
  Tensor spread(const Tensor& values) const;
};

/// A map [N,H,W] at input resolution that has no channels of its own, as the result of a method.
Attribution map_attribution(const Tensor& map, bool is_signed);

}  // namespace pellucid
