#include "attribution/baseline.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "attribution/method.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

const char* const kBaselineAccepts =
    "black, white, gray, value:LEVEL, zero, mean, blur[:SIGMA], noise[:SEED], or several joined by '+'";

namespace {}  // namespace

Tensor gaussian_blur(const Tensor& x, double sigma) {
  const auto radius = static_cast<int64_t>(std::ceil(4 * sigma));
  const Tensor t = at::arange(-radius, radius + 1, at::kDouble);
  Tensor kernel = at::exp(-t.square() / (2 * sigma * sigma));
  kernel = (kernel / kernel.sum()).to(x.options());
  Tensor y = x;
  for (const int64_t axis : {2, 3}) {
    // Reflection may need several turns when the kernel is wider than the picture.
    const int64_t size = x.size(axis);
    const int64_t period = std::max<int64_t>(1, 2 * (size - 1));
    Tensor index = at::arange(-radius, size + radius, at::kLong).remainder(period);
    index = at::where(index >= size, period - index, index).to(x.device());
    const Tensor padded = y.index_select(axis, index);
    const Tensor w = kernel.view(axis == 2 ? at::IntArrayRef{1, 1, -1, 1} : at::IntArrayRef{1, 1, 1, -1});
    y = at::conv2d(padded.flatten(0, 1).unsqueeze(1), w).view(x.sizes());
  }
  return y;
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
