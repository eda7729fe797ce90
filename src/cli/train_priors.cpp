#include "pellucid/train_priors.h"

#include <cmath>
#include <iostream>

#include "cli/cli.h"
#include "pellucid/error.h"
#include "pellucid/ground_truth.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"
#include "tasks/training_pictures.h"

namespace pellucid {

namespace {

using Json = nlohmann::ordered_json;

void add_training_flags(CLI::App& app, PriorTraining& training) {
  std::vector<std::string> sets;
  for (const GroundTruthSet& set : ground_truth_sets()) sets.push_back(set.name);
  app.add_option(
         "--data", training.data,
         "Generated sets to learn from, separated by commas: " + join(sets, ", ") + " (default " + training.data + ")")
      ->type_name("LIST");
  add_integer(app, "--pictures", training.pictures, 2, 1'000'000, "Generated training pictures");
  add_integer(app, "--test-pictures", training.test_pictures, 1, 100'000, "Most pictures that are kept for the test");
  add_integer(app, "--steps", training.steps.steps, 0, 10'000'000, "Steps of the optimizer");
  add_integer(app, "--batch-size", training.batch_size, 1, 4096, "Pictures per step");
  add_real(app, "--learning-rate", training.steps.rate, 1e-9, 10, "Largest step size of Adam");
  add_seed(app, training.seed, "Of weights, pictures and their order");
  app.add_option("-o,--output", training.output, "The .onnx file")->required()->type_name("FILE");
}

std::string rounded(double x, double unit = 100) { return number_text(std::round(x * unit) / unit); }

std::function<void(const StepsReport&)> print_reports(const GlobalOptions& global, TerminalProgress& progress) {
  return [&global, &progress](const StepsReport& r) {
    progress.clear();
    if (global.json || global.quiet) return;
    std::cout << "step " << r.step << ": loss " << rounded(r.loss, 1e6) << ", " << std::lround(r.seconds) << " s"
              << std::endl;
  };
}

Json reports_json(const std::vector<StepsReport>& reports) {
  Json list = Json::array();
  for (const StepsReport& r : reports) list.push_back({{"step", r.step}, {"loss", r.loss}, {"seconds", r.seconds}});
  return list;
}

}  // namespace

std::function<int(TerminalProgress&)> setup_train_denoiser(CLI::App& app, GlobalOptions& global) {
  struct Options {
    TrainDenoiserRequest request;
    std::string widths = "16,32,64";
  };
  auto o = std::make_shared<Options>();
  TrainDenoiserRequest& r = o->request;
  r.training.data = "an8flower-single,an8flower-double,parts,scenes";
  r.training.steps.steps = 3000;
  app.add_option("inputs", r.training.inputs, "Pictures, folders or globs to train on instead of generated ones")
      ->type_name("IMAGE...");
  add_real(app, "--sigma", r.sigma, 1e-4, 1, "Standard deviation of the noise, in display range 0..1");
  add_integer(app, "--crop", r.crop, 8, 1024, "Side of the squares that are trained on");
  app.add_option("--widths", o->widths, "Channels at each size (default 16,32,64)")->type_name("LIST");
  add_training_flags(app, r.training);
  return [o, &global](TerminalProgress& progress) {
    TrainDenoiserRequest& request = o->request;
    request.network.widths = widths_from(o->widths);
    request.network.seed = request.training.seed;
    const TrainDenoiserResult result = train_denoiser(request, print_reports(global, progress), &progress);
    progress.clear();
    if (global.json) {
      std::cout << json_text({{"output", request.training.output},
                              {"psnr_noisy", result.psnr_noisy},
                              {"psnr_denoised", result.psnr_denoised},
                              {"test_pictures", result.test_pictures},
                              {"resumed_after", result.resumed_after},
                              {"steps", reports_json(result.reports)}})
                << "\n";
    } else {
      std::cout << "PSNR " << rounded(result.psnr_noisy) << " dB -> " << rounded(result.psnr_denoised) << " dB on "
                << result.test_pictures << " pictures; written to " << printable(request.training.output) << "\n";
    }
    return 0;
  };
}

std::function<int(TerminalProgress&)> setup_train_generator(CLI::App& app, GlobalOptions& global) {
  struct Options {
    TrainGeneratorRequest request;
    std::string widths = "128,96,64,32,16", features;
  };
  auto o = std::make_shared<Options>();
  TrainGeneratorRequest& r = o->request;
  r.training.data = "an8flower-single";
  r.training.steps.steps = 2000;
  r.training.batch_size = 16;
  app.add_option("model", r.model.path, "ONNX file of the network whose codes are decoded")
      ->required()
      ->type_name("MODEL");
  app.add_option("inputs", r.training.inputs, "Pictures, folders or globs to train on instead of generated ones")
      ->type_name("IMAGE...");
  app.add_option("-l,--layer", r.layer, "The layer whose activations are the code (default: the last convolution's)")
      ->type_name("NAME");
  app.add_option("--features", o->features,
                 "Layers whose activations are compared, separated by commas (default: the same)")
      ->type_name("LIST");
  add_integer(app, "--grid", r.grid, 1, 64, "Rows and columns that the code is averaged over");
  add_real(app, "--feature-weight", r.feature_weight, 0, 1e6, "Of the error of activations, against 1 for pixels");
  app.add_option("--widths", o->widths,
                 "Channels at each size from the grid's on; each doubles it (default 128,96,64,32,16)")
      ->type_name("LIST");
  add_training_flags(app, r.training);
  add_model_flags(app, r.model);
  return [o, &global](TerminalProgress& progress) {
    TrainGeneratorRequest& request = o->request;
    request.widths = widths_from(o->widths);
    for (const std::string& name : split(o->features, ',')) {
      if (!trim(name).empty()) request.features.push_back(trim(name));
    }
    const TrainGeneratorResult result = train_generator(request, print_reports(global, progress), &progress);
    progress.clear();
    if (global.json) {
      std::cout << json_text({{"output", request.training.output},
                              {"range", result.range_file},
                              {"psnr", result.psnr},
                              {"code_error", result.code_error},
                              {"same_class", result.same_class},
                              {"test_pictures", result.test_pictures},
                              {"resumed_after", result.resumed_after},
                              {"steps", reports_json(result.reports)}})
                << "\n";
    } else {
      std::cout << "decoded test pictures: PSNR " << rounded(result.psnr) << " dB, error of the code "
                << rounded(result.code_error, 1000) << ", same class " << rounded(100 * result.same_class) << " % of "
                << result.test_pictures << "; written to " << printable(request.training.output) << ", "
                << printable(result.range_file) << "\n";
    }
    return 0;
  };
}

}  // namespace pellucid
