#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/evaluate.h"
#include "pellucid/text.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_axioms(CLI::App& app, GlobalOptions& global) {
  auto request = std::make_shared<AxiomsRequest>();
  request->model.precision = Precision::kFloat64;  // in less, rounding looks like a broken axiom
  auto only = std::make_shared<std::string>();
  app.add_option("model", request->model.path, "ONNX file")->required()->type_name("MODEL");
  app.add_option("inputs", request->run.inputs, "Pictures to try them on")->required()->type_name("IMAGE...");
  offer(app,
        add_list(app, "-m,--method", request->methods,
                 "Methods with parameters, separated by commas, or all (default " + request->methods + ")"),
        method_words());
  std::vector<std::string> ids;
  std::string about;
  for (const Axiom& axiom : axioms()) {
    ids.push_back(axiom.id);
    about += "\n  " + axiom.id + ": " + axiom.statement;
  }
  app.footer("Axioms:" + about + "\n\n'holds' means that nothing that was tried refutes it.");
  app.add_option("--axioms", *only, "Only these, separated by commas: " + join(ids, ", "))->type_name("LIST");
  app.add_option("-t,--target", request->target, "A class: top1, an index or a label (default top1)")
      ->type_name("TARGET");
  app.add_option("-l,--layer", request->layers, "Layer for class activation maps")
      ->type_name("NAME")
      ->allow_extra_args(false);
  add_model_flags(app, request->model);
  add_run_flags(app, request->run);
  return [request, only, &global](TerminalProgress& progress) {
    if (!only->empty()) {
      for (const std::string& id : split(*only, ',')) request->options.only.push_back(trim(id));
    }
    const AxiomsResult result = try_axioms(*request, &progress);
    progress.clear();
    if (global.json) {
      std::cout << result.json << "\n";
      return 0;
    }
    if (!global.quiet) {
      for (const std::string& note : result.notes) std::cout << "note: " << printable(note, 400) << "\n";
    }
    std::vector<std::vector<std::string>> rows;
    for (const AxiomsOfMethod& method : result.methods) {
      if (!method.left_out.empty()) rows.push_back({method.method, "", "left out", printable(method.left_out, 300)});
      for (const AxiomReport& r : method.reports) {
        rows.push_back({method.method, r.axiom, verdict_text(r.verdict), printable(r.finding, 300)});
      }
    }
    std::cout << text_table({"method", "axiom", "verdict", "finding"}, rows);
    return 0;
  };
}

}  // namespace pellucid
