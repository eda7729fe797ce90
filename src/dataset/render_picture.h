#pragma once

#include <functional>
#include <vector>

#include "dataset/render_raster.h"
#include "dataset/render_scene.h"
#include "pellucid/image.h"

namespace pellucid::render {

struct PictureOptions {
  int size = 64;          ///< side in pixels
  int supersampling = 4;  ///< samples along each side of a pixel
  double noise_std = 2.0;
  int num_parts = 1;       ///< with the background
  int preferred_part = 0;  ///< above 0: this part has a pixel if and only if it covers half of it
};

/// Throws Error(kUsage) that begins with `what` for a size, supersampling or noise out of range.
void check_picture_options(const char* what, int size, int supersampling, double noise_std);

struct Rendered {
  Image image;                  ///< RGB
  Image parts;                  ///< the part that covers most of each pixel
  std::vector<Image> coverage;  ///< per part, share of the pixel in which it is seen, rounded to 0..255
};

/// Rounded to 0..255; 128 and more exactly when `count` is half of `total`.
inline uint8_t share255(int count, int total) { return static_cast<uint8_t>((2 * 255 * count + total) / (2 * total)); }

Corner project(const Vertex& vertex, const Camera& camera, double side);

/// Draws all triangles but those of the parts for which `hidden` says so.
void draw_mesh(SampleGrid& grid, const Mesh& mesh, const Camera& camera, const std::function<bool(uint8_t)>& hidden);

/// Linear light at picture coordinates (0, 0 top left, 1, 1 bottom right).
using Behind = std::function<Vec3(double x, double y)>;

/// Averages the samples of each pixel in linear light, fills what no part covers with `behind`, adds the grain of
/// (seed, index) and converts to 8 bits.
Rendered develop(const SampleGrid& grid, uint64_t seed, uint64_t index, const PictureOptions& options,
                 const Behind& behind);

}  // namespace pellucid::render
