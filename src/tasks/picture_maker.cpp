#include "tasks/picture_maker.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "model/class_scores.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/card_json.h"
#include "tasks/finished_pictures.h"
#include "tasks/recipe_json.h"
#include "tasks/run_model.h"
#include "tasks/run_recorder.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr int kAtlasCell = 96;
constexpr int64_t kOpenSize = 224;  ///< For models that leave their input size open.

Shape input_shape(const ModelCard& card, int64_t width, int64_t height) {
  return card.channels_first ? Shape{1, card.channels(), height, width} : Shape{1, height, width, card.channels()};
}

/// Progress of one job as a part of all.
class PartProgress final : public Progress {
 public:
  PartProgress(Progress* whole, size_t index, size_t count, std::string what)
      : whole_(whole), index_(static_cast<double>(index)), count_(static_cast<double>(count)), what_(std::move(what)) {}
  void report(double done, double total, const std::string& what) override {
    if (whole_) whole_->report(index_ + (total > 0 ? done / total : 0), count_, what_ + ": " + what);
  }
  void check() const override {
    if (whole_) whole_->check();
  }

 private:
  Progress* whole_;
  double index_, count_;
  std::string what_;
};

void scale_steps(Recipe& recipe, int64_t wanted) {
  int64_t all = 0;
  for (const RecipeStage& s : recipe.stages) all += s.steps;
  if (all == 0) return;
  int64_t before = 0, given = 0;
  for (RecipeStage& s : recipe.stages) {
    before += s.steps;
    const int64_t until =
        std::llround(static_cast<double>(wanted) * static_cast<double>(before) / static_cast<double>(all));
    s.steps = until - given;
    given = until;
  }
}

double saturation_of(const Tensor& image) {
  return image.lt(0.02).logical_or(image.gt(0.98)).to(at::kDouble).mean().item<double>();
}

double high_frequencies_of(const Tensor& image) {
  const Tensor x = image.clamp(0, 1).to(at::kDouble);
  const Tensor luma = 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2];
  const Tensor power = at::fft_fft2(luma - luma.mean()).abs().square();
  const Tensor fy = at::fft_fftfreq(luma.size(0), 1.0, at::kDouble).view({-1, 1});
  const Tensor fx = at::fft_fftfreq(luma.size(1), 1.0, at::kDouble).view({1, -1});
  const double all = power.sum().item<double>();
  if (!(all > 0)) return 0;
  return (power * (fy.square() + fx.square()).sqrt().gt(0.25)).sum().item<double>() / all;
}

/// By how much a recipe's picture is larger than what counts of it; the middle is kept.
int64_t inner_pixels(const Recipe& recipe) {
  int64_t sum = 0;
  for (const std::string& text : recipe.transformations) {
    const PartCall call = PartCall::parse(PartKind::kTransformation, text);
    if (call.info->id != "jitter") continue;
    const ParamMap params = call.info->complete(call.params);
    int64_t pixels = 0;
    if (params.at("inner") == "true" && parse_int(params.at("pixels"), pixels)) sum += pixels;
  }
  return sum;
}

/// Every channel with the mean of a photo's, and no more contrast than it has there: steps add up from frame to frame,
/// and without this nothing but saturated areas is left of a film.
Tensor with_contrast_of(const Tensor& image, const Tensor& photo) {
  const auto deviation = [](const Tensor& x) { return x.std({2, 3}, /*unbiased=*/false, /*keepdim=*/true); };
  const Tensor gain = (deviation(photo) / deviation(image).clamp_min(1e-6)).clamp_max(1);
  return (gain * (image - image.mean({2, 3}, true)) + photo.mean({2, 3}, true)).clamp(0, 1);
}

/// A picture [3,H,W] enlarged about its middle, [1,3,H,W]; cubic, since a film blurs its frames as often as it zooms.
Tensor enlarged(const Tensor& image, double zoom) {
  const auto side = [&](int64_t n) { return std::llround(static_cast<double>(n) * zoom); };
  const int64_t height = image.size(1), width = image.size(2);
  const Tensor large = at::upsample_bicubic2d(image.unsqueeze(0), {side(height), side(width)}, false);
  return large.narrow(2, (large.size(2) - height) / 2, height)
      .narrow(3, (large.size(3) - width) / 2, width)
      .clamp(0, 1)
      .contiguous();
}

/// What the network sees of a picture without randomness: opacity leaves mid-gray.
Tensor seen_of(const Tensor& image) {
  return image.size(0) == 4 ? 0.5 + image[3] * (image.narrow(0, 0, 3) - 0.5) : image;
}

std::string rounded(double x, double unit = 100) { return number_text(std::round(x * unit) / unit); }
std::string percent(double share) { return rounded(100 * share, 10) + " %"; }

/// What it means that the objective did not rise.
std::string no_rise(const Recipe& recipe, const MadePicture& made) {
  const bool losses = std::all_of(recipe.objectives.begin(), recipe.objectives.end(), [](const WeightedPart& part) {
    return PartCall::parse(PartKind::kObjective, part.part).info->is_loss;
  });
  if (!losses) return "the objective did not rise: the unit may be dead for such pictures";
  if (made.steps == 0) return "no steps were made";
  return "the loss did not fall: it was " + rounded(-made.objective_start, 1e6) + " at the start and is " +
         rounded(-made.objective, 1e6);
}

nlohmann::ordered_json made_json(const MadePicture& p, const std::string& inputs) {
  nlohmann::ordered_json j;
  j["name"] = p.name;
  j["title"] = p.title;
  if (p.class_index >= 0) {
    j["class"] = p.class_index;
    j["logit"] = p.score;
    j["probability"] = p.probability;
    j["rank"] = p.rank;
  }
  j["objective_start"] = p.objective_start;
  j["objective"] = p.objective;
  if (!p.recipe.finish.empty()) j["finished_objective"] = p.finished_objective;
  j["robust_objective"] = p.robust_objective;
  if (p.feature_error >= 0) j["feature_error"] = p.feature_error;
  j["saturation"] = p.saturation;
  j["high_frequencies"] = p.high_frequencies;
  for (const Prediction& c : p.classes) {
    j["classes"].push_back(
        {{"index", c.index}, {"label", c.label}, {"logit", c.logit}, {"probability", c.probability}});
  }
  for (const Measure& m : p.measures) {
    nlohmann::ordered_json measure{{"name", m.name}};
    if (!std::isnan(m.start)) measure["start"] = m.start;
    measure["value"] = m.value;
    j["measures"].push_back(measure);
  }
  j["inputs"] = inputs;
  j["steps"] = p.steps;
  j["seconds"] = std::round(p.seconds * 1000) / 1000;
  if (!p.notes.empty()) j["notes"] = p.notes;
  if (!p.image_file.empty()) j["image"] = p.image_file;
  if (!p.values_file.empty()) j["values"] = p.values_file;
  if (!p.snapshot_files.empty()) j["snapshots"] = p.snapshot_files;
  if (!p.film_file.empty()) j["film"] = p.film_file;
  j["recipe"] = recipe_json(p.recipe);
  return j;
}

}  // namespace

Tensor display_from_picture(const Picture& picture, const ModelCard& card) {
  Tensor x = picture.input.to(at::kCPU).to(at::kFloat);
  if (!card.channels_first) x = x.permute({0, 3, 1, 2});
  x = card.display_from_model(x);
  if (card.order == ChannelOrder::kBgr) x = x.flip(1);
  if (x.size(1) == 1) x = x.expand({-1, 3, -1, -1});
  return x.clamp(0, 1).contiguous();
}

std::vector<Picture> read_all_pictures(const std::vector<std::string>& inputs, const LoadedModel& model) {
  const std::vector<std::string> paths = expand_inputs(inputs);
  const std::vector<std::string> names = unique_names(paths);
  std::vector<Picture> pictures;
  for (size_t i = 0; i < paths.size(); ++i) pictures.push_back(load_picture(paths[i], names[i], model));
  return pictures;
}

Tensor display_from_image(const Image& image) {
  const Image rgb = rgb_from(image);
  return at::from_blob(const_cast<uint8_t*>(rgb.pixels.data()), {1, rgb.height, rgb.width, 3}, at::kByte)
      .permute({0, 3, 1, 2})
      .to(at::kFloat)
      .div(255)
      .contiguous();
}

Image image_from_display(const Tensor& display) {
  const Tensor bytes = (display.clamp(0, 1) * 255).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  Image image(static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(2)));
  std::copy_n(bytes.data_ptr<uint8_t>(), image.pixels.size(), image.pixels.begin());
  return image;
}

Image shown_from_display(const Tensor& display) {
  const Image image = image_from_display(display);
  if (image.channels != 4) return image;
  constexpr int kField = 8;
  constexpr uint8_t kDark = 153, kLight = 204;
  Image board(image.width, image.height, 3, kDark);
  for (int y = 0; y < board.height; ++y) {
    for (int x = 0; x < board.width; ++x) {
      if ((x / kField + y / kField) % 2 == 0) std::fill_n(board.at(x, y), 3, kLight);
    }
  }
  paste(board, image, 0, 0);
  return board;
}

Image sized_photo(const Image& photo, int64_t side, int64_t most) {
  const int longer = std::max(photo.width, photo.height);
  const auto wanted = static_cast<int>(side > 0 ? side : std::min<int64_t>(longer, most));
  if (wanted == longer) return photo;
  const double factor = static_cast<double>(wanted) / longer;
  return resize(photo, std::max(1, static_cast<int>(std::lround(photo.width * factor))),
                std::max(1, static_cast<int>(std::lround(photo.height * factor))));
}

PictureMaker::PictureMaker(std::string verb, const MakeOptions& options, const LoadedModel& model, Progress* progress)
    : verb_(std::move(verb)),
      options_(options),
      model_(model),
      progress_(progress),
      width_(model.card.width > 0 ? model.card.width : kOpenSize),
      height_(model.card.height > 0 ? model.card.height : kOpenSize),
      layers_(model.network, {input_shape(model.card, width_, height_)}, progress),
      second_models_(options.model) {
  if (options.size > 0) {
    const double factor = static_cast<double>(options.size) / static_cast<double>(std::max(width_, height_));
    width_ = std::max<int64_t>(1, std::llround(static_cast<double>(width_) * factor));
    height_ = std::max<int64_t>(1, std::llround(static_cast<double>(height_) * factor));
  }
}

void PictureMaker::fit(Recipe& recipe) const {
  recipe.width = width_;
  recipe.height = height_;
  if (options_.steps > 0) scale_steps(recipe, options_.steps);
  recipe.seed = options_.seed;
  if (options_.tile > 0) recipe.tile = options_.tile;
}

Recipe PictureMaker::recipe(const std::string& fallback, const std::string& family) const {
  const std::string& name = options_.recipe.empty() ? fallback : options_.recipe;
  if (fs::u8path(name).extension() != ".json") return recipe(find_recipe(name, family));
  return stored(load_recipes(name).front());
}

WeightedRecipe PictureMaker::choose(const std::string& fallback, const std::string& family) const {
  const std::string& name = options_.recipe.empty() ? fallback : options_.recipe;
  const bool from_file = fs::u8path(name).extension() == ".json";
  if (from_file) return {recipe(fallback, family), 1, ""};
  const NamedRecipe& named = find_recipe(name, family);
  return {recipe(named), named.weight, named.objective};
}

Recipe PictureMaker::stored(Recipe recipe) const {
  if (options_.size > 0) {
    recipe.width = width_;
    recipe.height = height_;
  }
  if (options_.steps > 0) scale_steps(recipe, options_.steps);
  if (options_.seed > 0) recipe.seed = options_.seed;
  if (options_.tile > 0) recipe.tile = options_.tile;
  return recipe;
}

Recipe PictureMaker::recipe(const NamedRecipe& named) const {
  Recipe r = named.recipe;
  fit(r);
  return r;
}

int64_t PictureMaker::num_classes() const {
  const Shape& shape = layers_.shape(layers_.logits());
  if (shape.size() < 2) throw_usage(printable(model_.network.graph().name) + ": its output is not one score per class");
  return pellucid::num_classes(layers_);
}

std::string PictureMaker::file(const std::string& name) const {
  return (fs::u8path(options_.output) / fs::u8path(name)).string();
}

SynthesisContext PictureMaker::context(const PictureJob& job, Progress* progress) {
  SynthesisContext context{model_.network, model_.card, job.pictures, job.tensors, progress};
  context.networks = second_models_.networks(job.recipe);
  context.tensors.merge(second_models_.tensors(job.recipe));
  return context;
}

std::vector<MadePicture> PictureMaker::make(const PictureJob& job, size_t index, size_t count) {
  PartProgress part(progress_, index, count, job.title);
  RunRecorder recorder(options_, job, model_);
  SynthesisContext context = this->context(job, &part);
  recorder.attach(context);
  const auto start = std::chrono::steady_clock::now();
  const SynthesisResult result = synthesize(job.recipe, context);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  interrupted_ = result.interrupted;
  if (!result.problem.empty()) num_stopped_ += result.image.size(0);
  std::vector<MadePicture> pictures;
  for (int64_t b = 0; b < std::max<int64_t>(1, static_cast<int64_t>(job.batch.size())); ++b) {
    MadePicture made = made_from(job, result, b);
    made.seconds = seconds / static_cast<double>(result.image.size(0));
    recorder.finish(made, b);
    pictures.push_back(std::move(made));
  }
  return pictures;
}

MadePicture PictureMaker::made_from(const PictureJob& job, const SynthesisResult& result, int64_t b) {
  const auto at_b = static_cast<size_t>(b);
  MadePicture made;
  made.name = job.batch.empty() ? job.name : job.batch[at_b].name;
  made.title = job.batch.empty() ? job.title : job.batch[at_b].title;
  made.class_index = job.batch.empty() ? job.class_index : job.batch[at_b].class_index;
  made.recipe = job.recipe;
  const int64_t inner = inner_pixels(job.recipe);
  const auto middle = [&](const Tensor& t) {
    return t.narrow(1, inner / 2, t.size(1) - inner).narrow(2, inner / 2, t.size(2) - inner).contiguous();
  };
  made.image = middle(result.image[b]);
  made.unfinished = middle(result.unfinished[b]);
  // A single objective is reported in its own unit; only the sign says whether it was to fall.
  std::vector<double> weights;
  for (const WeightedPart& part : job.recipe.objectives) {
    if (part.picture < 0 || part.picture == b) weights.push_back(std::abs(part.weight));
  }
  const double unit = weights.size() == 1 && weights[0] > 0 ? weights[0] : 1;
  made.objective_start = result.objective_start[at_b] / unit;
  made.objective = result.objective[at_b] / unit;
  made.finished_objective = result.finished_objective[at_b] / unit;
  made.robust_objective = result.robust_objective[at_b] / unit;
  made.steps = result.steps;
  if (!result.problem.empty()) made.notes.push_back(kStoppedNote + result.problem);
  if (result.interrupted) made.notes.emplace_back(kInterruptedNote);
  // A later frame of a film begins with a dream.
  if (job.zoom == 0 && !(made.objective > made.objective_start)) made.notes.push_back(no_rise(job.recipe, made));
  for (const auto& [text, values] : result.terms) {
    if (text.rfind("match:", 0) == 0) made.feature_error = std::sqrt(std::max(0.0, -values[at_b]));
  }
  judge(made);
  if (job.measure && made.image.size(0) == 4) {
    made.notes.emplace_back("pictures with opacity are not measured");
  } else if (job.measure && !interrupted_ && result.problem.empty()) {
    job.measure(job, made);
  }
  return made;
}

void PictureMaker::judge(MadePicture& made) {
  const Tensor seen = seen_of(made.image);
  made.saturation = saturation_of(seen);
  made.high_frequencies = high_frequencies_of(seen);
  if (interrupted_) return;
  const Shape& shape = layers_.shape(layers_.logits());
  if (shape.size() != 2 || (model_.card.labels.empty() && made.class_index < 0)) return;
  const std::vector<Prediction> ranked = ranking(seen);
  made.classes.assign(ranked.begin(), ranked.begin() + std::min<ptrdiff_t>(3, static_cast<ptrdiff_t>(ranked.size())));
  for (size_t i = 0; i < ranked.size(); ++i) {
    if (ranked[i].index != made.class_index) continue;
    made.score = ranked[i].logit;
    made.probability = ranked[i].probability;
    made.rank = static_cast<int64_t>(i) + 1;
  }
}

/// All classes, best first, of what a reader of the file sees: eight bits, at the size that the model wants.
std::vector<Prediction> PictureMaker::ranking(const Tensor& display) {
  const ModelCard& card = model_.card;
  const Shape& input = layers_.input_shape();
  const auto side = [&](size_t axis) { return static_cast<int>(input[card.channels_first ? axis : axis - 1]); };
  Tensor x = display_from_image(resize(image_from_display(display), side(3), side(2)));
  if (card.order == ChannelOrder::kBgr) x = x.flip(1);
  if (card.channels() == 1) x = x.mul(at::tensor({0.299, 0.587, 0.114}).view({1, 3, 1, 1})).sum(1, true);
  x = card.model_from_display(x);
  if (!card.channels_first) x = x.permute({0, 2, 3, 1}).contiguous();
  const Network& network = model_.network;
  const Tensor logits = forward(network, x.to(at::TensorOptions().device(network.device()).dtype(network.dtype())),
                                layers_.logits(), progress_);
  return top_classes(logits, model_, layers_, num_classes()).front();
}

nlohmann::ordered_json PictureMaker::heading() const {
  nlohmann::ordered_json json;
  json["pellucid"] = PELLUCID_VERSION;
  json["verb"] = verb_;
  json["model"] = {{"path", model_.path}, {"sha256", model_.hash()}};
  json["card"] = card_json(model_.card);
  for (const auto& [path, model] : second_models_.loaded()) {
    json["networks"].push_back({{"path", path}, {"sha256", model.hash()}});
  }
  json["device"] = options_.model.device;
  return json;
}

/// What a run begins with: the tensors of second networks are added, and all of it gets a name.
void PictureMaker::complete(PictureJob& job, const MakeResult& before) {
  if (job.zoom > 0 && !before.pictures.empty()) {
    Tensor& start = job.pictures["start"];
    start = with_contrast_of(enlarged(before.pictures.back().image, job.zoom), start);
  }
  std::map<std::string, std::string> hashes;
  for (const auto& [name, network] : second_models_.networks(job.recipe)) {
    hashes[name] = second_models_.loaded().at(name).hash();
  }
  job.tensors.merge(second_models_.tensors(job.recipe));
  job.inputs = inputs_sha256(job.pictures, job.tensors, hashes);
}

/// The pictures of a job that the folder already has; none when one is missing.
std::vector<MadePicture> PictureMaker::kept(const PictureJob& job, const FinishedPictures& finished) const {
  std::vector<MadePicture> pictures;
  for (size_t b = 0; b < std::max<size_t>(1, job.batch.size()); ++b) {
    auto made = finished.find(job.batch.empty() ? job.name : job.batch[b].name, job.recipe, job.inputs);
    if (!made) return {};
    pictures.push_back(std::move(*made));
  }
  return pictures;
}

MakeResult PictureMaker::run(const std::vector<PictureJob>& jobs) {
  const at::NoGradGuard no_grad;
  if (!options_.output.empty()) make_folder(options_.output);
  MakeResult result;
  result.notes = model_.card.notes;
  result.notes.insert(result.notes.end(), notes_.begin(), notes_.end());
  const FinishedPictures finished(options_, heading());
  std::vector<PictureJob> done;
  size_t num_kept = 0;
  for (size_t i = 0; i < jobs.size() && !interrupted_; ++i) {
    bool first = true;
    PictureJob job = jobs[i];
    complete(job, result);
    std::vector<MadePicture> pictures = kept(job, finished);
    num_kept += pictures.size();
    if (pictures.empty()) {
      pictures = make(job, i, jobs.size());
      for (MadePicture& made : pictures) save(made);
    }
    for (MadePicture& made : pictures) {
      done.push_back(jobs[i]);
      done.back().inputs = job.inputs;
      done.back().new_row = jobs[i].new_row && first;
      if (!first) done.back().source = Tensor();
      result.pictures.push_back(std::move(made));
      first = false;
    }
  }
  if (num_kept > 0) {
    result.notes.push_back("kept " + std::to_string(num_kept) + " of " + std::to_string(result.pictures.size()) +
                           " pictures, finished before by the same request (--resume)");
  } else if (finished.any()) {
    result.notes.emplace_back("the output folder holds no finished run of this request; all pictures are made anew");
  }
  result.interrupted = interrupted_;
  result.num_stopped = num_stopped_;
  write(result, done);
  if (!interrupted_) {
    for (const PictureJob& job : jobs) RunRecorder::forget(options_, job);
  }
  return result;
}

void PictureMaker::save(MadePicture& made) const {
  if (options_.output.empty()) return;
  made.image_file = made.name + ".png";
  made.values_file = made.name + ".npy";
  save_png(file(made.image_file), image_from_display(made.image));
  write_npy(file(made.values_file), made.image.data_ptr<float>(), made.image.sizes().vec());
}

void PictureMaker::add_cells(ContactSheet& sheet, const MadePicture& made, const PictureJob& job) const {
  if (job.source.defined()) {
    SheetCell cell;
    cell.image = image_from_display(job.source[0]);
    cell.title = job.subtitle;
    cell.new_row = true;
    sheet.cells.push_back(std::move(cell));
  }
  for (const auto& [title, picture] : job.beside) {
    SheetCell beside;
    beside.image = image_from_display(picture[0]);
    beside.title = title;
    sheet.cells.push_back(std::move(beside));
  }
  SheetCell cell;
  cell.image = shown_from_display(made.image);
  cell.title = made.title;
  cell.new_row = job.new_row;
  if (!atlas_) cell.lines.push_back(job.source.defined() ? made.recipe.name : job.subtitle);
  if (made.feature_error >= 0) cell.lines.push_back("feature error " + percent(made.feature_error));
  cell.lines.push_back(made.class_index >= 0 ? "logit " + rounded(made.score) + ", probability " +
                                                   percent(made.probability) + ", rank " + std::to_string(made.rank)
                                             : "objective " + rounded(made.objective_start, 1000) + " -> " +
                                                   rounded(made.objective, 1000));
  sheet.cells.push_back(std::move(cell));
}

void PictureMaker::write(MakeResult& result, const std::vector<PictureJob>& jobs) {
  ContactSheet sheet;
  sheet.title = "pellucid " + verb_;
  if (atlas_) sheet.min_cell_px = kAtlasCell;
  sheet.subtitle = fs::u8path(model_.path).filename().string();
  for (size_t i = 0; i < result.pictures.size(); ++i) {
    const MadePicture& p = result.pictures[i];
    add_cells(sheet, p, jobs[i]);
    if (!jobs[i].beside.empty()) sheet.columns = static_cast<int>(2 + jobs[i].beside.size());
  }
  nlohmann::ordered_json json = heading();
  if (result.interrupted) json["interrupted"] = true;
  json["notes"] = result.notes;
  json["pictures"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < result.pictures.size(); ++i) {
    nlohmann::ordered_json made = made_json(result.pictures[i], jobs[i].inputs);
    for (const auto& [name, path] : jobs[i].files) made["files"][name] = path;
    json["pictures"].push_back(made);
  }
  if (!options_.output.empty() && !sheet.cells.empty()) {
    result.sheet_file = "sheet.png";
    result.result_file = "result.json";
    json["sheet"] = result.sheet_file;
    save_png(file(result.sheet_file), draw_contact_sheet(sheet));
  }
  result.json = json_text(json);
  if (!result.result_file.empty()) write_file_atomically(file(result.result_file), result.json + "\n");
}

}  // namespace pellucid
