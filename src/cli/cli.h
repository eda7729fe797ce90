#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pellucid/tasks.h"

namespace pellucid {

/// What every verb shares.
struct GlobalOptions {
  bool json = false;
  bool quiet = false;
  int64_t threads = 0;
  int64_t max_memory_mb = 0;
  double timeout_s = 0;
};

/// A bar on stderr when that is a terminal; asks the work to stop on SIGINT and SIGTERM.
class TerminalProgress final : public Progress {
 public:
  explicit TerminalProgress(bool quiet);
  ~TerminalProgress() override;
  void report(double done, double total, const std::string& what) override;
  void clear();

 private:
  bool visible_;
  int shown_ = -1;
  std::string shown_what_;
};

/// Words that shells offer as the value of a flag.
struct FlagWords {
  std::vector<std::string> words;
  bool several = false;  ///< Separated by commas.
};

/// The flags of one verb.
class VerbApp final : public CLI::App {
 public:
  using CLI::App::App;
  std::map<const CLI::Option*, FlagWords> words;  ///< Of those that take one of a list.
};

/// One verb: adds its flags to `app`, a VerbApp, and returns what runs it.
using VerbSetup = std::function<int(TerminalProgress&)> (*)(CLI::App& app, GlobalOptions& global);
struct Verb {
  const char* name;
  const char* summary;
  VerbSetup setup;
};
const std::vector<Verb>& verbs();

std::function<int(TerminalProgress&)> setup_info(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_predict(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_methods(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_explain(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_metrics(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_evaluate(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_axioms(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_dataset(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_train(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_stylize(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_train_style(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_train_denoiser(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_train_generator(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_visualize(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_invert(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_dream(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_attack(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_recipes(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_texture(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_style(CLI::App& app, GlobalOptions& global);
std::function<int(TerminalProgress&)> setup_completion(CLI::App& app, GlobalOptions& global);

/// Flags for numbers that are read strictly: decimal, C locale, in range; anything else is an Error(kUsage).
CLI::Option* add_integer(CLI::App& app, const std::string& flag, int64_t& field, int64_t low, int64_t high,
                         const std::string& help);
CLI::Option* add_real(CLI::App& app, const std::string& flag, double& field, double low, double high,
                      const std::string& help);
/// A flag with one of a few values.
CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::string& field,
                        const std::vector<std::string>& choices, const std::string& help);

/// Has shells offer words for a flag of a verb.
CLI::Option* offer(CLI::App& verb, CLI::Option* option, FlagWords choices);
FlagWords method_words();
/// A flag that takes a list separated by commas, and may be repeated to go on with it.
CLI::Option* add_list(CLI::App& app, const std::string& flags, std::string& text, const std::string& help);

/// --seed: any number that fits 64 bits.
CLI::Option* add_seed(CLI::App& app, uint64_t& seed, const std::string& help);

/// --card, --preset, --labels, --size, --device, --precision.
void add_model_flags(CLI::App& app, ModelOptions& model);
/// --batch-size, --seed, --max-pixels, --every, --max-frames.
void add_run_flags(CLI::App& app, RunOptions& run);

/// The command line; returns the exit status.
int run_program(int argc, char** argv);

/// Columns padded to their widest cell, two blanks apart; the last is not padded. Lines wider than `width` (0: as wide
/// as they come) are avoided by wrapping the widest columns at blanks and commas; a word is never cut.
std::string text_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                       size_t width = 0);

/// Lines of at most `width`, broken at blanks, and after commas and colons inside longer words; words are never cut.
std::vector<std::string> wrap_words(const std::string& text, size_t width);

/// Columns of the terminal that stdout is, or COLUMNS where that is set; 0 when stdout goes elsewhere.
size_t terminal_width();

}  // namespace pellucid
