#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "attribution/method.h"
#include "pellucid/rule_lines.h"

namespace pellucid {

/// Where the linear nodes of a network stand between its input and a target; known from the graph alone.
class LinearOrder {
 public:
  LinearOrder(const Graph& graph, ValueId input, ValueId target);
  /// No linear node lies between the input and this one.
  bool is_first(const Node& node) const;
  /// The same among convolutions.
  bool is_first_convolution(const Node& node) const;
  /// Neither this node nor any between it and the input is linear in the sense of having weights.
  bool precedes_linear(const Node& node) const;
  /// No linear node lies between this one and the target.
  bool is_last(const Node& node) const;
  int64_t batch_norms() const { return batch_norms_; }  ///< On the way, merged or not.

  /// The inputs of the first linear nodes, as the graph names them.
  const std::set<ValueId>& first_inputs() const { return first_inputs_; }

 private:
  void walk_down(const Graph& graph, ValueId input);
  void walk_up(const Graph& graph, ValueId target);
  std::set<ValueId> untouched_, unconvolved_, open_, on_the_way_, first_inputs_;
  int64_t batch_norms_ = 0;
};

/// What becomes of the relevance of each image beside what arrives: filled while the rules run.
struct RelevanceBalance {
  TensorList absorbed;                   ///< One float64 [N] per node that lost or made some.
  std::set<std::string> gradient_nodes;  ///< Operators without a rule, whose VJP stood in.
  std::set<std::string> signed_nodes;    ///< What a rule for non-negative inputs met otherwise.
  std::set<std::string> passed_norms;    ///< Normalizations by the data's own statistics.
  std::set<std::string> idle_lines;      ///< Lines by name or operator that no node fits.
  std::set<std::string> split_products;  ///< Products in which neither factor is a gate.
};

/// Everything that decides how relevance flows.
struct RelevanceRules {
  RuleLines lines;
  double epsilon = 1e-6;     ///< Of sums, averages and batch norms that no line names.
  bool excitation = false;   ///< Sums and averages share among positive terms only, as in excitation backprop.
  bool contrastive = false;  ///< With excitation: at the last linear node, minus the relevance of the dual unit.
};

struct Relevance {
  Values values;                                ///< At each `wrt`.
  Tensor start;                                 ///< [N] float64, relevance that set out.
  Tensor absorbed;                              ///< [N] float64, taken by biases and stabilizers on the way.
  std::map<std::string, int64_t> rule_uses;     ///< Rule -> nodes.
  std::vector<std::vector<std::string>> notes;  ///< Per image.
};

/// Relevance of the target's score (or of 1 for each, without `from_score`) at `wrt`. Streams over the context's
/// batch size.
Relevance propagate(const Context& context, const RelevanceRules& rules, const std::vector<ValueId>& wrt,
                    bool from_score, const std::string& owner);

/// Sum over all but the first dimension, float64 on the CPU.
Tensor sum_per_image(const Tensor& t);

}  // namespace pellucid
