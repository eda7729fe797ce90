#include "cli/make_flags.h"
#include "pellucid/style.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_texture(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<TextureRequest>();
  request->make.output = "pictures";
  const auto sort_arguments = add_texture_pictures(app, request->make, request->inputs);
  add_texture_flags(app, request->terms);
  add_integer(app, "--source-size", request->source_size, 0, 16384,
              "Longer side to which the source is brought; 0: its own, up to 256")
      ->group("How");
  add_integer(app, "--scales", request->scales, 0, 8, "Sizes, each twice the one before; 0: three, from 32 pixels")
      ->group("How");
  add_make_flags(app, request->make, "texture");
  return [request, sort_arguments, &global](TerminalProgress& progress) {
    sort_arguments();
    const MakeResult result = texture(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
