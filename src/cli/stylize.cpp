#include "pellucid/stylize.h"

#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_stylize(CLI::App& app, GlobalOptions& global) {
  struct Options {
    StylizeRequest request;
    int64_t index = -1;
  };
  auto o = std::make_shared<Options>();
  StylizeRequest& r = o->request;
  app.add_option("model", r.model.path, "ONNX file of a network from picture to picture")
      ->required()
      ->type_name("MODEL");
  app.add_option("inputs", r.run.inputs, "Pictures, videos, folders, globs")->required()->type_name("IMAGE...");
  app.add_option("--style", r.styles, "Picture of the style, or texture:KIND[:NUMBER]; several are mixed")
      ->type_name("NAME");
  app.add_option("--style-weight", r.style_weights, "Weight of each style (default: equal)")->type_name("X");
  add_real(app, "--alpha", r.alpha, 0, 1, "How much of the style, where the network has such an input");
  CLI::Option* mix =
      app.add_option("--mix", r.mix, "Styles inside the network, by index or name: 0:0.5,3:0.5")->type_name("LIST");
  add_integer(app, "--style-index", o->index, -1, 1000000, "One of the styles inside the network; -1: see --mix")
      ->excludes(mix);
  app.add_option("--mask", r.masks,
                 "Repaint only where this picture is bright, or one for each style; or a folder with one of each stem")
      ->type_name("PATH");
  app.add_flag("--keep-colors", r.keep_colors, "Only the brightness changes");
  add_integer(app, "--style-size", r.style_size, 32, 4096, "Shorter side that style pictures are brought to");
  add_integer(app, "--tile", r.tile, 128, 16384, "Pictures of more than this squared pixels are made in tiles");
  add_choice(app, "--statistics", r.statistics, {"exact", "reduced"},
             "Of instance normalization over tiles: of the whole picture, or faster of a reduced one");
  add_choice(app, "--range", r.range, {"0..1", "0..255", "-1..1"}, "Of pixels, where the file does not say");
  app.add_flag("--measure", r.measure, "Print how near results are to style and content in a network's features");
  app.add_option("--measure-by", r.measure_by.path, "That network (default texture_encoder.onnx)")->type_name("FILE");
  app.add_option("--measure-style", r.measure_style, "The picture of a style that is inside the network")
      ->type_name("NAME");
  app.add_option("-o,--output", r.output, "Folder for pictures, videos and result.json")->required()->type_name("DIR");
  add_run_flags(app, r.run);
  return [o, &global](TerminalProgress& progress) {
    if (o->index >= 0) o->request.mix = std::to_string(o->index);
    const StylizeResult result = stylize(o->request, &progress);
    progress.clear();
    for (const StylizedPicture& p : result.pictures) {
      if (!p.error.empty()) std::cerr << "pellucid: " << printable(p.error, 400) << "\n";
    }
    if (global.json) {
      std::cout << result.json << "\n";
      return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
    }
    if (!global.quiet) {
      for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
    }
    const auto rounded = [](double value) { return number_text(std::round(value * 1e4) / 1e4); };
    for (const StylizedPicture& p : result.pictures) {
      if (!p.error.empty()) continue;
      std::cout << printable(p.file) << ": " << p.width << "x" << p.height << ", " << std::lround(p.milliseconds)
                << " ms";
      if (p.tiles > 1) std::cout << ", " << p.tiles << " tiles";
      if (o->request.measure) {
        std::cout << ", style " << rounded(p.result.style) << " (before " << rounded(p.original.style) << "), content "
                  << rounded(p.result.content);
      }
      std::cout << "\n";
    }
    for (const std::string& video : result.video_files) std::cout << printable(video) << "\n";
    return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
  };
}

}  // namespace pellucid
