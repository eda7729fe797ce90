#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_dataset(CLI::App& app, GlobalOptions&) {
  struct Options {
    std::string kind, variant = "single-6c", output;
    int64_t seed = 1, size = 128, per_class = 100;
  };
  auto o = std::make_shared<Options>();
  app.add_option("kind", o->kind, "an8flower: flowers in which the color of one part decides the class")
      ->required()
      ->type_name("KIND");
  add_choice(app, "--variant", o->variant, {"single-6c", "double-12c"},
             "Which part decides: petals, or petals or stem");
  add_integer(app, "--per-class", o->per_class, 1, 1000000, "Pictures of each class");
  add_integer(app, "--size", o->size, 16, 2048, "Side in pixels");
  add_integer(app, "--seed", o->seed, 0, INT64_MAX, "The same seed gives the same bytes");
  app.add_option("-o,--output", o->output, "Folder")->required()->type_name("DIR");
  return [o](TerminalProgress& progress) {
    if (o->kind != "an8flower") throw_usage("dataset: kind is '" + printable(o->kind) + "'; an8flower was expected");
    FlowerRequest request;
    request.variant = flower_variant(o->variant);
    request.per_class = o->per_class;
    request.seed = static_cast<uint64_t>(o->seed);
    request.size = static_cast<int>(o->size);
    request.output = o->output;
    const int64_t count = write_flowers(request, &progress);
    progress.clear();
    std::cout << count << " pictures with masks and part maps in " << printable(o->output) << "\n";
    return 0;
  };
}

}  // namespace pellucid
