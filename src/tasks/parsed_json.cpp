#include "tasks/parsed_json.h"

#include <set>
#include <vector>

#include "pellucid/error.h"
#include "pellucid/text.h"

namespace pellucid {

using Json = nlohmann::ordered_json;

Json parsed_json(const std::string& text, const std::string& name, const std::string& kind, int max_depth) {
  std::vector<std::set<std::string>> fields;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& read) {
    // Refused before it costs anything.
    if (depth > max_depth) throw std::runtime_error("nested too deeply");
    if (event == Json::parse_event_t::object_start) fields.emplace_back();
    if (event == Json::parse_event_t::object_end) fields.pop_back();
    if (event == Json::parse_event_t::key && !fields.back().insert(read.get<std::string>()).second) {
      throw std::runtime_error("field '" + printable(read.get<std::string>()) + "' is given twice");
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& e) {
    const std::string what = e.what();
    const size_t bracket = what.find("] ");
    throw_invalid(name +
                  ": not JSON: " + printable(bracket == std::string::npos ? what : what.substr(bracket + 2), 160));
  } catch (const std::runtime_error& e) {
    throw_invalid(name + ": not " + kind + ": " + e.what());
  }
}

}  // namespace pellucid
