#include "cli/make_flags.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_attack(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<AttackRequest>();
  request->make.output = "pictures";
  add_pictures(app, request->make, request->inputs);
  app.add_option("-t,--target", request->target, "The class to reach (default: any but the network's own answer)")
      ->type_name("CLASS");
  add_real(app, "--epsilon", request->epsilon, -1, 1e6,
           "Largest change in 255ths: of a value, or for L2 of the norm; -1 takes the recipe's");
  add_make_flags(app, request->make, "attack");
  return [request, &global](TerminalProgress& progress) {
    const MakeResult result = attack(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
