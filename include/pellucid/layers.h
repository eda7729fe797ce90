#pragma once

#include <string>
#include <vector>

#include "pellucid/network.h"

namespace pellucid {

/// The patch of the input that one position of a layer can see, along one axis. Positions are pixel coordinates with
/// the centre of the first pixel at 0.5. (Araujo, Norris, Sim. "Computing Receptive Fields of Convolutional Neural
/// Networks". Distill 2019.)
struct ReceptiveField {
  bool whole = false;   ///< Sees the whole input, or more than the arithmetic can tell.
  double size = 1;      ///< Extent in pixels, not cut off at the border.
  double jump = 1;      ///< Pixels between neighbouring positions.
  double center = 0.5;  ///< Centre of the patch that position 0 sees.
};

/// One row of `pellucid info`.
struct LayerInfo {
  ValueId value = kNoValue;
  int64_t index = 0;  ///< Order among the layers.
  std::string name;   ///< Value name.
  std::string node;   ///< Node name.
  std::string op;
  Shape shape;  ///< For the input shape given, batch 1.
  ReceptiveField rows, columns;
  int64_t parameters = 0;  ///< Learned weights (Graph::is_learned) that no node before reads.
  double flops = 0;        ///< Multiplications and additions for one image; convolutions and matrix products only.
  bool suits_cam = false;  ///< A spatial map on the way to the target that a class activation map can weigh.
};

/// What is known about a network for one input shape: which values are layers, their shapes and receptive fields, where
/// the logits are. Built once per (network, input shape).
class LayerTable {
 public:
  /// Throws what Network::shapes throws, and Error(kUnsupported) for a network that takes batches of another size only.
  LayerTable(const Network& network, const std::vector<Shape>& input_shapes, const Progress* progress = nullptr);

  const std::vector<LayerInfo>& layers() const { return layers_; }
  const Shape& shape(ValueId id) const { return shapes_.at(static_cast<size_t>(id)); }
  const LayerInfo& layer(ValueId id) const;
  /// Shape of the graph's first input.
  const Shape& input_shape() const { return shape(input_values_.at(0)); }

  /// `output` before a final Softmax, LogSoftmax or Sigmoid: scores are explained before they are squashed.
  ValueId logits() const { return logits_; }
  /// The graph's first output that holds numbers, not indices; but where that is a map which nothing squashes and a
  /// later one holds a score per class, that one.
  ValueId output() const { return output_; }
  /// The axis of `logits` that counts classes: 1, or 3 for maps [N,H,W,classes].
  int64_t class_axis() const { return class_axis_; }
  /// The operator that was left out to get the logits ("Softmax"), or empty.
  const std::string& squashing() const { return squashing_; }

  /// The layer that CAM methods use when none is named: the last spatial map before pooling, after its activation; for
  /// token networks the input of the last attention block. Throws Error(kUsage) when there is none.
  ValueId default_cam_layer() const;
  ValueId first_convolution() const;
  ValueId last_convolution() const;

  /// A layer by value name, node name, unique suffix of either, unique glob, layer index ("#12"), or one of the aliases
  /// auto, last-conv, first-conv, input, logits. Throws Error(kUsage) that lists the nearest names.
  ValueId find(const std::string& name) const;
  /// The same, but a glob may match several; in graph order.
  std::vector<ValueId> find_all(const std::string& name) const;

 private:
  std::vector<ValueId> matches(const std::string& name) const;
  [[noreturn]] void refuse_ambiguous(const std::string& name, const std::vector<ValueId>& found) const;
  void measure(const Graph& graph, const Values& integers);
  void find_logits(const Graph& graph);
  void step_before_squashing(const Graph& graph);
  void judge_cam(const Graph& graph);

  std::string file_;
  std::vector<LayerInfo> layers_;
  std::vector<Shape> shapes_;
  std::vector<int64_t> layer_of_value_;
  std::vector<ValueId> input_values_;
  ValueId logits_ = kNoValue;
  ValueId output_ = kNoValue;
  int64_t class_axis_ = 1;
  ValueId cam_layer_ = kNoValue;
  std::string squashing_;
};

/// Grid of a token layer [N,T,D]: T = g*g, or g*g + leading tokens (class, registers; at most 8). {0,0} when T is no
/// grid.
struct TokenGrid {
  int64_t rows = 0, columns = 0, leading = 0;
};
TokenGrid token_grid(int64_t tokens);

}  // namespace pellucid
