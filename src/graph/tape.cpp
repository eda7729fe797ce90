#include <torch/csrc/autograd/autograd.h>

#include <optional>

#include "graph/executor.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

Tape::Tape(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tape::Tape(Tape&&) noexcept = default;
Tape& Tape::operator=(Tape&&) noexcept = default;
Tape::~Tape() = default;

const Tensor& Tape::value(ValueId id) const {
  const auto found = impl_->values.find(id);
  if (found == impl_->values.end()) throw_usage(impl_->file + ": value " + std::to_string(id) + " was not recorded");
  return found->second;
}

namespace {

/// The VJP of one recorded node: its own function, or LibTorch's autograd over the island.
TensorList vjp_of(const Record& record, const TensorList& grads, const std::vector<bool>& needed) {
  if (!record.island) {
    return record.op->vjp({*record.node, record.inputs, record.outputs, record.saved, grads, needed, record.in_shapes});
  }
  TensorList outputs, seeds, leaves;
  std::vector<size_t> where;
  for (size_t i = 0; i < record.outputs.size(); ++i) {
    if (grads[i].defined() && record.outputs[i].defined() && record.outputs[i].requires_grad()) {
      outputs.push_back(record.outputs[i]);
      seeds.push_back(grads[i]);
    }
  }
  TensorList result(record.inputs.size());
  for (size_t i = 0; i < record.inputs.size(); ++i) {
    if (needed[i] && record.inputs[i].defined() && record.inputs[i].requires_grad()) {
      leaves.push_back(record.inputs[i]);
      where.push_back(i);
    }
  }
  if (outputs.empty() || leaves.empty()) return result;
  const TensorList found = torch::autograd::grad(outputs, leaves, seeds, /*retain_graph=*/true, /*create_graph=*/false,
                                                 /*allow_unused=*/true);
  for (size_t i = 0; i < where.size(); ++i) result[where[i]] = found[i];
  return result;
}

bool same_nodes(const std::vector<Record>& a, const std::vector<Record>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Record& x, const Record& y) { return x.node == y.node; });
}

}  // namespace

Gradients Tape::backward(const Values& seeds, const std::vector<ValueId>& wrt, const RuleMap& rules,
                         const Tape* reference) const {
  at::NoGradGuard no_grad;
  if (reference && !same_nodes(impl_->records, reference->impl_->records)) {
    throw_usage(impl_->file + ": the reference tape was recorded by another request");
  }
  // Gradients that the walk summed itself may be added to in place; those that came from outside may not.
  struct Slot {
    Tensor grad;
    bool owned = false;
  };
  std::map<ValueId, Slot> grads;
  for (const auto& [id, seed] : seeds) grads[id] = {seed, false};

  // A record matters when one of its inputs leads back to `wrt`.
  std::map<ValueId, bool> leads;
  for (const ValueId id : wrt) leads[id] = true;
  std::vector<std::vector<bool>> needed(impl_->records.size());
  for (size_t i = 0; i < impl_->records.size(); ++i) {
    const Node& node = *impl_->records[i].node;
    bool any = false;
    for (const ValueId in : node.inputs) {
      const bool need = in != kNoValue && leads.count(in);
      needed[i].push_back(need);
      any = any || need;
    }
    if (!any) {
      needed[i].clear();
      continue;
    }
    for (const ValueId out : node.outputs) {
      if (out != kNoValue) leads[out] = true;
    }
  }

  Gradients result;
  for (const RuleEntry& rule : rules) result.rule_uses[rule.name];
  for (size_t i = impl_->records.size(); i-- > 0;) {
    if (needed[i].empty()) continue;
    const Record& record = impl_->records[i];
    const Node& node = *record.node;
    TensorList out_grads;
    bool any = false;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const auto found = grads.find(id);
      out_grads.push_back(found == grads.end() ? Tensor() : found->second.grad);
      any = any || out_grads.back().defined();
    }
    if (!any) continue;
    const RuleEntry* rule = nullptr;
    for (const RuleEntry& entry : rules) {
      if (entry.matches(node)) {
        rule = &entry;
        break;
      }
    }
    TensorList in_grads;
    try {
      if (rule) {
        ++result.rule_uses[rule->name];
        NodeBackward backward{
            node,      record.inputs, record.outputs,
            out_grads, needed[i],     [&](const TensorList& other) { return vjp_of(record, other, needed[i]); }};
        std::optional<NodeReference> counterpart;
        if (reference) {
          const Record& other = reference->impl_->records[i];
          counterpart.emplace(NodeReference{other.inputs, other.outputs, [&other, &needed, i](const TensorList& grad) {
                                              return vjp_of(other, grad, needed[i]);
                                            }});
          backward.reference = &*counterpart;
        }
        in_grads = rule->rule(backward);
      } else {
        in_grads = vjp_of(record, out_grads, needed[i]);
      }
    } catch (const c10::Error& e) {
      std::string what = e.what_without_backtrace();
      throw_failed(impl_->file + ": node '" + printable(node.name) + "' (" + printable(node.op, 40) +
                   "), backward: " + printable(what.substr(0, what.find('\n')), 300));
    }
    for (size_t j = 0; j < node.inputs.size() && j < in_grads.size(); ++j) {
      if (!needed[i][j] || !in_grads[j].defined()) continue;
      Slot& slot = grads[node.inputs[j]];
      if (!slot.grad.defined()) {
        slot = {in_grads[j], false};
      } else if (slot.owned) {
        slot.grad.add_(in_grads[j]);
      } else {
        slot = {slot.grad + in_grads[j], true};
      }
    }
    // A gradient that was passed on is not needed again unless it was asked for.
    for (const ValueId id : node.outputs) {
      if (id != kNoValue && std::find(wrt.begin(), wrt.end(), id) == wrt.end()) grads.erase(id);
    }
  }
  for (const ValueId id : wrt) {
    const auto found = grads.find(id);
    result.values[id] = found == grads.end() ? Tensor() : found->second.grad;
  }
  return result;
}

}  // namespace pellucid
