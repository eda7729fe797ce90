#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/ground_truth.h"
#include "pellucid/text.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_dataset(CLI::App& app, GlobalOptions&) {
  struct Options {
    std::string name, variant = "single-6c", without;
    int64_t size = 128, per_class = 100;
    DatasetRequest request;
  };
  auto o = std::make_shared<Options>();
  std::string sets;
  for (const GroundTruthSet& set : ground_truth_sets())
    sets += (sets.empty() ? "" : "; ") + set.name + ": " + set.summary;
  app.add_option("name", o->name, sets)->required()->type_name("NAME");
  add_choice(app, "--variant", o->variant, {"single-6c", "double-12c"}, "With the name an8flower: which one");
  add_integer(app, "--per-class", o->per_class, 1, 1000000, "Pictures of each class");
  add_integer(app, "--size", o->size, 16, 1024, "Side in pixels");
  add_seed(app, o->request.seed, "The same seed gives the same bytes");
  app.add_option("--without", o->without, "Parts to leave out, separated by commas; all else stays")->type_name("LIST");
  app.add_flag("--swap-watermark", o->request.swap_shortcut, "In shortcut: the watermark of the next class");
  app.add_option("-o,--output", o->request.output, "Folder")->required()->type_name("DIR");
  return [o](TerminalProgress& progress) {
    DatasetRequest& request = o->request;
    request.name =
        o->name == "an8flower" ? (o->variant == "double-12c" ? "an8flower-double" : "an8flower-single") : o->name;
    request.per_class = o->per_class;
    request.size = static_cast<int>(o->size);
    if (!o->without.empty()) {
      for (const std::string& part : split(o->without, ',')) request.removed_parts.insert(trim(part));
    }
    const int64_t count = write_dataset(request, &progress);
    progress.clear();
    std::cout << count << " pictures with masks and part maps in " << printable(request.output) << "\n";
    return 0;
  };
}

}  // namespace pellucid
