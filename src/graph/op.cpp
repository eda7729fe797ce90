#include "graph/op.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

// A shape, axes or repeats tensor has as many elements as a tensor has dimensions; a split may have more.
constexpr int64_t kMaxListLength = 1 << 16;
constexpr int64_t kMaxElements = int64_t{1} << 40;

std::string own_domain(const std::string& domain) { return domain == "ai.onnx" ? std::string() : domain; }

std::vector<Op> collect_ops() {
  std::vector<Op> ops;
  add_activation_ops(ops);
  add_canonical_ops(ops);
  add_convolution_ops(ops);
  add_elementwise_ops(ops);
  add_linear_ops(ops);
  add_logic_ops(ops);
  add_normalization_ops(ops);
  add_pooling_ops(ops);
  add_quantization_ops(ops);
  add_random_ops(ops);
  add_reduction_ops(ops);
  add_resize_ops(ops);
  add_shape_ops(ops);
  add_tensor_ops(ops);
  std::sort(ops.begin(), ops.end(), [](const Op& a, const Op& b) {
    return std::tie(a.type, a.domain, a.since) < std::tie(b.type, b.domain, b.since);
  });
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    TORCH_INTERNAL_ASSERT(op.forward != nullptr && op.since <= op.until, op.type);
    if (i == 0) continue;
    const Op& before = ops[i - 1];
    const bool overlaps = before.type == op.type && before.domain == op.domain && op.since <= before.until;
    TORCH_INTERNAL_ASSERT(!overlaps, "two implementations of ", op.type, " at opset ", op.since);
  }
  return ops;
}

using OpKey = std::pair<std::string, std::string>;

std::map<OpKey, std::vector<const Op*>> index_ops() {
  std::map<OpKey, std::vector<const Op*>> index;
  for (const Op& op : all_ops()) index[{op.domain, op.type}].push_back(&op);
  return index;
}

}  // namespace

const std::vector<Op>& all_ops() {
  static const std::vector<Op> ops = collect_ops();
  return ops;
}

const Op* find_op(const std::string& domain, const std::string& type, int64_t opset) {
  static const std::map<OpKey, std::vector<const Op*>> index = index_ops();
  const auto found = index.find({own_domain(domain), type});
  if (found == index.end()) return nullptr;
  for (const Op* op : found->second) {
    if (op->since <= opset && opset <= op->until) return op;
  }
  return nullptr;
}

OpRole role_of(const Node& node) {
  const Op* op = find_op(node.domain, node.op, node.opset);
  if (op == nullptr) return OpRole::kOther;
  if (node.op == "Clip" && op->domain.empty()) {
    return node.has("min") && node.real("min", -1) == 0 ? OpRole::kRectifier : OpRole::kActivation;
  }
  return op->role;
}

void op_error(const Node& node, const std::string& problem) {
  throw_invalid("node '" + printable(node.name) + "' (" + printable(node.op) + "): " + problem);
}

int64_t normal_axis(const Node& node, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    op_error(node, rank == 0 ? "axis " + std::to_string(axis) + " of a scalar"
                             : "axis " + std::to_string(axis) + " is not in [" + std::to_string(-rank) + ", " +
                                   std::to_string(rank - 1) + "]");
  }
  return axis < 0 ? axis + rank : axis;
}

int64_t checked_numel(const Node& node, const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) op_error(node, "result of shape " + shape_text(shape) + " has a negative dimension");
    empty = empty || size == 0;
  }
  for (const int64_t size : shape) {
    if (size == 0) continue;
    // Strides of an empty tensor are computed from its other dimensions, so those are bounded all the same.
    if (size > kMaxElements / numel) {
      op_error(node,
               "result of shape " + shape_text(shape) + " is larger than any tensor Pellucid makes (2^40 elements)");
    }
    numel *= size;
  }
  return empty ? 0 : numel;
}

const Tensor& OpCall::at(size_t i) const {
  if (!has(i)) op_error(node, "input " + std::to_string(i) + " is missing");
  return in[i];
}

std::vector<int64_t> OpCall::integers(size_t i) const {
  const Tensor& tensor = at(i);
  if (!at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) {
    op_error(node, "input " + std::to_string(i) + " is " + tensor_text(tensor) + "; it must hold integers");
  }
  if (tensor.dim() > 1 || tensor.numel() > kMaxListLength) {
    op_error(node,
             "input " + std::to_string(i) + " is " + tensor_text(tensor) + "; it must be a short list of integers");
  }
  const Tensor list = tensor.to(at::kCPU, at::kLong).contiguous();
  const int64_t* data = list.data_ptr<int64_t>();
  return std::vector<int64_t>(data, data + list.numel());
}

std::vector<int64_t> OpCall::integers_from(const char* attribute, size_t input) const {
  if (node.has(attribute)) return node.integers(attribute);
  return has(input) ? integers(input) : std::vector<int64_t>();
}

bool OpCall::reusable(size_t i) const {
  if (!has(i)) return false;
  const Tensor& tensor = in[i];
  return tensor.use_count() == 1 && !tensor.requires_grad() && tensor.has_storage() &&
         tensor.storage().use_count() == 1 && tensor.is_non_overlapping_and_dense();
}

}  // namespace pellucid
