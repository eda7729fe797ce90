#include "cli/make_flags.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

std::string recipe_help(const std::string& family) {
  std::string help = "How, by name or from a .json file (a result.json will do):";
  for (const NamedRecipe& named : recipes()) {
    if (named.family != family) continue;
    help += "\n" + named.id + ": " + named.summary + " " + named.paper.authors + ", " + named.paper.venue + " " +
            std::to_string(named.paper.year);
  }
  return help;
}

/// Four digits.
std::string short_number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

}  // namespace

void add_make_flags(CLI::App& app, MakeOptions& make, const std::string& family) {
  app.add_option("--recipe", make.recipe, recipe_help(family))->type_name("NAME|FILE")->group("How");
  add_integer(app, "--picture-size", make.size, 1, 16384, "Longer side in pixels; 0 takes the model's input size")
      ->group("How");
  add_integer(app, "--steps", make.steps, 0, 1'000'000, "Steps of the optimizer; 0 takes the recipe's")->group("How");
  add_seed(app, make.seed, "Of all that is random")->group("How");
  add_integer(app, "--tile", make.tile, 0, 16384,
              "Side of the parts in which the network sees large pictures; 0: 512 for those over 1024 pixels")
      ->group("How");
  add_integer(app, "--save-every", make.save_every, 0, 1'000'000,
              "Snapshots, and a checkpoint to go on from, every so many steps; 0: none")
      ->group("Output");
  app.add_flag("--animate", make.animate, "Films of how the pictures come to be")->group("Output");
  add_choice(app, "--animation", make.animation, {"avi", "gif"}, "What films are: AVI of JPEG frames, or GIF")
      ->group("Output");
  app.add_flag("--resume", make.resume,
               "Keep what the output folder has of the same request, and go on from the checkpoints there")
      ->group("Output");
  app.add_option("-o,--output", make.output, "Folder for the results (default " + make.output + ")")
      ->type_name("DIR")
      ->group("Output");
  add_model_flags(app, make.model);
}

void add_pictures(CLI::App& app, MakeOptions& make, std::vector<std::string>& inputs, bool required) {
  app.add_option("model", make.model.path, "ONNX file")->required()->type_name("MODEL");
  app.add_option("inputs", inputs, "Pictures, folders or globs")->required(required)->type_name("IMAGE...");
}

std::function<void()> add_texture_pictures(CLI::App& app, MakeOptions& make, std::vector<std::string>& inputs) {
  app.add_option("model", make.model.path, "ONNX file; left out: texture-encoder, the one that is shipped")
      ->required()
      ->type_name("MODEL");
  app.add_option("inputs", inputs, "Pictures, folders or globs")->type_name("IMAGE...");
  return [&app, &make, &inputs] {
    if (is_picture_argument(make.model.path)) {
      inputs.insert(inputs.begin(), make.model.path);
      make.model.path.clear();
    }
    if (inputs.empty()) {
      throw_usage(app.get_name() + ": inputs is required (pellucid " + app.get_name() + " --help)");
    }
  };
}

CLI::Option* add_numbers(CLI::App& app, const std::string& flag, std::vector<double>& field, const std::string& help) {
  return app
      .add_option_function<std::string>(
          flag,
          [&field, flag](const std::string& text) {
            field.clear();
            for (const std::string& piece : split(text, ',')) {
              double number = 0;
              if (!parse_double(trim(piece), number) || !(number >= 0)) {
                throw_usage(flag.substr(2) + " is '" + printable(text) +
                            "'; numbers >= 0 as 1 or 0.7,0.3 were expected");
              }
              field.push_back(number);
            }
          },
          help)
      ->type_name("LIST");
}

void add_texture_flags(CLI::App& app, TextureTerms& terms) {
  app.add_option_function<std::string>(
         "--layers", [&terms](const std::string& text) { terms.layers = split(text, ','); },
         "Layers whose statistics are matched, a,b,c (default: the first rectified one and the last before each change "
         "of resolution)")
      ->type_name("LIST")
      ->group("How");
  add_numbers(app, "--layer-weights", terms.layer_weights, "One for each layer, relative (default: equal)")
      ->group("How");
  add_choice(app, "--statistics", terms.statistics, {"gram", "statistics"},
             "Gram matrices, or means and deviations of channels (default gram)")
      ->group("How");
  add_choice(app, "--rescale", terms.rescale, {"none", "layer", "channel"},
             "Divide activations by the style's mean (default " + terms.rescale + ")")
      ->group("How");
  app.add_flag("--average-pooling", terms.average_pooling, "In place of max pooling")->group("How");
}

/// Columns that say nothing in any row are left out.
std::string table_of_what_is_there(std::vector<std::string> header, std::vector<std::vector<std::string>> rows) {
  for (size_t column = header.size(); column-- > 0;) {
    const auto empty = [column](const std::vector<std::string>& row) { return row[column].empty(); };
    if (rows.empty() || !std::all_of(rows.begin(), rows.end(), empty)) continue;
    header.erase(header.begin() + static_cast<ptrdiff_t>(column));
    for (auto& row : rows) row.erase(row.begin() + static_cast<ptrdiff_t>(column));
  }
  return text_table(header, rows, terminal_width());
}

int print_made_pictures(const MakeResult& result, const MakeOptions& make, const GlobalOptions& global) {
  const int status = result.interrupted       ? static_cast<int>(ErrorKind::kInterrupted)
                     : result.num_stopped > 0 ? static_cast<int>(ErrorKind::kFailed)
                                              : 0;
  if (result.num_stopped > 0) {
    std::cerr << "pellucid: " << result.num_stopped << " of " << result.pictures.size()
              << " pictures stopped early: numbers were not finite\n";
  }
  if (global.json) {
    std::cout << result.json << "\n";
    return status;
  }
  if (!global.quiet) {
    for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
  }
  const auto number = [](double x) { return number_text(std::round(x * 1000) / 1000); };
  std::vector<std::vector<std::string>> rows;
  for (const MadePicture& p : result.pictures) {
    const bool ranked = p.class_index >= 0 && p.rank > 0;
    rows.push_back({"  " + printable(p.title, 40), p.recipe.name, short_number(p.objective_start),
                    short_number(p.objective), p.recipe.finish.empty() ? "" : short_number(p.finished_objective),
                    ranked ? number(100 * p.probability) + " %" : "", ranked ? std::to_string(p.rank) : "",
                    number(p.seconds),
                    p.image_file + (p.notes.empty() ? "" : "  (" + printable(p.notes.front(), 200) + ")")});
  }
  for (const std::string& film : result.film_files) std::cout << "film: " << printable(film) << "\n";
  std::cout << table_of_what_is_there(
      {"  made large", "recipe", "start", "end", "finished", "probability", "rank", "s", "picture"}, rows);
  for (const MadePicture& p : result.pictures) {
    std::vector<std::vector<std::string>> measures;
    for (const Measure& m : p.measures) {
      measures.push_back(
          {"  " + printable(m.name, 80), std::isnan(m.start) ? "" : short_number(m.start), short_number(m.value)});
    }
    if (measures.empty()) continue;
    std::cout << printable(p.name) << "\n" << table_of_what_is_there({"  measure", "start", "end"}, measures);
  }
  if (!result.result_file.empty()) {
    std::cout << "written to " << printable(make.output) << "/" << result.sheet_file << ", " << result.result_file
              << "\n";
  }
  return status;
}

}  // namespace pellucid
