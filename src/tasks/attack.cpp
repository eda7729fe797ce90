#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/attack_report.h"
#include "tasks/attacker.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

/// What the change alone is to the network: around mid-gray, at full contrast.
Tensor shown_change(const Tensor& change) {
  return 0.5 + change / (2 * std::max(1e-12, change.abs().max().item<double>()));
}

AttackedPicture attacked(const Attacker& attacker, const Attacker::Victim& victim, const Attacker::Outcome& outcome,
                         int64_t goal) {
  AttackedPicture p;
  p.name = victim.name;
  p.path = victim.path;
  p.recipe = outcome.recipe;
  p.goal = goal;
  p.source = victim.picture;
  p.image = outcome.picture;
  p.fooled = outcome.fooled;
  p.fooled_unrounded = outcome.fooled_unrounded;
  p.unrounded_norm = outcome.unrounded_norm;
  p.steps = outcome.steps;
  p.starts = outcome.starts;
  p.objective_start = outcome.objective_start;
  p.objective = outcome.objective;
  const Tensor change = (display_from_image(outcome.picture) - victim.display).to(at::kDouble);
  p.change_max = change.abs().max().item<double>();
  p.change_norm = change.norm().item<double>();
  p.change_pixels = change.abs().amax(1).gt(1e-9).sum().item<int64_t>();
  if (goal >= 0 && goal == victim.classes.front().index) {
    p.notes.emplace_back("the target is the answer already: there is nothing to fool");
  }
  if (!outcome.problem.empty()) p.notes.push_back("stopped early: " + outcome.problem);
  if (outcome.interrupted) {
    p.notes.emplace_back("interrupted: the attack is not finished");
    return p;
  }
  p.before = best_of(victim.classes);
  p.after = best_of(outcome.classes);
  p.change_alone = best_of(attacker.classes(image_from_display(shown_change(change)[0])));
  const auto control = attacker.classes(attack_control(victim, p.change_norm, outcome.recipe.seed));
  p.control = best_of(control);
  p.control_fooled = Attacker::fools(control, victim, goal);
  return p;
}

void write_picture(AttackedPicture& p, const std::string& folder) {
  const auto file = [&](const std::string& name) { return (fs::u8path(folder) / fs::u8path(name)).string(); };
  const std::string name = p.name + "." + file_name_from(p.recipe.name);
  p.image_file = name + ".png";
  p.change_file = name + ".npy";
  save_png(file(p.image_file), p.image);
  const Tensor change = (display_from_image(p.image) - display_from_image(p.source))[0].contiguous();
  write_npy(file(p.change_file), change.data_ptr<float>(), change.sizes().vec());
}

}  // namespace

AttackResult attack(const AttackRequest& request, Progress* progress) {
  const at::NoGradGuard no_grad;
  if (request.restarts < 1) throw_usage("restarts must be an integer >= 1");
  if (request.epsilon != -1 && !(request.epsilon > 0)) throw_usage("epsilon must be above 0 (-1 takes the recipe's)");
  const LoadedModel model = load_model(request.make.model);
  const PictureMaker maker("attack", request.make, model, progress);
  Recipe recipe = maker.recipe("pgd", "attack");
  if (request.epsilon >= 0) set_epsilon(recipe, request.epsilon);
  const std::string& named = request.make.recipe;
  const bool fits_size = request.epsilon < 0 && (named == "pgd-l2" || named == "pgd-l0");
  bound_of(recipe);
  const Attacker attacker(model, maker.layers(), request.own_size, progress);
  const std::vector<Attacker::Victim> victims = attacker.victims(request.inputs);
  std::vector<int64_t> goals;
  for (const auto& victim : victims) goals.push_back(attack_goal(request.target, victim, model));
  if (!request.make.output.empty()) make_folder(request.make.output);
  AttackResult result;
  result.notes = model.card.notes;
  for (size_t i = 0; i < victims.size() && !result.interrupted; ++i) {
    if (progress) progress->report(static_cast<double>(i), static_cast<double>(victims.size()), victims[i].name);
    const auto start = std::chrono::steady_clock::now();
    if (fits_size) fit_epsilon(recipe, victims[i].display.size(3), victims[i].display.size(2));
    const auto outcome = attacker.attack(recipe, victims[i], {goals[i], request.restarts, request.all_steps});
    AttackedPicture p = attacked(attacker, victims[i], outcome, goals[i]);
    p.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.interrupted = outcome.interrupted;
    if (!request.make.output.empty()) {
      write_picture(p, request.make.output);
      if (!outcome.interrupted) {
        const std::string path = (fs::u8path(request.make.output) / fs::u8path(p.image_file)).string();
        const Picture read = load_picture(path, p.name, model);
        const Attacker reader(model, maker.layers(), /*own_size=*/true, progress);
        p.fools_after_reload = Attacker::fools(reader.classes(read.photo), victims[i], goals[i]);
        if (p.fooled && !*p.fools_after_reload) {
          p.notes.emplace_back(
              "the file does not fool the model when it is read as a photo, because it is resized first; "
              "--own-size attacks through that");
        }
      }
    }
    result.pictures.push_back(std::move(p));
  }
  write_attack(result, request, model);
  return result;
}

}  // namespace pellucid
