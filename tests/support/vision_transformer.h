#pragma once

#include <string>

#include "support/layer_builder.h"

namespace pellucid::test {

/// A small transformer on [N,3,H,W] as PyTorch exports one (Dosovitskiy et al., ICLR 2021): patches of 4x4 as tokens of
/// width 8 after one class token, learned positions, two blocks of two heads, three classes from the class token or,
/// with `mean_head`, linearly from the mean of the patches. The normalization before the attention of the last block is
/// "block1/norm1", its result "block1/out".
inline Graph vision_transformer(uint64_t seed, int64_t height, int64_t width, bool mean_head = false) {
  constexpr int64_t kPatch = 4, kWidth = 8, kHeads = 2, kDepth = kWidth / kHeads, kBlocks = 2, kClasses = 3;
  const int64_t tokens = height / kPatch * (width / kPatch) + 1;
  LayerBuilder b(seed, {-1, 3, height, width}, 20);
  Random& random = b.random;
  GraphBuilder& g = b.graph;
  const auto shape = [&](const std::string& name, std::vector<int64_t> values) {
    g.constant(name, at::tensor(values, at::TensorOptions(at::kLong)));
  };
  const auto dense = [&](const std::string& name, const std::string& from, int64_t in, int64_t out) {
    g.constant(name + ".w", random.normal({in, out}) / std::sqrt(static_cast<double>(in)));
    g.constant(name + ".b", random.normal({out}) * 0.1);
    g.node("MatMul", {from, name + ".w"}, {name + "/product"});
    return g.node("Add", {name + ".b", name + "/product"}, {name});
  };
  const auto norm = [&](const std::string& name, const std::string& from) {
    g.constant(name + ".w", random.uniform({kWidth}) + 0.5);
    g.constant(name + ".b", random.normal({kWidth}) * 0.1);
    return g.node("LayerNormalization", {from, name + ".w", name + ".b"}, {name});
  };
  g.constant("patch.w", random.normal({kWidth, 3, kPatch, kPatch}) * 0.2);
  g.node("Conv", {"x", "patch.w"}, {"patch"}, {{"strides", std::vector<int64_t>{kPatch, kPatch}}});
  shape("rows", {0, kWidth, -1});
  g.node("Reshape", {"patch", "rows"}, {"flat"});
  g.node("Transpose", {"flat"}, {"embedded"}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  // One class token per picture.
  g.constant("class", random.normal({1, 1, kWidth}));
  shape("zero", {0});
  shape("one", {1});
  shape("two", {2});
  g.node("Shape", {"x"}, {"x/shape"});
  g.node("Slice", {"x/shape", "zero", "one"}, {"batch"});
  shape("rest", {1, kWidth});
  g.node("Concat", {"batch", "rest"}, {"class/shape"}, {{"axis", int64_t{0}}});
  g.node("Expand", {"class", "class/shape"}, {"class/token"});
  g.node("Concat", {"class/token", "embedded"}, {"tokens"}, {{"axis", int64_t{1}}});
  g.constant("positions", random.normal({1, tokens, kWidth}) * 0.3);
  std::string at = g.node("Add", {"tokens", "positions"}, {"embedding"});
  shape("split", {0, 0, kHeads, kDepth});
  shape("joined", {0, 0, kWidth});
  g.constant("scale", at::full({}, 1 / std::sqrt(static_cast<double>(kDepth)), at::TensorOptions(at::kDouble)));
  for (int64_t i = 0; i < kBlocks; ++i) {
    const std::string block = "block" + std::to_string(i) + "/";
    const std::string normed = norm(block + "norm1", at);
    const auto heads = [&](const std::string& name, std::vector<int64_t> perm) {
      dense(block + name, normed, kWidth, kWidth);
      g.node("Reshape", {block + name, "split"}, {block + name + "/split"});
      return g.node("Transpose", {block + name + "/split"}, {block + name + "/heads"}, {{"perm", std::move(perm)}});
    };
    const std::string q = heads("q", {0, 2, 1, 3}), k = heads("k", {0, 2, 3, 1}), v = heads("v", {0, 2, 1, 3});
    g.node("MatMul", {q, k}, {block + "scores"});
    g.node("Mul", {block + "scores", "scale"}, {block + "scaled"});
    g.node("Softmax", {block + "scaled"}, {block + "attention"}, {{"axis", int64_t{-1}}});
    g.node("MatMul", {block + "attention", v}, {block + "mixed"});
    g.node("Transpose", {block + "mixed"}, {block + "turned"}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    g.node("Reshape", {block + "turned", "joined"}, {block + "joined"});
    dense(block + "projection", block + "joined", kWidth, kWidth);
    const std::string middle = g.node("Add", {at, block + "projection"}, {block + "middle"});
    const std::string second = norm(block + "norm2", middle);
    dense(block + "wide", second, kWidth, 2 * kWidth);
    g.node("Gelu", {block + "wide"}, {block + "gelu"});
    dense(block + "narrow", block + "gelu", 2 * kWidth, kWidth);
    at = g.node("Add", {middle, block + "narrow"}, {block + "out"});
  }
  if (mean_head) {
    shape("end", {tokens});
    g.node("Slice", {at, "one", "end", "one"}, {"patches"});
    at = g.node("ReduceMean", {"patches"}, {"mean"}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
  } else {
    g.constant("index", at::zeros({}, at::TensorOptions(at::kLong)));
    at = g.node("Gather", {norm("norm", at), "index"}, {"picked"}, {{"axis", int64_t{1}}});
  }
  b.gemm_with("logits", at, random.normal({kClasses, kWidth}));
  return b.finish("logits");
}

}  // namespace pellucid::test
