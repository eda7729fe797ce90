// Writes a Graph as an ONNX file of IR version 8, which tools from 2021 on read.

#include <onnx/onnx_pb.h>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/graph.h"

namespace pellucid {

namespace {

int32_t element_type(at::ScalarType type) {
  using P = onnx::TensorProto;
  switch (type) {
    case at::kFloat:
      return P::FLOAT;
    case at::kDouble:
      return P::DOUBLE;
    case at::kHalf:
      return P::FLOAT16;
    case at::kBFloat16:
      return P::BFLOAT16;
    case at::kLong:
      return P::INT64;
    case at::kInt:
      return P::INT32;
    case at::kShort:
      return P::INT16;
    case at::kChar:
      return P::INT8;
    case at::kByte:
      return P::UINT8;
    case at::kBool:
      return P::BOOL;
    default:
      throw_unsupported(std::string("element type ") + at::toString(type) + " cannot be written to ONNX");
  }
}

void write_tensor(const Tensor& tensor, const std::string& name, onnx::TensorProto& proto) {
  const Tensor t = tensor.detach().to(at::kCPU).contiguous();
  proto.set_name(name);
  proto.set_data_type(element_type(t.scalar_type()));
  for (const int64_t d : t.sizes()) proto.add_dims(d);
  proto.set_raw_data(t.data_ptr(), t.nbytes());
}

struct AttributeWriter {
  onnx::AttributeProto& proto;
  void operator()(int64_t v) const {
    proto.set_type(onnx::AttributeProto::INT);
    proto.set_i(v);
  }
  void operator()(double v) const {
    proto.set_type(onnx::AttributeProto::FLOAT);
    proto.set_f(static_cast<float>(v));
  }
  void operator()(const std::string& v) const {
    proto.set_type(onnx::AttributeProto::STRING);
    proto.set_s(v);
  }
  void operator()(const Tensor& v) const {
    proto.set_type(onnx::AttributeProto::TENSOR);
    write_tensor(v, "", *proto.mutable_t());
  }
  void operator()(const std::vector<int64_t>& v) const {
    proto.set_type(onnx::AttributeProto::INTS);
    for (const int64_t x : v) proto.add_ints(x);
  }
  void operator()(const std::vector<double>& v) const {
    proto.set_type(onnx::AttributeProto::FLOATS);
    for (const double x : v) proto.add_floats(static_cast<float>(x));
  }
  void operator()(const std::vector<std::string>& v) const {
    proto.set_type(onnx::AttributeProto::STRINGS);
    for (const std::string& x : v) proto.add_strings(x);
  }
};

}  // namespace

std::string onnx_bytes(const Graph& graph) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("pellucid");
  for (const auto& [domain, version] : graph.opsets) {
    auto* opset = model.add_opset_import();
    opset->set_domain(domain);
    opset->set_version(version);
  }
  for (const auto& [key, value] : graph.metadata) {
    auto* entry = model.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }
  onnx::GraphProto& proto = *model.mutable_graph();
  proto.set_name(graph.name.empty() ? "graph" : graph.name);
  const auto name_of = [&](ValueId id) { return id == kNoValue ? std::string() : graph.value(id).name; };
  const auto declare_shape = [](const Shape& shape, onnx::TypeProto_Tensor& tensor) {
    static const char* const kAxis[] = {"N", "C", "H", "W"};
    tensor.mutable_shape();
    for (size_t i = 0; i < shape.size(); ++i) {
      auto* dim = tensor.mutable_shape()->add_dim();
      if (shape[i] >= 0) {
        dim->set_dim_value(shape[i]);
      } else {
        dim->set_dim_param(i < 4 ? kAxis[i] : "d" + std::to_string(i));
      }
    }
  };
  for (const GraphInput& input : graph.inputs()) {
    auto* info = proto.add_input();
    info->set_name(name_of(input.value));
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(element_type(input.type));
    if (input.has_shape) declare_shape(input.shape, *tensor);
  }
  for (const Value& value : graph.values()) {
    if (value.constant.defined()) write_tensor(value.constant, value.name, *proto.add_initializer());
  }
  for (const Node& node : graph.nodes()) {
    auto* n = proto.add_node();
    n->set_name(node.name);
    n->set_op_type(node.op);
    if (!node.domain.empty()) n->set_domain(node.domain);
    for (const ValueId in : node.inputs) n->add_input(name_of(in));
    for (const ValueId out : node.outputs) n->add_output(name_of(out));
    for (const auto& [key, attribute] : node.attributes) {
      auto* a = n->add_attribute();
      a->set_name(key);
      std::visit(AttributeWriter{*a}, attribute);
    }
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    auto* info = proto.add_output();
    info->set_name(name_of(graph.outputs()[i]));
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(onnx::TensorProto::FLOAT);
    if (graph.output_shapes()[i]) declare_shape(*graph.output_shapes()[i], *tensor);
  }
  std::string bytes;
  if (!model.SerializeToString(&bytes))
    throw_unsupported(graph.name + ": the model is larger than the 2 GiB an ONNX file can hold");
  return bytes;
}

void save_onnx(const Graph& graph, const std::string& path) { write_file_atomically(path, onnx_bytes(graph)); }

}  // namespace pellucid
