#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/ground_truth.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"
#include "tasks/training_pictures.h"

namespace pellucid {

std::function<int(TerminalProgress&)> setup_train(CLI::App& app, GlobalOptions& global) {
  struct Options {
    TrainRequest request;
    std::string data, variant = "single-6c", widths;
  };
  auto o = std::make_shared<Options>();
  TrainRequest& r = o->request;
  std::vector<std::string> sets;
  for (const GroundTruthSet& set : ground_truth_sets()) sets.push_back(set.name);
  CLI::Option* data =
      app.add_option("--data", o->data, "Generated sets to learn, joined by commas: " + join(sets, ", "));
  data->type_name("NAME");
  add_choice(app, "--variant", o->variant, {"single-6c", "double-12c"}, "Short for --data an8flower-...")
      ->excludes(data);
  add_integer(app, "--epochs", r.training.epochs, 1, 10000, "Passes");
  add_integer(app, "--pictures-per-class", r.pictures_per_class, 1, 1000000,
              "Fresh training pictures of each class in every epoch");
  app.add_flag("--same-pictures", r.same_pictures, "Every epoch sees the pictures of the first again");
  app.add_flag("--shuffle-labels", r.shuffle_labels,
               "Permute the labels of the training pictures (data-label randomization); implies --same-pictures");
  add_integer(app, "--test-per-class", r.test_per_class, 1, 100000, "Test pictures of each class");
  add_integer(app, "--batch-size", r.training.batch_size, 2, 4096, "Pictures per step");
  add_real(app, "--learning-rate", r.training.learning_rate, 1e-7, 10, "Largest step size");
  add_real(app, "--momentum", r.training.momentum, 0, 0.9999, "Nesterov's");
  add_real(app, "--weight-decay", r.training.weight_decay, 0, 1, "On matrices and kernels");
  add_integer(app, "--size", r.input_size, 16, 512, "Side of the input in pixels");
  add_choice(app, "--architecture", r.architecture, {"residual", "vgg"},
             "residual, or vgg: a plain encoder whose features texture and style can be measured by");
  app.add_option("--widths", o->widths,
                 "Channels of each residual block or vgg stage (default 16,32,64,64 or 16,32,64,128)")
      ->type_name("LIST");
  add_seed(app, r.seed, "Of weights and pictures");
  app.add_option("-o,--output", r.output, "The .onnx file; a card is written beside it")->required()->type_name("FILE");
  return [o, &global](TerminalProgress& progress) {
    TrainRequest& request = o->request;
    request.data = !o->data.empty() ? o->data : o->variant == "double-12c" ? "an8flower-double" : "an8flower-single";
    if (o->widths.empty()) o->widths = request.architecture == "vgg" ? "16,32,64,128" : "16,32,64,64";
    request.widths = widths_from(o->widths);
    const TrainResult result = train(
        request,
        [&](const Trainer::EpochReport& e) {
          progress.clear();
          if (!global.json && !global.quiet) {
            std::cout << "epoch " << e.epoch << ": loss " << number_text(std::round(e.loss * 1e5) / 1e5)
                      << ", accuracy " << number_text(std::round(e.accuracy * 1e4) / 1e4) << ", "
                      << std::lround(e.seconds) << " s" << std::endl;
          }
        },
        &progress);
    progress.clear();
    if (global.json) {
      nlohmann::ordered_json json{{"output", request.output},
                                  {"test_accuracy", result.test_accuracy},
                                  {"test_pictures", result.test_pictures},
                                  {"resumed_after", result.resumed_after}};
      if (result.train_accuracy >= 0) json["train_accuracy"] = result.train_accuracy;
      for (const auto& [what, value] : result.controls) json["controls"][what] = value;
      for (const auto& e : result.epochs) {
        json["epochs"].push_back(
            {{"epoch", e.epoch}, {"loss", e.loss}, {"accuracy", e.accuracy}, {"seconds", e.seconds}});
      }
      std::cout << json_text(json) << "\n";
    } else {
      const auto rounded = [](double share) { return number_text(std::round(share * 1e4) / 1e4); };
      if (result.train_accuracy >= 0) {
        std::cout << "accuracy on the training pictures as they were labelled " << rounded(result.train_accuracy)
                  << "\n";
      }
      for (const auto& [what, value] : result.controls) std::cout << what << ": " << rounded(value) << "\n";
      std::cout << "test accuracy " << number_text(std::round(result.test_accuracy * 1e4) / 1e4) << " on "
                << result.test_pictures << " pictures; written to " << printable(request.output) << "\n";
    }
    return 0;
  };
}

}  // namespace pellucid
