#include "pellucid/evaluate.h"

#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

using TextRows = std::vector<std::vector<std::string>>;

/// Columns as rows; a row that is shorter ends in empty cells.
TextRows transposed(const TextRows& rows, size_t columns) {
  TextRows turned(columns, std::vector<std::string>(rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < std::min(columns, rows[i].size()); ++j) turned[j][i] = rows[i][j];
  }
  return turned;
}

}  // namespace

std::function<int(TerminalProgress&)> setup_evaluate(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<EvaluateRequest>();
  request->output = "evaluation";
  auto rest = std::make_shared<std::vector<std::string>>();
  std::vector<std::string> suites;
  std::string about;
  for (const EvaluationSuite& suite : evaluation_suites()) {
    suites.push_back(suite.name);
    about += "\n  " + suite.name + ": " + suite.summary;
  }
  app.footer("Suites:" + about);
  std::vector<std::string> metric_ids;
  for (const Metric& metric : metrics()) metric_ids.push_back(metric.id);
  app.add_option("inputs", *rest, "An ONNX file and pictures of your own; with --suite, an ONNX file or nothing")
      ->type_name("[MODEL IMAGE...]");
  add_choice(app, "--suite", request->suite, suites, "Generated pictures whose truth is known by construction")
      ->group("What to judge");
  offer(app,
        add_list(app, "-m,--method,--methods", request->methods, "Methods with parameters, separated by commas, or all")
            ->group("What to judge"),
        method_words());
  offer(app,
        add_list(app, "--metrics", request->metrics,
                 "Metrics with parameters, separated by commas, or all ('pellucid metrics' lists them)")
            ->group("What to judge"),
        {metric_ids, true});
  app.add_option("--truth", request->truth,
                 "What is known about your pictures: folder of masks (PNG of the same stem), COCO JSON, or folder of "
                 "Pascal VOC XML")
      ->type_name("PATH")
      ->group("What to judge");
  app.add_option("-t,--target", request->target,
                 "For your pictures: truth (the annotated class), top1, a class index or label, ... (default truth)")
      ->type_name("TARGET")
      ->group("What to judge");
  app.add_option("-l,--layer", request->layers, "Layer for class activation maps; several are fused")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group("What to judge");
  app.add_option("--label-randomized", request->label_randomized,
                 "The same network trained on shuffled labels, for the metric label-randomization")
      ->type_name("FILE")
      ->group("What to judge");
  app.add_flag("--keep-wrong", request->keep_wrong, "Also judge pictures that the network gets wrong")
      ->group("What to judge");
  add_integer(app, "--pictures-per-class", request->pictures_per_class, 1, 100000,
              "Generated pictures of each class and seed")
      ->group("Generated pictures");
  add_integer(app, "--seeds", request->seeds, 1, 1000, "Draws of them; the table has mean +- sd over these")
      ->group("Generated pictures");
  app.add_option("--models", request->models_folder, "Folder with the shipped networks")
      ->type_name("DIR")
      ->group("Generated pictures");
  app.add_option("-o,--output", request->output, "Folder for the results (default evaluation)")
      ->type_name("DIR")
      ->group("Output");
  app.add_flag_callback(
         "--no-report", [request] { request->report = false; }, "Write no report.html")
      ->group("Output");
  add_model_flags(app, request->model);
  add_run_flags(app, request->run);
  return [request, rest, &global](TerminalProgress& progress) {
    if (!rest->empty()) {
      request->model.path = rest->front();
      request->run.inputs.assign(rest->begin() + 1, rest->end());
    } else if (request->suite.empty()) {
      throw_usage("evaluate: a model with pictures, or --suite NAME, is needed");
    }
    const EvaluateResult result = evaluate(*request, &progress);
    progress.clear();
    for (const std::string& error : result.errors) std::cerr << "pellucid: " << error << "\n";
    const int status = result.num_failed ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
    if (global.json) {
      std::cout << result.json << "\n";
      return status;
    }
    if (!global.quiet) {
      for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
    }
    for (const EvaluatedSet& set : result.sets) {
      constexpr size_t kMostNotes = 5;
      for (size_t i = 0; i < std::min(kMostNotes, set.notes.size()) && !global.quiet; ++i) {
        std::cout << "note: " << printable(set.notes[i], 400) << "\n";
      }
      if (set.notes.size() > kMostNotes && !global.quiet) {
        std::cout << "note: and " << set.notes.size() - kMostNotes << " more, in result.json\n";
      }
      std::cout << set.name << ": " << set.pictures.size() << " pictures";
      if (set.num_wrong > 0) std::cout << " (" << set.num_wrong << " more answered wrongly, left out)";
      std::cout << "; + higher is better, - lower is better\n";
      std::vector<std::string> header;
      auto rows = evaluation_table(set, header);
      // Many scores of few methods are read downwards.
      constexpr size_t kMostColumns = 9;
      if (header.size() > kMostColumns && header.size() > rows.size() + 1) {
        rows.insert(rows.begin(), header);
        rows = transposed(rows, header.size());
        header = rows.front();
        rows.erase(rows.begin());
      }
      std::cout << text_table(header, rows);
      for (const EvaluatedMethod& method : set.methods) {
        if (!method.left_out.empty())
          std::cout << "note: " << method.method << " left out: " << method.left_out << "\n";
      }
    }
    if (!request->output.empty()) {
      std::cout << "written to " << printable(request->output) << "/"
                << (result.report_file.empty() ? result.result_file : result.report_file) << "\n";
    }
    return status;
  };
}

}  // namespace pellucid
