#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/ground_truth.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "tasks/attack_report.h"
#include "tasks/attacker.h"
#include "tasks/card_json.h"
#include "tasks/picture_maker.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

using Victim = Attacker::Victim;

class Universal {
 public:
  Universal(const UniversalRequest& request, const Attacker& attacker, Recipe recipe, Progress* progress)
      : attacker_(attacker), recipe_(std::move(recipe)), norm_(request.norm), progress_(progress) {
    size_ = (request.attack.epsilon < 0 ? 10 : request.attack.epsilon) / 255;
  }

  Tensor change;  ///< [1,3,H,W]; undefined until the first picture.

  double size() const { return size_; }
  Tensor changed(const Victim& victim) const { return changed(victim, change); }
  static Tensor changed(const Victim& victim, const Tensor& by) { return (victim.display + by).clamp(0, 1); }

  double rate(const std::vector<const Victim*>& victims, const Tensor& by) const {
    double fooled = 0;
    for (const Victim* v : victims) {
      if (progress_) progress_->check();
      fooled += Attacker::fools(attacker_.classes(image_from_display(changed(*v, by)[0])), *v, -1) ? 1 : 0;
    }
    return fooled / static_cast<double>(victims.size());
  }

  /// One picture: what is missing for it is added.
  void learn(const Victim& victim) {
    if (!change.defined()) change = at::zeros_like(victim.display);
    Victim now = victim;
    now.display = changed(victim);
    if (Attacker::fools(attacker_.classes(now.display), victim, -1)) return;
    now.picture = image_from_display(now.display[0]);
    Attacker::Settings settings;
    settings.rounded = false;
    const Attacker::Outcome outcome = attacker_.attack(recipe_, now, settings);
    if (outcome.interrupted) throw Error(ErrorKind::kInterrupted, "interrupted");
    if (!outcome.fooled_unrounded && !outcome.fooled) return;  // no way was found in the steps there are
    change = change + (outcome.display - now.display);
    if (norm_ == "linf") {
      change = change.clamp(-size_, size_);
    } else {
      change = change * std::min(1.0, size_ / std::max(1e-12, change.norm().item<double>()));
    }
  }

  Tensor noise(uint64_t seed) const {
    const Tensor signs =
        at::randint(2, change.sizes(), at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat)) * 2 - 1;
    return norm_ == "linf" ? size_ * signs : signs * (size_ / std::sqrt(static_cast<double>(change.numel())));
  }

 private:
  const Attacker& attacker_;
  Recipe recipe_;
  std::string norm_;
  double size_ = 0;
  Progress* progress_;
};

SheetCell cell_of(const Tensor& display, const std::string& title, std::vector<std::string> lines) {
  SheetCell cell;
  cell.image = image_from_display(display[0]);
  cell.title = title;
  cell.lines = std::move(lines);
  return cell;
}

ContactSheet sheet_of(const UniversalResult& result, const Universal& universal, const Attacker& attacker,
                      const std::vector<const Victim*>& held_out, const LoadedModel& model) {
  ContactSheet sheet;
  sheet.title = "pellucid attack: one change for all pictures";
  sheet.subtitle = fs::u8path(model.path).filename().string();
  const double most = std::max(1e-12, universal.change.abs().max().item<double>());
  sheet.cells.push_back(
      cell_of(0.5 + universal.change / (2 * most), "the change",
              {"fools " + percent_text(result.held_out_rate) + " of " + std::to_string(result.held_out_pictures),
               "random signs: " + percent_text(result.noise_rate)}));
  for (size_t i = 0; i < std::min<size_t>(7, held_out.size()); ++i) {
    const Victim& v = *held_out[i];
    const Tensor changed = universal.changed(v);
    const Prediction now = attacker.classes(image_from_display(changed[0])).front();
    sheet.cells.push_back(cell_of(changed, v.name,
                                  {v.classes.front().label + "  " + percent_text(v.classes.front().probability),
                                   "-> " + now.label + "  " + percent_text(now.probability)}));
  }
  return sheet;
}

}  // namespace

UniversalResult universal_attack(const UniversalRequest& request, Progress* progress) {
  const at::NoGradGuard no_grad;
  const AttackRequest& attack = request.attack;
  if (request.norm != "linf" && request.norm != "l2") {
    throw_usage("universal: no norm '" + printable(request.norm) + "'; linf or l2 was expected");
  }
  if (attack.own_size || !attack.target.empty()) {
    throw_usage("universal: pictures are attacked as the model sees them, away from their own answers");
  }
  const LoadedModel model = load_model(attack.make.model);
  const PictureMaker maker("attack", attack.make, model, progress);
  Recipe recipe = maker.recipe(find_recipe(request.norm == "l2" ? "deepfool" : "deepfool-linf", "attack"));
  if (attack.make.steps <= 0) recipe.stages.front().steps = 10;  // as in the paper's code
  const Attacker attacker(model, maker.layers(), false, progress);
  const std::vector<Victim> victims = attacker.victims(attack.inputs);
  const auto count = static_cast<int64_t>(victims.size());
  const auto held = std::max<int64_t>(1, std::llround(request.held_out * static_cast<double>(count)));
  if (count - held < 1) throw_usage("universal: " + std::to_string(count) + " pictures are not enough; 2 are needed");
  std::vector<const Victim*> training, held_out;
  for (const int64_t i : permutation(count, attack.make.seed, 0)) {
    auto& list = static_cast<int64_t>(held_out.size()) < held ? held_out : training;
    list.push_back(&victims[static_cast<size_t>(i)]);
    if (victims[static_cast<size_t>(i)].display.sizes() != victims.front().display.sizes()) {
      throw_usage("universal: the model must have one input size (--size)");
    }
  }

  UniversalResult result;
  result.notes = model.card.notes;
  result.training_pictures = static_cast<int64_t>(training.size());
  result.held_out_pictures = static_cast<int64_t>(held_out.size());
  Universal universal(request, attacker, recipe, progress);
  for (int64_t epoch = 0; epoch < request.epochs; ++epoch) {
    const std::vector<int64_t> order =
        permutation(result.training_pictures, attack.make.seed, static_cast<uint64_t>(epoch) + 1);
    for (size_t i = 0; i < order.size(); ++i) {
      if (progress) {
        progress->check();
        progress->report(static_cast<double>(i), static_cast<double>(order.size()),
                         "pass " + std::to_string(epoch + 1));
      }
      universal.learn(*training[static_cast<size_t>(order[i])]);
    }
    result.training_rates.push_back(universal.rate(training, universal.change));
    if (result.training_rates.back() >= request.goal) break;
  }
  result.change = universal.change[0].contiguous();
  result.held_out_rate = universal.rate(held_out, universal.change);
  result.noise_rate = universal.rate(held_out, universal.noise(attack.make.seed));

  nlohmann::ordered_json json = attack_heading("universal", attack, model, result.notes);
  json["norm"] = request.norm;
  json["epsilon"] = 255 * universal.size();
  json["goal"] = request.goal;
  json["seed"] = std::to_string(attack.make.seed);
  json["training_pictures"] = result.training_pictures;
  json["training_rates"] = result.training_rates;
  json["held_out_pictures"] = result.held_out_pictures;
  json["held_out_rate"] = result.held_out_rate;
  json["noise_rate"] = result.noise_rate;
  const std::string& folder = attack.make.output;
  const auto file = [&](const std::string& name) { return (fs::u8path(folder) / fs::u8path(name)).string(); };
  if (!folder.empty()) {
    make_folder(folder);
    result.change_file = "change.npy";
    result.sheet_file = "sheet.png";
    result.result_file = "result.json";
    json["change"] = result.change_file;
    json["sheet"] = result.sheet_file;
    write_npy(file(result.change_file), result.change.data_ptr<float>(), result.change.sizes().vec());
    save_png(file(result.sheet_file), draw_contact_sheet(sheet_of(result, universal, attacker, held_out, model)));
  }
  result.json = json_text(json);
  if (!folder.empty()) write_file_atomically(file(result.result_file), result.json + "\n");
  return result;
}

}  // namespace pellucid
