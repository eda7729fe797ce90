#include "pellucid/stylize.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "pellucid/video.h"
#include "synthesis/colors.h"
#include "tasks/card_json.h"
#include "tasks/feature_losses.h"
#include "tasks/picture_maker.h"
#include "tasks/picture_reader.h"
#include "tasks/style_pictures.h"
#include "tasks/style_runner.h"

namespace pellucid {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const char* const kNamesKey = "pellucid.style.names";
const char* const kRangeKey = "pellucid.style.range";

/// What an input after the first is for, by its rank.
enum class InputUse { kPicture, kWeights, kNumber };
InputUse use_of(const Graph& graph, const GraphInput& input) {
  const size_t rank = input.shape.size();
  if (input.has_shape && rank == 4) return InputUse::kPicture;
  if (input.has_shape && rank == 2) return InputUse::kWeights;
  if (input.has_shape && rank <= 1) return InputUse::kNumber;
  throw_unsupported(printable(graph.value(input.value).name) +
                    ": an input that is no picture, no weights of styles [N,S] and no number");
}

bool has_input(const Graph& graph, InputUse use) {
  return std::any_of(graph.inputs().begin() + 1, graph.inputs().end(),
                     [&](const GraphInput& input) { return use_of(graph, input) == use; });
}

/// "0:0.5,3:0.5" as a row of weights that sum to one.
Tensor mix_row(const std::string& mix, int64_t count, const std::vector<std::string>& names) {
  if (mix.empty())
    throw_usage("the network holds " + std::to_string(count) + " styles; choose one (--style-index) or some (--mix)");
  const Tensor row = at::zeros({1, count});
  for (const std::string& part : split(mix, ',')) {
    const size_t colon = part.rfind(':');
    double weight = 1;
    int64_t index = 0;
    const bool weighted = colon != std::string::npos && parse_double(trim(part.substr(colon + 1)), weight);
    const std::string which = trim(weighted ? part.substr(0, colon) : part);
    const auto named = std::find(names.begin(), names.end(), which);
    if (named != names.end()) index = named - names.begin();
    if (weight < 0 || (named == names.end() && !parse_int(which, index))) {
      throw_usage("mix is '" + printable(mix) + "'; STYLE:WEIGHT,... with weights of at least 0 was expected" +
                  did_you_mean(which, names));
    }
    if (index < 0 || index >= count) {
      throw_usage("style " + std::to_string(index) + " does not exist; the network's styles are 0 to " +
                  std::to_string(count - 1));
    }
    row[0][index] += weight;
  }
  const double sum = row.sum().item<double>();
  if (!(sum > 0)) throw_usage("mix is '" + printable(mix) + "'; at least one weight must be above 0");
  return row / sum;
}

/// A trial: what a network answers to a smooth picture in 0..255 shows the range it gives, which is taken to be also
/// the one it takes.
PixelRange tried_range(const Graph& graph) {
  const Network network(graph);
  const Tensor ramp = at::linspace(0, 6, 3 * 64 * 64).view({1, 3, 64, 64}).sin() * 0.5 + 0.5;
  const Tensor large = network.run(ramp * 255)[0];
  if ((large.max() - large.min()).item<double>() > 8) return {0, 255};
  return network.run(ramp * 2 - 1)[0].min().item<double>() < -0.05 ? PixelRange{-1, 1} : PixelRange{0, 1};
}

class Stylizer {
 public:
  Stylizer(const StylizeRequest& request, LoadedModel model, Progress* progress)
      : request_(request), model_(std::move(model)), progress_(progress) {
    read_what_the_styles_are();
    StyleRunner::Options options;
    options.tile = request.tile;
    options.exact = request.statistics == "exact";
    Graph graph = given();
    options.range = range_of(graph);
    runner_ = std::make_unique<StyleRunner>(std::move(graph), options);
    if (request.measure) prepare_measure();
  }

  StylizeResult run() {
    if (!request_.output.empty()) make_folder(request_.output);
    PictureReader reader(request_.run, model_);
    result_.notes = notes_;
    while (true) {
      if (progress_) {
        progress_->check();
        progress_->report(static_cast<double>(reader.position()), static_cast<double>(reader.num_files()), "files");
      }
      const std::vector<ReadPicture> next = reader.next(1);
      if (next.empty()) break;
      for (const ReadPicture& one : next) add(one);
    }
    for (const std::string& note : reader.notes()) result_.notes.push_back(note);
    for (auto& [name, video] : videos_) {
      video.close();
      result_.video_files.push_back(name);
    }
    for (const StylizedPicture& p : result_.pictures) result_.num_failed += !p.error.empty();
    if (result_.num_failed > 0 && result_.num_failed == static_cast<int64_t>(result_.pictures.size())) {
      throw Error(ErrorKind::kInvalidInput, result_.pictures.front().error);
    }
    write_result();
    return std::move(result_);
  }

 private:
  void read_what_the_styles_are() {
    const Graph& graph = model_.network.graph();
    if (graph.inputs().empty() || graph.outputs().empty()) throw_usage(printable(request_.model.path) + ": no input");
    const auto named = graph.metadata.find(kNamesKey);
    if (named != graph.metadata.end()) names_ = split(named->second, ',');
    const bool picture = has_input(graph, InputUse::kPicture);
    if (picture && request_.styles.empty()) throw_usage("the network takes the style as a picture; name one (--style)");
    if (!picture && !request_.styles.empty()) throw_usage("--style: the network takes no picture for a style");
    if (!has_input(graph, InputUse::kWeights) && !request_.mix.empty()) {
      throw_usage("--mix: the network does not choose between styles");
    }
    if (!has_input(graph, InputUse::kNumber) && request_.alpha != 1) {
      throw_usage("--alpha: the network has no such input");
    }
    styles_ = read_styles(request_.styles, request_.style_size);
    weights_ = request_.style_weights;
    if (weights_.empty()) weights_.assign(styles_.size(), 1.0);
    if (weights_.size() != styles_.size()) {
      throw_usage(std::to_string(weights_.size()) + " style weights for " + std::to_string(styles_.size()) + " styles");
    }
    const size_t masks = request_.masks.size();
    if (masks > 1 && num_adain_levels(graph) == 0) {
      throw_usage("--mask: the network takes one mask, since it has no adaptive instance normalization by region");
    }
    if (masks > 1 && masks != styles_.size()) {
      throw_usage(std::to_string(masks) + " masks for " + std::to_string(styles_.size()) +
                  " styles; one was expected, or one for each style");
    }
  }

  /// The network with its further inputs given.
  Graph given() {
    const Graph& graph = model_.network.graph();
    if (graph.inputs().size() == 1) return graph;
    const PixelRange range = stated_range().value_or(PixelRange{0, 255});
    double total = 0;
    for (const double w : weights_) total += w;
    if (!styles_.empty() && !(total > 0)) throw_usage("style weights: at least one must be above 0");
    Values sum;
    for (size_t s = 0; s < std::max<size_t>(1, styles_.size()); ++s) {
      TensorList inputs{Tensor(at::zeros({1, 3, 64, 64}))};
      for (size_t i = 1; i < graph.inputs().size(); ++i) inputs.push_back(input_value(graph.inputs()[i], s, range));
      const double share = styles_.empty() ? 1 : weights_[s] / total;
      given_.push_back(meeting_values(model_.network, inputs));
      for (const auto& [id, value] : given_.back()) {
        sum[id] = sum.count(id) ? sum.at(id) + value * share : value * share;
      }
    }
    if (request_.masks.size() == 1) given_ = {sum};
    return with_given_inputs(graph, sum);
  }

  /// Each mask's part of the picture and its style.
  std::vector<StyleRunner::Region> regions_of(const Picture& picture) const {
    std::vector<StyleRunner::Region> regions;
    const Graph& graph = model_.network.graph();
    for (size_t i = 0; i < request_.masks.size(); ++i) {
      StyleRunner::Region region;
      region.mask = mask_for(picture, request_.masks[i]);
      if (request_.masks.size() > 1) region.mask = region.mask * weights_[i];
      region.alpha = request_.alpha;
      for (size_t level = 1; level <= num_adain_levels(graph); ++level) {
        const std::string style = "style" + std::to_string(level);
        region.mean.push_back(given_[i].at(graph.find(style + ".mean")));
        region.deviation.push_back(given_[i].at(graph.find(style + ".deviation")));
      }
      regions.push_back(std::move(region));
    }
    return regions;
  }

  Tensor input_value(const GraphInput& input, size_t style, const PixelRange& range) const {
    switch (use_of(model_.network.graph(), input)) {
      case InputUse::kPicture:
        return styles_[style].display * (range.high - range.low) + range.low;
      case InputUse::kWeights:
        if (input.shape[1] < 1) throw_unsupported("the number of styles in the network is open");
        return mix_row(request_.mix, input.shape[1], names_);
      case InputUse::kNumber:
        break;
    }
    return at::full(input.shape.empty() ? Shape{} : Shape{1}, request_.alpha, at::kFloat);
  }

  std::optional<PixelRange> stated_range() const {
    if (!request_.range.empty()) return PixelRange::parse(request_.range);
    const auto& metadata = model_.network.graph().metadata;
    const auto stated = metadata.find(kRangeKey);
    if (stated != metadata.end()) return PixelRange::parse(stated->second);
    return std::nullopt;
  }

  PixelRange range_of(const Graph& graph) {
    const std::optional<PixelRange> stated = stated_range();
    const PixelRange range = stated ? *stated : tried_range(graph);
    notes_.push_back("pixels " + range.text() +
                     (!request_.range.empty() ? " as asked for"
                      : stated                ? " as the file says"
                                              : " found by a trial") +
                     ", RGB, [N,3,H,W]");
    return range;
  }

  void prepare_measure() {
    measure_model_ = std::make_unique<LoadedModel>(load_style_measure(request_.measure_by));
    losses_ = std::make_unique<FeatureLosses>(*measure_model_, FeatureLayers());
    std::vector<StylePicture> reference = styles_;
    if (!request_.measure_style.empty()) reference = read_styles({request_.measure_style}, request_.style_size);
    if (reference.empty()) throw_usage("--measure: name the picture that the style is (--measure-style)");
    grams_ = losses_->grams(reference.front().display);
  }

  void add(const ReadPicture& one) {
    StylizedPicture made;
    made.path = one.picture.path;
    made.name = one.picture.name;
    made.error = one.error;
    try {
      if (made.error.empty()) repaint(one.picture, made);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kInvalidInput) throw;
      made.error = made.path + ": " + e.what();
    }
    result_.pictures.push_back(std::move(made));
  }

  void repaint(const Picture& picture, StylizedPicture& made) {
    const Tensor display = display_from_image(picture.photo);
    const auto start = std::chrono::steady_clock::now();
    const bool by_region = !request_.masks.empty() && num_adain_levels(model_.network.graph()) > 0;
    StyleRunner::Repainted repainted =
        by_region ? runner_->repaint(display, regions_of(picture), progress_) : runner_->repaint(display, progress_);
    made.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    made.tiles = repainted.tiles;
    made.width = display.size(3);
    made.height = display.size(2);
    Tensor image = repainted.display;
    if (request_.keep_colors) image = with_color_of(image, display).clamp(0, 1);
    if (!request_.masks.empty() && !by_region) {
      const Tensor mask = mask_for(picture, request_.masks.front());
      image = image * mask + display * (1 - mask);
    }
    if (losses_) {
      made.result = losses_->measure(image, grams_, display);
      made.original = losses_->measure(display, grams_, display);
    }
    if (request_.output.empty()) return;
    const Image written = image_from_display(image[0]);
    made.file = made.name + ".styled.png";
    save_png((fs::u8path(request_.output) / made.file).string(), written);
    if (!picture.video_name.empty() && request_.video) add_frame(picture, written);
  }

  /// [1,1,H,W] in 0..1.
  Tensor mask_for(const Picture& picture, const std::string& mask_path) const {
    std::error_code ec;
    fs::path path = fs::u8path(mask_path);
    if (fs::is_directory(path, ec)) path /= fs::u8path(picture.path).stem().concat(".png");
    const Image mask = resize(gray_from(decode_image(path.string())), picture.photo.width, picture.photo.height);
    Tensor t = at::empty({1, 1, mask.height, mask.width}, at::kByte);
    std::copy(mask.pixels.begin(), mask.pixels.end(), t.data_ptr<uint8_t>());
    return t.to(at::kFloat) / 255;
  }

  void add_frame(const Picture& picture, const Image& frame) {
    const std::string name = picture.video_name + ".styled.avi";
    auto found = videos_.find(name);
    if (found == videos_.end()) {
      found = videos_
                  .emplace(name, VideoWriter((fs::u8path(request_.output) / name).string(), frame.width, frame.height,
                                             picture.frames_per_second))
                  .first;
    }
    found->second.add(frame);
  }

  void write_result() {
    ordered_json json{{"pellucid", PELLUCID_VERSION}, {"verb", "stylize"}};
    json["model"] = {{"path", request_.model.path}, {"sha256", model_.hash()}};
    ordered_json styles = ordered_json::array();
    for (size_t i = 0; i < styles_.size(); ++i) styles.push_back({{"name", styles_[i].name}, {"weight", weights_[i]}});
    json["styles"] = styles;
    json["mix"] = request_.mix;
    json["alpha"] = request_.alpha;
    if (!request_.masks.empty()) json["masks"] = request_.masks;
    json["keep_colors"] = request_.keep_colors;
    json["tile"] = request_.tile;
    json["statistics"] = request_.statistics;
    json["notes"] = result_.notes;
    json["pictures"] = ordered_json::array();
    for (const StylizedPicture& p : result_.pictures) {
      ordered_json one{{"path", p.path}, {"name", p.name}};
      if (!p.error.empty()) {
        one["error"] = p.error;
      } else {
        one["file"] = p.file;
        one["width"] = p.width;
        one["height"] = p.height;
        one["tiles"] = p.tiles;
        one["milliseconds"] = p.milliseconds;
        if (losses_) {
          one["style_loss"] = p.result.style;
          one["content_loss"] = p.result.content;
          one["style_loss_of_original"] = p.original.style;
        }
      }
      json["pictures"].push_back(std::move(one));
    }
    json["videos"] = result_.video_files;
    result_.json = json_text(json);
    if (request_.output.empty()) return;
    result_.result_file = (fs::u8path(request_.output) / "result.json").string();
    write_file_atomically(result_.result_file, result_.json + "\n");
  }

  const StylizeRequest& request_;
  LoadedModel model_;
  Progress* progress_;
  std::vector<std::string> names_, notes_;
  std::vector<StylePicture> styles_;
  std::vector<double> weights_;
  std::vector<Values> given_;  ///< By style, or their mean where one mask is for all.
  std::unique_ptr<StyleRunner> runner_;
  std::unique_ptr<LoadedModel> measure_model_;
  std::unique_ptr<FeatureLosses> losses_;
  TensorList grams_;
  std::map<std::string, VideoWriter> videos_;
  StylizeResult result_;
};

}  // namespace

StylizeResult stylize(const StylizeRequest& request, Progress* progress) {
  check_run_options(request.run);
  if (request.statistics != "exact" && request.statistics != "reduced") {
    throw_usage("statistics is '" + printable(request.statistics) + "'; exact or reduced was expected");
  }
  const at::NoGradGuard no_grad;
  // Without a card: pictures come as they are, and the network may have further inputs.
  LoadedModel model{request.model.path, Network(load_onnx(request.model.path)), ModelCard()};
  return Stylizer(request, std::move(model), progress).run();
}

}  // namespace pellucid
