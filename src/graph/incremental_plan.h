#pragma once

// What incremental passes are planned by: the clean pass, and how variants go through together.

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "graph/change_rule.h"
#include "graph/executor.h"
#include "graph/incremental.h"
#include "graph/reach.h"

namespace pellucid {

inline int64_t bytes_of(const Tensor& t) { return t.numel() * static_cast<int64_t>(t.element_size()); }

/// Channels last, as windows are read.
inline Tensor prepared_map(const Tensor& t) { return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t; }

/// A pass over the clean picture: its values, and what it tells about each step.
struct IncrementalPasses::CleanPass {
  CleanPass(const Network& network, ValueId until);

  /// Keeps every value that something behind may read, and learns how each step passes changes on. False when that
  /// takes more than `budget` bytes, or the picture is no map.
  bool run(const Tensor& picture, int64_t budget);

  TensorList call(const Step& step, const Node& node, TensorList& in, const PackedConvolutions* packed) const;
  const Tensor& constant(ValueId id) const { return plan->constants[static_cast<size_t>(id)]; }
  const Tensor& clean(ValueId id) const { return kept[static_cast<size_t>(id)]; }
  bool is_computed(ValueId id) const { return id != kNoValue && !constant(id).defined(); }
  int64_t axis_size(ValueId id, size_t axis) const { return shapes[static_cast<size_t>(id)].at(axis + 2); }
  double multiplications() const;
  int64_t kept_bytes() const;

  const Network::Impl& net;
  ValueId target, input = kNoValue;
  std::shared_ptr<const Plan> plan;
  std::vector<ChangeRule> rules;
  size_t first_step = 0;
  TensorList kept;  ///< Clean values by id.
  std::vector<Shape> shapes;

 private:
  int64_t num_computed(const Node& node) const;
  int64_t readers(ValueId id) const;
};

/// What of a value a block of variants changes.
struct Reach {
  enum What { kNothing, kPart, kFlat, kAll } what = kNothing;
  std::array<Span, 2> span;  ///< Of the map [.,C,H,W], for kPart and kFlat.
};

/// Variants that go through together: the product of some places along y and along x, as far as variants are there.
struct Block {
  std::vector<size_t> variants;
  std::vector<size_t> at_y, at_x;  ///< For each variant, its place in the spans.
  std::vector<Reach> reach;        ///< By value id.
  std::vector<int64_t> signature;  ///< Equal for blocks whose tensors have equal shapes.
  double multiplications = 0;
  int64_t bytes = 0;
};

/// The blocks that all variants are cut into.
class IncrementalPasses::BlockPlan {
 public:
  BlockPlan(const CleanPass& clean, const std::vector<Window>& changed, const Options& options);

  /// Empty when not even single variants fit the budget.
  const std::vector<Block>& blocks() const { return blocks_; }
  /// Of all blocks; counted over convolutions and dense layers.
  double multiplications() const;
  int64_t planned_bytes() const { return planned_; }
  /// The map that a flattened value is made of; kNoValue for other values.
  ValueId flat_source(ValueId id) const;
  /// Whether a dense step takes the difference instead of the whole.
  bool takes_difference(const Block& block, const Step& step) const;
  /// Whether some block reads the clean value, by id.
  std::vector<char> read_values() const;

 private:
  using Places = std::vector<std::pair<int64_t, int64_t>>;
  void choose(const std::vector<Window>& changed);
  std::vector<Block> cut(const std::vector<Window>& changed, const Places& y, const Places& x, size_t edge_y,
                         size_t edge_x);
  void follow(Block& block, const Places& y, const Places& x);
  Reach reach_of(const Block& block, size_t s);
  double dense_share(const Block& block, const Step& step) const;
  int64_t num_weights() const;
  int64_t packed_bytes() const;
  int64_t whole_bytes(const Block& block, ValueId id) const;
  int64_t value_bytes(const Block& block, ValueId id) const;
  int64_t read_bytes(const Block& block, size_t s, ValueId in, const Reach& out) const;
  bool is_most(const std::array<Span, 2>& span, ValueId id) const;

  const CleanPass& c_;
  Options options_;
  std::map<ValueId, ValueId> flat_source_;
  std::vector<Block> blocks_;
  int64_t planned_ = 0;
};

}  // namespace pellucid
