#pragma once

// One request and one function per verb. The program and the server build the same requests, so they cannot disagree.

#include <optional>
#include <string>
#include <vector>

#include "pellucid/attribution.h"
#include "pellucid/flowers.h"
#include "pellucid/image.h"
#include "pellucid/progress.h"
#include "pellucid/training.h"

namespace pellucid {

/// `pellucid train`: a residual network on generated flower pictures.
struct TrainRequest {
  FlowerVariant variant = FlowerVariant::kSingle6c;
  int64_t input_size = 128;
  std::vector<int64_t> widths{16, 32, 64, 64};
  int64_t pictures_per_class = 600;  ///< Fresh ones in every epoch.
  int64_t test_per_class = 100;
  uint64_t seed = 1;                 ///< Of weights and training pictures; test pictures have a seed of their own.
  TrainingOptions training;
  std::string output;                ///< The .onnx file; its card is written beside it, checkpoints to <output>.checkpoint.
};
struct TrainResult {
  std::vector<Trainer::EpochReport> epochs;
  double test_accuracy = 0;
  int64_t test_pictures = 0;
  int64_t resumed_after = 0;  ///< Epochs that a checkpoint had already done.
};
/// Trains, tests on pictures never trained on, writes model and card, removes the checkpoint. Interrupted runs go on from
/// their checkpoint. `report` is called after each epoch.
TrainResult train(const TrainRequest& request, const std::function<void(const Trainer::EpochReport&)>& report = {},
                  Progress* progress = nullptr);

}  // namespace pellucid
