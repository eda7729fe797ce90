#include "dataset/render_picture.h"

#include <string>

#include "pellucid/error.h"

namespace pellucid::render {
namespace {

/// Nearly normal, in standard deviations: the sum of twelve 5-bit numbers, whose tails end at 3.5.
double noise(uint64_t bits) {
  int sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<int>((bits >> (5 * i)) & 31);
  constexpr double kMean = 12 * 15.5;
  constexpr double kInverseStd = 0.031265264;  // 1 / sqrt(12 * (32 * 32 - 1) / 12)
  return std::min(3.5, std::max(-3.5, (sum - kMean) * kInverseStd));
}

uint8_t developed(double linear, double grain) {
  const double value = 255.0 * std::sqrt(clamp01(linear)) + grain;
  return static_cast<uint8_t>(std::min(255.0, std::max(0.0, std::floor(value + 0.5))));
}

/// The part of a pixel: `preferred` if and only if it covers half of it, else the one with most samples, the smaller
/// number in a tie.
int part_of(const std::vector<int>& counts, int preferred, int total) {
  if (preferred > 0 && 2 * counts[static_cast<size_t>(preferred)] >= total) return preferred;
  int best = 0;
  for (size_t part = 0; part < counts.size(); ++part) {
    const int number = static_cast<int>(part);
    if ((preferred == 0 || number != preferred) && counts[part] > counts[static_cast<size_t>(best)]) best = number;
  }
  return best;
}

/// What the samples of one pixel hold.
struct Pixel {
  std::vector<int> counts;              ///< per part
  std::array<uint64_t, 3> light_sum{};  ///< squares of stored values: linear light, exact in any order

  void read(const SampleGrid& grid, int x, int y, int ss) {
    std::fill(counts.begin(), counts.end(), 0);
    light_sum = {};
    for (int j = 0; j < ss; ++j) {
      const Sample* samples = grid.row(y * ss + j) + static_cast<size_t>(x) * ss;
      for (int i = 0; i < ss; ++i) {
        const Sample& sample = samples[i];
        ++counts[sample.part];
        light_sum[0] += static_cast<uint64_t>(sample.red) * sample.red;
        light_sum[1] += static_cast<uint64_t>(sample.green) * sample.green;
        light_sum[2] += static_cast<uint64_t>(sample.blue) * sample.blue;
      }
    }
  }
};

}  // namespace

void check_picture_options(const char* what, int size, int supersampling, double noise_std) {
  const std::string option = std::string(what) + " option ";
  if (size < 16 || size > 1024) throw_usage(option + "size is " + std::to_string(size) + "; it must be 16 to 1024");
  if (supersampling < 1 || supersampling > 8)
    throw_usage(option + "supersampling is " + std::to_string(supersampling) + "; it must be 1 to 8");
  if (!(noise_std >= 0 && noise_std <= 64))
    throw_usage(option + "noise_std is " + std::to_string(noise_std) + "; it must be 0 to 64");
}

Corner project(const Vertex& vertex, const Camera& camera, double side) {
  const Vec3 offset = vertex.position - camera.position;
  const double inverse = 1.0 / dot(offset, camera.forward);
  const double x = 0.5 + camera.shift_x + dot(offset, camera.right) * inverse * camera.focal;
  const double y = 0.5 + camera.shift_y - dot(offset, camera.up) * inverse * camera.focal;
  const auto root = [](double linear) { return std::sqrt(std::max(0.0, linear)); };
  return {x * side, y * side, inverse, {root(vertex.color.x), root(vertex.color.y), root(vertex.color.z)}};
}

void draw_mesh(SampleGrid& grid, const Mesh& mesh, const Camera& camera, const std::function<bool(uint8_t)>& hidden) {
  std::vector<Corner> corners;
  corners.reserve(mesh.vertices.size());
  for (const Vertex& vertex : mesh.vertices) corners.push_back(project(vertex, camera, grid.side()));
  for (const Triangle& triangle : mesh.triangles) {
    if (hidden(triangle.part)) continue;
    const auto [a, b, c] = triangle.corners;
    grid.draw(corners[a], corners[b], corners[c], triangle.part);
  }
}

Rendered develop(const SampleGrid& grid, uint64_t seed, uint64_t index, const PictureOptions& options,
                 const Behind& behind) {
  const int size = options.size, ss = options.supersampling, total = ss * ss;
  Rendered result{Image(size, size, 3), Image(size, size, 1), {}};
  for (int part = 0; part < options.num_parts; ++part) result.coverage.emplace_back(size, size, 1);
  const uint64_t noise_key = Random(seed, index, kNoiseStream).bits();
  Pixel samples;
  samples.counts.resize(static_cast<size_t>(options.num_parts));
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      samples.read(grid, x, y, ss);
      Vec3 back{};
      if (samples.counts[0] > 0) back = behind((x + 0.5) / size, (y + 0.5) / size);
      const double share = static_cast<double>(samples.counts[0]) / total;
      constexpr double kSampleUnit = 1.0 / (4095.0 * 4095.0);
      const std::array<double, 3> back_rgb = {back.x, back.y, back.z};
      const uint64_t pixel = static_cast<uint64_t>(y) * static_cast<uint64_t>(size) + static_cast<uint64_t>(x);
      uint8_t* out = result.image.at(x, y);
      for (size_t channel = 0; channel < 3; ++channel) {
        const double front = static_cast<double>(samples.light_sum[channel]) * kSampleUnit / total;
        const double grain = options.noise_std * noise(hash64(noise_key + 3 * pixel + channel));
        out[channel] = developed(front + back_rgb[channel] * share, grain);
      }
      for (size_t part = 0; part < samples.counts.size(); ++part)
        *result.coverage[part].at(x, y) = share255(samples.counts[part], total);
      *result.parts.at(x, y) = static_cast<uint8_t>(part_of(samples.counts, options.preferred_part, total));
    }
  }
  return result;
}

}  // namespace pellucid::render
