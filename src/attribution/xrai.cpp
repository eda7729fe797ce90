// XRAI: regions of the picture in the order of their attribution.
//   Kapishnikov, Bolukbasi, Viegas, Terry. "XRAI: Better Attributions Through Regions". ICCV 2019, section 3.
// Integrated Gradients from a black and a white baseline are averaged; the picture is cut into superpixels at several
// scales, slightly dilated so that edges, where gradients gather, belong to both sides; then regions are added one by
// one, always the one whose new pixels have the highest mean attribution. Every pixel gets the mean of the addition
// that brought it. Of a pixel's channels the largest attribution counts, as in the authors' code (PAIR-code/saliency):
// with their sum, which keeps the map complete, what is left over at the end are slivers so negative that they drown
// the rest.

#include <algorithm>
#include <cmath>
#include <limits>

#include "attribution/baseline.h"
#include "attribution/features.h"
#include "attribution/path.h"
#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

namespace {

constexpr Paper kKapishnikov2019{"kapishnikov2019", "Kapishnikov, Bolukbasi, Viegas, Terry",
                                 "XRAI: Better Attributions Through Regions", "ICCV", 2019};

struct XraiParams {
  int64_t steps = 50;
  std::string baseline = "black+white";
  std::string segments = "auto";
  double dilation = 0.0224;
  double min_area = 0.001;
  std::string channels = "max";
};

template <class V>
void describe(V& visit, XraiParams& p) {
  visit("steps", p.steps, integer_between(1, 100000), "Points on each path of the Integrated Gradients.");
  visit("baseline", p.baseline, TextLike{kBaselineAccepts}, "Where the paths start.");
  visit("segments", p.segments, TextLike{"auto, or slic:SIZE, seeds:COUNT and grid:SIZE joined by '+'"},
        "Segmentations to choose regions from; auto takes superpixels of six sizes, a 28th to a quarter of the longer "
        "side. Without a segmenter superpixels become squares.");
  visit("dilation", p.dilation, between(0, 0.1),
        "By how much each region is widened, as a share of the longer side; the default is 5 of 224 pixels.");
  visit("min_area", p.min_area, between(0, 1), "Smallest share of the picture that an addition must bring.");
  visit("channels", p.channels, one_of({"sum", "max"}),
        "How the attributions of a pixel's channels are joined: max is that of PAIR, sum keeps the map complete.");
}

std::vector<std::string> segment_specs(const XraiParams& p, int64_t height, int64_t width) {
  if (p.segments != "auto") return split(p.segments, '+');
  std::vector<std::string> specs;
  for (const double parts : {28.0, 18.0, 12.0, 8.0, 6.0, 4.0}) {
    const auto size = std::max<int64_t>(2, std::llround(static_cast<double>(std::max(height, width)) / parts));
    const std::string spec = "slic:" + std::to_string(size);
    if (specs.empty() || specs.back() != spec) specs.push_back(spec);
  }
  return specs;
}

/// int64 [H,W] on the CPU.
Tensor segmentation(const Context& context, int64_t image, const std::string& text) {
  const std::string spec = trim(text), kind = spec.substr(0, spec.find(':'));
  int64_t number = 0;
  const bool known = kind == "slic" || kind == "seeds" || kind == "grid";
  if (!known || spec.size() <= kind.size() + 1 || !parse_int(spec.substr(kind.size() + 1), number) || number < 1) {
    throw_usage("xrai: segments is '" + printable(spec) +
                "'; it must be auto, or slic:SIZE, seeds:COUNT and grid:SIZE joined by '+' (default auto)");
  }
  return segment_picture(context, kind, number, image).labels;
}

/// Candidate regions as lists of pixels; those of all segmentations together.
std::vector<std::vector<int64_t>> regions_of(const Context& context, const Tensor& labels, double dilation) {
  const auto [names, dense] = at::_unique(labels, /*sorted=*/true, /*return_inverse=*/true);
  const Tensor flat = dense.contiguous();
  const auto* const label = flat.data_ptr<int64_t>();
  const int64_t height = flat.size(0), width = flat.size(1);
  std::vector<std::pair<int64_t, int64_t>> disc;
  const auto reach = static_cast<int64_t>(std::floor(dilation));
  for (int64_t dy = -reach; dy <= reach; ++dy) {
    for (int64_t dx = -reach; dx <= reach; ++dx) {
      if (static_cast<double>(dy * dy + dx * dx) <= dilation * dilation) disc.emplace_back(dy, dx);
    }
  }
  std::vector<std::vector<int64_t>> regions(static_cast<size_t>(names.size(0)));
  for (int64_t y = 0; y < height; ++y) {
    if (context.progress) context.progress->check();
    for (int64_t x = 0; x < width; ++x) {
      // A pixel belongs to every region that has a pixel within reach; the disc is its own mirror image.
      for (const auto& [dy, dx] : disc) {
        const int64_t v = y + dy, u = x + dx;
        if (v < 0 || v >= height || u < 0 || u >= width) continue;
        std::vector<int64_t>& pixels = regions[static_cast<size_t>(label[v * width + u])];
        if (pixels.empty() || pixels.back() != y * width + x) pixels.push_back(y * width + x);
      }
    }
  }
  return regions;
}

/// Greedy additions by mean attribution of what is new. Sums and counts of what each region would still bring are kept
/// up to date, so that each pixel is visited once per region that holds it.
class Growth {
 public:
  Growth(std::vector<std::vector<int64_t>> regions, const double* attribution, int64_t pixels)
      : regions_(std::move(regions)),
        attribution_(attribution),
        holders_(static_cast<size_t>(pixels)),
        map_(static_cast<size_t>(pixels), 0.0),
        taken_(static_cast<size_t>(pixels), false),
        sums_(regions_.size(), 0.0),
        counts_(regions_.size(), 0) {
    for (size_t r = 0; r < regions_.size(); ++r) {
      for (const int64_t pixel : regions_[r]) {
        holders_[static_cast<size_t>(pixel)].push_back(static_cast<int32_t>(r));
        sums_[r] += attribution_[pixel];
        ++counts_[r];
      }
    }
  }

  void run(int64_t min_pixels, const Progress* progress) {
    while (true) {
      if (progress) progress->check();
      size_t best = regions_.size();
      double highest = -std::numeric_limits<double>::infinity();
      for (size_t r = 0; r < regions_.size(); ++r) {
        if (counts_[r] < min_pixels) continue;
        const double gain = sums_[r] / static_cast<double>(counts_[r]);
        if (gain > highest) {
          highest = gain;
          best = r;
        }
      }
      if (best == regions_.size()) break;
      take(regions_[best]);
      ++additions_;
    }
    // What no region large enough has brought gets its own mean.
    std::vector<int64_t> rest;
    for (size_t i = 0; i < taken_.size(); ++i) {
      if (!taken_[i]) rest.push_back(static_cast<int64_t>(i));
    }
    if (!rest.empty()) take(rest);
  }

  const std::vector<double>& map() const { return map_; }
  int64_t additions() const { return additions_; }

 private:
  void take(const std::vector<int64_t>& pixels) {
    std::vector<int64_t> added;
    double sum = 0;
    for (const int64_t pixel : pixels) {
      const auto at = static_cast<size_t>(pixel);
      if (taken_[at]) continue;
      taken_[at] = true;
      added.push_back(pixel);
      sum += attribution_[pixel];
      for (const int32_t r : holders_[at]) {
        sums_[static_cast<size_t>(r)] -= attribution_[pixel];
        --counts_[static_cast<size_t>(r)];
      }
    }
    for (const int64_t pixel : added) map_[static_cast<size_t>(pixel)] = sum / static_cast<double>(added.size());
  }

  std::vector<std::vector<int64_t>> regions_;
  const double* attribution_;
  std::vector<std::vector<int32_t>> holders_;  ///< Regions of each pixel.
  std::vector<double> map_;
  std::vector<bool> taken_;
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
  int64_t additions_ = 0;
};

// Pixels of all candidates together, at 12 bytes each: those of six scales of a picture 1000 pixels wide.
constexpr size_t kMaxMembers = 50'000'000;

std::vector<std::vector<int64_t>> candidates(const Context& context, const XraiParams& p, int64_t image) {
  const auto [height, width] = input_size(context);
  const double dilation = p.dilation * static_cast<double>(std::max(height, width));
  if (context.regions.defined()) {
    if (context.regions.sizes() != at::IntArrayRef({num_images(context), height, width})) {
      throw_usage("xrai: the regions have shape " + shape_text(context.regions.sizes()) + "; " +
                  shape_text({num_images(context), height, width}) + " was expected");
    }
    return regions_of(context, context.regions[image].to(at::kCPU).to(at::kLong), dilation);
  }
  std::vector<std::vector<int64_t>> regions;
  size_t members = 0;
  for (const std::string& spec : segment_specs(p, height, width)) {
    for (auto& region : regions_of(context, segmentation(context, image, spec), dilation)) {
      members += region.size();
      regions.push_back(std::move(region));
    }
    if (members > kMaxMembers) {
      throw_usage("xrai: the regions of segments=" + printable(p.segments) + " hold more than " +
                  std::to_string(kMaxMembers) + " pixels together; fewer or larger ones were expected");
    }
  }
  return regions;
}

Attribution xrai(const Context& context, const XraiParams& p) {
  IntegratedGradientsParams paths;
  paths.steps = p.steps;
  paths.baseline = p.baseline;
  InputIntegral found = integrate_from_baselines(context, "xrai", paths);
  const auto [height, width] = input_size(context);
  const Tensor planes = to_planes(context, found.values);
  const Tensor pixels = (p.channels == "max" ? planes.amax(1) : planes.sum(1)).contiguous();
  // An addition brings at least one pixel.
  const auto min_pixels =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(p.min_area * static_cast<double>(height * width))));
  TensorList maps;
  for (int64_t i = 0; i < num_images(context); ++i) {
    if (!std::isfinite(pixels[i].sum().item<double>())) {  // comparisons with a NaN would never end the growth
      maps.push_back(at::full_like(pixels[i], std::numeric_limits<double>::quiet_NaN()));
      continue;
    }
    Growth growth(candidates(context, p, i), pixels[i].data_ptr<double>(), height * width);
    growth.run(min_pixels, context.progress);
    maps.push_back(at::tensor(growth.map(), at::TensorOptions(at::kDouble)).view({height, width}));
    found.diagnostics[static_cast<size_t>(i)]["regions"] = static_cast<double>(growth.additions());
    if (context.progress) context.progress->check();
  }
  // Completeness is that of the integrals; a map of maxima does not have their sum.
  if (p.channels == "max" && planes.size(1) > 1) {
    for (auto& d : found.diagnostics) d.erase("attribution_sum");
  }
  Attribution a = map_attribution(at::stack(maps).to(context.network.dtype()), /*is_signed=*/true);
  a.diagnostics = std::move(found.diagnostics);
  return a;
}

}  // namespace

Method xrai_method() {
  return make_method<XraiParams>(
      "xrai", "XRAI", "gradient", "Regions at several scales in the order of their mean Integrated Gradients.",
      kKapishnikov2019, kNeedsTarget | kNeedsBaseline | kNeedsGradient, kScalesWithLogit, xrai);
}

}  // namespace pellucid
