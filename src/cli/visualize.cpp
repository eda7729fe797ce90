#include "cli/make_flags.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_visualize(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<VisualizeRequest>();
  request->make.output = "pictures";
  app.add_option("model", request->make.model.path, "ONNX file")->required()->type_name("MODEL");
  app.add_option(
         "-t,--target", request->targets,
         "A class by index or label, 'A vs B', probability:CLASS, channel:LAYER:K, unit:LAYER:K,Y,X; repeat for "
         "several")
      ->type_name("TARGET")
      ->allow_extra_args(false)
      ->group("What to make large");
  app.add_option("-l,--layer", request->layer, "A layer: name, unique suffix, glob or #index")
      ->type_name("NAME")
      ->group("What to make large");
  app.add_option("-c,--channels,--channel", request->channels, "Its channels: 12, 3,17, 0-7 or all")
      ->type_name("LIST")
      ->group("What to make large");
  app.add_option("--direction", request->direction,
                 "A .npy file of a direction in the layer, or of several as rows, instead of channels")
      ->type_name("FILE")
      ->group("What to make large");
  app.add_flag("--negative", request->negative, "After each also what makes it smallest")->group("What to make large");
  app.add_flag("--neuron", request->neuron, "The middle position of a channel instead of the mean of all")
      ->group("What to make large");
  app.add_flag("--ladder", request->ladder, "With every recipe, from no prior to the strongest, on one sheet")
      ->group("How");
  app.add_option("--generator", request->generator, "The generator whose code the recipes dgn-am and ppgn look for")
      ->type_name("FILE")
      ->group("How");
  add_integer(app, "--count", request->count, 1, 1000, "Pictures of each, from different seeds")->group("How");
  add_integer(app, "--interpolate", request->interpolate, 0, 64, "So many pictures from the first of two to the second")
      ->group("How");
  add_integer(app, "--diversity", request->diversity, 1, 64, "So many pictures of each, unlike one another")
      ->group("How");
  app.add_option("--diversity-layer", request->diversity_layer, "Where they are to be unlike (default auto)")
      ->type_name("NAME")
      ->group("How");
  add_real(app, "--diversity-weight", request->diversity_weight, 0, 1e9,
           "How much that counts; 0: a fifth of the objective, measured by a short run without")
      ->group("How");
  add_integer(app, "--batch", request->batch, 0, 256, "Pictures optimized together; 0 chooses")->group("How");
  add_make_flags(app, request->make, "visualize");
  return [request, &global](TerminalProgress& progress) {
    const MakeResult result = visualize(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
