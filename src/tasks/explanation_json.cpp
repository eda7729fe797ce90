#include "tasks/explanation_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "pellucid/version.h"
#include "tasks/card_json.h"

namespace pellucid {

using Json = nlohmann::ordered_json;

namespace {

Json rect_json(const Rect& r) { return {{"x", r.x}, {"y", r.y}, {"width", r.width}, {"height", r.height}}; }

Json segment_json(const ExplainedSegment& segment, SegmentMode mode) {
  Json json;
  json["by"] = mode == SegmentMode::kGrabCut ? "grabcut" : "box";
  if (segment.num_pixels > 0) json["box"] = rect_json(segment.box);
  json["pixels"] = segment.num_pixels;
  if (mode == SegmentMode::kBox) json["threshold"] = segment.threshold;
  if (segment.iou) json["iou"] = *segment.iou;
  if (segment.box_iou) json["box_iou"] = *segment.box_iou;
  if (!segment.mask_file.empty()) json["mask"] = segment.mask_file;
  if (!segment.cutout_file.empty()) json["cutout"] = segment.cutout_file;
  return json;
}

Json map_json(const ExplainedMap& map, SegmentMode mode) {
  Json m;
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
  if (map.segment) m["segment"] = segment_json(*map.segment, mode);
  if (!map.overlay_file.empty()) m["overlay"] = map.overlay_file;
  if (!map.values_file.empty()) m["values"] = map.values_file;
  if (!map.input_file.empty()) m["input_map"] = map.input_file;
  if (!map.layer_files.empty()) m["layer_values"] = map.layer_files;
  if (!map.extra_files.empty()) m["extra"] = map.extra_files;
  return m;
}

Json picture_json(const ExplainedPicture& picture, SegmentMode mode) {
  Json p;
  p["path"] = picture.path;
  p["name"] = picture.name;
  if (!picture.sha256.empty()) p["sha256"] = picture.sha256;
  if (!picture.error.empty()) {
    p["error"] = picture.error;
    return p;
  }
  if (!picture.mask.path.empty()) p["mask"] = file_json(picture.mask);
  if (!picture.regions.path.empty()) p["regions"] = file_json(picture.regions);
  if (!picture.notes.empty()) p["notes"] = picture.notes;
  for (const Prediction& c : picture.classes) {
    p["classes"].push_back(
        {{"index", c.index}, {"label", c.label}, {"logit", c.logit}, {"probability", c.probability}});
  }
  if (!picture.sheet_file.empty()) p["sheet"] = picture.sheet_file;
  for (const ExplainedMap& map : picture.maps) p["maps"].push_back(map_json(map, mode));
  return p;
}

}  // namespace

std::string explanation_json(const ExplainRequest& request, const ExplainResult& result, const LoadedModel& model) {
  Json json;
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
  if (request.run.every != 1) json["every"] = request.run.every;
  if (request.run.max_frames != 0) json["max_frames"] = request.run.max_frames;
  if (!request.mask.empty()) json["mask"] = request.mask;
  if (request.box) json["box"] = rect_json(*request.box);
  if (!request.regions.empty()) json["regions"] = request.regions;
  if (!request.reference.empty()) {
    json["reference"] = request.reference;
    if (!result.reference.sha256.empty()) json["reference_sha256"] = result.reference.sha256;
  }
  if (!request.background.empty()) {
    json["background"] = request.background;
    for (const UsedFile& file : result.background) json["background_files"].push_back(file_json(file));
  }
  if (!result.video_files.empty()) json["videos"] = result.video_files;
  json["notes"] = result.notes;
  json["pictures"] = Json::array();
  for (const ExplainedPicture& picture : result.pictures) {
    json["pictures"].push_back(picture_json(picture, request.segment));
  }
  return json_text(json);
}

}  // namespace pellucid
