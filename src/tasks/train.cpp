#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/ground_truth.h"
#include "pellucid/model.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"

namespace pellucid {

namespace {

constexpr uint64_t kTestSeed = 0x7e57;  // never used for training

/// Generated pictures as batches.
class Pictures {
 public:
  Pictures(const GroundTruthSet& set, const ModelCard& card, uint64_t seed) : set_(set), card_(card), seed_(seed) {}

  int64_t num_classes() const { return static_cast<int64_t>(set_.classes.size()); }

  /// Pictures `first` and on; the classes take turns, so that every batch is balanced. `change` is given each request.
  using Change = std::function<GroundTruthRequest(GroundTruthRequest)>;
  std::pair<Tensor, Tensor> draw(int64_t first, int64_t count, const Change& change) const {
    const int64_t size = card_.width;
    Tensor pixels = at::empty({count, size, size, 3}, at::kByte);
    Tensor labels = at::empty({count}, at::kLong);
    auto* const label_data = labels.data_ptr<int64_t>();
    auto* const pixel_data = pixels.data_ptr<uint8_t>();
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        GroundTruthRequest request;
        request.label = static_cast<int>((first + i) % num_classes());
        request.seed = seed_;
        request.index = static_cast<uint64_t>(first + i);
        request.size = static_cast<int>(size);
        request.supersampling = 2;
        const Image picture = draw_sample(set_, change(request)).picture;
        label_data[i] = request.label;
        std::copy(picture.pixels.begin(), picture.pixels.end(), pixel_data + i * size * size * 3);
      }
    });
    return {pixels, labels};
  }

  TrainingBatch batch(const std::pair<Tensor, Tensor>& drawn) const {
    const Tensor display = drawn.first.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0;
    return {card_.model_from_display(display), drawn.second};
  }

 private:
  const GroundTruthSet& set_;
  const ModelCard& card_;
  uint64_t seed_;
};

/// The pictures of the first epoch, drawn once.
class FixedPictures {
 public:
  FixedPictures(const Pictures& pictures, const Pictures::Change& change, const TrainRequest& request)
      : pictures_(pictures), seed_(request.seed), batch_(request.training.batch_size) {
    drawn_ = pictures.draw(0, request.pictures_per_class * pictures.num_classes(), change);
    if (request.shuffle_labels) drawn_.second = drawn_.second.index_select(0, order(kLabels));
  }

  TrainingBatch batch(int64_t epoch, int64_t step) const { return part(order(epoch), step * batch_, batch_); }

  double accuracy_of(const Network& network) const {
    const int64_t count = drawn_.second.size(0);
    const Tensor as_it_is = at::arange(count, at::kLong);
    double correct = 0;
    for (int64_t first = 0; first < count; first += batch_) {
      const TrainingBatch rows = part(as_it_is, first, std::min(batch_, count - first));
      const BatchSource one = [&](int64_t, int64_t) { return rows; };
      correct += accuracy(network, one, 1) * static_cast<double>(rows.labels.size(0));
    }
    return correct / static_cast<double>(count);
  }

 private:
  static constexpr int64_t kLabels = -1;  ///< in place of an epoch

  Tensor order(int64_t epoch) const {
    return at::tensor(permutation(drawn_.second.size(0), seed_, static_cast<uint64_t>(epoch)), at::kLong);
  }
  TrainingBatch part(const Tensor& order, int64_t first, int64_t count) const {
    const Tensor rows = order.narrow(0, first, count);
    return pictures_.batch({drawn_.first.index_select(0, rows), drawn_.second.index_select(0, rows)});
  }

  const Pictures& pictures_;
  uint64_t seed_;
  int64_t batch_;
  std::pair<Tensor, Tensor> drawn_;
};

/// Accuracy on test pictures that `change` has changed.
double test_accuracy(const Network& network, const GroundTruthSet& set, const ModelCard& card, int64_t per_class,
                     const Pictures::Change& change) {
  const Pictures pictures(set, card, kTestSeed);
  const int64_t classes = pictures.num_classes();
  const BatchSource source = [&](int64_t, int64_t step) {
    return pictures.batch(pictures.draw(step * classes, classes, change));
  };
  return accuracy(network, source, per_class);
}

/// The class whose watermark takes the place of the label's: any other, in turn.
int swapped_label(const GroundTruthSet& set, const GroundTruthRequest& request) {
  const auto classes = static_cast<int>(set.classes.size());
  const auto step = 1 + static_cast<int>((request.index / set.classes.size()) % static_cast<uint64_t>(classes - 1));
  return (request.label + step) % classes;
}

std::vector<std::pair<std::string, double>> measure_controls(const Network& network, const GroundTruthSet& set,
                                                             const ModelCard& card, int64_t per_class) {
  std::vector<std::pair<std::string, double>> controls;
  const auto measure = [&](const std::string& what, const Pictures::Change& change) {
    controls.emplace_back(what, test_accuracy(network, set, card, per_class, change));
  };
  const auto without = [](const std::string& part) {
    return [part](GroundTruthRequest request) {
      request.removed_parts.insert(part);
      return request;
    };
  };
  if (set.has_shortcut) {
    measure("without the watermark", without("watermark"));
    measure("with the watermark of another class", [&](GroundTruthRequest request) {
      request.planted_label = swapped_label(set, request);
      return request;
    });
    // The same pictures, but the answer counted as right is the class of the watermark.
    const Pictures pictures(set, card, kTestSeed);
    const int64_t classes = pictures.num_classes();
    const BatchSource source = [&](int64_t, int64_t step) {
      auto drawn = pictures.draw(step * classes, classes, [&](GroundTruthRequest request) {
        request.planted_label = swapped_label(set, request);
        return request;
      });
      for (int64_t i = 0; i < classes; ++i) {
        GroundTruthRequest request;
        request.index = static_cast<uint64_t>(step * classes + i);
        request.label = static_cast<int>(i);
        drawn.second[i] = swapped_label(set, request);
      }
      return pictures.batch(drawn);
    };
    controls.emplace_back("answers that follow that watermark", accuracy(network, source, per_class));
  }
  for (const std::string& part : set.training_drops) measure("without " + part, without(part));
  return controls;
}

Graph initial_network(const TrainRequest& request, int64_t num_classes) {
  if (request.architecture == "vgg") {
    VggNetworkOptions options;
    options.num_classes = num_classes;
    options.widths = request.widths;
    options.seed = request.seed;
    return make_vgg_network(options);
  }
  if (request.architecture != "residual") {
    throw_usage("train: no architecture '" + printable(request.architecture) + "'; residual or vgg was expected");
  }
  ResidualNetworkOptions options;
  options.num_classes = num_classes;
  options.input_size = request.input_size;
  options.widths = request.widths;
  options.seed = request.seed;
  return make_residual_network(options);
}

}  // namespace

TrainResult train(const TrainRequest& request, const std::function<void(const Trainer::EpochReport&)>& report,
                  Progress* progress) {
  if (request.output.size() < 6 || request.output.substr(request.output.size() - 5) != ".onnx") {
    throw_usage("train: the output '" + printable(request.output) + "' must end in .onnx");
  }
  const std::filesystem::path folder = std::filesystem::u8path(request.output).parent_path();
  if (!folder.empty()) make_folder(folder.string());
  const GroundTruthSet set = joined_set(split(request.data, ','));
  const std::vector<std::string>& classes = set.classes;
  const auto num_classes = static_cast<int64_t>(classes.size());
  const int64_t batch = request.training.batch_size;
  if (request.pictures_per_class * num_classes < batch) {
    throw_usage("train: " + std::to_string(request.pictures_per_class * num_classes) +
                " pictures do not fill a batch of " + std::to_string(batch));
  }
  const bool encoder = request.architecture == "vgg";
  Graph initial = initial_network(request, num_classes);
  initial.metadata["pellucid.preset"] = "flower";
  ModelCard card = card_from_preset("flower");
  card.width = card.height = request.input_size;
  card.labels = classes;
  card.default_layer = encoder ? "conv" + std::to_string(request.widths.size()) + "_2.relu"
                               : "block" + std::to_string(request.widths.size()) + ".relu";

  Trainer trainer(initial, request.training);
  const std::string checkpoint = request.output + ".checkpoint";
  TrainResult result;
  if (trainer.resume(checkpoint)) result.resumed_after = trainer.epochs_done();
  const int64_t steps = request.pictures_per_class * num_classes / batch;
  const Pictures pictures(set, card, request.seed);
  const Pictures::Change change = [&](GroundTruthRequest r) { return with_random_drops(set, std::move(r)); };
  std::optional<FixedPictures> fixed;
  if (request.same_pictures || request.shuffle_labels) fixed.emplace(pictures, change, request);
  const BatchSource training = [&](int64_t epoch, int64_t step) {
    if (fixed) return fixed->batch(epoch, step);
    return pictures.batch(pictures.draw((epoch * steps + step) * batch, batch, change));
  };
  while (trainer.epochs_done() < request.training.epochs) {
    result.epochs.push_back(trainer.train_epoch(training, steps, progress));
    trainer.save(checkpoint);
    if (report) report(result.epochs.back());
  }
  Graph trained = trainer.graph();
  if (encoder) {
    // On pictures of the first epoch, which are not those of the test.
    constexpr int64_t kBatches = 16;
    trained = with_unit_mean_activations(
        with_folded_batch_norms(trained), [&](int64_t i) { return training(0, i % steps).input; }, kBatches);
  }
  const Network network(trained);
  result.test_pictures = request.test_per_class * num_classes;
  result.test_accuracy =
      test_accuracy(network, set, card, request.test_per_class, [](GroundTruthRequest r) { return r; });
  result.controls = measure_controls(network, set, card, request.test_per_class);
  if (fixed) result.train_accuracy = fixed->accuracy_of(network);
  if (encoder) card.width = card.height = 0;  // pictures of any size
  save_onnx(trained, request.output);
  save_card(card, request.output.substr(0, request.output.size() - 5) + ".json");
  std::error_code ignored;
  std::filesystem::remove(std::filesystem::u8path(checkpoint), ignored);
  return result;
}

}  // namespace pellucid
