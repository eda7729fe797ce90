// Any bytes as a rule map of relevance propagation; the lines that were read must parse as the method's parameter.

#include "check.h"
#include "pellucid/attribution.h"
#include "tasks/rule_map_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pellucid;
  return fuzz::only_errors([&] {
    const std::string text(reinterpret_cast<const char*>(data), size);
    MethodCall call = MethodCall::parse("lrp");
    call.params["composite"] = rule_lines_from_json(text, "fuzz.json");
    if (MethodCall::parse(call.text()).text() != call.text()) std::abort();
  });
}
