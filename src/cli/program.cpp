#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"
#include "pellucid/version.h"

namespace pellucid {

namespace {

Progress* g_progress = nullptr;

extern "C" void on_signal(int) {
  if (g_progress) g_progress->cancel();
}

/// Physical memory less a tenth, so that a model that is too large fails with a sentence instead of being killed.
int64_t default_memory_limit() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page > 0 ? pages / 10 * 9 * page : 0;
}

/// A closed stream's descriptor would go to the next file opened, and what is printed would end up in it.
void hold_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Opened the wrong way round, so that using it fails as on a closed one.
    if (fcntl(fd, F_GETFD) < 0) static_cast<void>(open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const Verb& v : verbs()) names.emplace_back(v.name);
  return names;
}

/// CLI11's own errors in our words: one line, with the nearest flag.
std::string parse_problem(const CLI::App& app, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments) {
  const CLI::App* verb = nullptr;
  for (const CLI::App* sub : app.get_subcommands()) verb = sub;
  if (!verb && !arguments.empty() && arguments.front()[0] != '-') {
    return "no verb '" + printable(arguments.front()) + "'; the verbs are " + join(verb_names(), ", ") +
           did_you_mean(arguments.front(), verb_names());
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) && verb) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : verb->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    for (const std::string& extra : verb->remaining(true)) {
      if (!extra.empty() && extra[0] == '-') {
        const std::string flag = extra.substr(0, extra.find('='));
        return std::string(verb->get_name()) + ": no flag '" + printable(flag) + "'" + did_you_mean(flag, flags) +
               " (pellucid " + verb->get_name() + " --help)";
      }
    }
    for (const std::string& extra : verb->remaining(true)) {
      return std::string(verb->get_name()) + ": unexpected '" + printable(extra) + "' (pellucid " + verb->get_name() +
             " --help)";
    }
  }
  std::string problem = printable(error.what(), 300);
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    // CLI11 counts values; a user wants to know which flag has none or is there twice.
    const std::string flag = problem.substr(0, problem.find(':'));
    problem = flag + (problem.find("missing") != std::string::npos ? " needs a value" : " is given more than once");
  }
  return (verb ? std::string(verb->get_name()) + ": " : std::string()) + problem + " (pellucid " +
         (verb ? std::string(verb->get_name()) + " " : std::string()) + "--help)";
}

constexpr size_t kHelpWidth = 100;  // where the terminal does not say

/// CLI11's help with long descriptions wrapped below one another.
class WrappedHelp final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    const std::string name = "  " + make_option_name(option, is_positional) + make_option_opts(option);
    const size_t total = terminal_width() ? terminal_width() : kHelpWidth;
    const size_t indent = get_column_width();
    std::string text = name;
    size_t column = name.size();
    if (column + 1 > indent) {
      text += "\n";
      column = 0;
    }
    for (const std::string& paragraph : split(make_option_desc(option), '\n')) {
      for (const std::string& line : wrap_words(paragraph, std::max<size_t>(total - std::min(total, indent), 24))) {
        text += std::string(indent - column, ' ') + line + "\n";
        column = 0;
      }
    }
    return column == 0 ? text : text + "\n";
  }
};

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table{
      {"explain", "Show why a model gave its answer for a picture", setup_explain},
      {"predict", "Print the best classes for pictures", setup_predict},
      {"info", "List a model's layers, shapes, receptive fields and costs", setup_info},
      {"evaluate", "Judge methods on pictures of known truth, or on your own", setup_evaluate},
      {"axioms", "Try on a model which axioms of attribution a method keeps", setup_axioms},
      {"visualize", "Make the pictures that a class, channel or neuron responds to most", setup_visualize},
      {"invert", "Make pictures that a layer cannot tell from a given one", setup_invert},
      {"dream", "Make what a layer sees in a picture stronger", setup_dream},
      {"texture", "Make more of a picture's texture", setup_texture},
      {"style", "Give a picture the style of others", setup_style},
      {"stylize", "Repaint pictures and videos by a network trained for it", setup_stylize},
      {"attack", "Change pictures a little so that the answer changes", setup_attack},
      {"recipes", "List the recipes that make pictures and their parts, or print one", setup_recipes},
      {"methods", "List the explanation methods, or show one", setup_methods},
      {"metrics", "List the metrics that judge explanations, or show one", setup_metrics},
      {"dataset", "Write generated pictures whose discriminative part is known", setup_dataset},
      {"train", "Train a small network on generated pictures and write it as ONNX", setup_train},
      {"train-style", "Train a network that repaints pictures in a style and write it as ONNX", setup_train_style},
      {"train-denoiser", "Train a network that takes noise off pictures, as a prior for recipes", setup_train_denoiser},
      {"train-generator", "Train a decoder from a network's codes to pictures, as a prior for recipes",
       setup_train_generator},
      {"completion", "Print a completion script for a shell", setup_completion}};
  return table;
}

TerminalProgress::TerminalProgress(bool quiet) : visible_(!quiet && isatty(STDERR_FILENO)) {
  g_progress = this;
  struct sigaction action {};
  action.sa_handler = on_signal;
  // A second signal ends the program at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A file that grows too large is then an error of writing it, and leaves no temporary one behind.
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, nullptr);
}

TerminalProgress::~TerminalProgress() {
  clear();
  g_progress = nullptr;
}

void TerminalProgress::report(double done, double total, const std::string& what) {
  if (!visible_) return;
  const int percent = total > 0 ? static_cast<int>(100 * done / total) : 0;
  if (percent == shown_ && what == shown_what_) return;
  shown_ = percent;
  shown_what_ = what;
  const int filled = percent * 30 / 100;
  std::fprintf(stderr, "\r\033[K[%s%s] %3d %%  %s", std::string(static_cast<size_t>(filled), '#').c_str(),
               std::string(static_cast<size_t>(30 - filled), '.').c_str(), percent, printable(what, 40).c_str());
}

void TerminalProgress::clear() {
  if (visible_ && shown_ >= 0) std::fputs("\r\033[K", stderr);
  shown_ = -1;
}

CLI::Option* add_integer(CLI::App& app, const std::string& flag, int64_t& field, int64_t low, int64_t high,
                         const std::string& help) {
  const std::string fallback = std::to_string(field);
  return app
      .add_option_function<std::string>(
          flag,
          [&field, flag, low, high, fallback](const std::string& text) {
            int64_t value = 0;
            if (!parse_int(text, value) || value < low || value > high) {
              throw_usage(flag.substr(2) + " is '" + printable(text) + "'; it must be an integer " +
                          (high == INT64_MAX ? ">= " + std::to_string(low)
                                             : "between " + std::to_string(low) + " and " + std::to_string(high)) +
                          " (default " + fallback + ")");
            }
            field = value;
          },
          help + " (default " + fallback + ")")
      ->type_name("N");
}

CLI::Option* add_real(CLI::App& app, const std::string& flag, double& field, double low, double high,
                      const std::string& help) {
  const std::string fallback = number_text(field);
  return app
      .add_option_function<std::string>(
          flag,
          [&field, flag, low, high, fallback](const std::string& text) {
            double value = 0;
            if (!parse_double(text, value) || !(value >= low && value <= high)) {
              throw_usage(flag.substr(2) + " is '" + printable(text) + "'; it must be a number between " +
                          number_text(low) + " and " + number_text(high) + " (default " + fallback + ")");
            }
            field = value;
          },
          help + " (default " + fallback + ")")
      ->type_name("X");
}

CLI::Option* add_seed(CLI::App& app, uint64_t& seed, const std::string& help) {
  const std::string fallback = " (default " + std::to_string(seed) + ")";
  return app
      .add_option_function<std::string>(
          "--seed",
          [&seed, fallback](const std::string& text) {
            int64_t small = 0;
            const char* end = text.data() + text.size();
            if (parse_int(text, small) && small >= 0) {  // "-0" too, as of all numbers
              seed = static_cast<uint64_t>(small);
            } else if (const auto [stop, error] = std::from_chars(text.data(), end, seed);
                       error != std::errc() || stop != end || text.empty()) {
              throw_usage("seed is '" + printable(text) + "'; it must be an integer >= 0" + fallback);
            }
          },
          help + fallback)
      ->type_name("N");
}

CLI::Option* offer(CLI::App& verb, CLI::Option* option, FlagWords choices) {
  dynamic_cast<VerbApp&>(verb).words[option] = std::move(choices);
  return option;
}

CLI::Option* add_list(CLI::App& app, const std::string& flags, std::string& text, const std::string& help) {
  return app
      .add_option_function<std::vector<std::string>>(
          flags, [&text](const std::vector<std::string>& parts) { text = join(parts, ","); }, help)
      ->type_name("LIST")
      ->allow_extra_args(false);
}

FlagWords method_words() {
  FlagWords choices{{"all"}, true};
  for (const Method& m : methods()) choices.words.push_back(m.id);
  return choices;
}

CLI::Option* add_choice(CLI::App& app, const std::string& flag, std::string& field,
                        const std::vector<std::string>& choices, const std::string& help) {
  CLI::Option* const option = app.add_option_function<std::string>(
      flag,
      [&field, flag, choices](const std::string& text) {
        if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
          throw_usage(flag.substr(2) + " is '" + printable(text) + "'; one of " + join(choices, ", ") +
                      " was expected" + did_you_mean(text, choices));
        }
        field = text;
      },
      help + ": " + join(choices, ", ") + (field.empty() ? "" : " (default " + field + ")"));
  return offer(app, option->type_name("NAME"), {choices});
}

void add_model_flags(CLI::App& app, ModelOptions& model) {
  app.add_option("--card", model.card, "Model card (JSON); by default NAME.json beside NAME.onnx")
      ->type_name("FILE")
      ->group("Model");
  add_choice(app, "--preset", model.preset, card_presets(), "Preprocessing instead of a card")->group("Model");
  app.add_option("--labels", model.labels, "Class names, one per line")->type_name("FILE")->group("Model");
  app.add_option_function<std::string>(
         "--size",
         [&model](const std::string& text) {
           const size_t x = text.find('x');
           int64_t width = 0, height = 0;
           const bool ok = x == std::string::npos
                               ? parse_int(text, width) && ((height = width), true)
                               : parse_int(text.substr(0, x), width) && parse_int(text.substr(x + 1), height);
           if (!ok || width < 1 || height < 1 || width > 16384 || height > 16384) {
             throw_usage("size is '" + printable(text) + "'; SIDE or WIDTHxHEIGHT in pixels (1 to 16384) was expected");
           }
           model.width = width;
           model.height = height;
         },
         "Input size, where the model leaves it open: SIDE or WIDTHxHEIGHT")
      ->type_name("PX")
      ->group("Model");
  offer(
      app,
      app.add_option("--device", model.device, "cpu, cuda or cuda:N (default cpu)")->type_name("NAME")->group("Model"),
      {{"cpu", "cuda"}});
  CLI::Option* const precision = app.add_option_function<std::string>(
      "--precision",
      [&model](const std::string& text) {
        if (text == "float32")
          model.precision = Precision::kFloat32;
        else if (text == "float64")
          model.precision = Precision::kFloat64;
        else if (text == "bf16")
          model.precision = Precision::kBFloat16;
        else
          throw_usage("precision is '" + printable(text) + "'; one of float32, float64, bf16 was expected");
      },
      std::string("float32, float64 or bf16 (default ") +
          (model.precision == Precision::kFloat64 ? "float64)" : "float32)"));
  offer(app, precision->type_name("NAME")->group("Model"), {{"float32", "float64", "bf16"}});
}

void add_run_flags(CLI::App& app, RunOptions& run) {
  add_integer(app, "--batch-size", run.batch_size, 1, 65536, "Most pictures per pass")->group("Running");
  add_seed(app, run.seed, "Of everything random")->group("Running");
  add_integer(app, "--max-pixels", run.image_limits.max_pixels, 1, int64_t{1} << 32, "Largest picture accepted")
      ->group("Running");
  add_integer(app, "--every", run.every, 1, int64_t{1} << 40, "Of a video, take every Nth frame")->group("Running");
  add_integer(app, "--max-frames", run.max_frames, 0, int64_t{1} << 40, "Most frames of one video; 0 takes all")
      ->group("Running");
}

int run_program(int argc, char** argv) {
  GlobalOptions global;
  hold_standard_streams();
  try {
    CLI::App app{
        "Pellucid shows what a convolutional network has learned and why it answered as it did, from its ONNX file.",
        "pellucid"};
    app.set_version_flag("--version", std::string("pellucid ") + PELLUCID_VERSION);
    app.require_subcommand(1);
    app.failure_message([](const CLI::App*, const CLI::Error&) { return std::string(); });
    app.get_formatter()->column_width(34);
    std::vector<std::pair<CLI::App*, std::function<int(TerminalProgress&)>>> runners;
    for (const Verb& verb : verbs()) {
      CLI::App* sub = app.add_subcommand(std::make_shared<VerbApp>(verb.summary, verb.name));
      sub->formatter(std::make_shared<WrappedHelp>());
      sub->get_formatter()->column_width(34);
      sub->set_version_flag("--version", std::string("pellucid ") + PELLUCID_VERSION);
      auto runner = verb.setup(*sub, global);
      sub->add_flag("--json", global.json, "Print the result as JSON on stdout")->group("Running");
      sub->add_flag("-q,--quiet", global.quiet, "No progress bar and no notes")->group("Running");
      add_integer(*sub, "--threads", global.threads, 0, 4096, "Threads to compute with; 0 takes all cores")
          ->group("Running");
      add_integer(*sub, "--max-memory", global.max_memory_mb, 0, int64_t{1} << 40,
                  "Most MiB of tensors; 0 takes nine tenths of the machine's memory")
          ->group("Running");
      add_real(*sub, "--timeout", global.timeout_s, 0, 1e9, "Seconds after which the run is stopped; 0 never")
          ->group("Running");
      runners.emplace_back(sub, std::move(runner));
    }
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      const auto chosen = app.get_subcommands();
      std::cout << (chosen.empty() ? app.help() : chosen.front()->help("pellucid"));
      return 0;
    } catch (const CLI::CallForVersion&) {
      std::cout << "pellucid " << PELLUCID_VERSION << "\n";
      return 0;
    } catch (const CLI::ParseError& e) {
      if (argc < 2) {
        std::cerr << app.help();
        return static_cast<int>(ErrorKind::kUsage);
      }
      throw_usage(parse_problem(app, e, std::vector<std::string>(argv + 1, argv + argc)));
    }
    set_num_threads(static_cast<int>(global.threads));
    keep_freed_memory();
    set_memory_limit(global.max_memory_mb > 0 ? global.max_memory_mb << 20 : default_memory_limit());
    TerminalProgress progress(global.quiet);
    if (global.timeout_s > 0) {
      progress.set_deadline(std::chrono::steady_clock::now() +
                            std::chrono::microseconds(static_cast<int64_t>(std::min(global.timeout_s, 1e8) * 1e6)));
    }
    for (const auto& [sub, runner] : runners) {
      if (!sub->parsed()) continue;
      if (const CLI::Option* output = sub->get_option_no_throw("--output"); output && output->count() > 0) {
        if (output->results().front().empty()) {
          throw_usage(std::string(sub->get_name()) + ": --output is empty; a name was expected");
        }
      }
      const int status = runner(progress);
      progress.clear();
      std::cout.flush();
      if (!std::cout) throw_failed("stdout: cannot be written");
      return status;
    }
    return 0;
  } catch (const Error& e) {
    std::cerr << "pellucid: " << e.what() << "\n";
    return e.exit_status();
  } catch (const std::bad_alloc&) {
    std::cerr << "pellucid: out of memory\n";
    return static_cast<int>(ErrorKind::kFailed);
  } catch (const std::exception& e) {
    const std::string what = e.what();
    std::cerr << "pellucid: unexpected failure: " << printable(what.substr(0, what.find('\n')), 400) << "\n";
    return static_cast<int>(ErrorKind::kFailed);
  }
}

}  // namespace pellucid
