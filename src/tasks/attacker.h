#pragma once

#include <set>
#include <string>
#include <vector>

#include "pellucid/attacks.h"
#include "pellucid/synthesis.h"

namespace pellucid {

/// Bound and steps of an attack's recipe for another bound, in the unit of its delta.
void set_epsilon(Recipe& recipe, double epsilon);
/// Gives pgd-l2 the norm that is usual for pictures of a size, 0.5 for 32x32 (CIFAR-10) and 3 for 224x224 (ImageNet),
/// linear in the root of the number of pixels; and pgd-l0 as large a share of the pixels as 500 are of 224x224.
void fit_epsilon(Recipe& recipe, int64_t width, int64_t height);
/// Norm ("linf", "l2", "l0") and size of the recipe's bound. Throws Error(kUsage) when its parameterization is no
/// delta.
struct AttackBound {
  std::string norm;
  double size = 0;
};
AttackBound bound_of(const Recipe& recipe);

/// Attacks pictures one by one and judges what comes out as a reader of the file would: rounded to 8 bits.
class Attacker {
 public:
  Attacker(const LoadedModel& model, const LayerTable& layers, bool own_size, Progress* progress);

  struct Victim {
    std::string name, path;
    Image picture;   ///< What is attacked, 8 bits.
    Tensor display;  ///< The same, [1,3,H,W].
    std::vector<Prediction> classes;
  };
  Victim victim(const Picture& picture) const;
  std::vector<Victim> victims(const std::vector<std::string>& inputs) const;

  /// All classes, best first.
  std::vector<Prediction> classes(const Image& picture) const;
  std::vector<Prediction> classes(const Tensor& display) const;
  /// The goal is reached, or with -1 the answer is another one than the victim's.
  static bool fools(const std::vector<Prediction>& classes, const Victim& victim, int64_t goal);

  struct Settings {
    int64_t goal = -1;
    int64_t restarts = 1;
    bool all_steps = false;
    bool rounded = true;  ///< Ends when the picture fools in 8 bits, not as soon as it does.
  };
  struct Outcome {
    Recipe recipe;   ///< With the seed of the start that counted.
    Tensor display;  ///< [1,3,H,W], not rounded.
    Image picture;   ///< Rounded; never further from the victim than the bound allows.
    std::vector<Prediction> classes;
    bool fooled = false, fooled_unrounded = false;
    double unrounded_norm = 0;
    int64_t steps = 0, starts = 1;
    double objective_start = 0, objective = 0;
    bool interrupted = false;
    std::string problem;
  };
  /// The recipe's objective is the log-probability of the goal, or minus that of the victim's class.
  Outcome attack(Recipe recipe, const Victim& victim, const Settings& settings) const;

  /// The picture with random signs of a size in display range.
  static Tensor with_random_signs(const Victim& victim, double size, uint64_t seed);
  /// [1,3,H,W] rounded to 255ths; towards the victim where that is needed to stay within the bound.
  static Tensor rounded(const Tensor& display, const Victim& victim, const AttackBound& bound);

 private:
  Outcome attack_once(const Recipe& recipe, const Victim& victim, const Settings& settings) const;

  const LoadedModel& model_;
  const LayerTable& layers_;
  bool own_size_;
  Progress* progress_;
};

/// The class that `target` names for a victim; -1 when it is empty.
int64_t attack_goal(const std::string& target, const Attacker::Victim& victim, const LoadedModel& model);

/// The picture with random signs whose L2 norm is that of a change: what noise of the same strength does. Not rounded.
Tensor attack_control(const Attacker::Victim& victim, double norm, uint64_t seed);

/// The best few.
std::vector<Prediction> best_of(const std::vector<Prediction>& classes, size_t count = 3);

}  // namespace pellucid
