#pragma once

#include <string>

#include "pellucid/graph.h"

namespace pellucid {

/// Layers with weights drawn as in He, Zhang, Ren, Sun, ICCV 2015, from one seed. A layer's value has its name; weights
/// are NAME.weight, NAME.bias and the like.
class NetworkBuilder {
 public:
  explicit NetworkBuilder(uint64_t seed);

  enum class Border { kZero, kReflect };
  struct Conv {
    int64_t kernel = 3;
    int64_t stride = 1;
    Border border = Border::kZero;
    bool bias = false;
    double gain = 2.0;  ///< Variance of the weights times their number per output.
  };
  /// Padded by half its kernel; a reflected border is a node of its own, NAME.pad.
  std::string conv(const std::string& name, const std::string& from, int64_t in, int64_t out, const Conv& options);
  /// NAME.norm, as the next two are named by what is given.
  std::string batch_norm(const std::string& name, const std::string& from, int64_t channels);
  std::string instance_norm(const std::string& name, const std::string& from, int64_t channels);
  std::string relu(const std::string& name, const std::string& from);
  /// Twice the size, each pixel four times.
  std::string upsample(const std::string& name, const std::string& from);
  std::string average_pool(const std::string& name, const std::string& from);
  /// Any node with one output, named after it.
  std::string node(const std::string& op, const std::string& name, const std::vector<std::string>& from,
                   std::map<std::string, Attribute> attributes = {});
  /// Global average pooling ("pool"), "flatten" and a linear layer ("logits"), which becomes the output.
  Graph classifier(const std::string& from, int64_t width, int64_t num_classes);

  GraphBuilder graph{13};

 private:
  Tensor normal(const Shape& shape, double deviation);

  at::Generator generator_;
};

}  // namespace pellucid
