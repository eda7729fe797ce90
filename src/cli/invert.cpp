#include "cli/make_flags.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_invert(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<InvertRequest>();
  request->make.output = "pictures";
  add_pictures(app, request->make, request->inputs, /*required=*/false);
  app.add_option("-l,--layer", request->layers,
                 "Layers whose activations are matched (also logits); repeat for several")
      ->required()
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_option("--code", request->code, "Instead of pictures: a .npy file with the activations of the layer")
      ->type_name("FILE");
  add_make_flags(app, request->make, "invert");
  return [request, &global](TerminalProgress& progress) {
    const MakeResult result = invert(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
