#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pellucid/image.h"

namespace pellucid {

/// A part of what a picture shows, of which it is known whether it can matter.
struct GroundTruthPart {
  std::string name;
  Image coverage;  ///< 1 channel, share of each pixel in which the part is seen, rounded to 0..255
  bool discriminative =
      false;  ///< The class can be told from it, wholly or partly; the other parts know nothing of it.

  /// 255 where it covers at least half of the pixel, else 0.
  Image mask() const;
};

/// A thing in a picture that has a class of its own.
struct GroundTruthObject {
  int label = 0;
  Rect box;    ///< The smallest around the thing.
  Image mask;  ///< 1 channel, 255 on the pixels that make its class.
};

/// A generated picture with its truth.
struct GroundTruthSample {
  Image picture;  ///< RGB
  int label = 0;
  Image mask;      ///< 1 channel, 255 where the discriminative parts together cover at least half of the pixel
  Image part_map;  ///< 1 channel, 0 background, i + 1 where parts[i] covers most of the pixel
  std::vector<GroundTruthPart> parts;  ///< In the order of GroundTruthSet::parts; empty coverage (all 0) when unseen.
  std::vector<GroundTruthObject> objects;
};

/// Which picture to draw. `size`, `supersampling` and `noise_std` change how it is drawn, the rest what is on it.
struct GroundTruthRequest {
  int label = 0;
  uint64_t seed = 1;
  uint64_t index = 0;  ///< Counts the samples; classes may share it and then differ in nothing but what makes them.
  int size = 96;       ///< Side in pixels, 16 to 1024 (scenes: 32 and more, even).
  int supersampling = 4;
  double noise_std = 2.0;  ///< Of the sensor noise, in 8-bit steps.
  /// Names of parts that are not drawn. What lies behind them shows; all else, random draws and noise included, stays.
  std::set<std::string> removed_parts;
  /// Sets with a planted shortcut: the class whose mark is drawn, when it shall not be that of the label.
  std::optional<int> planted_label;
};

/// A family of pictures whose truth is known by construction: which parts make the class, where they are, and what the
/// same picture looks like without one of them, so that the importance of each part to a network can be measured by
/// deletion and the ranks compared with those of an explanation.
struct GroundTruthSet {
  std::string name;
  std::string summary;
  std::string source;  ///< Whose idea it follows.
  std::vector<std::string> classes;
  std::vector<std::string> parts;           ///< That can be deleted.
  bool has_shortcut = false;                ///< Takes GroundTruthRequest::planted_label.
  std::vector<std::string> training_drops;  ///< Parts that training leaves out at random, so that a picture without
                                            ///< them is nothing new to the network.
  int most_drops = 0;                       ///< Largest number of them at once that leaves the class determined.
  std::function<GroundTruthSample(const GroundTruthRequest&)> draw;  ///< Use draw_sample, which checks.
};

/// All sets: an8flower-single, an8flower-double, parts, scenes, shortcut, textures.
const std::vector<GroundTruthSet>& ground_truth_sets();

/// Throws Error(kUsage) that lists the names.
const GroundTruthSet& find_ground_truth_set(const std::string& name);

/// The classes of several sets one after the other, without what only one of them has (parts, shortcuts). Throws
/// Error(kUsage) for an unknown name.
GroundTruthSet joined_set(const std::vector<std::string>& names);

/// One picture with its truth. A pure function of its arguments, safe to call from several threads, with the same bytes
/// on every machine with IEEE 754 doubles. Throws Error(kUsage) for an unknown class or part or an option out of range.
GroundTruthSample draw_sample(const GroundTruthSet& set, const GroundTruthRequest& request);

/// The request as training sees it: up to `most_drops` of `training_drops`, chosen at random from (seed, index), are
/// left out; none in a third of the pictures.
GroundTruthRequest with_random_drops(const GroundTruthSet& set, GroundTruthRequest request);

/// A pseudo-random permutation of 0 .. count - 1 that depends on (seed, index) alone.
std::vector<int64_t> permutation(int64_t count, uint64_t seed, uint64_t index);

/// In `parts`, the variant (0 to 3) that a class has of the part "beak", "eye", "wings", "tail" or "feet"; two classes
/// never share more than one. Throws Error(kUsage) for anything else.
int bird_variant(int label, const std::string& part);

}  // namespace pellucid
