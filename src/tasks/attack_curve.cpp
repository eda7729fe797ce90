#include <cmath>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "tasks/attack_report.h"
#include "tasks/attacker.h"
#include "tasks/card_json.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

std::string csv_of(const AttackCurveResult& result) {
  std::string csv = "epsilon";
  for (const AttackCurve& c : result.curves) csv += "," + c.name + "," + c.name + " rounded";
  csv += "\n";
  for (size_t i = 0; i < result.epsilons.size(); ++i) {
    csv += number_text(result.epsilons[i]);
    for (const AttackCurve& c : result.curves) {
      csv += "," + number_text(c.success[i]) + "," + number_text(c.success_rounded[i]);
    }
    csv += "\n";
  }
  return csv;
}

Image plot_of(const AttackCurveResult& result, bool targeted, bool any_l2) {
  LinePlot plot;
  plot.title = std::to_string(result.pictures) + " pictures";
  plot.x_label =
      any_l2 ? "largest change of a value, in 255ths (L2: root mean square)" : "largest change of a value, in 255ths";
  plot.y_label = targeted ? "share that reaches the target" : "share with another answer";
  plot.y_from_zero = true;
  for (const AttackCurve& c : result.curves) plot.series.push_back({c.name, result.epsilons, c.success});
  return draw_line_plot(plot);
}

}  // namespace

AttackCurveResult attack_curve(const AttackCurveRequest& request, Progress* progress) {
  const at::NoGradGuard no_grad;
  if (request.epsilons.empty() || request.recipes.empty()) throw_usage("curve: sizes and recipes are needed");
  for (const double epsilon : request.epsilons) {
    if (!(epsilon > 0 && epsilon <= 255)) {
      throw_usage("curve: " + number_text(epsilon) + " is no size of a change in 255ths, over 0 up to 255");
    }
  }
  for (const std::string& name : request.recipes) find_recipe(name, "attack");
  const AttackRequest& attack = request.attack;
  const LoadedModel model = load_model(attack.make.model);
  const PictureMaker maker("attack", attack.make, model, progress);
  const Attacker attacker(model, maker.layers(), attack.own_size, progress);
  const std::vector<Attacker::Victim> victims = attacker.victims(attack.inputs);

  AttackCurveResult result;
  result.notes = model.card.notes;
  result.epsilons = request.epsilons;
  result.pictures = static_cast<int64_t>(victims.size());
  const size_t sizes = request.epsilons.size();
  for (const std::string& name : request.recipes) {
    result.curves.push_back({name, std::vector<double>(sizes), std::vector<double>(sizes)});
  }
  bool any_l2 = false;
  for (const std::string& name : request.recipes) any_l2 |= bound_of(find_recipe(name, "attack").recipe).norm == "l2";
  result.curves.push_back({"noise", std::vector<double>(sizes), std::vector<double>(sizes)});
  const double each = 1 / static_cast<double>(victims.size());
  double done = 0;
  const double all = static_cast<double>(victims.size() * result.curves.size());
  for (const Attacker::Victim& victim : victims) {
    const int64_t goal = attack_goal(attack.target, victim, model);
    for (AttackCurve& curve : result.curves) {
      if (progress) {
        progress->check();
        progress->report(done++, all, victim.name);
      }
      for (size_t i = 0; i < sizes; ++i) {
        bool exact = false, rounded = false;
        if (curve.name == "noise") {
          const Tensor noise = Attacker::with_random_signs(victim, request.epsilons[i] / 255, attack.make.seed);
          exact = Attacker::fools(attacker.classes(noise), victim, goal);
          rounded = Attacker::fools(attacker.classes(image_from_display(noise[0])), victim, goal);
        } else {
          Recipe recipe = maker.recipe(find_recipe(curve.name, "attack"));
          const AttackBound bound = bound_of(recipe);
          // A change of this size everywhere has that norm.
          const double everywhere = std::sqrt(static_cast<double>(victim.display.numel()));
          set_epsilon(recipe, bound.norm == "l2" ? request.epsilons[i] * everywhere : request.epsilons[i]);
          const auto outcome = attacker.attack(recipe, victim, {goal, attack.restarts, attack.all_steps});
          if (outcome.interrupted) throw Error(ErrorKind::kInterrupted, "interrupted");
          exact = outcome.fooled_unrounded || outcome.fooled;
          rounded = outcome.fooled;
        }
        curve.success[i] += exact ? each : 0;
        curve.success_rounded[i] += rounded ? each : 0;
      }
    }
  }

  nlohmann::ordered_json json = attack_heading("curve", attack, model, result.notes);
  json["pictures"] = result.pictures;
  json["epsilons"] = result.epsilons;
  for (const AttackCurve& c : result.curves) {
    json["curves"].push_back({{"name", c.name}, {"success", c.success}, {"success_rounded", c.success_rounded}});
  }
  const std::string& folder = attack.make.output;
  if (!folder.empty()) {
    make_folder(folder);
    const auto file = [&](const std::string& name) { return (fs::u8path(folder) / fs::u8path(name)).string(); };
    result.csv_file = "curve.csv";
    result.plot_file = "curve.png";
    result.result_file = "result.json";
    json["csv"] = result.csv_file;
    json["plot"] = result.plot_file;
    write_file_atomically(file(result.csv_file), csv_of(result));
    save_png(file(result.plot_file), plot_of(result, !attack.target.empty(), any_l2));
  }
  result.json = json_text(json);
  if (!folder.empty()) {
    write_file_atomically((fs::u8path(folder) / result.result_file).string(), result.json + "\n");
  }
  return result;
}

}  // namespace pellucid
