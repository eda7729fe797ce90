// Any bytes as a model card; a card that was read is written and must read back the same.

#include "check.h"
#include "tasks/card_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pellucid;
  return fuzz::only_errors([&] {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const ModelCard card = card_from_json(text, "fuzz.json", "/nonexistent");
    const std::string written = json_text(card_json(card));
    if (json_text(card_json(card_from_json(written, "again.json", "/nonexistent"))) != written) std::abort();
  });
}
