#include <cmath>
#include <iostream>
#include <map>
#include <set>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

Rect parse_box(const std::string& text) {
  std::vector<int> numbers;
  for (const std::string& part : split(text, ',')) {
    int64_t n = 0;
    if (!parse_int(trim(part), n) || n < 0 || n > 1'000'000) break;
    numbers.push_back(static_cast<int>(n));
  }
  if (numbers.size() != 4 || split(text, ',').size() != 4 || numbers[2] < 1 || numbers[3] < 1) {
    throw_usage("box is '" + printable(text) + "'; X,Y,WIDTH,HEIGHT in pixels of the picture was expected");
  }
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

/// For each parameter's flag, what it means, accepts and is by default; methods that agree share a paragraph.
std::map<std::string, std::string> parameter_help() {
  std::map<std::string, std::vector<std::pair<std::string, std::vector<std::string>>>> uses;
  const auto add = [&](const std::string& method, const std::vector<ParamSpec>& specs) {
    for (const ParamSpec& spec : specs) {
      const std::string text = spec.help + " It is " + spec.accepts + " (default " +
                               (spec.default_value.empty() ? "none" : spec.default_value) + ").";
      auto& variants = uses[spec.name];
      auto found = std::find_if(variants.begin(), variants.end(), [&](const auto& v) { return v.first == text; });
      if (found == variants.end()) found = variants.insert(variants.end(), {text, {}});
      found->second.push_back(method);
    }
  };
  for (const Method& m : methods()) add(m.id, m.params);
  add("smooth(METHOD)", smooth_params());
  std::map<std::string, std::string> help;
  for (const auto& [name, variants] : uses) {
    for (const auto& [text, ids] : variants) {
      help[name] += (help[name].empty() ? "" : "\n") + text + " [" + join(ids, ", ") + "]";
    }
  }
  return help;
}

/// The part of a method's text before its parameters; "smooth(METHOD:...)" keeps its brackets.
std::string id_of(const std::string& method) {
  const size_t bracket = method.rfind(')');
  const size_t colon = method.find(':', bracket == std::string::npos ? 0 : bracket);
  return method.substr(0, colon);
}

}  // namespace

std::function<int(TerminalProgress&)> setup_explain(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<ExplainRequest>();
  request->output = "explanations";
  auto extra = std::make_shared<ParamMap>();
  app.add_option("model", request->model.path, "ONNX file")->required()->type_name("MODEL");
  app.add_option("inputs", request->run.inputs,
                 "Pictures, videos, folders, globs, or .npy arrays that are already preprocessed")
      ->required()
      ->type_name("IMAGE...");
  offer(app,
        add_list(app, "-m,--method", request->methods,
                 "Methods with parameters, separated by commas: grad-cam,integrated-gradients:steps=100; or all "
                 "(default grad-cam)")
            ->group("What to explain"),
        method_words());
  app.add_option("-l,--layer", request->layers,
                 "Layer for class activation maps: name, unique suffix, glob, #index, auto, last-conv, first-conv; "
                 "several are fused")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group("What to explain");
  app.add_option(
         "-t,--target", request->targets,
         "top1, a class index or label, 'A vs B', mean:CLASS (its logit less the mean of all), probability:CLASS, "
         "'CLASS in X,Y,W,H' (on a dense output, a box in "
         "pixels of the model's input), channel:LAYER:K, unit:LAYER:K,Y,X, element:OUTPUT:I,J, similarity; repeat for "
         "several (default top1)")
      ->type_name("TARGET")
      ->allow_extra_args(false)
      ->group("What to explain");
  app.add_option("--mask", request->mask,
                 "What the maps should find, as a picture, a folder of pictures, a COCO file or a folder of Pascal VOC "
                 "annotations: scores are added; on a dense output also the area a class is summed over")
      ->type_name("PATH")
      ->group("What to explain");
  app.add_option_function<std::string>(
         "--box", [request](const std::string& text) { request->box = parse_box(text); },
         "The same as a rectangle in pixels of the picture: X,Y,WIDTH,HEIGHT")
      ->type_name("X,Y,W,H")
      ->group("What to explain");
  app.add_option("--regions", request->regions,
                 "Label picture, or folder of them: each color is a feature for methods that perturb regions")
      ->type_name("PATH")
      ->group("What to explain");
  app.add_option("--background", request->background,
                 "Folder of pictures to compare with, for methods that average over baselines")
      ->type_name("DIR")
      ->group("What to explain");
  add_integer(app, "--background-count", request->background_count, 1, 100000, "Most pictures taken from it")
      ->group("What to explain");
  app.add_option("--reference", request->reference, "Picture that the target 'similarity' compares with")
      ->type_name("FILE")
      ->group("What to explain");
  app.add_option("-o,--output", request->output, "Folder for the results (default explanations)")
      ->type_name("DIR")
      ->group("Output");
  auto segment = std::make_shared<std::string>();
  add_choice(app, "--segment", *segment, {"grabcut", "box"},
             "Also make a region of each map: the object by graph cut, with mask and cutout, or the box around the "
             "largest component")
      ->group("Output");
  add_real(app, "--box-threshold", request->box_threshold, 0, 1,
           "For --segment box, the share of the maximum; 0 takes the papers': 0.2 for cam, 0.15 for others")
      ->group("Output");
  app.add_flag("--video", request->video, "Of a video's frames, also write the overlays as an .avi")->group("Output");
  app.add_flag("--report", request->report, "Also write report.html, one page with all pictures")->group("Output");
  std::vector<std::string> maps;
  for (const ColorMap& m : color_maps()) maps.emplace_back(m.name);
  add_choice(app, "--colormap", request->color_map, maps, "Colors (default turbo, coolwarm for signed maps)")
      ->group("Output");
  add_choice(app, "--normalization", request->normalization, {"max", "min-max", "symmetric", "percentile", "none"},
             "How numbers become colors (default max, percentile for gradient maps)")
      ->group("Output");
  add_real(app, "--heatmap-opacity", request->opacity, 0, 1, "Weight of the colors over the photo")->group("Output");
  app.add_flag_callback(
         "--shared-scale", [request] { request->shared_scale = true; },
         "Draw a method's maps for several targets on one color scale")
      ->group("Output");
  app.add_flag_callback(
         "--no-arrays", [request] { request->write_arrays = false; }, "Write no .npy files")
      ->group("Output");
  // Parameters of methods as flags of their own: --steps 100 reaches every chosen method that has `steps`.
  const std::map<std::string, std::string> help = parameter_help();
  for (const auto& [name, text] : help) {
    std::string flag = name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    app.add_option_function<std::string>(
           "--" + flag, [extra, name = name](const std::string& value) { (*extra)[name] = value; }, text)
        ->type_name("VALUE")
        ->group("Parameters of methods");
  }
  add_model_flags(app, request->model);
  add_run_flags(app, request->run);
  return [request, extra, segment, &global](TerminalProgress& progress) {
    request->segment = *segment == "grabcut" ? SegmentMode::kGrabCut
                       : *segment == "box"   ? SegmentMode::kBox
                                             : SegmentMode::kNone;
    if (request->box_threshold > 0 && request->segment != SegmentMode::kBox) {
      throw_usage("box-threshold needs --segment box");
    }
    if (!extra->empty()) {
      std::string text;
      ParamMap unused = *extra;
      for (MethodCall call : parse_methods(request->methods)) {
        for (const auto& [name, value] : *extra) {
          for (const ParamSpec& spec : call.method->params) {
            if (spec.name != name) continue;
            call.params.emplace(name, value);
            unused.erase(name);
          }
        }
        call.method->complete(call.params);  // before the text below, in which a comma would begin another parameter
        text += (text.empty() ? "" : ",") + call.text();
      }
      if (!unused.empty()) throw_usage("none of the chosen methods takes --" + unused.begin()->first);
      request->methods = text;
    }
    const ExplainResult result = explain(*request, &progress);
    progress.clear();
    for (const ExplainedPicture& p : result.pictures) {
      if (!p.error.empty()) std::cerr << "pellucid: " << p.error << "\n";
    }
    if (global.json) {
      std::cout << result.json << "\n";
      return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
    }
    if (!global.quiet) {
      for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
    }
    for (const ExplainedPicture& p : result.pictures) {
      if (!p.error.empty()) continue;
      std::cout << printable(p.path);
      if (!p.classes.empty()) {
        std::cout << ": " << p.classes[0].index << " " << printable(p.classes[0].label) << " "
                  << std::round(p.classes[0].probability * 1000) / 10 << " %";
      }
      std::cout << "\n";
      if (!global.quiet) {
        for (const std::string& note : p.notes) std::cout << "  note: " << printable(note, 400) << "\n";
      }
      std::vector<std::vector<std::string>> rows;
      bool scored = false;
      std::map<std::string, std::set<std::string>> calls;  // by method id
      for (const ExplainedMap& m : p.maps) {
        scored = scored || m.localization;
        calls[id_of(m.method)].insert(m.method);
      }
      for (const ExplainedMap& m : p.maps) {
        // Parameters are in result.json; here only where they tell two maps apart.
        const bool alone = calls[id_of(m.method)].size() == 1;
        std::vector<std::string> row{"  " + (alone ? id_of(m.method) : m.method), printable(m.target, 30),
                                     number_text(std::round(m.score * 1000) / 1000),
                                     number_text(std::round(m.milliseconds * 10) / 10)};
        if (scored) {
          const auto& l = m.localization;
          row.push_back(l ? number_text(std::round(l->at("iou_best") * 1000) / 1000) : "");
          row.push_back(l ? number_text(std::round(l->at("mass") * 1000) / 1000) : "");
          row.push_back(l ? (l->at("hit") > 0 ? "yes" : "no") : "");
        }
        row.push_back(m.overlay_file + (m.notes.empty() ? "" : "  (" + m.notes.front() + ")"));
        rows.push_back(std::move(row));
      }
      std::vector<std::string> header{"  method", "target", "score", "ms"};
      if (scored) header.insert(header.end(), {"best IoU", "mass", "hit"});
      header.emplace_back("picture");
      std::cout << text_table(header, rows, terminal_width());
    }
    std::cout << "written to " << printable(request->output) << "/"
              << (request->report ? result.report_file : result.result_file) << "\n";
    return result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
  };
}

}  // namespace pellucid
