#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "pellucid/error.h"

/// The contract of a fuzz target, libFuzzer's: called with any bytes, returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace pellucid::fuzz {

/// Runs `body`. The only exception it may throw is Error, with a message that is one line; everything else ends the
/// process, which is how a fuzzer learns of it.
template <class Body>
int only_errors(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.empty() || message.find('\n') != std::string::npos || message.size() > 65536) std::abort();
  }
  return 0;
}

}  // namespace pellucid::fuzz
