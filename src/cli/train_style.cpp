#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/stylize.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"

namespace pellucid {

namespace {

using nlohmann::ordered_json;

std::string rounded(double value) { return number_text(std::round(value * 1e4) / 1e4); }

ordered_json measure_json(const StyleMeasure& measure) {
  return {{"style", measure.style}, {"content", measure.content}};
}

ordered_json result_json(const TrainStyleRequest& request, const TrainStyleResult& result) {
  ordered_json json{{"output", request.output},
                    {"parameters", result.parameters},
                    {"milliseconds", result.milliseconds},
                    {"resumed_after", result.resumed_after}};
  if (request.kind == TrainStyleRequest::Kind::kArbitrary) json["reconstruction_psnr"] = result.reconstruction_psnr;
  for (const TrainedStyle& style : result.styles) {
    ordered_json one{
        {"name", style.name}, {"network", measure_json(style.network)}, {"start", measure_json(style.start)}};
    if (request.compare_steps > 0) one["optimized"] = measure_json(style.optimized);
    json["styles"].push_back(std::move(one));
  }
  return json;
}

void print_result(const TrainStyleRequest& request, const TrainStyleResult& result) {
  for (const TrainedStyle& style : result.styles) {
    std::cout << printable(style.name) << ": style " << rounded(style.network.style) << " (of the contents themselves "
              << rounded(style.start.style) << "), content " << rounded(style.network.content);
    if (request.compare_steps > 0) {
      std::cout << "; by " << request.compare_steps << " steps on the pixels style " << rounded(style.optimized.style)
                << ", content " << rounded(style.optimized.content);
    }
    std::cout << "\n";
  }
  if (request.kind == TrainStyleRequest::Kind::kArbitrary) {
    std::cout << "at alpha 0 " << number_text(std::round(result.reconstruction_psnr * 100) / 100)
              << " dB to the content\n";
  }
  std::cout << number_text(std::round(result.milliseconds)) << " ms for 256x256; " << result.parameters
            << " parameters; written to " << printable(request.output) << "\n";
}

}  // namespace

std::function<int(TerminalProgress&)> setup_train_style(CLI::App& app, GlobalOptions& global) {
  struct Options {
    TrainStyleRequest request;
    std::string kind = "single";
    std::vector<std::string> contents;
  };
  auto o = std::make_shared<Options>();
  TrainStyleRequest& r = o->request;
  add_choice(app, "--kind", o->kind, {"single", "many", "arbitrary"},
             "One style, several in one network, or any picture as the style");
  app.add_option("--style", r.styles,
                 "Picture, folder, glob, or texture:KIND[:NUMBER] as `pellucid dataset textures` draws it; arbitrary "
                 "without any trains on fresh textures")
      ->type_name("NAME");
  app.add_option("--content", o->contents,
                 "Pictures, folders, globs, or generated sets (default an8flower-single, parts, scenes)")
      ->type_name("NAME");
  app.add_option("--network", r.network.path,
                 "The network that measures style, and encoder of arbitrary (default texture_encoder.onnx)")
      ->type_name("FILE");
  app.add_option("--style-layer", r.layers.style, "Its layers for style (default: a ReLU of each of four sizes)")
      ->type_name("NAME");
  app.add_option("--content-layer", r.layers.content,
                 "Its layer for content; of arbitrary always the last --adain-layer")
      ->type_name("NAME");
  app.add_option("--adain-layer", r.adain_layers,
                 "Of arbitrary: its layers that get the style's mean and deviation, from the largest map (default: the "
                 "first ReLU of each of four sizes)")
      ->type_name("NAME");
  add_integer(app, "--steps", r.steps, 1, 10000000, "Steps");
  add_integer(app, "--batch-size", r.batch_size, 1, 256, "Pictures per step");
  add_integer(app, "--size", r.size, 32, 1024, "Side of the content pictures, a multiple of 8");
  add_integer(app, "--style-size", r.style_size, 32, 2048, "Shorter side of the style pictures");
  add_integer(app, "--width", r.width, 1, 256, "Channels at full size, of single and many");
  add_integer(app, "--blocks", r.blocks, 0, 64, "Residual blocks, of single and many");
  add_real(app, "--learning-rate", r.learning_rate, 1e-7, 1, "Of Adam; the last third goes down to zero");
  add_real(app, "--style-weight", r.style_weight, 0, 1e9, "Of the relative style loss");
  add_real(app, "--content-weight", r.content_weight, 0, 1e9, "Of the relative content loss");
  add_real(app, "--reconstruction-weight", r.reconstruction_weight, 0, 1e9,
           "Of arbitrary: squared error of pixels where content and style are one picture");
  add_integer(app, "--test-pictures", r.test_pictures, 1, 10000, "Contents, never trained on, to measure with");
  add_integer(app, "--compare", r.compare_steps, 0, 100000,
              "Steps of optimizing pixels against the same loss, to compare with; 0 does not");
  add_seed(app, r.seed, "Of weights and pictures");
  app.add_option("-o,--output", r.output, "The .onnx file; a card is written beside it")->required()->type_name("FILE");
  return [o, &global](TerminalProgress& progress) {
    TrainStyleRequest& request = o->request;
    request.kind = o->kind == "single" ? TrainStyleRequest::Kind::kSingle
                   : o->kind == "many" ? TrainStyleRequest::Kind::kMany
                                       : TrainStyleRequest::Kind::kArbitrary;
    if (!o->contents.empty()) request.contents = o->contents;
    const auto report = [&](const StyleTrainingReport& now) {
      progress.clear();
      if (global.json || global.quiet) return;
      std::cout << "step " << now.step << " of " << now.steps << ": style " << rounded(now.style) << ", content "
                << rounded(now.content);
      if (request.kind == TrainStyleRequest::Kind::kArbitrary) {
        std::cout << ", reconstruction " << rounded(now.reconstruction);
      }
      std::cout << ", " << std::lround(now.seconds) << " s" << std::endl;
    };
    const TrainStyleResult result = train_style(request, report, &progress);
    progress.clear();
    if (global.json) {
      std::cout << json_text(result_json(request, result)) << "\n";
    } else {
      print_result(request, result);
    }
    return 0;
  };
}

}  // namespace pellucid
