#include <algorithm>
#include <cmath>

#include "pellucid/texture.h"
#include "synthesis/layer_objective.h"
#include "synthesis/texture_statistics.h"

namespace pellucid {

namespace {

std::vector<Tensor> grams(const SynthesisContext& context, const Tensor& picture, const std::vector<ValueId>& layers) {
  Request request;
  request.capture = layers;
  const Tensor x = picture.to(at::TensorOptions(context.network.dtype()).device(context.network.device()));
  const bool fixed = has_fixed_size(context, layers, x.size(2), x.size(3));
  const Values values = context.network.run({network_input(context, x, fixed)}, request, context.progress);
  std::vector<Tensor> all;
  for (const ValueId id : layers) all.push_back(gram_matrix(as_map(values.at(id), "gram"))[0].to(at::kDouble));
  return all;
}

Tensor brightness(const Tensor& picture) {
  const Tensor x = picture[0].to(at::kCPU).to(at::kDouble);
  return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2];
}

}  // namespace

std::vector<double> gram_errors(const SynthesisContext& context, const Tensor& picture, const Tensor& reference,
                                const std::vector<std::string>& layers) {
  const ModelCard& card = context.card;
  const int64_t height = card.height > 0 ? card.height : picture.size(2);
  const int64_t width = card.width > 0 ? card.width : picture.size(3);
  const LayerTable table(context.network, {card.channels_first ? Shape{1, card.channels(), height, width}
                                                               : Shape{1, height, width, card.channels()}});
  std::vector<ValueId> ids;
  for (const std::string& name : layers) ids.push_back(table.find(name));
  const std::vector<Tensor> found = grams(context, picture, ids), wanted = grams(context, reference, ids);
  std::vector<double> errors;
  for (size_t i = 0; i < ids.size(); ++i) {
    errors.push_back(((found[i] - wanted[i]).norm() / wanted[i].norm().clamp_min(1e-300)).item<double>());
  }
  return errors;
}

std::vector<std::pair<std::string, double>> wavelet_errors(const Tensor& picture, const Tensor& reference) {
  const Tensor x = picture[0].to(at::kCPU).to(at::kDouble), y = reference[0].to(at::kCPU).to(at::kDouble);
  const TextureModel model = fitting_model({}, std::min(x.size(1), y.size(1)), std::min(x.size(2), y.size(2)));
  const int64_t unit = int64_t{1} << model.scales;
  const ColorAxes axes(y);
  const auto statistics = [&](const Tensor& t) {
    return texture_statistics(axes.planes(centered_multiple(t, unit)), model);
  };
  const auto found = statistics(x), wanted = statistics(y);
  std::vector<std::pair<std::string, double>> errors;
  double sum = 0;
  for (size_t g = 0; g < found.size(); ++g) {
    const double square = relative_square_error(found[g], wanted[g]).item<double>();
    errors.emplace_back(found[g].name, std::sqrt(square));
    sum += square;
  }
  errors.emplace_back("all", std::sqrt(sum / static_cast<double>(found.size())));
  return errors;
}

double copy_correlation(const Tensor& picture, const Tensor& reference) {
  Tensor a = brightness(picture), b = brightness(reference);
  const int64_t height = std::min(a.size(0), b.size(0)), width = std::min(a.size(1), b.size(1));
  const auto prepared = [&](const Tensor& t) {
    const Tensor cut = t.narrow(0, (t.size(0) - height) / 2, height).narrow(1, (t.size(1) - width) / 2, width);
    const Tensor centered = cut - cut.mean();
    return centered / centered.norm().clamp_min(1e-300);
  };
  const Tensor product = at::fft_fft2(prepared(a)) * at::conj(at::fft_fft2(prepared(b)));
  return at::real(at::fft_ifft2(product)).max().item<double>();
}

}  // namespace pellucid
