#pragma once

// Training of the networks that recipes use as learned priors.

#include <functional>
#include <string>
#include <vector>

#include "pellucid/priors.h"
#include "pellucid/tasks.h"

namespace pellucid {

/// What both verbs share.
struct PriorTraining {
  std::string data;                 ///< Names of generated sets, separated by commas.
  std::vector<std::string> inputs;  ///< Pictures, folders and globs to train on instead.
  int64_t pictures = 1500;          ///< Generated ones.
  int64_t test_pictures = 64;       ///< Most pictures that are kept for the test.
  int64_t batch_size = 8;
  StepsOptions steps;  ///< The checkpoint is OUTPUT.checkpoint.
  uint64_t seed = 1;
  std::string output;  ///< The .onnx file.
};

/// `pellucid train-denoiser`: a network that takes white noise off pictures.
struct TrainDenoiserRequest {
  PriorTraining training;
  double sigma = 0.1;  ///< Standard deviation of the noise, in display range.
  int64_t crop = 64;   ///< Side of the squares that are trained on.
  DenoiserOptions network;
};
struct TrainDenoiserResult {
  double psnr_noisy = 0, psnr_denoised = 0;  ///< In decibels, over all test pictures.
  int64_t test_pictures = 0;
  int64_t resumed_after = 0;  ///< Steps.
  std::vector<StepsReport> reports;
};
TrainDenoiserResult train_denoiser(const TrainDenoiserRequest& request,
                                   const std::function<void(const StepsReport&)>& report = {},
                                   Progress* progress = nullptr);

/// `pellucid train-generator`: a decoder from the activations of a layer, averaged over a grid, to pictures. Its loss
/// is the squared error of pixels plus that of the network's activations of both pictures, each relative to what it is
/// of a constant; see make_generator. Writes OUTPUT and, beside it, NAME.range.npy [2+K,C,h,w]: the mean and the
/// standard deviation of every number of the code over the training pictures, and their principal directions (at most
/// 64).
struct TrainGeneratorRequest {
  PriorTraining training;
  ModelOptions model;
  std::string layer;                  ///< Whose activations are the code; empty: the model's last convolution.
  std::vector<std::string> features;  ///< Layers that are compared; empty: that one alone.
  int64_t grid = 4;                   ///< The code has so many rows and columns, or the layer's if it has fewer.
  double feature_weight = 1;          ///< Of all compared layers together, against 1 for pixels.
  std::vector<int64_t> widths{128, 96, 64, 32, 16};
};
struct TrainGeneratorResult {
  double psnr = 0;        ///< Of decoded test pictures, in decibels.
  double code_error = 0;  ///< |E(G(h)) - h|^2 / |h|^2 over the test pictures.
  double same_class = 0;  ///< Share of test pictures whose decoded code the model gives the class of the original.
  int64_t test_pictures = 0;
  int64_t resumed_after = 0;
  std::string range_file;
  std::vector<StepsReport> reports;
};
TrainGeneratorResult train_generator(const TrainGeneratorRequest& request,
                                     const std::function<void(const StepsReport&)>& report = {},
                                     Progress* progress = nullptr);

}  // namespace pellucid
