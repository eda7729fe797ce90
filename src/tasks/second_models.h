#pragma once

#include <map>
#include <string>
#include <vector>

#include "pellucid/synthesis.h"
#include "pellucid/tasks.h"

namespace pellucid {

/// The networks that recipes refer to besides the one that is looked into: files by name, or shipped ones by the name
/// alone. Each is loaded once.
class SecondModels {
 public:
  explicit SecondModels(const ModelOptions& options) : options_(options) {}

  /// By the names that parts give. Throws Error(kUsage) for one that does not exist.
  std::map<std::string, SecondNetwork> networks(const Recipe& recipe);
  /// "NAME.onnx.range" for every NAME.range.npy beside a network of the recipe: mean and deviation of its codes.
  std::map<std::string, Tensor> tensors(const Recipe& recipe);
  /// Those loaded so far, by name.
  const std::map<std::string, LoadedModel>& loaded() const { return loaded_; }

  /// Whether every network of a recipe is there.
  static bool exist(const Recipe& recipe);

 private:
  const LoadedModel& get(const std::string& name);

  const ModelOptions& options_;
  std::map<std::string, LoadedModel> loaded_;
};

}  // namespace pellucid
