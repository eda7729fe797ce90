#include "cli/make_flags.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_dream(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<DreamRequest>();
  request->make.output = "pictures";
  add_pictures(app, request->make, request->inputs);
  app.add_option("-l,--layer", request->layer, "The layer")->required()->type_name("NAME");
  add_integer(app, "--channel", request->channel, -1, 1'000'000, "One channel of it; -1: all");
  app.add_option("--guide", request->guide, "A picture whose features are to be dreamt of")->type_name("IMAGE");
  add_integer(app, "--zoom-frames", request->zoom_frames, 0, 100'000,
              "Frames of a film that goes into the dream, also as single pictures; 0: none");
  add_real(app, "--zoom", request->zoom, 1, 4, "How much each frame enlarges the one before");
  add_make_flags(app, request->make, "dream");
  return [request, &global](TerminalProgress& progress) {
    const MakeResult result = dream(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
