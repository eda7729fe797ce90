#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "pellucid/train_priors.h"
#include "tasks/card_json.h"
#include "tasks/training_pictures.h"

namespace pellucid {

namespace {

at::Generator generator_of(uint64_t seed, int64_t step) {
  return at::detail::createCPUGenerator(seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(step));
}
Tensor noise_like(const Tensor& clean, double sigma, const at::Generator& generator) {
  return at::randn(clean.sizes(), generator, at::TensorOptions(at::kFloat)) * sigma;
}

/// Mean squared errors of noisy and of denoised pictures.
std::pair<double, double> errors(const Network& network, const Tensor& pictures, double sigma, int64_t multiple) {
  double noisy = 0, denoised = 0;
  const int64_t side = pictures.size(2) / multiple * multiple;
  for (int64_t i = 0; i < pictures.size(0); ++i) {
    const Tensor clean = display_from_bytes(pictures.narrow(0, i, 1).slice(2, 0, side).slice(3, 0, side));
    const Tensor noise = noise_like(clean, sigma, generator_of(0x7e57, i));
    noisy += noise.square().mean(at::kDouble).item<double>();
    denoised += (network.run(clean + noise)[0] - clean).square().mean(at::kDouble).item<double>();
  }
  const auto count = static_cast<double>(pictures.size(0));
  return {noisy / count, denoised / count};
}

}  // namespace

TrainDenoiserResult train_denoiser(const TrainDenoiserRequest& request,
                                   const std::function<void(const StepsReport&)>& report, Progress* progress) {
  const PriorTraining& t = request.training;
  const std::string card_file = beside_onnx("train-denoiser", t.output, ".json");
  const int64_t multiple = int64_t{1} << (request.network.widths.size() - 1);
  if (request.crop % multiple != 0) {
    throw_usage("crop is " + std::to_string(request.crop) + "; it must be a multiple of " + std::to_string(multiple) +
                ", for " + std::to_string(request.network.widths.size()) + " widths");
  }
  const std::filesystem::path folder = std::filesystem::u8path(t.output).parent_path();
  if (!folder.empty()) make_folder(folder.string());
  PictureSource source{t.data, t.inputs, t.pictures, request.crop * 3 / 2, t.seed};
  const TrainingPictures pictures = gather_training_pictures(source, t.test_pictures, progress);

  Learner learner(make_denoiser(request.network), prior_learner_options());
  StepsOptions steps = t.steps;
  steps.checkpoint = t.output + ".checkpoint";
  TrainDenoiserResult result;
  const auto loss = [&](int64_t step) {
    const at::Generator generator = generator_of(t.seed, step);
    const Tensor clean = random_crops(pictures.training, t.batch_size, request.crop, generator);
    return denoising_loss(learner, clean, noise_like(clean, request.sigma, generator));
  };
  const auto collect = [&](const StepsReport& r) {
    result.reports.push_back(r);
    if (report) report(r);
  };
  result.resumed_after = train_steps(learner, steps, loss, collect, progress);

  Graph trained = learner.graph();
  trained.metadata["pellucid.preset"] = "none";
  trained.metadata["pellucid.sigma"] = number_text(request.sigma);
  const auto [noisy, denoised] = errors(Network(trained), pictures.test, request.sigma, multiple);
  result.psnr_noisy = -10 * std::log10(noisy);
  result.psnr_denoised = -10 * std::log10(denoised);
  result.test_pictures = pictures.test.size(0);
  save_onnx(trained, t.output);
  save_card(card_from_preset("none"), card_file);
  std::error_code ignored;
  std::filesystem::remove(std::filesystem::u8path(steps.checkpoint), ignored);
  return result;
}

}  // namespace pellucid
