#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "pellucid/network.h"

namespace pellucid {

struct NodeCaches;

/// A rectangle of a picture in pixels.
struct Window {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Passes over variants of one picture that differ from it in a window each, where only what the window can reach is
/// computed anew; everything else comes from one pass over the clean picture. Exact up to the order of summation.
/// Nakandala, Kumar, Papakonstantinou. "Incremental and Approximate Inference for Faster Occlusion-based Deep CNN
/// Explanations". SIGMOD 2019.
///
/// Each map of the network is known to change in a rectangle at most: convolutions, pooling and padding widen it,
/// element-wise nodes keep it, sums and concatenations take the bounding box. Variants of neighbouring windows go
/// through together as crops of one shape. Averages over the whole map and dense layers take the difference to the
/// clean sums; a node that no such rule covers, or whose rectangle is almost all of the map, runs on whole maps, and so
/// does all behind it.
///
/// Not safe to share between threads. The network must outlive it.
class IncrementalPasses {
 public:
  struct Options {
    int64_t memory_budget = int64_t{256} << 20;  ///< Bytes for clean maps and one batch of crops together.
    int64_t most_rows = 32;                      ///< Variants per batch.
    double whole_share = 0.8;                    ///< From this share of a map on, the whole map is computed.
  };

  /// `clean` is one picture [1,C,H,W] or, where the network begins with the transposition, [1,H,W,C]; `changed` holds
  /// one window inside the picture per variant.
  IncrementalPasses(const Network& network, const Tensor& clean, ValueId until, const std::vector<Window>& changed,
                    const Options& options);
  IncrementalPasses(const Network& network, const Tensor& clean, ValueId until, const std::vector<Window>& changed)
      : IncrementalPasses(network, clean, until, changed, Options()) {}
  ~IncrementalPasses();
  IncrementalPasses(const IncrementalPasses&) = delete;
  IncrementalPasses& operator=(const IncrementalPasses&) = delete;

  /// False where plain passes are called for: the network is not on the CPU, its samples cannot be batched, its input
  /// is no picture, no window stays a part for long, or the clean maps do not fit the budget. Then `run` must not be
  /// called.
  bool worthwhile() const;

  /// Multiplications that `run` does over those of plain passes, counted over convolutions and dense layers; 1 where it
  /// is not worthwhile.
  double work_share() const;
  /// Bytes that tensors of this object and of `run` are planned to take at most.
  int64_t planned_bytes() const;

  /// What variant `index` shows in `region`, [C,h,w]; the region contains its window.
  using Paint = std::function<Tensor(size_t index, const Window& region)>;
  /// Receives the value of `until` for some variants, [n,...], row i that of variant indices[i].
  using Use = std::function<void(const std::vector<size_t>& indices, const Tensor& value)>;
  void run(const Paint& paint, const Use& use, const Progress* progress = nullptr) const;

  /// What the network keeps for its nodes between passes, for rules that run nodes themselves.
  static const NodeCaches& caches_of(const Network& network);

 private:
  struct CleanPass;
  class BlockPlan;
  struct Impl;
  std::unique_ptr<Impl> impl_;  ///< Null where plain passes are called for.
};

}  // namespace pellucid
