#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pellucid/report.h"
#include "pellucid/tasks.h"
#include "pellucid/video.h"
#include "tasks/given_truth.h"

namespace pellucid {

/// One wish: a method for a target.
struct ExplainJob {
  MethodCall call;
  Target target;
  std::string suffix;  ///< Part of the file names after the picture's: "grad-cam" or "grad-cam.top2".
};

/// A wish fulfilled for a batch.
struct DoneJob {
  const ExplainJob* job = nullptr;
  std::unique_ptr<BoundTarget> target;
  Attribution attribution;
  Tensor score, probability;  ///< float64 [N]; probability undefined when the target is no class
  double milliseconds = 0;    ///< For each picture.
};

/// One picture with all that is said and drawn about it.
struct PictureInProgress {
  const Picture* picture = nullptr;
  const GivenTruth* annotations = nullptr;
  ExplainedPicture explained;
  std::vector<SheetCell> cells;       ///< The photo, then a map each.
  std::vector<std::string> suffixes;  ///< Of the maps.
};

/// Turns maps into pictures, arrays, segments, sheets, videos and the report, and writes them.
class ExplanationWriter {
 public:
  ExplanationWriter(const ExplainRequest& request, const LoadedModel& model);

  /// Makes the output folder. An older run's summary stays until the first of its files is replaced.
  void prepare_folder() const;
  void begin(PictureInProgress& p) const;
  ValueRange range(const DoneJob& done, int64_t i) const;
  /// Map i of the batch: drawn on `range`, scored, segmented, written.
  void add_map(PictureInProgress& p, const DoneJob& done, int64_t i, const LayerTable& table, const ValueRange& range,
               bool new_row);
  /// Sheet, report and video frames. Consumes the cells.
  void finish_picture(PictureInProgress& p, ExplainResult& result);
  /// Report and, last, result.json.
  void finish(ExplainResult& result);

 private:
  /// Removes an older run's summary, which would vouch for files that are replaced.
  void retire_earlier_result();
  ExplainedMap describe(const DoneJob& done, const LayerTable& table, int64_t i) const;
  void add_localization(const PictureInProgress& p, const Tensor& map, ExplainedMap& explained, SheetCell& cell) const;
  void add_segment(const PictureInProgress& p, const Tensor& map, const std::string& base, const DoneJob& done,
                   ExplainedMap& explained, SheetCell& cell) const;
  void write_arrays(const DoneJob& done, int64_t i, const std::string& base, ExplainedMap& explained) const;
  void write_sheet(PictureInProgress& p) const;
  void write_report(PictureInProgress& p);
  void write_frames(const PictureInProgress& p, ExplainResult& result);
  void close_videos(ExplainResult& result);
  std::string file(const std::string& name) const;

  const ExplainRequest& request_;
  const LoadedModel& model_;
  std::filesystem::path folder_;
  HtmlReport report_{"Explanations by Pellucid"};
  bool retired_ = false;
  std::string video_name_;  ///< Whose frames the open videos show.
  std::map<std::string, VideoWriter> videos_;
};

}  // namespace pellucid
