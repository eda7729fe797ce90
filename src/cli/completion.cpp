#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/ground_truth.h"
#include "pellucid/metrics.h"
#include "pellucid/synthesis.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

/// A verb as shells know it.
struct CompletedVerb {
  struct Flag {
    std::vector<std::string> names;  ///< "--method", "-m"
    const FlagWords* choices = nullptr;
  };
  std::string name;
  std::vector<Flag> flags;

  std::vector<std::string> long_names() const {
    std::vector<std::string> list;
    for (const Flag& flag : flags) {
      for (const std::string& n : flag.names) {
        if (n.rfind("--", 0) == 0) list.push_back(n);
      }
    }
    return list;
  }
};

/// From the same table that parses them.
std::vector<CompletedVerb> verbs_of(const CLI::App& root) {
  std::vector<CompletedVerb> list;
  for (const CLI::App* app : root.get_subcommands([](const CLI::App*) { return true; })) {
    const auto& sub = dynamic_cast<const VerbApp&>(*app);
    CompletedVerb verb{sub.get_name(), {}};
    for (const CLI::Option* option : sub.get_options()) {
      CompletedVerb::Flag flag;
      for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
      const auto words = sub.words.find(option);
      if (words != sub.words.end()) flag.choices = &words->second;
      if (!flag.names.empty()) verb.flags.push_back(std::move(flag));
    }
    list.push_back(std::move(verb));
  }
  return list;
}

template <class List, class Name>
std::vector<std::string> names_of(const List& list, Name name) {
  std::vector<std::string> names;
  for (const auto& entry : list) names.emplace_back(entry.*name);
  return names;
}

/// What may stand after the verb itself.
std::string words_after(const std::string& verb) {
  std::vector<std::string> words;
  if (verb == "methods") words = names_of(methods(), &Method::id);
  if (verb == "metrics") words = names_of(metrics(), &Metric::id);
  if (verb == "recipes") {
    for (const NamedRecipe& r : recipes()) words.push_back(r.recipe.name);
  }
  if (verb == "dataset") {
    words = names_of(ground_truth_sets(), &GroundTruthSet::name);
    words.emplace_back("an8flower");  // which of the two is said by --variant
  }
  if (verb == "completion") words = {"bash", "zsh", "fish"};
  return words.empty() ? "" : " " + join(words, " ");
}

}  // namespace

std::function<int(TerminalProgress&)> setup_completion(CLI::App& app, GlobalOptions&) {
  auto shell = std::make_shared<std::string>("bash");
  app.add_option("shell", *shell, "bash, zsh or fish (default bash)")->type_name("SHELL");
  return [shell, &app](TerminalProgress&) {
    const std::vector<CompletedVerb> verbs = verbs_of(*app.get_parent());
    const std::vector<std::string> names = names_of(verbs, &CompletedVerb::name);
    if (*shell == "bash" || *shell == "zsh") {
      if (*shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n";
      std::cout << "_pellucid() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                   "  if [ $COMP_CWORD -eq 1 ]; then COMPREPLY=($(compgen -W \""
                << join(names, " ")
                << "\" -- \"$cur\")); return; fi\n"
                   "  local head=; case $cur in *,*) head=${cur%,*},;; esac\n"
                   "  case ${COMP_WORDS[1]}:$prev in\n";
      for (const CompletedVerb& verb : verbs) {
        for (const CompletedVerb::Flag& flag : verb.flags) {
          if (!flag.choices) continue;
          std::vector<std::string> cases;
          for (const std::string& name : flag.names) cases.push_back(verb.name + ":" + name);
          const bool several = flag.choices->several;
          std::cout << "    " << join(cases, "|") << ") COMPREPLY=($(compgen " << (several ? "-P \"$head\" " : "")
                    << "-W \"" << join(flag.choices->words, " ") << "\" -- \"" << (several ? "${cur##*,}" : "$cur")
                    << "\")); return;;\n";
        }
      }
      std::cout << "  esac\n  case ${COMP_WORDS[1]} in\n";
      for (const CompletedVerb& verb : verbs) {
        std::cout << "    " << verb.name << ") COMPREPLY=($(compgen -f -W \"" << join(verb.long_names(), " ")
                  << words_after(verb.name) << "\" -- \"$cur\"));;\n";
      }
      std::cout << "  esac\n}\ncomplete -o filenames -F _pellucid pellucid\n";
      return 0;
    }
    if (*shell == "fish") {
      std::cout << "complete -c pellucid -n __fish_use_subcommand -f -a \"" << join(names, " ") << "\"\n";
      for (const CompletedVerb& verb : verbs) {
        const std::string seen = "complete -c pellucid -n \"__fish_seen_subcommand_from " + verb.name + "\"";
        if (const std::string words = words_after(verb.name); !words.empty()) {
          std::cout << seen << " -a \"" << words.substr(1) << "\"\n";
        }
        for (const CompletedVerb::Flag& flag : verb.flags) {
          for (const std::string& name : flag.names) {
            if (name.rfind("--", 0) != 0) continue;
            std::cout << seen << " -l " << name.substr(2);
            if (flag.choices) std::cout << " -x -a \"" << join(flag.choices->words, " ") << "\"";
            std::cout << "\n";
          }
        }
      }
      return 0;
    }
    throw_usage("completion: shell is '" + printable(*shell) + "'; bash, zsh or fish was expected");
  };
}

}  // namespace pellucid
