#include "dataset/ground_truth.h"

#include <algorithm>
#include <numeric>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {
namespace {

constexpr uint64_t kDropStream = render::kFirstOwnStream + 90;
constexpr uint64_t kPermutationStream = render::kFirstOwnStream + 91;

void check(const GroundTruthSet& set, const GroundTruthRequest& request) {
  const auto check_label = [&](int label) {
    if (label >= 0 && label < static_cast<int>(set.classes.size())) return;
    throw_usage(set.name + ": class " + std::to_string(label) + " does not exist; the classes are 0 to " +
                std::to_string(set.classes.size() - 1));
  };
  check_label(request.label);
  if (request.planted_label) {
    if (!set.has_shortcut) throw_usage(set.name + ": planted_label is set, but nothing is planted in this set");
    check_label(*request.planted_label);
  }
  render::check_picture_options(set.name.c_str(), request.size, request.supersampling, request.noise_std);
  for (const std::string& part : request.removed_parts) {
    if (std::find(set.parts.begin(), set.parts.end(), part) != set.parts.end()) continue;
    throw_usage(set.name + ": no part '" + printable(part) + "'; the parts are " + join(set.parts, ", "));
  }
}

}  // namespace

Image GroundTruthPart::mask() const { return mask_of({&coverage}); }

Image mask_of(const std::vector<const Image*>& coverages) {
  Image mask(coverages.at(0)->width, coverages.at(0)->height, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) {
    int sum = 0;
    for (const Image* coverage : coverages) sum += coverage->pixels[i];
    mask.pixels[i] = sum >= 128 ? 255 : 0;
  }
  return mask;
}

GroundTruthSample sample_from(render::Rendered drawn, int label, const std::vector<std::string>& names,
                              const std::function<bool(const std::string&)>& discriminative) {
  GroundTruthSample sample;
  sample.picture = std::move(drawn.image);
  sample.part_map = std::move(drawn.parts);
  sample.label = label;
  std::vector<const Image*> deciding;
  sample.parts.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    sample.parts.push_back({names[i], std::move(drawn.coverage.at(i + 1)), discriminative(names[i])});
    if (sample.parts.back().discriminative) deciding.push_back(&sample.parts.back().coverage);
  }
  sample.mask = mask_of(deciding);
  return sample;
}

const std::vector<GroundTruthSet>& ground_truth_sets() {
  static const std::vector<GroundTruthSet> sets{
      flower_set("single-6c"), flower_set("double-12c"), bird_set(), scene_set(), shortcut_set(), texture_set()};
  return sets;
}

const GroundTruthSet& find_ground_truth_set(const std::string& name) {
  std::vector<std::string> names;
  for (const GroundTruthSet& set : ground_truth_sets()) {
    if (set.name == name) return set;
    names.push_back(set.name);
  }
  throw_usage("no data set '" + printable(name) + "'; the generated sets are " + join(names, ", ") +
              did_you_mean(name, names));
}

GroundTruthSet joined_set(const std::vector<std::string>& names) {
  if (names.size() == 1) return find_ground_truth_set(names.front());
  GroundTruthSet joined;
  std::vector<std::pair<const GroundTruthSet*, int>> owners;  // of each class: its set and its label there
  for (const std::string& name : names) {
    const GroundTruthSet& set = find_ground_truth_set(name);
    joined.name += (joined.name.empty() ? "" : ",") + set.name;
    joined.summary += (joined.summary.empty() ? "" : "; ") + set.summary;
    joined.source += (joined.source.empty() ? "" : "; ") + set.source;
    for (size_t i = 0; i < set.classes.size(); ++i) owners.emplace_back(&set, static_cast<int>(i));
    joined.classes.insert(joined.classes.end(), set.classes.begin(), set.classes.end());
  }
  joined.draw = [owners](const GroundTruthRequest& request) {
    const auto& [set, label] = owners[static_cast<size_t>(request.label)];
    GroundTruthRequest own = request;
    own.label = label;
    GroundTruthSample sample = set->draw(own);
    sample.label = request.label;
    for (GroundTruthObject& object : sample.objects) object.label += request.label - label;
    return sample;
  };
  return joined;
}

GroundTruthSample draw_sample(const GroundTruthSet& set, const GroundTruthRequest& request) {
  check(set, request);
  return set.draw(request);
}

GroundTruthRequest with_random_drops(const GroundTruthSet& set, GroundTruthRequest request) {
  if (set.training_drops.empty()) return request;
  render::Random random(request.seed, request.index, kDropStream);
  if (random.chance(1.0 / 3)) return request;
  const int count = random.integer(1, set.most_drops);
  std::vector<std::string> left = set.training_drops;
  for (int i = 0; i < count; ++i) {
    const auto chosen = random.integer(0, static_cast<int>(left.size()) - 1);
    request.removed_parts.insert(left[static_cast<size_t>(chosen)]);
    left.erase(left.begin() + chosen);
  }
  return request;
}

std::vector<int64_t> permutation(int64_t count, uint64_t seed, uint64_t index) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  render::Random random(seed, index, kPermutationStream);
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<size_t>(random.uniform() * static_cast<double>(i))]);
  }
  return order;
}

}  // namespace pellucid
