#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pellucid::test {

/// Writes ONNX messages field by field, so that a test can also write what no exporter would.
///
///   OnnxModel m;
///   m.input("x", {-1, 3, 8, 8}).floats("w", {1, 3, 1, 1}, {1, 1, 1}).output("y");
///   m.node("Conv", {"x", "w"}, {"y"}, "conv").ints("strides", {0, 0});
///   parse_onnx(m.bytes(), "bad.onnx");
class OnnxModel {
 public:
  using Names = std::vector<std::string>;

  /// A node whose attributes are still being written.
  class NodeWriter {
   public:
    explicit NodeWriter(onnx::NodeProto* proto) : proto_(proto) {}
    NodeWriter& integer(const std::string& name, int64_t value) {
      attribute(name, onnx::AttributeProto::INT)->set_i(value);
      return *this;
    }
    NodeWriter& real(const std::string& name, float value) {
      attribute(name, onnx::AttributeProto::FLOAT)->set_f(value);
      return *this;
    }
    NodeWriter& text(const std::string& name, const std::string& value) {
      attribute(name, onnx::AttributeProto::STRING)->set_s(value);
      return *this;
    }
    NodeWriter& ints(const std::string& name, const std::vector<int64_t>& values) {
      auto* a = attribute(name, onnx::AttributeProto::INTS);
      for (const int64_t v : values) a->add_ints(v);
      return *this;
    }
    NodeWriter& domain(const std::string& name) {
      proto_->set_domain(name);
      return *this;
    }
    onnx::AttributeProto* attribute(const std::string& name, onnx::AttributeProto::AttributeType type) {
      auto* a = proto_->add_attribute();
      a->set_name(name);
      a->set_type(type);
      return a;
    }
    onnx::NodeProto& proto() { return *proto_; }

   private:
    onnx::NodeProto* proto_;
  };

  explicit OnnxModel(int64_t opset = 13) {
    proto_.set_ir_version(8);
    proto_.mutable_graph()->set_name("g");
    import(std::string(), opset);
  }

  OnnxModel& import(const std::string& domain, int64_t opset) {
    auto* entry = proto_.add_opset_import();
    entry->set_domain(domain);
    entry->set_version(opset);
    return *this;
  }

  /// A dimension of -1 is written as the symbol "N".
  OnnxModel& input(const std::string& name, const std::vector<int64_t>& shape,
                   int32_t type = onnx::TensorProto::FLOAT) {
    auto* value = graph().add_input();
    value->set_name(name);
    auto* tensor = value->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (const int64_t size : shape) {
      auto* dim = tensor->mutable_shape()->add_dim();
      if (size == -1) {
        dim->set_dim_param("N");
      } else {
        dim->set_dim_value(size);
      }
    }
    return *this;
  }

  OnnxModel& output(const std::string& name) {
    graph().add_output()->set_name(name);
    return *this;
  }

  /// An initializer without data.
  onnx::TensorProto& weight(const std::string& name, const std::vector<int64_t>& shape,
                            int32_t type = onnx::TensorProto::FLOAT) {
    auto* tensor = graph().add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t size : shape) tensor->add_dims(size);
    return *tensor;
  }
  OnnxModel& floats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    auto& tensor = weight(name, shape);
    for (const float v : values) tensor.add_float_data(v);
    return *this;
  }
  /// As many ones as the shape holds.
  OnnxModel& ones(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return floats(name, shape, std::vector<float>(static_cast<size_t>(count), 1.0f));
  }
  /// A list of int64: the shapes, axes and repeats that newer opsets take as inputs.
  OnnxModel& integers(const std::string& name, const std::vector<int64_t>& values) {
    auto& tensor = weight(name, {static_cast<int64_t>(values.size())}, onnx::TensorProto::INT64);
    for (const int64_t v : values) tensor.add_int64_data(v);
    return *this;
  }

  NodeWriter node(const std::string& op, const Names& inputs, const Names& outputs, const std::string& name = {}) {
    auto* n = graph().add_node();
    n->set_op_type(op);
    n->set_name(name);
    for (const auto& in : inputs) n->add_input(in);
    for (const auto& out : outputs) n->add_output(out);
    return NodeWriter(n);
  }

  onnx::ModelProto& proto() { return proto_; }
  onnx::GraphProto& graph() { return *proto_.mutable_graph(); }
  std::string bytes() const { return proto_.SerializeAsString(); }

 private:
  onnx::ModelProto proto_;
};

}  // namespace pellucid::test
