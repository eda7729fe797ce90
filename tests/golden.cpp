#include "golden.h"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pellucid/attribution.h"
#include "pellucid/error.h"
#include "pellucid/files.h"
#include "support/npy_tensor.h"

namespace pellucid::test {

namespace {

constexpr int64_t kMaxManifestBytes = int64_t{64} << 20;

std::string shared_folder() {
  if (const char* set = std::getenv("PELLUCID_SHARED")) return set;
#ifdef PELLUCID_SOURCE_DIR
  return std::string(PELLUCID_SOURCE_DIR) + "/../shared";
#else
  return {};
#endif
}

Tolerance tolerance_from(const nlohmann::json& entry, const char* key) {
  if (!entry.contains(key)) return {};
  return {entry.at(key).at(0).get<double>(), entry.at(key).at(1).get<double>()};
}

GoldenEntry entry_from(const std::string& path, const nlohmann::json& json) {
  GoldenEntry entry;
  entry.path = path;
  entry.method = json.at("method").get<std::string>();
  entry.layer = json.value("layer", std::string());
  if (json.contains("target")) entry.target = json.at("target").get<int64_t>();
  entry.shape = json.at("shape").get<Shape>();
  entry.note = json.value("note", std::string());
  entry.tol_f32 = tolerance_from(json, "tol_f32");
  entry.tol_f64 = tolerance_from(json, "tol_f64");
  entry.sign_arbitrary = json.value("sign", std::string()) == "arbitrary";
  return entry;
}

}  // namespace

std::optional<Golden> Golden::open() {
  const std::string shared = shared_folder();
  const std::string path = shared + "/golden/manifest.json";
  if (shared.empty() || !std::filesystem::exists(path)) return std::nullopt;
  const std::string bytes = read_file(path, kMaxManifestBytes);
  try {
    return Golden(shared, std::make_shared<const nlohmann::json>(nlohmann::json::parse(bytes)));
  } catch (const nlohmann::json::exception& problem) {
    throw_invalid(path + ": " + problem.what());
  }
}

std::string Golden::absent() {
  return "no golden arrays: '" + shared_folder() +
         "/golden' does not exist; PELLUCID_SHARED names the folder that has them";
}

Golden::Golden(std::string shared, std::shared_ptr<const nlohmann::json> manifest)
    : shared_(std::move(shared)), manifest_(std::move(manifest)) {
  for (const auto& [path, json] : manifest_->at("arrays").items()) {
    by_path_[path] = entries_.size();
    entries_.push_back(entry_from(path, json));
  }
}

const GoldenEntry& Golden::entry(const std::string& path) const {
  const auto it = by_path_.find(path);
  if (it == by_path_.end()) throw_usage("the golden manifest does not list '" + path + "'");
  return entries_[it->second];
}

std::vector<GoldenEntry> Golden::entries_in(const std::string& folder) const {
  std::vector<GoldenEntry> result;
  for (const GoldenEntry& e : entries_) {
    if (e.path.substr(0, e.path.rfind('/')) == folder) result.push_back(e);
  }
  return result;
}

Tensor Golden::load(const std::string& path) const { return load_npy(shared_ + "/golden/" + path); }

::testing::AssertionResult Golden::matches(const Tensor& actual, const GoldenEntry& entry, Run run) const {
  const Tolerance& tolerance = run == Run::kFloat64 ? entry.tol_f64 : entry.tol_f32;
  if (tolerance.rel_l2 < 0) return ::testing::AssertionFailure() << entry.path << ": the manifest gives no tolerance";
  const Tensor expected = load(entry.path);
  const auto result =
      entry.sign_arbitrary ? within_up_to_sign(actual, expected, tolerance) : within(actual, expected, tolerance);
  return (result ? ::testing::AssertionSuccess() : ::testing::AssertionFailure())
         << entry.path << ": " << result.message();
}

namespace {

Tensor scaled(const Tensor& map) {
  const Tensor m = at::relu(map);
  const Tensor low = m - m.min();
  return low / (low.max() + 1e-7);
}

}  // namespace

Tensor pytorch_grad_cam_picture(const Tensor& raw, int64_t height, int64_t width) {
  return scaled(upsample_map(scaled(raw).unsqueeze(0), height, width).squeeze(0));
}

}  // namespace pellucid::test
