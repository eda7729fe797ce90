// Rooms include one another in one direction only: what src/CMakeLists.txt declares under USES, and nothing else.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = PELLUCID_SOURCE_DIR;

/// The room each public header belongs to. A header that is not here fails the test below.
// clang-format off
const std::map<std::string, std::string> kPublicHeaders{
    {"error.h", "core"},
    {"files.h", "core"},
    {"npy.h", "core"},
    {"params.h", "core"},
    {"progress.h", "core"},
    {"tensor.h", "core"},
    {"text.h", "core"},
    {"version.h", "core"},
    {"graph.h", "graph"},
    {"layers.h", "graph"},
    {"learner.h", "training"},
    {"network.h", "graph"},
    {"model.h", "model"},
    {"image.h", "image"},
    {"segment.h", "image"},
    {"video.h", "image"},
    {"annotations.h", "dataset"},
    {"flowers.h", "dataset"},
    {"ground_truth.h", "dataset"},
    {"attribution.h", "attribution"},
    {"rule_lines.h", "attribution"},
    {"report.h", "report"},
    {"synthesis.h", "synthesis"},
    {"texture.h", "synthesis"},
    {"learner.h", "training"},
    {"style_networks.h", "training"},
    {"priors.h", "training"},
    {"training.h", "training"},
    {"axioms.h", "evaluation"},
    {"metrics.h", "evaluation"},
    {"sanity.h", "evaluation"},
    {"similarity.h", "evaluation"},
    {"statistics.h", "evaluation"},
    {"evaluate.h", "tasks"},
    {"attacks.h", "tasks"},
    {"make_pictures.h", "tasks"},
    {"style.h", "tasks"},
    {"stylize.h", "tasks"},
    {"train_priors.h", "tasks"},
    {"tasks.h", "tasks"},
};
// clang-format on

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Room -> rooms it may use, from the pellucid_room calls, in their order.
std::vector<std::pair<std::string, std::set<std::string>>> declared_rooms() {
  std::vector<std::pair<std::string, std::set<std::string>>> rooms;
  const std::string text = text_of(kRoot / "src/CMakeLists.txt");
  const std::regex call(R"(pellucid_room\(\s*(\w+)([^)]*)\))");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), call); it != std::sregex_iterator(); ++it) {
    std::set<std::string> uses;
    std::istringstream words((*it)[2].str());
    bool in_uses = false;
    for (std::string word; words >> word;) {
      if (word == "SOURCES" || word == "LIBRARIES" || word == "USES") {
        in_uses = word == "USES";
      } else if (in_uses) {
        uses.insert(word);
      }
    }
    rooms.emplace_back((*it)[1].str(), uses);
  }
  return rooms;
}

std::map<std::string, std::set<std::string>> allowed() {
  std::map<std::string, std::set<std::string>> result;
  for (const auto& [room, uses] : declared_rooms()) result[room] = uses;
  // The program is no room: it hands requests to tasks and may use whatever tasks hand back.
  for (const auto& [room, uses] : declared_rooms()) result["cli"].insert(room);
  return result;
}

struct Include {
  fs::path file;
  std::string from;
  std::string header;
  bool quoted = false;
};

std::vector<Include> includes() {
  std::vector<Include> result;
  const std::regex line(R"(^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"])");
  const auto scan = [&](const fs::path& file, const std::string& room) {
    std::ifstream stream(file);
    std::smatch match;
    for (std::string text; std::getline(stream, text);) {
      if (std::regex_search(text, match, line)) result.push_back({file, room, match[2].str(), match[1].str() == "\""});
    }
  };
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "src")) {
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    const bool is_source = path.extension() == ".h" || path.extension() == ".cpp";
    // Unit tests sit beside the code and may look from above.
    const bool is_test = name.size() > 9 && name.compare(name.size() - 9, 9, "_test.cpp") == 0;
    const fs::path inside = fs::relative(path, kRoot / "src");
    if (is_source && !is_test && inside.has_parent_path()) scan(path, inside.begin()->string());
  }
  for (const auto& entry : fs::directory_iterator(kRoot / "include/pellucid")) {
    const auto room = kPublicHeaders.find(entry.path().filename().string());
    if (room != kPublicHeaders.end()) scan(entry.path(), room->second);
  }
  return result;
}

/// The room a quoted include leads to, or empty.
std::string room_of(const std::string& header) {
  const size_t slash = header.find('/');
  const std::string folder = header.substr(0, slash);
  if (slash == std::string::npos) return {};
  if (folder != "pellucid") return folder;
  const auto room = kPublicHeaders.find(header.substr(slash + 1));
  return room == kPublicHeaders.end() ? "unknown" : room->second;
}

TEST(IncludeDirections, RoomsAreDeclaredBeforeTheyAreUsed) {
  std::set<std::string> before;
  for (const auto& [room, uses] : declared_rooms()) {
    for (const std::string& used : uses)
      EXPECT_TRUE(before.count(used)) << room << " uses " << used << " declared after it";
    before.insert(room);
  }
  EXPECT_GE(before.size(), 5u) << "src/CMakeLists.txt was not understood";
}

TEST(IncludeDirections, EveryPublicHeaderBelongsToARoom) {
  for (const auto& entry : fs::directory_iterator(kRoot / "include/pellucid")) {
    EXPECT_TRUE(kPublicHeaders.count(entry.path().filename().string()))
        << entry.path() << ": add it to kPublicHeaders with its room";
  }
}

TEST(IncludeDirections, RoomsIncludeOnlyWhatTheyDeclare) {
  const auto rooms = allowed();
  const std::vector<Include> all = includes();
  EXPECT_GT(all.size(), 100u);
  for (const Include& include : all) {
    if (!include.quoted) continue;
    const std::string to = room_of(include.header);
    if (to.empty() || to == include.from) continue;
    const auto uses = rooms.find(include.from);
    if (uses == rooms.end()) {
      ADD_FAILURE() << include.file << ": " << include.from << " is no room of src/CMakeLists.txt";
      continue;
    }
    EXPECT_TRUE(uses->second.count(to)) << include.file << " includes " << include.header << ", but " << include.from
                                        << " does not declare that it uses " << to;
  }
}

TEST(IncludeDirections, OutsideLibrariesStayInTheirRooms) {
  for (const Include& include : includes()) {
    if (include.header.rfind("opencv2/", 0) == 0) {
      EXPECT_EQ(include.from, "image") << include.file << ": only the image room uses OpenCV";
    }
    if (include.header.rfind("onnx/", 0) == 0) {
      EXPECT_EQ(include.from, "graph") << include.file << ": only the graph room reads ONNX messages";
    }
    if (include.header.rfind("CLI/", 0) == 0) {
      EXPECT_EQ(include.from, "cli") << include.file << ": only the program parses flags";
    }
    const bool is_public = include.file.string().find("include/pellucid") != std::string::npos;
    if (is_public && (include.header.rfind("ATen/", 0) == 0 || include.header.rfind("torch/", 0) == 0)) {
      EXPECT_EQ(include.file.filename(), "tensor.h")
          << include.file << ": it is the one public header to include LibTorch";
    }
    if (include.header == "torch/torch.h") ADD_FAILURE() << include.file << ": costs eleven seconds a file";
  }
}

}  // namespace
