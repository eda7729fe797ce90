#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pellucid/annotations.h"
#include "pellucid/tasks.h"

namespace pellucid {

/// What a user gives beside a picture, brought into the frame of the model's input by the picture's own crop or
/// letterbox.
struct GivenTruth {
  Image photo_mask;  ///< One channel, of the photo's size; empty when there is none.
  Tensor mask;       ///< bool [H,W] of the model's input, false on letterbox filling; undefined when there is none.
  Tensor regions;    ///< int64 [H,W], labels 0..M-1, letterbox filling as one more; undefined when there are none.
  UsedFile mask_file, regions_file;
  std::vector<std::string> notes;  ///< A mask that is missing, empty or cut away.
};

/// Finds and reads masks, boxes and regions.
class GivenTruthReader {
 public:
  /// Throws Error(kInvalidInput) when a path leads to nothing and Error(kUsage) for a mask and a box together. The
  /// request must outlive the reader.
  GivenTruthReader(const ExplainRequest& request, const ModelCard& card);

  /// Throws Error(kInvalidInput) when a file for this picture is damaged or does not fit it, and when regions are
  /// asked for and there are none for it.
  GivenTruth read(const Picture& picture) const;

 private:
  void read_mask(const Picture& picture, GivenTruth& annotations) const;
  void read_regions(const Picture& picture, GivenTruth& annotations) const;

  std::optional<Annotations> data_set_;  ///< When the mask's path names a COCO file or VOC folder.
  std::string data_set_hash_;
  const ExplainRequest& request_;
  const ModelCard& card_;
};

/// Up to `count` pictures of a folder, evenly spread over its sorted files, as one batch [M,...] like `input_shape`.
/// Appends what was read to `used`. Throws Error(kInvalidInput) when none can be read and Error(kUsage) when their
/// size differs from the inputs'.
Tensor load_background(const std::string& folder, int64_t count, const LoadedModel& model, const ImageLimits& limits,
                       const Shape& input_shape, std::vector<UsedFile>& used);

}  // namespace pellucid
