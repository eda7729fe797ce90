#include <cmath>
#include <iostream>

#include "cli/make_flags.h"
#include "pellucid/attacks.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

struct AttackFlags {
  AttackRequest request;
  bool panda = false, universal = false;
  std::string curve, recipes;
  UniversalRequest more;  ///< Its own fields.
};

std::string number(double x, double unit = 1000) { return number_text(std::round(x * unit) / unit); }
std::string percent(double share) { return number(100 * share, 10) + " %"; }
std::string answer(const std::vector<Prediction>& classes) {
  return classes.empty() ? "?" : printable(classes.front().label) + " " + percent(classes.front().probability);
}

void print_notes(const std::vector<std::string>& notes, const GlobalOptions& global) {
  if (global.quiet) return;
  for (const std::string& note : notes) std::cout << "note: " << printable(note, 400) << "\n";
}
void print_written(const std::string& folder, const std::vector<std::string>& files) {
  if (!files.back().empty()) std::cout << "written to " << printable(folder) << "/" << join(files, ", ") << "\n";
}

int run_pictures(const AttackFlags& flags, const GlobalOptions& global, TerminalProgress& progress) {
  const AttackResult result = attack(flags.request, &progress);
  progress.clear();
  const int status = result.interrupted ? static_cast<int>(ErrorKind::kInterrupted) : 0;
  if (global.json) {
    std::cout << result.json << "\n";
    return status;
  }
  print_notes(result.notes, global);
  int64_t fooled = 0, control = 0, reloaded = 0;
  std::vector<std::vector<std::string>> rows;
  for (const AttackedPicture& p : result.pictures) {
    fooled += p.fooled ? 1 : 0;
    control += p.control_fooled ? 1 : 0;
    reloaded += p.fools_after_reload.value_or(false) ? 1 : 0;
    rows.push_back({"  " + printable(p.name, 40), answer(p.before), answer(p.after),
                    p.fooled             ? "yes"
                    : p.fooled_unrounded ? "until rounded"
                                         : "no",
                    p.fools_after_reload ? (*p.fools_after_reload ? "yes" : "no") : "", answer(p.control),
                    number(255 * p.change_max) + "/255", number(p.change_norm), std::to_string(p.steps),
                    number(p.seconds, 10)});
  }
  std::cout << text_table(
      {"  picture", "answer", "then", "fooled", "as a file", "random signs", "change", "L2", "steps", "s"}, rows,
      terminal_width());
  for (const AttackedPicture& p : result.pictures) {
    for (const std::string& note : p.notes)
      std::cout << "note: " << printable(p.name) << ": " << printable(note, 400) << "\n";
  }
  const auto all = std::to_string(result.pictures.size());
  std::cout << fooled << " of " << all << " fooled";
  if (!result.result_file.empty()) std::cout << ", " << reloaded << " when the file is read again";
  std::cout << "; random signs of the same size: " << control << "\n";
  print_written(flags.request.make.output, {result.sheet_file, result.result_file});
  return status;
}

std::vector<double> numbers_from(const std::string& text) {
  std::vector<double> list;
  for (const std::string& part : split(text, ',')) {
    double value = 0;
    if (!parse_double(trim(part), value)) {
      throw_usage("curve is '" + printable(text) + "'; numbers as 0.5,1,2,4 were expected");
    }
    list.push_back(value);
  }
  return list;
}

int run_curve(const AttackFlags& flags, const GlobalOptions& global, TerminalProgress& progress) {
  AttackCurveRequest request;
  request.attack = flags.request;
  request.epsilons = numbers_from(flags.curve);
  if (!flags.recipes.empty()) {
    request.recipes.clear();
    for (const std::string& part : split(flags.recipes, ',')) request.recipes.push_back(trim(part));
  }
  const AttackCurveResult result = attack_curve(request, &progress);
  progress.clear();
  if (global.json) {
    std::cout << result.json << "\n";
    return 0;
  }
  print_notes(result.notes, global);
  std::vector<std::string> header{"  epsilon"};
  for (const AttackCurve& c : result.curves) header.push_back(c.name);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < result.epsilons.size(); ++i) {
    rows.push_back({"  " + number(result.epsilons[i]) + "/255"});
    for (const AttackCurve& c : result.curves) {
      rows.back().push_back(percent(c.success[i]) + " (" + percent(c.success_rounded[i]) + ")");
    }
  }
  std::cout << text_table(header, rows, terminal_width()) << "share of " << result.pictures
            << " pictures that are fooled; in brackets when rounded to 8 bits\n";
  print_written(request.attack.make.output, {result.plot_file, result.csv_file, result.result_file});
  return 0;
}

int run_universal(const AttackFlags& flags, const GlobalOptions& global, TerminalProgress& progress) {
  UniversalRequest request = flags.more;
  request.attack = flags.request;
  const UniversalResult result = universal_attack(request, &progress);
  progress.clear();
  if (global.json) {
    std::cout << result.json << "\n";
    return 0;
  }
  print_notes(result.notes, global);
  for (size_t i = 0; i < result.training_rates.size(); ++i) {
    std::cout << "pass " << i + 1 << ": fools " << percent(result.training_rates[i]) << " of "
              << result.training_pictures << " training pictures\n";
  }
  std::cout << "fools " << percent(result.held_out_rate) << " of " << result.held_out_pictures
            << " pictures held out; random signs of the same size " << percent(result.noise_rate) << "\n";
  print_written(request.attack.make.output, {result.sheet_file, result.change_file, result.result_file});
  return 0;
}

void check(const AttackFlags& flags) {
  if (static_cast<int>(flags.panda) + static_cast<int>(flags.universal) + static_cast<int>(!flags.curve.empty()) > 1) {
    throw_usage("attack: --panda, --curve and --universal exclude one another");
  }
  if (!flags.recipes.empty() && flags.curve.empty()) throw_usage("attack: --recipes goes with --curve");
  if ((flags.panda || flags.universal || !flags.curve.empty()) && !flags.request.make.recipe.empty()) {
    throw_usage("attack: --recipe does not go with --panda, --curve or --universal");
  }
  const MakeOptions& make = flags.request.make;
  if (make.resume || make.animate || make.save_every > 0) {
    throw_usage("attack: --save-every, --animate and --resume are for the other verbs that make pictures");
  }
}

}  // namespace

std::function<int(TerminalProgress&)> setup_attack(CLI::App& app, GlobalOptions& global) {
  auto flags = std::make_shared<AttackFlags>();
  AttackRequest& request = flags->request;
  request.make.output = "pictures";
  add_pictures(app, request.make, request.inputs);
  app.add_option("-t,--target", request.target,
                 "The class to reach, or least-likely (default: any but the network's own answer)")
      ->type_name("CLASS");
  add_real(app, "--epsilon", request.epsilon, -1, 1e6,
           "Largest change in 255ths of a value, or for L2 of the norm; pixels for L0; -1 takes the recipe's");
  add_integer(app, "--restarts", request.restarts, 1, 10000, "Random starts that are tried until one succeeds");
  app.add_flag("--all-steps", request.all_steps, "Go on when the picture, rounded to 8 bits, already fools");
  app.add_flag(
      "--own-size", request.own_size,
      "Attack pictures at their own size, through the model's resizing, so that the file fools when it is read "
      "as a photo");
  app.add_flag("--panda", flags->panda, "One sign step of 1/255, as in the paper's figure (recipe fgsm)")
      ->group("Instead");
  app.add_option("--curve", flags->curve,
                 "Success by the size of the change, in 255ths, as 0.25,0.5,1,2,4,8: a table, curve.csv and curve.png")
      ->type_name("LIST")
      ->group("Instead");
  app.add_option("--recipes", flags->recipes, "Attacks of the curve, separated by commas (default fgsm,bim,pgd)")
      ->type_name("LIST")
      ->group("Instead");
  app.add_flag("--universal", flags->universal, "One change for all pictures; reports how often it fools others")
      ->group("Instead");
  add_choice(app, "--norm", flags->more.norm, {"linf", "l2"}, "Of the universal change")->group("Instead");
  add_real(app, "--fooling-rate", flags->more.goal, 0, 1, "Of training pictures, at which the search for it ends")
      ->group("Instead");
  add_integer(app, "--passes", flags->more.epochs, 1, 1000, "Most passes over the training pictures")->group("Instead");
  add_real(app, "--held-out", flags->more.held_out, 0.01, 0.99, "Share of the pictures that it is tested on")
      ->group("Instead");
  add_make_flags(app, request.make, "attack");
  return [flags, &global](TerminalProgress& progress) {
    check(*flags);
    if (flags->panda) {
      flags->request.make.recipe = "fgsm";
      if (flags->request.epsilon < 0) flags->request.epsilon = 1;
    }
    if (!flags->curve.empty()) return run_curve(*flags, global, progress);
    if (flags->universal) return run_universal(*flags, global, progress);
    return run_pictures(*flags, global, progress);
  };
}

}  // namespace pellucid
