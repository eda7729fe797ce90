// Reads the ONNX format (onnx.ai, IR version 3 and later) with the message classes that ONNX itself ships.

#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <onnx/onnx_pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "graph/op.h"
#include "pellucid/error.h"
#include "pellucid/graph.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;

constexpr int kReadBlock = 1 << 20;

/// A regular file to be read, never mapped: a mapped file that shrinks under the reader ends the process by SIGBUS.
/// Links are followed for the model itself, never for its external data.
class OpenedFile {
 public:
  OpenedFile(const std::string& path, bool follow_links, const std::string& prefix)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | (follow_links ? 0 : O_NOFOLLOW))) {
    if (fd_ < 0)
      throw_invalid(prefix +
                    (errno == ELOOP ? "is a symbolic link" : std::string("cannot be opened: ") + strerror(errno)));
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd_);
      throw_invalid(prefix + "is not a regular file");
    }
    links_ = static_cast<int64_t>(info.st_nlink);
    size_ = static_cast<int64_t>(info.st_size);
  }
  ~OpenedFile() { ::close(fd_); }
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;
  int descriptor() const { return fd_; }
  int64_t size() const { return size_; }  ///< When it was opened.
  int64_t links() const { return links_; }
  /// False when the file has become too short, or cannot be read.
  bool read_at(int64_t offset, void* out, int64_t count) const {
    auto* to = static_cast<char*>(out);
    while (count > 0) {
      const ssize_t got = ::pread(fd_, to, static_cast<size_t>(count), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got;
      offset += got;
      count -= got;
    }
    return true;
  }

 private:
  int fd_;
  int64_t size_ = 0;
  int64_t links_ = 0;
};

at::ScalarType scalar_type(int32_t type, const std::string& where) {
  using P = onnx::TensorProto;
  switch (type) {
    case P::FLOAT:
      return at::kFloat;
    case P::DOUBLE:
      return at::kDouble;
    case P::FLOAT16:
      return at::kHalf;
    case P::BFLOAT16:
      return at::kBFloat16;
    case P::INT64:
      return at::kLong;
    case P::INT32:
      return at::kInt;
    case P::INT16:
      return at::kShort;
    case P::INT8:
      return at::kChar;
    case P::UINT8:
      return at::kByte;
    case P::BOOL:
      return at::kBool;
    // LibTorch has no wider unsigned types; the next signed one holds every value of these two.
    case P::UINT16:
      return at::kInt;
    case P::UINT32:
      return at::kLong;
    default:
      break;
  }
  std::string name = onnx::TensorProto_DataType_IsValid(type)
                         ? onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(type))
                         : "number " + std::to_string(type);
  throw_unsupported(where + "element type " + name +
                    " is not supported; float16/32/64, bfloat16, int8..int64, uint8..uint32 and bool are");
}

int64_t stored_size(int32_t type) {
  using P = onnx::TensorProto;
  switch (type) {
    case P::DOUBLE:
    case P::INT64:
      return 8;
    case P::FLOAT:
    case P::INT32:
    case P::UINT32:
      return 4;
    case P::FLOAT16:
    case P::BFLOAT16:
    case P::INT16:
    case P::UINT16:
      return 2;
    default:
      return 1;
  }
}

class Importer {
 public:
  Importer(std::string name, std::string folder, const LoadOptions& options)
      : file_(std::move(name)), folder_(std::move(folder)), options_(options) {}

  Graph import(onnx::ModelProto& model) {
    if (!model.has_graph()) throw_invalid(file_ + ": not an ONNX model: it has no graph");
    if (model.ir_version() < 3) {
      throw_unsupported(file_ + ": IR version " + std::to_string(model.ir_version()) + "; 3 and later are supported");
    }
    GraphBuilder builder;
    builder.properties().opsets.clear();
    builder.set_name(file_);
    builder.properties().ir_version = model.ir_version();
    builder.properties().producer = trim(model.producer_name() + " " + model.producer_version());
    for (const auto& entry : model.metadata_props()) builder.properties().metadata[entry.key()] = entry.value();
    for (const auto& opset : model.opset_import()) {
      builder.set_opset(opset.domain() == "ai.onnx" ? "" : opset.domain(), opset.version());
    }
    const auto onnx_opset = builder.properties().opsets.find("");
    if (onnx_opset != builder.properties().opsets.end()) {
      const std::string which = file_ + ": opset " + std::to_string(onnx_opset->second);
      if (onnx_opset->second > 1000) throw_unsupported(which + " does not exist");
      if (onnx_opset->second < 7) throw_unsupported(which + "; 7 and later are supported");
    }
    onnx::GraphProto& graph = *model.mutable_graph();
    read_weights(graph, builder);
    read_inputs(graph, builder);
    read_nodes(model, graph, builder);
    for (const auto& output : graph.output()) {
      std::optional<Shape> shape;
      if (output.has_type() && output.type().has_tensor_type() && output.type().tensor_type().has_shape()) {
        shape.emplace();
        for (const auto& dim : output.type().tensor_type().shape().dim()) {
          shape->push_back(dim.has_dim_value() && dim.dim_value() >= 0 ? dim.dim_value() : -1);
        }
      }
      builder.output(output.name(), std::move(shape));
    }
    if (graph.output_size() == 0) throw_invalid(file_ + ": the graph has no outputs");
    return builder.finish();
  }

 private:
  void read_weights(onnx::GraphProto& graph, GraphBuilder& builder) {
    if (graph.sparse_initializer_size() > 0) throw_unsupported(file_ + ": sparse initializers are not supported");
    for (auto& proto : *graph.mutable_initializer()) {
      const std::string where = file_ + ": initializer '" + printable(proto.name()) + "': ";
      if (proto.name().empty()) throw_invalid(file_ + ": an initializer has no name");
      initializers_.insert(proto.name());
      builder.constant(proto.name(), tensor_from(proto, where));
    }
  }

  void read_inputs(const onnx::GraphProto& graph, GraphBuilder& builder) {
    for (const auto& input : graph.input()) {
      if (input.name().empty()) throw_invalid(file_ + ": an input has no name");
      if (initializers_.count(input.name())) continue;  // IR 3 lists weights among the inputs
      const std::string where = file_ + ": input '" + printable(input.name()) + "': ";
      if (!input.has_type() || !input.type().has_tensor_type()) throw_unsupported(where + "is not a tensor");
      const auto& tensor = input.type().tensor_type();
      const at::ScalarType type = scalar_type(tensor.elem_type(), where);
      if (!tensor.has_shape()) {
        builder.input_of_unknown_shape(input.name(), type);
        continue;
      }
      Shape shape;
      double elements = 1;
      constexpr double kMostElements = 1e15;
      for (const auto& dim : tensor.shape().dim()) {
        const bool open = !dim.has_dim_value() || dim.dim_value() < 0;
        if (dim.has_dim_value() && dim.dim_value() < -1) {
          throw_invalid(where + "dimension " + std::to_string(dim.dim_value()) + " is negative");
        }
        shape.push_back(open ? -1 : dim.dim_value());
        elements *= open ? 1.0 : static_cast<double>(dim.dim_value());
      }
      if (elements > kMostElements) {
        throw_invalid(where + "its shape " + shape_text(shape) + " has more numbers than a machine can hold");
      }
      builder.input(input.name(), std::move(shape), type);
    }
  }

  /// By node, whether an output depends on it.
  static std::vector<char> needed_nodes(const onnx::GraphProto& graph) {
    std::unordered_map<std::string, std::vector<int>> producers;  // several where the file is damaged
    for (int i = 0; i < graph.node_size(); ++i) {
      for (const std::string& out : graph.node(i).output()) {
        if (!out.empty()) producers[out].push_back(i);
      }
    }
    std::vector<char> needed(static_cast<size_t>(graph.node_size()), 0);
    std::vector<int> open;
    const auto need = [&](const std::string& value) {
      const auto found = producers.find(value);
      if (found == producers.end()) return;
      for (const int i : found->second) {
        if (!needed[static_cast<size_t>(i)]) open.push_back(i);
        needed[static_cast<size_t>(i)] = 1;
      }
      producers.erase(found);
    };
    for (const auto& output : graph.output()) need(output.name());
    while (!open.empty()) {
      const int i = open.back();
      open.pop_back();
      for (const std::string& in : graph.node(i).input()) need(in);
    }
    return needed;
  }

  void read_nodes(const onnx::ModelProto& model, onnx::GraphProto& graph, GraphBuilder& builder) {
    std::set<std::pair<std::string, std::string>> functions;
    for (const auto& f : model.functions()) functions.insert({f.domain(), f.name()});
    std::map<std::string, std::vector<std::string>> unsupported;  // description -> node names
    const auto opset_of = [&](const std::string& domain) {
      const auto version = builder.properties().opsets.find(domain);
      return version == builder.properties().opsets.end() ? int64_t{0} : version->second;
    };
    const auto supports = [&](const onnx::NodeProto& node) {
      const std::string domain = node.domain() == "ai.onnx" ? "" : node.domain();
      return !functions.count({node.domain(), node.op_type()}) && domain != kCanonicalDomain &&
             find_op(domain, node.op_type(), opset_of(domain));
    };
    const std::vector<char> needed = needed_nodes(graph);
    bool drops_dead = false;  // dead code may be anything, and then what reads it is left out as well
    for (int i = 0; i < graph.node_size(); ++i) {
      drops_dead = drops_dead || (!needed[static_cast<size_t>(i)] && !supports(graph.node(i)));
    }
    int64_t index = -1;
    for (auto& proto : *graph.mutable_node()) {
      ++index;
      if (drops_dead && !needed[static_cast<size_t>(index)]) continue;
      std::vector<std::string> inputs(proto.input().begin(), proto.input().end());
      std::vector<std::string> outputs(proto.output().begin(), proto.output().end());
      std::string name = proto.name();
      if (name.empty()) name = proto.op_type() + "_" + std::to_string(index);
      const std::string domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
      const int64_t opset = opset_of(domain);
      if (opset == 0 && domain.empty()) throw_invalid(file_ + ": the model does not say which ONNX opset it uses");
      if (functions.count({proto.domain(), proto.op_type()})) {
        unsupported["model-local function " + printable(proto.op_type())].push_back(name);
        continue;
      }
      if (!supports(proto)) {
        std::string what = "op " + printable(proto.op_type(), 60);
        if (!domain.empty()) what += " of domain " + printable(domain, 60);
        unsupported[what + " (opset " + std::to_string(opset) + ")"].push_back(name);
        continue;
      }
      std::map<std::string, Attribute> attributes;
      for (auto& attribute : *proto.mutable_attribute()) {
        attributes[attribute.name()] =
            attribute_from(attribute, file_ + ": node '" + printable(name) + "' (" + proto.op_type() +
                                          "): attribute '" + printable(attribute.name()) + "': ");
      }
      builder.node(proto.op_type(), inputs, outputs, std::move(attributes), name, domain);
    }
    if (!unsupported.empty()) {
      std::string message = file_ + ": ";
      size_t total = 0;
      bool first = true;
      for (const auto& entry : unsupported) total += entry.second.size();
      for (const auto& [what, names] : unsupported) {
        message += (first ? "" : ", ") + what + " ('" + printable(names.front(), 60) + "'" +
                   (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "") + ")";
        first = false;
        if (message.size() > 1000) {
          message += ", ...";
          break;
        }
      }
      throw_unsupported(message + (unsupported.size() == 1 ? " is" : " are") + " not supported, " +
                        std::to_string(total) + " of " + std::to_string(graph.node_size()) +
                        " nodes; 'pellucid info --ops' lists what is");
    }
  }

  Attribute attribute_from(onnx::AttributeProto& a, const std::string& where) {
    using A = onnx::AttributeProto;
    switch (a.type()) {
      case A::INT:
        return a.i();
      case A::FLOAT:
        return static_cast<double>(a.f());
      case A::STRING:
        return a.s();
      case A::TENSOR:
        return tensor_from(*a.mutable_t(), where);
      case A::INTS:
        return std::vector<int64_t>(a.ints().begin(), a.ints().end());
      case A::FLOATS:
        return std::vector<double>(a.floats().begin(), a.floats().end());
      case A::STRINGS:
        return std::vector<std::string>(a.strings().begin(), a.strings().end());
      default:
        break;
    }
    // Old exporters leave the type out.
    if (a.ints_size()) return std::vector<int64_t>(a.ints().begin(), a.ints().end());
    if (a.floats_size()) return std::vector<double>(a.floats().begin(), a.floats().end());
    if (a.has_t()) return tensor_from(*a.mutable_t(), where);
    if (a.has_i()) return a.i();
    if (a.has_f()) return static_cast<double>(a.f());
    if (a.has_s()) return a.s();
    throw_unsupported(where + "subgraphs, types and empty attributes are not supported");
  }

  Tensor tensor_from(onnx::TensorProto& proto, const std::string& where) {
    const at::ScalarType type = scalar_type(proto.data_type(), where);
    Shape shape;
    int64_t count = 1;
    int64_t strides = 1;  // of the nonzero dimensions: an empty tensor may not have impossible strides either
    for (const int64_t dim : proto.dims()) {
      if (dim < 0) throw_invalid(where + "dimension " + std::to_string(dim) + " is negative");
      if (__builtin_mul_overflow(strides, std::max<int64_t>(dim, 1), &strides) || strides > (int64_t{1} << 40)) {
        throw_invalid(where + "its dimensions " + shape_text(Shape(proto.dims().begin(), proto.dims().end())) +
                      " are too large");
      }
      count *= dim;
      shape.push_back(dim);
    }
    const int64_t bytes = count * stored_size(proto.data_type());
    total_bytes_ += bytes;
    if (total_bytes_ > options_.max_bytes) {
      throw_invalid(where + "the weights need more than " + std::to_string(options_.max_bytes >> 20) + " MiB");
    }
    const int typed = (proto.float_data_size() > 0) + (proto.int32_data_size() > 0) + (proto.int64_data_size() > 0) +
                      (proto.double_data_size() > 0) + (proto.uint64_data_size() > 0) + (proto.string_data_size() > 0);
    if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
      if (proto.has_raw_data() || typed) throw_invalid(where + "has both external and inline data");
      return tensor_from_external(proto, type, shape, bytes, where);
    }
    if (typed + (proto.has_raw_data() && !proto.raw_data().empty()) > 1) {
      throw_invalid(where + "holds its data twice, as raw bytes and as numbers or as two types of numbers");
    }
    if (proto.has_raw_data() && (typed == 0)) {
      if (static_cast<int64_t>(proto.raw_data().size()) != bytes) {
        throw_invalid(where + "raw_data has " + std::to_string(proto.raw_data().size()) + " bytes but " +
                      shape_text(shape) + " needs " + std::to_string(bytes));
      }
      // The message's own string becomes the tensor's memory: weights are copied once, from file to string.
      std::string* owned = proto.release_raw_data();
      if (bytes == 0 || stored_size(proto.data_type()) != static_cast<int64_t>(c10::elementSize(type)) ||
          reinterpret_cast<uintptr_t>(owned->data()) % 16 != 0) {
        Tensor copied = copy_bytes(owned->data(), proto.data_type(), type, shape);
        delete owned;
        return copied;
      }
      if (type == at::kBool) {
        for (char& c : *owned) c = c != 0;
      }
      return at::from_blob(
          owned->data(), shape, [owned](void*) { delete owned; }, at::TensorOptions().dtype(type));
    }
    return tensor_from_numbers(proto, type, shape, count, where);
  }

  Tensor tensor_from_numbers(const onnx::TensorProto& proto, at::ScalarType type, const Shape& shape, int64_t count,
                             const std::string& where) {
    const auto expect = [&](int size) {
      if (size != count) {
        throw_invalid(where + "has " + std::to_string(size) + " numbers but " + shape_text(shape) + " needs " +
                      std::to_string(count));
      }
    };
    switch (type) {
      case at::kFloat: {
        expect(proto.float_data_size());
        Tensor t = at::empty(shape, at::kFloat);
        std::copy(proto.float_data().begin(), proto.float_data().end(), t.data_ptr<float>());
        return t;
      }
      case at::kDouble: {
        expect(proto.double_data_size());
        Tensor t = at::empty(shape, at::kDouble);
        std::copy(proto.double_data().begin(), proto.double_data().end(), t.data_ptr<double>());
        return t;
      }
      case at::kLong: {
        Tensor t = at::empty(shape, at::kLong);
        if (proto.data_type() == onnx::TensorProto::UINT32) {
          expect(proto.uint64_data_size());
          std::copy(proto.uint64_data().begin(), proto.uint64_data().end(), t.data_ptr<int64_t>());
        } else {
          expect(proto.int64_data_size());
          std::copy(proto.int64_data().begin(), proto.int64_data().end(), t.data_ptr<int64_t>());
        }
        return t;
      }
      default:
        break;
    }
    expect(proto.int32_data_size());
    Tensor wide = at::empty(shape, at::kInt);
    std::copy(proto.int32_data().begin(), proto.int32_data().end(), wide.data_ptr<int32_t>());
    if (type == at::kHalf || type == at::kBFloat16) return wide.to(at::kShort).view(type);  // bit patterns
    Tensor narrow = wide.to(type);
    if (type != at::kInt && type != at::kBool) {
      const Tensor wrong = narrow.to(at::kInt).ne(wide);
      if (wrong.any().item<bool>()) {
        throw_invalid(where + "the number " + std::to_string(wide.masked_select(wrong)[0].item<int32_t>()) +
                      " does not fit " +
                      onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(proto.data_type())));
      }
    }
    return narrow;
  }

  static Tensor copy_bytes(const char* data, int32_t stored, at::ScalarType type, const Shape& shape) {
    if (stored == onnx::TensorProto::UINT16 || stored == onnx::TensorProto::UINT32) {
      Tensor t = at::empty(shape, at::kLong);
      auto* out = t.data_ptr<int64_t>();
      for (int64_t i = 0; i < t.numel(); ++i) {
        if (stored == onnx::TensorProto::UINT16) {
          uint16_t v;
          std::memcpy(&v, data + i * 2, 2);
          out[i] = v;
        } else {
          uint32_t v;
          std::memcpy(&v, data + i * 4, 4);
          out[i] = v;
        }
      }
      return t.to(type);
    }
    Tensor t = at::empty(shape, type == at::kBool ? at::kByte : type);
    if (t.numel()) std::memcpy(t.data_ptr(), data, t.nbytes());
    return type == at::kBool ? t.ne(0) : t;
  }

  Tensor tensor_from_external(const onnx::TensorProto& proto, at::ScalarType type, const Shape& shape, int64_t bytes,
                              const std::string& where) {
    std::string location;
    int64_t offset = 0;
    int64_t length = bytes;
    std::set<std::string> seen;
    for (const auto& entry : proto.external_data()) {
      if (!seen.insert(entry.key()).second)
        throw_invalid(where + "external data names '" + printable(entry.key()) + "' twice");
      if (entry.key() == "location") {
        location = entry.value();
      } else if (entry.key() == "offset" || entry.key() == "length") {
        int64_t& target = entry.key() == "offset" ? offset : length;
        if (!parse_int(entry.value(), target) || target < 0) {
          throw_invalid(where + "external data " + entry.key() + " is '" + printable(entry.value()) +
                        "'; it must be an integer >= 0");
        }
      } else if (entry.key() != "checksum") {
        throw_invalid(where + "external data has an unknown key '" + printable(entry.key()) + "'");
      }
    }
    if (folder_.empty()) throw_invalid(where + "external data is refused for a model that does not come from a file");
    check_location(location, where);
    const fs::path path = fs::path(folder_) / fs::u8path(location);
    const std::string about = where + "its external data '" + printable(location) + "' ";
    // Every component below the model's folder must be real, so that no link leads out of it.
    fs::path walk = folder_;
    for (const auto& part : fs::u8path(location)) {
      walk /= part;
      std::error_code ec;
      if (fs::is_symlink(fs::symlink_status(walk, ec))) throw_invalid(about + "goes through a symbolic link");
    }
    const OpenedFile file(path.string(), /*follow_links=*/false, about);
    // A hard link may name a file of another folder.
    if (file.links() > 1) throw_invalid(about + "has more than one hard link");
    if (length != bytes) {
      throw_invalid(about + "has length " + std::to_string(length) + " but " + shape_text(shape) + " needs " +
                    std::to_string(bytes));
    }
    const int64_t size = file.size();
    if (offset > size || length > size - offset) {
      throw_invalid(about + "has " + std::to_string(size) + " bytes; offset " + std::to_string(offset) +
                    " and length " + std::to_string(length) + " reach past its end");
    }
    Tensor data = at::empty({bytes}, at::kByte);
    if (!file.read_at(offset, data.data_ptr(), bytes)) throw_invalid(about + "became shorter while it was read");
    if (stored_size(proto.data_type()) == static_cast<int64_t>(c10::elementSize(type)) && type != at::kBool) {
      return data.view(type).view(shape);
    }
    return copy_bytes(static_cast<const char*>(data.data_ptr()), proto.data_type(), type, shape);
  }

  static void check_location(const std::string& location, const std::string& where) {
    const std::string about = where + "external data location '" + printable(location) + "' ";
    if (location.empty()) throw_invalid(where + "external data has no location");
    if (location.find('\0') != std::string::npos) throw_invalid(about + "contains a zero byte");
    if (location[0] == '/' || location[0] == '\\' || (location.size() > 1 && location[1] == ':')) {
      throw_invalid(about + "must be a path inside the model's folder");
    }
    if (location[0] == '*') throw_invalid(about + "is a marker for memory, not a file");
    for (const std::string& part : split(location, '/')) {
      if (part == ".." || part.find('\\') != std::string::npos) {
        throw_invalid(about + "must be a path inside the model's folder");
      }
    }
  }

  std::string file_;
  std::string folder_;
  const LoadOptions& options_;
  int64_t total_bytes_ = 0;
  std::set<std::string> initializers_;
};

Graph import_stream(google::protobuf::io::ZeroCopyInputStream& stream, int64_t size, const std::string& name,
                    const std::string& folder, const LoadOptions& options) {
  if (size == 0) throw_invalid(name + ": the file is empty; an ONNX model was expected");
  if (size > options.max_bytes) {
    throw_invalid(name + ": the file has " + std::to_string(size >> 20) + " MiB; at most " +
                  std::to_string(options.max_bytes >> 20) + " are accepted");
  }
  if (size > INT_MAX) {
    throw_unsupported(name +
                      ": the file is larger than 2 GiB, the limit of the format; store the weights as external data");
  }
  onnx::ModelProto model;
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(INT_MAX);
  google::protobuf::LogSilencer silence;
  if (!model.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage()) {
    throw_invalid(name + ": not an ONNX model: the file is damaged or of another format");
  }
  return Importer(name, folder, options).import(model);
}

}  // namespace

Graph load_onnx(const std::string& path, const LoadOptions& options) {
  const fs::path p = fs::u8path(path);
  const std::string name = printable(p.filename().string());
  const OpenedFile file(path, /*follow_links=*/true, printable(path) + ": ");
  const fs::path folder = p.has_parent_path() ? p.parent_path() : fs::path(".");
  google::protobuf::io::FileInputStream stream(file.descriptor(), kReadBlock);
  return import_stream(stream, file.size(), name, folder.string(), options);
}

Graph parse_onnx(std::string_view bytes, const std::string& name, const LoadOptions& options) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(),
                                                static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
  return import_stream(stream, static_cast<int64_t>(bytes.size()), name, std::string(), options);
}

}  // namespace pellucid
