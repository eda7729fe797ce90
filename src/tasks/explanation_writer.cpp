#include "tasks/explanation_writer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/metrics.h"
#include "pellucid/npy.h"
#include "pellucid/segment.h"
#include "pellucid/text.h"
#include "pellucid/version.h"
#include "tasks/explanation_json.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr Color kSegmentColor{255, 255, 255};
constexpr Color kBoxColor{255, 230, 0};

void write_array(const std::string& path, const Tensor& t) {
  const Tensor a = t.detach().to(at::kCPU).to(at::kFloat).contiguous();
  write_npy(path, a.data_ptr<float>(), a.sizes().vec());
}

std::string percent(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

std::string class_line(const Prediction& p) {
  return std::to_string(p.index) + " " + printable(p.label, 40) + "  " +
         number_text(std::round(p.probability * 1000) / 10) + " %";
}

/// Whether a map has a number of its own for each pixel, as gradients have.
bool is_pixel_map(const Attribution& a) { return a.values.dim() == 4; }

/// The part of a map that shows the photo.
Tensor content_of(const Tensor& map, const Rect& content) {
  return map.narrow(0, content.y, content.height).narrow(1, content.x, content.width);
}

/// The map at the resolution of the part of the photo that the model sees.
std::vector<float> map_on_photo(const Tensor& map, const Picture& picture) {
  const Tensor m = content_of(map, picture.content).detach().to(at::kCPU).to(at::kFloat).contiguous();
  return resize_map(m.data_ptr<float>(), picture.content.height, picture.content.width, picture.seen.height,
                    picture.seen.width);
}

}  // namespace

ExplanationWriter::ExplanationWriter(const ExplainRequest& request, const LoadedModel& model)
    : request_(request), model_(model), folder_(fs::u8path(request.output)) {
  if (!request_.color_map.empty()) find_color_map(request_.color_map);
  if (!request_.normalization.empty()) find_normalization(request_.normalization);
  if (!(request_.opacity >= 0 && request_.opacity <= 1)) {
    throw_usage("heatmap-opacity is " + number_text(request_.opacity) + "; it must be between 0 and 1");
  }
  if (!(request_.box_threshold >= 0 && request_.box_threshold <= 1)) {
    throw_usage("box-threshold is " + number_text(request_.box_threshold) + "; it must be between 0 and 1");
  }
}

std::string ExplanationWriter::file(const std::string& name) const { return (folder_ / fs::u8path(name)).string(); }

void ExplanationWriter::prepare_folder() const {
  if (request_.output.empty()) return;
  make_folder(request_.output);
}

void ExplanationWriter::retire_earlier_result() {
  if (request_.output.empty() || std::exchange(retired_, true)) return;
  std::error_code ignored;
  const bool rerun = fs::remove(folder_ / "result.json", ignored);
  if (rerun && !request_.report) fs::remove(folder_ / "report.html", ignored);
}

void ExplanationWriter::begin(PictureInProgress& p) const {
  SheetCell photo;
  photo.image = p.picture->photo;
  photo.title = p.picture->name;
  const auto& classes = p.explained.classes;
  for (size_t k = 0; k < classes.size() && k < 3; ++k) photo.lines.push_back(class_line(classes[k]));
  p.cells.push_back(std::move(photo));
}

ValueRange ExplanationWriter::range(const DoneJob& done, int64_t i) const {
  const Attribution& a = done.attribution;
  HeatmapOptions options;
  if (!request_.normalization.empty()) {
    options.normalization = find_normalization(request_.normalization);
  } else if (!a.zero_is_neutral) {
    options.normalization = Normalization::kMinMax;
  } else if (is_pixel_map(a)) {
    // Gradient maps have a few extreme pixels that would leave the rest dark.
    options.normalization = Normalization::kPercentile;
  } else {
    options.normalization = a.is_signed ? Normalization::kSymmetric : Normalization::kMax;
  }
  return map_range(a.map[i], options);
}

ExplainedMap ExplanationWriter::describe(const DoneJob& done, const LayerTable& table, int64_t i) const {
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

void ExplanationWriter::add_map(PictureInProgress& p, const DoneJob& done, int64_t i, const LayerTable& table,
                                const ValueRange& range, bool new_row) {
  retire_earlier_result();
  const Tensor map = done.attribution.map[i];
  ExplainedMap explained = describe(done, table, i);
  MapStyle style;
  style.color_map = request_.color_map;
  style.opacity = request_.opacity;
  style.per_pixel = is_pixel_map(done.attribution);
  const DrawnMap drawn = draw_map(p.picture->photo, p.picture->seen, p.picture->content, map, range, style);
  SheetCell cell;
  cell.new_row = new_row;
  cell.image = drawn.overlay;
  cell.title = explained.title;
  cell.lines.push_back(printable(explained.target, 60) + "  " + number_text(std::round(explained.score * 100) / 100));
  cell.color_map = drawn.color_map;
  cell.range = drawn.range;
  const std::string base = p.picture->name + "." + done.job->suffix;
  if (p.annotations->mask.defined()) add_localization(p, map, explained, cell);
  if (request_.segment != SegmentMode::kNone) add_segment(p, map, base, done, explained, cell);
  if (!explained.notes.empty()) cell.lines.push_back(explained.notes.front());
  p.cells.push_back(std::move(cell));
  p.suffixes.push_back(done.job->suffix);
  if (!request_.output.empty()) {
    explained.overlay_file = base + ".png";
    save_png(file(explained.overlay_file), drawn.overlay);
    if (request_.write_arrays) write_arrays(done, i, base, explained);
  }
  p.explained.maps.push_back(std::move(explained));
}

void ExplanationWriter::add_localization(const PictureInProgress& p, const Tensor& map, ExplainedMap& explained,
                                         SheetCell& cell) const {
  const Rect& content = p.picture->content;
  const Localization found =
      localization(content_of(map, content), content_of(p.annotations->mask, content).contiguous());
  explained.localization = {
      {"iou_half", found.iou_half}, {"iou_best", found.iou_best}, {"best_threshold", found.best_threshold},
      {"mass", found.mass},         {"rank", found.rank},         {"hit", found.hit ? 1.0 : 0.0}};
  cell.lines.push_back("IoU " + percent(found.iou_best) + "  mass " + percent(found.mass) +
                       (found.hit ? "  hit" : "  miss"));
}

void ExplanationWriter::add_segment(const PictureInProgress& p, const Tensor& map, const std::string& base,
                                    const DoneJob& done, ExplainedMap& explained, SheetCell& cell) const {
  const Rect& seen = p.picture->seen;
  const bool cuts = request_.segment == SegmentMode::kGrabCut;
  const std::vector<float> values = map_on_photo(map, *p.picture);
  ExplainedSegment result;
  // Zhou et al. (CAM) cut at 20 %, Selvaraju et al. (Grad-CAM) at 15 % of the maximum.
  result.threshold = request_.box_threshold > 0           ? request_.box_threshold
                     : done.job->call.method->id == "cam" ? 0.2
                                                          : 0.15;
  const Segment segment = cuts ? segment_grabcut(crop(p.picture->photo, seen), values)
                               : segment_box(values, seen.width, seen.height, result.threshold);
  if (!segment.note.empty()) explained.notes.push_back(segment.note);
  result.num_pixels = segment.num_pixels;
  Image mask(p.picture->photo.width, p.picture->photo.height, 1, 0);
  if (segment.num_pixels > 0) {
    result.box = {segment.box.x + seen.x, segment.box.y + seen.y, segment.box.width, segment.box.height};
    paste(mask, segment.mask, seen.x, seen.y);
    const int line = std::max(2, std::max(mask.width, mask.height) / 200);
    if (cuts) draw_mask_outline(cell.image, mask, kSegmentColor, line);
    draw_rect(cell.image, result.box, kBoxColor, line);
  }
  if (p.annotations->mask.defined()) {
    const Image truth = crop(p.annotations->photo_mask, seen);
    result.box_iou = box_iou(segment.box, bounding_box(truth));
    if (cuts) result.iou = mask_iou(segment.mask, truth);
    cell.lines.push_back(cuts ? "segment IoU " + percent(*result.iou) : "box IoU " + percent(*result.box_iou));
  }
  if (cuts && !request_.output.empty()) {
    result.mask_file = base + ".mask.png";
    save_png(file(result.mask_file), mask);
    if (segment.num_pixels > 0) {
      result.cutout_file = base + ".cutout.png";
      save_png(file(result.cutout_file), cut_out(p.picture->photo, mask));
    }
  }
  explained.segment = result;
}

void ExplanationWriter::write_arrays(const DoneJob& done, int64_t i, const std::string& base,
                                     ExplainedMap& explained) const {
  const Attribution& a = done.attribution;
  explained.values_file = base + ".npy";
  explained.input_file = base + ".input.npy";
  write_array(file(explained.values_file), a.values[i]);
  write_array(file(explained.input_file), a.map[i]);
  std::set<std::string> used{"input"};
  for (const auto& [layer, raw] : a.layer_values) {
    const std::string& name = model_.network.graph().value(layer).name;
    const std::string safe = file_name_from(name);
    std::string unique = safe;
    for (int n = 2; !used.insert(unique).second; ++n) unique = safe + "-" + std::to_string(n);
    const std::string layer_file = base + "." + unique + ".npy";
    write_array(file(layer_file), raw[i]);
    explained.layer_files[name] = layer_file;
  }
  for (const auto& [name, extra] : a.extra) {
    explained.extra_files[name] = base + "." + file_name_from(name) + ".npy";
    write_array(file(explained.extra_files[name]), extra[i]);
  }
}

void ExplanationWriter::finish_picture(PictureInProgress& p, ExplainResult& result) {
  write_sheet(p);
  write_frames(p, result);
  if (request_.report) write_report(p);
  p.cells.clear();
}

void ExplanationWriter::write_sheet(PictureInProgress& p) const {
  if (request_.output.empty() || p.cells.size() < 2) return;
  ContactSheet sheet;
  sheet.title = p.picture->name;
  sheet.subtitle = printable(fs::u8path(model_.path).filename().string()) +
                   (p.explained.classes.empty() ? "" : ": " + class_line(p.explained.classes.front()));
  sheet.cells = p.cells;
  p.explained.sheet_file = p.picture->name + ".sheet.png";
  save_png(file(p.explained.sheet_file), draw_contact_sheet(sheet));
}

void ExplanationWriter::write_report(PictureInProgress& p) {
  report_.heading(p.picture->name);
  std::vector<std::vector<std::string>> rows;
  for (const Prediction& c : p.explained.classes) {
    rows.push_back({std::to_string(c.index), c.label, number_text(std::round(c.logit * 1000) / 1000),
                    number_text(std::round(c.probability * 1e4) / 1e4)});
  }
  if (!rows.empty()) report_.table({"class", "label", "logit", "probability"}, rows);
  for (const std::string& note : p.explained.notes) report_.paragraph(note);
  std::vector<HtmlReport::Figure> figures;
  for (size_t i = 0; i < p.cells.size(); ++i) {
    HtmlReport::Figure f{std::move(p.cells[i].image), p.cells[i].title, p.cells[i].lines};
    if (i > 0) {
      const ExplainedMap& map = p.explained.maps[i - 1];
      f.lines.push_back(map.method);
      for (const std::string& note : map.notes) {
        if (std::find(f.lines.begin(), f.lines.end(), note) == f.lines.end()) f.lines.push_back(note);
      }
      f.lines.push_back("scale " + number_text(static_cast<float>(p.cells[i].range.low)) + " to " +
                        number_text(static_cast<float>(p.cells[i].range.high)));
    }
    figures.push_back(std::move(f));
  }
  report_.figures(figures);
}

void ExplanationWriter::write_frames(const PictureInProgress& p, ExplainResult& result) {
  if (!request_.video || request_.output.empty() || p.picture->video_name.empty()) return;
  if (p.picture->video_name != video_name_) {
    close_videos(result);
    video_name_ = p.picture->video_name;
  }
  for (size_t i = 0; i < p.suffixes.size(); ++i) {
    const Image& frame = p.cells[i + 1].image;
    auto found = videos_.find(p.suffixes[i]);
    if (found == videos_.end()) {
      const std::string name = video_name_ + "." + p.suffixes[i] + ".avi";
      try {
        found = videos_
                    .emplace(p.suffixes[i],
                             VideoWriter(file(name), frame.width, frame.height, p.picture->frames_per_second))
                    .first;
      } catch (const Error& e) {
        // The frames are there as pictures all the same.
        const std::string note = std::string("no video: ") + e.what();
        if (std::find(result.notes.begin(), result.notes.end(), note) == result.notes.end())
          result.notes.push_back(note);
        continue;
      }
    }
    found->second.add(frame);
  }
}

void ExplanationWriter::close_videos(ExplainResult& result) {
  for (auto& [suffix, video] : videos_) {
    video.close();
    result.video_files.push_back(video_name_ + "." + suffix + ".avi");
  }
  videos_.clear();
}

void ExplanationWriter::finish(ExplainResult& result) {
  close_videos(result);
  const bool writes = !request_.output.empty();
  if (request_.report && writes) result.report_file = "report.html";
  result.json = explanation_json(request_, result, model_);
  if (!writes) return;
  if (request_.report) {
    report_.heading("How this was made");
    for (const std::string& note : result.notes) report_.paragraph(note);
    report_.paragraph("Pellucid " PELLUCID_VERSION
                      "; the numbers behind the pictures are in the .npy files and result.json "
                      "beside this page.");
    write_file_atomically(file(result.report_file), report_.html());
  }
  result.result_file = "result.json";
  write_file_atomically(file(result.result_file), result.json + "\n");
}

}  // namespace pellucid
