#pragma once

// `pellucid attack`: small changes of pictures that change the answer.

#include <optional>
#include <string>
#include <vector>

#include "pellucid/make_pictures.h"

namespace pellucid {

struct AttackRequest {
  MakeOptions make;  ///< `size` is not used.
  std::vector<std::string> inputs;
  std::string target;      ///< The class to reach, or "least-likely"; empty: any but the network's own answer.
  double epsilon = -1;     ///< Largest change in 255ths (of a value, or the L2 norm; pixels for L0); negative takes the
                           ///< recipe's.
  int64_t restarts = 1;    ///< Random starts that are tried until one succeeds.
  bool all_steps = false;  ///< Go on when the picture, rounded to 8 bits, already has another answer.
  bool own_size = false;   ///< Attack pictures at their own size, through the model's resizing, instead of what the
                           ///< model sees of them; for files that fool the model when they are read again.
};

/// A picture that was attacked. Answers are those to pictures rounded to 8 bits, as files hold them.
struct AttackedPicture {
  std::string name, path;
  Recipe recipe;
  int64_t goal = -1;               ///< The class to reach; -1: any other.
  std::vector<Prediction> before;  ///< The best three.
  std::vector<Prediction> after;
  std::vector<Prediction>
      change_alone;                 ///< Of the change by itself, around mid-gray, its largest value white or black.
  std::vector<Prediction> control;  ///< Of the picture plus random signs of the same L2 norm.
  bool fooled = false;
  bool fooled_unrounded = false;  ///< Before rounding.
  bool control_fooled = false;
  std::optional<bool> fools_after_reload;  ///< When the file that was written is read as any other picture.
  double change_max = 0, change_norm = 0;  ///< Largest change of a value and L2 norm, in display range.
  double unrounded_norm = 0;  ///< L2 norm at the first step at which the picture fooled before rounding; 0: it did not.
  int64_t change_pixels = 0;
  int64_t steps = 0, starts = 1;  ///< Starts that were needed.
  double objective_start = 0, objective = 0;
  double seconds = 0;
  std::vector<std::string> notes;
  Image source, image;
  std::string image_file, change_file;  ///< A PNG, and the change [3,H,W] as .npy.
};
struct AttackResult {
  std::vector<AttackedPicture> pictures;
  std::vector<std::string> notes;
  std::string json;  ///< As in result.json.
  std::string sheet_file, result_file;
  bool interrupted = false;  ///< Later pictures were not begun.
};
/// Throws Error(kUsage) before the model is run when recipe or class does not exist.
AttackResult attack(const AttackRequest& request, Progress* progress = nullptr);

/// `pellucid attack --curve`: how many pictures fool the network, by the size of the change.
struct AttackCurveRequest {
  AttackRequest attack;  ///< `recipe` and `epsilon` are not used.
  std::vector<std::string> recipes{"fgsm", "bim", "pgd"};
  std::vector<double> epsilons{0.25, 0.5, 1, 2, 4, 8};  ///< In 255ths.
};
struct AttackCurve {
  std::string name;             ///< Of the recipe, or "noise": random signs.
  std::vector<double> success;  ///< Share of the pictures that have another answer (the goal), by epsilon.
  std::vector<double> success_rounded;
};
struct AttackCurveResult {
  std::vector<double> epsilons;
  std::vector<AttackCurve> curves;  ///< Noise is the last.
  int64_t pictures = 0;
  std::vector<std::string> notes;
  std::string json, csv_file, plot_file, result_file;
};
AttackCurveResult attack_curve(const AttackCurveRequest& request, Progress* progress = nullptr);

/// `pellucid attack --universal`: one change that changes the answer for most pictures. Moosavi-Dezfooli, Fawzi, Fawzi,
/// Frossard. "Universal Adversarial Perturbations". CVPR 2017: where the change so far does not fool, the shortest one
/// that does in addition (recipe deepfool) is added, and the sum brought back into its ball. Pictures stay in range.
struct UniversalRequest {
  AttackRequest attack;  ///< `inputs`, `make`; `epsilon` is the largest change, 10 when negative.
  std::string norm = "linf";
  double goal = 0.8;      ///< Ends when this share of the training pictures is fooled.
  int64_t epochs = 10;    ///< Most passes over them.
  double held_out = 0.3;  ///< Share of the pictures that is only used for the test.
};
struct UniversalResult {
  Tensor change;                             ///< [3,H,W], in display range.
  std::vector<double> training_rates;        ///< Of fooled training pictures, after each pass.
  double held_out_rate = 0, noise_rate = 0;  ///< Of the pictures held out, and of those for random signs of that size.
  int64_t training_pictures = 0, held_out_pictures = 0;
  std::vector<std::string> notes;
  std::string json, change_file, sheet_file, result_file;
};
UniversalResult universal_attack(const UniversalRequest& request, Progress* progress = nullptr);

}  // namespace pellucid
