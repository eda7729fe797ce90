#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "pellucid/error.h"
#include "pellucid/evaluation.h"
#include "pellucid/files.h"
#include "pellucid/npy.h"
#include "pellucid/report.h"
#include "pellucid/tasks.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/card_json.h"
#include "tasks/rule_map_json.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

double elapsed_ms(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

Tensor float_array(const Tensor& t) { return t.detach().to(at::kCPU).to(at::kFloat).contiguous(); }

void write_array(const fs::path& path, const Tensor& t) {
  const Tensor a = float_array(t);
  write_npy(path.string(), a.data_ptr<float>(), a.sizes().vec());
}

/// One wish: a method for a target.
struct Job {
  MethodCall call;
  Target target;
  std::string suffix;  ///< Part of the file names after the picture's: "grad-cam" or "grad-cam.top2".
};

/// The reader of inputs, a few at a time, so that memory does not grow with their number.
class PictureQueue {
 public:
  PictureQueue(const ExplainRequest& request, const LoadedModel& model)
      : request_(request), model_(model), paths_(expand_inputs(request.run.inputs)), names_(unique_names(paths_)) {}

  size_t size() const { return paths_.size(); }
  size_t position() const { return next_; }

  /// The next pictures of one shape, at most `most`; empty at the end. Unreadable ones go to `failed`.
  std::vector<Picture> next(int64_t most, std::vector<ExplainedPicture>& failed) {
    std::vector<Picture> batch;
    while (static_cast<int64_t>(batch.size()) < most) {
      if (waiting_.empty()) {
        if (next_ == paths_.size()) break;
        const size_t i = next_++;
        try {
          waiting_ = load_pictures(paths_[i], names_[i], model_, request_.run.image_limits);
          std::reverse(waiting_.begin(), waiting_.end());
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::kInvalidInput) throw;
          ExplainedPicture bad;
          bad.path = paths_[i];
          bad.name = names_[i];
          bad.error = e.what();
          failed.push_back(std::move(bad));
          continue;
        }
      }
      if (!batch.empty() && waiting_.back().input.sizes() != batch.front().input.sizes()) break;
      batch.push_back(std::move(waiting_.back()));
      waiting_.pop_back();
    }
    return batch;
  }

 private:
  const ExplainRequest& request_;
  const LoadedModel& model_;
  std::vector<std::string> paths_, names_;
  std::vector<Picture> waiting_;
  size_t next_ = 0;
};

const char* precision_name(Precision p) {
  switch (p) {
    case Precision::kFloat64:
      return "float64";
    case Precision::kBFloat16:
      return "bf16";
    case Precision::kAsStored:
      return "as-stored";
    default:
      return "float32";
  }
}

std::string explain_json(const ExplainRequest& request, const ExplainResult& result, const LoadedModel& model) {
  nlohmann::ordered_json json;
  json["pellucid"] = PELLUCID_VERSION;
  json["verb"] = "explain";
  json["model"] = {{"path", model.path}, {"sha256", model.hash()}};
  json["card"] = card_json(model.card);
  json["methods"] = request.methods;
  json["layers"] = request.layers;
  json["targets"] = request.targets;
  json["seed"] = request.run.seed;
  json["batch_size"] = request.run.batch_size;
  json["device"] = request.model.device;
  json["precision"] = precision_name(request.model.precision);
  json["picture"] = {{"colormap", request.color_map},
                     {"normalization", request.normalization},
                     {"heatmap_opacity", request.opacity},
                     {"shared_scale", request.shared_scale}};
  if (!request.mask.empty()) json["mask"] = request.mask;
  if (!request.reference.empty()) json["reference"] = request.reference;
  json["notes"] = result.notes;
  json["pictures"] = nlohmann::ordered_json::array();
  for (const ExplainedPicture& picture : result.pictures) {
    nlohmann::ordered_json p;
    p["path"] = picture.path;
    p["name"] = picture.name;
    if (!picture.error.empty()) {
      p["error"] = picture.error;
      json["pictures"].push_back(std::move(p));
      continue;
    }
    for (const Prediction& c : picture.classes) {
      p["classes"].push_back(
          {{"index", c.index}, {"label", c.label}, {"logit", c.logit}, {"probability", c.probability}});
    }
    if (!picture.sheet_file.empty()) p["sheet"] = picture.sheet_file;
    for (const ExplainedMap& map : picture.maps) {
      nlohmann::ordered_json m;
      m["method"] = map.method;
      m["target"] = map.target;
      if (map.class_index >= 0) m["class"] = map.class_index;
      m["score"] = map.score;
      if (map.probability >= 0) m["probability"] = map.probability;
      if (!map.layers.empty()) m["layers"] = map.layers;
      m["min"] = map.lowest;
      m["max"] = map.highest;
      m["signed"] = map.is_signed;
      m["channel_reduction"] = map.reduction;
      m["milliseconds"] = std::round(map.milliseconds * 1000) / 1000;
      if (!map.diagnostics.empty()) m["diagnostics"] = map.diagnostics;
      if (!map.rule_uses.empty()) m["rules"] = map.rule_uses;
      if (!map.notes.empty()) m["notes"] = map.notes;
      if (map.localization) m["localization"] = *map.localization;
      if (!map.overlay_file.empty()) m["overlay"] = map.overlay_file;
      if (!map.values_file.empty()) m["values"] = map.values_file;
      if (!map.input_file.empty()) m["input_map"] = map.input_file;
      if (!map.layer_files.empty()) m["layer_values"] = map.layer_files;
      p["maps"].push_back(std::move(m));
    }
    json["pictures"].push_back(std::move(p));
  }
  return json_text(json);
}

class Explainer {
 public:
  Explainer(const ExplainRequest& request, const LoadedModel& model, Progress* progress)
      : request_(request), model_(model), progress_(progress), folder_(fs::u8path(request.output)) {
    check_style();
    make_jobs();
  }

  ExplainResult run() {
    PictureQueue queue(request_, model_);
    if (!request_.output.empty()) {
      make_folder(request_.output);
      // An older run's summary would vouch for files that this run replaces.
      std::error_code ignored;
      const bool rerun = fs::remove(folder_ / "result.json", ignored);
      if (rerun && !request_.report) fs::remove(folder_ / "report.html", ignored);
    }
    ExplainResult result;
    result.notes = model_.card.notes;
    while (true) {
      std::vector<ExplainedPicture> failed;
      const std::vector<Picture> batch = queue.next(request_.run.batch_size, failed);
      for (ExplainedPicture& bad : failed) {
        ++result.num_failed;
        result.pictures.push_back(std::move(bad));
      }
      if (batch.empty()) {
        if (queue.position() == queue.size()) break;
        continue;
      }
      if (progress_) {
        progress_->check();
        progress_->report(static_cast<double>(queue.position() - batch.size()), static_cast<double>(queue.size()),
                          "pictures");
      }
      explain_batch(batch, result);
    }
    if (result.num_failed > 0 && result.num_failed == static_cast<int64_t>(result.pictures.size())) {
      throw_invalid(result.pictures.size() == 1
                        ? result.pictures.front().error
                        : "none of the " + std::to_string(result.num_failed) +
                              " inputs could be read; the first: " + result.pictures.front().error);
    }
    finish(result);
    return result;
  }

 private:
  void check_style() {
    if (!request_.color_map.empty()) find_color_map(request_.color_map);
    if (!request_.normalization.empty()) find_normalization(request_.normalization);
    if (!(request_.opacity >= 0 && request_.opacity <= 1)) {
      throw_usage("heatmap-opacity is " + number_text(request_.opacity) + "; it must be between 0 and 1");
    }
    if (request_.run.batch_size < 1) throw_usage("batch-size must be an integer >= 1");
  }

  void make_jobs() {
    const std::vector<MethodCall> calls = parse_methods(request_.methods);
    std::vector<Target> targets;
    for (const std::string& text : request_.targets) targets.push_back(Target::parse(text));
    if (targets.empty()) throw_usage("at least one target is needed");
    for (const std::string& part : split(request_.methods, ','))
      skip_unsuitable_ = skip_unsuitable_ || trim(part) == "all";
    std::set<std::string> used;
    std::vector<std::pair<const MethodCall*, const Target*>> pairs;
    for (const Target& target : targets) {
      for (const MethodCall& call : calls) pairs.emplace_back(&call, &target);
    }
    if (request_.shared_scale) {
      // A method's targets follow one another, so that they can be drawn together.
      std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    for (const auto& [call, target] : pairs) {
      Job job{*call, *target, {}};
      std::string suffix = file_name_from(call->text());
      if (targets.size() > 1) suffix += "." + file_name_from(target->text);
      job.suffix = suffix;
      for (int n = 2; !used.insert(job.suffix).second; ++n) job.suffix = suffix + "-" + std::to_string(n);
      read_rule_map(job.call);  // after naming: files are called after the file, results hold its rules
      jobs_.push_back(std::move(job));
    }
  }

  /// Shared, because the pictures of a batch and a reference of another size take turns.
  std::shared_ptr<const LayerTable> table_for(const Shape& shape) {
    if (!table_ || table_shape_ != shape) {
      Shape one = shape;
      one[0] = 1;
      table_ = std::make_shared<const LayerTable>(model_.network, std::vector<Shape>{one});
      table_shape_ = shape;
    }
    return table_;
  }

  std::vector<ValueId> cam_layers(const LayerTable& table, std::vector<std::string>& notes) {
    std::vector<ValueId> layers;
    std::vector<std::string> names = request_.layers;
    bool from_card = false;
    std::string why = "--layer";
    if (names.empty() && !model_.card.default_layer.empty()) {
      names = {model_.card.default_layer};
      why = "the card's default layer";
      from_card = true;
    }
    if (names.empty()) {
      names = {"auto"};
    }
    for (const std::string& name : names) {
      for (const ValueId id : layers_named(table, name, from_card)) {
        if (std::find(layers.begin(), layers.end(), id) == layers.end()) layers.push_back(id);
      }
      if (name == "auto") why = "the last spatial map before pooling, after its activation";
    }
    std::string list;
    for (const ValueId id : layers) {
      const LayerInfo& info = table.layer(id);
      list +=
          (list.empty() ? "" : ", ") + printable(info.name) + " " + shape_text(at::IntArrayRef(info.shape).slice(1));
    }
    add_note(notes, "layer " + list + ": " + why);
    return layers;
  }

  /// A card that names a layer the model does not have is a wrong file, not a wrong request.
  static std::vector<ValueId> layers_named(const LayerTable& table, const std::string& name, bool from_card) {
    try {
      return table.find_all(name);
    } catch (const Error& e) {
      if (from_card) throw_invalid("card: default_layer: " + std::string(e.what()));
      throw;
    }
  }

  static void add_note(std::vector<std::string>& notes, const std::string& note) {
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  }

  void explain_batch(const std::vector<Picture>& pictures, ExplainResult& result) {
    const at::NoGradGuard no_grad;
    TensorList inputs;
    for (const Picture& p : pictures) inputs.push_back(p.input);
    const Tensor input =
        at::cat(inputs).to(at::TensorOptions().device(model_.network.device()).dtype(model_.network.dtype()));
    const std::shared_ptr<const LayerTable> shared_table = table_for(input.sizes().vec());
    const LayerTable& table = *shared_table;
    // A wrong layer stops the run before any method has run.
    if (!request_.layers.empty() && std::any_of(jobs_.begin(), jobs_.end(), [](const Job& j) {
          return (j.call.method->needs & kNeedsLayer) != 0;
        })) {
      cam_layers(table, result.notes);
    }
    std::vector<ExplainedPicture> explained(pictures.size());
    const Tensor logits = forward(input, table.logits());
    const auto classes = top_classes(logits, model_, table, 5);
    for (size_t i = 0; i < pictures.size(); ++i) {
      explained[i].path = pictures[i].path;
      explained[i].name = pictures[i].name;
      explained[i].classes = classes[i];
    }
    if (!table.squashing().empty()) add_note(result.notes, "scores are taken before the final " + table.squashing());

    std::vector<std::vector<SheetCell>> cells(pictures.size());
    for (size_t i = 0; i < pictures.size(); ++i) {
      SheetCell photo;
      photo.image = pictures[i].photo;
      photo.title = pictures[i].name;
      for (size_t k = 0; k < classes[i].size() && k < 3; ++k) photo.lines.push_back(class_line(classes[i][k]));
      cells[i].push_back(std::move(photo));
    }
    for (size_t begin = 0; begin < jobs_.size();) {
      size_t end = begin + 1;
      // Maps on one color scale are drawn when all of them are there: a method's maps for all targets.
      while (request_.shared_scale && end < jobs_.size() && jobs_[end].call.text() == jobs_[begin].call.text()) ++end;
      std::vector<Done> group;
      for (size_t j = begin; j < end; ++j) run_job(jobs_[j], input, table, logits, result, group);
      for (size_t i = 0; i < pictures.size(); ++i) {
        std::vector<ValueRange> ranges;
        for (const Done& done : group) {
          ranges.push_back(map_range(done.attribution.map[static_cast<int64_t>(i)], heatmap_options(done.attribution)));
        }
        const ValueRange shared = group.size() > 1 ? shared_range(ranges) : ValueRange{};
        for (size_t j = 0; j < group.size(); ++j) {
          explained[i].maps.push_back(write_map(pictures[i], group[j], static_cast<int64_t>(i), table,
                                                group.size() > 1 ? shared : ranges[j], cells[i]));
        }
      }
      begin = end;
    }
    for (size_t i = 0; i < pictures.size(); ++i) {
      write_sheet(pictures[i], explained[i], cells[i]);
      result.pictures.push_back(std::move(explained[i]));
    }
  }

  /// A job done for a batch.
  struct Done {
    const Job* job = nullptr;
    std::unique_ptr<BoundTarget> target;
    Attribution attribution;
    Tensor score, probability;  ///< float64 [N]; probability undefined when the target is no class
    double milliseconds = 0;
  };

  void run_job(const Job& job, const Tensor& input, const LayerTable& table, const Tensor& logits,
               ExplainResult& result, std::vector<Done>& group) {
    const ValueId value_id = target_value(job.target, table, model_.network.graph());
    const Tensor value = value_id == table.logits() ? logits : forward(input, value_id);
    Done done;
    done.job = &job;
    done.target = std::make_unique<BoundTarget>(with_reference(job.target), table, model_.card, value_id, value);
    Context context{model_.network,          table,     model_.card, input, *done.target, {}, request_.run.seed,
                    request_.run.batch_size, progress_, {}};
    done.score = done.target->score(value).to(at::kCPU).to(at::kDouble);
    done.probability = done.target->probability(value);
    if (done.probability.defined()) done.probability = done.probability.to(at::kCPU).to(at::kDouble);
    const auto start = std::chrono::steady_clock::now();
    try {
      if (job.call.method->needs & kNeedsLayer) context.cam_layers = cam_layers(table, result.notes);
      done.attribution = attribute(job.call, context);
    } catch (const Error& e) {
      // Under "all" a method that does not suit the model is left out with its reason.
      if (!skip_unsuitable_ || e.kind() != ErrorKind::kUsage) throw;
      add_note(result.notes, job.call.method->id + " left out: " + e.what());
      return;
    }
    done.milliseconds = elapsed_ms(start) / static_cast<double>(input.size(0));
    group.push_back(std::move(done));
  }

  Tensor forward(const Tensor& input, ValueId value) const {
    Request request;
    request.capture.push_back(value);
    if (model_.network.batches_safely()) return model_.network.run({input}, request, progress_).at(value);
    TensorList parts;
    for (int64_t i = 0; i < input.size(0); ++i) {
      parts.push_back(model_.network.run({input.narrow(0, i, 1)}, request, progress_).at(value));
    }
    return at::cat(parts);
  }

  Target with_reference(Target target) {
    if (target.kind == Target::Kind::kSimilarity && !request_.reference.empty()) {
      if (!reference_.defined()) {
        const Picture p = load_picture(request_.reference, "reference", model_, request_.run.image_limits);
        const LayerTable table(model_.network, {p.input.sizes().vec()});
        reference_ = forward(p.input, table.logits()).flatten();
      }
      target.reference = reference_;
    }
    if (!request_.mask.empty() && !target.mask.defined() && fs::is_regular_file(fs::u8path(request_.mask))) {
      const Image mask = decode_mask(request_.mask, request_.run.image_limits);
      const Tensor t = at::empty({mask.height, mask.width}, at::kByte);
      std::copy(mask.pixels.begin(), mask.pixels.end(), t.data_ptr<uint8_t>());
      target.mask = t.gt(127);
    }
    return target;
  }

  ExplainedMap describe_map(const Done& done, const LayerTable& table, int64_t i) const {
    const Attribution& a = done.attribution;
    ExplainedMap map;
    MethodCall full = done.job->call;
    full.params = full.method->complete(full.params);
    map.method = full.text();
    map.title = full.method->title;
    map.target = done.target->description(i);
    map.class_index = done.target->class_index(i);
    map.score = done.score[i].item<double>();
    if (done.probability.defined()) map.probability = done.probability[i].item<double>();
    map.milliseconds = done.milliseconds;
    for (const ValueId id : a.layers) map.layers.push_back(table.layer(id).name);
    map.lowest = a.map[i].min().item<double>();
    map.highest = a.map[i].max().item<double>();
    map.is_signed = a.is_signed;
    map.reduction = a.reduction;
    map.diagnostics = a.diagnostics[static_cast<size_t>(i)];
    map.notes = a.notes[static_cast<size_t>(i)];
    map.rule_uses = a.rule_uses;
    return map;
  }

  HeatmapOptions heatmap_options(const Attribution& a) const {
    HeatmapOptions options;
    if (!request_.normalization.empty()) {
      options.normalization = find_normalization(request_.normalization);
    } else if (a.layers.empty() || a.values.dim() == 4) {
      // Gradient maps have a few extreme pixels that would leave the rest dark.
      options.normalization = Normalization::kPercentile;
    } else {
      options.normalization = a.is_signed ? Normalization::kSymmetric : Normalization::kMax;
    }
    return options;
  }

  ExplainedMap write_map(const Picture& picture, const Done& done, int64_t i, const LayerTable& table,
                         const ValueRange& range, std::vector<SheetCell>& cells) {
    const Attribution& a = done.attribution;
    ExplainedMap map = describe_map(done, table, i);
    MapStyle style;
    style.color_map = request_.color_map;
    style.opacity = request_.opacity;
    const DrawnMap drawn = draw_map(picture.photo, picture.seen, picture.content, a.map[i], range, style);
    SheetCell cell;
    cell.image = drawn.overlay;
    cell.title = map.title;
    cell.lines.push_back(printable(map.target, 60) + "  " + number_text(std::round(map.score * 100) / 100));
    cell.color_map = drawn.color_map;
    cell.range = drawn.range;
    if (const Tensor mask = mask_for(picture); mask.defined()) {
      const Localization found = localization(a.map[i]
                                                  .narrow(0, picture.content.y, picture.content.height)
                                                  .narrow(1, picture.content.x, picture.content.width),
                                              mask);
      map.localization = {
          {"iou_half", found.iou_half}, {"iou_best", found.iou_best}, {"best_threshold", found.best_threshold},
          {"mass", found.mass},         {"rank", found.rank},         {"hit", found.hit ? 1.0 : 0.0}};
      const auto percent = [](double v) { return std::to_string(std::lround(v * 100)) + " %"; };
      cell.lines.push_back("IoU " + percent(found.iou_best) + "  mass " + percent(found.mass) +
                           (found.hit ? "  hit" : "  miss"));
    }
    if (!map.notes.empty()) cell.lines.push_back(map.notes.front());
    cells.push_back(std::move(cell));
    if (request_.output.empty()) return map;
    const std::string base = picture.name + "." + done.job->suffix;
    map.overlay_file = base + ".png";
    save_png((folder_ / fs::u8path(map.overlay_file)).string(), drawn.overlay);
    if (!request_.write_arrays) return map;
    map.values_file = base + ".npy";
    map.input_file = base + ".input.npy";
    write_array(folder_ / fs::u8path(map.values_file), a.values[i]);
    write_array(folder_ / fs::u8path(map.input_file), a.map[i]);
    std::set<std::string> used{"input"};
    for (const auto& [layer, raw] : a.layer_values) {
      const std::string safe = file_name_from(model_.network.graph().value(layer).name);
      std::string unique = safe;
      for (int n = 2; !used.insert(unique).second; ++n) unique = safe + "-" + std::to_string(n);
      const std::string file = base + "." + unique + ".npy";
      write_array(folder_ / fs::u8path(file), raw[i]);
      map.layer_files[model_.network.graph().value(layer).name] = file;
    }
    return map;
  }

  /// The mask at the size of the part of the map that shows the photo; undefined when there is none for this picture.
  Tensor mask_for(const Picture& picture) {
    if (request_.mask.empty()) return {};
    fs::path path = fs::u8path(request_.mask);
    std::error_code ec;
    if (fs::is_directory(path, ec)) {
      fs::path found;
      for (const char* extension : {".png", ".bmp", ".pgm", ".jpg"}) {
        fs::path candidate = path / fs::u8path(picture.path).stem();
        candidate += extension;
        if (fs::is_regular_file(candidate, ec)) found = candidate;
      }
      if (found.empty()) return {};
      path = found;
    }
    Image mask = decode_mask(path.string(), request_.run.image_limits);
    const Rect whole{0, 0, picture.photo.width, picture.photo.height};
    if (mask.width != whole.width || mask.height != whole.height) {
      throw_invalid(printable(path.filename().string()) + ": the mask has " + std::to_string(mask.width) + "x" +
                    std::to_string(mask.height) + " pixels but its picture " + std::to_string(whole.width) + "x" +
                    std::to_string(whole.height));
    }
    // Nearest neighbour: a mask has no values between inside and outside.
    const Image fitted =
        resize(crop(mask, picture.seen), picture.content.width, picture.content.height, Filter::kNearest);
    const Tensor t = at::empty({fitted.height, fitted.width}, at::kByte);
    std::copy(fitted.pixels.begin(), fitted.pixels.end(), t.data_ptr<uint8_t>());
    const Tensor inside = t.gt(127);
    return inside.any().item<bool>() ? inside : Tensor();
  }

  static std::string class_line(const Prediction& p) {
    return std::to_string(p.index) + " " + printable(p.label, 40) + "  " +
           std::to_string(std::lround(p.probability * 1000) / 10.0).substr(0, 4) + " %";
  }

  void write_sheet(const Picture& picture, ExplainedPicture& explained, std::vector<SheetCell>& cells) {
    if (!request_.output.empty() && cells.size() > 1) {
      ContactSheet sheet;
      sheet.title = picture.name;
      sheet.subtitle = printable(fs::u8path(model_.path).filename().string()) +
                       (explained.classes.empty() ? "" : ": " + class_line(explained.classes.front()));
      sheet.cells = cells;
      explained.sheet_file = picture.name + ".sheet.png";
      save_png((folder_ / fs::u8path(explained.sheet_file)).string(), draw_contact_sheet(sheet));
    }
    if (!request_.report) return;
    report_.heading(picture.name);
    std::vector<std::vector<std::string>> rows;
    for (const Prediction& p : explained.classes) {
      rows.push_back({std::to_string(p.index), p.label, number_text(std::round(p.logit * 1000) / 1000),
                      number_text(std::round(p.probability * 1e4) / 1e4)});
    }
    if (!rows.empty()) report_.table({"class", "label", "logit", "probability"}, rows);
    std::vector<HtmlReport::Figure> figures;
    for (size_t i = 0; i < cells.size(); ++i) {
      HtmlReport::Figure f{std::move(cells[i].image), cells[i].title, cells[i].lines};
      if (i > 0) {
        const ExplainedMap& map = explained.maps[i - 1];
        f.lines.push_back(map.method);
        for (const std::string& note : map.notes) {
          if (std::find(f.lines.begin(), f.lines.end(), note) == f.lines.end()) f.lines.push_back(note);
        }
        f.lines.push_back("scale " + number_text(static_cast<float>(cells[i].range.low)) + " to " +
                          number_text(static_cast<float>(cells[i].range.high)));
      }
      figures.push_back(std::move(f));
    }
    report_.figures(figures);
  }

  void finish(ExplainResult& result) {
    if (request_.report) result.report_file = "report.html";
    if (request_.output.empty()) result.report_file.clear();
    result.json = explain_json(request_, result, model_);
    if (request_.output.empty()) return;
    if (request_.report) {
      report_.heading("How this was made");
      for (const std::string& note : result.notes) report_.paragraph(note);
      report_.paragraph("Pellucid " PELLUCID_VERSION
                        "; the numbers behind the pictures are in the .npy files and result.json "
                        "beside this page.");
      write_file_atomically((folder_ / "report.html").string(), report_.html());
    }
    result.result_file = "result.json";
    write_file_atomically((folder_ / "result.json").string(), result.json + "\n");
  }

  const ExplainRequest& request_;
  const LoadedModel& model_;
  Progress* progress_;
  fs::path folder_;
  std::vector<Job> jobs_;
  bool skip_unsuitable_ = false;
  std::shared_ptr<const LayerTable> table_;
  Shape table_shape_;
  Tensor reference_;
  HtmlReport report_{"Explanations by Pellucid"};
};

}  // namespace

ExplainResult explain(const ExplainRequest& request, Progress* progress) {
  // Wishes are checked before the model is read: a typing mistake should not cost a minute.
  parse_methods(request.methods);
  for (const std::string& text : request.targets) Target::parse(text);
  const LoadedModel model = load_model(request.model);
  return Explainer(request, model, progress).run();
}

PredictResult predict(const PredictRequest& request, Progress* progress) {
  if (request.top < 1) throw_usage("top must be an integer >= 1");
  if (request.run.batch_size < 1) throw_usage("batch-size must be an integer >= 1");
  const LoadedModel model = load_model(request.model);
  const std::vector<std::string> paths = expand_inputs(request.run.inputs);
  PredictResult result;
  result.notes = model.card.notes;
  std::unique_ptr<LayerTable> table;
  Shape shape;
  const at::NoGradGuard no_grad;
  for (size_t n = 0; n < paths.size(); ++n) {
    if (progress) {
      progress->check();
      progress->report(static_cast<double>(n), static_cast<double>(paths.size()), "pictures");
    }
    try {
      for (const Picture& p : load_pictures(paths[n], "picture", model, request.run.image_limits)) {
        if (!table || shape != p.input.sizes().vec()) {
          shape = p.input.sizes().vec();
          table = std::make_unique<LayerTable>(model.network, std::vector<Shape>{shape});
        }
        Request wanted;
        wanted.capture.push_back(table->logits());
        const Tensor logits = model.network.run({p.input}, wanted, progress).at(table->logits());
        PredictedPicture predicted;
        predicted.path = paths[n];
        predicted.classes = top_classes(logits, model, *table, request.top).front();
        if (predicted.classes.empty()) {
          throw_usage(model.network.graph().name + ": its output " + shape_text(logits.sizes()) +
                      " is not one score per class");
        }
        result.pictures.push_back(std::move(predicted));
      }
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kInvalidInput) throw;
      PredictedPicture bad;
      bad.path = paths[n];
      bad.error = e.what();
      result.pictures.push_back(std::move(bad));
      ++result.num_failed;
    }
  }
  if (result.num_failed > 0 && result.num_failed == static_cast<int64_t>(result.pictures.size())) {
    throw_invalid(result.pictures.front().error);
  }
  return result;
}

}  // namespace pellucid
