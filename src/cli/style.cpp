#include "pellucid/style.h"

#include "cli/make_flags.h"

namespace pellucid {

namespace {

CLI::Option* add_files(CLI::App& app, const std::string& flag, std::vector<std::string>& files,
                       const std::string& help) {
  return app.add_option(flag, files, help)->type_name("PICTURE")->allow_extra_args(false);
}

}  // namespace

std::function<int(TerminalProgress&)> setup_style(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<StyleRequest>();
  request->make.output = "pictures";
  const auto sort_arguments = add_texture_pictures(app, request->make, request->inputs);
  add_files(app, "--style", request->styles, "A picture in whose style; repeat for several")
      ->required()
      ->group("Styles");
  add_numbers(app, "--style-weight", request->style_weights,
              "Weight of each style, or of all together (default 1; docs/style.md converts others' weights)")
      ->group("Styles");
  add_real(app, "--style-scale", request->style_scale, 0.05, 20, "Longer side of styles relative to the result's")
      ->group("Styles");
  add_files(app, "--content-mask", request->content_masks, "Bright where a style goes; one for each style")
      ->group("Styles");
  add_files(app, "--style-mask", request->style_masks, "Bright where it is taken from; one for each style")
      ->group("Styles");
  add_choice(app, "--color", request->color, {"style", "luminance", "match"},
             "luminance keeps the content's colors; match gives the styles the content's first (default style)")
      ->group("Styles");
  add_real(app, "--content-weight", request->content_weight, 0, 1e12, "Weight of the content")->group("How");
  app.add_option("--content-layer", request->content_layers,
                 "Layers that hold the content (default: the last at an eighth of the resolution, or at twice "
                 "that of the coarsest style layer where that is finer)")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group("How");
  add_texture_flags(app, request->terms);
  add_choice(app, "--start", request->start, {"content", "noise", "style", "histogram"},
             "What to begin with; histogram: the content with the style's colors (default content)")
      ->group("How");
  add_integer(app, "--scales", request->scales, 0, 8,
              "Sizes, each twice the one before; 0: two for results larger than 384 pixels")
      ->group("How");
  add_real(app, "--tv", request->tv, 0, 1e12, "Weight of the total variation")->group("How");
  add_make_flags(app, request->make, "style");
  return [request, sort_arguments, &global](TerminalProgress& progress) {
    sort_arguments();
    const MakeResult result = style(*request, &progress);
    progress.clear();
    return print_made_pictures(result, request->make, global);
  };
}

}  // namespace pellucid
