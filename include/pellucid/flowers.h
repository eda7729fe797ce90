#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "pellucid/image.h"

namespace pellucid {

/// Rendered pictures of potted flowers whose class is the color of one part, so that it is known by construction which
/// pixels a classifier has to look at. After the an8Flower data sets of
/// Oramas, Wang, Tuytelaars. "Visual Explanation by Interpretation". ICLR 2019,
/// with a renderer of our own: neither their pictures nor their exact design.
///
/// A sample is a small 3-D scene (flower in a pot on a ground plane before a backdrop) seen by a perspective camera.
/// Camera azimuth, elevation, distance, roll and framing, number and shape of the petals, course of the stem, leaves,
/// light, backdrop, ground and all colors vary. Scenes are kept in world units and drawn by supersampling, so one
/// (seed, index) shows the same scene at every size.
///
/// What is controlled: every random draw depends on (seed, index) alone and never on the class, and nothing reflects
/// the color of its neighbor. Two classes of the same variant at the same (seed, index) therefore give pictures that
/// are equal, noise included, at every pixel that the candidate parts (petals; in kDouble12c petals and stem) do not
/// touch.
enum class FlowerVariant {
  /// 6 classes: the petals take one of 6 saturated hues; the stem is some natural green.
  kSingle6c,
  /// 12 classes: either the petals or the stem takes one of 6 hues, and the other one is whitish or grayish.
  kDouble12c
};

/// The values of FlowerSample::parts.
enum class FlowerPart : uint8_t {
  kBackground = 0,  ///< backdrop and ground
  kPetals = 1,
  kCenter = 2,
  kStem = 3,
  kLeaves = 4,  ///< with the sepals behind the petals
  kPot = 5,
  kSoil = 6
};

struct FlowerOptions {
  /// Width and height of the picture in pixels, 16 to 1024.
  int size = 64;
  /// Samples along each side of a pixel, 1 to 8. Cost grows with its square; 1 leaves jagged edges.
  int supersampling = 4;
  /// Standard deviation of the sensor noise in 8-bit steps, 0 to 64. The noise of a pixel is independent of what is
  /// drawn there and has bounded tails (at most 3.5 standard deviations).
  double noise_std = 2.0;
  /// Parts that are not drawn and cast no shadow on the ground; what lies behind them shows. Everything else, random
  /// draws included, stays as it was. Not kBackground.
  std::set<FlowerPart> removed_parts;
  /// Parts whose own color is replaced by one fixed neutral gray, still lit and textured. Not kBackground. A classifier
  /// trained on pictures whose candidate parts are gray must stay at chance: that is the proof of control.
  std::set<FlowerPart> grayed_parts;
};

struct FlowerSample {
  Image image;     ///< RGB, size x size
  Image mask;      ///< 1 channel, 255 where the discriminative part covers at least half of the pixel, else 0
  Image coverage;  ///< 1 channel, share of the pixel in which the discriminative part is seen, rounded to 0..255
  /// 1 channel, the FlowerPart that covers most of each pixel; the discriminative part wins whenever it covers half and
  /// never otherwise, so that `mask` is 255 exactly where `parts` equals it.
  Image parts;
  std::vector<Image> part_coverage;  ///< as `coverage`, for each FlowerPart
  int label = 0;                     ///< the class index asked for
};

/// Names of the classes in the order of their index: "petals-red", "petals-yellow", "petals-green", "petals-cyan",
/// "petals-blue", "petals-magenta", and for kDouble12c then "stem-red" to "stem-magenta".
std::vector<std::string> flower_classes(FlowerVariant variant);

/// "single-6c" or "double-12c".
std::string flower_variant_name(FlowerVariant variant);

/// The inverse; throws Error (wrong usage) listing the known names.
FlowerVariant flower_variant(const std::string& name);

/// The part whose color makes the class. Throws Error (wrong usage) when there is no such class.
FlowerPart flower_discriminative_part(FlowerVariant variant, int class_index);

/// The hue in degrees [0, 360) around which the discriminative part of the class is colored (HSV of the picture's RGB;
/// samples stray by a few degrees). Throws like flower_discriminative_part.
double flower_class_hue(FlowerVariant variant, int class_index);

/// One picture with its ground truth. A pure function of its arguments, safe to call from several threads. Its bytes
/// are the same on every machine with IEEE 754 doubles: it uses its own random generator, +, -, *, / and square root
/// only. `index` counts the samples of a data set; sharing one between classes is allowed and gives twins that differ
/// in color alone. Disjoint index ranges or different seeds give disjoint training and test sets. Throws Error (wrong
/// usage) for an unknown class or an option out of range.
FlowerSample render_flower(FlowerVariant variant, int class_index, uint64_t seed, uint64_t index,
                           const FlowerOptions& options = {});

}  // namespace pellucid
