#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/image.h"
#include "pellucid/metrics.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// Verbs and their long flags, from the same table that parses them.
std::vector<std::pair<std::string, std::vector<std::string>>> verb_flags(const CLI::App& root) {
  std::vector<std::pair<std::string, std::vector<std::string>>> list;
  for (const CLI::App* sub : root.get_subcommands([](const CLI::App*) { return true; })) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : sub->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    list.emplace_back(sub->get_name(), std::move(flags));
  }
  return list;
}

/// Flags whose value is a word of a list.
struct WordFlags {
  std::vector<std::string> flags;
  std::vector<std::string> words;
  bool joined = false;  ///< Several, separated by commas.
};

template <class List, class Name>
std::vector<std::string> names_of(const List& list, Name name) {
  std::vector<std::string> names;
  for (const auto& entry : list) names.emplace_back(entry.*name);
  return names;
}

std::vector<WordFlags> word_flags() {
  std::vector<std::string> ids = names_of(methods(), &Method::id);
  ids.insert(ids.begin(), "all");
  return {{{"-m", "--method", "--methods"}, ids, true},
          {{"--metrics"}, names_of(metrics(), &Metric::id), true},
          {{"--preset"}, card_presets()},
          {{"--colormap"}, names_of(color_maps(), &ColorMap::name)}};
}

}  // namespace

std::function<int(TerminalProgress&)> setup_completion(CLI::App& app, GlobalOptions&) {
  auto shell = std::make_shared<std::string>("bash");
  app.add_option("shell", *shell, "bash, zsh or fish (default bash)")->type_name("SHELL");
  return [shell, &app](TerminalProgress&) {
    const auto list = verb_flags(*app.get_parent());
    std::vector<std::string> names, ids;
    for (const auto& entry : list) names.push_back(entry.first);
    for (const Method& m : methods()) ids.push_back(m.id);
    const std::vector<std::string> metric_ids = names_of(metrics(), &Metric::id);
    if (*shell == "bash" || *shell == "zsh") {
      if (*shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n";
      std::cout << "_pellucid() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                   "  if [ $COMP_CWORD -eq 1 ]; then COMPREPLY=($(compgen -W \""
                << join(names, " ")
                << "\" -- \"$cur\")); return; fi\n"
                   "  local head=; case $cur in *,*) head=${cur%,*},;; esac\n"
                   "  case $prev in\n";
      for (const WordFlags& f : word_flags()) {
        std::cout << "    " << join(f.flags, "|") << ") COMPREPLY=($(compgen " << (f.joined ? "-P \"$head\" " : "")
                  << "-W \"" << join(f.words, " ") << "\" -- \"" << (f.joined ? "${cur##*,}" : "$cur")
                  << "\")); return;;\n";
      }
      std::cout << "  esac\n  case ${COMP_WORDS[1]} in\n";
      for (const auto& [name, flags] : list) {
        std::cout << "    " << name << ") COMPREPLY=($(compgen -f -W \"" << join(flags, " ")
                  << (name == "methods" ? " " + join(ids, " ") : "")
                  << (name == "metrics" ? " " + join(metric_ids, " ") : "")
                  << (name == "completion" ? " bash zsh fish" : "") << "\" -- \"$cur\"));;\n";
      }
      std::cout << "  esac\n}\ncomplete -o filenames -F _pellucid pellucid\n";
      return 0;
    }
    if (*shell == "fish") {
      std::cout << "complete -c pellucid -n __fish_use_subcommand -f -a \"" << join(names, " ") << "\"\n";
      for (const auto& [name, flags] : list) {
        for (const std::string& flag : flags) {
          std::cout << "complete -c pellucid -n \"__fish_seen_subcommand_from " << name << "\" -l " << flag.substr(2)
                    << "\n";
        }
      }
      for (const WordFlags& f : word_flags()) {
        for (const std::string& flag : f.flags) {
          if (flag.rfind("--", 0) != 0) continue;
          std::cout << "complete -c pellucid -l " << flag.substr(2) << " -x -a \"" << join(f.words, " ") << "\"\n";
        }
      }
      return 0;
    }
    throw_usage("completion: shell is '" + printable(*shell) + "'; bash, zsh or fish was expected");
  };
}

}  // namespace pellucid
