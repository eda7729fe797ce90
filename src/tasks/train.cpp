#include <ATen/Parallel.h>

#include <filesystem>
#include <mutex>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/model.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"

namespace pellucid {

namespace {

constexpr uint64_t kTestSeed = 0x7e57;  // never used for training

/// Flower pictures as a batch: the classes take turns, so that every batch is balanced.
TrainingBatch flower_batch(const TrainRequest& request, const ModelCard& card, uint64_t seed, int64_t first,
                           int64_t count) {
  const auto classes = static_cast<int64_t>(flower_classes(request.variant).size());
  const int64_t size = request.input_size;
  Tensor pixels = at::empty({count, size, size, 3}, at::kByte);
  Tensor labels = at::empty({count}, at::kLong);
  auto* const label_data = labels.data_ptr<int64_t>();
  auto* const pixel_data = pixels.data_ptr<uint8_t>();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = first + i;
      FlowerOptions options;
      options.size = static_cast<int>(size);
      options.supersampling = 2;
      const auto label = static_cast<int>(index % classes);
      const FlowerSample sample = render_flower(request.variant, label, seed, static_cast<uint64_t>(index), options);
      label_data[i] = label;
      std::copy(sample.image.pixels.begin(), sample.image.pixels.end(), pixel_data + i * size * size * 3);
    }
  });
  const Tensor display = pixels.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0;
  return {card.model_from_display(display), labels};
}

}  // namespace

TrainResult train(const TrainRequest& request, const std::function<void(const Trainer::EpochReport&)>& report,
                  Progress* progress) {
  if (request.output.size() < 6 || request.output.substr(request.output.size() - 5) != ".onnx") {
    throw_usage("train: the output '" + printable(request.output) + "' must end in .onnx");
  }
  const std::filesystem::path folder = std::filesystem::u8path(request.output).parent_path();
  if (!folder.empty()) make_folder(folder.string());
  const std::vector<std::string> classes = flower_classes(request.variant);
  const auto num_classes = static_cast<int64_t>(classes.size());
  const int64_t batch = request.training.batch_size;
  if (request.pictures_per_class * num_classes < batch) {
    throw_usage("train: " + std::to_string(request.pictures_per_class * num_classes) +
                " pictures do not fill a batch of " + std::to_string(batch));
  }
  ResidualNetworkOptions architecture;
  architecture.num_classes = num_classes;
  architecture.input_size = request.input_size;
  architecture.widths = request.widths;
  architecture.seed = request.seed;
  Graph initial = make_residual_network(architecture);
  initial.metadata["pellucid.preset"] = "flower";
  ModelCard card = card_from_preset("flower");
  card.width = card.height = request.input_size;
  card.labels = classes;
  card.default_layer = "block" + std::to_string(request.widths.size()) + ".relu";

  Trainer trainer(initial, request.training);
  const std::string checkpoint = request.output + ".checkpoint";
  TrainResult result;
  if (trainer.resume(checkpoint)) result.resumed_after = trainer.epochs_done();
  const int64_t steps = request.pictures_per_class * num_classes / batch;
  const BatchSource training = [&](int64_t epoch, int64_t step) {
    return flower_batch(request, card, request.seed, (epoch * steps + step) * batch, batch);
  };
  while (trainer.epochs_done() < request.training.epochs) {
    result.epochs.push_back(trainer.train_epoch(training, steps, progress));
    trainer.save(checkpoint);
    if (report) report(result.epochs.back());
  }
  const Graph trained = trainer.graph();
  const BatchSource testing = [&](int64_t, int64_t step) {
    return flower_batch(request, card, kTestSeed, step * num_classes, num_classes);
  };
  result.test_pictures = request.test_per_class * num_classes;
  result.test_accuracy = accuracy(Network(trained), testing, request.test_per_class);
  save_onnx(trained, request.output);
  save_card(card, request.output.substr(0, request.output.size() - 5) + ".json");
  std::error_code ignored;
  std::filesystem::remove(std::filesystem::u8path(checkpoint), ignored);
  return result;
}

}  // namespace pellucid
