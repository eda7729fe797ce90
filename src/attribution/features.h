#pragma once

// What the methods share that switch parts of a picture on and off: superpixels or regions of the user's own, the
// pictures that coalitions of them make, and the way back from one number per feature to a map.

#include <optional>
#include <string>
#include <vector>

#include "attribution/perturbation.h"

namespace pellucid {

/// The parts of one picture.
struct Features {
  Tensor labels;       ///< int64 [H,W] on the CPU, 0..count-1, each used.
  int64_t count = 0;   ///< M
  std::string source;  ///< "regions", "slic:32", "grid:32", ...
};

/// What a `segments` parameter accepts, for help.
extern const char* const kSegmentsAccepts;
/// What a `fill` parameter of these methods accepts: a baseline, or "segments".
extern const char* const kFeatureFillAccepts;

/// The context's regions where it has some (their labels are made dense, in ascending order); else superpixels by
/// `segments`, "slic[:SIZE]", "seeds[:COUNT]" or "grid[:SIZE]", by default about 50 of them. Without a segmenter
/// superpixels become cells of a grid of that size. Throws Error(kUsage) for a bad `segments`, for regions of another
/// size, and for more than `kMaxFeatures`.
Features features_of(const Context& context, const std::string& owner, const std::string& segments, int64_t image);
constexpr int64_t kMaxFeatures = 4096;

/// One segmentation of the picture, int64 [H,W]: `kind` is "slic", "seeds" or "grid", `number` the size in pixels or
/// (seeds) how many. Without a segmenter all are grids of that size.
struct Segmentation {
  Tensor labels;
  std::string source;  ///< "slic:32", "grid:32", ...
};
Segmentation segment_picture(const Context& context, const std::string& kind, int64_t number, int64_t image);

/// One number per feature, float64 [M], as a map [H,W].
Tensor paint(const Features& features, const Tensor& values);

/// What replaces a feature that is switched off, [1,...]: a baseline, or for "segments" each feature's mean color.
Tensor feature_fill(const Context& context, const std::string& owner, const std::string& fill, int64_t image,
                    const Features& features);

/// The game that all these methods play: the measure of an image with only the features of a coalition kept.
class FeatureGame {
 public:
  /// `fill` as feature_fill takes it.
  FeatureGame(const Context& context, Features features, const std::string& owner, const std::string& fill,
              int64_t image, Measure measure);

  const Features& features() const { return features_; }
  /// v of coalitions [n,M], 1 kept and 0 filled, of any number type: float64 [n]. Progress counts from `done` of
  /// `total`, all images of the context taken together.
  Tensor values(const Tensor& coalitions, int64_t done, int64_t total) const;
  Tensor values(int64_t count, const std::function<Tensor(int64_t begin, int64_t n)>& coalitions, int64_t done,
                int64_t total) const;

 private:
  const Context& context_;
  Features features_;
  Tensor fill_;
  int64_t image_;
  Measure measure_;
};

/// What one image got: one number per feature, with standard errors where the method estimates.
struct FeatureScores {
  Tensor values;           ///< float64 [M]
  Tensor standard_errors;  ///< float64 [M], or undefined.
  std::map<std::string, double> diagnostics;
  std::vector<std::string> notes;
  /// v(all) - v(none), what complete values sum to; written to the diagnostics with that sum, which the painted map
  /// does not have: there each value stands once for every pixel.
  std::optional<double> change = {};
};
/// Runs `explain` on the game of every image and paints what it finds. The features themselves go to
/// `extra["features"]`, standard errors to `extra["standard-error"]`.
Attribution explain_features(const Context& context, const std::string& owner, const std::string& segments,
                             const std::string& fill, Measure measure,
                             const std::function<FeatureScores(const FeatureGame& game, int64_t image)>& explain);

/// `injected[name]` of the context as float64 [n,columns], or undefined when there is none. Throws Error(kUsage) for
/// another shape.
Tensor injected_rows(const Context& context, const std::string& owner, const std::string& name, int64_t columns);

}  // namespace pellucid
