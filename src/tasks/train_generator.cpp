#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "pellucid/train_priors.h"
#include "synthesis/learned_priors.h"
#include "tasks/training_pictures.h"

namespace pellucid {

namespace {

/// The network whose layer the codes come from, seen from pictures in display range.
class Encoder {
 public:
  Encoder(const LoadedModel& model, const TrainGeneratorRequest& request)
      : model_(model),
        context_{model.network, model.card},
        layers_(model.network, {input_shape(model.card)}),
        code_(layers_.find(request.layer.empty() ? "auto" : request.layer)),
        grid_(request.grid) {
    for (const std::string& name : request.features) features_.push_back(layers_.find(name));
    if (features_.empty()) features_.push_back(code_);
    if (layers_.shape(code_).size() != 4) {
      throw_usage("train-generator: " + layers_.layer(code_).name + " holds " + shape_text(layers_.shape(code_)) +
                  "; a layer [N,C,h,w] was expected");
    }
  }

  const std::vector<ValueId>& features() const { return features_; }
  const LayerTable& layers() const { return layers_; }
  /// [N,C,grid,grid] or smaller.
  Tensor code(const Tensor& display) const {
    return codes_from_display(context_, code_, display, grid_, grid_).to(at::kFloat);
  }
  Values run(const Tensor& display, const std::vector<ValueId>& capture) const {
    Request request;
    request.capture = capture;
    return model_.network.run({network_input(context_, display, true)}, request);
  }
  /// The same under autograd.
  Values record(const Tensor& display, const std::vector<ValueId>& capture) const {
    Request request;
    request.capture = capture;
    return model_.network.run_with_autograd({network_input(context_, display, true)}, request);
  }
  Tensor classes(const Tensor& display) const {
    const ValueId logits = layers_.logits();
    return run(display, {logits}).at(logits).argmax(1);
  }

 private:
  static Shape input_shape(const ModelCard& card) {
    if (card.width <= 0 || card.height != card.width) {
      throw_usage("train-generator: the model must have a square input size (--size)");
    }
    return card.channels_first ? Shape{1, card.channels(), card.height, card.width}
                               : Shape{1, card.height, card.width, card.channels()};
  }

  const LoadedModel& model_;
  SynthesisContext context_;
  LayerTable layers_;
  ValueId code_;
  int64_t grid_;
  std::vector<ValueId> features_;
};

constexpr int64_t kBatch = 32;  ///< Of passes without training.

Tensor codes_of(const Encoder& encoder, const Tensor& pictures, Progress* progress) {
  TensorList codes;
  for (int64_t first = 0; first < pictures.size(0); first += kBatch) {
    if (progress) {
      progress->check();
      progress->report(static_cast<double>(first), static_cast<double>(pictures.size(0)), "encoding pictures");
    }
    codes.push_back(encoder.code(display_from_bytes(pictures.slice(0, first, first + kBatch))));
  }
  return at::cat(codes);
}

/// Mean and deviation of every number of codes [N,C,h,w], and their principal directions, as long as codes deviate
/// along them: [2+K,C,h,w].
Tensor range_of(const Tensor& codes) {
  constexpr int64_t kDirections = 64;
  const Tensor rows = codes.flatten(1).to(at::kDouble);
  const Tensor mean = rows.mean(0), centered = (rows - mean) / std::sqrt(static_cast<double>(rows.size(0)));
  // Of the two products with the same eigenvalues, the smaller one.
  const bool wide = rows.size(1) > rows.size(0);
  auto [values, vectors] = at::linalg_eigh(wide ? centered.mm(centered.t()) : centered.t().mm(centered));
  const int64_t count = std::min(kDirections, values.size(0));
  values = values.slice(0, values.size(0) - count).clamp_min(0).flip(0);
  vectors = vectors.slice(1, vectors.size(1) - count).flip(1).t();
  // u' X is already as long as X deviates along its direction.
  const Tensor directions = wide ? vectors.mm(centered) : vectors * values.sqrt().unsqueeze(1);
  Shape shape = codes.sizes().vec();
  shape[0] = 2 + count;
  const Tensor deviation = centered.square().sum(0).sqrt();
  return at::cat({mean.unsqueeze(0), deviation.unsqueeze(0), directions}).view(shape).to(at::kFloat).contiguous();
}

/// Squared error relative to the squared distance of `goal` from its mean over the batch: 1 for a constant guess.
Tensor relative_error(const Tensor& found, const Tensor& goal) {
  const Tensor spread = (goal - goal.mean({0}, true)).square().sum().clamp_min(1e-12);
  return (found - goal).square().sum() / spread;
}

void judge(const Encoder& encoder, const Graph& trained, const Tensor& test, TrainGeneratorResult& result) {
  const Network generator(trained);
  double squared = 0, wrong = 0, all = 0, same = 0;
  for (int64_t first = 0; first < test.size(0); first += kBatch) {
    const Tensor real = display_from_bytes(test.slice(0, first, first + kBatch));
    const Tensor code = encoder.code(real);
    const Tensor made = generator.run(code)[0];
    const Tensor shown = resize_display(made, real.size(2), real.size(3));
    squared += (shown - real).square().mean(at::kDouble).item<double>() * static_cast<double>(real.size(0));
    wrong += (encoder.code(made) - code).square().sum(at::kDouble).item<double>();
    all += code.square().sum(at::kDouble).item<double>();
    same += encoder.classes(made).eq(encoder.classes(real)).sum().item<double>();
  }
  const auto count = static_cast<double>(test.size(0));
  result.psnr = -10 * std::log10(squared / count);
  result.code_error = wrong / std::max(all, 1e-12);
  result.same_class = same / count;
  result.test_pictures = test.size(0);
}

}  // namespace

TrainGeneratorResult train_generator(const TrainGeneratorRequest& request,
                                     const std::function<void(const StepsReport&)>& report, Progress* progress) {
  const PriorTraining& t = request.training;
  TrainGeneratorResult result;
  result.range_file = beside_onnx("train-generator", t.output, ".range.npy");
  const LoadedModel model = load_model(request.model);
  const Encoder encoder(model, request);
  const std::filesystem::path folder = std::filesystem::u8path(t.output).parent_path();
  if (!folder.empty()) make_folder(folder.string());
  const PictureSource source{t.data, t.inputs, t.pictures, model.card.width, t.seed};
  const TrainingPictures pictures = gather_training_pictures(source, t.test_pictures, progress);
  const Tensor codes = codes_of(encoder, pictures.training, progress);

  GeneratorOptions options;
  options.code = {codes.size(1), codes.size(2), codes.size(3)};
  options.widths = request.widths;
  options.seed = t.seed;
  Learner learner(make_generator(options), prior_learner_options());
  const ValueId output = learner.network().graph().outputs().front();
  StepsOptions steps = t.steps;
  steps.checkpoint = t.output + ".checkpoint";
  const auto loss = [&](int64_t step) {
    const auto generator = at::detail::createCPUGenerator(t.seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(step));
    const Tensor rows = at::randint(codes.size(0), {t.batch_size}, generator, at::TensorOptions(at::kLong));
    const Tensor real = display_from_bytes(pictures.training.index_select(0, rows));
    const Tensor made = learner.forward({codes.index_select(0, rows)}, {output}).at(output);
    Tensor sum = relative_error(made, resize_display(real, made.size(2), made.size(3)));
    if (request.feature_weight > 0) {
      const Values goal = encoder.run(real, encoder.features());
      const Values found = encoder.record(made, encoder.features());
      for (const auto& [id, value] : found) {
        sum = sum + relative_error(value, goal.at(id)) *
                        (request.feature_weight / static_cast<double>(encoder.features().size()));
      }
    }
    return sum;
  };
  const auto collect = [&](const StepsReport& r) {
    result.reports.push_back(r);
    if (report) report(r);
  };
  result.resumed_after = train_steps(learner, steps, loss, collect, progress);

  const Graph trained = learner.graph();
  judge(encoder, trained, pictures.test, result);
  save_onnx(trained, t.output);
  const Tensor range = range_of(codes);
  write_npy(result.range_file, range.data_ptr<float>(), range.sizes().vec());
  std::error_code ignored;
  std::filesystem::remove(std::filesystem::u8path(steps.checkpoint), ignored);
  return result;
}

}  // namespace pellucid
