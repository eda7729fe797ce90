#include "tasks/evaluation_records.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "pellucid/error.h"
#include "pellucid/files.h"
#include "pellucid/text.h"

namespace pellucid {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kMaxRecordBytes = int64_t{1} << 26;
constexpr size_t kDigits = 64, kRecordName = kDigits + 5;  // of the hash, with ".json"

nlohmann::json json_from(const JudgedMap& map) {
  nlohmann::json json{{"milliseconds", map.milliseconds}, {"notes", map.notes}, {"results", nlohmann::json::array()}};
  for (const MetricResult& result : map.results) {
    nlohmann::json r{{"scores", result.scores}, {"curves", nlohmann::json::array()}};
    for (const Curve& c : result.curves) {
      r["curves"].push_back({{"name", c.name},
                             {"x_title", c.x_title},
                             {"y_title", c.y_title},
                             {"x", c.x},
                             {"y", c.y},
                             {"labels", c.labels}});
    }
    json["results"].push_back(std::move(r));
  }
  return json;
}

JudgedMap map_from(const nlohmann::json& json) {
  JudgedMap map;
  map.milliseconds = json.at("milliseconds").get<double>();
  map.notes = json.at("notes").get<std::vector<std::string>>();
  for (const nlohmann::json& r : json.at("results")) {
    MetricResult result;
    result.scores = r.at("scores").get<std::map<std::string, double>>();
    for (const nlohmann::json& c : r.at("curves")) {
      result.curves.push_back({c.at("name"), c.at("x_title"), c.at("y_title"), c.at("x"), c.at("y"), c.at("labels")});
    }
    map.results.push_back(std::move(result));
  }
  return map;
}

}  // namespace

EvaluationRecords::EvaluationRecords(const std::string& folder) {
  if (folder.empty()) return;
  folder_ = (fs::u8path(folder) / "records").string();
}

std::string EvaluationRecords::file(const std::string& key) const {
  return (fs::u8path(folder_) / (sha256_hex(key) + ".json")).string();
}

std::optional<JudgedMap> EvaluationRecords::find(const std::string& key) const {
  std::error_code ec;
  if (folder_.empty() || !fs::is_regular_file(fs::u8path(file(key)), ec)) return std::nullopt;
  try {
    return map_from(nlohmann::json::parse(read_file(file(key), kMaxRecordBytes)));
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void EvaluationRecords::keep(const std::string& key, const JudgedMap& map) const {
  if (folder_.empty()) return;
  make_folder(folder_);
  // Text that is no UTF-8 (of layer names, say) is replaced.
  write_file_atomically(file(key), json_from(map).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void EvaluationRecords::remove() const {
  if (folder_.empty()) return;
  std::error_code ignored;
  std::vector<fs::path> own;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::u8path(folder_), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.size() == kRecordName && name.find_first_not_of("0123456789abcdef") == kDigits)
      own.push_back(entry.path());
  }
  for (const fs::path& path : own) fs::remove(path, ignored);
  fs::remove(fs::u8path(folder_), ignored);  // only when nothing else lies there
}

std::string tensor_key(const Tensor& t) {
  if (!t.defined()) return "none";
  const Tensor whole = t.to(at::kCPU).contiguous();
  return shape_text(whole.sizes()) + toString(whole.scalar_type()) +
         sha256_hex({static_cast<const char*>(whole.data_ptr()), whole.nbytes()});
}

}  // namespace pellucid
