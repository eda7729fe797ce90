#pragma once

#include <memory>
#include <optional>

#include "pellucid/stylize.h"

namespace pellucid {

/// The range of pixels that a picture-to-picture network takes and gives.
struct PixelRange {
  double low = 0, high = 1;
  std::string text() const;
  /// Throws Error(kUsage) for what is none of "0..1", "0..255", "-1..1".
  static PixelRange parse(const std::string& text);
};

/// A network with one picture in and one out, made from one with further inputs by giving them their values.
/// `given` holds every input but the first. Throws Error(kUsage) when the output is no picture.
Graph with_given_inputs(const Graph& graph, const Values& given);

/// The same graph with each InstanceNormalization as a BatchNormalization, whose statistics are initializers, and their
/// names in the order of the graph.
struct FixedStatistics {
  struct Site {
    ValueId input;           ///< What is normalized.
    ValueId mean, variance;  ///< Initializers.
  };
  Graph graph;
  std::vector<Site> sites;
};
FixedStatistics with_fixed_statistics(const Graph& graph);

/// The number of levels at which a graph of make_adain_network mixes; 0 for others.
size_t num_adain_levels(const Graph& graph);

/// What several styles alone give a network, averaged: values that depend on inputs but the first, where they meet what
/// depends on the first.
Values meeting_values(const Network& network, const TensorList& inputs);

/// Repaints pictures of any size.
class StyleRunner {
 public:
  struct Options {
    int64_t tile = 768;
    bool exact = true;
    PixelRange range;
  };
  /// `graph` has one input and one output.
  StyleRunner(Graph graph, Options options);
  ~StyleRunner();

  struct Repainted {
    Tensor display;  ///< [1,3,H,W], the size of what was given, within 0..1.
    int64_t tiles = 1;
  };
  /// Of [1,3,H,W] in display range. Throws Error(kUnsupported) when the picture needs tiles and the network cannot work
  /// in them, naming the layer.
  Repainted repaint(const Tensor& display, const Progress* progress = nullptr) const;

  /// A part of the picture and the statistics it gets, by level of adaptive instance normalization.
  struct Region {
    Tensor mask;                 ///< [1,1,H,W] in 0..1.
    TensorList mean, deviation;  ///< [1,C,1,1].
    double alpha = 1;
  };
  /// For networks of make_adain_network: the features in each region go from the mean and deviation that they have
  /// there to those of the region, and stay as they are outside. Where masks sum to more than one they are shares.
  Repainted repaint(const Tensor& display, const std::vector<Region>& regions,
                    const Progress* progress = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pellucid
