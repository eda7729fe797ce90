// Incremental passes against plain passes over the same variants, on random networks and on each rule alone.

#include "graph/incremental.h"

#include <gtest/gtest.h>

#include <random>

#include "support/compare.h"
#include "support/explainer.h"
#include "support/layer_builder.h"

namespace pellucid::test {
namespace {

/// Random networks of everything that passes on a rectangle, and some things that do not.
class RandomGraph {
 public:
  explicit RandomGraph(uint64_t seed) : random_(seed), numbers_(seed), graph_(14) {
    height = pick(9, 34);
    width = pick(9, 34);
    graph_.set_name("random");
    graph_.input("x", {-1, 3, height, width});
    Map at{"x", 3, height, width};
    const int64_t depth = pick(3, 8);
    for (int64_t i = 0; i < depth; ++i) at = grow(at);
    finish(at);
    graph = graph_.finish();
  }

  int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(numbers_); }
  Tensor normal(const Shape& shape) { return random_.normal(shape); }

  int64_t height, width;
  Graph graph;
  std::string text;

 private:
  struct Map {
    std::string name;
    int64_t channels, height, width;
  };
  using Ints = std::vector<int64_t>;

  std::string fresh() { return "v" + std::to_string(count_++); }

  Map node(const std::string& op, const std::vector<std::string>& from, std::map<std::string, Attribute> attributes,
           Map result) {
    text += op + " ";
    result.name = fresh();
    graph_.node(op, from, {result.name}, std::move(attributes));
    return result;
  }

  Map pointwise(const Map& at) {
    static const char* const kOps[] = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSwish", "Softplus"};
    return node(kOps[pick(0, 5)], {at.name}, {}, at);
  }

  Map norm(const Map& at) {
    std::vector<std::string> in{at.name};
    for (int i = 0; i < 4; ++i) {
      in.push_back(fresh());
      graph_.constant(in.back(), random_.uniform({at.channels}) + 0.5);
    }
    return node("BatchNormalization", in, {}, at);
  }

  Map conv(const Map& at, int64_t out, Ints kernel, Ints strides, Ints dilations, Ints pads, int64_t group = 1) {
    const int64_t extent_y = (kernel[0] - 1) * dilations[0] + 1, extent_x = (kernel[1] - 1) * dilations[1] + 1;
    const int64_t span_y = at.height + pads[0] + pads[2] - extent_y, span_x = at.width + pads[1] + pads[3] - extent_x;
    if (span_y < 0 || span_x < 0) return at;
    const std::string w = fresh(), b = fresh();
    graph_.constant(w, random_.normal({out, at.channels / group, kernel[0], kernel[1]}) /
                           std::sqrt(static_cast<double>(at.channels / group * kernel[0] * kernel[1])));
    graph_.constant(b, random_.normal({out}) * 0.3);
    return node("Conv", {at.name, w, b},
                {{"strides", strides}, {"dilations", dilations}, {"pads", pads}, {"group", group}},
                {"", out, span_y / strides[0] + 1, span_x / strides[1] + 1});
  }

  Map random_conv(const Map& at) {
    const Ints pads{pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3)};
    const bool depthwise = pick(0, 3) == 0;
    return conv(at, depthwise ? at.channels : pick(2, 6), {pick(1, 5), pick(1, 5)}, {pick(1, 3), pick(1, 2)},
                {pick(1, 2), pick(1, 3)}, pads, depthwise ? at.channels : 1);
  }

  Map same_conv(const Map& at, int64_t out, int64_t radius) {
    return conv(at, out, {2 * radius + 1, 2 * radius + 1}, {1, 1}, {1, 1}, {radius, radius, radius, radius});
  }

  Map automatic_conv(const Map& at) {
    const std::string w = fresh();
    const int64_t out = pick(2, 5), kernel = pick(1, 4), stride = pick(1, 3);
    graph_.constant(w, random_.normal({out, at.channels, kernel, kernel}) /
                           std::sqrt(static_cast<double>(at.channels * kernel * kernel)));
    return node(
        "Conv", {at.name, w},
        {{"auto_pad", std::string(pick(0, 1) ? "SAME_UPPER" : "SAME_LOWER")}, {"strides", Ints{stride, stride}}},
        {"", out, (at.height + stride - 1) / stride, (at.width + stride - 1) / stride});
  }

  Map pool(const Map& at) {
    const int64_t kernel = pick(1, 4), stride = pick(1, 3), ceil = pick(0, 1);
    const int64_t begin = pick(0, kernel / 2), end = pick(0, 2) ? begin : pick(0, kernel / 2);
    const auto size = [&](int64_t n) {
      const int64_t span = n + begin + end - kernel;
      if (span < 0) return int64_t{-1};
      int64_t out = span / stride + 1;
      if (ceil) {
        out = (span + stride - 1) / stride + 1;
        if ((out - 1) * stride >= n + begin) --out;
      }
      return out;
    };
    if (size(at.height) < 1 || size(at.width) < 1) return at;
    std::map<std::string, Attribute> attributes{{"kernel_shape", Ints{kernel, kernel}},
                                                {"strides", Ints{stride, stride}},
                                                {"pads", Ints{begin, begin, end, end}},
                                                {"ceil_mode", ceil}};
    const bool average = pick(0, 1) == 1;
    if (average) attributes["count_include_pad"] = pick(0, 1);
    return node(average ? "AveragePool" : "MaxPool", {at.name}, attributes,
                {"", at.channels, size(at.height), size(at.width)});
  }

  Map pad(const Map& at) {
    const Ints p{pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2)};
    const std::string pads = fresh(), value = fresh();
    graph_.constant(pads, at::tensor(Ints{0, 0, p[0], p[1], 0, 0, p[2], p[3]}, at::kLong));
    graph_.constant(value, at::full({}, 0.7, at::TensorOptions(at::kDouble)));
    return node("Pad", {at.name, pads, value}, {}, {"", at.channels, at.height + p[0] + p[2], at.width + p[1] + p[3]});
  }

  Map join(const Map& at) {
    const int64_t kind = pick(0, 3);
    if (kind == 0) {
      const Map left = same_conv(at, 3, 0), right = same_conv(at, 2, pick(1, 2));
      return node("Concat", {left.name, right.name, at.name}, {{"axis", int64_t{1}}},
                  {"", 5 + at.channels, at.height, at.width});
    }
    const Map branch = norm(same_conv(pointwise(at), at.channels, pick(0, 2)));
    return node(kind == 1 ? "Mul" : "Add", {branch.name, at.name}, {}, at);
  }

  /// Squeeze and excite: everything behind it changes everywhere.
  Map excite(const Map& at) {
    const Map mean = node("GlobalAveragePool", {at.name}, {}, {"", at.channels, 1, 1});
    const Map gate = node("Sigmoid", {same_conv(mean, at.channels, 0).name}, {}, mean);
    return node("Mul", {at.name, gate.name}, {}, at);
  }

  Map grow(const Map& at) {
    switch (pick(0, 10)) {
      case 0:
      case 1:
      case 2:
        return random_conv(at);
      case 3:
        return automatic_conv(at);
      case 4:
      case 5:
        return pool(at);
      case 6:
        return norm(at);
      case 7:
        return pad(at);
      case 8:
        return pick(0, 4) == 0 ? excite(at) : join(at);
      case 9:
        return join(at);
      default:
        return pointwise(at);
    }
  }

  void finish(const Map& at) {
    std::string last = at.name;
    int64_t inputs = at.channels;
    switch (pick(0, 3)) {
      case 0:  // the map itself
        graph_.node("Relu", {last}, {"out"}, {});
        graph_.output("out");
        return;
      case 1:
        last = node("GlobalAveragePool", {last}, {}, at).name;
        break;
      case 2:
        last = node("GlobalMaxPool", {last}, {}, at).name;
        break;
      default:
        inputs = at.channels * at.height * at.width;
    }
    const std::string flat = fresh(), w = fresh(), b = fresh();
    graph_.node("Flatten", {last}, {flat});
    const bool transposed = pick(0, 1) == 1;
    graph_.constant(w, random_.normal(transposed ? Shape{4, inputs} : Shape{inputs, 4}));
    graph_.constant(b, random_.normal({4}));
    graph_.node("Gemm", {flat, w, b}, {"out"}, {{"transB", int64_t{transposed}}, {"alpha", 0.5}});
    graph_.output("out");
  }

  Random random_;
  std::mt19937_64 numbers_;
  GraphBuilder graph_;
  int count_ = 0;
};

std::vector<Window> grid(int64_t height, int64_t width, int64_t patch_y, int64_t patch_x, int64_t stride) {
  std::vector<Window> windows;
  for (int64_t top = 0;; top += stride) {
    const int64_t t = std::min(top, height - patch_y);
    for (int64_t left = 0;; left += stride) {
      const int64_t l = std::min(left, width - patch_x);
      windows.push_back({t, l, patch_y, patch_x});
      if (l == width - patch_x) break;
    }
    if (t == height - patch_y) break;
  }
  return windows;
}

/// Every variant by its own: the picture with noise in the window.
struct Variants {
  Tensor picture, noise;
  std::vector<Window> windows;

  static Tensor part(const Tensor& t, const Window& w) {
    return t.narrow(-2, w.top, w.height).narrow(-1, w.left, w.width);
  }
  Tensor whole(size_t i) const {
    Tensor t = picture.clone();
    part(t, windows[i]).copy_(part(noise, windows[i]));
    return t;
  }
  Tensor crop(size_t i, const Window& region) const { return part(whole(i)[0], region).clone(); }
};

/// The largest difference over all variants, relative to the largest value; negative when plain passes were chosen.
double disagreement(const Network& network, ValueId until, const Variants& variants,
                    const IncrementalPasses::Options& options) {
  const IncrementalPasses passes(network, variants.picture, until, variants.windows, options);
  if (!passes.worthwhile()) return -1;
  Request request;
  request.capture = {until};
  double worst = 0;
  std::vector<int> seen(variants.windows.size(), 0);
  passes.run([&](size_t i, const Window& region) { return variants.crop(i, region); },
             [&](const std::vector<size_t>& indices, const Tensor& value) {
               for (size_t row = 0; row < indices.size(); ++row) {
                 const size_t i = indices[row];
                 ++seen[i];
                 const Tensor expected = network.run({variants.whole(i)}, request).at(until)[0];
                 const Tensor got = value[static_cast<int64_t>(row)];
                 EXPECT_EQ(got.sizes().vec(), expected.sizes().vec());
                 worst = std::max(worst, (got - expected).abs().max().item<double>() /
                                             std::max(1e-3, expected.abs().max().item<double>()));
               }
             });
  for (const int count : seen) EXPECT_EQ(count, 1);
  return worst;
}

/// Every value of the network as the end of the passes: a wrong map is found where it arises.
void compare_random(uint64_t seed, Precision precision, double tolerance, int& compared) {
  RandomGraph g(seed);
  NetworkOptions options;
  options.precision = precision;
  const Network network(g.graph, options);
  const int64_t patch_y = g.pick(1, g.height / 3), patch_x = g.pick(1, g.width / 3);
  const Variants variants{g.normal({1, 3, g.height, g.width}).to(network.dtype()),
                          g.normal({1, 3, g.height, g.width}).to(network.dtype()) * 2,
                          grid(g.height, g.width, patch_y, patch_x, g.pick(2, 6))};
  IncrementalPasses::Options how;
  how.whole_share = g.pick(0, 1) ? 1.0 : 0.6;
  how.most_rows = g.pick(0, 1) ? 32 : 6;
  for (const Node& node : network.graph().nodes()) {
    const double error = disagreement(network, node.outputs[0], variants, how);
    if (error < 0) continue;
    ++compared;
    EXPECT_LT(error, tolerance) << "seed " << seed << ", value of " << node.op << " in " << g.text;
  }
}

TEST(IncrementalPasses, EqualPlainPassesAtEveryValueOfRandomNetworks) {
  int compared = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) compare_random(seed, Precision::kFloat64, 1e-10, compared);
  EXPECT_GT(compared, 150);
}

TEST(IncrementalPasses, EqualPlainPassesInFloat32) {
  int compared = 0;
  for (uint64_t seed = 101; seed <= 130; ++seed) compare_random(seed, Precision::kFloat32, 1e-5, compared);
  EXPECT_GT(compared, 70);
}

TEST(IncrementalPasses, EqualPlainPassesOnFamilies) {
  for (const Family family : kFamilies) {
    const Network network(random_network(family, 3), in_float64());
    Random random(5);
    const Variants variants{random.normal({1, 3, 45, 38}), random.normal({1, 3, 45, 38}), grid(45, 38, 7, 5, 4)};
    const double error = disagreement(network, network.graph().outputs()[0], variants, {});
    EXPECT_GE(error, 0) << family_name(family);  // it is worthwhile there
    EXPECT_LT(error, 1e-10) << family_name(family);
  }
}

TEST(IncrementalPasses, DenseLayerTakesTheDifference) {
  LayerBuilder b(3, {-1, 2, 16, 16});
  b.conv("c", "x", 3);
  b.node("Relu", "r", {"c"});
  b.node("Flatten", "flat", {"r"});
  b.gemm_with("out", "flat", b.random.normal({5, 3 * 256}), b.random.normal({5}));
  const Network network(b.finish("out"), in_float64());
  const Variants variants{b.random.normal({1, 2, 16, 16}), b.random.normal({1, 2, 16, 16}), grid(16, 16, 3, 3, 2)};
  const IncrementalPasses passes(network, variants.picture, network.graph().outputs()[0], variants.windows);
  ASSERT_TRUE(passes.worthwhile());
  // Conv and dense layer touch (3 + 2)^2 of 256 positions, and the clean pass is paid once for 64 variants.
  EXPECT_NEAR(passes.work_share(), 25.0 / 256 + 1.0 / 64, 1e-12);
  EXPECT_LT(disagreement(network, network.graph().outputs()[0], variants, {}), 1e-12);
}

TEST(IncrementalPasses, WorkIsThatOfTheRectangles) {
  LayerBuilder b(3, {-1, 2, 32, 32});
  b.conv("c1", "x", 4);  // a 4x4 patch reaches 6x6 of 32x32
  b.node("Relu", "r", {"c1"});
  b.pool("MaxPool", "p", "r", 2, 2);  // an even place of 6 pixels minus one: 4x4 of 16x16
  b.conv("c2", "p", 4);               // 6x6 of 16x16
  const Network network(b.head("c2", 3, false), in_float64());
  Random random(5);
  const Variants variants{random.normal({1, 2, 32, 32}), random.normal({1, 2, 32, 32}), {{8, 12, 4, 4}}};
  const IncrementalPasses passes(network, variants.picture, network.graph().outputs()[0], variants.windows);
  // One variant pays the clean pass too, so that plain passes win.
  EXPECT_FALSE(passes.worthwhile());
  EXPECT_EQ(passes.work_share(), 1);
  const Variants many{variants.picture, variants.noise, grid(32, 32, 4, 4, 4)};
  const IncrementalPasses worth(network, many.picture, network.graph().outputs()[0], many.windows);
  ASSERT_TRUE(worth.worthwhile());
  EXPECT_LT(worth.work_share(), 0.15);
  EXPECT_LT(disagreement(network, network.graph().outputs()[0], many, {}), 1e-12);
}

TEST(IncrementalPasses, StaysWithinTheBudgetOrDeclines) {
  const Network network(random_network(Family::kResidual, 3));
  Random random(5);
  const Variants variants{random.normal({1, 3, 96, 96}).to(at::kFloat), random.normal({1, 3, 96, 96}).to(at::kFloat),
                          grid(96, 96, 8, 8, 8)};
  const ValueId out = network.graph().outputs()[0];
  int64_t before = INT64_MAX;
  for (const int64_t budget : {int64_t{64} << 20, int64_t{3} << 20, int64_t{1} << 16}) {
    IncrementalPasses::Options options;
    options.memory_budget = budget;
    const IncrementalPasses passes(network, variants.picture, out, variants.windows, options);
    if (budget == 1 << 16) {
      EXPECT_FALSE(passes.worthwhile());  // the clean maps alone are larger
      continue;
    }
    ASSERT_TRUE(passes.worthwhile()) << budget;
    EXPECT_LE(passes.planned_bytes(), budget);
    EXPECT_LE(passes.planned_bytes(), before);
    before = passes.planned_bytes();
    EXPECT_LT(disagreement(network, out, variants, options), 1e-5);
  }
}

}  // namespace
}  // namespace pellucid::test
