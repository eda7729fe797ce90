// Any bytes as a recipe of synthesis; a recipe that was read is written and must read back the same.

#include "check.h"
#include "pellucid/make_pictures.h"
#include "tasks/recipe_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pellucid;
  return fuzz::only_errors([&] {
    const std::string text(reinterpret_cast<const char*>(data), size);
    for (const Recipe& recipe : recipes_from_text(text, "fuzz.json")) {
      const std::string written = recipe_text(recipe);
      if (recipe_text(recipes_from_text(written, "again.json").at(0)) != written) std::abort();
    }
  });
}
