#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/learner.h"
#include "pellucid/style_networks.h"
#include "pellucid/stylize.h"
#include "pellucid/text.h"
#include "tasks/card_json.h"
#include "tasks/feature_losses.h"
#include "tasks/picture_maker.h"
#include "tasks/style_pictures.h"

namespace pellucid {

namespace {

using Kind = TrainStyleRequest::Kind;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kTestSeed = 0x7e57;  // never used for training
constexpr int64_t kCheckpointEvery = 100;
constexpr int64_t kReportEvery = 50;
constexpr int64_t kVariedPictures = 600;  // drawn for the arbitrary kind, to cut squares from
const char* const kCheckpointEnding = ".checkpoint";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The losses of a batch, unweighted.
struct BatchLosses {
  Tensor content, style;
  Tensor reconstruction, identity;  ///< Of the arbitrary kind, in pixels and features.
};

/// What differs between the kinds: the graph and the losses of a batch.
class StyleTraining {
 public:
  StyleTraining(const TrainStyleRequest& request, const LoadedModel& model)
      : request_(request), model_(model), losses_(model, layers()), contents_(request.contents, request.size) {
    styles_ = read_styles(request.styles, request.style_size);
    if (request.kind == Kind::kArbitrary) {
      const int64_t side = 2 * request.size;
      const int64_t count = std::min(kVariedPictures, request.steps * request.batch_size);
      varied_contents_.emplace(ContentPictures(request.contents, side).bytes(request.seed, count), request.size);
      varied_styles_.emplace(
          styles_.empty() ? ContentPictures({"textures"}, side).bytes(request.seed + 1, count) : bytes_of(styles_),
          request.size);
      return;
    }
    if (styles_.empty()) throw_usage("train-style: no style; name a picture or texture:KIND (--style)");
    if (request.kind == Kind::kSingle && styles_.size() != 1) {
      throw_usage("train-style: " + std::to_string(styles_.size()) + " styles; the kind single takes one");
    }
    for (const StylePicture& style : styles_) grams_.push_back(losses_.grams(style.display));
  }

  const std::vector<StylePicture>& styles() const { return styles_; }
  const FeatureLosses& losses() const { return losses_; }
  const ContentPictures& contents() const { return contents_; }
  const TensorList& grams(size_t style) const { return grams_.at(style); }

  Graph graph() const {
    if (request_.kind == Kind::kArbitrary) return adain();
    StyleNetworkOptions options;
    options.width = request_.width;
    options.blocks = request_.blocks;
    options.num_styles = request_.kind == Kind::kMany ? static_cast<int64_t>(styles_.size()) : 0;
    options.seed = request_.seed;
    return make_style_network(options);
  }

  BatchLosses losses_of(Learner& learner) const {
    if (request_.kind == Kind::kArbitrary) return arbitrary(learner);
    const int64_t batch = request_.batch_size, first = learner.steps() * batch;
    return fixed(learner, contents_.draw(request_.seed, first, batch));
  }

  /// Style `index` to test the arbitrary kind with: one of those given, or a texture that was never trained on.
  std::string test_style_name(int64_t index) const {
    if (styles_.empty()) return "unseen texture " + std::to_string(index + 1);
    return styles_[static_cast<size_t>(index) % styles_.size()].name;
  }
  Tensor test_style(int64_t index) const {
    if (styles_.empty()) return ContentPictures({"textures"}, request_.style_size).draw(kTestSeed, index, 1);
    return styles_[static_cast<size_t>(index) % styles_.size()].display;
  }

  /// One picture per content in a style, in display range.
  Tensor repaint(const Network& network, const Tensor& content, int64_t style, const Tensor& style_picture,
                 double alpha = 1) const {
    TensorList inputs{content * 255};
    if (request_.kind == Kind::kMany) inputs.push_back(one_hot(at::full({content.size(0)}, style, at::kLong)));
    if (request_.kind == Kind::kArbitrary) inputs.insert(inputs.end(), {style_picture * 255, at::full({1}, alpha)});
    Request request;
    request.capture = {network.graph().outputs().front()};
    return (network.run(inputs, request).begin()->second / 255).clamp(0, 1);
  }

 private:
  /// Where the arbitrary kind gives the style.
  std::vector<std::string> adain_layers() const {
    if (!request_.adain_layers.empty()) return request_.adain_layers;
    const auto sizes = rectified_by_size(model_);
    std::vector<std::string> names;
    for (size_t i = 0; i < std::min<size_t>(4, sizes.size()); ++i) {
      names.push_back(sizes[i].front().name);
    }
    return names;
  }

  /// The content of the arbitrary kind is what the decoder begins with.
  FeatureLayers layers() const {
    FeatureLayers layers = request_.layers;
    if (request_.kind != Kind::kArbitrary) return layers;
    if (rectified_by_size(model_).empty()) {
      throw_usage(printable(model_.path) + ": no ReLU to measure style by; name layers");
    }
    if (!layers.content.empty()) {
      throw_usage(
          "train-style: the content layer of the kind arbitrary is the last that gets the style (--adain-layer)");
    }
    layers.content = adain_layers().back();
    return layers;
  }

  Graph adain() const {
    const ModelCard& card = model_.card;
    if (card.order != ChannelOrder::kRgb) throw_usage(printable(model_.path) + ": an encoder must take RGB pictures");
    constexpr int64_t kSide = 256;
    const LayerTable table(model_.network, {{1, 3, kSide, kSide}});
    AdainEncoder encoder{model_.network.graph(), {}, {}, {}};
    for (const std::string& name : adain_layers()) {
      const ValueId layer = table.find(name);
      const Shape& shape = table.shape(layer);
      AdainEncoder::Level level{layer, shape.at(1), 0};
      while (shape.at(2) << level.halvings < kSide) ++level.halvings;
      if (shape[2] << level.halvings != kSide) {
        throw_usage(name + ": its map must be 1/1, 1/2, 1/4, 1/8, ... of the picture");
      }
      encoder.levels.push_back(level);
    }
    for (size_t c = 0; c < 3; ++c) {
      const double deviation = card.std[card.std.size() == 1 ? 0 : c];
      encoder.scale.push_back(card.scale / deviation);
      encoder.offset.push_back(-card.mean[card.mean.size() == 1 ? 0 : c] / deviation);
    }
    return make_adain_network(encoder, request_.seed);
  }

  Tensor one_hot(const Tensor& which) const {
    return at::one_hot(which, static_cast<int64_t>(styles_.size())).to(at::kFloat);
  }

  BatchLosses fixed(Learner& learner, const Tensor& content) const {
    const int64_t batch = content.size(0);
    const Graph& graph = learner.network().graph();
    // Styles take turns, so that every one has its share of each batch or of a few.
    const Tensor which =
        (at::arange(batch, at::kLong) + learner.steps() * batch).remainder(static_cast<int64_t>(styles_.size()));
    TensorList inputs{content * 255};
    if (request_.kind == Kind::kMany) inputs.push_back(one_hot(which));
    const ValueId output = graph.outputs().front();
    const Tensor made = learner.forward(inputs, {output}).at(output) / 255;
    TensorList targets;
    for (size_t layer = 0; layer < losses_.layers().style.size(); ++layer) {
      TensorList rows;
      for (int64_t i = 0; i < batch; ++i) {
        rows.push_back(grams_[static_cast<size_t>(which[i].item<int64_t>())][layer]);
      }
      targets.push_back(at::cat(rows));
    }
    const FeatureLosses::Features features = losses_.of(made);
    return {FeatureLosses::content_loss(features, still(content)).mean(),
            FeatureLosses::style_loss(features, targets).mean(),
            {},
            {}};
  }

  BatchLosses arbitrary(Learner& learner) const {
    const int64_t batch = request_.batch_size, same = std::max<int64_t>(1, batch / 4);
    const Graph& graph = learner.network().graph();
    const at::Generator generator =
        at::detail::createCPUGenerator(request_.seed * 0x9e3779b97f4a7c15ULL + static_cast<uint64_t>(learner.steps()));
    const Tensor content = varied_contents_->draw(batch, generator), style = varied_styles_->draw(batch, generator);
    // The first quarter has itself for a style: it has to come out as it went in (Park, Lee, 2019).
    style.narrow(0, 0, same).copy_(content.narrow(0, 0, same));
    const ValueId output = graph.outputs().front(), mixed = graph.find("mixed" + std::to_string(adain_layers().size()));
    const Values values = learner.forward({content * 255, style * 255, at::ones({1})}, {output, mixed});
    const Tensor made = values.at(output) / 255;
    const FeatureLosses::Features features = losses_.of(made), wanted = still(style);
    TensorList grams;
    for (const Tensor& map : wanted.style) grams.push_back(gram_matrices(map));
    // Logarithms, since relative to a picture of hardly any contrast everything is far away. Colors are measured by
    // themselves, since the encoder holds them only by the way.
    const Tensor style_error =
        FeatureLosses::style_loss(features, grams).log1p().mean() + statistics_error(made, style).log1p().mean();
    const auto first = [&](const Tensor& x) { return x.narrow(0, 0, same); };
    Tensor identity = at::zeros({});
    for (size_t i = 0; i < wanted.style.size(); ++i) {
      identity = identity + relative_error(first(features.style[i]), first(wanted.style[i])).log1p().mean();
    }
    return {relative_error(features.content, values.at(mixed).detach()).log1p().mean(), style_error,
            (first(made) - first(content)).square().mean(), identity / static_cast<double>(wanted.style.size())};
  }

  FeatureLosses::Features still(const Tensor& display) const {
    const at::NoGradGuard no_grad;
    return losses_.of(display);
  }

  const TrainStyleRequest& request_;
  const LoadedModel& model_;
  FeatureLosses losses_;
  ContentPictures contents_;
  std::vector<StylePicture> styles_;
  std::vector<TensorList> grams_;                               // of the kinds with styles inside
  std::optional<VariedCrops> varied_contents_, varied_styles_;  // of the arbitrary kind
};

/// The same by moving the pixels of the content: what a network can hope to come near to.
StyleMeasure optimum(const StyleTraining& training, const TrainStyleRequest& request, const Tensor& content,
                     const TensorList& grams, Progress* progress) {
  const FeatureLosses& losses = training.losses();
  FeatureLosses::Features wanted;
  {
    const at::NoGradGuard no_grad;
    wanted = losses.of(content);
  }
  GraphBuilder b(13);
  b.input("zero", content.sizes().vec());
  b.constant("pixels.weight", content.clone());
  b.node("Add", {"zero", "pixels.weight"}, {"picture"});
  b.output("picture", content.sizes().vec());
  LearnerOptions adam;
  adam.optimizer = LearnerOptions::Optimizer::kAdam;
  Learner pixels(b.finish(), adam);
  const ValueId picture = pixels.network().graph().outputs().front();
  const Tensor zero = at::zeros_like(content);
  Tensor now = content;
  for (int64_t step = 0; step < request.compare_steps; ++step) {
    if (progress) progress->check();
    now = pixels.forward({zero}, {picture}).at(picture);
    const FeatureLosses::Features features = losses.of(now.clamp(0, 1));
    const Tensor loss = FeatureLosses::content_loss(features, wanted).sum() * request.content_weight +
                        FeatureLosses::style_loss(features, grams).sum() * request.style_weight;
    constexpr double kRate = 0.02;
    pixels.step(loss, kRate);
  }
  const at::NoGradGuard no_grad;
  return losses.measure(pixels.forward({zero}, {picture}).at(picture).detach().clamp(0, 1), grams, content);
}

void measure(TrainStyleResult& result, const StyleTraining& training, const TrainStyleRequest& request,
             const Network& network, Progress* progress) {
  const int64_t count = request.test_pictures;
  const Tensor contents = training.contents().draw(kTestSeed, 0, count);
  const bool arbitrary = request.kind == Kind::kArbitrary;
  const int64_t num_styles = arbitrary ? std::min<int64_t>(4, count) : static_cast<int64_t>(training.styles().size());
  for (int64_t s = 0; s < num_styles; ++s) {
    const Tensor style = arbitrary ? training.test_style(s) : Tensor();
    const TensorList grams = arbitrary ? training.losses().grams(style) : training.grams(static_cast<size_t>(s));
    TrainedStyle one;
    one.name = arbitrary ? training.test_style_name(s) : training.styles()[static_cast<size_t>(s)].name;
    one.start = training.losses().measure(contents, grams, contents);
    one.network = training.losses().measure(training.repaint(network, contents, s, style), grams, contents);
    if (request.compare_steps > 0) {
      const Tensor few = contents.narrow(0, 0, std::min<int64_t>(4, count));
      one.optimized = optimum(training, request, few, grams, progress);
    }
    result.styles.push_back(std::move(one));
  }
  const Tensor style = arbitrary ? training.test_style(0) : Tensor();
  if (arbitrary) {
    const Tensor again = training.repaint(network, contents, 0, style, 0);
    result.reconstruction_psnr = -10 * std::log10((again - contents).square().mean().item<double>());
  }
  const Tensor large = at::upsample_bilinear2d(contents.narrow(0, 0, 1), {256, 256}, false);
  training.repaint(network, large, 0, style);
  const auto start = Clock::now();
  constexpr int kRuns = 3;
  for (int i = 0; i < kRuns; ++i) training.repaint(network, large, 0, style);
  result.milliseconds = 1000 * seconds_since(start) / kRuns;
}

const char* kind_name(Kind kind) {
  return kind == Kind::kSingle ? "single" : kind == Kind::kMany ? "many" : "arbitrary";
}

/// What a user of the file needs to know, in the file itself and on its card.
void describe_network(Graph& graph, const TrainStyleRequest& request, const StyleTraining& training) {
  graph.metadata["pellucid.style.kind"] = kind_name(request.kind);
  graph.metadata["pellucid.style.range"] = "0..255";
  std::vector<std::string> names;
  for (const StylePicture& style : training.styles()) names.push_back(style.name);
  if (request.kind != Kind::kArbitrary) graph.metadata["pellucid.style.names"] = join(names, ",");
}

void check(const TrainStyleRequest& request) {
  if (request.output.size() < 6 || request.output.substr(request.output.size() - 5) != ".onnx") {
    throw_usage("train-style: the output '" + printable(request.output) + "' must end in .onnx");
  }
  if (request.size < 32 || request.size % 8 != 0) {
    throw_usage("train-style: size is " + std::to_string(request.size) +
                "; a multiple of 8, at least 32, was expected");
  }
}

void teach(Learner& learner, const StyleTraining& training, const TrainStyleRequest& request,
           const std::function<void(const StyleTrainingReport&)>& report, Progress* progress) {
  StyleTrainingReport sums;
  auto start = Clock::now();
  while (learner.steps() < request.steps) {
    if (progress) progress->check();
    const BatchLosses losses = training.losses_of(learner);
    Tensor loss = losses.content * request.content_weight + losses.style * request.style_weight;
    if (losses.reconstruction.defined()) {
      loss = loss + losses.reconstruction * request.reconstruction_weight + losses.identity * request.content_weight;
    }
    // The last third goes down to zero.
    const double left = static_cast<double>(request.steps - learner.steps()) / static_cast<double>(request.steps);
    learner.step(loss, request.learning_rate * std::min(1.0, 3 * left));
    const auto done = learner.steps();
    sums.content += losses.content.item<double>();
    sums.style += losses.style.item<double>();
    if (losses.reconstruction.defined()) sums.reconstruction += losses.reconstruction.item<double>();
    if (progress) {
      progress->report(static_cast<double>(done), static_cast<double>(request.steps),
                       "style " + number_text(std::round(losses.style.item<double>() * 1000) / 1000));
    }
    if (done % kCheckpointEvery == 0) learner.save(request.output + kCheckpointEnding);
    if (done % kReportEvery == 0 || done == request.steps) {
      const auto steps = static_cast<double>((done - 1) % kReportEvery + 1);
      if (report) {
        report({done, request.steps, sums.content / steps, sums.style / steps, sums.reconstruction / steps,
                seconds_since(start)});
      }
      sums = {};
      start = Clock::now();
    }
  }
}

}  // namespace

TrainStyleResult train_style(const TrainStyleRequest& request,
                             const std::function<void(const StyleTrainingReport&)>& report, Progress* progress) {
  check(request);
  const std::filesystem::path folder = std::filesystem::u8path(request.output).parent_path();
  if (!folder.empty()) make_folder(folder.string());
  const LoadedModel model = load_style_measure(request.network);
  const StyleTraining training(request, model);
  Graph initial = training.graph();
  describe_network(initial, request, training);
  LearnerOptions options;
  options.optimizer = LearnerOptions::Optimizer::kAdam;
  options.frozen = [](const std::string& name) { return !is_style_weight(name); };
  // A style of hardly any contrast now and then has a gradient that would throw everything over.
  if (request.kind == Kind::kArbitrary) options.longest_gradient = 1;
  Learner learner(initial, options);
  TrainStyleResult result;
  const std::string checkpoint = request.output + kCheckpointEnding;
  if (!learner.resume(checkpoint).empty()) result.resumed_after = learner.steps();

  try {
    teach(learner, training, request, report, progress);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInterrupted) learner.save(checkpoint);
    throw;
  }
  const Graph trained = learner.graph();
  result.parameters = trained.num_parameters();
  measure(result, training, request, Network(trained), progress);
  save_onnx(trained, request.output);
  ModelCard card;  // pixels as they are, at their own size
  save_card(card, request.output.substr(0, request.output.size() - 5) + ".json");
  std::error_code ignored;
  std::filesystem::remove(std::filesystem::u8path(checkpoint), ignored);
  return result;
}

}  // namespace pellucid
