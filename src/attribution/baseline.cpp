#include "attribution/baseline.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const char* const kBaselineAccepts =
    "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED], or several joined by '+'";

namespace {

/// [size,size]: row o holds the weights of the inputs that output o blends. As one matrix product per axis a wide blur
/// costs no more than a narrow one.
Tensor blur_matrix(int64_t size, double sigma, Border border) {
  const auto radius = static_cast<int64_t>(std::ceil(4 * sigma));
  std::vector<double> kernel(static_cast<size_t>(radius) + 1);
  double total = 0;
  for (int64_t t = 0; t <= radius; ++t) {
    const auto d = static_cast<double>(t);
    kernel[static_cast<size_t>(t)] = std::exp(-d * d / (2 * sigma * sigma));
    total += (t == 0 ? 1 : 2) * kernel[static_cast<size_t>(t)];
  }
  const int64_t period = std::max<int64_t>(1, 2 * (size - 1));
  Tensor matrix = at::zeros({size, size}, at::kDouble);
  auto* const weights = matrix.data_ptr<double>();
  for (int64_t o = 0; o < size; ++o) {
    for (int64_t t = -radius; t <= radius; ++t) {
      int64_t in = o + t;
      if (in < 0 || in >= size) {
        if (border == Border::kZero) continue;
        // Reflection may need several turns when the kernel is wider than the picture.
        in = (in % period + period) % period;
        if (in >= size) in = period - in;
      }
      weights[o * size + in] += kernel[static_cast<size_t>(std::abs(t))] / total;
    }
  }
  return matrix;
}

}  // namespace

Tensor gaussian_blur(const Tensor& x, double sigma, Border border) {
  if (sigma <= 0) return x;
  const Tensor rows = blur_matrix(x.size(2), sigma, border).to(x.options());
  const Tensor columns = x.size(2) == x.size(3) ? rows : blur_matrix(x.size(3), sigma, border).to(x.options());
  return at::matmul(at::matmul(rows, x), columns.t());
}

namespace {

Tensor one_baseline(const Context& context, const std::string& owner, const std::string& name) {
  const Tensor x = to_planes(context, context.input);
  const auto display = [&](double level) {
    return from_planes(context, context.card.model_from_display(at::full_like(x, level)));
  };
  if (name == "black") return display(0);
  if (name == "white") return display(1);
  if (name == "gray") return display(0.5);
  if (double level = 0; name.rfind("value:", 0) == 0 && parse_double(name.substr(6), level) && level >= 0 && level <= 1)
    return display(level);
  if (name == "zero") return at::zeros_like(context.input);
  if (name == "mean") return from_planes(context, x.mean({2, 3}, true).expand_as(x));
  const auto refuse = [&]() -> Tensor {
    throw_usage(owner + ": baseline is '" + printable(name) + "'; it must be " + kBaselineAccepts + " (default black)");
  };
  if (name == "blur" || name.rfind("blur:", 0) == 0) {
    double sigma = static_cast<double>(std::max(x.size(2), x.size(3))) / 20;
    if (name != "blur" && (!parse_double(name.substr(5), sigma) || !(sigma > 0 && sigma <= 1000))) return refuse();
    return from_planes(context, gaussian_blur(x, sigma));
  }
  if (name == "noise" || name.rfind("noise:", 0) == 0) {
    auto seed = static_cast<int64_t>(context.seed);
    if (name != "noise" && (!parse_int(name.substr(6), seed) || seed < 0)) return refuse();
    at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
    Shape one = x.sizes().vec();
    one[0] = 1;  // the same for every picture, so that a batch equals its pictures one by one
    const Tensor u = at::rand(one, generator, at::TensorOptions().dtype(at::kDouble)).to(x.options());
    return from_planes(context, context.card.model_from_display(u).expand_as(x));
  }
  return refuse();
}

}  // namespace

std::vector<Tensor> baselines(const Context& context, const std::string& owner, const std::string& name) {
  std::vector<Tensor> list;
  for (const std::string& part : split(name, '+')) list.push_back(one_baseline(context, owner, trim(part)));
  return list;
}

}  // namespace pellucid
